/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/i386/smram.h"

#define SMRAM_BASE 0xa0000u
#define SMRAM_SIZE 0x20000u
#define HIGH_BASE 0xfeda0000u

void smram_init(Smram *s, Device *owner, PcMachine *pc, Region *pci)
{
    Machine *m = &pc->m;

    s->pc = pc;
    region_init_alias(&s->video, "smram-region", pci, SMRAM_BASE, SMRAM_SIZE);
    region_add_overlap(&m->memory, SMRAM_BASE, &s->video, 1);
    region_init_alias(&s->low, "smram-low", &pc->ram_all, SMRAM_BASE, SMRAM_SIZE);
    region_set_enabled(&s->low, false);
    region_add_overlap(&pc->smram, SMRAM_BASE, &s->low, 1);
    region_init_alias(&s->high, "smram-high", &pc->ram_all, SMRAM_BASE, SMRAM_SIZE);
    region_set_enabled(&s->high, false);
    region_add_overlap(&pc->smram, HIGH_BASE, &s->high, 1);
    region_init_alias(&s->tseg, "tseg-window", &pc->ram_all, 0, 1 * MiB);
    region_set_enabled(&s->tseg, false);
    region_add_overlap(&pc->smram, 0, &s->tseg, 1);
    region_init_reserved(&s->blackhole, "tseg-blackhole", 1 * MiB);
    region_set_enabled(&s->blackhole, false);
    region_add_overlap(&m->memory, 0, &s->blackhole, 1);
}

void smram_fini(Smram *s)
{
    region_fini(&s->video);
    region_fini(&s->low);
    region_fini(&s->high);
    region_fini(&s->tseg);
    region_fini(&s->blackhole);
}

static void set_tseg(Smram *s, uint64_t size)
{
    uint64_t top = s->pc->below_4g;

    size = MIN(size, top);
    region_set_enabled(&s->tseg, size != 0);
    region_set_enabled(&s->blackhole, size != 0);
    if (size == 0) {
        return;
    }
    region_set_size(&s->tseg, size);
    region_set_alias_offset(&s->tseg, top - size);
    region_set_address(&s->tseg, top - size);
    region_set_size(&s->blackhole, size);
    region_set_address(&s->blackhole, top - size);
}

void smram_update(Smram *s, uint8_t smram, uint8_t esmramc, uint64_t tseg_size)
{
    bool global = smram & SMRAM_G_SMRAME;
    bool open = global && (smram & SMRAM_D_OPEN);
    bool high = esmramc & ESMRAMC_H_SMRAME;

    memory_begin(s->pc->m.memsys);
    region_set_enabled(&s->video, !open || high);
    region_set_enabled(&s->low, global && !high);
    region_set_enabled(&s->high, global && high);
    set_tseg(s, global && (esmramc & ESMRAMC_T_EN) ? tseg_size : 0);
    memory_commit(s->pc->m.memsys);
}
