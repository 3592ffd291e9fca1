/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/acpi/user.h: ACPI tables that the user brings: `-acpitable`.
 */
#ifndef RHEA_HW_ACPI_USER_H
#define RHEA_HW_ACPI_USER_H

#include "util/error.h"
#include "util/json.h"

/*
 * The table of one option: file= (with its header) or data= (without), several files joined by
 * ':'; sig, rev, oem_id, oem_table_id, oem_rev, asl_compiler_id and asl_compiler_rev set fields
 * of the header.  The caller owns the bytes.
 */
GByteArray *acpi_user_table(const Json *option, Error **errp);

#endif
