/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Regions, views, listeners, access and dispatch. */
#include "memory/memory.h"
#include "util/log.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- a device that remembers ---- */

typedef struct Probe {
    MemOwner owner;
    Region region;
    AddressSpace *as; /* DMA target of the re-entrancy test */
    hwaddr dma_addr;
    MemResult dma_result;
    uint64_t value;
    hwaddr offset;
    unsigned size, reads, writes;
    struct {
        hwaddr offset;
        unsigned size;
        uint64_t value;
    } log[16];
} Probe;

static uint64_t probe_read(void *opaque, hwaddr offset, unsigned size)
{
    Probe *p = opaque;

    p->offset = offset;
    p->size = size;
    p->reads++;
    if (p->as) {
        uint32_t v;

        p->dma_result = address_space_read(p->as, p->dma_addr, MEM_ATTRS_NONE, &v, 4);
    }
    /* Byte n of the register file has the value n + 1. */
    uint64_t v = 0;
    for (unsigned i = 0; i < size; i++) {
        v |= (uint64_t)(uint8_t)(offset + i + 1) << (8 * i);
    }
    return v;
}

static void probe_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
    Probe *p = opaque;

    p->offset = offset;
    p->size = size;
    p->value = value;
    if (p->writes < G_N_ELEMENTS(p->log)) {
        p->log[p->writes].offset = offset;
        p->log[p->writes].size = size;
        p->log[p->writes].value = value;
    }
    p->writes++;
}

static const RegionOps any_ops = {
    .read = probe_read, .write = probe_write, .valid_max = 8, .impl_max = 8};
static const RegionOps default_ops = {.read = probe_read, .write = probe_write};
static const RegionOps byte_ops = {.read = probe_read, .write = probe_write, .impl_max = 1};
static const RegionOps word_only_ops = {
    .read = probe_read, .write = probe_write, .valid_min = 4, .valid_max = 4, .aligned_only = true};
static const RegionOps wide_impl_ops = {
    .read = probe_read, .write = probe_write, .impl_min = 4, .impl_max = 4};
static const RegionOps be_ops = {
    .read = probe_read, .write = probe_write, .big_endian = true, .impl_min = 2, .impl_max = 2};

/* ---- the world ---- */

typedef struct World {
    MemorySystem *sys;
    Region root;
    AddressSpace *as;
    RamBlock *ram;
    Region ram_region;
} World;

static void world_open(World *w, uint64_t ram_size)
{
    memset(w, 0, sizeof(*w));
    w->sys = memory_system_new();
    region_init_container(&w->root, "system", MEMORY_WHOLE);
    w->as = address_space_new(w->sys, &w->root, "memory");
    if (ram_size) {
        w->ram = ram_block_new(w->sys, "pc.ram", ram_size, NULL, NULL);
        g_assert_nonnull(w->ram);
        region_init_ram(&w->ram_region, "pc.ram", w->ram);
    }
}

static void world_close(World *w)
{
    address_space_free(w->as);
    region_fini(&w->ram_region);
    region_fini(&w->root);
    ram_block_unref(w->ram);
    memory_system_free(w->sys);
    rcu_barrier();
}

static uint64_t ld(World *w, hwaddr addr, unsigned size)
{
    uint64_t v = 0x5a5a5a5a5a5a5a5a;

    address_space_ld(w->as, addr, MEM_ATTRS_NONE, size, &v);
    return v;
}

static Region *at(World *w, hwaddr addr)
{
    MemTarget t;

    address_space_lookup(w->as, addr, &t);
    return t.region;
}

/* ---- views ---- */

static void test_overlap(void)
{
    World w;
    Probe a = {0}, b = {0}, c = {0};
    MemTarget t;

    world_open(&w, 0);
    region_init_io(&a.region, NULL, &any_ops, &a, "a", 0x1000);
    region_init_io(&b.region, NULL, &any_ops, &b, "b", 0x100);
    region_init_io(&c.region, NULL, &any_ops, &c, "c", 0x80);
    region_add(&w.root, 0x1000, &a.region);
    region_add_overlap(&w.root, 0x1400, &b.region, 1);
    region_add_overlap(&w.root, 0x1440, &c.region, -1);
    g_assert_true(at(&w, 0x13ff) == &a.region);
    g_assert_true(at(&w, 0x1400) == &b.region);
    g_assert_true(at(&w, 0x14ff) == &b.region);
    g_assert_true(at(&w, 0x1500) == &a.region);
    address_space_lookup(w.as, 0x1480, &t);
    g_assert_cmpuint(t.offset, ==, 0x80);
    g_assert_cmpuint(t.len, ==, 0x80);
    address_space_lookup(w.as, 0x1500, &t);
    g_assert_cmpuint(t.offset, ==, 0x500);
    /* Nothing there: the length reaches to the next range. */
    address_space_lookup(w.as, 0, &t);
    g_assert_cmpuint(t.len, ==, 0x1000);
    g_assert_null(t.host);
    g_assert_cmphex(ld(&w, 0, 4), ==, 0xffffffff);
    region_set_enabled(&a.region, false);
    g_assert_true(at(&w, 0x1440) == &b.region);
    region_set_enabled(&b.region, false);
    g_assert_true(at(&w, 0x1440) == &c.region);
    region_set_address(&c.region, 0x8000);
    g_assert_true(at(&w, 0x807f) == &c.region);
    region_set_size(&c.region, 0x40);
    g_assert_true(at(&w, 0x8040) != &c.region);
    region_fini(&a.region);
    region_fini(&b.region);
    region_fini(&c.region);
    region_fini(&c.region);
    world_close(&w);
}

static void test_equal_priority(void)
{
    World w;
    Region old, fresh;

    world_open(&w, 0);
    region_init_reserved(&old, "old", 0x100);
    region_init_reserved(&fresh, "new", 0x100);
    region_add_overlap(&w.root, 0, &old, 1);
    region_add_overlap(&w.root, 0, &fresh, 1);
    g_assert_true(at(&w, 0) == &fresh);
    region_fini(&fresh);
    g_assert_true(at(&w, 0) == &old);
    region_fini(&old);
    world_close(&w);
}

static void test_alias(void)
{
    World w;
    Region low, high, mirror;

    world_open(&w, 1 * MiB);
    region_init_alias(&low, "low", &w.ram_region, 0, 0x80000);
    region_init_alias(&high, "high", &w.ram_region, 0x80000, 0x80000);
    region_add(&w.root, 0, &low);
    region_add(&w.root, 0x100000000, &high);
    g_assert_cmpint(address_space_st(w.as, 0x100000010, MEM_ATTRS_NONE, 4, 0x11223344), ==, MEM_OK);
    g_assert_cmphex(ld_le32(w.ram->host + 0x80010), ==, 0x11223344);
    g_assert_cmphex(ld(&w, 0x80010, 4), ==, 0xffffffff);
    /* An alias of an alias, with a readonly on the way. */
    region_init_alias(&mirror, "mirror", &high, 0x10, 0x100);
    region_set_readonly(&mirror, true);
    region_add(&w.root, 0x200000000, &mirror);
    g_assert_cmphex(ld(&w, 0x200000000, 4), ==, 0x11223344);
    address_space_st(w.as, 0x200000000, MEM_ATTRS_NONE, 4, 0);
    g_assert_cmphex(ld(&w, 0x200000000, 4), ==, 0x11223344);
    region_set_alias_offset(&mirror, 0x14);
    g_assert_cmphex(ld(&w, 0x200000000, 4), ==, 0);
    /* A child added to an alias' target becomes visible through it. */
    Region box, window, inner;
    region_init_container(&box, "box", 0x1000);
    region_init_alias(&window, "window", &box, 0x800, 0x800);
    region_add(&w.root, 0x300000000, &window);
    region_init_reserved(&inner, "inner", 0x10);
    region_add(&box, 0x900, &inner);
    g_assert_true(at(&w, 0x300000100) == &inner);
    g_assert_true(at(&w, 0x300000110) != &inner);
    region_fini(&inner);
    region_fini(&window);
    region_fini(&box);
    region_fini(&mirror);
    region_fini(&high);
    region_fini(&low);
    world_close(&w);
}

static void test_whole(void)
{
    World w;
    Probe p = {0};
    MemTarget t;
    uint8_t buf[16];

    world_open(&w, 0);
    region_init_io(&p.region, NULL, &any_ops, &p, "all", MEMORY_WHOLE);
    region_add_overlap(&w.root, 0, &p.region, -10);
    address_space_lookup(w.as, 0, &t);
    g_assert_true(t.region == &p.region);
    g_assert_cmphex(t.len, ==, UINT64_MAX);
    address_space_lookup(w.as, UINT64_MAX, &t);
    g_assert_cmphex(t.offset, ==, UINT64_MAX);
    g_assert_cmpuint(t.len, ==, 1);
    ld(&w, UINT64_MAX - 7, 8);
    g_assert_cmphex(p.offset, ==, UINT64_MAX - 7);
    /* Nothing lies behind the end, and nothing wraps to address 0. */
    memset(buf, 0, sizeof(buf));
    p.reads = 0;
    g_assert_cmpint(address_space_read(w.as, UINT64_MAX - 3, MEM_ATTRS_NONE, buf, 16), ==,
                    MEM_DECODE_ERROR);
    g_assert_cmpuint(p.reads, ==, 1);
    g_assert_cmphex(buf[4], ==, 0xff);
    g_assert_cmphex(buf[15], ==, 0xff);
    uint64_t v;
    g_assert_cmpint(address_space_ld(w.as, UINT64_MAX - 1, MEM_ATTRS_NONE, 4, &v), ==,
                    MEM_DECODE_ERROR);
    g_assert_cmphex(v >> 16, ==, 0xffff);
    p.writes = 0;
    g_assert_cmpint(address_space_st(w.as, UINT64_MAX - 1, MEM_ATTRS_NONE, 4, 0), ==,
                    MEM_DECODE_ERROR);
    g_assert_cmpuint(p.writes, ==, 2);
    region_fini(&p.region);
    world_close(&w);
}

/* ---- dispatch ---- */

static void test_sizes(void)
{
    World w;
    Probe p = {0};
    uint64_t v;

    world_open(&w, 0);
    region_init_io(&p.region, NULL, &default_ops, &p, "p", 0x100);
    region_add(&w.root, 0, &p.region);
    g_assert_cmphex(ld(&w, 0x10, 4), ==, 0x14131211);
    g_assert_cmphex(ld(&w, 0x11, 2), ==, 0x1312); /* misaligned: as it is */
    g_assert_cmpuint(p.offset, ==, 0x11);
    g_assert_cmphex(ld(&w, 0x10, 8), ==, 0x1817161514131211);
    g_assert_cmpuint(p.size, ==, 4);

    p.region.ops = &byte_ops;
    p.writes = 0;
    address_space_st(w.as, 4, MEM_ATTRS_NONE, 2, 0xabcd);
    g_assert_cmpuint(p.writes, ==, 2);
    g_assert_cmphex(p.log[0].value, ==, 0xcd);
    g_assert_cmphex(p.log[1].value, ==, 0xab);
    g_assert_cmpuint(p.log[1].offset, ==, 5);

    p.region.ops = &word_only_ops;
    p.reads = 0;
    g_assert_cmpint(address_space_ld(w.as, 0, MEM_ATTRS_NONE, 2, &v), ==, MEM_DECODE_ERROR);
    g_assert_cmphex(v, ==, 0xffff);
    g_assert_cmpint(address_space_ld(w.as, 2, MEM_ATTRS_NONE, 4, &v), ==, MEM_DECODE_ERROR);
    g_assert_cmpuint(p.reads, ==, 0);
    g_assert_cmpint(address_space_ld(w.as, 8, MEM_ATTRS_NONE, 8, &v), ==, MEM_OK);
    g_assert_cmpuint(p.reads, ==, 2);

    p.region.ops = &wide_impl_ops;
    g_assert_cmphex(ld(&w, 0x11, 1), ==, 0x12);
    g_assert_cmpuint(p.offset, ==, 0x10);
    g_assert_cmphex(ld(&w, 0x13, 2), ==, 0x1514); /* two units */
    p.writes = 0;
    address_space_st(w.as, 0x21, MEM_ATTRS_NONE, 1, 0x77);
    g_assert_cmpuint(p.writes, ==, 1);
    g_assert_cmphex(p.log[0].value, ==, 0x7700);
    g_assert_cmpuint(p.log[0].offset, ==, 0x20);

    p.region.ops = &be_ops;
    g_assert_cmphex(ld(&w, 0x10, 2), ==, 0x1112);
    g_assert_cmphex(ld(&w, 0x10, 4), ==, 0x13141112);
    region_fini(&p.region);
    world_close(&w);
}

static void test_spans(void)
{
    World w;
    Probe p = {0};
    uint8_t buf[64], out[64];

    world_open(&w, 0x1000);
    region_add(&w.root, 0, &w.ram_region);
    region_init_io(&p.region, NULL, &default_ops, &p, "p", 0x10);
    region_add(&w.root, 0x1000, &p.region);
    for (unsigned i = 0; i < sizeof(buf); i++) {
        buf[i] = (uint8_t)(i * 3);
    }
    /* RAM, then the device, then nothing. */
    g_assert_cmpint(address_space_write(w.as, 0xff1, MEM_ATTRS_NONE, buf, 64), ==,
                    MEM_DECODE_ERROR);
    g_assert_cmpint(memcmp(w.ram->host + 0xff1, buf, 15), ==, 0);
    g_assert_cmpuint(p.writes, ==, 4);
    g_assert_cmphex(p.log[3].value, ==, ld_le32(buf + 15 + 12));
    g_assert_cmpint(address_space_read(w.as, 0xff1, MEM_ATTRS_NONE, out, 31), ==, MEM_OK);
    g_assert_cmpint(memcmp(out, buf, 15), ==, 0);
    g_assert_cmphex(out[15], ==, 1);
    g_assert_cmphex(out[30], ==, 16);
    /* One load over the border. */
    st_le32(w.ram->host + 0xffc, 0xaabbccdd);
    g_assert_cmphex(ld(&w, 0xffe, 4), ==, 0x0201aabb);
    region_fini(&p.region);
    world_close(&w);
}

static void test_rom(void)
{
    World w;
    RamBlock *b;
    Region rom, flash;
    Probe p = {0};

    world_open(&w, 0);
    b = ram_block_new(w.sys, "rom", 0x2000, NULL, NULL);
    region_init_rom(&rom, "rom", b);
    region_add(&w.root, 0, &rom);
    g_assert_cmpint(address_space_write_rom(w.as, 0x10, "abcd", 4), ==, MEM_OK);
    g_assert_cmpint(address_space_st(w.as, 0x10, MEM_ATTRS_NONE, 4, 0), ==, MEM_OK);
    g_assert_cmphex(ld(&w, 0x10, 4), ==, 0x64636261);

    region_init_romd(&flash, NULL, &default_ops, &p, "flash", b);
    region_add(&w.root, 0x10000, &flash);
    g_assert_cmphex(ld(&w, 0x10010, 4), ==, 0x64636261);
    address_space_st(w.as, 0x10010, MEM_ATTRS_NONE, 1, 0x90);
    g_assert_cmpuint(p.writes, ==, 1);
    g_assert_cmphex(p.value, ==, 0x90);
    region_romd_set(&flash, false);
    g_assert_cmphex(ld(&w, 0x10010, 4), ==, 0x14131211);
    g_assert_cmphex(b->host[0x10], ==, 'a');
    region_fini(&flash);
    region_fini(&rom);
    ram_block_unref(b);
    world_close(&w);
}

static void test_reentrancy(void)
{
    World w;
    Probe p = {0}, other = {0};
    ClockSet *clocks = clock_set_new();
    EventLoop *loop = loop_new("test", clocks, NULL);
    uint64_t v;

    world_open(&w, 0);
    p.owner = (MemOwner){.name = "probe", .loop = loop};
    other.owner = (MemOwner){.name = "other", .loop = loop};
    region_init_io(&p.region, &p.owner, &default_ops, &p, "p", 0x100);
    region_init_io(&other.region, &other.owner, &default_ops, &other, "other", 0x100);
    region_add(&w.root, 0, &p.region);
    region_add(&w.root, 0x100, &other.region);
    p.as = w.as;
    p.dma_addr = 0x20;
    g_assert_cmpint(address_space_ld(w.as, 0, MEM_ATTRS_NONE, 4, &v), ==, MEM_OK);
    g_assert_cmpint(p.dma_result, ==, MEM_DEVICE_ERROR);
    g_assert_cmpuint(p.reads, ==, 1);
    g_assert_false(p.owner.busy);
    g_assert_false(loop_lock_held(loop));
    /* Into another device of the same loop it may. */
    p.dma_addr = 0x120;
    g_assert_cmpint(address_space_ld(w.as, 0, MEM_ATTRS_NONE, 4, &v), ==, MEM_OK);
    g_assert_cmpint(p.dma_result, ==, MEM_OK);
    /* Across loops it may not, since waiting could close a circle. */
    EventLoop *second = loop_new("second", clocks, NULL);
    other.owner.loop = second;
    g_assert_cmpint(address_space_ld(w.as, 0, MEM_ATTRS_NONE, 4, &v), ==, MEM_OK);
    g_assert_cmpint(p.dma_result, ==, MEM_DEVICE_ERROR);
    region_fini(&p.region);
    region_fini(&other.region);
    world_close(&w);
    loop_free(second);
    loop_free(loop);
    clock_set_free(clocks);
}

/* ---- listeners ---- */

typedef struct Recorder {
    MemoryListener l;
    GString *log;
} Recorder;

static void rec(MemoryListener *l, const char *what, const MemSection *s)
{
    Recorder *r = container_of(l, Recorder, l);

    g_string_append_printf(r->log, "%s:%s:%" G_GINT64_MODIFIER "x-%" G_GINT64_MODIFIER "x ", what,
                           s->region->name, s->addr, s->last);
}
static void rec_add(MemoryListener *l, const MemSection *s)
{
    rec(l, "+", s);
}
static void rec_del(MemoryListener *l, const MemSection *s)
{
    rec(l, "-", s);
}
static void rec_start(MemoryListener *l, const MemSection *s)
{
    rec(l, "log", s);
}
static void rec_stop(MemoryListener *l, const MemSection *s)
{
    rec(l, "nolog", s);
}
static void rec_commit(MemoryListener *l)
{
    Recorder *r = container_of(l, Recorder, l);

    g_string_append(r->log, "commit ");
}
static void rec_fd_add(MemoryListener *l, const MemSection *s, unsigned size, bool match,
                       uint64_t data, int fd)
{
    rec(l, "+fd", s);
}
static void rec_fd_del(MemoryListener *l, const MemSection *s, unsigned size, bool match,
                       uint64_t data, int fd)
{
    rec(l, "-fd", s);
}
static void rec_clean(MemoryListener *l, RamBlock *b, uint64_t offset, uint64_t len)
{
    Recorder *r = container_of(l, Recorder, l);

    g_string_append_printf(r->log, "clean:%x+%x ", (unsigned)offset, (unsigned)len);
}
static void rec_code(MemoryListener *l, RamBlock *b, uint64_t offset, uint64_t len)
{
    Recorder *r = container_of(l, Recorder, l);

    g_string_append_printf(r->log, "code:%x+%x ", (unsigned)offset, (unsigned)len);
}

static void recorder_init(Recorder *r, AddressSpace *filter)
{
    *r = (Recorder){.l = {.name = "recorder",
                          .add = rec_add,
                          .del = rec_del,
                          .log_start = rec_start,
                          .log_stop = rec_stop,
                          .commit = rec_commit,
                          .eventfd_add = rec_fd_add,
                          .eventfd_del = rec_fd_del,
                          .clean = rec_clean,
                          .code_written = rec_code,
                          .filter = filter},
                    .log = g_string_new(NULL)};
}

#define EXPECT(r, text)                           \
    do {                                          \
        g_assert_cmpstr((r)->log->str, ==, text); \
        g_string_truncate((r)->log, 0);           \
    } while (0)

static void test_listener(void)
{
    World w;
    Recorder r;
    Region hole, io_root;
    AddressSpace *io;

    world_open(&w, 0x4000);
    region_add(&w.root, 0x1000, &w.ram_region);
    region_init_container(&io_root, "io", 0x10000);
    io = address_space_new(w.sys, &io_root, "I/O");
    recorder_init(&r, w.as);
    memory_listener_add(w.sys, &r.l);
    EXPECT(&r, "+:pc.ram:1000-4fff commit ");
    region_init_reserved(&hole, "hole", 0x100);
    region_add_overlap(&w.root, 0x2000, &hole, 1);
    EXPECT(&r, "-:pc.ram:1000-4fff +:pc.ram:1000-1fff +:hole:2000-20ff +:pc.ram:2100-4fff commit ");
    /* One transaction, no net change. */
    memory_begin(w.sys);
    region_set_enabled(&hole, false);
    region_set_enabled(&hole, true);
    memory_commit(w.sys);
    EXPECT(&r, "commit ");
    memory_begin(w.sys);
    region_set_address(&hole, 0x1000);
    region_set_enabled(&hole, false);
    memory_commit(w.sys);
    EXPECT(&r, "-:pc.ram:1000-1fff -:hole:2000-20ff -:pc.ram:2100-4fff +:pc.ram:1000-4fff commit ");
    region_set_dirty_log(&w.ram_region, DIRTY_VGA, true);
    EXPECT(&r, "log:pc.ram:1000-4fff commit ");
    region_set_dirty_log(&w.ram_region, DIRTY_MIGRATION, true);
    EXPECT(&r, "commit ");
    region_set_dirty_log(&w.ram_region, DIRTY_VGA, false);
    region_set_dirty_log(&w.ram_region, DIRTY_MIGRATION, false);
    EXPECT(&r, "commit nolog:pc.ram:1000-4fff commit ");
    memory_listener_del(w.sys, &r.l);
    EXPECT(&r, "-:pc.ram:1000-4fff commit ");
    g_string_free(r.log, TRUE);
    region_fini(&hole);
    address_space_free(io);
    region_fini(&io_root);
    world_close(&w);
}

static void test_eventfd(void)
{
    World w;
    Recorder r;
    Probe p = {0};
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint64_t n = 0;

    world_open(&w, 0);
    recorder_init(&r, NULL);
    memory_listener_add(w.sys, &r.l);
    g_string_truncate(r.log, 0);
    region_init_io(&p.region, NULL, &default_ops, &p, "bar", 0x1000);
    region_add_eventfd(&p.region, 0x10, 2, false, 0, fd);
    region_add_eventfd(&p.region, 0x20, 4, true, 7, fd);
    region_add(&w.root, 0x1000, &p.region);
    EXPECT(&r, "+:bar:1000-1fff +fd:bar:1010-1011 +fd:bar:1020-1023 commit ");
    address_space_st(w.as, 0x1010, MEM_ATTRS_NONE, 2, 99);
    g_assert_cmpint(read(fd, &n, 8), ==, 8);
    address_space_st(w.as, 0x1020, MEM_ATTRS_NONE, 4, 7);
    g_assert_cmpint(read(fd, &n, 8), ==, 8);
    g_assert_cmpuint(p.writes, ==, 0);
    address_space_st(w.as, 0x1020, MEM_ATTRS_NONE, 4, 8);
    address_space_st(w.as, 0x1010, MEM_ATTRS_NONE, 4, 8);
    g_assert_cmpuint(p.writes, ==, 2);
    region_set_address(&p.region, 0x3000);
    EXPECT(&r, "-:bar:1000-1fff +:bar:3000-3fff -fd:bar:1010-1011 -fd:bar:1020-1023 "
               "+fd:bar:3010-3011 +fd:bar:3020-3023 commit ");
    region_del_eventfd(&p.region, 0x10, 2, false, 0, fd);
    EXPECT(&r, "-fd:bar:3010-3011 commit ");
    region_fini(&p.region);
    EXPECT(&r, "-:bar:3000-3fff -fd:bar:3020-3023 commit ");
    memory_listener_del(w.sys, &r.l);
    g_string_free(r.log, TRUE);
    world_close(&w);
    close(fd);
}

/* ---- RAM ---- */

static void test_dirty(void)
{
    World w;
    Recorder r;
    void *p;
    size_t len;

    world_open(&w, 2 * MiB);
    region_add(&w.root, 0, &w.ram_region);
    recorder_init(&r, NULL);
    memory_listener_add(w.sys, &r.l);
    g_string_truncate(r.log, 0);
    /* Everything is dirty at first. */
    g_assert_true(ram_test_clear_dirty(w.ram, DIRTY_VGA, 0, 2 * MiB));
    EXPECT(&r, "clean:0+200000 ");
    g_assert_false(ram_test_clear_dirty(w.ram, DIRTY_VGA, 0, 2 * MiB));
    EXPECT(&r, "");
    address_space_st(w.as, 0x3fff, MEM_ATTRS_NONE, 4, 1);
    g_assert_true(ram_test_dirty(w.ram, DIRTY_VGA, 0x3000, 1));
    g_assert_true(ram_page_dirty(w.ram, DIRTY_VGA, 0x4000));
    g_assert_false(ram_test_dirty(w.ram, DIRTY_VGA, 0x5000, 0x1000));
    g_assert_false(ram_test_dirty(w.ram, DIRTY_VGA, 0, 0x3000));
    /* Where translated code may be, a write tells. */
    EXPECT(&r, "");
    ram_test_clear_dirty(w.ram, DIRTY_CODE, 0x40000, 0x1000);
    EXPECT(&r, "clean:40000+1000 ");
    address_space_st(w.as, 0x40010, MEM_ATTRS_NONE, 4, 1);
    EXPECT(&r, "code:40010+4 ");
    address_space_st(w.as, 0x40010, MEM_ATTRS_NONE, 4, 1);
    EXPECT(&r, "");
    /* Spans past the end are clamped. */
    g_assert_false(ram_test_dirty(w.ram, DIRTY_VGA, 2 * MiB, 0x1000));
    ram_mark_dirty(w.ram, 2 * MiB - 1, UINT64_MAX);
    g_assert_true(ram_test_dirty(w.ram, DIRTY_VGA, 2 * MiB - 0x1000, UINT64_MAX));

    len = 0x10000;
    p = address_space_map(w.as, 0x10000, &len, true);
    g_assert_true(p == w.ram->host + 0x10000);
    g_assert_cmpuint(len, ==, 0x10000);
    address_space_unmap(w.as, p, 0x2000, true);
    g_assert_true(ram_test_dirty(w.ram, DIRTY_VGA, 0x11000, 1));
    g_assert_false(ram_test_dirty(w.ram, DIRTY_VGA, 0x12000, 1));
    len = 4 * MiB;
    p = address_space_map(w.as, 0x1000, &len, false);
    g_assert_cmpuint(len, ==, 2 * MiB - 0x1000);
    address_space_unmap(w.as, p, 0, false);
    len = 16;
    g_assert_null(address_space_map(w.as, 2 * MiB, &len, false));
    g_assert_cmpuint(len, ==, 0);
    memory_listener_del(w.sys, &r.l);
    g_string_free(r.log, TRUE);
    world_close(&w);
}

static void test_ram_kinds(void)
{
    g_autofree char *dir = g_dir_make_tmp("rhea-mem-XXXXXX", NULL);
    g_autofree char *path = g_strdup_printf("%s/mem", dir);
    RamOptions o = {.memfd = true, .share = true, .seal = true, .reserve = true, .dump = true};
    Error *err = NULL;
    RamBlock *b;

    b = ram_block_new(NULL, "shared", 1 * MiB, &o, &err);
    g_assert_nonnull(b);
    g_assert_cmpint(b->fd, >=, 0);
    ram_block_unref(b);

    o = (RamOptions){.path = path, .share = true, .prealloc = true, .prealloc_threads = 2};
    b = ram_block_new(NULL, "file", 256 * KiB, &o, &err);
    g_assert_nonnull(b);
    b->host[5] = 0x42;
    ram_block_unref(b);
    rcu_barrier();
    b = ram_block_new(NULL, "file", 256 * KiB, &o, &err);
    g_assert_cmphex(b->host[5], ==, 0x42);
    ram_block_unref(b);
    /* A file that holds something and is too small is refused. */
    b = ram_block_new(NULL, "file", 1 * MiB, &o, &err);
    g_assert_null(b);
    g_assert_nonnull(strstr(error_message(err), "too small"));
    g_clear_pointer(&err, error_free);
    o.path = dir;
    b = ram_block_new(NULL, "pc/ram", 1 * MiB, &o, &err);
    g_assert_nonnull(b);
    ram_block_unref(b);
    o.path = "/nonexistent/x";
    g_assert_null(ram_block_new(NULL, "x", 1 * MiB, &o, &err));
    g_clear_pointer(&err, error_free);
    g_assert_null(ram_block_new(NULL, "x", 0, NULL, &err));
    g_clear_pointer(&err, error_free);
    g_assert_null(ram_block_new(NULL, "x", 1ull << 62, NULL, &err));
    g_clear_pointer(&err, error_free);
    rcu_barrier();
    unlink(path);
    rmdir(dir);
}

static void test_mtree(void)
{
    World w;
    GString *s = g_string_new(NULL);
    Region alias;

    world_open(&w, 1 * MiB);
    region_init_alias(&alias, "ram-below-4g", &w.ram_region, 0, 1 * MiB);
    region_add(&w.root, 0, &alias);
    memory_print_tree(w.sys, s, false, false);
    g_assert_cmpstr(
        s->str, ==,
        "address-space: memory\n"
        "  0000000000000000-ffffffffffffffff (prio 0, i/o): system\n"
        "    0000000000000000-00000000000fffff (prio 0, ram): alias ram-below-4g @pc.ram "
        "0000000000000000-00000000000fffff\n"
        "\n"
        "memory-region: pc.ram\n"
        "  0000000000000000-00000000000fffff (prio 0, ram): pc.ram\n"
        "\n");
    g_string_truncate(s, 0);
    memory_print_tree(w.sys, s, true, false);
    g_assert_nonnull(strstr(s->str, "0000000000000000-00000000000fffff (prio 0, ram): pc.ram\n"));
    g_string_free(s, TRUE);
    region_fini(&alias);
    world_close(&w);
}

/* Views that look alike are one view; each keeps living when the other goes. */
static void test_shared_views(void)
{
    World w;
    Region bm_root, bm;
    AddressSpace *dma;
    uint64_t v = 0;

    world_open(&w, 1 * MiB);
    region_add(&w.root, 0, &w.ram_region);
    region_init_container(&bm_root, "bus master container", MEMORY_WHOLE);
    region_init_alias(&bm, "bus master", &w.root, 0, MEMORY_WHOLE);
    region_set_enabled(&bm, false);
    region_add(&bm_root, 0, &bm);
    dma = address_space_new(w.sys, &bm_root, "e1000");
    g_assert_cmpint(address_space_ld(dma, 0, MEM_ATTRS_NONE, 4, &v), ==, MEM_DECODE_ERROR);
    region_set_enabled(&bm, true);
    g_assert_cmpint(address_space_ld(dma, 0, MEM_ATTRS_NONE, 4, &v), ==, MEM_OK);
    for (int i = 0; i < 100; i++) {
        region_set_enabled(&bm, i & 1);
        region_set_enabled(&w.ram_region, i & 2);
        g_assert_cmpint(address_space_ld(dma, 0, MEM_ATTRS_NONE, 4, &v), ==,
                        (i & 1) && (i & 2) ? MEM_OK : MEM_DECODE_ERROR);
    }
    address_space_free(dma);
    region_fini(&bm);
    region_fini(&bm_root);
    world_close(&w);
}

/* Readers on other threads while the map changes. */
typedef struct Racer {
    World *w;
    bool stop;
} Racer;

static gpointer race(gpointer opaque)
{
    Racer *r = opaque;

    while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
        uint8_t buf[64];

        address_space_read(r->w->as, 0xff0, MEM_ATTRS_NONE, buf, sizeof(buf));
        address_space_write(r->w->as, 0x1ff0, MEM_ATTRS_NONE, buf, sizeof(buf));
    }
    return NULL;
}

static void test_race(void)
{
    World w;
    Racer r = {.w = &w};
    Region hole;
    GThread *threads[2];

    world_open(&w, 0x10000);
    region_add(&w.root, 0, &w.ram_region);
    region_init_reserved(&hole, "hole", 0x1000);
    region_add_overlap(&w.root, 0x1000, &hole, 1);
    for (int i = 0; i < 2; i++) {
        threads[i] = g_thread_new("race", race, &r);
    }
    for (int i = 0; i < 300; i++) {
        region_set_enabled(&hole, i & 1);
        region_set_address(&hole, (hwaddr)(i % 16) << 12);
    }
    __atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++) {
        g_thread_join(threads[i]);
    }
    region_fini(&hole);
    world_close(&w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/memory/overlap", test_overlap);
    g_test_add_func("/memory/equal-priority", test_equal_priority);
    g_test_add_func("/memory/alias", test_alias);
    g_test_add_func("/memory/whole", test_whole);
    g_test_add_func("/memory/sizes", test_sizes);
    g_test_add_func("/memory/spans", test_spans);
    g_test_add_func("/memory/rom", test_rom);
    g_test_add_func("/memory/reentrancy", test_reentrancy);
    g_test_add_func("/memory/listener", test_listener);
    g_test_add_func("/memory/eventfd", test_eventfd);
    g_test_add_func("/memory/dirty", test_dirty);
    g_test_add_func("/memory/ram-kinds", test_ram_kinds);
    g_test_add_func("/memory/mtree", test_mtree);
    g_test_add_func("/memory/shared-views", test_shared_views);
    g_test_add_func("/memory/race", test_race);
    return g_test_run();
}
