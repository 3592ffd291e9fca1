/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/acpi/pm.h: the ACPI fixed hardware that south bridges have: PM1 event and
 * control registers, the power-management timer, a GPE block, and the APM ports
 * (ACPI 6.3, chapter 4; Intel 82371AB and ICH9 data sheets).
 *
 * Embedded by PIIX4_PM and ICH9-LPC.  All with the platform loop's lock held.
 */
#ifndef RHEA_HW_ACPI_PM_H
#define RHEA_HW_ACPI_PM_H

#include "hw/core/device.h"
#include "hw/core/machine.h"

#define ACPI_PM1_TMR_STS BIT(0)
#define ACPI_PM1_BM_STS BIT(4)
#define ACPI_PM1_GBL_STS BIT(5)
#define ACPI_PM1_PWRBTN_STS BIT(8)
#define ACPI_PM1_SLPBTN_STS BIT(9)
#define ACPI_PM1_RTC_STS BIT(10)
#define ACPI_PM1_WAK_STS BIT(15)
#define ACPI_PM1_CNT_SCI_EN BIT(0)
#define ACPI_PM1_CNT_SLP_EN BIT(13)

#define ACPI_PM_TIMER_HZ 3579545
#define ACPI_APM_PORT 0xb2
#define ACPI_GPE_MAX 8

typedef struct AcpiPm {
    Machine *machine;
    IrqLine sci;
    /* Called after each write to the APM control port, before its SMI. May be NULL. */
    void (*apm_written)(void *opaque, uint8_t value);
    /* The machine wakes from S3: tell the firmware that the coming reset is no start. */
    void (*woken)(void *opaque);
    void *opaque;
    uint8_t enable_cmd, disable_cmd; /* what switches ACPI on and off through the APM port */
    uint8_t s4_val;                  /* SLP_TYP of S4 */
    bool disable_s3, disable_s4;

    uint16_t pm1_sts, pm1_en, pm1_cnt;
    uint8_t gpe_sts[ACPI_GPE_MAX], gpe_en[ACPI_GPE_MAX];
    uint32_t gpe_len; /* bytes of each half */
    uint8_t apm_cnt, apm_sts;
    bool sci_level;
    Timer overflow;

    Region evt, cnt, tmr, gpe, apm;
} AcpiPm;

/*
 * Makes the regions evt (4 bytes), cnt (2), tmr (4), gpe (2 * gpe_len); the owner maps them.
 * The APM ports are put at b2h of the machine's I/O space.  Registers the power button with the
 * machine.
 */
void acpi_pm_init(AcpiPm *pm, Device *owner, unsigned gpe_len);
void acpi_pm_fini(AcpiPm *pm);
void acpi_pm_reset(AcpiPm *pm);
/* Recomputes SCI and the timer for its overflow. */
void acpi_pm_update(AcpiPm *pm);
/* Is the reset that happens now the end of a suspend to RAM? */
static inline bool acpi_pm_waking(const AcpiPm *pm)
{
    return pm->pm1_sts & ACPI_PM1_WAK_STS;
}
void acpi_pm_set_gpe(AcpiPm *pm, unsigned bit); /* an event: status bit and perhaps SCI */
/* RTC alarm, level as from mc146818_set_alarm_line(). */
IrqLine acpi_pm_rtc_line(AcpiPm *pm);
extern const StateDesc acpi_pm_state;

#endif
