/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of rhea-io. */
#include "tools/io.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- requests ---- */

typedef enum IoOp { IO_READ, IO_WRITE, IO_ZERO, IO_DISCARD, IO_FLUSH } IoOp;

typedef struct IoRequest {
    IoSession *s;
    IoOp op;
    uint64_t off, len;
    unsigned flags;
    void *buf;
    IoVec v;
    bool vmstate;
    /* options */
    bool quiet, verify, dump, one_line;
    int pattern;
    uint64_t verify_at, verify_len;
    bool async, done;
    int result;
    gint64 start;
} IoRequest;

static void request_free(IoRequest *r)
{
    iovec_free(&r->v);
    free(r->buf);
    g_free(r);
}

/* "6.938 MiB", "32 bytes". */
static char *io_size(uint64_t v)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double d = (double)v;
    unsigned u = 0;
    while (d >= 1024 && u + 1 < G_N_ELEMENTS(units)) {
        d /= 1024;
        u++;
    }
    g_autofree char *digits = g_strdup_printf("%.3f", d);
    size_t n = strlen(digits);
    while (digits[n - 1] == '0') {
        digits[--n] = 0;
    }
    if (digits[n - 1] == '.') {
        digits[n - 1] = 0;
    }
    return g_strdup_printf("%s %s", digits, units[u]);
}

static char *seconds_text(double s)
{
    return g_strdup_printf("%02d.%02d", (int)s, (int)((s - (int)s) * 100));
}

/* QEMU's two lines. */
static void print_result(const IoRequest *r, const char *verb)
{
    double took = (double)(g_get_monotonic_time() - r->start) / 1e6;
    if (r->quiet) {
        return;
    }
    g_autofree char *total = io_size(r->len), *time = seconds_text(took);
    g_autofree char *rate = io_size((uint64_t)((double)r->len / MAX(took, 1e-6)));
    printf("%s %" PRIu64 "/%" PRIu64 " bytes at offset %" PRIu64 "\n", verb, r->len, r->len,
           r->off);
    printf("%s, 1 ops; %s sec (%s/sec and %.4f ops/sec)\n", total, time, rate, 1 / MAX(took, 1e-6));
}

static void dump(const uint8_t *buf, uint64_t off, uint64_t len)
{
    for (uint64_t i = 0; i < len; i += 16) {
        uint64_t n = MIN(16, len - i);
        printf("%08" PRIx64 ":  ", off + i);
        for (uint64_t k = 0; k < n; k++) {
            printf("%02x ", buf[i + k]);
        }
        printf(" ");
        for (uint64_t k = 0; k < n; k++) {
            putchar(isalnum(buf[i + k]) ? buf[i + k] : '.');
        }
        putchar('\n');
    }
}

static bool verify(const IoRequest *r)
{
    const uint8_t *p = r->buf;
    for (uint64_t i = 0; i < r->verify_len; i++) {
        if (p[r->verify_at + i] != (uint8_t)r->pattern) {
            printf("Pattern verification failed at offset %" PRIu64 ", %" PRIu64 " bytes\n",
                   r->off + r->verify_at, r->verify_len);
            return false;
        }
    }
    return true;
}

static bool finish_request(IoRequest *r)
{
    static const char *const verbs[] = {"read", "wrote", "wrote", "discard", "flush"};
    bool ok = r->result >= 0;
    if (!ok) {
        printf("%s%s failed: %s\n", r->async ? "aio_" : "",
               r->op == IO_READ      ? "read"
               : r->op == IO_DISCARD ? "discard"
                                     : "write",
               g_strerror(-r->result));
    } else if (r->op == IO_READ && r->verify && !verify(r)) {
        ok = false;
    }
    if (ok && r->op == IO_READ && r->dump) {
        dump(r->buf, r->off, r->len);
    }
    if (r->result >= 0 && r->op != IO_FLUSH) {
        print_result(r, verbs[r->op]);
    }
    fflush(stdout);
    return ok;
}

static int do_request(IoRequest *r)
{
    BlockNode *n = r->s->n;
    unsigned flags = r->flags | (r->s->writethrough ? BLK_FUA : 0);
    switch (r->op) {
    case IO_READ:
        return r->vmstate ? image_vmstate_preadv(n, r->off, &r->v) : node_preadv(n, r->off, &r->v);
    case IO_WRITE:
        return r->vmstate ? image_vmstate_pwritev(n, r->off, &r->v)
                          : node_pwritev(n, r->off, &r->v, flags);
    case IO_ZERO:
        return node_zero(n, r->off, r->len, flags);
    case IO_DISCARD:
        return node_discard(n, r->off, r->len);
    case IO_FLUSH:
        return node_flush(n);
    }
    return -EINVAL;
}

static void request_fiber(void *opaque)
{
    IoRequest *r = opaque;
    r->result = do_request(r);
    r->done = true;
    if (r->async) {
        r->s->in_flight--;
        if (!finish_request(r)) {
            r->s->status = 1;
        }
        request_free(r);
    }
}

static void start_request(void *opaque)
{
    fiber_enter(fiber_new(request_fiber, opaque));
}

void io_wait(IoSession *s)
{
    while (s->in_flight) {
        loop_poll(s->tool.loop, -1);
    }
}

static bool submit(IoRequest *r)
{
    r->start = g_get_monotonic_time();
    if (r->async) {
        r->s->tool.graph->one_by_one = false;
        r->s->in_flight++;
        start_request(r);
        loop_poll(r->s->tool.loop, 0);
        return true;
    }
    r->s->tool.graph->one_by_one = r->s->in_flight == 0;
    loop_defer(r->s->tool.loop, start_request, r);
    loop_run_until(r->s->tool.loop, &r->done);
    bool ok = finish_request(r);
    request_free(r);
    return ok;
}

/* ---- arguments ---- */

static bool take_size(const char *text, uint64_t *out)
{
    if (!parse_size(text, 'B', out) || *out > INT64_MAX) {
        printf("'%s' is no size\n", text);
        return false;
    }
    return true;
}

static bool take_pattern(const char *text, int *out)
{
    uint64_t v;
    if (!parse_uint(text, &v) || v > 255) {
        printf("'%s' is no byte\n", text);
        return false;
    }
    *out = (int)v;
    return true;
}

typedef struct IoFlags {
    bool q, v, C, c, f, n, u, z, b, r;
    const char *P, *s, *l;
} IoFlags;

/* The options of reads and writes; optind is the first word. false: said why. */
static bool take_flags(int argc, char **argv, const char *letters, IoFlags *f)
{
    *f = (IoFlags){0};
    optind = 0;
    for (int c; (c = getopt(argc, argv, letters)) != -1;) {
        switch (c) {
        case 'q':
            f->q = true;
            break;
        case 'v':
            f->v = true;
            break;
        case 'C':
            f->C = true;
            break;
        case 'c':
            f->c = true;
            break;
        case 'f':
            f->f = true;
            break;
        case 'n':
            f->n = true;
            break;
        case 'u':
            f->u = true;
            break;
        case 'z':
            f->z = true;
            break;
        case 'b':
            f->b = true;
            break;
        case 'r':
            f->r = true;
            break;
        case 'P':
            f->P = optarg;
            break;
        case 's':
            f->s = optarg;
            break;
        case 'l':
            f->l = optarg;
            break;
        default:
            return false;
        }
    }
    return true;
}

/* Offset and lengths; the buffer of all of them. */
static IoRequest *new_request(IoSession *s, IoOp op, int argc, char **argv, bool need_buf)
{
    uint64_t off, len, total = 0;
    if (optind + 1 >= argc) {
        printf("an offset and a length are expected\n");
        return NULL;
    }
    if (!take_size(argv[optind], &off)) {
        return NULL;
    }
    for (int i = optind + 1; i < argc; i++) {
        if (!take_size(argv[i], &len)) {
            return NULL;
        }
        total += len;
    }
    if (total > (need_buf ? 2 * GiB - 512 : (uint64_t)INT64_MAX)) {
        printf("length cannot exceed %llu, given %s\n", 2 * GiB - 512, argv[optind + 1]);
        return NULL;
    }
    IoRequest *r = g_new0(IoRequest, 1);
    *r = (IoRequest){.s = s, .op = op, .off = off, .len = total};
    if (need_buf && posix_memalign(&r->buf, 4096, MAX(total, 1))) {
        printf("not enough memory\n");
        g_free(r);
        return NULL;
    }
    uint8_t *p = r->buf;
    for (int i = optind + 1; need_buf && i < argc; i++) {
        parse_size(argv[i], 'B', &len);
        iovec_add(&r->v, p, len);
        p += len;
    }
    return r;
}

static bool take_verify(IoRequest *r, const IoFlags *f)
{
    r->verify_len = r->len;
    if (!f->P) {
        if (f->s || f->l) {
            printf("-s and -l need -P\n");
            return false;
        }
        return true;
    }
    r->verify = true;
    if (!take_pattern(f->P, &r->pattern) || (f->s && !take_size(f->s, &r->verify_at))) {
        return false;
    }
    r->verify_len = r->len - MIN(r->verify_at, r->len);
    if (f->l && !take_size(f->l, &r->verify_len)) {
        return false;
    }
    if (r->verify_at > r->len || r->verify_len > r->len - r->verify_at) {
        printf("pattern verification range exceeds end of read data\n");
        return false;
    }
    return true;
}

static bool read_command(IoSession *s, int argc, char **argv, bool async)
{
    IoFlags f;
    if (!take_flags(argc, argv, "bCqvrP:s:l:", &f)) {
        return false;
    }
    IoRequest *r = new_request(s, IO_READ, argc, argv, true);
    if (!r) {
        return false;
    }
    r->async = async;
    r->quiet = f.q;
    r->dump = f.v;
    r->vmstate = f.b;
    if (!take_verify(r, &f)) {
        request_free(r);
        return false;
    }
    memset(r->buf, 0xab, MAX(r->len, 1));
    return submit(r);
}

static bool fill(IoRequest *r, const IoFlags *f)
{
    int pattern = 0xcd;
    if (f->P && !take_pattern(f->P, &pattern)) {
        return false;
    }
    memset(r->buf, pattern, MAX(r->len, 1));
    if (!f->s) {
        return true;
    }
    g_autofree char *text = NULL;
    gsize len = 0;
    GError *err = NULL;
    if (!g_file_get_contents(f->s, &text, &len, &err) || !len) {
        printf("%s: %s\n", f->s, err ? err->message : "the file is empty");
        g_clear_error(&err);
        return false;
    }
    for (uint64_t i = 0; i < r->len; i++) {
        ((char *)r->buf)[i] = text[i % len];
    }
    return true;
}

static bool write_command(IoSession *s, int argc, char **argv, bool async)
{
    IoFlags f;
    if (!take_flags(argc, argv, "bcCfnquzP:s:", &f)) {
        return false;
    }
    if (f.z + (f.P != NULL) + (f.s != NULL) > 1 || (f.u && !f.z) || (f.n && !f.z) ||
        (f.c && (f.z || f.b))) {
        printf("-z, -P and -s exclude each other; -u and -n need -z\n");
        return false;
    }
    IoRequest *r = new_request(s, f.z ? IO_ZERO : IO_WRITE, argc, argv, !f.z);
    if (!r) {
        return false;
    }
    r->async = async;
    r->quiet = f.q;
    r->vmstate = f.b;
    r->flags = (f.f ? BLK_FUA : 0) | (f.u ? BLK_MAY_UNMAP : 0) | (f.n ? BLK_NO_FALLBACK : 0) |
               (f.c ? BLK_COMPRESSED : 0);
    if (!f.z && !fill(r, &f)) {
        request_free(r);
        return false;
    }
    return submit(r);
}

static bool cmd_read(IoSession *s, int argc, char **argv)
{
    return read_command(s, argc, argv, false);
}

static bool cmd_write(IoSession *s, int argc, char **argv)
{
    return write_command(s, argc, argv, false);
}

static bool cmd_aio_read(IoSession *s, int argc, char **argv)
{
    return read_command(s, argc, argv, true);
}

static bool cmd_aio_write(IoSession *s, int argc, char **argv)
{
    return write_command(s, argc, argv, true);
}

static bool cmd_aio_flush(IoSession *s, int argc, char **argv)
{
    io_wait(s);
    return true;
}

static bool cmd_flush(IoSession *s, int argc, char **argv)
{
    IoRequest *r = g_new0(IoRequest, 1);
    *r = (IoRequest){.s = s, .op = IO_FLUSH};
    return submit(r);
}

static bool cmd_discard(IoSession *s, int argc, char **argv)
{
    IoFlags f;
    if (!take_flags(argc, argv, "Cq", &f)) {
        return false;
    }
    IoRequest *r = new_request(s, IO_DISCARD, argc, argv, false);
    if (!r) {
        return false;
    }
    r->quiet = f.q;
    return submit(r);
}

/* ---- about the image ---- */

static bool cmd_length(IoSession *s, int argc, char **argv)
{
    g_autofree char *text = io_size(s->n->length);
    printf("%s\n", text);
    return true;
}

static bool cmd_truncate(IoSession *s, int argc, char **argv)
{
    uint64_t size;
    int prealloc = PREALLOC_OFF;
    Error *err = NULL;
    optind = 0;
    for (int c; (c = getopt(argc, argv, "m:")) != -1;) {
        for (prealloc = 0; c == 'm' && block_prealloc_names[prealloc]; prealloc++) {
            if (!strcmp(block_prealloc_names[prealloc], optarg)) {
                break;
            }
        }
        if (c != 'm' || !block_prealloc_names[prealloc]) {
            printf("-m takes off, metadata, falloc or full\n");
            return false;
        }
    }
    if (optind + 1 != argc || !take_size(argv[optind], &size)) {
        printf("a size is expected\n");
        return false;
    }
    if (node_resize(s->n, size, (BlockPrealloc)prealloc, &err) < 0) {
        error_report(err);
        return false;
    }
    return true;
}

static bool cmd_map(IoSession *s, int argc, char **argv)
{
    for (uint64_t off = 0; off < s->n->length;) {
        BlockMap m;
        uint64_t len = 0;
        bool allocated = false;
        int ret = 0;
        while (off + len < s->n->length) {
            ret = node_map(s->n, off + len, s->n->length - off - len, &m);
            if (ret < 0 || (len && !!(m.flags & BLOCK_MAP_ALLOCATED) != allocated)) {
                break;
            }
            allocated = m.flags & BLOCK_MAP_ALLOCATED;
            len += m.len;
        }
        if (ret < 0) {
            printf("Failed to query allocation status: %s\n", g_strerror(-ret));
            return false;
        }
        g_autofree char *l = io_size(len), *o = io_size(off);
        printf("%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64 ")\n", l, len,
               allocated ? "   " : "not", o, off);
        off += len;
    }
    return true;
}

static bool cmd_alloc(IoSession *s, int argc, char **argv)
{
    uint64_t off, len = BLOCK_SECTOR, sum = 0;
    if (!take_size(argv[1], &off) || (argc > 2 && !take_size(argv[2], &len))) {
        return false;
    }
    if (off > s->n->length || len > s->n->length - off) {
        printf("the range passes the image's end\n");
        return false;
    }
    for (uint64_t pos = 0; pos < len;) {
        BlockMap m;
        int ret = node_map(s->n, off + pos, len - pos, &m);
        if (ret < 0) {
            printf("Failed to query allocation status: %s\n", g_strerror(-ret));
            return false;
        }
        sum += m.flags & BLOCK_MAP_ALLOCATED ? m.len : 0;
        pos += m.len;
    }
    g_autofree char *text = io_size(off);
    printf("%" PRIu64 "/%" PRIu64 " bytes allocated at offset %s\n", sum, len, text);
    return true;
}

static bool cmd_info(IoSession *s, int argc, char **argv)
{
    g_autoptr(Json) info = image_info(s->n);
    const Json *specific = json_get(info, "format-specific");
    printf("format name: %s\n", s->n->drv->name);
    if (s->n->limits.opt_io) {
        g_autofree char *cluster = io_size(s->n->limits.opt_io);
        printf("cluster size: %s\n", cluster);
    }
    if (specific) {
        g_autofree char *text = json_print(json_get(specific, "data"), true);
        printf("%s\n", text);
    }
    return true;
}

/* ---- the session ---- */

static bool cmd_sleep(IoSession *s, int argc, char **argv)
{
    uint64_t ms;
    if (!parse_uint(argv[1], &ms) || ms > 3600000) {
        printf("'%s' is no number of milliseconds\n", argv[1]);
        return false;
    }
    gint64 end = g_get_monotonic_time() + (gint64)ms * 1000, now;
    while ((now = g_get_monotonic_time()) < end) {
        loop_poll(s->tool.loop, (end - now) * 1000);
    }
    return true;
}

static bool cmd_quit(IoSession *s, int argc, char **argv)
{
    s->quit = true;
    return true;
}

static bool cmd_close(IoSession *s, int argc, char **argv)
{
    io_close(s);
    return true;
}

static bool cmd_open(IoSession *s, int argc, char **argv)
{
    ToolOpen o = {.write = true};
    g_autoptr(GString) more = g_string_new(NULL);
    optind = 0;
    for (int c; (c = getopt(argc, argv, "rnUo:t:d:")) != -1;) {
        switch (c) {
        case 'r':
            o.write = false;
            break;
        case 'n':
            o.cache = "none";
            break;
        case 't':
            o.cache = optarg;
            break;
        case 'd':
            o.discard = !strcmp(optarg, "unmap") || !strcmp(optarg, "on");
            break;
        case 'U':
            o.force_share = true;
            o.write = false;
            break;
        case 'o':
            g_string_append_printf(more, "%s%s", more->len ? "," : "", optarg);
            break;
        default:
            return false;
        }
    }
    const char *name = optind < argc ? argv[optind] : NULL;
    if (!more->len && !name) {
        printf("a file name or -o is expected\n");
        return false;
    }
    if (more->len) {
        o.image_opts = true;
        if (name) {
            g_string_append_printf(more, ",file.filename=%s", name);
        }
        name = more->str;
    }
    return io_open(s, name, &o);
}

static bool cmd_abort(IoSession *s, int argc, char **argv)
{
    abort();
}

static bool cmd_sigraise(IoSession *s, int argc, char **argv)
{
    uint64_t sig;
    if (!parse_uint(argv[1], &sig) || sig > 64) {
        printf("'%s' is no signal\n", argv[1]);
        return false;
    }
    fflush(stdout);
    raise((int)sig);
    return true;
}

static bool cmd_help(IoSession *s, int argc, char **argv);

static const IoCommand commands[] = {
    {"abort", NULL, 0, 0, true, "", "end with a core dump", cmd_abort},
    {"aio_flush", NULL, 0, 0, false, "", "wait for asynchronous requests", cmd_aio_flush},
    {"aio_read", NULL, 2, -1, false, "[-Cqv] [-P pattern] off len [len…]", "begin to read",
     cmd_aio_read},
    {"aio_write", NULL, 2, -1, false, "[-Cfiquz] [-P pattern] off len [len…]", "begin to write",
     cmd_aio_write},
    {"alloc", NULL, 1, 2, false, "off [len]", "how much of a range is allocated", cmd_alloc},
    {"close", "c", 0, 0, false, "", "close the image", cmd_close},
    {"discard", "d", 2, -1, false, "[-Cq] off len", "discard a range", cmd_discard},
    {"flush", "f", 0, 0, false, "", "make all writes durable", cmd_flush},
    {"help", "?", 0, 1, true, "[command]", "tell about commands", cmd_help},
    {"info", "i", 0, 0, false, "", "tell about the image", cmd_info},
    {"length", "l", 0, 0, false, "", "tell its size", cmd_length},
    {"map", NULL, 0, 0, false, "", "tell which parts are allocated", cmd_map},
    {"open", "o", 0, -1, true, "[-rnU] [-t cache] [-d discard] [-o options] [file]",
     "open an image", cmd_open},
    {"quit", "q", 0, 0, true, "", "end", cmd_quit},
    {"read", "r", 2, -1, false, "[-bCqv] [-P pattern [-s off] [-l len]] off len", "read a range",
     cmd_read},
    {"readv", NULL, 2, -1, false, "[-Cqv] [-P pattern] off len [len…]",
     "read a range into several buffers", cmd_read},
    {"sigraise", NULL, 1, 1, true, "signal", "send the program a signal", cmd_sigraise},
    {"sleep", NULL, 1, 1, true, "milliseconds", "wait", cmd_sleep},
    {"truncate", "t", 1, -1, false, "[-m prealloc] off", "change the size", cmd_truncate},
    {"write", "w", 2, -1, false, "[-bcCfnquz] [-P pattern | -s file] off len", "write a range",
     cmd_write},
    {"writev", NULL, 2, -1, false, "[-Cfq] [-P pattern] off len [len…]",
     "write a range from several buffers", cmd_write},
};

static bool cmd_help(IoSession *s, int argc, char **argv)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const IoCommand *c = &commands[i];
        if (argc < 2 || !strcmp(argv[1], c->name)) {
            printf("%s %s -- %s\n", c->name, c->words, c->help);
        }
    }
    return true;
}

static const IoCommand *find(const char *name)
{
    const char *names[ARRAY_LEN(commands) + 1] = {NULL};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        names[i] = commands[i].name;
        if (!strcmp(name, commands[i].name) || !g_strcmp0(name, commands[i].alias)) {
            return &commands[i];
        }
    }
    const char *near = nearest_word(name, names);
    report_error("command \"%s\" not found%s%s%s", name, near ? "; did you mean \"" : "",
                 near ? near : "", near ? "\"?" : "");
    return NULL;
}

bool io_execute(IoSession *s, const char *line)
{
    g_auto(GStrv) argv = NULL;
    int argc = 0;
    GError *gerr = NULL;
    g_autofree char *text = g_strstrip(g_strdup(line));
    if (!*text || *text == '#') {
        return true;
    }
    if (!g_shell_parse_argv(text, &argc, &argv, &gerr)) {
        report_error("%s", gerr->message);
        g_error_free(gerr);
        return false;
    }
    const IoCommand *c = find(argv[0]);
    if (!c) {
        return false;
    }
    if (!s->n && !c->no_image) {
        report_error("no file open, try 'help open'");
        return false;
    }
    if (argc - 1 < c->min || (c->max >= 0 && argc - 1 > c->max)) {
        report_error("%s: wrong number of arguments; usage: %s %s", c->name, c->name, c->words);
        return false;
    }
    bool ok = c->run(s, argc, argv);
    fflush(stdout);
    return ok;
}
