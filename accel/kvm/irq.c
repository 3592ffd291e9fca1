/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupt lines and messages into the kernel; eventfds that ring and are rung. */
#include "accel/kvm/kvm.h"
#include "util/log.h"
#include "util/trace.h"

#include <errno.h>
#include <string.h>

TRACE_EVENT(kvm_ioeventfd, "pio %d addr 0x%llx size %u match %d data 0x%llx: %d")

/* ---- routes: GSI 0-23 are the board's pins, those from 24 on messages of devices ---- */

static bool push_routes(Kvm *k)
{
    return kvm_ioctl(k->vm, KVM_SET_GSI_ROUTING, k->routes) >= 0;
}

static void add_route(Kvm *k, uint32_t gsi, uint32_t type, uint32_t chip, uint32_t pin)
{
    struct kvm_irq_routing_entry *e = &k->routes->entries[k->routes->nr++];

    *e = (struct kvm_irq_routing_entry){.gsi = gsi, .type = type};
    e->u.irqchip.irqchip = chip;
    e->u.irqchip.pin = pin;
}

static struct kvm_irq_routing_entry *find_route(Kvm *k, uint32_t gsi)
{
    for (uint32_t i = 0; i < k->routes->nr; i++) {
        struct kvm_irq_routing_entry *e = &k->routes->entries[i];

        if (e->gsi == gsi && e->type == KVM_IRQ_ROUTING_MSI) {
            return e;
        }
    }
    return NULL;
}

static void remove_route(Kvm *k, uint32_t gsi)
{
    struct kvm_irq_routing_entry *e = find_route(k, gsi);

    if (e) {
        *e = k->routes->entries[--k->routes->nr];
    }
}

static bool put_message(Kvm *k, uint32_t gsi, uint64_t address, uint32_t data)
{
    struct kvm_irq_routing_entry *e = find_route(k, gsi);

    if (!e) {
        if (k->routes->nr == KVM_MAX_ROUTES) {
            return false;
        }
        e = &k->routes->entries[k->routes->nr++];
    } else if (e->u.msi.address_lo == (uint32_t)address &&
               e->u.msi.address_hi == (uint32_t)(address >> 32) && e->u.msi.data == data) {
        return true;
    }
    *e = (struct kvm_irq_routing_entry){.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI};
    e->u.msi.address_lo = (uint32_t)address;
    e->u.msi.address_hi = (uint32_t)(address >> 32);
    e->u.msi.data = data;
    return push_routes(k);
}

/* The timer's wire is pin 2 of the I/O APIC and line 0 of the 8259; the kernel's timer is at 0. */
static void board_routes(Kvm *k)
{
    for (uint32_t n = 0; n < KVM_MAX_PINS; n++) {
        uint32_t line = n == 2 ? 0 : n;

        if (n < 16) {
            add_route(k, n, KVM_IRQ_ROUTING_IRQCHIP,
                      line < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, line & 7);
        }
        add_route(k, n, KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQCHIP_IOAPIC, n == 0 ? 2 : n);
    }
    push_routes(k);
}

/* ---- the table for devices ---- */

static void set_gsi(Accel *a, unsigned gsi, int level)
{
    struct kvm_irq_level l = {.irq = gsi, .level = level != 0};

    kvm_ioctl(kvm_of(a)->vm, KVM_IRQ_LINE, &l);
}

static void send_msi(Accel *a, uint64_t address, uint32_t data)
{
    struct kvm_msi m = {
        .address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32), .data = data};

    kvm_ioctl(kvm_of(a)->vm, KVM_SIGNAL_MSI, &m);
}

static bool get_chip(Accel *a, struct kvm_irqchip *chip)
{
    return kvm_ioctl(kvm_of(a)->vm, KVM_GET_IRQCHIP, chip) >= 0;
}

static bool set_chip(Accel *a, const struct kvm_irqchip *chip)
{
    return kvm_ioctl(kvm_of(a)->vm, KVM_SET_IRQCHIP, (void *)chip) >= 0;
}

static void set_route(Accel *a, unsigned gsi, uint64_t address, uint32_t data, bool on)
{
    Kvm *k = kvm_of(a);

    pthread_mutex_lock(&k->irq_lock);
    if (on) {
        put_message(k, gsi, address, data);
    } else if (find_route(k, gsi)) {
        remove_route(k, gsi);
        push_routes(k);
    }
    pthread_mutex_unlock(&k->irq_lock);
}

static void set_eoi(Accel *a, void (*eoi)(void *opaque, uint8_t vector), void *opaque)
{
    kvm_of(a)->eoi = eoi;
    kvm_of(a)->eoi_opaque = opaque;
}

/* ---- the timer ---- */

static bool pit_create(Accel *a, bool reinject, void (*running)(void *opaque, bool run),
                       void *opaque, Error **errp)
{
    Kvm *k = kvm_of(a);
    struct kvm_pit_config config = {0};
    struct kvm_reinject_control control = {.pit_reinject = reinject};
    int r = kvm_ioctl(k->vm, KVM_CREATE_PIT2, &config);

    if (r < 0) {
        error_set_errno(errp, -r, "the kernel cannot create its 8254");
        return false;
    }
    r = kvm_check(k, KVM_CAP_REINJECT_CONTROL) > 0
            ? kvm_ioctl(k->vm, KVM_REINJECT_CONTROL, &control)
        : reinject ? 0
                   : -ENOTSUP;
    if (r < 0) {
        error_set_errno(errp, -r, "the kernel's 8254 cannot discard ticks");
        return false;
    }
    k->pit_running = running;
    k->pit_opaque = opaque;
    return true;
}

static bool get_pit(Accel *a, struct kvm_pit_state2 *state)
{
    return kvm_ioctl(kvm_of(a)->vm, KVM_GET_PIT2, state) >= 0;
}

static bool set_pit(Accel *a, const struct kvm_pit_state2 *state)
{
    return kvm_ioctl(kvm_of(a)->vm, KVM_SET_PIT2, (void *)state) >= 0;
}

/* ---- messages by eventfd ---- */

static int msi_route(Accel *a)
{
    Kvm *k = kvm_of(a);
    int gsi = -1;

    pthread_mutex_lock(&k->irq_lock);
    for (int i = KVM_MAX_PINS; i < KVM_MAX_ROUTES - 2 * KVM_MAX_PINS && gsi < 0; i++) {
        if (!(k->msi_used[i / 64] >> (i % 64) & 1)) {
            k->msi_used[i / 64] |= 1ull << (i % 64);
            gsi = i;
        }
    }
    pthread_mutex_unlock(&k->irq_lock);
    return gsi;
}

static bool msi_update(Accel *a, int route, uint64_t address, uint32_t data)
{
    Kvm *k = kvm_of(a);
    bool ok;

    pthread_mutex_lock(&k->irq_lock);
    ok = put_message(k, (uint32_t)route, address, data);
    pthread_mutex_unlock(&k->irq_lock);
    return ok;
}

static void msi_free(Accel *a, int route)
{
    Kvm *k = kvm_of(a);

    pthread_mutex_lock(&k->irq_lock);
    remove_route(k, (uint32_t)route);
    k->msi_used[route / 64] &= ~(1ull << (route % 64));
    pthread_mutex_unlock(&k->irq_lock);
}

static bool irqfd(Accel *a, int route, int fd, bool connect)
{
    struct kvm_irqfd i = {
        .fd = (uint32_t)fd, .gsi = (uint32_t)route, .flags = connect ? 0 : KVM_IRQFD_FLAG_DEASSIGN};

    return kvm_ioctl(kvm_of(a)->vm, KVM_IRQFD, &i) >= 0;
}

/* ---- creation ---- */

static bool create_split(Kvm *k, Error **errp)
{
    struct kvm_enable_cap e = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {KVM_MAX_PINS}};
    int r =
        kvm_check(k, KVM_CAP_SPLIT_IRQCHIP) > 0 ? kvm_ioctl(k->vm, KVM_ENABLE_CAP, &e) : -ENOTSUP;

    if (r < 0) {
        error_set_errno(errp, -r, "the kernel has no kernel-irqchip=split");
        error_hint(errp, "use kernel-irqchip=on or off\n");
        return false;
    }
    return true;
}

static void connect_ops(Kvm *k)
{
    k->ops = (AccelIrqchip){
        .board = k->irqchip == KVM_IRQCHIP_MODE_ON,
        .set_gsi = set_gsi,
        .msi = send_msi,
        .get_chip = get_chip,
        .set_chip = set_chip,
        .set_route = set_route,
        .set_eoi = set_eoi,
    };
    if (kvm_check(k, KVM_CAP_IRQFD) > 0) {
        k->ops.msi_route = msi_route;
        k->ops.msi_update = msi_update;
        k->ops.msi_free = msi_free;
        k->ops.irqfd = irqfd;
    }
    if (k->ops.board && kvm_check(k, KVM_CAP_PIT2) > 0 && kvm_check(k, KVM_CAP_PIT_STATE2) > 0) {
        k->ops.pit_create = pit_create;
        k->ops.get_pit = get_pit;
        k->ops.set_pit = set_pit;
    }
    k->accel->irqchip = &k->ops;
}

bool kvm_irqchip_create(Kvm *k, Error **errp)
{
    bool able =
        kvm_check(k, KVM_CAP_IRQCHIP) > 0 && k->signal_msi && kvm_check(k, KVM_CAP_IRQ_ROUTING) > 0;
    int r;

    pthread_mutex_init(&k->irq_lock, NULL);
    k->routes =
        g_malloc0(sizeof(*k->routes) + KVM_MAX_ROUTES * sizeof(struct kvm_irq_routing_entry));
    if (k->irqchip == KVM_IRQCHIP_MODE_ON && !able) {
        report_warning("kvm: the kernel has no interrupt controllers for guests: "
                       "kernel-irqchip=off");
        k->irqchip = KVM_IRQCHIP_MODE_OFF;
    }
    if (k->irqchip == KVM_IRQCHIP_MODE_OFF) {
        return true;
    }
    if (k->irqchip == KVM_IRQCHIP_MODE_SPLIT) {
        if (!create_split(k, errp)) {
            return false;
        }
    } else {
        r = kvm_ioctl(k->vm, KVM_CREATE_IRQCHIP, NULL);
        if (r < 0) {
            error_set_errno(errp, -r, "the kernel cannot create its interrupt controllers");
            return false;
        }
        board_routes(k);
    }
    connect_ops(k);
    return true;
}

void kvm_irqchip_fini(Kvm *k)
{
    if (k->routes) {
        g_free(k->routes);
        pthread_mutex_destroy(&k->irq_lock);
    }
}

/* ---- doorbells ---- */

static void ioeventfd(Kvm *k, const MemSection *s, unsigned size, bool match, uint64_t data, int fd,
                      bool pio, bool add)
{
    struct kvm_ioeventfd e = {
        .addr = s->addr,
        .len = size,
        .fd = fd,
        .datamatch = match ? data : 0,
        .flags = (match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) | (pio ? KVM_IOEVENTFD_FLAG_PIO : 0) |
                 (add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };
    /* Refused: then the write leaves the guest and memory/dispatch.c rings. */
    int r = kvm_ioctl(k->vm, KVM_IOEVENTFD, &e);

    trace(kvm_ioeventfd, pio, (unsigned long long)s->addr, size, match, (unsigned long long)data,
          r);
}

static void mem_add(MemoryListener *l, const MemSection *s, unsigned size, bool match,
                    uint64_t data, int fd)
{
    ioeventfd(container_of(l, KvmSpace, listener)->kvm, s, size, match, data, fd, false, true);
}

static void mem_del(MemoryListener *l, const MemSection *s, unsigned size, bool match,
                    uint64_t data, int fd)
{
    ioeventfd(container_of(l, KvmSpace, listener)->kvm, s, size, match, data, fd, false, false);
}

static void io_add(MemoryListener *l, const MemSection *s, unsigned size, bool match, uint64_t data,
                   int fd)
{
    ioeventfd(container_of(l, Kvm, io_listener), s, size, match, data, fd, true, true);
}

static void io_del(MemoryListener *l, const MemSection *s, unsigned size, bool match, uint64_t data,
                   int fd)
{
    ioeventfd(container_of(l, Kvm, io_listener), s, size, match, data, fd, true, false);
}

void kvm_eventfds(MemoryListener *l, bool pio)
{
    l->eventfd_add = pio ? io_add : mem_add;
    l->eventfd_del = pio ? io_del : mem_del;
}
