/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File names of images as users and backing-file fields write them. */
#include "block/node.h"

#include <sys/stat.h>

/* Length of a leading "protocol:", or 0: "a:b" is one, "./a:b" and "/a:b" are not. */
static size_t protocol_length(const char *name)
{
    size_t i = 0;
    while (g_ascii_isalnum(name[i]) || (i && strchr("+-.", name[i]) && name[i])) {
        i++;
    }
    return i && name[i] == ':' ? i : 0;
}

static bool is_device(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode));
}

static Json *file_options(const char *path)
{
    Json *o = json_object();
    json_put_string(o, "driver", is_device(path) ? "host_device" : "file");
    json_put_string(o, "filename", path);
    return o;
}

Json *filename_to_options(const char *filename, Error **errp)
{
    struct stat st;
    if (g_str_has_prefix(filename, "json:")) {
        Json *o = json_parse(filename + 5, errp);
        if (o && json_type(o) != JSON_OBJECT) {
            error_set(errp, "'json:' must be followed by an object: '%s'", filename);
            json_unref(o);
            o = NULL;
        }
        return o;
    }
    size_t plen = protocol_length(filename);
    if (plen == 4 && !strncmp(filename, "file", 4)) {
        const char *path = filename + 5;
        return file_options(g_str_has_prefix(path, "///") ? path + 2 : path);
    }
    if (plen == 11 && !strncmp(filename, "host_device", 11)) {
        return file_options(filename + 12);
    }
    if (g_str_has_prefix(filename, "null-co://")) {
        Json *o = json_object();
        json_put_string(o, "driver", "null-co");
        return o;
    }
    if (plen && stat(filename, &st) < 0) {
        error_set(errp, "cannot open '%s': the protocol '%.*s' is not supported", filename,
                  (int)plen, filename);
        error_hint(errp, "for a file of that name write './%s'", filename);
        return NULL;
    }
    if (!*filename) {
        error_set(errp, "the file name of a disk image is empty");
        return NULL;
    }
    return file_options(filename);
}

char *filename_combine(const char *base, const char *name)
{
    if (!base || name[0] == '/' || protocol_length(name)) {
        return g_strdup(name);
    }
    const char *slash = strrchr(base, '/');
    if (!slash) {
        return g_strdup(name);
    }
    return g_strdup_printf("%.*s/%s", (int)(slash - base), base, name);
}
