/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PIIX4, function 3: power management and SMBus (Intel 82371AB data sheet,
 * 290562, chapter 7).
 */
#include "hw/i386/smbus.h"
#include "hw/i386/southbridge.h"

#define REG_PMBA 0x40
#define REG_DEVACTB 0x58
#define REG_PMREGMISC 0x80
#define REG_SMBBA 0x90
#define REG_SMBHSTCFG 0xd2
#define DEVACTB_APMC_EN BIT(25)
#define PM_SIZE 64
#define SMB_SIZE 16

typedef struct Piix4Pm {
    PciDevice pci;
    AcpiPm pm;
    SmBus smb;
    Region pm_io;
    uint8_t disable_s3, disable_s4, s4_val;
} Piix4Pm;
#define PIIX4_PM(o) OBJECT_CAST(Piix4Pm, o, TYPE_PIIX4_PM)

AcpiPm *piix4_pm_acpi(PciDevice *d)
{
    return &PIIX4_PM(d)->pm;
}

static void map_io(Piix4Pm *s)
{
    const uint8_t *c = s->pci.config;
    MemorySystem *sys = s->pci.dev.machine->memsys;
    uint32_t pm = ld_le32(c + REG_PMBA) & 0xffc0, smb = ld_le32(c + REG_SMBBA) & 0xfff0;

    memory_begin(sys);
    region_set_enabled(&s->pm_io, (c[REG_PMREGMISC] & 1) && pm);
    region_set_address(&s->pm_io, pm);
    region_set_enabled(&s->smb.io, (c[REG_SMBHSTCFG] & 1) && smb);
    region_set_address(&s->smb.io, smb);
    memory_commit(sys);
    PC_MACHINE(s->pci.dev.machine)->pm_base = s->pm_io.enabled ? (uint16_t)pm : 0;
}

static void config_written(PciDevice *d, uint32_t addr, uint32_t value, unsigned len)
{
    map_io(PIIX4_PM(d));
}

static void woken(void *opaque)
{
    pc_woken(PC_MACHINE(((Piix4Pm *)opaque)->pci.dev.machine));
}

static void apm_written(void *opaque, uint8_t value)
{
    Piix4Pm *s = opaque;

    if (ld_le32(s->pci.config + REG_DEVACTB) & DEVACTB_APMC_EN) {
        pc_smi(PC_MACHINE(s->pci.dev.machine), false);
    }
}

static bool realize(Device *dev, Error **errp)
{
    Piix4Pm *s = PIIX4_PM(dev);
    PciDevice *d = &s->pci;
    Machine *m = dev->machine;
    PcMachine *pc = PC_MACHINE(m);

    pci_config_set(d, PCI_STATUS, 2, PCI_STATUS_FAST_BACK | PCI_STATUS_DEVSEL_MEDIUM);
    pci_set_wmask(d, PCI_COMMAND, 2, PCI_COMMAND_IO);
    d->config[PCI_INTERRUPT_PIN] = 1;
    pci_set_wmask(d, REG_PMBA, 4, 0xffc0);
    memset(d->wmask + 0x44, 0xff, 0x70 - 0x44); /* CNTA, CNTB, GPICTL, DEVRES, DEVACT */
    memset(d->wmask + 0x70, 0xff, 0x80 - 0x70);
    d->wmask[REG_PMREGMISC] = 1;
    pci_set_wmask(d, REG_SMBBA, 4, 0xfff0);
    memset(d->wmask + REG_SMBHSTCFG, 0xff, 4);
    d->config[REG_PMBA] = 1;
    d->config[REG_SMBBA] = 1;

    s->pm.sci = gsi_line(&pc->gsi, PC_ACPI_SCI_IRQ, GSI_SCI);
    s->pm.apm_written = apm_written;
    s->pm.woken = woken;
    s->pm.opaque = s;
    s->pm.enable_cmd = 0xf1;
    s->pm.disable_cmd = 0xf0;
    s->pm.s4_val = s->s4_val;
    s->pm.disable_s3 = s->disable_s3;
    s->pm.disable_s4 = s->disable_s4;
    acpi_pm_init(&s->pm, dev, PIIX4_GPE0_LEN / 2);
    region_add(&m->io, PIIX4_GPE0, &s->pm.gpe);
    region_init_container(&s->pm_io, "piix4-pm", PM_SIZE);
    region_add(&s->pm_io, 0, &s->pm.evt);
    region_add(&s->pm_io, 4, &s->pm.cnt);
    region_add(&s->pm_io, 8, &s->pm.tmr);
    region_set_enabled(&s->pm_io, false);
    region_add(&m->io, 0, &s->pm_io);
    smbus_init(&s->smb, dev, SMB_SIZE);
    region_set_enabled(&s->smb.io, false);
    region_add(&m->io, 0, &s->smb.io);
    return true;
}

static void unrealize(Device *dev)
{
    Piix4Pm *s = PIIX4_PM(dev);

    smbus_fini(&s->smb);
    acpi_pm_fini(&s->pm);
    region_fini(&s->pm_io);
}

static void reset(Device *dev)
{
    Piix4Pm *s = PIIX4_PM(dev);
    uint8_t *c = s->pci.config;

    memset(c + 0x44, 0, 0x80 - 0x44);
    st_le32(c + REG_PMBA, 1);
    c[REG_PMREGMISC] = 0;
    st_le32(c + REG_SMBBA, 1);
    memset(c + REG_SMBHSTCFG, 0, 4);
    if (!pc_smm_enabled(PC_MACHINE(dev->machine))) {
        /* Tells firmware that SMM was set up already, so that it does not try. */
        st_le32(c + REG_DEVACTB, DEVACTB_APMC_EN);
    }
    acpi_pm_reset(&s->pm);
    smbus_reset(&s->smb);
    map_io(s);
}

static void state_loaded(void *obj)
{
    map_io(obj);
}

static const StateField fields[] = {
    STATE_F_PCI(Piix4Pm, pci),
    STATE_F_STRUCT(Piix4Pm, pm, acpi_pm_state),
    STATE_F_STRUCT(Piix4Pm, smb, smbus_state),
    {0},
};
static const StateDesc state = {
    .name = "PIIX4_PM", .version = 1, .fields = fields, .loaded = state_loaded};

static const PciClass piix4_pm_class = {
    .device = PC_BRIDGE_DEVICE,
    .vendor_id = PCI_VENDOR_ID_INTEL,
    .device_id = 0x7113,
    .class_id = PCI_CLASS_BRIDGE_OTHER,
    .revision = 3,
    .config_written = config_written,
};

static const Property props[] = {
    PROP_FIELD(Piix4Pm, disable_s3, PROP_U8, "disable_s3", "1: no suspend to RAM", .max = 1),
    PROP_FIELD(Piix4Pm, disable_s4, PROP_U8, "disable_s4", "1: no suspend to disk", .max = 1),
    PROP_FIELD(Piix4Pm, s4_val, PROP_U8, "s4_val", "sleep type of suspend to disk", .def = 2,
               .max = 7),
    {0},
};

OBJECT_TYPE(piix4_pm_type, .name = TYPE_PIIX4_PM, .parent = TYPE_PCI_DEVICE,
            .help = "PIIX4 power management and SMBus", .size = sizeof(Piix4Pm),
            .klass = &piix4_pm_class, .props = props)
