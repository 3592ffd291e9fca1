/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AML: encodings against the specification's, and a whole table through iasl.
 */
#include "hw/acpi/aml.h"
#include "hw/acpi/loader.h"
#include "util/bits.h"

#include <string.h>
#include <unistd.h>

static void check(Aml *t, const uint8_t *want, size_t len)
{
    GByteArray *got = aml_finish(t);

    g_assert_cmpmem(got->data, got->len, want, len);
    g_byte_array_free(got, TRUE);
}
#define CHECK(t, ...)                      \
    do {                                   \
        const uint8_t w[] = {__VA_ARGS__}; \
        check(t, w, sizeof(w));            \
    } while (0)

static void test_integers(void)
{
    CHECK(aml_int(0), 0x00);
    CHECK(aml_int(1), 0x01);
    CHECK(aml_int(2), 0x0a, 0x02);
    CHECK(aml_int(0x1234), 0x0b, 0x34, 0x12);
    CHECK(aml_int(0x12345678), 0x0c, 0x78, 0x56, 0x34, 0x12);
    CHECK(aml_int(0x123456789a), 0x0e, 0x9a, 0x78, 0x56, 0x34, 0x12, 0, 0, 0);
}

static void test_names(void)
{
    CHECK(aml_ref("A"), 'A', '_', '_', '_');
    CHECK(aml_ref("\\_SB.PCI0"), '\\', 0x2e, '_', 'S', 'B', '_', 'P', 'C', 'I', '0');
    CHECK(aml_ref("^A.B.C"), '^', 0x2f, 3, 'A', '_', '_', '_', 'B', '_', '_', '_', 'C', '_', '_',
          '_');
    CHECK(aml_eisaid("PNP0A03"), 0x0c, 0x41, 0xd0, 0x0a, 0x03);
}

/* PkgLength takes one byte up to 63 bytes in all, then two, then three. */
static void test_lengths(void)
{
    static const size_t sizes[] = {10, 50, 62, 63, 64, 100, 4000, 4090, 4095, 70000};

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree uint8_t *data = g_malloc0(sizes[i]);
        GByteArray *got = aml_finish(aml_buffer(data, sizes[i]));
        unsigned more = got->data[1] >> 6;
        size_t len = more ? got->data[1] & 0xf : got->data[1] & 0x3f;

        g_assert_cmphex(got->data[0], ==, 0x11);
        for (unsigned n = 0; n < more; n++) {
            len |= (size_t)got->data[2 + n] << (4 + 8 * n);
        }
        g_assert_cmpuint(len, ==, got->len - 1);
        g_byte_array_free(got, TRUE);
    }
}

static void test_resources(void)
{
    Aml *r = aml_resources();

    aml_append(r, aml_io(0x60, 1, 1));
    aml_append(r, aml_irq(1));
    CHECK(r, 0x11, 0x10, 0x0a, 0x0d, 0x47, 1, 0x60, 0, 0x60, 0, 1, 1, 0x22, 2, 0, 0x79, 0);
    CHECK(aml_memory32(0xfed00000, 0x400, false), 0x86, 9, 0, 0, 0, 0, 0xd0, 0xfe, 0, 4, 0, 0);
}

static void test_script(void)
{
    AcpiBuild *b = acpi_build_new(NULL, NULL);
    uint32_t t = acpi_table_begin(b, "TEST", 1);

    acpi_put(b, 0x11223344, 4);
    acpi_table_end(b, t, true);
    acpi_build_finish(b);
    g_assert_cmpuint(b->script->len % 128, ==, 0);
    g_assert_cmpuint(ld_le32(b->tables->data + t + 4), ==, 40);
    g_assert_cmpmem(b->tables->data + t + 10, 14, "BOCHS BXPC    ", 14);
    g_assert_cmpuint(b->rsdp->len, ==, 20);
    /* ALLOCATE x 2, checksum of TEST, pointer in RSDT, its checksum, RSDP's two. */
    g_assert_cmpuint(b->script->len / 128, ==, 7);
    acpi_build_free(b);
}

static Aml *sample(void)
{
    Aml *dsdt = aml_block(), *dev = aml_device("\\DEV0"), *m = aml_method("_STA", 0, false);
    Aml *branch = aml_if(aml_equal(aml_ref("\\FLAG"), aml_int(3))), *other = aml_else();
    Aml *crs = aml_resources(), *f;

    aml_append(dsdt, aml_name("\\FLAG", aml_int(0)));
    aml_append(dev, aml_name("_HID", aml_string("TEST0001")));
    aml_append(dev, aml_operation_region("REGS", AML_SYSTEM_IO, 0x500, 8));
    f = aml_field("REGS", AML_BYTE);
    aml_append(f, aml_field_unit("AAAA", 8));
    aml_append(f, aml_field_unit(NULL, 16));
    aml_append(f, aml_field_unit("BBBB", 8));
    aml_append(dev, f);
    aml_append(branch, aml_return(aml_int(0xf)));
    aml_append(m, branch);
    aml_append(other, aml_store(aml_int(7), aml_ref("AAAA")));
    aml_append(m, other);
    aml_append(m, aml_return(aml_and(aml_ref("BBBB"), aml_int(0xf), NULL)));
    aml_append(dev, m);
    aml_append(crs, aml_word_bus(0, 255));
    aml_append(crs, aml_word_io(0, 0xcf7));
    aml_append(crs, aml_dword_memory(0xa0000, 0xbffff, true));
    aml_append(crs, aml_qword_memory(0x100000000, 0x1ffffffff, true));
    aml_append(dev, aml_name("_CRS", crs));
    aml_append(dsdt, dev);
    return dsdt;
}

/* Disassembled and compiled again without an error or a warning. */
static void test_iasl(void)
{
    g_autofree char *iasl = g_find_program_in_path("iasl");
    g_autofree char *dir = g_dir_make_tmp("rhea-aml-XXXXXX", NULL);
    g_autofree char *aml = g_build_filename(dir, "t.aml", NULL), *cmd = NULL, *out = NULL;
    AcpiBuild *b;
    GByteArray *bytes;
    uint32_t t;
    int status;
    uint8_t sum = 0;

    if (!iasl) {
        g_test_skip("iasl (package acpica-tools) is not installed");
        return;
    }
    b = acpi_build_new(NULL, NULL);
    bytes = aml_finish(sample());
    t = acpi_table_begin(b, "DSDT", 2);
    g_byte_array_append(b->tables, bytes->data, bytes->len);
    acpi_table_end(b, t, false);
    for (guint i = t; i < b->tables->len; i++) {
        sum = (uint8_t)(sum + b->tables->data[i]);
    }
    b->tables->data[t + 9] = (uint8_t)-sum;
    g_assert_true(g_file_set_contents(aml, (char *)b->tables->data + t, b->tables->len - t, NULL));
    cmd =
        g_strdup_printf("cd %s && iasl -d t.aml && iasl -oa -we -tc t.dsl && rm -rf %s", dir, dir);
    {
        char *argv[] = {(char *)"/bin/sh", (char *)"-c", cmd, NULL};

        g_assert_true(g_spawn_sync(NULL, argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &out,
                                   NULL, &status, NULL));
    }
    if (status) {
        g_test_message("%s", out);
    }
    g_assert_cmpint(status, ==, 0);
    g_byte_array_free(bytes, TRUE);
    acpi_build_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/aml/integers", test_integers);
    g_test_add_func("/aml/names", test_names);
    g_test_add_func("/aml/lengths", test_lengths);
    g_test_add_func("/aml/resources", test_resources);
    g_test_add_func("/aml/script", test_script);
    g_test_add_func("/aml/iasl", test_iasl);
    return g_test_run();
}
