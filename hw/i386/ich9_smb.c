/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ICH9, function 1f.3: SMBus controller (Intel I/O Controller Hub 9 data sheet,
 * 316972, chapter 19).
 */
#include "hw/i386/smbus.h"
#include "hw/i386/southbridge.h"

#define SMB_HOSTC 0x40
#define SMB_HOSTC_EN 1
#define SMB_HOSTC_RESET 8

typedef struct Ich9Smb {
    PciDevice pci;
    SmBus smb;
    Region bar; /* shows the registers while the host is enabled */
} Ich9Smb;
#define ICH9_SMB(o) OBJECT_CAST(Ich9Smb, o, TYPE_ICH9_SMB)

static void smb_update(Ich9Smb *s)
{
    uint8_t *hostc = &s->pci.config[SMB_HOSTC];

    if (*hostc & SMB_HOSTC_RESET) {
        *hostc &= (uint8_t)~SMB_HOSTC_RESET;
        smbus_reset(&s->smb);
    }
    region_set_enabled(&s->smb.io, *hostc & SMB_HOSTC_EN);
}

static void smb_config_written(PciDevice *d, uint32_t addr, uint32_t value, unsigned len)
{
    if (addr <= SMB_HOSTC && addr + len > SMB_HOSTC) {
        smb_update(ICH9_SMB(d));
    }
}

static bool smb_realize(Device *dev, Error **errp)
{
    Ich9Smb *s = ICH9_SMB(dev);
    PciDevice *d = &s->pci;

    d->config[PCI_INTERRUPT_PIN] = 1;
    pci_config_set(d, PCI_STATUS, 2, PCI_STATUS_FAST_BACK | PCI_STATUS_DEVSEL_MEDIUM);
    d->wmask[SMB_HOSTC] = 0x0f;
    region_init_container(&s->bar, "ich9-smb", 64);
    s->smb.irq = pci_irq_line(d);
    smbus_init(&s->smb, dev, 64);
    region_add(&s->bar, 0, &s->smb.io);
    pci_register_bar(d, 4, PCI_BASE_ADDRESS_SPACE_IO, &s->bar);
    return true;
}

static void smb_unrealize(Device *dev)
{
    Ich9Smb *s = ICH9_SMB(dev);

    smbus_fini(&s->smb);
    region_fini(&s->bar);
}

static void smb_reset(Device *dev)
{
    Ich9Smb *s = ICH9_SMB(dev);

    s->pci.config[SMB_HOSTC] = 0;
    smbus_reset(&s->smb);
    smb_update(s);
}

static void smb_loaded(void *obj)
{
    smb_update(obj);
}

static const StateField smb_fields[] = {
    STATE_F_PCI(Ich9Smb, pci),
    STATE_F_STRUCT(Ich9Smb, smb, smbus_state),
    {0},
};
static const StateDesc smb_state = {
    .name = "ICH9-SMB", .version = 1, .fields = smb_fields, .loaded = smb_loaded};

static const PciClass ich9_smb_class = {
    .device = {.realize = smb_realize,
               .unrealize = smb_unrealize,
               .reset = smb_reset,
               .state = &smb_state,
               .bus_type = TYPE_PCI_BUS,
               .category = DEVICE_CATEGORY_BRIDGE,
               .not_hotpluggable = true},
    .vendor_id = PCI_VENDOR_ID_INTEL,
    .device_id = 0x2930,
    .class_id = PCI_CLASS_SERIAL_SMBUS,
    .revision = 2,
    .config_written = smb_config_written,
};

OBJECT_TYPE(ich9_smb_type, .name = TYPE_ICH9_SMB, .parent = TYPE_PCI_DEVICE,
            .help = "ICH9 SMBus controller", .size = sizeof(Ich9Smb), .klass = &ich9_smb_class)
