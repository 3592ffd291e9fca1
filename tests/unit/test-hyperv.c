/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -cpu hv-*: properties, dependencies, refusals, and the CPUID leaves that come of them. */
#include "qapi/qapi-types.h"
#include "target/i386/model.h"

#include <string.h>

static CpuEngineInfo host(void)
{
    CpuEngineInfo e = {.name = "host", .kvm = true, .has_host = true};

    strcpy(e.host.vendor, "GenuineIntel");
    e.host.level = 0xd;
    e.host.xlevel = 0x80000008;
    memset(e.features, 0xff, sizeof(e.features));
    e.hyperv.able = e.hyperv.apic = true;
    memset(e.hyperv.leaf, 0xff, sizeof(e.hyperv.leaf));
    e.hyperv.leaf[4][0] &= ~(1u << 18);
    return e;
}

static bool parse(const CpuEngineInfo *e, const char *features, CpuConfig *c, char **message)
{
    g_autofree char *text = g_strdup_printf("host,%s", features);
    g_autoptr(Error) err = NULL;
    bool ok = cpu_model_parse(text, e, c, &err);

    *message = err ? g_strdup(error_message(err)) : NULL;
    g_assert_true(ok == !err);
    return ok;
}

static void leaf(const CpuConfig *c, uint32_t n, uint32_t r[4])
{
    CPUX86 *cpu = aligned_alloc(64, sizeof(*cpu));

    memset(cpu, 0, sizeof(*cpu));
    cpu->config = *c;
    cpu_cpuid(cpu, n, 0, r);
    free(cpu);
}

static void expect(const CpuConfig *c, uint32_t n, uint32_t a, uint32_t b, uint32_t cx, uint32_t d)
{
    uint32_t r[4];

    leaf(c, n, r);
    g_assert_cmphex(r[0], ==, a);
    g_assert_cmphex(r[1], ==, b);
    g_assert_cmphex(r[2], ==, cx);
    g_assert_cmphex(r[3], ==, d);
}

static void test_leaves(void)
{
    CpuEngineInfo e = host();
    g_autofree char *message = NULL;
    uint32_t r[4];
    CpuConfig c;

    g_assert_true(parse(&e, "hv-relaxed,hv_vapic=on,+hv-time,hv-spinlocks=0x1fff", &c, &message));
    leaf(&c, 0x40000000, r);
    g_assert_cmphex(r[0], ==, 0x40000005);
    g_assert_cmpmem(&r[1], 12, "Microsoft Hv", 12);
    expect(&c, 0x40000001, 0x31237648, 0, 0, 0);
    expect(&c, 0x40000002, 14393, 10 << 16, 0, 0);
    /* time: 1, 9; APIC: 4; hypercalls: 5 */
    expect(&c, 0x40000003, 1 << 1 | 1 << 9 | 1 << 4 | 1 << 5, 3 << 4, 0, 1 << 3);
    expect(&c, 0x40000004, 1 << 5 | 1 << 3, 0x1fff, 0, 0);
    expect(&c, 0x40000005, 64, 0, 0, 0);
    expect(&c, 0x40000006, 0, 0, 0, 0);
    /* KVM's own come behind. */
    leaf(&c, 0x40000100, r);
    g_assert_cmphex(r[0], ==, 0x40000101);
    g_assert_cmpmem(&r[1], 12, "KVMKVMKVM\0\0\0", 12);
    leaf(&c, 0x40000101, r);
    g_assert_cmphex(r[0], ==, c.features[FEAT_KVM]);
    /* Without any, they are where they were. */
    g_assert_true(parse(&e, "hv-vendor-id=x,hv-relaxed=off", &c, &message));
    g_assert_false(c.hyperv.on);
    leaf(&c, 0x40000000, r);
    g_assert_cmpmem(&r[1], 12, "KVMKVMKVM\0\0\0", 12);
}

static void test_version(void)
{
    CpuEngineInfo e = host();
    g_autofree char *message = NULL;
    uint32_t r[4];
    CpuConfig c;

    g_assert_true(parse(&e,
                        "hv-relaxed,hv-vendor-id=Rhea,hv-version-id-build=7601,"
                        "hv-version-id-major=6,hv-version-id-minor=1,hv-version-id-spack=2,"
                        "hv-version-id-sbranch=3,hv-version-id-snumber=4,"
                        "hv-no-nonarch-coresharing=on,kvm=off",
                        &c, &message));
    leaf(&c, 0x40000000, r);
    g_assert_cmpmem(&r[1], 12, "Rhea\0\0\0\0\0\0\0\0", 12);
    expect(&c, 0x40000002, 7601, 6 << 16 | 1, 2, 3 << 24 | 4);
    expect(&c, 0x40000004, 1 << 5 | 1 << 18, UINT32_MAX, 0, 0);
    expect(&c, 0x40000100, 0, 0, 0, 0);
}

static void test_nested(void)
{
    CpuEngineInfo e = host();
    g_autofree char *message = NULL;
    uint32_t r[4];
    CpuConfig c;

    g_assert_true(parse(&e, "hv-vapic,hv-evmcs,hv-emsr-bitmap,hv-tlbflush-direct", &c, &message));
    leaf(&c, 0x40000000, r);
    g_assert_cmphex(r[0], ==, 0x4000000a);
    expect(&c, 0x4000000a, 1 << 19 | 1 << 17, 0, 0, 0);
    leaf(&c, 0x40000004, r);
    g_assert_true(r[0] & 1 << 14);
}

/* Every feature alone fails only for the reasons that its dependencies give. */
static void test_dependencies(void)
{
    static const struct {
        const char *features, *error;
    } cases[] = {
        {"hv-synic", "'hv-synic' needs 'hv-vpindex'"},
        {"hv-vpindex,hv-synic,hv-stimer", "'hv-stimer' needs 'hv-time'"},
        {"hv-vpindex,hv-stimer,hv-time", "'hv-stimer' needs 'hv-synic'"},
        {"hv-stimer-direct", "'hv-stimer-direct' needs 'hv-stimer'"},
        {"hv-tlbflush", "'hv-tlbflush' needs 'hv-vpindex'"},
        {"hv-tlbflush-ext", "'hv-tlbflush-ext' needs 'hv-tlbflush'"},
        {"hv-ipi", "'hv-ipi' needs 'hv-vpindex'"},
        {"hv-evmcs", "'hv-evmcs' needs 'hv-vapic'"},
        {"hv-emsr-bitmap", "'hv-emsr-bitmap' needs 'hv-evmcs'"},
        {"hv-vpindex,hv-synic,hv-time,hv-stimer,hv-stimer-direct,hv-tlbflush,hv-ipi", NULL},
        {"hv-crash,hv-reset,hv-runtime,hv-frequencies,hv-reenlightenment,hv-avic,hv-xmm-input",
         NULL},
        {"hv-apicv,hv-no-nonarch-coresharing=auto,hv-enforce-cpuid", NULL},
        {"hv-syndbg", "needs the device hv-syndbg"},
        {"hv-spinlocks=100", "4095 tries are the fewest"},
        {"hv-spinlocks=x", "a number from 0"},
        {"hv-vendor-id=abcdefghijklm", "12 characters at most"},
        {"hv-relaxed=perhaps", "'on' or 'off' is needed"},
        {"hv-version-id-sbranch=256", "from 0 to 255"},
        {"hv-no-nonarch-coresharing=x", "'auto' is needed"},
        {"hv-nothing", "'hv-nothing' does not exist"},
    };
    CpuEngineInfo e = host();

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *message = NULL;
        CpuConfig c;

        if (!cases[i].error) {
            g_assert_true(parse(&e, cases[i].features, &c, &message));
        } else {
            g_assert_false(parse(&e, cases[i].features, &c, &message));
            g_assert_nonnull(strstr(message, cases[i].error));
        }
    }
}

static void test_host(void)
{
    CpuEngineInfo e = host(), tcg;
    g_autofree char *a = NULL, *b = NULL, *d = NULL, *f = NULL;
    CpuConfig c;

    /* What the kernel lacks, it lacks; and takes along what builds on it. */
    e.hyperv.leaf[3][0] &= ~(1u << 2);
    g_assert_false(parse(&e, "hv-vpindex,hv-synic", &c, &a));
    g_assert_nonnull(strstr(a, "the kernel's KVM does not offer it"));
    e.hyperv.leaf[4][1] = 0xabc;
    g_assert_true(parse(&e, "hv-passthrough", &c, &b));
    g_assert_true(hyperv_has(&c.hyperv, HV_VPINDEX));
    g_assert_false(hyperv_has(&c.hyperv, HV_SYNIC));
    g_assert_false(hyperv_has(&c.hyperv, HV_STIMER));
    g_assert_false(hyperv_has(&c.hyperv, HV_STIMER_DIRECT));
    g_assert_cmphex(c.hyperv.spinlocks, ==, 0xabc);
    e.hyperv.apic = false;
    g_assert_false(parse(&e, "hv-vapic", &c, &d));
    g_assert_nonnull(strstr(d, "needs local APICs in the kernel"));
    e.hyperv.able = false;
    g_assert_false(parse(&e, "hv-relaxed", &c, &f));
    g_assert_nonnull(strstr(f, "KVM_CAP_SYS_HYPERV_CPUID"));

    cpu_engine_tcg(&tcg);
    g_autoptr(Error) err = NULL;
    g_assert_false(cpu_model_parse("max,hv-relaxed", &tcg, &c, &err));
    g_assert_nonnull(strstr(error_message(err), "needs KVM"));
}

/* As QMP has it: the generated type takes it, and gives the same back. */
static void test_crash(void)
{
    const uint64_t p[5] = {0x7e, UINT64_MAX, 3, 1ull << 63, 0};
    g_autoptr(Json) info = hyperv_crash_info(p), back = NULL;
    QGuestPanicInformation *q = QGuestPanicInformation_from_json(info, NULL);

    g_assert_nonnull(q);
    g_assert_cmpint(q->type, ==, Q_GUEST_PANIC_INFORMATION_TYPE_HYPER_V);
    back = QGuestPanicInformation_to_json(q);
    g_assert_true(json_equal(info, back));
    g_autofree char *text = json_print(info, false);
    g_assert_cmpstr(text, ==,
                    "{\"type\": \"hyper-v\", \"arg1\": 126, \"arg2\": 18446744073709551615, "
                    "\"arg3\": 3, \"arg4\": 9223372036854775808, \"arg5\": 0}");
    QGuestPanicInformation_free(q);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hyperv/leaves", test_leaves);
    g_test_add_func("/hyperv/version", test_version);
    g_test_add_func("/hyperv/nested", test_nested);
    g_test_add_func("/hyperv/dependencies", test_dependencies);
    g_test_add_func("/hyperv/host", test_host);
    g_test_add_func("/hyperv/crash", test_crash);
    return g_test_run();
}
