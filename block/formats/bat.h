/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/formats/bat.h: formats whose blocks are found through one table (VDI, VPC, VHDX) or
 * through tables of tables (VMDK): the table in memory, and what must be written of it.
 *
 * Order: a block is written before the table that points to it; between the two is a flush.
 * bat_flush() does that.  Blocks are taken at the end of the file.
 *
 * Requests: bat_preadv() and bat_pwritev() do what is common; the format says by callbacks what an
 * entry means.
 */
#ifndef RHEA_BLOCK_FORMATS_BAT_H
#define RHEA_BLOCK_FORMATS_BAT_H

#include "block/formats/format.h"

typedef struct Bat {
    BlockNode *n;
    uint64_t *entries; /* in host order */
    uint64_t count, offset;
    unsigned entry_size; /* 4 or 8 bytes */
    bool big_endian;
    uint8_t *dirty; /* one byte for each 512 bytes of the table */
    bool any_dirty;
    FiberMutex lock;     /* allocation */
    uint64_t block_size; /* bytes of data of an entry */
    uint64_t next_free;  /* where the next block goes in the file */
} Bat;

/* What an entry says. */
typedef enum BatKind { BAT_HOLE, BAT_ZERO, BAT_DATA } BatKind;
typedef struct BatOps {
    BatKind (*kind)(BlockNode *n, uint64_t index,
                    uint64_t *host); /* host: of the block's first byte */
    /*
     * A place for block `index`, which is in nobody's way: the offset of its data.  Whatever the
     * block needs besides them is written.  Under the lock.
     */
    int (*allocate)(BlockNode *n, uint64_t index, uint64_t *host);
    /* It holds its data: sets the entry. */
    void (*publish)(BlockNode *n, uint64_t index, uint64_t host);
} BatOps;

/* Reads the table; its bounds were checked by the caller. */
bool bat_load(Bat *b, BlockNode *n, uint64_t offset, uint64_t count, unsigned entry_size,
              bool big_endian, Error **errp);
void bat_free(Bat *b);
void bat_set(Bat *b, uint64_t index, uint64_t value);
/* Data, then the table; each durable before what comes after. */
int bat_flush(Bat *b);
int bat_preadv(Bat *b, const BatOps *ops, uint64_t off, const IoVec *v);
int bat_pwritev(Bat *b, const BatOps *ops, uint64_t off, const IoVec *v, unsigned flags);
int bat_map(Bat *b, const BatOps *ops, uint64_t off, uint64_t len, BlockMap *out);

/*
 * In memory: `count` entries, more than there are; new ones are `value` and not marked as changed.
 * false: no memory, and nothing has changed.
 */
bool bat_grow(Bat *b, uint64_t count, uint64_t value);
/* The entries from `from` on, as a table at `offset`; durable. */
int bat_write_at(const Bat *b, uint64_t offset, uint64_t from);

#endif
