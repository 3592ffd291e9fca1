/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest buffers of DMA transfers. */
#include "hw/ide/ide.h"

typedef struct SgMap {
    void *host;
    size_t len;
    hwaddr addr;
    bool copy; /* not RAM: `host` is ours */
} SgMap;

void ide_sg_init(IdeSg *sg, AddressSpace *as)
{
    memset(sg, 0, sizeof(*sg));
    sg->as = as;
    sg->segs = g_array_new(FALSE, FALSE, sizeof(IdeSegment));
}

void ide_sg_add(IdeSg *sg, hwaddr addr, uint32_t len)
{
    if (!len) {
        return;
    }
    if (sg->segs->len) {
        IdeSegment *last = &g_array_index(sg->segs, IdeSegment, sg->segs->len - 1);
        if (last->addr + last->len == addr && last->len <= UINT32_MAX - len) {
            last->len += len;
            sg->size += len;
            return;
        }
    }
    IdeSegment s = {addr, len};
    g_array_append_val(sg->segs, s);
    sg->size += len;
}

/* One segment, in as many pieces as its RAM lies in. */
static bool map_segment(IdeSg *sg, hwaddr addr, size_t left)
{
    while (left) {
        SgMap m = {.addr = addr, .len = left};
        m.host = address_space_map(sg->as, addr, &m.len, sg->to_guest);
        if (!m.host || !m.len) {
            m.len = left;
            m.copy = true;
            m.host = g_try_malloc0(left);
            if (!m.host || (!sg->to_guest && address_space_read(sg->as, addr, MEM_ATTRS_NONE,
                                                                m.host, left) != MEM_OK)) {
                g_free(m.host);
                return false;
            }
        }
        g_array_append_val(sg->maps, m);
        iovec_add(&sg->v, m.host, m.len);
        addr += m.len;
        left -= m.len;
    }
    return true;
}

bool ide_sg_map(IdeSg *sg, bool to_guest)
{
    sg->to_guest = to_guest;
    sg->mapped = true;
    sg->maps = g_array_new(FALSE, FALSE, sizeof(SgMap));
    for (guint i = 0; i < sg->segs->len; i++) {
        IdeSegment *s = &g_array_index(sg->segs, IdeSegment, i);
        if (!map_segment(sg, s->addr, s->len)) {
            return false;
        }
    }
    return true;
}

void ide_sg_free(IdeSg *sg)
{
    for (guint i = 0; sg->mapped && i < sg->maps->len; i++) {
        SgMap *m = &g_array_index(sg->maps, SgMap, i);
        if (!m->copy) {
            address_space_unmap(sg->as, m->host, m->len, sg->to_guest);
            continue;
        }
        if (sg->to_guest) {
            address_space_write(sg->as, m->addr, MEM_ATTRS_NONE, m->host, m->len);
        }
        g_free(m->host);
    }
    if (sg->maps) {
        g_array_free(sg->maps, TRUE);
    }
    if (sg->segs) {
        g_array_free(sg->segs, TRUE);
    }
    iovec_free(&sg->v);
    memset(sg, 0, sizeof(*sg));
}

bool ide_sg_copy(IdeSg *sg, uint64_t skip, void *buf, size_t len, bool to_guest)
{
    uint8_t *p = buf;
    bool ok = true;
    for (guint i = 0; i < sg->segs->len && len; i++) {
        IdeSegment s = g_array_index(sg->segs, IdeSegment, i);
        if (skip >= s.len) {
            skip -= s.len;
            continue;
        }
        size_t now = MIN((size_t)(s.len - skip), len);
        MemResult r = to_guest ? address_space_write(sg->as, s.addr + skip, MEM_ATTRS_NONE, p, now)
                               : address_space_read(sg->as, s.addr + skip, MEM_ATTRS_NONE, p, now);
        ok = ok && r == MEM_OK;
        skip = 0;
        p += now;
        len -= now;
    }
    return ok && !len;
}
