/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel knows of a guest that runs guests: KVM's own format, kept whole in CPUX86.
 * A CPU that is at rest (no VMXON; global interrupts on, no guest) has none.
 */
#include "accel/kvm/kvm.h"

#include <errno.h>
#include <string.h>

#define HEADER sizeof(struct kvm_nested_state)
#define F1_ECX_VMX (1u << 5)
#define F81_ECX_SVM (1u << 2)

static bool possible(const KvmCpu *kc)
{
    return kc->nested && (cpu_has(&kc->vcpu->cpu, FEAT_80000001_ECX, F81_ECX_SVM) ||
                          cpu_has(&kc->vcpu->cpu, FEAT_1_ECX, F1_ECX_VMX));
}

void kvm_nested_create(KvmCpu *kc)
{
    CPUX86 *cpu = &kc->vcpu->cpu;

    if (kc->kvm->nested_size >= HEADER) {
        kc->nested = g_malloc0(kc->kvm->nested_size);
        cpu->nested_max = kc->kvm->nested_size;
    }
}

void kvm_nested_destroy(KvmCpu *kc)
{
    CPUX86 *cpu = &kc->vcpu->cpu;

    g_free(kc->nested);
    g_clear_pointer(&cpu->nested, g_free);
    cpu->nested_len = cpu->nested_max = 0;
}

/* The kernel's into kc->nested. */
static bool fetch(KvmCpu *kc, Error **errp)
{
    int ret;

    memset(kc->nested, 0, kc->kvm->nested_size);
    kc->nested->size = kc->kvm->nested_size;
    ret = kvm_ioctl(kc->fd, KVM_GET_NESTED_STATE, kc->nested);
    if (ret < 0 || kc->nested->size < HEADER || kc->nested->size > kc->kvm->nested_size) {
        error_set_errno(errp, ret < 0 ? -ret : EIO,
                        "the kernel does not give the state of CPU %u's guests",
                        kc->vcpu->cpu.index);
        return false;
    }
    return true;
}

static bool at_rest(const struct kvm_nested_state *s)
{
    if (s->size > HEADER) {
        return false;
    }
    return s->format == KVM_STATE_NESTED_FORMAT_SVM ? s->flags == KVM_STATE_NESTED_GIF_SET
                                                    : s->hdr.vmx.vmxon_pa == UINT64_MAX;
}

bool kvm_get_nested(KvmCpu *kc, Error **errp)
{
    CPUX86 *cpu = &kc->vcpu->cpu;

    if (!possible(kc)) {
        return true;
    }
    if (!fetch(kc, errp)) {
        return false;
    }
    g_clear_pointer(&cpu->nested, g_free);
    cpu->nested_len = at_rest(kc->nested) ? 0 : kc->nested->size;
    if (cpu->nested_len) {
        cpu->nested = g_memdup2(kc->nested, cpu->nested_len);
    }
    return true;
}

static bool put(KvmCpu *kc, const struct kvm_nested_state *s, Error **errp)
{
    int ret = kvm_ioctl(kc->fd, KVM_SET_NESTED_STATE, (void *)s);

    if (ret < 0) {
        error_set_errno(errp, -ret, "the kernel refuses the state of CPU %u's guests",
                        kc->vcpu->cpu.index);
    }
    return ret >= 0;
}

/* The kernel leaves whatever guest it is in, so that any control registers can follow. */
static bool rest(KvmCpu *kc, Error **errp)
{
    struct kvm_nested_state s = {.format = kc->nested->format, .size = HEADER};

    if (s.format == KVM_STATE_NESTED_FORMAT_SVM) {
        s.flags = KVM_STATE_NESTED_GIF_SET;
    } else {
        s.hdr.vmx.vmxon_pa = s.hdr.vmx.vmcs12_pa = UINT64_MAX;
    }
    return put(kc, &s, errp);
}

bool kvm_nested_prepare(KvmCpu *kc, bool *put_later, Error **errp)
{
    const CPUX86 *cpu = &kc->vcpu->cpu;

    *put_later = false;
    if (!possible(kc)) {
        return true;
    }
    if (!fetch(kc, errp)) {
        return false;
    }
    if (cpu->nested_len ? cpu->nested_len == kc->nested->size &&
                              !memcmp(cpu->nested, kc->nested, cpu->nested_len)
                        : at_rest(kc->nested)) {
        return true;
    }
    *put_later = cpu->nested_len != 0;
    return at_rest(kc->nested) || rest(kc, errp);
}

bool kvm_put_nested(KvmCpu *kc, Error **errp)
{
    const CPUX86 *cpu = &kc->vcpu->cpu;
    const struct kvm_nested_state *s = (const void *)cpu->nested;

    if (cpu->nested_len < HEADER || s->size != cpu->nested_len) {
        error_set(errp, "the state of CPU %u's guests has an impossible size", cpu->index);
        return false;
    }
    return put(kc, s, errp);
}
