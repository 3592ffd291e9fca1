/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/i386/kernel.h"

#include "accel/accel.h"
#include "hw/core/datafile.h"
#include "hw/i386/vmlinux.h"
#include "util/option.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Offsets in the first sectors of a bzImage. */
enum {
    HDR_SETUP_SECTS = 0x1f1,
    HDR_VID_MODE = 0x1fa,
    HDR_BOOT_FLAG = 0x1fe,
    HDR_MAGIC = 0x202,
    HDR_VERSION = 0x206,
    HDR_LOADER = 0x210,
    HDR_LOADFLAGS = 0x211,
    HDR_CODE32_START = 0x214,
    HDR_RAMDISK = 0x218,
    HDR_RAMDISK_SIZE = 0x21c,
    HDR_HEAP_END = 0x224,
    HDR_CMD_LINE = 0x228,
    HDR_INITRD_MAX = 0x22c,
    HDR_XLOADFLAGS = 0x236,
    HDR_CMDLINE_SIZE = 0x238,
    HDR_INIT_SIZE = 0x260,
};
#define MAGIC_HDRS 0x53726448u /* "HdrS" */
#define LOADED_HIGH 0x01
#define CAN_USE_HEAP 0x80
#define XLF_ABOVE_4G 0x02
#define LOADER_ID 0xb0 /* QEMU's number: "boots by option ROM" */
#define INITRD_MAX_OLD 0x37ffffffu

extern const uint8_t rhea_rom_linuxboot[], rhea_rom_linuxboot_end[];

typedef struct Linux {
    PcMachine *pc;
    uint8_t *image; /* private mapping, whose header is filled in */
    GBytes *bytes, *initrd_bytes;
    size_t len, setup_len;
    Vmlinux *unpacked; /* or NULL: it unpacks itself */
    uint16_t version;
    uint32_t setup_addr, kernel_addr, cmdline_addr, cmdline_max;
    size_t initrd_len;
    uint32_t initrd_addr;
} Linux;

/* ---- boot ROM ---- */
bool kernel_add_rom(PcMachine *pc, const char *name, const uint8_t *start, const uint8_t *end,
                    Error **errp)
{
    size_t size = ALIGN_UP((size_t)(end - start), (size_t)512), old_len;
    g_autofree uint8_t *rom = g_malloc0(size);
    g_autofree char *file = g_strdup_printf("genroms/%s", name);
    g_autofree char *order = NULL;
    const uint8_t *old;
    uint8_t sum = 0;

    memcpy(rom, start, (size_t)(end - start));
    for (size_t i = 0; i < size; i++) {
        sum = (uint8_t)(sum + rom[i]);
    }
    rom[5] = (uint8_t)-sum;
    if (!fw_cfg_add_file(pc->m.fw_cfg, file, rom, size, errp)) {
        return false;
    }
    old = fw_cfg_file_data(pc->m.fw_cfg, "bootorder", &old_len);
    order = g_strdup_printf("/rom@%s%s%.*s", file, old_len > 1 ? "\n" : "",
                            old_len > 1 ? (int)old_len - 1 : 0, old ? (const char *)old : "");
    return fw_cfg_modify_file(pc->m.fw_cfg, "bootorder", order, strlen(order) + 1, errp);
}

/* ---- Linux ---- */
static bool is_linux(const uint8_t *image, size_t len)
{
    return len > HDR_INIT_SIZE + 4 && ld_le16(image + HDR_BOOT_FLAG) == 0xaa55 &&
           ld_le32(image + HDR_MAGIC) == MAGIC_HDRS;
}

static bool parse_header(Linux *l, Error **errp)
{
    const char *name = l->pc->m.kernel;
    unsigned sectors = l->image[HDR_SETUP_SECTS];

    l->version = ld_le16(l->image + HDR_VERSION);
    if (l->version < 0x202) {
        error_set(errp, "the kernel '%s' speaks version %u.%u of the boot protocol; 2.2 is needed",
                  name, l->version >> 8, l->version & 0xff);
        return false;
    }
    l->setup_len = ((sectors ? sectors : 4) + 1) * 512u;
    if (l->setup_len >= l->len) {
        error_set(errp, "the kernel '%s' is cut off: its setup code alone has %zu bytes", name,
                  l->setup_len);
        return false;
    }
    if (l->image[HDR_LOADFLAGS] & LOADED_HIGH) {
        l->setup_addr = 0x10000;
        l->cmdline_addr = 0x20000;
        l->kernel_addr = 0x100000;
    } else {
        l->setup_addr = 0x90000;
        l->cmdline_addr = 0x9a000;
        l->kernel_addr = 0x10000;
    }
    if (l->setup_len > l->cmdline_addr - l->setup_addr - 0x1000) {
        error_set(errp, "the kernel '%s' has %zu bytes of setup code, more than fit", name,
                  l->setup_len);
        return false;
    }
    l->cmdline_max = l->version >= 0x206 ? ld_le32(l->image + HDR_CMDLINE_SIZE) : 255;
    l->cmdline_max = MIN(l->cmdline_max, l->kernel_addr == 0x100000 ? 65535u : 2047u);
    return true;
}

static bool check_room(Linux *l, Error **errp)
{
    uint64_t end = l->kernel_addr + (uint64_t)(l->len - l->setup_len);
    uint64_t limit = l->kernel_addr < 0x100000 ? 0x90000 : l->pc->below_4g;

    if (end > limit) {
        error_set(errp,
                  "the kernel '%s' needs memory up to 0x%" PRIx64 "; the machine has it up "
                  "to 0x%" PRIx64,
                  l->pc->m.kernel, end, limit);
        error_hint(errp, "give the machine more memory with -m");
        return false;
    }
    return true;
}

/* vga=normal, ext, ask or a number: the boot loader's business, not the kernel's. */
static bool video_mode(Linux *l, const char *cmdline, Error **errp)
{
    const char *p = cmdline;
    g_autofree char *word = NULL;
    uint64_t mode;

    while ((p = strstr(p, "vga=")) && p != cmdline && p[-1] != ' ') {
        p += 4;
    }
    if (!p) {
        return true;
    }
    p += 4;
    word = g_strndup(p, strcspn(p, " "));
    if (g_str_equal(word, "normal")) {
        mode = 0xffff;
    } else if (g_str_equal(word, "ext")) {
        mode = 0xfffe;
    } else if (g_str_equal(word, "ask")) {
        mode = 0xfffd;
    } else if (!parse_uint(word, &mode) || mode > 0xffff) {
        error_set(errp, "-append: vga=%s is not a video mode (normal, ext, ask or a number)", word);
        return false;
    }
    st_le16(l->image + HDR_VID_MODE, (uint16_t)mode);
    return true;
}

static bool place_initrd(Linux *l, Error **errp)
{
    uint64_t max = INITRD_MAX_OLD, room;
    uint64_t end = l->kernel_addr + (uint64_t)(l->len - l->setup_len);

    if (l->version >= 0x20c && (ld_le16(l->image + HDR_XLOADFLAGS) & XLF_ABOVE_4G)) {
        max = UINT32_MAX;
    } else if (l->version >= 0x203) {
        max = ld_le32(l->image + HDR_INITRD_MAX);
    }
    room =
        l->pc->below_4g > KERNEL_FIRMWARE_RESERVE ? l->pc->below_4g - KERNEL_FIRMWARE_RESERVE : 0;
    max = MIN(max + 1, room);
    /* The kernel unpacks itself to the same place and needs init_size bytes for it. */
    if (l->version >= 0x20a && l->kernel_addr == 0x100000) {
        end = MAX(end, l->kernel_addr + (uint64_t)ld_le32(l->image + HDR_INIT_SIZE));
    }
    if (l->unpacked) {
        end = vmlinux_end(l->unpacked);
    }
    if (end > max || l->initrd_len > max - end) {
        error_set(errp,
                  "the initial RAM disk '%s' (%zu bytes) does not fit into memory below 0x%" PRIx64
                  " beside the kernel",
                  l->pc->m.initrd, l->initrd_len, max);
        error_hint(errp, "give the machine more memory with -m");
        return false;
    }
    l->initrd_addr = (uint32_t)ALIGN_DOWN(max - l->initrd_len, 4096);
    st_le32(l->image + HDR_RAMDISK, l->initrd_addr);
    st_le32(l->image + HDR_RAMDISK_SIZE, (uint32_t)l->initrd_len);
    return true;
}

static void fill_header(Linux *l)
{
    uint8_t *h = l->image;

    h[HDR_LOADER] = LOADER_ID;
    h[HDR_LOADFLAGS] |= CAN_USE_HEAP;
    st_le16(h + HDR_HEAP_END, (uint16_t)(l->cmdline_addr - l->setup_addr - 0x200));
    st_le32(h + HDR_CMD_LINE, l->cmdline_addr);
    if (l->unpacked) {
        st_le32(h + HDR_CODE32_START, vmlinux_addr(l->unpacked));
    }
}

static void publish(Linux *l, const char *cmdline)
{
    FwCfg *f = l->pc->m.fw_cfg;

    fw_cfg_add_u32(f, FW_CFG_CMDLINE_ADDR, l->cmdline_addr);
    fw_cfg_add_u32(f, FW_CFG_CMDLINE_SIZE, (uint32_t)strlen(cmdline) + 1);
    fw_cfg_add_string(f, FW_CFG_CMDLINE_DATA, cmdline);
    fw_cfg_add_u32(f, FW_CFG_SETUP_ADDR, l->setup_addr);
    fw_cfg_add_u32(f, FW_CFG_SETUP_SIZE, (uint32_t)l->setup_len);
    fw_cfg_add_bytes(f, FW_CFG_SETUP_DATA, l->image, l->setup_len);
    if (l->unpacked) {
        vmlinux_publish(l->unpacked, f);
    } else {
        fw_cfg_add_u32(f, FW_CFG_KERNEL_ADDR, l->kernel_addr);
        fw_cfg_add_u32(f, FW_CFG_KERNEL_SIZE, (uint32_t)(l->len - l->setup_len));
        g_autoptr(GBytes) payload =
            g_bytes_new_from_bytes(l->bytes, l->setup_len, l->len - l->setup_len);
        fw_cfg_add_gbytes(f, FW_CFG_KERNEL_DATA, payload);
    }
    fw_cfg_add_u32(f, FW_CFG_INITRD_ADDR, l->initrd_addr);
    fw_cfg_add_u32(f, FW_CFG_INITRD_SIZE, (uint32_t)l->initrd_len);
    if (l->initrd_bytes) {
        fw_cfg_add_gbytes(f, FW_CFG_INITRD_DATA, l->initrd_bytes);
    } else {
        fw_cfg_add_bytes(f, FW_CFG_INITRD_DATA, NULL, 0);
    }
}

/*
 * Unpacks the kernel, if that is what it would do itself.  Not for a firmware of the user's
 * choice, which may want the file as it is, nor a CPU without 64-bit mode.
 */
static void unpack_kernel(Linux *l, const char *cmdline)
{
    const Machine *m = &l->pc->m;
    const Vcpu *v = m->cpus->len ? g_ptr_array_index(m->cpus, 0) : NULL;
    bool long_mode = v && cpu_has(&v->cpu, FEAT_80000001_EDX, 1u << 29);
    bool la57 = v && cpu_has(&v->cpu, FEAT_7_0_ECX, 1u << 16) && !strstr(cmdline, "no5lvl");

    if (long_mode && !m->firmware && l->kernel_addr == 0x100000) {
        l->unpacked = vmlinux_new(l->bytes, l->setup_len, l->pc->below_4g, la57);
    }
    if (l->unpacked) {
        l->pc->vmlinux = l->unpacked;
    }
}

static bool linux_load(PcMachine *pc, GBytes *bytes, Error **errp)
{
    const char *cmdline = pc->m.append ? pc->m.append : "";
    Linux l = {.pc = pc, .bytes = bytes};
    bool ok;

    l.image = (uint8_t *)g_bytes_get_data(bytes, &l.len);

    if (!parse_header(&l, errp) || !check_room(&l, errp) || !video_mode(&l, cmdline, errp)) {
        return false;
    }
    if (strlen(cmdline) > l.cmdline_max) {
        error_set(errp, "-append has %zu characters; this kernel takes %u", strlen(cmdline),
                  l.cmdline_max);
        return false;
    }
    unpack_kernel(&l, cmdline);
    if (pc->m.initrd) {
        l.initrd_bytes = datafile_map(pc->m.initrd, pc->below_4g, errp);
        if (!l.initrd_bytes) {
            error_prefix(errp, "-initrd: ");
            return false;
        }
        l.initrd_len = g_bytes_get_size(l.initrd_bytes);
    }
    ok = !l.initrd_bytes || place_initrd(&l, errp);
    if (ok) {
        fill_header(&l);
        publish(&l, cmdline);
        ok = kernel_add_rom(pc, "linuxboot_dma.bin", rhea_rom_linuxboot, rhea_rom_linuxboot_end,
                            errp);
    }
    g_clear_pointer(&l.initrd_bytes, g_bytes_unref);
    return ok;
}

/* ---- which kind of kernel ---- */
static void explain_foreign(const char *name, const uint8_t *image, size_t len, Error **errp)
{
    error_set(errp, "'%s' is neither a Linux bzImage nor a Multiboot kernel", name);
    if (len >= 20 && memcmp(image, "\177ELF", 4) == 0) {
        error_hint(errp, "it is an ELF file: for Linux, use arch/x86/boot/bzImage (vmlinuz), not "
                         "vmlinux");
    } else if (len >= 4 && image[0] == 0x1f && image[1] == 0x8b) {
        error_hint(errp, "it is compressed by gzip: unpack it first");
    } else if (len >= 512 && ld_le16(image + 510) == 0xaa55) {
        error_hint(errp, "it looks like a disk image: use -drive file=…");
    } else if (len >= 64 && memcmp(image + 56, "ARM\x64", 4) == 0) {
        error_hint(errp, "it is a kernel for 64-bit ARM");
    }
}

bool pc_kernel_init(PcMachine *pc, Error **errp)
{
    Machine *m = &pc->m;
    g_autoptr(GBytes) bytes = NULL;
    uint8_t *image;
    size_t len;

    if (!m->kernel) {
        if (m->initrd || m->append) {
            error_set(errp, "%s needs -kernel", m->initrd ? "-initrd" : "-append");
            return false;
        }
        return true;
    }
    bytes = datafile_map(m->kernel, pc->below_4g, errp);
    if (!bytes) {
        error_prefix(errp, "-kernel: ");
        return false;
    }
    image = (uint8_t *)g_bytes_get_data(bytes, &len);
    if (is_linux(image, len)) {
        return linux_load(pc, bytes, errp);
    }
    if (multiboot_find(image, len) >= 0) {
        return multiboot_load(pc, image, len, errp);
    }
    explain_foreign(m->kernel, image, len, errp);
    return false;
}
