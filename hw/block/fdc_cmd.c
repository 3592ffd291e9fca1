/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The floppy controller's commands (82077AA data sheet, section "Command Set").
 */
#include "hw/block/fdc_int.h"

#include <string.h>

TRACE_EVENT(fdc_command, "0x%02x, %u bytes")

/* The low five bits where a command has option bits above. */
#define OP_MASK 0x1f
#define OP_MULTI_TRACK 0x80

static void cmd_read(IsaFdc *s)
{
    s->deleted = false;
    fdc_start_transfer(s, FDC_READ);
}

static void cmd_read_deleted(IsaFdc *s)
{
    s->deleted = true;
    fdc_start_transfer(s, FDC_READ);
}

/* Deleted data marks do not exist in an image: the data are written as any. */
static void cmd_write(IsaFdc *s)
{
    s->deleted = false;
    fdc_start_transfer(s, FDC_WRITE);
}

static void cmd_read_track(IsaFdc *s)
{
    s->deleted = false;
    fdc_start_transfer(s, FDC_READ_TRACK);
}

static void cmd_verify(IsaFdc *s)
{
    s->deleted = false;
    fdc_start_transfer(s, FDC_VERIFY);
}

static void cmd_scan(IsaFdc *s)
{
    s->deleted = false;
    s->scan_op = s->fifo[0] & OP_MASK;
    fdc_start_transfer(s, FDC_SCAN);
}

static void cmd_specify(IsaFdc *s)
{
    s->timing[0] = s->fifo[1];
    s->timing[1] = s->fifo[2];
    fdc_result(s, 0, false);
}

static void cmd_sense_drive(IsaFdc *s)
{
    unsigned unit = s->fifo[1] & 3;
    Floppy *f = fdc_drive(s, unit);

    s->fifo[0] = (uint8_t)(ST3_ALWAYS | (s->fifo[1] & 7));
    if (f) {
        s->fifo[0] |= (f->cylinder == 0 ? ST3_TRACK0 : 0) |
                      (floppy_present(f) && !floppy_writable(f) ? ST3_PROTECTED : 0);
    }
    fdc_result(s, 1, false);
}

/* A seek ends at once; its interrupt is answered by SENSE INTERRUPT. */
static void seek_end(IsaFdc *s, unsigned unit, uint8_t st0)
{
    s->seek_done |= 1u << unit;
    s->seek_st0[unit] = st0;
    fdc_result(s, 0, true);
}

static void cmd_recalibrate(IsaFdc *s)
{
    unsigned unit = s->fifo[1] & 3;
    Floppy *f = fdc_drive(s, unit);

    s->pcn[unit] = 0;
    if (!f) {
        /* The track 0 signal never comes. */
        seek_end(s, unit, (uint8_t)(ST0_ABNORMAL | ST0_SEEK_END | ST0_EQUIPMENT | unit));
        return;
    }
    floppy_step(f, -f->cylinder);
    seek_end(s, unit, (uint8_t)(ST0_SEEK_END | unit));
}

static void seek_to(IsaFdc *s, unsigned unit, uint8_t ncn)
{
    Floppy *f = fdc_drive(s, unit);

    if (f) {
        floppy_step(f, ncn - s->pcn[unit]);
    }
    s->pcn[unit] = ncn;
    seek_end(s, unit, (uint8_t)(ST0_SEEK_END | (s->fifo[1] & 7)));
}

static void cmd_seek(IsaFdc *s)
{
    seek_to(s, s->fifo[1] & 3, s->fifo[2]);
}

static void cmd_relative_seek(IsaFdc *s)
{
    unsigned unit = s->fifo[1] & 3;
    bool inward = s->fifo[0] & 0x40;

    seek_to(s, unit, (uint8_t)(inward ? s->pcn[unit] + s->fifo[2] : s->pcn[unit] - s->fifo[2]));
}

static void cmd_sense_interrupt(IsaFdc *s)
{
    unsigned unit = 0;

    if (s->reset_senses) {
        unit = FDC_UNITS - s->reset_senses--;
        s->fifo[0] = (uint8_t)(ST0_READY_CHANGED | unit);
    } else if (s->seek_done) {
        unit = (unsigned)__builtin_ctz(s->seek_done);
        s->seek_done &= (uint8_t) ~(1u << unit);
        s->fifo[0] = s->seek_st0[unit];
    } else {
        s->fifo[0] = ST0_INVALID;
        fdc_result(s, 1, false);
        return;
    }
    s->fifo[1] = s->pcn[unit];
    if (!s->reset_senses && !s->seek_done) {
        fdc_lower(s);
    }
    fdc_result(s, 2, false);
}

static void cmd_dumpreg(IsaFdc *s)
{
    uint8_t *r = s->fifo;

    memcpy(r, s->pcn, FDC_UNITS);
    r[4] = s->timing[0];
    r[5] = s->timing[1];
    r[6] = s->eot;
    r[7] = (uint8_t)(s->locked << 7 | s->perpendicular << 2);
    r[8] = s->config;
    r[9] = s->precomp;
    fdc_result(s, 10, false);
}

static void cmd_configure(IsaFdc *s)
{
    s->config = s->fifo[2] & 0x7f;
    s->precomp = s->fifo[3];
    fdc_result(s, 0, false);
}

static void cmd_version(IsaFdc *s)
{
    s->fifo[0] = 0x90; /* an enhanced controller */
    fdc_result(s, 1, false);
}

static void cmd_lock(IsaFdc *s)
{
    s->locked = s->fifo[0] & 0x80;
    s->fifo[0] = (uint8_t)(s->locked << 4);
    fdc_result(s, 1, false);
}

static void cmd_perpendicular(IsaFdc *s)
{
    /* With OW the drive bits are written, too; else they stay. */
    s->perpendicular = s->fifo[1] & 0x80 ? s->fifo[1] & 0x3f
                                         : (uint8_t)((s->perpendicular & 0x3c) | (s->fifo[1] & 3));
    fdc_result(s, 0, false);
}

static void cmd_invalid(IsaFdc *s)
{
    guest_error(FDC_NAME, "command 0x%02x", s->fifo[0]);
    s->fifo[0] = ST0_INVALID;
    fdc_result(s, 1, false);
}

typedef struct Command {
    uint8_t value, mask, len; /* len: with the opcode */
    void (*run)(IsaFdc *s);
} Command;

static const Command commands[] = {
    {0x06, OP_MASK, 9, cmd_read},
    {0x0c, OP_MASK, 9, cmd_read_deleted},
    {0x05, 0x3f, 9, cmd_write},
    {0x09, 0x3f, 9, cmd_write},
    {0x02, 0x9f, 9, cmd_read_track},
    {0x16, OP_MASK, 9, cmd_verify},
    {0x11, OP_MASK, 9, cmd_scan},
    {0x19, OP_MASK, 9, cmd_scan},
    {0x1d, OP_MASK, 9, cmd_scan},
    {0x0d, 0xbf, 6, fdc_start_format},
    {0x0a, 0xbf, 2, fdc_read_id},
    {0x07, 0xff, 2, cmd_recalibrate},
    {0x08, 0xff, 1, cmd_sense_interrupt},
    {0x03, 0xff, 3, cmd_specify},
    {0x04, 0xff, 2, cmd_sense_drive},
    {0x13, 0xff, 4, cmd_configure},
    {0x0f, 0xff, 3, cmd_seek},
    {0x8f, 0xbf, 3, cmd_relative_seek},
    {0x0e, 0xff, 1, cmd_dumpreg},
    {0x10, 0xff, 1, cmd_version},
    {0x12, 0xff, 2, cmd_perpendicular},
    {0x14, 0x7f, 1, cmd_lock},
    {0x00, 0x00, 1, cmd_invalid}, /* all others */
};

static const Command *find_command(uint8_t op)
{
    const Command *c = commands;

    while ((op & c->mask) != c->value) {
        c++;
    }
    return c;
}

void fdc_command_byte(IsaFdc *s, uint8_t v)
{
    const Command *c;

    if (s->fifo_pos >= sizeof(s->fifo)) {
        s->fifo_pos = 0;
    }
    s->fifo[s->fifo_pos++] = v;
    c = find_command(s->fifo[0]);
    if (s->fifo_pos < c->len) {
        return;
    }
    trace(fdc_command, s->fifo[0], c->len);
    s->fifo_pos = 0;
    s->multi_track = s->fifo[0] & OP_MULTI_TRACK;
    c->run(s);
}
