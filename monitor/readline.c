/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "monitor/readline.h"

#include <ctype.h>
#include <string.h>

typedef enum Escape { ESC_NONE, ESC_ESC, ESC_CSI, ESC_SS3 } Escape;

struct Readline {
    const ReadlineOps *ops;
    void *opaque;
    char *prompt;
    GString *line;
    size_t cursor;
    Escape escape;
    unsigned param;
    bool after_cr;
    GPtrArray *history; /* oldest first */
    unsigned browsing;  /* index in history; == len: the line being typed */
    char *draft;        /* that line, while others are shown */
    char *killed;       /* Ctrl-K, Ctrl-U, Ctrl-W: for Ctrl-Y */
};

Readline *readline_new(const ReadlineOps *ops, void *opaque, const char *prompt)
{
    Readline *rl = g_new0(Readline, 1);
    rl->ops = ops;
    rl->opaque = opaque;
    rl->prompt = g_strdup(prompt);
    rl->line = g_string_new(NULL);
    rl->history = g_ptr_array_new_with_free_func(g_free);
    return rl;
}

void readline_free(Readline *rl)
{
    if (rl) {
        g_free(rl->prompt);
        g_string_free(rl->line, TRUE);
        g_ptr_array_free(rl->history, TRUE);
        g_free(rl->draft);
        g_free(rl->killed);
        g_free(rl);
    }
}

static void put(Readline *rl, const char *text)
{
    rl->ops->write(rl->opaque, text, strlen(text));
}

static void move_left(Readline *rl, size_t n)
{
    if (n) {
        g_autofree char *seq = g_strdup_printf("\033[%zuD", n);
        put(rl, seq);
    }
}

/* Redraws from the cursor of the terminal, which stands at `from`, and puts it in place. */
static void redraw(Readline *rl, size_t from)
{
    put(rl, rl->line->str + from);
    put(rl, "\033[K");
    move_left(rl, rl->line->len - rl->cursor);
}

void readline_show(Readline *rl)
{
    put(rl, rl->prompt);
    if (rl->line->len) {
        redraw(rl, 0);
    }
}

void readline_reset(Readline *rl)
{
    g_string_truncate(rl->line, 0);
    rl->cursor = 0;
    rl->escape = ESC_NONE;
    rl->after_cr = false;
    rl->browsing = rl->history->len;
}

static void go_to(Readline *rl, size_t pos)
{
    if (pos < rl->cursor) {
        move_left(rl, rl->cursor - pos);
    } else if (pos > rl->cursor) {
        g_autofree char *seq = g_strdup_printf("\033[%zuC", pos - rl->cursor);
        put(rl, seq);
    }
    rl->cursor = pos;
}

static void insert(Readline *rl, const char *text)
{
    size_t n = MIN(strlen(text), READLINE_MAX - rl->line->len);
    size_t at = rl->cursor;
    g_string_insert_len(rl->line, (gssize)at, text, (gssize)n);
    rl->cursor += n;
    if (rl->cursor == rl->line->len) {
        put(rl, rl->line->str + at); /* at the end: what is sent is what was typed */
    } else {
        redraw(rl, at);
    }
}

static void erase(Readline *rl, size_t from, size_t to, bool keep)
{
    if (from == to) {
        return;
    }
    if (keep) {
        g_free(rl->killed);
        rl->killed = g_strndup(rl->line->str + from, to - from);
    }
    go_to(rl, from);
    g_string_erase(rl->line, (gssize)from, (gssize)(to - from));
    redraw(rl, from);
}

static void replace(Readline *rl, const char *text)
{
    go_to(rl, 0);
    g_string_assign(rl->line, text);
    rl->cursor = rl->line->len;
    redraw(rl, 0);
}

static void browse(Readline *rl, int step)
{
    unsigned to = rl->browsing + (unsigned)step;
    if (to > rl->history->len) {
        return; /* beyond either end */
    }
    if (rl->browsing == rl->history->len) {
        g_free(rl->draft);
        rl->draft = g_strdup(rl->line->str);
    }
    rl->browsing = to;
    replace(rl, to == rl->history->len ? rl->draft : rl->history->pdata[to]);
}

static size_t word_start(const Readline *rl)
{
    size_t i = rl->cursor;
    while (i > 0 && isspace((unsigned char)rl->line->str[i - 1])) {
        i--;
    }
    while (i > 0 && !isspace((unsigned char)rl->line->str[i - 1])) {
        i--;
    }
    return i;
}

static size_t word_end(const Readline *rl)
{
    size_t i = rl->cursor;
    while (i < rl->line->len && isspace((unsigned char)rl->line->str[i])) {
        i++;
    }
    while (i < rl->line->len && !isspace((unsigned char)rl->line->str[i])) {
        i++;
    }
    return i;
}

static void finish(Readline *rl)
{
    put(rl, "\r\n");
    g_autofree char *line = g_strdup(rl->line->str);
    bool known = rl->history->len && !strcmp(rl->history->pdata[rl->history->len - 1], line);
    if (*line && !known) {
        if (rl->history->len == READLINE_HISTORY) {
            g_ptr_array_remove_index(rl->history, 0);
        }
        g_ptr_array_add(rl->history, g_strdup(line));
    }
    readline_reset(rl);
    rl->ops->line(rl->opaque, line);
    readline_show(rl);
}

static size_t common_prefix(char **words)
{
    size_t n = strlen(words[0]);
    for (unsigned i = 1; words[i]; i++) {
        size_t k = 0;
        while (k < n && words[i][k] == words[0][k]) {
            k++;
        }
        n = k;
    }
    return n;
}

static void complete(Readline *rl)
{
    g_autofree char *upto = g_strndup(rl->line->str, rl->cursor);
    g_auto(GStrv) words = rl->ops->complete ? rl->ops->complete(rl->opaque, upto) : NULL;
    if (!words || !words[0]) {
        return;
    }
    const char *space = strrchr(upto, ' ');
    size_t have = strlen(space ? space + 1 : upto), common = common_prefix(words);
    if (common > have) {
        g_autofree char *more = g_strndup(words[0] + have, common - have);
        insert(rl, more);
    }
    if (!words[1]) {
        insert(rl, " ");
    } else if (common <= have) {
        put(rl, "\r\n");
        for (unsigned i = 0; words[i]; i++) {
            g_autofree char *cell = g_strdup_printf("%-20s%s", words[i], i % 4 == 3 ? "\r\n" : " ");
            put(rl, cell);
        }
        put(rl, "\r\n");
        readline_show(rl);
    }
}

static void left(Readline *rl)
{
    go_to(rl, rl->cursor ? rl->cursor - 1 : 0);
}

static void right(Readline *rl)
{
    go_to(rl, MIN(rl->cursor + 1, rl->line->len));
}

static void erase_next(Readline *rl)
{
    if (rl->cursor < rl->line->len) {
        erase(rl, rl->cursor, rl->cursor + 1, false);
    }
}

static void csi(Readline *rl, uint8_t c)
{
    switch (c) {
    case 'A':
        browse(rl, -1);
        break;
    case 'B':
        browse(rl, 1);
        break;
    case 'C':
        right(rl);
        break;
    case 'D':
        left(rl);
        break;
    case 'H':
        go_to(rl, 0);
        break;
    case 'F':
        go_to(rl, rl->line->len);
        break;
    case '~':
        if (rl->param == 1 || rl->param == 7) {
            go_to(rl, 0);
        } else if (rl->param == 4 || rl->param == 8) {
            go_to(rl, rl->line->len);
        } else if (rl->param == 3) {
            erase_next(rl);
        }
        break;
    }
}

static void escape(Readline *rl, uint8_t c)
{
    if (rl->escape == ESC_ESC) {
        rl->escape = c == '[' ? ESC_CSI : c == 'O' ? ESC_SS3 : ESC_NONE;
        rl->param = 0;
        if (c == 'b') {
            go_to(rl, word_start(rl));
        } else if (c == 'f') {
            go_to(rl, word_end(rl));
        } else if (c == 'd') {
            erase(rl, rl->cursor, word_end(rl), true);
        }
    } else if (isdigit(c)) {
        rl->param = rl->param * 10 % 1000 + (c - '0');
    } else if (c >= 0x40 && c <= 0x7e) {
        rl->escape = ESC_NONE;
        csi(rl, c);
    }
}

static void control(Readline *rl, uint8_t c)
{
    switch (c) {
    case 'A' - 64:
        go_to(rl, 0);
        break;
    case 'B' - 64:
        left(rl);
        break;
    case 'C' - 64:
        put(rl, "^C\r\n");
        readline_reset(rl);
        readline_show(rl);
        break;
    case 'D' - 64:
        erase_next(rl);
        break;
    case 'E' - 64:
        go_to(rl, rl->line->len);
        break;
    case 'F' - 64:
        right(rl);
        break;
    case 'H' - 64:
    case 127:
        if (rl->cursor) {
            erase(rl, rl->cursor - 1, rl->cursor, false);
        }
        break;
    case '\t':
        complete(rl);
        break;
    case 'K' - 64:
        erase(rl, rl->cursor, rl->line->len, true);
        break;
    case 'L' - 64:
        put(rl, "\033[H\033[2J");
        readline_show(rl);
        break;
    case 'N' - 64:
        browse(rl, 1);
        break;
    case 'P' - 64:
        browse(rl, -1);
        break;
    case 'U' - 64:
        erase(rl, 0, rl->cursor, true);
        break;
    case 'W' - 64:
        erase(rl, word_start(rl), rl->cursor, true);
        break;
    case 'Y' - 64:
        if (rl->killed) {
            insert(rl, rl->killed);
        }
        break;
    case 27:
        rl->escape = ESC_ESC;
        break;
    }
}

void readline_feed(Readline *rl, const uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t c = buf[i];
        bool lf_of_crlf = c == '\n' && rl->after_cr;
        rl->after_cr = c == '\r';
        if (rl->escape != ESC_NONE) {
            escape(rl, c);
        } else if (c == '\r' || c == '\n') {
            if (!lf_of_crlf) {
                finish(rl);
                rl->after_cr = c == '\r';
            }
        } else if (c < 32 || c == 127) {
            control(rl, c);
        } else {
            insert(rl, (char[]){(char)c, 0});
        }
    }
}
