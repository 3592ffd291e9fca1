/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What holds for every device type, tried on every one: its state survives
 * saving and loading, bad state is refused without a trace, and a failed or
 * undone realize leaves nothing behind.
 */
#include "tests/unit/machine-fixture.h"
#include "util/bits.h"
#include "util/fault.h"

#include <string.h>
#include <zlib.h>

/* Mutations and truncations per device; large states are sampled. */
#define SAMPLES 400

static const char *const boards[] = {"pc", "q35"};

/* ---- state of one device ---- */

static bool equal(const GByteArray *a, const GByteArray *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static GByteArray *save(Device *dev)
{
    return state_save(device_class(dev)->state, dev);
}

static bool load(Device *dev, const uint8_t *data, size_t len, Error **errp)
{
    return state_load(device_class(dev)->state, dev, type_instance_size(dev->obj.type), data, len,
                      errp);
}

static void load_or_die(Device *dev, const GByteArray *s)
{
    Error *err = NULL;

    if (!load(dev, s->data, s->len, &err)) {
        g_error("%s: %s", dev->obj.type->name, error_message(err));
    }
}

/* Refused, and every byte of the device is as before. */
static void refuse(Device *dev, const uint8_t *data, size_t len)
{
    size_t size = type_instance_size(dev->obj.type);
    g_autofree void *before = g_memdup2(dev, size);
    g_autoptr(Error) err = NULL;

    if (load(dev, data, len, &err)) {
        g_error("%s: took damaged state", dev->obj.type->name);
    }
    g_assert_nonnull(err);
    if (memcmp(before, dev, size) != 0) {
        g_error("%s: refused state left a trace", dev->obj.type->name);
    }
}

static void report_difference(Device *dev, const GByteArray *a, const GByteArray *b, int round)
{
    g_autofree char *field = NULL;
    guint at = 0;

    while (at < a->len && at < b->len && a->data[at] == b->data[at]) {
        at++;
    }
    field = state_field_at(device_class(dev)->state, dev, at);
    g_test_message("%s: %s is not what was saved (round %d; byte 0x%02x became 0x%02x)",
                   dev->obj.type->name, field, round, a->data[at], b->data[at]);
    g_test_fail();
}

static void check_round_trip(Device *dev, GRand *rng)
{
    const StateDesc *d = device_class(dev)->state;

    for (int round = 0; round < 4; round++) {
        GByteArray *a, *b;

        if (round) {
            /*
             * Fields that follow from others become what they must be when they are loaded: only
             * then it is a state that the device can be in.
             */
            state_randomize(d, dev, rng);
            a = save(dev);
            load_or_die(dev, a);
            g_byte_array_unref(a);
        }
        a = save(dev);
        /* Through the power-on state, so that what is not loaded shows. */
        if (device_class(dev)->reset) {
            device_class(dev)->reset(dev);
        }
        load_or_die(dev, a);
        b = save(dev);
        if (!equal(a, b)) {
            report_difference(dev, a, b, round);
        }
        g_byte_array_unref(a);
        g_byte_array_unref(b);
    }
}

static void check_damage(Device *dev, GRand *rng)
{
    GByteArray *s = save(dev);
    guint step = MAX(1u, s->len / SAMPLES);

    for (guint len = 0; len < s->len; len += step) {
        g_autofree uint8_t *cut = g_memdup2(s->data, len ? len : 1);

        refuse(dev, cut, len);
    }
    for (guint bit = 0; bit < s->len * 8; bit += MAX(1u, s->len * 8 / SAMPLES)) {
        s->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        refuse(dev, s->data, s->len);
        s->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    g_byte_array_unref(s);
}

/* Damage with a right checksum: whatever is let in must be usable. */
static void check_hostile(Fixture *f, Device *dev, GRand *rng)
{
    GByteArray *good = save(dev);
    size_t values = 8 + ld_le32(good->data + 4) + 4;

    for (int i = 0; i < SAMPLES && values + 4 < good->len; i++) {
        g_autofree uint8_t *bad = g_memdup2(good->data, good->len);
        guint n = (guint)g_rand_int_range(rng, 1, 4);
        g_autoptr(Error) err = NULL;

        while (n--) {
            guint at = (guint)g_rand_int_range(rng, (gint32)values, (gint32)good->len - 4);

            bad[at] = g_rand_boolean(rng) ? (uint8_t)g_rand_int(rng) : 0xff;
        }
        st_le32(bad + good->len - 4, (uint32_t)crc32(0, bad, good->len - 4));
        if (load(dev, bad, good->len, &err)) {
            GByteArray *again = save(dev);

            g_byte_array_unref(again);
            fixture_step(f, 1000);
        }
    }
    load_or_die(dev, good);
    g_byte_array_unref(good);
}

typedef struct StateRun {
    Fixture *f;
    GRand *rng;
    unsigned n;
} StateRun;

static void check_state(Device *dev, void *opaque)
{
    StateRun *r = opaque;

    if (!device_class(dev)->state) {
        return;
    }
    r->n++;
    g_test_message("%s", dev->obj.type->name);
    LOOP_LOCK_GUARD(r->f->platform);
    loop_allow_long(r->f->platform);
    check_round_trip(dev, r->rng);
    check_damage(dev, r->rng);
    check_hostile(r->f, dev, r->rng);
    if (device_class(dev)->reset) {
        device_class(dev)->reset(dev);
    }
}

static bool user_device(const TypeInfo *t)
{
    const DeviceClass *k = type_class(t);

    return k->user_creatable;
}

static Fixture *open_board(const char *board)
{
    Error *err = NULL;
    Fixture *f = fixture_new(board, 64 * MiB, &err);

    if (!f) {
        g_test_skip(error_message(err));
        error_free(err);
    }
    return f;
}

static void test_state(gconstpointer board)
{
    Fixture *f = open_board(board);
    StateRun r = {.f = f};

    if (!f) {
        return;
    }
    r.rng = g_rand_new_with_seed(1);
    fixture_add_all(f);
    device_each(f->m, check_state, &r);
    g_assert_cmpuint(r.n, >, 10);
    g_rand_free(r.rng);
    fixture_free(f);
}

/* ---- life ---- */

static void expect_same(Fixture *f, const char *before, const char *type, const char *when)
{
    g_autofree char *now = NULL;

    fixture_settle(f);
    now = fixture_picture(f);
    if (strcmp(before, now) != 0) {
        g_auto(GStrv) a = g_strsplit(before, "\n", -1);
        g_auto(GStrv) b = g_strsplit(now, "\n", -1);
        unsigned i = 0;

        while (a[i] && b[i] && strcmp(a[i], b[i]) == 0) {
            i++;
        }
        g_error("%s leaves something behind %s:\n- %s\n+ %s", type, when, a[i] ? a[i] : "(end)",
                b[i] ? b[i] : "(end)");
    }
}

/* Makes each step fail in turn, then none; then undoes it. */
static void check_life(Fixture *f, const TypeInfo *t)
{
    g_autoptr(Json) options = fixture_options(f, t);
    g_autofree char *before = NULL;
    g_autoptr(Error) first = NULL;
    Device *dev = device_add(f->m, options, NULL, &first);

    if (!dev) {
        g_test_message("%s: left out: %s", t->name, error_message(first));
        return;
    }
    /* Once for nothing: what is made once and kept is not a leak. */
    device_unrealize(dev);
    fixture_settle(f);
    before = fixture_picture(f);
    for (unsigned n = 1;; n++) {
        g_autoptr(Error) err = NULL;

        fault_arm(n);
        dev = device_add(f->m, options, NULL, &err);
        if (!fault_fired()) {
            fault_arm(0);
            g_assert_nonnull(dev);
            break;
        }
        fault_arm(0);
        if (dev) {
            g_error("%s: step %u failed and nobody noticed", t->name, n);
        }
        g_assert_nonnull(err);
        expect_same(f, before, t->name, error_message(err));
        g_assert_cmpuint(n, <, 1000);
    }
    fixture_step(f, 1000000);
    device_reset(dev);
    fixture_step(f, 1000000);
    device_unrealize(dev);
    expect_same(f, before, t->name, "after unrealize");
}

static void test_life(gconstpointer board)
{
    g_autofree const TypeInfo **types = type_list(TYPE_DEVICE, false);
    Fixture *f = open_board(board);

    if (!f) {
        return;
    }
    for (size_t i = 0; types[i]; i++) {
        if (user_device(types[i])) {
            g_test_message("%s", types[i]->name);
            check_life(f, types[i]);
        }
    }
    fixture_free(f);
}

/* The board itself, each of its steps made to fail. */
static void test_board(gconstpointer board)
{
    Fixture *f = open_board(board);

    if (!f) {
        return;
    }
    fixture_free(f);
    for (unsigned n = 1;; n++) {
        Error *err = NULL;

        fault_arm(n);
        f = fixture_new(board, 16 * MiB, &err);
        if (!fault_fired()) {
            fault_arm(0);
            g_assert_nonnull(f);
            fixture_free(f);
            break;
        }
        fault_arm(0);
        g_assert_null(f);
        error_free(err);
    }
}

static void test_reset(gconstpointer board)
{
    Fixture *f = open_board(board);

    if (!f) {
        return;
    }
    fixture_add_all(f);
    for (int i = 0; i < 3; i++) {
        loop_lock(f->platform);
        machine_reset(f->m);
        loop_unlock(f->platform);
        fixture_step(f, 10000000);
    }
    fixture_free(f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(boards); i++) {
        g_autofree char *state = g_strdup_printf("/devices/%s/state", boards[i]);
        g_autofree char *life = g_strdup_printf("/devices/%s/life", boards[i]);
        g_autofree char *board = g_strdup_printf("/devices/%s/board", boards[i]);
        g_autofree char *reset = g_strdup_printf("/devices/%s/reset", boards[i]);

        g_test_add_data_func(state, boards[i], test_state);
        g_test_add_data_func(life, boards[i], test_life);
        g_test_add_data_func(reset, boards[i], test_reset);
        g_test_add_data_func(board, boards[i], test_board);
    }
    return g_test_run();
}
