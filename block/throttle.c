/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Throttle groups, their objects, and the filter "throttle". */
#include "block/throttle.h"

#include "qom/object.h"

#include <errno.h>
#include <math.h>

const char *const throttle_qmp_names[] = {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"};
const char *const throttle_option_names[] = {"bps-total",  "bps-read",  "bps-write",
                                             "iops-total", "iops-read", "iops-write"};
#define VALUE_MAX 1000000000000000ull /* a second; keeps the arithmetic exact enough */

typedef struct Waiter {
    EventLoop *loop;
    Fiber *fiber;
    uint64_t bytes;
} Waiter;

struct ThrottleGroup {
    BlockGraph *graph;
    char *name;
    int refs;
    GMutex lock;
    ThrottleConfig config;
    double level[THROTTLE_LIMITS], burst[THROTTLE_LIMITS];
    int64_t leaked_at; /* CLOCK_RT */
    GQueue waiting[2]; /* Waiter*, reads and writes */
    Timer timer;
};

/* ---- configuration ---- */

void throttle_config_init(ThrottleConfig *c)
{
    memset(c, 0, sizeof(*c));
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        c->limit[i].length = 1;
    }
}

bool throttle_config_any(const ThrottleConfig *c)
{
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        if (c->limit[i].avg) {
            return true;
        }
    }
    return false;
}

bool throttle_config_check(const ThrottleConfig *c, Error **errp)
{
    for (int i = 0; i < THROTTLE_LIMITS; i += 3) {
        const char *kind = i ? "iops" : "bps";
        if (c->limit[i].avg && (c->limit[i + 1].avg || c->limit[i + 2].avg)) {
            error_set(errp, "%s-total cannot be used together with %s-read and %s-write", kind,
                      kind, kind);
            return false;
        }
        if (c->limit[i].max && (c->limit[i + 1].max || c->limit[i + 2].max)) {
            error_set(errp,
                      "%s-total-max cannot be used together with %s-read-max and "
                      "%s-write-max",
                      kind, kind, kind);
            return false;
        }
    }
    bool any_iops = false;
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        const char *name = throttle_option_names[i];
        if (c->limit[i].avg > VALUE_MAX || c->limit[i].max > VALUE_MAX) {
            error_set(errp, "%s must be at most %llu", name, VALUE_MAX);
            return false;
        }
        if (!c->limit[i].length) {
            error_set(errp, "the burst length of %s cannot be 0", name);
            return false;
        }
        if (c->limit[i].length > 1 && !c->limit[i].max) {
            error_set(errp, "%s-max-length needs %s-max", name, name);
            return false;
        }
        if (c->limit[i].max && !c->limit[i].avg) {
            error_set(errp, "%s-max needs %s", name, name);
            return false;
        }
        if (c->limit[i].max && c->limit[i].max < c->limit[i].avg) {
            error_set(errp, "%s-max cannot be below %s", name, name);
            return false;
        }
        if (c->limit[i].length > 1 && c->limit[i].max > VALUE_MAX / c->limit[i].length) {
            error_set(errp, "the burst of %s is too large", name);
            return false;
        }
        any_iops |= i >= THROTTLE_IOPS_TOTAL && c->limit[i].avg;
    }
    if (c->iops_size && !any_iops) {
        error_set(errp, "iops-size needs a limit of iops");
        return false;
    }
    return true;
}

void throttle_config_take(ThrottleConfig *c, BlockOpts *o, const char *prefix)
{
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        g_autofree char *avg = g_strconcat(prefix, throttle_option_names[i], NULL);
        g_autofree char *max = g_strconcat(avg, "-max", NULL);
        g_autofree char *length = g_strconcat(max, "-length", NULL);
        c->limit[i].avg = block_opts_uint(o, avg, c->limit[i].avg, 0, VALUE_MAX);
        c->limit[i].max = block_opts_uint(o, max, c->limit[i].max, 0, VALUE_MAX);
        c->limit[i].length = block_opts_uint(o, length, c->limit[i].length, 1, 1u << 30);
    }
    g_autofree char *size = g_strconcat(prefix, "iops-size", NULL);
    c->iops_size = block_opts_uint(o, size, c->iops_size, 0, VALUE_MAX);
}

const char *const throttle_old_names[] = {
    "bps",        "bps_rd",     "bps_wr",   "iops",        "iops_rd",     "iops_wr",   "bps_max",
    "bps_rd_max", "bps_wr_max", "iops_max", "iops_rd_max", "iops_wr_max", "iops_size", NULL,
};

void throttle_config_take_old(ThrottleConfig *c, BlockOpts *o)
{
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        const char *avg = throttle_old_names[i], *max = throttle_old_names[i + THROTTLE_LIMITS];
        if (block_opts_has(o, avg)) {
            c->limit[i].avg = block_opts_uint(o, avg, 0, 0, VALUE_MAX);
        }
        if (block_opts_has(o, max)) {
            c->limit[i].max = block_opts_uint(o, max, 0, 0, VALUE_MAX);
        }
    }
    if (block_opts_has(o, "iops_size")) {
        c->iops_size = block_opts_uint(o, "iops_size", 0, 0, VALUE_MAX);
    }
}

/* ---- buckets.  Under the group's lock. ---- */

static void leak(ThrottleGroup *t, int64_t now)
{
    double dt = (double)(now - t->leaked_at) / (double)NS_PER_SEC;
    t->leaked_at = now;
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        t->level[i] = MAX(t->level[i] - (double)t->config.limit[i].avg * dt, 0);
        t->burst[i] = MAX(t->burst[i] - (double)t->config.limit[i].max * dt, 0);
    }
}

/* Seconds until one bucket has room again. */
static double bucket_wait(const ThrottleGroup *t, int i)
{
    double avg = (double)t->config.limit[i].avg, max = (double)t->config.limit[i].max;
    double length = (double)t->config.limit[i].length;
    if (avg <= 0) {
        return 0;
    }
    /* Without a burst a tenth of a second's worth may pass at once. */
    double over = t->level[i] - (max > 0 ? max * length : avg / 10);
    double wait = over > 0 ? over / avg : 0;
    if (max > 0 && length > 1) {
        over = t->burst[i] - max / 10;
        wait = MAX(wait, over > 0 ? over / max : 0);
    }
    return wait;
}

static double group_wait(const ThrottleGroup *t, bool write)
{
    double w = 0;
    for (int kind = 0; kind < THROTTLE_LIMITS; kind += 3) {
        w = MAX(w, bucket_wait(t, kind));
        w = MAX(w, bucket_wait(t, kind + (write ? 2 : 1)));
    }
    return w;
}

static void account(ThrottleGroup *t, bool write, uint64_t bytes)
{
    double ops = 1;
    if (t->config.iops_size && bytes > t->config.iops_size) {
        ops = (double)bytes / (double)t->config.iops_size;
    }
    for (int kind = 0; kind < THROTTLE_LIMITS; kind += 3) {
        double units = kind == THROTTLE_BPS_TOTAL ? (double)bytes : ops;
        int mine = kind + (write ? 2 : 1);
        t->level[kind] += units;
        t->burst[kind] += units;
        t->level[mine] += units;
        t->burst[mine] += units;
    }
}

static void wake(void *opaque)
{
    fiber_enter(((Waiter *)opaque)->fiber);
}

/* Lets go what may go now; `all`: whatever it is.  Arms the timer for the rest. */
static void serve(ThrottleGroup *t, bool all)
{
    int64_t now = clock_now(loop_clocks(t->graph->loop), CLOCK_RT);
    double next = INFINITY;
    leak(t, now);
    for (int dir = 0; dir < 2; dir++) {
        Waiter *w;
        while ((w = g_queue_peek_head(&t->waiting[dir]))) {
            double wait = group_wait(t, dir);
            if (wait > 0 && !all) {
                next = MIN(next, wait);
                break;
            }
            g_queue_pop_head(&t->waiting[dir]);
            account(t, dir, w->bytes);
            loop_defer(w->loop, wake, w);
        }
    }
    if (next < INFINITY) {
        timer_mod(&t->timer, now + MAX((int64_t)(next * (double)NS_PER_SEC), NS_PER_US * 20));
    }
}

static void timer_fired(void *opaque)
{
    ThrottleGroup *t = opaque;
    g_mutex_lock(&t->lock);
    serve(t, false);
    g_mutex_unlock(&t->lock);
}

void throttle_pass(ThrottleGroup *t, EventLoop *loop, bool write, uint64_t bytes)
{
    g_mutex_lock(&t->lock);
    bool hurry = __atomic_load_n(&t->graph->draining, __ATOMIC_SEQ_CST);
    if (!throttle_config_any(&t->config) || !fiber_in()) {
        g_mutex_unlock(&t->lock);
        return;
    }
    leak(t, clock_now(loop_clocks(loop), CLOCK_RT));
    if (hurry || (!t->waiting[write].length && group_wait(t, write) <= 0)) {
        account(t, write, bytes);
        g_mutex_unlock(&t->lock);
        return;
    }
    Waiter w = {loop, fiber_self(), bytes};
    g_queue_push_tail(&t->waiting[write], &w);
    serve(t, false);
    g_mutex_unlock(&t->lock);
    fiber_yield();
}

void throttle_release_all(BlockGraph *g)
{
    for (GList *l = g->throttles; l; l = l->next) {
        ThrottleGroup *t = l->data;
        g_mutex_lock(&t->lock);
        if (t->waiting[0].length || t->waiting[1].length) {
            serve(t, true);
        }
        g_mutex_unlock(&t->lock);
    }
}

/* ---- groups ---- */

static ThrottleGroup *group_new(BlockGraph *g, const char *name)
{
    ThrottleGroup *t = g_new0(ThrottleGroup, 1);
    t->graph = g;
    t->name = g_strdup(name);
    t->refs = 1;
    g_mutex_init(&t->lock);
    throttle_config_init(&t->config);
    t->leaked_at = clock_now(loop_clocks(g->loop), CLOCK_RT);
    g_queue_init(&t->waiting[0]);
    g_queue_init(&t->waiting[1]);
    timer_init(&t->timer, g->loop, CLOCK_RT, timer_fired, t);
    g->throttles = g_list_append(g->throttles, t);
    return t;
}

ThrottleGroup *throttle_group_get(BlockGraph *g, const char *name, bool create, Error **errp)
{
    for (GList *l = g->throttles; l; l = l->next) {
        ThrottleGroup *t = l->data;
        if (!strcmp(t->name, name)) {
            t->refs++;
            return t;
        }
    }
    if (!create) {
        error_set(errp, "Throttle group '%s' does not exist", name);
        return NULL;
    }
    return group_new(g, name);
}

/* Out of the graph, which may go before the object does. */
static void throttle_group_forget(ThrottleGroup *t)
{
    timer_fini(&t->timer);
    t->graph->throttles = g_list_remove(t->graph->throttles, t);
    t->graph = NULL;
}

void throttle_forget_all(BlockGraph *g)
{
    while (g->throttles) {
        throttle_group_forget(g->throttles->data);
    }
}

void throttle_group_unref(ThrottleGroup *t)
{
    if (!t || --t->refs) {
        return;
    }
    if (t->graph) {
        throttle_group_forget(t);
    }
    g_mutex_clear(&t->lock);
    g_free(t->name);
    g_free(t);
}

const char *throttle_group_name(const ThrottleGroup *t)
{
    return t->name;
}

void throttle_group_config(ThrottleGroup *t, ThrottleConfig *out)
{
    g_mutex_lock(&t->lock);
    *out = t->config;
    g_mutex_unlock(&t->lock);
}

void throttle_group_set(ThrottleGroup *t, const ThrottleConfig *c)
{
    g_mutex_lock(&t->lock);
    t->config = *c;
    memset(t->level, 0, sizeof(t->level));
    memset(t->burst, 0, sizeof(t->burst));
    if (t->graph) {
        serve(t, !throttle_config_any(c));
    }
    g_mutex_unlock(&t->lock);
}

/* ---- -object throttle-group ---- */

typedef struct ThrottleObject {
    Object obj;
    ThrottleConfig config;
    ThrottleGroup *group; /* once complete */
} ThrottleObject;

static void object_init(Object *obj)
{
    throttle_config_init(&((ThrottleObject *)obj)->config);
}

static bool apply(ThrottleObject *o, const ThrottleConfig *c, Error **errp)
{
    if (!o->group) {
        o->config = *c; /* checked as a whole when complete */
        return true;
    }
    if (!throttle_config_check(c, errp)) {
        return false;
    }
    o->config = *c;
    throttle_group_set(o->group, c);
    return true;
}

/* The field that "x-bps-read-max-length" means; NULL: no such name. */
static uint64_t *field(ThrottleConfig *c, const char *name)
{
    if (!strcmp(name, "x-iops-size")) {
        return &c->iops_size;
    }
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        size_t n = strlen(throttle_option_names[i]);
        if (strncmp(name + 2, throttle_option_names[i], n)) {
            continue;
        }
        const char *rest = name + 2 + n;
        return !*rest                         ? &c->limit[i].avg
               : !strcmp(rest, "-max")        ? &c->limit[i].max
               : !strcmp(rest, "-max-length") ? &c->limit[i].length
                                              : NULL;
    }
    return NULL;
}

static bool set_one(Object *obj, const Property *p, const Json *v, Error **errp)
{
    ThrottleObject *o = (ThrottleObject *)obj;
    ThrottleConfig c = o->config;
    uint64_t value;
    const char *text = json_get_string(v);
    char *end = NULL;
    if (text) {
        value = g_ascii_strtoull(text, &end, 10);
    }
    if (text ? !*text || *end || *text == '-' : !json_get_uint(v, &value)) {
        error_set(errp, "'%s' must be a number", p->name);
        return false;
    }
    *field(&c, p->name) = value;
    return apply(o, &c, errp);
}

static Json *get_one(Object *obj, const Property *p)
{
    return json_uint(*field(&((ThrottleObject *)obj)->config, p->name));
}

static bool set_limits(Object *obj, const Property *p, const Json *v, Error **errp)
{
    ThrottleObject *o = (ThrottleObject *)obj;
    ThrottleConfig c = o->config;
    if (json_type(v) != JSON_OBJECT) {
        error_set(errp, "'limits' must be an object with members such as iops-total");
        return false;
    }
    g_autoptr(BlockOpts) opts = block_opts_new(v, "limits");
    throttle_config_take(&c, opts, "");
    return block_opts_finish(opts, errp) && apply(o, &c, errp);
}

static Json *get_limits(Object *obj, const Property *p)
{
    ThrottleConfig *c = &((ThrottleObject *)obj)->config;
    Json *j = json_object();
    for (int i = 0; i < THROTTLE_LIMITS; i++) {
        const char *name = throttle_option_names[i];
        g_autofree char *max = g_strconcat(name, "-max", NULL);
        g_autofree char *length = g_strconcat(max, "-length", NULL);
        json_put(j, name, json_uint(c->limit[i].avg));
        json_put(j, max, json_uint(c->limit[i].max));
        json_put(j, length, json_uint(c->limit[i].length));
    }
    json_put(j, "iops-size", json_uint(c->iops_size));
    return j;
}

static bool object_complete_group(Object *obj, Error **errp)
{
    ThrottleObject *o = (ThrottleObject *)obj;
    BlockGraph *g = block_graph_of(obj->scope ? obj->scope : obj);
    if (!throttle_config_check(&o->config, errp)) {
        return false;
    }
    if (!g) {
        error_set(errp, "throttle-group: there is no block layer here");
        return false;
    }
    const char *name = obj->name ? obj->name : "";
    o->group = throttle_group_get(g, name, true, errp);
    throttle_group_set(o->group, &o->config);
    return true;
}

static void object_finalize(Object *obj)
{
    throttle_group_unref(((ThrottleObject *)obj)->group);
}

/* Filters and drives use the group by its name, without the object. */
static bool throttle_may_delete(Object *obj, Error **errp)
{
    const ThrottleGroup *t = ((ThrottleObject *)obj)->group;
    if (t && t->refs > 1) {
        error_set(errp, "object '%s' is in use, can not be deleted", obj->name);
        error_hint(errp, "disks are limited by this group");
        return false;
    }
    return true;
}

#define LIMIT(n)                                                                       \
    {                                                                                  \
        .name = n, .kind = PROP_CUSTOM, .help = "a limit; see limits", .set = set_one, \
        .get = get_one, .type_name = "int", .runtime = true                            \
    }
#define LIMIT3(n) LIMIT("x-" n), LIMIT("x-" n "-max"), LIMIT("x-" n "-max-length")
static const Property throttle_props[] = {
    LIMIT3("bps-total"),
    LIMIT3("bps-read"),
    LIMIT3("bps-write"),
    LIMIT3("iops-total"),
    LIMIT3("iops-read"),
    LIMIT3("iops-write"),
    LIMIT("x-iops-size"),
    {.name = "limits",
     .kind = PROP_CUSTOM,
     .help = "bps-total, iops-read, … each with -max and -max-length; iops-size",
     .set = set_limits,
     .get = get_limits,
     .type_name = "ThrottleLimits",
     .runtime = true},
    {0},
};

OBJECT_TYPE(throttle_group_type, .name = TYPE_THROTTLE_GROUP, .parent = "object",
            .help = "limits of I/O shared by several disks", .size = sizeof(ThrottleObject),
            .props = throttle_props, .init = object_init, .complete = object_complete_group,
            .finalize = object_finalize, .may_delete = throttle_may_delete, .user_creatable = true,
            .container = "/objects")

/* ---- the filter ---- */

typedef struct ThrottleState {
    ThrottleGroup *group;
} ThrottleState;

static bool throttle_open(BlockNode *n, BlockOpts *o, Error **errp)
{
    ThrottleState *s = n->s;
    const char *name = block_opts_string(o, "throttle-group", NULL);
    if (!name) {
        block_opts_mistake(o, "'throttle-group' is missing");
    }
    if (!block_opts_finish(o, errp)) {
        return false;
    }
    s->group = throttle_group_get(n->graph, name, false, errp);
    n->length = n->file->length;
    n->limits.request_align = n->file->limits.request_align;
    n->limits.discard_align = n->file->limits.discard_align;
    n->limits.opt_io = n->file->limits.opt_io;
    return s->group != NULL;
}

static void throttle_close(BlockNode *n)
{
    throttle_group_unref(((ThrottleState *)n->s)->group);
}

static void pass(BlockNode *n, bool write, uint64_t bytes)
{
    throttle_pass(((ThrottleState *)n->s)->group, n->loop, write, bytes);
}

static int throttle_preadv(BlockNode *n, uint64_t off, const IoVec *v)
{
    pass(n, false, v->size);
    return node_preadv(n->file, off, v);
}

static int throttle_pwritev(BlockNode *n, uint64_t off, const IoVec *v, unsigned flags)
{
    pass(n, true, v->size);
    return node_pwritev(n->file, off, v, flags);
}

static int throttle_discard(BlockNode *n, uint64_t off, uint64_t len)
{
    pass(n, true, len);
    return node_discard(n->file, off, len);
}

static int throttle_zero(BlockNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    pass(n, true, len);
    return node_zero(n->file, off, len, flags);
}

static int throttle_truncate(BlockNode *n, uint64_t size, BlockPrealloc prealloc, Error **errp)
{
    return node_resize(n->file, size, prealloc, errp);
}

static int throttle_map(BlockNode *n, uint64_t off, uint64_t len, BlockMap *out)
{
    return node_map(n->file, off, len, out);
}

static bool throttle_reopen_option(BlockNode *n, const char *key, const char *value, Error **errp)
{
    ThrottleState *s = n->s;
    ThrottleGroup *t = throttle_group_get(n->graph, value, false, errp);
    if (t) {
        throttle_group_unref(s->group);
        s->group = t;
    }
    return t != NULL;
}

const BlockDriver block_driver_throttle = {
    .name = "throttle",
    .help = "limits the I/O of what is below",
    .state_size = sizeof(ThrottleState),
    .filter = true,
    .transparent = true,
    .open = throttle_open,
    .close = throttle_close,
    .preadv = throttle_preadv,
    .pwritev = throttle_pwritev,
    .discard = throttle_discard,
    .zero = throttle_zero,
    .truncate = throttle_truncate,
    .map = throttle_map,
    .reopen_option = throttle_reopen_option,
};
