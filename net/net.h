/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net/net.h: packets between a NIC and a network backend.
 *
 * A NetClient is one end of a cable; its peer is the other (or a hub port).
 * Backends ("netdev-user", "netdev-socket", "netdev-hubport" …) are Objects
 * below /netdevs.  A NIC owns a NetClient per queue and connects it to the
 * backend's.  Packets are whole Ethernet frames without FCS, at most 64 KiB;
 * with a virtio-net header in front when both sides agreed on one.
 *
 * Threads: both ends belong to the platform loop (or both to one iothread); all
 * calls are made with that loop's lock.  libslirp is only called under it.
 */
#ifndef RHEA_NET_NET_H
#define RHEA_NET_NET_H

#include "event/loop.h"
#include "qom/object.h"
#include "util/iov.h"

#define TYPE_NETDEV "netdev"
#define NET_MAX_FRAME 65550

typedef struct NetClient NetClient;

typedef struct NetClientOps {
    /* May the peer's packets be delivered now? NULL: always. */
    bool (*can_receive)(NetClient *nc);
    /*
     * Delivers one packet. Returns bytes consumed; 0: no room now, keep it (the
     * receiver calls net_flush() when it has room); <0: dropped.
     */
    ssize_t (*receive)(NetClient *nc, const struct iovec *iov, unsigned n);
    void (*link_changed)(NetClient *nc);
    void (*info)(NetClient *nc, GString *out);
} NetClientOps;

struct NetClient {
    const NetClientOps *ops;
    void *opaque;
    char *name;
    char *model; /* "e1000", "user": for info network */
    NetClient *peer;
    bool link_down;
    unsigned vnet_hdr_len; /* of packets delivered to `receive`; 0, 10 or 12 */
    GQueue incoming;       /* packets waiting for this client, at most 256 */
    char *info_str;
};

void net_client_init(NetClient *nc, const NetClientOps *ops, void *opaque, const char *model,
                     const char *name);
void net_client_fini(NetClient *nc); /* disconnects; drops queued packets */
bool net_connect(NetClient *a, NetClient *b, Error **errp);
void net_disconnect(NetClient *nc);
/* Sends to the peer; queues when the peer has no room. Returns false if queued. */
bool net_send(NetClient *from, const void *buf, size_t len);
bool net_sendv(NetClient *from, const struct iovec *iov, unsigned n);
/* Delivers what waits for `nc`; call when can_receive turned true. */
void net_flush(NetClient *nc);
bool net_can_send(const NetClient *nc);
void net_set_link(NetClient *nc, bool up);

/* A NIC's side of a `netdev=` property. */
typedef struct NicConf {
    uint8_t mac[6]; /* all zero: net_default_mac() */
    Object *netdev; /* link<netdev>, or NULL */
} NicConf;
#define PROPERTIES_NIC(T, f)                                                             \
    PROPERTY_MAC("mac", T, f.mac, "Ethernet address; default 52:54:00:12:34:56 and up"), \
        PROPERTY_LINK("netdev", T, f.netdev, TYPE_NETDEV, "network backend")
/* 52:54:00:12:34:56 + n, n counted per machine root. */
void net_default_mac(Object *root, uint8_t mac[6]);
/*
 * A NIC's client `nc`, with an address in any case and connected to its backend.  false: that is
 * taken; nothing is left behind.  `root`: the machine's.
 */
bool net_nic_init(NetClient *nc, const NetClientOps *ops, void *opaque, const char *model,
                  const char *name, NicConf *conf, Object *root, Error **errp);
/* The backend's client, for connecting; asserts it is a netdev. */
NetClient *netdev_client(Object *netdev);

/* The type behind -netdev KIND; NULL and an error if there is none. */
const TypeInfo *netdev_find_type(const char *kind, Error **errp);
/* -netdev / netdev_add; the object is complete and below /netdevs on return. */
Object *netdev_new(Object *root, const char *id, Json *options, EventLoop *loop, Error **errp);
bool netdev_del(Object *root, const char *id, Error **errp);
void net_print_info(Object *root, GString *out); /* info network */

/* Internet checksum helpers (RFC 1071) for NICs with offloads. */
uint32_t net_checksum_add(const void *buf, size_t len, uint32_t sum, size_t odd_offset);
uint16_t net_checksum_finish(uint32_t sum);

#endif
