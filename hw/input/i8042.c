/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keyboard controller.  One output buffer for the controller's own answers,
 * the keyboard's and the mouse's bytes; the devices keep their bytes while it is
 * full or their line is disabled.
 */
#include "hw/input/i8042.h"

#include "hw/core/machine.h"
#include "hw/input/ps2.h"
#include "util/log.h"
#include "util/trace.h"

#include <string.h>

TRACE_EVENT(i8042_command, "0x%02x")
TRACE_EVENT(i8042_data_write, "0x%02x (after command 0x%x)")
TRACE_EVENT(i8042_data_read, "0x%02x")

#define STAT_OBF 0x01
#define STAT_SYS 0x04
#define STAT_CMD 0x08
#define STAT_UNLOCKED 0x10
#define STAT_AUX 0x20

#define MODE_KBD_INT 0x01
#define MODE_AUX_INT 0x02
#define MODE_SYS 0x04
#define MODE_NO_KBD 0x10
#define MODE_NO_AUX 0x20
#define MODE_TRANSLATE 0x40

#define OUT_NO_RESET 0x01
#define OUT_A20 0x02
#define OUT_OBF 0x10
#define OUT_AUX_OBF 0x20
#define OUT_REST 0xcc

enum {
    CMD_READ_RAM = 0x20,  /* …3f; byte 0 is the mode */
    CMD_WRITE_RAM = 0x60, /* …7f */
    CMD_DISABLE_AUX = 0xa7,
    CMD_ENABLE_AUX = 0xa8,
    CMD_TEST_AUX = 0xa9,
    CMD_SELF_TEST = 0xaa,
    CMD_TEST_KBD = 0xab,
    CMD_DUMP = 0xac,
    CMD_DISABLE_KBD = 0xad,
    CMD_ENABLE_KBD = 0xae,
    CMD_READ_INPUT = 0xc0,
    CMD_POLL_LOW = 0xc1,
    CMD_POLL_HIGH = 0xc2,
    CMD_READ_OUTPUT = 0xd0,
    CMD_WRITE_OUTPUT = 0xd1,
    CMD_WRITE_KBD_OBUF = 0xd2,
    CMD_WRITE_AUX_OBUF = 0xd3,
    CMD_WRITE_AUX = 0xd4,
    CMD_A20_OFF = 0xdd,
    CMD_A20_ON = 0xdf,
    CMD_READ_TEST = 0xe0,
    CMD_PULSE = 0xf0, /* …ff: output port bits that are 0 are pulsed low */
};

enum { SOURCE_NONE, SOURCE_SELF, SOURCE_KBD, SOURCE_AUX };

/*
 * A real device needs about a millisecond a byte.  Software that reads the data
 * port twice for one byte relies on it.  Answers to commands are not held back.
 */
#define BYTE_PAUSE (250 * NS_PER_US)
#define BYTE_PAUSE_THROTTLED NS_PER_MS

typedef struct I8042 {
    IsaDevice isa;
    Region data_io, cmd_io;
    Ps2Keyboard kbd;
    Ps2Mouse aux;
    IrqLine kbd_irq, aux_irq, a20;
    Timer pause;
    /* properties */
    uint8_t kbd_line, aux_line;
    bool throttle;

    uint8_t status, outport;
    uint8_t ram[32]; /* ram[0]: the mode */
    uint8_t obuf;    /* the output buffer; keeps its value when it has been read */
    uint8_t source;  /* of what is in it */
    int32_t pending; /* command that waits for its data byte, or -1 */
    bool break_prefix;
    uint8_t queue[32]; /* answers of the controller's own, waiting */
    uint32_t queue_head, queue_len;
    int64_t not_before; /* the next unasked byte: CLOCK_VIRTUAL */
} I8042;
#define I8042(o) OBJECT_CAST(I8042, o, TYPE_I8042)

/* Set 2 to set 1, as the controller's program does it. */
static const uint8_t translation[128] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

static int64_t now(const I8042 *s)
{
    return clock_virtual(loop_clocks(s->isa.dev.owner.loop));
}

static void update_irqs(I8042 *s)
{
    bool full = s->status & STAT_OBF;

    irq_set(s->kbd_irq, full && s->source != SOURCE_AUX && (s->ram[0] & MODE_KBD_INT));
    irq_set(s->aux_irq, full && s->source == SOURCE_AUX && (s->ram[0] & MODE_AUX_INT));
}

static void fill(I8042 *s, uint8_t v, uint8_t source)
{
    s->obuf = v;
    s->source = source;
    s->status |= STAT_OBF;
    s->outport |= OUT_OBF;
    s->status &= ~STAT_AUX;
    s->outport &= ~OUT_AUX_OBF;
    if (source == SOURCE_AUX) {
        s->status |= STAT_AUX;
        s->outport |= OUT_AUX_OBF;
    }
    update_irqs(s);
}

/* A byte of the keyboard on its way through; false if it was only a prefix. */
static bool translate(I8042 *s, uint8_t *v)
{
    if (!(s->ram[0] & MODE_TRANSLATE)) {
        return true;
    }
    if (*v == 0xf0) {
        s->break_prefix = true;
        return false;
    }
    if (*v < 0x80) {
        *v = (uint8_t)(translation[*v] | (s->break_prefix ? 0x80 : 0));
    } else if (*v == 0x83 || *v == 0x84) {
        *v = (uint8_t)((*v == 0x83 ? 0x41 : 0x54) | (s->break_prefix ? 0x80 : 0));
    }
    s->break_prefix = false;
    return true;
}

/* May a byte of this device come now? If only later, the timer is set. */
static bool allowed(I8042 *s, const Ps2Device *d)
{
    if (ps2_next_is_reply(d) || now(s) >= s->not_before) {
        return true;
    }
    timer_mod(&s->pause, s->not_before);
    return false;
}

/* Moves the next byte, if there is one, into the empty output buffer. */
static void refill(I8042 *s)
{
    uint8_t v;

    if (s->status & STAT_OBF) {
        return;
    }
    if (s->queue_len) {
        v = s->queue[s->queue_head];
        s->queue_head = (s->queue_head + 1) % sizeof(s->queue);
        s->queue_len--;
        fill(s, v, SOURCE_SELF);
        return;
    }
    while (!(s->ram[0] & MODE_NO_KBD) && ps2_has_data(&s->kbd.ps2) && allowed(s, &s->kbd.ps2)) {
        v = ps2_take(&s->kbd.ps2);
        if (translate(s, &v)) {
            fill(s, v, SOURCE_KBD);
            return;
        }
    }
    if (!(s->ram[0] & MODE_NO_AUX) && ps2_has_data(&s->aux.ps2) && allowed(s, &s->aux.ps2)) {
        fill(s, ps2_take(&s->aux.ps2), SOURCE_AUX);
    }
}

static void device_ready(void *opaque)
{
    refill(opaque);
}

static void reply(I8042 *s, uint8_t v)
{
    if (s->queue_len < sizeof(s->queue)) {
        s->queue[(s->queue_head + s->queue_len++) % sizeof(s->queue)] = v;
    }
    refill(s);
}

/* ---- commands ---- */

static void set_outport(I8042 *s, uint8_t v)
{
    s->outport = (uint8_t)((v & ~(OUT_OBF | OUT_AUX_OBF)) | (s->outport & (OUT_OBF | OUT_AUX_OBF)));
    irq_set(s->a20, v & OUT_A20 ? 1 : 0);
    if (!(v & OUT_NO_RESET)) {
        machine_request_reset(s->isa.dev.machine, RESET_GUEST);
    }
}

static void set_mode(I8042 *s, uint8_t v)
{
    s->ram[0] = v;
    s->status = (uint8_t)((s->status & ~STAT_SYS) | (v & MODE_SYS));
    if (!(v & MODE_TRANSLATE)) {
        s->break_prefix = false;
    }
    update_irqs(s);
    refill(s);
}

static void self_test(I8042 *s)
{
    s->status |= STAT_SYS;
    s->ram[0] |= MODE_SYS;
    reply(s, 0x55);
}

static void command_write(void *opaque, hwaddr off, uint64_t value, unsigned size)
{
    I8042 *s = opaque;
    uint8_t v = (uint8_t)value;

    trace(i8042_command, v);
    s->status |= STAT_CMD;
    s->pending = -1;
    switch (v) {
    case CMD_READ_RAM ... CMD_READ_RAM + 31:
        reply(s, s->ram[v & 31]);
        break;
    case CMD_WRITE_RAM ... CMD_WRITE_RAM + 31:
    case CMD_WRITE_OUTPUT:
    case CMD_WRITE_KBD_OBUF:
    case CMD_WRITE_AUX_OBUF:
    case CMD_WRITE_AUX:
        s->pending = v;
        break;
    case CMD_DISABLE_AUX:
    case CMD_ENABLE_AUX:
        set_mode(s, v == CMD_ENABLE_AUX ? s->ram[0] & ~MODE_NO_AUX : s->ram[0] | MODE_NO_AUX);
        break;
    case CMD_DISABLE_KBD:
    case CMD_ENABLE_KBD:
        set_mode(s, v == CMD_ENABLE_KBD ? s->ram[0] & ~MODE_NO_KBD : s->ram[0] | MODE_NO_KBD);
        break;
    case CMD_TEST_AUX:
    case CMD_TEST_KBD:
    case CMD_READ_TEST:
        reply(s, 0x00);
        break;
    case CMD_SELF_TEST:
        self_test(s);
        break;
    case CMD_DUMP:
        for (unsigned i = 0; i < 16; i++) {
            reply(s, s->ram[i]);
        }
        break;
    case CMD_READ_INPUT:
        reply(s, 0xf0 & ~0x40); /* keyboard not locked, colour display, jumpers set */
        break;
    case CMD_POLL_LOW:
    case CMD_POLL_HIGH: /* the input port's half goes into the status until the next command */
        break;
    case CMD_READ_OUTPUT:
        reply(s, s->outport);
        break;
    case CMD_A20_OFF:
    case CMD_A20_ON:
        set_outport(s, v == CMD_A20_ON ? s->outport | OUT_A20 : s->outport & ~OUT_A20);
        break;
    case CMD_PULSE ... CMD_PULSE + 15:
        if (!(v & OUT_NO_RESET)) {
            machine_request_reset(s->isa.dev.machine, RESET_GUEST);
        }
        break;
    default:
        guest_error("i8042", "command 0x%02x", v);
        break;
    }
}

static void data_write(void *opaque, hwaddr off, uint64_t value, unsigned size)
{
    I8042 *s = opaque;
    uint8_t v = (uint8_t)value;
    int cmd = s->pending;

    trace(i8042_data_write, v, (unsigned)cmd);
    s->status &= ~STAT_CMD;
    s->pending = -1;
    switch (cmd) {
    case -1:
        /* Talking to the keyboard opens its line. */
        s->ram[0] &= ~MODE_NO_KBD;
        ps2_keyboard_write(&s->kbd, v);
        break;
    case CMD_WRITE_RAM:
        set_mode(s, v);
        break;
    case CMD_WRITE_RAM + 1 ... CMD_WRITE_RAM + 31:
        s->ram[cmd & 31] = v;
        break;
    case CMD_WRITE_OUTPUT:
        set_outport(s, v);
        break;
    case CMD_WRITE_KBD_OBUF:
        s->status &= ~STAT_OBF;
        fill(s, v, SOURCE_KBD);
        break;
    case CMD_WRITE_AUX_OBUF:
        s->status &= ~STAT_OBF;
        fill(s, v, SOURCE_AUX);
        break;
    default: /* CMD_WRITE_AUX */
        s->ram[0] &= ~MODE_NO_AUX;
        ps2_mouse_write(&s->aux, v);
        break;
    }
}

static uint64_t command_read(void *opaque, hwaddr off, unsigned size)
{
    return ((I8042 *)opaque)->status;
}

static uint64_t data_read(void *opaque, hwaddr off, unsigned size)
{
    I8042 *s = opaque;
    uint8_t v = s->obuf;

    trace(i8042_data_read, v);
    if (s->status & STAT_OBF) {
        if (s->source == SOURCE_KBD || s->source == SOURCE_AUX) {
            s->not_before = now(s) + (s->throttle ? BYTE_PAUSE_THROTTLED : BYTE_PAUSE);
        }
        s->status &= ~(STAT_OBF | STAT_AUX);
        s->outport &= ~(OUT_OBF | OUT_AUX_OBF);
        update_irqs(s);
        refill(s);
    }
    return v;
}

static const RegionOps data_ops = {
    .read = data_read, .write = data_write, .impl_min = 1, .impl_max = 1};
static const RegionOps cmd_ops = {
    .read = command_read, .write = command_write, .impl_min = 1, .impl_max = 1};

/* ---- the device ---- */

static void i8042_reset(Device *dev)
{
    I8042 *s = I8042(dev);

    memset(s->ram, 0, sizeof(s->ram));
    s->ram[0] = MODE_KBD_INT | MODE_AUX_INT;
    s->status = STAT_CMD | STAT_UNLOCKED;
    s->outport = OUT_NO_RESET | OUT_A20 | OUT_REST;
    s->obuf = 0;
    s->source = SOURCE_NONE;
    s->pending = -1;
    s->break_prefix = false;
    s->queue_head = s->queue_len = 0;
    s->not_before = 0;
    timer_del(&s->pause);
    ps2_keyboard_reset(&s->kbd);
    ps2_mouse_reset(&s->aux);
    irq_raise(s->a20);
    update_irqs(s);
}

static bool i8042_realize(Device *dev, Error **errp)
{
    I8042 *s = I8042(dev);
    UiContext *ui = dev->machine->ui;

    if (s->kbd_line > 15 || s->aux_line > 15) {
        error_set(errp, "i8042: kbd-irq=%u, mouse-irq=%u: ISA has lines 0 to 15", s->kbd_line,
                  s->aux_line);
        return false;
    }
    s->kbd_irq = isa_irq(&s->isa, s->kbd_line);
    s->aux_irq = isa_irq(&s->isa, s->aux_line);
    timer_init(&s->pause, dev->owner.loop, CLOCK_VIRTUAL, device_ready, s);
    region_init_io(&s->data_io, &dev->owner, &data_ops, s, "i8042-data", 1);
    isa_register_io(&s->isa, &s->data_io, 0x60);
    region_init_io(&s->cmd_io, &dev->owner, &cmd_ops, s, "i8042-cmd", 1);
    isa_register_io(&s->isa, &s->cmd_io, 0x64);
    ps2_keyboard_init(&s->kbd, ui, dev->owner.loop, device_ready, s);
    ps2_mouse_init(&s->aux, ui, dev->owner.loop, device_ready, s);
    return true;
}

static void i8042_unrealize(Device *dev)
{
    I8042 *s = I8042(dev);

    ps2_fini(&s->aux.ps2);
    ps2_fini(&s->kbd.ps2);
    timer_fini(&s->pause);
    region_fini(&s->cmd_io);
    region_fini(&s->data_io);
}

static void i8042_loaded(void *obj)
{
    I8042 *s = obj;

    s->not_before = MIN(s->not_before, now(s) + BYTE_PAUSE_THROTTLED);
    refill(s);
}

static const StateDesc i8042_state = {
    .name = "i8042",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_STRUCT(I8042, kbd, ps2_keyboard_state),
            STATE_F_STRUCT(I8042, aux, ps2_mouse_state),
            STATE_F_UINT(I8042, status),
            STATE_F_UINT(I8042, outport),
            STATE_F_BYTES(I8042, ram),
            STATE_F_UINT(I8042, obuf),
            STATE_F_UINT_MAX(I8042, source, SOURCE_AUX),
            STATE_F_INT_RANGE(I8042, pending, -1, 255),
            STATE_F_BOOL(I8042, break_prefix),
            STATE_F_BYTES(I8042, queue),
            STATE_F_UINT_MAX(I8042, queue_head, 31),
            STATE_F_UINT_MAX(I8042, queue_len, 32),
            STATE_F_INT_RANGE(I8042, not_before, 0, INT64_MAX / 2),
            {0},
        },
    .loaded = i8042_loaded,
};

static const Property i8042_props[] = {
    PROPERTY_U8("kbd-irq", I8042, kbd_line, 1, "the keyboard's ISA line"),
    PROPERTY_U8("mouse-irq", I8042, aux_line, 12, "the mouse's ISA line"),
    PROPERTY_BOOL("kbd-throttle", I8042, throttle, false,
                  "a byte a millisecond, for software with slow handlers"),
    {0},
};

static const DeviceClass i8042_class = {
    .realize = i8042_realize,
    .unrealize = i8042_unrealize,
    .reset = i8042_reset,
    .state = &i8042_state,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_INPUT,
    .not_hotpluggable = true,
};

OBJECT_TYPE(i8042_type, .name = TYPE_I8042, .parent = TYPE_ISA_DEVICE,
            .help = "keyboard controller with PS/2 keyboard and mouse", .size = sizeof(I8042),
            .klass = &i8042_class, .props = i8042_props)

bool i8042_new(Machine *m, IsaBus *bus, IrqLine a20, Error **errp)
{
    I8042 *s = I8042(isa_new(TYPE_I8042));

    s->a20 = a20;
    return device_realize(&s->isa.dev, m, &bus->bus, errp);
}
