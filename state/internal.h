/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state/internal.h: how the files of this room walk a description.
 */
#ifndef RHEA_STATE_INTERNAL_H
#define RHEA_STATE_INTERNAL_H

#include "state/state.h"

#include <string.h>

#define STATE_MAGIC "RST1"

static inline uint32_t state_u32_at(const void *base, size_t offset)
{
    uint32_t v;

    memcpy(&v, (const char *)base + offset, sizeof(v));
    return v;
}
/* How many elements of the field travel; a count beyond the array is clamped. */
static inline unsigned state_elements(const StateField *f, const void *base)
{
    unsigned n = f->count ? f->count : 1;

    if (f->counted) {
        uint32_t used = state_u32_at(base, f->count_offset);

        n = used < f->count ? used : f->count;
    }
    return n;
}
static inline void *state_element(const StateField *f, const void *base, unsigned i)
{
    return (char *)base + f->offset + (size_t)i * f->stride;
}
static inline bool state_is_struct(const StateField *f)
{
    return f->kind == STATE_STRUCT || f->kind == STATE_QUEUE || f->kind == STATE_POINTER;
}
/* The struct that the element is, or points at. */
static inline void *state_struct_at(const StateField *f, const void *base, unsigned i)
{
    void *p = state_element(f, base, i);

    return f->kind == STATE_POINTER ? *(void **)p : p;
}
/* Every check of the description and what it contains, on `obj`. */
bool state_check_all(const StateDesc *d, const void *obj, Error **errp);

#endif
