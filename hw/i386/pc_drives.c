/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a board puts what short options ask for: drives (-hda, -cdrom, -fda,
 * -drive if=…), network cards (-nic, -net nic) and the display adapter (-vga).
 */
#include "block/block.h"
#include "hw/i386/pc.h"

/* ---- drives ---- */
static bool add_disk(PcMachine *pc, DriveInfo *d, const char *driver, const char *bus, int unit,
                     Error **errp)
{
    Json *o = json_object();
    Device *dev;

    json_put_string(o, "driver", driver);
    if (bus) {
        json_put_string(o, "bus", bus);
    }
    if (unit >= 0) {
        json_put_int(o, "unit", unit);
    }
    json_put_string(o, "drive", blk_name(d->blk));
    if (d->serial) {
        json_put_string(o, "serial", d->serial);
    }
    dev = device_add(&pc->m, o, NULL, errp);
    json_unref(o);
    if (!dev) {
        error_prefix(errp, "drive '%s': ", d->id ? d->id : "");
        return false;
    }
    d->claimed = true;
    return true;
}

typedef struct IdeSlots {
    unsigned units, buses;
    bool used[8][2];
} IdeSlots;

/* bus= and unit=, index=, or the first free place. */
static bool ide_place(IdeSlots *s, DriveInfo *d, unsigned *bus, unsigned *unit, Error **errp)
{
    int b = d->bus, u = d->unit;

    if (b < 0 && u < 0 && d->index >= 0) {
        b = d->index / (int)s->units;
        u = d->index % (int)s->units;
    }
    if (b < 0 && u < 0) {
        for (unsigned n = 0; n < s->buses * s->units; n++) {
            if (!s->used[n / s->units][n % s->units]) {
                *bus = n / s->units;
                *unit = n % s->units;
                s->used[*bus][*unit] = true;
                return true;
            }
        }
        error_set(errp, "drive '%s': all %u IDE places are taken", d->id, s->buses * s->units);
        return false;
    }
    b = MAX(b, 0);
    u = MAX(u, 0);
    if ((unsigned)b >= s->buses || (unsigned)u >= s->units) {
        error_set(errp,
                  "drive '%s': bus=%d,unit=%d: this machine's IDE has buses 0 to %u with %u "
                  "unit%s each",
                  d->id, b, u, s->buses - 1, s->units, s->units > 1 ? "s" : "");
        return false;
    }
    if (s->used[b][u]) {
        error_set(errp, "drive '%s': bus %d, unit %d of the IDE is in use already", d->id, b, u);
        return false;
    }
    s->used[b][u] = true;
    *bus = (unsigned)b;
    *unit = (unsigned)u;
    return true;
}

static bool is_given(const DriveInfo *d)
{
    return d->bus >= 0 || d->unit >= 0 || d->index >= 0;
}

static bool add_ide(PcMachine *pc, IdeSlots *slots, DriveInfo *d, Error **errp)
{
    g_autofree char *id = NULL;
    unsigned bus, unit;

    if (!pc->ide) {
        error_set(errp, "drive '%s': this machine was started without an IDE controller", d->id);
        return false;
    }
    if (!ide_place(slots, d, &bus, &unit, errp)) {
        return false;
    }
    id = g_strdup_printf("ide.%u", bus);
    return add_disk(pc, d, d->cdrom ? "ide-cd" : "ide-hd", id, (int)unit, errp);
}

static bool add_other(PcMachine *pc, DriveInfo *d, Error **errp)
{
    switch (d->interface) {
    case DRIVE_IF_VIRTIO:
        return add_disk(pc, d, "virtio-blk-pci", NULL, -1, errp);
    case DRIVE_IF_SCSI:
        error_set(errp, "drive '%s': this machine has no SCSI controller of its own", d->id);
        error_hint(errp, "use if=ide or if=virtio");
        return false;
    case DRIVE_IF_PFLASH:
        error_set(errp, "drive '%s': this machine takes its firmware from -bios, not from flash",
                  d->id);
        return false;
    case DRIVE_IF_SD:
    case DRIVE_IF_MTD:
        error_set(errp, "drive '%s': a PC has no place for if=sd or if=mtd", d->id);
        return false;
    default:
        return true;
    }
}

static bool add_floppies(PcMachine *pc, BlockBackend *fds[2], Error **errp)
{
    GPtrArray *list = pc->m.block ? drive_list(pc->m.block) : NULL;

    for (guint i = 0; list && i < list->len; i++) {
        DriveInfo *d = list->pdata[i];
        int unit = d->unit >= 0 ? d->unit : d->index;

        if (d->interface != DRIVE_IF_FLOPPY || d->claimed) {
            continue;
        }
        if (unit < 0) {
            unit = fds[0] ? 1 : 0;
        }
        if (unit > 1 || fds[unit] || d->bus > 0) {
            error_set(errp,
                      "drive '%s': a PC has two floppy drives, 0 and 1, and this place is "
                      "taken or none of them",
                      d->id);
            return false;
        }
        fds[unit] = d->blk;
        d->claimed = true;
    }
    return true;
}

bool pc_floppy_init(PcMachine *pc, Error **errp)
{
    bool always = machine_class(&pc->m)->has_floppy;
    BlockBackend *fds[2] = {NULL, NULL};

    if (!add_floppies(pc, fds, errp)) {
        return false;
    }
    if (!always && !fds[0] && !fds[1]) {
        return true;
    }
    pc->fdc = isa_fdc_new(&pc->m, pc->m.isa, fds, errp);
    return pc->fdc != NULL;
}

static bool drives_init(PcMachine *pc, bool q35, Error **errp)
{
    GPtrArray *list = pc->m.block ? drive_list(pc->m.block) : NULL;
    IdeSlots slots = {.units = q35 ? 1 : 2, .buses = q35 ? 6 : 2};

    /* Those that say where they want to be go first. */
    for (unsigned pass = 0; list && pass < 2; pass++) {
        for (guint i = 0; i < list->len; i++) {
            DriveInfo *d = list->pdata[i];

            if (d->claimed || is_given(d) != (pass == 0)) {
                continue;
            }
            if (d->interface == DRIVE_IF_IDE || d->interface == DRIVE_IF_DEFAULT
                    ? !add_ide(pc, &slots, d, errp)
                    : !add_other(pc, d, errp)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- network cards, display ---- */
static bool add_nic(PcMachine *pc, NicConfig *n, Error **errp)
{
    const char *model = n->model ? n->model : machine_class(&pc->m)->default_nic;
    Json *o = json_object();
    Device *dev;

    json_put_string(o, "driver", g_str_equal(model, "virtio") ? "virtio-net-pci" : model);
    if (n->id) {
        json_put_string(o, "id", n->id);
    }
    if (n->netdev) {
        json_put_string(o, "netdev", n->netdev);
    }
    if (n->addr) {
        json_put_string(o, "addr", n->addr);
    }
    if (n->mac_set) {
        json_put(o, "mac",
                 json_stringf("%02x:%02x:%02x:%02x:%02x:%02x", n->mac[0], n->mac[1], n->mac[2],
                              n->mac[3], n->mac[4], n->mac[5]));
    }
    dev = device_add(&pc->m, o, NULL, errp);
    json_unref(o);
    n->made = dev != NULL;
    return n->made;
}

static bool display_init(PcMachine *pc, Error **errp)
{
    static const struct {
        const char *vga, *type;
    } adapters[] = {{"std", "VGA"},
                    {"cirrus", "cirrus-vga"},
                    {"vmware", "vmware-svga"},
                    {"qxl", "qxl-vga"},
                    {"virtio", "virtio-vga"}};
    const char *vga = pc->m.vga ? pc->m.vga : machine_class(&pc->m)->default_display;
    PciDevice *d;

    if (g_str_equal(vga, "none")) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(adapters); i++) {
        if (g_str_equal(vga, adapters[i].vga) && type_find(adapters[i].type)) {
            d = pci_create(PCI_BUS(pc->m.root_bus), -1, false, adapters[i].type);
            return pci_realize(d, PCI_BUS(pc->m.root_bus), errp);
        }
    }
    error_set(errp, "-vga %s is not an adapter that this program has", vga);
    error_hint(errp, "-vga std and -vga none are");
    return false;
}

bool pc_pci_devices_init(PcMachine *pc, Error **errp)
{
    if (!display_init(pc, errp)) {
        return false;
    }
    for (guint i = 0; i < pc->m.nics->len; i++) {
        if (!add_nic(pc, pc->m.nics->pdata[i], errp)) {
            return false;
        }
    }
    return drives_init(pc, pc_is_q35(pc), errp);
}
