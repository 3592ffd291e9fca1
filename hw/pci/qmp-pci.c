/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/pci/pci.h"
#include "qapi/qapi-commands.h"

bool qmp_query_pci(Object *root, Json **out, Error **errp)
{
    Machine *m = machine_of(root);
    LOOP_LOCK_GUARD(m->platform);
    *out = m->root_bus ? pci_query(m) : json_array();
    return true;
}
