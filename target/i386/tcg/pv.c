/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "target/i386/tcg/pv.h"

#include "event/clock.h"
#include "util/bits.h"

/* Bits of CPUID 40000001H:EAX. */
#define KVM_CLOCKSOURCE (1u << 0)
#define KVM_CLOCKSOURCE2 (1u << 3)
#define KVM_PV_EOI (1u << 6)
#define KVM_SEND_IPI (1u << 11)
#define KVM_CLOCK_STABLE (1u << 24)

enum {
    MSR_WALL_CLOCK_OLD = 0x11,
    MSR_SYSTEM_TIME_OLD = 0x12,
    MSR_WALL_CLOCK = 0x4b564d00,
    MSR_SYSTEM_TIME = 0x4b564d01,
    MSR_PV_EOI = 0x4b564d04,
};

#define HC_SEND_IPI 10u
#define HC_ERR_PERM ((uint64_t)-1)
#define HC_ERR_UNKNOWN ((uint64_t)-1000)

#define CLOCK_ENABLED 1ull
#define CLOCK_PAGE_SIZE 32u
#define CLOCK_FLAG_STABLE 1u
#define ICR_MODE_VECTOR 0x7ffu

bool pv_is_msr(const CPUX86 *cpu, uint32_t index)
{
    uint32_t f = cpu->config.kvm ? cpu->config.features[FEAT_KVM] : 0;

    switch (index) {
    case MSR_WALL_CLOCK_OLD:
    case MSR_SYSTEM_TIME_OLD:
        return f & KVM_CLOCKSOURCE;
    case MSR_WALL_CLOCK:
    case MSR_SYSTEM_TIME:
        return f & KVM_CLOCKSOURCE2;
    case MSR_PV_EOI:
        return (f & KVM_PV_EOI) && cpu->apic_ops;
    default:
        return false;
    }
}

/* ---- the clock ---- */
static void store(CPUX86 *cpu, uint64_t addr, const void *p, size_t len)
{
    /* A page that is no memory is the guest's own loss. */
    (void)address_space_write(cpu->as, addr, MEM_ATTRS_NONE, p, len);
}

static void store_version(CPUX86 *cpu, uint64_t addr, uint32_t version)
{
    uint8_t b[4];

    st_le32(b, version);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    store(cpu, addr, b, sizeof(b));
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* An even version; it is odd while the rest changes. */
static uint32_t begin_change(CPUX86 *cpu, uint64_t addr)
{
    uint8_t b[4] = {0};
    uint32_t version;

    (void)address_space_read(cpu->as, addr, MEM_ATTRS_NONE, b, sizeof(b));
    version = (ld_le32(b) & ~1u) + 2;
    store_version(cpu, addr, version - 1);
    return version;
}

/* ns = (ticks << shift) * mul >> 32: mul with its top bit set, as exact as it can be. */
static void scale_of(uint64_t hz, uint32_t *mul, int8_t *shift)
{
    int s = 0;

    while (hz > 2ull * (uint64_t)NS_PER_SEC) {
        hz >>= 1;
        s--;
    }
    while (hz <= (uint64_t)NS_PER_SEC) {
        hz <<= 1;
        s++;
    }
    *mul = (uint32_t)(((uint64_t)NS_PER_SEC << 32) / hz);
    *shift = (int8_t)s;
}

/*
 * The guest's time is CLOCK_VIRTUAL, of which the counter is a multiple plus an offset; so
 * the page says the same on every CPU whose counter was not set, and never needs to change.
 */
static void write_clock(CPUX86 *cpu)
{
    uint64_t addr = cpu->kvm_system_time & ~CLOCK_ENABLED;
    uint64_t hz = cpu->config.tsc_hz ? cpu->config.tsc_hz : (uint64_t)NS_PER_SEC;
    bool stable = cpu->config.features[FEAT_KVM] & KVM_CLOCK_STABLE;
    uint8_t page[CLOCK_PAGE_SIZE] = {0};
    uint32_t mul, version;
    int8_t shift;

    if (!(cpu->kvm_system_time & CLOCK_ENABLED)) {
        return;
    }
    scale_of(hz, &mul, &shift);
    st_le64(page + 8, (uint64_t)cpu->tsc_offset);
    st_le32(page + 24, mul);
    page[28] = (uint8_t)shift;
    page[29] = stable ? CLOCK_FLAG_STABLE : 0;
    version = begin_change(cpu, addr);
    store(cpu, addr + 4, page + 4, sizeof(page) - 4);
    store_version(cpu, addr, version);
}

void pv_tsc_changed(CPUX86 *cpu)
{
    write_clock(cpu);
}

/* What the guest's wall clock was when its time began. */
static void write_wall_clock(CPUX86 *cpu, uint64_t addr)
{
    int64_t ns = clock_guest_wall(cpu->clocks) - clock_virtual(cpu->clocks);
    uint8_t b[12];
    uint32_t version = begin_change(cpu, addr);

    ns = MAX(ns, 0);
    st_le32(b + 4, (uint32_t)(ns / NS_PER_SEC));
    st_le32(b + 8, (uint32_t)(ns % NS_PER_SEC));
    store(cpu, addr + 4, b + 4, 8);
    store_version(cpu, addr, version);
}

bool pv_msr_read(CPUX86 *cpu, uint32_t index, uint64_t *v)
{
    bool wall = index == MSR_WALL_CLOCK || index == MSR_WALL_CLOCK_OLD;

    if (index == MSR_PV_EOI) {
        *v = cpu->kvm_eoi;
        return true;
    }
    *v = wall ? cpu->kvm_wall_clock : cpu->kvm_system_time;
    return true;
}

bool pv_msr_write(CPUX86 *cpu, uint32_t index, uint64_t v)
{
    if (index == MSR_WALL_CLOCK || index == MSR_WALL_CLOCK_OLD) {
        cpu->kvm_wall_clock = v;
        write_wall_clock(cpu, v);
    } else if (index == MSR_PV_EOI) {
        return cpu->apic_ops->write_msr(cpu->apic, index, v);
    } else {
        cpu->kvm_system_time = v;
        write_clock(cpu);
    }
    return true;
}

/* ---- hypercalls ---- */
/* RBX, RCX: a bitmap of APIC ids from RDX up; RSI: vector and mode as in the APIC's ICR. */
static uint64_t send_ipi(CPUX86 *cpu, const uint64_t a[4], bool wide)
{
    unsigned bits = wide ? 64 : 32;
    uint64_t sent = 0;

    if (!cpu->apic_ops || !cpu->apic_ops->send_ipi) {
        return HC_ERR_UNKNOWN;
    }
    for (unsigned w = 0; w < 2; w++) {
        for (uint64_t map = a[w]; map; map &= map - 1) {
            uint64_t id = a[2] + w * bits + (unsigned)__builtin_ctzll(map);
            if (id < UINT32_MAX) {
                cpu->apic_ops->send_ipi(cpu->apic, (uint32_t)id, (uint32_t)a[3] & ICR_MODE_VECTOR);
                sent++;
            }
        }
    }
    return sent;
}

void pv_hypercall(CPUX86 *cpu)
{
    bool wide = cpu->hflags & HF_CS64;
    uint64_t mask = wide ? UINT64_MAX : UINT32_MAX;
    uint64_t args[4] = {cpu->regs[R_RBX] & mask, cpu->regs[R_RCX] & mask, cpu->regs[R_RDX] & mask,
                        cpu->regs[R_RSI] & mask};
    uint64_t result = HC_ERR_UNKNOWN;

    if (cpu_cpl(cpu) != 0) {
        result = HC_ERR_PERM;
    } else if ((cpu->regs[R_RAX] & mask) == HC_SEND_IPI &&
               (cpu->config.features[FEAT_KVM] & KVM_SEND_IPI)) {
        result = send_ipi(cpu, args, wide);
    }
    cpu->regs[R_RAX] = result & mask;
}
