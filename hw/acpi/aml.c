/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/acpi/aml.h"

#include "util/bits.h"

#include <assert.h>
#include <string.h>

/* How a term's head is made from its length when it is finished. */
typedef enum AmlKind {
    AML_PLAIN,     /* bytes as they are */
    AML_PKG,       /* opcode, PkgLength, fixed part, terms */
    AML_PACKAGE,   /* PackageOp, PkgLength, number of elements, elements */
    AML_BUFFER,    /* BufferOp, PkgLength, size, bytes */
    AML_RESOURCES, /* the same, with an end tag */
} AmlKind;

struct Aml {
    AmlKind kind;
    uint8_t op[2];
    unsigned op_len;
    GByteArray *body;
    unsigned elements;
};

static Aml *term(AmlKind kind)
{
    Aml *t = g_new0(Aml, 1);

    t->kind = kind;
    t->body = g_byte_array_new();
    return t;
}

static void byte(Aml *t, uint8_t v)
{
    g_byte_array_append(t->body, &v, 1);
}

static void little(GByteArray *to, uint64_t v, unsigned size)
{
    uint8_t b[8];

    st_le64(b, v);
    g_byte_array_append(to, b, size);
}

static Aml *plain(uint8_t op)
{
    Aml *t = term(AML_PLAIN);

    byte(t, op);
    return t;
}

static Aml *ext(uint8_t op)
{
    Aml *t = plain(0x5b);

    byte(t, op);
    return t;
}

static Aml *pkg(uint8_t op, bool extended)
{
    Aml *t = term(AML_PKG);

    if (extended) {
        t->op[t->op_len++] = 0x5b;
    }
    t->op[t->op_len++] = op;
    return t;
}

void aml_free(Aml *t)
{
    if (t) {
        g_byte_array_free(t->body, TRUE);
        g_free(t);
    }
}

/* PkgLength counts itself (20.2.4). */
static void pkg_length(GByteArray *to, size_t rest)
{
    size_t bytes = rest + 1 < 0x40 ? 1 : rest + 2 < 0x1000 ? 2 : rest + 3 < 0x100000 ? 3 : 4;
    size_t len = rest + bytes;

    if (bytes == 1) {
        little(to, len, 1);
        return;
    }
    little(to, (bytes - 1) << 6 | (len & 0xf), 1);
    little(to, len >> 4, (unsigned)bytes - 1);
}

static void encode_int(GByteArray *to, uint64_t v)
{
    if (v <= 1) {
        little(to, v, 1);
    } else if (v <= 0xff) {
        little(to, 0x0a, 1);
        little(to, v, 1);
    } else if (v <= 0xffff) {
        little(to, 0x0b, 1);
        little(to, v, 2);
    } else if (v <= 0xffffffff) {
        little(to, 0x0c, 1);
        little(to, v, 4);
    } else {
        little(to, 0x0e, 1);
        little(to, v, 8);
    }
}

GByteArray *aml_finish(Aml *t)
{
    GByteArray *out = g_byte_array_new(), *head = g_byte_array_new();

    if (t->kind == AML_RESOURCES) {
        byte(t, 0x79); /* end tag; checksum 0 is not checked */
        byte(t, 0);
    }
    switch (t->kind) {
    case AML_PLAIN:
        break;
    case AML_PKG:
        g_byte_array_append(out, t->op, t->op_len);
        pkg_length(out, t->body->len);
        break;
    case AML_PACKAGE:
        assert(t->elements <= 255);
        little(out, 0x12, 1);
        pkg_length(out, t->body->len + 1);
        little(out, t->elements, 1);
        break;
    case AML_BUFFER:
    case AML_RESOURCES:
        encode_int(head, t->body->len);
        little(out, 0x11, 1);
        pkg_length(out, head->len + t->body->len);
        g_byte_array_append(out, head->data, head->len);
        break;
    }
    g_byte_array_append(out, t->body->data, t->body->len);
    g_byte_array_free(head, TRUE);
    aml_free(t);
    return out;
}

Aml *aml_block(void)
{
    return term(AML_PLAIN);
}

void aml_append(Aml *to, Aml *t)
{
    GByteArray *bytes = aml_finish(t);

    g_byte_array_append(to->body, bytes->data, bytes->len);
    to->elements++;
    g_byte_array_free(bytes, TRUE);
}

/* ---- names ---- */
static void segment(GByteArray *to, const char *s, size_t len)
{
    char seg[4] = {'_', '_', '_', '_'};

    assert(len >= 1 && len <= 4);
    memcpy(seg, s, len);
    g_byte_array_append(to, (const uint8_t *)seg, 4);
}

static void name_string(GByteArray *to, const char *path)
{
    g_auto(GStrv) segs = NULL;
    guint n;

    while (*path == '\\' || *path == '^') {
        little(to, (uint8_t)*path++, 1);
    }
    if (!*path) {
        little(to, 0, 1); /* NullName: "\\" alone */
        return;
    }
    segs = g_strsplit(path, ".", -1);
    n = g_strv_length(segs);
    if (n == 2) {
        little(to, 0x2e, 1);
    } else if (n > 2) {
        little(to, 0x2f, 1);
        little(to, n, 1);
    }
    for (guint i = 0; i < n; i++) {
        segment(to, segs[i], strlen(segs[i]));
    }
}

/* ---- data ---- */
Aml *aml_int(uint64_t v)
{
    Aml *t = term(AML_PLAIN);

    encode_int(t->body, v);
    return t;
}

Aml *aml_string(const char *s)
{
    Aml *t = plain(0x0d);

    g_byte_array_append(t->body, (const uint8_t *)s, (guint)strlen(s) + 1);
    return t;
}

/* Three letters of five bits each, then four hexadecimal digits, big-endian (19.3.4). */
Aml *aml_eisaid(const char *id)
{
    uint32_t v = 0;
    Aml *t = plain(0x0c);

    assert(strlen(id) == 7);
    for (unsigned i = 0; i < 3; i++) {
        v = v << 5 | (uint32_t)(id[i] - 0x40);
    }
    for (unsigned i = 3; i < 7; i++) {
        v = v << 4 | (uint32_t)g_ascii_xdigit_value(id[i]);
    }
    little(t->body, __builtin_bswap32(v), 4);
    return t;
}

Aml *aml_buffer(const void *data, size_t len)
{
    Aml *t = term(AML_BUFFER);

    g_byte_array_append(t->body, data, (guint)len);
    return t;
}

/* "aabbccdd-eeff-gghh-iijj-kkllmmnnoopp": the first three parts are little-endian. */
Aml *aml_uuid(const char *text)
{
    static const uint8_t at[16] = {6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34};
    uint8_t b[16];

    assert(strlen(text) == 36);
    for (unsigned i = 0; i < 16; i++) {
        b[i] = (uint8_t)(g_ascii_xdigit_value(text[at[i]]) << 4 |
                         g_ascii_xdigit_value(text[at[i] + 1]));
    }
    return aml_buffer(b, sizeof(b));
}

Aml *aml_package(void)
{
    return term(AML_PACKAGE);
}

Aml *aml_ref(const char *name)
{
    Aml *t = term(AML_PLAIN);

    name_string(t->body, name);
    return t;
}

Aml *aml_arg(unsigned n)
{
    assert(n < 7);
    return plain((uint8_t)(0x68 + n));
}

Aml *aml_local(unsigned n)
{
    assert(n < 8);
    return plain((uint8_t)(0x60 + n));
}

/* ---- declarations ---- */
Aml *aml_name(const char *name, Aml *value)
{
    Aml *t = plain(0x08);

    name_string(t->body, name);
    aml_append(t, value);
    return t;
}

Aml *aml_scope(const char *name)
{
    Aml *t = pkg(0x10, false);

    name_string(t->body, name);
    return t;
}

Aml *aml_device(const char *name)
{
    Aml *t = pkg(0x82, true);

    name_string(t->body, name);
    return t;
}

Aml *aml_method(const char *name, unsigned args, bool serialized)
{
    Aml *t = pkg(0x14, false);

    assert(args < 8);
    name_string(t->body, name);
    byte(t, (uint8_t)(args | (serialized ? 8 : 0)));
    return t;
}

Aml *aml_operation_region(const char *name, AmlSpace space, uint64_t offset, uint64_t len)
{
    Aml *t = ext(0x80);

    name_string(t->body, name);
    byte(t, (uint8_t)space);
    encode_int(t->body, offset);
    encode_int(t->body, len);
    return t;
}

Aml *aml_field(const char *region, AmlAccess access)
{
    Aml *t = pkg(0x81, true);

    name_string(t->body, region);
    byte(t, (uint8_t)access);
    return t;
}

Aml *aml_field_unit(const char *name, unsigned bits)
{
    Aml *t = term(AML_PLAIN);

    if (name) {
        segment(t->body, name, strlen(name));
    } else {
        byte(t, 0);
    }
    /* A field's length is a PkgLength that does not count itself. */
    if (bits < 0x40) {
        byte(t, (uint8_t)bits);
    } else {
        assert(bits < 0x1000);
        byte(t, (uint8_t)(0x40 | (bits & 0xf)));
        byte(t, (uint8_t)(bits >> 4));
    }
    return t;
}

Aml *aml_create_dword_field(Aml *buffer, Aml *index, const char *name)
{
    Aml *t = plain(0x8a);

    aml_append(t, buffer);
    aml_append(t, index);
    name_string(t->body, name);
    return t;
}

/* ---- statements and operators ---- */
static Aml *with_operands(Aml *t, Aml *a, Aml *b)
{
    aml_append(t, a);
    if (b) {
        aml_append(t, b);
    }
    return t;
}

Aml *aml_store(Aml *value, Aml *target)
{
    return with_operands(plain(0x70), value, target);
}

Aml *aml_return(Aml *value)
{
    return with_operands(plain(0xa4), value, NULL);
}

Aml *aml_if(Aml *condition)
{
    return with_operands(pkg(0xa0, false), condition, NULL);
}

Aml *aml_else(void)
{
    return pkg(0xa1, false);
}

Aml *aml_equal(Aml *a, Aml *b)
{
    return with_operands(plain(0x93), a, b);
}

Aml *aml_land(Aml *a, Aml *b)
{
    return with_operands(plain(0x90), a, b);
}

Aml *aml_lnot(Aml *a)
{
    return with_operands(plain(0x92), a, NULL);
}

static Aml *with_target(Aml *t, Aml *target)
{
    if (target) {
        aml_append(t, target);
    } else {
        byte(t, 0);
    }
    return t;
}

Aml *aml_and(Aml *a, Aml *b, Aml *target)
{
    return with_target(with_operands(plain(0x7b), a, b), target);
}

Aml *aml_or(Aml *a, Aml *b, Aml *target)
{
    return with_target(with_operands(plain(0x7d), a, b), target);
}

Aml *aml_call(const char *method, unsigned n, Aml *args[])
{
    Aml *t = aml_ref(method);

    for (unsigned i = 0; i < n; i++) {
        aml_append(t, args[i]);
    }
    return t;
}

/* ---- resources (6.4) ---- */
Aml *aml_resources(void)
{
    return term(AML_RESOURCES);
}

Aml *aml_io(uint16_t base, uint8_t align, uint8_t len)
{
    Aml *t = plain(0x47);

    byte(t, 1); /* 16 address bits */
    little(t->body, base, 2);
    little(t->body, base, 2);
    byte(t, align);
    byte(t, len);
    return t;
}

Aml *aml_irq(unsigned irq)
{
    Aml *t = plain(0x22);

    assert(irq < 16);
    little(t->body, BIT(irq), 2);
    return t;
}

Aml *aml_dma(unsigned channel)
{
    Aml *t = plain(0x2a);

    assert(channel < 8);
    byte(t, (uint8_t)BIT(channel));
    byte(t, 0); /* compatibility mode, no bus master, 8 bits */
    return t;
}

/* Large descriptor: type, length, contents. */
static Aml *large(uint8_t type, uint16_t len)
{
    Aml *t = plain(type);

    little(t->body, len, 2);
    return t;
}

Aml *aml_memory32(uint32_t base, uint32_t len, bool writable)
{
    Aml *t = large(0x86, 9);

    byte(t, writable);
    little(t->body, base, 4);
    little(t->body, len, 4);
    return t;
}

Aml *aml_interrupt(const uint32_t *irqs, unsigned n)
{
    Aml *t = large(0x89, (uint16_t)(2 + 4 * n));

    byte(t, 0x09); /* consumer, level, active high, shared */
    byte(t, (uint8_t)n);
    for (unsigned i = 0; i < n; i++) {
        little(t->body, irqs[i], 4);
    }
    return t;
}

/* Address space descriptor of fixed range: type 0 memory, 1 I/O, 2 bus numbers. */
static Aml *space(uint8_t tag, unsigned size, uint8_t type, uint8_t flags, uint64_t min,
                  uint64_t max)
{
    Aml *t = large(tag, (uint16_t)(3 + 5 * size));

    byte(t, type);
    byte(t, 0x0c); /* producer, positive decode, both ends fixed */
    byte(t, flags);
    little(t->body, 0, size); /* granularity */
    little(t->body, min, size);
    little(t->body, max, size);
    little(t->body, 0, size); /* translation */
    little(t->body, max - min + 1, size);
    return t;
}

Aml *aml_word_bus(uint16_t min, uint16_t max)
{
    return space(0x88, 2, 2, 0, min, max);
}

Aml *aml_word_io(uint16_t min, uint16_t max)
{
    return space(0x88, 2, 1, 3, min, max); /* entire range */
}

Aml *aml_dword_memory(uint32_t min, uint32_t max, bool cacheable)
{
    return space(0x87, 4, 0, cacheable ? 0x03 : 0x01, min, max);
}

Aml *aml_qword_memory(uint64_t min, uint64_t max, bool cacheable)
{
    return space(0x8a, 8, 0, cacheable ? 0x03 : 0x01, min, max);
}
