/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Q35 host bridge: the CPU's side (type "q35-pcihost") and PCI function
 * 00:00.0 (type "mch") with the memory-mapped configuration window, PAM, SMRAM
 * and TSEG (Intel 3 Series Express Chipset data sheet, 316966, chapter 5).
 */
#include "hw/i386/pam.h"
#include "hw/i386/smram.h"
#include "hw/i386/southbridge.h"

#define REG_EXT_TSEG 0x50 /* QEMU's: write ffffh, read the size in MiB */
#define REG_PCIEXBAR 0x60
#define REG_PAM 0x90
#define REG_SMRAM 0x9d
#define REG_ESMRAMC 0x9e
#define PCIEXBAR_DEFAULT 0xb0000000u
#define ESMRAMC_CACHE 0x38 /* cacheability bits, always 1 */

typedef struct Mch {
    PciDevice pci;
    Pam pam;
    Smram smram;
    uint16_t ext_tseg_mbytes;
    uint8_t saved_smram, saved_esmramc; /* hidden from pci's state while locked */
    uint16_t saved_ext_tseg;
} Mch;
#define MCH(o) OBJECT_CAST(Mch, o, TYPE_MCH)

static void update_ecam(Mch *s)
{
    static const uint64_t sizes[4] = {256 * MiB, 128 * MiB, 64 * MiB, 0};
    PcMachine *pc = PC_MACHINE(s->pci.dev.machine);
    uint64_t reg = ld_le64(s->pci.config + REG_PCIEXBAR);
    uint64_t size = sizes[(reg >> 1) & 3];
    uint64_t base = reg & 0xffc000000ull & ~(size - 1);

    if (!(reg & 1) || size == 0) {
        pc->ecam_size = 0;
        pci_host_set_ecam(pc->host, PCI_UNMAPPED, 0);
        return;
    }
    pc->ecam_base = base;
    pc->ecam_size = size;
    pci_host_set_ecam(pc->host, base, size);
}

static uint64_t tseg_size(const Mch *s)
{
    switch ((s->pci.config[REG_ESMRAMC] & ESMRAMC_TSEG_SZ_MASK) >> 1) {
    case 0:
        return 1 * MiB;
    case 1:
        return 2 * MiB;
    case 2:
        return 8 * MiB;
    default:
        return s->ext_tseg_mbytes * MiB;
    }
}

static void update_smram(Mch *s)
{
    uint8_t *c = s->pci.config, *w = s->pci.wmask;

    if (c[REG_SMRAM] & SMRAM_D_LCK) {
        c[REG_SMRAM] &= (uint8_t)~SMRAM_D_OPEN;
        w[REG_SMRAM] = SMRAM_D_CLS;
        w[REG_ESMRAMC] = 0;
        st_le16(w + REG_EXT_TSEG, 0);
    } else {
        w[REG_SMRAM] = SMRAM_G_SMRAME | SMRAM_D_LCK | SMRAM_D_CLS | SMRAM_D_OPEN;
        w[REG_ESMRAMC] = ESMRAMC_H_SMRAME | ESMRAMC_TSEG_SZ_MASK | ESMRAMC_T_EN;
        st_le16(w + REG_EXT_TSEG, s->ext_tseg_mbytes ? 0xffff : 0);
    }
    smram_update(&s->smram, c[REG_SMRAM], c[REG_ESMRAMC], tseg_size(s));
}

static void config_written(PciDevice *d, uint32_t addr, uint32_t value, unsigned len)
{
    Mch *s = MCH(d);

    if (addr < REG_PAM + 7 && addr + len > REG_PAM) {
        pam_update(&s->pam, d->config + REG_PAM);
    }
    if (addr < REG_PCIEXBAR + 8 && addr + len > REG_PCIEXBAR) {
        update_ecam(s);
    }
    if (addr < REG_EXT_TSEG + 2 && addr + len > REG_EXT_TSEG &&
        ld_le16(d->config + REG_EXT_TSEG) == 0xffff) {
        st_le16(d->config + REG_EXT_TSEG, s->ext_tseg_mbytes);
    }
    if (addr <= REG_ESMRAMC && addr + len > REG_SMRAM) {
        update_smram(s);
    }
}

static bool realize(Device *dev, Error **errp)
{
    Mch *s = MCH(dev);
    PciDevice *d = &s->pci;
    Region *pci = pci_device_bus(d)->mem;

    if (s->ext_tseg_mbytes > 4095) {
        error_set(errp, "mch: extended-tseg-mbytes=%u is more than 4095", s->ext_tseg_mbytes);
        return false;
    }
    pci_config_set(d, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    pci_set_wmask(d, PCI_COMMAND, 2, PCI_COMMAND_PARITY | PCI_COMMAND_SERR);
    pci_config_set(d, PCI_STATUS, 2, PCI_STATUS_FAST_BACK);
    st_le64(d->wmask + REG_PCIEXBAR, 0xffc000007ull);
    d->wmask[REG_PAM] = 0x30;
    memset(d->wmask + REG_PAM + 1, 0x33, 6);
    if (!pam_init(&s->pam, dev, pci, &PC_MACHINE(dev->machine)->ram_all, errp)) {
        return false;
    }
    smram_init(&s->smram, dev, PC_MACHINE(dev->machine), pci);
    return true;
}

static void unrealize(Device *dev)
{
    Mch *s = MCH(dev);

    smram_fini(&s->smram);
    pam_fini(&s->pam);
}

static void reset(Device *dev)
{
    Mch *s = MCH(dev);
    uint8_t *c = s->pci.config;

    st_le64(c + REG_PCIEXBAR, PCIEXBAR_DEFAULT);
    if (!pc_waking(PC_MACHINE(dev->machine))) {
        memset(c + REG_PAM, 0, 7);
    }
    c[REG_SMRAM] = SMRAM_C_BASE_SEG;
    c[REG_ESMRAMC] = ESMRAMC_CACHE;
    st_le16(c + REG_EXT_TSEG, 0);
    update_ecam(s);
    pam_update(&s->pam, c + REG_PAM);
    update_smram(s);
}

static void state_pre_save(void *obj)
{
    Mch *s = obj;

    s->saved_smram = s->pci.config[REG_SMRAM];
    s->saved_esmramc = s->pci.config[REG_ESMRAMC];
    s->saved_ext_tseg = ld_le16(s->pci.config + REG_EXT_TSEG);
}

static void state_loaded(void *obj)
{
    Mch *s = obj;

    s->pci.config[REG_SMRAM] = (s->saved_smram & 0x78) | SMRAM_C_BASE_SEG;
    s->pci.config[REG_ESMRAMC] = (s->saved_esmramc & 0x87) | ESMRAMC_CACHE;
    st_le16(s->pci.config + REG_EXT_TSEG, s->saved_ext_tseg);
    update_ecam(s);
    pam_update(&s->pam, s->pci.config + REG_PAM);
    update_smram(s);
}

static const StateField fields[] = {
    STATE_F_PCI(Mch, pci),
    STATE_F_UINT(Mch, saved_smram),
    STATE_F_UINT(Mch, saved_esmramc),
    STATE_F_UINT(Mch, saved_ext_tseg),
    {0},
};
static const StateDesc state = {.name = "mch",
                                .version = 1,
                                .fields = fields,
                                .pre_save = state_pre_save,
                                .loaded = state_loaded};

static const PciClass mch_class = {
    .device = PC_BRIDGE_DEVICE,
    .vendor_id = PCI_VENDOR_ID_INTEL,
    .device_id = 0x29c0,
    .class_id = PCI_CLASS_BRIDGE_HOST,
    .config_written = config_written,
};

static const Property mch_props[] = {
    PROPERTY_U16("extended-tseg-mbytes", Mch, ext_tseg_mbytes, 64,
                 "size of SMRAM at the top of low RAM that firmware may choose; 0: none"),
    {0},
};

OBJECT_TYPE(mch_type, .name = TYPE_MCH, .parent = TYPE_PCI_DEVICE,
            .help = "Q35 host bridge, 00:00.0", .size = sizeof(Mch), .klass = &mch_class,
            .props = mch_props)

/* ---- the CPU's side ---- */
static bool host_realize(Device *dev, Error **errp)
{
    return pci_host_realize(dev, "pcie.0", true, TYPE_MCH, errp);
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

OBJECT_TYPE(q35_host_type, .name = TYPE_Q35_HOST, .parent = TYPE_PCI_HOST,
            .help = "Q35 host bridge, the CPU's side", .klass = &host_class)
