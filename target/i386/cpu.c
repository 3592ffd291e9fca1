/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reset, INIT, SIPI, hidden flags, raising exceptions, time stamp, debug access. */
#include "target/i386/cpu.h"

#include "event/clock.h"
#include "target/i386/paging.h"
#include "util/log.h"

#define PAT_RESET 0x0007040600070406ull
#define MISC_ENABLE_FAST_STRING 1ull
#define MISC_ENABLE_BTS_UNAVAILABLE (1ull << 11)
#define MISC_ENABLE_PEBS_UNAVAILABLE (1ull << 12)
#define MISC_ENABLE_MWAIT (1ull << 18)
#define MCG_CTL_P (1ull << 8)
#define MCG_SER_P (1ull << 24)
#define MCE_BANKS 10

#define F1_EDX_MCE (1u << 7)
#define F1_EDX_MCA (1u << 14)
#define F1_ECX_MONITOR (1u << 3)

static uint32_t cpu_signature(const CPUX86 *cpu)
{
    uint32_t leaf[4];

    cpu_cpuid(cpu, 1, 0, leaf);
    return leaf[0];
}

static void real_segment(Segment *s, uint16_t selector, uint64_t base)
{
    *s = (Segment){.selector = selector,
                   .base = base,
                   .limit = 0xffff,
                   .attr = SEG_P | SEG_S | SEG_TYPE_RW | SEG_TYPE_ACCESSED};
}

/* What reset and INIT have in common: everything that decides where and how code runs. */
static void reset_execution(CPUX86 *cpu, bool bsp)
{
    memset(cpu->regs, 0, sizeof(cpu->regs));
    cpu->regs[R_RDX] = cpu_signature(cpu);
    cpu->rip = 0xfff0;
    cpu->rflags = FLAG_ONE;
    cpu->hflags = 0;
    for (int i = 0; i < SEG_COUNT; i++) {
        real_segment(&cpu->segs[i], 0, 0);
    }
    real_segment(&cpu->segs[SEG_CS], 0xf000, 0xffff0000);
    cpu->segs[SEG_CS].attr |= SEG_TYPE_CODE;
    cpu->ldtr = (Segment){.limit = 0xffff, .attr = SEG_P | 2};
    cpu->tr = (Segment){.limit = 0xffff, .attr = SEG_P | 11};
    cpu->gdtr = (TableReg){.limit = 0xffff};
    cpu->idtr = (TableReg){.limit = 0xffff};
    cpu->cr2 = cpu->cr3 = cpu->cr4 = 0;
    memset(cpu->pdpte, 0, sizeof(cpu->pdpte));
    cpu->efer = 0;
    memset(cpu->dr, 0, sizeof(cpu->dr));
    cpu->dr[6] = 0xffff0ff0;
    cpu->dr[7] = 0x400;
    cpu->halted = cpu->wait_for_sipi = !bsp;
    cpu->nmi_masked = false;
    cpu->smm = false;
    cpu->svm.gif_clear = cpu->svm.smm_guest = false;
    cpu->exception_vector = -1;
    cpu->injected_vector = -1;
    cpu->injected_soft = cpu->injected_nmi = false;
    cpu->exception_has_error = false;
    cpu->exception_error = 0;
}

static void reset_x87(CPUX86 *cpu)
{
    /* Power-up leaves +0.0 in every register, tagged as zero; not the state of FNINIT. */
    memset(&cpu->x87, 0, sizeof(cpu->x87));
    cpu->x87.cw = 0x40;
    cpu->mxcsr = 0x1f80;
}

static void reset_machine_check(CPUX86 *cpu)
{
    bool mca = cpu_has(cpu, FEAT_1_EDX, F1_EDX_MCE | F1_EDX_MCA) && cpu->config.family >= 6;

    cpu->mcg_cap = mca ? MCE_BANKS | MCG_CTL_P | MCG_SER_P : 0;
    if (!mca) {
        return;
    }
    cpu->mcg_ctl = UINT64_MAX;
    for (unsigned i = 0; i < MCE_BANKS; i++) {
        cpu->mce_banks[i * 4] = UINT64_MAX;
    }
}

void cpu_reset(CPUX86 *cpu, bool bsp)
{
    size_t after_irq = offsetof(CPUX86, segs);

    if (log_enabled(LOG_CPU_RESET)) {
        g_autoptr(GString) before = g_string_new(NULL);
        cpu_print(cpu, before, log_enabled(LOG_FPU));
        log_printf("CPU reset (CPU %u)\n%s", cpu->index, before->str);
    }
    /* irq_pending is left out: other threads may be writing their bits into it. */
    memset((char *)cpu + after_irq, 0, offsetof(CPUX86, index) - after_irq);
    cpu_interrupt_clear(cpu, IRQ_HARD | IRQ_NMI | IRQ_SMI | IRQ_INIT | IRQ_SIPI | IRQ_MCE |
                                 IRQ_POLL | IRQ_RESET);
    reset_execution(cpu, bsp);
    reset_x87(cpu);
    reset_machine_check(cpu);
    cpu->cr0 = CR0_CD | CR0_NW | CR0_ET;
    cpu->xcr0 = 1;
    cpu->pat = PAT_RESET;
    cpu->misc_enable =
        MISC_ENABLE_FAST_STRING | MISC_ENABLE_BTS_UNAVAILABLE | MISC_ENABLE_PEBS_UNAVAILABLE;
    if (cpu_has(cpu, FEAT_1_ECX, F1_ECX_MONITOR)) {
        cpu->misc_enable |= MISC_ENABLE_MWAIT;
    }
    cpu->smbase = 0x30000;
    cpu->nested_len = 0;
    cpu->kvm_poll_control = 1;
    cpu_update_hflags(cpu);
}

void cpu_init_signal(CPUX86 *cpu, bool bsp)
{
    /* A SIPI that is pending came after the INIT: it starts us next. */
    cpu_interrupt_clear(cpu, IRQ_INIT | IRQ_NMI | IRQ_SMI);
    reset_execution(cpu, bsp);
    cpu->cr0 = CR0_ET | (cpu->cr0 & (CR0_CD | CR0_NW));
    if (cpu->apic_ops && cpu->apic_ops->init) {
        cpu->apic_ops->init(cpu->apic);
    }
    cpu_update_hflags(cpu);
}

void cpu_sipi(CPUX86 *cpu, uint8_t vector)
{
    if (!cpu->wait_for_sipi) {
        return;
    }
    real_segment(&cpu->segs[SEG_CS], (uint16_t)(vector << 8), (uint64_t)vector << 12);
    cpu->segs[SEG_CS].attr |= SEG_TYPE_CODE;
    cpu->rip = 0;
    cpu->wait_for_sipi = false;
    cpu->halted = false;
    cpu_update_hflags(cpu);
}

/* ---- hidden flags ---- */

static bool segment_is_flat(const Segment *s)
{
    uint16_t want = SEG_P | SEG_S | SEG_TYPE_RW;

    return s->base == 0 && s->limit == UINT32_MAX &&
           (s->attr & (want | SEG_TYPE_CODE | SEG_TYPE_DC | SEG_UNUSABLE)) == want;
}

static uint32_t segment_hflags(const CPUX86 *cpu)
{
    uint32_t h = 0;
    bool long_mode = cpu->efer & EFER_LMA;
    bool cs64 = long_mode && (cpu->segs[SEG_CS].attr & SEG_L);

    if (!(cpu->cr0 & CR0_PE)) {
        h |= 0;
    } else if (cpu->rflags & FLAG_VM) {
        h |= HF_PE | HF_VM | 3;
    } else {
        h |= HF_PE | ((cpu->segs[SEG_SS].attr >> SEG_DPL_SHIFT) & 3);
    }
    h |= long_mode ? HF_LMA : 0;
    if (cs64) {
        h |= HF_CS64;
    } else if (cpu->segs[SEG_CS].attr & SEG_DB) {
        h |= HF_CS32;
    }
    /* 64-bit code asks for none: one translation serves whatever SS an interrupt has left. */
    h |= !cs64 && (cpu->segs[SEG_SS].attr & SEG_DB) ? HF_SS32 : 0;
    if (cs64 || (segment_is_flat(&cpu->segs[SEG_DS]) && segment_is_flat(&cpu->segs[SEG_ES]) &&
                 segment_is_flat(&cpu->segs[SEG_SS]))) {
        h |= HF_FLAT;
    }
    return h;
}

static uint32_t unit_hflags(const CPUX86 *cpu)
{
    uint32_t h = 0;
    bool ts = cpu->cr0 & CR0_TS, em = cpu->cr0 & CR0_EM;

    h |= !ts && !em ? HF_FPU_OK : 0;
    h |= !ts && !em && (cpu->cr4 & CR4_OSFXSR) ? HF_SSE_OK : 0;
    h |= !ts && (cpu->cr4 & CR4_OSXSAVE) && (cpu->xcr0 & 6) == 6 ? HF_AVX_OK : 0;
    return h;
}

static uint32_t breakpoint_hflags(const CPUX86 *cpu)
{
    uint32_t h = 0;

    for (unsigned i = 0; i < 4; i++) {
        if ((cpu->dr[7] >> (i * 2)) & 3) {
            h |= ((cpu->dr[7] >> (16 + i * 4)) & 3) ? HF_DATA_BP : HF_CODE_BP;
        }
    }
    return h;
}

void cpu_update_hflags(CPUX86 *cpu)
{
    uint32_t h = cpu->hflags & (HF_INHIBIT | HF_SVM_GUEST);
    unsigned iopl = (cpu->rflags & FLAG_IOPL) >> FLAG_IOPL_SHIFT;

    h |= segment_hflags(cpu) | unit_hflags(cpu) | breakpoint_hflags(cpu);
    h |= cpu->rflags & FLAG_TF ? HF_TF : 0;
    h |= cpu->smm ? HF_SMM : 0;
    h |= !(h & HF_PE) || (h & HF_CPL_MASK) <= iopl ? HF_IOPL3 : 0;
    h |= cpu->cr4 & CR4_SMAP ? HF_SMAP : 0;
    h |= cpu->cr4 & CR4_UMIP ? HF_UMIP : 0;
    if (cpu->rflags & FLAG_AC) {
        h |= HF_AC;
        h |= (h & HF_CPL_MASK) == 3 && (cpu->cr0 & CR0_AM) ? HF_ALIGN_CHECK : 0;
    }
    cpu->hflags = h;
}

uint64_t cpu_tsc(const CPUX86 *cpu)
{
    uint64_t ns = cpu->clocks ? (uint64_t)clock_virtual(cpu->clocks) : 0;

    if (cpu->config.tsc_hz && cpu->config.tsc_hz != (uint64_t)NS_PER_SEC) {
        ns = (uint64_t)((unsigned __int128)ns * cpu->config.tsc_hz / (uint64_t)NS_PER_SEC);
    }
    return ns + (uint64_t)cpu->tsc_offset;
}

/* ---- exceptions ---- */

static _Noreturn void raise_now(CPUX86 *cpu, int vector, bool has_error, uint32_t error)
{
    cpu->exception_vector = vector;
    cpu->exception_has_error = has_error;
    cpu->exception_error = error;
    g_assert(cpu->unwind);
    siglongjmp(*cpu->unwind, 1);
}

_Noreturn void x86_raise(CPUX86 *cpu, int vector)
{
    const uint32_t with_error = 1u << EXC_DF | 1u << EXC_TS | 1u << EXC_NP | 1u << EXC_SS |
                                1u << EXC_GP | 1u << EXC_PF | 1u << EXC_AC | 1u << EXC_CP;

    raise_now(cpu, vector, vector < 32 && (with_error >> vector & 1), 0);
}

_Noreturn void x86_raise_error(CPUX86 *cpu, int vector, uint32_t error)
{
    raise_now(cpu, vector, true, error);
}

_Noreturn void x86_raise_pf(CPUX86 *cpu, uint64_t addr, uint32_t error)
{
    cpu->svm.old_cr2 = cpu->cr2; /* stays if a hypervisor wants the fault */
    cpu->cr2 = addr;
    raise_now(cpu, EXC_PF, true, error);
}

/* ---- for monitors and gdb ---- */

bool cpu_debug_translate(CPUX86 *cpu, uint64_t linear, hwaddr *phys)
{
    PageWalk w;

    if (!(cpu->efer & EFER_LMA)) {
        linear &= UINT32_MAX;
    } else if (!x86_is_canonical(cpu, linear)) {
        return false;
    }
    if (!x86_page_walk(cpu, linear, PAGE_READ, false, false, true, &w)) {
        return false;
    }
    *phys = w.phys;
    return true;
}

bool cpu_debug_rw(CPUX86 *cpu, uint64_t linear, void *buf, size_t len, bool write)
{
    uint8_t *p = buf;

    while (len) {
        size_t n = MIN(len, (size_t)(4096 - (linear & 4095)));
        hwaddr phys;
        MemResult r;

        if (!cpu_debug_translate(cpu, linear, &phys)) {
            return false;
        }
        r = write ? address_space_write_rom(cpu_as(cpu), phys, p, n)
                  : address_space_read(cpu_as(cpu), phys, cpu_attrs(cpu), p, n);
        if (r != MEM_OK) {
            return false;
        }
        p += n;
        linear += n;
        len -= n;
    }
    return true;
}
