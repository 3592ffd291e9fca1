/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/net/e1000_regs.h: registers, bits and descriptors by the names of Intel's
 * "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual"
 * (317453), for the 82540EM.
 */
#ifndef RHEA_HW_NET_E1000_REGS_H
#define RHEA_HW_NET_E1000_REGS_H

/* Byte offsets in BAR 0 */
enum {
    E_CTRL = 0x0000,
    E_STATUS = 0x0008,
    E_EECD = 0x0010,
    E_EERD = 0x0014,
    E_MDIC = 0x0020,
    E_FCAL = 0x0028,
    E_FCAH = 0x002c,
    E_FCT = 0x0030,
    E_VET = 0x0038,
    E_ICR = 0x00c0,
    E_ITR = 0x00c4,
    E_ICS = 0x00c8,
    E_IMS = 0x00d0,
    E_IMC = 0x00d8,
    E_RCTL = 0x0100,
    E_FCTTV = 0x0170,
    E_TCTL = 0x0400,
    E_TIPG = 0x0410,
    E_AIT = 0x0458,
    E_LEDCTL = 0x0e00,
    E_PBA = 0x1000,
    E_FCRTL = 0x2160,
    E_FCRTH = 0x2168,
    E_RDBAL = 0x2800,
    E_RDBAH = 0x2804,
    E_RDLEN = 0x2808,
    E_RDH = 0x2810,
    E_RDT = 0x2818,
    E_RDTR = 0x2820,
    E_RADV = 0x282c,
    E_RSRPD = 0x2c00,
    E_TXDMAC = 0x3000,
    E_TDBAL = 0x3800,
    E_TDBAH = 0x3804,
    E_TDLEN = 0x3808,
    E_TDH = 0x3810,
    E_TDT = 0x3818,
    E_TIDV = 0x3820,
    E_TXDCTL = 0x3828,
    E_TADV = 0x382c,
    E_TSPMT = 0x3830,
    E_STATS = 0x4000,
    E_STATS_END = 0x4128,
    E_RXCSUM = 0x5000,
    E_MTA = 0x5200,
    E_RA = 0x5400,
    E_VFTA = 0x5600,
    E_WUC = 0x5800,
    E_WUFC = 0x5808,
    E_WUS = 0x5810,
    E_MANC = 0x5820,
    /* statistics */
    E_GPRC = 0x4074,
    E_BPRC = 0x4078,
    E_MPRC = 0x407c,
    E_GPTC = 0x4080,
    E_GORCL = 0x4088,
    E_GORCH = 0x408c,
    E_GOTCL = 0x4090,
    E_GOTCH = 0x4094,
    E_TORL = 0x40c0,
    E_TORH = 0x40c4,
    E_TOTL = 0x40c8,
    E_TOTH = 0x40cc,
    E_TPR = 0x40d0,
    E_TPT = 0x40d4,
    E_MPC = 0x4010,
    E_TSCTC = 0x40f8,
};

#define CTRL_SLU (1u << 6)
#define CTRL_RST (1u << 26)
#define CTRL_VME (1u << 30)
#define CTRL_PHY_RST (1u << 31)
#define STATUS_FD (1u << 0)
#define STATUS_LU (1u << 1)
#define STATUS_SPEED_1000 (2u << 6)
#define STATUS_ASDV_1000 (2u << 8)
#define STATUS_PCI66 (1u << 11)

#define EECD_SK (1u << 0)
#define EECD_CS (1u << 1)
#define EECD_DI (1u << 2)
#define EECD_DO (1u << 3)
#define EECD_FWE (3u << 4)
#define EECD_REQ (1u << 6)
#define EECD_GNT (1u << 7)
#define EECD_PRES (1u << 8)
#define EERD_START (1u << 0)
#define EERD_DONE (1u << 4)

#define MDIC_OP_WRITE (1u << 26)
#define MDIC_OP_READ (2u << 26)
#define MDIC_READY (1u << 28)
#define MDIC_INT (1u << 29)
#define MDIC_ERROR (1u << 30)

#define INT_TXDW (1u << 0)
#define INT_TXQE (1u << 1)
#define INT_LSC (1u << 2)
#define INT_RXDMT0 (1u << 4)
#define INT_RXO (1u << 6)
#define INT_RXT0 (1u << 7)
#define INT_MDAC (1u << 9)
#define INT_TXD_LOW (1u << 15)
#define INT_ALL 0x1ffffu

#define RCTL_EN (1u << 1)
#define RCTL_UPE (1u << 3)
#define RCTL_MPE (1u << 4)
#define RCTL_LPE (1u << 5)
#define RCTL_BAM (1u << 15)
#define RCTL_VFE (1u << 18)
#define RCTL_BSEX (1u << 25)
#define RCTL_SECRC (1u << 26)
#define TCTL_EN (1u << 1)
#define TCTL_PSP (1u << 3)

/* Transmit descriptor, command byte (31:24 of the third word) and extensions */
#define TXD_CMD_EOP (1u << 24)
#define TXD_CMD_IC (1u << 26) /* legacy: insert checksum */
#define TXD_CMD_TSE (1u << 26)
#define TXD_CMD_RS (1u << 27)
#define TXD_CMD_RPS (1u << 28)
#define TXD_CMD_DEXT (1u << 29)
#define TXD_CMD_VLE (1u << 30)
#define TXD_CMD_IDE (1u << 31)
#define TXD_DTYP_D (1u << 20)
#define TXD_STAT_DD 1u
#define TXD_POPTS_IXSM 1u
#define TXD_POPTS_TXSM 2u
#define TXD_CTX_TCP (1u << 24)
#define TXD_CTX_IP (1u << 25)

#define RXD_STAT_DD 0x01u
#define RXD_STAT_EOP 0x02u
#define RXD_STAT_IXSM 0x04u
#define RXD_STAT_VP 0x08u
#define RXD_STAT_TCPCS 0x20u
#define RXD_STAT_IPCS 0x40u

#endif
