/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Expressions of `x`, `xp`, `print`: numbers, $registers, C's operators. */
#include "monitor/internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct Expr {
    CPUX86 *cpu;
    const char *p;
    unsigned depth;
    Error **errp;
    bool failed;
} Expr;

static void skip(Expr *e)
{
    while (isspace((unsigned char)*e->p)) {
        e->p++;
    }
}

static uint64_t fail(Expr *e, const char *what)
{
    if (!e->failed) {
        error_set(e->errp, "%s at '%s'", what, e->p);
    }
    e->failed = true;
    return 0;
}

static const char *const names64[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                      "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
static const char *const names32[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
static const char *const names_seg[] = {"es", "cs", "ss", "ds", "fs", "gs"};

static bool read_register(const CPUX86 *c, const char *n, uint64_t *v)
{
    for (unsigned i = 0; i < 16; i++) {
        if (!strcmp(n, names64[i])) {
            *v = c->regs[i];
            return true;
        }
        if (i < 8 && !strcmp(n, names32[i])) {
            *v = (uint32_t)c->regs[i];
            return true;
        }
        if (i < 6 && !strcmp(n, names_seg[i])) {
            *v = c->segs[i].selector;
            return true;
        }
    }
    const struct {
        const char *name;
        uint64_t value;
    } others[] = {
        {"rip", c->rip},
        {"eip", (uint32_t)c->rip},
        {"pc", c->rip + (c->hflags & HF_CS64 ? 0 : c->segs[SEG_CS].base)},
        {"eflags", c->rflags},
        {"rflags", c->rflags},
        {"cr0", c->cr0},
        {"cr2", c->cr2},
        {"cr3", c->cr3},
        {"cr4", c->cr4},
        {"efer", c->efer},
        {"gs.base", c->segs[SEG_GS].base},
        {"fs.base", c->segs[SEG_FS].base},
        {"cs.base", c->segs[SEG_CS].base},
        {"ss.base", c->segs[SEG_SS].base},
        {"ds.base", c->segs[SEG_DS].base},
        {"es.base", c->segs[SEG_ES].base},
        {"gdt", c->gdtr.base},
        {"idt", c->idtr.base},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(others); i++) {
        if (!strcmp(n, others[i].name)) {
            *v = others[i].value;
            return true;
        }
    }
    return false;
}

static uint64_t sum(Expr *e);

static uint64_t register_value(Expr *e)
{
    const char *start = ++e->p;
    while (isalnum((unsigned char)*e->p) || *e->p == '.' || *e->p == '_') {
        e->p++;
    }
    g_autofree char *name = g_ascii_strdown(start, e->p - start);
    uint64_t v = 0;
    if (!e->cpu || !read_register(e->cpu, name, &v)) {
        e->p = start - 1;
        return fail(e, e->cpu ? "unknown register" : "no CPU for the register");
    }
    return v;
}

static uint64_t unary(Expr *e)
{
    skip(e);
    if (e->failed || ++e->depth > 100) {
        return fail(e, "expression nested too deeply");
    }
    uint64_t v = 0;
    char *end;
    switch (*e->p) {
    case '+':
        e->p++;
        v = unary(e);
        break;
    case '-':
        e->p++;
        v = -unary(e);
        break;
    case '~':
        e->p++;
        v = ~unary(e);
        break;
    case '(':
        e->p++;
        v = sum(e);
        skip(e);
        if (*e->p != ')') {
            return fail(e, "')' expected");
        }
        e->p++;
        break;
    case '\'':
        if (!e->p[1] || e->p[2] != '\'') {
            return fail(e, "character constant expected");
        }
        v = (uint8_t)e->p[1];
        e->p += 3;
        break;
    case '$':
        v = register_value(e);
        break;
    case 0:
        return fail(e, "unexpected end of expression");
    default:
        v = strtoull(e->p, &end, 0);
        if (end == e->p) {
            return fail(e, "invalid character in expression");
        }
        e->p = end;
    }
    e->depth--;
    return v;
}

static uint64_t product(Expr *e)
{
    uint64_t v = unary(e);
    for (;;) {
        skip(e);
        char op = *e->p;
        if (e->failed || (op != '*' && op != '/' && op != '%')) {
            return v;
        }
        e->p++;
        uint64_t w = unary(e);
        if (op != '*' && w == 0) {
            return fail(e, "division by zero");
        }
        v = op == '*' ? v * w : op == '/' ? v / w : v % w;
    }
}

static uint64_t logic(Expr *e)
{
    uint64_t v = product(e);
    for (;;) {
        skip(e);
        char op = *e->p;
        if (e->failed || (op != '&' && op != '|' && op != '^')) {
            return v;
        }
        e->p++;
        uint64_t w = product(e);
        v = op == '&' ? v & w : op == '|' ? v | w : v ^ w;
    }
}

static uint64_t sum(Expr *e)
{
    uint64_t v = logic(e);
    for (;;) {
        skip(e);
        char op = *e->p;
        if (e->failed || (op != '+' && op != '-')) {
            return v;
        }
        e->p++;
        uint64_t w = logic(e);
        v = op == '+' ? v + w : v - w;
    }
}

bool hmp_expression(CPUX86 *cpu, const char *text, const char **end, uint64_t *value, Error **errp)
{
    Expr e = {.cpu = cpu, .p = text, .errp = errp};
    *value = sum(&e);
    skip(&e);
    if (!e.failed && !end && *e.p) {
        fail(&e, "unexpected text");
    }
    if (end) {
        *end = e.p;
    }
    return !e.failed;
}
