/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/acpi/loader.h"

#include "util/bits.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#define HEADER 36u
#define NAME 56u
#define ENTRY 128u
#define ZONE_HIGH 1u
#define ZONE_FSEG 2u

enum { CMD_ALLOCATE = 1, CMD_ADD_POINTER = 2, CMD_ADD_CHECKSUM = 3 };

static void pad(char *to, const char *from, size_t len)
{
    memset(to, ' ', len);
    memcpy(to, from, MIN(strlen(from), len));
}

static uint8_t *command(AcpiBuild *b, uint32_t cmd)
{
    guint at = b->script->len;

    g_byte_array_set_size(b->script, at + ENTRY);
    memset(b->script->data + at, 0, ENTRY);
    st_le32(b->script->data + at, cmd);
    return b->script->data + at + 4;
}

static void allocate(AcpiBuild *b, const char *file, uint32_t align, uint8_t zone)
{
    uint8_t *p = command(b, CMD_ALLOCATE);

    strncpy((char *)p, file, NAME - 1);
    st_le32(p + NAME, align);
    p[NAME + 4] = zone;
}

static void checksum(AcpiBuild *b, const char *file, uint32_t at, uint32_t start, uint32_t len)
{
    uint8_t *p = command(b, CMD_ADD_CHECKSUM);

    strncpy((char *)p, file, NAME - 1);
    st_le32(p + NAME, at);
    st_le32(p + NAME + 4, start);
    st_le32(p + NAME + 8, len);
}

static void add_pointer(AcpiBuild *b, const char *file, uint32_t at, uint8_t size)
{
    uint8_t *p = command(b, CMD_ADD_POINTER);

    strncpy((char *)p, file, NAME - 1);
    strncpy((char *)p + NAME, ACPI_FILE_TABLES, NAME - 1);
    st_le32(p + 2 * NAME, at);
    p[2 * NAME + 4] = size;
}

AcpiBuild *acpi_build_new(const char *oem_id, const char *oem_table_id)
{
    AcpiBuild *b = g_new0(AcpiBuild, 1);

    b->tables = g_byte_array_new();
    b->rsdp = g_byte_array_new();
    b->script = g_byte_array_new();
    b->listed = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    pad(b->oem_id, oem_id ? oem_id : "BOCHS", sizeof(b->oem_id));
    pad(b->oem_table_id, oem_table_id ? oem_table_id : "BXPC", sizeof(b->oem_table_id));
    allocate(b, ACPI_FILE_RSDP, 16, ZONE_FSEG);
    allocate(b, ACPI_FILE_TABLES, 64, ZONE_HIGH);
    return b;
}

void acpi_build_free(AcpiBuild *b)
{
    g_byte_array_free(b->tables, TRUE);
    g_byte_array_free(b->rsdp, TRUE);
    g_byte_array_free(b->script, TRUE);
    g_array_free(b->listed, TRUE);
    g_free(b);
}

void acpi_put(AcpiBuild *b, uint64_t v, unsigned size)
{
    uint8_t bytes[8];

    st_le64(bytes, v);
    g_byte_array_append(b->tables, bytes, size);
}

uint32_t acpi_table_begin(AcpiBuild *b, const char signature[4], uint8_t revision)
{
    uint32_t start;

    while (b->tables->len % 8) {
        acpi_put(b, 0, 1);
    }
    start = b->tables->len;
    g_byte_array_append(b->tables, (const uint8_t *)signature, 4);
    acpi_put(b, 0, 4);
    acpi_put(b, revision, 1);
    acpi_put(b, 0, 1);
    g_byte_array_append(b->tables, (const uint8_t *)b->oem_id, sizeof(b->oem_id));
    g_byte_array_append(b->tables, (const uint8_t *)b->oem_table_id, sizeof(b->oem_table_id));
    acpi_put(b, 1, 4);
    g_byte_array_append(b->tables, (const uint8_t *)"BXPC", 4);
    acpi_put(b, 1, 4);
    return start;
}

void acpi_table_end(AcpiBuild *b, uint32_t start, bool listed)
{
    uint32_t len = b->tables->len - start;

    st_le32(b->tables->data + start + 4, len);
    checksum(b, ACPI_FILE_TABLES, start + 9, start, len);
    if (listed) {
        g_array_append_val(b->listed, start);
    }
}

void acpi_table_add(AcpiBuild *b, const uint8_t *data, size_t len)
{
    uint32_t start;

    while (b->tables->len % 8) {
        acpi_put(b, 0, 1);
    }
    start = b->tables->len;
    g_byte_array_append(b->tables, data, (guint)len);
    g_array_append_val(b->listed, start);
}

void acpi_pointer(AcpiBuild *b, uint32_t at, unsigned size, uint32_t target)
{
    st_le(b->tables->data + at, size, target);
    add_pointer(b, ACPI_FILE_TABLES, at, (uint8_t)size);
}

/* Pointers are patched before checksums are made: the script runs in order. */
static uint32_t add_rsdt(AcpiBuild *b)
{
    uint32_t start = acpi_table_begin(b, "RSDT", 1);
    guint n = b->listed->len;

    for (guint i = 0; i < n; i++) {
        uint32_t at = b->tables->len;

        acpi_put(b, 0, 4);
        acpi_pointer(b, at, 4, g_array_index(b->listed, uint32_t, i));
    }
    acpi_table_end(b, start, false);
    return start;
}

void acpi_build_finish(AcpiBuild *b)
{
    uint32_t rsdt = add_rsdt(b);
    uint8_t rsdp[20] = "RSD PTR ";

    memcpy(rsdp + 9, b->oem_id, 6);
    rsdp[15] = 0; /* revision: ACPI 1.0, the RSDT only */
    st_le32(rsdp + 16, rsdt);
    g_byte_array_append(b->rsdp, rsdp, sizeof(rsdp));
    add_pointer(b, ACPI_FILE_RSDP, 16, 4);
    checksum(b, ACPI_FILE_RSDP, 8, 0, sizeof(rsdp));
}
