/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ACPI tables as firmware gets them: whole, and with the ports where the firmware
 * has put them by the time it reads.
 */
#include "tests/qtest/libqtest-pci.h"
#include "util/bits.h"

#include <string.h>

/* A file of the firmware configuration device, through its ports. */
static uint8_t *read_file(QTest *q, const char *name, uint32_t *len)
{
    uint8_t entry[64], head[4], *data;
    uint32_t n;

    qtest_outw(q, 0x510, 0x19);
    for (unsigned i = 0; i < 4; i++) {
        head[i] = qtest_inb(q, 0x511);
    }
    n = ld_be32(head);
    for (uint32_t f = 0; f < n; f++) {
        for (unsigned i = 0; i < sizeof(entry); i++) {
            entry[i] = qtest_inb(q, 0x511);
        }
        if (g_str_equal((const char *)entry + 8, name)) {
            *len = ld_be32(entry);
            data = g_malloc(*len);
            qtest_outw(q, 0x510, ld_be16(entry + 4));
            for (uint32_t i = 0; i < *len; i++) {
                data[i] = qtest_inb(q, 0x511);
            }
            return data;
        }
    }
    g_error("fw_cfg has no file %s", name);
}

/* Walks the script's checksums: each names one table. */
static const uint8_t *find_table(const uint8_t *tables, uint32_t len, const uint8_t *script,
                                 uint32_t script_len, const char *signature)
{
    g_assert_cmpuint(script_len % 128, ==, 0);
    for (uint32_t at = 0; at < script_len; at += 128) {
        const uint8_t *p = script + at;
        uint32_t start = ld_le32(p + 64), size = ld_le32(p + 68);

        if (ld_le32(p) != 3 || !g_str_equal((const char *)p + 4, "etc/acpi/tables")) {
            continue;
        }
        g_assert_cmpuint((uint64_t)start + size, <=, len);
        g_assert_cmpuint(ld_le32(tables + start + 4), ==, size);
        if (memcmp(tables + start, signature, 4) == 0) {
            return tables + start;
        }
    }
    return NULL;
}

static void check(const char *machine, uint8_t pm_devfn, uint8_t base_reg, uint8_t enable_reg,
                  uint8_t enable, bool mcfg)
{
    QTest *q = qtest_start("-machine %s -smp 2", machine);
    uint32_t len, script_len, rsdp_len;
    uint8_t *tables, *script, *rsdp;
    const uint8_t *t;
    QPci pci;
    QPciDev pm;

    qpci_init(&pci, q);
    qpci_open(&pci, &pm, pm_devfn);
    qpci_config_writel(&pm, base_reg, 0x1201);
    qpci_config_writeb(&pm, enable_reg, enable);
    tables = read_file(q, "etc/acpi/tables", &len);
    script = read_file(q, "etc/table-loader", &script_len);
    rsdp = read_file(q, "etc/acpi/rsdp", &rsdp_len);
    g_assert_cmpmem(rsdp, 8, "RSD PTR ", 8);
    t = find_table(tables, len, script, script_len, "FACP");
    g_assert_nonnull(t);
    g_assert_cmphex(ld_le32(t + 56), ==, 0x1200); /* PM1a event block */
    g_assert_cmphex(ld_le32(t + 64), ==, 0x1204);
    g_assert_cmphex(ld_le64(t + 208 + 4), ==, 0x1208); /* X_PM_TMR */
    t = find_table(tables, len, script, script_len, "APIC");
    g_assert_nonnull(t);
    g_assert_cmphex(ld_le32(t + 36), ==, 0xfee00000);
    g_assert_cmphex(t[44 + 8 + 3], ==, 1); /* the second CPU */
    g_assert_nonnull(find_table(tables, len, script, script_len, "DSDT"));
    g_assert_nonnull(find_table(tables, len, script, script_len, "HPET"));
    g_assert_true((find_table(tables, len, script, script_len, "MCFG") != NULL) == mcfg);
    g_free(tables);
    g_free(script);
    g_free(rsdp);
    qtest_quit(q);
}

static void test_pc(void)
{
    check("pc", QPCI_DEVFN(1, 3), 0x40, 0x80, 1, false);
}

static void test_q35(void)
{
    check("q35", QPCI_DEVFN(31, 0), 0x40, 0x44, 0x80, true);
}

static void test_off(void)
{
    QTest *q = qtest_start("-machine pc,acpi=off");

    /* No power management function, and nothing for the firmware to load. */
    qtest_outl(q, 0xcf8, 0x80000b00);
    g_assert_cmphex(qtest_inl(q, 0xcfc), ==, 0xffffffff);
    qtest_quit(q);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/acpi/pc", test_pc);
    g_test_add_func("/acpi/q35", test_q35);
    g_test_add_func("/acpi/off", test_off);
    return g_test_run();
}
