/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machine-check errors from outside. */
#include "target/i386/mce.h"

enum { BANK_CTL, BANK_STATUS, BANK_ADDR, BANK_MISC, BANK_REGS };

#define MCG_CAP_BANKS 0xffu
#define MCG_CAP_CTL_P (1ull << 8)

bool cpu_mce_check(const CPUX86 *cpu, const MceError *e, Error **errp)
{
    unsigned banks = cpu->mcg_cap & MCG_CAP_BANKS;
    if (!banks) {
        error_set(errp, "CPU %u has no machine-check banks", cpu->index);
        error_hint(errp, "-cpu needs the features mce and mca\n");
        return false;
    }
    if (e->bank >= banks) {
        error_set(errp, "CPU %u has no bank %u, only 0 to %u", cpu->index, e->bank, banks - 1);
        return false;
    }
    if (!(e->status & MCI_STATUS_VAL)) {
        error_set(errp, "the status has no valid bit (63)");
        return false;
    }
    return true;
}

bool cpu_mce_broadcasts(const CPUX86 *cpu)
{
    return cpu->config.family > 6 || (cpu->config.family == 6 && cpu->config.model >= 14);
}

static bool inject_uncorrected(CPUX86 *cpu, uint64_t *bank, const MceError *e)
{
    bool reported = !(cpu->mcg_cap & MCG_CAP_CTL_P) || cpu->mcg_ctl == UINT64_MAX;
    if (!reported || bank[BANK_CTL] != UINT64_MAX) {
        return false; /* the guest has switched the report off */
    }
    if (cpu->mcg_status & MCG_STATUS_MCIP) {
        cpu->mce_again = true;
        return true;
    }
    uint64_t over = bank[BANK_STATUS] & MCI_STATUS_VAL ? MCI_STATUS_OVER : 0;
    bank[BANK_ADDR] = e->addr;
    bank[BANK_MISC] = e->misc;
    bank[BANK_STATUS] = e->status | over;
    cpu->mcg_status = e->mcg_status;
    return true;
}

bool cpu_mce_inject(CPUX86 *cpu, const MceError *e)
{
    uint64_t *bank = &cpu->mce_banks[e->bank * BANK_REGS];
    if (e->status & MCI_STATUS_UC) {
        return inject_uncorrected(cpu, bank, e);
    }
    /* A corrected error gives way to an uncorrected one that is noted, and interrupts nobody. */
    if ((bank[BANK_STATUS] & (MCI_STATUS_VAL | MCI_STATUS_UC)) ==
        (MCI_STATUS_VAL | MCI_STATUS_UC)) {
        bank[BANK_STATUS] |= MCI_STATUS_OVER;
        return false;
    }
    uint64_t over = bank[BANK_STATUS] & MCI_STATUS_VAL ? MCI_STATUS_OVER : 0;
    bank[BANK_ADDR] = e->addr;
    bank[BANK_MISC] = e->misc;
    bank[BANK_STATUS] = e->status | over;
    return false;
}
