/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text to value and back: the spellings that QEMU's options accept. */
#include "util/bits.h"
#include "util/option.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool parse_bool(const char *s, bool *out)
{
    static const char *const yes[] = {"on", "yes", "true", "y"};
    static const char *const no[] = {"off", "no", "false", "n"};
    for (unsigned i = 0; i < ARRAY_LEN(yes); i++) {
        if (!strcmp(s, yes[i]) || !strcmp(s, no[i])) {
            *out = !strcmp(s, yes[i]);
            return true;
        }
    }
    return false;
}

bool parse_uint(const char *s, uint64_t *out)
{
    char *end;
    if (!g_ascii_isdigit(*s)) {
        return false;
    }
    errno = 0;
    uint64_t v = g_ascii_strtoull(s, &end, 0);
    if (errno || *end) {
        return false;
    }
    *out = v;
    return true;
}

bool parse_int(const char *s, int64_t *out)
{
    char *end;
    if (!g_ascii_isdigit(*s) && !((*s == '-' || *s == '+') && g_ascii_isdigit(s[1]))) {
        return false;
    }
    errno = 0;
    int64_t v = g_ascii_strtoll(s, &end, 0);
    if (errno || *end) {
        return false;
    }
    *out = v;
    return true;
}

/* log2 of the unit, or -1. */
static int suffix_shift(char c)
{
    static const char units[] = "BKMGTPE";
    const char *at = c ? strchr(units, g_ascii_toupper(c)) : NULL;
    return at ? (int)(at - units) * 10 : -1;
}

bool parse_size(const char *s, char suffix, uint64_t *out)
{
    char *end;
    errno = 0;
    if (!g_ascii_isdigit(*s)) {
        return false;
    }
    bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
    uint64_t whole = g_ascii_strtoull(s, &end, hex ? 16 : 10);
    double fraction = 0;
    if (errno) {
        return false;
    }
    if (*end == '.' && !hex) {
        const char *dot = end;
        fraction = g_ascii_strtod(dot, &end);
        if (end == dot + 1 || strspn(dot + 1, "0123456789") != (size_t)(end - dot - 1)) {
            return false;
        }
    }
    int shift = suffix_shift(suffix ? suffix : 'B');
    if (*end) {
        shift = suffix_shift(*end);
        if (shift < 0 || end[1]) {
            return false;
        }
    }
    if (shift && whole > UINT64_MAX >> shift) {
        return false;
    }
    *out = (whole << shift) + (uint64_t)(fraction * (double)(1ull << shift));
    return fraction == 0 || shift > 0;
}

bool parse_mac(const char *s, uint8_t mac[6])
{
    uint8_t v[6];
    for (int i = 0; i < 6; i++) {
        int hi = g_ascii_xdigit_value(s[0]);
        int lo = hi < 0 ? -1 : g_ascii_xdigit_value(s[1]);
        if (lo < 0) {
            return false;
        }
        v[i] = (uint8_t)(hi * 16 + lo);
        s += 2;
        if (i < 5 && *s != ':' && *s != '-') {
            return false;
        }
        s += i < 5;
    }
    if (*s) {
        return false;
    }
    memcpy(mac, v, 6);
    return true;
}

bool parse_uuid(const char *s, uint8_t uuid[16])
{
    uint8_t v[16];
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (*s++ != '-') {
                return false;
            }
        }
        int hi = g_ascii_xdigit_value(s[0]);
        int lo = hi < 0 ? -1 : g_ascii_xdigit_value(s[1]);
        if (lo < 0) {
            return false;
        }
        v[i] = (uint8_t)(hi * 16 + lo);
        s += 2;
    }
    if (*s) {
        return false;
    }
    memcpy(uuid, v, 16);
    return true;
}

bool parse_id(const char *id)
{
    if (!g_ascii_isalpha(*id)) {
        return false;
    }
    for (; *id; id++) {
        if (!g_ascii_isalnum(*id) && !strchr("-._", *id)) {
            return false;
        }
    }
    return true;
}

char *format_size(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned u = 0;
    double v = (double)bytes;
    while (v >= 1024 && u + 1 < ARRAY_LEN(units)) {
        v /= 1024;
        u++;
    }
    return g_strdup_printf("%.3g %s", v, units[u]);
}
