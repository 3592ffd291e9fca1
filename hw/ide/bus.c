/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bus "IDE" and what sits on it: "ide-hd", "ide-cd". */
#include "hw/core/machine.h"
#include "hw/ide/ide.h"

#define TYPE_IDE_DEVICE "ide-device"

typedef struct IdeDevice {
    Device dev;
    IdeDrive drive;
    BlockConf conf;
    bool own_blk; /* an empty drive of our own */
    uint32_t unit;
    char *serial, *version, *model;
    uint64_t wwn;
    uint16_t rotation_rate;
    int chs_translation;
    char *name;
} IdeDevice;

enum { TRANS_AUTO, TRANS_NONE, TRANS_LBA, TRANS_LARGE, TRANS_RECHS };
static const char *const translations[] = {"auto", "none", "lba", "large", "rechs", NULL};

/* ---- the bus ---- */

static IdeDevice *ide_device(const Device *dev)
{
    return (IdeDevice *)dev;
}

static bool unit_taken(const Bus *bus, const Device *but, uint32_t unit)
{
    for (GList *l = bus->devices; l; l = l->next) {
        if (l->data != but && ide_device(l->data)->unit == unit) {
            return true;
        }
    }
    return false;
}

static bool ide_prepare(Bus *bus, Device *dev, Error **errp)
{
    IdeBus *b = (IdeBus *)bus;
    IdeDevice *d = ide_device(dev);
    unsigned max = b->ch.max_units;
    if (d->unit == UINT32_MAX) {
        uint32_t u = 0;
        while (u < max && unit_taken(bus, dev, u)) {
            u++;
        }
        if (u == max) {
            error_set(errp, "bus '%s' is full: it has %u place%s", bus->id, max,
                      max > 1 ? "s" : "");
            return false;
        }
        d->unit = u;
    }
    if (d->unit >= max) {
        error_set(errp, "unit %u: bus '%s' has only unit%s", d->unit, bus->id,
                  max > 1 ? "s 0 and 1" : " 0");
        return false;
    }
    if (unit_taken(bus, dev, d->unit)) {
        error_set(errp, "unit %u of bus '%s' is in use", d->unit, bus->id);
        return false;
    }
    return true;
}

static char *ide_address(const Device *dev)
{
    return g_strdup_printf("%u", ide_device(dev)->unit);
}

static const BusClass ide_bus_class = {
    .address_help = "unit=0 (master) or 1 (slave)",
    .prepare = ide_prepare,
    .device_address = ide_address,
    .max_devices = 2,
};
OBJECT_TYPE(ide_bus_type, .name = TYPE_IDE_BUS, .parent = TYPE_BUS, .size = sizeof(IdeBus),
            .help = "ATA channel", .klass = &ide_bus_class)

void ide_bus_init(IdeBus *b, Device *parent, const char *id, unsigned number, const IdeHostOps *ops,
                  void *host, unsigned max_units)
{
    bus_init(&b->bus, sizeof(*b), TYPE_IDE_BUS, parent, parent->machine, id);
    b->number = number;
    ide_channel_init(&b->ch, ops, host, parent->owner.loop, max_units);
}

void ide_bus_fini(IdeBus *b)
{
    bus_fini(&b->bus);
}

bool ide_bus_geometry(IdeBus *b, unsigned unit, IdeGeometry *geo, bool *lba_translation)
{
    IdeDrive *d = unit < 2 ? b->ch.drives[unit] : NULL;
    if (!d || d->is_cd) {
        return false;
    }
    *geo = d->geo;
    *lba_translation = d->lba_translation;
    return true;
}

/* ---- devices ---- */

static void media_changed(void *opaque, bool loaded)
{
    IdeDevice *d = opaque;
    bool was_open = d->drive.cd.tray_open;
    atapi_media_changed(&d->drive, loaded);
    if (was_open == loaded) {
        blk_eject(d->drive.blk, !loaded);
    }
}

static bool tray_open(void *opaque)
{
    return ((IdeDevice *)opaque)->drive.cd.tray_open;
}

/* The user wants the medium back: the guest sees an eject request only by polling. */
static void eject_request(void *opaque, bool force)
{
    IdeDevice *d = opaque;
    d->drive.cd.media_event = true;
    if (force) {
        d->drive.cd.tray_locked = false;
        blk_set_locked(d->drive.blk, false);
    }
}

static void retry(void *opaque)
{
    IdeDrive *d = &((IdeDevice *)opaque)->drive;
    ide_drive_retry(d);
    if (d->ch->ops->retry) {
        d->ch->ops->retry(d->ch->host);
    }
}

static void resized(void *opaque)
{
    IdeDrive *d = &((IdeDevice *)opaque)->drive;
    d->sectors = (uint64_t)MAX(blk_length(d->blk), 0) / IDE_SECTOR;
}

static const BlockDevOps hd_ops = {.resized = resized, .retry = retry};
static const BlockDevOps cd_ops = {.media_changed = media_changed,
                                   .eject_request = eject_request,
                                   .tray_open = tray_open,
                                   .retry = retry};

/* The user's text, or what QEMU says when there is none: guests know disks by it. */
static bool set_string(const char *what, char *field, size_t size, const char *given,
                       const char *def, Error **errp)
{
    if (given && strlen(given) >= size) {
        error_set(errp, "%s '%s' is longer than %zu characters", what, given, size - 1);
        return false;
    }
    g_strlcpy(field, given ? given : def, size);
    return true;
}

static bool set_identity(IdeDevice *dev, Error **errp)
{
    IdeDrive *d = &dev->drive;
    IdeBus *b = (IdeBus *)dev->dev.bus;
    g_autofree char *serial = g_strdup_printf("QM%05u", b->number * b->ch.max_units + d->unit + 1);
    const char *model = d->is_cd ? "QEMU DVD-ROM" : "QEMU HARDDISK";
    d->wwn = dev->wwn;
    d->rotation_rate = dev->rotation_rate;
    return set_string("serial", d->serial, sizeof(d->serial), dev->serial, serial, errp) &&
           set_string("ver", d->version, sizeof(d->version), dev->version, "2.5+", errp) &&
           set_string("model", d->model, sizeof(d->model), dev->model, model, errp);
}

static bool set_blocks(IdeDevice *dev, Error **errp)
{
    IdeDrive *d = &dev->drive;
    const BlockConf *c = &dev->conf;
    if (c->logical_block_size != 512) {
        error_set(errp, "logical_block_size=%u: IDE disks have sectors of 512 bytes",
                  c->logical_block_size);
        return false;
    }
    if (!IS_POWER_OF_2(c->physical_block_size) || c->physical_block_size < 512) {
        error_set(errp, "physical_block_size=%u: a power of two, at least 512, is needed",
                  c->physical_block_size);
        return false;
    }
    d->logical_block_size = c->logical_block_size;
    d->physical_block_size = c->physical_block_size;
    d->trim = c->discard_granularity != 0;
    return true;
}

static bool set_geometry(IdeDevice *dev, Error **errp)
{
    IdeDrive *d = &dev->drive;
    const BlockConf *c = &dev->conf;
    DiskGeometry g;
    d->sectors = (uint64_t)blk_length(d->blk) / IDE_SECTOR;
    blk_guess_geometry(d->blk, &g, &d->lba_translation);
    if (c->cyls || c->heads || c->secs) {
        if (c->cyls < 1 || c->cyls > 65535 || c->heads < 1 || c->heads > 16 || c->secs < 1 ||
            c->secs > 255) {
            error_set(errp,
                      "cyls=%u,heads=%u,secs=%u: all three must be given, at most 65535, "
                      "16, 255",
                      c->cyls, c->heads, c->secs);
            return false;
        }
        g = (DiskGeometry){c->cyls, c->heads, c->secs};
        d->lba_translation = c->cyls > 1024;
    }
    if (dev->chs_translation != TRANS_AUTO) {
        d->lba_translation = dev->chs_translation != TRANS_NONE;
    }
    d->geo = (IdeGeometry){g.cylinders, g.heads, g.sectors};
    return true;
}

static bool take_drive(IdeDevice *dev, const char *type, Error **errp)
{
    IdeDrive *d = &dev->drive;
    Machine *m = dev->dev.machine;
    if (dev->conf.drive) {
        d->blk = (BlockBackend *)dev->conf.drive;
    } else if (d->is_cd && m->block) {
        d->blk = blk_new_anonymous(m->block);
        dev->own_blk = true;
    } else {
        error_set(errp, "property 'drive' is missing");
        error_hint(errp, "give a disk: -drive if=none,id=d0,file=… -device %s,drive=d0", type);
        return false;
    }
    if (!blk_apply_conf(d->blk, &dev->conf, errp) ||
        !blk_attach(d->blk, dev, dev->name, d->is_cd ? &cd_ops : &hd_ops, !d->is_cd,
                    dev->conf.share_rw, dev->dev.owner.loop, errp)) {
        return false;
    }
    blk_set_device_path(d->blk, &dev->dev.obj, dev->dev.id, "");
    if (!d->is_cd && !blk_present(d->blk)) {
        error_set(errp, "drive '%s' has no medium, and a hard disk needs one", blk_name(d->blk));
    } else if (!d->is_cd && !blk_writable(d->blk)) {
        error_set(errp, "drive '%s' is read-only, and IDE has no read-only hard disks",
                  blk_name(d->blk));
        error_hint(errp, "snapshot=on gives a disk that can be written");
    } else {
        return true;
    }
    blk_detach(d->blk);
    return false;
}

static void give_drive_back(IdeDevice *dev)
{
    if (dev->own_blk) {
        object_unref((Object *)dev->drive.blk);
        dev->own_blk = false;
    }
    dev->drive.blk = NULL;
}

static bool realize_drive(Device *device, bool is_cd, Error **errp)
{
    IdeDevice *dev = ide_device(device);
    IdeDrive *d = &dev->drive;
    IdeBus *b = (IdeBus *)device->bus;
    g_free(dev->name);
    dev->name = device->id ? g_strdup(device->id) : object_path(&device->obj);
    *d = (IdeDrive){.ch = &b->ch, .unit = dev->unit, .is_cd = is_cd, .name = dev->name};
    d->geo = (IdeGeometry){1, 1, 1};
    d->sata = b->ch.max_units == 1;
    if (!set_identity(dev, errp) || !set_blocks(dev, errp)) {
        return false;
    }
    if (!take_drive(dev, is_cd ? "ide-cd" : "ide-hd", errp)) {
        give_drive_back(dev);
        return false;
    }
    if (!is_cd && !set_geometry(dev, errp)) {
        blk_detach(d->blk);
        give_drive_back(dev);
        return false;
    }
    ide_drive_init(d);
    d->write_cache = blk_write_cache(d->blk);
    b->ch.drives[d->unit] = d;
    return true;
}

static bool hd_realize(Device *dev, Error **errp)
{
    return realize_drive(dev, false, errp);
}

static bool cd_realize(Device *dev, Error **errp)
{
    return realize_drive(dev, true, errp);
}

static void drive_unrealize(Device *device)
{
    IdeDevice *dev = ide_device(device);
    IdeDrive *d = &dev->drive;
    d->generation++; /* what comes back is forgotten */
    if (d->ch->ops->detached) {
        d->ch->ops->detached(d->ch->host);
    }
    blk_detach(d->blk);
    d->ch->drives[d->unit] = NULL;
    ide_drive_fini(d);
    give_drive_back(dev);
}

static void drive_reset(Device *device)
{
    ide_drive_reset(&ide_device(device)->drive, true);
}

static void drive_finalize(Object *obj)
{
    g_free(((IdeDevice *)obj)->name);
}

static char *drive_fw_name(Device *device)
{
    IdeBus *b = (IdeBus *)device->bus;
    return g_strdup_printf("drive@%x/disk@%x", b->number, ide_device(device)->unit);
}

static const StateField device_fields[] = {
    STATE_F_STRUCT(IdeDevice, drive, ide_drive_state),
    {0},
};
static const StateDesc device_state = {.name = "ide-device", .version = 1, .fields = device_fields};

#define DRIVE_CLASS(ident, realize_fn)       \
    static const DeviceClass ident = {       \
        .realize = realize_fn,               \
        .unrealize = drive_unrealize,        \
        .reset = drive_reset,                \
        .state = &device_state,              \
        .bus_type = TYPE_IDE_BUS,            \
        .category = DEVICE_CATEGORY_STORAGE, \
        .user_creatable = true,              \
        .not_hotpluggable = true,            \
        .fw_name = drive_fw_name,            \
    }
DRIVE_CLASS(hd_class, hd_realize);
DRIVE_CLASS(cd_class, cd_realize);

static const Property device_props[] = {
    PROPERTIES_BLOCK(IdeDevice, conf),
    PROPERTY_U32("unit", IdeDevice, unit, UINT32_MAX, "place on the bus; 4294967295: a free one"),
    PROPERTY_I32("bootindex", Device, bootindex, -1, "place in the boot order; -1: none"),
    PROPERTY_STRING("serial", IdeDevice, serial, "serial number, up to 20 characters"),
    PROPERTY_STRING("ver", IdeDevice, version, "firmware version, up to 8 characters"),
    PROPERTY_STRING("model", IdeDevice, model, "model name, up to 40 characters"),
    PROPERTY_U64("wwn", IdeDevice, wwn, 0, "world-wide name; 0: none"),
    {0},
};
OBJECT_TYPE(ide_device_type, .name = TYPE_IDE_DEVICE, .parent = TYPE_DEVICE, .abstract = true,
            .size = sizeof(IdeDevice), .finalize = drive_finalize, .props = device_props)

static const Property hd_props[] = {
    PROPERTY_U32("cyls", IdeDevice, conf.cyls, 0, "cylinders; 0: by the partition table or size"),
    PROPERTY_U32("heads", IdeDevice, conf.heads, 0, "heads"),
    PROPERTY_U32("secs", IdeDevice, conf.secs, 0, "sectors of a track"),
    PROPERTY_ENUM("bios-chs-trans", IdeDevice, chs_translation, translations, TRANS_AUTO,
                  "how the BIOS translates the geometry"),
    PROPERTY_U16("rotation_rate", IdeDevice, rotation_rate, 0,
                 "turns a minute; 1: does not turn; 0: not said"),
    {0},
};
OBJECT_TYPE(ide_hd_type, .name = "ide-hd", .parent = TYPE_IDE_DEVICE, .size = sizeof(IdeDevice),
            .help = "ATA hard disk", .klass = &hd_class, .props = hd_props)
OBJECT_TYPE(ide_cd_type, .name = "ide-cd", .parent = TYPE_IDE_DEVICE, .size = sizeof(IdeDevice),
            .help = "ATAPI CD-ROM drive", .klass = &cd_class)
