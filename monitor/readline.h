/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * monitor/readline.h: a line editor for a terminal at the other end of a byte
 * stream: cursor keys, Emacs keys, history, completion.  Pure: bytes in, bytes out
 * by callback.
 */
#ifndef RHEA_MONITOR_READLINE_H
#define RHEA_MONITOR_READLINE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define READLINE_MAX 4095
#define READLINE_HISTORY 100

typedef struct Readline Readline;

typedef struct ReadlineOps {
    void (*write)(void *opaque, const char *text, size_t len);
    /* A whole line, without its end. The editor shows the prompt again afterwards. */
    void (*line)(void *opaque, const char *line);
    /* All words that the text up to the cursor may go on with; NULL: none. Frees: caller. */
    char **(*complete)(void *opaque, const char *line);
} ReadlineOps;

Readline *readline_new(const ReadlineOps *ops, void *opaque, const char *prompt);
void readline_free(Readline *rl);
void readline_feed(Readline *rl, const uint8_t *buf, size_t len);
/* Shows the prompt and what has been typed so far. */
void readline_show(Readline *rl);
/* Forgets what has been typed (a new session). */
void readline_reset(Readline *rl);

#endif
