/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/i386/smbios.h: the SMBIOS tables (DMTF DSP0134, version 3.0): what
 * `dmidecode` shows.  Made from the machine and from -smbios options.
 */
#ifndef RHEA_HW_I386_SMBIOS_H
#define RHEA_HW_I386_SMBIOS_H

#include "hw/i386/pc.h"

/*
 * Checks one -smbios option ("type" or "file", and the fields of that type): names what is
 * unknown or malformed.  For system/ to call while it reads the command line; the machine does
 * so itself, too.
 */
bool smbios_check_option(const Json *option, Error **errp);
/* Structures into *tables, the entry point into *anchor; the caller owns both. */
bool smbios_build(PcMachine *pc, GByteArray **tables, GByteArray **anchor, Error **errp);
/* Puts both into fw_cfg. */
bool pc_smbios_init(PcMachine *pc, Error **errp);

#endif
