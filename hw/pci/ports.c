/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bridges a user can add: pcie-root-port, pci-bridge, pcie-pci-bridge.
 */
#include "hw/pci/internal.h"
#include "hw/pci/pcie.h"

/* ---- pcie-root-port ---- */
typedef struct RootPort {
    PciBridge bridge;
    uint8_t port, chassis;
    uint16_t slot;
} RootPort;
#define ROOT_PORT(o) OBJECT_CAST(RootPort, o, "pcie-root-port")

#define ROOT_PORT_SSVID 0x40
#define ROOT_PORT_EXP 0x54

static bool add_ssvid(PciDevice *d, uint8_t offset, Error **errp)
{
    uint8_t pos = pci_add_capability(d, PCI_CAP_ID_SSVID, offset, 8, errp);

    if (pos) {
        pci_config_set(d, pos + PCI_SSVID_VENDOR_ID, 2, PCI_VENDOR_ID_REDHAT);
    }
    return pos != 0;
}

static bool root_port_realize(Device *dev, Error **errp)
{
    RootPort *r = ROOT_PORT(dev);
    PciDevice *d = &r->bridge.pci;

    if (!pci_device_bus(d)->express || pci_device_bus(d)->bridge) {
        error_set(errp, "pcie-root-port sits on a PCI Express root bus, not on '%s'",
                  pci_device_bus(d)->bus.id);
        error_hint(errp, "use -machine q35 and bus=pcie.0");
        return false;
    }
    if (!add_ssvid(d, ROOT_PORT_SSVID, errp) ||
        !pcie_cap_init(d, ROOT_PORT_EXP, PCI_EXP_TYPE_ROOT_PORT, r->port, errp)) {
        return false;
    }
    pcie_slot_init(d, r->slot);
    pci_set_wmask(d, d->exp_cap + PCI_EXP_RTCTL, 2,
                  PCI_EXP_RTCTL_SECEE | PCI_EXP_RTCTL_SENFEE | PCI_EXP_RTCTL_SEFEE);
    if (!pci_bridge_add_reserve(&r->bridge, errp) || !pci_msix_init_exclusive(d, 1, 0, errp)) {
        return false;
    }
    d->config[PCI_INTERRUPT_PIN] = 1;
    pci_bridge_init(&r->bridge, true);
    r->bridge.sec.devfn_max = PCI_DEVFN(0, 7); /* the other end of a link is one device */
    return true;
}

static void bridge_unrealize(Device *dev)
{
    pci_bridge_fini(PCI_BRIDGE(dev));
}

static void root_port_reset(Device *dev)
{
    PciBridge *b = PCI_BRIDGE(dev);
    PciDevice *d = &b->pci;

    pci_bridge_reset(b);
    pci_config_set(d, d->exp_cap + PCI_EXP_DEVCTL, 2, 0);
    pci_config_set(d, d->exp_cap + PCI_EXP_DEVSTA, 2, 0);
    pci_config_set(d, d->exp_cap + PCI_EXP_LNKCTL, 2, 0);
    pci_config_set(d, d->exp_cap + PCI_EXP_SLTCTL, 2, 0);
    pci_config_set(d, d->exp_cap + PCI_EXP_SLTSTA, 2, 0);
    pci_config_set(d, d->exp_cap + PCI_EXP_RTCTL, 2, 0);
    pcie_port_update(b);
}

/* Presence follows what sits behind the port at the time it is looked at. */
static uint32_t root_port_config_read(PciDevice *d, uint32_t addr, unsigned len)
{
    if (pci_ranges_overlap(addr, len, d->exp_cap, PCI_EXP_LNKCTL2)) {
        pcie_port_update(PCI_BRIDGE(d));
    }
    return pci_config_get(d, addr, len);
}

static void bridge_config_written(PciDevice *d, uint32_t addr, uint32_t value, unsigned len)
{
    pci_bridge_config_written(PCI_BRIDGE(d), addr, len);
}

static const PciClass root_port_class = {
    .device = {.realize = root_port_realize,
               .unrealize = bridge_unrealize,
               .reset = root_port_reset,
               .state = &pci_bridge_state,
               .bus_type = TYPE_PCI_BUS,
               .category = DEVICE_CATEGORY_BRIDGE,
               .user_creatable = true},
    .vendor_id = PCI_VENDOR_ID_REDHAT,
    .device_id = 0x000c,
    .class_id = PCI_CLASS_BRIDGE_PCI,
    .is_bridge = true,
    .is_express = true,
    .config_written = bridge_config_written,
    .config_read = root_port_config_read,
};

static const Property root_port_props[] = {
    PROPERTY_U8("port", RootPort, port, 0, "port number in the link capabilities"),
    PROPERTY_U8("chassis", RootPort, chassis, 0, "chassis the slot is in"),
    PROPERTY_U16("slot", RootPort, slot, 0, "physical slot number"),
    PROPERTIES_BRIDGE_RESERVE(RootPort, bridge),
    {0},
};

OBJECT_TYPE(root_port_type, .name = "pcie-root-port", .parent = TYPE_PCI_BRIDGE_BASE,
            .help = "PCI Express root port", .size = sizeof(RootPort), .klass = &root_port_class,
            .props = root_port_props)

/* ---- pci-bridge ---- */
typedef struct PlainBridge {
    PciBridge bridge;
    uint8_t chassis_nr;
} PlainBridge;
#define PLAIN_BRIDGE(o) OBJECT_CAST(PlainBridge, o, "pci-bridge")

static bool plain_realize(Device *dev, Error **errp)
{
    PlainBridge *b = PLAIN_BRIDGE(dev);
    PciDevice *d = &b->bridge.pci;
    uint8_t pos;

    if (b->chassis_nr == 0) {
        error_set(errp, "pci-bridge: chassis_nr=0 is not valid: each bridge needs a number of its "
                        "own, from 1");
        return false;
    }
    pos = pci_add_capability(d, PCI_CAP_ID_SLOTID, 0, 4, errp);
    if (!pos || !pci_bridge_add_reserve(&b->bridge, errp)) {
        return false;
    }
    d->config[pos + PCI_SID_ESR] = PCI_SID_ESR_FIC;
    d->config[pos + PCI_SID_CHASSIS_NR] = b->chassis_nr;
    pci_bridge_init(&b->bridge, false);
    b->bridge.sec.devfn_min = PCI_DEVFN(1, 0); /* slot 0 is kept, as on QEMU's */
    return true;
}

static void plain_reset(Device *dev)
{
    pci_bridge_reset(PCI_BRIDGE(dev));
}

static const PciClass plain_class = {
    .device = {.realize = plain_realize,
               .unrealize = bridge_unrealize,
               .reset = plain_reset,
               .state = &pci_bridge_state,
               .bus_type = TYPE_PCI_BUS,
               .category = DEVICE_CATEGORY_BRIDGE,
               .user_creatable = true},
    .vendor_id = PCI_VENDOR_ID_REDHAT,
    .device_id = 0x0001,
    .class_id = PCI_CLASS_BRIDGE_PCI,
    .is_bridge = true,
    .config_written = bridge_config_written,
};

static const Property plain_props[] = {
    PROPERTY_U8("chassis_nr", PlainBridge, chassis_nr, 0, "number of the chassis, from 1"),
    PROPERTIES_BRIDGE_RESERVE(PlainBridge, bridge),
    {0},
};

OBJECT_TYPE(plain_type, .name = "pci-bridge", .parent = TYPE_PCI_BRIDGE_BASE,
            .help = "PCI-to-PCI bridge", .size = sizeof(PlainBridge), .klass = &plain_class,
            .props = plain_props)

/* ---- pcie-pci-bridge ---- */
static bool express_realize(Device *dev, Error **errp)
{
    PciBridge *b = PCI_BRIDGE(dev);
    PciDevice *d = &b->pci;

    if (!pci_device_bus(d)->express) {
        error_set(errp, "pcie-pci-bridge sits on a PCI Express bus, not on '%s'",
                  pci_device_bus(d)->bus.id);
        return false;
    }
    if (!pcie_cap_init(d, 0, PCI_EXP_TYPE_PCI_BRIDGE, 0, errp) || !pci_pm_init(d, 0, errp) ||
        !pci_msi_init(d, 0, 1, true, true, errp)) {
        return false;
    }
    d->config[PCI_INTERRUPT_PIN] = 1;
    pci_bridge_init(b, false);
    b->sec.devfn_min = PCI_DEVFN(1, 0);
    return true;
}

static const PciClass express_class = {
    .device = {.realize = express_realize,
               .unrealize = bridge_unrealize,
               .reset = plain_reset,
               .state = &pci_bridge_state,
               .bus_type = TYPE_PCI_BUS,
               .category = DEVICE_CATEGORY_BRIDGE,
               .user_creatable = true},
    .vendor_id = PCI_VENDOR_ID_REDHAT,
    .device_id = 0x000e,
    .class_id = PCI_CLASS_BRIDGE_PCI,
    .is_bridge = true,
    .is_express = true,
    .config_written = bridge_config_written,
};

OBJECT_TYPE(express_type, .name = "pcie-pci-bridge", .parent = TYPE_PCI_BRIDGE_BASE,
            .help = "PCI Express to PCI bridge", .klass = &express_class)
