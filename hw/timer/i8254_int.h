/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/timer/i8254_int.h: the timer's state, for the device and for the one that keeps it for a
 * timer in the kernel.
 */
#ifndef RHEA_HW_TIMER_I8254_INT_H
#define RHEA_HW_TIMER_I8254_INT_H

#include "accel/irqchip.h"
#include "hw/timer/i8254.h"

typedef struct Counter {
    uint32_t n;      /* ticks of one period or shot, 1-65536; 0: nothing loaded yet */
    uint32_t next_n; /* waits for the end of the period (modes 2 and 3); 0: none */
    int64_t start;   /* when counting began or went on */
    int64_t base;    /* ticks that had passed by then */
    bool counting;   /* the gate lets it, and it was loaded or triggered */
    uint8_t mode;    /* 0-5 */
    uint8_t rw;      /* 1 LSB, 2 MSB, 3 both */
    bool bcd, gate;
    bool null_count; /* written, not yet in the counting element */
    bool write_high; /* rw 3: the next write is the high byte */
    bool read_high;  /* rw 3: likewise for reads */
    uint8_t write_low;
    bool latched, status_latched;
    uint16_t latch;
    uint8_t status;
} Counter;

struct I8254 {
    IsaDevice isa;
    Region io;
    uint32_t iobase; /* property */
    Counter c[3];
    IrqLine irq;
    bool irq_level;
    Timer timer;
    /* the engine's timer, whose state this then holds */
    const AccelIrqchip *chip; /* NULL: there is none */
    int policy;               /* property of kvm-pit */
    bool running;             /* the engine has the state; else `c` has */
    bool hpet_legacy;         /* the HPET has taken counter 0's place */
};

bool i8254_realize(Device *dev, Error **errp);
void i8254_unrealize(Device *dev);
void i8254_reset(Device *dev);
extern const StateDesc i8254_state;
/* What the classes of both types are, but for realize(). */
#define I8254_CLASS(realize_)                                                              \
    {                                                                                      \
        .realize = (realize_), .unrealize = i8254_unrealize, .reset = i8254_reset,         \
        .state = &i8254_state, .bus_type = TYPE_ISA_BUS, .category = DEVICE_CATEGORY_MISC, \
        .not_hotpluggable = true,                                                          \
    }
int64_t i8254_now(const I8254 *s);
int64_t i8254_ticks_to_ns(int64_t ticks);
uint32_t i8254_from_bcd(uint16_t v);
uint16_t i8254_to_bcd(uint32_t v);

/* i8254_kernel.c: has the machine's engine a timer of its own? */
const AccelIrqchip *i8254_kernel(const Machine *m);
/* Its state into `c` before somebody looks, and back after somebody changed it. */
void i8254_pull(I8254 *s);
void i8254_push(I8254 *s);

#endif
