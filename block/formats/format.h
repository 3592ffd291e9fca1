/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/formats/format.h: what the formats that others made have in common: messages, requests cut
 * into the format's pieces, backing files, moving of data, and what `check` compares.
 *
 * Results are 0 or a negative errno.
 */
#ifndef RHEA_BLOCK_FORMATS_FORMAT_H
#define RHEA_BLOCK_FORMATS_FORMAT_H

#include "block/image.h"

/* "'x.vdi' is not a valid VDI image: field 'NAME' …"; false. */
bool format_bad_field(const BlockNode *n, const char *format, Error **errp, const char *field,
                      const char *fmt, ...) G_GNUC_PRINTF(5, 6);
void format_new_uuid(uint8_t out[16]);
/* What the backing node holds, and zeroes behind its end. */
int format_read_below(BlockNode *n, uint64_t off, const IoVec *v);
/* n->backing becomes the image `name`, as seen from this one; `driver` NULL: it is probed. */
bool format_open_backing(BlockNode *n, const char *name, const char *driver, Error **errp);
/* Says that metadata could not be written while closing, if `ret` is an error. */
void format_closing(const BlockNode *n, int ret);
/* "cannot resize …: WHY", by errno. Returns ret. */
int format_resized(const BlockNode *n, int ret, Error **errp);

/*
 * A request in pieces: room() says how many bytes from `off` on are of one piece (at least 1), and
 * part() does them.
 */
typedef uint64_t FormatRoom(BlockNode *n, uint64_t off);
typedef int FormatPart(BlockNode *n, uint64_t off, const IoVec *v);
int format_in_parts(BlockNode *n, uint64_t off, const IoVec *v, FormatRoom *room, FormatPart *part);

/* Copies bytes within the file; the places do not overlap. */
int format_copy(BlockNode *file, uint64_t from, uint64_t to, uint64_t len);

/* ---- check ---- */
/* Places in the file that belong to somebody. */
typedef struct FormatPlace {
    uint64_t start, len, index;
    const char *what; /* constant text */
} FormatPlace;
typedef struct FormatPlaces {
    FormatPlace *all; /* by start, once they are sorted */
    size_t n, room;
    bool no_memory;
} FormatPlaces;
void format_place_add(FormatPlaces *p, const char *what, uint64_t index, uint64_t start,
                      uint64_t len);
/* Tells of and counts those that lie beyond `end` or on another one; frees the list. */
int format_places_check(FormatPlaces *p, uint64_t end, const BlockProgress *progress,
                        BlockCheck *out);

#endif
