/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio network card: VIRTIO 1.2, section 5.1. */
#include "hw/virtio/virtio-pci.h"
#include "net/net.h"
#include "util/log.h"
#include "util/trace.h"

#include <linux/virtio_net.h>
#include <string.h>

TRACE_EVENT(virtio_net_rx, "%zu bytes")
TRACE_EVENT(virtio_net_tx, "%zu bytes")

#define MAC_TABLE 64

typedef struct VirtioNet {
    VirtioPci parent;
    NicConf conf;
    uint16_t rx_queue_size, tx_queue_size, host_mtu;
    bool csum, guest_csum, mrg_rxbuf, status, ctrl_vq, ctrl_rx, ctrl_vlan, ctrl_rx_extra,
        ctrl_mac_addr;

    NetClient nc;
    VirtQueue *rx, *tx, *ctrl;

    /* guest-visible */
    uint8_t mac[6];
    bool promisc, all_multi, all_uni, no_multi, no_uni, no_broadcast;
    uint32_t macs_n, multi_first; /* unicast entries first */
    bool macs_overflow_uni, macs_overflow_multi;
    uint8_t macs[MAC_TABLE * 6];
    uint64_t vlans[64]; /* one bit a VLAN */
} VirtioNet;

static VirtioNet *net_of(VirtioDevice *v)
{
    return (VirtioNet *)v->dev;
}

static unsigned header_len(const VirtioNet *d)
{
    const VirtioDevice *v = &d->parent.vdev;
    return virtio_has(v, VIRTIO_F_VERSION_1) || virtio_has(v, VIRTIO_NET_F_MRG_RXBUF)
               ? sizeof(struct virtio_net_hdr_mrg_rxbuf)
               : sizeof(struct virtio_net_hdr);
}

/* ---- receive ---- */

static bool in_mac_table(const VirtioNet *d, const uint8_t *mac, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        if (!memcmp(d->macs + i * 6, mac, 6)) {
            return true;
        }
    }
    return false;
}

static bool wanted(const VirtioNet *d, const uint8_t *frame, size_t len)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    if (len < 14) {
        return false;
    }
    if (d->promisc) {
        return true;
    }
    if (virtio_has(&d->parent.vdev, VIRTIO_NET_F_CTRL_VLAN) && ld_be16(frame + 12) == 0x8100 &&
        len >= 16) {
        unsigned vid = ld_be16(frame + 14) & 0xfff;
        if (!(d->vlans[vid / 64] & BIT(vid % 64))) {
            return false;
        }
    }
    if (!memcmp(frame, broadcast, 6)) {
        return !d->no_broadcast;
    }
    if (frame[0] & 1) {
        return !d->no_multi && (d->all_multi || d->macs_overflow_multi ||
                                in_mac_table(d, frame, d->multi_first, d->macs_n));
    }
    return !d->no_uni && (d->all_uni || d->macs_overflow_uni || !memcmp(frame, d->mac, 6) ||
                          in_mac_table(d, frame, 0, d->multi_first));
}

static bool can_receive(NetClient *nc)
{
    VirtioNet *d = nc->opaque;
    if (!virtio_driver_ok(&d->parent.vdev) || !d->rx->enabled) {
        return false;
    }
    if (virtqueue_empty(d->rx)) {
        virtqueue_set_notification(d->rx, true);
        return !virtqueue_empty(d->rx);
    }
    return true;
}

#define RX_ELEMENTS_MAX 64 /* a 64 KiB packet in buffers of a page and more */

/* Collects buffers for `need` bytes; 0: not enough now (all were put back). */
static unsigned take_buffers(VirtioNet *d, size_t need, VirtElement **e)
{
    size_t room = 0;
    unsigned n = 0;
    bool merge = virtio_has(&d->parent.vdev, VIRTIO_NET_F_MRG_RXBUF);
    while (room < need && n < RX_ELEMENTS_MAX && (n == 0 || merge)) {
        e[n] = virtqueue_pop(d->rx, sizeof(VirtElement));
        if (!e[n]) {
            break;
        }
        room += e[n++]->in.size;
    }
    if (room >= need) {
        return n;
    }
    bool hopeless = n && (!merge || n == RX_ELEMENTS_MAX);
    while (n) {
        virtqueue_unpop(e[--n]);
    }
    return hopeless ? UINT32_MAX : 0;
}

static ssize_t receive(NetClient *nc, const struct iovec *iov, unsigned niov)
{
    VirtioNet *d = nc->opaque;
    VirtElement *e[RX_ELEMENTS_MAX];
    uint8_t frame[NET_MAX_FRAME + sizeof(struct virtio_net_hdr_mrg_rxbuf)];
    unsigned hlen = header_len(d);
    size_t len = iov_to_buf(iov, niov, 0, frame + hlen, NET_MAX_FRAME);
    if (!can_receive(nc)) {
        return 0;
    }
    if (!wanted(d, frame + hlen, len)) {
        return (ssize_t)len;
    }
    if (len < 60) { /* Ethernet's minimum without FCS */
        memset(frame + hlen + len, 0, 60 - len);
        len = 60;
    }
    size_t total = hlen + len, sent = 0;
    unsigned n = take_buffers(d, total, e);
    if (!n) {
        virtqueue_set_notification(d->rx, true);
        return 0;
    }
    if (n == UINT32_MAX) {
        guest_error("virtio-net", "receive buffers are too small for a packet of %zu bytes", len);
        return -1;
    }
    struct virtio_net_hdr_mrg_rxbuf h = {.num_buffers = BITS_LE16((uint16_t)n)};
    memcpy(frame, &h, hlen);
    for (unsigned i = 0; i < n; i++) {
        size_t part = iov_from_buf(e[i]->in.iov, e[i]->in.n, 0, frame + sent, total - sent);
        sent += part;
        virtqueue_push(e[i], (uint32_t)part);
    }
    trace(virtio_net_rx, len);
    virtqueue_interrupt(d->rx);
    return (ssize_t)len;
}

static void handle_rx(VirtioDevice *v, VirtQueue *q)
{
    net_flush(&net_of(v)->nc);
}

/* ---- transmit ---- */

/* The driver left the checksum to us: sum from csum_start, store at csum_offset. */
static void finish_checksum(const struct virtio_net_hdr *h, uint8_t *frame, size_t len)
{
    size_t start = BITS_LE16(h->csum_start), at = start + BITS_LE16(h->csum_offset);
    if (!(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || start >= len || at + 2 > len) {
        return;
    }
    uint16_t sum = net_checksum_finish(net_checksum_add(frame + start, len - start, 0, 0));
    st_be16(frame + at, sum ? sum : 0xffff);
}

static void transmit(VirtioNet *d, VirtElement *e)
{
    uint8_t frame[NET_MAX_FRAME];
    struct virtio_net_hdr h = {0};
    unsigned hlen = header_len(d);
    if (e->out.size < hlen + 14 || e->out.size - hlen > sizeof(frame)) {
        guest_error("virtio-net", "packet of %zu bytes", e->out.size);
        return;
    }
    iov_to_buf(e->out.iov, e->out.n, 0, &h, sizeof(h));
    size_t len = iov_to_buf(e->out.iov, e->out.n, hlen, frame, sizeof(frame));
    if (h.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
        guest_error("virtio-net", "segmentation was not offered");
        return;
    }
    finish_checksum(&h, frame, len);
    trace(virtio_net_tx, len);
    net_send(&d->nc, frame, len);
}

static void handle_tx(VirtioDevice *v, VirtQueue *q)
{
    VirtioNet *d = net_of(v);
    bool any = false;
    do {
        virtqueue_set_notification(q, false);
        VirtElement *e;
        while ((e = virtqueue_pop(q, sizeof(*e)))) {
            transmit(d, e);
            virtqueue_push(e, 0);
            any = true;
        }
        virtqueue_set_notification(q, true);
    } while (!v->broken && !virtqueue_empty(q));
    if (any) {
        virtqueue_interrupt(q);
    }
}

/* ---- control ---- */

static uint8_t control_rx(VirtioNet *d, uint8_t cmd, const uint8_t *data, size_t len)
{
    bool *const modes[] = {&d->promisc,  &d->all_multi, &d->all_uni,
                           &d->no_multi, &d->no_uni,    &d->no_broadcast};
    if (cmd >= ARRAY_LEN(modes) || len < 1) {
        return VIRTIO_NET_ERR;
    }
    *modes[cmd] = data[0];
    return VIRTIO_NET_OK;
}

/* One table: a 32-bit count and that many addresses. Returns bytes used, 0: malformed. */
static size_t read_table(VirtioNet *d, const uint8_t *data, size_t len, bool *overflow)
{
    if (len < 4) {
        return 0;
    }
    uint32_t n = ld_le32(data);
    if (n > (len - 4) / 6) {
        return 0;
    }
    *overflow = d->macs_n + n > MAC_TABLE;
    if (!*overflow) {
        memcpy(d->macs + d->macs_n * 6, data + 4, n * 6);
        d->macs_n += n;
    }
    return 4 + (size_t)n * 6;
}

static uint8_t control_mac(VirtioNet *d, uint8_t cmd, const uint8_t *data, size_t len)
{
    if (cmd == VIRTIO_NET_CTRL_MAC_ADDR_SET && len >= 6) {
        memcpy(d->mac, data, 6);
        return VIRTIO_NET_OK;
    }
    if (cmd != VIRTIO_NET_CTRL_MAC_TABLE_SET) {
        return VIRTIO_NET_ERR;
    }
    d->macs_n = d->multi_first = 0;
    size_t used = read_table(d, data, len, &d->macs_overflow_uni);
    d->multi_first = d->macs_n;
    if (!used || !read_table(d, data + used, len - used, &d->macs_overflow_multi)) {
        d->macs_n = d->multi_first = 0;
        return VIRTIO_NET_ERR;
    }
    return VIRTIO_NET_OK;
}

static uint8_t control_vlan(VirtioNet *d, uint8_t cmd, const uint8_t *data, size_t len)
{
    unsigned vid = len >= 2 ? ld_le16(data) : 4096;
    if (vid >= 4096 || cmd > VIRTIO_NET_CTRL_VLAN_DEL) {
        return VIRTIO_NET_ERR;
    }
    uint64_t bit = BIT(vid % 64);
    d->vlans[vid / 64] =
        cmd == VIRTIO_NET_CTRL_VLAN_ADD ? d->vlans[vid / 64] | bit : d->vlans[vid / 64] & ~bit;
    return VIRTIO_NET_OK;
}

static uint8_t control(VirtioNet *d, const uint8_t *data, size_t len)
{
    const VirtioDevice *v = &d->parent.vdev;
    if (len < 2) {
        return VIRTIO_NET_ERR;
    }
    switch (data[0]) {
    case VIRTIO_NET_CTRL_RX:
        return virtio_has(v, VIRTIO_NET_F_CTRL_RX) ? control_rx(d, data[1], data + 2, len - 2)
                                                   : VIRTIO_NET_ERR;
    case VIRTIO_NET_CTRL_MAC:
        return control_mac(d, data[1], data + 2, len - 2);
    case VIRTIO_NET_CTRL_VLAN:
        return virtio_has(v, VIRTIO_NET_F_CTRL_VLAN) ? control_vlan(d, data[1], data + 2, len - 2)
                                                     : VIRTIO_NET_ERR;
    default:
        return VIRTIO_NET_ERR;
    }
}

static void handle_ctrl(VirtioDevice *v, VirtQueue *q)
{
    VirtElement *e;
    while ((e = virtqueue_pop(q, sizeof(*e)))) {
        uint8_t buf[4096];
        if (e->in.size < 1) {
            virtio_error(v, "control request without room for its status");
            virtqueue_discard(e);
            return;
        }
        size_t len = iov_to_buf(e->out.iov, e->out.n, 0, buf, sizeof(buf));
        uint8_t status = control(net_of(v), buf, len);
        iov_from_buf(e->in.iov, e->in.n, 0, &status, 1);
        virtqueue_push(e, 1);
        virtqueue_interrupt(q);
    }
}

/* ---- configuration ---- */

static void get_config(VirtioDevice *v, uint8_t *config)
{
    VirtioNet *d = net_of(v);
    bool up = !d->nc.link_down && !(d->nc.peer && d->nc.peer->link_down);
    memcpy(config, d->mac, 6);
    st_le16(config + offsetof(struct virtio_net_config, status), up ? VIRTIO_NET_S_LINK_UP : 0);
    st_le16(config + offsetof(struct virtio_net_config, max_virtqueue_pairs), 1);
    st_le16(config + offsetof(struct virtio_net_config, mtu), d->host_mtu);
}

/* Only the legacy interface lets the driver change the address here. */
static void set_config(VirtioDevice *v, const uint8_t *config, uint32_t offset, uint32_t len)
{
    if (!virtio_has(v, VIRTIO_F_VERSION_1)) {
        memcpy(net_of(v)->mac, config, 6);
    }
}

static void forget_filters(VirtioNet *d)
{
    d->promisc = true; /* until a driver with a control queue says otherwise */
    d->all_multi = d->all_uni = d->no_multi = d->no_uni = d->no_broadcast = false;
    d->macs_n = d->multi_first = 0;
    d->macs_overflow_uni = d->macs_overflow_multi = false;
    memset(d->vlans, 0, sizeof(d->vlans));
    memcpy(d->mac, d->conf.mac, 6);
}

static void reset(VirtioDevice *v)
{
    forget_filters(net_of(v));
}

static void features_set(VirtioDevice *v)
{
    VirtioNet *d = net_of(v);
    if (!virtio_has(v, VIRTIO_NET_F_CTRL_VLAN)) {
        memset(d->vlans, 0xff, sizeof(d->vlans));
    }
}

static void status_changed(VirtioDevice *v, uint8_t old)
{
    if (virtio_driver_ok(v)) {
        net_flush(&net_of(v)->nc);
    }
}

static const VirtioOps virtio_net_ops = {
    .device_id = 1,
    .name = "virtio-net",
    .config_size = offsetof(struct virtio_net_config, speed),
    .get_config = get_config,
    .set_config = set_config,
    .features_set = features_set,
    .status_changed = status_changed,
    .reset = reset,
};

/* ---- life ---- */

static void link_changed(NetClient *nc)
{
    virtio_config_changed(&((VirtioNet *)nc->opaque)->parent.vdev);
}

static const NetClientOps net_ops = {
    .can_receive = can_receive, .receive = receive, .link_changed = link_changed};

static uint64_t features(const VirtioNet *d)
{
    bool ctrl = d->ctrl_vq;
    return BIT(VIRTIO_NET_F_MAC) | (d->csum ? BIT(VIRTIO_NET_F_CSUM) : 0) |
           (d->guest_csum ? BIT(VIRTIO_NET_F_GUEST_CSUM) : 0) |
           (d->mrg_rxbuf ? BIT(VIRTIO_NET_F_MRG_RXBUF) : 0) |
           (d->status ? BIT(VIRTIO_NET_F_STATUS) : 0) | (ctrl ? BIT(VIRTIO_NET_F_CTRL_VQ) : 0) |
           (ctrl && d->ctrl_rx ? BIT(VIRTIO_NET_F_CTRL_RX) : 0) |
           (ctrl && d->ctrl_vlan ? BIT(VIRTIO_NET_F_CTRL_VLAN) : 0) |
           (ctrl && d->ctrl_rx && d->ctrl_rx_extra ? BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) : 0) |
           (ctrl && d->ctrl_mac_addr ? BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) : 0) |
           (d->host_mtu ? BIT(VIRTIO_NET_F_MTU) : 0);
}

static bool ring_size_ok(const char *name, uint16_t size, Error **errp)
{
    if (IS_POWER_OF_2(size) && size >= 256 && size <= VIRTIO_RING_MAX) {
        return true;
    }
    error_set(errp, "virtio-net-pci: %s=%u: expected a power of two from 256 to %u", name, size,
              VIRTIO_RING_MAX);
    return false;
}

static bool virtio_net_realize(Device *dev, Error **errp)
{
    VirtioNet *d = (VirtioNet *)dev;
    if (!ring_size_ok("rx_queue_size", d->rx_queue_size, errp) ||
        !ring_size_ok("tx_queue_size", d->tx_queue_size, errp)) {
        return false;
    }
    if (!net_nic_init(&d->nc, &net_ops, d, "virtio-net-pci", dev->id ? dev->id : "virtio-net",
                      &d->conf, object_root(&dev->obj), errp)) {
        return false;
    }
    virtio_init(&d->parent.vdev, dev, &virtio_net_ops, features(d));
    d->rx = virtio_add_queue(&d->parent.vdev, d->rx_queue_size, handle_rx);
    d->tx = virtio_add_queue(&d->parent.vdev, d->tx_queue_size, handle_tx);
    d->ctrl = d->ctrl_vq ? virtio_add_queue(&d->parent.vdev, 64, handle_ctrl) : NULL;
    forget_filters(d);
    return true;
}

static void virtio_net_unrealize(Device *dev)
{
    net_client_fini(&((VirtioNet *)dev)->nc);
}

static unsigned default_vectors(Device *dev)
{
    return 4; /* configuration, receive, transmit, control */
}

static bool net_check(const void *opaque, Error **errp)
{
    const VirtioNet *d = opaque;
    if (d->multi_first > d->macs_n) {
        error_set(errp, "virtio-net: field multi_first: %u of %u addresses", d->multi_first,
                  d->macs_n);
        return false;
    }
    return true;
}

static const StateField fields[] = {
    STATE_F_VIRTIO_PCI(VirtioNet, parent),
    STATE_F_BYTES(VirtioNet, mac),
    STATE_F_BOOL(VirtioNet, promisc),
    STATE_F_BOOL(VirtioNet, all_multi),
    STATE_F_BOOL(VirtioNet, all_uni),
    STATE_F_BOOL(VirtioNet, no_multi),
    STATE_F_BOOL(VirtioNet, no_uni),
    STATE_F_BOOL(VirtioNet, no_broadcast),
    STATE_F_UINT_MAX(VirtioNet, macs_n, MAC_TABLE),
    STATE_F_UINT_MAX(VirtioNet, multi_first, MAC_TABLE),
    STATE_F_BOOL(VirtioNet, macs_overflow_uni),
    STATE_F_BOOL(VirtioNet, macs_overflow_multi),
    STATE_F_BYTES(VirtioNet, macs),
    STATE_F_UINT_ARRAY(VirtioNet, vlans),
    {0},
};
static const StateDesc virtio_net_state = {
    .name = "virtio-net", .version = 1, .fields = fields, .check = net_check};

static const Property props[] = {
    PROPERTIES_NIC(VirtioNet, conf),
    PROPERTY_I32("bootindex", Device, bootindex, -1, "place in the boot order; -1: none"),
    PROPERTY_U16("rx_queue_size", VirtioNet, rx_queue_size, 256, "entries of the receive queue"),
    PROPERTY_U16("tx_queue_size", VirtioNet, tx_queue_size, 256, "entries of the transmit queue"),
    PROPERTY_U16("host_mtu", VirtioNet, host_mtu, 0, "MTU told to the driver; 0: none"),
    PROPERTY_BOOL("csum", VirtioNet, csum, true, "checksums of sent packets are ours"),
    PROPERTY_BOOL("guest_csum", VirtioNet, guest_csum, true, "the driver takes partial checksums"),
    PROPERTY_BOOL("mrg_rxbuf", VirtioNet, mrg_rxbuf, true, "receive into several buffers"),
    PROPERTY_BOOL("status", VirtioNet, status, true, "report the link's state"),
    PROPERTY_BOOL("ctrl_vq", VirtioNet, ctrl_vq, true, "control queue"),
    PROPERTY_BOOL("ctrl_rx", VirtioNet, ctrl_rx, true, "receive modes"),
    PROPERTY_BOOL("ctrl_vlan", VirtioNet, ctrl_vlan, true, "VLAN filter"),
    PROPERTY_BOOL("ctrl_rx_extra", VirtioNet, ctrl_rx_extra, true, "more receive modes"),
    PROPERTY_BOOL("ctrl_mac_addr", VirtioNet, ctrl_mac_addr, true,
                  "the driver may set its address"),
    {0},
};

VIRTIO_PCI_TYPES(virtio_net, "virtio-net", "virtio network card", VirtioNet, props, 0x1000,
                 &virtio_net_ops, PCI_CLASS_NETWORK_ETHERNET, DEVICE_CATEGORY_NETWORK,
                 &virtio_net_state, virtio_net_realize, virtio_net_unrealize, default_vectors)
