/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random valid state for tests: one field after the other gets a random value,
 * which is taken back if the description's checks refuse it.
 */
#include "state/internal.h"

#include <string.h>

#define TRIES 8

typedef struct Randomizer {
    GRand *rng;
    const StateDesc *top;
    void *obj; /* the outermost object, which the checks see */
} Randomizer;

static uint64_t random64(GRand *rng)
{
    uint64_t v = (uint64_t)g_rand_int(rng) << 32 | g_rand_int(rng);

    /* Small and extreme values are more interesting than most. */
    switch (g_rand_int_range(rng, 0, 4)) {
    case 0:
        return v & 0xff;
    case 1:
        return g_rand_boolean(rng) ? 0 : UINT64_MAX;
    default:
        return v;
    }
}

static uint64_t random_integer(Randomizer *r, const StateField *f)
{
    uint64_t v = random64(r->rng), span;

    if (!f->min && !f->max) {
        return v;
    }
    span = f->max - f->min;
    return span == UINT64_MAX ? v : f->min + v % (span + 1);
}

static bool valid(Randomizer *r)
{
    return state_check_all(r->top, r->obj, NULL);
}

/* Puts random bytes of the right kind at `p`. */
static void scramble(Randomizer *r, const StateField *f, void *p)
{
    uint8_t *bytes = p;
    uint64_t v;

    switch (f->kind) {
    case STATE_BOOL:
        *(bool *)p = g_rand_boolean(r->rng);
        break;
    case STATE_UINT:
    case STATE_INT:
        v = random_integer(r, f);
        memcpy(p, &v, f->size); /* hosts are little-endian or the value is random anyway */
        break;
    case STATE_BYTES:
        for (size_t i = 0; i < f->size; i++) {
            bytes[i] = (uint8_t)g_rand_int(r->rng);
        }
        break;
    default:
        break;
    }
}

static void randomize_plain(Randomizer *r, const StateField *f, void *p)
{
    g_autofree void *before = g_memdup2(p, f->size);

    for (unsigned i = 0; i < TRIES; i++) {
        scramble(r, f, p);
        if (valid(r)) {
            return;
        }
    }
    memcpy(p, before, f->size);
}

static void randomize_timer(Randomizer *r, Timer *t)
{
    int64_t before = timer_expire(t);

    if (!t->loop) {
        return;
    }
    /* Far enough ahead that it does not fire in the middle of the test. */
    if (g_rand_boolean(r->rng)) {
        timer_del(t);
    } else {
        timer_mod(t, (int64_t)(1ull << 60) + g_rand_int(r->rng));
    }
    if (!valid(r)) {
        if (before < 0) {
            timer_del(t);
        } else {
            timer_mod(t, before);
        }
    }
}

static void randomize_buffer(Randomizer *r, const StateField *f, void *base)
{
    uint8_t **p = state_element(f, base, 0);
    uint32_t old_len = state_u32_at(base, f->count_offset);
    uint64_t max = f->max < 4096 ? f->max : 4096;
    uint32_t len = (uint32_t)(random64(r->rng) % (max + 1));
    uint8_t *old = *p;

    *p = len ? g_malloc(len) : NULL;
    for (uint32_t i = 0; i < len; i++) {
        (*p)[i] = (uint8_t)g_rand_int(r->rng);
    }
    memcpy((char *)base + f->count_offset, &len, sizeof(len));
    if (valid(r)) {
        g_free(old);
    } else {
        g_free(*p);
        *p = old;
        memcpy((char *)base + f->count_offset, &old_len, sizeof(old_len));
    }
}

static void randomize_struct(Randomizer *r, const StateDesc *d, void *base)
{
    for (const StateField *f = d->fields; f && f->name; f++) {
        if (f->present && !f->present(base)) {
            continue;
        }
        for (unsigned i = 0, n = state_elements(f, base); i < n; i++) {
            if (state_is_struct(f)) {
                randomize_struct(r, f->desc, state_struct_at(f, base, i));
            } else if (f->kind == STATE_TIMER) {
                randomize_timer(r, state_element(f, base, i));
            } else if (f->kind == STATE_BUFFER) {
                randomize_buffer(r, f, base);
            } else {
                randomize_plain(r, f, state_element(f, base, i));
            }
        }
    }
    for (const StateDesc *const *sub = d->subsections; sub && *sub; sub++) {
        if (!(*sub)->needed || (*sub)->needed(base)) {
            randomize_struct(r, *sub, base);
        }
    }
}

void state_randomize(const StateDesc *d, void *obj, GRand *rng)
{
    Randomizer r = {.rng = rng, .top = d, .obj = obj};

    randomize_struct(&r, d, obj);
}
