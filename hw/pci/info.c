/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What sits on the PCI buses: query-pci, and `info pci` made from it.
 */
#include "hw/pci/internal.h"

#include <inttypes.h>

static const struct {
    uint16_t class_id;
    const char *desc;
} class_names[] = {
    {0x0001, "VGA controller"},
    {0x0100, "SCSI controller"},
    {0x0101, "IDE controller"},
    {0x0102, "Floppy controller"},
    {0x0104, "RAID controller"},
    {0x0106, "SATA controller"},
    {0x0107, "SAS controller"},
    {0x0108, "NVMe controller"},
    {0x0180, "Storage controller"},
    {0x0200, "Ethernet controller"},
    {0x0280, "Network controller"},
    {0x0300, "VGA controller"},
    {0x0380, "Display controller"},
    {0x0400, "Video controller"},
    {0x0401, "Audio controller"},
    {0x0403, "Audio controller"},
    {0x0500, "RAM controller"},
    {0x0600, "Host bridge"},
    {0x0601, "ISA bridge"},
    {0x0604, "PCI bridge"},
    {0x0680, "Bridge"},
    {0x0700, "Serial port"},
    {0x0780, "Communication controller"},
    {0x0c03, "USB controller"},
    {0x0c05, "SMBus"},
};

static const char *class_name(uint16_t class_id)
{
    for (size_t i = 0; i < ARRAY_LEN(class_names); i++) {
        if (class_names[i].class_id == class_id) {
            return class_names[i].desc;
        }
    }
    return NULL;
}

static Json *query_range(uint64_t base, uint64_t limit)
{
    Json *r = json_object();

    json_put(r, "base", json_uint(base));
    json_put(r, "limit", json_uint(limit));
    return r;
}

static Json *query_bus_devices(PciBus *bus);

static Json *query_bridge(PciDevice *d)
{
    const uint8_t *c = d->config;
    Json *info = json_object(), *bus = json_object();
    uint64_t pb = (uint64_t)ld_le32(c + PCI_PREF_BASE_UPPER32) << 32;
    uint64_t pl = (uint64_t)ld_le32(c + PCI_PREF_LIMIT_UPPER32) << 32;

    json_put_int(bus, "number", c[PCI_PRIMARY_BUS]);
    json_put_int(bus, "secondary", c[PCI_SECONDARY_BUS]);
    json_put_int(bus, "subordinate", c[PCI_SUBORDINATE_BUS]);
    json_put(bus, "io_range",
             query_range((c[PCI_IO_BASE] & 0xf0u) << 8, (c[PCI_IO_LIMIT] & 0xf0u) << 8 | 0xfff));
    json_put(bus, "memory_range",
             query_range((uint64_t)(ld_le16(c + PCI_MEMORY_BASE) & 0xfff0) << 16,
                         (uint64_t)(ld_le16(c + PCI_MEMORY_LIMIT) & 0xfff0) << 16 | 0xfffff));
    json_put(
        bus, "prefetchable_range",
        query_range(pb | (uint64_t)(ld_le16(c + PCI_PREF_MEMORY_BASE) & 0xfff0) << 16,
                    pl | (uint64_t)(ld_le16(c + PCI_PREF_MEMORY_LIMIT) & 0xfff0) << 16 | 0xfffff));
    json_put(info, "bus", bus);
    if (d->secondary && c[PCI_SECONDARY_BUS]) {
        json_put(info, "devices", query_bus_devices(d->secondary));
    }
    return info;
}

static Json *query_regions(const PciDevice *d)
{
    Json *regions = json_array();

    for (unsigned n = 0; n < PCI_BAR_COUNT; n++) {
        const PciBar *b = &d->bars[n];
        bool io = b->type & PCI_BASE_ADDRESS_SPACE_IO;
        Json *r;

        if (!b->region) {
            continue;
        }
        r = json_object();
        json_put_int(r, "bar", n);
        json_put_string(r, "type", io ? "io" : "memory");
        /* QEMU shows an unmapped BAR as -1. */
        json_put_int(r, "address", (int64_t)b->addr);
        json_put_int(r, "size", (int64_t)b->size);
        if (!io) {
            json_put_bool(r, "prefetch", b->type & PCI_BASE_ADDRESS_MEM_PREFETCH);
            json_put_bool(r, "mem_type_64", b->type & PCI_BASE_ADDRESS_MEM_TYPE_64);
        }
        json_append(regions, r);
    }
    return regions;
}

static Json *query_device(PciDevice *d)
{
    const uint8_t *c = d->config;
    uint16_t class_id = ld_le16(c + PCI_CLASS_DEVICE);
    Json *o = json_object(), *info = json_object(), *id = json_object();

    json_put_int(o, "bus", pci_bus_number(pci_device_bus(d)));
    json_put_int(o, "slot", PCI_SLOT(d->devfn));
    json_put_int(o, "function", PCI_FUNC(d->devfn));
    if (class_name(class_id)) {
        json_put_string(info, "desc", class_name(class_id));
    }
    json_put_int(info, "class", class_id);
    json_put(o, "class_info", info);
    json_put_int(id, "device", ld_le16(c + PCI_DEVICE_ID));
    json_put_int(id, "vendor", ld_le16(c + PCI_VENDOR_ID));
    if ((c[PCI_HEADER_TYPE] & 0x7f) == PCI_HEADER_TYPE_NORMAL) {
        json_put_int(id, "subsystem", ld_le16(c + PCI_SUBSYSTEM_ID));
        json_put_int(id, "subsystem-vendor", ld_le16(c + PCI_SUBSYSTEM_VENDOR_ID));
    }
    json_put(o, "id", id);
    if (c[PCI_INTERRUPT_PIN]) {
        json_put_int(o, "irq", c[PCI_INTERRUPT_LINE]);
    }
    json_put_int(o, "irq_pin", c[PCI_INTERRUPT_PIN]);
    json_put_string(o, "qdev_id", d->dev.id ? d->dev.id : "");
    if (d->secondary) {
        json_put(o, "pci_bridge", query_bridge(d));
    }
    json_put(o, "regions", query_regions(d));
    return o;
}

static Json *query_bus_devices(PciBus *bus)
{
    Json *list = json_array();

    for (unsigned i = 0; i < 256; i++) {
        if (bus->devices[i]) {
            json_append(list, query_device(bus->devices[i]));
        }
    }
    return list;
}

Json *pci_query(Machine *m)
{
    Json *list = json_array();

    if (m->root_bus && object_is_a(&m->root_bus->obj, TYPE_PCI_BUS)) {
        PciBus *root = PCI_BUS(m->root_bus);
        Json *bus = json_object();

        json_put_int(bus, "bus", root->root_number);
        json_put(bus, "devices", query_bus_devices(root));
        json_append(list, bus);
    }
    return list;
}

/* ---- info pci ---- */
static int64_t member(const Json *o, const char *key)
{
    int64_t v = 0;

    json_get_int(json_get(o, key), &v);
    return v;
}

static void print_range(GString *out, const Json *bus, const char *key, const char *what,
                        int digits)
{
    const Json *r = json_get(bus, key);

    g_string_append_printf(out, "      %s range [0x%0*" PRIx64 ", 0x%0*" PRIx64 "]\n", what, digits,
                           (uint64_t)member(r, "base"), digits, (uint64_t)member(r, "limit"));
}

static void print_region(GString *out, const Json *r)
{
    uint64_t addr = (uint64_t)member(r, "address"), size = (uint64_t)member(r, "size");
    bool prefetch = false, wide = false;

    g_string_append_printf(out, "      BAR%d: ", (int)member(r, "bar"));
    if (g_str_equal(json_get_str(r, "type"), "io")) {
        g_string_append_printf(out, "I/O at 0x%04" PRIx64 " [0x%04" PRIx64 "].\n", addr,
                               addr + size - 1);
        return;
    }
    json_get_bool(json_get(r, "prefetch"), &prefetch);
    json_get_bool(json_get(r, "mem_type_64"), &wide);
    g_string_append_printf(out, "%d bit%s memory at 0x%08" PRIx64 " [0x%08" PRIx64 "].\n",
                           wide ? 64 : 32, prefetch ? " prefetchable" : "", addr, addr + size - 1);
}

static void print_device(GString *out, const Json *d)
{
    const Json *info = json_get(d, "class_info"), *id = json_get(d, "id");
    const Json *bridge = json_get(d, "pci_bridge"), *regions = json_get(d, "regions");
    const char *desc = json_get_str(info, "desc");

    g_string_append_printf(out, "  Bus %2d, device %3d, function %d:\n    ", (int)member(d, "bus"),
                           (int)member(d, "slot"), (int)member(d, "function"));
    if (desc) {
        g_string_append(out, desc);
    } else {
        g_string_append_printf(out, "Class %04d", (int)member(info, "class"));
    }
    g_string_append_printf(out, ": PCI device %04x:%04x\n", (unsigned)member(id, "vendor"),
                           (unsigned)member(id, "device"));
    if (json_get(id, "subsystem")) {
        g_string_append_printf(out, "      PCI subsystem %04x:%04x\n",
                               (unsigned)member(id, "subsystem-vendor"),
                               (unsigned)member(id, "subsystem"));
    }
    if (json_get(d, "irq")) {
        g_string_append_printf(out, "      IRQ %d, pin %c\n", (int)member(d, "irq"),
                               (char)('A' + member(d, "irq_pin") - 1));
    }
    if (bridge) {
        const Json *bus = json_get(bridge, "bus");

        g_string_append_printf(out,
                               "      BUS %d.\n      secondary bus %d.\n      subordinate bus "
                               "%d.\n",
                               (int)member(bus, "number"), (int)member(bus, "secondary"),
                               (int)member(bus, "subordinate"));
        print_range(out, bus, "io_range", "IO", 4);
        print_range(out, bus, "memory_range", "memory", 8);
        print_range(out, bus, "prefetchable_range", "prefetchable memory", 8);
    }
    for (size_t i = 0; i < json_length(regions); i++) {
        print_region(out, json_at(regions, i));
    }
    g_string_append_printf(out, "      id \"%s\"\n", json_get_str(d, "qdev_id"));
    if (bridge && json_get(bridge, "devices")) {
        const Json *below = json_get(bridge, "devices");

        for (size_t i = 0; i < json_length(below); i++) {
            print_device(out, json_at(below, i));
        }
    }
}

void pci_print_info(Machine *m, GString *out)
{
    Json *list = pci_query(m);

    for (size_t b = 0; b < json_length(list); b++) {
        const Json *devices = json_get(json_at(list, b), "devices");

        for (size_t i = 0; i < json_length(devices); i++) {
            print_device(out, json_at(devices, i));
        }
    }
    json_unref(list);
}
