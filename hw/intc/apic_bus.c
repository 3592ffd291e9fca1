/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The APIC bus: who gets a message, MSIs, the 8259's line, and the page at
 * fee00000h.  Lock-free: destinations' registers are read as atomic words.
 */
#include "hw/intc/apic_int.h"
#include "util/log.h"
#include "util/trace.h"

#include <assert.h>

TRACE_EVENT(apic_deliver, "dest 0x%x logical %d mode %d vector 0x%02x level %d")
TRACE_EVENT(apic_msi, "address 0x%llx data 0x%x")

static Apic *apic_at(ApicBus *bus, unsigned i)
{
    return __atomic_load_n(&bus->apics[i], __ATOMIC_ACQUIRE);
}

static unsigned apic_count(ApicBus *bus)
{
    return __atomic_load_n(&bus->count, __ATOMIC_ACQUIRE);
}

/* SDM, "Determining IPI Destination". */
static bool matches(const Apic *a, uint32_t dest, bool logical)
{
    uint32_t ldr;

    if (!apic_enabled(a)) {
        return false;
    }
    if (dest == DEST_ALL) {
        return true;
    }
    if (!logical) {
        return apic_x2(a) ? APIC_LOAD(a->id) == dest : (APIC_LOAD(a->id) & 0xff) == dest;
    }
    ldr = APIC_LOAD(a->ldr);
    if (apic_x2(a)) {
        return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff);
    }
    ldr >>= 24;
    if (APIC_LOAD(a->dfr) >> 28 == 0xf) {
        return dest < 0x100 && (dest & ldr);
    }
    return dest < 0x100 && dest >> 4 == ldr >> 4 && (dest & ldr & 0xf);
}

static void deliver_one(Apic *a, const ApicMessage *msg)
{
    switch (msg->mode) {
    case APIC_FIXED:
    case APIC_LOWEST:
        apic_accept(a, msg->vector, msg->level);
        break;
    case APIC_SMI:
        apic_signal(a, IRQ_SMI);
        break;
    case APIC_NMI:
        apic_signal(a, IRQ_NMI);
        break;
    case APIC_INIT:
        if (msg->assert) { /* the de-assert message only synchronizes arbitration IDs */
            apic_signal(a, IRQ_INIT);
        }
        break;
    case APIC_STARTUP:
        __atomic_store_n(&a->vcpu->cpu.sipi_vector, msg->vector, __ATOMIC_SEQ_CST);
        apic_signal(a, IRQ_SIPI);
        break;
    case APIC_EXTINT:
        APIC_STORE(a->extint_latched, 1);
        apic_poke(a);
        break;
    default:
        guest_error("apic", "message with reserved delivery mode %d", msg->mode);
        break;
    }
}

/* Among equals everybody gets a turn. */
static Apic *lowest_priority(ApicBus *bus, const ApicMessage *msg)
{
    unsigned n = apic_count(bus);
    unsigned turn = __atomic_add_fetch(&bus->lowest_turn, 1, __ATOMIC_RELAXED);
    Apic *best = NULL;

    for (unsigned k = 0; k < n; k++) {
        Apic *a = apic_at(bus, (turn + k) % n);

        if (a && apic_software_on(a) && matches(a, msg->dest, msg->logical) &&
            (!best || apic_ppr(a) < apic_ppr(best))) {
            best = a;
        }
    }
    return best;
}

void apic_bus_deliver(ApicBus *bus, const ApicMessage *msg)
{
    unsigned n = apic_count(bus);

    trace(apic_deliver, msg->dest, msg->logical, msg->mode, msg->vector, msg->level);
    if (apic_bus_chip(bus)) {
        apic_kernel_deliver(bus, msg);
        return;
    }
    if (msg->mode == APIC_LOWEST) {
        Apic *a = lowest_priority(bus, msg);

        if (a) {
            deliver_one(a, msg);
        }
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        Apic *a = apic_at(bus, i);

        if (a && matches(a, msg->dest, msg->logical)) {
            deliver_one(a, msg);
        }
    }
}

void apic_bus_msi(ApicBus *bus, uint64_t address, uint32_t data)
{
    /* Bits 11:5 carry destination bits 14:8 where the guest was told so. */
    uint32_t dest = (uint32_t)(address >> 12 & 0xff) | (uint32_t)(address >> 5 & 0x7f) << 8;
    ApicMessage msg = {
        .dest = (dest & 0xff) == 0xff ? DEST_ALL : dest,
        .logical = address >> 2 & 1,
        .mode = (ApicDelivery)(data >> 8 & 7),
        .vector = (uint8_t)data,
        .level = data >> 15 & 1,
        .assert = true,
    };

    trace(apic_msi, (unsigned long long)address, data);
    if (apic_bus_chip(bus)) {
        apic_bus_chip(bus)->msi(bus->machine->accel, address, data);
        return;
    }
    if (msg.level && !(data >> 14 & 1)) {
        return; /* level de-assert: nothing to do for a bus of messages */
    }
    /* Redirection hint: to one of the addressed. */
    if ((address >> 3 & 1) && msg.mode == APIC_FIXED && msg.logical) {
        msg.mode = APIC_LOWEST;
    }
    apic_bus_deliver(bus, &msg);
}

void apic_bus_eoi(ApicBus *bus, uint8_t vector)
{
    unsigned n = __atomic_load_n(&bus->n_eoi, __ATOMIC_ACQUIRE);

    for (unsigned i = 0; i < n; i++) {
        ApicEoiFn *fn = __atomic_load_n(&bus->eoi[i].fn, __ATOMIC_ACQUIRE);

        if (fn) {
            fn(bus->eoi[i].opaque, vector);
        }
    }
}

void apic_bus_add_eoi(ApicBus *bus, ApicEoiFn *fn, void *opaque)
{
    assert(bus->n_eoi < ARRAY_LEN(bus->eoi));
    bus->eoi[bus->n_eoi].opaque = opaque;
    __atomic_store_n(&bus->eoi[bus->n_eoi].fn, fn, __ATOMIC_RELEASE);
    __atomic_store_n(&bus->n_eoi, bus->n_eoi + 1, __ATOMIC_RELEASE);
}

void apic_bus_del_eoi(ApicBus *bus, void *opaque)
{
    for (unsigned i = 0; i < bus->n_eoi; i++) {
        if (bus->eoi[i].opaque == opaque) {
            __atomic_store_n(&bus->eoi[i].fn, NULL, __ATOMIC_RELEASE);
        }
    }
}

/* ---- pins ---- */

static void extint_set(void *opaque, int n, int level)
{
    ApicBus *bus = opaque;
    uint32_t old = __atomic_exchange_n(&bus->extint_level, level ? 1u : 0u, __ATOMIC_SEQ_CST);
    unsigned count = apic_count(bus);

    if (!level || old) {
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        Apic *a = apic_at(bus, i);

        if (!a) {
            continue;
        }
        if (apic_enabled(a) && !a->kernel) {
            apic_local(a, LVT_LINT0);
        } else {
            apic_poke(a);
        }
    }
}

IrqLine apic_bus_extint(ApicBus *bus)
{
    return (IrqLine){.set = extint_set, .opaque = bus};
}

void apic_bus_set_extint(ApicBus *bus, int (*ack)(void *opaque), bool (*pending)(void *opaque),
                         void *opaque)
{
    bus->ext_ack = ack;
    bus->ext_pending = pending;
    bus->ext_opaque = opaque;
}

void apic_bus_nmi(ApicBus *bus)
{
    unsigned n = apic_count(bus);

    for (unsigned i = 0; i < n; i++) {
        Apic *a = apic_at(bus, i);

        if (a && a->kernel) {
            apic_kernel_lint1(a);
        } else if (a && apic_enabled(a)) {
            apic_local(a, LVT_LINT1);
        } else if (a && i == 0) {
            apic_signal(a, IRQ_NMI); /* LINT1 is the NMI pin then */
        }
    }
}

void apic_bus_smi(ApicBus *bus, bool all)
{
    unsigned n = apic_count(bus);
    Vcpu *self = vcpu_current();

    for (unsigned i = 0; i < n; i++) {
        Apic *a = apic_at(bus, i);

        if (a && (all || (self ? a->vcpu == self : i == 0))) {
            apic_signal(a, IRQ_SMI);
        }
    }
}

/* ---- memory ---- */

/* The APIC of the CPU that makes this access; without one (qtest), the first. */
static Apic *accessing(ApicBus *bus)
{
    Vcpu *v = vcpu_current();

    return v ? v->cpu.apic : bus->count ? apic_at(bus, 0) : NULL;
}

static bool in_page(const Apic *a, hwaddr addr)
{
    return a && apic_enabled(a) && !apic_x2(a) &&
           (addr & ~0xfffull) == (APIC_LOAD(a->base) & ~0xfffull);
}

static MemResult page_read(Apic *a, hwaddr off, uint64_t *value, unsigned size)
{
    uint32_t v = 0;

    if (!apic_reg_read(a, (unsigned)(off >> 4), &v)) {
        __atomic_fetch_or(&a->esr_pending, ESR_REGISTER, __ATOMIC_SEQ_CST);
        guest_error("apic", "read of reserved register 0x%x", (unsigned)off & 0xff0);
    }
    /* Only the first four bytes of each 16 are implemented. */
    *value = (off & 0xf) < 4 ? v >> ((off & 3) * 8) : 0;
    return MEM_OK;
}

static MemResult page_write(Apic *a, hwaddr off, uint64_t value, unsigned size)
{
    if (size != 4 || (off & 0xf)) {
        guest_error("apic", "write of %u bytes at 0x%x: only aligned 32-bit writes count", size,
                    (unsigned)off);
    } else if (!apic_reg_write(a, (unsigned)(off >> 4), (uint32_t)value)) {
        __atomic_fetch_or(&a->esr_pending, ESR_REGISTER, __ATOMIC_SEQ_CST);
        guest_error("apic", "write of reserved register 0x%x", (unsigned)off);
    }
    return MEM_OK;
}

static MemResult region_read(void *opaque, hwaddr off, uint64_t *value, unsigned size, MemAttrs at)
{
    ApicBus *bus = opaque;
    Apic *a = accessing(bus);

    if (at.requester == 0xffff && in_page(a, APIC_DEFAULT_BASE + off)) {
        return page_read(a, off & 0xfff, value, size);
    }
    *value = UINT64_MAX;
    return MEM_DECODE_ERROR;
}

static MemResult region_write(void *opaque, hwaddr off, uint64_t value, unsigned size, MemAttrs at)
{
    ApicBus *bus = opaque;
    Apic *a = accessing(bus);

    if (at.requester == 0xffff && in_page(a, APIC_DEFAULT_BASE + off)) {
        return page_write(a, off & 0xfff, value, size);
    }
    if (size != 4 || (off & 3)) {
        return MEM_DECODE_ERROR;
    }
    apic_bus_msi(bus, APIC_DEFAULT_BASE + off, (uint32_t)value);
    return MEM_OK;
}

static const RegionOps region_ops = {
    .read_attrs = region_read,
    .write_attrs = region_write,
    .impl_min = 1,
    .impl_max = 4,
};

/* A page that one CPU has moved its APIC to: nothing there for the others. */
static MemResult moved_read(void *opaque, hwaddr off, uint64_t *value, unsigned size, MemAttrs at)
{
    Apic *a = opaque;

    if (at.requester == 0xffff && accessing(a->bus) == a && in_page(a, APIC_LOAD(a->base))) {
        return page_read(a, off, value, size);
    }
    *value = UINT64_MAX;
    return MEM_DECODE_ERROR;
}

static MemResult moved_write(void *opaque, hwaddr off, uint64_t value, unsigned size, MemAttrs at)
{
    Apic *a = opaque;

    if (at.requester == 0xffff && accessing(a->bus) == a && in_page(a, APIC_LOAD(a->base))) {
        return page_write(a, off, value, size);
    }
    return MEM_DECODE_ERROR;
}

static const RegionOps moved_ops = {
    .read_attrs = moved_read,
    .write_attrs = moved_write,
    .impl_min = 1,
    .impl_max = 4,
};

void apic_bus_remap(ApicBus *bus, Apic *a)
{
    hwaddr base = APIC_LOAD(a->base) & ~0xfffull;
    bool moved = apic_enabled(a) && !apic_x2(a) && base != APIC_DEFAULT_BASE;

    if (!moved && !a->relocated_mapped) {
        return;
    }
    loop_lock(bus->machine->platform);
    if (a->relocated_mapped) {
        region_del(&bus->machine->memory, &a->relocated);
    }
    if (moved) {
        region_add_overlap(&bus->machine->memory, base, &a->relocated, 0x1000);
    }
    a->relocated_mapped = moved;
    loop_unlock(bus->machine->platform);
}

/* ---- life ---- */

ApicBus *apic_bus_new(Machine *m)
{
    ApicBus *bus = g_new0(ApicBus, 1);

    bus->machine = m;
    bus->max = MAX(m->smp.max_cpus, 1u);
    bus->apics = g_new0(Apic *, bus->max);
    bus->owner.name = "apic-msi";
    region_init_io(&bus->region, &bus->owner, &region_ops, bus, "apic-msi", APIC_REGION_SIZE);
    return bus;
}

void apic_bus_free(ApicBus *bus)
{
    if (bus) {
        region_fini(&bus->region);
        g_free(bus->apics);
        g_free(bus);
    }
}

Region *apic_bus_region(ApicBus *bus)
{
    return &bus->region;
}

bool apic_bus_attach(ApicBus *bus, Apic *a, Error **errp)
{
    unsigned i = 0;

    while (i < bus->max && bus->apics[i]) {
        i++;
    }
    if (i == bus->max) {
        error_set(errp, "the machine has no room for more than %u CPUs", bus->max);
        return false;
    }
    a->index = i;
    region_init_io(&a->relocated, &a->dev.owner, &moved_ops, a, "apic", 0x1000);
    __atomic_store_n(&bus->apics[i], a, __ATOMIC_RELEASE);
    if (i >= bus->count) {
        __atomic_store_n(&bus->count, i + 1, __ATOMIC_RELEASE);
    }
    return true;
}

void apic_bus_detach(ApicBus *bus, Apic *a)
{
    __atomic_store_n(&bus->apics[a->index], NULL, __ATOMIC_RELEASE);
    if (a->relocated_mapped) {
        region_del(&bus->machine->memory, &a->relocated);
        a->relocated_mapped = false;
    }
    region_fini(&a->relocated);
}
