/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/i386/smbios.h"

#include "accel/accel.h"
#include "hw/core/datafile.h"
#include "util/option.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TABLE_MAX 65535u
#define NO_HANDLE 0xfffeu
#define DIMM_SIZE (16 * GiB)

/* ---- options ---- */
typedef struct FieldInfo {
    uint8_t type;
    const char *name;
} FieldInfo;

static const FieldInfo known[] = {
    {0, "vendor"},        {0, "version"},      {0, "date"},          {0, "release"},
    {0, "uefi"},          {1, "manufacturer"}, {1, "product"},       {1, "version"},
    {1, "serial"},        {1, "uuid"},         {1, "sku"},           {1, "family"},
    {2, "manufacturer"},  {2, "product"},      {2, "version"},       {2, "serial"},
    {2, "asset"},         {2, "location"},     {3, "manufacturer"},  {3, "version"},
    {3, "serial"},        {3, "asset"},        {3, "sku"},           {4, "sock_pfx"},
    {4, "manufacturer"},  {4, "version"},      {4, "serial"},        {4, "asset"},
    {4, "part"},          {4, "max-speed"},    {4, "current-speed"}, {4, "processor-id"},
    {11, "value"},        {11, "path"},        {17, "loc_pfx"},      {17, "bank"},
    {17, "manufacturer"}, {17, "serial"},      {17, "asset"},        {17, "part"},
    {17, "speed"},
};

/* A value as text, whether it came as a string or (JSON) as a number. */
static const char *text(const Json *o, const char *key)
{
    return json_get_str(o, key);
}

static bool number(const Json *o, const char *key, uint64_t max, uint64_t *out, Error **errp)
{
    const Json *v = json_get(o, key);
    const char *s = v ? json_get_string(v) : NULL;

    if (!v) {
        return true;
    }
    if (!(s ? parse_uint(s, out) : json_get_uint(v, out)) || *out > max) {
        error_set(errp, "-smbios: %s=%s is not a number from 0 to %" PRIu64, key, s ? s : "?", max);
        return false;
    }
    return true;
}

static bool check_key(uint64_t type, const char *key, Error **errp)
{
    const char *names[ARRAY_LEN(known) + 1] = {NULL}, *near;
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (known[i].type == type) {
            names[n++] = known[i].name;
            if (g_str_equal(known[i].name, key)) {
                return true;
            }
        }
    }
    near = nearest_word(key, names);
    if (n == 0) {
        error_set(errp, "-smbios type=%" PRIu64 " cannot be set; types 0 to 4, 11 and 17 can",
                  type);
        return false;
    }
    error_set(errp, "-smbios type=%" PRIu64 " has no field '%s'", type, key);
    if (near) {
        error_hint(errp, "did you mean '%s'?", near);
    }
    return false;
}

static bool check_values(const Json *o, uint64_t type, Error **errp)
{
    const char *uuid = type == 1 ? text(o, "uuid") : NULL;
    const char *release = type == 0 ? text(o, "release") : NULL;
    const char *uefi = type == 0 ? text(o, "uefi") : NULL;
    unsigned major, minor;
    uint8_t bytes[16];
    bool on;
    uint64_t v;

    if (uuid && !parse_uuid(uuid, bytes)) {
        error_set(errp, "-smbios type=1: uuid=%s is not a UUID", uuid);
        return false;
    }
    if (release && (sscanf(release, "%u.%u", &major, &minor) != 2 || major > 255 || minor > 255)) {
        error_set(errp, "-smbios type=0: release=%s is not of the form 1.2", release);
        return false;
    }
    if (uefi && !parse_bool(uefi, &on)) {
        error_set(errp, "-smbios type=0: uefi=%s is not on or off", uefi);
        return false;
    }
    return number(o, "max-speed", 65535, &v, errp) && number(o, "current-speed", 65535, &v, errp) &&
           number(o, "processor-id", UINT64_MAX, &v, errp) && number(o, "speed", 65535, &v, errp);
}

bool smbios_check_option(const Json *o, Error **errp)
{
    uint64_t type = 0;

    if (json_get(o, "file")) {
        if (json_length(o) != 1) {
            error_set(errp, "-smbios file= takes no other fields");
            return false;
        }
        return true;
    }
    if (!json_get(o, "type")) {
        error_set(errp, "-smbios needs type= or file=");
        return false;
    }
    if (!number(o, "type", 127, &type, errp)) {
        return false;
    }
    for (size_t i = 0; i < json_length(o); i++) {
        const char *key = json_key_at(o, i);

        if (!g_str_equal(key, "type") && !check_key(type, key, errp)) {
            return false;
        }
    }
    return check_values(o, type, errp);
}

/* ---- what the options say ---- */
typedef struct Build {
    PcMachine *pc;
    GByteArray *out;
    unsigned count, max_size;
    guint start;            /* of the structure being made */
    GPtrArray *texts;       /* its strings */
    uint8_t overridden[16]; /* bit per type: given as a file */
} Build;

static bool option_type(const Json *o, uint64_t type)
{
    uint64_t t;

    return json_get(o, "type") && number(o, "type", 127, &t, NULL) && t == type;
}

/* The last value given for a field of a type, or `def`. */
static const char *field(const Build *b, unsigned type, const char *key, const char *def)
{
    const Json *list = b->pc->m.smbios;

    for (size_t i = list ? json_length(list) : 0; i-- > 0;) {
        const Json *o = json_at(list, i);
        const char *v = option_type(o, type) ? text(o, key) : NULL;

        if (v) {
            return v;
        }
    }
    return def;
}

static uint64_t field_number(const Build *b, unsigned type, const char *key, uint64_t def)
{
    const Json *list = b->pc->m.smbios;
    uint64_t v;

    for (size_t i = list ? json_length(list) : 0; i-- > 0;) {
        const Json *o = json_at(list, i);

        if (option_type(o, type) && json_get(o, key) && number(o, key, UINT64_MAX, &v, NULL)) {
            return v;
        }
    }
    return def;
}

static bool given(const Build *b, unsigned type)
{
    const Json *list = b->pc->m.smbios;

    for (size_t i = 0; list && i < json_length(list); i++) {
        if (option_type(json_at(list, i), type)) {
            return true;
        }
    }
    return false;
}

/* ---- structures ---- */
static void put(Build *b, uint64_t v, unsigned size)
{
    uint8_t bytes[8];

    st_le64(bytes, v);
    g_byte_array_append(b->out, bytes, size);
}

static bool begin(Build *b, uint8_t type, uint16_t handle)
{
    if (b->overridden[type / 8] & BIT(type % 8)) {
        return false;
    }
    b->start = b->out->len;
    put(b, type, 1);
    put(b, 0, 1);
    put(b, handle, 2);
    return true;
}

/* A string's number; the strings themselves follow the structure. 0: none. */
static void put_text(Build *b, const char *s)
{
    if (!s || !*s) {
        put(b, 0, 1);
        return;
    }
    g_ptr_array_add(b->texts, g_strdup(s));
    put(b, b->texts->len, 1);
}

static void end(Build *b)
{
    unsigned size;

    b->out->data[b->start + 1] = (uint8_t)(b->out->len - b->start);
    for (guint i = 0; i < b->texts->len; i++) {
        const char *s = b->texts->pdata[i];

        g_byte_array_append(b->out, (const uint8_t *)s, (guint)strlen(s) + 1);
    }
    put(b, 0, b->texts->len ? 1 : 2);
    g_ptr_array_set_size(b->texts, 0);
    size = b->out->len - b->start;
    b->max_size = MAX(b->max_size, size);
    b->count++;
}

/* "pc-i440fx-11.1" */
static char *machine_name(const Build *b)
{
    const char *type = b->pc->m.obj.type->name;
    size_t len = strlen(type);

    return g_strndup(type, g_str_has_suffix(type, "-machine") ? len - strlen("-machine") : len);
}

static void type0(Build *b)
{
    unsigned major = 0, minor = 0;
    bool uefi = false;

    /* Firmware makes its own unless the user has one in mind. */
    if (!given(b, 0) || !begin(b, 0, 0)) {
        return;
    }
    sscanf(field(b, 0, "release", "0.0"), "%u.%u", &major, &minor);
    parse_bool(field(b, 0, "uefi", "off"), &uefi);
    put_text(b, field(b, 0, "vendor", NULL));
    put_text(b, field(b, 0, "version", NULL));
    put(b, 0xe800, 2);
    put_text(b, field(b, 0, "date", NULL));
    put(b, 0, 1);    /* ROM size: 64 KiB */
    put(b, 0x08, 8); /* characteristics not supported */
    put(b, 0, 1);
    put(b, 0x14 | (uefi ? 8 : 0), 1); /* virtual machine, targeted content */
    put(b, field(b, 0, "release", NULL) ? major : 0, 1);
    put(b, field(b, 0, "release", NULL) ? minor : 0, 1);
    put(b, 0xffff, 2); /* embedded controller: none */
    end(b);
}

static void type1(Build *b)
{
    const MachineClass *k = machine_class(&b->pc->m);
    g_autofree char *version = machine_name(b);
    const char *given_uuid = field(b, 1, "uuid", NULL);
    uint8_t uuid[16] = {0};

    if (!begin(b, 1, 0x100)) {
        return;
    }
    if (given_uuid) {
        parse_uuid(given_uuid, uuid);
    } else if (b->pc->m.uuid_set) {
        memcpy(uuid, b->pc->m.uuid, 16);
    }
    put_text(b, field(b, 1, "manufacturer", "QEMU"));
    put_text(b, field(b, 1, "product", k->desc));
    put_text(b, field(b, 1, "version", version));
    put_text(b, field(b, 1, "serial", NULL));
    /* The first three parts are little-endian here. */
    put(b, ld_be32(uuid), 4);
    put(b, ld_be16(uuid + 4), 2);
    put(b, ld_be16(uuid + 6), 2);
    g_byte_array_append(b->out, uuid + 8, 8);
    put(b, 6, 1); /* woken by the power switch */
    put_text(b, field(b, 1, "sku", NULL));
    put_text(b, field(b, 1, "family", NULL));
    end(b);
}

static void type2(Build *b)
{
    if (!given(b, 2) || !begin(b, 2, 0x200)) {
        return;
    }
    put_text(b, field(b, 2, "manufacturer", "QEMU"));
    put_text(b, field(b, 2, "product", machine_class(&b->pc->m)->desc));
    put_text(b, field(b, 2, "version", NULL));
    put_text(b, field(b, 2, "serial", NULL));
    put_text(b, field(b, 2, "asset", NULL));
    put(b, 1, 1); /* hosting board */
    put_text(b, field(b, 2, "location", NULL));
    put(b, 0x300, 2);
    put(b, 0x0a, 1); /* motherboard */
    put(b, 0, 1);
    end(b);
}

static void type3(Build *b)
{
    g_autofree char *version = machine_name(b);

    if (!begin(b, 3, 0x300)) {
        return;
    }
    put_text(b, field(b, 3, "manufacturer", "QEMU"));
    put(b, 1, 1); /* other */
    put_text(b, field(b, 3, "version", version));
    put_text(b, field(b, 3, "serial", NULL));
    put_text(b, field(b, 3, "asset", NULL));
    put(b, 3, 1);
    put(b, 3, 1);
    put(b, 3, 1); /* boot-up, power, thermal: safe */
    put(b, 2, 1); /* security unknown */
    put(b, 0, 4);
    put(b, 0, 4); /* height, cords, contained elements */
    put_text(b, field(b, 3, "sku", NULL));
    end(b);
}

static void type4(Build *b, unsigned socket)
{
    const SmpTopology *t = &b->pc->m.smp;
    const Vcpu *v = b->pc->m.cpus->pdata[0];
    unsigned cores = t->dies * t->cores, threads = cores * t->threads;
    g_autofree char *name = g_strdup_printf("%s%2x", field(b, 4, "sock_pfx", "CPU"), socket);
    g_autofree char *version = machine_name(b);
    uint32_t id[4];

    if (!begin(b, 4, (uint16_t)(0x400 + socket))) {
        return;
    }
    cpu_cpuid(&v->cpu, 1, 0, id);
    put_text(b, name);
    put(b, 3, 1); /* central processor */
    put(b, 1, 1); /* family: other */
    put_text(b, field(b, 4, "manufacturer", "QEMU"));
    put(b, field_number(b, 4, "processor-id", id[0] | (uint64_t)id[3] << 32), 8);
    put_text(b, field(b, 4, "version", version));
    put(b, 0, 1);
    put(b, 0, 2);
    put(b, field_number(b, 4, "max-speed", 2000), 2);
    put(b, field_number(b, 4, "current-speed", 2000), 2);
    put(b, 0x41, 1); /* populated, enabled */
    put(b, 1, 1);
    put(b, 0xffff, 2);
    put(b, 0xffff, 2);
    put(b, 0xffff, 2); /* caches are not described */
    put_text(b, field(b, 4, "serial", NULL));
    put_text(b, field(b, 4, "asset", NULL));
    put_text(b, field(b, 4, "part", NULL));
    put(b, MIN(cores, 255), 1);
    put(b, MIN(cores, 255), 1);
    put(b, MIN(threads, 255), 1);
    put(b, 2, 2); /* characteristics unknown */
    put(b, 1, 2);
    put(b, cores, 2);
    put(b, cores, 2);
    put(b, threads, 2);
    end(b);
}

/* Free text: value= as often as wished, path= a file. */
static bool type11(Build *b, Error **errp)
{
    const Json *list = b->pc->m.smbios;
    guint count_at;
    unsigned n = 0;

    if (!given(b, 11) || !begin(b, 11, 0xe00)) {
        return true;
    }
    count_at = b->out->len;
    put(b, 0, 1);
    for (size_t i = 0; i < json_length(list); i++) {
        const Json *o = json_at(list, i);
        const char *value = option_type(o, 11) ? text(o, "value") : NULL;
        const char *path = option_type(o, 11) ? text(o, "path") : NULL;

        if (path) {
            size_t len;
            uint8_t *data = datafile_read(path, 32 * KiB, &len, errp);

            if (!data) {
                return false;
            }
            g_ptr_array_add(b->texts, g_strndup((char *)data, len));
            g_free(data);
            n++;
        }
        if (value && *value) {
            g_ptr_array_add(b->texts, g_strdup(value));
            n++;
        }
    }
    if (n > 255) {
        error_set(errp, "-smbios type=11 has %u strings; 255 fit", n);
        return false;
    }
    b->out->data[count_at] = (uint8_t)n;
    end(b);
    return true;
}

static void type16(Build *b, unsigned dimms)
{
    uint64_t kib = b->pc->m.ram_size / KiB;

    if (!begin(b, 16, 0x1000)) {
        return;
    }
    put(b, 1, 1);
    put(b, 3, 1); /* system memory */
    put(b, 6, 1); /* multi-bit ECC */
    put(b, kib < 0x80000000 ? kib : 0x80000000, 4);
    put(b, NO_HANDLE, 2);
    put(b, dimms, 2);
    put(b, kib < 0x80000000 ? 0 : b->pc->m.ram_size, 8);
    end(b);
}

static void type17(Build *b, unsigned n, uint64_t size)
{
    g_autofree char *name = g_strdup_printf("%s %u", field(b, 17, "loc_pfx", "DIMM"), n);
    uint64_t mib = size / MiB;

    if (!begin(b, 17, (uint16_t)(0x1100 + n))) {
        return;
    }
    put(b, 0x1000, 2);
    put(b, NO_HANDLE, 2);
    put(b, 0xffff, 2);
    put(b, 0xffff, 2);
    put(b, mib < 0x7fff ? mib : 0x7fff, 2);
    put(b, 9, 1); /* DIMM */
    put(b, 0, 1);
    put_text(b, name);
    put_text(b, field(b, 17, "bank", NULL));
    put(b, 7, 1); /* RAM */
    put(b, 2, 2);
    put(b, field_number(b, 17, "speed", 0), 2);
    put_text(b, field(b, 17, "manufacturer", "QEMU"));
    put_text(b, field(b, 17, "serial", NULL));
    put_text(b, field(b, 17, "asset", NULL));
    put_text(b, field(b, 17, "part", NULL));
    put(b, 0, 1);
    put(b, mib < 0x7fff ? 0 : mib, 4);
    put(b, field_number(b, 17, "speed", 0), 2);
    put(b, 0, 6); /* voltages */
    end(b);
}

static void type19(Build *b, unsigned n, uint64_t base, uint64_t size)
{
    uint64_t first = base / KiB, last = (base + size) / KiB - 1;
    bool big = last >= 0xffffffff;

    if (!begin(b, 19, (uint16_t)(0x1300 + n))) {
        return;
    }
    put(b, big ? 0xffffffff : first, 4);
    put(b, big ? 0xffffffff : last, 4);
    put(b, 0x1000, 2);
    put(b, 1, 1);
    put(b, big ? base : 0, 8);
    put(b, big ? base + size - 1 : 0, 8);
    end(b);
}

static void memory(Build *b)
{
    PcMachine *pc = b->pc;
    unsigned dimms = (unsigned)DIV_ROUND_UP(pc->m.ram_size, DIMM_SIZE);

    type16(b, dimms);
    for (unsigned i = 0; i < dimms; i++) {
        type17(b, i, MIN(DIMM_SIZE, pc->m.ram_size - i * DIMM_SIZE));
    }
    type19(b, 0, 0, pc->below_4g);
    if (pc->above_4g) {
        type19(b, 1, 4 * GiB, pc->above_4g);
    }
}

/* ---- structures from files ---- */
/* The length of the structure at p with its strings; 0 if it runs over. */
static size_t structure_length(const uint8_t *p, size_t left)
{
    size_t i;

    if (left < 6 || p[1] < 4 || p[1] > left) {
        return 0;
    }
    for (i = p[1]; i + 1 < left; i++) {
        if (p[i] == 0 && p[i + 1] == 0) {
            return i + 2;
        }
    }
    return 0;
}

static bool add_file(Build *b, const char *path, Error **errp)
{
    size_t len;
    g_autofree uint8_t *data = datafile_read(path, TABLE_MAX, &len, errp);

    if (!data) {
        return false;
    }
    for (size_t at = 0, n; at < len; at += n) {
        n = structure_length(data + at, len - at);
        if (n == 0) {
            error_set(errp, "-smbios file=%s: no SMBIOS structure at offset %zu", path, at);
            return false;
        }
        b->overridden[data[at] / 8 % 16] |= (uint8_t)BIT(data[at] % 8);
        b->max_size = MAX(b->max_size, (unsigned)n);
        b->count++;
        g_byte_array_append(b->out, data + at, (guint)n);
    }
    return true;
}

static bool options(Build *b, Error **errp)
{
    const Json *list = b->pc->m.smbios;

    for (size_t i = 0; list && i < json_length(list); i++) {
        const Json *o = json_at(list, i);

        if (!smbios_check_option(o, errp) ||
            (text(o, "file") && !add_file(b, text(o, "file"), errp))) {
            return false;
        }
    }
    return true;
}

/* ---- entry points (5.2.1, 5.2.2) ---- */
static uint8_t sum(const uint8_t *p, size_t len)
{
    uint8_t s = 0;

    while (len--) {
        s = (uint8_t)(s + *p++);
    }
    return (uint8_t)-s;
}

static GByteArray *anchor32(const Build *b)
{
    uint8_t a[31] = "_SM_";
    GByteArray *out = g_byte_array_new();

    a[5] = sizeof(a);
    a[6] = 2;
    a[7] = 8;
    st_le16(a + 8, (uint16_t)b->max_size);
    memcpy(a + 16, "_DMI_", 5);
    st_le16(a + 22, (uint16_t)b->out->len);
    st_le16(a + 28, (uint16_t)b->count);
    a[30] = 0x28;
    a[21] = sum(a + 16, 15);
    a[4] = sum(a, sizeof(a));
    g_byte_array_append(out, a, sizeof(a));
    return out;
}

static GByteArray *anchor64(const Build *b)
{
    uint8_t a[24] = "_SM3_";
    GByteArray *out = g_byte_array_new();

    a[6] = sizeof(a);
    a[7] = 3;
    a[10] = 1;
    st_le32(a + 12, b->out->len);
    a[5] = sum(a, sizeof(a));
    g_byte_array_append(out, a, sizeof(a));
    return out;
}

bool smbios_build(PcMachine *pc, GByteArray **tables, GByteArray **anchor, Error **errp)
{
    Build b = {
        .pc = pc, .out = g_byte_array_new(), .texts = g_ptr_array_new_with_free_func(g_free)};
    unsigned sockets = MAX(pc->m.smp.sockets, 1);
    bool ok = options(&b, errp);

    if (ok) {
        type0(&b);
        type1(&b);
        type2(&b);
        type3(&b);
        for (unsigned i = 0; i < sockets; i++) {
            type4(&b, i);
        }
        ok = type11(&b, errp);
    }
    if (ok) {
        memory(&b);
        if (begin(&b, 32, 0x2000)) {
            put(&b, 0, 7); /* no errors detected */
            end(&b);
        }
        if (begin(&b, 127, 0x7f00)) {
            end(&b);
        }
        if (b.out->len > TABLE_MAX) {
            error_set(errp, "the SMBIOS tables have %u bytes; %u fit", b.out->len, TABLE_MAX);
            ok = false;
        }
    }
    g_ptr_array_free(b.texts, TRUE);
    if (!ok) {
        g_byte_array_free(b.out, TRUE);
        return false;
    }
    *tables = b.out;
    *anchor = pc->smbios_entry_point == 2 ? anchor64(&b) : anchor32(&b);
    return true;
}

bool pc_smbios_init(PcMachine *pc, Error **errp)
{
    GByteArray *tables, *anchor;
    FwCfg *f = pc->m.fw_cfg;
    bool ok;

    if (!smbios_build(pc, &tables, &anchor, errp)) {
        return false;
    }
    ok = fw_cfg_add_file(f, "etc/smbios/smbios-tables", tables->data, tables->len, errp) &&
         fw_cfg_add_file(f, "etc/smbios/smbios-anchor", anchor->data, anchor->len, errp);
    g_byte_array_free(tables, TRUE);
    g_byte_array_free(anchor, TRUE);
    return ok;
}
