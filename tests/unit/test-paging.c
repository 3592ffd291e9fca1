/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page walk: every form of paging, rights, reserved bits, accessed and dirty bits. */
#include "event/clock.h"
#include "target/i386/model.h"
#include "target/i386/paging.h"

#define RAM_SIZE (8 * MiB)
#define P 1ull
#define W 2ull
#define U 4ull
#define A 0x20ull
#define D 0x40ull
#define PS 0x80ull
#define G 0x100ull
#define NX (1ull << 63)

typedef struct Fixture {
    MemorySystem *sys;
    Region root, ram_region;
    RamBlock *ram;
    AddressSpace *as;
    CPUX86 *cpu;
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
    CpuEngineInfo engine;

    f->sys = memory_system_new();
    region_init_container(&f->root, "root", MEMORY_WHOLE);
    f->ram = ram_block_new(f->sys, "ram", RAM_SIZE, NULL, NULL);
    g_assert_nonnull(f->ram);
    region_init_ram(&f->ram_region, "ram", f->ram);
    region_add(&f->root, 0, &f->ram_region);
    f->as = address_space_new(f->sys, &f->root, "memory");
    f->cpu = aligned_alloc(64, sizeof(CPUX86));
    memset(f->cpu, 0, sizeof(CPUX86));
    cpu_engine_tcg(&engine);
    engine.features[FEAT_7_0_ECX] |= 1u << 3; /* PKU */
    g_assert_true(cpu_model_parse("max", &engine, &f->cpu->config, NULL));
    f->cpu->as = f->cpu->as_smm = f->as;
    cpu_reset(f->cpu, true);
}

static void teardown(Fixture *f, gconstpointer data)
{
    free(f->cpu);
    address_space_free(f->as);
    region_fini(&f->ram_region);
    region_fini(&f->root);
    ram_block_unref(f->ram);
    memory_system_free(f->sys);
}

static void put64(Fixture *f, hwaddr a, uint64_t v)
{
    memcpy(f->ram->host + a, &v, 8);
}
static uint64_t get64(Fixture *f, hwaddr a)
{
    uint64_t v;
    memcpy(&v, f->ram->host + a, 8);
    return v;
}
static void put32(Fixture *f, hwaddr a, uint32_t v)
{
    memcpy(f->ram->host + a, &v, 4);
}
static uint32_t get32(Fixture *f, hwaddr a)
{
    uint32_t v;
    memcpy(&v, f->ram->host + a, 4);
    return v;
}

static bool walk(Fixture *f, uint64_t lin, PageAccess access, bool user, PageWalk *w)
{
    return x86_page_walk(f->cpu, lin, access, user, f->cpu->cr4 & CR4_SMAP, false, w);
}

/* PML4 at 1000, PDPT 2000, PD 3000, PT 4000 for linear 0. */
static void four_levels(Fixture *f, uint64_t pte)
{
    CPUX86 *cpu = f->cpu;

    cpu->cr0 = CR0_PE | CR0_PG | CR0_WP;
    cpu->cr4 = CR4_PAE | CR4_PGE;
    cpu->efer = EFER_LME | EFER_LMA | EFER_NXE;
    cpu->cr3 = 0x1000;
    put64(f, 0x1000, 0x2000 | P | W | U);
    put64(f, 0x2000, 0x3000 | P | W | U);
    put64(f, 0x3000, 0x4000 | P | W | U);
    put64(f, 0x4000, pte);
}

static void test_no_paging(Fixture *f, gconstpointer data)
{
    PageWalk w;

    g_assert_true(walk(f, 0x112345, PAGE_WRITE, false, &w));
    g_assert_cmphex(w.phys, ==, 0x112345);
    f->cpu->a20_masked = true;
    g_assert_true(walk(f, 0x112345, PAGE_READ, false, &w));
    g_assert_cmphex(w.phys, ==, 0x12345);
}

static void test_accessed_dirty(Fixture *f, gconstpointer data)
{
    PageWalk w;

    four_levels(f, 0x5000 | P | W | U | G);
    g_assert_true(walk(f, 0x123, PAGE_READ, true, &w));
    g_assert_cmphex(w.phys, ==, 0x5123);
    g_assert_cmpuint(w.page_size, ==, 4096);
    g_assert_true(w.readable && !w.writable && w.executable && w.global);
    g_assert_cmphex(get64(f, 0x1000), ==, 0x2000 | P | W | U | A);
    g_assert_cmphex(get64(f, 0x4000), ==, 0x5000 | P | W | U | G | A);
    g_assert_true(walk(f, 0x123, PAGE_WRITE, true, &w));
    g_assert_true(w.writable);
    g_assert_cmphex(get64(f, 0x4000), ==, 0x5000 | P | W | U | G | A | D);
    g_assert_cmphex(get64(f, 0x3000), ==, 0x4000 | P | W | U | A);

    /* A fault sets nothing; neither does a debug walk. */
    four_levels(f, 0x5000 | P | U);
    g_assert_false(walk(f, 0, PAGE_WRITE, true, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_W | PF_U);
    g_assert_cmphex(get64(f, 0x4000), ==, 0x5000 | P | U);
    g_assert_true(x86_page_walk(f->cpu, 0, PAGE_READ, false, false, true, &w));
    g_assert_cmphex(get64(f, 0x1000), ==, 0x2000 | P | W | U);
}

static void test_rights(Fixture *f, gconstpointer data)
{
    PageWalk w;

    four_levels(f, 0x5000 | P | U); /* user, read-only */
    g_assert_false(walk(f, 0, PAGE_WRITE, false, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_W);
    f->cpu->cr0 &= ~CR0_WP;
    g_assert_true(walk(f, 0, PAGE_WRITE, false, &w));
    f->cpu->cr0 |= CR0_WP;

    four_levels(f, 0x5000 | P | W); /* supervisor */
    g_assert_false(walk(f, 0, PAGE_READ, true, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_U);
    put64(f, 0x4000, 0);
    g_assert_false(walk(f, 0, PAGE_FETCH, true, &w));
    g_assert_cmphex(w.error, ==, PF_U | PF_I);
    f->cpu->efer &= ~EFER_NXE;
    g_assert_false(walk(f, 0, PAGE_FETCH, true, &w));
    g_assert_cmphex(w.error, ==, PF_U);

    four_levels(f, 0x5000 | P | W | U | NX);
    g_assert_false(walk(f, 0, PAGE_FETCH, true, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_U | PF_I);
    g_assert_true(walk(f, 0, PAGE_READ, true, &w));
    g_assert_false(w.executable);
    f->cpu->efer &= ~EFER_NXE; /* now bit 63 is reserved */
    g_assert_false(walk(f, 0, PAGE_READ, true, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_U | PF_RSVD);
}

static void test_smep_smap(Fixture *f, gconstpointer data)
{
    PageWalk w;

    four_levels(f, 0x5000 | P | W | U);
    f->cpu->cr4 |= CR4_SMEP | CR4_SMAP;
    g_assert_false(walk(f, 0, PAGE_FETCH, false, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_I);
    g_assert_false(walk(f, 0, PAGE_READ, false, &w));
    g_assert_cmphex(w.error, ==, PF_P);
    g_assert_false(walk(f, 0, PAGE_WRITE, false, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_W);
    g_assert_true(walk(f, 0, PAGE_WRITE, true, &w));
    g_assert_true(x86_page_walk(f->cpu, 0, PAGE_READ, false, false, false, &w));
}

static void test_pkeys(Fixture *f, gconstpointer data)
{
    PageWalk w;

    four_levels(f, 0x5000 | P | W | U | 5ull << 59);
    f->cpu->cr4 |= CR4_PKE;
    f->cpu->pkru = 2u << 10; /* key 5: write disable */
    g_assert_true(walk(f, 0, PAGE_READ, true, &w));
    g_assert_false(walk(f, 0, PAGE_WRITE, true, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_W | PF_U | PF_PK);
    g_assert_false(walk(f, 0, PAGE_WRITE, false, &w));
    f->cpu->cr0 &= ~CR0_WP;
    g_assert_true(walk(f, 0, PAGE_WRITE, false, &w));
    f->cpu->pkru = 1u << 10; /* access disable */
    g_assert_false(walk(f, 0, PAGE_READ, false, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_PK);
    g_assert_true(walk(f, 0, PAGE_FETCH, true, &w));
    g_assert_false(w.readable);
}

static void test_large_pages(Fixture *f, gconstpointer data)
{
    PageWalk w;

    four_levels(f, 0);
    put64(f, 0x3008, 0x400000 | P | W | PS | 1u << 12); /* 2 MiB, PAT bit */
    g_assert_true(walk(f, 0x2abcde, PAGE_READ, false, &w));
    g_assert_cmphex(w.phys, ==, 0x4abcde);
    g_assert_cmpuint(w.page_size, ==, 2 * MiB);
    put64(f, 0x3008, 0x402000 | P | W | PS);
    g_assert_false(walk(f, 0x200000, PAGE_READ, false, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_RSVD);
    put64(f, 0x2008, 0x40000000 | P | W | PS); /* 1 GiB */
    g_assert_true(walk(f, 0x41234567, PAGE_READ, false, &w));
    g_assert_cmphex(w.phys, ==, 0x41234567);
    g_assert_cmpuint(w.page_size, ==, GiB);
    f->cpu->config.features[FEAT_80000001_EDX] &= ~(1u << 26);
    g_assert_false(walk(f, 0x41234567, PAGE_READ, false, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_RSVD);
    put64(f, 0x1000, 0x2000 | P | W | U | PS); /* PML4Es have no PS */
    g_assert_false(walk(f, 0, PAGE_READ, false, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_RSVD);
    four_levels(f, 1ull << 45 | P); /* beyond MAXPHYADDR = 40 */
    g_assert_false(walk(f, 0, PAGE_READ, false, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_RSVD);
}

static void test_five_levels(Fixture *f, gconstpointer data)
{
    PageWalk w;

    four_levels(f, 0x5000 | P | W);
    f->cpu->cr4 |= CR4_LA57;
    f->cpu->cr3 = 0x6000;
    put64(f, 0x6000 + 8 * 3, 0x1000 | P | W);
    g_assert_true(walk(f, 3ull << 48 | 0x321, PAGE_READ, false, &w));
    g_assert_cmphex(w.phys, ==, 0x5321);
    g_assert_true(x86_is_canonical(f->cpu, 0x00ffffffffffffff));
    g_assert_false(x86_is_canonical(f->cpu, 0x0100000000000000));
    f->cpu->cr4 &= ~CR4_LA57;
    g_assert_false(x86_is_canonical(f->cpu, 0x00ffffffffffffff));
    g_assert_true(x86_is_canonical(f->cpu, 0xffff800000000000));
}

static void test_pae(Fixture *f, gconstpointer data)
{
    CPUX86 *cpu = f->cpu;
    PageWalk w;

    cpu->cr0 = CR0_PE | CR0_PG;
    cpu->cr4 = CR4_PAE;
    put64(f, 0x7020, 0x3000 | P);
    put64(f, 0x7028, 0);
    put64(f, 0x7030, 0);
    put64(f, 0x7038, 0x3000 | P);
    g_assert_true(x86_load_pdptes(cpu, 0x7020));
    put64(f, 0x3000, 0x4000 | P | W | U);
    put64(f, 0x4008, 0x5000 | P | U);
    g_assert_true(walk(f, 0xc0001234, PAGE_READ, true, &w));
    g_assert_cmphex(w.phys, ==, 0x5234);
    g_assert_false(walk(f, 0x40001234, PAGE_READ, true, &w));
    g_assert_cmphex(w.error, ==, PF_U);
    /* The registers, not memory, are what counts after the load. */
    put64(f, 0x7038, 0);
    g_assert_true(walk(f, 0xc0001234, PAGE_READ, true, &w));
    put64(f, 0x7028, 0x3000 | P | W); /* reserved bit 1 */
    g_assert_false(x86_load_pdptes(cpu, 0x7020));
    put64(f, 0x4008, 0x5000 | P | U | 1ull << 55); /* ignored in long mode only */
    g_assert_false(walk(f, 0xc0001234, PAGE_READ, true, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_U | PF_RSVD);
}

static void test_legacy(Fixture *f, gconstpointer data)
{
    CPUX86 *cpu = f->cpu;
    PageWalk w;

    cpu->cr0 = CR0_PE | CR0_PG;
    cpu->cr3 = 0x1000;
    put32(f, 0x1000, 0x2000 | (uint32_t)(P | W | U));
    put32(f, 0x2004, 0x5000 | (uint32_t)(P | W));
    g_assert_true(walk(f, 0x1234, PAGE_WRITE, false, &w));
    g_assert_cmphex(w.phys, ==, 0x5234);
    g_assert_cmphex(get32(f, 0x2004), ==, 0x5000 | (P | W | A | D));
    g_assert_cmphex(get32(f, 0x1000), ==, 0x2000 | (P | W | U | A));
    /* PS without CR4.PSE is an ordinary directory entry. */
    put32(f, 0x1004, 0x00400000 | (uint32_t)(P | W | PS));
    cpu->cr4 = CR4_PSE;
    g_assert_true(walk(f, 0x412345, PAGE_READ, false, &w));
    g_assert_cmphex(w.phys, ==, 0x412345);
    g_assert_cmpuint(w.page_size, ==, 4 * MiB);
    put32(f, 0x1004, 0x00400000 | (uint32_t)(P | W | PS) | 3u << 13); /* PSE-36 */
    g_assert_true(walk(f, 0x412345, PAGE_READ, false, &w));
    g_assert_cmphex(w.phys, ==, 0x300412345);
    put32(f, 0x1004, 0x00400000 | (uint32_t)(P | W | PS) | 1u << 21);
    g_assert_false(walk(f, 0x412345, PAGE_READ, false, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_RSVD);
}

static void test_nowhere(Fixture *f, gconstpointer data)
{
    PageWalk w;

    /* Tables beyond RAM read as all ones: present, with reserved bits set. */
    four_levels(f, 0);
    f->cpu->cr3 = 0x10000000;
    g_assert_false(walk(f, 0, PAGE_READ, false, &w));
    g_assert_cmphex(w.error, ==, PF_P | PF_RSVD);
}

static void test_print(Fixture *f, gconstpointer data)
{
    g_autoptr(GString) tlb = g_string_new(NULL), mem = g_string_new(NULL);
    g_autoptr(GString) loop = g_string_new(NULL);

    four_levels(f, 0x5000 | P | W | U);
    put64(f, 0x4008, 0x6000 | P | W | U | D | A | G);
    put64(f, 0x4010, 0x7000 | P | NX);
    x86_print_tlb(f->cpu, tlb);
    g_assert_cmpstr(tlb->str, ==,
                    "0000000000000000: 0000000000005000 -------UW\n"
                    "0000000000001000: 0000000000006000 -G-DA--UW\n"
                    "0000000000002000: 0000000000007000 X--------\n");
    x86_print_mem(f->cpu, mem);
    g_assert_cmpstr(mem->str, ==,
                    "0000000000000000-0000000000002000 0000000000002000 urw\n"
                    "0000000000002000-0000000000003000 0000000000001000 -r-\n");
    /* Tables that contain themselves end at some point. */
    for (unsigned i = 0; i < 512; i++) {
        put64(f, 0x1000 + i * 8, 0x1000 | P | W);
    }
    x86_print_mem(f->cpu, loop);
    g_assert_nonnull(strstr(loop->str, "stopped after"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define T(name, fn) g_test_add("/paging/" name, Fixture, NULL, setup, fn, teardown)
    T("none", test_no_paging);
    T("accessed-dirty", test_accessed_dirty);
    T("rights", test_rights);
    T("smep-smap", test_smep_smap);
    T("pkeys", test_pkeys);
    T("large", test_large_pages);
    T("five-levels", test_five_levels);
    T("pae", test_pae);
    T("legacy", test_legacy);
    T("nowhere", test_nowhere);
    T("print", test_print);
    return g_test_run();
}
