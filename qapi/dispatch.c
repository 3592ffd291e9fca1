/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding commands by name. */
#include "qapi/qapi.h"

#include <stdlib.h>
#include <string.h>

extern const unsigned qmp_command_count;

static int compare(const void *name, const void *cmd)
{
    return strcmp(name, ((const QmpCommand *)cmd)->name);
}

const QmpCommand *qmp_command_find(const char *name)
{
    return bsearch(name, qmp_commands, qmp_command_count, sizeof(qmp_commands[0]), compare);
}
