/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A port: registers, command slots, FISes, and the drive's host. */
#include "hw/ide/ahci.h"
#include "util/log.h"
#include "util/trace.h"

TRACE_EVENT(ahci_command, "port %u slot %u: command %02x features %02x device %02x, %u buffers")

#define SIG_ATA 0x00000101u
#define SIG_ATAPI 0xeb140101u
#define SIG_NONE 0xffffffffu
#define SERR_X 0x04000000u /* exchanged */

IdeDrive *ahci_drive(AhciPort *p)
{
    return p->bus.ch.drives[0];
}

/* ---- FISes to the guest ---- */

void ahci_write_fis(AhciPort *p, uint32_t offset, const uint8_t *fis, size_t len)
{
    hwaddr area = (uint64_t)p->fbu << 32 | p->fb;
    if ((p->cmd & AHCI_CMD_FRE) && pci_dma_write(&p->hba->pci, area + offset, fis, len) != MEM_OK) {
        p->is |= AHCI_IS_HBFS;
    }
}

static void fill_registers(const IdeDrive *d, uint8_t *fis)
{
    fis[2] = d->status;
    fis[3] = d->error;
    fis[4] = d->lba_low;
    fis[5] = d->lba_mid;
    fis[6] = d->lba_high;
    fis[7] = d->device;
    fis[8] = d->hob_lba_low;
    fis[9] = d->hob_lba_mid;
    fis[10] = d->hob_lba_high;
    fis[12] = d->count;
    fis[13] = d->hob_count;
}

static void set_tfd(AhciPort *p, const IdeDrive *d)
{
    p->tfd = d->status | (uint32_t)d->error << 8;
}

static void send_d2h(AhciPort *p, const IdeDrive *d, bool interrupt)
{
    uint8_t fis[20] = {0x34, interrupt ? 0x40 : 0};
    fill_registers(d, fis);
    ahci_write_fis(p, 0x40, fis, sizeof(fis));
    set_tfd(p, d);
    ahci_port_event(p, (interrupt ? AHCI_IS_DHRS : 0) | (d->status & IDE_ERR ? AHCI_IS_TFES : 0));
}

static void send_pio_setup(AhciPort *p, const IdeDrive *d, size_t len, bool to_guest, bool last)
{
    uint8_t fis[20] = {0x5f, (uint8_t)(0x40 | (to_guest ? 0x20 : 0))};
    fill_registers(d, fis);
    fis[15] = (uint8_t)(IDE_DRDY | IDE_DSC | (last ? 0 : IDE_BSY));
    st_le16(fis + 16, (uint16_t)MIN(len, 0xffffu));
    ahci_write_fis(p, 0x20, fis, sizeof(fis));
    p->tfd = fis[15];
    ahci_port_event(p, AHCI_IS_PSS);
}

void ahci_port_halt(AhciPort *p)
{
    p->halted = true;
}

/* ---- lists of buffers ---- */

static bool next_entry(AhciPort *p, AhciCursor *c)
{
    uint8_t e[16];
    if (pci_dma_read(&p->hba->pci, c->table + 0x80 + c->next * 16ull, e, sizeof(e)) != MEM_OK) {
        ahci_port_event(p, AHCI_IS_HBFS);
        return false;
    }
    c->next++;
    c->addr = ld_le64(e) & ~1ull;
    c->left = (ld_le32(e + 12) & 0x3fffff) + 1;
    c->left &= ~1u; /* counts are of even bytes */
    return true;
}

bool ahci_prd_take(AhciPort *p, AhciCursor *c, IdeSg *sg, uint64_t max)
{
    while (sg->size < max) {
        if (!c->left) {
            if (c->next >= c->length) {
                return true; /* shorter than asked for */
            }
            if (!next_entry(p, c)) {
                return false;
            }
            continue;
        }
        uint32_t n = (uint32_t)MIN((uint64_t)c->left, max - sg->size);
        ide_sg_add(sg, c->addr, n);
        c->addr += n;
        c->left -= n;
    }
    return true;
}

/* ---- the drive's host ---- */

static void port_irq(void *host, int level)
{
    /* A drive here tells by FISes, not by a line. */
}

static void port_dma_request(void *host)
{
    ide_dma_run(&((AhciPort *)host)->bus.ch);
}

static bool port_dma_take(void *host, IdeSg *sg, uint64_t max)
{
    AhciPort *p = host;
    p->before = p->prd;
    bool ok = ahci_prd_take(p, &p->prd, sg, max);
    p->taken = (uint32_t)sg->size;
    p->moved += p->taken;
    return ok;
}

static void port_dma_untake(void *host)
{
    AhciPort *p = host;
    p->prd = p->before;
    p->moved -= p->taken;
}

static void port_dma_end(void *host, bool error)
{
}

static bool take_packet(AhciPort *p, uint8_t *data, size_t len)
{
    memset(data, 0, len);
    if (p->atapi &&
        pci_dma_read(&p->hba->pci, p->prd.table + 0x40, data, MIN(len, 16u)) != MEM_OK) {
        ahci_port_event(p, AHCI_IS_HBFS);
    }
    return true;
}

static bool port_pio(void *host, uint8_t *data, size_t len, bool to_guest, bool last)
{
    AhciPort *p = host;
    IdeDrive *d = ahci_drive(p);
    if (d->phase == IDE_PHASE_PACKET) {
        return take_packet(p, data, len);
    }
    IdeSg sg;
    ide_sg_init(&sg, ahci_as(p));
    ahci_prd_take(p, &p->prd, &sg, len);
    if (!to_guest && sg.size < len) {
        memset(data + sg.size, 0, len - sg.size);
    }
    ide_sg_copy(&sg, 0, data, (size_t)MIN(sg.size, len), to_guest);
    if (sg.size < len) {
        p->is |= AHCI_IS_OFS;
    }
    p->moved += (uint32_t)sg.size;
    ide_sg_free(&sg);
    p->ends_with_pio = to_guest && last;
    send_pio_setup(p, d, len, to_guest, last);
    return true;
}

static void check_later(void *opaque)
{
    ahci_port_check(opaque);
}

static void port_command_end(void *host)
{
    AhciPort *p = host;
    IdeDrive *d = ahci_drive(p);
    if (p->slot < 0 || !d) {
        return;
    }
    uint8_t count[4];
    st_le32(count, p->moved);
    pci_dma_write(&p->hba->pci, p->header + 4, count, sizeof(count));
    p->ci &= ~(1u << p->slot);
    p->slot = -1;
    if (d->status & IDE_ERR) {
        ahci_port_halt(p);
    }
    if (p->ends_with_pio && !(d->status & IDE_ERR)) {
        set_tfd(p, d);
    } else {
        send_d2h(p, d, true);
    }
    p->ends_with_pio = false;
    if (p->ci && !p->checking) {
        loop_defer(p->bus.ch.loop, check_later, p);
    }
}

static AddressSpace *port_dma_as(void *host)
{
    return ahci_as(host);
}

static void port_retry(void *host)
{
    ahci_ncq_retry(host);
}

static void port_detached(void *host)
{
    AhciPort *p = host;
    ahci_ncq_cancel(p);
    loop_defer_cancel(p->bus.ch.loop, p);
    p->slot = -1;
    p->ci = p->sact = 0;
}

static const IdeHostOps port_host = {
    .irq = port_irq,
    .dma_request = port_dma_request,
    .dma_take = port_dma_take,
    .dma_untake = port_dma_untake,
    .dma_end = port_dma_end,
    .pio = port_pio,
    .command_end = port_command_end,
    .dma_as = port_dma_as,
    .retry = port_retry,
    .detached = port_detached,
};

/* ---- commands ---- */

static void control_fis(AhciPort *p, unsigned slot, const uint8_t *fis)
{
    IdeDrive *d = ahci_drive(p);
    bool was = p->bus.ch.control & IDE_CTL_SRST, is = fis[15] & IDE_CTL_SRST;
    p->ci &= ~(1u << slot);
    ahci_ncq_cancel(p);
    ide_write_control(&p->bus.ch, fis[15] & IDE_CTL_SRST);
    if (was && !is) { /* software reset done: the drive says who it is */
        p->sig = d->is_cd ? SIG_ATAPI : SIG_ATA;
        send_d2h(p, d, true);
    } else {
        set_tfd(p, d);
    }
}

static void load_taskfile(IdeDrive *d, const uint8_t *fis)
{
    d->features = fis[3];
    d->lba_low = fis[4];
    d->lba_mid = fis[5];
    d->lba_high = fis[6];
    d->device = (uint8_t)((fis[7] & ~IDE_DEV_SLAVE) | IDE_DEV_FIXED);
    d->hob_lba_low = fis[8];
    d->hob_lba_mid = fis[9];
    d->hob_lba_high = fis[10];
    d->hob_features = fis[11];
    d->count = fis[12];
    d->hob_count = fis[13];
}

static void start_slot(AhciPort *p, unsigned slot)
{
    IdeDrive *d = ahci_drive(p);
    uint8_t h[16], fis[20];
    hwaddr header = ((uint64_t)p->clbu << 32 | p->clb) + slot * 32u;
    if (pci_dma_read(&p->hba->pci, header, h, sizeof(h)) != MEM_OK) {
        ahci_port_halt(p);
        ahci_port_event(p, AHCI_IS_HBFS);
        return;
    }
    uint32_t flags = ld_le32(h);
    AhciCursor prd = {.table = ld_le64(h + 8) & ~0x7full, .length = flags >> 16};
    if (pci_dma_read(&p->hba->pci, prd.table, fis, sizeof(fis)) != MEM_OK) {
        ahci_port_halt(p);
        ahci_port_event(p, AHCI_IS_HBFS);
        return;
    }
    p->cmd = (p->cmd & ~0x1f00u) | slot << 8;
    if (fis[0] != 0x27 || (flags & 0x1f) < 5) {
        guest_error(d->name, "slot %u has no register FIS (type %02x)", slot, fis[0]);
        ahci_port_halt(p);
        ahci_port_event(p, AHCI_IS_IFS);
        return;
    }
    if (!(fis[1] & 0x80)) {
        control_fis(p, slot, fis);
        return;
    }
    if (p->bus.ch.control & IDE_CTL_SRST) {
        p->ci &= ~(1u << slot); /* a drive in reset does not listen */
        return;
    }
    trace(ahci_command, p->n, slot, fis[2], fis[3], fis[7], prd.length);
    if (fis[2] == 0x60 || fis[2] == 0x61) {
        ahci_ncq_start(p, slot, fis, &prd);
        return;
    }
    p->slot = (int32_t)slot;
    p->header = header;
    p->prd = p->before = prd;
    p->moved = 0;
    p->atapi = flags & 0x20;
    p->ends_with_pio = false;
    p->tfd |= IDE_BSY;
    load_taskfile(d, fis);
    d->status &= (uint8_t) ~(IDE_BSY | IDE_DRQ);
    ide_write_reg(&p->bus.ch, 7, fis[2]);
}

void ahci_port_check(AhciPort *p)
{
    if (p->checking) {
        return;
    }
    p->checking = true;
    for (unsigned slot = 0; slot < AHCI_SLOTS; slot++) {
        if (!(p->cmd & AHCI_CMD_ST) || p->halted || p->slot >= 0 || !ahci_drive(p)) {
            break;
        }
        if (p->ci & 1u << slot) {
            start_slot(p, slot);
        }
    }
    p->checking = false;
}

/* ---- resets ---- */

/* Stops whatever is under way. What has reached the image ends there, unseen. */
static void abandon(AhciPort *p)
{
    IdeDrive *d = ahci_drive(p);
    ahci_ncq_cancel(p);
    loop_defer_cancel(p->bus.ch.loop, p);
    p->slot = -1;
    p->ci = 0;
    p->sact = 0;
    p->halted = false;
    p->ends_with_pio = false;
    if (d) {
        d->generation++;
        d->work = IDE_WORK_NONE;
        d->phase = IDE_PHASE_NONE;
        d->dma_wanted = false;
        d->retry = false;
    }
}

void ahci_port_reset(AhciPort *p, bool power_on)
{
    IdeDrive *d = ahci_drive(p);
    abandon(p);
    p->bus.ch.control = 0;
    p->serr = 0;
    if (!d) {
        p->ssts = 0;
        p->sig = SIG_NONE;
        p->tfd = 0x7f;
        return;
    }
    ide_drive_reset(d, true);
    d->status = IDE_DRDY | IDE_DSC;
    p->ssts = 0x113; /* present and talking, 1.5 Gb/s, active */
    p->sig = d->is_cd ? SIG_ATAPI : SIG_ATA;
    p->serr = SERR_X;
    if (power_on) {
        set_tfd(p, d);
    } else {
        ahci_port_event(p, AHCI_IS_PCS);
        send_d2h(p, d, false);
    }
}

/* ---- registers ---- */

uint32_t ahci_port_read(AhciPort *p, unsigned reg)
{
    switch (reg) {
    case 0x00:
        return p->clb;
    case 0x04:
        return p->clbu;
    case 0x08:
        return p->fb;
    case 0x0c:
        return p->fbu;
    case 0x10:
        return p->is | (p->serr & SERR_X ? AHCI_IS_PCS : 0);
    case 0x14:
        return p->ie;
    case 0x18:
        return p->cmd | AHCI_CMD_SUD | AHCI_CMD_POD;
    case 0x20:
        return p->tfd;
    case 0x24:
        return p->sig;
    case 0x28:
        return p->ssts;
    case 0x2c:
        return p->sctl;
    case 0x30:
        return p->serr;
    case 0x34:
        return p->sact;
    case 0x38:
        return p->ci;
    default:
        return 0;
    }
}

static void write_cmd(AhciPort *p, uint32_t v)
{
    bool started = (v & AHCI_CMD_ST) && !(p->cmd & AHCI_CMD_ST);
    bool stopped = !(v & AHCI_CMD_ST) && (p->cmd & AHCI_CMD_ST);
    p->cmd = (p->cmd & ~AHCI_CMD_RW) | (v & AHCI_CMD_RW);
    if (v & AHCI_CMD_CLO) { /* command list override: it is done at once */
        IdeDrive *d = ahci_drive(p);
        p->tfd &= ~(uint32_t)(IDE_BSY | IDE_DRQ);
        if (d) {
            d->status &= (uint8_t) ~(IDE_BSY | IDE_DRQ);
        }
    }
    if (stopped) {
        abandon(p);
        p->cmd &= ~0x1f00u;
    }
    p->cmd &= ~(AHCI_CMD_FR | AHCI_CMD_CR);
    p->cmd |= (p->cmd & AHCI_CMD_FRE ? AHCI_CMD_FR : 0) | (p->cmd & AHCI_CMD_ST ? AHCI_CMD_CR : 0);
    if (started) {
        p->halted = false;
    }
    ahci_port_check(p);
}

static void write_sctl(AhciPort *p, uint32_t v)
{
    unsigned was = p->sctl & 0xf, is = v & 0xf;
    p->sctl = v & 0xfff;
    if (is == 1 && was != 1) {
        abandon(p);
        p->ssts = 0;
        p->tfd = 0x7f;
    } else if (was == 1 && is == 0) {
        ahci_port_reset(p, false);
    } else if (is == 4) {
        p->ssts = 4; /* off line */
    }
}

void ahci_port_write(AhciPort *p, unsigned reg, uint32_t v)
{
    switch (reg) {
    case 0x00:
        p->clb = v & ~0x3ffu;
        break;
    case 0x04:
        p->clbu = v;
        break;
    case 0x08:
        p->fb = v & ~0xffu;
        break;
    case 0x0c:
        p->fbu = v;
        break;
    case 0x10:
        p->is &= ~v;
        ahci_update_irq(p->hba, false);
        break;
    case 0x14:
        p->ie = v & AHCI_IS_ALL;
        ahci_update_irq(p->hba, false);
        break;
    case 0x18:
        write_cmd(p, v);
        break;
    case 0x2c:
        write_sctl(p, v);
        break;
    case 0x30:
        p->serr &= ~v;
        break;
    case 0x34:
        if (p->cmd & AHCI_CMD_ST) {
            p->sact |= v;
        }
        break;
    case 0x38:
        if (p->cmd & AHCI_CMD_ST) {
            p->ci |= v;
            ahci_port_check(p);
        }
        break;
    default:
        break;
    }
}

/* ---- life, state ---- */

void ahci_port_init(Ahci *s, unsigned n)
{
    AhciPort *p = &s->port[n];
    p->hba = s;
    p->n = n;
    p->slot = -1;
    ide_bus_init(&p->bus, &s->pci.dev, NULL, n, &port_host, p, 1);
}

static void port_pre_save(void *opaque)
{
    AhciPort *p = opaque;
    IdeDrive *d = ahci_drive(p);
    if (d && d->in_flight) {
        blk_wait_idle(d->blk);
    }
}

static bool port_check(const void *opaque, Error **errp)
{
    const AhciPort *p = opaque;
    const IdeDrive *d = p->bus.ch.drives[0];
    if (p->slot >= 0 && !d) {
        error_set(errp, "AHCI port %u: a command without a drive", p->n);
        return false;
    }
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        const AhciNcq *c = &p->ncq[i];
        if (c->used && (!d || d->is_cd || c->lba >= d->sectors || c->left > d->sectors - c->lba)) {
            error_set(errp, "AHCI port %u: tag %u passes the end of the disk", p->n, i);
            return false;
        }
    }
    return true;
}

static void port_loaded(void *opaque)
{
    AhciPort *p = opaque;
    p->generation++;
}

static const StateField port_fields[] = {
    STATE_F_STRUCT(AhciPort, bus.ch, ide_channel_state),
    STATE_F_UINT(AhciPort, clb),
    STATE_F_UINT(AhciPort, clbu),
    STATE_F_UINT(AhciPort, fb),
    STATE_F_UINT(AhciPort, fbu),
    STATE_F_UINT(AhciPort, is),
    STATE_F_UINT(AhciPort, ie),
    STATE_F_UINT(AhciPort, cmd),
    STATE_F_UINT(AhciPort, tfd),
    STATE_F_UINT(AhciPort, sig),
    STATE_F_UINT(AhciPort, ssts),
    STATE_F_UINT(AhciPort, sctl),
    STATE_F_UINT(AhciPort, serr),
    STATE_F_UINT(AhciPort, sact),
    STATE_F_UINT(AhciPort, ci),
    STATE_F_INT_RANGE(AhciPort, slot, -1, 31),
    STATE_F_UINT(AhciPort, header),
    STATE_F_UINT(AhciPort, moved),
    STATE_F_UINT(AhciPort, taken),
    STATE_F_BOOL(AhciPort, atapi),
    STATE_F_BOOL(AhciPort, ends_with_pio),
    STATE_F_BOOL(AhciPort, halted),
    STATE_F_STRUCT(AhciPort, prd, ahci_cursor_state),
    STATE_F_STRUCT(AhciPort, before, ahci_cursor_state),
    STATE_F_STRUCT_ARRAY(AhciPort, ncq, ahci_ncq_state),
    {0},
};
const StateDesc ahci_port_state = {.name = "ahci-port",
                                   .version = 1,
                                   .fields = port_fields,
                                   .pre_save = port_pre_save,
                                   .check = port_check,
                                   .loaded = port_loaded};
