/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The CPU's state as data: everything architectural, nothing derived, nothing configured. */
#include "target/i386/cpu-state.h"

#include "target/i386/cpu.h"

static const StateField segment_fields[] = {
    STATE_F_UINT(Segment, selector),
    STATE_F_UINT(Segment, attr),
    STATE_F_UINT(Segment, limit),
    STATE_F_UINT(Segment, base),
    {0},
};
static const StateDesc segment_desc = {.name = "segment", .version = 1, .fields = segment_fields};

static const StateField table_fields[] = {
    STATE_F_UINT(TableReg, base),
    STATE_F_UINT(TableReg, limit),
    {0},
};
static const StateDesc table_desc = {.name = "table", .version = 1, .fields = table_fields};

static const StateField float80_fields[] = {
    STATE_F_UINT(Float80, mant),
    STATE_F_UINT(Float80, exp),
    {0},
};
static const StateDesc float80_desc = {.name = "float80", .version = 1, .fields = float80_fields};

static const StateField x87_fields[] = {
    STATE_F_STRUCT_ARRAY(X87, r, float80_desc),
    STATE_F_UINT_MAX(X87, top, 7),
    STATE_F_UINT(X87, empty),
    STATE_F_UINT(X87, cw),
    STATE_F_UINT(X87, sw),
    STATE_F_UINT(X87, fop),
    STATE_F_UINT(X87, fcs),
    STATE_F_UINT(X87, fds),
    STATE_F_UINT(X87, fip),
    STATE_F_UINT(X87, fdp),
    STATE_F_BOOL(X87, pending),
    {0},
};
static const StateDesc x87_desc = {.name = "x87", .version = 1, .fields = x87_fields};

static const StateField vec_fields[] = {
    STATE_F_UINT_ARRAY(Vec, u64),
    {0},
};
static const StateDesc vec_desc = {.name = "vec", .version = 1, .fields = vec_fields};

static const StateField svm_fields[] = {
    STATE_F_BOOL(SvmState, gif_clear),
    STATE_F_UINT(SvmState, vmcb),
    STATE_F_UINT(SvmState, intercept_cr),
    STATE_F_UINT(SvmState, intercept_dr),
    STATE_F_UINT(SvmState, intercept_exc),
    STATE_F_UINT_ARRAY(SvmState, intercept),
    STATE_F_UINT(SvmState, iopm),
    STATE_F_UINT(SvmState, msrpm),
    STATE_F_UINT(SvmState, tsc_offset),
    STATE_F_UINT(SvmState, int_ctl),
    STATE_F_UINT(SvmState, asid),
    STATE_F_BOOL(SvmState, nested_paging),
    STATE_F_UINT(SvmState, nested_cr3),
    STATE_F_BOOL(SvmState, virtual_vmload),
    STATE_F_UINT(SvmState, pause_count),
    STATE_F_UINT(SvmState, pause_left),
    STATE_F_UINT(SvmState, pause_threshold),
    STATE_F_UINT(SvmState, pause_last),
    STATE_F_STRUCT_ARRAY(SvmState, host_segs, segment_desc),
    STATE_F_STRUCT(SvmState, host_gdtr, table_desc),
    STATE_F_STRUCT(SvmState, host_idtr, table_desc),
    STATE_F_UINT(SvmState, host_efer),
    STATE_F_UINT(SvmState, host_cr0),
    STATE_F_UINT(SvmState, host_cr3),
    STATE_F_UINT(SvmState, host_cr4),
    STATE_F_UINT(SvmState, host_rflags),
    STATE_F_UINT(SvmState, host_rip),
    STATE_F_UINT(SvmState, host_rsp),
    STATE_F_UINT(SvmState, host_rax),
    STATE_F_UINT(SvmState, host_pat),
    STATE_F_BOOL(SvmState, smm_guest),
    {0},
};
static const StateDesc svm_desc = {.name = "svm", .version = 1, .fields = svm_fields};

/* More than any kernel has. */
#define NESTED_MAX (64u * 1024)

static const StateField cpu_fields[] = {
    STATE_F_UINT_ARRAY(CPUX86, regs),
    STATE_F_UINT(CPUX86, rip),
    STATE_F_UINT(CPUX86, rflags),
    STATE_F_UINT(CPUX86, irq_pending),
    STATE_F_STRUCT_ARRAY(CPUX86, segs, segment_desc),
    STATE_F_STRUCT(CPUX86, ldtr, segment_desc),
    STATE_F_STRUCT(CPUX86, tr, segment_desc),
    STATE_F_STRUCT(CPUX86, gdtr, table_desc),
    STATE_F_STRUCT(CPUX86, idtr, table_desc),
    STATE_F_UINT(CPUX86, cr0),
    STATE_F_UINT(CPUX86, cr2),
    STATE_F_UINT(CPUX86, cr3),
    STATE_F_UINT(CPUX86, cr4),
    STATE_F_UINT_ARRAY(CPUX86, pdpte),
    STATE_F_UINT(CPUX86, xcr0),
    STATE_F_UINT(CPUX86, xss),
    STATE_F_UINT_ARRAY(CPUX86, dr),
    STATE_F_STRUCT(CPUX86, x87, x87_desc),
    STATE_F_UINT(CPUX86, mxcsr),
    STATE_F_STRUCT_ARRAY(CPUX86, vec, vec_desc),
    STATE_F_UINT_ARRAY(CPUX86, opmask),
    STATE_F_UINT(CPUX86, pkru),
    STATE_F_UINT(CPUX86, efer),
    STATE_F_UINT(CPUX86, star),
    STATE_F_UINT(CPUX86, lstar),
    STATE_F_UINT(CPUX86, cstar),
    STATE_F_UINT(CPUX86, sfmask),
    STATE_F_UINT(CPUX86, kernel_gs_base),
    STATE_F_UINT(CPUX86, sysenter_cs),
    STATE_F_UINT(CPUX86, sysenter_esp),
    STATE_F_UINT(CPUX86, sysenter_eip),
    STATE_F_UINT(CPUX86, pat),
    STATE_F_UINT(CPUX86, misc_enable),
    STATE_F_UINT(CPUX86, spec_ctrl),
    STATE_F_UINT(CPUX86, tsc_aux),
    STATE_F_UINT(CPUX86, tsc_adjust),
    STATE_F_INT(CPUX86, tsc_offset),
    STATE_F_UINT(CPUX86, mtrr_def_type),
    STATE_F_UINT_ARRAY(CPUX86, mtrr_fixed),
    STATE_F_UINT_ARRAY(CPUX86, mtrr_phys_base),
    STATE_F_UINT_ARRAY(CPUX86, mtrr_phys_mask),
    STATE_F_UINT(CPUX86, mcg_cap),
    STATE_F_UINT(CPUX86, mcg_status),
    STATE_F_UINT(CPUX86, mcg_ctl),
    STATE_F_UINT_ARRAY(CPUX86, mce_banks),
    STATE_F_UINT(CPUX86, smi_count),
    STATE_F_UINT(CPUX86, smbase),
    STATE_F_UINT(CPUX86, debugctl),
    STATE_F_UINT(CPUX86, perf_global_ctrl),
    STATE_F_UINT(CPUX86, feature_control),
    STATE_F_UINT(CPUX86, kvm_system_time),
    STATE_F_UINT(CPUX86, kvm_wall_clock),
    STATE_F_UINT(CPUX86, kvm_steal_time),
    STATE_F_UINT(CPUX86, kvm_async_pf),
    STATE_F_UINT(CPUX86, kvm_async_pf_int),
    STATE_F_UINT(CPUX86, kvm_eoi),
    STATE_F_UINT(CPUX86, kvm_poll_control),
    STATE_F_UINT_ARRAY(CPUX86, hyperv_msrs),
    STATE_F_UINT(CPUX86, vm_hsave_pa),
    STATE_F_UINT(CPUX86, vm_cr),
    STATE_F_STRUCT(CPUX86, svm, svm_desc),
    STATE_F_BOOL(CPUX86, saved_guest),
    STATE_F_UINT(CPUX86, clock_modulation),
    STATE_F_UINT(CPUX86, therm_interrupt),
    STATE_F_UINT(CPUX86, hwcr),
    STATE_F_UINT_ARRAY(CPUX86, amd_config),
    STATE_F_BOOL(CPUX86, halted),
    STATE_F_BOOL(CPUX86, wait_for_sipi),
    STATE_F_BOOL(CPUX86, nmi_masked),
    STATE_F_BOOL(CPUX86, smm),
    STATE_F_BOOL(CPUX86, a20_masked),
    STATE_F_UINT(CPUX86, sipi_vector),
    STATE_F_INT_RANGE(CPUX86, exception_vector, -1, 255),
    STATE_F_UINT(CPUX86, exception_error),
    STATE_F_BOOL(CPUX86, exception_has_error),
    STATE_F_INT_RANGE(CPUX86, injected_vector, -1, 255),
    STATE_F_BOOL(CPUX86, injected_soft),
    STATE_F_BOOL(CPUX86, injected_nmi),
    STATE_F_UINT_MAX(CPUX86, debug_pending, 15),
    STATE_F_BOOL(CPUX86, saved_inhibit),
    STATE_F_BUFFER(CPUX86, nested, nested_len, NESTED_MAX),
    {0},
};

static void pre_save(void *obj)
{
    CPUX86 *cpu = obj;

    cpu->saved_inhibit = cpu->hflags & HF_INHIBIT;
    cpu->saved_guest = cpu->hflags & HF_SVM_GUEST;
}

static bool check(const void *obj, Error **errp)
{
    const CPUX86 *cpu = obj;
    bool lma = cpu->efer & EFER_LMA;

    /* Modes that no instruction can make would meet assumptions of the engine. */
    if ((cpu->cr0 >> 32) || ((cpu->cr0 & CR0_PG) && !(cpu->cr0 & CR0_PE))) {
        error_set(errp, "CR0 has the impossible value %#llx", (unsigned long long)cpu->cr0);
        return false;
    }
    if (lma && (!(cpu->cr0 & CR0_PG) || !(cpu->cr4 & CR4_PAE) || !(cpu->efer & EFER_LME))) {
        error_set(errp, "long mode is active (EFER %#llx) without paging, PAE and LME",
                  (unsigned long long)cpu->efer);
        return false;
    }
    if (cpu->nested_len > cpu->nested_max) {
        error_set(errp, "guests of the guest under KVM (%u bytes of state): this engine takes %u",
                  cpu->nested_len, cpu->nested_max);
        return false;
    }
    if (lma && (cpu->rflags & FLAG_VM)) {
        error_set(errp, "virtual-8086 mode inside long mode");
        return false;
    }
    if (cpu->xcr0 & ~cpu_xcr0_supported(cpu) & ~1ull) {
        error_set(errp, "XCR0 %#llx has bits that this CPU model lacks",
                  (unsigned long long)cpu->xcr0);
        return false;
    }
    return true;
}

static void loaded(void *obj)
{
    CPUX86 *cpu = obj;

    cpu->rflags = (cpu->rflags & 0x3f7fd5) | FLAG_ONE;
    cpu->hflags = (cpu->saved_inhibit ? HF_INHIBIT : 0) | (cpu->saved_guest ? HF_SVM_GUEST : 0);
    cpu_update_hflags(cpu);
}

const StateDesc cpu_state_desc = {
    .name = "cpu",
    .version = 1,
    .fields = cpu_fields,
    .pre_save = pre_save,
    .check = check,
    .loaded = loaded,
};
