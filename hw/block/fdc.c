/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The floppy controller: registers, phases, reset.
 *
 * Implied seeks are on after a reset, other than in the data sheet: firmware
 * written for virtual machines relies on it, and drivers that seek themselves are
 * not disturbed.
 */
#include "hw/block/fdc_int.h"

#include <string.h>

TRACE_EVENT(fdc_reset, "software %d")
TRACE_EVENT(fdc_irq, "level %d")

enum { REG_SRA, REG_SRB, REG_DOR, REG_TDR, REG_MSR, REG_FIFO, REG_UNUSED, REG_DIR };

#define MSR_RQM 0x80
#define MSR_DIO 0x40
#define MSR_NON_DMA 0x20
#define MSR_BUSY 0x10
#define DIR_CHANGED 0x80

/* ---- interrupt and phases ---- */

void fdc_update_irq(IsaFdc *s)
{
    irq_set(s->irq, s->irq_pending && (s->dor & DOR_DMA_GATE));
}

void fdc_raise(IsaFdc *s)
{
    trace(fdc_irq, 1);
    s->irq_pending = true;
    fdc_update_irq(s);
}

void fdc_lower(IsaFdc *s)
{
    if (s->irq_pending) {
        trace(fdc_irq, 0);
        s->irq_pending = false;
        fdc_update_irq(s);
    }
}

void fdc_result(IsaFdc *s, unsigned n, bool interrupt)
{
    s->phase = n ? FDC_PHASE_RESULT : FDC_PHASE_COMMAND;
    s->fifo_pos = 0;
    s->fifo_len = (uint8_t)n;
    if (interrupt) {
        fdc_raise(s);
    }
}

/* ---- reset ---- */

static void chip_reset(IsaFdc *s, bool software)
{
    trace(fdc_reset, software);
    fdc_abort(s);
    fdc_lower(s);
    s->phase = FDC_PHASE_COMMAND;
    s->fifo_pos = s->fifo_len = 0;
    s->seek_done = 0;
    s->reset_senses = 0;
    s->perpendicular &= 0x3c; /* a software reset clears GAP and WGATE */
    if (!software || !s->locked) {
        s->config = CONFIG_IMPLIED_SEEK | CONFIG_NO_FIFO;
        s->precomp = 0;
    }
}

/* Out of reset, polling finds that all drives' readiness has "changed". */
static void leave_reset(IsaFdc *s)
{
    if (!(s->config & CONFIG_NO_POLL)) {
        s->reset_senses = FDC_UNITS;
        fdc_raise(s);
    }
}

static void write_dor(IsaFdc *s, uint8_t v)
{
    uint8_t old = s->dor;

    s->dor = v;
    if ((old & DOR_NRESET) && !(v & DOR_NRESET)) {
        chip_reset(s, true);
    } else if (!(old & DOR_NRESET) && (v & DOR_NRESET)) {
        leave_reset(s);
    }
    fdc_update_irq(s);
    if (((old ^ v) & v & DOR_DMA_GATE) && s->dma) {
        s->dma->ops->schedule(s->dma);
    }
}

static void write_dsr(IsaFdc *s, uint8_t v)
{
    s->dsr = v & ~DSR_RESET;
    s->rate = v & 3;
    if (v & DSR_RESET) { /* clears itself */
        chip_reset(s, true);
        if (s->dor & DOR_NRESET) {
            leave_reset(s);
        }
    }
}

/* ---- registers ---- */

static uint8_t read_msr(const IsaFdc *s)
{
    if (!(s->dor & DOR_NRESET)) {
        return 0;
    }
    switch (s->phase) {
    case FDC_PHASE_COMMAND:
        return (uint8_t)(MSR_RQM | (s->fifo_pos ? MSR_BUSY : 0));
    case FDC_PHASE_RESULT:
        return MSR_RQM | MSR_DIO | MSR_BUSY;
    default:
        return (uint8_t)(MSR_BUSY | (s->dma_mode ? 0 : MSR_NON_DMA) |
                         (fdc_pio_ready(s) ? MSR_RQM : 0) | (fdc_to_host(s) ? MSR_DIO : 0));
    }
}

static uint8_t read_fifo(IsaFdc *s)
{
    uint8_t v;

    if (!(s->dor & DOR_NRESET)) {
        return 0;
    }
    if (s->phase == FDC_PHASE_EXECUTION && fdc_pio_ready(s) && fdc_to_host(s)) {
        return fdc_pio_read(s);
    }
    if (s->phase != FDC_PHASE_RESULT) {
        guest_error(FDC_NAME, "FIFO read when there is nothing to read");
        return 0;
    }
    /* The first byte of a result answers the interrupt of a transfer. */
    if (s->fifo_len > 2) {
        fdc_lower(s);
    }
    v = s->fifo[s->fifo_pos++];
    if (s->fifo_pos >= s->fifo_len) {
        s->phase = FDC_PHASE_COMMAND;
        s->fifo_pos = s->fifo_len = 0;
    }
    return v;
}

static void write_fifo(IsaFdc *s, uint8_t v)
{
    if (!(s->dor & DOR_NRESET)) {
        guest_error(FDC_NAME, "FIFO write while in reset");
    } else if (s->phase == FDC_PHASE_COMMAND) {
        fdc_command_byte(s, v);
    } else if (fdc_pio_ready(s) && !fdc_to_host(s)) {
        fdc_pio_write(s, v);
    } else {
        guest_error(FDC_NAME, "FIFO write 0x%02x when nothing is expected", v);
    }
}

/* The PS/2 status registers: pins, some of them active low. */
static uint8_t read_sra(IsaFdc *s)
{
    Floppy *f = fdc_drive(s, s->dor & DOR_SELECT);

    return (uint8_t)((s->irq_pending ? 0x80 : 0) | (s->drives[1] ? 0 : 0x40) |
                     (f && f->cylinder == 0 ? 0 : 0x10) | (s->head ? 0x08 : 0) | 0x04 |
                     (f && floppy_present(f) && !floppy_writable(f) ? 0 : 0x02));
}

static uint8_t read_srb(const IsaFdc *s)
{
    return (uint8_t)(0xc0 | (s->dor & 1) << 5 | (s->dor >> 4 & 3));
}

static uint8_t read_dir(IsaFdc *s)
{
    Floppy *f = fdc_drive(s, s->dor & DOR_SELECT);

    /* Without a drive nobody pulls the line. */
    return f && (f->changed || !floppy_present(f)) ? DIR_CHANGED : 0;
}

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    IsaFdc *s = opaque;

    switch (off) {
    case REG_SRA:
        return read_sra(s);
    case REG_SRB:
        return read_srb(s);
    case REG_DOR:
        return s->dor;
    case REG_TDR:
        return s->tdr;
    case REG_MSR:
        return read_msr(s);
    default:
        return read_fifo(s);
    }
}

static void io_write(void *opaque, hwaddr off, uint64_t value, unsigned size)
{
    IsaFdc *s = opaque;
    uint8_t v = (uint8_t)value;

    switch (off) {
    case REG_DOR:
        write_dor(s, v);
        break;
    case REG_TDR:
        s->tdr = v & 3;
        break;
    case REG_MSR:
        write_dsr(s, v);
        break;
    case REG_FIFO:
        write_fifo(s, v);
        break;
    default:
        guest_error(FDC_NAME, "write of status register %s", off ? "B" : "A");
        break;
    }
}

static uint64_t io7_read(void *opaque, hwaddr off, unsigned size)
{
    return read_dir(opaque);
}

static void io7_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    IsaFdc *s = opaque;

    s->rate = v & 3;
    s->dsr = (uint8_t)((s->dsr & ~3u) | (v & 3));
}

static const RegionOps io_ops = {.read = io_read, .write = io_write, .impl_min = 1, .impl_max = 1};
static const RegionOps io7_ops = {
    .read = io7_read, .write = io7_write, .impl_min = 1, .impl_max = 1};

/* ---- the device ---- */

static void fdc_device_reset(Device *dev)
{
    IsaFdc *s = ISA_FDC(dev);

    s->locked = false;
    s->perpendicular = 0;
    chip_reset(s, false);
    s->dor = DOR_NRESET | DOR_DMA_GATE;
    s->tdr = s->dsr = 0;
    s->rate = RATE_500K;
    s->timing[0] = s->timing[1] = 0;
    memset(s->pcn, 0, sizeof(s->pcn));
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        if (s->drives[i]) {
            s->drives[i]->cylinder = 0;
        }
    }
    fdc_update_irq(s);
}

static bool check_properties(const IsaFdc *s, Error **errp)
{
    if (s->iobase > 0xfff8 || s->irq_number > 15) {
        error_set(errp, "isa-fdc: iobase=0x%x, irq=%u: ports end at 0xffff, lines at 15", s->iobase,
                  s->irq_number);
        return false;
    }
    if (s->dma_channel != UINT32_MAX && s->dma_channel > 3) {
        error_set(errp,
                  "isa-fdc: dma=%u: it needs an 8-bit channel, 0 to 3, or 4294967295 for none",
                  s->dma_channel);
        return false;
    }
    if (s->fallback == FLOPPY_DRIVE_AUTO || s->fallback == FLOPPY_DRIVE_NONE) {
        error_set(errp, "isa-fdc: fallback must be a real type: 144, 288 or 120");
        return false;
    }
    return true;
}

static bool isa_fdc_realize(Device *dev, Error **errp)
{
    IsaFdc *s = ISA_FDC(dev);
    IsaBus *bus = isa_device_bus(&s->isa);

    if (!check_properties(s, errp)) {
        return false;
    }
    s->irq = isa_irq(&s->isa, s->irq_number);
    s->dma = s->dma_channel != UINT32_MAX ? bus->dma : NULL;
    if (s->dma) {
        s->dma->ops->register_channel(s->dma, (int)s->dma_channel, fdc_dma, s);
    }
    region_init_io(&s->io, &dev->owner, &io_ops, s, "fdc", 6);
    isa_register_io(&s->isa, &s->io, (uint16_t)s->iobase);
    region_init_io(&s->io7, &dev->owner, &io7_ops, s, "fdc", 1);
    isa_register_io(&s->isa, &s->io7, (uint16_t)(s->iobase + REG_DIR));
    bus_init(&s->bus, sizeof(s->bus), TYPE_FLOPPY_BUS, dev, dev->machine, NULL);
    return true;
}

static void isa_fdc_unrealize(Device *dev)
{
    IsaFdc *s = ISA_FDC(dev);

    bus_fini(&s->bus);
    if (s->dma) {
        s->dma->ops->release_dreq(s->dma, (int)s->dma_channel);
        s->dma->ops->register_channel(s->dma, (int)s->dma_channel, NULL, NULL);
        s->dma = NULL;
    }
    region_fini(&s->io7);
    region_fini(&s->io);
    iovec_free(&s->iov);
}

static char *isa_fdc_fw_name(Device *dev)
{
    return g_strdup("fdc");
}

static bool fdc_check(const void *obj, Error **errp)
{
    const IsaFdc *s = obj;

    if (s->fifo_pos > s->fifo_len && s->phase == FDC_PHASE_RESULT) {
        error_set(errp, "isa-fdc: position %u in a result of %u bytes", s->fifo_pos, s->fifo_len);
        return false;
    }
    if (s->pos > s->len) {
        error_set(errp, "isa-fdc: position %u of %u bytes of a sector", s->pos, s->len);
        return false;
    }
    return true;
}

static void fdc_loaded(void *obj)
{
    IsaFdc *s = obj;

    s->dma_mode = s->dma_mode && s->dma;
    if (s->phase == FDC_PHASE_RESULT && s->fifo_pos >= s->fifo_len) {
        s->phase = FDC_PHASE_COMMAND;
    }
    fdc_resume(s);
}

/* Requests of the block layer are finished before a machine is saved. */
const StateDesc fdc_state = {
    .name = TYPE_ISA_FDC,
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_UINT(IsaFdc, dor),
            STATE_F_UINT_MAX(IsaFdc, tdr, 3),
            STATE_F_UINT(IsaFdc, dsr),
            STATE_F_UINT_MAX(IsaFdc, rate, 3),
            STATE_F_UINT(IsaFdc, config),
            STATE_F_UINT(IsaFdc, precomp),
            STATE_F_UINT(IsaFdc, perpendicular),
            STATE_F_BYTES(IsaFdc, timing),
            STATE_F_BOOL(IsaFdc, locked),
            STATE_F_BYTES(IsaFdc, pcn),
            STATE_F_INT_RANGE(IsaFdc, phase, 0, FDC_PHASE_RESULT),
            STATE_F_BYTES(IsaFdc, fifo),
            STATE_F_UINT_MAX(IsaFdc, fifo_len, 16),
            STATE_F_UINT_MAX(IsaFdc, fifo_pos, 15),
            STATE_F_BOOL(IsaFdc, irq_pending),
            STATE_F_UINT_MAX(IsaFdc, reset_senses, FDC_UNITS),
            STATE_F_UINT_MAX(IsaFdc, seek_done, 0x0f),
            STATE_F_BYTES(IsaFdc, seek_st0),
            STATE_F_INT_RANGE(IsaFdc, transfer, 0, FDC_FORMAT),
            STATE_F_UINT_MAX(IsaFdc, unit, 3),
            STATE_F_UINT_MAX(IsaFdc, head, 1),
            STATE_F_UINT(IsaFdc, c),
            STATE_F_UINT(IsaFdc, h),
            STATE_F_UINT(IsaFdc, r),
            STATE_F_UINT(IsaFdc, n),
            STATE_F_UINT(IsaFdc, eot),
            STATE_F_UINT(IsaFdc, fill),
            STATE_F_UINT(IsaFdc, scan_op),
            STATE_F_BOOL(IsaFdc, multi_track),
            STATE_F_BOOL(IsaFdc, deleted),
            STATE_F_BOOL(IsaFdc, to_end),
            STATE_F_BOOL(IsaFdc, tc),
            STATE_F_BOOL(IsaFdc, scan_hit),
            STATE_F_BOOL(IsaFdc, scan_miss),
            STATE_F_UINT(IsaFdc, st1),
            STATE_F_UINT(IsaFdc, st2),
            STATE_F_UINT_MAX(IsaFdc, remaining, 256),
            STATE_F_BYTES(IsaFdc, buf),
            STATE_F_UINT_MAX(IsaFdc, pos, BLOCK_SECTOR),
            STATE_F_UINT_MAX(IsaFdc, len, BLOCK_SECTOR),
            STATE_F_BYTES(IsaFdc, id),
            STATE_F_BOOL(IsaFdc, dma_mode),
            {0},
        },
    .check = fdc_check,
    .loaded = fdc_loaded,
};

static const char *const type_names[] = {"144", "288", "120", "none", "auto", NULL};

static const Property isa_fdc_props[] = {
    PROPERTY_U32("iobase", IsaFdc, iobase, 0x3f0, "first port"),
    PROPERTY_U32("irq", IsaFdc, irq_number, 6, "ISA line"),
    PROPERTY_U32("dma", IsaFdc, dma_channel, 2, "DMA channel; 4294967295: none"),
    PROPERTY_ENUM("fdtypeA", IsaFdc, fdtype[0], type_names, FLOPPY_DRIVE_AUTO, "type of drive A"),
    PROPERTY_ENUM("fdtypeB", IsaFdc, fdtype[1], type_names, FLOPPY_DRIVE_AUTO, "type of drive B"),
    PROPERTY_ENUM("fallback", IsaFdc, fallback, type_names, FLOPPY_DRIVE_288,
                  "type of an empty drive that is \"auto\""),
    PROPERTY_I32("bootindexA", IsaFdc, bootindex[0], -1, "place of drive A in the boot order"),
    PROPERTY_I32("bootindexB", IsaFdc, bootindex[1], -1, "place of drive B in the boot order"),
    {0},
};

static const DeviceClass isa_fdc_class = {
    .realize = isa_fdc_realize,
    .unrealize = isa_fdc_unrealize,
    .reset = fdc_device_reset,
    .state = &fdc_state,
    .bus_type = TYPE_ISA_BUS,
    .category = DEVICE_CATEGORY_STORAGE,
    .user_creatable = true,
    .not_hotpluggable = true,
    .fw_name = isa_fdc_fw_name,
};

OBJECT_TYPE(isa_fdc_type, .name = TYPE_ISA_FDC, .parent = TYPE_ISA_DEVICE,
            .help = "floppy disk controller (82077AA)", .size = sizeof(IsaFdc),
            .klass = &isa_fdc_class, .props = isa_fdc_props)

IsaFdc *isa_fdc_new(Machine *m, IsaBus *bus, BlockBackend *drives[2], Error **errp)
{
    IsaFdc *s = ISA_FDC(isa_new(TYPE_ISA_FDC));

    if (!device_realize(&s->isa.dev, m, &bus->bus, errp)) {
        return NULL;
    }
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        Floppy *f;

        if (!drives[i]) {
            continue;
        }
        f = FLOPPY(device_new(TYPE_FLOPPY));
        object_set_uint(&f->dev.obj, "unit", i);
        object_set_link(&f->dev.obj, "drive", (Object *)drives[i]);
        if (!device_realize(&f->dev, m, &s->bus, errp)) {
            device_unrealize(&s->isa.dev);
            return NULL;
        }
    }
    return s;
}
