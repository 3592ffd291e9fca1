/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tools/io.h: the commands of rhea-io: reads and writes of an image, by hand or by script. */
#ifndef RHEA_TOOLS_IO_H
#define RHEA_TOOLS_IO_H

#include "tools/tool.h"

typedef struct IoSession {
    Tool tool;
    BlockNode *n;       /* NULL: no image is open */
    bool writethrough;  /* every write is durable */
    unsigned in_flight; /* asynchronous requests */
    int status;         /* 1 after a failure */
    bool quit;
} IoSession;

typedef struct IoCommand {
    const char *name, *alias; /* alias may be NULL */
    int min, max;             /* words besides options; max -1: any number */
    bool no_image;            /* works without an image */
    const char *words, *help;
    /* false: it has failed, and has said so. argv[0] is the name. */
    bool (*run)(IoSession *s, int argc, char **argv);
} IoCommand;

/* One line of text: split, found and run. false: failed. */
bool io_execute(IoSession *s, const char *line);
void io_wait(IoSession *s); /* until no asynchronous request is under way */
bool io_open(IoSession *s, const char *name, const ToolOpen *o);
void io_close(IoSession *s);

#endif
