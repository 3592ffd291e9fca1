/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/i386/pam.h"

#define PAM_BASE 0xc0000u
#define PAM_SIZE 0x40000u
#define PAM_READ 1u  /* reads go to RAM */
#define PAM_WRITE 2u /* writes go to RAM */

/* Segment 0 is F0000h to FFFFFh, the others are 16 KiB each from C0000h. */
static hwaddr segment_base(unsigned s)
{
    return s == 0 ? 0xf0000 : PAM_BASE + (s - 1) * 0x4000u;
}

static uint64_t segment_size(unsigned s)
{
    return s == 0 ? 0x10000 : 0x4000;
}

static uint64_t copy_read(void *opaque, hwaddr off, unsigned size)
{
    return ld_le(((Pam *)opaque)->copy->host + off, size);
}

static void copy_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    RamBlock *ram = ((Pam *)opaque)->machine->ram;

    if (PAM_BASE + off + size <= ram->size) {
        st_le(ram->host + PAM_BASE + off, size, v);
        ram_mark_dirty(ram, PAM_BASE + off, size);
    }
}

static const RegionOps copy_ops = {
    .read = copy_read,
    .write = copy_write,
    .valid_min = 1,
    .valid_max = 8,
    .impl_min = 1,
    .impl_max = 8,
};

bool pam_init(Pam *p, Device *owner, Region *pci, Region *ram, Error **errp)
{
    Machine *m = owner->machine;

    p->machine = m;
    p->copy = ram_block_new(m->memsys, "pam.copy", PAM_SIZE, NULL, errp);
    if (!p->copy) {
        return false;
    }
    region_init_romd(&p->copy_region, &owner->owner, &copy_ops, p, "pam.copy", p->copy);
    for (unsigned s = 0; s < PAM_SEGMENTS; s++) {
        hwaddr base = segment_base(s);
        uint64_t size = segment_size(s);

        region_init_alias(&p->to_pci[s], "pam-pci", pci, base, size);
        region_init_alias(&p->read_only[s], "pam-rom", ram, base, size);
        region_set_readonly(&p->read_only[s], true);
        region_init_alias(&p->write_only[s], "pam-write", &p->copy_region, base - PAM_BASE, size);
        region_set_enabled(&p->read_only[s], false);
        region_set_enabled(&p->write_only[s], false);
        region_add_overlap(&m->memory, base, &p->to_pci[s], 1);
        region_add_overlap(&m->memory, base, &p->read_only[s], 1);
        region_add_overlap(&m->memory, base, &p->write_only[s], 1);
        p->mode[s] = 0;
    }
    return true;
}

void pam_fini(Pam *p)
{
    for (unsigned s = 0; s < PAM_SEGMENTS; s++) {
        region_fini(&p->to_pci[s]);
        region_fini(&p->read_only[s]);
        region_fini(&p->write_only[s]);
    }
    region_fini(&p->copy_region);
    if (p->copy) {
        ram_block_unref(p->copy);
        p->copy = NULL;
    }
}

static void take_copy(Pam *p, unsigned s)
{
    hwaddr base = segment_base(s);
    uint64_t size = segment_size(s), off = base - PAM_BASE;

    region_set_enabled(&p->read_only[s], false);
    region_set_enabled(&p->write_only[s], false);
    region_set_enabled(&p->to_pci[s], true);
    memset(p->copy->host + off, 0xff, size);
    address_space_read(p->machine->as_memory, base, MEM_ATTRS_NONE, p->copy->host + off, size);
    ram_mark_dirty(p->copy, off, size);
}

void pam_update(Pam *p, const uint8_t regs[7])
{
    uint8_t mode[PAM_SEGMENTS];

    mode[0] = (regs[0] >> 4) & 3;
    for (unsigned s = 1; s < PAM_SEGMENTS; s++) {
        mode[s] = (uint8_t)((s & 1 ? regs[(s + 1) / 2] : regs[(s + 1) / 2] >> 4) & 3);
        if (mode[s] == PAM_WRITE && p->mode[s] != PAM_WRITE) {
            take_copy(p, s);
        }
    }
    if (mode[0] == PAM_WRITE && p->mode[0] != PAM_WRITE) {
        take_copy(p, 0);
    }
    memory_begin(p->machine->memsys);
    for (unsigned s = 0; s < PAM_SEGMENTS; s++) {
        if (mode[s] != p->mode[s]) {
            region_set_enabled(&p->to_pci[s], mode[s] == 0);
            region_set_enabled(&p->read_only[s], mode[s] == PAM_READ);
            region_set_enabled(&p->write_only[s], mode[s] == PAM_WRITE);
            p->mode[s] = mode[s];
        }
    }
    memory_commit(p->machine->memsys);
}
