/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What PIIX3 and ICH9-LPC have in common as their boards' bridges to ISA. */
#include "hw/i386/southbridge.h"

void isa_bridge_init(PciDevice *d, IsaBus *isa, const IsaBridge *b)
{
    Machine *m = d->dev.machine;
    PcMachine *pc = PC_MACHINE(m);
    PciBus *bus = pci_device_bus(d);

    isa_bus_init(isa, &d->dev, m, &m->io, bus->mem);
    for (unsigned n = 0; n < 16; n++) {
        isa->irqs[n] = gsi_line(&pc->gsi, n, GSI_ISA);
    }
    m->isa = isa;
    bus->map_irq = b->map_irq;
    bus->set_irq = b->set_irq;
    bus->irq_opaque = d;
    bus->nirq = b->pirqs;
    pc->host->reset_read = b->reset_read;
    pc->host->reset_write = b->reset_write;
    pc->host->reset_opaque = d;
}

void isa_bridge_fini(PciDevice *d, IsaBus *isa)
{
    Machine *m = d->dev.machine;
    PcMachine *pc = PC_MACHINE(m);

    pc->host->reset_read = NULL;
    pc->host->reset_write = NULL;
    pci_device_bus(d)->map_irq = NULL;
    m->isa = NULL;
    bus_fini(&isa->bus);
}
