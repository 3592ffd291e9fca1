/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/core/device.h: devices and buses.
 *
 * A device is an Object with a life in two steps: `init` (TypeInfo; defaults,
 * cannot fail) and `realize` (touches the world; on failure it has unwound
 * itself wholly).  `unrealize` is realize's exact inverse.  Every device sits on
 * a bus, or directly on the machine (bus == NULL: "sysbus" devices whose
 * regions and lines the machine connects).
 *
 * Locking: everything below runs with the lock of the device's loop held,
 * except realize/unrealize/plug, which run on the control thread with the
 * platform loop's lock.
 */
#ifndef RHEA_HW_CORE_DEVICE_H
#define RHEA_HW_CORE_DEVICE_H

#include "hw/core/irq.h"
#include "memory/memory.h"
#include "qom/object.h"
#include "state/state.h"

typedef struct Device Device;
typedef struct DeviceClass DeviceClass;
typedef struct Bus Bus;
typedef struct BusClass BusClass;
typedef struct Machine Machine;

typedef enum DeviceCategory {
    DEVICE_CATEGORY_MISC,
    DEVICE_CATEGORY_BRIDGE,
    DEVICE_CATEGORY_STORAGE,
    DEVICE_CATEGORY_NETWORK,
    DEVICE_CATEGORY_INPUT,
    DEVICE_CATEGORY_DISPLAY,
    DEVICE_CATEGORY_SOUND,
    DEVICE_CATEGORY_CPU,
    DEVICE_CATEGORY_USB,
} DeviceCategory;

struct Device {
    Object obj;
    MemOwner owner;   /* for the device's regions; owner.loop is the device's loop */
    char *id;         /* user's -device id=…, or NULL */
    Bus *bus;         /* the bus it sits on, or NULL */
    Machine *machine; /* set by device_attach before realize */
    GList *child_buses;
    bool realized;
    bool hotplugged;
    bool unplug_pending;
    int32_t bootindex;  /* -1: none; a property of bootable types */
    bool user;          /* made by -device / device_add */
    GPtrArray *globals; /* while realizing: properties that a -global set */
};

/* TypeInfo.klass of every device type; bus families extend it (first member). */
struct DeviceClass {
    bool (*realize)(Device *dev, Error **errp);
    void (*unrealize)(Device *dev);
    /* Power-on values; called after realize and on every system reset. */
    void (*reset)(Device *dev);
    const StateDesc *state; /* NULL only if the device has no state of its own */
    const char *bus_type;   /* type of the bus it plugs into; NULL: machine only */
    DeviceCategory category;
    bool user_creatable; /* offered by -device */
    bool not_hotpluggable;
    /* Firmware's name of a bootable device ("ethernet@3"), or NULL: caller frees. */
    char *(*fw_name)(Device *dev);
};

#define TYPE_DEVICE "device"
#define DEVICE(o) OBJECT_CAST(Device, o, TYPE_DEVICE)
static inline const DeviceClass *device_class(const Device *dev)
{
    return object_class(&dev->obj);
}

/*
 * Life.  The usual order for code: device_new → set properties → device_realize
 * (which attaches it to the bus and adds it to the tree under the name).
 */
Device *device_new(const char *type);
/*
 * Puts `dev` on `bus` (NULL: none) of `machine` and into the composition tree
 * at /machine/{peripheral/ID, peripheral-anon/device[n], or unattached/name},
 * then realizes it.  On failure the device is out of the tree again and the
 * caller's reference is dropped.  On success the tree owns it.
 */
bool device_realize(Device *dev, Machine *machine, Bus *bus, Error **errp);
/* The same, for devices embedded in their parent object and named there. */
bool device_realize_child(Device *dev, Device *parent, const char *name, Bus *bus, Error **errp);
void device_unrealize(Device *dev); /* and out of the tree */
void device_reset(Device *dev);     /* it, then what sits on its buses */
/*
 * Are the driver and the properties' names and values of a -device right, as far as they can
 * be judged before there is a machine?  Mistakes are noted in `text`.
 */
bool device_check(const Json *values, void *text, Error **errp);
/*
 * Makes a device as -device and device_add say it: "driver", "id", "bus", and properties.
 * `text` (or NULL) is the option the values came from, for underlined mistakes.
 * The tree owns what is returned.
 */
Device *device_add(Machine *m, const Json *values, void *text, Error **errp);
/* What `-device help` (driver NULL) and `-device NAME,help` print. */
bool device_print_help(const char *driver, GString *out, Error **errp);
/* Asks the bus to unplug; the guest may have to agree first. */
bool device_unplug(Device *dev, Error **errp);
Device *device_find(Machine *machine, const char *id_or_path, Error **errp);
/* "e1000 at 00:03.0 (id net0)": for messages. Caller frees. */
char *device_describe(const Device *dev);
/* Calls fn for each realized device, parents first. */
void device_each(Machine *machine, void (*fn)(Device *dev, void *opaque), void *opaque);

/* ---- buses ---- */
struct BusClass {
    const char *address_help; /* how `addr=` looks on this bus, or NULL */
    /* Before the device's realize: give it its address; undone by `release`. */
    bool (*prepare)(Bus *bus, Device *dev, Error **errp);
    void (*release)(Bus *bus, Device *dev);
    /* Before unrealize, the device still whole: make it unreachable for the guest. */
    void (*detach)(Bus *bus, Device *dev);
    /* After a successful realize (hot-plug notification), and the guest's unplug. */
    bool (*plugged)(Bus *bus, Device *dev, Error **errp);
    bool (*unplug_request)(Bus *bus, Device *dev, Error **errp);
    void (*reset)(Bus *bus);
    char *(*device_address)(const Device *dev); /* "00:03.0" */
    char *(*fw_path)(const Device *dev);        /* OpenFirmware-like element for bootorder */
    unsigned max_devices;                       /* 0: no limit */
};

struct Bus {
    Object obj;
    char *id;       /* "pci.0", "ide.1" */
    Device *parent; /* the controller; NULL for the machine's own */
    Machine *machine;
    GList *devices; /* Device*, in order of plugging */
    bool hotpluggable;
    bool full;
};
#define TYPE_BUS "bus"
#define BUS(o) OBJECT_CAST(Bus, o, TYPE_BUS)
static inline const BusClass *bus_class(const Bus *bus)
{
    return object_class(&bus->obj);
}
/* Embedded in the controller; `id` NULL makes "type.N". */
void bus_init(Bus *bus, size_t size, const char *type, Device *parent, Machine *machine,
              const char *id);
void bus_fini(Bus *bus); /* its devices are unrealized first */
/* By id or path; or, NULL id, the first of `type` with room. */
Bus *bus_find(Machine *machine, const char *id, const char *type, Error **errp);
/* Calls fn for each bus of the machine, controllers first. */
void bus_each(Machine *machine, void (*fn)(Bus *bus, void *opaque), void *opaque);
/* Root buses of the machine, for `info qtree`. */
void device_print_qtree(Machine *machine, GString *out);

/*
 * Full firmware path of a device for fw_cfg's bootorder, made of the fw_name of its class (or
 * else its bus' fw_path) and those of the controllers above it; NULL if it has none itself.
 */
char *device_fw_path(Device *dev);
/* The bus's controller's bus …, up to the device without one: what it sits on. */
Device *device_parent(const Device *dev);

#endif
