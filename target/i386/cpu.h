/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/cpu.h: the architectural state of one x86 CPU.
 *
 * Knows no engine: the interpreter, the translator and KVM all work on this one
 * shape, always complete and always in the same encoding (RFLAGS are whole, no
 * lazy parts, between two blocks).  References: Intel SDM vol. 1-3, AMD APM 1-5.
 *
 * Threads: a CPU's state belongs to its vCPU thread while it runs; others use
 * `irq_pending` (atomic), cpu_interrupt() and vcpu_run_on() (accel/accel.h).
 */
#ifndef RHEA_TARGET_I386_CPU_H
#define RHEA_TARGET_I386_CPU_H

#include "memory/memory.h"
#include "target/i386/hyperv.h"

#include <setjmp.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct CPUX86 CPUX86;

enum {
    R_RAX,
    R_RCX,
    R_RDX,
    R_RBX,
    R_RSP,
    R_RBP,
    R_RSI,
    R_RDI,
    R_R8,
    R_R9,
    R_R10,
    R_R11,
    R_R12,
    R_R13,
    R_R14,
    R_R15
};
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

/* RFLAGS */
#define FLAG_CF (1u << 0)
#define FLAG_ONE (1u << 1)
#define FLAG_PF (1u << 2)
#define FLAG_AF (1u << 4)
#define FLAG_ZF (1u << 6)
#define FLAG_SF (1u << 7)
#define FLAG_TF (1u << 8)
#define FLAG_IF (1u << 9)
#define FLAG_DF (1u << 10)
#define FLAG_OF (1u << 11)
#define FLAG_IOPL_SHIFT 12
#define FLAG_IOPL (3u << 12)
#define FLAG_NT (1u << 14)
#define FLAG_RF (1u << 16)
#define FLAG_VM (1u << 17)
#define FLAG_AC (1u << 18)
#define FLAG_VIF (1u << 19)
#define FLAG_VIP (1u << 20)
#define FLAG_ID (1u << 21)
#define FLAGS_ARITH (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_NW (1u << 29)
#define CR0_CD (1u << 30)
#define CR0_PG (1u << 31)
#define CR4_VME (1u << 0)
#define CR4_PVI (1u << 1)
#define CR4_TSD (1u << 2)
#define CR4_DE (1u << 3)
#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define CR4_MCE (1u << 6)
#define CR4_PGE (1u << 7)
#define CR4_PCE (1u << 8)
#define CR4_OSFXSR (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_UMIP (1u << 11)
#define CR4_LA57 (1u << 12)
#define CR4_VMXE (1u << 13)
#define CR4_FSGSBASE (1u << 16)
#define CR4_PCIDE (1u << 17)
#define CR4_OSXSAVE (1u << 18)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)
#define CR4_PKE (1u << 22)
#define EFER_SCE (1u << 0)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NXE (1u << 11)
#define EFER_SVME (1u << 12)
#define EFER_FFXSR (1u << 14)

enum {
    EXC_DE = 0,
    EXC_DB = 1,
    EXC_NMI = 2,
    EXC_BP = 3,
    EXC_OF = 4,
    EXC_BR = 5,
    EXC_UD = 6,
    EXC_NM = 7,
    EXC_DF = 8,
    EXC_TS = 10,
    EXC_NP = 11,
    EXC_SS = 12,
    EXC_GP = 13,
    EXC_PF = 14,
    EXC_MF = 16,
    EXC_AC = 17,
    EXC_MC = 18,
    EXC_XM = 19,
    EXC_VE = 20,
    EXC_CP = 21
};

/*
 * A segment register with its hidden part.  `attr` is in the layout of descriptor
 * bits 40-47 and 52-55 (type 3:0, S 4, DPL 6:5, P 7, AVL 8, L 9, D/B 10, G 11) plus
 * SEG_UNUSABLE; `limit` is in bytes, already scaled by G.
 */
typedef struct Segment {
    uint16_t selector;
    uint16_t attr;
    uint32_t limit;
    uint64_t base;
} Segment;
#define SEG_TYPE_MASK 0xfu
#define SEG_TYPE_ACCESSED 1u
#define SEG_TYPE_RW 2u /* data: writable; code: readable */
#define SEG_TYPE_DC 4u /* data: expand-down; code: conforming */
#define SEG_TYPE_CODE 8u
#define SEG_S (1u << 4)
#define SEG_DPL_SHIFT 5
#define SEG_P (1u << 7)
#define SEG_L (1u << 9)
#define SEG_DB (1u << 10)
#define SEG_G (1u << 11)
#define SEG_UNUSABLE (1u << 15)

typedef struct TableReg {
    uint64_t base;
    uint16_t limit;
} TableReg;

/* 64 bytes: room for AVX-512. XMM is the low 16, YMM the low 32. */
typedef union Vec {
    uint8_t u8[64];
    int8_t i8[64];
    uint16_t u16[32];
    int16_t i16[32];
    uint32_t u32[16];
    int32_t i32[16];
    uint64_t u64[8];
    int64_t i64[8];
} Vec;

/* An 80-bit register as the x87 has it: explicit integer bit, sign in exp bit 15. */
typedef struct Float80 {
    uint64_t mant;
    uint16_t exp;
} Float80;

typedef struct X87 {
    Float80 r[8]; /* physical registers; MMX register n is r[n].mant (exp becomes 0xffff) */
    uint8_t top;
    uint8_t empty;   /* bit n: physical register n is empty */
    uint16_t cw, sw; /* sw without TOP */
    uint16_t fop, fcs, fds;
    uint64_t fip, fdp;
    bool pending; /* unmasked exception waits for the next waiting instruction */
} X87;

/* A local APIC's whole state in the layout of its register page: for engines with APICs of their own. */
typedef struct ApicPage {
    uint64_t base, tsc_deadline;
    uint8_t regs[1024];
} ApicPage;

/* What the CPU needs from its local APIC; implemented in hw/intc/apic.c. */
typedef struct ApicOps {
    /* The vector to service now, acknowledged (ExtINT from the PIC included), or -1. */
    int (*ack_interrupt)(void *apic);
    uint8_t (*get_tpr)(void *apic); /* whole TPR; CR8 is bits 7:4 */
    void (*set_tpr)(void *apic, uint8_t tpr);
    uint64_t (*get_base)(void *apic);
    bool (*set_base)(void *apic, uint64_t base); /* false: #GP */
    /* x2APIC 800h-8ffh, IA32_TSC_DEADLINE 6e0h, and (only written) KVM's 4b564d04h; false: #GP */
    bool (*read_msr)(void *apic, uint32_t msr, uint64_t *v);
    bool (*write_msr)(void *apic, uint32_t msr, uint64_t v);
    /* Sends what an ICR's low word says (no shorthand) to one APIC id; NULL: it cannot. */
    void (*send_ipi)(void *apic, uint32_t dest, uint32_t icr);
    /* A SIPI, INIT was taken by the CPU: bring the APIC along. */
    void (*init)(void *apic);
    void (*get_page)(void *apic, ApicPage *p);
    void (*set_page)(void *apic, const ApicPage *p);
} ApicOps;

/* Bits of CPUX86.irq_pending: set by anybody, handled by the vCPU between blocks. */
#define IRQ_HARD (1u << 0) /* the local APIC (or the PIC's line) wants to interrupt */
#define IRQ_NMI (1u << 1)
#define IRQ_SMI (1u << 2)
#define IRQ_INIT (1u << 3)
#define IRQ_SIPI (1u << 4) /* vector in sipi_vector */
#define IRQ_MCE (1u << 5)
#define IRQ_TLB_FLUSH (1u << 6) /* memory map changed */
#define IRQ_EXIT (1u << 7)      /* leave the run loop: work is queued, or stop */
#define IRQ_POLL (1u << 8)      /* APIC state to look at */
#define IRQ_RESET (1u << 9)
#define IRQ_VIRT (1u << 10) /* an SVM guest has a virtual interrupt to take */

typedef enum CpuFeatureWord {
    FEAT_1_EDX,
    FEAT_1_ECX,
    FEAT_7_0_EBX,
    FEAT_7_0_ECX,
    FEAT_7_0_EDX,
    FEAT_7_1_EAX,
    FEAT_80000001_EDX,
    FEAT_80000001_ECX,
    FEAT_80000007_EDX,
    FEAT_80000008_EBX,
    FEAT_XSAVE,
    FEAT_6_EAX,
    FEAT_SVM,
    FEAT_KVM,
    FEAT_ARCH_CAPABILITIES,
    FEAT_ARCH_CAPABILITIES_HIGH,
    FEAT_CORE_CAPABILITY,
    FEAT_7_1_EDX,
    FEAT_7_2_EDX,
    FEAT_1E_1_EAX,
    FEAT_24_0_EBX,
    FEAT_24_1_ECX,
    FEAT_29_0_EBX,
    FEAT_80000007_EBX,
    FEAT_80000021_EAX,
    FEAT_80000022_EAX,
    FEAT_C0000001_EDX,
    FEATURE_WORDS,
} CpuFeatureWord;

/* CPUID as configured: made by cpu_model_parse() (target/i386/model.h). */
typedef struct CpuConfig {
    char vendor[13];
    char model_id[49];
    uint32_t family, model, stepping;
    uint32_t level, xlevel;
    bool level_fixed; /* by level=: does not grow with the topology */
    uint32_t features[FEATURE_WORDS];
    uint32_t phys_bits, virt_bits;
    uint32_t apic_id;
    uint32_t cores, threads, dies, sockets; /* topology, from the machine */
    bool hypervisor;
    bool kvm; /* the hypervisor's leaves are KVM's */
    uint64_t tsc_hz;
    HyperVConfig hyperv;
    struct {
        uint32_t size, offset; /* 0: as on Intel's processors */
    } xsave[16];               /* components of the XSAVE area, as the host has them */
} CpuConfig;

#define HYPERV_MSRS 48

/* Hidden flags: what a block of translated code may assume; part of its key. */
#define HF_CPL_MASK 3u
#define HF_PE (1u << 2)
#define HF_VM (1u << 3)
#define HF_LMA (1u << 4)  /* long mode active */
#define HF_CS64 (1u << 5) /* 64-bit code */
#define HF_CS32 (1u << 6) /* default operand/address size 32 */
#define HF_SS32 (1u << 7)
#define HF_FLAT (1u << 8) /* DS, ES, SS base 0 and limit 4 GiB, writable (or 64-bit) */
#define HF_TF (1u << 9)
#define HF_INHIBIT (1u << 10) /* interrupt shadow (sti, mov ss) */
#define HF_SMM (1u << 11)
#define HF_IOPL3 (1u << 12)  /* CPL <= IOPL: cli/sti/in/out unchecked */
#define HF_FPU_OK (1u << 13) /* CR0.EM = TS = 0 */
#define HF_SSE_OK (1u << 14) /* CR4.OSFXSR, !EM, !TS */
#define HF_AVX_OK (1u << 15) /* OSXSAVE and XCR0 has YMM, !TS */
#define HF_SVM_GUEST (1u << 16)
#define HF_CODE_BP (1u << 17) /* DR7 has an enabled instruction breakpoint */
#define HF_DATA_BP (1u << 18) /* DR7 has an enabled data or I/O breakpoint */
#define HF_SMAP (1u << 19)
#define HF_AC (1u << 20) /* EFLAGS.AC: SMAP override and alignment checks */
#define HF_UMIP (1u << 21)
#define HF_ALIGN_CHECK (1u << 22) /* CPL 3, CR0.AM, EFLAGS.AC */

/*
 * Secure virtual machine (APM vol. 2, chapter 15): the controls of the guest that VMRUN
 * started, while HF_SVM_GUEST is set, and the host's state, which the chip keeps to itself.
 */
typedef struct SvmState {
    bool gif_clear; /* the global interrupt flag is 0 */
    uint64_t vmcb;  /* physical address */
    uint32_t intercept_cr, intercept_dr, intercept_exc, intercept[3];
    uint64_t iopm, msrpm, tsc_offset, int_ctl;
    uint32_t asid;
    bool nested_paging, virtual_vmload;
    uint64_t nested_cr3;
    uint16_t pause_count, pause_left, pause_threshold; /* the PAUSE filter */
    uint64_t pause_last;                               /* time stamp of the last one */
    Segment host_segs[4];                              /* ES, CS, SS, DS */
    TableReg host_gdtr, host_idtr;
    uint64_t host_efer, host_cr0, host_cr3, host_cr4, host_rflags, host_rip, host_rsp, host_rax;
    uint64_t host_pat;
    bool smm_guest; /* the SMI that is being served came from a guest */
    /* of the exit that is under way; not saved */
    uint64_t exit_code, exit_info1, exit_info2, next_rip, delivering, inject, old_cr2;
    uint8_t gpr; /* the instruction's: for decode assists */
} SvmState;

struct CPUX86 {
    uint64_t regs[16];       /* first member: an IR register number indexes regs and engine_tmp */
    uint64_t engine_tmp[16]; /* the engine's temporaries (accel/tcg/ir.h); not architectural */
    uint64_t rip;
    uint64_t rflags;      /* whole */
    uint32_t hflags;      /* derived by cpu_update_hflags(); never saved */
    uint32_t irq_pending; /* atomic: IRQ_* */
    uint32_t attention;   /* atomic: set with irq_pending; what translated code looks at */

    Segment segs[SEG_COUNT];
    Segment ldtr, tr;
    TableReg gdtr, idtr;
    uint64_t cr0, cr2, cr3, cr4;
    uint64_t pdpte[4]; /* PAE paging: loaded with CR3 */
    uint64_t xcr0, xss;
    uint64_t dr[8]; /* 0-3, 6, 7 */

    X87 x87;
    uint32_t mxcsr;
    alignas(64) Vec vec[32];
    uint64_t opmask[8];
    uint32_t pkru;

    /* MSRs */
    uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, misc_enable, spec_ctrl, tsc_aux, tsc_adjust;
    int64_t tsc_offset; /* TSC = cpu_host_tsc() + this */
    uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_phys_base[8], mtrr_phys_mask[8];
    uint64_t mcg_cap, mcg_status, mcg_ctl, mce_banks[10 * 4];
    uint64_t smi_count;
    uint32_t smbase;
    uint64_t debugctl, perf_global_ctrl, feature_control;
    uint64_t kvm_system_time, kvm_wall_clock, kvm_steal_time, kvm_async_pf, kvm_eoi;
    uint64_t kvm_async_pf_int, kvm_poll_control;
    uint64_t vm_hsave_pa, vm_cr;
    uint64_t hyperv_msrs[HYPERV_MSRS]; /* target/i386/kvm/hyperv.c says which */
    SvmState svm;
    uint64_t clock_modulation, therm_interrupt;
    uint64_t hwcr, amd_config[8]; /* AMD: HWCR; chip configuration without visible effect */

    /* activity */
    bool halted;
    bool wait_for_sipi;
    bool nmi_masked;
    bool smm;
    bool a20_masked; /* bit 20 of physical addresses is forced to 0 */
    uint8_t sipi_vector;
    /* an event whose delivery was interrupted (task switch, double fault logic) */
    int32_t exception_vector; /* being delivered; -1: none */
    uint32_t exception_error;
    bool exception_has_error;
    /* an interrupt or NMI that was acknowledged and whose delivery is to be begun anew (KVM) */
    int32_t injected_vector; /* -1: none */
    bool injected_soft, injected_nmi;
    /*
     * B0-B3 of data and I/O breakpoints hit by the running instruction: a #DB trap
     * that is due after it (x86_single_step).
     */
    uint8_t debug_pending;
    bool mce_again;     /* a machine check came during another: shutdown (mce.h) */
    bool saved_guest;   /* HF_SVM_GUEST, likewise */
    bool saved_inhibit; /* HF_INHIBIT while the state is saved or loaded (cpu-state.c) */

    /* ---- not architectural ---- */
    unsigned index; /* 0 … */
    CpuConfig config;
    AddressSpace *as;     /* ordinary view */
    AddressSpace *as_smm; /* view with SMRAM open; = as without one */
    AddressSpace *as_io;
    ClockSet *clocks;
    /* KVM's state of a guest's own guests (target/i386/kvm/nested.c); it is saved. */
    uint8_t *nested;
    uint32_t nested_len, nested_max; /* 0: none; the engine cannot have any */
    const ApicOps *apic_ops;         /* NULL: no local APIC */
    void *apic;
    void (*ferr)(void *opaque, int level); /* FERR#, for CR0.NE = 0 */
    void *ferr_opaque;
    sigjmp_buf *unwind; /* where x86_raise() jumps: set by the engine's run loop */
    void *engine;       /* the engine's per-vCPU data (accel/tcg: TcgCpu) */
    void *vcpu;         /* accel's Vcpu */
};

/* Power-on (not INIT) values; SDM vol. 3, 10.1.1. BSP starts, others wait for SIPI. */
void cpu_reset(CPUX86 *cpu, bool bsp);
/* INIT: as reset, but x87/SSE, MSRs, CR0.CD/NW and memory-type state survive. */
void cpu_init_signal(CPUX86 *cpu, bool bsp);
/* SIPI: starts a waiting CPU at vector << 12. */
void cpu_sipi(CPUX86 *cpu, uint8_t vector);
/* Recomputes hflags after anything they derive from changed. */
void cpu_update_hflags(CPUX86 *cpu);
/* Any thread: notes the request; the caller kicks the vCPU (accel/accel.h). */
static inline void cpu_interrupt(CPUX86 *cpu, uint32_t irq)
{
    __atomic_fetch_or(&cpu->irq_pending, irq, __ATOMIC_SEQ_CST);
    __atomic_store_n(&cpu->attention, 1, __ATOMIC_SEQ_CST);
}
static inline void cpu_interrupt_clear(CPUX86 *cpu, uint32_t irq)
{
    __atomic_fetch_and(&cpu->irq_pending, ~irq, __ATOMIC_SEQ_CST);
}
static inline unsigned cpu_cpl(const CPUX86 *cpu)
{
    return cpu->hflags & HF_CPL_MASK;
}
static inline AddressSpace *cpu_as(const CPUX86 *cpu)
{
    return cpu->smm ? cpu->as_smm : cpu->as;
}
static inline MemAttrs cpu_attrs(const CPUX86 *cpu)
{
    return (MemAttrs){.requester = 0xffff, .smm = cpu->smm, .user = cpu_cpl(cpu) == 3};
}
static inline bool cpu_has(const CPUX86 *cpu, CpuFeatureWord w, uint32_t bits)
{
    return (cpu->config.features[w] & bits) == bits;
}
uint64_t cpu_tsc(const CPUX86 *cpu);
/* CPUID with the state's dynamic bits (OSXSAVE, APIC enable …). */
void cpu_cpuid(const CPUX86 *cpu, uint32_t leaf, uint32_t sub, uint32_t out[4]);
/* The XCR0 bits that XSETBV accepts, and IA32_XSS's; from the features. */
uint64_t cpu_xcr0_supported(const CPUX86 *cpu);
uint64_t cpu_xss_supported(const CPUX86 *cpu);
/* Size and standard-format offset of XSAVE component `i` (2 ...); 0 if there is none. */
uint32_t cpu_xsave_component(const CPUX86 *cpu, unsigned i, uint32_t *offset);
/* `info registers`: QEMU's layout. */
void cpu_print(const CPUX86 *cpu, GString *out, bool fpu);

/*
 * Raises an exception in the running CPU: never returns (jumps to cpu->unwind,
 * where the engine delivers it with rip at the faulting instruction).
 */
_Noreturn void x86_raise(CPUX86 *cpu, int vector);
_Noreturn void x86_raise_error(CPUX86 *cpu, int vector, uint32_t error);
_Noreturn void x86_raise_pf(CPUX86 *cpu, uint64_t addr, uint32_t error);

/*
 * Debug translation of a linear address with the CPU's paging, no side effects;
 * for monitors and gdb. CPU stopped. false: not mapped.
 */
bool cpu_debug_translate(CPUX86 *cpu, uint64_t linear, hwaddr *phys);
/* Linear memory in and out by page, for monitors and gdb. */
bool cpu_debug_rw(CPUX86 *cpu, uint64_t linear, void *buf, size_t len, bool write);

#endif
