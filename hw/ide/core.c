/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The task file, interrupts, resets and the data register of a channel. */
#include "hw/ide/ide.h"
#include "util/log.h"
#include "util/trace.h"

TRACE_EVENT(ide_command, "%s: command %02x features %02x count %02x lba %02x%02x%02x device %02x")
TRACE_EVENT(ide_end, "%s: status %02x error %02x")

/* ---- drives ---- */

void ide_drive_init(IdeDrive *d)
{
    d->buf = g_malloc0(IDE_BUFFER);
    d->write_cache = true;
    d->chunk = 1;
    d->cd.block = 2048;
    d->smart_on = true;
    d->smart_autosave = true;
    ide_drive_reset(d, true);
}

void ide_drive_fini(IdeDrive *d)
{
    d->generation++;
    g_free(d->buf);
    g_free(d->saved);
    d->buf = d->saved = NULL;
}

IdeDrive *ide_selected(IdeChannel *ch)
{
    return ch->drives[ch->unit];
}

bool ide_is_current(const IdeDrive *d)
{
    return d->ch->drives[d->ch->unit] == d;
}

/* What a drive shows after a reset, a diagnosis, or an IDENTIFY of the wrong kind. */
void ide_signature(IdeDrive *d)
{
    d->device &= (uint8_t)~0x0f;
    d->count = 1;
    d->lba_low = 1;
    d->lba_mid = d->is_cd ? 0x14 : 0;
    d->lba_high = d->is_cd ? 0xeb : 0;
    d->hob_count = d->hob_lba_low = d->hob_lba_mid = d->hob_lba_high = 0;
}

void ide_drive_reset(IdeDrive *d, bool hard)
{
    if (d->work && d->dma_wanted == false && d->ch && d->ch->ops->dma_end &&
        (d->work == IDE_WORK_DMA_READ || d->work == IDE_WORK_DMA_WRITE ||
         d->work == IDE_WORK_TRIM || d->work == IDE_WORK_CD_DMA)) {
        d->ch->ops->dma_end(d->ch->host, true);
    }
    d->generation++;
    d->work = IDE_WORK_NONE;
    d->dma_wanted = false;
    d->retry = false;
    d->phase = IDE_PHASE_NONE;
    d->data_pos = d->data_end = 0;
    d->left = d->ahead = d->ahead_pos = 0;
    d->lba48 = false;
    d->features = d->hob_features = 0;
    d->device = IDE_DEV_FIXED;
    d->error = 1; /* diagnosis: no error */
    d->status = d->is_cd ? 0 : IDE_DRDY | IDE_DSC;
    ide_signature(d);
    if (hard) {
        d->mult = 0;
        d->dma_mode = 0x45;
        d->chs = d->geo;
        d->cd.tray_locked = false;
        d->cd.sense_key = d->cd.asc = d->cd.ascq = 0;
        if (d->is_cd && d->blk) {
            blk_set_locked(d->blk, false);
        }
    }
}

/* ---- interrupts ---- */

static void update_irq(IdeChannel *ch)
{
    ch->ops->irq(ch->host, ch->irq_pending && !(ch->control & IDE_CTL_NIEN));
}

void ide_raise_irq(IdeDrive *d)
{
    if (ide_is_current(d)) {
        d->ch->irq_pending = 1;
        update_irq(d->ch);
    }
}

void ide_lower_irq(IdeChannel *ch)
{
    ch->irq_pending = 0;
    update_irq(ch);
}

/* ---- ends of commands ---- */

static void command_end(IdeDrive *d)
{
    trace(ide_end, d->name, d->status, d->error);
    d->phase = IDE_PHASE_NONE;
    d->work = IDE_WORK_NONE;
    d->dma_wanted = false;
    if (d->ch->ops->command_end) {
        d->ch->ops->command_end(d->ch->host);
    }
}

void ide_ok(IdeDrive *d)
{
    d->status = IDE_DRDY | IDE_DSC;
    d->error = 0;
    ide_raise_irq(d);
    command_end(d);
}

void ide_fail(IdeDrive *d, uint8_t error)
{
    d->status = IDE_DRDY | IDE_DSC | IDE_ERR;
    d->error = error;
    ide_raise_irq(d);
    command_end(d);
}

void ide_abort(IdeDrive *d)
{
    ide_fail(d, IDE_E_ABRT);
}

/* ---- data ---- */

static bool phase_to_guest(int phase)
{
    return phase == IDE_PHASE_IN || phase == IDE_PHASE_READ || phase == IDE_PHASE_REPLY;
}

/* Is nothing more to come after the block that is now in the buffer? */
static bool is_last_block(const IdeDrive *d)
{
    switch (d->phase) {
    case IDE_PHASE_READ:
    case IDE_PHASE_WRITE:
        return d->phase == IDE_PHASE_READ && !d->left;
    case IDE_PHASE_IN:
        return true;
    default:
        return false;
    }
}

void ide_data_phase(IdeDrive *d, IdePhase phase, uint32_t len, bool irq)
{
    ide_data_phase_at(d, phase, 0, len, irq);
}

void ide_data_phase_at(IdeDrive *d, IdePhase phase, uint32_t start, uint32_t len, bool irq)
{
    d->phase = phase;
    d->data_pos = start;
    d->data_end = start + len;
    d->status = IDE_DRDY | IDE_DSC | IDE_DRQ;
    d->error = 0;
    if (d->ch->ops->pio && d->ch->ops->pio(d->ch->host, d->buf + start, len, phase_to_guest(phase),
                                           is_last_block(d))) {
        d->data_pos = d->data_end;
        ide_end_data(d);
        return;
    }
    if (irq) {
        ide_raise_irq(d);
    }
}

void ide_end_data(IdeDrive *d)
{
    int phase = d->phase;
    d->phase = IDE_PHASE_NONE;
    d->status &= (uint8_t)~IDE_DRQ;
    switch ((IdePhase)phase) {
    case IDE_PHASE_NONE:
        break;
    case IDE_PHASE_READ:
        if (d->left) {
            ide_pio_read_next(d);
            break;
        }
        /* fall through */
    case IDE_PHASE_IN:
        command_end(d); /* the guest has it all: no interrupt */
        break;
    case IDE_PHASE_WRITE:
        ide_pio_write_done(d);
        break;
    case IDE_PHASE_PACKET:
        memcpy(d->cd.packet, d->buf, sizeof(d->cd.packet));
        atapi_packet(d);
        break;
    case IDE_PHASE_REPLY:
        atapi_reply_next(d);
        break;
    case IDE_PHASE_OUT:
        atapi_ok(d);
        break;
    case IDE_PHASE_OUT_ATA:
        ide_ok(d);
        break;
    }
}

uint32_t ide_read_data(IdeChannel *ch, unsigned size)
{
    IdeDrive *d = ide_selected(ch);
    if (!d || !(d->status & IDE_DRQ) || !phase_to_guest(d->phase)) {
        return 0;
    }
    unsigned n = MIN(size, d->data_end - d->data_pos);
    uint8_t b[8] = {0};
    memcpy(b, d->buf + d->data_pos, n);
    d->data_pos += n;
    if (d->data_pos >= d->data_end) {
        ide_end_data(d);
    }
    return (uint32_t)ld_le(b, size);
}

void ide_write_data(IdeChannel *ch, uint32_t v, unsigned size)
{
    IdeDrive *d = ide_selected(ch);
    if (!d || !(d->status & IDE_DRQ) || d->phase == IDE_PHASE_NONE || phase_to_guest(d->phase)) {
        return;
    }
    unsigned n = MIN(size, d->data_end - d->data_pos);
    uint8_t b[8];
    st_le(b, size, v);
    memcpy(d->buf + d->data_pos, b, n);
    d->data_pos += n;
    if (d->data_pos >= d->data_end) {
        ide_end_data(d);
    }
}

/* ---- registers ---- */

static void shift_in(uint8_t *reg, uint8_t *hob, uint8_t v)
{
    *hob = *reg;
    *reg = v;
}

static void latch(IdeDrive *d, unsigned reg, uint8_t v)
{
    switch (reg) {
    case 1:
        shift_in(&d->features, &d->hob_features, v);
        break;
    case 2:
        shift_in(&d->count, &d->hob_count, v);
        break;
    case 3:
        shift_in(&d->lba_low, &d->hob_lba_low, v);
        break;
    case 4:
        shift_in(&d->lba_mid, &d->hob_lba_mid, v);
        break;
    case 5:
        shift_in(&d->lba_high, &d->hob_lba_high, v);
        break;
    case 6:
        d->device = v | IDE_DEV_FIXED;
        break;
    }
}

static void write_command(IdeChannel *ch, uint8_t cmd)
{
    IdeDrive *d = ide_selected(ch);
    ide_lower_irq(ch);
    if (cmd == 0x90) { /* EXECUTE DEVICE DIAGNOSTIC: both, whichever is selected */
        for (unsigned i = 0; i < 2; i++) {
            if (ch->drives[i]) {
                ide_drive_reset(ch->drives[i], false);
            }
        }
        ch->unit = 0;
        d = ch->drives[0] ? ch->drives[0] : ch->drives[1];
        if (d) {
            ch->irq_pending = 1;
            update_irq(ch);
            command_end(d);
        }
        return;
    }
    if (!d) {
        return;
    }
    if ((d->status & (IDE_BSY | IDE_DRQ)) && !(d->is_cd && cmd == 0x08)) {
        guest_error(d->name, "command %02x while another is under way", cmd);
        return;
    }
    trace(ide_command, d->name, cmd, d->features, d->count, d->lba_high, d->lba_mid, d->lba_low,
          d->device);
    d->command = cmd;
    d->error = 0;
    d->retry = false;
    d->ahead = d->ahead_pos = 0;
    d->generation++;
    if (d->is_cd) {
        ide_atapi_command(d, cmd);
    } else {
        ide_ata_command(d, cmd);
    }
}

void ide_write_reg(IdeChannel *ch, unsigned reg, uint8_t v)
{
    ch->control &= (uint8_t)~IDE_CTL_HOB;
    if (reg == 7) {
        write_command(ch, v);
        return;
    }
    IdeDrive *d = ide_selected(ch);
    if (d && (d->status & (IDE_BSY | IDE_DRQ))) {
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (ch->drives[i]) {
            latch(ch->drives[i], reg, v);
        }
    }
    if (reg == 6) {
        ch->unit = ch->max_units > 1 && (v & IDE_DEV_SLAVE) ? 1 : 0;
    }
}

static uint8_t read_latched(const IdeChannel *ch, const IdeDrive *d, unsigned reg)
{
    bool hob = ch->control & IDE_CTL_HOB;
    switch (reg) {
    case 1:
        return hob ? d->hob_features : d->error;
    case 2:
        return hob ? d->hob_count : d->count;
    case 3:
        return hob ? d->hob_lba_low : d->lba_low;
    case 4:
        return hob ? d->hob_lba_mid : d->lba_mid;
    case 5:
        return hob ? d->hob_lba_high : d->lba_high;
    default:
        return d->device;
    }
}

uint8_t ide_read_reg(IdeChannel *ch, unsigned reg)
{
    IdeDrive *d = ide_selected(ch);
    if (reg == 7) {
        ide_lower_irq(ch);
        return d ? d->status : 0;
    }
    if (!d) {
        /* The other drive, if there is one, answers for its absent neighbour. */
        IdeDrive *other = ch->drives[!ch->unit];
        if (!other) {
            return 0;
        }
        uint8_t v = read_latched(ch, other, reg);
        return reg == 6 ? (uint8_t)((v & ~IDE_DEV_SLAVE) | (ch->unit ? IDE_DEV_SLAVE : 0)) : v;
    }
    return read_latched(ch, d, reg);
}

uint8_t ide_read_alt_status(IdeChannel *ch)
{
    IdeDrive *d = ide_selected(ch);
    return d ? d->status : 0;
}

void ide_write_control(IdeChannel *ch, uint8_t v)
{
    bool was = ch->control & IDE_CTL_SRST, is = v & IDE_CTL_SRST;
    ch->control = v;
    for (unsigned i = 0; i < 2; i++) {
        IdeDrive *d = ch->drives[i];
        if (d && is && !was) {
            ide_drive_reset(d, false);
            d->status = IDE_BSY;
            d->error = 1;
        } else if (d && was && !is) {
            ide_drive_reset(d, false);
        }
    }
    if (is || was) {
        ch->unit = 0;
        ch->irq_pending = 0;
    }
    update_irq(ch);
}

/* ---- channels ---- */

void ide_channel_init(IdeChannel *ch, const IdeHostOps *ops, void *host, EventLoop *loop,
                      unsigned max_units)
{
    memset(ch, 0, sizeof(*ch));
    ch->ops = ops;
    ch->host = host;
    ch->loop = loop;
    ch->max_units = max_units;
}

void ide_channel_reset(IdeChannel *ch)
{
    ch->unit = 0;
    ch->control = 0;
    for (unsigned i = 0; i < 2; i++) {
        if (ch->drives[i]) {
            ide_drive_reset(ch->drives[i], true);
        }
    }
    ide_lower_irq(ch);
}
