/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/acpi/tco.h"

#include "util/trace.h"

TRACE_EVENT(tco_timeout, "number %u no_reboot %d")

enum {
    TCO_RLD = 0x00,
    TCO_DAT_IN = 0x02,
    TCO_DAT_OUT = 0x03,
    TCO1_STS = 0x04,
    TCO2_STS = 0x06,
    TCO1_CNT = 0x08,
    TCO2_CNT = 0x0a,
    TCO_MESSAGE1 = 0x0c,
    TCO_MESSAGE2 = 0x0d,
    TCO_WDCNT = 0x0e,
    SW_IRQ_GEN = 0x10,
    TCO_TMR = 0x12,
};

#define TICK_NS (600 * NS_PER_MS)
#define STS1_SW_TCO_SMI 0x0002
#define STS1_TCO_INT 0x0004
#define STS1_TIMEOUT 0x0008
#define STS2_SECOND_TO 0x0002
#define STS2_BOOT 0x0004
#define CNT1_TMR_HLT 0x0800
#define CNT1_LOCK 0x1000
#define SW_IRQ_DEFAULT 0x03
#define TMR_DEFAULT 0x0004

static void arm(Tco *t)
{
    if (t->cnt1 & CNT1_TMR_HLT) {
        timer_del(&t->timer);
        return;
    }
    timer_mod(&t->timer, clock_virtual(t->machine->clocks) + (t->tmr & 0x3ff) * TICK_NS);
}

/* The ticks that are left. */
static uint16_t ticks_left(const Tco *t)
{
    int64_t left;

    if (!timer_pending(&t->timer)) {
        return t->rld;
    }
    left = timer_expire(&t->timer) - clock_virtual(t->machine->clocks);
    return left > 0 ? (uint16_t)(left / TICK_NS) & 0x3ff : 0;
}

static void expired(void *opaque)
{
    Tco *t = opaque;
    bool no_reboot = t->no_reboot && t->no_reboot(t->opaque);

    t->timeouts++;
    trace(tco_timeout, t->timeouts, no_reboot);
    t->sts1 |= STS1_TIMEOUT;
    if (t->timeouts > 1) {
        t->sts2 |= STS2_SECOND_TO;
        t->timeouts = 0;
        if (!no_reboot) {
            t->sts2 |= STS2_BOOT;
            machine_watchdog_expired(t->machine);
            return;
        }
    } else if (t->smi) {
        t->smi(t->opaque);
    }
    arm(t);
}

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    Tco *t = opaque;

    switch (off) {
    case TCO_RLD:
        return ticks_left(t);
    case TCO_DAT_IN:
        return t->dat_in | t->dat_out << 8;
    case TCO1_STS:
        return t->sts1;
    case TCO2_STS:
        return t->sts2;
    case TCO1_CNT:
        return t->cnt1;
    case TCO2_CNT:
        return t->cnt2;
    case TCO_MESSAGE1:
        return t->msg1 | t->msg2 << 8;
    case TCO_WDCNT:
        return t->wdcnt;
    case SW_IRQ_GEN:
        return t->irq_gen;
    case TCO_TMR:
        return t->tmr;
    default:
        return 0;
    }
}

static void io_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    Tco *t = opaque;

    switch (off) {
    case TCO_RLD:
        t->timeouts = 0;
        arm(t);
        break;
    case TCO_DAT_IN:
        t->dat_in = (uint8_t)v;
        t->dat_out = (uint8_t)(v >> 8);
        t->sts1 |= STS1_SW_TCO_SMI;
        break;
    case TCO1_STS:
        t->sts1 &= (uint16_t) ~(v & 0x73ff);
        break;
    case TCO2_STS:
        t->sts2 &= (uint16_t) ~(v & 0x017f);
        break;
    case TCO1_CNT:
        /* The lock bit stays until reset. */
        t->cnt1 = (uint16_t)((v & 0x0f00) | ((v | t->cnt1) & CNT1_LOCK));
        arm(t);
        break;
    case TCO2_CNT:
        t->cnt2 = (uint16_t)v & 0x3f;
        break;
    case TCO_MESSAGE1:
        t->msg1 = (uint8_t)v;
        t->msg2 = (uint8_t)(v >> 8);
        break;
    case TCO_WDCNT:
        t->wdcnt = (uint8_t)v;
        break;
    case SW_IRQ_GEN:
        t->irq_gen = (uint8_t)v & 3;
        break;
    case TCO_TMR:
        /* Values below 4 are not accepted. */
        if ((v & 0x3ff) >= 4) {
            t->tmr = (uint16_t)v & 0x3ff;
        }
        break;
    default:
        break;
    }
}

static const RegionOps io_ops = {
    .read = io_read,
    .write = io_write,
    .valid_min = 1,
    .valid_max = 4,
    .impl_min = 2,
    .impl_max = 2,
};

void tco_init(Tco *t, Device *owner)
{
    t->machine = owner->machine;
    timer_init(&t->timer, owner->machine->platform, CLOCK_VIRTUAL, expired, t);
    region_init_io(&t->io, &owner->owner, &io_ops, t, "sm-tco", 32);
}

void tco_fini(Tco *t)
{
    timer_fini(&t->timer);
    region_fini(&t->io);
}

void tco_reset(Tco *t)
{
    uint16_t booted = t->sts2 & STS2_BOOT;

    timer_del(&t->timer);
    t->rld = 0;
    t->sts1 = 0;
    t->sts2 = booted; /* tells the software that comes up what brought it there */
    t->cnt1 = CNT1_TMR_HLT;
    t->cnt2 = 0x08;
    t->tmr = TMR_DEFAULT;
    t->dat_in = t->dat_out = t->msg1 = t->msg2 = t->wdcnt = 0;
    t->irq_gen = SW_IRQ_DEFAULT;
    t->timeouts = 0;
}

static const StateField fields[] = {
    STATE_F_UINT(Tco, rld),
    STATE_F_UINT(Tco, sts1),
    STATE_F_UINT(Tco, sts2),
    STATE_F_UINT(Tco, cnt1),
    STATE_F_UINT(Tco, cnt2),
    STATE_F_UINT_MAX(Tco, tmr, 0x3ff),
    STATE_F_UINT(Tco, dat_in),
    STATE_F_UINT(Tco, dat_out),
    STATE_F_UINT(Tco, msg1),
    STATE_F_UINT(Tco, msg2),
    STATE_F_UINT(Tco, wdcnt),
    STATE_F_UINT(Tco, irq_gen),
    STATE_F_UINT_MAX(Tco, timeouts, 2),
    STATE_F_TIMER(Tco, timer),
    {0},
};
const StateDesc tco_state = {.name = "tco", .version = 1, .fields = fields};
