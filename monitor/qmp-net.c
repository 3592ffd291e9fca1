/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands about network backends. */
#include "hw/core/machine.h"
#include "net/net.h"
#include "qapi/qapi-commands.h"

bool qmp_netdev_add(Object *root, const Json *args, Error **errp)
{
    Machine *m = machine_of(root);
    const char *id = args ? json_get_str(args, "id") : NULL;
    if (!id) {
        error_set(errp, "Parameter 'id' is missing");
        return false;
    }
    g_autoptr(Json) o = json_copy(args);
    LOOP_LOCK_GUARD(m->platform);
    return netdev_new(root, id, o, m->platform, errp) != NULL;
}

bool qmp_netdev_del(Object *root, const char *id, Error **errp)
{
    LOOP_LOCK_GUARD(machine_of(root)->platform);
    return netdev_del(root, id, errp);
}
