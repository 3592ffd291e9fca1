/* SPDX-License-Identifier: GPL-2.0-or-later */
/* screendump: a console's picture as PPM or PNG file. */
#include "config.h"
#include "ui/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifdef CONFIG_PNG
#include <png.h>
#endif

/* The picture as rows of packed R, G, B bytes; caller frees. */
static uint8_t *to_rgb(const Surface *s, size_t *stride)
{
    int w = surface_width(s), h = surface_height(s);
    *stride = (size_t)w * 3;
    pixman_image_t *line = pixman_image_create_bits(PIXMAN_x8r8g8b8, w, h, NULL, 0);
    pixman_image_composite32(PIXMAN_OP_SRC, s->image, NULL, line, 0, 0, 0, 0, 0, 0, w, h);
    uint8_t *rgb = g_malloc(*stride * (size_t)h);
    for (int y = 0; y < h; y++) {
        const uint32_t *in = pixman_image_get_data(line) +
                             (size_t)y * (size_t)pixman_image_get_stride(line) / sizeof(uint32_t);
        uint8_t *out = rgb + (size_t)y * *stride;
        for (int x = 0; x < w; x++) {
            *out++ = (uint8_t)(in[x] >> 16);
            *out++ = (uint8_t)(in[x] >> 8);
            *out++ = (uint8_t)in[x];
        }
    }
    pixman_image_unref(line);
    return rgb;
}

static bool write_ppm(FILE *f, const Surface *s)
{
    size_t stride;
    g_autofree uint8_t *rgb = to_rgb(s, &stride);
    int h = surface_height(s);
    fprintf(f, "P6\n%d %d\n255\n", surface_width(s), h);
    return fwrite(rgb, stride, (size_t)h, f) == (size_t)h;
}

#ifdef CONFIG_PNG
static bool write_png(FILE *f, const Surface *s)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    size_t stride;
    uint8_t *volatile rgb = to_rgb(s, &stride);
    bool ok = false;
    if (info && !setjmp(png_jmpbuf(png))) {
        png_init_io(png, f);
        png_set_compression_level(png, 3);
        png_set_IHDR(png, info, (png_uint_32)surface_width(s), (png_uint_32)surface_height(s), 8,
                     PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                     PNG_FILTER_TYPE_DEFAULT);
        png_write_info(png, info);
        for (int y = 0; y < surface_height(s); y++) {
            png_write_row(png, rgb + (size_t)y * stride);
        }
        png_write_end(png, NULL);
        ok = true;
    }
    png_destroy_write_struct(&png, &info);
    g_free(rgb);
    return ok;
}
#endif

bool ui_screendump(UiContext *ui, Console *c, const char *path, const char *format, Error **errp)
{
    bool png = format ? !strcmp(format, "png") : g_str_has_suffix(path, ".png");
    if (format && !png && strcmp(format, "ppm")) {
        error_set(errp, "screendump: there is no picture format \"%s\"", format);
        error_hint(errp, "formats are ppm and png");
        return false;
    }
#ifndef CONFIG_PNG
    if (png) {
        error_set(errp, "screendump: this build has no PNG support");
        error_hint(errp, "use format ppm, or build with libpng");
        return false;
    }
#endif
    Surface *s = console_refresh(c);
    FILE *f = fopen(path, "wb");
    bool ok = f != NULL;
    if (ok) {
#ifdef CONFIG_PNG
        ok = png ? write_png(f, s) : write_ppm(f, s);
#else
        ok = write_ppm(f, s);
#endif
        ok = !fclose(f) && ok;
    }
    if (!ok) {
        error_set_errno(errp, errno, "screendump: can't write the picture to '%s'", path);
        if (f) {
            unlink(path);
        }
    }
    surface_unref(s);
    return ok;
}
