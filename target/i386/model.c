/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -cpu: models, features, properties. */
#include "target/i386/model.h"

#include "target/i386/model-data.h"
#include "util/option.h"

#define DEFAULT_MODEL "qemu64"
#define DEFAULT_PHYS_BITS 40
#define INVTSC (1u << 8)
#define DEFAULT_TSC_HZ 1000000000ull

/* Clock (both generations of MSRs, the same on all CPUs), no I/O delays, IPIs to many. */
#define TCG_KVM_FEATURES (1u << 0 | 1u << 1 | 1u << 3 | 1u << 6 | 1u << 11 | 1u << 24)

/* What the TCG engine implements. */
static const char tcg_features[] =
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush acpi mmx "
    "fxsr sse sse2 ss pni monitor ssse3 cx16 sse4.1 sse4.2 x2apic movbe popcnt pcid xsave rdrand "
    "tsc-deadline hypervisor aes pclmulqdq fsgsbase tsc-adjust smep erms invpcid rdseed adx smap "
    "clflushopt "
    "clwb avx avx2 fma f16c bmi1 bmi2 sha-ni gfni vaes vpclmulqdq avx-vnni pku "
    "umip la57 rdpid fsrm fzrm fsrs fsrc syscall nx mmxext pdpe1gb rdtscp lm "
    "lahf-lm cmp-legacy cr8legacy abm 3dnowprefetch invtsc wbnoinvd "
    "svm npt nrip-save vmcb-clean flushbyasid decodeassists pause-filter pfthreshold "
    "v-vmsave-vmload vgif svme-addr-chk "
    "xsaveopt xsavec xgetbv1 xsaves arat topoext sse4a fxsr-opt osvw clzero xsaveerptr "
    "movdiri movdir64b serialize cldemote zero-fcs-fds no-nested-data-bp "
    /* What leaks from caches and buffers a guest's own code cannot stop here. */
    "arch-capabilities rdctl-no skip-l1dfl-vmentry ssb-no mds-no pschange-mc-no taa-no "
    "sbdr-ssdp-no fbsdp-no psdp-no gds-no rfds-no its-no";

static const CpuModel *const tables[] = {cpu_models_amd, cpu_models_intel, cpu_models_intel_new};

/* A model with its version's changes applied, before the engine has had its say. */
typedef struct Resolved {
    const char *vendor, *model_id;
    uint32_t family, model, stepping, level, xlevel;
    uint32_t features[FEATURE_WORDS];
    bool host; /* the host's own processor */
} Resolved;

static void apply_names(uint32_t features[FEATURE_WORDS], const char *names)
{
    g_auto(GStrv) parts = g_strsplit(names, " ", -1);

    for (char **p = parts; *p; p++) {
        const char *name = *p + (**p == '+' || **p == '-');
        CpuFeatureWord word;
        uint32_t bit;

        if (!*name) {
            continue;
        }
        if (!cpu_feature_find(name, &word, &bit)) {
            g_assert_not_reached(); /* the tables are ours; test-cpu-model reads them all */
        }
        if (**p == '-') {
            features[word] &= ~bit;
        } else {
            features[word] |= bit;
        }
    }
}

void cpu_engine_tcg(CpuEngineInfo *info)
{
    *info = (CpuEngineInfo){.name = "TCG", .tsc_hz = DEFAULT_TSC_HZ};
    apply_names(info->features, tcg_features);
    /* A clock that needs no exit: constant rate, and what KVM would offer beside it. */
    info->kvm = true;
    info->features[FEAT_KVM] = TCG_KVM_FEATURES;
    info->plus[FEAT_KVM] = TCG_KVM_FEATURES;
    info->plus[FEAT_80000007_EDX] = INVTSC;
}

/* Splits "NAME-v3" or an alias into the model and its version. */
static const CpuModel *find_model(const char *name, unsigned *version)
{
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (const CpuModel *m = tables[t]; m->name; m++) {
            size_t n = strlen(m->name);

            *version = 1;
            if (!strncmp(name, m->name, n) && (!name[n] || !strcmp(name + n, "-v1"))) {
                return m;
            }
            for (const CpuModelVersion *v = m->versions; v && v->version; v++) {
                g_autofree char *full = g_strdup_printf("%s-v%u", m->name, v->version);

                *version = v->version;
                if (!strcmp(name, full) || (v->alias && !strcmp(name, v->alias))) {
                    return m;
                }
            }
        }
    }
    return NULL;
}

static void resolve_host(Resolved *r, const CpuEngineInfo *engine)
{
    const CpuHost *h = &engine->host;

    *r = (Resolved){.vendor = h->vendor,
                    .model_id = h->model_id,
                    .family = h->family,
                    .model = h->model,
                    .stepping = h->stepping,
                    .level = h->level,
                    .xlevel = h->xlevel,
                    .host = true};
    memcpy(r->features, engine->features, sizeof(r->features));
}

static void resolve_max(Resolved *r, const CpuEngineInfo *engine)
{
    if (engine->has_host) {
        resolve_host(r, engine);
        return;
    }
    *r = (Resolved){.vendor = "AuthenticAMD",
                    .model_id = "Rhea TCG CPU",
                    .family = 15,
                    .model = 107,
                    .stepping = 1,
                    .level = 0xd,
                    .xlevel = 0x8000000a};
    memcpy(r->features, engine->features, sizeof(r->features));
}

static bool resolve(const char *name, const CpuEngineInfo *engine, Resolved *r)
{
    unsigned version;
    const CpuModel *m;

    if (!strcmp(name, "max")) {
        resolve_max(r, engine);
        return true;
    }
    if (!strcmp(name, "host") && engine->has_host) {
        resolve_host(r, engine);
        return true;
    }
    if (!strcmp(name, "base")) {
        *r = (Resolved){.vendor = "GenuineIntel",
                        .model_id = "base CPU model type with no features"};
        return true;
    }
    m = find_model(name, &version);
    if (!m) {
        return false;
    }
    *r = (Resolved){.vendor = m->vendor,
                    .model_id = m->model_id,
                    .family = m->family,
                    .model = m->model,
                    .stepping = m->stepping,
                    .level = m->level,
                    .xlevel = m->xlevel};
    apply_names(r->features, m->features);
    for (const CpuModelVersion *v = m->versions; v && v->version && v->version <= version; v++) {
        apply_names(r->features, v->delta);
        r->model_id = v->model_id ? v->model_id : r->model_id;
        r->model = v->model ? v->model : r->model;
        r->stepping = v->stepping ? v->stepping : r->stepping;
    }
    CpuFeatureWord word;
    uint32_t bit;
    if (cpu_feature_find("hypervisor", &word, &bit)) {
        r->features[word] |= bit;
    }
    for (unsigned w = 0; w < FEATURE_WORDS; w++) {
        r->features[w] = (r->features[w] | engine->plus[w]) & ~engine->minus[w];
    }
    return true;
}

/* ---- the option's properties ---- */

typedef struct ParseState {
    const CpuEngineInfo *engine;
    CpuConfig *config;
    uint32_t plus[FEATURE_WORDS], minus[FEATURE_WORDS];
    bool check, enforce, level_set, xlevel_set, kvm, migratable, host_phys_bits, phys_bits_set;
} ParseState;

static const char *const property_names[] = {
    "check",      "enforce",   "family",        "model",          "stepping",
    "vendor",     "model-id",  "level",         "xlevel",         "min-level",
    "min-xlevel", "phys-bits", "tsc-frequency", "host-phys-bits", "migratable",
    "kvm",        "pmu",       "l3-cache",      "tcg-cpuid",      NULL,
};

static bool is_property(const char *name)
{
    for (unsigned i = 0; property_names[i]; i++) {
        if (!strcmp(name, property_names[i])) {
            return true;
        }
    }
    return false;
}

static bool set_hyperv(ParseState *s, const char *name, const char *value, Error **errp)
{
    if (!s->engine->has_host) {
        error_set(errp, "CPU property '%s' needs KVM", name);
        error_hint(errp, "Hyper-V's enlightenments are the kernel's work: use -accel kvm\n");
        return false;
    }
    return hyperv_set(&s->config->hyperv, name, value, errp);
}

static bool unknown_name(const char *name, Error **errp)
{
    g_autofree const char **features = cpu_feature_names();
    const char *near = nearest_word(name, features);

    near = near ? near : nearest_word(name, property_names);
    near = near ? near : nearest_word(name, hyperv_property_names);
    error_set(errp, "CPU property '%s' does not exist", name);
    if (near) {
        error_hint(errp, "did you mean \"%s\"?\n", near);
    } else {
        error_hint(errp, "-cpu help lists all feature names\n");
    }
    return false;
}

bool cpu_property_number(const char *name, const char *value, uint64_t min, uint64_t max,
                         uint32_t *out, Error **errp)
{
    uint64_t v;

    if (!parse_uint(value, &v) || v < min || v > max) {
        error_set(errp,
                  "CPU property '%s' cannot be '%s': a number from %" G_GUINT64_FORMAT
                  " to %" G_GUINT64_FORMAT " is needed",
                  name, value, min, max);
        return false;
    }
    *out = (uint32_t)v;
    return true;
}

bool cpu_property_flag(const char *name, const char *value, bool *out, Error **errp)
{
    if (!parse_bool(value, out)) {
        error_set(errp, "CPU property '%s' cannot be '%s': 'on' or 'off' is needed", name, value);
        return false;
    }
    return true;
}

static bool set_tsc_frequency(ParseState *s, const char *value, Error **errp)
{
    g_autofree char *text = g_strdup(value);
    size_t n = strlen(text);
    uint64_t scale = 1, hz;

    /* QEMU's metric suffixes. */
    if (n && strchr("kKmMgG", text[n - 1])) {
        scale = g_ascii_tolower(text[n - 1]) == 'k'   ? 1000
                : g_ascii_tolower(text[n - 1]) == 'm' ? 1000000
                                                      : 1000000000;
        text[n - 1] = 0;
    }
    if (!parse_uint(text, &hz) || !hz || hz > 100000000000ull / scale) {
        error_set(errp, "CPU property 'tsc-frequency' cannot be '%s': a frequency in Hz is needed",
                  value);
        return false;
    }
    s->config->tsc_hz = hz * scale;
    return true;
}

/* Properties that only mean something for another engine: their harmless value is taken. */
static bool fixed_flag(const char *name, const char *value, bool allowed, const char *why,
                       Error **errp)
{
    bool v;

    if (!cpu_property_flag(name, value, &v, errp)) {
        return false;
    }
    if (v != allowed) {
        error_set(errp, "CPU property '%s' cannot be '%s': %s", name, value, why);
        return false;
    }
    return true;
}

static bool set_text(const char *name, const char *value, char *out, size_t size, size_t exact,
                     Error **errp)
{
    if (strlen(value) >= size || (exact && strlen(value) != exact)) {
        if (exact) {
            error_set(errp, "CPU property '%s' must have %zu characters", name, exact);
        } else {
            error_set(errp, "CPU property '%s' may have %zu characters at most", name, size - 1);
        }
        return false;
    }
    memset(out, 0, size);
    memcpy(out, value, strlen(value));
    return true;
}

static bool set_property(ParseState *s, const char *name, const char *value, Error **errp)
{
    CpuConfig *c = s->config;

    if (!strcmp(name, "check")) {
        return cpu_property_flag(name, value, &s->check, errp);
    } else if (!strcmp(name, "enforce")) {
        return cpu_property_flag(name, value, &s->enforce, errp);
    } else if (!strcmp(name, "family")) {
        return cpu_property_number(name, value, 0, 270, &c->family, errp);
    } else if (!strcmp(name, "model")) {
        return cpu_property_number(name, value, 0, 255, &c->model, errp);
    } else if (!strcmp(name, "stepping")) {
        return cpu_property_number(name, value, 0, 15, &c->stepping, errp);
    } else if (!strcmp(name, "vendor")) {
        return set_text(name, value, c->vendor, sizeof(c->vendor), 12, errp);
    } else if (!strcmp(name, "model-id")) {
        return set_text(name, value, c->model_id, sizeof(c->model_id), 0, errp);
    } else if (!strcmp(name, "level")) {
        s->level_set = true;
        return cpu_property_number(name, value, 0, 0x7fffffff, &c->level, errp);
    } else if (!strcmp(name, "xlevel")) {
        s->xlevel_set = true;
        return cpu_property_number(name, value, 0, UINT32_MAX, &c->xlevel, errp);
    } else if (!strcmp(name, "min-level")) {
        return cpu_property_number(name, value, 0, 0x7fffffff, &c->level, errp);
    } else if (!strcmp(name, "min-xlevel")) {
        return cpu_property_number(name, value, 0, UINT32_MAX, &c->xlevel, errp);
    } else if (!strcmp(name, "phys-bits")) {
        s->phys_bits_set = true;
        return cpu_property_number(name, value, 32, 52, &c->phys_bits, errp);
    } else if (!strcmp(name, "tsc-frequency")) {
        return set_tsc_frequency(s, value, errp);
    } else if (!strcmp(name, "migratable")) {
        return cpu_property_flag(name, value, &s->migratable, errp);
    } else if (!strcmp(name, "host-phys-bits")) {
        if (s->engine->has_host) {
            return cpu_property_flag(name, value, &s->host_phys_bits, errp);
        }
        return fixed_flag(name, value, false, "only the KVM engine uses the host's", errp);
    } else if (!strcmp(name, "pmu")) {
        return fixed_flag(name, value, false, "the engine has no performance counters", errp);
    } else if (!strcmp(name, "l3-cache") || !strcmp(name, "tcg-cpuid")) {
        return fixed_flag(name, value, true, "it cannot be hidden", errp);
    }
    return cpu_property_flag("kvm", value, &s->kvm,
                             errp); /* off hides KVM's leaves; TCG has none */
}

static bool set_feature(ParseState *s, const char *name, bool on, Error **errp)
{
    CpuFeatureWord word;
    uint32_t bit;

    if (!cpu_feature_find(name, &word, &bit)) {
        return unknown_name(name, errp);
    }
    s->plus[word] = on ? s->plus[word] | bit : s->plus[word] & ~bit;
    s->minus[word] = on ? s->minus[word] & ~bit : s->minus[word] | bit;
    return true;
}

static bool parse_part(ParseState *s, const char *part, Error **errp)
{
    const char *eq = strchr(part, '=');
    g_autofree char *name = NULL;
    bool on;

    if ((*part == '+' || *part == '-') && hyperv_is_property(part + 1)) {
        return set_hyperv(s, part + 1, *part == '+' ? "on" : "off", errp);
    }
    if (*part == '+' || *part == '-') {
        return set_feature(s, part + 1, *part == '+', errp);
    }
    name = eq ? g_strndup(part, (gsize)(eq - part)) : g_strdup(part);
    if (is_property(name)) {
        return set_property(s, name, eq ? eq + 1 : "on", errp);
    }
    if (hyperv_is_property(name)) {
        return set_hyperv(s, name, eq ? eq + 1 : "on", errp);
    }
    if (!cpu_property_flag(name, eq ? eq + 1 : "on", &on, NULL)) {
        CpuFeatureWord word;
        uint32_t bit;

        if (!cpu_feature_find(name, &word, &bit)) {
            return unknown_name(name, errp);
        }
        return cpu_property_flag(name, eq + 1, &on, errp);
    }
    return set_feature(s, name, on, errp);
}

/* ---- putting it together ---- */

/* What means nothing without another feature. */
static const struct {
    const char *base, *dependents;
} dependencies[] = {
    {"xsave", "xsaveopt xsavec xgetbv1 xsaves xfd avx mpx pku"},
    {"avx", "avx2 fma f16c vaes vpclmulqdq avx-vnni avx512f fma4 xop"},
    {"avx2", "avx512f avx-vnni"},
    {"avx512f", "avx512dq avx512ifma avx512cd avx512bw avx512vl avx512vbmi avx512vbmi2 "
                "avx512vnni avx512bitalg avx512-vpopcntdq avx512-bf16 avx512-fp16 "
                "avx512-vp2intersect avx512-4vnniw avx512-4fmaps avx512pf avx512er"},
    {"aes", "vaes"},
    {"pclmulqdq", "vpclmulqdq"},
    {"arch-capabilities", "rdctl-no ibrs-all rsba skip-l1dfl-vmentry ssb-no mds-no "
                          "pschange-mc-no tsx-ctrl taa-no sbdr-ssdp-no fbsdp-no psdp-no fb-clear "
                          "bhi-no pbrsb-no gds-no rfds-no rfds-clear its-no"},
};

/* Switching a feature off takes with it what builds on it, unless that was asked for. */
static void drop_dependents(ParseState *s)
{
    for (size_t i = 0; i < ARRAY_LEN(dependencies); i++) {
        CpuFeatureWord word;
        uint32_t bit, drop[FEATURE_WORDS] = {0};

        if (!cpu_feature_find(dependencies[i].base, &word, &bit)) {
            g_assert_not_reached();
        }
        if (s->config->features[word] & bit) {
            continue;
        }
        apply_names(drop, dependencies[i].dependents);
        for (unsigned w = 0; w < FEATURE_WORDS; w++) {
            s->config->features[w] &= ~(drop[w] & ~s->plus[w]);
        }
    }
}

static bool filter_features(ParseState *s, bool quiet, Error **errp)
{
    uint32_t *f = s->config->features;
    g_autoptr(GString) missing = g_string_new(NULL);

    for (unsigned w = 0; w < FEATURE_WORDS; w++) {
        uint32_t lacking = f[w] & ~s->engine->features[w];

        f[w] &= s->engine->features[w];
        for (unsigned b = 0; b < 32 && !quiet; b++) {
            const char *name = cpu_feature_name(w, b);

            if (!(lacking >> b & 1)) {
                continue;
            }
            if (s->check || s->enforce) {
                report_warning("%s doesn't support requested feature: %s%s%s [bit %u]",
                               s->engine->name, cpu_feature_word_name(w), name ? "." : "",
                               name ? name : "", b);
            }
            g_string_append_printf(missing, "%s%s", missing->len ? ", " : "", name ? name : "?");
        }
    }
    if (s->enforce && missing->len) {
        error_set(errp, "%s doesn't support requested features: %s", s->engine->name, missing->str);
        error_hint(errp, "leave out 'enforce', or switch the features off with -FEATURE\n");
        return false;
    }
    return true;
}

/* Leaves that the features need must be within the levels. */
static void raise_levels(ParseState *s)
{
    CpuConfig *c = s->config;
    const uint32_t *f = c->features;
    uint32_t level = 1, xlevel = 0x80000000;

    level = f[FEAT_6_EAX] ? 6 : level;
    level = f[FEAT_7_0_EBX] || f[FEAT_7_0_ECX] || f[FEAT_7_0_EDX] || f[FEAT_7_1_EAX] ? 7 : level;
    level = f[FEAT_1_ECX] & (1u << 26) ? 0xd : level;
    xlevel = f[FEAT_80000001_EDX] || f[FEAT_80000001_ECX] ? 0x80000001 : xlevel;
    xlevel = f[FEAT_80000007_EDX] ? 0x80000007 : xlevel;
    xlevel = f[FEAT_80000008_EBX] || (f[FEAT_80000001_EDX] & (1u << 29)) ? 0x80000008 : xlevel;
    xlevel = f[FEAT_SVM] ? 0x8000000a : xlevel;
    xlevel = f[FEAT_80000001_ECX] & (1u << 22) ? 0x8000001e : xlevel;
    xlevel = f[FEAT_80000021_EAX] ? 0x80000021 : xlevel;
    xlevel = f[FEAT_80000022_EAX] ? 0x80000022 : xlevel;
    if (!s->level_set) {
        c->level = MAX(c->level, level);
    }
    if (!s->xlevel_set) {
        c->xlevel = MAX(c->xlevel, xlevel);
    }
}

static void collect_candidates(GPtrArray *names)
{
    g_autoptr(GPtrArray) list = cpu_model_list();

    for (guint i = 0; i < list->len; i++) {
        g_ptr_array_add(names, g_strdup(((CpuModelInfo *)list->pdata[i])->name));
    }
    g_ptr_array_add(names, NULL);
}

static bool unknown_model(const char *name, Error **errp)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const char *near;

    if (!strcmp(name, "host")) {
        error_set(errp, "CPU model 'host' requires KVM");
        error_hint(errp, "-cpu max has every feature that this engine knows\n");
        return false;
    }
    collect_candidates(names);
    near = nearest_word(name, (const char *const *)names->pdata);
    error_set(errp, "unable to find CPU model '%s'", name);
    if (near) {
        error_hint(errp, "did you mean \"%s\"? -cpu help lists all models\n", near);
    } else {
        error_hint(errp, "-cpu help lists all models\n");
    }
    return false;
}

static void start_config(ParseState *s, const Resolved *r)
{
    CpuConfig *c = s->config;

    *c = (CpuConfig){.family = r->family,
                     .model = r->model,
                     .stepping = r->stepping,
                     .level = r->level,
                     .xlevel = r->xlevel,
                     .phys_bits = DEFAULT_PHYS_BITS,
                     .virt_bits = 48,
                     .cores = 1,
                     .threads = 1,
                     .dies = 1,
                     .sockets = 1,
                     .tsc_hz = s->engine->tsc_hz};
    hyperv_init(&c->hyperv);
    g_strlcpy(c->vendor, r->vendor, sizeof(c->vendor));
    g_strlcpy(c->model_id, r->model_id, sizeof(c->model_id));
    memcpy(c->features, r->features, sizeof(c->features));
}

/* What depends on the host rather than on the model. */
static void finish_for_engine(ParseState *s, const Resolved *r)
{
    CpuConfig *c = s->config;
    const CpuEngineInfo *e = s->engine;

    c->kvm = e->kvm && s->kvm;
    if (!c->kvm) {
        c->features[FEAT_KVM] = 0;
    } else if (!(c->features[FEAT_KVM] & 1u << 0)) {
        c->features[FEAT_KVM] &= ~(1u << 3 | 1u << 24); /* kvmclock=off is all of it */
    }
    if (s->host_phys_bits && !s->phys_bits_set && e->host.phys_bits) {
        c->phys_bits = e->host.phys_bits;
    }
    /* A guest that knows its counter's rate to be constant cannot move to another host. */
    if (r->host && s->migratable) {
        c->features[FEAT_80000007_EDX] &= ~INVTSC | s->plus[FEAT_80000007_EDX];
    }
    for (unsigned i = 0; i < ARRAY_LEN(c->xsave); i++) {
        c->xsave[i].size = e->xsave_size[i];
        c->xsave[i].offset = e->xsave_offset[i];
    }
}

bool cpu_model_parse(const char *text, const CpuEngineInfo *engine, CpuConfig *config, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(text ? text : DEFAULT_MODEL, ",", -1);
    ParseState s = {
        .engine = engine, .config = config, .check = true, .kvm = true, .migratable = true};
    Resolved r;

    if (!parts[0] || !resolve(parts[0], engine, &r)) {
        return unknown_model(parts[0] ? parts[0] : "", errp);
    }
    start_config(&s, &r);
    s.host_phys_bits = r.host;
    for (char **p = parts + 1; *p; p++) {
        if (!parse_part(&s, *p, errp)) {
            error_prefix(errp, "-cpu %s: ", text);
            return false;
        }
    }
    for (unsigned w = 0; w < FEATURE_WORDS; w++) {
        config->features[w] = (config->features[w] | s.plus[w]) & ~s.minus[w];
    }
    drop_dependents(&s);
    if (!filter_features(&s, !text, errp)) {
        return false;
    }
    if (!hyperv_finish(&config->hyperv, &engine->hyperv, errp)) {
        error_prefix(errp, "-cpu %s: ", text);
        return false;
    }
    config->hypervisor = config->features[FEAT_1_ECX] & (1u << 31);
    finish_for_engine(&s, &r);
    config->virt_bits = config->features[FEAT_7_0_ECX] & (1u << 16) ? 57 : 48;
    raise_levels(&s);
    config->level_fixed = s.level_set;
    return true;
}

/* ---- lists ---- */

static void free_model_info(gpointer p)
{
    CpuModelInfo *i = p;

    g_free(i->name);
    g_free(i->alias_of);
    g_free(i->description);
    g_free(i);
}

static void add_info(GPtrArray *a, char *name, const char *alias_of, const char *description)
{
    CpuModelInfo *i = g_new0(CpuModelInfo, 1);

    i->name = name;
    i->alias_of = g_strdup(alias_of);
    i->description = g_strdup(description);
    g_ptr_array_add(a, i);
}

static gint compare_info(gconstpointer a, gconstpointer b)
{
    return strcmp((*(CpuModelInfo *const *)a)->name, (*(CpuModelInfo *const *)b)->name);
}

GPtrArray *cpu_model_list(void)
{
    GPtrArray *a = g_ptr_array_new_with_free_func(free_model_info);

    add_info(a, g_strdup("max"), NULL, "Enables all features supported by the accelerator");
    add_info(a, g_strdup("base"), NULL, "base CPU model type with no features enabled");
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (const CpuModel *m = tables[t]; m->name; m++) {
            g_autofree char *v1 = g_strdup_printf("%s-v1", m->name);

            add_info(a, g_strdup(m->name), v1, m->model_id);
            add_info(a, g_strdup(v1), NULL, m->model_id);
            for (const CpuModelVersion *v = m->versions; v && v->version; v++) {
                g_autofree char *vn = g_strdup_printf("%s-v%u", m->name, v->version);

                if (v->alias) {
                    add_info(a, g_strdup(v->alias), vn, m->model_id);
                }
                add_info(a, g_strdup(vn), NULL, m->model_id);
            }
        }
    }
    g_ptr_array_sort(a, compare_info);
    return a;
}

GPtrArray *cpu_model_unavailable(const char *model, const CpuEngineInfo *engine)
{
    GPtrArray *a;
    Resolved r;

    if (!resolve(model, engine, &r)) {
        return NULL;
    }
    a = g_ptr_array_new();
    for (unsigned w = 0; w < FEATURE_WORDS; w++) {
        for (unsigned b = 0; b < 32; b++) {
            if ((r.features[w] & ~engine->features[w]) >> b & 1 && cpu_feature_name(w, b)) {
                g_ptr_array_add(a, (char *)cpu_feature_name(w, b));
            }
        }
    }
    return a;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print_names(GString *out, const char *const *names, size_t n)
{
    size_t column = 0;

    for (size_t i = 0; i < n; i++) {
        if (column + strlen(names[i]) + 1 >= 75) {
            g_string_append(out, "\n");
            column = 0;
        }
        g_string_append_printf(out, "%s%s", column ? " " : "  ", names[i]);
        column += strlen(names[i]) + (column ? 1 : 2);
    }
    g_string_append(out, "\n");
}

static void print_features(GString *out)
{
    g_autofree const char **names = cpu_feature_names();
    size_t n = g_strv_length((char **)names);

    qsort(names, n, sizeof(*names), compare_names);
    print_names(out, names, n);
}

void cpu_model_print_help(GString *out)
{
    g_autoptr(GPtrArray) list = cpu_model_list();

    g_string_append(out, "Available CPUs:\n");
    for (guint i = 0; i < list->len; i++) {
        const CpuModelInfo *m = list->pdata[i];

        if (m->alias_of) {
            g_string_append_printf(out, "  %-25s (alias of %s)\n", m->name, m->alias_of);
        } else {
            g_string_append_printf(out, "  %-25s %s\n", m->name, m->description);
        }
    }
    g_string_append(out, "\nRecognized CPUID flags:\n");
    print_features(out);
    g_string_append(out, "\nProperties of Hyper-V's enlightenments, for KVM:\n");
    print_names(out, hyperv_property_names,
                g_strv_length((char **)(uintptr_t)hyperv_property_names));
}
