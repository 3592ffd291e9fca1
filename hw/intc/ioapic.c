/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The I/O APIC.  One source a pin: lines that are shared by several devices are
 * merged before they get here.
 */
#include "hw/intc/ioapic.h"

#include "hw/intc/apic_int.h"
#include "util/log.h"
#include "util/trace.h"

#include <inttypes.h>
#include <linux/kvm.h>
#include <pthread.h>

TRACE_EVENT(ioapic_set, "pin %d level %d")
TRACE_EVENT(ioapic_write, "reg 0x%02x value 0x%08x")

#define RTE_DELIVERY_STATUS BIT(12)
#define RTE_ACTIVE_LOW BIT(13)
#define RTE_REMOTE_IRR BIT(14)
#define RTE_LEVEL BIT(15)
#define RTE_MASKED BIT(16)
#define RTE_WRITABLE 0xff0000000001afffull /* with the two read-only bits out */

enum { IOREG_ID = 0x00, IOREG_VERSION = 0x01, IOREG_ARBITRATION = 0x02, IOREG_TABLE = 0x10 };

struct IoApic {
    Device dev;
    Region io;
    ApicBus *bus;
    pthread_mutex_t lock;
    uint8_t version; /* property */
    uint8_t id, select;
    uint32_t lines; /* levels at the pins */
    uint64_t table[IOAPIC_PINS];
    uint64_t sent[IOAPIC_PINS]; /* for people */
};

#define IOAPIC(o) OBJECT_CAST(IoApic, o, TYPE_IOAPIC)

/* ---- an engine with interrupt controllers of its own ---- */

static const AccelIrqchip *chip_of(const IoApic *s)
{
    return apic_bus_chip(s->bus);
}

static bool in_kernel(const IoApic *s)
{
    return chip_of(s) && chip_of(s)->board;
}

static void to_kernel(IoApic *s)
{
    struct kvm_irqchip c = {.chip_id = KVM_IRQCHIP_IOAPIC};

    c.chip.ioapic.base_address = IOAPIC_DEFAULT_BASE;
    c.chip.ioapic.ioregsel = s->select;
    c.chip.ioapic.id = s->id;
    c.chip.ioapic.irr = s->lines;
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        c.chip.ioapic.redirtbl[n].bits = s->table[n];
    }
    chip_of(s)->set_chip(s->bus->machine->accel, &c);
}

static void from_kernel(IoApic *s)
{
    struct kvm_irqchip c = {.chip_id = KVM_IRQCHIP_IOAPIC};

    if (!chip_of(s)->get_chip(s->bus->machine->accel, &c)) {
        return;
    }
    s->select = (uint8_t)c.chip.ioapic.ioregsel;
    s->id = c.chip.ioapic.id & 0xf;
    s->lines = c.chip.ioapic.irr & 0xffffff;
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        s->table[n] = c.chip.ioapic.redirtbl[n].bits;
    }
}

static ApicMessage message(const IoApic *s, unsigned n)
{
    uint64_t e = s->table[n];
    uint32_t dest = (uint32_t)(e >> 56);

    return (ApicMessage){
        .dest = dest == 0xff ? UINT32_MAX : dest,
        .logical = e >> 11 & 1,
        .mode = (ApicDelivery)(e >> 8 & 7),
        .vector = (uint8_t)e,
        .level = (e & RTE_LEVEL) != 0,
        .assert = true,
    };
}

/* Local APICs in the kernel tell of the EOIs of vectors that they know to be ours. */
static void announce(IoApic *s, unsigned n)
{
    ApicMessage msg = message(s, n);

    s->sent[n]++;
    uint64_t address;
    uint32_t data;

    if (chip_of(s) && !in_kernel(s)) {
        apic_message_encode(&msg, &address, &data);
        chip_of(s)->set_route(s->bus->machine->accel, n, address, data,
                              !(s->table[n] & RTE_MASKED));
    }
}

static void send(IoApic *s, unsigned n)
{
    ApicMessage msg = message(s, n);

    apic_bus_deliver(s->bus, &msg);
}

/* Sends what a level-triggered pin asks for, unless its last request is unanswered. */
static void service_level(IoApic *s, unsigned n)
{
    uint64_t *e = &s->table[n];
    unsigned mode = *e >> 8 & 7;

    if ((*e & (RTE_MASKED | RTE_REMOTE_IRR)) || !(*e & RTE_LEVEL) || !(s->lines >> n & 1)) {
        return;
    }
    /* Only fixed and lowest-priority interrupts are answered by an EOI. */
    if (mode == APIC_FIXED || mode == APIC_LOWEST) {
        *e |= RTE_REMOTE_IRR;
    }
    send(s, n);
}

static void pin_set(void *opaque, int n, int level)
{
    IoApic *s = opaque;
    uint32_t bit = 1u << n;

    trace(ioapic_set, n, level);
    if (in_kernel(s)) {
        chip_of(s)->set_gsi(s->bus->machine->accel, (unsigned)n, level);
        return;
    }
    pthread_mutex_lock(&s->lock);
    if (!level) {
        s->lines &= ~bit;
    } else {
        bool rising = !(s->lines & bit);

        s->lines |= bit;
        if (s->table[n] & RTE_LEVEL) {
            service_level(s, (unsigned)n);
        } else if (rising && !(s->table[n] & RTE_MASKED)) {
            send(s, (unsigned)n); /* an edge while masked is lost, as the data sheet says */
        }
    }
    pthread_mutex_unlock(&s->lock);
}

static void end_of_interrupt(void *opaque, uint8_t vector)
{
    IoApic *s = opaque;

    pthread_mutex_lock(&s->lock);
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        uint64_t *e = &s->table[n];

        if ((uint8_t)*e == vector && (*e & RTE_LEVEL) && (*e & RTE_REMOTE_IRR)) {
            *e &= ~RTE_REMOTE_IRR;
            service_level(s, n);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

static uint32_t reg_read(const IoApic *s)
{
    unsigned n = (s->select - IOREG_TABLE) / 2u;

    switch (s->select) {
    case IOREG_ID:
    case IOREG_ARBITRATION:
        return (uint32_t)s->id << 24;
    case IOREG_VERSION:
        return s->version | (IOAPIC_PINS - 1u) << 16;
    default:
        if (s->select < IOREG_TABLE || n >= IOAPIC_PINS) {
            guest_error("ioapic", "read of register 0x%02x, which does not exist", s->select);
            return 0;
        }
        return (uint32_t)(s->select & 1 ? s->table[n] >> 32 : s->table[n]);
    }
}

static void table_write(IoApic *s, unsigned n, bool high, uint32_t v)
{
    uint64_t old = s->table[n];
    uint64_t e = high ? (old & UINT32_MAX) | (uint64_t)v << 32 : (old & ~0xffffffffull) | v;

    e = (e & RTE_WRITABLE) | (old & RTE_REMOTE_IRR);
    if (!(e & RTE_LEVEL)) {
        e &= ~RTE_REMOTE_IRR;
    }
    s->table[n] = e;
    announce(s, n);
    service_level(s, n);
}

static void reg_write(IoApic *s, uint32_t v)
{
    unsigned n = (s->select - IOREG_TABLE) / 2u;

    trace(ioapic_write, s->select, v);
    if (s->select == IOREG_ID) {
        s->id = v >> 24 & 0xf;
    } else if (s->select >= IOREG_TABLE && n < IOAPIC_PINS) {
        table_write(s, n, s->select & 1, v);
    } else {
        guest_error("ioapic", "write of register 0x%02x, which is not writable", s->select);
    }
}

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    IoApic *s = opaque;
    uint32_t v = 0;

    pthread_mutex_lock(&s->lock);
    switch (off & 0xff) {
    case 0x00:
        v = s->select;
        break;
    case 0x10:
        v = reg_read(s);
        break;
    default:
        break;
    }
    pthread_mutex_unlock(&s->lock);
    return v;
}

static void io_write(void *opaque, hwaddr off, uint64_t value, unsigned size)
{
    IoApic *s = opaque;

    if ((off & 0xff) == 0x40 && s->version >= 0x20) {
        end_of_interrupt(s, (uint8_t)value);
        return;
    }
    pthread_mutex_lock(&s->lock);
    switch (off & 0xff) {
    case 0x00:
        s->select = (uint8_t)value;
        break;
    case 0x10:
        reg_write(s, (uint32_t)value);
        break;
    default:
        guest_error("ioapic", "write at offset 0x%x", (unsigned)off);
        break;
    }
    pthread_mutex_unlock(&s->lock);
}

static const RegionOps io_ops = {.read = io_read, .write = io_write, .impl_min = 1, .impl_max = 4};

static void ioapic_reset(Device *dev)
{
    IoApic *s = IOAPIC(dev);

    pthread_mutex_lock(&s->lock);
    s->id = s->select = 0;
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        s->table[n] = RTE_MASKED;
        announce(s, n);
    }
    if (in_kernel(s)) {
        to_kernel(s);
    }
    pthread_mutex_unlock(&s->lock);
}

static void ioapic_pre_save(void *obj)
{
    if (in_kernel(obj)) {
        from_kernel(obj);
    }
}

static void ioapic_loaded(void *obj)
{
    IoApic *s = obj;

    if (in_kernel(s)) {
        to_kernel(s);
    }
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        announce(s, n);
    }
}

static bool ioapic_realize(Device *dev, Error **errp)
{
    IoApic *s = IOAPIC(dev);

    if (!s->bus) {
        error_set(errp, "an I/O APIC is part of the machine and cannot be made alone");
        return false;
    }
    if (s->version != 0x11 && s->version != 0x20) {
        error_set(errp, "ioapic: version 0x%02x does not exist; 0x11 and 0x20 do", s->version);
        return false;
    }
    dev->owner.loop = NULL;
    region_init_io(&s->io, &dev->owner, &io_ops, s, "ioapic", 0x1000);
    apic_bus_add_eoi(s->bus, end_of_interrupt, s);
    if (chip_of(s)) {
        chip_of(s)->set_eoi(s->bus->machine->accel, end_of_interrupt, s);
    }
    return true;
}

static void ioapic_unrealize(Device *dev)
{
    IoApic *s = IOAPIC(dev);

    if (chip_of(s)) {
        chip_of(s)->set_eoi(s->bus->machine->accel, NULL, NULL);
    }
    apic_bus_del_eoi(s->bus, s);
    region_fini(&s->io);
}

static void ioapic_instance_init(Object *obj)
{
    pthread_mutex_init(&((IoApic *)obj)->lock, NULL);
}

static void ioapic_finalize(Object *obj)
{
    pthread_mutex_destroy(&((IoApic *)obj)->lock);
}

static const StateDesc ioapic_state = {
    .name = "ioapic",
    .version = 1,
    .pre_save = ioapic_pre_save,
    .loaded = ioapic_loaded,
    .fields =
        (const StateField[]){
            STATE_F_UINT_MAX(IoApic, id, 0xf),
            STATE_F_UINT(IoApic, select),
            STATE_F_UINT_MAX(IoApic, lines, 0xffffff),
            STATE_F_UINT_ARRAY(IoApic, table),
            {0},
        },
};

static const Property ioapic_props[] = {
    PROPERTY_U8("version", IoApic, version, 0x20, "0x11, or 0x20 with an EOI register"),
    {0},
};

static const DeviceClass ioapic_class = {
    .realize = ioapic_realize,
    .unrealize = ioapic_unrealize,
    .reset = ioapic_reset,
    .state = &ioapic_state,
    .category = DEVICE_CATEGORY_MISC,
    .not_hotpluggable = true,
};

OBJECT_TYPE(ioapic_type, .name = TYPE_IOAPIC, .parent = TYPE_DEVICE, .help = "I/O APIC",
            .size = sizeof(IoApic), .klass = &ioapic_class, .props = ioapic_props,
            .init = ioapic_instance_init, .finalize = ioapic_finalize)

IoApic *ioapic_new(Machine *m, ApicBus *bus, Error **errp)
{
    IoApic *s = IOAPIC(device_new(TYPE_IOAPIC));

    s->bus = bus;
    return device_realize(&s->dev, m, NULL, errp) ? s : NULL;
}

Region *ioapic_region(IoApic *s)
{
    return &s->io;
}

IrqLine ioapic_input(IoApic *s, unsigned n)
{
    return n < IOAPIC_PINS ? (IrqLine){.set = pin_set, .opaque = s, .n = (int)n} : (IrqLine){0};
}

void ioapic_print_counts(IoApic *s, GString *out)
{
    g_string_append(out, "IRQ statistics for ioapic:\n");
    if (in_kernel(s)) {
        g_string_append(out, " it is in the kernel, which does not tell\n");
        return;
    }
    pthread_mutex_lock(&s->lock);
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        if (s->sent[n]) {
            g_string_append_printf(out, "%2u: %" PRIu64 "\n", n, s->sent[n]);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

void ioapic_print(IoApic *s, GString *out)
{
    static const char *const modes[] = {"fixed", "lowest", "SMI", "...",
                                        "NMI",   "INIT",   "...", "ExtINT"};

    pthread_mutex_lock(&s->lock);
    ioapic_pre_save(s);
    g_string_append_printf(out, "ioapic0: ver=0x%x id=0x%02x sel=0x%02x\n", s->version, s->id,
                           s->select);
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        uint64_t e = s->table[n];

        g_string_append_printf(
            out, "  pin %-2u 0x%016llx dest=%llx vec=%-3llu %s %-5s %s %s %s\n", n,
            (unsigned long long)e, (unsigned long long)(e >> 56), (unsigned long long)(e & 0xff),
            e & RTE_ACTIVE_LOW ? "active-lo" : "active-hi", e & RTE_LEVEL ? "level" : "edge",
            e & RTE_MASKED ? "masked" : "      ", modes[e >> 8 & 7],
            e & RTE_REMOTE_IRR ? "remote IRR" : "");
    }
    g_string_append_printf(out, "  IRR      0x%06x\n", s->lines);
    pthread_mutex_unlock(&s->lock);
}
