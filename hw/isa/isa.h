/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/isa/isa.h: the ISA bus: 16 interrupt lines, port space, DMA channels.
 *
 * The bus belongs to the south bridge (PIIX or ICH9), which routes its lines to
 * the 8259s and the I/O APIC.
 */
#ifndef RHEA_HW_ISA_ISA_H
#define RHEA_HW_ISA_ISA_H

#include "hw/core/device.h"

typedef struct IsaBus IsaBus;
typedef struct IsaDevice IsaDevice;

/*
 * The 8237 pair, as seen by an ISA device that moves data by DMA (hw/isa/i8237.c).
 * A transfer callback moves bytes with isa_dma_read/write_memory and returns the
 * new count position.
 */
typedef struct IsaDma IsaDma;
typedef int IsaDmaFn(void *opaque, int channel, int pos, int size);
typedef struct IsaDmaOps {
    void (*hold_dreq)(IsaDma *dma, int channel);
    void (*release_dreq)(IsaDma *dma, int channel);
    /* Memory <- device (write) or device <- memory (read), at the channel's address + pos. */
    int (*read_memory)(IsaDma *dma, int channel, void *buf, int pos, int len);
    int (*write_memory)(IsaDma *dma, int channel, const void *buf, int pos, int len);
    void (*register_channel)(IsaDma *dma, int channel, IsaDmaFn *fn, void *opaque);
    /* Runs pending transfers now (called after hold_dreq, from the device's loop). */
    void (*schedule)(IsaDma *dma);
} IsaDmaOps;
struct IsaDma {
    const IsaDmaOps *ops;
};

struct IsaBus {
    Bus bus;
    Region *io, *mem;
    IrqLine irqs[16];
    IsaDma *dma; /* channels 0-3 and 5-7 */
};
#define TYPE_ISA_BUS "ISA"
#define ISA_BUS(o) OBJECT_CAST(IsaBus, o, TYPE_ISA_BUS)

struct IsaDevice {
    Device dev;
    int ioport_id; /* first port: for bootorder and info qtree; -1 none */
};
#define TYPE_ISA_DEVICE "isa-device"
#define ISA_DEVICE(o) OBJECT_CAST(IsaDevice, o, TYPE_ISA_DEVICE)

static inline IsaBus *isa_device_bus(const IsaDevice *d)
{
    return (IsaBus *)d->dev.bus;
}
void isa_bus_init(IsaBus *bus, Device *parent, Machine *m, Region *io, Region *mem);
IrqLine isa_irq(IsaDevice *d, unsigned n); /* n <= 15 */
/* Registers an initialized region at a port; region_fini() in unrealize. */
void isa_register_io(IsaDevice *d, Region *r, uint16_t port);
/* Machine's own: new device of `type` on the bus; set properties, then device_realize. */
IsaDevice *isa_new(const char *type);

#endif
