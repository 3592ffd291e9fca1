/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qapi/qapi.h: the management interface.
 *
 * The JSON files here are the schema, in QEMU's schema language (enum, struct, union,
 * command, event); qapi/gen.py turns it into
 *   - C types named QTYPE, `QTYPE *QTYPE_from_json(const Json *, Error **)`,
 *     `QTYPE_to_json()`, `QTYPE_free()` over constant tables (qapi/visit.h), with every
 *     member checked and all mistakes reported at once;
 *   - one prototype for each command,
 *         bool qmp_NAME(Object *root, <arguments>, <ret> *out, Error **errp);
 *     implemented in the room that owns the work;
 *   - constant tables for dispatch and introspection (query-qmp-schema);
 *   - docs/qmp.md.
 * A command without an implementation does not link: nothing is listed that does
 * not work.
 */
#ifndef RHEA_QAPI_QAPI_H
#define RHEA_QAPI_QAPI_H

#include "util/json.h"

#include <stdbool.h>

typedef struct Object Object; /* qom/object.h, further down the house */

typedef struct QmpCommand {
    const char *name;
    /* Checks `args` (an object, or NULL) and runs the command. *ret is {} if it has none. */
    bool (*run)(Object *root, const Json *args, Json **ret, Error **errp);
    bool allow_oob, allow_preconfig;
    bool deprecated, unstable; /* of its features: for -compat */
} QmpCommand;

extern const QmpCommand qmp_commands[]; /* sorted by name; ends with {0} */
extern const char *const qmp_events[];  /* sorted; NULL-terminated */
const QmpCommand *qmp_command_find(const char *name);
Json *qmp_schema(void); /* query-qmp-schema */

#endif
