/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/ide/ide.h: ATA disks and ATAPI CD-ROM drives, and the channel they sit on.
 * Specifications: ATA/ATAPI-7 (T13/1532D), ACS-2 for what is newer, MMC-5 and
 * SFF-8020i for packets.
 *
 * A channel has two drives and one set of task-file registers, which both latch.
 * Its host is a PCI IDE function (registers at ports, bus-master DMA; piix.c) or an
 * AHCI port (ahci.c), known only by IdeHostOps.  A drive never waits: what needs the
 * disk image goes through IdeIo requests, whose completion is ignored when the drive
 * was reset meanwhile.  All under the lock of the host's loop.
 */
#ifndef RHEA_HW_IDE_IDE_H
#define RHEA_HW_IDE_IDE_H

#include "block/block.h"
#include "hw/core/device.h"

typedef struct IdeChannel IdeChannel;
typedef struct IdeDrive IdeDrive;

/* Status and error bits. */
#define IDE_ERR 0x01
#define IDE_DRQ 0x08
#define IDE_DSC 0x10
#define IDE_DF 0x20
#define IDE_DRDY 0x40
#define IDE_BSY 0x80
#define IDE_E_ABRT 0x04
#define IDE_E_MCR 0x08
#define IDE_E_IDNF 0x10
#define IDE_E_UNC 0x40
#define IDE_E_ICRC 0x80
/* Device register. */
#define IDE_DEV_SLAVE 0x10
#define IDE_DEV_LBA 0x40
#define IDE_DEV_FIXED 0xa0
/* Device control register. */
#define IDE_CTL_NIEN 0x02
#define IDE_CTL_SRST 0x04
#define IDE_CTL_HOB 0x80
/* ATAPI interrupt reason (the count register). */
#define ATAPI_CD 0x01
#define ATAPI_IO 0x02

#define IDE_SECTOR 512u
#define IDE_BUFFER (256u << 10) /* the longest PIO block and ATAPI reply */
#define IDE_MAX_MULT 16u

/* ---- guest buffers ---- */
typedef struct IdeSegment {
    hwaddr addr;
    uint32_t len;
} IdeSegment;
/* A piece of the guest's memory, mapped for one request. */
typedef struct IdeSg {
    AddressSpace *as;
    GArray *segs; /* IdeSegment */
    uint64_t size;
    bool to_guest, mapped;
    IoVec v;      /* what block requests take */
    GArray *maps; /* how to undo it */
} IdeSg;
void ide_sg_init(IdeSg *sg, AddressSpace *as);
void ide_sg_add(IdeSg *sg, hwaddr addr, uint32_t len);
/* Maps all segments; those that are not RAM get a copy. false: some cannot be read. */
bool ide_sg_map(IdeSg *sg, bool to_guest);
void ide_sg_free(IdeSg *sg); /* writes copies back if to_guest */
/* Moves bytes at once, for short transfers; clamps to the list. false: not all went. */
bool ide_sg_copy(IdeSg *sg, uint64_t skip, void *buf, size_t len, bool to_guest);

/* ---- what a host does for its channel ---- */
typedef struct IdeHostOps {
    void (*irq)(void *host, int level);
    /* The selected drive is ready to move data: call ide_dma_run() when the host is. */
    void (*dma_request)(void *host);
    /*
     * Appends the next at most `max` bytes of the guest's buffer to `sg`; less than
     * that when its list has ended.  false: the list itself cannot be read.
     */
    bool (*dma_take)(void *host, IdeSg *sg, uint64_t max);
    /* What was taken last will be asked for again. */
    void (*dma_untake)(void *host);
    /* The command that used DMA has ended (before its interrupt). */
    void (*dma_end)(void *host, bool error);
    /*
     * Hosts without a data register move a PIO block now and return true; the
     * channel then goes on as if the guest had.  May be NULL.
     */
    bool (*pio)(void *host, uint8_t *data, size_t len, bool to_guest, bool last);
    /* A command has ended, or waits for a packet. May be NULL. */
    void (*command_end)(void *host);
    /* The machine continues after an error; the drive goes away. May be NULL. */
    void (*retry)(void *host);
    void (*detached)(void *host);
    AddressSpace *(*dma_as)(void *host);
} IdeHostOps;

/* What the bytes between data_pos and data_end are, and what happens after them. */
typedef enum IdePhase {
    IDE_PHASE_NONE,
    IDE_PHASE_IN,      /* the last block to the guest: then the command ends */
    IDE_PHASE_READ,    /* sectors to the guest: then the next ones */
    IDE_PHASE_WRITE,   /* sectors from the guest: then to the image */
    IDE_PHASE_PACKET,  /* a command packet from the guest */
    IDE_PHASE_REPLY,   /* a piece of an ATAPI reply to the guest */
    IDE_PHASE_OUT,     /* an ATAPI parameter list from the guest */
    IDE_PHASE_OUT_ATA, /* data from the guest that are only swallowed */
    IDE_PHASE_LAST = IDE_PHASE_OUT_ATA,
} IdePhase;

/* What a drive is doing with the image, or will when its host lets it. */
typedef enum IdeWork {
    IDE_WORK_NONE,
    IDE_WORK_PIO_READ,
    IDE_WORK_PIO_WRITE,
    IDE_WORK_DMA_READ,
    IDE_WORK_DMA_WRITE,
    IDE_WORK_TRIM,
    IDE_WORK_FLUSH,
    IDE_WORK_VERIFY,
    IDE_WORK_CD_READ,  /* sectors into the buffer, to the guest by PIO */
    IDE_WORK_CD_DMA,   /* sectors to the guest by DMA */
    IDE_WORK_CD_REPLY, /* the buffer to the guest by DMA */
    IDE_WORK_LAST = IDE_WORK_CD_REPLY,
} IdeWork;

typedef struct IdeGeometry {
    uint32_t cyls, heads, secs;
} IdeGeometry;

typedef struct IdeCd {
    uint8_t sense_key, asc, ascq;
    bool tray_open, tray_locked;
    bool media_event, new_medium; /* GET EVENT STATUS; unit attention pending */
    uint8_t packet[12];
    uint32_t lba, left;            /* READ: next sector, sectors still to go */
    uint32_t block;                /* bytes to the guest for a sector: 2048 or 2352 */
    uint32_t reply_len, reply_pos; /* in the buffer */
    bool dma;                      /* the packet asked for DMA */
} IdeCd;

struct IdeDrive {
    IdeChannel *ch;
    unsigned unit;
    bool is_cd;
    BlockBackend *blk;
    const char *name; /* for messages */
    /* identity, from properties */
    char serial[21], version[9], model[41];
    uint64_t wwn;
    uint16_t rotation_rate;
    uint32_t physical_block_size, logical_block_size;
    IdeGeometry geo;
    uint64_t sectors; /* of 512 bytes */
    bool sata, trim, lba_translation;

    /* the task file; hob: the previously written value of the 16-bit registers */
    uint8_t features, hob_features, count, hob_count;
    uint8_t lba_low, hob_lba_low, lba_mid, hob_lba_mid, lba_high, hob_lba_high;
    uint8_t device, status, error, command;
    bool lba48; /* the command under way uses the hob values */

    IdeGeometry chs; /* as INITIALIZE DEVICE PARAMETERS set it */
    uint8_t mult;    /* sectors of a READ MULTIPLE block; 0: not set */
    bool write_cache, smart_on, smart_autosave;
    uint8_t dma_mode; /* as SET FEATURES 03h set it: 20h+n multiword, 40h+n ultra */
    uint8_t smart_selftest;

    uint8_t *buf;   /* IDE_BUFFER bytes */
    uint8_t *saved; /* the part of it that travels, while saving and loading */
    uint32_t saved_len;
    uint32_t data_pos, data_end;
    int phase;
    int work;        /* IdeWork */
    bool dma_wanted; /* work waits for the host */
    bool retry;      /* stopped for an error: do `work` again when the machine continues */
    uint64_t lba;    /* next sector of the command */
    uint32_t left;   /* sectors still to go */
    uint32_t chunk;  /* sectors of a PIO block; bytes of a piece of an ATAPI reply */
    uint32_t ahead, ahead_pos; /* PIO reads: sectors in the buffer after this block, and where */
    bool fua;
    unsigned generation; /* of commands: requests of older ones are forgotten */
    unsigned in_flight;

    IdeCd cd;
};

struct IdeChannel {
    const IdeHostOps *ops;
    void *host;
    EventLoop *loop;
    unsigned max_units;
    IdeDrive *drives[2];
    uint8_t unit; /* selected */
    uint8_t control;
    uint8_t irq_pending; /* INTRQ, before nIEN */
};

/* ---- the channel's registers, for hosts (core.c) ---- */
void ide_channel_init(IdeChannel *ch, const IdeHostOps *ops, void *host, EventLoop *loop,
                      unsigned max_units);
void ide_channel_reset(IdeChannel *ch); /* hardware reset */
/* Command block registers 1 to 7. */
uint8_t ide_read_reg(IdeChannel *ch, unsigned reg);
void ide_write_reg(IdeChannel *ch, unsigned reg, uint8_t v);
uint8_t ide_read_alt_status(IdeChannel *ch);
void ide_write_control(IdeChannel *ch, uint8_t v);
/* The data register; size 2 or 4. */
uint32_t ide_read_data(IdeChannel *ch, unsigned size);
void ide_write_data(IdeChannel *ch, uint32_t v, unsigned size);
/* The host's DMA is running: moves as much as it can. */
void ide_dma_run(IdeChannel *ch);
IdeDrive *ide_selected(IdeChannel *ch); /* or NULL */

/* ---- inside a drive ---- */
void ide_drive_init(IdeDrive *d); /* allocates the buffer */
void ide_drive_fini(IdeDrive *d);
void ide_drive_reset(IdeDrive *d, bool hard);
void ide_signature(IdeDrive *d);
void ide_raise_irq(IdeDrive *d);
void ide_lower_irq(IdeChannel *ch);
/* Ends the command: ready, no error; or aborted with the error bits. Both interrupt. */
void ide_ok(IdeDrive *d);
void ide_fail(IdeDrive *d, uint8_t error);
void ide_abort(IdeDrive *d);
/* `len` bytes of the buffer go to (come from) the guest. Interrupts if `irq`. */
void ide_data_phase(IdeDrive *d, IdePhase phase, uint32_t len, bool irq);
void ide_data_phase_at(IdeDrive *d, IdePhase phase, uint32_t start, uint32_t len, bool irq);
void ide_end_data(IdeDrive *d);
bool ide_is_current(const IdeDrive *d);

/* ---- requests to the image (io.c) ---- */
typedef struct IdeIo IdeIo;
struct IdeIo {
    IdeDrive *d;
    unsigned generation;
    uint8_t *buf; /* owned, or NULL */
    struct iovec one;
    IoVec v;
    IdeSg sg;
    bool has_sg;
    uint32_t sectors;
    void (*done)(IdeIo *io, int result); /* only if the command still stands */
};
IdeIo *ide_io_new(IdeDrive *d, void (*done)(IdeIo *io, int result));
void ide_io_buffer(IdeIo *io, size_t len);
void ide_io_read(IdeIo *io, uint64_t off);
void ide_io_write(IdeIo *io, uint64_t off, bool fua);
void ide_io_flush(IdeIo *io);
void ide_io_discard(IdeIo *io, uint64_t off, uint64_t len);
void ide_io_free(IdeIo *io);
/*
 * What becomes of a failed request: true if it counts as done (ignore); else the
 * drive has been stopped for a retry, or the command ended with an error.
 */
bool ide_io_failed(IdeDrive *d, bool is_read, int result);
/* The machine continues after an error. */
void ide_drive_retry(IdeDrive *d);
/* Starts, or goes on with, d->work. */
void ide_work_start(IdeDrive *d, IdeWork work);
void ide_work_run(IdeDrive *d);

/* ---- commands ---- */
void ide_ata_command(IdeDrive *d, uint8_t cmd);
void ide_atapi_command(IdeDrive *d, uint8_t cmd);
bool ide_common_command(IdeDrive *d, uint8_t cmd);
void ide_set_features(IdeDrive *d);
void ide_smart(IdeDrive *d);
void ide_identify(IdeDrive *d, uint8_t out[512]);
void ide_identify_packet(IdeDrive *d, uint8_t out[512]);
uint64_t ide_get_lba(const IdeDrive *d); /* CHS too; UINT64_MAX: no such sector */
void ide_set_lba(IdeDrive *d, uint64_t lba);
uint32_t ide_get_count(const IdeDrive *d); /* 0 stands for the maximum */
void ide_pio_read_next(IdeDrive *d);       /* the guest has taken a block */
void ide_pio_write_done(IdeDrive *d);      /* a block has come from the guest */
void atapi_packet(IdeDrive *d);            /* d->cd.packet is complete */
void atapi_reply_next(IdeDrive *d);
void atapi_run(IdeDrive *d); /* works of kind IDE_WORK_CD_* */
void atapi_sense(IdeDrive *d, uint8_t key, uint8_t asc, uint8_t ascq);
void atapi_check(IdeDrive *d, uint8_t key, uint8_t asc, uint8_t ascq); /* CHECK CONDITION */
void atapi_ok(IdeDrive *d);
void atapi_reply(IdeDrive *d, uint32_t len, uint32_t alloc);
void atapi_read(IdeDrive *d, uint32_t lba, uint32_t n, uint32_t block);
/* Commands that only answer (atapi-info.c); false: unknown. */
bool atapi_info_command(IdeDrive *d);
void atapi_media_changed(IdeDrive *d, bool loaded);
uint32_t atapi_sectors(const IdeDrive *d);

extern const StateDesc ide_drive_state, ide_channel_state;

/* ---- buses and devices (bus.c) ---- */
#define TYPE_IDE_BUS "IDE"
typedef struct IdeBus {
    Bus bus;
    IdeChannel ch;
    unsigned number; /* of the channel or port at its controller */
} IdeBus;
void ide_bus_init(IdeBus *b, Device *parent, const char *id, unsigned number, const IdeHostOps *ops,
                  void *host, unsigned max_units);
void ide_bus_fini(IdeBus *b);
/* Physical geometry of the disk at a place, and whether the BIOS should translate. */
bool ide_bus_geometry(IdeBus *b, unsigned unit, IdeGeometry *geo, bool *lba_translation);

#endif
