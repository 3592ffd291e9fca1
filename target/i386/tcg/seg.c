/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Segment registers, descriptor tables and the instructions that inspect selectors. */
#include "target/i386/tcg/desc.h"

static void load_ss(CPUX86 *cpu, uint16_t sel)
{
    unsigned cpl = cpu_cpl(cpu);
    Desc d;

    if (is_null_selector(sel)) {
        if (!(cpu->hflags & HF_CS64) || cpl == 3 || (sel & 3u) != cpl) {
            x86_raise_error(cpu, EXC_GP, 0);
        }
        cpu->segs[SEG_SS] = long_null_ss(cpl);
        cpu->segs[SEG_SS].selector = sel;
        return;
    }
    desc_fetch(cpu, sel, EXC_GP, 0, &d);
    if ((sel & 3u) != cpl || !desc_is_writable_data(&d) || desc_dpl(&d) != cpl) {
        raise_selector(cpu, EXC_GP, sel, 0);
    }
    if (!desc_present(&d)) {
        raise_selector(cpu, EXC_SS, sel, 0);
    }
    desc_to_segment(cpu, sel, &d, &cpu->segs[SEG_SS]);
}

static void load_data(CPUX86 *cpu, unsigned seg, uint16_t sel)
{
    Desc d;

    if (is_null_selector(sel)) {
        load_null(cpu, seg, sel);
        return;
    }
    desc_fetch(cpu, sel, EXC_GP, 0, &d);
    if (!desc_is_readable(&d) ||
        (!desc_is_conforming(&d) &&
         (desc_dpl(&d) < cpu_cpl(cpu) || desc_dpl(&d) < (unsigned)(sel & 3)))) {
        raise_selector(cpu, EXC_GP, sel, 0);
    }
    if (!desc_present(&d)) {
        raise_selector(cpu, EXC_NP, sel, 0);
    }
    desc_to_segment(cpu, sel, &d, &cpu->segs[seg]);
}

void helper_load_seg(CPUX86 *cpu, unsigned seg, uint16_t sel)
{
    if (!(cpu->hflags & HF_PE)) {
        load_real_segment(cpu, seg, sel);
    } else if (in_vm86(cpu)) {
        load_vm86_segment(cpu, seg, sel);
    } else if (seg == SEG_SS) {
        load_ss(cpu, sel);
    } else {
        load_data(cpu, seg, sel);
    }
    cpu_update_hflags(cpu);
}

/* ---- system segments ---- */

/* LLDT, LTR, LAR … do not exist in real and virtual-8086 mode. */
static void require_protected(CPUX86 *cpu)
{
    if (!in_protected(cpu)) {
        x86_raise(cpu, EXC_UD);
    }
}

/* A system descriptor is 16 bytes in 64-bit and compatibility mode alike. */
static void fetch_system(CPUX86 *cpu, uint16_t sel, Desc *d)
{
    if ((sel & 4) || !desc_read_system(cpu, sel, in_long_mode(cpu), d)) {
        raise_selector(cpu, EXC_GP, sel, 0);
    }
}

static void check_system_base(CPUX86 *cpu, uint16_t sel, const Desc *d)
{
    if (in_long_mode(cpu) && !x86_is_canonical(cpu, desc_base(d))) {
        raise_selector(cpu, EXC_GP, sel, 0);
    }
}

void helper_lldt(CPUX86 *cpu, uint16_t sel)
{
    Desc d;

    require_protected(cpu);
    require_cpl0(cpu);
    if (is_null_selector(sel)) {
        cpu->ldtr = (Segment){.selector = sel, .attr = SEG_UNUSABLE};
        return;
    }
    fetch_system(cpu, sel, &d);
    if (desc_is_code_or_data(&d) || desc_type(&d) != DESC_LDT) {
        raise_selector(cpu, EXC_GP, sel, 0);
    }
    if (!desc_present(&d)) {
        raise_selector(cpu, EXC_NP, sel, 0);
    }
    check_system_base(cpu, sel, &d);
    desc_to_segment(cpu, sel, &d, &cpu->ldtr);
}

void helper_ltr(CPUX86 *cpu, uint16_t sel)
{
    Desc d;
    bool tss;

    require_protected(cpu);
    require_cpl0(cpu);
    if (is_null_selector(sel)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    fetch_system(cpu, sel, &d);
    tss = desc_type(&d) == DESC_TSS32_AVAIL ||
          (desc_type(&d) == DESC_TSS16_AVAIL && !in_long_mode(cpu));
    if (desc_is_code_or_data(&d) || !tss) {
        raise_selector(cpu, EXC_GP, sel, 0);
    }
    if (!desc_present(&d)) {
        raise_selector(cpu, EXC_NP, sel, 0);
    }
    check_system_base(cpu, sel, &d);
    desc_mark(cpu, &d, 2, 0);
    desc_to_segment(cpu, sel, &d, &cpu->tr);
}

void helper_check_umip(CPUX86 *cpu)
{
    if ((cpu->hflags & HF_UMIP) && cpu_cpl(cpu) > 0) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
}

static void load_table(CPUX86 *cpu, TableReg *t, uint64_t base, uint16_t limit)
{
    require_cpl0(cpu);
    if ((cpu->hflags & HF_CS64) && !x86_is_canonical(cpu, base)) {
        x86_raise_error(cpu, EXC_GP, 0);
    }
    t->base = base;
    t->limit = limit;
}

void helper_lgdt(CPUX86 *cpu, uint64_t base, uint16_t limit)
{
    load_table(cpu, &cpu->gdtr, base, limit);
}

void helper_lidt(CPUX86 *cpu, uint64_t base, uint16_t limit)
{
    load_table(cpu, &cpu->idtr, base, limit);
}

/* ---- LAR, LSL, VERR, VERW ---- */

/* Types LAR (`gates`) and LSL know; SDM vol. 2, tables 3-53 and 3-63. */
static bool system_type_visible(const CPUX86 *cpu, unsigned type, bool gates)
{
    switch (type) {
    case DESC_LDT:
    case DESC_TSS32_AVAIL:
    case DESC_TSS32_BUSY:
        return true;
    case DESC_TSS16_AVAIL:
    case DESC_TSS16_BUSY:
        return !in_long_mode(cpu);
    case DESC_CALL16:
    case DESC_TASK_GATE:
        return gates && !in_long_mode(cpu);
    case DESC_CALL32:
        return gates;
    default:
        return false;
    }
}

static bool fetch_visible(CPUX86 *cpu, uint16_t sel, bool gates, Desc *d)
{
    unsigned cpl = cpu_cpl(cpu), rpl = sel & 3;

    require_protected(cpu);
    if (is_null_selector(sel) || !desc_read(cpu, sel, d)) {
        return false;
    }
    if (!desc_is_code_or_data(d)) {
        if (!system_type_visible(cpu, desc_type(d), gates)) {
            return false;
        }
        if (in_long_mode(cpu) && (cpu->hflags & HF_CS64) && !desc_read_system(cpu, sel, true, d)) {
            return false;
        }
    } else if (desc_is_conforming(d)) {
        return true;
    }
    return desc_dpl(d) >= cpl && desc_dpl(d) >= rpl;
}

bool helper_lar(CPUX86 *cpu, uint16_t sel, uint32_t *out)
{
    Desc d;

    if (!fetch_visible(cpu, sel, true, &d)) {
        return false;
    }
    *out = d.hi & 0x00f0ff00;
    return true;
}

bool helper_lsl(CPUX86 *cpu, uint16_t sel, uint32_t *out)
{
    Desc d;

    if (!fetch_visible(cpu, sel, false, &d)) {
        return false;
    }
    *out = desc_limit(&d);
    return true;
}

static bool verify(CPUX86 *cpu, uint16_t sel, bool write)
{
    unsigned cpl = cpu_cpl(cpu), rpl = sel & 3;
    Desc d;

    require_protected(cpu);
    if (is_null_selector(sel) || !desc_read(cpu, sel, &d) || !desc_is_code_or_data(&d)) {
        return false;
    }
    if (write ? !desc_is_writable_data(&d) : !desc_is_readable(&d)) {
        return false;
    }
    return desc_is_conforming(&d) || (desc_dpl(&d) >= cpl && desc_dpl(&d) >= rpl);
}

bool helper_verr(CPUX86 *cpu, uint16_t sel)
{
    return verify(cpu, sel, false);
}

bool helper_verw(CPUX86 *cpu, uint16_t sel)
{
    return verify(cpu, sel, true);
}
