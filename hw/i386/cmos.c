/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What firmware reads from the battery-backed RAM: memory sizes, floppy drives,
 * disks, boot order.  Index assignments of the IBM AT, of its clones and of Bochs
 * BIOS, as SeaBIOS has them in src/hw/rtc.h.
 */
#include "hw/i386/pc.h"
#include "hw/ide/ide.h"

#include <string.h>

enum {
    CMOS_SHUTDOWN = 0x0f, /* why the processor comes out of reset */
    CMOS_FLOPPY = 0x10,
    CMOS_DISK_TYPES = 0x12,
    CMOS_EQUIPMENT = 0x14,
    CMOS_BASE_MEM = 0x15,
    CMOS_EXT_MEM = 0x17,
    CMOS_DISK0_EXT = 0x19,
    CMOS_DISK0_GEOMETRY = 0x1b,
    CMOS_DISK1_GEOMETRY = 0x24,
    CMOS_EXT_MEM2 = 0x30,
    CMOS_MEM_ABOVE_16M = 0x34,
    CMOS_BOOT_FLAG1 = 0x38,
    CMOS_BIOS_TRANSLATION = 0x39,
    CMOS_BOOT_FLAG2 = 0x3d,
    CMOS_MEM_ABOVE_4G = 0x5b,
    CMOS_CPUS = 0x5f,
};

#define SHUTDOWN_RESUME 0xfe

static void set16(PcMachine *pc, unsigned index, uint64_t v)
{
    v = MIN(v, 65535u);
    mc146818_set(pc->rtc, index, (uint8_t)v);
    mc146818_set(pc->rtc, index + 1, (uint8_t)(v >> 8));
}

static void memory_sizes(PcMachine *pc)
{
    uint64_t low = pc->below_4g, above = pc->above_4g / (64 * KiB);

    set16(pc, CMOS_BASE_MEM, MIN(low / KiB, 640));
    set16(pc, CMOS_EXT_MEM, low > 1 * MiB ? low / KiB - 1024 : 0);
    set16(pc, CMOS_EXT_MEM2, low > 1 * MiB ? low / KiB - 1024 : 0);
    set16(pc, CMOS_MEM_ABOVE_16M, low > 16 * MiB ? (low - 16 * MiB) / (64 * KiB) : 0);
    for (unsigned i = 0; i < 3; i++) {
        mc146818_set(pc->rtc, CMOS_MEM_ABOVE_4G + i, (uint8_t)(above >> (8 * i)));
    }
}

/* 1: floppy, 2: disk, 3: CD-ROM, 4: network; 0: nothing more. */
static uint8_t boot_nibble(char c)
{
    switch (c) {
    case 'a':
    case 'b':
        return 1;
    case 'c':
        return 2;
    case 'd':
        return 3;
    case 'n':
        return 4;
    default:
        return 0;
    }
}

static void boot_order(PcMachine *pc)
{
    const char *order = pc->m.boot.once    ? pc->m.boot.once
                        : pc->m.boot.order ? pc->m.boot.order
                                           : "cad";
    uint8_t n[3] = {0, 0, 0};

    for (unsigned i = 0; i < 3 && order[i]; i++) {
        n[i] = boot_nibble(order[i]);
    }
    mc146818_set(pc->rtc, CMOS_BOOT_FLAG2, (uint8_t)(n[1] << 4 | n[0]));
    mc146818_set(pc->rtc, CMOS_BOOT_FLAG1, (uint8_t)(n[2] << 4 | (pc->fd_bootchk ? 0 : 1)));
}

static void floppies(PcMachine *pc)
{
    uint8_t a = 0, b = 0, equipment = 0x06; /* coprocessor, PS/2 mouse */

    if (pc->fdc) {
        a = floppy_cmos_type(isa_fdc_drive_type(pc->fdc, 0));
        b = floppy_cmos_type(isa_fdc_drive_type(pc->fdc, 1));
    }
    mc146818_set(pc->rtc, CMOS_FLOPPY, (uint8_t)(a << 4 | b));
    if (a || b) {
        equipment |= (uint8_t)(0x01 | (a && b ? 0x40 : 0));
    }
    mc146818_set(pc->rtc, CMOS_EQUIPMENT, equipment);
}

/* ---- the disks of the IDE channels ---- */
static void disk_geometry(PcMachine *pc, unsigned at, const IdeGeometry *g)
{
    set16(pc, at, g->cyls);
    mc146818_set(pc->rtc, at + 2, (uint8_t)g->heads);
    set16(pc, at + 3, 0xffff); /* no write precompensation */
    mc146818_set(pc->rtc, at + 5, (uint8_t)(0xc0 | (g->heads > 8) << 3));
    set16(pc, at + 6, g->cyls);
    mc146818_set(pc->rtc, at + 8, (uint8_t)g->secs);
}

/* The disk there, whether -drive or -device has made it; the board's channels only. */
static bool find_disk(PcMachine *pc, unsigned channel, unsigned unit, IdeGeometry *g, bool *lba)
{
    g_autofree char *id = g_strdup_printf("ide.%u", channel);
    Error *err = NULL;
    Bus *bus = pc->ide && !pc_is_q35(pc) ? bus_find(&pc->m, id, TYPE_IDE_BUS, &err) : NULL;

    error_free(err);

    return bus && ide_bus_geometry((IdeBus *)bus, unit, g, lba);
}

static void disks(PcMachine *pc)
{
    uint8_t types = 0, translation = 0;

    for (unsigned unit = 0; unit < 4; unit++) {
        IdeGeometry g;
        bool lba;

        if (!find_disk(pc, unit / 2, unit % 2, &g, &lba)) {
            continue;
        }
        translation |= (uint8_t)((lba ? 1 : 0) << (2 * unit));
        if (unit < 2) {
            types |= (uint8_t)(0xf0 >> (4 * unit));
            mc146818_set(pc->rtc, CMOS_DISK0_EXT + unit, 47);
            disk_geometry(pc, unit ? CMOS_DISK1_GEOMETRY : CMOS_DISK0_GEOMETRY, &g);
        }
    }
    mc146818_set(pc->rtc, CMOS_DISK_TYPES, types);
    mc146818_set(pc->rtc, CMOS_BIOS_TRANSLATION, translation);
}

void pc_boot_changed(Machine *m)
{
    boot_order(PC_MACHINE(m));
}

void pc_woken(PcMachine *pc)
{
    mc146818_set(pc->rtc, CMOS_SHUTDOWN, SHUTDOWN_RESUME);
}

void pc_cmos_init(PcMachine *pc)
{
    memory_sizes(pc);
    mc146818_set(pc->rtc, CMOS_CPUS, (uint8_t)(MIN(pc->m.smp.cpus, 256) - 1));
    boot_order(pc);
    floppies(pc);
    disks(pc);
}
