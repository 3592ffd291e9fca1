/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/core/irq.h: an interrupt line is a value: whom to call, and which input.
 *
 * Interrupt controllers are leaves of the lock order: their handlers take a
 * small lock of their own (or none) and may be called from any thread, with any
 * loop's lock held.  An unconnected line is all zeroes; raising it does nothing.
 */
#ifndef RHEA_HW_CORE_IRQ_H
#define RHEA_HW_CORE_IRQ_H

#include <stdbool.h>
#include <stddef.h>

typedef struct IrqLine {
    void (*set)(void *opaque, int n, int level);
    void *opaque;
    int n;
} IrqLine;

/* Whoever watches lines for a test: input number and new level. Any thread. */
typedef void IrqTap(void *opaque, int n, int level);

static inline void irq_set(IrqLine line, int level)
{
    if (line.set) {
        line.set(line.opaque, line.n, level);
    }
}
static inline void irq_raise(IrqLine line)
{
    irq_set(line, 1);
}
static inline void irq_lower(IrqLine line)
{
    irq_set(line, 0);
}
static inline void irq_pulse(IrqLine line)
{
    irq_set(line, 1);
    irq_set(line, 0);
}
static inline bool irq_connected(IrqLine line)
{
    return line.set != NULL;
}

#endif
