/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The base type of engines, and how they are named. */
#include "accel/accel.h"

#include <string.h>

static void accel_finalize(Object *obj)
{
    Accel *a = (Accel *)obj;
    const AccelClass *k = accel_class(a);

    if (a->debug_points) {
        g_array_free(a->debug_points, TRUE);
    }
    if (k->destroy) {
        k->destroy(a);
    }
}

OBJECT_TYPE(accel_type, .name = TYPE_ACCEL, .parent = "object", .help = "an engine",
            .size = sizeof(Accel), .abstract = true, .finalize = accel_finalize)

Accel *accel_new(const char *name, Error **errp)
{
    g_autofree const TypeInfo **types = type_list(TYPE_ACCEL, false);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autofree char *all = NULL;

    for (size_t i = 0; types[i]; i++) {
        const AccelClass *k = type_class(types[i]);

        if (strcmp(k->name, name) == 0) {
            return ACCEL(object_new(types[i]->name));
        }
        g_ptr_array_add(names, (void *)k->name);
    }
    g_ptr_array_add(names, NULL);
    all = g_strjoinv(", ", (char **)names->pdata);
    error_set(errp, "invalid accelerator %s", name);
    error_hint(errp, "this program has: %s", all);
    return NULL;
}
