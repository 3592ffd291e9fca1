/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ui/vnc-internal.h: what the files of the VNC server share.
 */
#ifndef RHEA_UI_VNC_INTERNAL_H
#define RHEA_UI_VNC_INTERNAL_H

#include "ui/vnc.h"

#include <zlib.h>

#define VNC_OUT_HIGH (2u << 20) /* no new picture while this much waits to be sent */
#define VNC_OUT_MAX (64u << 20) /* a client this far behind is dropped */
#define VNC_CUT_TEXT_MAX (1u << 20)
#define VNC_CLIENTS_MAX 32

/* Encodings and pseudo-encodings, by number in SetEncodings. */
enum {
    VNC_ENC_RAW = 0,
    VNC_ENC_HEXTILE = 5,
    VNC_ENC_ZRLE = 16,
    VNC_ENC_DESKTOP_SIZE = -223,
    VNC_ENC_POINTER_TYPE = -257,
    VNC_ENC_EXT_KEY = -258,
};

typedef struct VncFormat {
    uint8_t bytes, depth;
    bool big_endian, standard; /* standard: ours, pixels are copied */
    uint16_t max[3];
    uint8_t shift[3];
    uint8_t cpixel_bytes, cpixel_offset; /* ZRLE's compact pixels */
} VncFormat;

typedef struct VncClient VncClient;

struct VncServer {
    UiContext *ui;
    EventLoop *control;
    ConsoleListener listener;
    Surface *surface; /* the latest, referenced */
    GList *clients;
    int listen_fd;
    char *address, *unix_path, *host, *service;
    int family;
    bool password_on;
    char *password;
    int share; /* 0: allow-exclusive, 1: force-shared, 2: ignore */
};

struct VncClient {
    VncServer *server;
    int fd;
    char *peer;
    int minor; /* 3, 7, 8 */
    bool dead, ready, shared, write_watched;
    GByteArray *in, *out;
    /* Takes what it can of `in`; 0: needs more bytes. */
    size_t (*handle)(VncClient *c, const uint8_t *data, size_t len);
    uint8_t challenge[16];

    VncFormat format;
    int encoding;
    bool can_resize, can_pointer_type, can_ext_key, told_absolute;
    pixman_region16_t dirty;
    bool update_wanted, size_changed;
    int width, height; /* what the client believes */

    z_stream zlib;
    bool zlib_ready;
    GByteArray *tile_buf;

    uint8_t buttons;
    int last_x, last_y;
    bool shift_down;
};

void vnc_put8(VncClient *c, uint8_t v);
void vnc_put16(VncClient *c, uint16_t v);
void vnc_put32(VncClient *c, uint32_t v);
void vnc_put(VncClient *c, const void *p, size_t len);

/* vnc-message.c: the messages after the handshake. */
size_t vnc_handle_message(VncClient *c, const uint8_t *data, size_t len);
void vnc_set_format(VncClient *c, const uint8_t pixel_format[16], bool *ok);
void vnc_default_format(VncClient *c, uint8_t pixel_format[16]);
/* Sends a FramebufferUpdate if one is wanted and there is something to show. */
void vnc_try_update(VncClient *c);
/* Releases what the client holds down. */
void vnc_release_input(VncClient *c);

/* vnc-encode.c: one rectangle in the client's encoding, header included. */
void vnc_send_rect(VncClient *c, int x, int y, int w, int h);

#endif
