/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NE2000: National Semiconductor's DP8390 with an address PROM and 32 KiB of packet
 * memory behind a data port, on the ISA bus (type "ne2k_isa").
 *
 * DP8390D data sheet (TL/F/8582).  Frames are sent when the command is written and
 * received into the ring that the driver has laid out.
 */
#include "hw/core/machine.h"
#include "hw/isa/isa.h"
#include "net/net.h"
#include "util/log.h"
#include "util/trace.h"

#include <string.h>

TRACE_EVENT(ne2000_write, "reg 0x%02x value 0x%02x")
TRACE_EVENT(ne2000_transmit, "page 0x%02x length %u")
TRACE_EVENT(ne2000_receive, "length %zu at page 0x%02x")

#define TYPE_NE2K_ISA "ne2k_isa"

#define PROM_SIZE 32u
#define RAM_START 0x4000u
#define RAM_END 0xc000u
#define PAGE 256u
#define MIN_FRAME 60u
#define MAX_FRAME 1522u

#define CR_STOP 0x01
#define CR_START 0x02
#define CR_TRANSMIT 0x04
#define CR_REMOTE 0x38
#define CR_REMOTE_READ 0x08
#define CR_REMOTE_WRITE 0x10
#define CR_REMOTE_SEND 0x18

#define ISR_RECEIVED 0x01
#define ISR_TRANSMITTED 0x02
#define ISR_REMOTE_DONE 0x40
#define ISR_RESET 0x80

#define RCR_BROADCAST 0x04
#define RCR_MULTICAST 0x08
#define RCR_PROMISCUOUS 0x10
#define RCR_MONITOR 0x20
#define RSR_OK 0x01
#define RSR_MULTICAST 0x20
#define TCR_LOOPBACK 0x06
#define TSR_OK 0x01

typedef struct Ne2000 {
    IsaDevice isa;
    Region io;
    IrqLine irq;
    NetClient nc;
    /* properties */
    NicConf conf;
    uint32_t iobase, irq_number;

    uint8_t cr, isr, imr, dcr, rcr, tcr, rsr, tsr;
    uint8_t pstart, pstop, bnry, curr, tpsr;
    uint16_t tbcr, rsar, rbcr;
    uint8_t par[6], mar[8];
    uint8_t prom[PROM_SIZE];
    uint8_t ram[RAM_END - RAM_START];
} Ne2000;
#define NE2000(o) OBJECT_CAST(Ne2000, o, TYPE_NE2K_ISA)

static void update_irq(Ne2000 *s)
{
    irq_set(s->irq, (s->isr & s->imr & 0x7f) != 0);
}

/* ---- receiving ---- */

static unsigned free_pages(const Ne2000 *s)
{
    if (s->pstop <= s->pstart) {
        return 0;
    }
    if (s->curr < s->bnry) {
        return s->bnry - s->curr;
    }
    return (unsigned)MAX(s->pstop - s->pstart - (s->curr - s->bnry), 0);
}

static bool ring_has_room(const Ne2000 *s)
{
    return free_pages(s) * PAGE >= MAX_FRAME + 4;
}

static bool running(const Ne2000 *s)
{
    return (s->cr & (CR_START | CR_STOP)) == CR_START;
}

static bool can_receive(NetClient *nc)
{
    const Ne2000 *s = nc->opaque;

    /* What comes while the chip is stopped is lost on the wire, not kept. */
    return !running(s) || ring_has_room(s);
}

/* The hash is the top six bits of the Ethernet CRC of the address. */
static unsigned multicast_hash(const uint8_t *mac)
{
    uint32_t crc = UINT32_MAX;

    for (int i = 0; i < 6; i++) {
        for (int bit = 0; bit < 8; bit++) {
            bool carry = (crc >> 31) ^ (mac[i] >> bit & 1);

            crc = crc << 1 ^ (carry ? 0x04c11db7u : 0);
        }
    }
    return crc >> 26;
}

static bool wanted(const Ne2000 *s, const uint8_t *frame)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    unsigned hash;

    if (s->rcr & RCR_PROMISCUOUS) {
        return true;
    }
    if (!memcmp(frame, broadcast, 6)) {
        return s->rcr & RCR_BROADCAST;
    }
    if (frame[0] & 1) {
        hash = multicast_hash(frame);
        return (s->rcr & RCR_MULTICAST) && (s->mar[hash >> 3] >> (hash & 7) & 1);
    }
    return !memcmp(frame, s->par, 6);
}

static void put(Ne2000 *s, uint32_t at, uint8_t v)
{
    if (at >= RAM_START && at < RAM_END) {
        s->ram[at - RAM_START] = v;
    }
}

/* Header and frame into the ring, which wraps at PSTOP. */
static void store(Ne2000 *s, const uint8_t *frame, size_t len)
{
    uint32_t at = s->curr * PAGE;
    unsigned pages = (unsigned)(len + 4 + PAGE - 1) / PAGE;
    unsigned next = s->curr + pages;
    uint8_t header[4];

    if (next >= s->pstop) {
        next = s->pstart + (next - s->pstop);
    }
    header[0] = s->rsr;
    header[1] = (uint8_t)next;
    st_le16(header + 2, (uint16_t)(len + 4));
    for (size_t i = 0; i < len + 4; i++) {
        put(s, at++, i < 4 ? header[i] : frame[i - 4]);
        if (at == s->pstop * PAGE) {
            at = s->pstart * PAGE;
        }
    }
    s->curr = (uint8_t)next;
}

static ssize_t receive(NetClient *nc, const struct iovec *iov, unsigned n)
{
    Ne2000 *s = nc->opaque;
    uint8_t frame[MAX_FRAME] = {0};
    size_t len = iov_length(iov, n);

    if (!running(s) || (s->rcr & RCR_MONITOR) || len > MAX_FRAME || len < 14) {
        return -1;
    }
    iov_to_buf(iov, n, 0, frame, len);
    if (!wanted(s, frame)) {
        return (ssize_t)len;
    }
    if (!ring_has_room(s) || s->curr < s->pstart || s->curr >= s->pstop) {
        return 0;
    }
    s->rsr = (uint8_t)(RSR_OK | (frame[0] & 1 ? RSR_MULTICAST : 0));
    trace(ne2000_receive, len, s->curr);
    store(s, frame, MAX(len, MIN_FRAME));
    s->isr |= ISR_RECEIVED;
    update_irq(s);
    return (ssize_t)len;
}

static const NetClientOps net_ops = {.can_receive = can_receive, .receive = receive};

/* ---- sending ---- */

static void transmit(Ne2000 *s)
{
    uint32_t at = s->tpsr * PAGE;

    trace(ne2000_transmit, s->tpsr, s->tbcr);
    if (at >= RAM_START && at + s->tbcr <= RAM_END && s->tbcr >= 14 && s->tbcr <= MAX_FRAME) {
        if (!(s->tcr & TCR_LOOPBACK)) {
            net_send(&s->nc, s->ram + (at - RAM_START), s->tbcr);
        }
    } else {
        guest_error(TYPE_NE2K_ISA, "transmit of %u bytes at 0x%04x", s->tbcr, at);
    }
    s->tsr = TSR_OK;
    s->cr &= ~CR_TRANSMIT;
    s->isr |= ISR_TRANSMITTED;
    update_irq(s);
}

/* ---- remote DMA: the data port ---- */

static uint8_t remote_byte(Ne2000 *s, bool write, uint8_t v)
{
    uint16_t a = s->rsar;

    if (a < PROM_SIZE) {
        v = write ? v : s->prom[a];
    } else if (a >= RAM_START && a < RAM_END) {
        if (write) {
            s->ram[a - RAM_START] = v;
        } else {
            v = s->ram[a - RAM_START];
        }
    } else if (!write) {
        v = 0xff;
    }
    s->rsar++;
    if (s->rsar == s->pstop * PAGE) {
        s->rsar = (uint16_t)(s->pstart * PAGE);
    }
    return v;
}

static void remote_count(Ne2000 *s, unsigned n)
{
    if (s->rbcr <= n) {
        s->rbcr = 0;
        s->isr |= ISR_REMOTE_DONE;
        update_irq(s);
    } else {
        s->rbcr = (uint16_t)(s->rbcr - n);
    }
}

static uint64_t data_access(Ne2000 *s, bool write, uint64_t v, unsigned size)
{
    uint64_t out = 0;

    if (!s->rbcr) {
        return UINT64_MAX;
    }
    for (unsigned i = 0; i < size; i++) {
        out |= (uint64_t)remote_byte(s, write, (uint8_t)(v >> (8 * i))) << (8 * i);
    }
    remote_count(s, size);
    return out;
}

/* ---- registers ---- */

static void chip_reset(Ne2000 *s)
{
    s->cr = CR_STOP | 0x20;
    s->isr = ISR_RESET;
    s->imr = 0;
    s->rbcr = 0;
    update_irq(s);
}

static void write_command(Ne2000 *s, uint8_t v)
{
    s->cr = v;
    if (v & CR_STOP) {
        s->isr |= ISR_RESET;
        return;
    }
    if (v & CR_START) {
        s->isr &= ~ISR_RESET;
    }
    if ((v & CR_REMOTE) == CR_REMOTE_SEND) { /* the next frame of the ring */
        s->rsar = (uint16_t)(s->bnry * PAGE);
        s->rbcr = PAGE;
    } else if ((v & (CR_REMOTE_READ | CR_REMOTE_WRITE)) && !s->rbcr) {
        s->isr |= ISR_REMOTE_DONE;
        update_irq(s);
    }
    if (v & CR_TRANSMIT) {
        transmit(s);
    }
    net_flush(&s->nc);
}

static void write_page0(Ne2000 *s, unsigned reg, uint8_t v)
{
    switch (reg) {
    case 0x1:
        s->pstart = v;
        break;
    case 0x2:
        s->pstop = v;
        break;
    case 0x3:
        s->bnry = v;
        net_flush(&s->nc);
        break;
    case 0x4:
        s->tpsr = v;
        break;
    case 0x5:
        s->tbcr = (uint16_t)((s->tbcr & 0xff00) | v);
        break;
    case 0x6:
        s->tbcr = (uint16_t)((s->tbcr & 0xff) | v << 8);
        break;
    case 0x7:
        s->isr &= ~(v & 0x7f);
        update_irq(s);
        break;
    case 0x8:
        s->rsar = (uint16_t)((s->rsar & 0xff00) | v);
        break;
    case 0x9:
        s->rsar = (uint16_t)((s->rsar & 0xff) | v << 8);
        break;
    case 0xa:
        s->rbcr = (uint16_t)((s->rbcr & 0xff00) | v);
        break;
    case 0xb:
        s->rbcr = (uint16_t)((s->rbcr & 0xff) | v << 8);
        break;
    case 0xc:
        s->rcr = v & 0x3f;
        break;
    case 0xd:
        s->tcr = v & 0x1f;
        break;
    case 0xe:
        s->dcr = v & 0x7f;
        break;
    default:
        s->imr = v & 0x7f;
        update_irq(s);
        break;
    }
}

static void write_page1(Ne2000 *s, unsigned reg, uint8_t v)
{
    if (reg < 7) {
        s->par[reg - 1] = v;
    } else if (reg == 7) {
        s->curr = v;
    } else {
        s->mar[reg - 8] = v;
    }
}

static void reg_write(Ne2000 *s, unsigned reg, uint8_t v)
{
    trace(ne2000_write, reg | (s->cr & 0xc0), v);
    if (reg == 0) {
        write_command(s, v);
    } else if (s->cr >> 6 == 0) {
        write_page0(s, reg, v);
    } else if (s->cr >> 6 == 1) {
        write_page1(s, reg, v);
    } else {
        guest_error(TYPE_NE2K_ISA, "write of register %u on page %u", reg, s->cr >> 6);
    }
}

static uint8_t read_page0(const Ne2000 *s, unsigned reg)
{
    switch (reg) {
    case 0x3:
        return s->bnry;
    case 0x4:
        return s->tsr;
    case 0x7:
        return s->isr;
    case 0x8:
        return (uint8_t)s->rsar;
    case 0x9:
        return (uint8_t)(s->rsar >> 8);
    case 0xc:
        return s->rsr;
    default: /* local DMA, collisions, FIFO, error counters */
        return 0;
    }
}

static uint8_t read_page2(const Ne2000 *s, unsigned reg)
{
    switch (reg) {
    case 0x1:
        return s->pstart;
    case 0x2:
        return s->pstop;
    case 0x4:
        return s->tpsr;
    case 0xc:
        return s->rcr | 0xc0;
    case 0xd:
        return s->tcr | 0xe0;
    case 0xe:
        return s->dcr | 0x80;
    case 0xf:
        return s->imr | 0x80;
    default:
        return 0;
    }
}

static uint8_t reg_read(const Ne2000 *s, unsigned reg)
{
    if (reg == 0) {
        return s->cr;
    }
    switch (s->cr >> 6) {
    case 0:
        return read_page0(s, reg);
    case 1:
        return reg < 7 ? s->par[reg - 1] : reg == 7 ? s->curr : s->mar[reg - 8];
    case 2:
        return read_page2(s, reg);
    default:
        return 0xff;
    }
}

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    Ne2000 *s = opaque;

    if (off < 0x10) {
        return size == 1 ? reg_read(s, (unsigned)off) : UINT64_MAX;
    }
    if (off < 0x18) {
        return data_access(s, false, 0, size);
    }
    chip_reset(s);
    return 0;
}

static void io_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    Ne2000 *s = opaque;

    if (off < 0x10) {
        if (size == 1) {
            reg_write(s, (unsigned)off, (uint8_t)v);
        } else {
            guest_error(TYPE_NE2K_ISA, "write of %u bytes to register %u", size, (unsigned)off);
        }
    } else if (off < 0x18) {
        data_access(s, true, v, size);
    }
}

static const RegionOps io_ops = {.read = io_read, .write = io_write, .impl_min = 1, .impl_max = 4};

/* ---- the device ---- */

static void ne2000_reset(Device *dev)
{
    Ne2000 *s = NE2000(dev);

    chip_reset(s);
    s->dcr = s->rcr = s->tcr = s->rsr = s->tsr = 0;
    s->pstart = s->pstop = s->bnry = s->curr = s->tpsr = 0;
    s->tbcr = s->rsar = 0;
    memset(s->par, 0, sizeof(s->par));
    memset(s->mar, 0, sizeof(s->mar));
    memset(s->ram, 0, sizeof(s->ram));
}

/* Each byte of the PROM is there twice, as a 16-bit card has it. */
static void fill_prom(Ne2000 *s)
{
    memset(s->prom, 0, sizeof(s->prom));
    for (int i = 0; i < 6; i++) {
        s->prom[2 * i] = s->prom[2 * i + 1] = s->conf.mac[i];
    }
    s->prom[28] = s->prom[29] = s->prom[30] = s->prom[31] = 0x57;
}

static bool ne2000_realize(Device *dev, Error **errp)
{
    Ne2000 *s = NE2000(dev);

    if (s->iobase > 0xffe0 || s->irq_number > 15) {
        error_set(errp, "ne2k_isa: iobase=0x%x, irq=%u: ports end at 0xffff, lines at 15",
                  s->iobase, s->irq_number);
        return false;
    }
    if (!net_nic_init(&s->nc, &net_ops, s, TYPE_NE2K_ISA, dev->id ? dev->id : TYPE_NE2K_ISA,
                      &s->conf, object_root(&dev->obj), errp)) {
        return false;
    }
    fill_prom(s);
    s->irq = isa_irq(&s->isa, s->irq_number);
    region_init_io(&s->io, &dev->owner, &io_ops, s, "ne2000", 0x20);
    isa_register_io(&s->isa, &s->io, (uint16_t)s->iobase);
    return true;
}

static void ne2000_unrealize(Device *dev)
{
    Ne2000 *s = NE2000(dev);

    region_fini(&s->io);
    net_client_fini(&s->nc);
}

static void ne2000_loaded(void *obj)
{
    net_flush(&((Ne2000 *)obj)->nc);
}

static const StateDesc ne2000_state = {
    .name = TYPE_NE2K_ISA,
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_UINT(Ne2000, cr),
            STATE_F_UINT(Ne2000, isr),
            STATE_F_UINT_MAX(Ne2000, imr, 0x7f),
            STATE_F_UINT(Ne2000, dcr),
            STATE_F_UINT(Ne2000, rcr),
            STATE_F_UINT(Ne2000, tcr),
            STATE_F_UINT(Ne2000, rsr),
            STATE_F_UINT(Ne2000, tsr),
            STATE_F_UINT(Ne2000, pstart),
            STATE_F_UINT(Ne2000, pstop),
            STATE_F_UINT(Ne2000, bnry),
            STATE_F_UINT(Ne2000, curr),
            STATE_F_UINT(Ne2000, tpsr),
            STATE_F_UINT(Ne2000, tbcr),
            STATE_F_UINT(Ne2000, rsar),
            STATE_F_UINT(Ne2000, rbcr),
            STATE_F_BYTES(Ne2000, par),
            STATE_F_BYTES(Ne2000, mar),
            STATE_F_BYTES(Ne2000, ram),
            {0},
        },
    .loaded = ne2000_loaded,
};

static const Property ne2000_props[] = {
    PROPERTY_U32("iobase", Ne2000, iobase, 0x300, "first of 32 ports"),
    PROPERTY_U32("irq", Ne2000, irq_number, 9, "ISA line"),
    PROPERTIES_NIC(Ne2000, conf),
    PROPERTY_I32("bootindex", Device, bootindex, -1, "place in the boot order; -1: none"),
    {0},
};

static const DeviceClass ne2000_class = {
    .realize = ne2000_realize,
    .unrealize = ne2000_unrealize,
    .reset = ne2000_reset,
    .state = &ne2000_state,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_NETWORK,
    .user_creatable = true,
    .not_hotpluggable = true,
};

OBJECT_TYPE(ne2000_type, .name = TYPE_NE2K_ISA, .parent = TYPE_ISA_DEVICE,
            .help = "NE2000 Ethernet", .size = sizeof(Ne2000), .klass = &ne2000_class,
            .props = ne2000_props)
