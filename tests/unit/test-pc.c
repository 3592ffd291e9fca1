/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole machines in this process, with the engine that runs nothing: they are made and
 * unmade, and what firmware would be told is looked at.
 */
#include "accel/accel.h"
#include "hw/i386/pc.h"

#include <string.h>
#include <unistd.h>

typedef struct Bench {
    Object *root;
    ClockSet *clocks;
    EventLoop *control, *platform;
    MemorySystem *memsys;
    Accel *accel;
    Machine *m;
} Bench;

static void bench_prepare(Bench *b, const char *type)
{
    *b = (Bench){0};
    b->root = object_new("container");
    b->clocks = clock_set_new();
    clock_virtual_manual(b->clocks, true);
    b->control = loop_new("control", b->clocks, NULL);
    b->platform = loop_new("platform", b->clocks, NULL);
    b->memsys = memory_system_new();
    b->accel = accel_new("qtest", NULL);
    b->accel->mem = b->memsys;
    b->accel->clocks = b->clocks;
    b->m = MACHINE(object_new(type));
    object_add_child(b->root, "machine", &b->m->obj);
    b->m->clocks = b->clocks;
    b->m->control = b->control;
    b->m->platform = b->platform;
    b->m->memsys = b->memsys;
    b->m->accel = b->accel;
    b->m->ram_size = 64 * MiB;
    b->m->nodefaults = true;
    b->m->vga = g_strdup("none");
}

static bool bench_start(Bench *b, Error **errp)
{
    const MachineClass *k = machine_class(b->m);

    if (!k->init(b->m, errp) || !k->done(b->m, errp)) {
        return false;
    }
    loop_lock(b->platform);
    machine_reset(b->m);
    loop_unlock(b->platform);
    return true;
}

static void bench_end(Bench *b)
{
    machine_unrealize_all(b->m);
    object_unparent(&b->m->obj);
    object_unref(b->root);
    object_unref(&b->accel->obj);
    loop_free(b->platform);
    loop_free(b->control);
    memory_system_free(b->memsys);
    clock_set_free(b->clocks);
}

static void start_or_fail(Bench *b)
{
    Error *err = NULL;

    if (!bench_start(b, &err)) {
        error_print(err);
        g_assert_not_reached();
    }
}

static uint32_t io(Bench *b, uint16_t port, unsigned size)
{
    uint64_t v = 0;

    address_space_ld(b->m->as_io, port, MEM_ATTRS_NONE, size, &v);
    return (uint32_t)v;
}

static void out(Bench *b, uint16_t port, unsigned size, uint32_t v)
{
    address_space_st(b->m->as_io, port, MEM_ATTRS_NONE, size, v);
}

static uint32_t config_read(Bench *b, unsigned devfn, unsigned reg)
{
    out(b, 0xcf8, 4, 0x80000000u | devfn << 8 | reg);
    return io(b, 0xcfc, 4);
}

static void config_write(Bench *b, unsigned devfn, unsigned reg, unsigned size, uint32_t v)
{
    out(b, 0xcf8, 4, 0x80000000u | devfn << 8 | (reg & ~3u));
    out(b, (uint16_t)(0xcfc + (reg & 3)), size, v);
}

static uint8_t mem8(Bench *b, AddressSpace *as, hwaddr addr)
{
    uint64_t v = 0;

    address_space_ld(as, addr, MEM_ATTRS_NONE, 1, &v);
    return (uint8_t)v;
}

/* ---- tables ---- */
static void run_iasl(const uint8_t *table, size_t len, const char *name)
{
    g_autofree char *iasl = g_find_program_in_path("iasl");
    g_autofree char *dir = g_dir_make_tmp("rhea-acpi-XXXXXX", NULL);
    g_autofree char *file = g_build_filename(dir, "t.aml", NULL), *cmd = NULL, *text = NULL;
    int status;

    if (!iasl) {
        rmdir(dir);
        return;
    }
    g_assert_true(g_file_set_contents(file, (const char *)table, (gssize)len, NULL));
    cmd = g_strdup_printf("cd %s && iasl -d t.aml && iasl -oa -we t.dsl; r=$?; rm -rf %s; exit $r",
                          dir, dir);
    {
        char *argv[] = {(char *)"/bin/sh", (char *)"-c", cmd, NULL};

        g_assert_true(g_spawn_sync(NULL, argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &text,
                                   NULL, &status, NULL));
    }
    if (status || strstr(text, "Unknown") || strstr(text, "Invalid")) {
        g_printerr("%s: %s\n", name, text);
        g_assert_not_reached();
    }
}

/* Every table is whole, and iasl takes it apart and puts it together again. */
static void check_tables(Bench *b, const char *const *want)
{
    size_t len, script_len, n = 0;
    const uint8_t *blob = fw_cfg_file_data(b->m->fw_cfg, "etc/acpi/tables", &len);
    const uint8_t *script = fw_cfg_file_data(b->m->fw_cfg, "etc/table-loader", &script_len);
    g_autofree uint8_t *t = NULL;

    g_assert_nonnull(blob);
    g_assert_nonnull(script);
    t = g_memdup2(blob, len);
    for (size_t at = 0; at < script_len; at += 128) {
        const uint8_t *p = script + at;

        if (ld_le32(p) == 3 && g_str_equal((const char *)p + 4, "etc/acpi/tables")) {
            uint32_t sum_at = ld_le32(p + 60), start = ld_le32(p + 64), size = ld_le32(p + 68);
            uint8_t sum = 0;

            g_assert_cmpuint((uint64_t)start + size, <=, len);
            for (uint32_t i = 0; i < size; i++) {
                sum = (uint8_t)(sum + t[start + i]);
            }
            t[sum_at] = (uint8_t)(t[sum_at] - sum);
            g_assert_cmpuint(ld_le32(t + start + 4), ==, size);
            g_assert_cmpmem(t + start, 4, want[n], 4);
            run_iasl(t + start, size, want[n]);
            n++;
        }
    }
    g_assert_null(want[n]);
}

static void test_tables_pc(void)
{
    static const char *const want[] = {"DSDT", "FACP", "APIC", "HPET", "WAET", "RSDT", NULL};
    Bench b;

    bench_prepare(&b, "pc-i440fx-11.1-machine");
    start_or_fail(&b);
    check_tables(&b, want);
    bench_end(&b);
}

static void test_tables_q35(void)
{
    static const char *const want[] = {"DSDT", "FACP", "APIC", "HPET", "SRAT",
                                       "MCFG", "WAET", "RSDT", NULL};
    NumaNode node = {.mem = 64 * MiB, .present = true};
    Bench b;

    bench_prepare(&b, "pc-q35-11.1-machine");
    b.m->smp.cpus = b.m->smp.max_cpus = b.m->smp.cores = 3;
    g_array_append_val(b.m->numa, node);
    start_or_fail(&b);
    check_tables(&b, want);
    bench_end(&b);
}

static void test_smbios(void)
{
    const uint8_t *t, *a;
    size_t len, anchor_len, at = 0;
    unsigned n = 0;
    Bench b;

    bench_prepare(&b, "pc-i440fx-11.1-machine");
    b.m->smbios = json_array();
    json_append(b.m->smbios, json_object());
    json_put_string(json_at(b.m->smbios, 0), "type", "1");
    json_put_string(json_at(b.m->smbios, 0), "serial", "X42");
    start_or_fail(&b);
    t = fw_cfg_file_data(b.m->fw_cfg, "etc/smbios/smbios-tables", &len);
    a = fw_cfg_file_data(b.m->fw_cfg, "etc/smbios/smbios-anchor", &anchor_len);
    g_assert_cmpuint(anchor_len, ==, 31);
    g_assert_cmpuint(ld_le16(a + 22), ==, len);
    g_assert_cmpint(t[0], ==, 1);
    g_assert_nonnull(memmem(t, len, "X42", 4));
    while (at < len) {
        at += t[at + 1];
        while (t[at] || t[at + 1]) {
            at++;
        }
        at += 2;
        n++;
    }
    g_assert_cmpuint(at, ==, len);
    g_assert_cmpuint(n, ==, ld_le16(a + 28));
    bench_end(&b);
}

static void test_bad_options(void)
{
    Error *err = NULL;
    Bench b;

    bench_prepare(&b, "pc-i440fx-11.1-machine");
    b.m->smbios = json_array();
    json_append(b.m->smbios, json_object());
    json_put_string(json_at(b.m->smbios, 0), "type", "1");
    json_put_string(json_at(b.m->smbios, 0), "seriel", "X42");
    g_assert_false(bench_start(&b, &err));
    g_assert_nonnull(strstr(error_hints(err), "serial"));
    error_free(err);
    bench_end(&b);

    err = NULL;
    bench_prepare(&b, "pc-q35-11.1-machine");
    b.m->kernel = g_strdup("/dev/null/none");
    g_assert_false(bench_start(&b, &err));
    g_assert_nonnull(strstr(error_message(err), "/dev/null/none"));
    error_free(err);
    bench_end(&b);
}

/* ---- chips ---- */
static void test_pam(void)
{
    Bench b;
    uint8_t rom;

    bench_prepare(&b, "pc-i440fx-11.1-machine");
    start_or_fail(&b);
    rom = mem8(&b, b.m->as_memory, 0xffff0);
    g_assert_cmphex(rom, ==, mem8(&b, b.m->as_memory, 0xfffffff0));
    g_assert_cmphex(config_read(&b, 0, 0), ==, 0x12378086);
    config_write(&b, 0, 0x59, 1, 0x30); /* F0000h: RAM both ways */
    g_assert_cmphex(mem8(&b, b.m->as_memory, 0xffff0), ==, 0);
    address_space_st(b.m->as_memory, 0xffff0, MEM_ATTRS_NONE, 1, 0x5a);
    config_write(&b, 0, 0x59, 1, 0x10); /* read-only */
    address_space_st(b.m->as_memory, 0xffff0, MEM_ATTRS_NONE, 1, 0x33);
    g_assert_cmphex(mem8(&b, b.m->as_memory, 0xffff0), ==, 0x5a);
    config_write(&b, 0, 0x59, 1, 0x20); /* reads ROM, writes RAM */
    g_assert_cmphex(mem8(&b, b.m->as_memory, 0xffff0), ==, rom);
    address_space_st(b.m->as_memory, 0xffff0, MEM_ATTRS_NONE, 1, 0x77);
    g_assert_cmphex(mem8(&b, b.m->as_memory, 0xffff0), ==, rom);
    config_write(&b, 0, 0x59, 1, 0x30);
    g_assert_cmphex(mem8(&b, b.m->as_memory, 0xffff0), ==, 0x77);
    loop_lock(b.platform);
    machine_reset(b.m);
    loop_unlock(b.platform);
    g_assert_cmphex(mem8(&b, b.m->as_memory, 0xffff0), ==, rom);
    bench_end(&b);
}

static void test_smram(void)
{
    Bench b;
    PcMachine *pc;

    bench_prepare(&b, "pc-q35-11.1-machine");
    start_or_fail(&b);
    pc = PC_MACHINE(b.m);
    /* Closed: nobody sees RAM at A0000h; SMM does once it is enabled. */
    config_write(&b, 0, 0x9d, 1, 0x4a); /* open */
    address_space_st(b.m->as_memory, 0xa0000, MEM_ATTRS_NONE, 1, 0x5a);
    g_assert_cmphex(mem8(&b, b.m->as_memory, 0xa0000), ==, 0x5a);
    config_write(&b, 0, 0x9d, 1, 0x0a);
    g_assert_cmphex(mem8(&b, b.m->as_memory, 0xa0000), ==, 0xff);
    g_assert_cmphex(mem8(&b, pc->as_smm, 0xa0000), ==, 0x5a);
    /* One MiB at the top. */
    config_write(&b, 0, 0x9e, 1, 0x01);
    g_assert_cmphex(mem8(&b, b.m->as_memory, 63 * MiB), ==, 0xff);
    g_assert_cmphex(mem8(&b, pc->as_smm, 63 * MiB), ==, 0);
    g_assert_cmphex(mem8(&b, b.m->as_memory, 63 * MiB - 1), ==, 0);
    /* Locked: it cannot be opened any more. */
    config_write(&b, 0, 0x9d, 1, 0x1a);
    config_write(&b, 0, 0x9d, 1, 0x4a);
    g_assert_cmphex(mem8(&b, b.m->as_memory, 0xa0000), ==, 0xff);
    bench_end(&b);
}

static void test_ecam(void)
{
    Bench b;
    uint64_t v;

    bench_prepare(&b, "pc-q35-11.1-machine");
    start_or_fail(&b);
    config_write(&b, 0, 0x60, 4, 0xb0000001);
    address_space_ld(b.m->as_memory, 0xb0000000, MEM_ATTRS_NONE, 4, &v);
    g_assert_cmphex(v, ==, 0x29c08086);
    address_space_ld(b.m->as_memory, 0xb0000000 + (0xf8 << 12), MEM_ATTRS_NONE, 4, &v);
    g_assert_cmphex(v, ==, 0x29188086);
    bench_end(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!g_file_test("/usr/share/seabios/bios-256k.bin", G_FILE_TEST_EXISTS)) {
        g_print("1..0 # SKIP SeaBIOS (package seabios) is not installed\n");
        return 0;
    }
    g_test_add_func("/pc/tables/pc", test_tables_pc);
    g_test_add_func("/pc/tables/q35", test_tables_q35);
    g_test_add_func("/pc/smbios", test_smbios);
    g_test_add_func("/pc/bad-options", test_bad_options);
    g_test_add_func("/pc/pam", test_pam);
    g_test_add_func("/pc/smram", test_smram);
    g_test_add_func("/pc/ecam", test_ecam);
    return g_test_run();
}
