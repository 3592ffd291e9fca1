/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 82540EM ("e1000").  Specification: Intel 317453.  This file: registers,
 * EEPROM, PHY, interrupts, life; e1000-ring.c moves packets.
 */
#include "hw/net/e1000.h"

#include "util/log.h"
#include "util/trace.h"

#include <string.h>

TRACE_EVENT(e1000_read, "reg 0x%x value 0x%x")
TRACE_EVENT(e1000_write, "reg 0x%x value 0x%x")
TRACE_EVENT(e1000_irq, "icr 0x%x ims 0x%x level %d")

#define MMIO_SIZE 0x20000u
#define IO_SIZE 0x40u

/* ---- interrupts ---- */

static void update_irq(E1000 *d)
{
    bool pending = d->reg[E_ICR / 4] & d->reg[E_IMS / 4];
    if (pending && !d->irq_level) {
        /* ITR: at least so many 256 ns units between two interrupts. */
        int64_t now = clock_virtual(loop_clocks(d->pci.dev.owner.loop));
        int64_t gap = (int64_t)(d->reg[E_ITR / 4] & 0xffff) * 256;
        if (gap && now < d->last_irq + gap) {
            if (!timer_pending(&d->itr_timer)) {
                timer_mod(&d->itr_timer, d->last_irq + gap);
            }
            return;
        }
        d->last_irq = now;
    }
    if (pending != d->irq_level) {
        trace(e1000_irq, d->reg[E_ICR / 4], d->reg[E_IMS / 4], pending);
    }
    d->irq_level = pending;
    pci_set_irq(&d->pci, pending);
}

static void itr_expired(void *opaque)
{
    update_irq(opaque);
}

void e1000_raise(E1000 *d, uint32_t causes)
{
    d->reg[E_ICR / 4] |= causes;
    update_irq(d);
}

/* ---- EEPROM (64 words): MAC, identity, checksum ---- */

static void make_eeprom(E1000 *d)
{
    uint16_t *e = d->eeprom, sum = 0;
    memset(e, 0, sizeof(d->eeprom));
    for (int i = 0; i < 3; i++) {
        e[i] = ld_le16(d->conf.mac + i * 2);
    }
    e[0x03] = 0x0e20;
    e[0x04] = 0xffff;
    e[0x08] = 0x3000; /* printed board assembly number */
    e[0x09] = 0x0100;
    e[0x0a] = 0x4408; /* initialization control 1 */
    e[0x0b] = PCI_SUBDEVICE_ID_QEMU;
    e[0x0c] = PCI_SUBVENDOR_ID_QUMRANET;
    e[0x0d] = 0x100e; /* 82540EM */
    e[0x0e] = PCI_VENDOR_ID_INTEL;
    e[0x0f] = 0x0c44;
    for (int i = 0; i < 0x3f; i++) {
        sum = (uint16_t)(sum + e[i]);
    }
    e[0x3f] = (uint16_t)(0xbaba - sum);
}

/* The Microwire pins: start bit, opcode (2), address (6), then 16 data bits out. */
static void eecd_write(E1000 *d, uint32_t v)
{
    uint32_t old = d->eecd;
    d->eecd = v & (EECD_SK | EECD_CS | EECD_DI | EECD_FWE | EECD_REQ);
    if (!(v & EECD_CS)) {
        d->eeprom_bits = d->eeprom_in = 0;
        d->eeprom_out = 0;
        return;
    }
    if ((old & EECD_SK) || !(v & EECD_SK)) {
        return; /* only the rising edge counts */
    }
    if (d->eeprom_bits < 9) {
        if (d->eeprom_bits || (v & EECD_DI)) { /* zeros before the start bit do not count */
            d->eeprom_in = (uint16_t)(d->eeprom_in << 1 | ((v & EECD_DI) ? 1 : 0));
            d->eeprom_bits++;
        }
        if (d->eeprom_bits == 9) {
            bool read = (d->eeprom_in >> 6) == 6; /* start, 1, 0 */
            d->eeprom_out = read ? d->eeprom[d->eeprom_in & 0x3f] : 0;
            d->eeprom_out_left = 16;
        }
    } else if (d->eeprom_out_left) {
        d->eeprom_out_left--;
    }
}

static uint32_t eecd_read(const E1000 *d)
{
    uint32_t v = d->eecd | EECD_PRES | ((d->eecd & EECD_REQ) ? EECD_GNT : 0);
    bool out = d->eeprom_bits == 9 && d->eeprom_out_left < 16
                   ? (d->eeprom_out >> d->eeprom_out_left) & 1
                   : d->eeprom_bits < 9; /* ready when idle, 0 before the data */
    return v | (out ? EECD_DO : 0);
}

/* ---- PHY: a Marvell 88E1011 with a finished negotiation ---- */

static void phy_reset(E1000 *d)
{
    memset(d->phy, 0, sizeof(d->phy));
    d->phy[0] = 0x1140; /* auto-negotiation, full duplex, 1000 */
    d->phy[1] = 0x7949 | 0x0020 | (d->link_up ? 0x0004 : 0); /* complete, link */
    d->phy[2] = 0x0141;                                      /* identifier */
    d->phy[3] = 0x0c20;
    d->phy[4] = 0x0de1; /* what we advertise */
    d->phy[5] = 0x41e1; /* what the partner does */
    d->phy[6] = 0x0001;
    d->phy[9] = 0x0e00; /* 1000BASE-T */
    d->phy[10] = 0x3c00;
    d->phy[15] = 0x3000;
    d->phy[16] = 0x0068;
    d->phy[17] = (uint16_t)(0xa800 | (d->link_up ? 0x0400 : 0)); /* 1000, full, resolved */
}

static void mdic_write(E1000 *d, uint32_t v)
{
    unsigned n = (v >> 16) & 0x1f, addr = (v >> 21) & 0x1f;
    if (addr != 1) {
        v |= MDIC_ERROR;
    } else if (v & MDIC_OP_READ) {
        v = (v & ~0xffffu) | d->phy[n];
    } else if (v & MDIC_OP_WRITE) {
        bool writable =
            n == 0 || n == 4 || n == 9 || n == 16 || n == 18 || n == 20 || n == 29 || n == 30;
        if (n == 0 && (v & 0x8000)) {
            phy_reset(d);
        } else if (writable) {
            /* Restart of the negotiation ends at once. */
            d->phy[n] = (uint16_t)(n == 0 ? v & ~0x8200u : v);
        }
    }
    d->reg[E_MDIC / 4] = v | MDIC_READY;
    if (v & MDIC_INT) {
        e1000_raise(d, INT_MDAC);
    }
}

/* ---- registers ---- */

static void set_link_status(E1000 *d)
{
    uint32_t s = STATUS_FD | STATUS_SPEED_1000 | STATUS_ASDV_1000 | STATUS_PCI66;
    d->reg[E_STATUS / 4] = s | (d->link_up ? STATUS_LU : 0);
}

static void soft_reset(E1000 *d)
{
    timer_del(&d->itr_timer);
    memset(d->reg, 0, sizeof(d->reg));
    memset(&d->tx, 0, sizeof(d->tx));
    d->reg[E_CTRL / 4] = 0x00140240 | CTRL_SLU;
    d->reg[E_PBA / 4] = 0x00100030;
    d->reg[E_LEDCTL / 4] = 0x602;
    d->reg[E_MANC / 4] = 0x2783;
    d->reg[E_VET / 4] = 0x8100;
    d->reg[E_RA / 4] = ld_le32(d->conf.mac);
    d->reg[E_RA / 4 + 1] = ld_le16(d->conf.mac + 4) | 0x80000000u;
    d->eecd = 0;
    d->eeprom_bits = d->eeprom_in = d->eeprom_out = d->eeprom_out_left = 0;
    d->last_irq = 0;
    phy_reset(d);
    set_link_status(d);
    update_irq(d);
}

static uint64_t mmio_read(void *opaque, hwaddr off, unsigned size)
{
    E1000 *d = opaque;
    uint32_t v = off < E1000_REGS_SIZE ? d->reg[off / 4] : 0;
    switch (off) {
    case E_ICR:
        d->reg[E_ICR / 4] = 0;
        update_irq(d);
        break;
    case E_ICS:
        v = d->reg[E_ICR / 4];
        break;
    case E_IMC:
        v = d->reg[E_IMS / 4];
        break;
    case E_EECD:
        v = eecd_read(d);
        break;
    default:
        if (off >= E_STATS && off < E_STATS_END) {
            d->reg[off / 4] = 0; /* statistics clear on read */
        }
        break;
    }
    trace(e1000_read, (unsigned)off, v);
    return v;
}

static void ctrl_write(E1000 *d, uint32_t v)
{
    if (v & CTRL_RST) {
        soft_reset(d);
        return;
    }
    if (v & CTRL_PHY_RST) {
        phy_reset(d);
    }
    d->reg[E_CTRL / 4] = v & ~(CTRL_RST | CTRL_PHY_RST);
}

static void eerd_write(E1000 *d, uint32_t v)
{
    unsigned addr = (v >> 8) & 0xff;
    if (v & EERD_START) {
        uint16_t word = addr < ARRAY_LEN(d->eeprom) ? d->eeprom[addr] : 0xffff;
        v = (v & 0xff00) | EERD_DONE | (uint32_t)word << 16;
    }
    d->reg[E_EERD / 4] = v;
}

/* Registers that are plain storage, with their writable bits; 0: not writable. */
static uint32_t plain_mask(hwaddr off)
{
    switch (off) {
    case E_RDBAL:
    case E_TDBAL:
        return ~0xfu;
    case E_RDLEN:
    case E_TDLEN:
        return 0xfff80;
    case E_RDH:
    case E_TDH:
    case E_RDTR:
    case E_RADV:
    case E_TIDV:
    case E_TADV:
    case E_ITR:
    case E_VET:
    case E_AIT:
        return 0xffff;
    case E_FCAL:
    case E_FCAH:
    case E_FCT:
    case E_FCTTV:
    case E_FCRTL:
    case E_FCRTH:
    case E_TIPG:
    case E_LEDCTL:
    case E_PBA:
    case E_RDBAH:
    case E_TDBAH:
    case E_RSRPD:
    case E_TXDMAC:
    case E_TXDCTL:
    case E_TSPMT:
    case E_RXCSUM:
    case E_WUC:
    case E_WUFC:
    case E_WUS:
    case E_MANC:
        return ~0u;
    default:
        return (off >= E_MTA && off < E_MTA + 512) || (off >= E_RA && off < E_RA + 128) ||
                       (off >= E_VFTA && off < E_VFTA + 512)
                   ? ~0u
                   : 0;
    }
}

static void mmio_write(void *opaque, hwaddr off, uint64_t val, unsigned size)
{
    E1000 *d = opaque;
    uint32_t v = (uint32_t)val;
    trace(e1000_write, (unsigned)off, v);
    switch (off) {
    case E_CTRL:
        ctrl_write(d, v);
        break;
    case E_EECD:
        eecd_write(d, v);
        break;
    case E_EERD:
        eerd_write(d, v);
        break;
    case E_MDIC:
        mdic_write(d, v);
        break;
    case E_ICR:
        d->reg[E_ICR / 4] &= ~v;
        update_irq(d);
        break;
    case E_ICS:
        e1000_raise(d, v & INT_ALL);
        break;
    case E_IMS:
        d->reg[E_IMS / 4] |= v & INT_ALL;
        update_irq(d);
        break;
    case E_IMC:
        d->reg[E_IMS / 4] &= ~v;
        update_irq(d);
        break;
    case E_RCTL:
        d->reg[E_RCTL / 4] = v;
        net_flush(&d->nc);
        break;
    case E_RDT:
        d->reg[E_RDT / 4] = v & 0xffff;
        net_flush(&d->nc);
        break;
    case E_TCTL:
        d->reg[E_TCTL / 4] = v;
        e1000_transmit(d);
        break;
    case E_TDT:
        d->reg[E_TDT / 4] = v & 0xffff;
        e1000_transmit(d);
        break;
    default: {
        uint32_t mask = plain_mask(off);
        if (mask && off < E1000_REGS_SIZE) {
            d->reg[off / 4] = v & mask;
        } else {
            guest_error("e1000", "write of 0x%x to register 0x%x", v, (unsigned)off);
        }
        break;
    }
    }
}

static const RegionOps mmio_ops = {.read = mmio_read,
                                   .write = mmio_write,
                                   .valid_min = 1,
                                   .valid_max = 8,
                                   .impl_min = 4,
                                   .impl_max = 4};

/* BAR 1: IOADDR and IODATA. */
static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    E1000 *d = opaque;
    if (off == 0) {
        return d->io_addr;
    }
    return off == 4 && d->io_addr < MMIO_SIZE ? mmio_read(d, d->io_addr & ~3u, 4) : 0;
}

static void io_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    E1000 *d = opaque;
    if (off == 0) {
        d->io_addr = (uint32_t)v;
    } else if (off == 4 && d->io_addr < MMIO_SIZE) {
        mmio_write(d, d->io_addr & ~3u, v, 4);
    }
}

static const RegionOps io_ops = {.read = io_read,
                                 .write = io_write,
                                 .valid_min = 1,
                                 .valid_max = 4,
                                 .impl_min = 4,
                                 .impl_max = 4};

/* ---- life ---- */

static void link_changed(NetClient *nc)
{
    E1000 *d = nc->opaque;
    bool up = !nc->link_down && !(nc->peer && nc->peer->link_down);
    if (up != d->link_up) {
        d->link_up = up;
        phy_reset(d);
        set_link_status(d);
        e1000_raise(d, INT_LSC);
    }
}

static const NetClientOps net_ops = {
    .can_receive = e1000_can_receive, .receive = e1000_receive, .link_changed = link_changed};

static bool e1000_realize(Device *dev, Error **errp)
{
    E1000 *d = (E1000 *)dev;
    if (!net_nic_init(&d->nc, &net_ops, d, "e1000", dev->id ? dev->id : "e1000", &d->conf,
                      object_root(&dev->obj), errp)) {
        return false;
    }
    timer_init(&d->itr_timer, dev->owner.loop, CLOCK_VIRTUAL, itr_expired, d);
    d->pci.config[PCI_INTERRUPT_PIN] = 1;
    region_init_io(&d->mmio, &dev->owner, &mmio_ops, d, "e1000-mmio", MMIO_SIZE);
    region_init_io(&d->io, &dev->owner, &io_ops, d, "e1000-io", IO_SIZE);
    pci_register_bar(&d->pci, 0, 0, &d->mmio);
    pci_register_bar(&d->pci, 1, PCI_BASE_ADDRESS_SPACE_IO, &d->io);
    d->link_up = true;
    make_eeprom(d);
    soft_reset(d);
    return true;
}

static void e1000_unrealize(Device *dev)
{
    E1000 *d = (E1000 *)dev;
    timer_fini(&d->itr_timer);
    region_fini(&d->mmio);
    region_fini(&d->io);
    net_client_fini(&d->nc);
}

static void e1000_reset(Device *dev)
{
    E1000 *d = (E1000 *)dev;
    d->io_addr = 0;
    soft_reset(d);
}

static void e1000_loaded(void *opaque)
{
    E1000 *d = opaque;
    d->link_up = d->reg[E_STATUS / 4] & STATUS_LU;
}

static const StateField tx_fields[] = {
    STATE_F_UINT(E1000Tx, ipcss),
    STATE_F_UINT(E1000Tx, ipcso),
    STATE_F_UINT(E1000Tx, ipcse),
    STATE_F_UINT(E1000Tx, tucss),
    STATE_F_UINT(E1000Tx, tucso),
    STATE_F_UINT(E1000Tx, tucse),
    STATE_F_UINT(E1000Tx, hdr_len),
    STATE_F_UINT(E1000Tx, mss),
    STATE_F_UINT(E1000Tx, paylen),
    STATE_F_BOOL(E1000Tx, is_tcp),
    STATE_F_BOOL(E1000Tx, is_ipv4),
    STATE_F_BOOL(E1000Tx, segmenting),
    STATE_F_UINT(E1000Tx, popts),
    STATE_F_BOOL(E1000Tx, vlan),
    STATE_F_UINT(E1000Tx, vlan_tag),
    STATE_F_UINT(E1000Tx, css),
    STATE_F_UINT(E1000Tx, cso),
    STATE_F_BOOL(E1000Tx, legacy_csum),
    STATE_F_UINT_MAX(E1000Tx, size, E1000_TX_MAX),
    STATE_F_BYTES(E1000Tx, data),
    {0},
};
static const StateDesc tx_state = {.name = "e1000-tx", .version = 1, .fields = tx_fields};

static const StateField fields[] = {
    STATE_F_PCI(E1000, pci),
    STATE_F_UINT_ARRAY(E1000, reg),
    STATE_F_UINT_ARRAY(E1000, phy),
    STATE_F_UINT(E1000, eecd),
    STATE_F_UINT_MAX(E1000, eeprom_bits, 9),
    STATE_F_UINT_MAX(E1000, eeprom_in, 0x1ff),
    STATE_F_UINT(E1000, eeprom_out),
    STATE_F_UINT_MAX(E1000, eeprom_out_left, 16),
    STATE_F_UINT(E1000, io_addr),
    STATE_F_BOOL(E1000, irq_level),
    STATE_F_INT(E1000, last_irq),
    STATE_F_TIMER(E1000, itr_timer),
    STATE_F_STRUCT(E1000, tx, tx_state),
    {0},
};
static const StateDesc e1000_state = {
    .name = "e1000", .version = 1, .fields = fields, .loaded = e1000_loaded};

static const PciClass e1000_class = {
    .device = {.realize = e1000_realize,
               .unrealize = e1000_unrealize,
               .reset = e1000_reset,
               .state = &e1000_state,
               .bus_type = TYPE_PCI_BUS,
               .category = DEVICE_CATEGORY_NETWORK,
               .user_creatable = true},
    .vendor_id = PCI_VENDOR_ID_INTEL,
    .device_id = 0x100e,
    .revision = 3,
    .class_id = PCI_CLASS_NETWORK_ETHERNET,
    .romfile = "efi-e1000.rom",
};

static const Property props[] = {
    PROPERTIES_NIC(E1000, conf),
    PROPERTY_I32("bootindex", Device, bootindex, -1, "place in the boot order; -1: none"),
    {0},
};

static const char *const aliases[] = {"e1000-82540em", NULL};
OBJECT_TYPE(e1000_type, .name = "e1000", .parent = TYPE_PCI_DEVICE, .size = sizeof(E1000),
            .help = "Intel 82540EM Gigabit Ethernet", .klass = &e1000_class, .props = props,
            .aliases = aliases)
