/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ui/vnc.h: a VNC server for one console: RFB 3.3, 3.7 and 3.8 (RFC 6143) with the
 * Raw, Hextile and ZRLE encodings, no or password authentication, and the
 * community's extensions for desktop size, pointer mode and raw key codes.
 *
 * Everything runs on the control loop.  Clients are hostile: all they send is
 * bounded and checked, and a slow one costs a bounded buffer.
 */
#ifndef RHEA_UI_VNC_H
#define RHEA_UI_VNC_H

#include "ui/console.h"

typedef struct VncServer VncServer;

/*
 * `text` is the argument of -vnc: "host:display", ":display", "unix:path", with
 * "to=N", "password=on", "share=allow-exclusive|force-shared|ignore".  Listens at
 * once.  With password=on nobody gets in before vnc_set_password().
 */
VncServer *vnc_new(UiContext *ui, EventLoop *control, const char *text, Error **errp);
void vnc_free(VncServer *v);
/* NULL locks everybody out. Only the first eight bytes count (RFC 6143, 7.2.2). */
bool vnc_wants_password(const VncServer *v); /* password=on */
void vnc_set_password(VncServer *v, const char *password);
/* query-vnc's answer; `v` may be NULL. */
Json *vnc_query(const VncServer *v);
/* "127.0.0.1:5900" or the socket's path: what was bound in the end. */
const char *vnc_address(const VncServer *v);

#endif
