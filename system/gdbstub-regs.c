/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gdb server: the CPU's registers as gdb sees them.
 *
 * A table of groups says which registers there are, in the order of their numbers; target
 * description, 'g' and 'p' packets all follow it.  Up to MXCSR the order is gdb's own, for
 * clients that don't read the description.
 */
#include "system/gdbstub-internal.h"
#include "target/i386/cpu.h"

#include <string.h>

typedef enum RegKind {
    GDB_GENERAL,
    GDB_RIP,
    GDB_FLAGS,
    GDB_SEGMENT,
    GDB_X87,
    GDB_X87_CONTROL,
    GDB_XMM,
    GDB_MXCSR,
    GDB_BASE,   /* FS_BASE, GS_BASE, KERNEL_GS_BASE */
    GDB_SYSTEM, /* CR0, CR2, CR3, CR4, CR8, EFER */
    GDB_YMMH,
} RegKind;

typedef struct RegGroup {
    RegKind kind;
    const char *feature; /* where the XML's next feature begins, or NULL */
    const char *const *names;
    const char *type, *group;
    uint8_t count, count32; /* with and without long mode */
    uint8_t bits, bits32;
} RegGroup;

static const char *const names_general[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
                                            "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
static const char *const names_general32[] = {"eax", "ecx", "edx", "ebx",
                                              "esp", "ebp", "esi", "edi"};
static const char *const names_rip[] = {"rip"}, *const names_eip[] = {"eip"};
static const char *const names_flags[] = {"eflags"}, *const names_mxcsr[] = {"mxcsr"};
static const char *const names_segment[] = {"cs", "ss", "ds", "es", "fs", "gs"};
static const char *const names_x87[] = {"st0", "st1", "st2", "st3", "st4", "st5", "st6", "st7"};
static const char *const names_control[] = {"fctrl", "fstat", "ftag",  "fiseg",
                                            "fioff", "foseg", "fooff", "fop"};
static const char *const names_xmm[] = {"xmm0",  "xmm1",  "xmm2",  "xmm3", "xmm4",  "xmm5",
                                        "xmm6",  "xmm7",  "xmm8",  "xmm9", "xmm10", "xmm11",
                                        "xmm12", "xmm13", "xmm14", "xmm15"};
static const char *const names_ymmh[] = {"ymm0h",  "ymm1h",  "ymm2h",  "ymm3h", "ymm4h",  "ymm5h",
                                         "ymm6h",  "ymm7h",  "ymm8h",  "ymm9h", "ymm10h", "ymm11h",
                                         "ymm12h", "ymm13h", "ymm14h", "ymm15h"};
static const char *const names_base[] = {"fs_base", "gs_base", "k_gs_base"};
static const char *const names_system[] = {"cr0", "cr2", "cr3", "cr4", "cr8", "efer"};
/* gdb's order to the CPU's numbers. */
static const uint8_t order64[] = {R_RAX, R_RBX, R_RCX, R_RDX, R_RSI, R_RDI, R_RBP, R_RSP};
static const uint8_t order_segment[] = {SEG_CS, SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS};

static const RegGroup groups[] = {
    {GDB_GENERAL, "org.gnu.gdb.i386.core", names_general, "int64", "general", 16, 8, 64, 32},
    {GDB_RIP, NULL, names_rip, "code_ptr", "general", 1, 1, 64, 32},
    {GDB_FLAGS, NULL, names_flags, "i386_eflags", "general", 1, 1, 32, 32},
    {GDB_SEGMENT, NULL, names_segment, "int32", "general", 6, 6, 32, 32},
    {GDB_X87, NULL, names_x87, "i387_ext", "float", 8, 8, 80, 80},
    {GDB_X87_CONTROL, NULL, names_control, "int", "float", 8, 8, 32, 32},
    {GDB_XMM, "org.gnu.gdb.i386.sse", names_xmm, "vec128", "vector", 16, 8, 128, 128},
    {GDB_MXCSR, NULL, names_mxcsr, "i386_mxcsr", "vector", 1, 1, 32, 32},
    {GDB_BASE, "org.gnu.gdb.i386.segments", names_base, "int64", "system", 3, 0, 64, 64},
    {GDB_SYSTEM, "org.rhea.gdb.i386.system", names_system, "int64", "system", 6, 5, 64, 32},
    {GDB_YMMH, "org.gnu.gdb.i386.avx", names_ymmh, "uint128", "vector", 16, 8, 128, 128},
};

static bool is64(const CPUX86 *cpu)
{
    return cpu_has(cpu, FEAT_80000001_EDX, 1u << 29);
}

static unsigned count_of(const CPUX86 *cpu, const RegGroup *g)
{
    if (g->kind == GDB_YMMH && !cpu_has(cpu, FEAT_1_ECX, 1u << 28)) {
        return 0;
    }
    return is64(cpu) ? g->count : g->count32;
}

/* The group of register *n, which becomes the number in the group; NULL: there is none. */
static const RegGroup *group_of(const CPUX86 *cpu, unsigned *n)
{
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        unsigned count = count_of(cpu, &groups[i]);
        if (*n < count) {
            return &groups[i];
        }
        *n -= count;
    }
    return NULL;
}

unsigned gdb_register_count(const CPUX86 *cpu)
{
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        n += count_of(cpu, &groups[i]);
    }
    return n;
}

static unsigned size_of(const CPUX86 *cpu, const RegGroup *g)
{
    return (is64(cpu) ? g->bits : g->bits32) / 8u;
}

unsigned gdb_register_size(const CPUX86 *cpu, unsigned n)
{
    const RegGroup *g = group_of(cpu, &n);
    return g ? size_of(cpu, g) : 0;
}

/* ---- the description ---- */
static const char eflags_type[] =
    "<flags id=\"i386_eflags\" size=\"4\">"
    "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"\" start=\"1\" end=\"1\"/>"
    "<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
    "<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
    "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
    "<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
    "<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
    "<field name=\"VM\" start=\"17\" end=\"17\"/><field name=\"AC\" start=\"18\" end=\"18\"/>"
    "<field name=\"VIF\" start=\"19\" end=\"19\"/><field name=\"VIP\" start=\"20\" end=\"20\"/>"
    "<field name=\"ID\" start=\"21\" end=\"21\"/></flags>";
static const char sse_types[] =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
    "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
    "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
    "<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
    "<field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
    "<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/></union>"
    "<flags id=\"i386_mxcsr\" size=\"4\">"
    "<field name=\"IE\" start=\"0\" end=\"0\"/><field name=\"DE\" start=\"1\" end=\"1\"/>"
    "<field name=\"ZE\" start=\"2\" end=\"2\"/><field name=\"OE\" start=\"3\" end=\"3\"/>"
    "<field name=\"UE\" start=\"4\" end=\"4\"/><field name=\"PE\" start=\"5\" end=\"5\"/>"
    "<field name=\"DAZ\" start=\"6\" end=\"6\"/><field name=\"IM\" start=\"7\" end=\"7\"/>"
    "<field name=\"DM\" start=\"8\" end=\"8\"/><field name=\"ZM\" start=\"9\" end=\"9\"/>"
    "<field name=\"OM\" start=\"10\" end=\"10\"/><field name=\"UM\" start=\"11\" end=\"11\"/>"
    "<field name=\"PM\" start=\"12\" end=\"12\"/><field name=\"FZ\" start=\"15\" end=\"15\"/>"
    "</flags>";

static const char *const *names_of(const CPUX86 *cpu, const RegGroup *g)
{
    if (is64(cpu)) {
        return g->names;
    }
    return g->kind == GDB_GENERAL ? names_general32 : g->kind == GDB_RIP ? names_eip : g->names;
}

static const char *type_of(const CPUX86 *cpu, const RegGroup *g, unsigned n)
{
    if (g->kind == GDB_GENERAL && n == (is64(cpu) ? 7u : 4u)) {
        return "data_ptr"; /* the stack's */
    }
    return size_of(cpu, g) == 4 && g->bits == 64 && g->kind != GDB_RIP ? "int32" : g->type;
}

char *gdb_target_xml(const CPUX86 *cpu, const char *name)
{
    if (!g_str_equal(name, "target.xml")) {
        return NULL;
    }
    bool open = false;
    GString *out = g_string_new("<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM "
                                "\"gdb-target.dtd\"><target>");
    g_string_append_printf(out, "<architecture>%s</architecture>",
                           is64(cpu) ? "i386:x86-64" : "i386");
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        const RegGroup *g = &groups[i];
        unsigned count = count_of(cpu, g);
        if (count && g->feature) {
            g_string_append_printf(out, "%s<feature name=\"%s\">", open ? "</feature>" : "",
                                   g->feature);
            g_string_append(out, i == 0 ? eflags_type : g->kind == GDB_XMM ? sse_types : "");
            open = true;
        }
        for (unsigned n = 0; n < count; n++) {
            g_string_append_printf(
                out, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" group=\"%s\"/>",
                names_of(cpu, g)[n], size_of(cpu, g) * 8, type_of(cpu, g, n), g->group);
        }
    }
    g_string_append(out, "</feature></target>");
    return g_string_free(out, FALSE);
}

/* ---- values ---- */
static unsigned general_index(const CPUX86 *cpu, unsigned n)
{
    return is64(cpu) && n < ARRAY_LEN(order64) ? order64[n] : n;
}

/* 2 bits for each physical register: valid, zero, special, empty. */
static uint32_t tag_word(const X87 *f)
{
    uint32_t tags = 0;
    for (unsigned i = 0; i < 8; i++) {
        uint16_t exp = f->r[i].exp & 0x7fff;
        uint64_t mant = f->r[i].mant;
        bool special = exp == 0x7fff || (exp ? !(mant >> 63) : mant != 0);
        uint32_t tag = f->empty >> i & 1 ? 3 : !exp && !mant ? 1 : special ? 2 : 0;
        tags |= tag << (2 * i);
    }
    return tags;
}

static uint32_t read_x87_control(const X87 *f, unsigned n)
{
    switch (n) {
    case 0:
        return f->cw;
    case 1:
        return (f->sw & ~0x3800u) | (f->top & 7u) << 11;
    case 2:
        return tag_word(f);
    case 3:
        return f->fcs;
    case 4:
        return (uint32_t)f->fip;
    case 5:
        return f->fds;
    case 6:
        return (uint32_t)f->fdp;
    default:
        return f->fop & 0x7ffu;
    }
}

static void write_x87_control(X87 *f, unsigned n, uint32_t v)
{
    switch (n) {
    case 0:
        f->cw = (uint16_t)((v & 0x1f7f) | 0x40);
        break;
    case 1:
        f->sw = (uint16_t)(v & ~0x3800u);
        f->top = v >> 11 & 7;
        break;
    case 2:
        f->empty = 0;
        for (unsigned i = 0; i < 8; i++) {
            f->empty |= (uint8_t)((v >> (2 * i) & 3) == 3) << i;
        }
        break;
    case 3:
        f->fcs = (uint16_t)v;
        break;
    case 4:
        f->fip = v;
        break;
    case 5:
        f->fds = (uint16_t)v;
        break;
    case 6:
        f->fdp = v;
        break;
    default:
        f->fop = (uint16_t)(v & 0x7ff);
        break;
    }
}

static uint64_t read_system(const CPUX86 *cpu, unsigned n)
{
    switch (n) {
    case 0:
        return cpu->cr0;
    case 1:
        return cpu->cr2;
    case 2:
        return cpu->cr3;
    case 3:
        return cpu->cr4;
    case 4:
        return cpu->apic_ops && cpu->apic_ops->get_tpr ? cpu->apic_ops->get_tpr(cpu->apic) >> 4 : 0;
    default:
        return cpu->efer;
    }
}

static uint64_t *base_of(CPUX86 *cpu, unsigned n)
{
    return n == 0   ? &cpu->segs[SEG_FS].base
           : n == 1 ? &cpu->segs[SEG_GS].base
                    : &cpu->kernel_gs_base;
}

unsigned gdb_register_read(const CPUX86 *cpu, unsigned n, uint8_t *buf)
{
    const RegGroup *g = group_of(cpu, &n);
    uint64_t v = 0;
    if (!g) {
        return 0;
    }
    switch (g->kind) {
    case GDB_GENERAL:
        v = cpu->regs[general_index(cpu, n)];
        break;
    case GDB_RIP:
        v = cpu->rip;
        break;
    case GDB_FLAGS:
        v = cpu->rflags;
        break;
    case GDB_SEGMENT:
        v = cpu->segs[order_segment[n]].selector;
        break;
    case GDB_X87: {
        const Float80 *r = &cpu->x87.r[(cpu->x87.top + n) & 7];
        st_le64(buf, r->mant);
        st_le16(buf + 8, r->exp);
        return 10;
    }
    case GDB_X87_CONTROL:
        v = read_x87_control(&cpu->x87, n);
        break;
    case GDB_XMM:
        memcpy(buf, cpu->vec[n].u8, 16);
        return 16;
    case GDB_YMMH:
        memcpy(buf, cpu->vec[n].u8 + 16, 16);
        return 16;
    case GDB_MXCSR:
        v = cpu->mxcsr;
        break;
    case GDB_BASE:
        v = *base_of((CPUX86 *)cpu, n);
        break;
    case GDB_SYSTEM:
        v = read_system(cpu, n);
        break;
    }
    st_le(buf, size_of(cpu, g), v);
    return size_of(cpu, g);
}

/* ---- changing them ---- */
/* Descriptor of a selector, from memory; false: there is none of use. */
static bool read_descriptor(CPUX86 *cpu, uint16_t selector, Segment *seg)
{
    bool local = selector & 4;
    uint64_t base = local ? cpu->ldtr.base : cpu->gdtr.base;
    uint32_t limit = local ? cpu->ldtr.limit : cpu->gdtr.limit;
    uint8_t d[8];
    if ((selector | 7u) > limit || !cpu_debug_rw(cpu, base + (selector & ~7u), d, 8, false)) {
        return false;
    }
    uint64_t v = ld_le64(d);
    seg->attr = (uint16_t)((v >> 40 & 0xff) | (v >> 52 & 0xf) << 8);
    seg->base = (v >> 16 & 0xffffff) | (v >> 56 & 0xff) << 24;
    seg->limit = (uint32_t)((v & 0xffff) | (v >> 48 & 0xf) << 16);
    if (seg->attr & SEG_G) {
        seg->limit = seg->limit << 12 | 0xfff;
    }
    return (seg->attr & SEG_S) && (seg->attr & SEG_P);
}

/* The selector, and what it stands for in the present mode. */
static bool write_segment(CPUX86 *cpu, unsigned n, uint16_t selector)
{
    Segment *seg = &cpu->segs[n], loaded = {.selector = selector};
    if (selector == seg->selector) {
        return true;
    }
    if (!(cpu->cr0 & CR0_PE) || (cpu->rflags & FLAG_VM)) {
        seg->selector = selector;
        seg->base = (uint64_t)selector << 4;
        return true;
    }
    if (!(selector & ~3u)) {
        if (n == SEG_CS || n == SEG_SS) {
            return false;
        }
        loaded.attr = SEG_UNUSABLE;
    } else if (!read_descriptor(cpu, selector, &loaded) ||
               (n == SEG_CS) != ((loaded.attr & SEG_TYPE_CODE) != 0)) {
        return false;
    }
    *seg = loaded;
    return true;
}

static bool write_cr3(CPUX86 *cpu, uint64_t v)
{
    uint8_t pdpte[32];
    if (v >> cpu->config.phys_bits) {
        return false;
    }
    if ((cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE) && !(cpu->efer & EFER_LMA)) {
        if (address_space_read(cpu_as(cpu), v & ~31ull, cpu_attrs(cpu), pdpte, 32) != MEM_OK) {
            return false;
        }
        for (unsigned i = 0; i < 4; i++) {
            cpu->pdpte[i] = ld_le64(pdpte + 8 * i);
        }
    }
    cpu->cr3 = v;
    return true;
}

/* Modes change by many registers together, in an order; the guest does that, not gdb. */
static bool write_system(CPUX86 *cpu, unsigned n, uint64_t v)
{
    const uint64_t cr0_fixed = CR0_PE | CR0_PG | ~0xe005003full;
    const uint64_t cr4_free =
        CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    uint64_t efer_free = EFER_SCE | EFER_NXE;
    if (v == read_system(cpu, n)) {
        return true;
    }
    switch (n) {
    case 0:
        if ((v ^ cpu->cr0) & cr0_fixed) {
            return false;
        }
        cpu->cr0 = v | CR0_ET;
        return true;
    case 1:
        cpu->cr2 = v;
        return true;
    case 2:
        return write_cr3(cpu, v);
    case 3:
        if ((v ^ cpu->cr4) & ~cr4_free) {
            return false;
        }
        cpu->cr4 = v;
        return true;
    case 4:
        if (v > 15 || !cpu->apic_ops || !cpu->apic_ops->set_tpr) {
            return false;
        }
        cpu->apic_ops->set_tpr(cpu->apic, (uint8_t)(v << 4));
        return true;
    default:
        if ((v ^ cpu->efer) & ~efer_free) {
            return false;
        }
        cpu->efer = v;
        return true;
    }
}

static bool write_base(CPUX86 *cpu, unsigned n, uint64_t v)
{
    unsigned top = cpu->cr4 & CR4_LA57 ? 56 : 47;
    if ((uint64_t)((int64_t)(v << (63 - top)) >> (63 - top)) != v) {
        return false;
    }
    *base_of(cpu, n) = v;
    return true;
}

static bool write_flags(CPUX86 *cpu, uint64_t v)
{
    const uint64_t defined = FLAGS_ARITH | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT |
                             FLAG_RF | FLAG_AC | FLAG_VIF | FLAG_VIP | FLAG_ID;
    if ((v ^ cpu->rflags) & FLAG_VM) {
        return false; /* the segments would have to change with it */
    }
    cpu->rflags = (v & defined) | FLAG_ONE | (cpu->rflags & FLAG_VM);
    return true;
}

static bool store(CPUX86 *cpu, const RegGroup *g, unsigned n, const uint8_t *buf)
{
    uint64_t v = size_of(cpu, g) <= 8 ? ld_le(buf, size_of(cpu, g)) : 0;
    switch (g->kind) {
    case GDB_GENERAL:
        cpu->regs[general_index(cpu, n)] = v;
        return true;
    case GDB_RIP:
        cpu->rip = v;
        return true;
    case GDB_FLAGS:
        return write_flags(cpu, v);
    case GDB_SEGMENT:
        return v <= 0xffff && write_segment(cpu, order_segment[n], (uint16_t)v);
    case GDB_X87: {
        Float80 *r = &cpu->x87.r[(cpu->x87.top + n) & 7];
        r->mant = ld_le64(buf);
        r->exp = ld_le16(buf + 8);
        return true;
    }
    case GDB_X87_CONTROL:
        write_x87_control(&cpu->x87, n, (uint32_t)v);
        return true;
    case GDB_XMM:
        memcpy(cpu->vec[n].u8, buf, 16);
        return true;
    case GDB_YMMH:
        memcpy(cpu->vec[n].u8 + 16, buf, 16);
        return true;
    case GDB_MXCSR:
        if (v & ~0xffffull) {
            return false;
        }
        cpu->mxcsr = (uint32_t)v;
        return true;
    case GDB_BASE:
        return write_base(cpu, n, v);
    default:
        return write_system(cpu, n, v);
    }
}

bool gdb_register_write(CPUX86 *cpu, unsigned n, const uint8_t *buf)
{
    const RegGroup *g = group_of(cpu, &n);
    bool ok = g && store(cpu, g, n, buf);
    cpu_update_hflags(cpu);
    return ok;
}
