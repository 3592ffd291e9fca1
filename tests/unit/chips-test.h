/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/unit/chips-test.h: a board without CPUs around one chip: memory, ports, an
 * ISA bus whose lines are recorded, and a clock that moves by hand.
 */
#ifndef RHEA_TESTS_CHIPS_TEST_H
#define RHEA_TESTS_CHIPS_TEST_H

#include "hw/core/machine.h"
#include "hw/isa/isa.h"
#include "ui/console.h"

#include <string.h>

typedef struct Board {
    Machine *m;
    Device *root; /* the south bridge, so to say */
    IsaBus isa;
    RamBlock *ram;
    Region ram_region;
    bool level[16];
    unsigned raised[16];
    int resets, shutdowns, exit_code, events;
    char last_event[32];
} Board;

static const MachineClass board_machine_class = {.desc = "for tests", .max_cpus = 4};
OBJECT_TYPE(board_machine_type, .name = "chips-test-machine", .parent = TYPE_MACHINE,
            .size = sizeof(Machine), .klass = &board_machine_class)
static const DeviceClass board_root_class = {0};
OBJECT_TYPE(board_root_type, .name = "chips-test-root", .parent = TYPE_DEVICE,
            .size = sizeof(Device), .klass = &board_root_class)

static void board_line(void *opaque, int n, int level)
{
    Board *b = opaque;

    if (level && !b->level[n]) {
        b->raised[n]++;
    }
    b->level[n] = level;
}

static void board_reset_hook(Machine *m, ResetReason why)
{
    ((Board *)m->hooks_opaque)->resets++;
}

static void board_shutdown_hook(Machine *m, ShutdownReason why, int code)
{
    ((Board *)m->hooks_opaque)->shutdowns++;
    ((Board *)m->hooks_opaque)->exit_code = code;
}

static void board_event_hook(Machine *m, const char *name, Json *data)
{
    Board *b = m->hooks_opaque;

    b->events++;
    g_strlcpy(b->last_event, name, sizeof(b->last_event));
    json_unref(data);
}

static const MachineHooks board_hooks = {
    .reset = board_reset_hook, .shutdown = board_shutdown_hook, .event = board_event_hook};

G_GNUC_UNUSED static IrqLine board_irq(Board *b, int n)
{
    return (IrqLine){.set = board_line, .opaque = b, .n = n};
}

G_GNUC_UNUSED static Board *board_new(void)
{
    Board *b = g_new0(Board, 1);
    Machine *m = (Machine *)object_new("chips-test-machine");

    b->m = m;
    m->clocks = clock_set_new();
    clock_virtual_manual(m->clocks, true);
    m->control = loop_new("control", m->clocks, NULL);
    m->platform = loop_new("platform", m->clocks, NULL);
    m->memsys = memory_system_new();
    m->hooks = &board_hooks;
    m->hooks_opaque = b;
    region_init_container(&m->memory, "memory", MEMORY_WHOLE);
    region_init_container(&m->io, "io", 65536);
    m->as_memory = address_space_new(m->memsys, &m->memory, "memory");
    m->as_io = address_space_new(m->memsys, &m->io, "I/O");
    b->ram = ram_block_new(m->memsys, "ram", 16 * MiB, NULL, NULL);
    region_init_ram(&b->ram_region, "ram", b->ram);
    region_add(&m->memory, 0, &b->ram_region);
    b->root = device_new("chips-test-root");
    g_assert_true(device_realize(b->root, m, NULL, NULL));
    isa_bus_init(&b->isa, b->root, m, &m->io, &m->memory);
    m->isa = &b->isa;
    for (int i = 0; i < 16; i++) {
        b->isa.irqs[i] = board_irq(b, i);
    }
    return b;
}

G_GNUC_UNUSED static void board_free(Board *b)
{
    Machine *m = b->m;

    loop_lock(m->platform);
    bus_fini(&b->isa.bus);
    device_unrealize(b->root);
    loop_unlock(m->platform);
    if (m->ui) {
        ui_free(m->ui);
    }
    address_space_free(m->as_io);
    address_space_free(m->as_memory);
    region_fini(&b->ram_region);
    ram_block_unref(b->ram);
    region_fini(&m->io);
    region_fini(&m->memory);
    rcu_barrier();
    memory_system_free(m->memsys);
    loop_free(m->platform);
    loop_free(m->control);
    clock_set_free(m->clocks);
    object_unref(&m->obj);
    rcu_barrier();
    g_free(b);
}

G_GNUC_UNUSED static void outb(Board *b, uint16_t port, uint8_t v)
{
    address_space_st(b->m->as_io, port, MEM_ATTRS_NONE, 1, v);
}
G_GNUC_UNUSED static uint8_t inb(Board *b, uint16_t port)
{
    uint64_t v = 0;

    address_space_ld(b->m->as_io, port, MEM_ATTRS_NONE, 1, &v);
    return (uint8_t)v;
}
G_GNUC_UNUSED static uint64_t mem_read(Board *b, hwaddr a, unsigned size)
{
    uint64_t v = 0;

    address_space_ld(b->m->as_memory, a, MEM_ATTRS_NONE, size, &v);
    return v;
}
G_GNUC_UNUSED static void mem_write(Board *b, hwaddr a, unsigned size, uint64_t v)
{
    address_space_st(b->m->as_memory, a, MEM_ATTRS_NONE, size, v);
}

/* Lets `ns` pass; timers run in order, each at its own time. */
G_GNUC_UNUSED static void step(Board *b, int64_t ns)
{
    int64_t end = clock_virtual(b->m->clocks) + ns, next;

    loop_lock(b->m->platform);
    while ((next = loop_next_deadline(b->m->platform)) >= 0 && next <= end) {
        clock_virtual_set(b->m->clocks, MAX(next, clock_virtual(b->m->clocks)));
        loop_run_timers(b->m->platform);
    }
    clock_virtual_set(b->m->clocks, end);
    loop_run_timers(b->m->platform);
    loop_unlock(b->m->platform);
}

#endif
