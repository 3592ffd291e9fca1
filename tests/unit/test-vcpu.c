/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vCPU threads with an engine that only counts, and the qtest protocol. */
#include "accel/accel.h"
#include "accel/qtest/qtest.h"

#include <string.h>
#include <unistd.h>

/* ---- an engine ---- */

typedef struct CountAccel {
    Accel accel;
    uint64_t runs, kicks, created, destroyed; /* atomic */
    RunExit exit;                             /* atomic */
    bool fail, slow_kick;
} CountAccel;

static bool count_vcpu_create(Accel *a, Vcpu *v, Error **errp)
{
    CountAccel *c = (CountAccel *)a;

    if (c->fail) {
        error_set(errp, "no more CPUs");
        return false;
    }
    g_assert_true(vcpu_current() == v);
    __atomic_fetch_add(&c->created, 1, __ATOMIC_SEQ_CST);
    return true;
}

static void count_vcpu_destroy(Vcpu *v)
{
    __atomic_fetch_add(&((CountAccel *)v->accel)->destroyed, 1, __ATOMIC_SEQ_CST);
}

static RunExit count_run(Vcpu *v)
{
    CountAccel *c = (CountAccel *)v->accel;
    RunExit exit = __atomic_load_n(&c->exit, __ATOMIC_SEQ_CST);

    __atomic_fetch_add(&c->runs, 1, __ATOMIC_SEQ_CST);
    if (exit == RUN_EXIT_HALTED &&
        __atomic_load_n(&v->cpu.irq_pending, __ATOMIC_SEQ_CST) & IRQ_HARD) {
        cpu_interrupt_clear(&v->cpu, IRQ_HARD);
    }
    return exit;
}

/* Slow, so that a CPU which is being freed has the time to be gone. */
static void count_kick(Vcpu *v)
{
    CountAccel *c = (CountAccel *)v->accel;

    if (c->slow_kick) {
        g_usleep(20000);
        g_assert_cmpuint(__atomic_load_n(&c->destroyed, __ATOMIC_SEQ_CST), ==, 0);
    }
}

static const AccelClass count_class = {
    .name = "count",
    .kick = count_kick,
    .vcpu_create = count_vcpu_create,
    .vcpu_destroy = count_vcpu_destroy,
    .run = count_run,
};

OBJECT_TYPE(count_type, .name = "count-accel", .parent = TYPE_ACCEL, .size = sizeof(CountAccel),
            .klass = &count_class)

static unsigned shutdowns;

static void on_shutdown(void *opaque, Vcpu *v)
{
    __atomic_fetch_add(&shutdowns, 1, __ATOMIC_SEQ_CST);
}

static const VcpuHooks hooks = {.shutdown = on_shutdown};

static uint64_t runs_of(CountAccel *c)
{
    return __atomic_load_n(&c->runs, __ATOMIC_SEQ_CST);
}

static void wait_runs(CountAccel *c, uint64_t at_least)
{
    for (int i = 0; i < 5000 && runs_of(c) < at_least; i++) {
        g_usleep(1000);
    }
    g_assert_cmpuint(runs_of(c), >=, at_least);
}

static void note_thread(Vcpu *v, void *opaque)
{
    g_assert_true(vcpu_current() == v);
    *(bool *)opaque = true;
}

static void test_life(void)
{
    CountAccel *c = (CountAccel *)accel_new("count", NULL);
    GPtrArray *cpus = g_ptr_array_new();
    bool ran = false;

    c->exit = RUN_EXIT_INTERRUPTED;
    for (unsigned i = 0; i < 3; i++) {
        Vcpu *v = vcpu_new(&c->accel, i, NULL, &hooks, NULL, NULL);

        g_assert_nonnull(v);
        g_assert_cmpuint((uintptr_t)v % 64, ==, 0);
        g_ptr_array_add(cpus, v);
    }
    g_assert_cmpuint(c->created, ==, 3);
    g_assert_cmpuint(runs_of(c), ==, 0); /* born stopped */
    vcpu_run_on(cpus->pdata[1], note_thread, &ran);
    g_assert_true(ran);
    for (int round = 0; round < 50; round++) {
        uint64_t n = runs_of(c);

        vcpus_resume(cpus);
        wait_runs(c, n + 1);
        ran = false;
        vcpu_run_on(cpus->pdata[0], note_thread, &ran);
        g_assert_true(ran);
        vcpus_pause(cpus);
        n = runs_of(c);
        g_usleep(200);
        g_assert_cmpuint(runs_of(c), ==, n);
    }
    for (unsigned i = 0; i < 3; i++) {
        vcpu_free(cpus->pdata[i]);
    }
    g_assert_cmpuint(c->destroyed, ==, 3);
    g_ptr_array_free(cpus, TRUE);
    object_unref(&c->accel.obj);
}

static void test_halt(void)
{
    CountAccel *c = (CountAccel *)accel_new("count", NULL);
    g_autoptr(GPtrArray) cpus = g_ptr_array_new();
    Vcpu *v;

    c->exit = RUN_EXIT_HALTED;
    v = vcpu_new(&c->accel, 0, NULL, &hooks, NULL, NULL);
    g_ptr_array_add(cpus, v);
    vcpus_resume(cpus);
    wait_runs(c, 1);
    for (unsigned i = 0; i < 1000; i++) {
        /* No wake-up may be lost, and none invented. */
        uint64_t n = runs_of(c);

        vcpu_interrupt(v, IRQ_HARD);
        wait_runs(c, n + 1);
    }
    g_assert_cmpuint(runs_of(c), <=, 2100);
    uint64_t n = runs_of(c);
    g_usleep(20000);
    g_assert_cmpuint(runs_of(c), <=, n + 1);
    vcpus_pause(cpus);
    vcpu_free(v);
    object_unref(&c->accel.obj);
}

static void test_shutdown(void)
{
    CountAccel *c = (CountAccel *)accel_new("count", NULL);
    g_autoptr(GPtrArray) cpus = g_ptr_array_new();
    Vcpu *v;

    c->exit = RUN_EXIT_SHUTDOWN;
    v = vcpu_new(&c->accel, 0, NULL, &hooks, NULL, NULL);
    g_ptr_array_add(cpus, v);
    vcpus_resume(cpus);
    wait_runs(c, 1);
    vcpu_interrupt(v, IRQ_NMI);
    g_usleep(5000);
    g_assert_cmpuint(runs_of(c), ==, 1); /* parked, whatever knocks */
    vcpus_pause(cpus);
    g_assert_cmpuint(shutdowns, ==, 1);
    c->exit = RUN_EXIT_HALTED;
    vcpus_resume(cpus);
    wait_runs(c, 2);
    vcpu_free(v);
    object_unref(&c->accel.obj);
}

static void test_failure(void)
{
    CountAccel *c = (CountAccel *)accel_new("count", NULL);
    Error *err = NULL;

    c->fail = true;
    g_assert_null(vcpu_new(&c->accel, 0, NULL, &hooks, NULL, &err));
    g_assert_cmpstr(error_message(err), ==, "no more CPUs");
    g_clear_pointer(&err, error_free);
    g_assert_null(accel_new("warp", &err));
    g_assert_cmpstr(error_message(err), ==, "invalid accelerator warp");
    g_assert_nonnull(strstr(error_hints(err), "qtest"));
    error_free(err);
    object_unref(&c->accel.obj);
}

/* ---- the protocol ---- */

typedef struct World {
    ClockSet *clocks;
    EventLoop *loop;
    MemorySystem *sys;
    Region memory, io, ram_region, port;
    RamBlock *ram;
    AddressSpace *as, *as_io;
    uint32_t latch;
    Timer timer;
    unsigned fired;
    int64_t fired_at;
    QtestServer *server;
} World;

static uint64_t latch_read(void *opaque, hwaddr offset, unsigned size)
{
    return ((World *)opaque)->latch;
}

static void latch_write(void *opaque, hwaddr offset, uint64_t v, unsigned size)
{
    ((World *)opaque)->latch = (uint32_t)v;
}

static const RegionOps latch_ops = {.read = latch_read, .write = latch_write};

static void on_timer(void *opaque)
{
    World *w = opaque;

    w->fired++;
    w->fired_at = clock_virtual(w->clocks);
    if (w->fired < 3) {
        timer_mod(&w->timer, w->fired_at + 1000);
    }
}

static void world_open(World *w)
{
    QtestTarget t;

    memset(w, 0, sizeof(*w));
    w->clocks = clock_set_new();
    clock_virtual_manual(w->clocks, true);
    w->loop = loop_new("test", w->clocks, NULL);
    w->sys = memory_system_new();
    region_init_container(&w->memory, "system", MEMORY_WHOLE);
    region_init_container(&w->io, "io", 0x10000);
    w->as = address_space_new(w->sys, &w->memory, "memory");
    w->as_io = address_space_new(w->sys, &w->io, "I/O");
    w->ram = ram_block_new(w->sys, "ram", 1 * MiB, NULL, NULL);
    region_init_ram(&w->ram_region, "ram", w->ram);
    region_add(&w->memory, 0, &w->ram_region);
    region_init_io(&w->port, NULL, &latch_ops, w, "latch", 4);
    region_add(&w->io, 0x80, &w->port);
    timer_init(&w->timer, w->loop, CLOCK_VIRTUAL, on_timer, w);
    t = (QtestTarget){.control = w->loop,
                      .platform = w->loop,
                      .clocks = w->clocks,
                      .as_memory = w->as,
                      .as_io = w->as_io};
    w->server = qtest_server_new(&t, NULL, NULL);
}

static void world_close(World *w)
{
    qtest_server_free(w->server);
    timer_fini(&w->timer);
    address_space_free(w->as);
    address_space_free(w->as_io);
    region_fini(&w->port);
    region_fini(&w->ram_region);
    region_fini(&w->io);
    region_fini(&w->memory);
    ram_block_unref(w->ram);
    memory_system_free(w->sys);
    loop_free(w->loop);
    clock_set_free(w->clocks);
    rcu_barrier();
}

static void expect(World *w, const char *line, const char *answer)
{
    g_autofree char *got = qtest_command(w->server, line);
    g_autofree char *want = g_strdup_printf("%s\n", answer);

    g_assert_cmpstr(got, ==, want);
}

static void test_protocol(void)
{
    World w;

    world_open(&w);
    expect(&w, "outl 0x80 0x12345678", "OK");
    expect(&w, "inl 0x80", "OK 0x12345678");
    expect(&w, "inw 0x80", "OK 0x5678");
    expect(&w, "inb 0x300", "OK 0x00ff");
    expect(&w, "inb 0x10000", "FAIL ports end at 0xffff");
    expect(&w, "inb", "FAIL expected an address");
    expect(&w, "writeq 0x1000 0x1122334455667788", "OK");
    expect(&w, "readq 0x1000", "OK 0x1122334455667788");
    expect(&w, "readb 0x1001", "OK 0x0000000000000077");
    expect(&w, "readl 0x200000", "OK 0x00000000ffffffff");
    expect(&w, "write 0x2000 4 0xdeadbeef", "OK");
    expect(&w, "read 0x2000 6", "OK 0xdeadbeef0000");
    expect(&w, "b64write 0x3000 3 YWJj", "OK");
    expect(&w, "b64read 0x3000 3", "OK YWJj");
    expect(&w, "b64write 0x3000 4 YWJj", "FAIL the data are not of the size that was said");
    expect(&w, "memset 0x3000 2 0x5a", "OK");
    expect(&w, "read 0x3000 0x3", "OK 0x5a5a63");
    expect(&w, "read 0x3000 0xffffffffff", "FAIL the size is too large");
    expect(&w, "endianness", "OK little");
    expect(&w, "dance", "FAIL Unknown command 'dance'");
    expect(&w, "inq 0", "FAIL Unknown command 'inq'");
    expect(&w, "irq_intercept_in ioapic", "FAIL interrupts cannot be intercepted here");
    world_close(&w);
}

static void test_clock(void)
{
    World w;

    world_open(&w);
    timer_mod(&w.timer, 500);
    expect(&w, "clock_step 100", "OK 100");
    g_assert_cmpuint(w.fired, ==, 0);
    expect(&w, "clock_step", "OK 500");
    g_assert_cmpuint(w.fired, ==, 1);
    g_assert_cmpint(w.fired_at, ==, 500);
    /* Every timer on the way fires at its own time. */
    expect(&w, "clock_step 10000", "OK 10500");
    g_assert_cmpuint(w.fired, ==, 3);
    g_assert_cmpint(w.fired_at, ==, 2500);
    expect(&w, "clock_set 20000", "OK 20000");
    expect(&w, "clock_set 10", "OK 20000"); /* never back */
    expect(&w, "clock_step", "OK 20000");
    world_close(&w);
}

/* What the engine has for a CPU stays for as long as it may be kicked. */
static void test_last_kick(void)
{
    CountAccel *c = (CountAccel *)accel_new("count", NULL);
    Vcpu *v = vcpu_new(&c->accel, 0, NULL, &hooks, NULL, NULL);

    g_assert_nonnull(v);
    c->slow_kick = true;
    vcpu_free(v);
    g_assert_cmpuint(c->destroyed, ==, 1);
    object_unref(&c->accel.obj);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vcpu/life", test_life);
    g_test_add_func("/vcpu/halt", test_halt);
    g_test_add_func("/vcpu/shutdown", test_shutdown);
    g_test_add_func("/vcpu/failure", test_failure);
    g_test_add_func("/vcpu/last-kick", test_last_kick);
    g_test_add_func("/qtest/protocol", test_protocol);
    g_test_add_func("/qtest/clock", test_clock);
    return g_test_run();
}
