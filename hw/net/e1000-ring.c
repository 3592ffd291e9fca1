/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The e1000's descriptor rings: sections 3.2 (receive) and 3.3 to 3.6 (transmit,
 * segmentation, checksums) of Intel 317453.
 */
#include "hw/net/e1000.h"
#include "util/log.h"
#include "util/trace.h"

#include <string.h>

TRACE_EVENT(e1000_tx, "%u bytes")
TRACE_EVENT(e1000_rx, "%zu bytes")
TRACE_EVENT(e1000_rx_filtered, "%zu bytes")

#define DESC_SIZE 16u
#define FCS_LEN 4u

typedef struct Ring {
    hwaddr base;
    uint32_t n, head, tail;
} Ring;

/* A ring's registers lie alike; `at` is its base address register. false: nothing to do. */
static bool get_ring(const E1000 *d, uint32_t at, Ring *r)
{
    r->base = d->reg[at / 4] | (uint64_t)d->reg[at / 4 + 1] << 32;
    r->n = d->reg[at / 4 + 2] / DESC_SIZE;
    r->head = d->reg[at / 4 + 4];
    r->tail = d->reg[at / 4 + 6];
    return r->n && r->head < r->n;
}

static void count(E1000 *d, uint32_t stat, uint32_t by)
{
    uint32_t *v = &d->reg[stat / 4];
    *v = *v + by < *v ? UINT32_MAX : *v + by;
}

static void count64(E1000 *d, uint32_t low, uint32_t by)
{
    uint64_t v = (d->reg[low / 4] | (uint64_t)d->reg[low / 4 + 1] << 32) + by;
    d->reg[low / 4] = (uint32_t)v;
    d->reg[low / 4 + 1] = (uint32_t)(v >> 32);
}

/* ---- transmit ---- */

/* Sums [start, end] (end 0: to the end) and stores the result at `at`. */
static void put_checksum(uint8_t *data, uint32_t len, uint32_t start, uint32_t at, uint32_t end)
{
    if (end && end + 1 < len) {
        len = end + 1;
    }
    if (start < len && at + 2 <= len) {
        st_be16(data + at, net_checksum_finish(net_checksum_add(data + start, len - start, 0, 0)));
    }
}

static void send_frame(E1000 *d, const uint8_t *data, uint32_t len)
{
    struct iovec iov[3] = {{(void *)data, len}};
    unsigned n = 1;
    uint8_t tag[4];
    if (d->tx.vlan && len >= 12) {
        st_be16(tag, (uint16_t)d->reg[E_VET / 4]);
        st_be16(tag + 2, d->tx.vlan_tag);
        iov[0].iov_len = 12;
        iov[1] = (struct iovec){tag, 4};
        iov[2] = (struct iovec){(void *)(data + 12), len - 12};
        n = 3;
    }
    trace(e1000_tx, len);
    if ((d->phy[0] & 0x4000) || (d->reg[E_RCTL / 4] & 0xc0)) {
        e1000_receive(&d->nc, iov, n); /* loopback in PHY or MAC */
    } else {
        net_sendv(&d->nc, iov, n);
    }
    count(d, E_TPT, 1);
    count(d, E_GPTC, 1);
    count64(d, E_TOTL, len + FCS_LEN);
    count64(d, E_GOTCL, len + FCS_LEN);
}

/* The header of segment `i`: lengths, identification, sequence number, flags. */
static void patch_header(const E1000Tx *t, uint8_t *seg, uint32_t len, uint32_t i, uint32_t sent,
                         bool last)
{
    uint8_t *ip = seg + t->ipcss, *l4 = seg + t->tucss;
    if (t->is_ipv4) {
        if (t->ipcss + 6u <= len) {
            st_be16(ip + 2, (uint16_t)(len - t->ipcss));
            st_be16(ip + 4, (uint16_t)(ld_be16(ip + 4) + i));
        }
    } else if (t->ipcss + 40u <= len) {
        st_be16(ip + 4, (uint16_t)(len - t->ipcss - 40));
    }
    uint16_t l4_len = (uint16_t)(len - t->tucss);
    if (t->is_tcp && t->tucss + 18u <= len) {
        st_be32(l4 + 4, ld_be32(l4 + 4) + sent);
        if (!last) {
            l4[13] &= (uint8_t)~0x09; /* PSH and FIN only on the last */
        }
    } else if (!t->is_tcp && t->tucss + 6u <= len) {
        st_be16(l4 + 4, l4_len);
    }
    /* The driver left the pseudo-header's sum without the length. */
    if ((t->popts & TXD_POPTS_TXSM) && t->tucso + 2u <= len) {
        uint32_t sum = ld_be16(seg + t->tucso) + l4_len;
        st_be16(seg + t->tucso, (uint16_t)((sum & 0xffff) + (sum >> 16)));
    }
}

static void finish_checksums(const E1000Tx *t, uint8_t *data, uint32_t len)
{
    if (t->popts & TXD_POPTS_TXSM) {
        put_checksum(data, len, t->tucss, t->tucso, t->tucse);
    }
    if (t->popts & TXD_POPTS_IXSM) {
        put_checksum(data, len, t->ipcss, t->ipcso, t->ipcse);
    }
}

static void send_segments(E1000 *d)
{
    E1000Tx *t = &d->tx;
    uint32_t payload = t->size > t->hdr_len ? t->size - t->hdr_len : 0;
    if (!t->mss || !t->hdr_len || !payload || t->ipcss >= t->hdr_len || t->tucss >= t->hdr_len ||
        t->hdr_len + t->mss > NET_MAX_FRAME || t->tucss < t->ipcss) {
        guest_error("e1000", "segmentation with mss %u and header %u", t->mss, t->hdr_len);
        return;
    }
    g_autofree uint8_t *seg = g_malloc((size_t)t->hdr_len + t->mss);
    for (uint32_t i = 0, sent = 0; sent < payload; i++) {
        uint32_t part = MIN(payload - sent, t->mss), len = t->hdr_len + part;
        memcpy(seg, t->data, t->hdr_len);
        memcpy(seg + t->hdr_len, t->data + t->hdr_len + sent, part);
        patch_header(t, seg, len, i, sent, sent + part == payload);
        finish_checksums(t, seg, len);
        send_frame(d, seg, len);
        sent += part;
    }
    count(d, E_TSCTC, 1);
}

static void send_packet(E1000 *d)
{
    E1000Tx *t = &d->tx;
    if (t->segmenting) {
        send_segments(d);
    } else if (t->size >= 14) {
        if (t->legacy_csum) {
            put_checksum(t->data, t->size, t->css, t->cso, 0);
        } else {
            finish_checksums(t, t->data, t->size);
        }
        send_frame(d, t->data, t->size);
    }
    t->size = 0;
    t->popts = 0;
    t->vlan = t->segmenting = t->legacy_csum = false;
}

static void load_context(E1000Tx *t, const uint32_t w[4])
{
    t->ipcss = (uint8_t)w[0];
    t->ipcso = (uint8_t)(w[0] >> 8);
    t->ipcse = (uint16_t)(w[0] >> 16);
    t->tucss = (uint8_t)w[1];
    t->tucso = (uint8_t)(w[1] >> 8);
    t->tucse = (uint16_t)(w[1] >> 16);
    t->paylen = w[2] & 0xfffff;
    t->is_tcp = w[2] & TXD_CTX_TCP;
    t->is_ipv4 = w[2] & TXD_CTX_IP;
    t->hdr_len = (uint8_t)(w[3] >> 8);
    t->mss = (uint16_t)(w[3] >> 16);
}

/* One descriptor; w: its four little-endian words. */
static void transmit_desc(E1000 *d, const uint32_t w[4])
{
    E1000Tx *t = &d->tx;
    uint32_t cmd = w[2], len = cmd & 0xffff;
    if ((cmd & TXD_CMD_DEXT) && !(cmd & TXD_DTYP_D)) {
        load_context(t, w);
        return;
    }
    if (cmd & TXD_CMD_DEXT) {
        len = cmd & 0xfffff;
        if (!t->size) { /* options count in the first descriptor of a packet */
            t->popts = (uint8_t)(w[3] >> 8);
            t->segmenting = cmd & TXD_CMD_TSE;
        }
    } else if (cmd & TXD_CMD_IC) {
        t->legacy_csum = true;
        t->cso = (uint8_t)(cmd >> 16);
        t->css = (uint8_t)(w[3] >> 8);
    }
    if ((cmd & TXD_CMD_VLE) && (d->reg[E_CTRL / 4] & CTRL_VME)) {
        t->vlan = true;
        t->vlan_tag = (uint16_t)(w[3] >> 16);
    }
    len = MIN(len, E1000_TX_MAX - t->size);
    pci_dma_read(&d->pci, w[0] | (uint64_t)w[1] << 32, t->data + t->size, len);
    t->size += len;
    if (cmd & TXD_CMD_EOP) {
        send_packet(d);
    }
}

void e1000_transmit(E1000 *d)
{
    Ring r;
    uint32_t causes = INT_TXQE;
    if (!(d->reg[E_TCTL / 4] & TCTL_EN) || !get_ring(d, E_TDBAL, &r) || r.head == r.tail) {
        return;
    }
    /* At most once around: a tail beyond the ring would never be met. */
    for (uint32_t i = 0; i < r.n && r.head != r.tail; i++) {
        uint32_t w[4];
        hwaddr at = r.base + (uint64_t)r.head * DESC_SIZE;
        if (pci_dma_read(&d->pci, at, w, sizeof(w)) != MEM_OK) {
            guest_error("e1000", "transmit ring outside memory");
            return;
        }
        for (int k = 0; k < 4; k++) {
            w[k] = BITS_LE32(w[k]);
        }
        transmit_desc(d, w);
        if (w[2] & (TXD_CMD_RS | TXD_CMD_RPS)) {
            uint8_t status = (uint8_t)(w[3] | TXD_STAT_DD);
            pci_dma_write(&d->pci, at + 12, &status, 1);
            causes |= INT_TXDW;
        }
        r.head = r.head + 1 == r.n ? 0 : r.head + 1;
        d->reg[E_TDH / 4] = r.head;
    }
    e1000_raise(d, causes);
}

/* ---- receive ---- */

static uint32_t buffer_size(const E1000 *d)
{
    static const uint32_t sizes[4] = {2048, 1024, 512, 256};
    uint32_t rctl = d->reg[E_RCTL / 4];
    uint32_t size = sizes[(rctl >> 16) & 3];
    return (rctl & RCTL_BSEX) && ((rctl >> 16) & 3) ? size * 16 : size;
}

static uint32_t free_descriptors(const Ring *r)
{
    if (r->tail >= r->n) {
        return r->n; /* nonsense by the guest; bounded all the same */
    }
    return r->tail >= r->head ? r->tail - r->head : r->n - r->head + r->tail;
}

bool e1000_can_receive(NetClient *nc)
{
    E1000 *d = nc->opaque;
    Ring r;
    if (!(d->reg[E_RCTL / 4] & RCTL_EN) || !(d->pci.config[PCI_COMMAND] & PCI_COMMAND_MASTER)) {
        return false;
    }
    return get_ring(d, E_RDBAL, &r) && free_descriptors(&r) > 0;
}

/* Exact, multicast hash and VLAN filters: sections 13.5.1 to 13.5.3. */
static bool wanted(const E1000 *d, const uint8_t *f, size_t len)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint32_t rctl = d->reg[E_RCTL / 4];
    if (len >= 18 && (rctl & RCTL_VFE) && ld_be16(f + 12) == (uint16_t)d->reg[E_VET / 4]) {
        unsigned vid = ld_be16(f + 14) & 0xfff;
        if (!(d->reg[E_VFTA / 4 + vid / 32] & (1u << (vid % 32)))) {
            return false;
        }
    }
    if (!memcmp(f, broadcast, 6)) {
        return rctl & (RCTL_BAM | RCTL_UPE);
    }
    if ((f[0] & 1) ? rctl & RCTL_MPE : rctl & RCTL_UPE) {
        return true;
    }
    for (unsigned i = 0; i < 16; i++) {
        uint32_t lo = d->reg[E_RA / 4 + i * 2], hi = d->reg[E_RA / 4 + i * 2 + 1];
        if ((hi & 0x80000000u) && lo == ld_le32(f) && (hi & 0xffff) == ld_le16(f + 4)) {
            return true;
        }
    }
    static const uint8_t shifts[4] = {4, 3, 2, 0};
    unsigned hash = (ld_le16(f + 4) >> shifts[(rctl >> 12) & 3]) & 0xfff;
    return (f[0] & 1) && (d->reg[E_MTA / 4 + hash / 32] & (1u << (hash % 32)));
}

static void count_received(E1000 *d, const uint8_t *f, size_t len)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    count(d, E_TPR, 1);
    count(d, E_GPRC, 1);
    count64(d, E_TORL, (uint32_t)len + FCS_LEN);
    count64(d, E_GORCL, (uint32_t)len + FCS_LEN);
    if (f[0] & 1) {
        count(d, memcmp(f, broadcast, 6) ? E_MPRC : E_BPRC, 1);
    }
}

/* Fills one descriptor; the last of a packet has `status` with EOP. */
static bool fill_desc(E1000 *d, const Ring *r, const uint8_t *data, uint16_t len, uint8_t status,
                      uint16_t vlan)
{
    uint8_t desc[DESC_SIZE];
    hwaddr at = r->base + (uint64_t)r->head * DESC_SIZE;
    if (pci_dma_read(&d->pci, at, desc, sizeof(desc)) != MEM_OK) {
        guest_error("e1000", "receive ring outside memory");
        return false;
    }
    if (ld_le64(desc)) {
        pci_dma_write(&d->pci, ld_le64(desc), data, len);
    }
    st_le16(desc + 8, len);
    st_le16(desc + 10, 0);
    desc[13] = 0;
    st_le16(desc + 14, vlan);
    desc[12] = 0;
    pci_dma_write(&d->pci, at + 8, desc + 8, 8);
    pci_dma_write(&d->pci, at + 12, &status, 1); /* DD last: the driver polls it */
    return true;
}

ssize_t e1000_receive(NetClient *nc, const struct iovec *iov, unsigned n)
{
    E1000 *d = nc->opaque;
    Ring r;
    uint8_t frame[NET_MAX_FRAME + FCS_LEN];
    size_t len = iov_to_buf(iov, n, 0, frame, NET_MAX_FRAME), total = len;
    uint32_t bsize = buffer_size(d);
    uint16_t vlan = 0;
    uint8_t vlan_bit = 0;
    if (!e1000_can_receive(nc)) {
        return 0;
    }
    if (len < 60) {
        memset(frame + len, 0, 60 - len);
        len = 60;
    }
    if (!wanted(d, frame, len) || (len > 1518 && !(d->reg[E_RCTL / 4] & RCTL_LPE))) {
        trace(e1000_rx_filtered, len);
        return (ssize_t)total;
    }
    get_ring(d, E_RDBAL, &r);
    if (len >= 18 && (d->reg[E_CTRL / 4] & CTRL_VME) &&
        ld_be16(frame + 12) == (uint16_t)d->reg[E_VET / 4]) {
        vlan = ld_be16(frame + 14);
        vlan_bit = RXD_STAT_VP;
        memmove(frame + 12, frame + 16, len - 16);
        len -= 4;
    }
    size_t with_fcs = len + ((d->reg[E_RCTL / 4] & RCTL_SECRC) ? 0 : FCS_LEN);
    memset(frame + len, 0, FCS_LEN);
    if (DIV_ROUND_UP(with_fcs, bsize) > free_descriptors(&r)) {
        count(d, E_MPC, 1);
        e1000_raise(d, INT_RXO);
        return 0;
    }
    for (size_t done = 0; done < with_fcs;) {
        uint16_t part = (uint16_t)MIN(with_fcs - done, bsize);
        bool last = done + part == with_fcs;
        uint8_t status =
            (uint8_t)(RXD_STAT_DD | vlan_bit | (last ? RXD_STAT_EOP | RXD_STAT_IXSM : 0));
        if (!fill_desc(d, &r, frame + done, part, status, vlan)) {
            return (ssize_t)total;
        }
        done += part;
        r.head = r.head + 1 == r.n ? 0 : r.head + 1;
        d->reg[E_RDH / 4] = r.head;
    }
    trace(e1000_rx, len);
    count_received(d, frame, len);
    uint32_t threshold = r.n >> (((d->reg[E_RCTL / 4] >> 8) & 3) + 1);
    e1000_raise(d, INT_RXT0 | (free_descriptors(&r) <= threshold ? INT_RXDMT0 : 0));
    return (ssize_t)total;
}
