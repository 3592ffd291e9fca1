/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rhea-img info, check, map, snapshot. */
#include "tools/img.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static const char *const outputs[] = {"human", "json", NULL};

/* ---- snapshots ---- */

static char *clock_text(uint64_t ns)
{
    uint64_t ms = ns / 1000000;
    return g_strdup_printf("%02" PRIu64 ":%02d:%02d.%03d", ms / 3600000, (int)(ms / 60000 % 60),
                           (int)(ms / 1000 % 60), (int)(ms % 1000));
}

void img_print_snapshots(GPtrArray *list)
{
    printf("Snapshot list:\n%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE",
           "VM CLOCK", "ICOUNT");
    for (guint i = 0; i < list->len; i++) {
        const BlockSnapshot *s = list->pdata[i];
        time_t when = s->date_sec;
        struct tm tm;
        char date[64] = "", icount[32] = "";
        if (localtime_r(&when, &tm)) {
            strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
        }
        if (s->icount != UINT64_MAX) {
            snprintf(icount, sizeof(icount), "%" PRIu64, s->icount);
        }
        g_autofree char *size = tool_human_size(s->vm_state_size),
                        *clock = clock_text(s->vm_clock_ns);
        printf("%-9s %-16s %8s%20s%13s%11s\n", s->id, s->name, size, date, clock, icount);
    }
}

/* ---- info ---- */

static const ToolOption info_options[] = {
    IMG_OPT_HELP,
    IMG_OPT_FORMAT,
    IMG_OPT_IMAGE_OPTS,
    {"backing-chain", 0, 0, NULL, "and of all backing images"},
    {"cache", 't', 0, "CACHE", "cache mode (default: writeback)"},
    IMG_OPT_FORCE_SHARE,
    {"limits", 0, 0, NULL, "print block limits as well"},
    {"output", 0, 0, "human|json", "how to print it"},
    IMG_OPT_OBJECT,
    {NULL},
};

static Json *limits_info(const BlockNode *n)
{
    Json *l = json_object();
    json_put_int(l, "request-alignment", MAX(n->limits.request_align, 1));
    json_put_int(l, "min-mem-alignment", MAX(n->limits.mem_align, 1));
    if (n->limits.max_transfer) {
        json_put_int(l, "max-transfer", (int64_t)n->limits.max_transfer);
    }
    if (n->limits.max_iov) {
        json_put_int(l, "max-iov", n->limits.max_iov);
    }
    if (n->limits.opt_io) {
        json_put_int(l, "opt-transfer", n->limits.opt_io);
    }
    return l;
}

/* One image of the chain; *next: the backing image's name and format, or NULL. */
static Json *one_info(Tool *t, const ToolOpen *o, const char *name, bool limits, char **next,
                      char **next_format, Error **errp)
{
    BlockNode *n = tool_open(t, name, o, errp);
    *next = *next_format = NULL;
    if (!n) {
        return NULL;
    }
    Json *info = image_info(n);
    const char *backing = json_get_str(info, "backing-filename");
    if (!o->image_opts) {
        json_put_string(info, "filename", name);
    }
    if (backing) {
        *next = filename_combine(node_filename(n), backing);
        *next_format = g_strdup(json_get_str(info, "backing-filename-format"));
        json_put_string(info, "full-backing-filename", *next);
    }
    if (!json_get(info, "dirty-flag")) {
        json_put_bool(info, "dirty-flag", false);
    }
    if (limits) {
        json_put(info, "limits", limits_info(n));
    }
    tool_close(t, n);
    return info;
}

static void print_value(const char *key, const Json *v, int indent);

static void print_members(const Json *o, int indent)
{
    for (size_t i = 0; i < json_length(o); i++) {
        print_value(json_key_at(o, i), json_value_at(o, i), indent);
    }
}

/* QEMU's way: dashes become spaces, parts are indented. */
static void print_value(const char *key, const Json *v, int indent)
{
    g_autofree char *name = g_strdelimit(g_strdup(key), "-", ' ');
    printf("%*s%s:", indent, "", name);
    if (json_type(v) == JSON_OBJECT) {
        printf("\n");
        print_members(v, indent + 4);
    } else if (json_type(v) == JSON_ARRAY) {
        printf("\n");
        for (size_t i = 0; i < json_length(v); i++) {
            g_autofree char *index = g_strdup_printf("[%zu]", i);
            print_value(index, json_at(v, i), indent + 4);
        }
    } else {
        g_autofree char *text = json_print(v, false);
        printf(" %s\n", json_get_string(v) ? json_get_string(v) : text);
    }
}

static uint64_t number(const Json *o, const char *key)
{
    uint64_t v = 0;
    json_get_uint(json_get(o, key), &v);
    return v;
}

static void print_backing(const Json *i)
{
    const char *backing = json_get_str(i, "backing-filename");
    const char *full = json_get_str(i, "full-backing-filename");
    if (backing) {
        printf("backing file: %s", backing);
        if (full && strcmp(full, backing)) {
            printf(" (actual path: %s)", full);
        }
        printf("\n");
        if (json_get(i, "backing-filename-format")) {
            printf("backing file format: %s\n", json_get_str(i, "backing-filename-format"));
        }
    }
}

static void print_snapshots(const Json *snapshots)
{
    g_autoptr(GPtrArray) list = block_snapshot_array();
    for (size_t k = 0; k < json_length(snapshots); k++) {
        const Json *j = json_at(snapshots, k);
        BlockSnapshot *s = g_new0(BlockSnapshot, 1);
        s->id = g_strdup(json_get_str(j, "id"));
        s->name = g_strdup(json_get_str(j, "name"));
        s->vm_state_size = number(j, "vm-state-size");
        s->date_sec = (uint32_t)number(j, "date-sec");
        s->vm_clock_ns = number(j, "vm-clock-sec") * 1000000000u + number(j, "vm-clock-nsec");
        s->icount = json_get(j, "icount") ? number(j, "icount") : UINT64_MAX;
        g_ptr_array_add(list, s);
    }
    img_print_snapshots(list);
}

static void print_info(Tool *t, const Json *i)
{
    uint64_t size = number(i, "virtual-size");
    bool flag = false;
    g_autofree char *text = tool_human_size(size);
    printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRIu64 " bytes)\n",
           json_get_str(i, "filename"), json_get_str(i, "format"), text, size);
    if (json_get(i, "actual-size")) {
        g_autofree char *used = tool_human_size(number(i, "actual-size"));
        printf("disk size: %s\n", used);
    } else {
        printf("disk size: unavailable\n");
    }
    if (json_get_bool(json_get(i, "encrypted"), &flag) && flag) {
        printf("encrypted: yes\n");
    }
    if (json_get(i, "cluster-size")) {
        printf("cluster_size: %" PRIu64 "\n", number(i, "cluster-size"));
    }
    if (json_get_bool(json_get(i, "dirty-flag"), &flag) && flag) {
        printf("cleanly shut down: no\n");
    }
    print_backing(i);
    if (json_get(i, "snapshots")) {
        print_snapshots(json_get(i, "snapshots"));
    }
    const Json *specific = json_get(i, "format-specific");
    if (specific && json_length(json_get(specific, "data"))) {
        printf("Format specific information:\n");
        print_members(json_get(specific, "data"), 4);
    }
    if (json_get(i, "limits")) {
        printf("Block limits:\n");
        print_members(json_get(i, "limits"), 4);
    }
}

static int run_info(Tool *t, ToolArgs *a)
{
    Error *err = NULL;
    int output = tool_enum(a, "output", outputs, 0);
    bool chain = tool_has(a, "backing-chain");
    if (!tool_args_finish(a, 1, 1, "the image's file name", &err)) {
        return img_fail(err);
    }
    g_autoptr(Json) all = json_array();
    g_autofree char *name = g_strdup(tool_word(a, 0)), *format = g_strdup(tool_get(a, "format"));
    ToolOpen o = {.no_backing = true,
                  .no_io = true,
                  .check = true,
                  .image_opts = tool_has(a, "image-opts"),
                  .cache = tool_get(a, "cache"),
                  .force_share = tool_has(a, "force-share")};
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    do {
        char *next, *next_format;
        if (!g_hash_table_add(seen, g_strdup(name))) {
            error_set(&err, "the chain of backing files is a loop: '%s' comes twice", name);
            return img_fail(err);
        }
        o.format = format;
        Json *i = one_info(t, &o, name, tool_has(a, "limits"), &next, &next_format, &err);
        if (!i) {
            return img_fail(err);
        }
        json_append(all, i);
        g_free(name);
        g_free(format);
        name = next;
        format = next_format;
        o.image_opts = false;
    } while (chain && name);
    if (output == 1) {
        img_print_json(chain ? all : json_at(all, 0));
    }
    for (size_t k = 0; output == 0 && k < json_length(all); k++) {
        printf("%s", k ? "\n" : "");
        print_info(t, json_at(all, k));
    }
    return 0;
}

const ImgCommand img_info = {"info", "FILE", "tell about an image", info_options, run_info};

/* ---- check ---- */

static const ToolOption check_options[] = {
    IMG_OPT_HELP,
    IMG_OPT_FORMAT,
    IMG_OPT_IMAGE_OPTS,
    {"cache", 'T', 0, "CACHE", "cache mode (default: writeback)"},
    {"repair", 'r', 0, "leaks|all", "repair what is found"},
    IMG_OPT_FORCE_SHARE,
    {"output", 0, 0, "human|json", "how to print it"},
    IMG_OPT_PROGRESS,
    IMG_OPT_QUIET,
    IMG_OPT_OBJECT,
    {NULL},
};

typedef struct CheckView {
    ToolProgress progress;
    bool messages;
} CheckView;

static bool check_progress(void *opaque, uint64_t done, uint64_t total)
{
    return tool_progress(&((CheckView *)opaque)->progress, done, total);
}

static void check_message(void *opaque, const char *text)
{
    if (((CheckView *)opaque)->messages) {
        fprintf(stderr, "%s\n", text);
    }
}

static void put_nonzero(Json *j, const char *key, uint64_t v)
{
    if (v) {
        json_put(j, key, json_uint(v));
    }
}

static void print_check_json(const char *name, const char *format, const BlockCheck *c)
{
    g_autoptr(Json) j = json_object();
    put_nonzero(j, "image-end-offset", c->image_end);
    put_nonzero(j, "total-clusters", c->total);
    json_put(j, "check-errors", json_uint(c->check_errors));
    put_nonzero(j, "corruptions", c->corruptions);
    put_nonzero(j, "leaks", c->leaks);
    put_nonzero(j, "corruptions-fixed", c->corruptions_fixed);
    put_nonzero(j, "leaks-fixed", c->leaks_fixed);
    put_nonzero(j, "allocated-clusters", c->allocated);
    put_nonzero(j, "fragmented-clusters", c->fragmented);
    put_nonzero(j, "compressed-clusters", c->compressed);
    json_put_string(j, "filename", name);
    json_put_string(j, "format", format);
    img_print_json(j);
}

static void print_check(const BlockCheck *c)
{
    if (!c->corruptions && !c->leaks && !c->check_errors) {
        printf("No errors were found on the image.\n");
    }
    if (c->corruptions) {
        printf("\n%" PRIu64 " errors were found on the image.\nData may be corrupted, or further "
               "writes to the image may corrupt it.\n",
               c->corruptions);
    }
    if (c->leaks) {
        printf("\n%" PRIu64 " leaked clusters were found on the image.\nThis means waste of disk "
               "space, but no harm to data.\n",
               c->leaks);
    }
    if (c->check_errors) {
        printf("\n%" PRIu64 " internal errors have occurred during the check.\n", c->check_errors);
    }
    if (c->total && c->allocated) {
        double all = (double)c->allocated;
        printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% "
               "compressed clusters\n",
               c->allocated, c->total, all * 100.0 / (double)c->total,
               (double)c->fragmented * 100.0 / all, (double)c->compressed * 100.0 / all);
    }
    if (c->image_end) {
        printf("Image end offset: %" PRIu64 "\n", c->image_end);
    }
}

static int check_image(BlockNode *n, ToolArgs *a, unsigned fix, bool json, BlockCheck *c,
                       Error **errp)
{
    CheckView view = {.messages = !img_quiet(a) && !json};
    BlockProgress p = {check_progress, check_message, &view};
    tool_progress_start(&view.progress, tool_has(a, "progress") && !img_quiet(a) && !json);
    int ret = image_check(n, fix, &p, c, errp);
    tool_progress_end(&view.progress);
    if (ret < 0 || !(c->leaks_fixed || c->corruptions_fixed)) {
        return ret;
    }
    BlockCheck again;
    if (!img_quiet(a) && !json) {
        printf("The following inconsistencies were found and repaired:\n\n    %" PRIu64
               " leaked clusters\n    %" PRIu64 " corruptions\n\nDouble checking the fixed image "
               "now...\n",
               c->leaks_fixed, c->corruptions_fixed);
    }
    ret = image_check(n, 0, &p, &again, errp);
    again.leaks_fixed = c->leaks_fixed;
    again.corruptions_fixed = c->corruptions_fixed;
    *c = again;
    return ret;
}

static int run_check(Tool *t, ToolArgs *a)
{
    static const char *const repairs[] = {"leaks", "all", NULL};
    Error *err = NULL;
    BlockCheck c;
    int output = tool_enum(a, "output", outputs, 0);
    int repair = tool_enum(a, "repair", repairs, -1);
    if (!tool_args_finish(a, 1, 1, "the image's file name", &err)) {
        return img_fail(err);
    }
    unsigned fix = repair < 0 ? 0 : repair ? BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS : BLOCK_FIX_LEAKS;
    ToolOpen o = {.write = fix != 0, .check = true, .no_backing = true, .no_io = true};
    BlockNode *n = img_open_word(t, a, 0, &o, &err);
    if (!n) {
        return img_fail(err);
    }
    if (!n->drv->check) {
        report_error("This image format does not support checks");
        tool_close(t, n);
        return 63;
    }
    tool_catch_signals();
    int ret = check_image(n, a, fix, output == 1, &c, &err);
    if (ret == 0 && output == 1) {
        print_check_json(tool_word(a, 0), n->drv->name, &c);
    } else if (ret == 0 && !img_quiet(a)) {
        print_check(&c);
    }
    bool closed = tool_close_checked(t, n, ret == 0 ? &err : NULL);
    if (ret < 0 || !closed) {
        return img_fail(err);
    }
    return c.check_errors ? 1 : c.corruptions ? 2 : c.leaks ? 3 : 0;
}

const ImgCommand img_check = {"check", "FILE", "look for errors, and repair them", check_options,
                              run_check};

/* ---- map ---- */

static const ToolOption map_options[] = {
    IMG_OPT_HELP,
    IMG_OPT_FORMAT,
    IMG_OPT_IMAGE_OPTS,
    {"start-offset", 's', 0, "OFFSET", "begin here"},
    {"max-length", 'l', 0, "LENGTH", "at most so many bytes"},
    {"output", 0, 0, "human|json", "how to print it"},
    IMG_OPT_FORCE_SHARE,
    IMG_OPT_OBJECT,
    {NULL},
};

typedef struct MapEntry {
    uint64_t start, length, offset;
    unsigned depth, flags;
    BlockNode *file;
} MapEntry;

static bool same_kind(const MapEntry *a, const MapEntry *b)
{
    return a->flags == b->flags && a->depth == b->depth && a->file == b->file &&
           (!(a->flags & BLOCK_MAP_OFFSET) || a->offset + a->length == b->offset);
}

static const char *yes_no(bool v)
{
    return v ? "true" : "false";
}

static bool print_entry(const MapEntry *e, bool json, bool first, Error **errp)
{
    bool data = e->flags & BLOCK_MAP_DATA, zero = e->flags & BLOCK_MAP_ZERO;
    bool offset = e->flags & BLOCK_MAP_OFFSET;
    if (json) {
        printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
               ", \"depth\": %u, \"present\": %s, "
               "\"zero\": %s, \"data\": %s, \"compressed\": %s",
               first ? "[" : ",\n", e->start, e->length, e->depth,
               yes_no(e->flags & BLOCK_MAP_ALLOCATED), yes_no(zero), yes_no(data),
               yes_no(e->flags & BLOCK_MAP_COMPRESSED));
        if (offset) {
            printf(", \"offset\": %" PRIu64, e->offset);
        }
        printf("}");
        return true;
    }
    if (!data || zero) {
        return true;
    }
    if (!offset) {
        error_set(errp, "File contains external, encrypted or compressed clusters.");
        error_hint(errp, "--output=json can show them");
        return false;
    }
    printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", e->start, e->length, e->offset,
           node_filename(e->file));
    return true;
}

static bool print_map(BlockNode *n, uint64_t from, uint64_t end, bool json, Error **errp)
{
    MapEntry run = {0};
    bool any = false, printed = false, ok = true;
    for (uint64_t off = from; ok && off < end;) {
        BlockMap m;
        unsigned depth;
        int ret = node_map_chain(n, NULL, off, MIN(end - off, 1ull << 40), &m, &depth);
        if (ret < 0) {
            error_set_errno(errp, -ret, "cannot read the map at offset %" PRIu64, off);
            return false;
        }
        MapEntry e = {off, m.len, m.host, depth, m.flags & ~BLOCK_MAP_RECURSE, NULL};
        e.file = m.flags & BLOCK_MAP_OFFSET ? m.file : NULL;
        if (any && same_kind(&run, &e)) {
            run.length += e.length;
        } else {
            ok = !any || print_entry(&run, json, !printed, errp);
            printed |= any;
            run = e;
            any = true;
        }
        off += m.len;
        if (tool_interrupted()) {
            return false;
        }
    }
    if (ok && any) {
        ok = print_entry(&run, json, !printed, errp);
    } else if (json && !any) {
        printf("[");
    }
    printf("%s", json ? "]\n" : "");
    return ok;
}

static int run_map(Tool *t, ToolArgs *a)
{
    Error *err = NULL;
    int output = tool_enum(a, "output", outputs, 0);
    uint64_t start = tool_size(a, "start-offset", 0);
    uint64_t max = tool_size(a, "max-length", INT64_MAX);
    if (!tool_args_finish(a, 1, 1, "the image's file name", &err)) {
        return img_fail(err);
    }
    ToolOpen o = {0};
    BlockNode *n = img_open_word(t, a, 0, &o, &err);
    if (!n) {
        return img_fail(err);
    }
    tool_catch_signals();
    if (output == 0) {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    }
    start = MIN(start, n->length);
    bool ok = print_map(n, start, start + MIN(max, n->length - start), output == 1, &err);
    fflush(stdout);
    tool_close(t, n);
    return ok ? 0 : img_fail(err);
}

const ImgCommand img_map = {"map", "FILE", "tell where the data of an image lie", map_options,
                            run_map};

/* ---- snapshot ---- */

static const ToolOption snapshot_options[] = {
    IMG_OPT_HELP,
    IMG_OPT_FORMAT,
    IMG_OPT_IMAGE_OPTS,
    {"list", 'l', 0, NULL, "list the snapshots (default)"},
    {"create", 'c', 0, "SNAPSHOT", "make one"},
    {"apply", 'a', 0, "SNAPSHOT", "go back to one"},
    {"delete", 'd', 0, "SNAPSHOT", "delete one"},
    IMG_OPT_FORCE_SHARE,
    IMG_OPT_QUIET,
    IMG_OPT_OBJECT,
    {NULL},
};

static int take_snapshot(BlockNode *n, const char *name, Error **errp)
{
    gint64 now = g_get_real_time();
    BlockSnapshot s = {.name = (char *)name,
                       .date_sec = (uint32_t)(now / G_USEC_PER_SEC),
                       .date_nsec = (uint32_t)(now % G_USEC_PER_SEC) * 1000,
                       .icount = UINT64_MAX};
    return image_snapshot_create(n, &s, errp);
}

static int run_snapshot(Tool *t, ToolArgs *a)
{
    static const char *const verbs[] = {"list", "create", "apply", "delete"};
    Error *err = NULL;
    const char *verb = NULL, *which = NULL;
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (tool_has(a, verbs[i])) {
            if (verb) {
                tool_mistake(a, "'--%s' and '--%s' exclude each other", verb, verbs[i]);
            }
            verb = verbs[i];
            which = tool_get(a, verb);
        }
    }
    if (!tool_args_finish(a, 1, 1, "the image's file name", &err)) {
        return img_fail(err);
    }
    ToolOpen o = {.write = which != NULL, .no_io = !which, .no_backing = true, .discard = true};
    BlockNode *n = img_open_word(t, a, 0, &o, &err);
    int ret = n ? 0 : -EINVAL;
    if (n && !which) {
        g_autoptr(GPtrArray) list = image_snapshot_list(n);
        if (list->len) {
            img_print_snapshots(list);
        }
    } else if (n) {
        ret = *verb == 'c'   ? take_snapshot(n, which, &err)
              : *verb == 'a' ? image_snapshot_apply(n, which, &err)
                             : image_snapshot_delete(n, which, &err);
    }
    bool closed = tool_close_checked(t, n, ret == 0 ? &err : NULL);
    return ret == 0 && closed ? 0 : img_fail(err);
}

const ImgCommand img_snapshot = {"snapshot", "FILE", "list, make, apply and delete snapshots",
                                 snapshot_options, run_snapshot};
