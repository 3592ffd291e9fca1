/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The real-time clock.  While it runs, the time registers are computed from the
 * machine's clock; while it is held (SET, or the divider in reset) they are the
 * bytes the guest wrote.  Flags that nobody asked to be interrupted for are
 * worked out when register C is read, so an idle clock needs no timer.
 */
#include "hw/timer/mc146818.h"

#include "hw/core/machine.h"
#include "util/log.h"
#include "util/trace.h"

#include <time.h>

TRACE_EVENT(mc146818_write, "index 0x%02x value 0x%02x")
TRACE_EVENT(mc146818_irq, "flags 0x%02x")

enum {
    R_SECONDS = 0,
    R_SECONDS_ALARM = 1,
    R_MINUTES = 2,
    R_MINUTES_ALARM = 3,
    R_HOURS = 4,
    R_HOURS_ALARM = 5,
    R_WEEKDAY = 6,
    R_DAY = 7,
    R_MONTH = 8,
    R_YEAR = 9,
    R_A = 10,
    R_B = 11,
    R_C = 12,
    R_D = 13,
    R_CENTURY = 0x32,
    R_CENTURY_PS2 = 0x37, /* where IBM's PS/2 has it */
};
#define A_UIP 0x80
#define A_DIVIDER 0x70
#define A_RUN 0x20 /* the divider for a 32768 Hz crystal */
#define A_RATE 0x0f
#define B_SET 0x80
#define B_PIE 0x40
#define B_AIE 0x20
#define B_UIE 0x10
#define B_BINARY 0x04
#define B_24H 0x02
#define C_IRQF 0x80
#define C_PF 0x40
#define C_AF 0x20
#define C_UF 0x10

#define CRYSTAL 32768
#define UIP_NS (244 * NS_PER_US) /* UIP is set so long before an update */
#define DAY 86400
#define SECONDS_MAX (1ll << 40) /* from 1970: no year a guest can set is farther away */

typedef enum TickPolicy { POLICY_DISCARD, POLICY_DELAY, POLICY_MERGE, POLICY_SLEW } TickPolicy;
static const char *const policy_names[] = {"discard", "delay", "merge", "slew", NULL};

struct Mc146818 {
    IsaDevice isa;
    Region index_io, data_io;
    IrqLine irq, alarm;
    /* properties */
    uint8_t irq_number;
    uint16_t iobase;
    int32_t base_year;
    int policy;

    uint8_t cmos[128];
    uint8_t index;
    /*
     * The guest's wall clock = the chosen clock + these, while running.  Seconds and the rest
     * apart: the year 9999 is not to be had in 64 bits of nanoseconds.
     */
    int64_t offset_s, offset_ns;
    int64_t last_second;    /* UF and AF have been worked out up to this second */
    int64_t periodic_start; /* CLOCK_VIRTUAL when the divider was started */
    int64_t last_period;    /* number of the last period seen */
    uint32_t lost;          /* periodic interrupts to be made up for (slew) */
    Timer periodic_timer, second_timer;
    int64_t host_offset_s, host_offset_ns; /* as realize found it: what RTC_CHANGE is relative to */
};

#define MC146818(o) OBJECT_CAST(Mc146818, o, TYPE_MC146818)

static ClockSet *clocks(const Mc146818 *s)
{
    return s->isa.dev.machine->clocks;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* The guest's time in seconds; *fraction (or NULL): nanoseconds into this second. */
static int64_t wall_time(const Mc146818 *s, int64_t *fraction)
{
    int64_t ns = clock_now(clocks(s), s->isa.dev.machine->rtc_clock) + s->offset_ns;
    int64_t seconds = floor_div(ns, NS_PER_SEC);

    if (fraction) {
        *fraction = ns - seconds * NS_PER_SEC;
    }
    return seconds + s->offset_s;
}

static int64_t wall_seconds(const Mc146818 *s)
{
    return wall_time(s, NULL);
}

/* Makes it `seconds` and `fraction` now. */
static void set_wall_time(Mc146818 *s, int64_t seconds, int64_t fraction)
{
    int64_t now = clock_now(clocks(s), s->isa.dev.machine->rtc_clock);
    int64_t now_s = floor_div(now, NS_PER_SEC), rest = fraction - (now - now_s * NS_PER_SEC);

    s->offset_s = seconds - now_s - (rest < 0);
    s->offset_ns = rest < 0 ? rest + NS_PER_SEC : rest;
}

static bool running(const Mc146818 *s)
{
    return !(s->cmos[R_B] & B_SET) && (s->cmos[R_A] & A_DIVIDER) <= A_RUN;
}

/* ---- time registers ---- */

static uint8_t encode(const Mc146818 *s, int v)
{
    return (uint8_t)(s->cmos[R_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static int decode(const Mc146818 *s, uint8_t v)
{
    return s->cmos[R_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const Mc146818 *s, int h)
{
    if (s->cmos[R_B] & B_24H) {
        return encode(s, h);
    }
    return (uint8_t)(encode(s, h % 12 ? h % 12 : 12) | (h >= 12 ? 0x80 : 0));
}

static int decode_hour(const Mc146818 *s, uint8_t v)
{
    if (s->cmos[R_B] & B_24H) {
        return decode(s, v);
    }
    return decode(s, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

static void set_century(Mc146818 *s, uint8_t v)
{
    s->cmos[R_CENTURY] = s->cmos[R_CENTURY_PS2] = v;
}

/* Puts a time into the registers. */
static void store_time(Mc146818 *s, int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    int year;

    if (!gmtime_r(&t, &tm)) {
        return;
    }
    s->cmos[R_SECONDS] = encode(s, tm.tm_sec);
    s->cmos[R_MINUTES] = encode(s, tm.tm_min);
    s->cmos[R_HOURS] = encode_hour(s, tm.tm_hour);
    s->cmos[R_WEEKDAY] = encode(s, tm.tm_wday + 1);
    s->cmos[R_DAY] = encode(s, tm.tm_mday);
    s->cmos[R_MONTH] = encode(s, tm.tm_mon + 1);
    year = tm.tm_year + 1900;
    s->cmos[R_YEAR] = encode(s, (((year - s->base_year) % 100) + 100) % 100);
    set_century(s, (uint8_t)((year / 100 / 10 % 10) << 4 | year / 100 % 10));
}

/* The time that stands in the registers; whatever the guest wrote gives some time. */
static int64_t load_time(const Mc146818 *s)
{
    struct tm tm = {
        .tm_sec = decode(s, s->cmos[R_SECONDS]),
        .tm_min = decode(s, s->cmos[R_MINUTES]),
        .tm_hour = decode_hour(s, s->cmos[R_HOURS]),
        .tm_mday = decode(s, s->cmos[R_DAY]),
        .tm_mon = decode(s, s->cmos[R_MONTH]) - 1,
    };
    uint8_t c = s->cmos[R_CENTURY];
    int year = (decode(s, s->cmos[R_YEAR]) + s->base_year % 100 + 100) % 100;

    tm.tm_year = year + ((c >> 4) * 10 + (c & 15)) * 100 - 1900;
    return (int64_t)timegm(&tm);
}

/* Brings the registers up to date where they run. */
static void refresh(Mc146818 *s)
{
    if (running(s)) {
        store_time(s, wall_seconds(s));
    }
}

/* The guest has set the time: keep the fraction of the second unless it restarts. */
static void take_time(Mc146818 *s, bool restart)
{
    Machine *m = s->isa.dev.machine;
    int64_t fraction, seconds = load_time(s), old = wall_time(s, &fraction);
    g_autofree char *path = NULL;
    Json *data;

    set_wall_time(s, seconds, restart ? NS_PER_SEC / 2 : fraction);
    s->last_second = seconds;
    if (seconds != old) {
        data = json_object();
        path = object_path(&s->isa.dev.obj);
        json_put_int(data, "offset",
                     s->offset_s - s->host_offset_s +
                         floor_div(s->offset_ns - s->host_offset_ns + NS_PER_SEC / 2, NS_PER_SEC));
        json_put_string(data, "qom-path", path);
        machine_event(m, "RTC_CHANGE", data);
    }
}

/* ---- interrupts ---- */

static void update_irq(Mc146818 *s)
{
    uint8_t c = s->cmos[R_C];

    if (c & s->cmos[R_B] & (C_PF | C_AF | C_UF)) {
        if (!(c & C_IRQF)) {
            trace(mc146818_irq, c);
        }
        s->cmos[R_C] |= C_IRQF;
        irq_raise(s->irq);
    }
}

/* The alarm register matches `v`; values from C0h up match all. */
static bool alarm_part(uint8_t reg, int reg_value, int v)
{
    return reg >= 0xc0 || reg_value == v;
}

/* The first second after `t` that the alarm is set for, or -1. */
static int64_t next_alarm(const Mc146818 *s, int64_t t)
{
    uint8_t ra = s->cmos[R_SECONDS_ALARM], rm = s->cmos[R_MINUTES_ALARM],
            rh = s->cmos[R_HOURS_ALARM];
    int sec = decode(s, ra), min = decode(s, rm), hour = decode_hour(s, rh);
    int64_t from = t + 1, minute = floor_div(from, 60);

    for (int i = 0; i <= DAY / 60; i++, minute++) {
        int first = i ? 0 : (int)(from - minute * 60);
        int64_t of_day = minute - floor_div(minute, DAY / 60) * (DAY / 60);

        if (!alarm_part(rm, min, (int)(of_day % 60)) || !alarm_part(rh, hour, (int)(of_day / 60))) {
            continue;
        }
        if (ra >= 0xc0) {
            return minute * 60 + first;
        }
        if (sec >= first && sec < 60) {
            return minute * 60 + sec;
        }
    }
    return -1;
}

static int64_t period_ns(const Mc146818 *s, int64_t n)
{
    unsigned rate = s->cmos[R_A] & A_RATE;
    int64_t ticks = 1ll << ((rate <= 2 ? rate + 7 : rate) - 1);

    return (int64_t)((__int128)n * ticks * NS_PER_SEC / CRYSTAL);
}

static bool periodic_on(const Mc146818 *s)
{
    return (s->cmos[R_A] & A_RATE) && (s->cmos[R_A] & A_DIVIDER) <= A_RUN;
}

static int64_t period_number(const Mc146818 *s)
{
    int64_t t = MAX(clock_virtual(clocks(s)) - s->periodic_start, 0);

    return (int64_t)((__int128)t * CRYSTAL / NS_PER_SEC) / (period_ns(s, CRYSTAL) / NS_PER_SEC);
}

/* Works out the flags of the seconds and periods that have passed. */
static void update_flags(Mc146818 *s)
{
    if (running(s)) {
        int64_t t = wall_seconds(s), alarm;

        if (t != s->last_second) {
            s->cmos[R_C] |= C_UF;
            alarm = t > s->last_second ? next_alarm(s, s->last_second) : -1;
            if (alarm >= 0 && alarm <= t) {
                if (!(s->cmos[R_C] & C_AF)) {
                    irq_pulse(s->alarm);
                }
                s->cmos[R_C] |= C_AF;
            }
            s->last_second = t;
        }
    }
    if (periodic_on(s)) {
        int64_t n = period_number(s);

        if (n > s->last_period) {
            int64_t missed = n - s->last_period - (s->cmos[R_C] & C_PF ? 0 : 1);

            if (s->policy == POLICY_SLEW && (s->cmos[R_B] & B_PIE)) {
                s->lost = (uint32_t)MIN(s->lost + missed, 4096);
            }
            s->cmos[R_C] |= C_PF;
            s->last_period = n;
        }
    }
    update_irq(s);
}

/* Timers run only for interrupts that are enabled and not yet flagged. */
static void arm(Mc146818 *s)
{
    uint8_t b = s->cmos[R_B], c = s->cmos[R_C];
    int64_t next = -1, wall, fraction;

    if (periodic_on(s) && (b & B_PIE) && !(c & C_PF)) {
        int64_t t = s->lost ? clock_virtual(clocks(s)) + period_ns(s, 1) / 4
                            : s->periodic_start + period_ns(s, s->last_period + 1) + 1;
        timer_mod(&s->periodic_timer, t);
    } else {
        timer_del(&s->periodic_timer);
    }
    if (running(s)) {
        if ((b & B_UIE) && !(c & C_UF)) {
            next = s->last_second + 1;
        } else if (!(c & C_AF) && ((b & B_AIE) || irq_connected(s->alarm))) {
            next = (b & B_AIE) ? next_alarm(s, s->last_second) : -1;
        }
    }
    if (next < 0) {
        timer_del(&s->second_timer);
        return;
    }
    wall = wall_time(s, &fraction);
    /* Not further than a minute at once: the wall clock may be moved meanwhile. */
    timer_mod(&s->second_timer, clock_now(clocks(s), s->isa.dev.machine->rtc_clock) +
                                    MAX(CLAMP(next - wall, 0, 60) * NS_PER_SEC - fraction, 0));
}

static void second_fired(void *opaque)
{
    Mc146818 *s = opaque;
    Machine *m = s->isa.dev.machine;
    bool alarm = s->cmos[R_C] & C_AF;

    update_flags(s);
    if (!alarm && (s->cmos[R_C] & s->cmos[R_B] & C_AF) && m->hooks && m->hooks->wakeup) {
        m->hooks->wakeup(m, "rtc");
    }
    arm(s);
}

static void periodic_fired(void *opaque)
{
    Mc146818 *s = opaque;

    if (s->lost && !(s->cmos[R_C] & C_PF)) {
        s->lost--;
        s->cmos[R_C] |= C_PF;
    }
    update_flags(s);
    arm(s);
}

/* ---- registers ---- */

static void start_divider(Mc146818 *s)
{
    s->periodic_start = clock_virtual(clocks(s));
    s->last_period = 0;
    s->lost = 0;
}

static void write_a(Mc146818 *s, uint8_t v)
{
    uint8_t old = s->cmos[R_A];

    update_flags(s);
    refresh(s);
    s->cmos[R_A] = v & ~A_UIP;
    if ((old & A_DIVIDER) > A_RUN && (v & A_DIVIDER) <= A_RUN) {
        start_divider(s);
        if (running(s)) {
            take_time(s, true); /* the first update comes half a second later */
        }
    } else if ((old ^ v) & A_RATE && (v & A_RATE)) {
        s->last_period = period_number(s);
        s->lost = 0;
    }
}

static void write_b(Mc146818 *s, uint8_t v)
{
    bool was_running = running(s);

    update_flags(s);
    refresh(s);
    if (v & B_SET) {
        v &= ~B_UIE; /* SET clears UIE (data sheet, "Register B") */
    }
    s->cmos[R_B] = v;
    if (!was_running && running(s)) {
        take_time(s, false);
    }
    update_irq(s);
    if (!(s->cmos[R_C] & v & (C_PF | C_AF | C_UF)) && (s->cmos[R_C] & C_IRQF)) {
        s->cmos[R_C] &= ~C_IRQF;
        irq_lower(s->irq);
    }
}

static void write_time(Mc146818 *s, unsigned reg, uint8_t v)
{
    update_flags(s);
    refresh(s);
    if (reg == R_CENTURY || reg == R_CENTURY_PS2) {
        set_century(s, v);
    } else {
        s->cmos[reg] = v;
    }
    if (running(s)) {
        take_time(s, false);
    }
}

static void reg_write(Mc146818 *s, uint8_t v)
{
    unsigned reg = s->index;

    trace(mc146818_write, reg, v);
    switch (reg) {
    case R_SECONDS:
    case R_MINUTES:
    case R_HOURS:
    case R_DAY:
    case R_MONTH:
    case R_YEAR:
    case R_CENTURY:
    case R_CENTURY_PS2:
        write_time(s, reg, v);
        break;
    case R_WEEKDAY: /* follows from the date */
        s->cmos[reg] = v;
        break;
    case R_SECONDS_ALARM:
    case R_MINUTES_ALARM:
    case R_HOURS_ALARM:
        update_flags(s);
        s->cmos[reg] = v;
        break;
    case R_A:
        write_a(s, v);
        break;
    case R_B:
        write_b(s, v);
        break;
    case R_C:
    case R_D:
        guest_error("mc146818rtc", "write of the read-only register %c", reg == R_C ? 'C' : 'D');
        break;
    default:
        s->cmos[reg] = v;
        return;
    }
    arm(s);
}

static bool update_in_progress(const Mc146818 *s)
{
    int64_t fraction;

    wall_time(s, &fraction);
    return running(s) && fraction >= NS_PER_SEC - UIP_NS;
}

static uint8_t reg_read(Mc146818 *s)
{
    uint8_t v;

    switch (s->index) {
    case R_SECONDS:
    case R_MINUTES:
    case R_HOURS:
    case R_WEEKDAY:
    case R_DAY:
    case R_MONTH:
    case R_YEAR:
    case R_CENTURY:
    case R_CENTURY_PS2:
        refresh(s);
        return s->cmos[s->index];
    case R_A:
        return (uint8_t)(s->cmos[R_A] | (update_in_progress(s) ? A_UIP : 0));
    case R_C:
        update_flags(s);
        v = s->cmos[R_C];
        s->cmos[R_C] = 0;
        irq_lower(s->irq);
        arm(s);
        return v;
    default:
        return s->cmos[s->index];
    }
}

static uint64_t index_read(void *opaque, hwaddr off, unsigned size)
{
    return 0xff; /* it is write-only */
}

static void index_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    ((Mc146818 *)opaque)->index = v & 0x7f;
}

static uint64_t data_read(void *opaque, hwaddr off, unsigned size)
{
    return reg_read(opaque);
}

static void data_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    reg_write(opaque, (uint8_t)v);
}

static const RegionOps index_ops = {
    .read = index_read, .write = index_write, .impl_min = 1, .impl_max = 1};
static const RegionOps data_ops = {
    .read = data_read, .write = data_write, .impl_min = 1, .impl_max = 1};

void mc146818_set(Mc146818 *s, unsigned index, uint8_t value)
{
    if (index < sizeof(s->cmos)) {
        s->cmos[index] = value;
    }
}

uint8_t mc146818_get(Mc146818 *s, unsigned index)
{
    return index < sizeof(s->cmos) ? s->cmos[index] : 0xff;
}

void mc146818_set_alarm_line(Mc146818 *s, IrqLine alarm)
{
    s->alarm = alarm;
}

/* ---- the device ---- */

static void mc146818_reset(Device *dev)
{
    Mc146818 *s = MC146818(dev);

    /* RESET# touches nothing but the interrupt enables and flags. */
    s->cmos[R_B] &= ~(B_PIE | B_AIE | B_UIE | 0x08);
    s->cmos[R_C] = 0;
    s->lost = 0;
    irq_lower(s->irq);
    arm(s);
}

static bool mc146818_realize(Device *dev, Error **errp)
{
    Mc146818 *s = MC146818(dev);
    Machine *m = dev->machine;
    int64_t now;

    if (s->irq_number > 15) {
        error_set(errp, "mc146818rtc: irq=%u: ISA has lines 0 to 15", s->irq_number);
        return false;
    }
    if (s->iobase > 0xfffe) {
        error_set(errp, "mc146818rtc: iobase 0x%x leaves no room for two ports", s->iobase);
        return false;
    }
    if (s->policy != POLICY_DISCARD && s->policy != POLICY_SLEW) {
        error_set(errp, "mc146818rtc: lost_tick_policy=%s is not possible here",
                  policy_names[s->policy]);
        error_hint(errp, "use lost_tick_policy=discard or slew");
        return false;
    }
    if (!irq_connected(s->irq)) {
        s->irq = isa_irq(&s->isa, s->irq_number);
    }
    s->cmos[R_A] = A_RUN | 6;
    s->cmos[R_B] = B_24H;
    s->cmos[R_D] = 0x80; /* the battery is good */
    now = m->rtc_start_ns ? m->rtc_start_ns : clock_now(m->clocks, CLOCK_HOST) + m->rtc_offset_ns;
    set_wall_time(s, floor_div(now, NS_PER_SEC), now - floor_div(now, NS_PER_SEC) * NS_PER_SEC);
    s->host_offset_s = s->offset_s;
    s->host_offset_ns = s->offset_ns;
    s->last_second = wall_seconds(s);
    start_divider(s);
    timer_init(&s->periodic_timer, dev->owner.loop, CLOCK_VIRTUAL, periodic_fired, s);
    timer_init(&s->second_timer, dev->owner.loop, m->rtc_clock, second_fired, s);
    region_init_io(&s->index_io, &dev->owner, &index_ops, s, "rtc-index", 1);
    s->index_io.coalesced = true; /* it means nothing before the data register is accessed */
    isa_register_io(&s->isa, &s->index_io, s->iobase);
    region_init_io(&s->data_io, &dev->owner, &data_ops, s, "rtc", 1);
    isa_register_io(&s->isa, &s->data_io, (uint16_t)(s->iobase + 1));
    refresh(s);
    return true;
}

static void mc146818_unrealize(Device *dev)
{
    Mc146818 *s = MC146818(dev);

    timer_fini(&s->periodic_timer);
    timer_fini(&s->second_timer);
    region_fini(&s->index_io);
    region_fini(&s->data_io);
}

static void mc146818_loaded(void *obj)
{
    Mc146818 *s = obj;

    s->last_second = MIN(s->last_second, wall_seconds(s));
    s->last_period = MIN(s->last_period, periodic_on(s) ? period_number(s) : 0);
    arm(s);
}

/*
 * On load the clock goes on from the offset that was saved: the guest's time has
 * run on meanwhile, as a battery-backed clock's does.
 */
static const StateDesc mc146818_state = {
    .name = "mc146818rtc",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_BYTES(Mc146818, cmos),
            STATE_F_UINT_MAX(Mc146818, index, 0x7f),
            STATE_F_INT_RANGE(Mc146818, offset_s, -SECONDS_MAX, SECONDS_MAX),
            STATE_F_INT_RANGE(Mc146818, offset_ns, 0, NS_PER_SEC - 1),
            STATE_F_INT_RANGE(Mc146818, last_second, -2 * SECONDS_MAX, 2 * SECONDS_MAX),
            STATE_F_INT_RANGE(Mc146818, periodic_start, 0, INT64_MAX / 4),
            STATE_F_INT_RANGE(Mc146818, last_period, 0, INT64_MAX / NS_PER_SEC),
            STATE_F_UINT_MAX(Mc146818, lost, 4096),
            {0},
        },
    .loaded = mc146818_loaded,
};

static Json *get_date(Object *obj, const Property *p)
{
    const Mc146818 *s = (const Mc146818 *)obj;
    Json *j = json_object();
    time_t t;
    struct tm tm;

    if (!s->isa.dev.realized) {
        return j;
    }
    t = (time_t)(running(s) ? wall_seconds(s) : load_time(s));
    if (gmtime_r(&t, &tm)) {
        json_put_int(j, "tm_year", tm.tm_year);
        json_put_int(j, "tm_mon", tm.tm_mon);
        json_put_int(j, "tm_mday", tm.tm_mday);
        json_put_int(j, "tm_hour", tm.tm_hour);
        json_put_int(j, "tm_min", tm.tm_min);
        json_put_int(j, "tm_sec", tm.tm_sec);
    }
    return j;
}

static const Property mc146818_props[] = {
    PROPERTY_I32("base_year", Mc146818, base_year, 1980,
                 "the year whose register value is 0; a PC's board has 2000"),
    PROPERTY_U16("iobase", Mc146818, iobase, 0x70, "first of the two ports"),
    PROPERTY_U8("irq", Mc146818, irq_number, 8, "ISA interrupt line"),
    PROPERTY_ENUM("lost_tick_policy", Mc146818, policy, policy_names, POLICY_DISCARD,
                  "what becomes of periodic interrupts the guest had no time for"),
    {.name = "date",
     .kind = PROP_CUSTOM,
     .read_only = true,
     .get = get_date,
     .type_name = "struct tm",
     .help = "the guest's date and time"},
    {0},
};

static const DeviceClass mc146818_class = {
    .realize = mc146818_realize,
    .unrealize = mc146818_unrealize,
    .reset = mc146818_reset,
    .state = &mc146818_state,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_MISC,
    .not_hotpluggable = true,
};

OBJECT_TYPE(mc146818_type, .name = TYPE_MC146818, .parent = TYPE_ISA_DEVICE,
            .help = "MC146818 real-time clock and CMOS RAM", .size = sizeof(Mc146818),
            .klass = &mc146818_class, .props = mc146818_props)

Mc146818 *mc146818_new(Machine *m, IsaBus *bus, IrqLine irq, Error **errp)
{
    Mc146818 *s = MC146818(isa_new(TYPE_MC146818));

    s->irq = irq;
    s->base_year = 2000;
    if (m->rtc_driftfix_slew) {
        s->policy = POLICY_SLEW;
    }
    return device_realize(&s->isa.dev, m, &bus->bus, errp) ? s : NULL;
}
