/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/acpi/loader.h: ACPI tables as firmware gets them: one blob of tables, the
 * RSDP, and a script that tells where to put them and which pointers and
 * checksums to patch ("etc/table-loader", as SeaBIOS and OVMF execute it).
 */
#ifndef RHEA_HW_ACPI_LOADER_H
#define RHEA_HW_ACPI_LOADER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define ACPI_FILE_TABLES "etc/acpi/tables"
#define ACPI_FILE_RSDP "etc/acpi/rsdp"
#define ACPI_FILE_LOADER "etc/table-loader"

typedef struct AcpiBuild {
    GByteArray *tables, *rsdp, *script;
    GArray *listed; /* uint32_t: offsets of the tables that the RSDT names */
    char oem_id[6], oem_table_id[8];
} AcpiBuild;

/* oem_id and oem_table_id may be NULL for the defaults. */
AcpiBuild *acpi_build_new(const char *oem_id, const char *oem_table_id);
void acpi_build_free(AcpiBuild *b);

/* Starts a table (header with zero length); its offset in the blob. */
uint32_t acpi_table_begin(AcpiBuild *b, const char signature[4], uint8_t revision);
/* Sets its length and has firmware make its checksum. `listed`: the RSDT shall name it. */
void acpi_table_end(AcpiBuild *b, uint32_t start, bool listed);
/* A whole table with a header of its own (`-acpitable`). */
void acpi_table_add(AcpiBuild *b, const uint8_t *data, size_t len);
void acpi_put(AcpiBuild *b, uint64_t v, unsigned size); /* little-endian, at the end */
/* Has firmware add the blob's address to the pointer at `at`, which says `target` so far. */
void acpi_pointer(AcpiBuild *b, uint32_t at, unsigned size, uint32_t target);
/* RSDT and RSDP; afterwards the three byte arrays are complete. */
void acpi_build_finish(AcpiBuild *b);

#endif
