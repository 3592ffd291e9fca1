/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DMA controllers.  A transfer happens at once, when a channel that is
 * requested, unmasked and programmed is looked at: on a request, on unmasking and
 * when the device schedules it.
 */
#include "hw/isa/i8237.h"

#include "hw/core/machine.h"
#include "util/log.h"
#include "util/trace.h"

TRACE_EVENT(i8237_write, "chip %u register %u value 0x%02x")
TRACE_EVENT(i8237_transfer, "channel %u address 0x%x position %d of %d")

/* Command register (data sheet, "Command Register"). */
#define CMD_MEM_TO_MEM 0x01
#define CMD_DISABLE 0x04

/* Mode register. */
#define MODE_AUTOINIT 0x10
#define MODE_DECREMENT 0x20

enum { TYPE_VERIFY, TYPE_WRITE, TYPE_READ };

typedef struct Channel {
    uint16_t base_addr, base_count;
    /* How far the transfer has come, in bytes from base_addr. */
    int32_t pos;
    /* What the registers read; reloaded with the base when that is written. */
    uint8_t page, page_high;
    uint8_t mode;
    bool running; /* inside the device's transfer function */
    IsaDmaFn *fn;
    void *opaque;
} Channel;

typedef struct I8237 {
    IsaDevice isa;
    Region io, page_io, pageh_io;
    /* properties */
    int32_t base, page_base, pageh_base, dshift;

    Channel ch[4];
    uint8_t command, mask, status_tc, requests; /* requests: DREQ pins */
    uint8_t soft_requests;
    uint8_t page_scratch[8];
    bool high_byte; /* the byte pointer flip-flop */
    bool busy;      /* transfers are being made: no second round inside */
} I8237;

/* What ISA devices see: both chips. Belongs to the second one. */
typedef struct DmaPair {
    IsaDma dma;
    I8237 *chip[2];
} DmaPair;

#define I8237(o) OBJECT_CAST(I8237, o, TYPE_I8237)

/* Page registers of channels 0-3 within their block of eight (PIIX3, "Page Registers"). */
static const uint8_t page_offset[4] = {7, 3, 1, 2};

static int length(const I8237 *s, const Channel *c)
{
    return (c->base_count + 1) << s->dshift;
}

/*
 * Memory address of byte `pos`: the counter is 16 bits wide, of bytes or words,
 * and does not carry into the page.
 */
static hwaddr address(const I8237 *s, const Channel *c, int pos)
{
    uint32_t unit = (uint32_t)pos >> s->dshift;
    uint16_t a = (uint16_t)(c->mode & MODE_DECREMENT ? c->base_addr - unit : c->base_addr + unit);
    uint32_t page = s->dshift ? c->page & 0xfe : c->page;

    return (hwaddr)c->page_high << 24 | (hwaddr)page << 16 | ((uint32_t)a << s->dshift) |
           ((uint32_t)pos & ((1u << s->dshift) - 1));
}

static void terminal_count(I8237 *s, unsigned i)
{
    Channel *c = &s->ch[i];

    s->status_tc |= 1u << i;
    c->pos = 0;
    if (!(c->mode & MODE_AUTOINIT)) {
        s->mask |= 1u << i;
        /* After TC the address stands behind the last byte and the count at ffffh. */
        c->base_addr = (uint16_t)(c->mode & MODE_DECREMENT ? c->base_addr - c->base_count - 1
                                                           : c->base_addr + c->base_count + 1);
        c->base_count = 0xffff;
    }
    s->soft_requests &= ~(1u << i);
}

static void run_channel(I8237 *s, unsigned i)
{
    Channel *c = &s->ch[i];
    int len = length(s, c), pos;

    if (!c->fn || c->running || (c->mode >> 6) == 3 /* cascade */) {
        return;
    }
    c->running = true;
    pos = c->fn(c->opaque, (int)i + (s->dshift ? 4 : 0), c->pos, len);
    c->running = false;
    trace(i8237_transfer, i + (s->dshift ? 4 : 0), (unsigned)address(s, c, 0), pos, len);
    if (pos >= len) {
        terminal_count(s, i);
    } else if (pos > c->pos) {
        c->pos = pos;
    }
}

static void run(I8237 *s)
{
    if (s->busy) {
        return;
    }
    s->busy = true;
    for (unsigned i = 0; i < 4; i++) {
        if (((s->requests | s->soft_requests) & ~s->mask) >> i & 1 && !(s->command & CMD_DISABLE)) {
            run_channel(s, i);
        }
    }
    s->busy = false;
}

/* ---- what devices ask ---- */

static I8237 *chip_of(IsaDma *dma, int channel, unsigned *i)
{
    DmaPair *p = (DmaPair *)dma;

    *i = (unsigned)channel & 3;
    return p->chip[channel >> 2 & 1];
}

static void hold_dreq(IsaDma *dma, int channel)
{
    unsigned i;
    I8237 *s = chip_of(dma, channel, &i);

    s->requests |= 1u << i;
}

static void release_dreq(IsaDma *dma, int channel)
{
    unsigned i;
    I8237 *s = chip_of(dma, channel, &i);

    s->requests &= ~(1u << i);
}

/* A transfer in pieces of which each lies in one direction of memory. */
static int move(I8237 *s, Channel *c, void *buf, int pos, int len, bool to_memory)
{
    AddressSpace *as = s->isa.dev.machine->as_memory;
    uint8_t *p = buf;
    int room = length(s, c) - pos, done = 0;

    if (pos < 0 || len <= 0 || room <= 0) {
        return 0;
    }
    len = MIN(len, room);
    while (done < len) {
        /* Up to the wrap of the 16-bit counter in one go; downwards byte by byte. */
        hwaddr a = address(s, c, pos + done);
        uint32_t span = 0x10000u << s->dshift;
        int n = c->mode & MODE_DECREMENT
                    ? 1
                    : (int)MIN((uint32_t)(len - done), span - ((uint32_t)a & (span - 1)));

        if (to_memory) {
            address_space_write(as, a, MEM_ATTRS_NONE, p + done, (size_t)n);
        } else {
            address_space_read(as, a, MEM_ATTRS_NONE, p + done, (size_t)n);
        }
        done += n;
    }
    return done;
}

static int read_memory(IsaDma *dma, int channel, void *buf, int pos, int len)
{
    unsigned i;
    I8237 *s = chip_of(dma, channel, &i);

    return move(s, &s->ch[i], buf, pos, len, false);
}

static int write_memory(IsaDma *dma, int channel, const void *buf, int pos, int len)
{
    unsigned i;
    I8237 *s = chip_of(dma, channel, &i);

    if ((s->ch[i].mode >> 2 & 3) == TYPE_VERIFY) {
        return len; /* the bytes go nowhere */
    }
    return move(s, &s->ch[i], (void *)(uintptr_t)buf, pos, len, true);
}

static void register_channel(IsaDma *dma, int channel, IsaDmaFn *fn, void *opaque)
{
    unsigned i;
    I8237 *s = chip_of(dma, channel, &i);

    s->ch[i].fn = fn;
    s->ch[i].opaque = opaque;
}

static void schedule(IsaDma *dma)
{
    DmaPair *p = (DmaPair *)dma;

    run(p->chip[0]);
    run(p->chip[1]);
}

static const IsaDmaOps dma_ops = {
    .hold_dreq = hold_dreq,
    .release_dreq = release_dreq,
    .read_memory = read_memory,
    .write_memory = write_memory,
    .register_channel = register_channel,
    .schedule = schedule,
};

/* ---- registers ---- */

static void master_clear(I8237 *s)
{
    s->command = 0;
    s->status_tc = 0;
    s->soft_requests = 0;
    s->mask = 0xf;
    s->high_byte = false;
}

static void write_half(I8237 *s, uint16_t *reg, uint8_t v)
{
    *reg = s->high_byte ? (uint16_t)((*reg & 0xff) | v << 8) : (uint16_t)((*reg & 0xff00) | v);
    s->high_byte = !s->high_byte;
}

static void channel_write(I8237 *s, unsigned reg, uint8_t v)
{
    Channel *c = &s->ch[reg >> 1];

    write_half(s, reg & 1 ? &c->base_count : &c->base_addr, v);
    c->pos = 0;
}

static uint8_t channel_read(I8237 *s, unsigned reg)
{
    Channel *c = &s->ch[reg >> 1];
    int unit = c->pos >> s->dshift;
    uint16_t v;

    if (reg & 1) {
        v = (uint16_t)(c->base_count - unit);
    } else {
        v = (uint16_t)(c->mode & MODE_DECREMENT ? c->base_addr - unit : c->base_addr + unit);
    }
    s->high_byte = !s->high_byte;
    return (uint8_t)(s->high_byte ? v : v >> 8);
}

static void io_write(void *opaque, hwaddr off, uint64_t value, unsigned size)
{
    I8237 *s = opaque;
    unsigned reg = (unsigned)(off >> s->dshift);
    uint8_t v = (uint8_t)value;

    trace(i8237_write, s->dshift ? 1u : 0u, reg, v);
    switch (reg) {
    case 0 ... 7:
        channel_write(s, reg, v);
        return;
    case 8:
        s->command = v;
        if (v & CMD_MEM_TO_MEM) {
            guest_error("i8257", "memory-to-memory transfers do not work on a PC");
        }
        break;
    case 9:
        if (v & 4) {
            s->soft_requests |= 1u << (v & 3);
        } else {
            s->soft_requests &= ~(1u << (v & 3));
        }
        break;
    case 10:
        s->mask = v & 4 ? s->mask | 1u << (v & 3) : s->mask & ~(1u << (v & 3));
        break;
    case 11:
        s->ch[v & 3].mode = v & 0xfc;
        return;
    case 12:
        s->high_byte = false;
        return;
    case 13:
        master_clear(s);
        return;
    case 14:
        s->mask = 0;
        break;
    default:
        s->mask = v & 0xf;
        break;
    }
    run(s);
}

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    I8237 *s = opaque;
    unsigned reg = (unsigned)(off >> s->dshift);
    uint8_t v;

    switch (reg) {
    case 0 ... 7:
        return channel_read(s, reg);
    case 8:
        v = (uint8_t)((s->requests | s->soft_requests) << 4 | s->status_tc);
        s->status_tc = 0;
        return v;
    case 13: /* the temporary register of memory-to-memory transfers */
        return 0;
    case 15:
        return s->mask | 0xf0u;
    default:
        return 0xff; /* write-only */
    }
}

static int page_channel(hwaddr off)
{
    for (int i = 0; i < 4; i++) {
        if (page_offset[i] == off) {
            return i;
        }
    }
    return -1;
}

static void page_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    I8237 *s = opaque;
    int i = page_channel(off);

    s->page_scratch[off] = (uint8_t)v;
    if (i >= 0) {
        s->ch[i].page = (uint8_t)v;
        s->ch[i].page_high = 0; /* as chip sets do, for software that knows 24 bits only */
    }
}

static uint64_t page_read(void *opaque, hwaddr off, unsigned size)
{
    return ((I8237 *)opaque)->page_scratch[off];
}

static void pageh_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    int i = page_channel(off);

    if (i >= 0) {
        ((I8237 *)opaque)->ch[i].page_high = (uint8_t)v;
    }
}

static uint64_t pageh_read(void *opaque, hwaddr off, unsigned size)
{
    int i = page_channel(off);

    return i >= 0 ? ((I8237 *)opaque)->ch[i].page_high : 0xff;
}

static const RegionOps io_ops = {.read = io_read, .write = io_write, .impl_min = 1, .impl_max = 1};
static const RegionOps page_ops = {
    .read = page_read, .write = page_write, .impl_min = 1, .impl_max = 1};
static const RegionOps pageh_ops = {
    .read = pageh_read, .write = pageh_write, .impl_min = 1, .impl_max = 1};

/* ---- the device ---- */

static void i8237_reset(Device *dev)
{
    I8237 *s = I8237(dev);

    master_clear(s);
    for (unsigned i = 0; i < 4; i++) {
        s->ch[i].pos = 0;
        s->ch[i].mode = 0;
    }
}

static bool i8237_realize(Device *dev, Error **errp)
{
    I8237 *s = I8237(dev);

    if ((s->dshift != 0 && s->dshift != 1) || s->base < 0 || s->base > 0xffe0 || s->page_base < 0 ||
        s->page_base > 0xfff8 || s->pageh_base > 0xfff8) {
        error_set(errp,
                  "i8257: base=%d, dshift=%d, page-base=%d and pageh-base=%d do not make a DMA "
                  "controller: dshift is 0 or 1, the others are ports",
                  s->base, s->dshift, s->page_base, s->pageh_base);
        return false;
    }
    region_init_io(&s->io, &dev->owner, &io_ops, s, "dma", 16u << s->dshift);
    isa_register_io(&s->isa, &s->io, (uint16_t)s->base);
    region_init_io(&s->page_io, &dev->owner, &page_ops, s, "dma-page", 8);
    isa_register_io(&s->isa, &s->page_io, (uint16_t)s->page_base);
    if (s->pageh_base >= 0) {
        region_init_io(&s->pageh_io, &dev->owner, &pageh_ops, s, "dma-page-high", 8);
        isa_register_io(&s->isa, &s->pageh_io, (uint16_t)s->pageh_base);
    }
    s->isa.ioport_id = s->base;
    return true;
}

static void i8237_unrealize(Device *dev)
{
    I8237 *s = I8237(dev);

    region_fini(&s->pageh_io);
    region_fini(&s->page_io);
    region_fini(&s->io);
}

static const StateDesc channel_state = {
    .name = "i8257-channel",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_UINT(Channel, base_addr),
            STATE_F_UINT(Channel, base_count),
            STATE_F_INT_RANGE(Channel, pos, 0, 0x1ffff),
            STATE_F_UINT(Channel, page),
            STATE_F_UINT(Channel, page_high),
            STATE_F_UINT(Channel, mode),
            {0},
        },
};

static const StateDesc i8237_state = {
    .name = "i8257",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_STRUCT_ARRAY(I8237, ch, channel_state),
            STATE_F_UINT(I8237, command),
            STATE_F_UINT_MAX(I8237, mask, 0xf),
            STATE_F_UINT_MAX(I8237, status_tc, 0xf),
            STATE_F_UINT_MAX(I8237, requests, 0xf),
            STATE_F_UINT_MAX(I8237, soft_requests, 0xf),
            STATE_F_UINT_ARRAY(I8237, page_scratch),
            STATE_F_BOOL(I8237, high_byte),
            {0},
        },
};

static const Property i8237_props[] = {
    PROPERTY_I32("base", I8237, base, 0, "first port"),
    PROPERTY_I32("page-base", I8237, page_base, 0x80, "first page register"),
    PROPERTY_I32("pageh-base", I8237, pageh_base, 0x480, "first high page register; -1: none"),
    PROPERTY_I32("dshift", I8237, dshift, 0, "1: the controller of 16-bit channels"),
    {0},
};

static const DeviceClass i8237_class = {
    .realize = i8237_realize,
    .unrealize = i8237_unrealize,
    .reset = i8237_reset,
    .state = &i8237_state,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_MISC,
    .not_hotpluggable = true,
};

OBJECT_TYPE(i8237_type, .name = TYPE_I8237, .parent = TYPE_ISA_DEVICE,
            .help = "8237A DMA controller", .size = sizeof(I8237), .klass = &i8237_class,
            .props = i8237_props)

/* The pair's face to the devices lives and dies with the tree, below the second chip. */
typedef struct DmaFace {
    Object obj;
    DmaPair pair;
} DmaFace;

OBJECT_TYPE(dma_face_type, .name = "isa-dma-pair", .parent = "object",
            .help = "both DMA controllers of a PC, as its ISA devices see them",
            .size = sizeof(DmaFace))

static I8237 *new_chip(Machine *m, IsaBus *bus, int n, Error **errp)
{
    I8237 *s = I8237(isa_new(TYPE_I8237));

    s->base = n ? 0xc0 : 0x00;
    s->page_base = n ? 0x88 : 0x80;
    s->pageh_base = n ? 0x488 : 0x480;
    s->dshift = n;
    return device_realize(&s->isa.dev, m, &bus->bus, errp) ? s : NULL;
}

bool i8237_new_pair(Machine *m, IsaBus *bus, Error **errp)
{
    I8237 *first = new_chip(m, bus, 0, errp), *second;
    DmaFace *face;

    if (!first) {
        return false;
    }
    second = new_chip(m, bus, 1, errp);
    if (!second) {
        device_unrealize(&first->isa.dev);
        return false;
    }
    face = (DmaFace *)object_new("isa-dma-pair");
    face->pair.dma.ops = &dma_ops;
    face->pair.chip[0] = first;
    face->pair.chip[1] = second;
    object_add_child(&second->isa.dev.obj, "pair", &face->obj);
    bus->dma = &face->pair.dma;
    return true;
}
