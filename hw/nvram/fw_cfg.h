/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/nvram/fw_cfg.h: the firmware configuration device: how the machine tells
 * SeaBIOS, OVMF and kernels what it is made of.
 *
 * QEMU's published specification docs/specs/fw_cfg.rst: selector 510h, data 511h,
 * DMA address 514h (big-endian).  Type "fw_cfg_io" (properties dma_enabled,
 * x-file-slots).  Data are copied in (but for the gbytes forms); changing them is for the control
 * thread with the platform loop's lock.
 */
#ifndef RHEA_HW_NVRAM_FW_CFG_H
#define RHEA_HW_NVRAM_FW_CFG_H

#include "hw/core/device.h"
#include "hw/core/machine.h"

#define TYPE_FW_CFG_IO "fw_cfg_io"

typedef struct FwCfg FwCfg;

enum {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_MACHINE_ID = 0x06,
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_KERNEL_CMDLINE = 0x09,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_BOOT_DEVICE = 0x0c,
    FW_CFG_NUMA = 0x0d,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_ENTRY = 0x10,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16,
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_ACPI_TABLES = 0x8000,
    FW_CFG_SMBIOS_ENTRIES = 0x8001,
    FW_CFG_IRQ0_OVERRIDE = 0x8002,
    FW_CFG_E820_TABLE = 0x8003,
    FW_CFG_HPET = 0x8004,
};

/*
 * Makes it at 510h of m->io with DMA through m->as_memory, realizes it, sets
 * m->fw_cfg and fills in signature, ID, UUID, RAM size, CPU counts, NOGRAPHIC,
 * boot menu and splash settings from the machine.
 */
FwCfg *fw_cfg_new(Machine *m, Error **errp);
/* Late: "bootorder" from m->boot_devices by bootindex. Called by the machine's `done`. */
void fw_cfg_machine_done(FwCfg *f, Machine *m);

/* Adding replaces what was there under the key. */
/* Without a copy: a reference is taken (kernels and initrds that are mapped files). */
void fw_cfg_add_gbytes(FwCfg *f, uint16_t key, GBytes *bytes);
/*
 * The bytes under `key` are big and needed once: `drop` is called when the guest has read them
 * to their end by DMA, after which they may be anything, and `refill` at the next reset.
 */
typedef void FwCfgLendFn(void *opaque);
void fw_cfg_set_lender(FwCfg *f, uint16_t key, FwCfgLendFn *refill, FwCfgLendFn *drop,
                       void *opaque);
void fw_cfg_add_bytes(FwCfg *f, uint16_t key, const void *data, size_t len);
void fw_cfg_add_string(FwCfg *f, uint16_t key, const char *s); /* with its NUL */
void fw_cfg_add_u16(FwCfg *f, uint16_t key, uint16_t v);       /* little-endian */
void fw_cfg_add_u32(FwCfg *f, uint16_t key, uint32_t v);
void fw_cfg_add_u64(FwCfg *f, uint16_t key, uint64_t v);

/* false if the name is too long (55), exists already or all slots are in use. */
bool fw_cfg_add_file(FwCfg *f, const char *name, const void *data, size_t len, Error **errp);
bool fw_cfg_add_file_gbytes(FwCfg *f, const char *name, GBytes *bytes, Error **errp);
/*
 * With callbacks (either may be NULL): `select` before the guest reads it from the
 * start; `written` after a DMA write of [offset, offset + len) if `writable`.
 */
typedef void FwCfgSelectFn(void *opaque);
typedef void FwCfgWrittenFn(void *opaque, uint64_t offset, uint64_t len);
bool fw_cfg_add_file_callback(FwCfg *f, const char *name, FwCfgSelectFn *select,
                              FwCfgWrittenFn *written, void *opaque, const void *data, size_t len,
                              bool writable, Error **errp);
/* Replaces the contents, or adds the file. */
bool fw_cfg_modify_file(FwCfg *f, const char *name, const void *data, size_t len, Error **errp);
/* The device's own copy, to read what the guest wrote; NULL if there is none. */
const uint8_t *fw_cfg_file_data(FwCfg *f, const char *name, size_t *len);

#endif
