/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device state: round trips, refusals without side effects, random values, the schema's text. */
#include "state/state.h"
#include "util/bits.h"

#include <string.h>
#include <zlib.h>

typedef struct Inner {
    uint16_t a;
    bool b;
} Inner;

typedef struct Thing {
    uint8_t small;
    uint32_t limited;
    int32_t sign;
    uint64_t wide;
    bool flag;
    uint8_t bytes[5];
    uint16_t table[3];
    bool flags[2];
    Inner inner;
    Inner pair[2];
    uint32_t n_used;
    Inner used[4];
    uint8_t *buf;
    uint32_t buf_len;
    Timer timer;
    Inner *far;
    uint8_t extra; /* subsection */
    bool has_extra;
    uint8_t maybe;
    unsigned loaded_calls;
    unsigned pre_saves;
    void *not_state;
} Thing;

static const StateField inner_fields[] = {
    STATE_F_UINT(Inner, a),
    STATE_F_BOOL(Inner, b),
    {0},
};
static const StateDesc inner_desc = {.name = "inner", .version = 1, .fields = inner_fields};

static const StateField extra_fields[] = {
    STATE_F_UINT(Thing, extra),
    {0},
};
static bool extra_needed(const void *obj)
{
    return ((const Thing *)obj)->has_extra;
}
static const StateDesc extra_desc = {
    .name = "extra", .version = 1, .fields = extra_fields, .needed = extra_needed};
static const StateDesc *const subsections[] = {&extra_desc, NULL};

static bool maybe_present(const void *obj)
{
    return ((const Thing *)obj)->flag;
}
static bool thing_check(const void *obj, Error **errp)
{
    const Thing *t = obj;

    /* Wide must be even: a condition that random values miss half of the time. */
    if (t->wide & 1) {
        error_set(errp, "wide is odd");
        return false;
    }
    return true;
}
static void thing_loaded(void *obj)
{
    ((Thing *)obj)->loaded_calls++;
}
static void thing_pre_save(void *obj)
{
    ((Thing *)obj)->pre_saves++;
}

static const StateField thing_fields[] = {
    STATE_F_UINT(Thing, small),
    STATE_F_UINT_MAX(Thing, limited, 100),
    STATE_F_INT_RANGE(Thing, sign, -5, 7),
    STATE_F_UINT(Thing, wide),
    STATE_F_BOOL(Thing, flag),
    STATE_F_BYTES(Thing, bytes),
    STATE_F_UINT_ARRAY(Thing, table),
    STATE_F_BOOL_ARRAY(Thing, flags),
    STATE_F_STRUCT(Thing, inner, inner_desc),
    STATE_F_STRUCT_ARRAY(Thing, pair, inner_desc),
    STATE_F_UINT_MAX(Thing, n_used, 4),
    STATE_F_STRUCT_VARRAY(Thing, used, n_used, inner_desc),
    STATE_F_BUFFER(Thing, buf, buf_len, 64),
    STATE_F_TIMER(Thing, timer),
    STATE_F_POINTER(Thing, far, inner_desc),
    STATE_FIELD_(Thing, maybe, STATE_UINT, .present = maybe_present),
    {0},
};
static const StateDesc thing_desc = {
    .name = "thing",
    .version = 3,
    .fields = thing_fields,
    .subsections = subsections,
    .pre_save = thing_pre_save,
    .check = thing_check,
    .loaded = thing_loaded,
};

typedef struct World {
    ClockSet *clocks;
    EventLoop *loop;
} World;

static void world_open(World *w)
{
    w->clocks = clock_set_new();
    w->loop = loop_new("test", w->clocks, NULL);
}

static void world_close(World *w)
{
    loop_free(w->loop);
    clock_set_free(w->clocks);
}

static void on_timer(void *opaque)
{
}

static Thing *thing_new(World *w)
{
    Thing *t = g_new0(Thing, 1);

    t->far = g_new0(Inner, 1);
    t->not_state = w;
    timer_init(&t->timer, w->loop, CLOCK_VIRTUAL, on_timer, t);
    return t;
}

static void thing_free(Thing *t)
{
    timer_fini(&t->timer);
    g_free(t->buf);
    g_free(t->far);
    g_free(t);
}

static void fill(Thing *t)
{
    t->small = 200;
    t->limited = 100;
    t->sign = -5;
    t->wide = 0x1122334455667788;
    t->flag = true;
    memcpy(t->bytes, "hello", 5);
    t->table[0] = 1;
    t->table[2] = 0xffff;
    t->flags[1] = true;
    t->inner = (Inner){.a = 7, .b = true};
    t->pair[1].a = 9;
    t->n_used = 3;
    t->used[2].a = 33;
    t->buf = g_memdup2("0123456789", 10);
    t->buf_len = 10;
    timer_mod(&t->timer, 123456789);
    t->far->a = 77;
    t->has_extra = true;
    t->extra = 5;
    t->maybe = 99;
}

static bool bytes_equal(const GByteArray *a, const GByteArray *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static void test_round_trip(void)
{
    World w;
    world_open(&w);
    Thing *a = thing_new(&w), *b = thing_new(&w);
    Inner *far = b->far;

    fill(a);
    b->has_extra = true; /* what decides about a subsection is configuration, not state */
    GByteArray *s = state_save(&thing_desc, a);
    g_assert_cmpuint(a->pre_saves, ==, 1);
    Error *err = NULL;
    g_assert_true(state_load(&thing_desc, b, sizeof(*b), s->data, s->len, &err));
    g_assert_cmpuint(b->loaded_calls, ==, 1);
    g_assert_cmpint(b->sign, ==, -5);
    g_assert_cmpuint(b->used[2].a, ==, 33);
    g_assert_cmpuint(b->buf_len, ==, 10);
    g_assert_cmpint(memcmp(b->buf, "0123456789", 10), ==, 0);
    g_assert_cmpint(timer_expire(&b->timer), ==, 123456789);
    g_assert_true(b->far == far);
    g_assert_cmpuint(b->far->a, ==, 77);
    g_assert_cmpuint(b->extra, ==, 5);
    g_assert_cmpuint(b->maybe, ==, 99);
    GByteArray *again = state_save(&thing_desc, b);
    g_assert_true(bytes_equal(s, again));
    /* A part that was not there leaves the object's alone. */
    a->flag = a->has_extra = false;
    a->buf_len = 0;
    g_byte_array_unref(again);
    again = state_save(&thing_desc, a);
    b->maybe = 1;
    b->extra = 2;
    g_assert_true(state_load(&thing_desc, b, sizeof(*b), again->data, again->len, &err));
    g_assert_cmpuint(b->maybe, ==, 1);
    g_assert_cmpuint(b->extra, ==, 2);
    g_assert_null(b->buf);
    g_byte_array_unref(again);
    g_byte_array_unref(s);
    thing_free(a);
    thing_free(b);
    world_close(&w);
}

/* Loads must fail and leave every byte of the object as it was. */
static void refuse(Thing *b, const uint8_t *data, size_t len)
{
    Thing before = *b;
    Inner far = *b->far;
    Error *err = NULL;

    g_assert_false(state_load(&thing_desc, b, sizeof(*b), data, len, &err));
    g_assert_nonnull(err);
    error_free(err);
    g_assert_cmpint(memcmp(&before, b, sizeof(*b)), ==, 0);
    g_assert_cmpint(memcmp(&far, b->far, sizeof(far)), ==, 0);
}

static void test_damage(void)
{
    World w;
    world_open(&w);
    Thing *a = thing_new(&w), *b = thing_new(&w);

    fill(a);
    GByteArray *s = state_save(&thing_desc, a);
    for (guint len = 0; len < s->len; len++) {
        g_autofree uint8_t *cut = g_memdup2(s->data, len);

        refuse(b, cut, len);
    }
    for (guint bit = 0; bit < s->len * 8; bit++) {
        s->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        refuse(b, s->data, s->len);
        s->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    g_byte_array_append(s, (const uint8_t *)"x", 1);
    refuse(b, s->data, s->len);
    g_byte_array_unref(s);
    thing_free(a);
    thing_free(b);
    world_close(&w);
}

/* A hostile stream has the right checksum: it may load or not, but does no harm. */
static void test_hostile(void)
{
    World w;
    world_open(&w);
    Thing *a = thing_new(&w);
    unsigned loads = 0;

    fill(a);
    GByteArray *s = state_save(&thing_desc, a);
    for (guint at = 0; at < s->len - 4; at++) {
        static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};

        for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
            Thing *b = thing_new(&w);
            uint8_t old = s->data[at];
            Error *err = NULL;

            s->data[at] = values[i];
            st_le32(s->data + s->len - 4, (uint32_t)crc32(0, s->data, s->len - 4));
            if (state_load(&thing_desc, b, sizeof(*b), s->data, s->len, &err)) {
                loads++;
                g_assert_cmpuint(b->limited, <=, 100);
                g_assert_cmpuint(b->n_used, <=, 4);
                g_assert_cmpuint(b->wide & 1, ==, 0);
                g_assert_cmpuint(b->buf_len, <=, 64);
            }
            g_clear_pointer(&err, error_free);
            s->data[at] = old;
            thing_free(b);
        }
    }
    g_assert_cmpuint(loads, >, 0);
    g_byte_array_unref(s);
    thing_free(a);
    world_close(&w);
}

static void test_schema(void)
{
    g_autofree char *text = state_schema(&inner_desc);
    static const StateField other_fields[] = {
        STATE_F_UINT(Inner, a),
        STATE_FIELD_(Inner, b, STATE_UINT),
        {0},
    };
    static const StateDesc other = {.name = "inner", .version = 1, .fields = other_fields};
    Inner i = {0};
    Error *err = NULL;

    g_assert_cmpstr(text, ==, "state inner version 1\n  a uint16\n  b bool\n");
    GByteArray *s = state_save(&other, &i);
    g_assert_false(state_load(&inner_desc, &i, sizeof(i), s->data, s->len, &err));
    g_assert_cmpstr(error_message(err), ==,
                    "state of 'inner' is of another make: it has 'b uint8' where 'b bool' is "
                    "expected");
    error_free(err);
    g_byte_array_unref(s);
}

static void test_random(void)
{
    World w;
    world_open(&w);
    GRand *rng = g_rand_new_with_seed(42);

    for (int round = 0; round < 200; round++) {
        Thing *a = thing_new(&w), *b = thing_new(&w);
        Error *err = NULL;

        a->has_extra = b->has_extra = round & 1;
        state_randomize(&thing_desc, a, rng);
        GByteArray *s = state_save(&thing_desc, a);
        g_assert_true(state_load(&thing_desc, b, sizeof(*b), s->data, s->len, &err));
        GByteArray *again = state_save(&thing_desc, b);
        g_assert_true(bytes_equal(s, again));
        g_byte_array_unref(s);
        g_byte_array_unref(again);
        thing_free(a);
        thing_free(b);
    }
    g_rand_free(rng);
    world_close(&w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/state/round-trip", test_round_trip);
    g_test_add_func("/state/damage", test_damage);
    g_test_add_func("/state/hostile", test_hostile);
    g_test_add_func("/state/schema", test_schema);
    g_test_add_func("/state/random", test_random);
    return g_test_run();
}
