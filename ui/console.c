/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Consoles: a device draws under its own lock and leaves surface changes,
 * damage and cursors in the console; the control loop hands them on to the
 * listeners.  `guard` protects what is left in between and is a leaf.
 */
#include "ui/console.h"

#include "ui/ui-internal.h"
#include "util/bits.h"

#include <string.h>

struct Console {
    UiContext *ui;
    const ConsoleOps *ops;
    void *opaque;
    EventLoop *loop;
    char *name;
    Object *device;
    GList *listeners; /* control thread only */
    Timer refresh;    /* runs while a listener wants refreshes */

    GMutex guard;
    Surface *surface;
    Cursor *cursor;
    int cursor_x, cursor_y;
    bool cursor_visible;
    pixman_region16_t damage;
    bool surface_changed, cursor_changed, cursor_moved, deliver_queued;
};

/* ---- surfaces and cursors ---- */

static Surface *surface_wrap(pixman_image_t *image)
{
    Surface *s = g_new0(Surface, 1);
    s->image = image;
    s->refs = 1;
    return s;
}

Surface *surface_new(int width, int height)
{
    return surface_wrap(pixman_image_create_bits(PIXMAN_x8r8g8b8, width, height, NULL, 0));
}

Surface *surface_new_from(int width, int height, pixman_format_code_t format, int stride,
                          void *data)
{
    return surface_wrap(pixman_image_create_bits_no_clear(format, width, height, data, stride));
}

Surface *surface_ref(Surface *s)
{
    g_atomic_int_inc(&s->refs);
    return s;
}

void surface_unref(Surface *s)
{
    if (s && g_atomic_int_dec_and_test(&s->refs)) {
        pixman_image_unref(s->image);
        g_free(s);
    }
}

int surface_width(const Surface *s)
{
    return pixman_image_get_width(s->image);
}

int surface_height(const Surface *s)
{
    return pixman_image_get_height(s->image);
}

int surface_stride(const Surface *s)
{
    return pixman_image_get_stride(s->image);
}

uint8_t *surface_data(const Surface *s)
{
    return (uint8_t *)pixman_image_get_data(s->image);
}

pixman_format_code_t surface_format(const Surface *s)
{
    return pixman_image_get_format(s->image);
}

Cursor *cursor_new(int width, int height)
{
    size_t pixels = (size_t)width * (size_t)height * sizeof(uint32_t);
    Cursor *c = g_malloc0(sizeof(*c) + pixels);
    c->width = width;
    c->height = height;
    c->refs = 1;
    return c;
}

void cursor_unref(Cursor *c)
{
    if (c && g_atomic_int_dec_and_test(&c->refs)) {
        g_free(c);
    }
}

/* ---- hand-over to the listeners ---- */

/* What one delivery takes out of the console, so that no callback runs under `guard`. */
typedef struct Delivery {
    Surface *surface; /* referenced when changed */
    Cursor *cursor;
    pixman_region16_t damage;
    bool surface_changed, cursor_changed, cursor_moved, visible;
    int x, y;
} Delivery;

static void take_delivery(Console *c, Delivery *d)
{
    g_mutex_lock(&c->guard);
    d->surface_changed = c->surface_changed;
    d->surface = c->surface_changed && c->surface ? surface_ref(c->surface) : NULL;
    d->cursor_changed = c->cursor_changed;
    d->cursor = c->cursor;
    if (d->cursor) {
        g_atomic_int_inc(&d->cursor->refs);
    }
    d->cursor_moved = c->cursor_moved;
    d->visible = c->cursor_visible;
    d->x = c->cursor_x;
    d->y = c->cursor_y;
    d->damage = c->damage;
    pixman_region_init(&c->damage);
    c->surface_changed = c->cursor_changed = c->cursor_moved = c->deliver_queued = false;
    g_mutex_unlock(&c->guard);
}

static void deliver_to(ConsoleListener *l, const Delivery *d)
{
    if (d->surface_changed && d->surface && l->ops->surface) {
        l->ops->surface(l, d->surface);
    }
    int n;
    pixman_box16_t *box = pixman_region_rectangles((pixman_region16_t *)&d->damage, &n);
    for (int i = 0; i < n && l->ops->damage; i++) {
        l->ops->damage(l, box[i].x1, box[i].y1, box[i].x2 - box[i].x1, box[i].y2 - box[i].y1);
    }
    if (d->cursor_changed && l->ops->cursor) {
        l->ops->cursor(l, d->cursor);
    }
    if (d->cursor_moved && l->ops->cursor_moved) {
        l->ops->cursor_moved(l, d->x, d->y, d->visible);
    }
}

static void deliver(void *opaque)
{
    Console *c = opaque;
    Delivery d;
    take_delivery(c, &d);
    for (GList *e = c->listeners, *next; e; e = next) {
        next = e->next;
        deliver_to(e->data, &d);
    }
    surface_unref(d.surface);
    cursor_unref(d.cursor);
    pixman_region_fini(&d.damage);
}

/* With `guard` held: something is left for the listeners. */
static void queue_delivery(Console *c)
{
    if (!c->deliver_queued) {
        c->deliver_queued = true;
        loop_defer(c->ui->control, deliver, c);
    }
}

/* ---- devices' side ---- */

void console_set_surface(Console *c, Surface *s)
{
    g_mutex_lock(&c->guard);
    Surface *old = c->surface;
    c->surface = s;
    c->surface_changed = true;
    pixman_region_fini(&c->damage);
    pixman_region_init_rect(&c->damage, 0, 0, (unsigned)surface_width(s),
                            (unsigned)surface_height(s));
    queue_delivery(c);
    g_mutex_unlock(&c->guard);
    surface_unref(old);
}

Surface *console_surface(Console *c)
{
    return c->surface;
}

void console_damage(Console *c, int x, int y, int w, int h)
{
    g_mutex_lock(&c->guard);
    int sw = c->surface ? surface_width(c->surface) : 0;
    int sh = c->surface ? surface_height(c->surface) : 0;
    w = MIN(w, sw - x);
    h = MIN(h, sh - y);
    if (x >= 0 && y >= 0 && w > 0 && h > 0) {
        pixman_region_union_rect(&c->damage, &c->damage, x, y, (unsigned)w, (unsigned)h);
        queue_delivery(c);
    }
    g_mutex_unlock(&c->guard);
}

void console_set_cursor(Console *c, Cursor *cursor)
{
    g_mutex_lock(&c->guard);
    Cursor *old = c->cursor;
    c->cursor = cursor;
    c->cursor_changed = true;
    queue_delivery(c);
    g_mutex_unlock(&c->guard);
    cursor_unref(old);
}

void console_move_cursor(Console *c, int x, int y, bool visible)
{
    g_mutex_lock(&c->guard);
    c->cursor_x = x;
    c->cursor_y = y;
    c->cursor_visible = visible;
    c->cursor_moved = true;
    queue_delivery(c);
    g_mutex_unlock(&c->guard);
}

/* ---- refreshes ---- */

static void update(Console *c)
{
    if (c->ops->update) {
        loop_lock(c->loop);
        c->ops->update(c->opaque);
        loop_unlock(c->loop);
    }
}

static void arm_refresh(Console *c)
{
    unsigned interval = 0;
    for (GList *e = c->listeners; e; e = e->next) {
        const ConsoleListener *l = e->data;
        if (l->interval_ms && (!interval || l->interval_ms < interval)) {
            interval = l->interval_ms;
        }
    }
    if (interval) {
        timer_mod(&c->refresh,
                  clock_now(loop_clocks(c->ui->control), CLOCK_RT) + interval * NS_PER_MS);
    } else {
        timer_del(&c->refresh);
    }
}

static void refresh_tick(void *opaque)
{
    Console *c = opaque;
    update(c);
    deliver(c);
    arm_refresh(c);
}

Surface *console_refresh(Console *c)
{
    update(c);
    deliver(c);
    g_mutex_lock(&c->guard);
    Surface *s = c->surface ? surface_ref(c->surface) : NULL;
    g_mutex_unlock(&c->guard);
    return s ? s : surface_new(640, 480);
}

char *console_text(Console *c)
{
    if (!c->ops->text) {
        return NULL;
    }
    loop_lock(c->loop);
    char *text = c->ops->text(c->opaque);
    loop_unlock(c->loop);
    return text;
}

void console_listen(Console *c, ConsoleListener *l)
{
    l->console = c;
    c->listeners = g_list_append(c->listeners, l);
    if (c->ops->invalidate) {
        loop_lock(c->loop);
        c->ops->invalidate(c->opaque);
        loop_unlock(c->loop);
    }
    g_mutex_lock(&c->guard);
    Delivery d = {.surface = c->surface ? surface_ref(c->surface) : NULL,
                  .surface_changed = true,
                  .cursor_changed = true,
                  .cursor = c->cursor};
    if (d.cursor) {
        g_atomic_int_inc(&d.cursor->refs);
    }
    g_mutex_unlock(&c->guard);
    pixman_region_init(&d.damage);
    deliver_to(l, &d);
    surface_unref(d.surface);
    cursor_unref(d.cursor);
    arm_refresh(c);
}

void console_unlisten(ConsoleListener *l)
{
    Console *c = l->console;
    if (c) {
        c->listeners = g_list_remove(c->listeners, l);
        l->console = NULL;
        arm_refresh(c);
    }
}

/* ---- contexts ---- */

Console *console_new(UiContext *ui, const ConsoleOps *ops, void *opaque, EventLoop *loop,
                     const char *name, Object *device)
{
    Console *c = g_new0(Console, 1);
    c->ui = ui;
    c->ops = ops;
    c->opaque = opaque;
    c->loop = loop;
    c->name = g_strdup(name);
    c->device = device;
    g_mutex_init(&c->guard);
    pixman_region_init(&c->damage);
    c->surface = surface_new(640, 480);
    timer_init(&c->refresh, ui->control, CLOCK_RT, refresh_tick, c);
    g_ptr_array_add(ui->consoles, c);
    return c;
}

void console_free(Console *c)
{
    if (!c) {
        return;
    }
    while (c->listeners) {
        console_unlisten(c->listeners->data);
    }
    timer_fini(&c->refresh);
    loop_lock(c->ui->control);
    loop_defer_cancel(c->ui->control, c);
    loop_unlock(c->ui->control);
    g_ptr_array_remove(c->ui->consoles, c);
    surface_unref(c->surface);
    cursor_unref(c->cursor);
    pixman_region_fini(&c->damage);
    g_mutex_clear(&c->guard);
    g_free(c->name);
    g_free(c);
}

UiContext *ui_new(EventLoop *control)
{
    UiContext *ui = g_new0(UiContext, 1);
    ui->control = control;
    ui->consoles = g_ptr_array_new();
    ui_input_init(ui);
    return ui;
}

void ui_free(UiContext *ui)
{
    if (!ui) {
        return;
    }
    g_assert(ui->consoles->len == 0);
    ui_input_fini(ui);
    g_ptr_array_free(ui->consoles, TRUE);
    g_free(ui);
}

Console *ui_console(UiContext *ui, unsigned index)
{
    return index < ui->consoles->len ? ui->consoles->pdata[index] : NULL;
}

Console *ui_console_of(UiContext *ui, const char *device_id, unsigned head, Error **errp)
{
    if (!device_id) {
        Console *c = ui_console(ui, 0);
        if (!c) {
            error_set(errp, "this machine has no display");
            error_hint(errp, "add one with -vga std or -device VGA");
        }
        return c;
    }
    unsigned n = 0;
    for (guint i = 0; i < ui->consoles->len; i++) {
        Console *c = ui->consoles->pdata[i];
        if (c->device && c->device->name && !strcmp(c->device->name, device_id) && n++ == head) {
            return c;
        }
    }
    if (n) {
        error_set(errp, "display '%s' has %u head(s); there is no head %u", device_id, n, head);
    } else {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "there is no display device '%s'",
                        device_id);
    }
    return NULL;
}
