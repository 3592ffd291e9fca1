/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 16550A UART.
 */
#include "hw/char/serial.h"

#include "hw/core/machine.h"
#include "util/log.h"
#include "util/trace.h"

TRACE_EVENT(serial_write, "%s: reg %u value 0x%02x")
TRACE_EVENT(serial_read, "%s: reg %u value 0x%02x")
TRACE_EVENT(serial_params, "%s: %d baud %d%c%d")

#define IER_RDI 0x01
#define IER_THRI 0x02
#define IER_RLSI 0x04
#define IER_MSI 0x08

#define IIR_NONE 0x01
#define IIR_MSI 0x00
#define IIR_THRI 0x02
#define IIR_RDI 0x04
#define IIR_RLSI 0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFO 0xc0

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04

#define LCR_BREAK 0x40
#define LCR_DLAB 0x80

#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10

#define LSR_DR 0x01
#define LSR_OE 0x02
#define LSR_PE 0x04
#define LSR_FE 0x08
#define LSR_BI 0x10
#define LSR_THRE 0x20
#define LSR_TEMT 0x40
#define LSR_ERRORS (LSR_OE | LSR_PE | LSR_FE | LSR_BI)

#define MSR_DELTAS 0x0f
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80

static bool fifo_on(const Serial *s)
{
    return s->fcr & FCR_ENABLE;
}

/* Data sheet, table "Interrupt Control Functions". */
static void update_irq(Serial *s)
{
    uint8_t id = IIR_NONE;

    if ((s->ier & IER_RLSI) && (s->lsr & LSR_ERRORS)) {
        id = IIR_RLSI;
    } else if ((s->ier & IER_RDI) && s->timeout_ipending) {
        id = IIR_TIMEOUT;
    } else if ((s->ier & IER_RDI) && (s->lsr & LSR_DR) &&
               (!fifo_on(s) || s->rx_len >= s->rx_trigger)) {
        id = IIR_RDI;
    } else if ((s->ier & IER_THRI) && s->thr_ipending) {
        id = IIR_THRI;
    } else if ((s->ier & IER_MSI) && (s->msr & MSR_DELTAS)) {
        id = IIR_MSI;
    }
    s->iir = (uint8_t)(id | (fifo_on(s) ? IIR_FIFO : 0));
    irq_set(s->irq, id != IIR_NONE);
}

/* How long a character takes on the line, in ns. */
static int64_t char_time(const Serial *s)
{
    unsigned divider = s->divider ? s->divider : 1;
    unsigned bits = 1 + (s->lcr & 3) + 5 + (s->lcr & 8 ? 1 : 0) + (s->lcr & 4 ? 2 : 1);

    return (int64_t)bits * NS_PER_SEC * divider / (s->baudbase ? s->baudbase : 115200);
}

static void update_params(Serial *s)
{
    CharSerialParams p = {
        .speed = (int)(s->baudbase / (s->divider ? s->divider : 1)),
        .data_bits = (s->lcr & 3) + 5,
        .stop_bits = s->lcr & 4 ? 2 : 1,
        .parity = !(s->lcr & 8)   ? 'N'
                  : s->lcr & 0x10 ? 'E'
                                  : 'O',
    };

    trace(serial_params, s->name, p.speed, p.data_bits, p.parity, p.stop_bits);
    char_set_serial(&s->chr, &p);
}

/* ---- receiving ---- */

static void rx_push(Serial *s, uint8_t byte)
{
    if (!fifo_on(s)) {
        if (s->lsr & LSR_DR) {
            s->lsr |= LSR_OE;
        }
        s->rbr = byte;
    } else if (s->rx_len == SERIAL_FIFO) {
        s->lsr |= LSR_OE;
    } else {
        s->rx[(s->rx_head + s->rx_len++) % SERIAL_FIFO] = byte;
    }
    s->lsr |= LSR_DR;
    if (fifo_on(s)) {
        timer_mod(&s->rx_timeout, clock_virtual(loop_clocks(s->loop)) + 4 * char_time(s));
    }
}

static uint8_t rx_take(Serial *s)
{
    uint8_t v = s->rbr;

    if (fifo_on(s)) {
        if (s->rx_len) {
            v = s->rx[s->rx_head];
            s->rx_head = (s->rx_head + 1) % SERIAL_FIFO;
            s->rx_len--;
            s->rbr = v;
        }
        s->timeout_ipending = false;
        if (s->rx_len) {
            timer_mod(&s->rx_timeout, clock_virtual(loop_clocks(s->loop)) + 4 * char_time(s));
        } else {
            s->lsr &= ~(LSR_DR | LSR_BI);
            timer_del(&s->rx_timeout);
        }
    } else {
        s->lsr &= ~(LSR_DR | LSR_BI);
    }
    update_irq(s);
    if (!(s->mcr & MCR_LOOP)) {
        char_accept_input(&s->chr);
    }
    return v;
}

static void rx_timed_out(void *opaque)
{
    Serial *s = opaque;

    if (s->rx_len) {
        s->timeout_ipending = true;
        update_irq(s);
    }
}

static size_t can_receive(void *opaque)
{
    const Serial *s = opaque;

    if (s->mcr & MCR_LOOP) {
        return 0; /* the pin is disconnected; the backend keeps it until it is back */
    }
    if (fifo_on(s)) {
        return SERIAL_FIFO - s->rx_len;
    }
    return !(s->lsr & LSR_DR);
}

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
    Serial *s = opaque;

    for (size_t i = 0; i < len; i++) {
        rx_push(s, buf[i]);
    }
    update_irq(s);
    if (s->wakeup) {
        s->wakeup(s->wakeup_opaque);
    }
}

static void event(void *opaque, CharEvent ev)
{
    Serial *s = opaque;

    if (ev == CHAR_EVENT_BREAK) {
        rx_push(s, 0);
        s->lsr |= LSR_BI;
        update_irq(s);
    }
}

static const CharHandlers handlers = {
    .can_receive = can_receive, .receive = receive, .event = event};

/* ---- sending ---- */

static void tx_done(Serial *s)
{
    s->lsr |= LSR_THRE | LSR_TEMT;
    s->thr_ipending = true;
    update_irq(s);
}

static void tx_flush(void *opaque)
{
    Serial *s = opaque;

    s->wait_writable = false;
    while (s->tx_len) {
        uint32_t n = MIN(s->tx_len, SERIAL_FIFO - s->tx_head);
        size_t done;

        if (s->mcr & MCR_LOOP) {
            for (uint32_t i = 0; i < n; i++) {
                rx_push(s, s->tx[s->tx_head + i]);
            }
            done = n;
        } else {
            done = char_write(&s->chr, &s->tx[s->tx_head], n);
        }
        if (!done) {
            s->wait_writable = true;
            char_when_writable(&s->chr, tx_flush, s);
            return;
        }
        s->tx_head = (s->tx_head + (uint32_t)done) % SERIAL_FIFO;
        s->tx_len -= (uint32_t)done;
    }
    tx_done(s);
}

static void tx_push(Serial *s, uint8_t v)
{
    uint32_t room = fifo_on(s) ? SERIAL_FIFO : 1;

    s->thr = v;
    s->thr_ipending = false;
    s->lsr &= ~(LSR_THRE | LSR_TEMT);
    if (s->tx_len >= room) {
        s->tx_len = room - 1; /* the newest byte takes the place of the one before */
    }
    s->tx[(s->tx_head + s->tx_len++) % SERIAL_FIFO] = v;
    update_irq(s);
    if (!s->wait_writable) {
        tx_flush(s);
    }
}

/* ---- modem lines ---- */

static void set_msr(Serial *s, uint8_t lines)
{
    uint8_t old = s->msr;
    uint8_t delta = (uint8_t)((old ^ lines) >> 4 & 0x0b);

    if ((old & MSR_RI) && !(lines & MSR_RI)) {
        delta |= 0x04; /* only the trailing edge of RI counts */
    }
    s->msr = (uint8_t)((lines & 0xf0) | (old & MSR_DELTAS) | delta);
}

/* The other end is always there and ready; in loopback the outputs come back. */
static void update_msr(Serial *s)
{
    if (s->mcr & MCR_LOOP) {
        set_msr(s, (uint8_t)((s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
                             (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0)));
    } else {
        set_msr(s, MSR_DCD | MSR_DSR | MSR_CTS);
    }
}

/* ---- registers ---- */

static void write_fcr(Serial *s, uint8_t v)
{
    static const uint8_t triggers[4] = {1, 4, 8, 14};

    if ((v ^ s->fcr) & FCR_ENABLE) {
        v |= FCR_CLEAR_RX | FCR_CLEAR_TX;
    }
    if (!(v & FCR_ENABLE)) {
        v &= FCR_CLEAR_RX | FCR_CLEAR_TX; /* the other bits only count with it */
    }
    if (v & FCR_CLEAR_RX) {
        s->rx_head = s->rx_len = 0;
        s->timeout_ipending = false;
        s->lsr &= ~(LSR_DR | LSR_BI);
        timer_del(&s->rx_timeout);
    }
    if (v & FCR_CLEAR_TX) {
        s->tx_head = s->tx_len = 0;
        s->lsr |= LSR_THRE | LSR_TEMT;
        s->thr_ipending = true;
    }
    s->fcr = v & 0xc9;
    s->rx_trigger = triggers[v >> 6];
    update_irq(s);
    if ((v & FCR_CLEAR_RX) && !(s->mcr & MCR_LOOP)) {
        char_accept_input(&s->chr);
    }
}

static void write_lcr(Serial *s, uint8_t v)
{
    bool brk = v & LCR_BREAK;

    s->lcr = v;
    update_params(s);
    if (brk && !s->break_on) {
        char_send_break(&s->chr);
    }
    s->break_on = brk;
}

static void write_mcr(Serial *s, uint8_t v)
{
    uint8_t old = s->mcr;

    s->mcr = v & 0x1f;
    update_msr(s);
    update_irq(s);
    if ((old & MCR_LOOP) && !(v & MCR_LOOP)) {
        char_accept_input(&s->chr);
    }
}

static void write_ier(Serial *s, uint8_t v)
{
    uint8_t old = s->ier;

    s->ier = v & 0x0f;
    /* Enabling it with an empty holding register interrupts at once. */
    if ((s->ier & ~old & IER_THRI) && (s->lsr & LSR_THRE)) {
        s->thr_ipending = true;
    }
    update_irq(s);
}

static void io_write(void *opaque, hwaddr off, uint64_t value, unsigned size)
{
    Serial *s = opaque;
    uint8_t v = (uint8_t)value;

    trace(serial_write, s->name, (unsigned)off, v);
    switch (off) {
    case 0:
        if (s->lcr & LCR_DLAB) {
            s->divider = (uint16_t)((s->divider & 0xff00) | v);
            update_params(s);
        } else {
            tx_push(s, v);
        }
        break;
    case 1:
        if (s->lcr & LCR_DLAB) {
            s->divider = (uint16_t)((s->divider & 0xff) | v << 8);
            update_params(s);
        } else {
            write_ier(s, v);
        }
        break;
    case 2:
        write_fcr(s, v);
        break;
    case 3:
        write_lcr(s, v);
        break;
    case 4:
        write_mcr(s, v);
        break;
    case 5:
    case 6:
        guest_error("serial", "write of the read-only register %u", (unsigned)off);
        break;
    default:
        s->scr = v;
        break;
    }
}

static uint8_t reg_read(Serial *s, unsigned reg)
{
    uint8_t v;

    switch (reg) {
    case 0:
        return s->lcr & LCR_DLAB ? (uint8_t)s->divider : rx_take(s);
    case 1:
        return s->lcr & LCR_DLAB ? (uint8_t)(s->divider >> 8) : s->ier;
    case 2:
        v = s->iir;
        if ((v & 0x0f) == IIR_THRI) { /* reading it is the answer */
            s->thr_ipending = false;
            update_irq(s);
        }
        return v;
    case 3:
        return s->lcr;
    case 4:
        return s->mcr;
    case 5:
        v = s->lsr;
        if (v & LSR_ERRORS) {
            s->lsr &= ~LSR_ERRORS;
            update_irq(s);
        }
        return v;
    case 6:
        v = s->msr;
        if (v & MSR_DELTAS) {
            s->msr &= ~MSR_DELTAS;
            update_irq(s);
        }
        return v;
    default:
        return s->scr;
    }
}

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    Serial *s = opaque;
    uint8_t v = reg_read(s, (unsigned)off);

    trace(serial_read, s->name, (unsigned)off, v);
    return v;
}

static const RegionOps io_ops = {.read = io_read, .write = io_write, .impl_min = 1, .impl_max = 1};

void serial_reset(Serial *s)
{
    s->rbr = s->thr = 0;
    s->ier = s->lcr = s->mcr = s->scr = s->fcr = 0;
    s->lsr = LSR_THRE | LSR_TEMT;
    s->msr = MSR_DCD | MSR_DSR | MSR_CTS;
    s->divider = 12; /* 9600 */
    s->thr_ipending = s->timeout_ipending = false;
    s->rx_head = s->rx_len = s->tx_head = s->tx_len = 0;
    s->rx_trigger = 1;
    s->break_on = false;
    timer_del(&s->rx_timeout);
    update_irq(s);
    char_accept_input(&s->chr);
}

bool serial_realize(Serial *s, Device *owner, Chardev *chr, Error **errp)
{
    s->loop = owner->owner.loop;
    if (s->baudbase == 0) {
        error_set(errp, "%s: baudbase=0 would divide by zero", s->name);
        return false;
    }
    if (!char_attach(&s->chr, chr, &handlers, s, s->loop, errp)) {
        return false;
    }
    timer_init(&s->rx_timeout, s->loop, CLOCK_VIRTUAL, rx_timed_out, s);
    region_init_io(&s->io, &owner->owner, &io_ops, s, "serial", 8);
    return true;
}

void serial_unrealize(Serial *s)
{
    region_fini(&s->io);
    timer_fini(&s->rx_timeout);
    char_detach(&s->chr);
}

static void serial_loaded(void *obj)
{
    Serial *s = obj;

    update_params(s);
    if (fifo_on(s) && s->rx_len && !s->timeout_ipending) {
        timer_mod(&s->rx_timeout, clock_virtual(loop_clocks(s->loop)) + 4 * char_time(s));
    }
    if (s->tx_len && !s->wait_writable) {
        tx_flush(s);
    }
}

const StateDesc serial_state = {
    .name = "serial",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_UINT(Serial, rbr),
            STATE_F_UINT(Serial, thr),
            STATE_F_UINT_MAX(Serial, ier, 0x0f),
            STATE_F_UINT(Serial, iir),
            STATE_F_UINT(Serial, lcr),
            STATE_F_UINT_MAX(Serial, mcr, 0x1f),
            STATE_F_UINT(Serial, lsr),
            STATE_F_UINT(Serial, msr),
            STATE_F_UINT(Serial, scr),
            STATE_F_UINT_MAX(Serial, fcr, 0xc9),
            STATE_F_UINT(Serial, divider),
            STATE_F_BOOL(Serial, thr_ipending),
            STATE_F_BOOL(Serial, timeout_ipending),
            STATE_F_UINT_ARRAY(Serial, rx),
            STATE_F_UINT_MAX(Serial, rx_head, SERIAL_FIFO - 1),
            STATE_F_UINT_MAX(Serial, rx_len, SERIAL_FIFO),
            STATE_F_UINT_ARRAY(Serial, tx),
            STATE_F_UINT_MAX(Serial, tx_head, SERIAL_FIFO - 1),
            STATE_F_UINT_MAX(Serial, tx_len, SERIAL_FIFO),
            STATE_F_UINT_MAX(Serial, rx_trigger, 14),
            STATE_F_BOOL(Serial, break_on),
            {0},
        },
    .loaded = serial_loaded,
};
