/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/acpi/pm.h"

#include "util/log.h"
#include "util/trace.h"

#include <assert.h>

TRACE_EVENT(acpi_pm1_cnt, "value 0x%x")
TRACE_EVENT(acpi_pm_sci, "level %d sts 0x%x en 0x%x")
TRACE_EVENT(acpi_apm, "command 0x%02x")

#define WRITABLE_EN                                                                    \
    (ACPI_PM1_TMR_STS | ACPI_PM1_GBL_STS | ACPI_PM1_PWRBTN_STS | ACPI_PM1_SLPBTN_STS | \
     ACPI_PM1_RTC_STS)
#define CLEARABLE_STS (WRITABLE_EN | ACPI_PM1_BM_STS | ACPI_PM1_WAK_STS)

/* ---- the 24-bit timer ---- */
static uint64_t ticks(const AcpiPm *pm)
{
    uint64_t ns = (uint64_t)clock_virtual(pm->machine->clocks);

    /* Seconds and rest apart, so that nothing overflows. */
    return ns / NS_PER_SEC * ACPI_PM_TIMER_HZ + ns % NS_PER_SEC * ACPI_PM_TIMER_HZ / NS_PER_SEC;
}

/* TMR_STS is set whenever bit 23 changes. */
static void arm_overflow(AcpiPm *pm)
{
    uint64_t next;

    if (!(pm->pm1_en & ACPI_PM1_TMR_STS) || (pm->pm1_sts & ACPI_PM1_TMR_STS)) {
        timer_del(&pm->overflow);
        return;
    }
    next = (ticks(pm) | 0x7fffff) + 1;
    timer_mod(&pm->overflow,
              (int64_t)(next / ACPI_PM_TIMER_HZ * NS_PER_SEC +
                        next % ACPI_PM_TIMER_HZ * NS_PER_SEC / ACPI_PM_TIMER_HZ + 1));
}

static void overflowed(void *opaque)
{
    AcpiPm *pm = opaque;

    pm->pm1_sts |= ACPI_PM1_TMR_STS;
    acpi_pm_update(pm);
}

void acpi_pm_update(AcpiPm *pm)
{
    bool level = (pm->pm1_sts & pm->pm1_en & WRITABLE_EN) != 0;

    for (unsigned i = 0; i < pm->gpe_len; i++) {
        level |= (pm->gpe_sts[i] & pm->gpe_en[i]) != 0;
    }
    level = level && (pm->pm1_cnt & ACPI_PM1_CNT_SCI_EN);
    if (level != pm->sci_level) {
        trace(acpi_pm_sci, level, pm->pm1_sts, pm->pm1_en);
        pm->sci_level = level;
        irq_set(pm->sci, level);
    }
    arm_overflow(pm);
}

static uint64_t tmr_read(void *opaque, hwaddr off, unsigned size)
{
    return ticks(opaque) & 0xffffff;
}

static void tmr_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    /* Read-only. */
}

static const RegionOps tmr_ops = {
    .read = tmr_read,
    .write = tmr_write,
    .valid_min = 1,
    .valid_max = 4,
    .impl_min = 4,
    .impl_max = 4,
};

/* ---- PM1 ---- */
static uint64_t evt_read(void *opaque, hwaddr off, unsigned size)
{
    AcpiPm *pm = opaque;

    return off == 0 ? pm->pm1_sts : pm->pm1_en;
}

static void evt_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    AcpiPm *pm = opaque;

    if (off == 0) {
        pm->pm1_sts &= (uint16_t) ~(v & CLEARABLE_STS);
    } else {
        pm->pm1_en = (uint16_t)(v & WRITABLE_EN);
    }
    acpi_pm_update(pm);
}

static const RegionOps evt_ops = {
    .read = evt_read,
    .write = evt_write,
    .valid_min = 1,
    .valid_max = 4,
    .impl_min = 2,
    .impl_max = 2,
};

/* SLP_TYP as the DSDT's \_S3, \_S4 and \_S5 give it. */
static void enter_sleep(AcpiPm *pm)
{
    unsigned type = (pm->pm1_cnt >> 10) & 7;
    Machine *m = pm->machine;

    if (type == 0) {
        machine_request_shutdown(m, SHUTDOWN_GUEST, 0);
    } else if (type == 1 && !pm->disable_s3 && m->hooks && m->hooks->suspend) {
        m->hooks->suspend(m);
    } else if (type == pm->s4_val && !pm->disable_s4) {
        machine_event(m, "SUSPEND_DISK", NULL);
        machine_request_shutdown(m, SHUTDOWN_GUEST, 0);
    } else {
        guest_error("acpi", "sleep type %u is none of this machine's", type);
    }
}

static uint64_t cnt_read(void *opaque, hwaddr off, unsigned size)
{
    return ((AcpiPm *)opaque)->pm1_cnt;
}

static void cnt_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    AcpiPm *pm = opaque;

    trace(acpi_pm1_cnt, (unsigned)v);
    /* SLP_EN reads as 0; SCI_EN is the firmware's, GBL_RLS is an event that nobody takes. */
    pm->pm1_cnt = (uint16_t)(v & ~(ACPI_PM1_CNT_SLP_EN | BIT(2)));
    if (v & ACPI_PM1_CNT_SLP_EN) {
        enter_sleep(pm);
    }
    acpi_pm_update(pm);
}

static const RegionOps cnt_ops = {
    .read = cnt_read,
    .write = cnt_write,
    .valid_min = 1,
    .valid_max = 2,
    .impl_min = 2,
    .impl_max = 2,
};

/* ---- GPE ---- */
static uint64_t gpe_read(void *opaque, hwaddr off, unsigned size)
{
    AcpiPm *pm = opaque;

    return off < pm->gpe_len ? pm->gpe_sts[off] : pm->gpe_en[off - pm->gpe_len];
}

static void gpe_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    AcpiPm *pm = opaque;

    if (off < pm->gpe_len) {
        pm->gpe_sts[off] &= (uint8_t)~v;
    } else {
        pm->gpe_en[off - pm->gpe_len] = (uint8_t)v;
    }
    acpi_pm_update(pm);
}

static const RegionOps gpe_ops = {
    .read = gpe_read,
    .write = gpe_write,
    .valid_min = 1,
    .valid_max = 4,
    .impl_min = 1,
    .impl_max = 1,
};

void acpi_pm_set_gpe(AcpiPm *pm, unsigned bit)
{
    assert(bit < pm->gpe_len * 8);
    pm->gpe_sts[bit / 8] |= (uint8_t)(1u << (bit % 8));
    acpi_pm_update(pm);
}

/* ---- APM ports ---- */
static uint64_t apm_read(void *opaque, hwaddr off, unsigned size)
{
    AcpiPm *pm = opaque;

    return off == 0 ? pm->apm_cnt : pm->apm_sts;
}

static void apm_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    AcpiPm *pm = opaque;

    if (off == 1) {
        pm->apm_sts = (uint8_t)v;
        return;
    }
    trace(acpi_apm, (unsigned)v);
    pm->apm_cnt = (uint8_t)v;
    /* The firmware's SMI handler would do just this. */
    if (v == pm->enable_cmd) {
        pm->pm1_cnt |= ACPI_PM1_CNT_SCI_EN;
    } else if (v == pm->disable_cmd) {
        pm->pm1_cnt &= (uint16_t)~ACPI_PM1_CNT_SCI_EN;
    }
    acpi_pm_update(pm);
    if (pm->apm_written) {
        pm->apm_written(pm->opaque, (uint8_t)v);
    }
}

static const RegionOps apm_ops = {
    .read = apm_read,
    .write = apm_write,
    .valid_min = 1,
    .valid_max = 2,
    .impl_min = 1,
    .impl_max = 1,
};

/* ---- button, wake-up, RTC ---- */
static void power_button(void *opaque)
{
    AcpiPm *pm = opaque;

    pm->pm1_sts |= ACPI_PM1_PWRBTN_STS;
    acpi_pm_update(pm);
}

static void wake(void *opaque, const char *why)
{
    AcpiPm *pm = opaque;

    pm->pm1_sts |= ACPI_PM1_WAK_STS;
    if (g_str_equal(why, "rtc")) {
        pm->pm1_sts |= ACPI_PM1_RTC_STS;
    } else if (g_str_equal(why, "pmtimer")) {
        pm->pm1_sts |= ACPI_PM1_TMR_STS;
    } else {
        /* Without a cause, systems take it for a press of the button and stay awake. */
        pm->pm1_sts |= ACPI_PM1_PWRBTN_STS;
    }
    if (pm->woken) {
        pm->woken(pm->opaque);
    }
    machine_request_reset(pm->machine, RESET_HOST);
}

static void rtc_alarm(void *opaque, int n, int level)
{
    AcpiPm *pm = opaque;

    if (level) {
        pm->pm1_sts |= ACPI_PM1_RTC_STS;
        acpi_pm_update(pm);
        if (pm->pm1_en & ACPI_PM1_RTC_STS && pm->machine->hooks && pm->machine->hooks->wakeup) {
            pm->machine->hooks->wakeup(pm->machine, "rtc");
        }
    }
}

IrqLine acpi_pm_rtc_line(AcpiPm *pm)
{
    return (IrqLine){.set = rtc_alarm, .opaque = pm};
}

/* ---- life ---- */
void acpi_pm_init(AcpiPm *pm, Device *owner, unsigned gpe_len)
{
    Machine *m = owner->machine;

    assert(gpe_len <= ACPI_GPE_MAX);
    pm->machine = m;
    pm->gpe_len = gpe_len;
    timer_init(&pm->overflow, m->platform, CLOCK_VIRTUAL, overflowed, pm);
    region_init_io(&pm->evt, &owner->owner, &evt_ops, pm, "acpi-evt", 4);
    region_init_io(&pm->cnt, &owner->owner, &cnt_ops, pm, "acpi-cnt", 2);
    region_init_io(&pm->tmr, &owner->owner, &tmr_ops, pm, "acpi-tmr", 4);
    region_init_io(&pm->gpe, &owner->owner, &gpe_ops, pm, "acpi-gpe0", 2 * gpe_len);
    region_init_io(&pm->apm, &owner->owner, &apm_ops, pm, "apm-io", 2);
    region_add(&m->io, ACPI_APM_PORT, &pm->apm);
    m->power_button = power_button;
    m->wake = wake;
    m->power_opaque = pm;
}

void acpi_pm_fini(AcpiPm *pm)
{
    Machine *m = pm->machine;

    if (m->power_opaque == pm) {
        m->power_button = NULL;
        m->wake = NULL;
        m->power_opaque = NULL;
    }
    irq_set(pm->sci, 0);
    timer_fini(&pm->overflow);
    region_fini(&pm->evt);
    region_fini(&pm->cnt);
    region_fini(&pm->tmr);
    region_fini(&pm->gpe);
    region_fini(&pm->apm);
}

void acpi_pm_reset(AcpiPm *pm)
{
    /* What woke the machine survives the reset that its wake-up is. */
    uint16_t woken = pm->pm1_sts & ACPI_PM1_WAK_STS ? pm->pm1_sts : 0;

    pm->pm1_sts = woken;
    pm->pm1_en = 0;
    pm->pm1_cnt = 0;
    memset(pm->gpe_sts, 0, sizeof(pm->gpe_sts));
    memset(pm->gpe_en, 0, sizeof(pm->gpe_en));
    pm->apm_cnt = pm->apm_sts = 0;
    acpi_pm_update(pm);
}

static void state_loaded(void *obj)
{
    AcpiPm *pm = obj;

    pm->sci_level = !pm->sci_level; /* makes update() drive the line whatever it was */
    acpi_pm_update(pm);
    if (!pm->sci_level) {
        irq_set(pm->sci, 0);
    }
}

static const StateField fields[] = {
    STATE_F_UINT(AcpiPm, pm1_sts),
    STATE_F_UINT(AcpiPm, pm1_en),
    STATE_F_UINT(AcpiPm, pm1_cnt),
    STATE_F_UINT_ARRAY(AcpiPm, gpe_sts),
    STATE_F_UINT_ARRAY(AcpiPm, gpe_en),
    STATE_F_UINT(AcpiPm, apm_cnt),
    STATE_F_UINT(AcpiPm, apm_sts),
    STATE_F_TIMER(AcpiPm, overflow),
    {0},
};
const StateDesc acpi_pm_state = {
    .name = "acpi-pm", .version = 1, .fields = fields, .loaded = state_loaded};
