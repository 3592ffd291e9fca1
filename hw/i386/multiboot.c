/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multiboot kernels (Multiboot Specification 0.6.96): ELF or by the addresses in
 * the header ("a.out kludge"), with modules.
 */
#include "hw/core/datafile.h"
#include "hw/i386/kernel.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>

#define HEADER_MAGIC 0x1badb002u
#define HEADER_SEARCH 8192u
#define FLAG_VIDEO BIT(2)
#define FLAG_ADDRESSES BIT(16)
#define FLAGS_REQUIRED 0xffffu
#define FLAGS_KNOWN 0x0007u

/* The information structure (3.3) and what it points to, in one block of low memory. */
#define MBI_ADDR 0x10000u
#define MBI_SIZE 96u
#define MMAP_SIZE (60u * 24u)
#define BLOCK_MAX 0x8000u
enum {
    MBI_FLAGS = 0,
    MBI_BOOT_DEVICE = 12,
    MBI_CMDLINE = 16,
    MBI_MODS_COUNT = 20,
    MBI_MODS_ADDR = 24,
    MBI_MMAP_ADDR = 48,
    MBI_LOADER_NAME = 64,
};
#define MBI_HAS_MEM BIT(0)
#define MBI_HAS_BOOT_DEVICE BIT(1)
#define MBI_HAS_CMDLINE BIT(2)
#define MBI_HAS_MODS BIT(3)
#define MBI_HAS_MMAP BIT(6)
#define MBI_HAS_LOADER_NAME BIT(9)

extern const uint8_t rhea_rom_multiboot[], rhea_rom_multiboot_end[];

typedef struct Multiboot {
    PcMachine *pc;
    const uint8_t *image;
    size_t len;
    const uint8_t *header;
    size_t header_at;
    uint32_t load_addr, entry;
    uint64_t end; /* of the kernel with its bss */
    GByteArray *kernel, *modules, *block;
    uint32_t modules_addr;
    GArray *starts; /* uint32_t pairs: start, end */
    GPtrArray *names;
} Multiboot;

int64_t multiboot_find(const uint8_t *image, size_t len)
{
    for (size_t i = 0; i + 12 <= MIN(len, HEADER_SEARCH); i += 4) {
        if (ld_le32(image + i) == HEADER_MAGIC &&
            ld_le32(image + i) + ld_le32(image + i + 4) + ld_le32(image + i + 8) == 0) {
            return (int64_t)i;
        }
    }
    return -1;
}

static bool fail(Multiboot *mb, Error **errp, const char *why)
{
    error_set(errp, "the Multiboot kernel '%s' %s", mb->pc->m.kernel, why);
    return false;
}

static bool check_span(Multiboot *mb, uint64_t start, uint64_t end, Error **errp)
{
    if (start > end || end > mb->pc->below_4g) {
        error_set(errp,
                  "the Multiboot kernel '%s' wants to be at 0x%" PRIx64 " to 0x%" PRIx64
                  ", beyond the end of memory",
                  mb->pc->m.kernel, start, end);
        error_hint(errp, "give the machine more memory with -m");
        return false;
    }
    if (start < MBI_ADDR + BLOCK_MAX && end > MBI_ADDR) {
        return fail(mb, errp, "wants to be below 96 KiB, where the boot information goes");
    }
    return true;
}

/* ---- images ---- */
static bool load_by_header(Multiboot *mb, Error **errp)
{
    const uint8_t *h = mb->header;
    uint64_t header_addr, load_addr, load_end, bss_end, file_at, size;

    if (mb->header_at + 32 > mb->len) {
        return fail(mb, errp, "is cut off in its header");
    }
    header_addr = ld_le32(h + 12);
    load_addr = ld_le32(h + 16);
    load_end = ld_le32(h + 20);
    bss_end = ld_le32(h + 24);
    mb->entry = ld_le32(h + 28);
    if (header_addr < load_addr || header_addr - load_addr > mb->header_at) {
        return fail(mb, errp, "has addresses in its header that contradict each other");
    }
    file_at = mb->header_at - (header_addr - load_addr);
    size = load_end ? load_end - load_addr : mb->len - file_at;
    if ((load_end && load_end < load_addr) || size > mb->len - file_at) {
        return fail(mb, errp, "is shorter than its header says");
    }
    mb->load_addr = (uint32_t)load_addr;
    mb->end = MAX(load_addr + size, bss_end);
    if (!check_span(mb, load_addr, mb->end, errp)) {
        return false;
    }
    g_byte_array_append(mb->kernel, mb->image + file_at, (guint)size);
    g_byte_array_set_size(mb->kernel, (guint)(mb->end - load_addr));
    memset(mb->kernel->data + size, 0, mb->end - load_addr - size);
    return true;
}

static bool elf_check(Multiboot *mb, Elf32_Ehdr *eh, Error **errp)
{
    if (mb->len < sizeof(*eh) || memcmp(mb->image, ELFMAG, SELFMAG) != 0) {
        return fail(mb, errp, "has no load addresses in its header and is no ELF file");
    }
    memcpy(eh, mb->image, sizeof(*eh));
    if (eh->e_ident[EI_CLASS] != ELFCLASS32 || eh->e_machine != EM_386) {
        return fail(mb, errp,
                    "is not a 32-bit x86 ELF file; Multiboot enters kernels in 32-bit "
                    "mode");
    }
    if (eh->e_phentsize != sizeof(Elf32_Phdr) ||
        eh->e_phoff + (uint64_t)eh->e_phnum * sizeof(Elf32_Phdr) > mb->len) {
        return fail(mb, errp, "is cut off in its program headers");
    }
    return true;
}

/* The span of all segments; then each into its place. */
static bool load_elf(Multiboot *mb, Error **errp)
{
    Elf32_Ehdr eh;
    Elf32_Phdr ph;
    uint64_t low = UINT64_MAX, high = 0;

    if (!elf_check(mb, &eh, errp)) {
        return false;
    }
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < eh.e_phnum; i++) {
            memcpy(&ph, mb->image + eh.e_phoff + i * sizeof(ph), sizeof(ph));
            if (ph.p_type != PT_LOAD || ph.p_memsz == 0) {
                continue;
            }
            if (ph.p_filesz > ph.p_memsz || (uint64_t)ph.p_offset + ph.p_filesz > mb->len) {
                return fail(mb, errp, "has a segment beyond its end");
            }
            if (pass == 0) {
                low = MIN(low, ph.p_paddr);
                high = MAX(high, (uint64_t)ph.p_paddr + ph.p_memsz);
            } else {
                memcpy(mb->kernel->data + (ph.p_paddr - low), mb->image + ph.p_offset, ph.p_filesz);
            }
        }
        if (pass == 0) {
            if (high == 0) {
                return fail(mb, errp, "has nothing to load");
            }
            if (!check_span(mb, low, high, errp)) {
                return false;
            }
            g_byte_array_set_size(mb->kernel, (guint)(high - low));
            memset(mb->kernel->data, 0, high - low);
        }
    }
    mb->load_addr = (uint32_t)low;
    mb->end = high;
    mb->entry = eh.e_entry;
    return true;
}

/* ---- modules ---- */
/* "file args,file args"; a doubled comma stands for one. */
static GPtrArray *split_modules(const char *text)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) s = g_string_new(NULL);

    for (const char *p = text; *p; p++) {
        if (*p != ',' || p[1] == ',') {
            g_string_append_c(s, *p);
            p += *p == ',';
        } else {
            g_ptr_array_add(list, g_strdup(s->str));
            g_string_truncate(s, 0);
        }
    }
    if (s->len) {
        g_ptr_array_add(list, g_strdup(s->str));
    }
    return list;
}

static bool add_module(Multiboot *mb, const char *text, Error **errp)
{
    g_autofree char *path = g_strndup(text, strcspn(text, " "));
    uint64_t limit = mb->pc->below_4g - MIN(mb->pc->below_4g, KERNEL_FIRMWARE_RESERVE);
    uint32_t start, end;
    uint8_t *data;
    size_t len;

    g_byte_array_set_size(mb->modules, ALIGN_UP(mb->modules->len, 4096u));
    start = mb->modules_addr + mb->modules->len;
    data = datafile_read(path, limit, &len, errp);
    if (!data) {
        error_prefix(errp, "-initrd: ");
        return false;
    }
    if (start + (uint64_t)len > limit) {
        error_set(errp, "the module '%s' does not fit into memory", path);
        g_free(data);
        return false;
    }
    g_byte_array_append(mb->modules, data, (guint)len);
    g_free(data);
    end = start + (uint32_t)len;
    g_array_append_val(mb->starts, start);
    g_array_append_val(mb->starts, end);
    g_ptr_array_add(mb->names, g_strdup(text));
    return true;
}

static bool load_modules(Multiboot *mb, Error **errp)
{
    GPtrArray *list;
    bool ok = true;

    mb->modules_addr = (uint32_t)ALIGN_UP(mb->end, 4096);
    if (!mb->pc->m.initrd) {
        return true;
    }
    list = split_modules(mb->pc->m.initrd);
    for (guint i = 0; ok && i < list->len; i++) {
        ok = add_module(mb, list->pdata[i], errp);
    }
    g_ptr_array_free(list, TRUE);
    return ok;
}

/* ---- boot information ---- */
static uint32_t add_text(Multiboot *mb, const char *s)
{
    uint32_t at = MBI_ADDR + mb->block->len;

    g_byte_array_append(mb->block, (const uint8_t *)s, (guint)strlen(s) + 1);
    return at;
}

static void set(Multiboot *mb, uint32_t at, uint64_t v)
{
    st_le32(mb->block->data + at, (uint32_t)v);
}

static void add_module_list(Multiboot *mb)
{
    uint32_t at = mb->block->len;
    guint n = mb->names->len;

    g_byte_array_set_size(mb->block, at + 16 * n);
    memset(mb->block->data + at, 0, 16 * n);
    for (guint i = 0; i < n; i++) {
        uint32_t text = add_text(mb, mb->names->pdata[i]);

        set(mb, at + 16 * i, g_array_index(mb->starts, uint32_t, 2 * i));
        set(mb, at + 16 * i + 4, g_array_index(mb->starts, uint32_t, 2 * i + 1));
        set(mb, at + 16 * i + 8, text);
    }
    set(mb, MBI_MODS_COUNT, n);
    set(mb, MBI_MODS_ADDR, MBI_ADDR + at);
}

static bool make_info(Multiboot *mb, Error **errp)
{
    const char *args = mb->pc->m.append ? mb->pc->m.append : "";
    g_autofree char *cmdline = g_strdup_printf("%s%s%s", mb->pc->m.kernel, *args ? " " : "", args);
    uint32_t text;

    g_byte_array_set_size(mb->block, MBI_SIZE + MMAP_SIZE);
    memset(mb->block->data, 0, MBI_SIZE + MMAP_SIZE);
    add_module_list(mb);
    text = add_text(mb, cmdline);
    set(mb, MBI_CMDLINE, text);
    text = add_text(mb, "rhea");
    set(mb, MBI_LOADER_NAME, text);
    set(mb, MBI_MMAP_ADDR, MBI_ADDR + MBI_SIZE);
    set(mb, MBI_BOOT_DEVICE, 0x8000ffff); /* the first disk, as a whole */
    set(mb, MBI_FLAGS,
        MBI_HAS_MEM | MBI_HAS_BOOT_DEVICE | MBI_HAS_CMDLINE | MBI_HAS_MODS | MBI_HAS_MMAP |
            MBI_HAS_LOADER_NAME);
    if (mb->block->len > BLOCK_MAX) {
        error_set(errp, "-append and the modules' texts have %u bytes; %u fit", mb->block->len,
                  BLOCK_MAX);
        return false;
    }
    return true;
}

static void publish(Multiboot *mb)
{
    FwCfg *f = mb->pc->m.fw_cfg;

    fw_cfg_add_u32(f, FW_CFG_KERNEL_ADDR, mb->load_addr);
    fw_cfg_add_u32(f, FW_CFG_KERNEL_SIZE, mb->kernel->len);
    fw_cfg_add_bytes(f, FW_CFG_KERNEL_DATA, mb->kernel->data, mb->kernel->len);
    fw_cfg_add_u32(f, FW_CFG_KERNEL_ENTRY, mb->entry);
    fw_cfg_add_u32(f, FW_CFG_INITRD_ADDR, mb->modules_addr);
    fw_cfg_add_u32(f, FW_CFG_INITRD_SIZE, mb->modules->len);
    fw_cfg_add_bytes(f, FW_CFG_INITRD_DATA, mb->modules->data, mb->modules->len);
    fw_cfg_add_u32(f, FW_CFG_CMDLINE_ADDR, MBI_ADDR);
    fw_cfg_add_u32(f, FW_CFG_CMDLINE_SIZE, mb->block->len);
    fw_cfg_add_bytes(f, FW_CFG_CMDLINE_DATA, mb->block->data, mb->block->len);
}

static bool load(Multiboot *mb, Error **errp)
{
    uint32_t flags = ld_le32(mb->header + 4);

    if (flags & FLAGS_REQUIRED & ~FLAGS_KNOWN) {
        error_set(errp,
                  "the Multiboot kernel '%s' requires features (0x%x) that the specification "
                  "does not have",
                  mb->pc->m.kernel, flags & FLAGS_REQUIRED & ~FLAGS_KNOWN);
        return false;
    }
    if (flags & FLAG_VIDEO) {
        report_warning("the Multiboot kernel '%s' asks for a video mode and starts in text mode",
                       mb->pc->m.kernel);
    }
    if (flags & FLAG_ADDRESSES ? !load_by_header(mb, errp) : !load_elf(mb, errp)) {
        return false;
    }
    if (!load_modules(mb, errp) || !make_info(mb, errp)) {
        return false;
    }
    publish(mb);
    return kernel_add_rom(mb->pc, "multiboot_dma.bin", rhea_rom_multiboot, rhea_rom_multiboot_end,
                          errp);
}

bool multiboot_load(PcMachine *pc, const uint8_t *image, size_t len, Error **errp)
{
    int64_t at = multiboot_find(image, len);
    Multiboot mb = {.pc = pc, .image = image, .len = len};
    bool ok;

    if (at < 0) {
        return fail(&mb, errp, "has no header");
    }
    mb.header = image + at;
    mb.header_at = (size_t)at;
    mb.kernel = g_byte_array_new();
    mb.modules = g_byte_array_new();
    mb.block = g_byte_array_new();
    mb.starts = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    mb.names = g_ptr_array_new_with_free_func(g_free);
    ok = load(&mb, errp);
    g_byte_array_free(mb.kernel, TRUE);
    g_byte_array_free(mb.modules, TRUE);
    g_byte_array_free(mb.block, TRUE);
    g_array_free(mb.starts, TRUE);
    g_ptr_array_free(mb.names, TRUE);
    return ok;
}
