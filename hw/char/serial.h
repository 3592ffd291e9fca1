/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/char/serial.h: the 16550A UART, for ISA ports and PCI cards.
 *
 * National Semiconductor PC16550D data sheet.  Bytes leave at once, not at the
 * speed of the line; receiving keeps the FIFO's trigger level and time-out.
 */
#ifndef RHEA_HW_CHAR_SERIAL_H
#define RHEA_HW_CHAR_SERIAL_H

#include "chardev/chardev.h"
#include "hw/isa/isa.h"

#define TYPE_ISA_SERIAL "isa-serial" /* chardev, index, iobase, irq, baudbase, wakeup */
#define TYPE_ISA_PARALLEL "isa-parallel"
#define TYPE_ISA_DEBUGCON "isa-debugcon"

#define SERIAL_FIFO 16

typedef struct Serial {
    Region io; /* 8 bytes */
    CharFrontend chr;
    EventLoop *loop;
    const char *name; /* of the device, for messages */
    IrqLine irq;
    uint32_t baudbase;
    void (*wakeup)(void *opaque); /* a byte has come: for machines asleep; or NULL */
    void *wakeup_opaque;

    uint8_t rbr, thr, ier, iir, lcr, mcr, lsr, msr, scr, fcr;
    uint16_t divider;
    bool thr_ipending, timeout_ipending;
    uint8_t rx[SERIAL_FIFO], tx[SERIAL_FIFO];
    uint32_t rx_head, rx_len, tx_head, tx_len;
    uint8_t rx_trigger;
    bool break_on;
    bool wait_writable; /* the backend is full: char_when_writable() is armed */
    Timer rx_timeout;
} Serial;

/* The owner sets irq, baudbase and name before; realize makes the region `io`. */
bool serial_realize(Serial *s, Device *owner, Chardev *chr, Error **errp);
void serial_unrealize(Serial *s);
void serial_reset(Serial *s);
extern const StateDesc serial_state;

/*
 * COM n (0-3) on the bus with QEMU's ports and lines (3f8/4, 2f8/3, 3e8/4, 2e8/3).
 * chr may be NULL.
 */
bool isa_serial_new(Machine *m, IsaBus *bus, unsigned index, Chardev *chr, Error **errp);
bool isa_parallel_new(Machine *m, IsaBus *bus, unsigned index, Chardev *chr, Error **errp);

#endif
