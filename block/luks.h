/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/luks.h: encrypted bytes of a node, for the drivers "luks" and "qcow2".
 * Offsets and lengths are multiples of 512.
 */
#ifndef RHEA_BLOCK_LUKS_H
#define RHEA_BLOCK_LUKS_H

#include "block/image.h"
#include "crypto/luks.h"

/* Bytes at `at` of `file`; `iv_at`: the offset that the initial vectors count from. */
int luks_preadv(const Luks *l, BlockNode *file, uint64_t at, uint64_t iv_at, const IoVec *v);
int luks_pwritev(const Luks *l, BlockNode *file, uint64_t at, uint64_t iv_at, const IoVec *v);

/*
 * Reads the header at `at` of `file` (at most `max` bytes) and opens it with the secret that
 * `key_secret` names; *header (may be NULL): a copy, *len its bytes.
 */
Luks *luks_open_node(BlockNode *file, uint64_t at, uint64_t max, const char *key_secret,
                     uint8_t **header, size_t *len, Error **errp);
/* The options of encryption ("cipher-alg" …) out of `o`; strings are borrowed. */
void luks_take_options(BlockOpts *o, LuksOptions *out);
/* Their descriptions come with a prefix in qcow2. */
Json *luks_info_json(const uint8_t *header);
/* Makes a header for the secret's password. */
uint8_t *luks_create_header(BlockGraph *g, const LuksOptions *o, const char *key_secret,
                            size_t *len, Luks **luks, Error **errp);
/*
 * amend: "state" active (new-secret, and keyslot or a free one) or inactive (keyslot, or the one
 * that old-secret opens), "iter-time".  Changes `header`; nothing is written.
 */
bool luks_amend_slots(BlockNode *n, BlockOpts *o, Luks *l, uint8_t *header, size_t len, bool force,
                      Error **errp);

#endif
