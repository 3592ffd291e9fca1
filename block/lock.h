/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/lock.h: locks on image files, by the byte ranges QEMU uses, so that its
 * tools see ours and we see theirs.
 *
 * A process that uses an image holds, as open-file-description read locks, byte
 * 100+p for each permission p it has and byte 200+p for each it denies to others.
 * Before it does so it looks whether somebody denies what it wants (200+p) or has
 * what it wants to deny (100+p).
 */
#ifndef RHEA_BLOCK_LOCK_H
#define RHEA_BLOCK_LOCK_H

#include "util/error.h"

#include <stdint.h>

#define IMAGE_PERM_READ 0x1u
#define IMAGE_PERM_WRITE 0x2u
#define IMAGE_PERM_RESIZE 0x8u

typedef struct ImageLock {
    uint32_t perms, denied; /* held now */
} ImageLock;

/* Does this file's file system have OFD locks? */
bool image_lock_supported(int fd);
/*
 * Changes what is held.  On a conflict nothing has changed and the message says
 * which process holds the image.  `path` is for messages.
 */
bool image_lock_set(ImageLock *l, int fd, const char *path, uint32_t perms, uint32_t denied,
                    Error **errp);
/* "process 1234 (qemu-system-x86)": who has the file open and locked, or NULL. */
char *image_lock_holder(int fd);

#endif
