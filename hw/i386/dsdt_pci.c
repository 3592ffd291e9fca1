/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DSDT below the PCI root bridge: windows, interrupt links and their routing.
 */
#include "hw/i386/acpi.h"

#define HOLE_END 0xfebfffffu /* up to the I/O APIC */
#define PIRQ_OFF 0x80u
#define ECAM_DEFAULT 0xb0000000u
#define ECAM_DEFAULT_END 0xc0000000u

/* ---- windows ---- */
static uint64_t hole64_size(const PcMachine *pc)
{
    return pc_is_q35(pc) ? 32 * GiB : 2 * GiB;
}

static void windows(PcMachine *pc, Aml *root)
{
    Aml *crs = aml_resources();
    uint64_t start = pc->below_4g, below_ecam, high = ALIGN_UP(4 * GiB + pc->above_4g, GiB);

    if (pc_is_q35(pc)) {
        /* Above the memory-mapped configuration space, as firmware places it. */
        uint64_t ecam_end = pc->ecam_size ? pc->ecam_base + pc->ecam_size : ECAM_DEFAULT_END;

        /* What lies between RAM and it is the bus's, too. */
        below_ecam = pc->ecam_size ? pc->ecam_base : ECAM_DEFAULT;
        if (start < below_ecam) {
            aml_append(crs, aml_dword_memory((uint32_t)start, (uint32_t)below_ecam - 1, false));
        }
        start = MAX(start, ecam_end);
    }
    aml_append(crs, aml_word_bus(0, 0xff));
    aml_append(crs, aml_io(0xcf8, 1, 8));
    aml_append(crs, aml_word_io(0x0000, 0x0cf7));
    aml_append(crs, aml_word_io(0x0d00, 0xffff));
    aml_append(crs, aml_dword_memory(0xa0000, 0xbffff, true));
    if (start < HOLE_END) {
        aml_append(crs, aml_dword_memory((uint32_t)start, HOLE_END, false));
    }
    aml_append(crs, aml_qword_memory(high, high + hole64_size(pc) - 1, true));
    aml_append(root, aml_name("_CRS", crs));
}

/* ---- interrupt links ---- */
static const uint32_t link_choices[] = {5, 10, 11};

/* One PIRQ that can be put on an ISA line through its routing register. */
static Aml *pirq_link(const char *name, const char *reg, unsigned uid)
{
    Aml *dev = aml_device(name), *m, *prs = aml_resources(), *crs = aml_resources(), *branch;
    uint32_t none = 0;

    aml_append(dev, aml_name("_HID", aml_eisaid("PNP0C0F")));
    aml_append(dev, aml_name("_UID", aml_int(uid)));
    aml_append(prs, aml_interrupt(link_choices, ARRAY_LEN(link_choices)));
    aml_append(dev, aml_name("_PRS", prs));

    m = aml_method("_STA", 0, false);
    branch = aml_if(aml_and(aml_ref(reg), aml_int(PIRQ_OFF), NULL));
    aml_append(branch, aml_return(aml_int(0x09)));
    aml_append(m, branch);
    aml_append(m, aml_return(aml_int(0x0b)));
    aml_append(dev, m);

    m = aml_method("_DIS", 0, false);
    aml_append(m, aml_or(aml_ref(reg), aml_int(PIRQ_OFF), aml_ref(reg)));
    aml_append(dev, m);

    /* The interrupt number stands 5 bytes into the descriptor. */
    m = aml_method("_CRS", 0, true);
    aml_append(crs, aml_interrupt(&none, 1));
    aml_append(m, aml_name("PRR0", crs));
    aml_append(m, aml_create_dword_field(aml_ref("PRR0"), aml_int(5), "PRRI"));
    branch = aml_if(aml_lnot(aml_and(aml_ref(reg), aml_int(PIRQ_OFF), NULL)));
    aml_append(branch, aml_store(aml_and(aml_ref(reg), aml_int(15), NULL), aml_ref("PRRI")));
    aml_append(m, branch);
    aml_append(m, aml_return(aml_ref("PRR0")));
    aml_append(dev, m);

    m = aml_method("_SRS", 1, true);
    aml_append(m, aml_create_dword_field(aml_arg(0), aml_int(5), "PRRI"));
    aml_append(m, aml_store(aml_ref("PRRI"), aml_ref(reg)));
    aml_append(dev, m);
    return dev;
}

/* A link that cannot be moved. */
static Aml *fixed_link(const char *name, uint32_t gsi, unsigned uid)
{
    Aml *dev = aml_device(name), *prs = aml_resources(), *crs = aml_resources(), *m;

    aml_append(dev, aml_name("_HID", aml_eisaid("PNP0C0F")));
    aml_append(dev, aml_name("_UID", aml_int(uid)));
    aml_append(prs, aml_interrupt(&gsi, 1));
    aml_append(dev, aml_name("_PRS", prs));
    aml_append(crs, aml_interrupt(&gsi, 1));
    aml_append(dev, aml_name("_CRS", crs));
    m = aml_method("_SRS", 1, false);
    aml_append(dev, m);
    return dev;
}

/* The routing registers, four at a time, in the south bridge's configuration space. */
static void pirq_registers(Aml *isa, const char *region, unsigned offset, char first)
{
    Aml *f;

    aml_append(isa, aml_operation_region(region, AML_PCI_CONFIG, offset, 4));
    f = aml_field(region, AML_BYTE);
    for (unsigned i = 0; i < 4; i++) {
        char name[5] = {'P', 'R', 'Q', (char)(first + (int)i), 0};

        aml_append(f, aml_field_unit(name, 8));
    }
    aml_append(isa, f);
}

static void links(PcMachine *pc, Aml *dsdt)
{
    Aml *sb = aml_scope("\\_SB");
    unsigned n = pc_is_q35(pc) ? 8 : 4;

    for (unsigned i = 0; i < n; i++) {
        char name[5] = {'L', 'N', 'K', (char)('A' + (int)i), 0};
        g_autofree char *reg = g_strdup_printf("\\_SB.PCI0.ISA.PRQ%c", 'A' + (int)i);

        aml_append(sb, pirq_link(name, reg, i));
    }
    if (pc_is_q35(pc)) {
        for (unsigned i = 0; i < 8; i++) {
            char name[5] = {'G', 'S', 'I', (char)('A' + (int)i), 0};

            aml_append(sb, fixed_link(name, 16 + i, 0x10 + i));
        }
    } else {
        aml_append(sb, fixed_link("LNKS", PC_ACPI_SCI_IRQ, 4));
    }
    aml_append(dsdt, sb);
}

/* ---- routing ---- */
/* Which PIRQ, counted from A, a pin of a slot is wired to: as the south bridges have it. */
static unsigned q35_pirq(unsigned slot, unsigned pin)
{
    if (slot >= 25) {
        return pin;
    }
    return ((slot + pin) & 3) + 4;
}

static void route(Aml *prt, unsigned slot, unsigned pin, const char *link)
{
    Aml *p = aml_package();

    aml_append(p, aml_int((uint64_t)slot << 16 | 0xffff));
    aml_append(p, aml_int(pin));
    aml_append(p, aml_ref(link));
    aml_append(p, aml_int(0));
    aml_append(prt, p);
}

static Aml *routes_i440fx(void)
{
    Aml *prt = aml_package();

    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            char link[] = "\\_SB.LNKA";

            link[8] = slot == 1 && pin == 0 ? 'S' : (char)('A' + (int)((pin + slot + 3) & 3));
            route(prt, slot, pin, link);
        }
    }
    return prt;
}

static Aml *routes_q35(bool apic)
{
    Aml *prt = aml_package();

    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            g_autofree char *link =
                g_strdup_printf("\\_SB.%s%c", apic ? "GSI" : "LNK", 'A' + (int)q35_pirq(slot, pin));

            route(prt, slot, pin, link);
        }
    }
    return prt;
}

static void routing(PcMachine *pc, Aml *root)
{
    Aml *m, *branch;

    if (!pc_is_q35(pc)) {
        aml_append(root, aml_name("_PRT", routes_i440fx()));
        return;
    }
    aml_append(root, aml_name("PRTP", routes_q35(false)));
    aml_append(root, aml_name("PRTA", routes_q35(true)));
    m = aml_method("_PRT", 0, false);
    branch = aml_if(aml_ref("\\PICF"));
    aml_append(branch, aml_return(aml_ref("PRTA")));
    aml_append(m, branch);
    aml_append(m, aml_return(aml_ref("PRTP")));
    aml_append(root, m);
}

/* The system says which interrupt controllers it uses. */
static void pic_method(Aml *dsdt)
{
    Aml *m = aml_method("\\_PIC", 1, false);

    aml_append(dsdt, aml_name("\\PICF", aml_int(0)));
    aml_append(m, aml_store(aml_arg(0), aml_ref("\\PICF")));
    aml_append(dsdt, m);
}

/*
 * _OSC (PCI Firmware 3.0, 4.5): control of PCIe capabilities goes to the system, except native
 * hot-plug and SHPC, which these ports do not have.
 */
static Aml *osc(void)
{
    Aml *m = aml_method("_OSC", 4, false), *ours, *other;

    aml_append(m, aml_create_dword_field(aml_arg(3), aml_int(0), "CDW1"));
    ours = aml_if(aml_equal(aml_arg(0), aml_uuid("33db4d5b-1ff7-401c-9657-7441c03dd766")));
    aml_append(ours, aml_create_dword_field(aml_arg(3), aml_int(8), "CDW3"));
    aml_append(ours, aml_store(aml_ref("CDW3"), aml_local(0)));
    aml_append(ours, aml_and(aml_local(0), aml_int(0x1c), aml_local(0)));
    other = aml_if(aml_lnot(aml_equal(aml_arg(1), aml_int(1))));
    aml_append(other, aml_or(aml_ref("CDW1"), aml_int(0x08), aml_ref("CDW1")));
    aml_append(ours, other);
    other = aml_if(aml_lnot(aml_equal(aml_ref("CDW3"), aml_local(0))));
    aml_append(other, aml_or(aml_ref("CDW1"), aml_int(0x10), aml_ref("CDW1")));
    aml_append(ours, other);
    aml_append(ours, aml_store(aml_local(0), aml_ref("CDW3")));
    aml_append(m, ours);
    other = aml_else();
    aml_append(other, aml_or(aml_ref("CDW1"), aml_int(0x04), aml_ref("CDW1")));
    aml_append(m, other);
    aml_append(m, aml_return(aml_arg(3)));
    return m;
}

/* Keeps systems from putting anything else where configuration space is mapped. */
static Aml *ecam_reservation(const PcMachine *pc)
{
    Aml *dev = aml_device("DRAC"), *crs = aml_resources();
    uint64_t base = pc->ecam_size ? pc->ecam_base : ECAM_DEFAULT;
    uint64_t size = pc->ecam_size ? pc->ecam_size : 256 * MiB;

    aml_append(dev, aml_name("_HID", aml_string("PNP0C01")));
    aml_append(crs, aml_memory32((uint32_t)base, (uint32_t)size, true));
    aml_append(dev, aml_name("_CRS", crs));
    return dev;
}

void pc_dsdt_pci(PcMachine *pc, Aml *dsdt)
{
    bool q35 = pc_is_q35(pc);
    Aml *sb = aml_scope("\\_SB"), *root = aml_device("PCI0"), *isa = aml_device("ISA");

    aml_append(root, aml_name("_HID", aml_eisaid(q35 ? "PNP0A08" : "PNP0A03")));
    if (q35) {
        aml_append(root, aml_name("_CID", aml_eisaid("PNP0A03")));
    }
    aml_append(root, aml_name("_UID", aml_int(0)));
    windows(pc, root);
    routing(pc, root);
    if (q35) {
        aml_append(root, osc());
        aml_append(root, ecam_reservation(pc));
    }
    aml_append(isa, aml_name("_ADR", aml_int(q35 ? 0x001f0000 : 0x00010000)));
    pirq_registers(isa, "PIRL", 0x60, 'A');
    if (q35) {
        pirq_registers(isa, "PIRH", 0x68, 'E');
    }
    aml_append(root, isa);
    aml_append(sb, root);
    if (q35) {
        pic_method(dsdt);
    }
    aml_append(dsdt, sb);
    links(pc, dsdt);
}
