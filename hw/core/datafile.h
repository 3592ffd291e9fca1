/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/core/datafile.h: firmware and option ROMs as files of the host.
 *
 * Rhea ships none of the big ones: SeaBIOS, iPXE and the VGA BIOSes come from
 * the distribution's packages and are found here.
 */
#ifndef RHEA_HW_CORE_DATAFILE_H
#define RHEA_HW_CORE_DATAFILE_H

#include "hw/core/machine.h"

/*
 * The path of `name`: itself if it has a slash or exists in the current directory, else below
 * the directories of -L (Machine.data_dirs), Rhea's own data directory, and where
 * distributions put firmware.  Caller frees; NULL and an error that names the places.
 */
char *datafile_find(Machine *m, const char *name, Error **errp);

/* The whole file; refused if it has more than `max` bytes.  Caller g_frees. */
uint8_t *datafile_read(const char *path, size_t max, size_t *len, Error **errp);

/*
 * The same as a private mapping of the file: nothing is read before it is used, pages that
 * nobody changes stay the page cache's.  The bytes may be changed in place (copy on write)
 * until they are shared.  Empty files give empty bytes.
 */
GBytes *datafile_map(const char *path, size_t max, Error **errp);

#endif
