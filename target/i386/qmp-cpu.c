/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qapi/qapi-commands.h"
#include "target/i386/model.h"

static Json *string_list(const GPtrArray *a)
{
    Json *list = json_array();
    for (unsigned i = 0; a && i < a->len; i++) {
        json_append(list, json_string(a->pdata[i]));
    }
    return list;
}

bool qmp_query_cpu_definitions(Object *root, Json **out, Error **errp)
{
    CpuEngineInfo engine;
    cpu_engine_tcg(&engine);
    g_autoptr(GPtrArray) models = cpu_model_list();
    *out = json_array();
    for (unsigned i = 0; i < models->len; i++) {
        const CpuModelInfo *m = models->pdata[i];
        g_autoptr(GPtrArray) missing = cpu_model_unavailable(m->name, &engine);
        Json *e = json_object();
        json_put_string(e, "name", m->name);
        json_put(e, "typename", json_stringf("%s-x86_64-cpu", m->name));
        json_put(e, "unavailable-features", string_list(missing));
        json_put_bool(e, "static", false);
        json_put_bool(e, "migration-safe", true);
        json_put_bool(e, "deprecated", false);
        if (m->alias_of) {
            json_put_string(e, "alias-of", m->alias_of);
        }
        json_append(*out, e);
    }
    return true;
}
