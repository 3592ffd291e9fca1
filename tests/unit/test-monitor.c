/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's line editor and expressions. */
#include "monitor/internal.h"

#include <string.h>

/* ---- the line editor against a terminal of one line ---- */
typedef struct Term {
    GString *lines; /* finished lines, one a row */
    char row[200];
    unsigned col;
} Term;

/* Understands what the editor sends: text, CR LF, cursor left and right, erase to the end. */
static void term_write(void *opaque, const char *text, size_t len)
{
    Term *t = opaque;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\r') {
            t->col = 0;
        } else if (text[i] == '\n') {
            memset(t->row, 0, sizeof(t->row));
        } else if (text[i] == 033) {
            unsigned n = 0;
            for (i += 2; g_ascii_isdigit(text[i]); i++) {
                n = n * 10 + (unsigned)(text[i] - '0');
            }
            switch (text[i]) {
            case 'D':
                g_assert_cmpuint(t->col, >=, n);
                t->col -= n;
                break;
            case 'C':
                t->col += n;
                break;
            case 'K':
                memset(t->row + t->col, 0, sizeof(t->row) - t->col);
                break;
            default:
                g_assert_true(text[i] == 'H' || text[i] == 'J');
                memset(t->row, 0, sizeof(t->row));
                t->col = 0;
            }
        } else {
            g_assert_cmpuint(t->col, <, sizeof(t->row) - 1);
            t->row[t->col++] = text[i];
        }
    }
}

static void term_line(void *opaque, const char *line)
{
    g_string_append_printf(((Term *)opaque)->lines, "%s\n", line);
}

static char **term_complete(void *opaque, const char *line)
{
    static const char *const words[] = {"screendump", "sendkey", "stop", NULL};
    GPtrArray *out = g_ptr_array_new();
    for (unsigned i = 0; words[i]; i++) {
        if (g_str_has_prefix(words[i], line)) {
            g_ptr_array_add(out, g_strdup(words[i]));
        }
    }
    g_ptr_array_add(out, NULL);
    return (char **)g_ptr_array_free(out, FALSE);
}

static const ReadlineOps ops = {term_write, term_line, term_complete};

static void type(const char *keys, const char *lines, const char *row, unsigned col)
{
    Term t = {.lines = g_string_new(NULL)};
    Readline *rl = readline_new(&ops, &t, "> ");
    readline_show(rl);
    readline_feed(rl, (const uint8_t *)keys, strlen(keys));
    g_assert_cmpstr(t.lines->str, ==, lines);
    g_assert_cmpstr(t.row, ==, row);
    g_assert_cmpuint(t.col, ==, col);
    readline_free(rl);
    g_string_free(t.lines, TRUE);
}

static void test_editing(void)
{
    type("info status\r", "info status\n", "> ", 2);
    type("a\r\nb\nc\r", "a\nb\nc\n", "> ", 2);
    type("abc\033[D\033[DX", "", "> aXbc", 4);
    type("abc\001X\005Y", "", "> XabcY", 7);
    type("abc\010\177d", "", "> ad", 4);
    type("one two\027three", "", "> one three", 11);
    type("one two\001\013", "", "> ", 2);
    type("one two\025x\031", "", "> xone two", 10);
    type("abc\001\033[3~\004", "", "> c", 2);
    type("word one\033bX\033fY", "", "> word XoneY", 12);
    type("\033[H\033OF\033[1~\033[4~\033[C\033[D\033[9999999999~", "", "> ", 2);
    type("abc\003d\r", "d\n", "> ", 2);
}

static void test_history(void)
{
    type("one\rtwo\r\033[A", "one\ntwo\n", "> two", 5);
    type("one\rtwo\r\033[A\033[A\r", "one\ntwo\none\n", "> ", 2);
    type("one\rdraft\033[A\033[A\033[B", "one\n", "> draft", 7);
    type("one\rone\r\020\020", "one\none\n", "> one", 5);
    type("\020\016\033[A", "", "> ", 2);
}

static void test_completion(void)
{
    type("st\t", "", "> stop ", 7);
    type("s\t", "", "> s", 3); /* several: they are listed, the line is shown again */
    type("x\t", "", "> x", 3);
}

static void swallow(void *opaque, const char *text, size_t len)
{
}

static void test_long_line(void)
{
    static const ReadlineOps quiet = {swallow, term_line, NULL};
    Term t = {.lines = g_string_new(NULL)};
    g_autofree uint8_t *big = g_malloc(10000);
    memset(big, 'a', 9999);
    big[9999] = '\r';
    Readline *rl = readline_new(&quiet, &t, "");
    readline_feed(rl, big, 10000);
    g_assert_cmpuint(t.lines->len, ==, READLINE_MAX + 1);
    readline_free(rl);
    g_string_free(t.lines, TRUE);
}

/* ---- expressions ---- */
static void value(const char *text, uint64_t want)
{
    uint64_t v = 0;
    Error *err = NULL;
    g_assert_true(hmp_expression(NULL, text, NULL, &v, &err));
    g_assert_cmphex(v, ==, want);
}

static void wrong(const char *text)
{
    uint64_t v;
    Error *err = NULL;
    g_assert_false(hmp_expression(NULL, text, NULL, &v, &err));
    g_assert_nonnull(err);
    error_free(err);
}

static void test_expressions(void)
{
    value("1 + 2*3", 7);
    value("(1+2)*3", 9);
    value("0x10 - 1", 15);
    value("-1", UINT64_MAX);
    value("~0 & 0xff", 0xff);
    value("0xf0 | 15 ^ 1", 0xff ^ 1); /* one level, from the left */
    value("100 % 7", 2);
    value("'A'", 65);
    wrong("");
    wrong("1 +");
    wrong("(1");
    wrong("1/0");
    wrong("1 % 0");
    wrong("abc");
    wrong("$rax"); /* no CPU */
    wrong("1 2");
    wrong("'A");
    g_autofree char *deep = g_strnfill(100000, '(');
    wrong(deep);
    const char *end;
    uint64_t v;
    g_assert_true(hmp_expression(NULL, "0x64 0x12", &end, &v, NULL));
    g_assert_cmpstr(end, ==, "0x12");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/monitor/editing", test_editing);
    g_test_add_func("/monitor/history", test_history);
    g_test_add_func("/monitor/completion", test_completion);
    g_test_add_func("/monitor/long-line", test_long_line);
    g_test_add_func("/monitor/expressions", test_expressions);
    return g_test_run();
}
