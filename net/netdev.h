/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net/netdev.h: for those who implement a network backend (net/net.h is for those
 * who use one).  A backend is an Object of a type "netdev-KIND" below "netdev";
 * its `complete` initializes `nc` and opens what it needs; its `finalize` closes.
 */
#ifndef RHEA_NET_NETDEV_H
#define RHEA_NET_NETDEV_H

#include "net/net.h"

typedef struct Netdev {
    Object obj;
    NetClient nc;
    EventLoop *loop; /* whose lock guards `nc`; set before the properties */
    char *id;
} Netdev;

#define TYPE_NET_REGISTRY "net-registry"
typedef struct NetRegistry {
    Object obj;
    unsigned next_mac;
} NetRegistry;
/* Made when first asked for. Control thread. */
NetRegistry *net_registry(Object *root);

#endif
