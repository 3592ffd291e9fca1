/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/acpi/user.h"

#include "hw/core/datafile.h"
#include "util/bits.h"
#include "util/option.h"

#include <string.h>

#define HEADER 36u
#define TABLE_MAX (4 * MiB)

/* Where the header's fields are that an option can set. */
static const struct {
    const char *key;
    uint8_t at, len;
    bool number;
} fields[] = {
    {"sig", 0, 4, false},
    {"rev", 8, 1, true},
    {"oem_id", 10, 6, false},
    {"oem_table_id", 16, 8, false},
    {"oem_rev", 24, 4, true},
    {"asl_compiler_id", 28, 4, false},
    {"asl_compiler_rev", 32, 4, true},
};

static bool check_keys(const Json *o, Error **errp)
{
    const char *names[ARRAY_LEN(fields) + 3] = {"file", "data"};

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        names[i + 2] = fields[i].key;
    }
    for (size_t i = 0; i < json_length(o); i++) {
        const char *key = json_key_at(o, i), *near = nearest_word(key, names);

        if (!g_strv_contains(names, key)) {
            error_set(errp, "-acpitable has no field '%s'", key);
            if (near) {
                error_hint(errp, "did you mean '%s'?", near);
            }
            return false;
        }
    }
    if (!json_get_str(o, "file") == !json_get_str(o, "data")) {
        error_set(errp, "-acpitable needs either file= or data=");
        return false;
    }
    return true;
}

static bool set_field(GByteArray *t, size_t i, const char *value, Error **errp)
{
    uint64_t v;

    if (!fields[i].number) {
        if (strlen(value) > fields[i].len) {
            error_set(errp, "-acpitable: %s=%s has more than %u characters", fields[i].key, value,
                      fields[i].len);
            return false;
        }
        memset(t->data + fields[i].at, i ? ' ' : 0, fields[i].len);
        memcpy(t->data + fields[i].at, value, strlen(value));
        return true;
    }
    if (!parse_uint(value, &v) || (fields[i].len < 8 && v >> (8 * fields[i].len))) {
        error_set(errp, "-acpitable: %s=%s is not a number of %u bytes", fields[i].key, value,
                  fields[i].len);
        return false;
    }
    st_le(t->data + fields[i].at, fields[i].len, v);
    return true;
}

static bool read_files(GByteArray *t, const char *list, Error **errp)
{
    g_auto(GStrv) paths = g_strsplit(list, ":", -1);

    for (char **p = paths; *p; p++) {
        size_t len;
        uint8_t *data = datafile_read(*p, TABLE_MAX, &len, errp);

        if (!data) {
            error_prefix(errp, "-acpitable: ");
            return false;
        }
        g_byte_array_append(t, data, (guint)len);
        g_free(data);
        if (t->len > TABLE_MAX) {
            error_set(errp, "-acpitable: '%s' makes a table larger than 4 MiB", list);
            return false;
        }
    }
    return true;
}

static bool fill(GByteArray *t, const Json *o, Error **errp)
{
    const char *file = json_get_str(o, "file");
    uint8_t sum = 0;

    if (!file) {
        g_byte_array_set_size(t, HEADER);
        memset(t->data, 0, HEADER);
        memcpy(t->data, "QEMU", 4);
        t->data[8] = 1;
        memcpy(t->data + 10, "BOCHS BXPC    ", 14);
        st_le32(t->data + 24, 1);
        memcpy(t->data + 28, "BXPC", 4);
        st_le32(t->data + 32, 1);
    }
    if (!read_files(t, file ? file : json_get_str(o, "data"), errp)) {
        return false;
    }
    if (t->len < HEADER) {
        error_set(errp, "-acpitable: '%s' has %u bytes; a table has at least %u", file, t->len,
                  HEADER);
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const char *value = json_get_str(o, fields[i].key);

        if (value && !set_field(t, i, value, errp)) {
            return false;
        }
    }
    st_le32(t->data + 4, t->len);
    t->data[9] = 0;
    for (guint i = 0; i < t->len; i++) {
        sum = (uint8_t)(sum + t->data[i]);
    }
    t->data[9] = (uint8_t)-sum;
    return true;
}

GByteArray *acpi_user_table(const Json *o, Error **errp)
{
    GByteArray *t;

    if (!check_keys(o, errp)) {
        return NULL;
    }
    t = g_byte_array_new();
    if (!fill(t, o, errp)) {
        g_byte_array_free(t, TRUE);
        return NULL;
    }
    return t;
}
