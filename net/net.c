/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "net/net.h"

#include "net/netdev.h"
#include "util/bits.h"
#include "util/option.h"
#include "util/trace.h"

#include <string.h>

TRACE_EVENT(net_queue_full, "client %s drops a packet of %zu bytes")

#define QUEUE_MAX 256

/* A packet that waits for its receiver. */
typedef struct Packet {
    size_t len;
    uint8_t data[];
} Packet;

/* ---- clients and packets ---- */

void net_client_init(NetClient *nc, const NetClientOps *ops, void *opaque, const char *model,
                     const char *name)
{
    *nc = (NetClient){.ops = ops,
                      .opaque = opaque,
                      .model = g_strdup(model),
                      .name = g_strdup(name),
                      .info_str = g_strdup("")};
    g_queue_init(&nc->incoming);
}

void net_client_fini(NetClient *nc)
{
    if (!nc->ops) {
        return;
    }
    net_disconnect(nc);
    g_queue_clear_full(&nc->incoming, g_free);
    g_clear_pointer(&nc->name, g_free);
    g_clear_pointer(&nc->model, g_free);
    g_clear_pointer(&nc->info_str, g_free);
    nc->ops = NULL;
}

bool net_connect(NetClient *a, NetClient *b, Error **errp)
{
    NetClient *taken = a->peer ? a : b->peer ? b : NULL;
    if (taken) {
        error_set(errp, "network client '%s' is already connected to '%s'", taken->name,
                  taken->peer->name);
        error_hint(errp, "one -netdev serves one NIC; give each NIC its own");
        return false;
    }
    a->peer = b;
    b->peer = a;
    return true;
}

void net_disconnect(NetClient *nc)
{
    if (nc->peer) {
        g_queue_clear_full(&nc->peer->incoming, g_free);
        nc->peer->peer = NULL;
        nc->peer = NULL;
    }
}

static bool can_receive(NetClient *nc)
{
    return !nc->ops->can_receive || nc->ops->can_receive(nc);
}

static bool link_up(const NetClient *nc)
{
    return !nc->link_down && !(nc->peer && nc->peer->link_down);
}

static void enqueue(NetClient *to, const struct iovec *iov, unsigned n, size_t len)
{
    if (g_queue_get_length(&to->incoming) >= QUEUE_MAX) {
        trace(net_queue_full, to->name, len);
        return;
    }
    Packet *p = g_malloc(sizeof(*p) + len);
    p->len = iov_to_buf(iov, n, 0, p->data, len);
    g_queue_push_tail(&to->incoming, p);
}

bool net_sendv(NetClient *from, const struct iovec *iov, unsigned n)
{
    NetClient *to = from->peer;
    size_t len = iov_length(iov, n);
    if (!to || !link_up(from) || len > NET_MAX_FRAME) {
        return true; /* into the void, as on an open cable */
    }
    if (!g_queue_is_empty(&to->incoming) || !can_receive(to) || to->ops->receive(to, iov, n) == 0) {
        enqueue(to, iov, n, len);
        return false;
    }
    return true;
}

bool net_send(NetClient *from, const void *buf, size_t len)
{
    struct iovec iov = {(void *)buf, len};
    return net_sendv(from, &iov, 1);
}

void net_flush(NetClient *nc)
{
    while (!g_queue_is_empty(&nc->incoming) && can_receive(nc)) {
        Packet *p = g_queue_pop_head(&nc->incoming);
        struct iovec iov = {p->data, p->len};
        if (link_up(nc) && nc->ops->receive(nc, &iov, 1) == 0) {
            g_queue_push_head(&nc->incoming, p);
            return;
        }
        g_free(p);
    }
}

bool net_can_send(const NetClient *nc)
{
    const NetClient *to = nc->peer;
    return !to || (g_queue_is_empty((GQueue *)&to->incoming) && can_receive((NetClient *)to));
}

void net_set_link(NetClient *nc, bool up)
{
    if (nc->link_down == !up) {
        return;
    }
    nc->link_down = !up;
    if (!up) {
        g_queue_clear_full(&nc->incoming, g_free);
    }
    if (nc->ops->link_changed) {
        nc->ops->link_changed(nc);
    }
    if (nc->peer && nc->peer->ops->link_changed) {
        nc->peer->ops->link_changed(nc->peer);
    }
}

/* ---- MAC addresses ---- */

/* Counts per machine: kept in the container of the backends. */
void net_default_mac(Object *root, uint8_t mac[6])
{
    static const uint8_t base[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    NetRegistry *r = net_registry(root);
    memcpy(mac, base, 6);
    mac[5] = (uint8_t)(mac[5] + r->next_mac++);
}

bool net_nic_init(NetClient *nc, const NetClientOps *ops, void *opaque, const char *model,
                  const char *name, NicConf *conf, Object *root, Error **errp)
{
    static const uint8_t none[6] = {0};
    uint8_t *mac = conf->mac;
    if (!memcmp(mac, none, 6)) {
        net_default_mac(root, mac);
    }
    net_client_init(nc, ops, opaque, model, name);
    if (conf->netdev && !net_connect(nc, netdev_client(conf->netdev), errp)) {
        net_client_fini(nc);
        return false;
    }
    g_free(nc->info_str);
    nc->info_str = g_strdup_printf("macaddr=%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
                                   mac[3], mac[4], mac[5]);
    return true;
}

NetRegistry *net_registry(Object *root)
{
    Object *existing = object_resolve(root, "/net-registry");
    if (!existing) {
        existing = object_new(TYPE_NET_REGISTRY);
        object_add_child(root, "net-registry", existing);
    }
    return (NetRegistry *)existing;
}

OBJECT_TYPE(net_registry_type, .name = TYPE_NET_REGISTRY, .parent = "object",
            .size = sizeof(NetRegistry), .help = "what the network backends of a machine share")

/* ---- backends ---- */

static void netdev_finalize(Object *obj)
{
    net_client_fini(&((Netdev *)obj)->nc);
}

OBJECT_TYPE(netdev_type, .name = TYPE_NETDEV, .parent = "object", .size = sizeof(Netdev),
            .help = "network backend", .abstract = true, .container = "/netdevs",
            .finalize = netdev_finalize)

NetClient *netdev_client(Object *netdev)
{
    return &OBJECT_CAST(Netdev, netdev, TYPE_NETDEV)->nc;
}

/* The backends of this build, for error messages. */
static char *netdev_kinds(const char *wanted, const char **near)
{
    const TypeInfo **types = type_list(TYPE_NETDEV, false);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const TypeInfo **t = types; *t; t++) {
        g_ptr_array_add(names, (void *)((*t)->name + strlen("netdev-")));
    }
    g_ptr_array_add(names, NULL);
    *near = nearest_word(wanted, (const char *const *)names->pdata);
    char *all = g_strjoinv(", ", (char **)names->pdata);
    g_free(types);
    return all;
}

const TypeInfo *netdev_find_type(const char *kind, Error **errp)
{
    g_autofree char *type = g_strdup_printf("netdev-%s", kind);
    const TypeInfo *t = type_find(type);
    if (!t || t->abstract || !type_is_a(t, TYPE_NETDEV)) {
        const char *near;
        g_autofree char *all = netdev_kinds(kind, &near);
        error_set(errp, "there is no network backend type '%s'", kind);
        error_hint(errp, "available: %s", *all ? all : "none in this build");
        return NULL;
    }
    return t;
}

Object *netdev_new(Object *root, const char *id, Json *options, EventLoop *loop, Error **errp)
{
    static const char *const ignore[] = {"type", "id", NULL};
    const char *kind = json_get_str(options, "type");
    if (!kind || !id || !*id) {
        error_set(errp, "a network backend needs %s", kind ? "an id (id=…)" : "a type");
        return NULL;
    }
    Object *container = object_container(root, "/netdevs");
    if (container->children && g_hash_table_contains(container->children, id)) {
        error_set(errp, "there is already a network backend '%s'", id);
        return NULL;
    }
    const TypeInfo *t = netdev_find_type(kind, errp);
    if (!t) {
        return NULL;
    }
    Object *obj = object_new(t->name);
    Netdev *nd = (Netdev *)obj;
    nd->loop = loop;
    nd->id = g_strdup(id);
    object_add_child(container, id, obj);
    if (!object_set_from(obj, options, ignore, NULL, errp) || !object_complete(obj, errp)) {
        error_prefix(errp, "network backend '%s': ", id);
        object_unparent(obj);
        return NULL;
    }
    return obj;
}

bool netdev_del(Object *root, const char *id, Error **errp)
{
    Object *container = object_container(root, "/netdevs");
    Object *obj = container->children ? g_hash_table_lookup(container->children, id) : NULL;
    if (!obj) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "there is no network backend '%s'", id);
        return false;
    }
    Netdev *nd = (Netdev *)obj;
    loop_lock(nd->loop);
    net_disconnect(&nd->nc);
    object_unparent(obj);
    loop_unlock(nd->loop);
    return true;
}

static bool print_netdev(Object *obj, void *opaque)
{
    GString *out = opaque;
    Netdev *nd = (Netdev *)obj;
    if (nd->nc.peer) {
        g_string_append_printf(out, "%s: model=%s,%s\n \\ ", nd->nc.peer->name, nd->nc.peer->model,
                               nd->nc.peer->info_str);
    }
    g_string_append_printf(out, "%s: index=0,type=%s,%s\n", nd->nc.name, nd->nc.model,
                           nd->nc.info_str);
    if (nd->nc.ops->info) {
        nd->nc.ops->info(&nd->nc, out);
    }
    return true;
}

void net_print_info(Object *root, GString *out)
{
    object_each_child(object_container(root, "/netdevs"), print_netdev, out);
}

/* ---- checksums ---- */

uint32_t net_checksum_add(const void *buf, size_t len, uint32_t sum, size_t odd_offset)
{
    const uint8_t *p = buf;
    for (size_t i = 0; i < len; i++) {
        sum += ((i + odd_offset) & 1) ? p[i] : (uint32_t)p[i] << 8;
        if (sum & 0x80000000u) {
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    return sum;
}

uint16_t net_checksum_finish(uint32_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}
