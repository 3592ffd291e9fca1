/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ICH9, function 1f.0: LPC bridge with PIRQA-H, ACPI power management, TCO,
 * the chip configuration space (RCBA) and reset control (Intel I/O Controller
 * Hub 9 data sheet, 316972, chapters 10 and 13).
 */
#include "hw/acpi/tco.h"
#include "hw/i386/southbridge.h"
#include "util/trace.h"

TRACE_EVENT(ich9_pirq, "pirq %d level %d rout 0x%02x")

#define REG_PMBASE 0x40
#define REG_ACPI_CNTL 0x44
#define REG_PIRQA 0x60
#define REG_PIRQE 0x68
#define REG_GEN_PMCON_1 0xa0
#define REG_RCBA 0xf0
#define ACPI_CNTL_EN 0x80
#define PMCON_SMI_LOCK 0x10
#define PIRQS 8
#define PM_SIZE 128
#define GPE_LEN 8

#define SMI_EN_GBL BIT(0)
#define SMI_EN_APMC BIT(5)
#define SMI_EN_TCO BIT(13)
#define SMI_EN_WRITABLE 0x0006647bu

/* The part of the chip configuration space that has registers. */
#define RCRB_SIZE 0x4000u
#define RCRB_FIRST 0x3100u
#define RCRB_LEN 0x400u
#define RCRB_D31IR 0x3140u
#define RCRB_GCS 0x3410u
#define GCS_NO_REBOOT BIT(5)

typedef struct Ich9Lpc {
    PciDevice pci;
    IsaBus isa;
    AcpiPm pm;
    Tco tco;
    Region pm_io, smi_io, rcrb;
    uint8_t cc[RCRB_LEN];
    uint32_t smi_en, smi_sts;
    uint8_t rst_cnt;
    bool noreboot; /* the strap on SPKR */
    uint8_t disable_s3, disable_s4, s4_val;
    /* under the root bus's irq_lock */
    PirqRouter pirqs;
    uint16_t dir[7];     /* D25IR to D31IR */
    uint8_t saved_pmcon; /* the register whose lock bit changes masks */
} Ich9Lpc;
#define ICH9_LPC(o) OBJECT_CAST(Ich9Lpc, o, TYPE_ICH9_LPC)

AcpiPm *ich9_lpc_acpi(PciDevice *d)
{
    return &ICH9_LPC(d)->pm;
}

uint16_t ich9_lpc_pmbase(PciDevice *d)
{
    const Ich9Lpc *s = ICH9_LPC(d);

    return s->pm_io.enabled ? (uint16_t)s->pm_io.addr : 0;
}

/* ---- interrupts ---- */
/* Devices 25 to 31 are the chip's own and have routing registers; the rest come by E to H. */
static int map_irq(void *opaque, uint8_t devfn, int pin)
{
    const Ich9Lpc *s = opaque;
    unsigned slot = PCI_SLOT(devfn);

    if (slot == 30) {
        return pin;
    }
    if (slot >= 25) {
        return (s->dir[slot - 25] >> (4 * pin)) & 7;
    }
    return (int)((slot + (unsigned)pin) & 3) + 4;
}

static Gsi *wires(Ich9Lpc *s)
{
    return &PC_MACHINE(s->pci.dev.machine)->gsi;
}

/* Each PIRQ has a pin of its own at the I/O APIC, and perhaps an ISA line. */
static void set_irq(void *opaque, int line, int level)
{
    Ich9Lpc *s = opaque;

    trace(ich9_pirq, line, level, s->pirqs.route[line]);
    irq_set(gsi_line(wires(s), 16 + (unsigned)line, GSI_PIRQ), level);
    pirq_set(&s->pirqs, wires(s), line, level);
}

static void routes_changed(Ich9Lpc *s)
{
    static const uint16_t dir_at[7] = {0x3150, 0x314c, 0x3148, 0x3146, 0x3144, 0, RCRB_D31IR};
    PciBus *bus = pci_device_bus(&s->pci);

    pci_irq_lock(bus);
    for (unsigned p = 0; p < PIRQS; p++) {
        s->pirqs.route[p] = s->pci.config[p < 4 ? REG_PIRQA + p : REG_PIRQE + p - 4];
    }
    for (unsigned i = 0; i < 7; i++) {
        s->dir[i] = dir_at[i] ? ld_le16(s->cc + dir_at[i] - RCRB_FIRST) : 0x3210;
    }
    pirq_update(&s->pirqs, wires(s));
    pci_irq_unlock(bus);
    pci_irq_remap(bus);
}

static void update_sci(Ich9Lpc *s)
{
    static const uint8_t lines[8] = {9, 10, 11, 9, 20, 21, 22, 23};
    PcMachine *pc = PC_MACHINE(s->pci.dev.machine);
    unsigned n = lines[s->pci.config[REG_ACPI_CNTL] & 7];

    if (pc->sci_irq != n || !irq_connected(s->pm.sci)) {
        irq_set(s->pm.sci, 0);
        s->pm.sci = gsi_line(&pc->gsi, n, GSI_SCI);
        pc->sci_irq = (uint16_t)n;
        irq_set(s->pm.sci, s->pm.sci_level);
    }
}

/* ---- where things are mapped ---- */
static void map_io(Ich9Lpc *s)
{
    const uint8_t *c = s->pci.config;
    Machine *m = s->pci.dev.machine;
    uint32_t pm = ld_le32(c + REG_PMBASE) & 0xff80, rcba = ld_le32(c + REG_RCBA);

    memory_begin(m->memsys);
    region_set_enabled(&s->pm_io, (c[REG_ACPI_CNTL] & ACPI_CNTL_EN) && pm);
    region_set_address(&s->pm_io, pm);
    region_set_enabled(&s->rcrb, rcba & 1);
    region_set_address(&s->rcrb, rcba & 0xffffc000);
    memory_commit(m->memsys);
    PC_MACHINE(m)->pm_base = ich9_lpc_pmbase(&s->pci);
}

static void update_lock(Ich9Lpc *s)
{
    if (s->pci.config[REG_GEN_PMCON_1] & PMCON_SMI_LOCK) {
        s->pci.wmask[REG_GEN_PMCON_1] &= (uint8_t)~PMCON_SMI_LOCK;
    } else {
        s->pci.wmask[REG_GEN_PMCON_1] |= PMCON_SMI_LOCK;
    }
}

static bool touches(uint32_t addr, unsigned len, uint32_t reg, unsigned size)
{
    return addr < reg + size && addr + len > reg;
}

static void config_written(PciDevice *d, uint32_t addr, uint32_t value, unsigned len)
{
    Ich9Lpc *s = ICH9_LPC(d);

    if (touches(addr, len, REG_PMBASE, 8) || touches(addr, len, REG_RCBA, 4)) {
        map_io(s);
        update_sci(s);
    }
    if (touches(addr, len, REG_PIRQA, 4) || touches(addr, len, REG_PIRQE, 4)) {
        routes_changed(s);
    }
    if (touches(addr, len, REG_GEN_PMCON_1, 1)) {
        update_lock(s);
    }
}

/* ---- SMI ---- */
static uint64_t smi_read(void *opaque, hwaddr off, unsigned size)
{
    Ich9Lpc *s = opaque;

    return off == 0 ? s->smi_en : off == 4 ? s->smi_sts : 0;
}

static void smi_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    Ich9Lpc *s = opaque;
    uint32_t mask = SMI_EN_WRITABLE;

    if (off == 0) {
        if (s->pci.config[REG_GEN_PMCON_1] & PMCON_SMI_LOCK) {
            mask &= ~(uint32_t)SMI_EN_GBL;
        }
        s->smi_en = (s->smi_en & ~mask) | ((uint32_t)v & mask);
    } else if (off == 4) {
        s->smi_sts &= ~(uint32_t)v;
    }
}

static const RegionOps smi_ops = {
    .read = smi_read,
    .write = smi_write,
    .valid_min = 1,
    .valid_max = 4,
    .impl_min = 4,
    .impl_max = 4,
};

static void woken(void *opaque)
{
    pc_woken(PC_MACHINE(((Ich9Lpc *)opaque)->pci.dev.machine));
}

static void apm_written(void *opaque, uint8_t value)
{
    Ich9Lpc *s = opaque;

    if (s->smi_en & SMI_EN_APMC) {
        s->smi_sts |= (uint32_t)SMI_EN_APMC;
        pc_smi(PC_MACHINE(s->pci.dev.machine), false);
    }
}

static void tco_smi(void *opaque)
{
    Ich9Lpc *s = opaque;

    if (s->smi_en & SMI_EN_TCO) {
        s->smi_sts |= (uint32_t)SMI_EN_TCO;
        pc_smi(PC_MACHINE(s->pci.dev.machine), false);
    }
}

static bool tco_no_reboot(void *opaque)
{
    Ich9Lpc *s = opaque;

    return s->noreboot || (ld_le32(s->cc + RCRB_GCS - RCRB_FIRST) & GCS_NO_REBOOT);
}

/* ---- chip configuration space ---- */
static uint64_t rcrb_read(void *opaque, hwaddr off, unsigned size)
{
    Ich9Lpc *s = opaque;

    return off >= RCRB_FIRST && off + size <= RCRB_FIRST + RCRB_LEN
               ? ld_le(s->cc + off - RCRB_FIRST, size)
               : 0;
}

static void rcrb_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    Ich9Lpc *s = opaque;

    if (off >= RCRB_FIRST && off + size <= RCRB_FIRST + RCRB_LEN) {
        st_le(s->cc + off - RCRB_FIRST, size, v);
        if (off < 0x3154) {
            routes_changed(s);
        }
    }
}

static const RegionOps rcrb_ops = {
    .read = rcrb_read,
    .write = rcrb_write,
    .valid_min = 1,
    .valid_max = 4,
    .impl_min = 1,
    .impl_max = 4,
    .aligned_only = true,
};

/* ---- reset control ---- */
static uint8_t rst_cnt_read(void *opaque)
{
    return ((Ich9Lpc *)opaque)->rst_cnt;
}

static void rst_cnt_write(void *opaque, uint8_t v)
{
    Ich9Lpc *s = opaque;

    s->rst_cnt = v & 0x0a; /* full reset, system reset */
    if (v & 4) {
        machine_request_reset(s->pci.dev.machine, RESET_GUEST);
    }
}

/* ---- life ---- */
static void init_config(PciDevice *d)
{
    pci_config_set(d, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    pci_config_set(d, PCI_STATUS, 2, PCI_STATUS_DEVSEL_MEDIUM);
    pci_set_wmask(d, PCI_COMMAND, 2, PCI_COMMAND_PARITY | PCI_COMMAND_SERR);
    pci_set_wmask(d, REG_PMBASE, 4, 0xff80);
    d->wmask[REG_ACPI_CNTL] = ACPI_CNTL_EN | 7;
    memset(d->wmask + REG_PIRQA, 0x8f, 4);
    d->wmask[0x64] = 0xd0 | 0x0f; /* serial IRQ control */
    memset(d->wmask + REG_PIRQE, 0x8f, 4);
    memset(d->wmask + 0x80, 0xff, 0x20); /* LPC decode ranges */
    d->wmask[REG_GEN_PMCON_1] = 0xff;
    memset(d->wmask + REG_GEN_PMCON_1 + 1, 0xff, 0x0f);
    memset(d->wmask + 0xd0, 0xff, 0x10); /* firmware hub select and decode */
    pci_set_wmask(d, REG_RCBA, 4, 0xffffc001);
}

static void init_pm(Ich9Lpc *s)
{
    Device *dev = &s->pci.dev;
    Machine *m = dev->machine;

    s->pm.sci = gsi_line(&PC_MACHINE(m)->gsi, PC_ACPI_SCI_IRQ, GSI_SCI);
    s->pm.apm_written = apm_written;
    s->pm.woken = woken;
    s->pm.opaque = s;
    s->pm.enable_cmd = 2;
    s->pm.disable_cmd = 3;
    s->pm.s4_val = s->s4_val;
    s->pm.disable_s3 = s->disable_s3;
    s->pm.disable_s4 = s->disable_s4;
    acpi_pm_init(&s->pm, dev, GPE_LEN);
    s->tco.smi = tco_smi;
    s->tco.no_reboot = tco_no_reboot;
    s->tco.opaque = s;
    tco_init(&s->tco, dev);
    region_init_container(&s->pm_io, "ich9-pm", PM_SIZE);
    region_init_io(&s->smi_io, &dev->owner, &smi_ops, s, "acpi-smi", 8);
    region_add(&s->pm_io, 0x00, &s->pm.evt);
    region_add(&s->pm_io, 0x04, &s->pm.cnt);
    region_add(&s->pm_io, 0x08, &s->pm.tmr);
    region_add(&s->pm_io, 0x20, &s->pm.gpe);
    region_add(&s->pm_io, 0x30, &s->smi_io);
    region_add(&s->pm_io, 0x60, &s->tco.io);
    region_set_enabled(&s->pm_io, false);
    region_add(&m->io, 0, &s->pm_io);
}

static const IsaBridge bridge = {.map_irq = map_irq,
                                 .set_irq = set_irq,
                                 .reset_read = rst_cnt_read,
                                 .reset_write = rst_cnt_write,
                                 .pirqs = PIRQS};

static bool realize(Device *dev, Error **errp)
{
    Ich9Lpc *s = ICH9_LPC(dev);

    init_config(&s->pci);
    init_pm(s);
    region_init_io(&s->rcrb, &dev->owner, &rcrb_ops, s, "lpc-rcrb-mmio", RCRB_SIZE);
    region_set_enabled(&s->rcrb, false);
    region_add_overlap(&dev->machine->memory, 0, &s->rcrb, 1);
    isa_bridge_init(&s->pci, &s->isa, &bridge);
    return true;
}

static void unrealize(Device *dev)
{
    Ich9Lpc *s = ICH9_LPC(dev);

    isa_bridge_fini(&s->pci, &s->isa);
    tco_fini(&s->tco);
    acpi_pm_fini(&s->pm);
    region_fini(&s->smi_io);
    region_fini(&s->pm_io);
    region_fini(&s->rcrb);
}

static void reset_rcrb(Ich9Lpc *s)
{
    static const struct {
        uint16_t at;
        uint32_t value;
    } values[] = {
        {0x3100, 0x00042210}, /* D31IP */
        {0x3108, 0x10004321}, /* D29IP */
        {0x310c, 0x00214321}, /* D28IP */
        {0x3110, 0x00000001}, /* D27IP */
        {0x3114, 0x30000321}, /* D26IP */
        {0x3118, 0x00000001}, /* D25IP */
        {0x3140, 0x00003210}, /* D31IR */
        {0x3144, 0x32103210}, /* D29IR, D28IR */
        {0x3148, 0x00003210}, /* D27IR */
        {0x314c, 0x00003210}, /* D26IR */
        {0x3150, 0x00003210}, /* D25IR */
    };

    memset(s->cc, 0, sizeof(s->cc));
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        st_le32(s->cc + values[i].at - RCRB_FIRST, values[i].value);
    }
    st_le32(s->cc + RCRB_GCS - RCRB_FIRST, GCS_NO_REBOOT);
}

static void reset(Device *dev)
{
    Ich9Lpc *s = ICH9_LPC(dev);
    uint8_t *c = s->pci.config;

    st_le32(c + REG_PMBASE, 1);
    c[REG_ACPI_CNTL] = 0;
    memset(c + REG_PIRQA, PIRQ_OFF, 4);
    c[0x64] = 0x10;
    memset(c + REG_PIRQE, PIRQ_OFF, 4);
    memset(c + 0x80, 0, 0x20);
    memset(c + REG_GEN_PMCON_1, 0, 0x10);
    memset(c + 0xd0, 0, 0x10);
    st_le32(c + REG_RCBA, 0);
    reset_rcrb(s);
    s->smi_en = pc_smm_enabled(PC_MACHINE(dev->machine)) ? 0 : (uint32_t)SMI_EN_APMC;
    s->smi_sts = 0;
    s->rst_cnt = 0;
    acpi_pm_reset(&s->pm);
    tco_reset(&s->tco);
    update_lock(s);
    map_io(s);
    update_sci(s);
    routes_changed(s);
}

static void state_pre_save(void *obj)
{
    Ich9Lpc *s = obj;

    s->saved_pmcon = s->pci.config[REG_GEN_PMCON_1];
}

static void state_loaded(void *obj)
{
    Ich9Lpc *s = obj;

    s->pci.config[REG_GEN_PMCON_1] = s->saved_pmcon;
    update_lock(s);
    map_io(s);
    update_sci(s);
    routes_changed(s);
}

static const StateField fields[] = {
    STATE_F_PCI(Ich9Lpc, pci),
    STATE_F_STRUCT(Ich9Lpc, pm, acpi_pm_state),
    STATE_F_STRUCT(Ich9Lpc, tco, tco_state),
    STATE_F_BYTES(Ich9Lpc, cc),
    STATE_F_UINT(Ich9Lpc, smi_en),
    STATE_F_UINT(Ich9Lpc, smi_sts),
    STATE_F_UINT_MAX(Ich9Lpc, rst_cnt, 0x0a),
    STATE_F_UINT(Ich9Lpc, saved_pmcon),
    {0},
};
static const StateDesc state = {.name = "ICH9-LPC",
                                .version = 1,
                                .fields = fields,
                                .pre_save = state_pre_save,
                                .loaded = state_loaded};

static const PciClass ich9_lpc_class = {
    .device = PC_BRIDGE_DEVICE,
    .vendor_id = PCI_VENDOR_ID_INTEL,
    .device_id = 0x2918,
    .class_id = PCI_CLASS_BRIDGE_ISA,
    .revision = 2,
    .config_written = config_written,
};

static const Property props[] = {
    PROPERTY_BOOL("noreboot", Ich9Lpc, noreboot, false,
                  "the TCO watchdog never resets the machine"),
    PROP_FIELD(Ich9Lpc, disable_s3, PROP_U8, "disable_s3", "1: no suspend to RAM", .max = 1),
    PROP_FIELD(Ich9Lpc, disable_s4, PROP_U8, "disable_s4", "1: no suspend to disk", .max = 1),
    PROP_FIELD(Ich9Lpc, s4_val, PROP_U8, "s4_val", "sleep type of suspend to disk", .def = 2,
               .max = 7),
    {0},
};

OBJECT_TYPE(ich9_lpc_type, .name = TYPE_ICH9_LPC, .parent = TYPE_PCI_DEVICE,
            .help = "ICH9 LPC bridge", .size = sizeof(Ich9Lpc), .klass = &ich9_lpc_class,
            .props = props)
