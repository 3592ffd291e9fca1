/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floppy drives, and what format a medium has: an image is a plain row of
 * sectors, so the format follows from its size.
 */
#include "hw/block/fdc_int.h"

TRACE_EVENT(floppy_medium, "unit %u: %u sectors, %u tracks, %u heads, rate %u")

typedef struct Format {
    uint8_t type, sectors, tracks, heads, rate;
} Format;

/*
 * The common one of a size comes first.  IBM and ECMA formats, and the denser ones
 * that copy programs and install floppies used.
 */
static const Format formats[] = {
    {FLOPPY_DRIVE_144, 18, 80, 2, RATE_500K}, /* 1.44 MB */
    {FLOPPY_DRIVE_288, 36, 80, 2, RATE_1M},   /* 2.88 MB */
    {FLOPPY_DRIVE_120, 15, 80, 2, RATE_500K}, /* 1.2 MB */
    {FLOPPY_DRIVE_144, 9, 80, 2, RATE_250K},  /* 720 KB */
    {FLOPPY_DRIVE_120, 9, 40, 2, RATE_300K},  /* 360 KB */
    {FLOPPY_DRIVE_120, 8, 40, 2, RATE_300K},  /* 320 KB */
    {FLOPPY_DRIVE_120, 9, 40, 1, RATE_300K},  /* 180 KB */
    {FLOPPY_DRIVE_120, 8, 40, 1, RATE_300K},  /* 160 KB */
    {FLOPPY_DRIVE_144, 8, 80, 2, RATE_250K},  /* 640 KB */
    {FLOPPY_DRIVE_144, 10, 80, 2, RATE_250K}, /* 800 KB */
    {FLOPPY_DRIVE_144, 10, 82, 2, RATE_250K}, /* 820 KB */
    {FLOPPY_DRIVE_144, 10, 83, 2, RATE_250K}, /* 830 KB */
    {FLOPPY_DRIVE_144, 13, 80, 2, RATE_250K}, /* 1040 KB */
    {FLOPPY_DRIVE_144, 14, 80, 2, RATE_250K}, /* 1120 KB */
    {FLOPPY_DRIVE_144, 20, 80, 2, RATE_500K}, /* 1600 KB */
    {FLOPPY_DRIVE_144, 21, 80, 2, RATE_500K}, /* 1680 KB (DMF) */
    {FLOPPY_DRIVE_144, 21, 82, 2, RATE_500K}, /* 1722 KB */
    {FLOPPY_DRIVE_144, 21, 83, 2, RATE_500K}, /* 1743 KB */
    {FLOPPY_DRIVE_144, 22, 80, 2, RATE_500K}, /* 1760 KB */
    {FLOPPY_DRIVE_144, 23, 80, 2, RATE_500K}, /* 1840 KB */
    {FLOPPY_DRIVE_144, 24, 80, 2, RATE_500K}, /* 1920 KB */
    {FLOPPY_DRIVE_288, 39, 80, 2, RATE_1M},   /* 3120 KB */
    {FLOPPY_DRIVE_288, 40, 80, 2, RATE_1M},   /* 3200 KB */
    {FLOPPY_DRIVE_288, 44, 80, 2, RATE_1M},   /* 3520 KB */
    {FLOPPY_DRIVE_288, 48, 80, 2, RATE_1M},   /* 3840 KB */
    {FLOPPY_DRIVE_120, 18, 80, 2, RATE_500K}, /* 1440 KB on 5.25" */
    {FLOPPY_DRIVE_120, 18, 82, 2, RATE_500K}, /* 1476 KB */
    {FLOPPY_DRIVE_120, 18, 83, 2, RATE_500K}, /* 1494 KB */
    {FLOPPY_DRIVE_120, 20, 80, 2, RATE_500K}, /* 1600 KB */
    {FLOPPY_DRIVE_120, 9, 80, 2, RATE_250K},  /* 720 KB */
    {FLOPPY_DRIVE_120, 11, 80, 2, RATE_250K}, /* 880 KB */
    {FLOPPY_DRIVE_120, 10, 40, 2, RATE_300K}, /* 400 KB */
    {FLOPPY_DRIVE_120, 10, 41, 2, RATE_300K}, /* 410 KB */
    {FLOPPY_DRIVE_120, 10, 42, 2, RATE_300K}, /* 420 KB */
    {FLOPPY_DRIVE_144, 9, 80, 1, RATE_250K},  /* 360 KB on 3.5" */
};

static const char *const type_names[] = {"144", "288", "120", "none", "auto", NULL};

/* A 2.88 MB drive reads all that a 1.44 MB drive does. */
static bool fits(FloppyDriveType drive, const Format *f)
{
    return drive == FLOPPY_DRIVE_AUTO || (int)drive == f->type ||
           (drive == FLOPPY_DRIVE_288 && f->type == FLOPPY_DRIVE_144);
}

static uint64_t format_size(const Format *f)
{
    return (uint64_t)f->sectors * f->tracks * f->heads * BLOCK_SECTOR;
}

/* Of exactly that size; else the smallest that holds it (a truncated image). */
static const Format *find_format(FloppyDriveType drive, uint64_t size)
{
    const Format *best = NULL;

    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        const Format *f = &formats[i];

        if (!fits(drive, f)) {
            continue;
        }
        if (format_size(f) == size) {
            return f;
        }
        if (format_size(f) > size && (!best || format_size(f) < format_size(best))) {
            best = f;
        }
    }
    return best;
}

bool floppy_present(const Floppy *f)
{
    return f->sectors && blk_present(f->blk);
}

bool floppy_writable(const Floppy *f)
{
    return blk_writable(f->blk);
}

void floppy_step(Floppy *f, int cylinders)
{
    int c = CLAMP(f->cylinder + cylinders, 0, 85);

    if (c != f->cylinder && floppy_present(f)) {
        f->changed = false;
    }
    f->cylinder = (uint8_t)c;
}

/*
 * Software that knows a 5.25" drive as one of 80 tracks steps twice for each
 * track of a 40-track medium; other software does not.  Both find their track.
 */
bool floppy_at(const Floppy *f, uint8_t c)
{
    return c == f->cylinder || (f->tracks <= 43 && c == f->cylinder / 2);
}

uint8_t floppy_id_cylinder(const Floppy *f)
{
    return f->cylinder < f->tracks ? f->cylinder : f->cylinder / 2;
}

Floppy *fdc_drive(IsaFdc *s, unsigned unit)
{
    return unit < FDC_DRIVES ? s->drives[unit] : NULL;
}

/* Reads the medium's format from its size; nothing of it without a medium. */
static void look_at_medium(Floppy *f)
{
    int64_t size = blk_present(f->blk) ? blk_length(f->blk) : -1;
    const Format *fmt = size > 0 ? find_format(f->actual, (uint64_t)size) : NULL;

    if (fmt) {
        f->sectors = fmt->sectors;
        f->tracks = fmt->tracks;
        f->heads = fmt->heads;
        f->rate = fmt->rate;
    } else {
        f->sectors = f->tracks = f->heads = f->rate = 0;
    }
    trace(floppy_medium, f->unit, f->sectors, f->tracks, f->heads, f->rate);
}

static void media_changed(void *opaque, bool loaded)
{
    Floppy *f = opaque;

    look_at_medium(f);
    f->changed = true;
}

/* A drive has no lock; the medium can always be taken. */
static const BlockDevOps block_ops = {.media_changed = media_changed};

/* "auto": the drive for which the medium was made; without one, the controller's choice. */
static FloppyDriveType decide_type(const Floppy *f)
{
    int type = f->drive_type;
    const Format *fmt;

    if (type == FLOPPY_DRIVE_AUTO) {
        type = f->fdc->fdtype[f->unit];
    }
    if (type != FLOPPY_DRIVE_AUTO) {
        return (FloppyDriveType)type;
    }
    if (blk_present(f->blk)) {
        int64_t size = blk_length(f->blk);

        fmt = size > 0 ? find_format(FLOPPY_DRIVE_AUTO, (uint64_t)size) : NULL;
        if (fmt) {
            return (FloppyDriveType)fmt->type;
        }
    }
    return (FloppyDriveType)f->fdc->fallback;
}

static bool take_unit(Floppy *f, Error **errp)
{
    if (f->unit == UINT32_MAX) {
        f->unit = f->fdc->drives[0] ? 1 : 0;
    }
    if (f->unit >= FDC_DRIVES) {
        error_set(errp, "floppy: unit=%u: the controller has units 0 and 1", f->unit);
        return false;
    }
    if (f->fdc->drives[f->unit]) {
        error_set(errp, "floppy: unit %u is in use", f->unit);
        return false;
    }
    return true;
}

static bool floppy_realize(Device *dev, Error **errp)
{
    Floppy *f = FLOPPY(dev);

    f->fdc = ISA_FDC(dev->bus->parent);
    if (!take_unit(f, errp)) {
        return false;
    }
    if (f->conf.logical_block_size != 512 || f->conf.physical_block_size != 512) {
        error_set(errp, "floppy: block sizes other than 512 are not possible");
        return false;
    }
    f->blk = (BlockBackend *)f->conf.drive;
    if (!f->blk) {
        if (!dev->machine->block) {
            error_set(errp, "floppy: there is no block layer to make an empty drive in");
            return false;
        }
        f->blk = blk_new_anonymous(dev->machine->block);
        f->anonymous = true;
    }
    if (!blk_attach(f->blk, f, dev->id ? dev->id : TYPE_FLOPPY, &block_ops, true, f->conf.share_rw,
                    dev->owner.loop, errp)) {
        if (f->anonymous) {
            object_unref((Object *)f->blk);
        }
        f->blk = NULL;
        return false;
    }
    blk_set_device_path(f->blk, &dev->obj, dev->id, "");
    if (f->conf.write_cache != ON_OFF_AUTO) {
        blk_set_write_cache(f->blk, f->conf.write_cache == ON_OFF_ON);
    }
    f->actual = decide_type(f);
    if (f->actual == FLOPPY_DRIVE_NONE) {
        f->actual = FLOPPY_DRIVE_288;
    }
    look_at_medium(f);
    f->changed = true;
    f->fdc->drives[f->unit] = f;
    if (dev->bootindex < 0) {
        dev->bootindex = f->fdc->bootindex[f->unit];
    }
    return true;
}

static void floppy_unrealize(Device *dev)
{
    Floppy *f = FLOPPY(dev);

    f->fdc->drives[f->unit] = NULL;
    blk_detach(f->blk);
    if (f->anonymous) {
        object_unref((Object *)f->blk);
        f->anonymous = false;
    }
    f->blk = NULL;
}

static char *floppy_fw_name(Device *dev)
{
    return g_strdup_printf("floppy@%x", FLOPPY(dev)->unit);
}

static void floppy_loaded(void *obj)
{
    look_at_medium(obj);
}

static const StateDesc floppy_state = {
    .name = TYPE_FLOPPY,
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_UINT_MAX(Floppy, cylinder, 85),
            STATE_F_BOOL(Floppy, changed),
            {0},
        },
    .loaded = floppy_loaded,
};

static const Property floppy_props[] = {
    PROPERTY_U32("unit", Floppy, unit, UINT32_MAX, "0: A, 1: B; default: the first free"),
    PROPERTY_ENUM("drive-type", Floppy, drive_type, type_names, FLOPPY_DRIVE_AUTO,
                  "what can be read: 144, 288 (3.5\"), 120 (5.25\"); auto: by the medium"),
    PROPERTIES_BLOCK(Floppy, conf),
    PROPERTY_I32("bootindex", Device, bootindex, -1, "place in the boot order; -1: none"),
    {0},
};

static const DeviceClass floppy_class = {
    .realize = floppy_realize,
    .unrealize = floppy_unrealize,
    .state = &floppy_state,
    .bus_type = TYPE_FLOPPY_BUS,
    .category = DEVICE_CATEGORY_STORAGE,
    .user_creatable = true,
    .not_hotpluggable = true,
    .fw_name = floppy_fw_name,
};

OBJECT_TYPE(floppy_type, .name = TYPE_FLOPPY, .parent = TYPE_DEVICE, .help = "floppy drive",
            .size = sizeof(Floppy), .klass = &floppy_class, .props = floppy_props)

static char *floppy_address(const Device *dev)
{
    return g_strdup_printf("%u", ((const Floppy *)dev)->unit);
}

static char *floppy_fw_path(const Device *dev)
{
    return floppy_fw_name((Device *)(uintptr_t)dev);
}

static const BusClass floppy_bus_class = {
    .address_help = "unit=0 or 1",
    .device_address = floppy_address,
    .fw_path = floppy_fw_path,
    .max_devices = FDC_DRIVES,
};

OBJECT_TYPE(floppy_bus_type, .name = TYPE_FLOPPY_BUS, .parent = TYPE_BUS,
            .help = "cable of a floppy controller", .size = sizeof(Bus), .klass = &floppy_bus_class)

/* ---- for the board ---- */

FloppyDriveType isa_fdc_drive_type(const IsaFdc *fdc, unsigned unit)
{
    return unit < FDC_DRIVES && fdc->drives[unit] ? fdc->drives[unit]->actual : FLOPPY_DRIVE_NONE;
}

uint8_t floppy_cmos_type(FloppyDriveType t)
{
    switch (t) {
    case FLOPPY_DRIVE_144:
        return 4;
    case FLOPPY_DRIVE_288:
        return 5;
    case FLOPPY_DRIVE_120:
        return 2;
    default:
        return 0;
    }
}

void floppy_max_geometry(FloppyDriveType t, uint8_t *max_cylinder, uint8_t *max_head,
                         uint8_t *max_sector)
{
    *max_cylinder = *max_head = *max_sector = 0;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        const Format *f = &formats[i];

        if ((int)t == f->type) {
            *max_cylinder = MAX(*max_cylinder, f->tracks - 1);
            *max_head = MAX(*max_head, f->heads - 1);
            *max_sector = MAX(*max_sector, f->sectors);
        }
    }
}
