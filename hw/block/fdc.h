/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/block/fdc.h: the floppy disk controller and its drives.
 *
 * Intel 82077AA data sheet (290166).  Type "isa-fdc" (properties iobase, irq,
 * dma, fdtypeA, fdtypeB, fallback, bootindexA, bootindexB) has a bus of type
 * "floppy-bus" with up to two devices "floppy" (unit, drive-type, drive).
 */
#ifndef RHEA_HW_BLOCK_FDC_H
#define RHEA_HW_BLOCK_FDC_H

#include "block/block.h"
#include "hw/isa/isa.h"

#define TYPE_ISA_FDC "isa-fdc"
#define TYPE_FLOPPY_BUS "floppy-bus"
#define TYPE_FLOPPY "floppy"

typedef enum FloppyDriveType {
    FLOPPY_DRIVE_144,
    FLOPPY_DRIVE_288,
    FLOPPY_DRIVE_120,
    FLOPPY_DRIVE_NONE,
    FLOPPY_DRIVE_AUTO,
} FloppyDriveType;

typedef struct IsaFdc IsaFdc;

/*
 * The machine's controller; a "floppy" for each of drives[0..1] that is not NULL
 * (type "auto": by the medium), so that both may be absent.
 */
IsaFdc *isa_fdc_new(Machine *m, IsaBus *bus, BlockBackend *drives[2], Error **errp);
/* What is really there after "auto" was decided; FLOPPY_DRIVE_NONE for no drive. */
FloppyDriveType isa_fdc_drive_type(const IsaFdc *fdc, unsigned unit);
/* CMOS nibble (4: 1.44M, 5: 2.88M, 2: 1.2M, 0: none). */
uint8_t floppy_cmos_type(FloppyDriveType t);
/* Largest geometry of the drive type, for ACPI's _FDI. */
void floppy_max_geometry(FloppyDriveType t, uint8_t *max_cylinder, uint8_t *max_head,
                         uint8_t *max_sector);

#endif
