/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Management commands about pictures and input. */
#include "hw/core/machine.h"
#include "qapi/qapi-commands.h"
#include "ui/console.h"
#include "ui/ui-internal.h"

G_STATIC_ASSERT((int)Q_KEY_CODE__MAX == (int)KEY_CODE_COUNT);

static int key_code(const QKeyValue *k, Error **errp)
{
    if (k->type == Q_KEY_VALUE_KIND_QCODE) {
        return (int)k->u.qcode->data; /* the same order: ui/keycodes.h */
    }
    int64_t n = k->u.number->data;
    int code = n >= 0 && n <= 0xffff ? keycode_from_xt((int)n) : 0;
    if (code <= 0) {
        error_set(errp, "There is no key number %" G_GINT64_FORMAT, n);
        return -1;
    }
    return code;
}

bool qmp_send_key(Object *root, GPtrArray *keys, bool has_hold_time, int64_t hold_time,
                  Error **errp)
{
    int codes[16];
    if (keys->len == 0 || keys->len > G_N_ELEMENTS(codes)) {
        error_set(errp, "'keys' needs 1 to %zu keys", G_N_ELEMENTS(codes));
        return false;
    }
    if (has_hold_time && (hold_time < 0 || hold_time > 60000)) {
        error_set(errp, "'hold-time' must be from 0 to 60000 ms");
        return false;
    }
    for (unsigned i = 0; i < keys->len; i++) {
        codes[i] = key_code(keys->pdata[i], errp);
        if (codes[i] < 0) {
            return false;
        }
    }
    input_send_keys(machine_of(root)->ui, codes, keys->len,
                    has_hold_time ? (unsigned)hold_time : 0);
    return true;
}

static bool convert(const QInputEvent *e, InputEvent *out, Error **errp)
{
    *out = (InputEvent){0};
    switch (e->type) {
    case Q_INPUT_EVENT_KIND_KEY:
        out->kind = INPUT_KEY;
        out->down = e->u.key->data->down;
        out->code = key_code(e->u.key->data->key, errp);
        return out->code >= 0;
    case Q_INPUT_EVENT_KIND_BTN:
        out->kind = INPUT_BUTTON;
        out->down = e->u.btn->data->down;
        out->code = (int)e->u.btn->data->button;
        return true;
    default: {
        bool absolute = e->type == Q_INPUT_EVENT_KIND_ABS;
        const QInputMoveEvent *m = absolute ? e->u.abs->data : e->u.rel->data;
        int64_t lo = absolute ? 0 : -INPUT_ABS_MAX;
        if (m->value < lo || m->value > INPUT_ABS_MAX) {
            error_set(errp, "'value' must be from %" G_GINT64_FORMAT " to %d", lo, INPUT_ABS_MAX);
            return false;
        }
        out->kind = absolute ? INPUT_ABS : INPUT_REL;
        out->code = (int)m->axis;
        out->value = (int)m->value;
        return true;
    }
    }
}

bool qmp_input_send_event(Object *root, const char *device, bool has_head, int64_t head,
                          GPtrArray *events, Error **errp)
{
    Machine *m = machine_of(root);
    g_autofree InputEvent *list = g_new0(InputEvent, events->len + 1);
    if (device && !ui_console_of(m->ui, device, has_head ? (unsigned)head : 0, errp)) {
        return false;
    }
    for (unsigned i = 0; i < events->len; i++) {
        if (!convert(events->pdata[i], &list[i], errp)) {
            return false;
        }
    }
    input_send(m->ui, list, events->len);
    return true;
}

bool qmp_screendump(Object *root, const char *filename, const char *device, bool has_head,
                    int64_t head, bool has_format, QImageFormat format, Error **errp)
{
    Machine *m = machine_of(root);
    Console *c = device ? ui_console_of(m->ui, device, has_head ? (unsigned)head : 0, errp)
                        : ui_console(m->ui, 0);
    if (!c) {
        if (!device) {
            error_set(errp, "There is no console to take a screendump from");
        }
        return false;
    }
    return ui_screendump(m->ui, c, filename, has_format ? QImageFormat_names[format] : "ppm", errp);
}

bool qmp_query_mice(Object *root, GPtrArray **out, Error **errp)
{
    GList *handlers = machine_of(root)->ui->handlers;
    bool first = true;
    int64_t index = 0;
    *out = g_ptr_array_new();
    for (GList *l = handlers; l; l = l->next) {
        const InputHandler *h = l->data;
        if (!(h->mask & (1u << INPUT_REL | 1u << INPUT_ABS))) {
            continue;
        }
        QMouseInfo *m = g_new0(QMouseInfo, 1);
        m->name = g_strdup(h->name);
        m->index = index++;
        m->current = first; /* the newest gets the events */
        m->absolute = h->mask & 1u << INPUT_ABS;
        first = false;
        g_ptr_array_add(*out, m);
    }
    return true;
}
