/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Port 92h, the A20 line, ports 80h and edh.
 */
#include "hw/isa/port92.h"

#include "accel/accel.h"
#include "hw/core/machine.h"
#include "util/trace.h"

TRACE_EVENT(a20, "level %d")
TRACE_EVENT(post_code, "0x%02x")

/* ---- A20 ---- */

static void apply_a20(Vcpu *v, void *opaque)
{
    bool masked = !GPOINTER_TO_INT(opaque);

    if (v->cpu.a20_masked != masked) {
        v->cpu.a20_masked = masked;
        cpu_interrupt(&v->cpu, IRQ_TLB_FLUSH);
    }
}

static void a20_set(void *opaque, int n, int level)
{
    Machine *m = opaque;
    void *on = GINT_TO_POINTER(level ? 1 : 0);

    trace(a20, level);
    for (unsigned i = 0; m->cpus && i < m->cpus->len; i++) {
        Vcpu *v = g_ptr_array_index(m->cpus, i);

        /* The CPU that asks sees it with its next instruction, others soon. */
        if (v == vcpu_current()) {
            apply_a20(v, on);
        } else {
            vcpu_run_on_async(v, apply_a20, on);
        }
    }
}

IrqLine a20_line(Machine *m)
{
    return (IrqLine){.set = a20_set, .opaque = m};
}

/* ---- port 92h ---- */

#define P92_RESET 1u
#define P92_A20 2u

typedef struct Port92 {
    IsaDevice isa;
    Region io;
    uint8_t value;
} Port92;
#define PORT92(o) OBJECT_CAST(Port92, o, TYPE_PORT92)

static uint64_t port92_read(void *opaque, hwaddr off, unsigned size)
{
    return ((Port92 *)opaque)->value;
}

static void port92_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    Port92 *s = opaque;
    uint8_t old = s->value;

    s->value = (uint8_t)v;
    a20_set(s->isa.dev.machine, 0, v & P92_A20 ? 1 : 0);
    if ((v & P92_RESET) && !(old & P92_RESET)) {
        machine_request_reset(s->isa.dev.machine, RESET_GUEST);
    }
}

static const RegionOps port92_ops = {
    .read = port92_read, .write = port92_write, .impl_min = 1, .impl_max = 1};

static void port92_reset(Device *dev)
{
    PORT92(dev)->value &= ~P92_RESET;
}

static bool port92_realize(Device *dev, Error **errp)
{
    Port92 *s = PORT92(dev);

    region_init_io(&s->io, &dev->owner, &port92_ops, s, "port92", 1);
    isa_register_io(&s->isa, &s->io, 0x92);
    return true;
}

static void port92_unrealize(Device *dev)
{
    region_fini(&PORT92(dev)->io);
}

static const StateDesc port92_state = {
    .name = "port92",
    .version = 1,
    .fields = (const StateField[]){STATE_F_UINT(Port92, value), {0}},
};

static const DeviceClass port92_class = {
    .realize = port92_realize,
    .unrealize = port92_unrealize,
    .reset = port92_reset,
    .state = &port92_state,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_MISC,
    .not_hotpluggable = true,
};

OBJECT_TYPE(port92_type, .name = TYPE_PORT92, .parent = TYPE_ISA_DEVICE,
            .help = "system control port A: fast A20 gate and reset", .size = sizeof(Port92),
            .klass = &port92_class)

bool port92_new(Machine *m, IsaBus *bus, Error **errp)
{
    return device_realize(&isa_new(TYPE_PORT92)->dev, m, &bus->bus, errp);
}

/* ---- ports 80h and edh: somewhere to write, to lose a microsecond ---- */

typedef struct DelayPorts {
    IsaDevice isa;
    Region io80, ioed;
    uint8_t code;
} DelayPorts;
#define DELAY_PORTS(o) OBJECT_CAST(DelayPorts, o, TYPE_ISA_DELAY_PORTS)

static uint64_t delay_read(void *opaque, hwaddr off, unsigned size)
{
    return UINT64_MAX;
}

static void post_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    trace(post_code, (unsigned)(v & 0xff));
    ((DelayPorts *)opaque)->code = (uint8_t)v;
}

static void delay_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
}

static const RegionOps post_ops = {
    .read = delay_read, .write = post_write, .impl_min = 1, .impl_max = 1};
static const RegionOps delay_ops = {
    .read = delay_read, .write = delay_write, .impl_min = 1, .impl_max = 1};

static bool delay_realize(Device *dev, Error **errp)
{
    DelayPorts *s = DELAY_PORTS(dev);

    region_init_io(&s->io80, &dev->owner, &post_ops, s, "ioport80", 1);
    /* Above the DMA page register of the same number, which no channel uses. */
    region_add_overlap(isa_device_bus(&s->isa)->io, 0x80, &s->io80, 1);
    s->isa.ioport_id = 0x80;
    region_init_io(&s->ioed, &dev->owner, &delay_ops, s, "ioportED", 1);
    isa_register_io(&s->isa, &s->ioed, 0xed);
    return true;
}

static void delay_unrealize(Device *dev)
{
    DelayPorts *s = DELAY_PORTS(dev);

    region_fini(&s->ioed);
    region_fini(&s->io80);
}

static const StateDesc delay_state = {
    .name = "isa-delay-ports",
    .version = 1,
    .fields = (const StateField[]){STATE_F_UINT(DelayPorts, code), {0}},
};

static const DeviceClass delay_class = {
    .realize = delay_realize,
    .unrealize = delay_unrealize,
    .state = &delay_state,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_MISC,
    .not_hotpluggable = true,
};

OBJECT_TYPE(delay_type, .name = TYPE_ISA_DELAY_PORTS, .parent = TYPE_ISA_DEVICE,
            .help = "POST code and delay ports 80h and edh", .size = sizeof(DelayPorts),
            .klass = &delay_class)

bool isa_delay_ports_new(Machine *m, IsaBus *bus, Error **errp)
{
    return device_realize(&isa_new(TYPE_ISA_DELAY_PORTS)->dev, m, &bus->bus, errp);
}
