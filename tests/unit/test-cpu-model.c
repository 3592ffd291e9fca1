/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU models, -cpu's syntax, CPUID, topology, the state description. */
#include "state/state.h"
#include "target/i386/cpu-state.h"
#include "target/i386/model.h"

static CPUX86 *new_cpu(const char *model)
{
    CPUX86 *cpu = aligned_alloc(64, sizeof(*cpu));
    CpuEngineInfo engine;

    memset(cpu, 0, sizeof(*cpu));
    cpu_engine_tcg(&engine);
    g_assert_true(cpu_model_parse(model, &engine, &cpu->config, NULL));
    cpu_reset(cpu, true);
    return cpu;
}

static bool parse(const char *text, CpuConfig *c, char **message, char **hint)
{
    CpuEngineInfo engine;
    g_autoptr(Error) err = NULL;
    bool ok;

    cpu_engine_tcg(&engine);
    ok = cpu_model_parse(text, &engine, c, &err);
    g_assert_true(ok == !err);
    *message = err ? g_strdup(error_message(err)) : NULL;
    *hint = err ? g_strdup(error_hints(err)) : NULL;
    return ok;
}

static void test_all_models(void)
{
    g_autoptr(GPtrArray) list = cpu_model_list();
    CpuEngineInfo everything = {.name = "test", .tsc_hz = 1};

    memset(everything.features, 0xff, sizeof(everything.features));
    g_assert_cmpuint(list->len, >, 180);
    for (guint i = 0; i < list->len; i++) {
        CpuModelInfo *m = list->pdata[i];
        CpuConfig c, of;

        g_assert_true(cpu_model_parse(m->name, &everything, &c, NULL));
        g_assert_cmpuint(strlen(c.vendor), ==, 12);
        if (m->alias_of) {
            g_assert_true(cpu_model_parse(m->alias_of, &everything, &of, NULL));
            g_assert_cmpmem(&c, sizeof(c), &of, sizeof(of));
        }
        if (i) {
            g_assert_cmpstr(((CpuModelInfo *)list->pdata[i - 1])->name, !=, m->name);
        }
    }
}

static void test_features(void)
{
    CpuConfig c;
    char *m, *h;

    g_assert_true(
        parse("Nehalem,-sse4.2,+movbe,aes=off,family=7,vendor=AuthenticAMD,level=4", &c, &m, &h));
    g_assert_false(c.features[FEAT_1_ECX] & 1u << 20);
    g_assert_true(c.features[FEAT_1_ECX] & 1u << 22);
    g_assert_cmpuint(c.family, ==, 7);
    g_assert_cmpstr(c.vendor, ==, "AuthenticAMD");
    g_assert_cmpuint(c.level, ==, 4);
    g_assert_true(c.hypervisor);
    g_assert_true(
        parse("qemu64,hypervisor=off,sse4_1=on,tsc-frequency=2G,phys-bits=46", &c, &m, &h));
    g_assert_false(c.hypervisor);
    g_assert_true(c.features[FEAT_1_ECX] & 1u << 19);
    g_assert_cmpuint(c.tsc_hz, ==, 2000000000);
    g_assert_cmpuint(c.phys_bits, ==, 46);
}

static void expect_error(const char *text, const char *message, const char *hint)
{
    g_autofree char *m = NULL, *h = NULL;
    CpuConfig c;

    g_assert_false(parse(text, &c, &m, &h));
    g_test_message("%s | %s", m, h);
    g_assert_nonnull(strstr(m, message));
    g_assert_nonnull(strstr(h, hint));
}

static void test_dependencies(void)
{
    CpuConfig c;
    char *m, *h;

    g_assert_true(parse("max,-avx", &c, &m, &h));
    g_assert_cmphex(c.features[FEAT_7_0_EBX] & 1u << 5, ==, 0); /* AVX2 */
    g_assert_cmphex(c.features[FEAT_1_ECX] & 1u << 12, ==, 0);  /* FMA */
    g_assert_cmphex(c.features[FEAT_7_0_EBX] & 1u << 8, !=, 0); /* BMI2 */
    g_assert_cmphex(c.features[FEAT_1_ECX] & 1u << 26, !=, 0);  /* XSAVE */
    g_assert_true(parse("max,-xsave", &c, &m, &h));
    g_assert_cmphex(c.features[FEAT_XSAVE], ==, 0);
    g_assert_cmphex(c.features[FEAT_7_0_EBX] & 1u << 5, ==, 0);
    g_assert_true(parse("max,-avx,+avx2", &c, &m, &h)); /* who asks for it gets it */
    g_assert_cmphex(c.features[FEAT_7_0_EBX] & 1u << 5, !=, 0);
}

/* Models whose every feature is here: nothing to warn of. */
static void test_complete(void)
{
    static const char *const models[] = {"Nehalem",   "Westmere",      "SandyBridge",
                                         "IvyBridge", "Haswell-noTSX", "Broadwell-noTSX"};
    CpuEngineInfo engine;

    cpu_engine_tcg(&engine);
    for (unsigned i = 0; i < G_N_ELEMENTS(models); i++) {
        g_autoptr(GPtrArray) missing = cpu_model_unavailable(models[i], &engine);
        g_assert_cmpuint(missing->len, ==, 0);
    }
}

static void test_topology_leaves(void)
{
    CPUX86 *cpu = new_cpu("EPYC");
    uint32_t r[4];

    /* 2 packages of 2 dies of 4 cores of 2 threads; the last thread of all. */
    cpu_config_set_topology(&cpu->config, 2, 2, 4, 2, 31);
    g_assert_cmphex(cpu->config.apic_id, ==, 31);
    cpu_cpuid(cpu, 0x8000001e, 0, r);
    g_assert_cmphex(r[0], ==, 31);
    g_assert_cmphex(r[1], ==, 1u << 8 | 15);
    cpu_cpuid(cpu, 0x8000001d, 3, r);
    g_assert_cmphex(r[0] >> 14 & 0xfff, ==, 7); /* a die's threads share the L3 */
    cpu_cpuid(cpu, 0x8000001d, 0, r);
    g_assert_cmphex(r[0] >> 14 & 0xfff, ==, 1);
    cpu_cpuid(cpu, 0x80000008, 0, r);
    g_assert_cmphex(r[2], ==, 4u << 12 | 15);
    free(cpu);
    cpu = new_cpu("Skylake-Server");
    cpu_config_set_topology(&cpu->config, 2, 2, 4, 2, 31);
    cpu_cpuid(cpu, 0x1f, 0, r);
    g_assert_cmphex(r[2], ==, 0x100);
    g_assert_cmpuint(r[0], ==, 1);
    cpu_cpuid(cpu, 0x1f, 1, r);
    g_assert_cmphex(r[2], ==, 0x201);
    g_assert_cmpuint(r[0], ==, 3);
    g_assert_cmpuint(r[1], ==, 8);
    cpu_cpuid(cpu, 0x1f, 2, r);
    g_assert_cmphex(r[2], ==, 0x502);
    g_assert_cmpuint(r[0], ==, 4);
    g_assert_cmpuint(r[1], ==, 16);
    cpu_cpuid(cpu, 0x1f, 3, r);
    g_assert_cmpuint(r[0] | r[1], ==, 0);
    free(cpu);
}

static void test_mistakes(void)
{
    expect_error("Skyake-Client", "unable to find CPU model", "Skylake-Client");
    expect_error("qemu64,+ssse", "'ssse' does not exist", "sse");
    expect_error("qemu64,phys-bit=40", "'phys-bit' does not exist", "phys-bits");
    expect_error("qemu64,phys-bits=99", "from 32 to 52", "");
    expect_error("qemu64,vendor=short", "12 characters", "");
    expect_error("qemu64,sse=maybe", "'on' or 'off'", "");
    expect_error("qemu64,tsc-frequency=0", "frequency", "");
    expect_error("qemu64,pmu=on", "performance counters", "");
    expect_error("host", "KVM", "max");
    expect_error("", "unable to find CPU model", "");
    expect_error("qemu64,+vmx,enforce", "doesn't support requested features: ", "enforce");
    expect_error("Nehalem-v9", "unable to find CPU model", "Nehalem");
}

static void test_cpuid(void)
{
    CPUX86 *cpu = new_cpu("qemu64");
    uint32_t r[4];

    cpu_cpuid(cpu, 0, 0, r);
    g_assert_cmpmem(&r[1], 4, "Auth", 4);
    g_assert_cmphex(cpu->regs[R_RDX], ==, 0x60fb1);
    cpu_cpuid(cpu, 0x40000000, 0, r);
    g_assert_cmpmem(&r[1], 12, "KVMKVMKVM\0\0\0", 12);
    cpu_cpuid(cpu, 0x80000008, 0, r);
    g_assert_cmphex(r[0], ==, 0x3028);
    cpu_cpuid(cpu, 0x80000002, 0, r);
    g_assert_cmpmem(r, 4, "QEMU", 4);
    cpu_cpuid(cpu, 0x12345678, 0, r);
    g_assert_cmphex(r[0] | r[1] | r[2] | r[3], ==, 0);
    free(cpu);

    cpu = new_cpu("max");
    cpu_cpuid(cpu, 0xd, 0, r);
    g_assert_cmphex(r[0], ==, (uint32_t)cpu_xcr0_supported(cpu));
    g_assert_cmpuint(r[1], ==, 576);
    g_assert_cmpuint(r[2], >=, 576);
    cpu_cpuid(cpu, 1, 0, r);
    g_assert_false(r[2] & 1u << 27);
    cpu->cr4 |= CR4_OSXSAVE;
    cpu_cpuid(cpu, 1, 0, r);
    g_assert_true(r[2] & 1u << 27);
    free(cpu);
}

static void test_topology(void)
{
    CPUX86 *cpu = new_cpu("Nehalem");
    uint32_t r[4];

    /* 2 packages of 3 cores of 2 threads: one bit of thread, two of core. */
    cpu_config_set_topology(&cpu->config, 2, 1, 3, 2, 11);
    g_assert_cmphex(cpu->config.apic_id, ==, 1u << 3 | 2u << 1 | 1u);
    g_assert_cmphex(cpu_topology_apic_id(1, 3, 2, 5), ==, 5);
    cpu_cpuid(cpu, 0xb, 0, r);
    g_assert_cmpuint(r[0], ==, 1);
    g_assert_cmpuint(r[1], ==, 2);
    g_assert_cmphex(r[2], ==, 0x100);
    g_assert_cmphex(r[3], ==, 13);
    cpu_cpuid(cpu, 0xb, 1, r);
    g_assert_cmpuint(r[0], ==, 3);
    g_assert_cmpuint(r[1], ==, 6);
    g_assert_cmphex(r[2], ==, 0x201);
    cpu_cpuid(cpu, 0xb, 2, r);
    g_assert_cmphex(r[0] | r[1], ==, 0);
    cpu_cpuid(cpu, 1, 0, r);
    g_assert_cmphex(r[1] >> 16, ==, 13u << 8 | 8);
    g_assert_true(r[3] & 1u << 28);
    cpu_cpuid(cpu, 4, 3, r);
    g_assert_cmphex(r[0], ==, 3 | 3 << 5 | 1 << 8 | 7 << 14 | 3 << 26);
    free(cpu);
}

static void test_reset(void)
{
    CPUX86 *cpu = new_cpu("qemu64");
    g_autoptr(GString) s = g_string_new(NULL);

    cpu_print(cpu, s, true);
    g_assert_nonnull(strstr(s->str, "EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 "
                                    "HLT=0\n"));
    g_assert_nonnull(strstr(s->str, "CS =f000 ffff0000 0000ffff 00009b00\n"));
    g_assert_nonnull(strstr(s->str, "TR =0000 00000000 0000ffff 00008b00\n"));
    g_assert_nonnull(strstr(s->str, "CR0=60000010 "));
    cpu->mtrr_def_type = 0xc06;
    cpu->x87.cw = 0x37f;
    cpu->cr0 = CR0_PE | CR0_ET | CR0_CD;
    cpu->efer = EFER_SCE;
    cpu_init_signal(cpu, false);
    g_assert_cmphex(cpu->cr0, ==, CR0_ET | CR0_CD);
    g_assert_cmphex(cpu->efer, ==, 0);
    g_assert_cmphex(cpu->mtrr_def_type, ==, 0xc06);
    g_assert_cmphex(cpu->x87.cw, ==, 0x37f);
    g_assert_true(cpu->wait_for_sipi && cpu->halted);
    cpu_sipi(cpu, 0x9a);
    g_assert_cmphex(cpu->segs[SEG_CS].base, ==, 0x9a000);
    g_assert_cmphex(cpu->segs[SEG_CS].selector, ==, 0x9a00);
    g_assert_cmphex(cpu->rip, ==, 0);
    g_assert_false(cpu->halted);
    cpu_sipi(cpu, 0x10); /* nobody waits any more */
    g_assert_cmphex(cpu->segs[SEG_CS].base, ==, 0x9a000);
    free(cpu);
}

static void test_state(void)
{
    CPUX86 *cpu = new_cpu("qemu64"), *other = new_cpu("qemu64");
    g_autoptr(GByteArray) a = NULL, b = NULL, bad = NULL;
    g_autoptr(Error) err = NULL;

    cpu->regs[R_RSI] = 0x1122334455667788;
    cpu->vec[7].u64[1] = 42;
    cpu->cr0 |= CR0_PE;
    cpu->hflags |= HF_INHIBIT;
    cpu->segs[SEG_SS].attr |= 3 << SEG_DPL_SHIFT;
    a = state_save(&cpu_state_desc, cpu);
    g_assert_true(state_load(&cpu_state_desc, other, sizeof(*other), a->data, a->len, NULL));
    g_assert_cmphex(other->regs[R_RSI], ==, 0x1122334455667788);
    g_assert_true(other->hflags & HF_INHIBIT);
    g_assert_cmpuint(cpu_cpl(other), ==, 3);
    b = state_save(&cpu_state_desc, other);
    g_assert_cmpmem(a->data, a->len, b->data, b->len);
    cpu->cr0 = CR0_PG; /* paging without protection */
    bad = state_save(&cpu_state_desc, cpu);
    g_assert_false(state_load(&cpu_state_desc, other, sizeof(*other), bad->data, bad->len, &err));
    g_assert_cmphex(other->regs[R_RSI], ==, 0x1122334455667788);
    free(cpu);
    free(other);
}

static void test_unavailable(void)
{
    CpuEngineInfo engine;
    g_autoptr(GPtrArray) none = NULL, some = NULL;

    cpu_engine_tcg(&engine);
    none = cpu_model_unavailable("Nehalem", &engine);
    g_assert_cmpuint(none->len, ==, 0);
    some = cpu_model_unavailable("Skylake-Server", &engine);
    g_assert_true(some->len > 0);
    g_assert_null(cpu_model_unavailable("nothing", &engine));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-model/all", test_all_models);
    g_test_add_func("/cpu-model/features", test_features);
    g_test_add_func("/cpu-model/dependencies", test_dependencies);
    g_test_add_func("/cpu-model/complete", test_complete);
    g_test_add_func("/cpu-model/topology-leaves", test_topology_leaves);
    g_test_add_func("/cpu-model/mistakes", test_mistakes);
    g_test_add_func("/cpu-model/cpuid", test_cpuid);
    g_test_add_func("/cpu-model/topology", test_topology);
    g_test_add_func("/cpu-model/reset", test_reset);
    g_test_add_func("/cpu-model/state", test_state);
    g_test_add_func("/cpu-model/unavailable", test_unavailable);
    return g_test_run();
}
