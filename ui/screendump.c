/* SPDX-License-Identifier: GPL-2.0-or-later */
/* screendump: a console's picture as PPM or PNG file. */
#include "ui/console.h"
#include "ui/png-module.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

static bool write_png(FILE *f, const Surface *s, const PngModule *png)
{
    size_t stride;
    g_autofree uint8_t *rgb = to_rgb(s, &stride);
    return png->write(f, rgb, (unsigned)surface_width(s), (unsigned)surface_height(s));
}

bool ui_screendump(UiContext *ui, Console *c, const char *path, const char *format, Error **errp)
{
    bool png = format ? !strcmp(format, "png") : g_str_has_suffix(path, ".png");
    if (format && !png && strcmp(format, "ppm")) {
        error_set(errp, "screendump: there is no picture format \"%s\"", format);
        error_hint(errp, "formats are ppm and png");
        return false;
    }
    const PngModule *module = png ? module_load("png", errp) : NULL;
    if (png && !module) {
        error_prefix(errp, "screendump: ");
        return false;
    }
    Surface *s = console_refresh(c);
    FILE *f = fopen(path, "wb");
    bool ok = f != NULL;
    if (ok) {
        ok = png ? write_png(f, s, module) : write_ppm(f, s);
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
