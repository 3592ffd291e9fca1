/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Output kept in memory, the oldest overwritten; read by ringbuf-read. */
#include "chardev/backend.h"
#include "util/bits.h"

typedef struct RingChardev {
    Chardev chr;
    uint8_t *buf;
    size_t size;         /* a power of two */
    uint64_t put, taken; /* bytes ever written, and read or overwritten */
} RingChardev;

static size_t ring_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    RingChardev *r = (RingChardev *)chr;
    for (size_t i = 0; i < len; i++) {
        r->buf[r->put++ & (r->size - 1)] = buf[i];
    }
    if (r->put - r->taken > r->size) {
        r->taken = r->put - r->size;
    }
    return len;
}

GByteArray *chardev_ringbuf_read(Chardev *chr, size_t max)
{
    if (!object_is_a(&chr->obj, "chardev-ringbuf")) {
        return NULL;
    }
    RingChardev *r = (RingChardev *)chr;
    GByteArray *out = g_byte_array_new();
    pthread_mutex_lock(&chr->lock);
    while (r->taken < r->put && out->len < max) {
        g_byte_array_append(out, &r->buf[r->taken++ & (r->size - 1)], 1);
    }
    pthread_mutex_unlock(&chr->lock);
    return out;
}

static bool ring_open(Chardev *chr, CharOptions *o, Error **errp)
{
    RingChardev *r = (RingChardev *)chr;
    uint64_t size = char_option_size(o, "size", 65536);
    if (!IS_POWER_OF_2(size) || size > GiB) {
        char_option_mistake(o, "'size' must be a power of two of at most 1G");
    }
    if (!char_options_check(o, errp)) {
        return false;
    }
    r->size = size;
    r->buf = g_malloc0(size);
    chr->open = true;
    return true;
}

static void ring_close(Chardev *chr)
{
    g_free(((RingChardev *)chr)->buf);
}

static const char *const ring_aliases[] = {"chardev-memory", NULL};
static const ChardevClass ring_class = {
    .open = ring_open, .close = ring_close, .write = ring_write};
OBJECT_TYPE(ring_type, .name = "chardev-ringbuf", .parent = TYPE_CHARDEV,
            .size = sizeof(RingChardev), .help = "a ring buffer in memory", .klass = &ring_class,
            .aliases = ring_aliases)
