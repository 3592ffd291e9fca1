/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One access to one MMIO or port region: eventfds, the loop's lock, the refusal
 * of re-entrancy, and the splitting and merging of sizes.
 */
#include "event/lock-check.h"
#include "memory/internal.h"
#include "util/log.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static uint64_t size_mask(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (1ull << (8 * size)) - 1;
}

static uint64_t swap_bytes(uint64_t v, unsigned size)
{
    switch (size) {
    case 2:
        return __builtin_bswap16((uint16_t)v);
    case 4:
        return __builtin_bswap32((uint32_t)v);
    case 8:
        return __builtin_bswap64(v);
    default:
        return v;
    }
}

static MemResult worse(MemResult a, MemResult b)
{
    return a > b ? a : b;
}

/* ---- entering a device ---- */

static bool enter(Region *r)
{
    MemOwner *o = r->owner;

    if (!o || !o->loop) {
        return true;
    }
    if (!loop_lock_foreign(o->loop)) {
        guest_error(o->name, "%s: reached from a device of another loop: refused", region_name(r));
        return false;
    }
    if (o->busy) {
        loop_unlock(o->loop);
        guest_error(o->name, "%s: reached by its own doing: refused", region_name(r));
        return false;
    }
    o->busy = true;
    lock_check_note(NULL, region_name(r));
    return true;
}

static void leave(MemOwner *o)
{
    if (o && o->loop) {
        o->busy = false;
        loop_unlock(o->loop);
    }
}

/* ---- one call ---- */

static MemResult call_read(const RegionOps *ops, void *opaque, hwaddr off, unsigned size,
                           MemAttrs a, uint64_t *v)
{
    MemResult res = MEM_OK;

    *v = UINT64_MAX;
    if (ops->read_attrs) {
        res = ops->read_attrs(opaque, off, v, size, a);
    } else if (ops->read) {
        *v = ops->read(opaque, off, size);
    } else {
        res = MEM_DECODE_ERROR;
    }
    if (ops->big_endian) {
        *v = swap_bytes(*v, size);
    }
    *v &= size_mask(size);
    return res;
}

static MemResult call_write(const RegionOps *ops, void *opaque, hwaddr off, unsigned size,
                            MemAttrs a, uint64_t v)
{
    v &= size_mask(size);
    if (ops->big_endian) {
        v = swap_bytes(v, size);
    }
    if (ops->write_attrs) {
        return ops->write_attrs(opaque, off, v, size, a);
    }
    if (!ops->write) {
        return MEM_DECODE_ERROR;
    }
    ops->write(opaque, off, v, size);
    return MEM_OK;
}

/* ---- sizes ---- */

static unsigned valid_max(const RegionOps *ops)
{
    return ops->valid_max ? ops->valid_max : 4;
}

static unsigned impl_unit(const RegionOps *ops, unsigned size)
{
    unsigned max = ops->impl_max ? ops->impl_max : 4;

    if (size < ops->impl_min) {
        return ops->impl_min;
    }
    return size > max ? max : size;
}

/* Does the bus take this access, apart from its being too wide? */
static bool accepted(const Region *r, const RegionOps *ops, hwaddr off, unsigned size)
{
    if (size < ops->valid_min || (ops->aligned_only && off % size)) {
        guest_error(r->owner ? r->owner->name : region_name(r),
                    "%s: access of %u bytes at 0x%" PRIx64 " refused", region_name(r), size, off);
        return false;
    }
    return true;
}

static MemResult read_sized(const RegionOps *ops, void *opaque, hwaddr off, unsigned size,
                            MemAttrs a, uint64_t *v)
{
    unsigned unit = impl_unit(ops, size);
    MemResult res = MEM_OK;
    uint64_t part;

    *v = 0;
    if (unit <= size) {
        for (unsigned i = 0; i < size; i += unit) {
            res = worse(res, call_read(ops, opaque, off + i, unit, a, &part));
            *v |= part << (8 * i);
        }
        return res;
    }
    for (unsigned i = 0; i < size;) {
        unsigned skip = (off + i) % unit;
        unsigned n = size - i < unit - skip ? size - i : unit - skip;

        res = worse(res, call_read(ops, opaque, off + i - skip, unit, a, &part));
        *v |= ((part >> (8 * skip)) & size_mask(n)) << (8 * i);
        i += n;
    }
    return res;
}

static MemResult write_sized(const RegionOps *ops, void *opaque, hwaddr off, unsigned size,
                             MemAttrs a, uint64_t v)
{
    unsigned unit = impl_unit(ops, size);
    MemResult res = MEM_OK;

    if (unit <= size) {
        for (unsigned i = 0; i < size; i += unit) {
            res = worse(res, call_write(ops, opaque, off + i, unit, a, v >> (8 * i)));
        }
        return res;
    }
    for (unsigned i = 0; i < size;) {
        unsigned skip = (off + i) % unit;
        unsigned n = size - i < unit - skip ? size - i : unit - skip;
        uint64_t part = ((v >> (8 * i)) & size_mask(n)) << (8 * skip);

        res = worse(res, call_write(ops, opaque, off + i - skip, unit, a, part));
        i += n;
    }
    return res;
}

/* ---- memory reached through the dispatcher ---- */

/* A region that is memory when read: RAM, ROM, ROMD in read mode. */
static uint8_t *memory_at(Region *r, hwaddr off, unsigned size, bool write)
{
    bool memory = r->kind == REGION_RAM || (!write && r->kind == REGION_ROM) ||
                  (!write && r->kind == REGION_ROMD && r->romd);

    if (!memory || !r->ram || off >= r->ram->size || r->ram->size - off < size) {
        return NULL;
    }
    return r->ram->host + off;
}

static bool known_size(unsigned size)
{
    return size == 1 || size == 2 || size == 4 || size == 8;
}

static MemResult device_read(Region *r, hwaddr off, unsigned size, MemAttrs a, uint64_t *v)
{
    const RegionOps *ops;
    MemOwner *owner = r->owner;
    MemResult res = MEM_OK;

    if (!enter(r)) {
        return MEM_DEVICE_ERROR;
    }
    ops = r->ops; /* only now: it may have been taken away while we waited */
    if (!accepted(r, ops, off, size)) {
        res = MEM_DECODE_ERROR;
    } else {
        unsigned step = size < valid_max(ops) ? size : valid_max(ops);

        *v = 0;
        for (unsigned i = 0; i < size; i += step) {
            uint64_t part;

            res = worse(res, read_sized(ops, r->opaque, off + i, step, a, &part));
            *v |= part << (8 * i);
        }
    }
    leave(owner);
    return res;
}

MemResult region_dispatch_read(Region *r, hwaddr off, unsigned size, MemAttrs a, uint64_t *v)
{
    MemResult res;
    uint8_t *host;

    *v = size_mask(size);
    if (!known_size(size) || r->kind == REGION_CONTAINER || r->kind == REGION_ALIAS) {
        return MEM_DECODE_ERROR;
    }
    if (r->kind == REGION_RESERVED) {
        return MEM_OK;
    }
    rcu_read_lock();
    host = memory_at(r, off, size, false);
    if (host) {
        *v = ld_le(host, size);
        res = MEM_OK;
    } else if (r->kind == REGION_RAM || r->kind == REGION_ROM) {
        res = MEM_DECODE_ERROR;
    } else {
        res = device_read(r, off, size, a, v);
        if (res == MEM_DEVICE_ERROR || res == MEM_DECODE_ERROR) {
            *v &= size_mask(size);
        }
    }
    rcu_read_unlock();
    return res;
}

static bool signal_eventfd(Region *r, hwaddr off, unsigned size, uint64_t v)
{
    GArray *fds = rcu_dereference(r->ioeventfds);

    for (guint i = 0; fds && i < fds->len; i++) {
        const EventfdEntry *e = &g_array_index(fds, EventfdEntry, i);
        uint64_t one = 1;

        if (e->addr == off && (!e->size || e->size == size) &&
            (!e->match || e->data == (v & size_mask(size)))) {
            /* A full counter means that the signal is pending anyway. */
            ssize_t n G_GNUC_UNUSED = write(e->fd, &one, sizeof(one));
            return true;
        }
    }
    return false;
}

static MemResult device_write(Region *r, hwaddr off, unsigned size, MemAttrs a, uint64_t v)
{
    const RegionOps *ops;
    MemOwner *owner = r->owner;
    MemResult res = MEM_OK;

    if (!enter(r)) {
        return MEM_DEVICE_ERROR;
    }
    ops = r->ops;
    if (!accepted(r, ops, off, size)) {
        res = MEM_DECODE_ERROR;
    } else {
        unsigned step = size < valid_max(ops) ? size : valid_max(ops);

        for (unsigned i = 0; i < size; i += step) {
            res = worse(res, write_sized(ops, r->opaque, off + i, step, a, v >> (8 * i)));
        }
    }
    leave(owner);
    return res;
}

MemResult region_dispatch_write(Region *r, hwaddr off, unsigned size, MemAttrs a, uint64_t v)
{
    MemResult res;
    uint8_t *host;

    if (!known_size(size) || r->kind == REGION_CONTAINER || r->kind == REGION_ALIAS) {
        return MEM_DECODE_ERROR;
    }
    if (r->kind == REGION_RESERVED || r->kind == REGION_ROM) {
        return MEM_OK;
    }
    rcu_read_lock();
    host = memory_at(r, off, size, true);
    if (host) {
        res = MEM_OK;
        if (!r->readonly) {
            st_le(host, size, v);
            ram_mark_dirty(r->ram, off, size);
        }
    } else if (r->kind == REGION_RAM) {
        res = MEM_DECODE_ERROR;
    } else if (signal_eventfd(r, off, size, v)) {
        res = MEM_OK;
    } else {
        res = device_write(r, off, size, a, v);
    }
    rcu_read_unlock();
    return res;
}
