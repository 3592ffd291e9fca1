/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hw/i386/xz-module.h: xz streams, by liblzma (module "xz"). */
#ifndef RHEA_HW_I386_XZ_MODULE_H
#define RHEA_HW_I386_XZ_MODULE_H

#include "util/module.h"

#include <stddef.h>
#include <stdint.h>

typedef struct XzModule {
    ModuleHead head;
    /* Exactly out_len bytes; what follows the stream in `in` is ignored. 0 or -errno. */
    int (*unpack)(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len);
} XzModule;

#endif
