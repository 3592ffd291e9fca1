/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ui/des-module.h: the cipher of VNC's password check, by nettle (module "des"). */
#ifndef RHEA_UI_DES_MODULE_H
#define RHEA_UI_DES_MODULE_H

#include "util/module.h"

#include <stddef.h>
#include <stdint.h>

typedef struct DesModule {
    ModuleHead head;
    /* ECB; `len` is a multiple of 8. */
    void (*encrypt)(const uint8_t key[8], const uint8_t *in, uint8_t *out, size_t len);
} DesModule;

#endif
