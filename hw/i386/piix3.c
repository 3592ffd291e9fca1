/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PIIX3, function 0: PCI-to-ISA bridge, router of PIRQA-D and reset control
 * (Intel 82371SB data sheet, 290550).
 */
#include "hw/i386/southbridge.h"
#include "util/trace.h"

TRACE_EVENT(piix3_pirq, "pirq %d level %d irq %u")

#define REG_PIRQ 0x60
#define PIRQS 4
#define RCR_RESET 4

typedef struct Piix3 {
    PciDevice pci;
    IsaBus isa;
    uint8_t rcr;
    /* under the root bus's irq_lock */
    PirqRouter pirqs;
} Piix3;
#define PIIX3(o) OBJECT_CAST(Piix3, o, TYPE_PIIX3)

/* PCI slot and pin to PIRQ, as the traces of the board run: slot 1 INTA is PIRQA. */
static int map_irq(void *opaque, uint8_t devfn, int pin)
{
    return (pin + PCI_SLOT(devfn) - 1) & 3;
}

static Gsi *wires(Piix3 *s)
{
    return &PC_MACHINE(s->pci.dev.machine)->gsi;
}

static void set_irq(void *opaque, int line, int level)
{
    Piix3 *s = opaque;

    trace(piix3_pirq, line, level, s->pirqs.route[line]);
    pirq_set(&s->pirqs, wires(s), line, level);
}

static void routes_changed(Piix3 *s)
{
    PciBus *bus = pci_device_bus(&s->pci);

    pci_irq_lock(bus);
    memcpy(s->pirqs.route, s->pci.config + REG_PIRQ, PIRQS);
    pirq_update(&s->pirqs, wires(s));
    pci_irq_unlock(bus);
}

static void config_written(PciDevice *d, uint32_t addr, uint32_t value, unsigned len)
{
    if (addr < REG_PIRQ + PIRQS && addr + len > REG_PIRQ) {
        routes_changed(PIIX3(d));
    }
}

/* ---- reset control ---- */
static uint8_t rcr_read(void *opaque)
{
    return ((Piix3 *)opaque)->rcr;
}

static void rcr_write(void *opaque, uint8_t v)
{
    Piix3 *s = opaque;

    s->rcr = v & 2; /* hard or soft */
    if (v & RCR_RESET) {
        machine_request_reset(s->pci.dev.machine, RESET_GUEST);
    }
}

/* ---- life ---- */
static const IsaBridge bridge = {.map_irq = map_irq,
                                 .set_irq = set_irq,
                                 .reset_read = rcr_read,
                                 .reset_write = rcr_write,
                                 .pirqs = PIRQS};

static bool realize(Device *dev, Error **errp)
{
    Piix3 *s = PIIX3(dev);
    PciDevice *d = &s->pci;

    pci_config_set(d, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    pci_config_set(d, PCI_STATUS, 2, PCI_STATUS_DEVSEL_MEDIUM);
    pci_set_wmask(d, PCI_COMMAND, 2, PCI_COMMAND_SPECIAL);
    /* Timing, DMA, memory-top, PIRQ, APIC base, chip-select and power registers. */
    memset(d->wmask + 0x4c, 0xff, 4);
    memset(d->wmask + REG_PIRQ, 0x8f, PIRQS);
    memset(d->wmask + 0x69, 0xff, 2);
    memset(d->wmask + 0x70, 0xff, 2);
    memset(d->wmask + 0x76, 0xff, 4);
    memset(d->wmask + 0x80, 0xff, 3);
    memset(d->wmask + 0xa0, 0xff, 16);
    isa_bridge_init(d, &s->isa, &bridge);
    return true;
}

static void unrealize(Device *dev)
{
    Piix3 *s = PIIX3(dev);

    isa_bridge_fini(&s->pci, &s->isa);
}

static void reset(Device *dev)
{
    Piix3 *s = PIIX3(dev);
    uint8_t *c = s->pci.config;

    c[0x4c] = 0x4d; /* I/O recovery */
    c[0x4e] = 0x03;
    c[0x4f] = 0x00;
    memset(c + REG_PIRQ, PIRQ_OFF, PIRQS);
    c[0x69] = 0x02;
    c[0x6a] = 0x00;
    c[0x70] = c[0x71] = 0x80;
    c[0x76] = c[0x77] = 0x0c;
    c[0x78] = 0x02;
    c[0x79] = 0x00;
    memset(c + 0x80, 0, 3);
    memset(c + 0xa0, 0, 16);
    c[0xa0] = 0x08;
    c[0xa8] = 0x0f;
    s->rcr = 0;
    routes_changed(s);
}

static void state_loaded(void *obj)
{
    routes_changed(obj);
}

static const StateField fields[] = {
    STATE_F_PCI(Piix3, pci),
    STATE_F_UINT_MAX(Piix3, rcr, 2),
    {0},
};
static const StateDesc state = {
    .name = "PIIX3", .version = 1, .fields = fields, .loaded = state_loaded};

static const PciClass piix3_class = {
    .device = PC_BRIDGE_DEVICE,
    .vendor_id = PCI_VENDOR_ID_INTEL,
    .device_id = 0x7000,
    .class_id = PCI_CLASS_BRIDGE_ISA,
    .config_written = config_written,
};

OBJECT_TYPE(piix3_type, .name = TYPE_PIIX3, .parent = TYPE_PCI_DEVICE,
            .help = "PIIX3 PCI-to-ISA bridge", .size = sizeof(Piix3), .klass = &piix3_class)
