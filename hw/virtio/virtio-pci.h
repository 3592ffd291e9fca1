/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/virtio/virtio-pci.h: virtio devices on PCI: VIRTIO 1.2 section 4.1, and the
 * legacy interface (section 4.1.4.10) for transitional devices.
 *
 * A device type embeds VirtioPci first and has a VirtioPciClass.  Three types are
 * made of each: NAME (transitional unless it sits on an express bus or
 * disable-legacy says so), NAME-transitional, NAME-non-transitional.
 */
#ifndef RHEA_HW_VIRTIO_VIRTIO_PCI_H
#define RHEA_HW_VIRTIO_VIRTIO_PCI_H

#include "hw/pci/pci.h"
#include "hw/virtio/virtio.h"

typedef enum VirtioFlavour { VIRTIO_AUTO, VIRTIO_TRANSITIONAL, VIRTIO_MODERN_ONLY } VirtioFlavour;

typedef struct VirtioPciClass {
    PciClass pci; /* realize, unrealize, reset are this file's: VIRTIO_PCI_DEVICE_CLASS */
    VirtioFlavour flavour;
    uint16_t legacy_device_id; /* 1000h … */
    const VirtioOps *ops;
    /* The type's own: calls virtio_init() and adds queues; undone by `unrealize`. */
    bool (*realize)(Device *dev, Error **errp);
    void (*unrealize)(Device *dev);
    unsigned (*default_vectors)(Device *dev);
} VirtioPciClass;

typedef struct VirtioPci VirtioPci;
struct VirtioPci {
    PciDevice pci;
    VirtioDevice vdev;
    /* properties */
    uint32_t vectors;
    int disable_legacy;
    bool disable_modern, indirect_desc, event_idx, notify_on_empty, any_layout, ioeventfd;

    bool legacy, modern;
    Region legacy_io, modern_bar, common, isr, device, notify;
    /* guest-visible: select registers of the common configuration */
    uint32_t device_feature_select, driver_feature_select;
    uint32_t driver_features[2];
    uint16_t queue_select;
    bool doorbells; /* by eventfd, now */
    struct VirtioDoorbell {
        VirtioPci *p;
        uint16_t queue;
        int fd; /* if `doorbells` */
    } doorbell[VIRTIO_QUEUE_MAX];
    uint8_t cfg_cap; /* offset of the PCI configuration access capability */
};

#define TYPE_VIRTIO_PCI "virtio-pci"
/* Doorbells by eventfd come and go with the driver: after every change of the status. */
void virtio_pci_update_doorbells(VirtioPci *p);
bool virtio_pci_realize(Device *dev, Error **errp);
void virtio_pci_unrealize(Device *dev);
void virtio_pci_reset(Device *dev);
void virtio_pci_config_written(PciDevice *d, uint32_t addr, uint32_t value, unsigned len);
uint32_t virtio_pci_config_read(PciDevice *d, uint32_t addr, unsigned len);
/* First field of a type's own StateDesc. */
extern const StateDesc virtio_pci_state;
#define STATE_F_VIRTIO_PCI(T, f) STATE_F_STRUCT(T, f, virtio_pci_state)

#define VIRTIO_PCI_CLASS(flv, legacy_id, virtio_ops, class_code, cat, state_desc, realize_fn,    \
                         unrealize_fn, vectors_fn)                                               \
    {                                                                                            \
        .pci = {.device = {.realize = virtio_pci_realize,                                        \
                           .unrealize = virtio_pci_unrealize,                                    \
                           .reset = virtio_pci_reset,                                            \
                           .state = (state_desc),                                                \
                           .bus_type = TYPE_PCI_BUS,                                             \
                           .category = (cat),                                                    \
                           .user_creatable = true},                                              \
                .vendor_id = PCI_VENDOR_ID_REDHAT_QUMRANET,                                      \
                .device_id = (legacy_id),                                                        \
                .class_id = (class_code),                                                        \
                .romfile = (class_code) == PCI_CLASS_NETWORK_ETHERNET ? "efi-virtio.rom" : NULL, \
                .config_written = virtio_pci_config_written,                                     \
                .config_read = virtio_pci_config_read},                                          \
        .flavour = (flv), .legacy_device_id = (legacy_id), .ops = (virtio_ops),                  \
        .realize = (realize_fn), .unrealize = (unrealize_fn), .default_vectors = (vectors_fn),   \
    }

/*
 * The three types of a device, "NAME-pci", "-transitional" and "-non-transitional", of one
 * struct and one property table.  What follows is VIRTIO_PCI_CLASS's, without the flavour.
 */
#define VIRTIO_PCI_TYPE(ident, type_name, flv, text, T, table, ...)                     \
    static const VirtioPciClass ident##_class = VIRTIO_PCI_CLASS(flv, __VA_ARGS__);     \
    OBJECT_TYPE(ident, .name = type_name, .parent = TYPE_VIRTIO_PCI, .size = sizeof(T), \
                .help = text, .klass = &ident##_class, .props = table)
#define VIRTIO_PCI_TYPES(ident, name, text, T, table, ...)                               \
    VIRTIO_PCI_TYPE(ident##_auto, name "-pci", VIRTIO_AUTO, text, T, table, __VA_ARGS__) \
    VIRTIO_PCI_TYPE(ident##_transitional, name "-pci-transitional", VIRTIO_TRANSITIONAL, \
                    text " with legacy and modern interface", T, table, __VA_ARGS__)     \
    VIRTIO_PCI_TYPE(ident##_modern, name "-pci-non-transitional", VIRTIO_MODERN_ONLY,    \
                    text " with modern interface only", T, table, __VA_ARGS__)

#endif
