/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands about devices. */
#include "hw/core/machine.h"
#include "qapi/qapi-commands.h"

bool qmp_device_add(Object *root, const Json *args, Error **errp)
{
    Machine *m = machine_of(root);
    g_autoptr(Json) none = json_object();
    LOOP_LOCK_GUARD(m->platform);
    return device_add(m, args ? args : none, NULL, errp) != NULL;
}

bool qmp_device_del(Object *root, const char *id, Error **errp)
{
    Machine *m = machine_of(root);
    LOOP_LOCK_GUARD(m->platform);
    Device *dev = device_find(m, id, errp);
    return dev && device_unplug(dev, errp);
}
