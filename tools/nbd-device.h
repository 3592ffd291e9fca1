/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tools/nbd-device.h: a device of the kernel's NBD client, /dev/nbdX, for rhea-nbd -c and -d.
 *
 * The kernel wants a socket after its handshake; a thread makes that with our own server and then
 * stays within the kernel until the device is disconnected.  Control thread otherwise.
 */
#ifndef RHEA_TOOLS_NBD_DEVICE_H
#define RHEA_TOOLS_NBD_DEVICE_H

#include "event/loop.h"

#include <glib.h>

typedef struct NbdDevice NbdDevice;

NbdDevice *nbd_device_open(const char *path, Error **errp);
/*
 * `sock`, which is taken over, leads to a server whose export "" it becomes.  connected() is
 * called on `loop` with NULL when the device can be used, or with why not (owned by the callee).
 */
bool nbd_device_connect(NbdDevice *d, int sock, EventLoop *loop,
                        void (*connected)(void *opaque, Error *err), void *opaque, Error **errp);
void nbd_device_free(NbdDevice *d); /* disconnects; NULL is fine */
/* Ends whoever serves the device. */
bool nbd_device_disconnect(const char *path, Error **errp);

#endif
