/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HMP's `mce`: machine-check errors for the guest. */
#include "accel/accel.h"
#include "monitor/internal.h"
#include "target/i386/mce.h"
#include "util/option.h"

static void inject(Vcpu *v, void *opaque)
{
    bool interrupts;

    if (!vcpu_sync_out(v, NULL)) {
        return; /* the engine cannot go on with this CPU, and will say so */
    }
    interrupts = cpu_mce_inject(&v->cpu, opaque);
    vcpu_sync_in(v, NULL);
    if (interrupts) {
        vcpu_interrupt(v, IRQ_MCE);
    }
}

static bool number(Hmp *h, unsigned i, uint64_t *v, Error **errp)
{
    static const char *const names[] = {"cpu", "bank", "status", "mcgstatus", "addr", "misc"};
    const char *text = hmp_arg(h, i);
    unsigned name = hmp_arg(h, 0) && !strcmp(hmp_arg(h, 0), "-b") ? i - 1 : i;
    if (!text || !parse_uint(text, v)) {
        error_set(errp, text ? "%s is not a number: %s" : "%s is missing", names[name], text);
        error_hint(errp, "mce [-b] cpu bank status mcgstatus addr misc\n");
        return false;
    }
    return true;
}

bool hmp_mce(Hmp *h, Error **errp)
{
    bool broadcast = hmp_arg(h, 0) && !strcmp(hmp_arg(h, 0), "-b");
    uint64_t v[6];
    for (unsigned i = 0; i < 6; i++) {
        if (!number(h, i + broadcast, &v[i], errp)) {
            return false;
        }
    }
    if (!h->machine || v[0] >= h->machine->cpus->len) {
        error_set(errp, "invalid CPU index");
        return false;
    }
    Vcpu *target = h->machine->cpus->pdata[v[0]];
    MceError e = {v[1] > UINT32_MAX ? UINT32_MAX : (unsigned)v[1], v[2], v[3], v[4], v[5]};
    if (!cpu_mce_check(&target->cpu, &e, errp)) {
        return false;
    }
    if (broadcast && !cpu_mce_broadcasts(&target->cpu)) {
        error_set(errp, "the guest's CPU model does not broadcast machine checks");
        return false;
    }
    vcpu_run_on(target, inject, &e);
    /* The others learn that something happened elsewhere. */
    MceError other = {1, MCI_STATUS_VAL | MCI_STATUS_UC, MCG_STATUS_MCIP | MCG_STATUS_RIPV, 0, 0};
    for (unsigned i = 0; broadcast && i < h->machine->cpus->len; i++) {
        if (i != v[0]) {
            vcpu_run_on(h->machine->cpus->pdata[i], inject, &other);
        }
    }
    return true;
}
