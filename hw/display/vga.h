/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/display/vga.h: the VGA core with Bochs' VBE extensions, shared by the bus
 * fronts (hw/display/vga-pci.c).
 *
 * Specifications: IBM PS/2 Hardware Technical Reference (Video Subsystem), Intel
 * OpenSource HD Graphics PRM vol. 1 part 3 "VGA and Extended VGA Registers", Bochs
 * VBE DISPI interface (VBE_DISPI_ID5).
 *
 * The 256 KiB of VGA memory are kept as 64 Ki words of four planes (byte n of a
 * word is plane n), at the start of the video RAM.  In VBE modes the same RAM is
 * linear.  Everything here is called with the device's loop lock held.
 */
#ifndef RHEA_HW_DISPLAY_VGA_H
#define RHEA_HW_DISPLAY_VGA_H

#include "hw/core/device.h"
#include "ui/console.h"

/* Sequencer, graphics controller, attribute controller, CRTC: sizes with gaps. */
#define VGA_SEQ_REGS 8
#define VGA_GFX_REGS 16
#define VGA_ATTR_REGS 32
#define VGA_CRTC_REGS 32

typedef enum VbeReg {
    VBE_ID,
    VBE_XRES,
    VBE_YRES,
    VBE_BPP,
    VBE_ENABLE,
    VBE_BANK,
    VBE_VIRT_WIDTH,
    VBE_VIRT_HEIGHT,
    VBE_X_OFFSET,
    VBE_Y_OFFSET,
    VBE_MEMORY_64K,
    VBE_DDC,
    VBE_REGS,
} VbeReg;
#define VBE_ENABLED 0x01
#define VBE_GETCAPS 0x02
#define VBE_8BIT_DAC 0x20
#define VBE_LFB 0x40
#define VBE_NOCLEAR 0x80
#define VBE_MAX_XRES 16000
#define VBE_MAX_YRES 12000

#define VGA_TEXT_CELLS_MAX (256 * 256)

typedef struct VgaState {
    Device *dev;
    Console *con;
    ClockSet *clocks;
    RamBlock *ram;
    Region vram; /* linear frame buffer */
    Region window, ports_3b4, ports_3ba, ports_3c0, ports_3d4, ports_3da, ports_vbe;
    EventLoop *loop; /* the device's */
    uint32_t vram_size;
    uint32_t xres, yres; /* preferred, for EDID */

    /* guest-visible registers: the state description covers all from here … */
    uint8_t misc, feature;
    uint8_t seq_index, seq[VGA_SEQ_REGS];
    uint8_t gfx_index, gfx[VGA_GFX_REGS];
    uint8_t attr_index, attr[VGA_ATTR_REGS];
    bool attr_data_next; /* the flip-flop of port 3C0h */
    uint8_t crtc_index, crtc[VGA_CRTC_REGS];
    uint8_t dac[768], dac_mask, dac_read, dac_write, dac_sub, dac_state;
    uint8_t dac_cache[3];
    uint32_t latch;
    uint16_t vbe_index, vbe[VBE_REGS];
    /* … to here */

    /* what was drawn last, to draw only what changed */
    bool full_redraw;
    uint32_t *cells; /* text: last drawn character, attribute and state */
    unsigned cells_n;
    uint32_t drawn_mode; /* a hash of what decides the layout */
    int32_t drawn_cursor;
    uint32_t palette[256];
    bool palette_stale;
} VgaState;

extern const StateDesc vga_state_desc;

/* `ram` is a new reference, kept. The console and regions are made here. */
bool vga_realize(VgaState *s, Device *dev, uint32_t vram_mb, Error **errp);
void vga_unrealize(VgaState *s);
void vga_reset(VgaState *s);
/* Adds the legacy window and ports to a bus's memory and port space. */
void vga_map_legacy(VgaState *s, Region *mem, Region *io);
/* The registers by port number, also for the memory-mapped copy of them. */
uint8_t vga_port_read(VgaState *s, uint16_t port);
void vga_port_write(VgaState *s, uint16_t port, uint8_t v);
uint16_t vga_vbe_read(VgaState *s, unsigned reg);
void vga_vbe_write(VgaState *s, unsigned reg, uint16_t v);

/* vga-mem.c */
extern const RegionOps vga_window_ops;
/* vga-draw.c */
void vga_draw(void *opaque);
void vga_invalidate(void *opaque);
char *vga_text(void *opaque);
static inline bool vga_vbe_on(const VgaState *s)
{
    return s->vbe[VBE_ENABLE] & VBE_ENABLED;
}
static inline bool vga_is_text(const VgaState *s)
{
    return !vga_vbe_on(s) && !(s->gfx[6] & 1);
}
/* Bytes from one line to the next in VBE modes. */
uint32_t vga_vbe_pitch(const VgaState *s);

/* edid.c: 128 bytes of EDID 1.4 for a monitor with this preferred resolution. */
void edid_generate(uint8_t edid[128], unsigned xres, unsigned yres);

#endif
