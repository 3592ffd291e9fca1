/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/i386/gsi.h"

#include "util/bits.h"

#include <assert.h>

void gsi_init(Gsi *g)
{
    *g = (Gsi){0};
    pthread_mutex_init(&g->lock, NULL);
}

void gsi_fini(Gsi *g)
{
    pthread_mutex_destroy(&g->lock);
}

static void set(void *opaque, int n, int level)
{
    Gsi *g = opaque;
    unsigned wire = (unsigned)n & 0xff, source = (unsigned)n >> 8;
    uint8_t old, now;

    pthread_mutex_lock(&g->lock);
    old = g->held[wire];
    now = level ? old | (uint8_t)(1u << source) : old & (uint8_t) ~(1u << source);
    g->held[wire] = now;
    if (!old != !now) {
        /* The timer's wire leads to pin 2 of the I/O APIC, where the 8259 has its cascade. */
        if (wire < 16) {
            irq_set(g->pic[wire], now != 0);
        }
        if (g->tap) {
            g->tap(g->tap_opaque, wire == 0 ? 2 : (int)wire, now != 0);
        } else {
            irq_set(g->ioapic[wire == 0 ? 2 : wire], now != 0);
        }
    }
    pthread_mutex_unlock(&g->lock);
}

IrqLine gsi_line(Gsi *g, unsigned n, GsiSource source)
{
    assert(n < GSI_COUNT && source < GSI_SOURCES);
    return (IrqLine){.set = set, .opaque = g, .n = (int)(n | (unsigned)source << 8)};
}

void pirq_update(PirqRouter *r, Gsi *g)
{
    uint16_t level = 0, changed;

    for (unsigned p = 0; p < ARRAY_LEN(r->route); p++) {
        if ((r->levels & BIT(p)) && !(r->route[p] & PIRQ_OFF)) {
            level |= (uint16_t)BIT(r->route[p] & 15);
        }
    }
    changed = level ^ r->told;
    r->told = level;
    for (unsigned n = 0; n < 16; n++) {
        if (changed & BIT(n)) {
            irq_set(gsi_line(g, n, GSI_PIRQ), (level >> n) & 1);
        }
    }
}

void pirq_set(PirqRouter *r, Gsi *g, int line, int level)
{
    if (level) {
        r->levels |= (uint8_t)BIT(line);
    } else {
        r->levels &= (uint8_t)~BIT(line);
    }
    pirq_update(r, g);
}

void gsi_intercept(Gsi *g, IrqTap *tap, void *opaque)
{
    pthread_mutex_lock(&g->lock);
    g->tap = tap;
    g->tap_opaque = opaque;
    pthread_mutex_unlock(&g->lock);
}
