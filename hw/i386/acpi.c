/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ACPI tables of a PC other than the DSDT, and their way into fw_cfg.
 */
#include "hw/i386/acpi.h"

#include "hw/acpi/loader.h"
#include "hw/acpi/user.h"
#include "hw/i386/southbridge.h"

#include <string.h>

#define LEGACY_IRQS (BIT(5) | BIT(9) | BIT(10) | BIT(11)) /* level-triggered ones */
#define ECAM_DEFAULT 0xb0000000u
#define ECAM_DEFAULT_SIZE (256 * MiB)

uint16_t pc_acpi_pm_base(const PcMachine *pc)
{
    return pc->pm_base ? pc->pm_base : (uint16_t)(pc_is_q35(pc) ? ICH9_PMBASE : PIIX4_PMBASE);
}

/* ---- FADT (5.2.9, revision 3) ---- */
static void generic_address(AcpiBuild *b, uint8_t space, uint8_t bits, uint64_t addr)
{
    acpi_put(b, space, 1);
    acpi_put(b, bits, 1);
    acpi_put(b, 0, 1);
    acpi_put(b, 0, 1);
    acpi_put(b, addr, 8);
}

static void io_address(AcpiBuild *b, uint16_t port, unsigned bytes)
{
    generic_address(b, 1, (uint8_t)(bytes * 8), port);
}

enum {
    FADT_WBINVD = 1 << 0,
    FADT_PROC_C1 = 1 << 2,
    FADT_SLP_BUTTON = 1 << 5,
    FADT_RTC_S4 = 1 << 7,
    FADT_RESET_REG = 1 << 10,
    FADT_PLATFORM_CLOCK = 1 << 15,
    FADT_CLUSTER_MODEL = 1 << 18,
};

static uint32_t fadt_flags(const PcMachine *pc)
{
    uint32_t flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_RTC_S4 | FADT_RESET_REG |
                     FADT_PLATFORM_CLOCK;

    /* More than eight CPUs cannot be addressed in flat logical mode. */
    return pc->m.smp.max_cpus > 8 ? flags | FADT_CLUSTER_MODEL : flags;
}

/* Bytes 46 to 111: ports of the fixed hardware. */
static void fadt_ports(AcpiBuild *b, const PcMachine *pc, uint16_t pm, uint16_t gpe, unsigned len)
{
    acpi_put(b, pc->sci_irq, 2);
    acpi_put(b, ACPI_APM_PORT, 4);
    acpi_put(b, pc->pm->enable_cmd, 1);
    acpi_put(b, pc->pm->disable_cmd, 1);
    acpi_put(b, 0, 1); /* S4BIOS_REQ */
    acpi_put(b, 0, 1); /* PSTATE_CNT */
    acpi_put(b, pm, 4);
    acpi_put(b, 0, 4);
    acpi_put(b, pm + 4u, 4);
    acpi_put(b, 0, 4);
    acpi_put(b, 0, 4);
    acpi_put(b, pm + 8u, 4);
    acpi_put(b, gpe, 4);
    acpi_put(b, 0, 4);
    acpi_put(b, 4, 1);   /* PM1 event length */
    acpi_put(b, 2, 1);   /* PM1 control length */
    acpi_put(b, 0, 1);   /* no PM2 control */
    acpi_put(b, 4, 1);   /* timer length */
    acpi_put(b, len, 1); /* GPE0 length */
    acpi_put(b, 0, 3);   /* GPE1, _CST */
    acpi_put(b, 0xfff, 2);
    acpi_put(b, 0xfff, 2);                   /* no C2, no C3 */
    acpi_put(b, 0, 8);                       /* flush, duty, alarm */
    acpi_put(b, 0x32, 1);                    /* century */
    acpi_put(b, 1 | (pc->i8042 ? 2 : 0), 2); /* legacy devices, 8042 */
    acpi_put(b, 0, 1);
    acpi_put(b, fadt_flags(pc), 4);
}

static void add_fadt(AcpiBuild *b, PcMachine *pc, uint32_t facs, uint32_t dsdt)
{
    uint16_t pm = pc_acpi_pm_base(pc);
    uint16_t gpe = (uint16_t)(pc_is_q35(pc) ? pm + 0x20u : PIIX4_GPE0);
    unsigned gpe_len = 2 * pc->pm->gpe_len;
    uint32_t start = acpi_table_begin(b, "FACP", 3);

    acpi_put(b, 0, 8);
    acpi_pointer(b, start + 36, 4, facs);
    acpi_pointer(b, start + 40, 4, dsdt);
    acpi_put(b, 1, 1); /* ACPI 1.0's interrupt model: both controllers */
    acpi_put(b, 0, 1);
    fadt_ports(b, pc, pm, gpe, gpe_len);
    io_address(b, 0xcf9, 1); /* reset register … */
    acpi_put(b, 0x0f, 1);    /* … and what to write there */
    acpi_put(b, 0, 3);
    acpi_put(b, 0, 8); /* X_FIRMWARE_CTRL: the 32-bit one counts */
    acpi_put(b, 0, 8);
    acpi_pointer(b, start + 140, 8, dsdt);
    io_address(b, pm, 4);
    generic_address(b, 0, 0, 0);
    io_address(b, (uint16_t)(pm + 4), 2);
    generic_address(b, 0, 0, 0);
    generic_address(b, 0, 0, 0);
    io_address(b, (uint16_t)(pm + 8), 4);
    io_address(b, gpe, gpe_len);
    generic_address(b, 0, 0, 0);
    acpi_table_end(b, start, true);
}

/* ---- MADT (5.2.12) ---- */
static void madt_cpu(AcpiBuild *b, uint32_t uid, uint32_t apic_id)
{
    if (apic_id < 255) {
        acpi_put(b, 0, 1);
        acpi_put(b, 8, 1);
        acpi_put(b, uid, 1);
        acpi_put(b, apic_id, 1);
        acpi_put(b, 1, 4);
        return;
    }
    acpi_put(b, 9, 1);
    acpi_put(b, 16, 1);
    acpi_put(b, 0, 2);
    acpi_put(b, apic_id, 4);
    acpi_put(b, 1, 4);
    acpi_put(b, uid, 4);
}

static void madt_override(AcpiBuild *b, unsigned irq, unsigned gsi, uint16_t flags)
{
    acpi_put(b, 2, 1);
    acpi_put(b, 10, 1);
    acpi_put(b, 0, 1); /* ISA */
    acpi_put(b, irq, 1);
    acpi_put(b, gsi, 4);
    acpi_put(b, flags, 2);
}

static void add_madt(AcpiBuild *b, PcMachine *pc)
{
    uint32_t start = acpi_table_begin(b, "APIC", 1);
    bool x2apic = false;

    acpi_put(b, APIC_DEFAULT_BASE, 4);
    acpi_put(b, pc->i8259 ? 1 : 0, 4); /* PCAT_COMPAT */
    for (unsigned i = 0; i < pc->m.smp.cpus; i++) {
        uint32_t id = pc_apic_id(&pc->m.smp, i);

        madt_cpu(b, i, id);
        x2apic |= id >= 255;
    }
    acpi_put(b, 1, 1); /* I/O APIC 0 from interrupt 0 */
    acpi_put(b, 12, 1);
    acpi_put(b, 0, 2);
    acpi_put(b, IOAPIC_DEFAULT_BASE, 4);
    acpi_put(b, 0, 4);
    madt_override(b, 0, 2, 0);
    for (unsigned irq = 1; irq < 16; irq++) {
        if (LEGACY_IRQS & BIT(irq)) {
            madt_override(b, irq, irq, 0x0d); /* active high, level */
        }
    }
    if (x2apic) {
        acpi_put(b, 0x0a, 1);
        acpi_put(b, 12, 1);
        acpi_put(b, 0, 2);
        acpi_put(b, 0xffffffff, 4);
        acpi_put(b, 1, 1);
        acpi_put(b, 0, 3);
    } else {
        acpi_put(b, 4, 1); /* NMI: LINT1 of all */
        acpi_put(b, 6, 1);
        acpi_put(b, 0xff, 1);
        acpi_put(b, 0, 2);
        acpi_put(b, 1, 1);
    }
    acpi_table_end(b, start, true);
}

/* ---- HPET, MCFG, WAET ---- */
static void add_hpet(AcpiBuild *b, PcMachine *pc)
{
    uint32_t start;

    if (!pc->hpet_dev) {
        return;
    }
    start = acpi_table_begin(b, "HPET", 1);
    acpi_put(b, hpet_event_block_id(pc->hpet_dev), 4);
    generic_address(b, 0, 0, HPET_BASE);
    acpi_put(b, 0, 1);
    acpi_put(b, 0, 2);
    acpi_put(b, 0, 1);
    acpi_table_end(b, start, true);
}

static void add_mcfg(AcpiBuild *b, PcMachine *pc)
{
    uint64_t base = pc->ecam_size ? pc->ecam_base : ECAM_DEFAULT;
    uint64_t size = pc->ecam_size ? pc->ecam_size : ECAM_DEFAULT_SIZE;
    uint32_t start;

    if (!pc_is_q35(pc)) {
        return;
    }
    start = acpi_table_begin(b, "MCFG", 1);
    acpi_put(b, 0, 8);
    acpi_put(b, base, 8);
    acpi_put(b, 0, 2);
    acpi_put(b, 0, 1);
    acpi_put(b, size / MiB - 1, 1);
    acpi_put(b, 0, 4);
    acpi_table_end(b, start, true);
}

/* Windows: the power-management timer needs to be read only once. */
static void add_waet(AcpiBuild *b)
{
    uint32_t start = acpi_table_begin(b, "WAET", 1);

    acpi_put(b, 2, 4);
    acpi_table_end(b, start, true);
}

/* ---- SRAT, SLIT ---- */
static unsigned node_of(PcMachine *pc, unsigned cpu)
{
    for (guint n = 0; n < pc->m.numa->len; n++) {
        const NumaNode *node = &g_array_index(pc->m.numa, NumaNode, n);

        for (guint i = 0; node->cpus && i < node->cpus->len; i++) {
            if (g_array_index(node->cpus, unsigned, i) == cpu) {
                return n;
            }
        }
    }
    return 0;
}

static void srat_cpu(AcpiBuild *b, uint32_t apic_id, uint32_t node)
{
    if (apic_id < 255) {
        acpi_put(b, 0, 1);
        acpi_put(b, 16, 1);
        acpi_put(b, node & 0xff, 1);
        acpi_put(b, apic_id, 1);
        acpi_put(b, 1, 4);
        acpi_put(b, 0, 1);
        acpi_put(b, node >> 8, 3);
        acpi_put(b, 0, 4);
        return;
    }
    acpi_put(b, 2, 1);
    acpi_put(b, 24, 1);
    acpi_put(b, 0, 2);
    acpi_put(b, node, 4);
    acpi_put(b, apic_id, 4);
    acpi_put(b, 1, 4);
    acpi_put(b, 0, 8);
}

static void srat_memory(AcpiBuild *b, uint64_t base, uint64_t len, uint32_t node)
{
    if (!len) {
        return;
    }
    acpi_put(b, 1, 1);
    acpi_put(b, 40, 1);
    acpi_put(b, node, 4);
    acpi_put(b, 0, 2);
    acpi_put(b, base, 8);
    acpi_put(b, len, 8);
    acpi_put(b, 0, 4);
    acpi_put(b, 1, 4);
    acpi_put(b, 0, 8);
}

/* RAM offset `at` of `len` bytes as guest addresses: below and above the hole. */
static void srat_span(AcpiBuild *b, PcMachine *pc, uint64_t at, uint64_t len, uint32_t node)
{
    uint64_t low = at < pc->below_4g ? MIN(len, pc->below_4g - at) : 0;

    srat_memory(b, at, low, node);
    if (len > low) {
        srat_memory(b, 4 * GiB + at + low - pc->below_4g, len - low, node);
    }
}

static void add_srat(AcpiBuild *b, PcMachine *pc)
{
    uint32_t start = acpi_table_begin(b, "SRAT", 1);
    uint64_t at = 0;

    acpi_put(b, 1, 4);
    acpi_put(b, 0, 8);
    for (unsigned i = 0; i < pc->m.smp.cpus; i++) {
        srat_cpu(b, pc_apic_id(&pc->m.smp, i), node_of(pc, i));
    }
    for (guint n = 0; n < pc->m.numa->len; n++) {
        uint64_t mem = g_array_index(pc->m.numa, NumaNode, n).mem;

        srat_span(b, pc, at, mem, n);
        at += mem;
    }
    acpi_table_end(b, start, true);
}

static void add_slit(AcpiBuild *b, PcMachine *pc)
{
    guint nodes = pc->m.numa->len;
    bool given = false;
    uint32_t start;

    for (guint i = 0; i < nodes * nodes; i++) {
        given |= g_array_index(pc->m.numa, NumaNode, i / nodes).distance[i % nodes] != 0;
    }
    if (!given) {
        return;
    }
    start = acpi_table_begin(b, "SLIT", 1);
    acpi_put(b, nodes, 8);
    for (guint i = 0; i < nodes * nodes; i++) {
        uint8_t d = g_array_index(pc->m.numa, NumaNode, i / nodes).distance[i % nodes];
        uint8_t back = g_array_index(pc->m.numa, NumaNode, i % nodes).distance[i / nodes];

        acpi_put(b, i / nodes == i % nodes ? 10 : d ? d : back ? back : 20, 1);
    }
    acpi_table_end(b, start, true);
}

/* ---- FACS and DSDT ---- */
static uint32_t add_facs(AcpiBuild *b)
{
    uint32_t start = b->tables->len; /* 0: it must lie on 64 bytes */

    g_byte_array_append(b->tables, (const uint8_t *)"FACS", 4);
    acpi_put(b, 64, 4);
    for (unsigned i = 8; i < 64; i += 8) {
        acpi_put(b, 0, 8);
    }
    return start;
}

static uint32_t add_dsdt(AcpiBuild *b, PcMachine *pc)
{
    uint32_t start = acpi_table_begin(b, "DSDT", 1);
    GByteArray *aml = aml_finish(pc_dsdt(pc));

    g_byte_array_append(b->tables, aml->data, aml->len);
    g_byte_array_free(aml, TRUE);
    acpi_table_end(b, start, false);
    return start;
}

static AcpiBuild *build(PcMachine *pc)
{
    AcpiBuild *b = acpi_build_new(pc->oem_id, pc->oem_table_id);
    uint32_t facs = add_facs(b), dsdt = add_dsdt(b, pc);

    add_fadt(b, pc, facs, dsdt);
    add_madt(b, pc);
    add_hpet(b, pc);
    if (pc->m.numa->len) {
        add_srat(b, pc);
        add_slit(b, pc);
    }
    add_mcfg(b, pc);
    add_waet(b);
    for (guint i = 0; pc->user_tables && i < pc->user_tables->len; i++) {
        GByteArray *t = pc->user_tables->pdata[i];

        acpi_table_add(b, t->data, t->len);
    }
    acpi_build_finish(b);
    return b;
}

/*
 * Firmware has set up the chips by the time it reads the tables, so they are made anew then.
 * Only values change, never sizes.
 */
static void refresh(void *opaque)
{
    PcMachine *pc = opaque;
    AcpiBuild *b = build(pc);
    size_t len;

    if (fw_cfg_file_data(pc->m.fw_cfg, ACPI_FILE_TABLES, &len) && len == b->tables->len) {
        fw_cfg_modify_file(pc->m.fw_cfg, ACPI_FILE_TABLES, b->tables->data, len, NULL);
    }
    acpi_build_free(b);
}

bool pc_acpi_init(PcMachine *pc, Error **errp)
{
    AcpiBuild *b;
    FwCfg *f = pc->m.fw_cfg;
    bool ok;

    if (!pc->pm || !pc_auto(pc->acpi, true)) {
        return true;
    }
    pc->user_tables = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    for (size_t i = 0; pc->m.acpitables && i < json_length(pc->m.acpitables); i++) {
        GByteArray *t = acpi_user_table(json_at(pc->m.acpitables, i), errp);

        if (!t) {
            return false;
        }
        g_ptr_array_add(pc->user_tables, t);
    }
    b = build(pc);
    ok = fw_cfg_add_file_callback(f, ACPI_FILE_TABLES, refresh, NULL, pc, b->tables->data,
                                  b->tables->len, false, errp) &&
         fw_cfg_add_file(f, ACPI_FILE_RSDP, b->rsdp->data, b->rsdp->len, errp) &&
         fw_cfg_add_file(f, ACPI_FILE_LOADER, b->script->data, b->script->len, errp);
    acpi_build_free(b);
    return ok;
}
