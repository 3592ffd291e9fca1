/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What PS/2 keyboard and mouse have in common: the queue towards the controller, and answers.
 */
#include "hw/input/ps2_int.h"
#include "util/log.h"

#include <string.h>

#define SELF_TEST_OK 0xaa

bool ps2_has_data(const Ps2Device *d)
{
    return d->queue.count != 0;
}

bool ps2_next_is_reply(const Ps2Device *d)
{
    return d->queue.replies != 0;
}

bool ps2_room(const Ps2Device *d, unsigned n)
{
    /* Sixteen places stay free for answers to commands. */
    return d->queue.count + n <= PS2_QUEUE - 16;
}

static void put(Ps2Queue *q, uint32_t at, uint8_t v)
{
    q->data[(q->head + at) % PS2_QUEUE] = v;
}

void ps2_put(Ps2Device *d, uint8_t v)
{
    Ps2Queue *q = &d->queue;

    if (q->count < PS2_QUEUE) {
        put(q, q->count++, v);
    }
}

/* An answer goes before everything that is not one. */
void ps2_reply(Ps2Device *d, uint8_t v)
{
    Ps2Queue *q = &d->queue;

    if (q->count == PS2_QUEUE) {
        q->count--;
        if (q->replies > q->count) {
            q->replies = q->count;
        }
    }
    for (uint32_t i = q->count; i > q->replies; i--) {
        put(q, i, q->data[(q->head + i - 1) % PS2_QUEUE]);
    }
    put(q, q->replies++, v);
    q->count++;
}

void ps2_reply_self_test(Ps2Device *d)
{
    ps2_reply(d, PS2_ACK);
    ps2_reply(d, SELF_TEST_OK);
}

void ps2_other_command(Ps2Device *d, uint8_t cmd)
{
    if (cmd == PS2_CMD_RESEND) {
        ps2_reply(d, d->last);
    } else {
        guest_error(d->name, "command 0x%02x", cmd);
        ps2_reply(d, PS2_RESEND);
    }
}

void ps2_queue_clear(Ps2Device *d)
{
    memset(&d->queue, 0, sizeof(d->queue));
}

uint8_t ps2_take(Ps2Device *d)
{
    Ps2Queue *q = &d->queue;

    if (!q->count) {
        return d->last;
    }
    d->last = q->data[q->head];
    q->head = (q->head + 1) % PS2_QUEUE;
    q->count--;
    if (q->replies) {
        q->replies--;
    }
    if (d->drained) {
        d->drained(d);
    }
    return d->last;
}

void ps2_ready(Ps2Device *d)
{
    d->ready(d->opaque);
}

void ps2_init(Ps2Device *d, const char *name, UiContext *ui, EventLoop *loop, void (*ready)(void *),
              void *opaque)
{
    d->name = name;
    d->ready = ready;
    d->opaque = opaque;
    d->ui = ui;
    d->pending = -1;
    d->input.name = name;
    d->input.opaque = d;
    d->input.loop = loop;
    if (ui) {
        input_add(ui, &d->input);
    }
}

void ps2_fini(Ps2Device *d)
{
    if (d->ui) {
        input_remove(d->ui, &d->input);
        d->ui = NULL;
    }
}

static bool queue_check(const void *obj, Error **errp)
{
    const Ps2Queue *q = obj;

    if (q->replies > q->count) {
        error_set(errp, "PS/2 queue: %u replies among %u bytes", q->replies, q->count);
        return false;
    }
    return true;
}

static const StateDesc queue_state = {
    .name = "ps2-queue",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_BYTES(Ps2Queue, data),
            STATE_F_UINT_MAX(Ps2Queue, head, PS2_QUEUE - 1),
            STATE_F_UINT_MAX(Ps2Queue, count, PS2_QUEUE),
            STATE_F_UINT_MAX(Ps2Queue, replies, PS2_QUEUE),
            {0},
        },
    .check = queue_check,
};

const StateDesc ps2_device_state = {
    .name = "ps2",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_STRUCT(Ps2Device, queue, queue_state),
            STATE_F_INT_RANGE(Ps2Device, pending, -1, 255),
            STATE_F_UINT(Ps2Device, last),
            {0},
        },
};
