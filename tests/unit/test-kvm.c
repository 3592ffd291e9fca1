/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine "kvm": vector state in its memory format, CPU models filtered by what a host
 * offers, and (where there is a KVM) all state into the kernel and out again.
 */
#include "accel/kvm/kvm.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- a machine of memory and one CPU ---- */

typedef struct Rig {
    MemorySystem *mem;
    ClockSet *clocks;
    Region memory, io, ram_region;
    RamBlock *ram;
    Accel *accel;
    Vcpu *v;
} Rig;

static Rig *rig_new(void)
{
    Rig *r = g_new0(Rig, 1);
    g_autoptr(Error) err = NULL;
    CpuEngineInfo engine;
    CpuConfig config;

    r->clocks = clock_set_new();
    r->mem = memory_system_new();
    r->ram = ram_block_new(r->mem, "ram", 1 << 20, NULL, NULL);
    region_init_container(&r->memory, "memory", MEMORY_WHOLE);
    region_init_container(&r->io, "io", 65536);
    region_init_ram(&r->ram_region, "ram", r->ram);
    region_add(&r->memory, 0, &r->ram_region);
    r->accel = accel_new("kvm", NULL);
    r->accel->clocks = r->clocks;
    /* A sandbox may show the device and refuse what it can do. */
    if (!accel_class(r->accel)->create(r->accel, r->mem, &err)) {
        g_test_skip(error_message(err));
        object_unref(&r->accel->obj);
        region_fini(&r->ram_region);
        ram_block_unref(r->ram);
        memory_system_free(r->mem);
        clock_set_free(r->clocks);
        g_free(r);
        return NULL;
    }
    r->accel->as_memory = address_space_new(r->mem, &r->memory, "memory");
    r->accel->as_io = address_space_new(r->mem, &r->io, "io");
    g_assert_true(accel_class(r->accel)->cpu_engine(r->accel, &engine, NULL));
    g_assert_true(cpu_model_parse("host", &engine, &config, &err));
    r->v = vcpu_new(r->accel, 0, &config, NULL, NULL, &err);
    g_assert_nonnull(r->v);
    accel_class(r->accel)->running(r->accel, true);
    return r;
}

static void rig_free(Rig *r)
{
    vcpu_free(r->v);
    accel_class(r->accel)->destroy(r->accel);
    address_space_free(r->accel->as_memory);
    address_space_free(r->accel->as_io);
    object_unref(&r->accel->obj);
    region_fini(&r->ram_region);
    region_fini(&r->memory);
    region_fini(&r->io);
    ram_block_unref(r->ram);
    memory_system_free(r->mem);
    clock_set_free(r->clocks);
    g_free(r);
}

static bool have_kvm(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        g_test_skip("no usable /dev/kvm");
        return false;
    }
    close(fd);
    return true;
}

/* ---- vector state ---- */

static void fill(GRand *rng, void *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ((uint8_t *)p)[i] = (uint8_t)g_rand_int(rng);
    }
}

static void random_fpu(CPUX86 *cpu, GRand *rng)
{
    unsigned width = cpu_xcr0_supported(cpu) & 4 ? 32 : 16;

    for (unsigned i = 0; i < 16; i++) {
        fill(rng, cpu->vec[i].u8, width);
    }
    for (unsigned i = 0; i < 8; i++) {
        cpu->x87.r[i].mant = (uint64_t)g_rand_int(rng) << 32 | g_rand_int(rng);
        cpu->x87.r[i].exp = (uint16_t)g_rand_int(rng);
    }
    cpu->x87.top = (uint8_t)g_rand_int_range(rng, 0, 8);
    cpu->x87.empty = (uint8_t)g_rand_int(rng);
    cpu->x87.cw = 0x37f;
    cpu->x87.sw = (uint16_t)(g_rand_int(rng) & 0x4700);
    cpu->mxcsr = 0x1f80 | (g_rand_int(rng) & 0x3f);
}

static void compare_fpu(const CPUX86 *a, const CPUX86 *b)
{
    for (unsigned i = 0; i < 16; i++) {
        g_assert_cmpmem(a->vec[i].u8, 64, b->vec[i].u8, 64);
    }
    for (unsigned i = 0; i < 8; i++) {
        g_assert_cmphex(a->x87.r[i].mant, ==, b->x87.r[i].mant);
        g_assert_cmphex(a->x87.r[i].exp, ==, b->x87.r[i].exp);
    }
    g_assert_cmpuint(a->x87.top, ==, b->x87.top);
    g_assert_cmphex(a->x87.empty, ==, b->x87.empty);
    g_assert_cmphex(a->x87.cw, ==, b->x87.cw);
    g_assert_cmphex(a->x87.sw, ==, b->x87.sw);
    g_assert_cmphex(a->mxcsr, ==, b->mxcsr);
}

static CPUX86 *new_cpu(void)
{
    CPUX86 *cpu = aligned_alloc(64, ALIGN_UP(sizeof(CPUX86), (size_t)64));

    memset(cpu, 0, sizeof(*cpu));
    cpu->config.features[FEAT_1_ECX] = 1u << 26 | 1u << 28; /* XSAVE, AVX */
    return cpu;
}

static void test_xsave(void)
{
    g_autoptr(GRand) rng = g_rand_new_with_seed(4);
    CPUX86 *a = new_cpu(), *b = new_cpu();
    uint8_t area[4096];

    for (int i = 0; i < 50; i++) {
        random_fpu(a, rng);
        kvm_xsave_pack(a, area, sizeof(area));
        g_assert_cmphex(ld_le64(area + 512), ==, 7);
        kvm_xsave_unpack(b, area, sizeof(area));
        compare_fpu(a, b);
    }
    /* Too small an area loses components and nothing else. */
    kvm_xsave_pack(a, area, 640);
    kvm_xsave_unpack(b, area, 640);
    g_assert_cmpmem(a->vec[3].u8, 16, b->vec[3].u8, 16);
    free(a);
    free(b);
}

/* ---- models ---- */

static void test_models(void)
{
    g_autoptr(Error) err = NULL;
    CpuEngineInfo e = {.name = "host", .kvm = true, .has_host = true};
    CpuConfig c;

    strcpy(e.host.vendor, "GenuineIntel");
    strcpy(e.host.model_id, "A processor");
    e.host.family = 6;
    e.host.level = 0xd;
    e.host.xlevel = 0x80000008;
    e.host.phys_bits = 46;
    e.features[FEAT_1_EDX] = 0x078bfbff;
    e.features[FEAT_1_ECX] = 1u << 31 | 1u << 26 | 1u << 28 | 1u << 21;
    e.features[FEAT_80000001_EDX] = 1u << 29 | 1u << 20 | 1u << 11;
    e.features[FEAT_80000007_EDX] = 1u << 8;
    e.features[FEAT_KVM] = 1;
    e.plus[FEAT_KVM] = 1;
    e.xsave_size[2] = 256;
    e.xsave_offset[2] = 576;
    g_assert_true(cpu_model_parse("host", &e, &c, &err));
    g_assert_cmpstr(c.vendor, ==, "GenuineIntel");
    g_assert_cmpuint(c.phys_bits, ==, 46);
    g_assert_true(c.kvm);
    g_assert_cmphex(c.features[FEAT_80000007_EDX], ==, 0); /* migratable */
    g_assert_true(cpu_model_parse("host,migratable=off,kvm=off,phys-bits=40", &e, &c, &err));
    g_assert_cmphex(c.features[FEAT_80000007_EDX], ==, 1u << 8);
    g_assert_cmphex(c.features[FEAT_KVM], ==, 0);
    g_assert_cmpuint(c.phys_bits, ==, 40);
    g_assert_false(c.kvm);
    g_assert_true(cpu_model_parse("host,host-phys-bits=off", &e, &c, &err));
    g_assert_cmpuint(c.phys_bits, ==, 40);
    g_assert_false(cpu_model_parse("base,+avx2,enforce", &e, &c, &err));
    g_assert_nonnull(strstr(error_message(err), "host doesn't support requested features"));
}

/* ---- into the kernel and out ---- */

static Segment flat(uint16_t selector, unsigned type, unsigned dpl, bool code)
{
    return (Segment){.selector = selector,
                     .limit = UINT32_MAX,
                     .attr = (uint16_t)(type | SEG_S | SEG_P | dpl << SEG_DPL_SHIFT | SEG_G |
                                        (code ? SEG_L : SEG_DB))};
}

static void random_cpu(CPUX86 *cpu, GRand *rng)
{
    for (unsigned i = 0; i < 16; i++) {
        cpu->regs[i] = (uint64_t)g_rand_int(rng) << 32 | g_rand_int(rng);
    }
    cpu->rip = g_rand_int(rng);
    cpu->rflags = FLAG_ONE | (g_rand_int(rng) & FLAGS_ARITH);
    cpu->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    cpu->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR;
    cpu->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    cpu->cr2 = g_rand_int(rng);
    cpu->cr3 = 0x1000;
    cpu->segs[SEG_CS] = flat(0x10, 11, 0, true);
    cpu->segs[SEG_SS] = cpu->segs[SEG_DS] = cpu->segs[SEG_ES] = flat(0x18, 3, 0, false);
    cpu->segs[SEG_FS] = cpu->segs[SEG_GS] = flat(0x18, 3, 0, false);
    cpu->segs[SEG_FS].base = g_rand_int(rng);
    cpu->segs[SEG_GS].base = 0xffff800000000000ull | g_rand_int(rng);
    cpu->tr = (Segment){.selector = 0x28, .limit = 0x67, .base = 0x2000, .attr = SEG_P | 11};
    cpu->gdtr = (TableReg){.base = 0x3000, .limit = 0x7f};
    cpu->idtr = (TableReg){.base = 0x4000, .limit = 0xfff};
    cpu->lstar = 0xffffffff80000000ull | g_rand_int_range(rng, 0, 1 << 20);
    cpu->star = 0x0023001000000000ull;
    cpu->sfmask = 0x47700;
    cpu->kernel_gs_base = g_rand_int(rng);
    cpu->sysenter_cs = 0x10;
    cpu->sysenter_esp = g_rand_int(rng);
    cpu->sysenter_eip = g_rand_int(rng);
    cpu->dr[0] = g_rand_int(rng);
    cpu->dr[3] = g_rand_int(rng);
    cpu->exception_vector = -1;
    cpu->injected_vector = -1;
    random_fpu(cpu, rng);
}

static void compare_cpu(const CPUX86 *a, const CPUX86 *b)
{
    g_assert_cmpmem(a->regs, sizeof(a->regs), b->regs, sizeof(b->regs));
    g_assert_cmphex(a->rip, ==, b->rip);
    g_assert_cmphex(a->rflags, ==, b->rflags);
    g_assert_cmphex(a->cr0, ==, b->cr0);
    g_assert_cmphex(a->cr2, ==, b->cr2);
    g_assert_cmphex(a->cr3, ==, b->cr3);
    g_assert_cmphex(a->cr4, ==, b->cr4);
    g_assert_cmphex(a->efer, ==, b->efer);
    for (int i = 0; i < SEG_COUNT; i++) {
        g_assert_cmphex(a->segs[i].selector, ==, b->segs[i].selector);
        g_assert_cmphex(a->segs[i].base, ==, b->segs[i].base);
        g_assert_cmphex(a->segs[i].limit, ==, b->segs[i].limit);
        g_assert_cmphex(a->segs[i].attr, ==, b->segs[i].attr);
    }
    g_assert_cmphex(a->tr.base, ==, b->tr.base);
    g_assert_cmphex(a->gdtr.base, ==, b->gdtr.base);
    g_assert_cmphex(a->idtr.limit, ==, b->idtr.limit);
    g_assert_cmphex(a->star, ==, b->star);
    g_assert_cmphex(a->lstar, ==, b->lstar);
    g_assert_cmphex(a->sfmask, ==, b->sfmask);
    g_assert_cmphex(a->kernel_gs_base, ==, b->kernel_gs_base);
    g_assert_cmphex(a->sysenter_esp, ==, b->sysenter_esp);
    g_assert_cmphex(a->dr[0], ==, b->dr[0]);
    g_assert_cmphex(a->dr[3], ==, b->dr[3]);
    compare_fpu(a, b);
}

static void round_trip(Vcpu *v, void *opaque)
{
    GRand *rng = opaque;
    CPUX86 *want = new_cpu();
    g_autoptr(Error) err = NULL;

    cpu_reset(&v->cpu, true);
    random_cpu(&v->cpu, rng);
    memcpy(want, &v->cpu, sizeof(*want));
    g_assert_true(kvm_put_state(kvm_cpu(v), &err));
    memset(v->cpu.regs, 0xee, sizeof(v->cpu.regs));
    memset(v->cpu.vec, 0xee, sizeof(v->cpu.vec));
    memset(v->cpu.segs, 0, sizeof(v->cpu.segs));
    v->cpu.rip = v->cpu.cr3 = v->cpu.lstar = v->cpu.star = v->cpu.dr[0] = 1;
    kvm_cpu(v)->synced = false;
    g_assert_true(kvm_get_state(kvm_cpu(v), &err));
    compare_cpu(want, &v->cpu);
    free(want);
}

static void test_round_trip(void)
{
    g_autoptr(GRand) rng = g_rand_new_with_seed(1);
    Rig *r;

    if (!have_kvm() || !(r = rig_new())) {
        return;
    }
    for (int i = 0; i < 20; i++) {
        vcpu_run_on(r->v, round_trip, rng);
    }
    rig_free(r);
}

/* Real mode: MOV AL,5Ah; OUT 10h,AL; MOV [8000h],AL; HLT. */
static const uint8_t code[] = {0xb0, 0x5a, 0xe6, 0x10, 0xa2, 0x00, 0x80, 0xf4};

static uint64_t port_value;

static void port_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    *(uint64_t *)opaque = v;
}

static const RegionOps port_ops = {.write = port_write, .valid_max = 1};

static void start_code(Vcpu *v, void *opaque)
{
    cpu_reset(&v->cpu, true);
    v->cpu.segs[SEG_CS].selector = 0;
    v->cpu.segs[SEG_CS].base = 0;
    v->cpu.rip = 0x1000;
    vcpu_sync_in(v, NULL);
}

static void look(Vcpu *v, void *opaque)
{
    g_assert_true(vcpu_sync_out(v, NULL));
    *(bool *)opaque = v->cpu.halted && v->cpu.rip == 0x1000 + sizeof(code);
}

static void test_run(void)
{
    MemOwner owner = {.name = "port"};
    g_autoptr(GPtrArray) cpus = g_ptr_array_new();
    Region port;
    bool done = false;
    Rig *r;

    if (!have_kvm() || !(r = rig_new())) {
        return;
    }
    region_init_io(&port, &owner, &port_ops, &port_value, "port", 1);
    region_add(&r->io, 0x10, &port);
    memcpy(r->ram->host + 0x1000, code, sizeof(code));
    g_ptr_array_add(cpus, r->v);
    vcpu_run_on(r->v, start_code, NULL);
    vcpus_resume(cpus);
    for (int i = 0; i < 500 && !done; i++) {
        g_usleep(10000);
        vcpu_run_on(r->v, look, &done);
    }
    g_assert_true(done);
    vcpus_pause(cpus);
    g_assert_cmphex(port_value, ==, 0x5a);
    g_assert_cmphex(r->ram->host[0x8000], ==, 0x5a);
    region_del(&r->io, &port);
    region_fini(&port);
    rig_free(r);
}

/* MOV AL,11h; OUT 20h,AL; INC AX; OUT 20h,AL; OUT 10h,AL; HLT. */
static const uint8_t coalesced_code[] = {0xb0, 0x11, 0xe6, 0x20, 0x40,
                                         0xe6, 0x20, 0xe6, 0x10, 0xf4};

typedef struct Late {
    Rig *rig;
    unsigned count;
    uint64_t values[4];
    bool late; /* each came with the exit of another port */
} Late;

static void late_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    Late *l = opaque;
    const struct kvm_run *run = kvm_cpu(l->rig->v)->run;

    l->late = l->late && run->exit_reason == KVM_EXIT_IO && run->io.port == 0x10;
    l->values[l->count++ & 3] = v;
}

static const RegionOps late_ops = {.write = late_write, .valid_max = 1};

/* Writes to a port that may be put off come with the next exit, in order, and cost none. */
static void test_coalesced(void)
{
    MemOwner owner = {.name = "port"};
    g_autoptr(GPtrArray) cpus = g_ptr_array_new();
    Late late = {.late = true};
    Region port, lazy;
    Rig *r;

    if (!have_kvm() || !(r = rig_new())) {
        return;
    }
    late.rig = r;
    port_value = 0;
    region_init_io(&lazy, &owner, &late_ops, &late, "lazy", 1);
    lazy.coalesced = true;
    region_add(&r->io, 0x20, &lazy);
    region_init_io(&port, &owner, &port_ops, &port_value, "port", 1);
    region_add(&r->io, 0x10, &port);
    memcpy(r->ram->host + 0x1000, coalesced_code, sizeof(coalesced_code));
    g_ptr_array_add(cpus, r->v);
    vcpu_run_on(r->v, start_code, NULL);
    vcpus_resume(cpus);
    for (int i = 0; i < 500 && !port_value; i++) {
        g_usleep(10000);
    }
    vcpus_pause(cpus);
    g_assert_cmphex(port_value, ==, 0x12);
    g_assert_cmpuint(late.count, ==, 2);
    g_assert_cmphex(late.values[0], ==, 0x11);
    g_assert_cmphex(late.values[1], ==, 0x12);
    if (kvm_check(r->accel->data, KVM_CAP_COALESCED_PIO) > 0) {
        g_assert_true(late.late);
    }
    region_del(&r->io, &port);
    region_del(&r->io, &lazy);
    region_fini(&port);
    region_fini(&lazy);
    rig_free(r);
}

/* Messages by eventfd: routes are made, changed, connected and given back. */
static void test_irqfd(void)
{
    const AccelIrqchip *chip;
    int first, second, fd;
    Rig *r;

    if (!have_kvm() || !(r = rig_new())) {
        return;
    }
    chip = r->accel->irqchip;
    if (!chip || !chip->irqfd) {
        g_test_skip("the kernel has no irqfd");
        rig_free(r);
        return;
    }
    first = chip->msi_route(r->accel);
    second = chip->msi_route(r->accel);
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g_assert_cmpint(first, >=, 24);
    g_assert_cmpint(second, !=, first);
    g_assert_true(chip->msi_update(r->accel, first, 0xfee00000, 0x41));
    g_assert_true(chip->irqfd(r->accel, first, fd, true));
    g_assert_true(chip->msi_update(r->accel, first, 0xfee00000, 0x42));
    g_assert_true(chip->irqfd(r->accel, first, fd, false));
    chip->msi_free(r->accel, first);
    g_assert_cmpint(chip->msi_route(r->accel), ==, first);
    chip->msi_free(r->accel, first);
    chip->msi_free(r->accel, second);
    close(fd);
    rig_free(r);
}

/* ---- what the kernel lacks ---- */

/* Each capability says in one line what goes without it; info names just those that lack. */
static void test_capabilities(void)
{
    unsigned n, needed = 0;
    const KvmCapability *c = kvm_capabilities(&n);
    Rig *r;

    g_assert_cmpuint(n, >, 30);
    for (unsigned i = 0; i < n; i++) {
        g_assert_true(g_str_has_prefix(c[i].name, "KVM_CAP_"));
        for (unsigned j = 0; j < i; j++) {
            g_assert_cmpint(c[j].cap, !=, c[i].cap);
        }
        if (!c[i].loss) {
            needed++;
            continue;
        }
        g_assert_cmpuint(strlen(c[i].loss), >, 10);
        g_assert_cmpuint(strlen(c[i].loss), <, 100);
        g_assert_null(strchr(c[i].loss, '\n'));
    }
    g_assert_cmpuint(needed, >, 5);
    r = have_kvm() ? rig_new() : NULL;
    if (r) {
        g_autoptr(GString) text = g_string_new(NULL);

        accel_class(r->accel)->info(r->accel, text);
        for (unsigned i = 0; i < n; i++) {
            g_autofree char *line = g_strdup_printf("lacks %s: ", c[i].name);

            g_assert_true((kvm_check(r->accel->data, c[i].cap) <= 0) == !!strstr(text->str, line));
        }
        rig_free(r);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/kvm/xsave", test_xsave);
    g_test_add_func("/kvm/models", test_models);
    g_test_add_func("/kvm/round-trip", test_round_trip);
    g_test_add_func("/kvm/run", test_run);
    g_test_add_func("/kvm/irqfd", test_irqfd);
    g_test_add_func("/kvm/capabilities", test_capabilities);
    g_test_add_func("/kvm/coalesced", test_coalesced);
    return g_test_run();
}
