/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The module "png". */
#include "ui/png-module.h"

#include "config.h"

#include <png.h>

static bool write_png(FILE *f, const uint8_t *rgb, unsigned w, unsigned h)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    volatile bool ok = false;

    if (info && !setjmp(png_jmpbuf(png))) {
        png_init_io(png, f);
        png_set_compression_level(png, 3);
        png_set_IHDR(png, info, w, h, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                     PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
        png_write_info(png, info);
        for (unsigned y = 0; y < h; y++) {
            png_write_row(png, rgb + (size_t)y * w * 3);
        }
        png_write_end(png, NULL);
        ok = true;
    }
    png_destroy_write_struct(&png, &info);
    return ok;
}

MODULE_TABLE(PngModule) = {.head = {RHEA_VERSION}, .write = write_png};
