/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ui/png-module.h: pictures as PNG files, by libpng (module "png"). */
#ifndef RHEA_UI_PNG_MODULE_H
#define RHEA_UI_PNG_MODULE_H

#include "util/module.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct PngModule {
    ModuleHead head;
    /* `rgb`: w * h packed R, G, B bytes. false: errno says why the file was not written. */
    bool (*write)(FILE *f, const uint8_t *rgb, unsigned w, unsigned h);
} PngModule;

#endif
