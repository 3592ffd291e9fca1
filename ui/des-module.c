/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The module "des". */
#include "ui/des-module.h"

#include "config.h"

#include <nettle/des.h>

static void encrypt(const uint8_t key[8], const uint8_t *in, uint8_t *out, size_t len)
{
    struct des_ctx ctx;

    des_set_key(&ctx, key); /* weak keys are as good as the protocol */
    des_encrypt(&ctx, len, out, in);
}

MODULE_TABLE(DesModule) = {.head = {RHEA_VERSION}, .encrypt = encrypt};
