/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Floating-point and vector state: the XSAVE area in its standard format (SDM vol. 1, 13.4). */
#include "accel/kvm/kvm.h"

#include <string.h>

#define AREA_FCW 0
#define AREA_FSW 2
#define AREA_FTW 4
#define AREA_FOP 6
#define AREA_FIP 8
#define AREA_FDP 16
#define AREA_MXCSR 24
#define AREA_ST 32
#define AREA_XMM 160
#define AREA_XSTATE_BV 512

enum { COMP_YMM = 2, COMP_OPMASK = 5, COMP_ZMM_HI = 6, COMP_HI_ZMM = 7, COMP_PKRU = 9 };

/* Where component `i` lies, if the CPU has it and it fits. */
static bool component(const CPUX86 *cpu, unsigned i, size_t size, uint32_t *offset)
{
    uint32_t n = cpu_xsave_component(cpu, i, offset);

    return n && *offset <= size && size - *offset >= n;
}

static void unpack_x87(CPUX86 *cpu, const uint8_t *a)
{
    X87 *f = &cpu->x87;
    uint16_t sw = ld_le16(a + AREA_FSW);

    f->cw = ld_le16(a + AREA_FCW);
    f->top = sw >> 11 & 7;
    f->sw = sw & (uint16_t)~0x3800u;
    f->empty = (uint8_t)~a[AREA_FTW];
    f->fop = ld_le16(a + AREA_FOP) & 0x7ff;
    f->fip = ld_le64(a + AREA_FIP);
    f->fdp = ld_le64(a + AREA_FDP);
    f->pending = sw & 0x80;
    for (unsigned i = 0; i < 8; i++) {
        Float80 *r = &f->r[(f->top + i) & 7];

        r->mant = ld_le64(a + AREA_ST + i * 16);
        r->exp = ld_le16(a + AREA_ST + i * 16 + 8);
    }
}

static void pack_x87(const CPUX86 *cpu, uint8_t *a)
{
    const X87 *f = &cpu->x87;

    st_le16(a + AREA_FCW, f->cw);
    st_le16(a + AREA_FSW, (uint16_t)(f->sw | f->top << 11));
    a[AREA_FTW] = (uint8_t)~f->empty;
    st_le16(a + AREA_FOP, f->fop);
    st_le64(a + AREA_FIP, f->fip);
    st_le64(a + AREA_FDP, f->fdp);
    for (unsigned i = 0; i < 8; i++) {
        const Float80 *r = &f->r[(f->top + i) & 7];

        st_le64(a + AREA_ST + i * 16, r->mant);
        st_le16(a + AREA_ST + i * 16 + 8, r->exp);
    }
}

void kvm_xsave_unpack(CPUX86 *cpu, const uint8_t *a, size_t size)
{
    uint32_t at;

    unpack_x87(cpu, a);
    cpu->mxcsr = ld_le32(a + AREA_MXCSR);
    memset(cpu->vec, 0, sizeof(cpu->vec));
    for (unsigned i = 0; i < 16; i++) {
        memcpy(cpu->vec[i].u8, a + AREA_XMM + i * 16, 16);
    }
    for (unsigned i = 0; component(cpu, COMP_YMM, size, &at) && i < 16; i++) {
        memcpy(cpu->vec[i].u8 + 16, a + at + i * 16, 16);
    }
    if (component(cpu, COMP_OPMASK, size, &at)) {
        memcpy(cpu->opmask, a + at, sizeof(cpu->opmask));
    }
    for (unsigned i = 0; component(cpu, COMP_ZMM_HI, size, &at) && i < 16; i++) {
        memcpy(cpu->vec[i].u8 + 32, a + at + i * 32, 32);
    }
    for (unsigned i = 0; component(cpu, COMP_HI_ZMM, size, &at) && i < 16; i++) {
        memcpy(cpu->vec[16 + i].u8, a + at + i * 64, 64);
    }
    if (component(cpu, COMP_PKRU, size, &at)) {
        cpu->pkru = ld_le32(a + at);
    }
}

void kvm_xsave_pack(const CPUX86 *cpu, uint8_t *a, size_t size)
{
    uint64_t components = cpu_xcr0_supported(cpu);
    uint32_t at;

    memset(a, 0, size);
    pack_x87(cpu, a);
    st_le32(a + AREA_MXCSR, cpu->mxcsr);
    for (unsigned i = 0; i < 16; i++) {
        memcpy(a + AREA_XMM + i * 16, cpu->vec[i].u8, 16);
    }
    for (unsigned i = 0; component(cpu, COMP_YMM, size, &at) && i < 16; i++) {
        memcpy(a + at + i * 16, cpu->vec[i].u8 + 16, 16);
    }
    if (component(cpu, COMP_OPMASK, size, &at)) {
        memcpy(a + at, cpu->opmask, sizeof(cpu->opmask));
    }
    for (unsigned i = 0; component(cpu, COMP_ZMM_HI, size, &at) && i < 16; i++) {
        memcpy(a + at + i * 32, cpu->vec[i].u8 + 32, 32);
    }
    for (unsigned i = 0; component(cpu, COMP_HI_ZMM, size, &at) && i < 16; i++) {
        memcpy(a + at + i * 64, cpu->vec[16 + i].u8, 64);
    }
    if (component(cpu, COMP_PKRU, size, &at)) {
        st_le32(a + at, cpu->pkru);
    }
    st_le64(a + AREA_XSTATE_BV, components | 3);
}

bool kvm_get_xsave(KvmCpu *kc, Error **errp)
{
    int ret = kvm_ioctl(kc->fd, kc->kvm->xsave2_large ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, kc->xsave);

    if (ret < 0) {
        error_set_errno(errp, -ret, "the kernel does not give the vector state of CPU %u",
                        kc->vcpu->cpu.index);
        return false;
    }
    kvm_xsave_unpack(&kc->vcpu->cpu, kc->xsave, kc->kvm->xsave_size);
    return true;
}

bool kvm_put_xsave(KvmCpu *kc, Error **errp)
{
    int ret;

    kvm_xsave_pack(&kc->vcpu->cpu, kc->xsave, kc->kvm->xsave_size);
    ret = kvm_ioctl(kc->fd, KVM_SET_XSAVE, kc->xsave);
    if (ret < 0) {
        error_set_errno(errp, -ret, "the kernel refuses the vector state of CPU %u",
                        kc->vcpu->cpu.index);
        return false;
    }
    return true;
}
