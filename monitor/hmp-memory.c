/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking at memory and ports: x, xp, print, gva2gpa, i, o. */
#include "monitor/internal.h"
#include "util/bits.h"
#include "util/disasm.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct Format {
    unsigned count;
    char letter;   /* x d u o c i */
    unsigned size; /* bytes: 1 2 4 8 */
} Format;

/* "/10xw" of "x/10xw addr"; *text is advanced behind it. */
static bool parse_format(const char **text, Format *f, Error **errp)
{
    const char *p = *text;
    if (*p != '/') {
        return true;
    }
    p++;
    if (isdigit((unsigned char)*p)) {
        uint64_t n = g_ascii_strtoull(p, (char **)&p, 10);
        if (n == 0 || n > 65536) {
            error_set(errp, "The count must be from 1 to 65536");
            return false;
        }
        f->count = (unsigned)n;
    }
    for (; *p && !isspace((unsigned char)*p); p++) {
        switch (*p) {
        case 'x':
        case 'd':
        case 'u':
        case 'o':
        case 'c':
        case 'i':
            f->letter = *p;
            f->size = *p == 'c' ? 1 : f->size;
            break;
        case 'b':
            f->size = 1;
            break;
        case 'h':
            f->size = 2;
            break;
        case 'w':
        case 'l':
            f->size = 4;
            break;
        case 'g':
        case 'L':
            f->size = 8;
            break;
        default:
            error_set(errp, "invalid char in format: '%c'", *p);
            error_hint(errp, "formats are /[count][x d u o c i][b h w g]");
            return false;
        }
    }
    *text = p + strspn(p, " \t");
    return true;
}

static void print_char(GString *out, uint8_t c)
{
    static const char *const names[] = {['\n'] = "\\n", ['\r'] = "\\r", ['\''] = "\\'"};
    if (c < G_N_ELEMENTS(names) && names[c]) {
        g_string_append_printf(out, "'%s'", names[c]);
    } else if (isprint(c)) {
        g_string_append_printf(out, "'%c'", c);
    } else {
        g_string_append_printf(out, "'\\x%02x'", c);
    }
}

static void print_value(GString *out, const Format *f, uint64_t v)
{
    unsigned shift = 64 - 8 * f->size;
    switch (f->letter) {
    case 'd':
        g_string_append_printf(out, "%*" PRId64, (int[]){4, 6, 11, 20}[__builtin_ctz(f->size)],
                               (int64_t)(v << shift) >> shift);
        break;
    case 'u':
        g_string_append_printf(out, "%*" PRIu64, (int[]){3, 5, 10, 20}[__builtin_ctz(f->size)], v);
        break;
    case 'o':
        g_string_append_printf(out, "0%0*" PRIo64, (int[]){3, 6, 11, 22}[__builtin_ctz(f->size)],
                               v);
        break;
    case 'c':
        print_char(out, (uint8_t)v);
        break;
    default:
        g_string_append_printf(out, "0x%0*" PRIx64, (int)(2 * f->size), v);
    }
}

typedef struct Examine {
    Format f;
    bool physical;
    const char *expr;
    Error *err;
} Examine;

static bool read_memory(CPUX86 *cpu, Examine *x, uint64_t addr, void *buf, size_t len)
{
    if (x->physical) {
        return address_space_read(cpu_as(cpu), addr, cpu_attrs(cpu), buf, len) == MEM_OK;
    }
    return cpu_debug_rw(cpu, addr, buf, len, false);
}

static void address(GString *out, const Examine *x, const CPUX86 *cpu, uint64_t addr)
{
    bool wide = x->physical || cpu->hflags & HF_LMA;
    g_string_append_printf(out, wide ? "%016" PRIx64 ":" : "%08" PRIx64 ":", addr);
}

typedef struct Insn {
    size_t size; /* 0: none yet */
    char text[192];
} Insn;

static bool note_insn(void *opaque, uint64_t addr, size_t size, const char *mnemonic,
                      const char *operands)
{
    Insn *n = opaque;
    n->size = size;
    snprintf(n->text, sizeof(n->text), "%-8s %s", mnemonic, operands);
    return false;
}

static void disassemble(Hmp *h, CPUX86 *cpu, Examine *x, uint64_t addr)
{
    unsigned bits = cpu->hflags & HF_CS64 ? 64 : cpu->hflags & HF_CS32 ? 32 : 16;
    for (unsigned i = 0; i < x->f.count; i++) {
        uint8_t buf[15];
        size_t len = sizeof(buf);
        Insn insn = {0};
        while (len && !read_memory(cpu, x, addr, buf, len)) {
            len--; /* the instruction may end at the end of what is mapped */
        }
        if (disasm(buf, len, addr, bits, true, note_insn, &insn, &x->err) < 0) {
            return;
        }
        address(h->out, x, cpu, addr);
        if (!len) {
            g_string_append(h->out, " Cannot access memory\n");
            return;
        }
        size_t used = insn.size ? insn.size : 1;
        for (size_t k = 0; k < used; k++) {
            g_string_append_printf(h->out, " %02x", buf[k]);
        }
        g_string_append_printf(h->out, "%*s", used < 8 ? (int)(3 * (8 - used)) : 1, "");
        if (insn.size) {
            g_string_append_printf(h->out, "%s\n", insn.text);
        } else {
            g_string_append_printf(h->out, ".byte    0x%02x\n", buf[0]);
        }
        addr += used;
    }
}

static void examine(Hmp *h, CPUX86 *cpu, void *opaque)
{
    Examine *x = opaque;
    uint64_t addr;
    if (!hmp_expression(cpu, x->expr, NULL, &addr, &x->err)) {
        return;
    }
    if (x->f.letter == 'i') {
        disassemble(h, cpu, x, addr);
        return;
    }
    unsigned per_line = x->f.letter == 'c' ? 8 : 16 / x->f.size;
    for (unsigned i = 0; i < x->f.count; i++) {
        uint8_t buf[8];
        if (i % per_line == 0) {
            address(h->out, x, cpu, addr);
        }
        g_string_append_c(h->out, ' ');
        if (!read_memory(cpu, x, addr, buf, x->f.size)) {
            g_string_append(h->out, "Cannot access memory\n");
            return;
        }
        print_value(h->out, &x->f, ld_le(buf, x->f.size));
        addr += x->f.size;
        if (i % per_line == per_line - 1 || i == x->f.count - 1) {
            g_string_append_c(h->out, '\n');
        }
    }
}

static bool run_examine(Hmp *h, bool physical, Error **errp)
{
    Examine x = {.f = {1, 'x', 4}, .physical = physical, .expr = h->rest};
    if (!parse_format(&x.expr, &x.f, errp) || !hmp_with_cpu(h, examine, &x, errp)) {
        return false;
    }
    error_propagate(errp, x.err);
    return !x.err;
}

bool hmp_x(Hmp *h, Error **errp)
{
    return run_examine(h, false, errp);
}

bool hmp_xp(Hmp *h, Error **errp)
{
    return run_examine(h, true, errp);
}

static void print_expr(Hmp *h, CPUX86 *cpu, void *opaque)
{
    Examine *x = opaque;
    uint64_t v;
    if (!hmp_expression(cpu, x->expr, NULL, &v, &x->err)) {
        return;
    }
    switch (x->f.letter) {
    case 'd':
        hmp_printf(h, "%" PRId64 "\n", (int64_t)v);
        break;
    case 'u':
        hmp_printf(h, "%" PRIu64 "\n", v);
        break;
    case 'o':
        hmp_printf(h, "0%" PRIo64 "\n", v);
        break;
    case 'c':
        print_char(h->out, (uint8_t)v);
        g_string_append_c(h->out, '\n');
        break;
    default:
        hmp_printf(h, "0x%" PRIx64 "\n", v);
    }
}

bool hmp_print(Hmp *h, Error **errp)
{
    Examine x = {.f = {1, 'x', 8}, .expr = h->rest};
    if (!parse_format(&x.expr, &x.f, errp)) {
        return false;
    }
    if (!hmp_with_cpu(h, print_expr, &x, NULL)) {
        print_expr(h, NULL, &x); /* numbers need no CPU */
    }
    error_propagate(errp, x.err);
    return !x.err;
}

static void translate(Hmp *h, CPUX86 *cpu, void *opaque)
{
    Examine *x = opaque;
    uint64_t v;
    hwaddr phys;
    if (!hmp_expression(cpu, x->expr, NULL, &v, &x->err)) {
        return;
    }
    if (cpu_debug_translate(cpu, v, &phys)) {
        hmp_printf(h, "gpa: 0x%" PRIx64 "\n", phys);
    } else {
        hmp_printf(h, "Unmapped\n");
    }
}

bool hmp_gva2gpa(Hmp *h, Error **errp)
{
    Examine x = {.expr = h->rest};
    if (!hmp_with_cpu(h, translate, &x, errp)) {
        return false;
    }
    error_propagate(errp, x.err);
    return !x.err;
}

static bool port_args(Hmp *h, Format *f, uint64_t *port, const char **end, Error **errp)
{
    const char *p = h->rest;
    f->size = 1;
    if (!parse_format(&p, f, errp) || !hmp_expression(hmp_cpu(h, NULL), p, end, port, errp)) {
        return false;
    }
    if (!h->machine || *port > 0xffff || f->size > 4) {
        error_set(errp, "Ports are 0 to 0xffff, accessed by 1, 2 or 4 bytes");
        return false;
    }
    return true;
}

bool hmp_port_in(Hmp *h, Error **errp)
{
    Format f = {1, 'x', 1};
    uint64_t port, v = 0;
    if (!port_args(h, &f, &port, NULL, errp)) {
        return false;
    }
    address_space_ld(h->machine->as_io, port, MEM_ATTRS_NONE, f.size, &v);
    hmp_printf(h, "port%c[0x%04x] = 0x%0*" PRIx64 "\n", "?bw?l"[f.size], (unsigned)port,
               (int)(2 * f.size), v);
    return true;
}

bool hmp_port_out(Hmp *h, Error **errp)
{
    Format f = {1, 'x', 1};
    uint64_t port, v;
    const char *end;
    if (!port_args(h, &f, &port, &end, errp) || !hmp_expression(NULL, end, NULL, &v, errp)) {
        return false;
    }
    address_space_st(h->machine->as_io, port, MEM_ATTRS_NONE, f.size, v);
    return true;
}
