/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The i440FX host bridge: the CPU's side (type "i440FX-pcihost") and PCI
 * function 00:00.0 (type "i440FX"), which has PAM and SMRAM (Intel 82441FX PMC
 * data sheet, 290549).
 */
#include "hw/i386/pam.h"
#include "hw/i386/smram.h"
#include "hw/i386/southbridge.h"

#define REG_PAM 0x59
#define REG_SMRAM 0x72

typedef struct I440fx {
    PciDevice pci;
    Pam pam;
    Smram smram;
    uint8_t saved_smram; /* the register, for the state description: its lock hides it from there */
} I440fx;
#define I440FX(o) OBJECT_CAST(I440fx, o, TYPE_I440FX)

static void update_smram(I440fx *s)
{
    uint8_t *reg = &s->pci.config[REG_SMRAM];

    if (*reg & SMRAM_D_LCK) {
        *reg &= (uint8_t)~SMRAM_D_OPEN;
        s->pci.wmask[REG_SMRAM] = SMRAM_D_CLS;
    } else {
        s->pci.wmask[REG_SMRAM] = SMRAM_G_SMRAME | SMRAM_D_LCK | SMRAM_D_CLS | SMRAM_D_OPEN;
    }
    smram_update(&s->smram, *reg, 0, 0);
}

static void config_written(PciDevice *d, uint32_t addr, uint32_t value, unsigned len)
{
    I440fx *s = I440FX(d);

    if (addr < REG_PAM + 7 && addr + len > REG_PAM) {
        pam_update(&s->pam, d->config + REG_PAM);
    }
    if (addr <= REG_SMRAM && addr + len > REG_SMRAM) {
        update_smram(s);
    }
}

static bool realize(Device *dev, Error **errp)
{
    I440fx *s = I440FX(dev);
    PciDevice *d = &s->pci;
    Region *pci = pci_device_bus(d)->mem;

    pci_config_set(d, PCI_STATUS, 2, PCI_STATUS_FAST_BACK | PCI_STATUS_DEVSEL_MEDIUM);
    pci_config_set(d, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    pci_set_wmask(d, PCI_COMMAND, 2, PCI_COMMAND_PARITY | PCI_COMMAND_SERR);
    /* PMCCFG, DETURBO, DBC, AXC, DRT, DRAMC, DRAMT and row boundaries hold what is written. */
    for (unsigned reg = 0x50; reg < 0x68; reg++) {
        d->wmask[reg] = reg >= REG_PAM && reg < REG_PAM + 7 ? 0x77 : 0xff;
    }
    d->wmask[REG_PAM] = 0x70;
    d->wmask[0x70] = 0xff; /* multi-transaction timer */
    d->wmask[0x71] = 0xff; /* CPU latency timer */
    if (!pam_init(&s->pam, dev, pci, &PC_MACHINE(dev->machine)->ram_all, errp)) {
        return false;
    }
    smram_init(&s->smram, dev, PC_MACHINE(dev->machine), pci);
    return true;
}

static void unrealize(Device *dev)
{
    I440fx *s = I440FX(dev);

    smram_fini(&s->smram);
    pam_fini(&s->pam);
}

static void reset(Device *dev)
{
    I440fx *s = I440FX(dev);

    if (!pc_waking(PC_MACHINE(dev->machine))) {
        memset(s->pci.config + REG_PAM, 0, 7);
    }
    s->pci.config[REG_SMRAM] = SMRAM_C_BASE_SEG;
    pam_update(&s->pam, s->pci.config + REG_PAM);
    update_smram(s);
}

static void state_pre_save(void *obj)
{
    I440fx *s = obj;

    s->saved_smram = s->pci.config[REG_SMRAM];
}

static void state_loaded(void *obj)
{
    I440fx *s = obj;

    s->pci.config[REG_SMRAM] = (s->saved_smram & 0x78) | SMRAM_C_BASE_SEG;
    pam_update(&s->pam, s->pci.config + REG_PAM);
    update_smram(s);
}

static const StateField fields[] = {
    STATE_F_PCI(I440fx, pci),
    STATE_F_UINT(I440fx, saved_smram),
    {0},
};
static const StateDesc state = {.name = "i440FX",
                                .version = 1,
                                .fields = fields,
                                .pre_save = state_pre_save,
                                .loaded = state_loaded};

static const PciClass i440fx_class = {
    .device = PC_BRIDGE_DEVICE,
    .vendor_id = PCI_VENDOR_ID_INTEL,
    .device_id = 0x1237,
    .class_id = PCI_CLASS_BRIDGE_HOST,
    .revision = 2,
    .config_written = config_written,
};

OBJECT_TYPE(i440fx_type, .name = TYPE_I440FX, .parent = TYPE_PCI_DEVICE,
            .help = "i440FX host bridge, 00:00.0", .size = sizeof(I440fx), .klass = &i440fx_class)

/* ---- the CPU's side ---- */
static bool host_realize(Device *dev, Error **errp)
{
    return pci_host_realize(dev, "pci.0", false, TYPE_I440FX, errp);
}

static const DeviceClass host_class = {
    .realize = host_realize,
    .unrealize = pci_host_unrealize,
    .reset = pci_host_reset,
    .state = &pci_host_state,
    .fw_name = pci_host_fw_name,
    .category = DEVICE_CATEGORY_BRIDGE,
    .not_hotpluggable = true,
};

OBJECT_TYPE(i440fx_host_type, .name = TYPE_I440FX_HOST, .parent = TYPE_PCI_HOST,
            .help = "i440FX host bridge, the CPU's side", .klass = &host_class)
