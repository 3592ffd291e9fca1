/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unpacking the kernel of a bzImage: a good one, and all the ways in which one may be bad. */
#include "hw/i386/vmlinux.h"
#include "util/bits.h"

#include <elf.h>
#include <string.h>
#include <zlib.h>

#define BASE 0x1000000u
#define SETUP 1024u
#define LIMIT (64 * MiB)

typedef struct Kernel {
    Elf64_Ehdr h;
    Elf64_Phdr p[2];
    uint8_t code[4096];
} Kernel;

static Kernel good_kernel(void)
{
    Kernel k = {.h = {.e_type = ET_EXEC,
                      .e_machine = EM_X86_64,
                      .e_entry = BASE + 16,
                      .e_phoff = offsetof(Kernel, p),
                      .e_phentsize = sizeof(Elf64_Phdr),
                      .e_phnum = 2},
                .p = {{.p_type = PT_LOAD,
                       .p_offset = offsetof(Kernel, code),
                       .p_paddr = BASE,
                       .p_filesz = 4096,
                       .p_memsz = 8192},
                      {.p_type = PT_NOTE, .p_offset = UINT64_MAX}}};
    memcpy(k.h.e_ident, ELFMAG, SELFMAG);
    k.h.e_ident[EI_CLASS] = ELFCLASS64;
    k.h.e_ident[EI_DATA] = ELFDATA2LSB;
    memset(k.code, 0x90, sizeof(k.code));
    return k;
}

/* A bzImage around it, packed by gzip. */
static GByteArray *pack(const void *data, size_t len)
{
    GByteArray *out = g_byte_array_new();
    uint8_t buf[8192];
    z_stream s = {.next_in = (Bytef *)data, .avail_in = (uInt)len};

    g_byte_array_set_size(out, SETUP);
    memset(out->data, 0, SETUP);
    g_assert_cmpint(deflateInit2(&s, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), ==,
                    Z_OK);
    s.next_out = buf;
    s.avail_out = sizeof(buf);
    g_assert_cmpint(deflate(&s, Z_FINISH), ==, Z_STREAM_END);
    g_byte_array_append(out, buf, (guint)(sizeof(buf) - s.avail_out));
    deflateEnd(&s);
    st_le16(out->data + 0x206, 0x20f);
    st_le16(out->data + 0x236, 1);
    st_le32(out->data + 0x248, 0);
    st_le32(out->data + 0x24c, out->len - SETUP);
    st_le64(out->data + 0x258, BASE);
    st_le32(out->data + 0x260, 1 * MiB);
    return out;
}

static Vmlinux *try_image(GByteArray *a, uint64_t limit)
{
    g_autoptr(GBytes) b = g_byte_array_free_to_bytes(a);
    return vmlinux_new(b, SETUP, limit, false);
}

static Vmlinux *try_kernel(const Kernel *k)
{
    return try_image(pack(k, sizeof(*k)), LIMIT);
}

static void test_good(void)
{
    Kernel k = good_kernel();
    Vmlinux *v = try_kernel(&k);

    g_assert_nonnull(v);
    g_assert_cmpuint(vmlinux_addr(v), ==, BASE - 0x10000);
    g_assert_cmpuint(vmlinux_end(v), ==, BASE + 1 * MiB);
    vmlinux_free(v);
}

static void bad(const Kernel *k)
{
    g_assert_null(try_kernel(k));
}

#define BAD(change)               \
    do {                          \
        Kernel k = good_kernel(); \
        change;                   \
        bad(&k);                  \
    } while (0)

static void test_elf(void)
{
    BAD(k.h.e_ident[0] = 0);
    BAD(k.h.e_ident[EI_CLASS] = ELFCLASS32);
    BAD(k.h.e_machine = EM_386);
    BAD(k.h.e_type = ET_REL);
    BAD(k.h.e_phentsize = 32);
    BAD(k.h.e_phoff = UINT64_MAX - 8);
    BAD(k.h.e_phnum = 0);
    BAD(k.h.e_phnum = 0xffff);
    BAD(k.h.e_entry = BASE - 1);
    BAD(k.h.e_entry = BASE + 4096);
    BAD(k.p[0].p_paddr = BASE - 4096);
    BAD(k.p[0].p_paddr = UINT64_MAX);
    BAD(k.p[0].p_memsz = 2 * MiB);
    BAD(k.p[0].p_memsz = UINT64_MAX);
    BAD(k.p[0].p_memsz = 100);
    BAD(k.p[0].p_offset = UINT64_MAX);
    BAD(k.p[0].p_filesz = 5000);
    BAD(k.p[0].p_type = PT_NULL);
}

/* One byte range of the file's header changed. */
static void bad_header(unsigned at, unsigned size, uint64_t value)
{
    Kernel k = good_kernel();
    GByteArray *a = pack(&k, sizeof(k));

    st_le(a->data + at, size, value);
    g_assert_null(try_image(a, LIMIT));
}

static void test_header(void)
{
    Kernel k = good_kernel();

    bad_header(0x206, 2, 0x20b);
    bad_header(0x236, 2, 0);
    bad_header(0x248, 4, UINT32_MAX);
    bad_header(0x24c, 4, UINT32_MAX);
    bad_header(0x24c, 4, 0);
    bad_header(0x24c, 4, 40); /* cut off */
    bad_header(0x258, 8, 0);
    bad_header(0x258, 8, UINT64_MAX);
    bad_header(0x258, 8, BASE + 1);
    bad_header(0x260, 4, 0);
    bad_header(0x260, 4, UINT32_MAX);
    bad_header(SETUP, 2, 0x1234);          /* another packing */
    bad_header(SETUP + 40, 8, UINT64_MAX); /* broken within */
    g_assert_null(try_image(pack(&k, sizeof(k)), BASE + 4096));
    g_assert_null(try_image(pack("short", 5), LIMIT));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmlinux/good", test_good);
    g_test_add_func("/vmlinux/elf", test_elf);
    g_test_add_func("/vmlinux/header", test_header);
    return g_test_run();
}
