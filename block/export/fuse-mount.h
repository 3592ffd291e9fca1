/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/export/fuse-mount.h: puts a FUSE file system over a file, and takes it away: by mount(2)
 * where that is allowed, else by Debian's set-uid helper fusermount3.
 *
 * Control thread; waits for the helper.
 */
#ifndef RHEA_BLOCK_EXPORT_FUSE_MOUNT_H
#define RHEA_BLOCK_EXPORT_FUSE_MOUNT_H

#include "util/error.h"

/*
 * The descriptor of /dev/fuse, which does not block, with the file system mounted over the regular
 * file `path`; -1 on error.  `allow_other`: other users may look at it, as the file's mode says.
 */
int fuse_mount(const char *path, bool allow_other, Error **errp);
/* Whoever has the file open keeps it until the descriptor is closed. */
void fuse_unmount(const char *path);

#endif
