/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * INTx: from a function's pin, swizzled through the bridges, to a line of the
 * root bus (PCI Local Bus 3.0, 2.2.6; PCI-to-PCI Bridge 1.2, 9.1).
 *
 * Each function remembers the root line it holds up, so that the number of
 * holders of a line is exact whatever happens: interrupt disable, rerouting,
 * reset, unplug, loading of a state.
 */
#include "hw/pci/internal.h"

void pci_irq_lock(PciBus *root)
{
    pthread_mutex_lock(&root->irq_lock);
}

void pci_irq_unlock(PciBus *root)
{
    pthread_mutex_unlock(&root->irq_lock);
}

/* The root's line for pin 0-3 of the function; -1 if the root routes nothing. */
static int route(const PciDevice *d, int pin)
{
    const PciBus *bus = pci_device_bus(d);
    uint8_t devfn = (uint8_t)d->devfn;
    int line;

    while (bus->bridge) {
        pin = (pin + PCI_SLOT(devfn)) & 3;
        devfn = (uint8_t)bus->bridge->devfn;
        bus = pci_device_bus(bus->bridge);
    }
    if (!bus->map_irq) {
        return -1;
    }
    line = bus->map_irq(bus->irq_opaque, devfn, pin);
    return line >= 0 && (unsigned)line < bus->nirq ? line : -1;
}

static int wanted_line(const PciDevice *d)
{
    uint8_t pin = d->config[PCI_INTERRUPT_PIN];
    uint16_t cmd = ld_le16(d->config + PCI_COMMAND);

    if (!d->intx_level || pin == 0 || pin > 4 || (cmd & PCI_COMMAND_INTX_DISABLE)) {
        return -1;
    }
    return route(d, pin - 1);
}

static void update_locked(PciBus *root, PciDevice *d)
{
    int line = wanted_line(d), old = d->intx_line;

    if (line == old) {
        return;
    }
    d->intx_line = (int16_t)line;
    if (line >= 0 && root->irq_count[line]++ == 0) {
        root->set_irq(root->irq_opaque, line, 1);
    }
    if (old >= 0 && --root->irq_count[old] == 0) {
        root->set_irq(root->irq_opaque, old, 0);
    }
}

void pci_intx_update(PciDevice *d)
{
    PciBus *root = pci_bus_root(pci_device_bus(d));

    pci_irq_lock(root);
    if (d->intx_level) {
        d->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
    } else {
        d->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
    }
    update_locked(root, d);
    pci_irq_unlock(root);
}

void pci_set_irq(PciDevice *d, int level)
{
    uint8_t now = level ? 1 : 0;

    if (__atomic_exchange_n(&d->intx_level, now, __ATOMIC_SEQ_CST) != now) {
        pci_intx_update(d);
    }
}

static void line_set(void *opaque, int n, int level)
{
    pci_set_irq(opaque, level);
}

IrqLine pci_irq_line(PciDevice *d)
{
    return (IrqLine){.set = line_set, .opaque = d};
}

static void remap_one(PciDevice *d, void *opaque)
{
    update_locked(opaque, d);
}

void pci_irq_remap(PciBus *root)
{
    pci_irq_lock(root);
    pci_each(root, remap_one, root);
    pci_irq_unlock(root);
}
