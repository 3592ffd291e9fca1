/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/net/e1000.h: what the two halves of the e1000 share: registers (e1000.c) and
 * descriptor rings (e1000-ring.c).  Loop's lock held everywhere.
 */
#ifndef RHEA_HW_NET_E1000_H
#define RHEA_HW_NET_E1000_H

#include "hw/net/e1000_regs.h"
#include "hw/pci/pci.h"
#include "net/net.h"

#define E1000_REGS_SIZE 0x5f00u
#define E1000_TX_MAX 65536u

/* A packet being gathered from transmit descriptors, and its offloads. */
typedef struct E1000Tx {
    /* the last context descriptor */
    uint8_t ipcss, ipcso, tucss, tucso, hdr_len;
    uint16_t ipcse, tucse, mss;
    uint32_t paylen;
    bool is_tcp, is_ipv4;
    /* of this packet */
    bool segmenting, vlan, legacy_csum;
    uint8_t popts, css, cso;
    uint16_t vlan_tag;
    uint32_t size;
    uint8_t data[E1000_TX_MAX];
} E1000Tx;

typedef struct E1000 {
    PciDevice pci;
    NicConf conf;
    NetClient nc;
    Region mmio, io;
    Timer itr_timer;
    bool link_up;
    uint16_t eeprom[64];

    /* guest-visible */
    uint32_t reg[E1000_REGS_SIZE / 4];
    uint16_t phy[32];
    uint32_t eecd;
    uint16_t eeprom_in, eeprom_out;
    uint8_t eeprom_bits, eeprom_out_left;
    uint32_t io_addr;
    bool irq_level;
    int64_t last_irq;
    E1000Tx tx;
} E1000;

/* Sets interrupt causes and updates the line. */
void e1000_raise(E1000 *d, uint32_t causes);
/* Works off the transmit ring. */
void e1000_transmit(E1000 *d);
bool e1000_can_receive(NetClient *nc);
ssize_t e1000_receive(NetClient *nc, const struct iovec *iov, unsigned n);

#endif
