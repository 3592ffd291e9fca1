/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/i386/vmlinux.h"

#include "block/zstd-module.h"
#include "hw/i386/xz-module.h"
#include "target/i386/cpu.h"
#include "util/bits.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>

/* Offsets in the first sectors of a bzImage. */
enum {
    HDR_VERSION = 0x206,
    HDR_XLOADFLAGS = 0x236,
    HDR_PAYLOAD_OFFSET = 0x248,
    HDR_PAYLOAD_LENGTH = 0x24c,
    HDR_PREF_ADDRESS = 0x258,
    HDR_INIT_SIZE = 0x260,
};
#define XLF_KERNEL_64 0x01
#define XLF_5LEVEL_ENABLED 0x40
#define STUB_ROOM 0x10000u /* before the kernel: the program, page tables */
#define TABLES 0x1000u     /* PML5 if there is one, PML4, PDPT, four page directories */
#define UNPACKED_MAX (512u * (size_t)MiB)
#define SEGMENTS_MAX 16u

extern const uint8_t rhea_linux64[], rhea_linux64_entry[], rhea_linux64_cr4[], rhea_linux64_end[];

struct Vmlinux {
    GBytes *file;
    const uint8_t *payload;
    size_t payload_len, unpacked_len;
    uint64_t base, end; /* of the kernel's memory */
    uint8_t *image;     /* as it is loaded at base - STUB_ROOM; pages only while needed */
    size_t image_len;
    bool la57, filled;
};

/* ---- unpacking ---- */
static bool unpack_gzip(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    z_stream s = {.next_in = (Bytef *)in, .next_out = out};
    int r;

    if (in_len > UINT32_MAX || out_len > UINT32_MAX || inflateInit2(&s, 16 + MAX_WBITS) != Z_OK) {
        return false;
    }
    s.avail_in = (uInt)in_len;
    s.avail_out = (uInt)out_len;
    r = inflate(&s, Z_FINISH);
    inflateEnd(&s);
    return r == Z_STREAM_END && !s.avail_out;
}

static bool unpack(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    static const uint8_t gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    static const uint8_t xz[] = {0xfd, '7', 'z', 'X', 'Z', 0};

    if (in_len < 8) {
        return false;
    }
    if (!memcmp(in, gzip, sizeof(gzip))) {
        return unpack_gzip(in, in_len, out, out_len);
    }
    if (!memcmp(in, zstd, sizeof(zstd))) {
        const ZstdModule *m = module_load("zstd", NULL);
        return m && m->unpack(in, in_len, out, out_len) == 0;
    }
    if (!memcmp(in, xz, sizeof(xz))) {
        const XzModule *m = module_load("xz", NULL);
        return m && m->unpack(in, in_len, out, out_len) == 0;
    }
    return false;
}

static uint8_t *map_pages(size_t len)
{
    void *p =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* The unpacked file, to be unmapped by the caller; NULL if it cannot be. */
static uint8_t *unpack_payload(const Vmlinux *v)
{
    uint8_t *elf = map_pages(v->unpacked_len);

    if (elf && !unpack(v->payload, v->payload_len, elf, v->unpacked_len)) {
        munmap(elf, v->unpacked_len);
        return NULL;
    }
    return elf;
}

/* ---- the ELF file ---- */
/* Its segments to load, checked against file and memory; 0: it is none that we know. */
static unsigned read_segments(const Vmlinux *v, const uint8_t *elf, Elf64_Phdr *out,
                              uint64_t *entry)
{
    Elf64_Ehdr h;
    unsigned n = 0;

    if (v->unpacked_len < sizeof(h)) {
        return 0;
    }
    memcpy(&h, elf, sizeof(h));
    if (memcmp(h.e_ident, ELFMAG, SELFMAG) || h.e_ident[EI_CLASS] != ELFCLASS64 ||
        h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_machine != EM_X86_64 || h.e_type != ET_EXEC ||
        h.e_phentsize != sizeof(Elf64_Phdr) || h.e_phoff > v->unpacked_len ||
        h.e_phnum > (v->unpacked_len - h.e_phoff) / sizeof(Elf64_Phdr)) {
        return 0;
    }
    for (unsigned i = 0; i < h.e_phnum; i++) {
        Elf64_Phdr p;
        memcpy(&p, elf + h.e_phoff + i * sizeof(p), sizeof(p));
        if (p.p_type != PT_LOAD || !p.p_memsz) {
            continue;
        }
        if (n == SEGMENTS_MAX || p.p_filesz > p.p_memsz || p.p_offset > v->unpacked_len ||
            p.p_filesz > v->unpacked_len - p.p_offset || p.p_paddr < v->base ||
            p.p_paddr > v->end || p.p_memsz > v->end - p.p_paddr) {
            return 0;
        }
        out[n++] = p;
    }
    *entry = h.e_entry;
    return n && *entry >= v->base && *entry < out[0].p_paddr + out[0].p_filesz ? n : 0;
}

static size_t image_size(const Vmlinux *v, const Elf64_Phdr *p, unsigned n)
{
    uint64_t end = v->base;

    for (unsigned i = 0; i < n; i++) {
        end = MAX(end, p[i].p_paddr + p[i].p_filesz);
    }
    return (size_t)(end - v->base) + STUB_ROOM;
}

/* ---- the image ---- */
/* All of the first 4 GiB at its own place, in pages of 2 MiB. */
static void make_tables(uint8_t *at, uint64_t addr, bool la57)
{
    if (la57) {
        st_le64(at, (addr + 0x1000) | 3);
        at += 0x1000;
        addr += 0x1000;
    }
    st_le64(at, (addr + 0x1000) | 3);
    for (unsigned i = 0; i < 4; i++) {
        st_le64(at + 0x1000 + 8 * i, (addr + 0x2000 + 0x1000 * i) | 3);
    }
    for (unsigned i = 0; i < 2048; i++) {
        st_le64(at + 0x2000 + 8 * i, (uint64_t)i << 21 | 0x83);
    }
}

static void fill_image(Vmlinux *v, const uint8_t *elf, const Elf64_Phdr *p, unsigned n,
                       uint64_t entry)
{
    memcpy(v->image, rhea_linux64, (size_t)(rhea_linux64_end - rhea_linux64));
    st_le32(v->image + (rhea_linux64_entry - rhea_linux64), (uint32_t)entry);
    st_le32(v->image + (rhea_linux64_cr4 - rhea_linux64), v->la57 ? CR4_PAE | CR4_LA57 : CR4_PAE);
    make_tables(v->image + TABLES, v->base - STUB_ROOM + TABLES, v->la57);
    for (unsigned i = 0; i < n; i++) {
        memcpy(v->image + STUB_ROOM + (p[i].p_paddr - v->base), elf + p[i].p_offset, p[i].p_filesz);
    }
    v->filled = true;
}

/* Unpacks and places; the file has not changed since it was found to be good, or has it? */
static bool make_image(Vmlinux *v)
{
    Elf64_Phdr segments[SEGMENTS_MAX];
    uint64_t entry;
    uint8_t *elf = unpack_payload(v);
    unsigned n = elf ? read_segments(v, elf, segments, &entry) : 0;

    if (n && !v->image) {
        v->image_len = image_size(v, segments, n);
        v->image = map_pages(v->image_len);
    }
    if (n && v->image && image_size(v, segments, n) <= v->image_len) {
        fill_image(v, elf, segments, n, entry);
    }
    if (elf) {
        munmap(elf, v->unpacked_len);
    }
    return v->filled;
}

/* The guest has it: the pages go, not the place. */
static void drop(void *opaque)
{
    Vmlinux *v = opaque;

    if (v->filled) {
        madvise(v->image, v->image_len, MADV_DONTNEED);
        v->filled = false;
    }
}

static void refill(void *opaque)
{
    Vmlinux *v = opaque;

    if (!v->filled) {
        make_image(v);
    }
}

/* ---- life ---- */
static bool read_header(Vmlinux *v, const uint8_t *h, size_t len, size_t setup_len, uint64_t limit)
{
    uint64_t offset = ld_le32(h + HDR_PAYLOAD_OFFSET), size = ld_le32(h + HDR_PAYLOAD_LENGTH);

    if (ld_le16(h + HDR_VERSION) < 0x20c || !(ld_le16(h + HDR_XLOADFLAGS) & XLF_KERNEL_64) ||
        size < 16 || offset > len - setup_len || size > len - setup_len - offset) {
        return false;
    }
    v->la57 &= (ld_le16(h + HDR_XLOADFLAGS) & XLF_5LEVEL_ENABLED) != 0;
    v->payload = h + setup_len + offset;
    v->payload_len = size;
    v->unpacked_len = ld_le32(v->payload + size - 4); /* follows whatever the packing is */
    v->base = ld_le64(h + HDR_PREF_ADDRESS);
    v->end = v->base + ld_le32(h + HDR_INIT_SIZE);
    return v->unpacked_len <= UNPACKED_MAX && v->base >= 1 * MiB + STUB_ROOM && !(v->base & 4095) &&
           v->base < limit && v->end <= limit && v->end > v->base;
}

Vmlinux *vmlinux_new(GBytes *bytes, size_t setup_len, uint64_t limit, bool la57)
{
    size_t len;
    const uint8_t *h = g_bytes_get_data(bytes, &len);
    Vmlinux *v = g_new0(Vmlinux, 1);

    v->file = g_bytes_ref(bytes);
    v->la57 = la57;
    if (len < HDR_INIT_SIZE + 4 || len < setup_len ||
        !read_header(v, h, len, setup_len, MIN(limit, 4 * GiB)) || !make_image(v)) {
        vmlinux_free(v);
        return NULL;
    }
    return v;
}

void vmlinux_free(Vmlinux *v)
{
    if (v) {
        if (v->image) {
            munmap(v->image, v->image_len);
        }
        g_bytes_unref(v->file);
        g_free(v);
    }
}

uint32_t vmlinux_addr(const Vmlinux *v)
{
    return (uint32_t)(v->base - STUB_ROOM);
}

uint64_t vmlinux_end(const Vmlinux *v)
{
    return v->end;
}

void vmlinux_publish(Vmlinux *v, FwCfg *f)
{
    g_autoptr(GBytes) image = g_bytes_new_with_free_func(v->image, v->image_len, NULL, NULL);

    fw_cfg_add_u32(f, FW_CFG_KERNEL_ADDR, vmlinux_addr(v));
    fw_cfg_add_u32(f, FW_CFG_KERNEL_SIZE, (uint32_t)v->image_len);
    fw_cfg_add_gbytes(f, FW_CFG_KERNEL_DATA, image);
    fw_cfg_set_lender(f, FW_CFG_KERNEL_DATA, refill, drop, v);
}
