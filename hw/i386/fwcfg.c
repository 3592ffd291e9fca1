/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a PC's firmware reads from the firmware configuration device, apart from
 * the tables (SeaBIOS, src/fw/paravirt.c, names the items).
 */
#include "hw/i386/pc.h"

#include <string.h>

#define E820_RAM 1u
#define E820_RESERVED 2u
#define E820_ENTRY 20u
#define AMD_HT_BASE 0xfd00000000ull
#define AMD_HT_SIZE 0x0300000000ull

static void e820_add(GByteArray *t, uint64_t addr, uint64_t len, uint32_t type)
{
    uint8_t e[E820_ENTRY];

    st_le64(e, addr);
    st_le64(e + 8, len);
    st_le32(e + 16, type);
    g_byte_array_append(t, e, sizeof(e));
}

static bool add_e820(PcMachine *pc, FwCfg *f, Error **errp)
{
    g_autoptr(GByteArray) t = g_byte_array_new();

    e820_add(t, 0, pc->below_4g, E820_RAM);
    if (pc->above_4g) {
        e820_add(t, 4 * GiB, pc->above_4g, E820_RAM);
    }
    /* AMD's processors have HyperTransport below 1 TiB: nothing else may be put there. */
    if (g_str_equal(((Vcpu *)pc->m.cpus->pdata[0])->cpu.config.vendor, "AuthenticAMD")) {
        e820_add(t, AMD_HT_BASE, AMD_HT_SIZE, E820_RESERVED);
    }
    return fw_cfg_add_file(f, "etc/e820", t->data, t->len, errp);
}

/* A count, then for up to eight blocks: ID, address, minimal tick, page protection. */
static void add_hpet(PcMachine *pc, FwCfg *f)
{
    uint8_t t[1 + 8 * 15] = {0};

    if (!pc->hpet_dev) {
        return;
    }
    t[0] = 1;
    st_le32(t + 1, hpet_event_block_id(pc->hpet_dev));
    st_le64(t + 5, HPET_BASE);
    st_le16(t + 13, 100);
    fw_cfg_add_bytes(f, FW_CFG_HPET, t, sizeof(t));
}

/* Number of nodes, node of each APIC ID, memory of each node; 64 bits each. */
static void add_numa(PcMachine *pc, FwCfg *f, unsigned apic_limit)
{
    GArray *nodes = pc->m.numa;
    size_t len = (1 + apic_limit + nodes->len) * 8;
    g_autofree uint8_t *t = g_malloc0(len);

    st_le64(t, nodes->len);
    for (guint n = 0; n < nodes->len; n++) {
        const NumaNode *node = &g_array_index(nodes, NumaNode, n);

        for (guint i = 0; node->cpus && i < node->cpus->len; i++) {
            unsigned cpu = g_array_index(node->cpus, unsigned, i);

            if (cpu < pc->m.smp.max_cpus) {
                st_le64(t + 8 * (1 + (size_t)pc_apic_id(&pc->m.smp, cpu)), n);
            }
        }
        st_le64(t + 8 * (1 + (size_t)apic_limit + n), node->mem);
    }
    fw_cfg_add_bytes(f, FW_CFG_NUMA, t, len);
}

/* Which of S3, S4 and S5 there are, with the value for SLP_TYP in the low bits. */
static bool add_sleep_states(PcMachine *pc, FwCfg *f, Error **errp)
{
    uint8_t states[6] = {128, 0, 0, 1, 0, 128};

    if (!pc->pm) {
        return true;
    }
    states[3] |= (uint8_t)(pc->pm->disable_s3 ? 0 : 128);
    states[4] = (uint8_t)(pc->pm->s4_val | (pc->pm->disable_s4 ? 0 : 128));
    return fw_cfg_add_file(f, "etc/system-states", states, sizeof(states), errp);
}

bool pc_fw_cfg_init(PcMachine *pc, Error **errp)
{
    FwCfg *f = fw_cfg_new(&pc->m, errp);
    unsigned apic_limit = pc_apic_id(&pc->m.smp, pc->m.smp.max_cpus - 1) + 1;

    if (!f) {
        return false;
    }
    /* Firmware sizes its tables by the highest APIC ID, not by the number of CPUs. */
    fw_cfg_add_u16(f, FW_CFG_MAX_CPUS, (uint16_t)apic_limit);
    fw_cfg_add_u32(f, FW_CFG_IRQ0_OVERRIDE, 1);
    add_hpet(pc, f);
    add_numa(pc, f, apic_limit);
    return add_e820(pc, f, errp) && add_sleep_states(pc, f, errp);
}
