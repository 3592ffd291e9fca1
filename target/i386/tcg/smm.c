/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System-management mode: SMI entry and RSM.  The state-save area is AMD's 64-bit
 * one (APM vol. 2, table 10-1) for CPUs with long mode, the P6's 32-bit one for
 * others: the two layouts that SeaBIOS, OVMF and Linux know.
 */
#include "target/i386/tcg/control.h"
#include "target/i386/tcg/desc.h"
#include "target/i386/tcg/svm.h"
#include "util/bits.h"
#include "util/log.h"

#define AREA_BASE 0xfe00u /* of the area's 512 bytes, from SMBASE */
#define AREA_SIZE 0x200u
#define AT(offset) ((offset)-AREA_BASE)

#define REVISION_64 0x20064u
#define REVISION_32 0x20000u /* bit 17: SMBASE can be relocated */
#define REVISION_RELOCATABLE 0x20000u

#define F81_EDX_LM (1u << 29)

static bool has_long_mode(const CPUX86 *cpu)
{
    return cpu_has(cpu, FEAT_80000001_EDX, F81_EDX_LM);
}

/* Attributes as in descriptors: bits 11-8 lie at 15-12. */
static uint16_t pack_attr(const Segment *s)
{
    uint16_t a = (uint16_t)((s->attr & 0xff) | (s->attr & 0xf00) << 4);

    return s->attr & SEG_UNUSABLE ? a & (uint16_t)~SEG_P : a;
}

static uint16_t unpack_attr(uint16_t a)
{
    uint16_t attr = (uint16_t)((a & 0xff) | (a >> 4 & 0xf00));

    return a & SEG_P ? attr : attr | SEG_UNUSABLE;
}

/* ---- the 64-bit layout ---- */

static void save_seg64(uint8_t *p, const Segment *s)
{
    st_le16(p, s->selector);
    st_le16(p + 2, pack_attr(s));
    st_le32(p + 4, s->limit);
    st_le64(p + 8, s->base);
}

static void load_seg64(const uint8_t *p, Segment *s)
{
    s->selector = ld_le16(p);
    s->attr = unpack_attr(ld_le16(p + 2));
    s->limit = ld_le32(p + 4);
    s->base = ld_le64(p + 8);
}

/* Register n lies below register n - 1. */
static unsigned reg64_at(unsigned n)
{
    static const uint16_t at[16] = {0xfff8, 0xfff0, 0xffe8, 0xffe0, 0xffd8, 0xffd0, 0xffc8, 0xffc0,
                                    0xffb8, 0xffb0, 0xffa8, 0xffa0, 0xff98, 0xff90, 0xff88, 0xff80};

    return AT(at[n]);
}

static void save_area64(const CPUX86 *cpu, uint8_t *a)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        save_seg64(a + AT(0xfe00) + i * 16, &cpu->segs[i]);
    }
    st_le16(a + AT(0xfe64), cpu->gdtr.limit);
    st_le64(a + AT(0xfe68), cpu->gdtr.base);
    save_seg64(a + AT(0xfe70), &cpu->ldtr);
    st_le16(a + AT(0xfe84), cpu->idtr.limit);
    st_le64(a + AT(0xfe88), cpu->idtr.base);
    save_seg64(a + AT(0xfe90), &cpu->tr);
    a[AT(0xfec9)] = cpu->halted;
    a[AT(0xfeca)] = cpu->nmi_masked;
    st_le64(a + AT(0xfed0), cpu->efer);
    st_le32(a + AT(0xfefc), REVISION_64);
    st_le32(a + AT(0xff00), cpu->smbase);
    st_le64(a + AT(0xff48), cpu->cr4);
    st_le64(a + AT(0xff50), cpu->cr3);
    st_le64(a + AT(0xff58), cpu->cr0);
    st_le64(a + AT(0xff60), cpu->dr[7]);
    st_le64(a + AT(0xff68), cpu->dr[6]);
    st_le64(a + AT(0xff70), cpu->rflags);
    st_le64(a + AT(0xff78), cpu->rip);
    for (unsigned i = 0; i < 16; i++) {
        st_le64(a + reg64_at(i), cpu->regs[i]);
    }
}

static void load_area64(CPUX86 *cpu, const uint8_t *a)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        load_seg64(a + AT(0xfe00) + i * 16, &cpu->segs[i]);
    }
    cpu->gdtr.limit = ld_le16(a + AT(0xfe64));
    cpu->gdtr.base = ld_le64(a + AT(0xfe68));
    load_seg64(a + AT(0xfe70), &cpu->ldtr);
    cpu->idtr.limit = ld_le16(a + AT(0xfe84));
    cpu->idtr.base = ld_le64(a + AT(0xfe88));
    load_seg64(a + AT(0xfe90), &cpu->tr);
    cpu->halted = a[AT(0xfec9)] & 1;
    cpu->nmi_masked = a[AT(0xfeca)] & 1;
    cpu->efer = ld_le64(a + AT(0xfed0));
    if (ld_le32(a + AT(0xfefc)) & REVISION_RELOCATABLE) {
        cpu->smbase = ld_le32(a + AT(0xff00));
    }
    cpu->cr4 = ld_le64(a + AT(0xff48));
    cpu->cr3 = ld_le64(a + AT(0xff50));
    cpu->cr0 = ld_le64(a + AT(0xff58));
    cpu->dr[7] = (ld_le64(a + AT(0xff60)) & 0xffff27ff) | 0x400;
    cpu->dr[6] = (ld_le64(a + AT(0xff68)) & 0xe00f) | 0xffff0ff0;
    cpu->rflags = ld_le64(a + AT(0xff70));
    cpu->rip = ld_le64(a + AT(0xff78));
    for (unsigned i = 0; i < 16; i++) {
        cpu->regs[i] = ld_le64(a + reg64_at(i));
    }
}

/* ---- the 32-bit layout ---- */

static unsigned reg32_at(unsigned n)
{
    static const uint16_t at[8] = {0xffd0, 0xffd4, 0xffd8, 0xffdc, 0xffe0, 0xffe4, 0xffe8, 0xffec};

    return AT(at[n]);
}

/* Hidden parts: attributes, limit, base. Visible selectors lie at 7FA8 … 7FBC. */
static unsigned hidden32_at(unsigned seg)
{
    return seg < SEG_DS ? AT(0xff84) + seg * 12 : AT(0xff2c) + (seg - SEG_DS) * 12;
}

static void save_seg32(uint8_t *p, const Segment *s)
{
    st_le32(p, pack_attr(s));
    st_le32(p + 4, s->limit);
    st_le32(p + 8, (uint32_t)s->base);
}

static void load_seg32(const uint8_t *p, uint16_t selector, Segment *s)
{
    s->selector = selector;
    s->attr = unpack_attr(ld_le16(p));
    s->limit = ld_le32(p + 4);
    s->base = ld_le32(p + 8);
}

static void save_area32(const CPUX86 *cpu, uint8_t *a)
{
    st_le32(a + AT(0xfffc), (uint32_t)cpu->cr0);
    st_le32(a + AT(0xfff8), (uint32_t)cpu->cr3);
    st_le32(a + AT(0xfff4), (uint32_t)cpu->rflags);
    st_le32(a + AT(0xfff0), (uint32_t)cpu->rip);
    for (unsigned i = 0; i < 8; i++) {
        st_le32(a + reg32_at(i), (uint32_t)cpu->regs[i]);
    }
    st_le32(a + AT(0xffcc), (uint32_t)cpu->dr[6]);
    st_le32(a + AT(0xffc8), (uint32_t)cpu->dr[7]);
    st_le32(a + AT(0xffc4), cpu->tr.selector);
    save_seg32(a + AT(0xff5c), &cpu->tr);
    st_le32(a + AT(0xffc0), cpu->ldtr.selector);
    save_seg32(a + AT(0xff78), &cpu->ldtr);
    st_le32(a + AT(0xff74), (uint32_t)cpu->gdtr.base);
    st_le32(a + AT(0xff70), cpu->gdtr.limit);
    st_le32(a + AT(0xff58), (uint32_t)cpu->idtr.base);
    st_le32(a + AT(0xff54), cpu->idtr.limit);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        st_le32(a + AT(0xffa8) + i * 4, cpu->segs[i].selector);
        save_seg32(a + hidden32_at(i), &cpu->segs[i]);
    }
    st_le32(a + AT(0xff14), (uint32_t)cpu->cr4);
    a[AT(0xff04)] = cpu->nmi_masked;
    a[AT(0xff02)] = cpu->halted;
    st_le32(a + AT(0xfefc), REVISION_32);
    st_le32(a + AT(0xfef8), cpu->smbase);
}

static void load_area32(CPUX86 *cpu, const uint8_t *a)
{
    cpu->cr0 = ld_le32(a + AT(0xfffc));
    cpu->cr3 = ld_le32(a + AT(0xfff8));
    cpu->rflags = ld_le32(a + AT(0xfff4));
    cpu->rip = ld_le32(a + AT(0xfff0));
    for (unsigned i = 0; i < 8; i++) {
        cpu->regs[i] = ld_le32(a + reg32_at(i));
    }
    cpu->dr[6] = (ld_le32(a + AT(0xffcc)) & 0xe00f) | 0xffff0ff0;
    cpu->dr[7] = (ld_le32(a + AT(0xffc8)) & 0xffff27ff) | 0x400;
    load_seg32(a + AT(0xff5c), ld_le16(a + AT(0xffc4)), &cpu->tr);
    load_seg32(a + AT(0xff78), ld_le16(a + AT(0xffc0)), &cpu->ldtr);
    cpu->gdtr.base = ld_le32(a + AT(0xff74));
    cpu->gdtr.limit = ld_le16(a + AT(0xff70));
    cpu->idtr.base = ld_le32(a + AT(0xff58));
    cpu->idtr.limit = ld_le16(a + AT(0xff54));
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        load_seg32(a + hidden32_at(i), ld_le16(a + AT(0xffa8) + i * 4), &cpu->segs[i]);
    }
    cpu->cr4 = ld_le32(a + AT(0xff14));
    cpu->nmi_masked = a[AT(0xff04)] & 1;
    cpu->halted = a[AT(0xff02)] & 1;
    if (ld_le32(a + AT(0xfefc)) & REVISION_RELOCATABLE) {
        cpu->smbase = ld_le32(a + AT(0xfef8));
    }
}

/* ---- entry and exit ---- */

static MemAttrs smm_attrs(void)
{
    return (MemAttrs){.requester = 0xffff, .smm = true};
}

void x86_enter_smm(CPUX86 *cpu)
{
    const uint16_t data = SEG_P | SEG_S | SEG_TYPE_RW | SEG_TYPE_ACCESSED | SEG_G;
    uint8_t area[AREA_SIZE] = {0};

    LOG(LOG_INT, "cpu %u: SMI, smbase %#x\n", cpu->index, cpu->smbase);
    if (has_long_mode(cpu)) {
        save_area64(cpu, area);
    } else {
        save_area32(cpu, area);
    }
    address_space_write(cpu->as_smm, (hwaddr)cpu->smbase + AREA_BASE, smm_attrs(), area,
                        sizeof(area));
    svm_enter_smm(cpu);
    cpu->smm = true;
    cpu->smi_count++;
    cpu->halted = false;
    cpu->nmi_masked = true;
    cpu->cr0 &= ~(uint64_t)(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
    cpu->cr4 = 0;
    cpu->efer = 0;
    cpu->dr[7] = 0x400;
    cpu->debug_pending = 0;
    cpu->rflags = FLAG_ONE;
    cpu->rip = 0x8000;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->segs[i] = (Segment){.limit = UINT32_MAX, .attr = data};
    }
    cpu->segs[SEG_CS].selector = (uint16_t)(cpu->smbase >> 4);
    cpu->segs[SEG_CS].base = cpu->smbase;
    cpu->segs[SEG_CS].attr |= SEG_TYPE_CODE;
    cpu->hflags &= ~HF_INHIBIT;
    cpu_update_hflags(cpu);
    mmu_context_changed(cpu);
}

/* What RSM may not load; the processor shuts down (SDM vol. 3, 31.4.1.1). */
static bool state_is_valid(const CPUX86 *cpu)
{
    uint64_t cr0 = cpu->cr0;
    bool lma = cpu->efer & EFER_LMA;

    if (cr0 >> 32 || ((cr0 & CR0_PG) && !(cr0 & CR0_PE)) || ((cr0 & CR0_NW) && !(cr0 & CR0_CD))) {
        return false;
    }
    if (lma != ((cr0 & CR0_PG) && (cpu->efer & EFER_LME)) || (lma && !(cpu->cr4 & CR4_PAE))) {
        return false;
    }
    return !(cpu->efer & ~x86_efer_known(cpu)) && !(cpu->cr4 & ~x86_cr4_known(cpu)) &&
           !(cpu->cr3 & (lma ? ~((1ull << cpu->config.phys_bits) - 1) : 0));
}

static _Noreturn void shut_down(CPUX86 *cpu)
{
    guest_error("cpu", "RSM: invalid saved state");
    /* A double fault that has no handler: the engine sees a triple fault. */
    cpu->idtr.limit = 0;
    x86_raise_error(cpu, EXC_DF, 0);
}

void helper_rsm(CPUX86 *cpu)
{
    uint8_t area[AREA_SIZE];
    uint32_t revision;

    svm_check(cpu, SVM_EXIT_RSM);
    if (!cpu->smm) {
        x86_raise(cpu, EXC_UD);
    }
    if (address_space_read(cpu->as_smm, (hwaddr)cpu->smbase + AREA_BASE, smm_attrs(), area,
                           sizeof(area)) != MEM_OK) {
        shut_down(cpu);
    }
    revision = ld_le32(area + AT(0xfefc));
    if ((revision & 0xffff) != (has_long_mode(cpu) ? REVISION_64 & 0xffff : 0)) {
        shut_down(cpu);
    }
    if (has_long_mode(cpu)) {
        load_area64(cpu, area);
    } else {
        load_area32(cpu, area);
        cpu->efer = 0;
    }
    cpu->rflags = (cpu->rflags & 0x3f7fd5) | FLAG_ONE;
    cpu->cr0 |= CR0_ET;
    cpu->smm = false;
    svm_leave_smm(cpu);
    cpu_update_hflags(cpu);
    if (!state_is_valid(cpu) || ((cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE) &&
                                 !(cpu->efer & EFER_LMA) && !x86_load_pdptes(cpu, cpu->cr3))) {
        cpu->cr0 &= ~(uint64_t)CR0_PG;
        cpu->efer = 0;
        cpu_update_hflags(cpu);
        shut_down(cpu);
    }
    mmu_context_changed(cpu);
    LOG(LOG_INT, "cpu %u: RSM\n", cpu->index);
}
