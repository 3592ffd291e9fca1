/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state/state.h: declarative descriptions of device state.
 *
 * A device describes its state once, as constant data.  The description drives
 * snapshots, migration and the generic tests.  The encoding is self-describing:
 * the schema of each struct travels before its values, so that a mismatch names
 * the field.  Loading has two steps: `check` (pure: every index, length and enum
 * against its bounds, on a scratch copy) and only then `loaded` (derive
 * pointers, arm lines and timers), so a bad stream changes nothing.
 */
#ifndef RHEA_STATE_STATE_H
#define RHEA_STATE_STATE_H

#include "event/loop.h"
#include "util/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct StateDesc StateDesc;

typedef enum StateKind {
    STATE_END,
    STATE_BOOL,    /* bool */
    STATE_UINT,    /* unsigned integer of `size` bytes (1, 2, 4, 8) */
    STATE_INT,     /* signed, likewise; enums are 4-byte ints */
    STATE_BYTES,   /* `size` bytes in place */
    STATE_BUFFER,  /* uint8_t* of uint32_t length at `count_offset`, at most `max` */
    STATE_STRUCT,  /* embedded struct described by `desc` */
    STATE_TIMER,   /* Timer: its expiry */
    STATE_POINTER, /* pointer to a struct of `size` bytes described by `desc`; not NULL */
    STATE_QUEUE,   /* FIFO8-like: struct by `desc`; alias of STRUCT for readability */
} StateKind;

typedef struct StateField {
    const char *name;
    StateKind kind;
    size_t offset, size;
    unsigned count;      /* elements in place; 0: one */
    size_t stride;       /* between elements */
    size_t count_offset; /* VARRAY: offset of the uint32_t that says how many are used */
    bool counted;        /* VARRAY: only that many (<= count) travel */
    const StateDesc *desc;
    uint64_t min, max;                /* UINT/INT: inclusive bounds checked on load; both 0: none */
    bool (*present)(const void *obj); /* optional field */
} StateField;

struct StateDesc {
    const char *name;
    uint32_t version;
    const StateField *fields;            /* ends with {0} */
    const StateDesc *const *subsections; /* NULL-terminated; each with `needed` */
    bool (*needed)(const void *obj);
    void (*pre_save)(void *obj);
    /* Pure: bounds across fields. Works on the scratch copy of the object. */
    bool (*check)(const void *obj, Error **errp);
    /* After all values are in place; cannot fail. */
    void (*loaded)(void *obj);
};

#define STATE_FIELD_(T, f, k, ...)                                                      \
    {                                                                                   \
        .name = #f, .kind = (k), .offset = offsetof(T, f), .size = sizeof(((T *)0)->f), \
        ##__VA_ARGS__                                                                   \
    }
#define STATE_F_BOOL(T, f) STATE_FIELD_(T, f, STATE_BOOL)
#define STATE_F_UINT(T, f) STATE_FIELD_(T, f, STATE_UINT)
#define STATE_F_UINT_MAX(T, f, m) STATE_FIELD_(T, f, STATE_UINT, .max = (m))
#define STATE_F_INT(T, f) STATE_FIELD_(T, f, STATE_INT)
#define STATE_F_INT_RANGE(T, f, lo, hi) \
    STATE_FIELD_(T, f, STATE_INT, .min = (uint64_t)(int64_t)(lo), .max = (uint64_t)(int64_t)(hi))
#define STATE_F_BYTES(T, f) STATE_FIELD_(T, f, STATE_BYTES)
#define STATE_F_TIMER(T, f) STATE_FIELD_(T, f, STATE_TIMER)
#define STATE_F_STRUCT(T, f, d) STATE_FIELD_(T, f, STATE_STRUCT, .desc = &(d))
#define STATE_F_UINT_ARRAY(T, f)                                                                  \
    {                                                                                             \
        .name = #f, .kind = STATE_UINT, .offset = offsetof(T, f), .size = sizeof(((T *)0)->f[0]), \
        .count = sizeof(((T *)0)->f) / sizeof(((T *)0)->f[0]), .stride = sizeof(((T *)0)->f[0])   \
    }
#define STATE_F_BOOL_ARRAY(T, f)                                                                  \
    {                                                                                             \
        .name = #f, .kind = STATE_BOOL, .offset = offsetof(T, f), .size = sizeof(((T *)0)->f[0]), \
        .count = sizeof(((T *)0)->f) / sizeof(((T *)0)->f[0]), .stride = sizeof(((T *)0)->f[0])   \
    }
#define STATE_F_STRUCT_ARRAY(T, f, d)                                                          \
    {                                                                                          \
        .name = #f, .kind = STATE_STRUCT, .offset = offsetof(T, f),                            \
        .size = sizeof(((T *)0)->f[0]), .count = sizeof(((T *)0)->f) / sizeof(((T *)0)->f[0]), \
        .stride = sizeof(((T *)0)->f[0]), .desc = &(d)                                         \
    }
/* Array of structs of which the first obj->n (a uint32_t) travel; n is a field before. */
#define STATE_F_STRUCT_VARRAY(T, f, n, d)                                                      \
    {                                                                                          \
        .name = #f, .kind = STATE_STRUCT, .offset = offsetof(T, f),                            \
        .size = sizeof(((T *)0)->f[0]), .count = sizeof(((T *)0)->f) / sizeof(((T *)0)->f[0]), \
        .stride = sizeof(((T *)0)->f[0]), .count_offset = offsetof(T, n), .counted = true,     \
        .desc = &(d)                                                                           \
    }
/* Pointer to one struct, made at realize, whose contents travel. */
#define STATE_F_POINTER(T, f, d)                                                                   \
    {                                                                                              \
        .name = #f, .kind = STATE_POINTER, .offset = offsetof(T, f), .size = sizeof(*((T *)0)->f), \
        .stride = sizeof(((T *)0)->f), .desc = &(d)                                                \
    }
/* The length is written and read with the bytes: it is no field of its own. */
#define STATE_F_BUFFER(T, f, len, m)                                           \
    {                                                                          \
        .name = #f, .kind = STATE_BUFFER, .offset = offsetof(T, f), .size = 1, \
        .count_offset = offsetof(T, len), .max = (m)                           \
    }

/*
 * The encoding, all little-endian: "RST1"; length and text of the schema; length and bytes of
 * the values in the schema's order (optional parts after a byte that says whether they are
 * there); CRC-32 of all that.  A stream whose schema differs from ours is refused by the name of
 * the first field that differs.
 *
 * Serializes `obj` (its loop's lock held); the caller frees the bytes.
 */
GByteArray *state_save(const StateDesc *d, void *obj);
/*
 * Restores; on failure nothing of `obj` has changed.  `obj_size` is the size of
 * the instance, for the scratch copy.  Consumes all of `data` or refuses.
 */
bool state_load(const StateDesc *d, void *obj, size_t obj_size, const uint8_t *data, size_t len,
                Error **errp);
/* For messages: the field ("struct.field") whose bytes state_save() puts at this position. */
char *state_field_at(const StateDesc *d, void *obj, size_t position);
/* The description as text, one field a line: the golden schema files. */
char *state_schema(const StateDesc *d);
/* Fills the object's described fields with random values that pass `check`. */
void state_randomize(const StateDesc *d, void *obj, GRand *rng);

#endif
