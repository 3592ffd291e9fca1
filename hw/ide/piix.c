/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The IDE function of Intel's PIIX3 and PIIX4 (82371SB, 82371AB; order numbers
 * 290550 and 290562): two channels at the legacy ports, with bus-master DMA.
 */
#include "hw/ide/ide.h"
#include "hw/isa/isa.h"
#include "hw/pci/pci.h"
#include "util/log.h"

#define BM_START 0x01
#define BM_TO_MEMORY 0x08
#define BMS_ACTIVE 0x01
#define BMS_ERROR 0x02
#define BMS_IRQ 0x04
#define BMS_CAPABLE 0x60
#define PRD_MAX 8192u /* entries: a table lies within 64 KiB */
#define PRD_END 0x80000000u

/* How far the list of buffers has been read. */
typedef struct PrdCursor {
    uint32_t next;       /* address of the next entry */
    uint32_t addr, left; /* of the entry in use */
    uint32_t entries;    /* read so far */
    bool last;           /* the entry in use is the last */
} PrdCursor;

typedef struct PiixIde PiixIde;

typedef struct PiixChannel {
    IdeBus bus;
    PiixIde *ide;
    IrqLine irq;
    uint8_t bm_command, bm_status, irq_level;
    uint32_t prd_table;
    PrdCursor prd, before;
    Region command_io, control_io;
} PiixChannel;

struct PiixIde {
    PciDevice pci;
    PiixChannel ch[2];
    Region bmdma;
};

/* ---- what channels ask of their host ---- */

static void piix_irq(void *host, int level)
{
    PiixChannel *c = host;
    if (level && !c->irq_level) {
        c->bm_status |= BMS_IRQ;
    }
    c->irq_level = (uint8_t)level;
    irq_set(c->irq, level);
}

static void piix_dma_request(void *host)
{
    PiixChannel *c = host;
    if (c->bm_command & BM_START) {
        ide_dma_run(&c->bus.ch);
    }
}

static bool next_prd(PiixChannel *c)
{
    uint8_t e[8];
    if (c->prd.entries++ >= PRD_MAX ||
        pci_dma_read(&c->ide->pci, c->prd.next, e, sizeof(e)) != MEM_OK) {
        return false;
    }
    uint32_t count = ld_le32(e + 4) & 0xfffe;
    c->prd.addr = ld_le32(e) & ~1u;
    c->prd.left = count ? count : 0x10000;
    c->prd.last = ld_le32(e + 4) & PRD_END;
    c->prd.next += 8;
    return true;
}

static bool piix_dma_take(void *host, IdeSg *sg, uint64_t max)
{
    PiixChannel *c = host;
    c->before = c->prd;
    if (!(c->bm_command & BM_START)) {
        return false; /* stopped in the middle */
    }
    while (sg->size < max) {
        if (!c->prd.left && (c->prd.last || !next_prd(c))) {
            return c->prd.last;
        }
        uint32_t n = (uint32_t)MIN((uint64_t)c->prd.left, max - sg->size);
        ide_sg_add(sg, c->prd.addr, n);
        c->prd.addr += n;
        c->prd.left -= n;
    }
    return true;
}

static void piix_dma_untake(void *host)
{
    PiixChannel *c = host;
    c->prd = c->before;
}

static void piix_dma_end(void *host, bool error)
{
    PiixChannel *c = host;
    c->bm_status &= (uint8_t)~BMS_ACTIVE;
    if (error) {
        c->bm_status |= BMS_ERROR;
    }
}

static AddressSpace *piix_dma_as(void *host)
{
    return ((PiixChannel *)host)->ide->pci.as;
}

static const IdeHostOps piix_host = {
    .irq = piix_irq,
    .dma_request = piix_dma_request,
    .dma_take = piix_dma_take,
    .dma_untake = piix_dma_untake,
    .dma_end = piix_dma_end,
    .dma_as = piix_dma_as,
};

/* ---- the legacy ports ---- */

static uint64_t command_read(void *opaque, hwaddr off, unsigned size)
{
    PiixChannel *c = opaque;
    if (off == 0 && size > 1) {
        return ide_read_data(&c->bus.ch, size);
    }
    if (off == 0) {
        return ide_read_data(&c->bus.ch, 2) & 0xff;
    }
    return ide_read_reg(&c->bus.ch, (unsigned)off);
}

static void command_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    PiixChannel *c = opaque;
    if (off == 0) {
        ide_write_data(&c->bus.ch, (uint32_t)v, MAX(size, 2u));
    } else {
        ide_write_reg(&c->bus.ch, (unsigned)off, (uint8_t)v);
    }
}

static const RegionOps command_ops = {
    .read = command_read, .write = command_write, .valid_max = 4, .impl_max = 4};

static uint64_t control_read(void *opaque, hwaddr off, unsigned size)
{
    return ide_read_alt_status(&((PiixChannel *)opaque)->bus.ch);
}

static void control_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    ide_write_control(&((PiixChannel *)opaque)->bus.ch, (uint8_t)v);
}

static const RegionOps control_ops = {
    .read = control_read, .write = control_write, .impl_min = 1, .impl_max = 1};

/* ---- the bus-master registers ---- */

static uint8_t bm_read_byte(PiixChannel *c, unsigned reg)
{
    switch (reg) {
    case 0:
        return c->bm_command;
    case 2:
        return c->bm_status;
    case 4:
    case 5:
    case 6:
    case 7:
        return (uint8_t)(c->prd_table >> (8 * (reg - 4)));
    default:
        return 0;
    }
}

static void bm_command(PiixChannel *c, uint8_t v)
{
    bool was = c->bm_command & BM_START, is = v & BM_START;
    c->bm_command = v & (BM_START | BM_TO_MEMORY);
    if (is && !was) {
        c->prd = (PrdCursor){.next = c->prd_table};
        c->bm_status |= BMS_ACTIVE;
        ide_dma_run(&c->bus.ch);
    } else if (was && !is) {
        c->bm_status &= (uint8_t)~BMS_ACTIVE;
    }
}

static void bm_write_byte(PiixChannel *c, unsigned reg, uint8_t v)
{
    switch (reg) {
    case 0:
        bm_command(c, v);
        break;
    case 2: /* error and interrupt: write one to clear */
        c->bm_status = (uint8_t)((v & BMS_CAPABLE) | (c->bm_status & BMS_ACTIVE) |
                                 (c->bm_status & ~v & (BMS_ERROR | BMS_IRQ)));
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        c->prd_table = (uint32_t)bits_set(c->prd_table, 8 * (reg - 4), 8, v) & ~3u;
        break;
    default:
        break;
    }
}

static uint64_t bm_read(void *opaque, hwaddr off, unsigned size)
{
    PiixIde *s = opaque;
    return bm_read_byte(&s->ch[off >> 3], off & 7);
}

static void bm_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    PiixIde *s = opaque;
    bm_write_byte(&s->ch[off >> 3], off & 7, (uint8_t)v);
}

static const RegionOps bm_ops = {.read = bm_read, .write = bm_write, .impl_min = 1, .impl_max = 1};

/* ---- life ---- */

static void channel_realize(PiixIde *s, unsigned n, IsaBus *isa)
{
    static const uint16_t ports[2] = {0x1f0, 0x170};
    PiixChannel *c = &s->ch[n];
    MemOwner *owner = &s->pci.dev.owner;
    c->ide = s;
    c->irq = isa->irqs[14 + n];
    ide_bus_init(&c->bus, &s->pci.dev, NULL, n, &piix_host, c, 2);
    region_init_io(&c->command_io, owner, &command_ops, c, n ? "ide-1" : "ide-0", 8);
    region_init_io(&c->control_io, owner, &control_ops, c, n ? "ide-1-control" : "ide-0-control",
                   1);
    region_add(isa->io, ports[n], &c->command_io);
    region_add(isa->io, ports[n] + 0x206, &c->control_io);
}

static bool piix_realize(Device *dev, Error **errp)
{
    PiixIde *s = (PiixIde *)dev;
    IsaBus *isa = dev->machine->isa;
    if (!isa) {
        error_set(errp, "this IDE function needs an ISA bridge for its ports and interrupts");
        return false;
    }
    channel_realize(s, 0, isa);
    channel_realize(s, 1, isa);
    region_init_io(&s->bmdma, &dev->owner, &bm_ops, s, "piix-bmdma", 16);
    pci_register_bar(&s->pci, 4, PCI_BASE_ADDRESS_SPACE_IO, &s->bmdma);
    /* Timing: kept for the guest. Bit 15 of each says that the channel is decoded. */
    pci_set_wmask(&s->pci, 0x40, 4, 0xffffffff);
    pci_set_wmask(&s->pci, 0x44, 1, 0xff);
    if (pci_config_get(&s->pci, PCI_DEVICE_ID, 2) == 0x7111) {
        pci_set_wmask(&s->pci, 0x48, 1, 0x0f); /* ultra DMA */
        pci_set_wmask(&s->pci, 0x4a, 2, 0x3333);
    }
    return true;
}

static void piix_unrealize(Device *dev)
{
    PiixIde *s = (PiixIde *)dev;
    for (unsigned n = 0; n < 2; n++) {
        ide_bus_fini(&s->ch[n].bus);
        irq_lower(s->ch[n].irq);
        region_fini(&s->ch[n].command_io);
        region_fini(&s->ch[n].control_io);
    }
    region_fini(&s->bmdma);
}

static void piix_reset(Device *dev)
{
    PiixIde *s = (PiixIde *)dev;
    pci_config_set(&s->pci, 0x40, 4, 0);
    pci_config_set(&s->pci, 0x44, 1, 0);
    pci_config_set(&s->pci, 0x48, 4, 0);
    for (unsigned n = 0; n < 2; n++) {
        PiixChannel *c = &s->ch[n];
        ide_channel_reset(&c->bus.ch);
        c->bm_command = 0;
        c->bm_status = 0;
        c->prd_table = 0;
        c->prd = c->before = (PrdCursor){0};
    }
}

static const StateField prd_fields[] = {
    STATE_F_UINT(PrdCursor, next),
    STATE_F_UINT(PrdCursor, addr),
    STATE_F_UINT_MAX(PrdCursor, left, 0x10000),
    STATE_F_UINT(PrdCursor, entries),
    STATE_F_BOOL(PrdCursor, last),
    {0},
};
static const StateDesc prd_state = {.name = "prd-cursor", .version = 1, .fields = prd_fields};

static const StateField channel_fields[] = {
    STATE_F_STRUCT(PiixChannel, bus.ch, ide_channel_state),
    STATE_F_UINT_MAX(PiixChannel, bm_command, 9),
    STATE_F_UINT(PiixChannel, bm_status),
    STATE_F_UINT_MAX(PiixChannel, irq_level, 1),
    STATE_F_UINT(PiixChannel, prd_table),
    STATE_F_STRUCT(PiixChannel, prd, prd_state),
    STATE_F_STRUCT(PiixChannel, before, prd_state),
    {0},
};
static const StateDesc channel_state = {
    .name = "piix-ide-channel", .version = 1, .fields = channel_fields};

static const StateField piix_fields[] = {
    STATE_F_PCI(PiixIde, pci),
    STATE_F_STRUCT_ARRAY(PiixIde, ch, channel_state),
    {0},
};
static const StateDesc piix_state = {.name = "piix-ide", .version = 1, .fields = piix_fields};

#define PIIX_CLASS(ident, id)                           \
    static const PciClass ident = {                     \
        .device = {.realize = piix_realize,             \
                   .unrealize = piix_unrealize,         \
                   .reset = piix_reset,                 \
                   .state = &piix_state,                \
                   .bus_type = TYPE_PCI_BUS,            \
                   .category = DEVICE_CATEGORY_STORAGE, \
                   .not_hotpluggable = true},           \
        .vendor_id = PCI_VENDOR_ID_INTEL,               \
        .device_id = id,                                \
        .class_id = PCI_CLASS_STORAGE_IDE,              \
        .prog_if = 0x80,                                \
    }
PIIX_CLASS(piix3_class, 0x7010);
PIIX_CLASS(piix4_class, 0x7111);

OBJECT_TYPE(piix3_ide_type, .name = "piix3-ide", .parent = TYPE_PCI_DEVICE, .size = sizeof(PiixIde),
            .help = "IDE of the PIIX3", .klass = &piix3_class)
OBJECT_TYPE(piix4_ide_type, .name = "piix4-ide", .parent = TYPE_PCI_DEVICE, .size = sizeof(PiixIde),
            .help = "IDE of the PIIX4", .klass = &piix4_class)
