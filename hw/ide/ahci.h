/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/ide/ahci.h: an AHCI 1.3 host bus adapter and its ports.
 *
 * Each port is the host of an IdeChannel with one drive.  Commands with queueing
 * (READ and WRITE FPDMA QUEUED) do not go through the drive's task file: a port runs
 * up to 32 of them side by side (ahci-ncq.c); all others one after another
 * (ahci-port.c).  Lists, tables and FIS areas lie in guest memory; each is copied
 * once before it is looked at.
 */
#ifndef RHEA_HW_IDE_AHCI_H
#define RHEA_HW_IDE_AHCI_H

#include "hw/ide/ide.h"
#include "hw/pci/pci.h"

#define AHCI_PORTS 6u
#define AHCI_SLOTS 32u

/* Port interrupts. */
#define AHCI_IS_DHRS 0x00000001u /* D2H register FIS */
#define AHCI_IS_PSS 0x00000002u  /* PIO setup FIS */
#define AHCI_IS_DSS 0x00000004u
#define AHCI_IS_SDBS 0x00000008u /* set device bits FIS */
#define AHCI_IS_DPS 0x00000020u  /* a descriptor with its I bit has been processed */
#define AHCI_IS_PCS 0x00000040u  /* connection changed */
#define AHCI_IS_OFS 0x01000000u  /* overflow: the list of buffers was too short */
#define AHCI_IS_IFS 0x08000000u
#define AHCI_IS_HBFS 0x20000000u /* bad address */
#define AHCI_IS_TFES 0x40000000u /* error in the task file */
#define AHCI_IS_ALL 0xfdc000ffu
/* PxCMD */
#define AHCI_CMD_ST 0x00000001u
#define AHCI_CMD_SUD 0x00000002u
#define AHCI_CMD_POD 0x00000004u
#define AHCI_CMD_CLO 0x00000008u
#define AHCI_CMD_FRE 0x00000010u
#define AHCI_CMD_FR 0x00004000u
#define AHCI_CMD_CR 0x00008000u
#define AHCI_CMD_ATAPI 0x01000000u
#define AHCI_CMD_RW 0x03000013u /* what software may write and keep; ICC reads 0 */

typedef struct Ahci Ahci;
typedef struct AhciPort AhciPort;

/* A command's list of buffers, and how far it has been read. */
typedef struct AhciCursor {
    uint64_t table;        /* address of the command table */
    uint32_t length, next; /* entries; the one that is read next */
    uint64_t addr;         /* of the entry in use */
    uint32_t left;
} AhciCursor;

typedef struct AhciNcq {
    bool used, write, fua, retry;
    uint8_t slot;
    uint64_t lba;
    uint32_t left; /* sectors */
    AhciCursor prd, before;
} AhciNcq;

struct AhciPort {
    Ahci *hba;
    unsigned n;
    IdeBus bus;
    uint32_t clb, clbu, fb, fbu, is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci;
    int32_t slot;       /* of the command that the drive works on, or -1 */
    uint64_t header;    /* its address */
    uint32_t moved;     /* bytes: PRDBC */
    uint32_t taken;     /* bytes of the last request */
    bool atapi;         /* it has a packet */
    bool ends_with_pio; /* its last data went to the guest: no register FIS follows */
    bool halted;        /* after an error, until the guest starts it anew */
    bool checking;      /* ahci_port_check() is at work */
    AhciCursor prd, before;
    AhciNcq ncq[AHCI_SLOTS];
    unsigned generation; /* of NCQ requests */
};

struct Ahci {
    PciDevice pci;
    Region mem, idp;
    uint32_t ghc, is, idp_index;
    AhciPort port[AHCI_PORTS];
};

/* ahci.c */
/* Something happened at the port: notes it and tells the guest as far as it wants to know. */
void ahci_port_event(AhciPort *p, uint32_t bits);
void ahci_update_irq(Ahci *s, bool event);
AddressSpace *ahci_as(AhciPort *p);

/* ahci-port.c */
void ahci_port_init(Ahci *s, unsigned n);
void ahci_port_reset(AhciPort *p, bool power_on); /* COMRESET */
uint32_t ahci_port_read(AhciPort *p, unsigned reg);
void ahci_port_write(AhciPort *p, unsigned reg, uint32_t v);
/* Starts the commands that are issued and can be. */
void ahci_port_check(AhciPort *p);
void ahci_write_fis(AhciPort *p, uint32_t offset, const uint8_t *fis, size_t len);
/* The task-file error has been put where the guest looks; nothing runs until a restart. */
void ahci_port_halt(AhciPort *p);
bool ahci_prd_take(AhciPort *p, AhciCursor *c, IdeSg *sg, uint64_t max);
IdeDrive *ahci_drive(AhciPort *p);
extern const StateDesc ahci_port_state;

/* ahci-ncq.c */
/* READ or WRITE FPDMA QUEUED from a copied command FIS. */
void ahci_ncq_start(AhciPort *p, unsigned slot, const uint8_t fis[20], const AhciCursor *prd);
void ahci_ncq_cancel(AhciPort *p);
void ahci_ncq_retry(AhciPort *p);
extern const StateDesc ahci_ncq_state, ahci_cursor_state;

#endif
