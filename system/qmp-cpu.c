/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What management learns about CPU models. */
#include "accel/accel.h"
#include "qapi/qapi-commands.h"
#include "system/vm.h"
#include "target/i386/model.h"

static Json *string_list(const GPtrArray *a)
{
    Json *list = json_array();
    for (unsigned i = 0; a && i < a->len; i++) {
        json_append(list, json_string(a->pdata[i]));
    }
    return list;
}

/* What the machine's engine can give; TCG's before there is one. */
static bool engine_of(Object *root, CpuEngineInfo *info, Error **errp)
{
    const Machine *m = vm_of(root)->machine;
    if (m && m->accel && accel_class(m->accel)->cpu_engine) {
        return accel_class(m->accel)->cpu_engine(m->accel, info, errp);
    }
    cpu_engine_tcg(info);
    return true;
}

static void add_definition(Json *list, const char *name, const char *alias_of, Json *missing)
{
    bool follows_engine = !strcmp(name, "max") || !strcmp(name, "host");
    Json *e = json_object();
    json_put_string(e, "name", name);
    json_put(e, "typename", json_stringf("%s-x86_64-cpu", name));
    json_put(e, "unavailable-features", missing);
    json_put_bool(e, "static", !strcmp(name, "base"));
    json_put_bool(e, "migration-safe", !follows_engine);
    json_put_bool(e, "deprecated", false);
    if (alias_of) {
        json_put_string(e, "alias-of", alias_of);
    }
    json_append(list, e);
}

bool qmp_query_cpu_definitions(Object *root, Json **out, Error **errp)
{
    CpuEngineInfo engine;
    if (!engine_of(root, &engine, errp)) {
        return false;
    }
    g_autoptr(GPtrArray) models = cpu_model_list();
    *out = json_array();
    for (unsigned i = 0; i < models->len; i++) {
        const CpuModelInfo *m = models->pdata[i];
        g_autoptr(GPtrArray) missing = cpu_model_unavailable(m->name, &engine);
        add_definition(*out, m->name, m->alias_of, string_list(missing));
    }
    Json *host = json_array();
    if (!engine.has_host) {
        json_append(host, json_string("kvm"));
    }
    add_definition(*out, "host", NULL, host);
    return true;
}

/* ---- expansion ---- */

/* One property as -cpu has it. */
static bool add_property(GString *text, const char *name, const Json *v, Error **errp)
{
    g_autofree char *printed = json_type(v) == JSON_STRING ? g_strdup(json_get_string(v)) : NULL;
    bool on;

    if (json_get_bool(v, &on)) {
        printed = g_strdup(on ? "on" : "off");
    } else if (!printed && (json_type(v) == JSON_INT || json_type(v) == JSON_UINT)) {
        printed = json_print(v, false);
    }
    if (!printed || strchr(printed, ',') || strpbrk(name, ",=+")) {
        error_set(errp, "CPU property '%s' cannot have this value", name);
        return false;
    }
    g_string_append_printf(text, ",%s=%s", name, printed);
    return true;
}

/* The features by their names, the numbers by their properties'. */
static Json *config_props(const CpuConfig *c)
{
    Json *o = json_object();

    for (unsigned w = 0; w < FEATURE_WORDS; w++) {
        for (unsigned b = 0; b < 32; b++) {
            const char *name = cpu_feature_name((CpuFeatureWord)w, b);
            if (name) {
                json_put_bool(o, name, c->features[w] >> b & 1);
            }
        }
    }
    json_put_int(o, "family", c->family);
    json_put_int(o, "model", c->model);
    json_put_int(o, "stepping", c->stepping);
    json_put_int(o, "level", c->level);
    json_put_int(o, "xlevel", c->xlevel);
    json_put_int(o, "phys-bits", c->phys_bits);
    json_put_string(o, "vendor", c->vendor);
    json_put_string(o, "model-id", c->model_id);
    return o;
}

bool qmp_query_cpu_model_expansion(Object *root, QCpuModelExpansionType type,
                                   const QCpuModelInfo *model, Json **out, Error **errp)
{
    g_autoptr(GString) text = g_string_new(model->name);
    CpuEngineInfo engine;
    CpuConfig config;

    if (strchr(model->name, ',')) {
        error_set(errp, "unable to find CPU model '%s'", model->name);
        return false;
    }
    g_string_append(text, ",check=off"); /* what is missing can be seen in the answer */
    if (model->props && json_type(model->props) != JSON_OBJECT) {
        error_set(errp, "'props' must be an object");
        return false;
    }
    for (size_t i = 0; model->props && i < json_length(model->props); i++) {
        if (!add_property(text, json_key_at(model->props, i), json_value_at(model->props, i),
                          errp)) {
            return false;
        }
    }
    if (!engine_of(root, &engine, errp) || !cpu_model_parse(text->str, &engine, &config, errp)) {
        return false;
    }
    Json *m = json_object();
    json_put_string(m, "name", type == Q_CPU_MODEL_EXPANSION_TYPE_STATIC ? "base" : model->name);
    json_put(m, "props", config_props(&config));
    *out = json_object();
    json_put(*out, "model", m);
    return true;
}
