/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target/i386/tcg/svm-vmcb.h: the control block of an SVM guest as it lies in memory (AMD APM
 * vol. 2, appendix B), and the bits in it and in CPUID Fn8000_000A that svm.c and
 * svm-intercept.c share.
 */
#ifndef RHEA_TARGET_I386_TCG_SVM_VMCB_H
#define RHEA_TARGET_I386_TCG_SVM_VMCB_H

#define VMCB_SIZE 4096u
#define MSRPM_SIZE 0x2000u
#define IOPM_SIZE 0x3000u
/* Offsets in the control area. */
enum {
    V_CR = 0x00,
    V_DR = 0x04,
    V_EXC = 0x08,
    V_MISC = 0x0c,
    V_PAUSE_THRESHOLD = 0x3c,
    V_PAUSE_COUNT = 0x3e,
    V_IOPM = 0x40,
    V_MSRPM = 0x48,
    V_TSC_OFFSET = 0x50,
    V_ASID = 0x58,
    V_TLB_CONTROL = 0x5c,
    V_INT_CTL = 0x60,
    V_INT_STATE = 0x68,
    V_EXIT_CODE = 0x70,
    V_EXIT_INFO1 = 0x78,
    V_EXIT_INFO2 = 0x80,
    V_EXIT_INT_INFO = 0x88,
    V_NP_CONTROL = 0x90,
    V_EVENT_INJ = 0xa8,
    V_NCR3 = 0xb0,
    V_VIRT_EXT = 0xb8,
    V_NRIP = 0xc8,
    V_INSN_LEN = 0xd0,
    V_INSN_BYTES = 0xd1,
};
/* And in the area of saved state. */
enum {
    S_ES = 0x400,
    S_CS = 0x410,
    S_SS = 0x420,
    S_DS = 0x430,
    S_FS = 0x440,
    S_GS = 0x450,
    S_GDTR = 0x460,
    S_LDTR = 0x470,
    S_IDTR = 0x480,
    S_TR = 0x490,
    S_CPL = 0x4cb,
    S_EFER = 0x4d0,
    S_CR4 = 0x548,
    S_CR3 = 0x550,
    S_CR0 = 0x558,
    S_DR7 = 0x560,
    S_DR6 = 0x568,
    S_RFLAGS = 0x570,
    S_RIP = 0x578,
    S_RSP = 0x5d8,
    S_RAX = 0x5f8,
    S_STAR = 0x600,
    S_LSTAR = 0x608,
    S_CSTAR = 0x610,
    S_SFMASK = 0x618,
    S_KERNEL_GS = 0x620,
    S_SYSENTER_CS = 0x628,
    S_SYSENTER_ESP = 0x630,
    S_SYSENTER_EIP = 0x638,
    S_CR2 = 0x640,
    S_PAT = 0x668,
};

/* TLB_CONTROL */
#define TLB_FLUSH_ALL 1
#define TLB_FLUSH_ASID 3
#define TLB_FLUSH_ASID_LOCAL 7
/* V_INT_CTL */
#define INT_CTL_TPR 0xffull
#define INT_CTL_IRQ (1ull << 8)
#define INT_CTL_VGIF (1ull << 9)
#define INT_CTL_IGNORE_TPR (1ull << 20)
#define INT_CTL_MASKING (1ull << 24)
#define INT_CTL_VGIF_ENABLE (1ull << 25)
#define INT_CTL_WRITTEN (INT_CTL_TPR | INT_CTL_IRQ | INT_CTL_VGIF) /* by #VMEXIT */
/* V_VIRT_EXT */
#define VIRT_EXT_VMLOAD_VMSAVE (1ull << 1)
/* EVENT_INJ and EXIT_INT_INFO */
#define EVENT_VALID (1ull << 31)
#define EVENT_ERROR (1ull << 11)
#define EVENT_TYPE(e) ((unsigned)((e) >> 8 & 7))
enum { EVENT_TYPE_INTR = 0, EVENT_TYPE_NMI = 2, EVENT_TYPE_EXCEPTION = 3, EVENT_TYPE_SOFT = 4 };

/* FEAT_SVM */
#define SVM_FEATURE_NPT (1u << 0)
#define SVM_FEATURE_NRIPS (1u << 3)
#define SVM_FEATURE_FLUSH_BY_ASID (1u << 6)
#define SVM_FEATURE_DECODE (1u << 7)
#define SVM_FEATURE_PAUSE_FILTER (1u << 10)
#define SVM_FEATURE_PAUSE_THRESHOLD (1u << 12)
#define SVM_FEATURE_V_VMLOAD (1u << 15)
#define SVM_FEATURE_VGIF (1u << 16)

#endif
