/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/block/fdc_int.h: shared by the parts of the floppy controller (fdc.c:
 * registers, reset, the device; fdc_cmd.c: commands; fdc_xfer.c: execution phases
 * that move data; fdc_drive.c: drives and media).  Not for others.
 */
#ifndef RHEA_HW_BLOCK_FDC_INT_H
#define RHEA_HW_BLOCK_FDC_INT_H

#include "hw/block/fdc.h"
#include "hw/core/machine.h"
#include "util/log.h"
#include "util/trace.h"

#define FDC_DRIVES 2
#define FDC_UNITS 4 /* that commands can name */
#define FDC_NAME "isa-fdc"

/* Status register 0 (82077AA, table "Status Register 0") and its companions. */
#define ST0_ABNORMAL 0x40
#define ST0_INVALID 0x80
#define ST0_READY_CHANGED 0xc0
#define ST0_SEEK_END 0x20
#define ST0_EQUIPMENT 0x10
#define ST1_MA 0x01 /* missing address mark */
#define ST1_NW 0x02 /* not writable */
#define ST1_ND 0x04 /* no data: the sector was not found */
#define ST1_DE 0x20 /* data error */
#define ST1_EN 0x80 /* end of cylinder */
#define ST2_SCAN_FAILED 0x04
#define ST2_SCAN_HIT 0x08
#define ST2_WRONG_CYLINDER 0x10
#define ST2_CONTROL_MARK 0x40
#define ST3_TRACK0 0x10
#define ST3_ALWAYS 0x28 /* ready and two-sided: the pins are tied so */
#define ST3_PROTECTED 0x40

#define DOR_SELECT 0x03
#define DOR_NRESET 0x04
#define DOR_DMA_GATE 0x08
#define DSR_RESET 0x80

#define CONFIG_IMPLIED_SEEK 0x40
#define CONFIG_NO_FIFO 0x20
#define CONFIG_NO_POLL 0x10

enum { RATE_500K, RATE_300K, RATE_250K, RATE_1M };

typedef enum FdcPhase { FDC_PHASE_COMMAND, FDC_PHASE_EXECUTION, FDC_PHASE_RESULT } FdcPhase;
typedef enum FdcTransfer {
    FDC_NONE,
    FDC_READ,
    FDC_READ_TRACK,
    FDC_VERIFY,
    FDC_WRITE,
    FDC_SCAN,
    FDC_FORMAT,
} FdcTransfer;

typedef struct Floppy {
    Device dev;
    IsaFdc *fdc;
    BlockBackend *blk;
    bool anonymous; /* `blk` is ours: an empty drive */
    /* properties */
    uint32_t unit;
    int drive_type;
    BlockConf conf;

    FloppyDriveType actual;
    /* The medium; all 0 without one. */
    uint8_t sectors, tracks, heads, rate;
    uint8_t cylinder; /* where the heads stand */
    bool changed;     /* DSKCHG: since the last step */
} Floppy;
#define FLOPPY(o) OBJECT_CAST(Floppy, o, TYPE_FLOPPY)

struct IsaFdc {
    IsaDevice isa;
    Region io, io7;
    Bus bus;
    IrqLine irq;
    IsaDma *dma;
    Floppy *drives[FDC_DRIVES];
    /* properties */
    uint32_t iobase, irq_number, dma_channel;
    int fdtype[FDC_DRIVES], fallback;
    int32_t bootindex[FDC_DRIVES];

    uint8_t dor, tdr, dsr, rate;
    uint8_t config, precomp, perpendicular;
    uint8_t timing[2]; /* SPECIFY's two bytes */
    bool locked;
    uint8_t pcn[FDC_UNITS]; /* where the controller believes the heads are */

    int32_t phase;
    uint8_t fifo[16];
    uint8_t fifo_len, fifo_pos; /* of command or result */
    bool irq_pending;
    uint8_t reset_senses; /* units that SENSE INTERRUPT still reports after a reset */
    uint8_t seek_done;    /* units with a seek to report */
    uint8_t seek_st0[FDC_UNITS];

    /* the transfer under way */
    int32_t transfer;
    uint8_t unit, head, c, h, r, n, eot, fill, scan_op;
    bool multi_track, deleted, to_end;
    bool tc, scan_hit, scan_miss;
    uint8_t st1, st2;
    uint32_t remaining; /* VERIFY with EC, FORMAT: sectors to go */
    uint8_t buf[BLOCK_SECTOR];
    uint32_t pos, len; /* moved, and to move, of `buf` */
    uint8_t id[4];     /* FORMAT: of the sector being written */
    bool dma_mode;
    /* block I/O; one request at a time */
    bool io_busy, io_dropped, io_again, io_write;
    BlkRequest *io_req;
    IoVec iov;
};
#define ISA_FDC(o) OBJECT_CAST(IsaFdc, o, TYPE_ISA_FDC)

/* ---- fdc.c ---- */
void fdc_raise(IsaFdc *s);
void fdc_lower(IsaFdc *s);
void fdc_update_irq(IsaFdc *s);
/* Ends the command: `n` bytes of s->fifo are the result (0: none). */
void fdc_result(IsaFdc *s, unsigned n, bool interrupt);

/* ---- fdc_cmd.c ---- */
/* A byte of the command phase. */
void fdc_command_byte(IsaFdc *s, uint8_t v);

/* ---- fdc_xfer.c ---- */
/* The command's parameters are in s->fifo. */
void fdc_start_transfer(IsaFdc *s, FdcTransfer t);
void fdc_start_format(IsaFdc *s);
void fdc_read_id(IsaFdc *s);
int fdc_dma(void *opaque, int channel, int pos, int size);
uint8_t fdc_pio_read(IsaFdc *s);
void fdc_pio_write(IsaFdc *s, uint8_t v);
bool fdc_pio_ready(const IsaFdc *s);
bool fdc_to_host(const IsaFdc *s); /* the direction of the execution phase */
void fdc_abort(IsaFdc *s);
/* After a load: gets going what was under way. */
void fdc_resume(IsaFdc *s);

/* ---- fdc_drive.c ---- */
/* NULL if there is no such drive. */
Floppy *fdc_drive(IsaFdc *s, unsigned unit);
bool floppy_present(const Floppy *f);
bool floppy_writable(const Floppy *f);
/* Moves the heads. */
void floppy_step(Floppy *f, int cylinders);
/* Is this the cylinder (as sector IDs count) under the heads? */
bool floppy_at(const Floppy *f, uint8_t c);
uint8_t floppy_id_cylinder(const Floppy *f);
extern const StateDesc fdc_state;

#endif
