/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Option ROMs: a file shown through the expansion ROM BAR (PCI Firmware 3.0).
 */
#include "hw/core/datafile.h"
#include "hw/pci/internal.h"

#define ROM_MAX (16 * MiB)

/*
 * Firmware runs a ROM only if the identity in its "PCIR" header is the function's.  The ROMs of
 * a family are one file, so the identity is put in, and the checksum kept.
 */
static void patch_identity(PciDevice *d, uint8_t *rom, size_t len)
{
    uint16_t pcir, vendor = ld_le16(d->config + PCI_VENDOR_ID);
    uint16_t device = ld_le16(d->config + PCI_DEVICE_ID);
    uint8_t delta = 0;

    if (len < 0x1c || rom[0] != 0x55 || rom[1] != 0xaa) {
        return;
    }
    pcir = ld_le16(rom + 0x18);
    if (pcir + 8u > len || memcmp(rom + pcir, "PCIR", 4) != 0) {
        return;
    }
    if (ld_le16(rom + pcir + 4) == vendor && ld_le16(rom + pcir + 6) == device) {
        return;
    }
    for (unsigned i = 4; i < 8; i++) {
        delta = (uint8_t)(delta + rom[pcir + i]);
    }
    st_le16(rom + pcir + 4, vendor);
    st_le16(rom + pcir + 6, device);
    for (unsigned i = 4; i < 8; i++) {
        delta = (uint8_t)(delta - rom[pcir + i]);
    }
    rom[6] = (uint8_t)(rom[6] + delta);
}

static uint64_t bar_size(PciDevice *d, size_t file, Error **errp)
{
    uint64_t size = 2 * KiB;

    while (size < file) {
        size *= 2;
    }
    if (d->romsize == UINT32_MAX) {
        return size;
    }
    if (d->romsize < file) {
        error_set(errp, "%s: romsize=%u is less than the ROM's %zu bytes", d->dev.obj.type->name,
                  d->romsize, file);
        return 0;
    }
    return d->romsize;
}

bool pci_rom_init(PciDevice *d, Error **errp)
{
    const PciClass *k = object_class(&d->dev.obj);
    bool own = d->romfile == NULL;
    const char *name = own ? k->romfile : d->romfile;
    g_autofree char *path = NULL;
    g_autofree uint8_t *data = NULL;
    uint64_t size;
    size_t len;

    if (d->romsize != UINT32_MAX && (!IS_POWER_OF_2(d->romsize) || d->romsize > ROM_MAX)) {
        error_set(errp, "%s: romsize=%u is not a power of two up to %llu", d->dev.obj.type->name,
                  d->romsize, ROM_MAX);
        return false;
    }
    if (!name || !*name || d->rombar == 0) {
        return true;
    }
    /* A function's usual ROM is a convenience: without the package, it boots no network. */
    path = datafile_find(d->dev.machine, name, own ? NULL : errp);
    if (!path) {
        return own;
    }
    data = datafile_read(path, ROM_MAX, &len, errp);
    if (!data) {
        return false;
    }
    size = bar_size(d, len, errp);
    if (!size) {
        return false;
    }
    if (own) {
        patch_identity(d, data, len);
    }
    d->rom = ram_block_new(d->dev.machine->memsys, name, MAX(size, 4 * KiB), NULL, errp);
    if (!d->rom) {
        return false;
    }
    memcpy(d->rom->host, data, len);
    region_init_rom(&d->rom_region, name, d->rom);
    region_set_size(&d->rom_region, size);
    pci_register_bar(d, PCI_ROM_SLOT, 0, &d->rom_region);
    return true;
}

void pci_rom_fini(PciDevice *d)
{
    if (d->rom) {
        region_fini(&d->rom_region);
        ram_block_unref(d->rom);
        d->rom = NULL;
    }
}
