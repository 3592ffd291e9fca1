/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/i386/southbridge.h: what the boards need of their bridges: the PCI functions
 * i440FX, PIIX3, PIIX4_PM, mch, ICH9-LPC and ICH9-SMB.
 */
#ifndef RHEA_HW_I386_SOUTHBRIDGE_H
#define RHEA_HW_I386_SOUTHBRIDGE_H

#include "hw/i386/pc.h"

#define TYPE_I440FX_HOST "i440FX-pcihost"
#define TYPE_I440FX "i440FX"
#define TYPE_PIIX3 "PIIX3"
#define TYPE_PIIX4_PM "PIIX4_PM"
#define TYPE_Q35_HOST "q35-pcihost"
#define TYPE_MCH "mch"
#define TYPE_ICH9_LPC "ICH9-LPC"
#define TYPE_ICH9_SMB "ICH9-SMB"

#define ICH9_PMBASE 0x600u /* where SeaBIOS puts it */
#define PIIX4_PMBASE 0x600u
#define PIIX4_GPE0 0xafe0u
#define PIIX4_GPE0_LEN 4u

/* The device class of a bridge that is part of its board; the file has these functions and `state`. */
#define PC_BRIDGE_DEVICE                                                                        \
    {                                                                                           \
        .realize = realize, .unrealize = unrealize, .reset = reset, .state = &state,            \
        .bus_type = TYPE_PCI_BUS, .category = DEVICE_CATEGORY_BRIDGE, .not_hotpluggable = true, \
    }

AcpiPm *piix4_pm_acpi(PciDevice *pm);
AcpiPm *ich9_lpc_acpi(PciDevice *lpc);
/* For the tables: where firmware put PMBASE; 0 if it is off. */
uint16_t ich9_lpc_pmbase(PciDevice *lpc);

/*
 * isa_bridge.c: a PCI-to-ISA bridge as its board's: ISA's interrupts go to the GSIs, PCI's are
 * routed by the bridge, and port CF9h resets.
 */
typedef struct IsaBridge {
    /* See PciBus and PciHost; `opaque` is the bridge's PciDevice, first in its state. */
    int (*map_irq)(void *opaque, uint8_t devfn, int pin);
    void (*set_irq)(void *opaque, int line, int level);
    uint8_t (*reset_read)(void *opaque);
    void (*reset_write)(void *opaque, uint8_t v);
    int pirqs; /* lines that map_irq() names */
} IsaBridge;
/* While the bridge `d` is realized: sets `isa`, the machine's from then on, up. */
void isa_bridge_init(PciDevice *d, IsaBus *isa, const IsaBridge *b);
void isa_bridge_fini(PciDevice *d, IsaBus *isa);

#endif
