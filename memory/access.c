/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Access to an address space: lookups, spans of any length, single loads and
 * stores, and host pointers for bus masters.
 */
#include "memory/internal.h"

#include <string.h>

static MemResult worse(MemResult a, MemResult b)
{
    return a > b ? a : b;
}

static void lookup(AddressSpace *as, hwaddr addr, MemTarget *out)
{
    FlatView *v = rcu_dereference(as->view);
    hwaddr gap_last = 0;
    const FlatRange *fr = flatview_find(v, addr, &gap_last);
    hwaddr in;

    memset(out, 0, sizeof(*out));
    if (!fr) {
        out->region = &as->sys->unassigned;
        out->offset = addr;
        out->len = gap_last - addr == UINT64_MAX ? UINT64_MAX : gap_last - addr + 1;
        return;
    }
    in = addr - fr->start;
    out->region = fr->region;
    out->offset = fr->offset + in;
    out->len = fr->last - addr == UINT64_MAX ? UINT64_MAX : fr->last - addr + 1;
    out->dirty_log_mask = fr->dirty_log_mask;
    if (fr->host) {
        out->host = fr->host + in;
        out->ram = fr->ram;
        out->ram_offset = out->offset;
        out->writable = !fr->readonly && !fr->romd;
    }
}

void address_space_lookup(AddressSpace *as, hwaddr addr, MemTarget *out)
{
    rcu_read_lock();
    lookup(as, addr, out);
    rcu_read_unlock();
}

/* Is a write to this target dropped without reaching anybody? */
static bool write_dropped(const MemTarget *t)
{
    return (t->host && !t->writable && t->region->kind != REGION_ROMD) ||
           t->region->kind == REGION_RESERVED;
}

/* How many of the next `len` bytes of a device one access takes. */
static unsigned device_step(const MemTarget *t, size_t len)
{
    const RegionOps *ops = t->region->ops;
    unsigned step = ops && ops->valid_max ? ops->valid_max : 4;

    while (step > len || t->offset % step) {
        step /= 2;
    }
    return step;
}

/* ---- spans ---- */

/*
 * Memory is copied in units that the host moves at once where alignment allows: a
 * bus master's 2-, 4- or 8-byte field never shows up half-written in a vCPU.
 */
#define COPY_UNIT(T)                                                 \
    do {                                                             \
        T v_;                                                        \
        if (guest == from) {                                         \
            v_ = __atomic_load_n((const T *)from, __ATOMIC_RELAXED); \
            memcpy(to, &v_, sizeof(T));                              \
        } else {                                                     \
            memcpy(&v_, from, sizeof(T));                            \
            __atomic_store_n((T *)to, v_, __ATOMIC_RELAXED);         \
        }                                                            \
    } while (0)

/* `guest`: which of the two is the guest's memory. */
static void copy_units(uint8_t *to, const uint8_t *from, size_t len, const uint8_t *guest)
{
    switch ((uintptr_t)guest % MAX(len, 1) ? 0 : len) { /* 0: not aligned */
    case 2:
        COPY_UNIT(uint16_t);
        break;
    case 4:
        COPY_UNIT(uint32_t);
        break;
    case 8:
        COPY_UNIT(uint64_t);
        break;
    default:
        memcpy(to, from, len);
        break;
    }
}

MemResult address_space_read(AddressSpace *as, hwaddr addr, MemAttrs a, void *buf, size_t len)
{
    MemResult res = MEM_OK;
    uint8_t *p = buf;

    rcu_read_lock();
    while (len) {
        MemTarget t;
        size_t n;

        lookup(as, addr, &t);
        n = len < t.len ? len : t.len;
        if (t.host) {
            copy_units(p, t.host, n, t.host);
        } else if (t.region == &as->sys->unassigned || t.region->kind == REGION_RESERVED) {
            memset(p, 0xff, n);
            res = worse(res, t.region->kind == REGION_RESERVED ? MEM_OK : MEM_DECODE_ERROR);
        } else {
            uint64_t v;

            n = device_step(&t, n);
            res = worse(res, region_dispatch_read(t.region, t.offset, (unsigned)n, a, &v));
            v = BITS_LE64(v);
            memcpy(p, &v, n);
        }
        p += n;
        len -= n;
        addr += n;
        if (!addr && len) {
            /* Nothing lies beyond the last address. */
            memset(p, 0xff, len);
            res = worse(res, MEM_DECODE_ERROR);
            break;
        }
    }
    rcu_read_unlock();
    return res;
}

static MemResult write_span(AddressSpace *as, hwaddr addr, MemAttrs a, const void *buf, size_t len,
                            bool rom)
{
    MemResult res = MEM_OK;
    const uint8_t *p = buf;

    rcu_read_lock();
    while (len) {
        MemTarget t;
        size_t n;

        lookup(as, addr, &t);
        n = len < t.len ? len : t.len;
        if (t.host && (t.writable || rom)) {
            copy_units(t.host, p, n, t.host);
            ram_mark_dirty(t.ram, t.ram_offset, n);
        } else if (t.region == &as->sys->unassigned) {
            res = worse(res, MEM_DECODE_ERROR);
        } else if (!write_dropped(&t) && !rom) {
            n = device_step(&t, n);
            res = worse(res, region_dispatch_write(t.region, t.offset, (unsigned)n, a,
                                                   ld_le(p, (unsigned)n)));
        }
        p += n;
        len -= n;
        addr += n;
        if (!addr && len) {
            res = worse(res, MEM_DECODE_ERROR);
            break;
        }
    }
    rcu_read_unlock();
    return res;
}

MemResult address_space_write(AddressSpace *as, hwaddr addr, MemAttrs a, const void *buf,
                              size_t len)
{
    return write_span(as, addr, a, buf, len, false);
}

MemResult address_space_write_rom(AddressSpace *as, hwaddr addr, const void *buf, size_t len)
{
    return write_span(as, addr, MEM_ATTRS_NONE, buf, len, true);
}

/* ---- single accesses ---- */

/* An access that crosses from one range into the next: byte by byte, each to its own. */
static MemResult ld_bytes(AddressSpace *as, hwaddr addr, MemAttrs a, unsigned size, uint64_t *v)
{
    MemResult res = MEM_OK;

    *v = 0;
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = 0xff;

        /* The last address is followed by nothing. */
        res = worse(res, addr + i < addr ? MEM_DECODE_ERROR
                                         : address_space_read(as, addr + i, a, &byte, 1));
        *v |= (uint64_t)byte << (8 * i);
    }
    return res;
}

static MemResult st_bytes(AddressSpace *as, hwaddr addr, MemAttrs a, unsigned size, uint64_t v)
{
    MemResult res = MEM_OK;

    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(v >> (8 * i));

        res = worse(res, addr + i < addr ? MEM_DECODE_ERROR
                                         : address_space_write(as, addr + i, a, &byte, 1));
    }
    return res;
}

MemResult address_space_ld(AddressSpace *as, hwaddr addr, MemAttrs a, unsigned size, uint64_t *v)
{
    MemTarget t;
    MemResult res;

    rcu_read_lock();
    lookup(as, addr, &t);
    if (t.len < size) {
        res = ld_bytes(as, addr, a, size, v);
    } else if (t.host) {
        uint64_t raw = 0;

        copy_units((uint8_t *)&raw, t.host, size, t.host);
        *v = BITS_LE64(raw);
        res = MEM_OK;
    } else {
        res = region_dispatch_read(t.region, t.offset, size, a, v);
    }
    rcu_read_unlock();
    return res;
}

MemResult address_space_st(AddressSpace *as, hwaddr addr, MemAttrs a, unsigned size, uint64_t v)
{
    MemTarget t;
    MemResult res = MEM_OK;

    rcu_read_lock();
    lookup(as, addr, &t);
    if (t.len < size) {
        res = st_bytes(as, addr, a, size, v);
    } else if (t.host && t.writable) {
        uint64_t raw = BITS_LE64(v);

        copy_units(t.host, (uint8_t *)&raw, size, t.host);
        ram_mark_dirty(t.ram, t.ram_offset, size);
    } else if (!write_dropped(&t)) {
        res = region_dispatch_write(t.region, t.offset, size, a, v);
    }
    rcu_read_unlock();
    return res;
}

/* ---- host pointers ---- */

void *address_space_map(AddressSpace *as, hwaddr addr, size_t *len, bool write)
{
    size_t want = *len;
    MemTarget t, next;
    size_t have;

    *len = 0;
    if (!want) {
        return NULL;
    }
    rcu_read_lock();
    lookup(as, addr, &t);
    if (!t.host || (write && !t.writable)) {
        rcu_read_unlock();
        return NULL;
    }
    have = want < t.len ? want : t.len;
    /* Ranges that differ only in flags may follow one another in the same block. */
    while (have < want && addr + have > addr) {
        lookup(as, addr + have, &next);
        if (next.host != t.host + have || next.ram != t.ram || (write && !next.writable)) {
            break;
        }
        have += want - have < next.len ? want - have : next.len;
    }
    ram_block_ref(t.ram);
    rcu_read_unlock();
    *len = have;
    return t.host;
}

void address_space_unmap(AddressSpace *as, void *host, size_t len, bool written)
{
    RamBlock *found = NULL;
    PtrList *blocks;
    uint8_t *p = host;

    rcu_read_lock();
    blocks = rcu_dereference(as->sys->blocks);
    for (unsigned i = 0; i < blocks->n && !found; i++) {
        RamBlock *b = blocks->v[i];

        if (p >= b->host && p < b->host + b->size) {
            found = b;
        }
    }
    g_assert(found);
    if (written && len) {
        ram_mark_dirty(found, (uint64_t)(p - found->host), len);
    }
    rcu_read_unlock();
    ram_block_unref(found);
}
