/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "netdev-user": a private network behind this process's own sockets, by
 * libslirp: DHCP, DNS, TFTP, NAT, port forwards.  libslirp is not thread-safe:
 * everything runs under the loop's lock.
 *
 * libslirp wants to fill a poll set before each sleep.  Here its descriptors are
 * watched by the event loop; after whatever may have changed the set, refill()
 * runs once and tells the loop the difference.
 */
#include "net/netdev.h"
#include "net/slirp-module.h"
#include "util/bits.h"
#include "util/log.h"
#include "util/option.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

typedef struct UserNet {
    Netdev nd;
    /* properties */
    bool ipv4, ipv6, restricted;
    char *net, *host, *hostname, *tftp, *bootfile, *dhcpstart, *dns, *domainname, *tftp_server;
    char *ipv6_prefix, *ipv6_host, *ipv6_dns;
    uint32_t ipv6_prefixlen;
    Json *hostfwd, *guestfwd, *dnssearch;

    const SlirpModule *lib;
    Slirp *slirp;
    GArray *polls;  /* struct pollfd: what the loop watches now */
    GArray *wanted; /* struct pollfd: being filled */
    Timer timeout;  /* libslirp's own time-outs */
    bool refill_queued;
} UserNet;

typedef struct SlirpTimer {
    Timer timer;
    SlirpTimerCb fn;
    void *opaque;
} SlirpTimer;

static void queue_refill(UserNet *u);

/* ---- what libslirp calls ---- */

static ssize_t cb_send_packet(const void *buf, size_t len, void *opaque)
{
    UserNet *u = opaque;
    net_send(&u->nd.nc, buf, len);
    return (ssize_t)len;
}

static void cb_guest_error(const char *msg, void *opaque)
{
    guest_error("slirp", "%s", msg);
}

static int64_t cb_clock(void *opaque)
{
    return clock_virtual(loop_clocks(((UserNet *)opaque)->nd.loop));
}

static void timer_fire(void *opaque)
{
    SlirpTimer *t = opaque;
    t->fn(t->opaque);
}

static void *cb_timer_new(SlirpTimerCb fn, void *cb_opaque, void *opaque)
{
    SlirpTimer *t = g_new0(SlirpTimer, 1);
    t->fn = fn;
    t->opaque = cb_opaque;
    timer_init(&t->timer, ((UserNet *)opaque)->nd.loop, CLOCK_VIRTUAL, timer_fire, t);
    return t;
}

static void cb_timer_free(void *timer, void *opaque)
{
    timer_fini(&((SlirpTimer *)timer)->timer);
    g_free(timer);
}

static void cb_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    timer_mod(&((SlirpTimer *)timer)->timer, expire_ms * NS_PER_MS);
}

static void cb_poll_fd(int fd, void *opaque)
{
    queue_refill(opaque);
}

static void cb_notify(void *opaque)
{
    queue_refill(opaque);
}

static const SlirpCb callbacks = {
    .send_packet = cb_send_packet,
    .guest_error = cb_guest_error,
    .clock_get_ns = cb_clock,
    .timer_new = cb_timer_new,
    .timer_free = cb_timer_free,
    .timer_mod = cb_timer_mod,
    .register_poll_fd = cb_poll_fd,
    .unregister_poll_fd = cb_poll_fd,
    .notify = cb_notify,
};

/* ---- descriptors ---- */

static int add_poll(int fd, int events, void *opaque)
{
    UserNet *u = opaque;
    struct pollfd p = {.fd = fd};
    p.events = (short)(((events & SLIRP_POLL_IN) ? POLLIN : 0) |
                       ((events & SLIRP_POLL_OUT) ? POLLOUT : 0) |
                       ((events & SLIRP_POLL_PRI) ? POLLPRI : 0));
    g_array_append_val(u->wanted, p);
    return (int)u->wanted->len - 1;
}

static int get_revents(int idx, void *opaque)
{
    UserNet *u = opaque;
    short r = g_array_index(u->wanted, struct pollfd, idx).revents;
    return ((r & POLLIN) ? SLIRP_POLL_IN : 0) | ((r & POLLOUT) ? SLIRP_POLL_OUT : 0) |
           ((r & POLLPRI) ? SLIRP_POLL_PRI : 0) | ((r & POLLERR) ? SLIRP_POLL_ERR : 0) |
           ((r & POLLHUP) ? SLIRP_POLL_HUP : 0);
}

/* Something is ready: one round of libslirp's work. */
static void service(void *opaque)
{
    UserNet *u = opaque;
    uint32_t timeout = UINT32_MAX;
    g_array_set_size(u->wanted, 0);
    u->lib->pollfds_fill(u->slirp, &timeout, add_poll, u);
    int rc = poll((struct pollfd *)(void *)u->wanted->data, u->wanted->len, 0);
    u->lib->pollfds_poll(u->slirp, rc < 0, get_revents, u);
    queue_refill(u);
}

static const struct pollfd *find_poll(const GArray *a, int fd)
{
    for (guint i = 0; i < a->len; i++) {
        const struct pollfd *p = &g_array_index(a, struct pollfd, i);
        if (p->fd == fd) {
            return p;
        }
    }
    return NULL;
}

static void refill(void *opaque)
{
    UserNet *u = opaque;
    uint32_t timeout = UINT32_MAX;
    u->refill_queued = false;
    g_array_set_size(u->wanted, 0);
    u->lib->pollfds_fill(u->slirp, &timeout, add_poll, u);
    for (guint i = 0; i < u->polls->len; i++) {
        int fd = g_array_index(u->polls, struct pollfd, i).fd;
        if (!find_poll(u->wanted, fd)) {
            loop_watch_fd(u->nd.loop, fd, NULL, NULL, NULL);
        }
    }
    for (guint i = 0; i < u->wanted->len; i++) {
        const struct pollfd *p = &g_array_index(u->wanted, struct pollfd, i);
        bool in = p->events & (POLLIN | POLLPRI), out = p->events & POLLOUT;
        /* Always told again: a closed and reopened descriptor has the same number. */
        loop_watch_fd(u->nd.loop, p->fd, in || !out ? service : NULL, out ? service : NULL, u);
    }
    GArray *old = u->polls;
    u->polls = u->wanted;
    u->wanted = old;
    if (timeout != UINT32_MAX) {
        timer_mod(&u->timeout, clock_now(loop_clocks(u->nd.loop), CLOCK_RT) + timeout * NS_PER_MS);
    } else {
        timer_del(&u->timeout);
    }
}

static void queue_refill(UserNet *u)
{
    if (u->slirp && !u->refill_queued) {
        u->refill_queued = true;
        loop_defer(u->nd.loop, refill, u);
    }
}

/* ---- packets from the guest ---- */

static ssize_t user_receive(NetClient *nc, const struct iovec *iov, unsigned n)
{
    UserNet *u = nc->opaque;
    uint8_t buf[NET_MAX_FRAME];
    size_t len = iov_to_buf(iov, n, 0, buf, sizeof(buf));
    u->lib->input(u->slirp, buf, (int)len);
    queue_refill(u);
    return (ssize_t)len;
}

static void user_info(NetClient *nc, GString *out)
{
    UserNet *u = nc->opaque;
    loop_lock(u->nd.loop);
    g_autofree char *text = u->lib->connection_info(u->slirp);
    loop_unlock(u->nd.loop);
    g_string_append(out, text);
}

static const NetClientOps user_ops = {.receive = user_receive, .info = user_info};

/* ---- configuration ---- */

/* "10.0.2.0/24", "10.0.2.0/255.255.255.0" or "10.0.2.0". */
static bool parse_network(const char *text, struct in_addr *net, struct in_addr *mask, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(text ? text : "10.0.2.0/24", "/", 2);
    uint64_t bits = 24;
    bool ok = inet_pton(AF_INET, parts[0], net) == 1;
    if (ok && parts[1] && strchr(parts[1], '.')) {
        ok = inet_pton(AF_INET, parts[1], mask) == 1;
    } else if (ok) {
        ok = !parts[1] || (parse_uint(parts[1], &bits) && bits >= 8 && bits <= 29);
        mask->s_addr = ok ? htonl(~0u << (32 - bits)) : 0;
    }
    if (!ok || (net->s_addr & ~mask->s_addr)) {
        error_set(errp, "net=%s: expected a network such as 10.0.2.0/24", text);
        return false;
    }
    return true;
}

/* An address inside the network, or its default host number. */
static bool parse_host(const char *key, const char *text, struct in_addr net, struct in_addr mask,
                       unsigned def, struct in_addr *out, Error **errp)
{
    if (!text) {
        out->s_addr = net.s_addr | htonl(def & ~ntohl(mask.s_addr));
        return true;
    }
    if (inet_pton(AF_INET, text, out) != 1 || (out->s_addr & mask.s_addr) != net.s_addr) {
        error_set(errp, "%s=%s: expected an IPv4 address inside the network", key, text);
        return false;
    }
    return true;
}

static bool parse_v6(const char *key, const char *text, const char *def, struct in6_addr *out,
                     Error **errp)
{
    if (inet_pton(AF_INET6, text ? text : def, out) != 1) {
        error_set(errp, "%s=%s: expected an IPv6 address", key, text);
        return false;
    }
    return true;
}

static bool parse_port(const char *s, int *port)
{
    uint64_t v;
    bool ok = parse_uint(s, &v) && v <= 65535;
    *port = ok ? (int)v : 0;
    return ok;
}

/* "tcp:127.0.0.1:2222-10.0.2.15:22"; both addresses may be left out. */
static bool add_hostfwd(UserNet *u, const char *text, struct in_addr def_guest, Error **errp)
{
    struct in_addr host = {.s_addr = INADDR_ANY}, guest = def_guest;
    int hport, gport;
    g_auto(GStrv) sides = g_strsplit(text, "-", 2);
    g_auto(GStrv) left = g_strsplit(sides[0] ? sides[0] : "", ":", 3);
    g_auto(GStrv) right = g_strsplit(sides[0] && sides[1] ? sides[1] : "", ":", 2);
    bool udp = left[0] && !strcmp(left[0], "udp");
    bool ok = g_strv_length(left) == 3 && g_strv_length(right) == 2 &&
              (udp || !*left[0] || !strcmp(left[0], "tcp")) &&
              (!*left[1] || inet_pton(AF_INET, left[1], &host) == 1) &&
              parse_port(left[2], &hport) &&
              (!*right[0] || inet_pton(AF_INET, right[0], &guest) == 1) &&
              parse_port(right[1], &gport) && gport > 0;
    if (!ok) {
        error_set(errp, "hostfwd=%s: malformed port forward", text);
        error_hint(errp, "the form is tcp|udp:[hostaddr]:hostport-[guestaddr]:guestport");
        return false;
    }
    if (u->lib->add_hostfwd(u->slirp, udp, host, hport, guest, gport) < 0) {
        error_set(errp, "hostfwd=%s: can't listen on host port %d", text, hport);
        error_hint(errp, "is another program (or VM) using the port? `ss -ltnp` lists them");
        return false;
    }
    return true;
}

/* "tcp:10.0.2.100:80-cmd:program args": runs the program for each connection. */
static bool add_guestfwd(UserNet *u, const char *text, Error **errp)
{
    struct in_addr addr;
    int port;
    g_auto(GStrv) sides = g_strsplit(text, "-", 2);
    g_auto(GStrv) left = g_strsplit(sides[0] ? sides[0] : "", ":", 3);
    bool ok = g_strv_length(left) == 3 && (!*left[0] || !strcmp(left[0], "tcp")) &&
              inet_pton(AF_INET, left[1], &addr) == 1 && parse_port(left[2], &port) && sides[1] &&
              g_str_has_prefix(sides[1], "cmd:");
    if (!ok) {
        error_set(errp, "guestfwd=%s: malformed forward", text);
        error_hint(errp, "the form is tcp:guestaddr:port-cmd:program");
        return false;
    }
    if (u->lib->add_exec(u->slirp, sides[1] + 4, &addr, port) < 0) {
        error_set(errp, "guestfwd=%s: the address is outside the network or taken", text);
        return false;
    }
    return true;
}

/* The strings of a list property: "x", ["x", …] or QMP's [{"str": "x"}, …]. */
static GPtrArray *list_strings(const Json *v)
{
    GPtrArray *out = g_ptr_array_new();
    if (v && json_get_string(v)) {
        g_ptr_array_add(out, (void *)json_get_string(v));
    }
    for (size_t i = 0; v && json_type(v) == JSON_ARRAY && i < json_length(v); i++) {
        Json *e = json_at(v, i);
        const char *s = json_type(e) == JSON_OBJECT ? json_get_str(e, "str") : json_get_string(e);
        if (s) {
            g_ptr_array_add(out, (void *)s);
        }
    }
    return out;
}

static bool fill_config(UserNet *u, SlirpConfig *c, Error **errp)
{
    *c = (SlirpConfig){.version = 4,
                       .restricted = u->restricted,
                       .in_enabled = u->ipv4,
                       .in6_enabled = u->ipv6,
                       .vhostname = u->hostname,
                       .tftp_path = u->tftp,
                       .bootfile = u->bootfile,
                       .vdomainname = u->domainname,
                       .tftp_server_name = u->tftp_server,
                       .vprefix_len = (uint8_t)u->ipv6_prefixlen};
    if (!u->ipv4 && !u->ipv6) {
        error_set(errp, "ipv4=off and ipv6=off leave no network");
        return false;
    }
    return parse_network(u->net, &c->vnetwork, &c->vnetmask, errp) &&
           parse_host("host", u->host, c->vnetwork, c->vnetmask, 2, &c->vhost, errp) &&
           parse_host("dhcpstart", u->dhcpstart, c->vnetwork, c->vnetmask, 15, &c->vdhcp_start,
                      errp) &&
           parse_host("dns", u->dns, c->vnetwork, c->vnetmask, 3, &c->vnameserver, errp) &&
           parse_v6("ipv6-prefix", u->ipv6_prefix, "fec0::", &c->vprefix_addr6, errp) &&
           parse_v6("ipv6-host", u->ipv6_host, "fec0::2", &c->vhost6, errp) &&
           parse_v6("ipv6-dns", u->ipv6_dns, "fec0::3", &c->vnameserver6, errp);
}

static bool user_complete(Object *obj, Error **errp)
{
    UserNet *u = (UserNet *)obj;
    SlirpConfig c;
    u->lib = module_load("slirp", errp);
    if (!u->lib || !fill_config(u, &c, errp)) {
        return false;
    }
    g_autoptr(GPtrArray) search = list_strings(u->dnssearch);
    g_ptr_array_add(search, NULL);
    c.vdnssearch = search->len > 1 ? (const char **)search->pdata : NULL;
    u->polls = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
    u->wanted = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
    timer_init(&u->timeout, u->nd.loop, CLOCK_RT, service, u);
    net_client_init(&u->nd.nc, &user_ops, u, "user", u->nd.id);
    loop_lock(u->nd.loop);
    u->slirp = u->lib->new (&c, &callbacks, u);
    bool ok = u->slirp != NULL;
    if (!ok) {
        error_set(errp, "libslirp refuses this configuration");
    }
    g_autoptr(GPtrArray) fwd = list_strings(u->hostfwd);
    for (guint i = 0; ok && i < fwd->len; i++) {
        ok = add_hostfwd(u, fwd->pdata[i], c.vdhcp_start, errp);
    }
    g_autoptr(GPtrArray) guest = list_strings(u->guestfwd);
    for (guint i = 0; ok && i < guest->len; i++) {
        ok = add_guestfwd(u, guest->pdata[i], errp);
    }
    queue_refill(u);
    loop_unlock(u->nd.loop);
    g_free(u->nd.nc.info_str);
    u->nd.nc.info_str = g_strdup_printf("net=%s,restrict=%s", u->net ? u->net : "10.0.2.0/24",
                                        u->restricted ? "on" : "off");
    return ok;
}

static void user_finalize(Object *obj)
{
    UserNet *u = (UserNet *)obj;
    if (u->polls) {
        loop_lock(u->nd.loop);
        for (guint i = 0; i < u->polls->len; i++) {
            loop_watch_fd(u->nd.loop, g_array_index(u->polls, struct pollfd, i).fd, NULL, NULL,
                          NULL);
        }
        loop_defer_cancel(u->nd.loop, u);
        if (u->slirp) {
            Slirp *s = u->slirp;
            u->slirp = NULL; /* no refill while it closes its sockets */
            u->lib->cleanup(s);
        }
        timer_fini(&u->timeout);
        loop_unlock(u->nd.loop);
        g_array_free(u->polls, TRUE);
        g_array_free(u->wanted, TRUE);
    }
    json_unref(u->hostfwd);
    json_unref(u->guestfwd);
    json_unref(u->dnssearch);
    g_free(u->nd.id);
}

/* The list properties keep the JSON they were given. */
static bool set_list(Object *obj, const Property *p, const Json *v, Error **errp)
{
    Json **slot = (Json **)(void *)((char *)obj + p->offset);
    if (json_type(v) != JSON_STRING && json_type(v) != JSON_ARRAY) {
        error_set(errp, "%s: expected a string or a list of strings, not %s", p->name,
                  json_type_name(json_type(v)));
        return false;
    }
    json_unref(*slot);
    *slot = json_copy(v);
    return true;
}

static Json *get_list(Object *obj, const Property *p)
{
    Json *v = *(Json **)(void *)((char *)obj + p->offset);
    return v ? json_ref(v) : json_array();
}

#define PROPERTY_LIST(n, f, h)                                                  \
    PROP_FIELD(UserNet, f, PROP_CUSTOM, n, h, .set = set_list, .get = get_list, \
               .type_name = "list<str>")

static const Property user_props[] = {
    PROPERTY_BOOL("ipv4", UserNet, ipv4, true, "IPv4"),
    PROPERTY_BOOL("ipv6", UserNet, ipv6, true, "IPv6"),
    PROPERTY_BOOL("restrict", UserNet, restricted, false,
                  "cut the guest off from the host and the world"),
    PROPERTY_STRING("net", UserNet, net, "network; default 10.0.2.0/24"),
    PROPERTY_STRING("host", UserNet, host, "the host's address in it; default .2"),
    PROPERTY_STRING("hostname", UserNet, hostname, "the guest's name, told by DHCP"),
    PROPERTY_STRING("dhcpstart", UserNet, dhcpstart, "first DHCP address; default .15"),
    PROPERTY_STRING("dns", UserNet, dns, "the name server's address; default .3"),
    PROPERTY_STRING("domainname", UserNet, domainname, "domain, told by DHCP"),
    PROPERTY_STRING("tftp", UserNet, tftp, "folder offered by TFTP"),
    PROPERTY_STRING("tftp-server-name", UserNet, tftp_server, "TFTP server name, told by DHCP"),
    PROPERTY_STRING("bootfile", UserNet, bootfile, "file to boot, told by DHCP"),
    PROPERTY_STRING("ipv6-prefix", UserNet, ipv6_prefix, "IPv6 network; default fec0::"),
    PROP_FIELD(UserNet, ipv6_prefixlen, PROP_U32, "ipv6-prefixlen", "its prefix length", .def = 64,
               .min = 1, .max = 126),
    PROPERTY_STRING("ipv6-host", UserNet, ipv6_host, "the host's IPv6 address"),
    PROPERTY_STRING("ipv6-dns", UserNet, ipv6_dns, "the name server's IPv6 address"),
    PROPERTY_LIST("dnssearch", dnssearch, "domains to search, told by DHCP; repeatable"),
    PROPERTY_LIST("hostfwd", hostfwd,
                  "tcp|udp:[hostaddr]:hostport-[guestaddr]:guestport; repeatable"),
    PROPERTY_LIST("guestfwd", guestfwd, "tcp:guestaddr:port-cmd:program; repeatable"),
    {0},
};

OBJECT_TYPE(user_type, .name = "netdev-user", .parent = TYPE_NETDEV, .size = sizeof(UserNet),
            .help = "user-mode network by libslirp", .props = user_props, .complete = user_complete,
            .finalize = user_finalize)
