/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is printed when the kernel cannot run a guest on: why, where, and the code there. */
#include "accel/kvm/kvm.h"

#include <stdio.h>

static const char *const reasons[] = {
    [KVM_EXIT_UNKNOWN] = "an unknown hardware exit",
    [KVM_EXIT_EXCEPTION] = "an exception",
    [KVM_EXIT_HYPERCALL] = "a hypercall",
    [KVM_EXIT_FAIL_ENTRY] = "a failed entry into the guest",
    [KVM_EXIT_INTERNAL_ERROR] = "an internal error of KVM",
    [KVM_EXIT_TPR_ACCESS] = "an access to the task priority",
    [KVM_EXIT_NMI] = "an NMI",
    [KVM_EXIT_X86_RDMSR] = "RDMSR",
    [KVM_EXIT_X86_WRMSR] = "WRMSR",
    [KVM_EXIT_HYPERV] = "a Hyper-V request",
};

static const char *suberror(uint32_t e)
{
    switch (e) {
    case KVM_INTERNAL_ERROR_EMULATION:
        return "it cannot emulate the instruction";
    case KVM_INTERNAL_ERROR_SIMUL_EX:
        return "exceptions at the same time";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
        return "while it delivered an event";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
        return "an exit that it does not expect";
    default:
        return "no further reason";
    }
}

static void detail(GString *out, const struct kvm_run *run)
{
    switch (run->exit_reason) {
    case KVM_EXIT_UNKNOWN:
        g_string_append_printf(out, " 0x%llx", (unsigned long long)run->hw.hardware_exit_reason);
        break;
    case KVM_EXIT_EXCEPTION:
        g_string_append_printf(out, " %u (error code 0x%x)", run->ex.exception, run->ex.error_code);
        break;
    case KVM_EXIT_FAIL_ENTRY:
        g_string_append_printf(out, ", hardware reason 0x%llx, CPU %u of the host",
                               (unsigned long long)run->fail_entry.hardware_entry_failure_reason,
                               run->fail_entry.cpu);
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        g_string_append_printf(out, ": %s (%u)", suberror(run->internal.suberror),
                               run->internal.suberror);
        for (uint32_t i = 0; i < MIN(run->internal.ndata, (uint32_t)ARRAY_LEN(run->internal.data));
             i++) {
            g_string_append_printf(out, "%s0x%llx", i ? " " : "; data ",
                                   (unsigned long long)run->internal.data[i]);
        }
        break;
    default:
        break;
    }
}

/* Sixteen bytes before and after the instruction pointer, which is marked. */
static void code_bytes(GString *out, CPUX86 *cpu)
{
    uint64_t at = cpu->segs[SEG_CS].base + cpu->rip;

    g_string_append(out, "Code=");
    for (int i = -16; i < 16; i++) {
        uint8_t b;

        if (cpu_debug_rw(cpu, at + (uint64_t)(int64_t)i, &b, 1, false)) {
            g_string_append_printf(out, i == 0 ? "<%02x> " : "%02x ", b);
        } else {
            g_string_append(out, i == 0 ? "<--> " : "-- ");
        }
    }
    g_string_append_c(out, '\n');
}

void kvm_report_exit(KvmCpu *kc, const char *what)
{
    uint32_t reason = kc->run->exit_reason;
    CPUX86 *cpu = &kc->vcpu->cpu;
    g_autoptr(GString) out = g_string_new(NULL);

    if (!what && reason < ARRAY_LEN(reasons)) {
        what = reasons[reason];
    }
    g_string_append_printf(out, "kvm: CPU %u cannot run on: %s", cpu->index,
                           what ? what : "an exit that Rhea does not know");
    if (!what) {
        g_string_append_printf(out, " (%u)", reason);
    }
    detail(out, kc->run);
    report_error("%s", out->str);
    g_string_truncate(out, 0);
    if (kvm_get_state(kc, NULL)) {
        cpu_print(cpu, out, false);
        code_bytes(out, cpu);
        fprintf(stderr, "%s", out->str);
    }
}
