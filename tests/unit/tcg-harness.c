/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcg-harness.h"

#include "target/i386/model.h"

#include <stdlib.h>
#include <string.h>

static void make_memory(Harness *h, uint64_t size)
{
    Error *err = NULL;
    RamOptions o = {0};
    h->sys = memory_system_new();
    h->ram = ram_block_new(h->sys, "ram", size, &o, &err);
    g_assert_nonnull(h->ram);
    region_init_container(&h->root, "memory", MEMORY_WHOLE);
    region_init_container(&h->io, "io", 65536);
    region_init_ram(&h->ram_region, "ram", h->ram);
    region_add(&h->root, 0, &h->ram_region);
}

Harness *harness_new(uint64_t size)
{
    return harness_new_tb(size, 16);
}

static void free_memory(Harness *h)
{
    region_fini(&h->ram_region);
    region_fini(&h->root);
    region_fini(&h->io);
    ram_block_unref(h->ram);
    memory_system_free(h->sys);
}

Harness *harness_new_tb(uint64_t size, unsigned tb_mib)
{
    Error *err = NULL;
    Harness *h = harness_new_engine(size, tb_mib, NULL, &err);
    g_assert_nonnull(h);
    return h;
}

Harness *harness_new_engine(uint64_t size, unsigned tb_mib, const char *engine, Error **errp)
{
    Harness *h = g_new0(Harness, 1);
    Error *err = NULL;
    make_memory(h, size);
    h->accel = accel_new("tcg", &err);
    g_assert_nonnull(h->accel);
    const AccelClass *k = accel_class(h->accel);
    object_set_uint(&h->accel->obj, "tb-size", tb_mib);
    if (!engine) { /* the same tests run on both engines (tests/meson.build) */
        engine = g_getenv("RHEA_TEST_ENGINE");
    }
    object_set_uint(&h->accel->obj, "x-heat", 0);
    if ((engine && !object_set_string(&h->accel->obj, "engine", engine, errp)) ||
        !k->create(h->accel, h->sys, errp)) {
        object_unref(&h->accel->obj);
        free_memory(h);
        g_free(h);
        return NULL;
    }
    h->v = vcpu_allocate(h->accel);
    h->v->accel = h->accel;
    h->cpu = &h->v->cpu;
    h->cpu->vcpu = h->v;
    CpuEngineInfo info = {0};
    cpu_engine_tcg(&info);
    g_assert_true(cpu_model_parse("max", &info, &h->cpu->config, &err));
    h->cpu->as = h->cpu->as_smm = address_space_new(h->sys, &h->root, "cpu");
    h->cpu->as_io = address_space_new(h->sys, &h->io, "io");
    cpu_reset(h->cpu, true);
    g_assert_true(k->vcpu_create(h->accel, h->v, &err));
    return h;
}

void harness_free(Harness *h)
{
    const AccelClass *k = accel_class(h->accel);
    k->vcpu_destroy(h->v);
    k->destroy(h->accel);
    object_unref(&h->accel->obj);
    address_space_free(h->cpu->as);
    address_space_free(h->cpu->as_io);
    free_memory(h);
    vcpu_deallocate(h->v);
    g_free(h);
}

void harness_write(Harness *h, uint64_t phys, const void *data, size_t len)
{
    memcpy(h->ram->host + phys, data, len);
    ram_mark_dirty(h->ram, phys, len);
}

static void set_segments(CPUX86 *cpu, uint16_t code, uint16_t data)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->segs[i] = (Segment){.selector = i == SEG_CS ? 8 : 16,
                                 .attr = i == SEG_CS ? code : data,
                                 .limit = UINT32_MAX};
    }
}

#define DATA_ATTR (SEG_P | SEG_S | SEG_TYPE_RW | SEG_TYPE_ACCESSED | SEG_DB | SEG_G)
#define CODE_ATTR (SEG_P | SEG_S | SEG_TYPE_CODE | SEG_TYPE_RW | SEG_TYPE_ACCESSED | SEG_G)

void harness_long_mode(Harness *h, uint64_t tables)
{
    CPUX86 *cpu = h->cpu;
    uint64_t e = (tables + 4096) | 3;
    harness_write(h, tables, &e, 8);
    e = (tables + 8192) | 3;
    harness_write(h, tables + 4096, &e, 8);
    for (uint64_t i = 0; i < 512; i++) {
        e = i << 21 | 0x83;
        harness_write(h, tables + 8192 + i * 8, &e, 8);
    }
    cpu_reset(cpu, true);
    cpu->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_ET | CR0_WP;
    cpu->cr3 = tables;
    cpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    cpu->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    set_segments(cpu, CODE_ATTR | SEG_L, DATA_ATTR);
    cpu->rflags = FLAG_ONE;
    cpu_update_hflags(cpu);
}

void harness_protected_mode(Harness *h)
{
    CPUX86 *cpu = h->cpu;
    cpu_reset(cpu, true);
    cpu->cr0 = CR0_PE | CR0_NE | CR0_ET;
    cpu->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
    set_segments(cpu, CODE_ATTR | SEG_DB, DATA_ATTR);
    cpu->rflags = FLAG_ONE;
    cpu_update_hflags(cpu);
}

void harness_real_mode(Harness *h, uint16_t cs, uint16_t ip)
{
    CPUX86 *cpu = h->cpu;
    cpu_reset(cpu, true);
    cpu->segs[SEG_CS].selector = cs;
    cpu->segs[SEG_CS].base = (uint32_t)cs << 4;
    cpu->rip = ip;
    cpu_update_hflags(cpu);
}

RunExit harness_run(Harness *h)
{
    h->cpu->halted = false;
    return accel_class(h->accel)->run(h->v);
}

struct HarnessCpu {
    Harness *h;
    Vcpu *v;
    pthread_t thread;
    RunExit exit;
};

static void *cpu_thread(void *opaque)
{
    HarnessCpu *c = opaque;
    const AccelClass *k = accel_class(c->h->accel);
    Error *err = NULL;
    g_assert_true(k->vcpu_create(c->h->accel, c->v, &err));
    c->exit = k->run(c->v);
    k->vcpu_destroy(c->v);
    return NULL;
}

HarnessCpu *harness_start(Harness *h, uint64_t rip, uint64_t rsp)
{
    HarnessCpu *c = g_new0(HarnessCpu, 1);
    c->h = h;
    c->v = vcpu_allocate(h->accel);
    c->v->accel = h->accel;
    c->v->cpu = *h->cpu;
    c->v->cpu.engine = NULL;
    c->v->cpu.irq_pending = 0;
    c->v->cpu.halted = false;
    c->v->cpu.index = 1;
    c->v->cpu.vcpu = c->v;
    c->v->cpu.rip = rip;
    c->v->cpu.regs[R_RSP] = rsp;
    g_assert_cmpint(pthread_create(&c->thread, NULL, cpu_thread, c), ==, 0);
    return c;
}

RunExit harness_join(HarnessCpu *c, uint64_t *rax)
{
    pthread_join(c->thread, NULL);
    RunExit r = c->exit;
    if (rax) {
        *rax = c->v->cpu.regs[R_RAX];
    }
    vcpu_deallocate(c->v);
    g_free(c);
    return r;
}
