/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a debugger asks of the engine: the processor's four debug registers for break- and
 * watchpoints, its trap flag for steps.  The guest's own debug registers are hidden meanwhile.
 */
#include "accel/kvm/kvm.h"

#include <string.h>

#define DR6_BS (1ull << 14)
#define DR7_FIXED 0x400ull
#define POINTS 4u

static bool fits(const DebugPoint *p)
{
    return p->kind == DEBUG_EXEC ||
           ((p->len == 1 || p->len == 2 || p->len == 4 || p->len == 8) && !(p->addr % p->len));
}

bool kvm_debug_check(Accel *a, Error **errp)
{
    for (guint i = 0; i < a->debug_points->len; i++) {
        if (!fits(&g_array_index(a->debug_points, DebugPoint, i))) {
            error_set(errp, "KVM watches 1, 2, 4 or 8 bytes at an address divisible by that");
            return false;
        }
    }
    if (a->debug_points->len > POINTS) {
        error_set(errp, "KVM has %u break- and watchpoints together", POINTS);
        error_hint(errp, "-accel tcg has any number\n");
        return false;
    }
    return true;
}

static uint64_t dr7_bits(const DebugPoint *p, unsigned i)
{
    static const uint8_t lengths[] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};
    uint64_t type = p->kind == DEBUG_EXEC ? 0 : p->kind == DEBUG_WRITE ? 1 : 3;
    uint64_t len = p->kind == DEBUG_EXEC ? 0 : lengths[p->len];

    return 2ull << (i * 2) | (type | len << 2) << (16 + i * 4);
}

/* A step leaves the place where it begins, though CPUs stop there. */
static bool stepped_over(const KvmCpu *kc, const DebugPoint *p)
{
    const CPUX86 *cpu = &kc->vcpu->cpu;

    return kc->vcpu->step && p->kind == DEBUG_EXEC && p->addr == cpu->segs[SEG_CS].base + cpu->rip;
}

void kvm_debug_update(KvmCpu *kc)
{
    const GArray *points = kc->kvm->accel->debug_points;
    struct kvm_guest_debug d = {0};
    guint n = points ? MIN(points->len, POINTS) : 0;

    kc->debug_stale = false;
    if (kc->vcpu->step) {
        kvm_get_state(kc, NULL);
    }
    d.arch.debugreg[7] = DR7_FIXED;
    for (guint i = 0; i < n; i++) {
        const DebugPoint *p = &g_array_index(points, DebugPoint, i);

        d.arch.debugreg[i] = p->addr;
        d.arch.debugreg[7] |= stepped_over(kc, p) ? 0 : dr7_bits(p, i);
    }
    if (n) {
        d.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    }
    if (kc->vcpu->step) {
        d.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
        if (!kc->vcpu->step_irqs && kc->kvm->block_irqs) {
            d.control |= KVM_GUESTDBG_BLOCKIRQ;
        }
    }
    if (d.control || kc->debugging) {
        kvm_ioctl(kc->fd, KVM_SET_GUEST_DEBUG, &d);
    }
    kc->debugging = d.control != 0;
}

void kvm_debug_changed(Accel *a)
{
    Kvm *k = kvm_of(a);

    for (guint i = 0; k && i < k->cpus->len; i++) {
        ((KvmCpu *)k->cpus->pdata[i])->debug_stale = true;
    }
}

/* An exit for a debugger; false: it was the guest's own affair, and goes to it. */
bool kvm_debug_exit(KvmCpu *kc)
{
    const struct kvm_debug_exit_arch *e = &kc->run->debug.arch;
    const GArray *points = kc->kvm->accel->debug_points;
    DebugStop *s = &kc->vcpu->debug_stop;
    CPUX86 *cpu = &kc->vcpu->cpu;

    for (guint i = 0; e->exception == EXC_DB && points && i < MIN(points->len, POINTS); i++) {
        if (e->dr6 >> i & 1) {
            *s =
                (DebugStop){.why = DEBUG_STOP_POINT, .point = g_array_index(points, DebugPoint, i)};
            return true;
        }
    }
    if (e->exception == EXC_DB && kc->vcpu->step && (e->dr6 & DR6_BS)) {
        *s = (DebugStop){.why = DEBUG_STOP_STEP};
        return true;
    }
    if (!kvm_get_state(kc, NULL)) {
        return true;
    }
    kc->dirty = true;
    cpu->exception_vector = (int32_t)e->exception;
    cpu->exception_has_error = false;
    if (e->exception == EXC_DB) {
        cpu->dr[6] = e->dr6;
    }
    return false;
}
