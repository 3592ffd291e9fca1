/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SATA controller of Intel's ICH9 in AHCI mode (Serial ATA AHCI 1.3; ICH9 data
 * sheet 316972): the PCI function, generic registers, interrupts.
 */
#include "hw/ide/ahci.h"

#define MEM_SIZE 0x1000
#define PORT_BASE 0x100u
#define PORT_SIZE 0x80u
#define GHC_HR 0x00000001u
#define GHC_IE 0x00000002u
#define GHC_AE 0x80000000u
/* 6 ports, 32 slots, 1.5 Gb/s, AHCI only, queueing, 64-bit addresses */
#define CAP (0xc0000000u | 1u << 20 | 1u << 18 | 31u << 8 | (AHCI_PORTS - 1))
#define VERSION 0x00010300u
#define SATA_CAP 0xa8
#define MSI_CAP 0x80

AddressSpace *ahci_as(AhciPort *p)
{
    return p->hba->pci.as;
}

/* ---- interrupts ---- */

void ahci_update_irq(Ahci *s, bool event)
{
    for (unsigned n = 0; n < AHCI_PORTS; n++) {
        AhciPort *p = &s->port[n];
        if (p->is & p->ie) {
            s->is |= 1u << n;
        }
    }
    bool on = s->is && (s->ghc & GHC_IE);
    if (pci_msi_enabled(&s->pci)) {
        if (on && event) {
            pci_msi_notify(&s->pci, 0);
        }
        pci_set_irq(&s->pci, 0);
    } else {
        pci_set_irq(&s->pci, on);
    }
}

void ahci_port_event(AhciPort *p, uint32_t bits)
{
    if (bits) {
        p->is |= bits;
        ahci_update_irq(p->hba, (p->is & p->ie & bits) != 0);
    }
}

/* ---- registers ---- */

static void hba_reset(Ahci *s, bool power_on)
{
    s->ghc = GHC_AE;
    s->is = 0;
    s->idp_index = 0;
    for (unsigned n = 0; n < AHCI_PORTS; n++) {
        AhciPort *p = &s->port[n];
        p->clb = p->clbu = p->fb = p->fbu = 0;
        p->is = p->ie = p->cmd = p->sctl = 0;
        ahci_port_reset(p, true);
    }
    ahci_update_irq(s, false);
}

static uint32_t mem_read32(Ahci *s, hwaddr off)
{
    if (off >= PORT_BASE) {
        unsigned n = (unsigned)(off - PORT_BASE) / PORT_SIZE;
        return n < AHCI_PORTS ? ahci_port_read(&s->port[n], (off - PORT_BASE) % PORT_SIZE) : 0;
    }
    switch (off) {
    case 0x00:
        return CAP;
    case 0x04:
        return s->ghc;
    case 0x08:
        return s->is;
    case 0x0c:
        return (1u << AHCI_PORTS) - 1;
    case 0x10:
        return VERSION;
    default:
        return 0;
    }
}

static void mem_write32(Ahci *s, hwaddr off, uint32_t v)
{
    if (off >= PORT_BASE) {
        unsigned n = (unsigned)(off - PORT_BASE) / PORT_SIZE;
        if (n < AHCI_PORTS) {
            ahci_port_write(&s->port[n], (off - PORT_BASE) % PORT_SIZE, v);
        }
        return;
    }
    switch (off) {
    case 0x04:
        if (v & GHC_HR) {
            hba_reset(s, false);
            break;
        }
        s->ghc = GHC_AE | (v & GHC_IE);
        ahci_update_irq(s, true);
        break;
    case 0x08:
        s->is &= ~v;
        ahci_update_irq(s, true); /* what still stands is told again */
        break;
    default:
        break;
    }
}

static uint64_t mem_read(void *opaque, hwaddr off, unsigned size)
{
    /* Narrow reads take their part of the register. */
    uint32_t v = mem_read32(opaque, off & ~3ull);
    return v >> (8 * (off & 3));
}

static void mem_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    if (size == 4 && !(off & 3)) {
        mem_write32(opaque, off, (uint32_t)v);
    }
}

static const RegionOps mem_ops = {.read = mem_read, .write = mem_write};

/* Index and data: the same registers by way of two I/O ports. */
static uint64_t idp_read(void *opaque, hwaddr off, unsigned size)
{
    Ahci *s = opaque;
    if (off == 0x10) {
        return s->idp_index;
    }
    return off == 0x14 ? mem_read32(s, s->idp_index) : 0;
}

static void idp_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    Ahci *s = opaque;
    if (off == 0x10) {
        s->idp_index = (uint32_t)v & (MEM_SIZE - 4);
    } else if (off == 0x14) {
        mem_write32(s, s->idp_index, (uint32_t)v);
    }
}

static const RegionOps idp_ops = {
    .read = idp_read, .write = idp_write, .impl_min = 4, .impl_max = 4};

/* ---- life ---- */

static bool add_capabilities(Ahci *s, Error **errp)
{
    uint8_t cap = pci_add_capability(&s->pci, PCI_CAP_ID_SATA, SATA_CAP, 8, errp);
    if (!cap || !pci_msi_init(&s->pci, MSI_CAP, 1, true, false, errp)) {
        return false;
    }
    pci_config_set(&s->pci, cap + 2u, 2, 0x0010);      /* revision 1.0 */
    pci_config_set(&s->pci, cap + 4u, 4, 8 | 4u << 4); /* index/data pair: BAR 4, offset 16 */
    return true;
}

static bool ahci_realize(Device *dev, Error **errp)
{
    Ahci *s = (Ahci *)dev;
    pci_config_set(&s->pci, PCI_INTERRUPT_PIN, 1, 1);
    pci_config_set(&s->pci, PCI_CACHE_LINE_SIZE, 1, 8);
    pci_config_set(&s->pci, PCI_LATENCY_TIMER, 1, 0);
    pci_config_set(&s->pci, 0x90, 1, 0x40); /* address map: AHCI mode */
    if (!add_capabilities(s, errp)) {
        return false;
    }
    region_init_io(&s->mem, &dev->owner, &mem_ops, s, "ahci", MEM_SIZE);
    region_init_io(&s->idp, &dev->owner, &idp_ops, s, "ahci-idp", 32);
    pci_register_bar(&s->pci, 4, PCI_BASE_ADDRESS_SPACE_IO, &s->idp);
    pci_register_bar(&s->pci, 5, 0, &s->mem);
    for (unsigned n = 0; n < AHCI_PORTS; n++) {
        ahci_port_init(s, n);
    }
    return true;
}

static void ahci_unrealize(Device *dev)
{
    Ahci *s = (Ahci *)dev;
    for (unsigned n = 0; n < AHCI_PORTS; n++) {
        loop_defer_cancel(dev->owner.loop, &s->port[n]);
        ide_bus_fini(&s->port[n].bus);
    }
    region_fini(&s->mem);
    region_fini(&s->idp);
}

static void ahci_reset(Device *dev)
{
    hba_reset((Ahci *)dev, true);
}

static bool ahci_check(const void *opaque, Error **errp)
{
    const Ahci *s = opaque;
    if (s->idp_index & 3) {
        error_set(errp, "AHCI: the index register is odd");
        return false;
    }
    return true;
}

static void ahci_loaded(void *opaque)
{
    ahci_update_irq(opaque, false);
}

static const StateField ahci_fields[] = {
    STATE_F_PCI(Ahci, pci),
    STATE_F_UINT(Ahci, ghc),
    STATE_F_UINT_MAX(Ahci, is, (1u << AHCI_PORTS) - 1),
    STATE_F_UINT_MAX(Ahci, idp_index, MEM_SIZE - 4),
    STATE_F_STRUCT_ARRAY(Ahci, port, ahci_port_state),
    {0},
};
static const StateDesc ahci_state = {.name = "ich9-ahci",
                                     .version = 1,
                                     .fields = ahci_fields,
                                     .check = ahci_check,
                                     .loaded = ahci_loaded};

static const PciClass ahci_class = {
    .device = {.realize = ahci_realize,
               .unrealize = ahci_unrealize,
               .reset = ahci_reset,
               .state = &ahci_state,
               .bus_type = TYPE_PCI_BUS,
               .category = DEVICE_CATEGORY_STORAGE,
               .user_creatable = true},
    .vendor_id = PCI_VENDOR_ID_INTEL,
    .device_id = 0x2922,
    .class_id = PCI_CLASS_STORAGE_SATA,
    .revision = 2,
    .prog_if = 1,
};

static const char *const ahci_aliases[] = {"ahci", NULL};
OBJECT_TYPE(ahci_type, .name = "ich9-ahci", .parent = TYPE_PCI_DEVICE, .size = sizeof(Ahci),
            .help = "SATA controller of the ICH9, AHCI", .klass = &ahci_class,
            .aliases = ahci_aliases)
