/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The floppy controller with real images, by DMA and by the FIFO; the DMA controller. */
#include "block/block.h"
#include "chips-test.h"
#include "hw/block/fdc.h"
#include "hw/isa/i8237.h"

#include <glib/gstdio.h>
#include <stdio.h>
#include <unistd.h>

#define DOR 0x3f2
#define MSR 0x3f4
#define FIFO 0x3f5
#define DIR 0x3f7

typedef struct Rig {
    Board *b;
    IsaFdc *fdc;
    BlockGraph *graph;
    char *path[2];
    size_t size[2];
} Rig;

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at / 512 * 7 + at);
}

static BlockBackend *image(Rig *r, int n, size_t size, bool read_only)
{
    g_autofree char *text = NULL;
    g_autofree uint8_t *data = g_malloc(size);
    g_autoptr(Json) o = NULL;
    DriveInfo *d;
    Error *err = NULL;

    for (size_t i = 0; i < size; i++) {
        data[i] = pattern(i);
    }
    r->path[n] = g_strdup_printf("%s/rhea-fdc-%d-%d.img", g_get_tmp_dir(), (int)getpid(), n);
    r->size[n] = size;
    g_assert_true(g_file_set_contents(r->path[n], (char *)data, (gssize)size, NULL));
    text = g_strdup_printf("{'file': '%s', 'format': 'raw', 'if': 'floppy', 'index': '%d'%s}",
                           r->path[n], n, read_only ? ", 'read-only': 'on'" : "");
    o = json_parse(text, NULL);
    d = drive_new(r->graph, o, DRIVE_IF_FLOPPY, &err);
    if (!d) {
        g_error("%s", error_message(err));
    }
    return d->blk;
}

static void rig_init(Rig *r, size_t a, size_t b, bool read_only)
{
    BlockBackend *blk[2] = {NULL, NULL};
    Error *err = NULL;

    memset(r, 0, sizeof(*r));
    r->b = board_new();
    r->graph = block_graph_new(&r->b->m->obj, r->b->m->platform);
    r->b->m->block = r->graph;
    blk[0] = a ? image(r, 0, a, read_only) : NULL;
    blk[1] = b ? image(r, 1, b, read_only) : NULL;
    g_assert_true(i8237_new_pair(r->b->m, &r->b->isa, NULL));
    r->fdc = isa_fdc_new(r->b->m, &r->b->isa, blk, &err);
    if (!r->fdc) {
        g_error("%s", error_message(err));
    }
}

static void rig_done(Rig *r)
{
    Board *b = r->b;

    loop_lock(b->m->platform);
    device_unrealize((Device *)r->fdc);
    loop_unlock(b->m->platform);
    block_graph_free(r->graph);
    b->m->block = NULL;
    board_free(b);
    for (int i = 0; i < 2; i++) {
        if (r->path[i]) {
            g_unlink(r->path[i]);
            g_free(r->path[i]);
        }
    }
}

static void wait_irq(Rig *r)
{
    for (int i = 0; i < 5000 && !r->b->level[6]; i++) {
        loop_poll(r->b->m->platform, NS_PER_MS);
    }
    g_assert_true(r->b->level[6]);
}

static void send(Rig *r, const uint8_t *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmphex(inb(r->b, MSR) & 0xc0, ==, 0x80);
        outb(r->b, FIFO, bytes[i]);
    }
}
#define SEND(r, ...) send(r, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void result(Rig *r, uint8_t *out, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmphex(inb(r->b, MSR) & 0xd0, ==, 0xd0);
        out[i] = inb(r->b, FIFO);
    }
    g_assert_cmphex(inb(r->b, MSR) & 0xd0, ==, 0x80);
}

static void sense(Rig *r, uint8_t st0, uint8_t pcn)
{
    uint8_t v[2];

    SEND(r, 0x08);
    result(r, v, 2);
    g_assert_cmphex(v[0], ==, st0);
    g_assert_cmphex(v[1], ==, pcn);
}

/* Reset as drivers do it; then the rate and DMA mode. */
static void start(Rig *r, uint8_t rate, bool dma)
{
    outb(r->b, DOR, 0x00);
    g_assert_cmphex(inb(r->b, MSR), ==, 0);
    outb(r->b, DOR, 0x1c);
    wait_irq(r);
    for (uint8_t i = 0; i < 4; i++) {
        sense(r, (uint8_t)(0xc0 | i), 0);
    }
    g_assert_false(r->b->level[6]);
    outb(r->b, DIR, rate);
    SEND(r, 0x03, 0xdf, dma ? 0x02 : 0x03);
}

static void dma_program(Rig *r, uint8_t mode, uint32_t addr, unsigned len)
{
    outb(r->b, 0x0a, 0x06);
    outb(r->b, 0x0c, 0);
    outb(r->b, 0x0b, mode);
    outb(r->b, 0x04, (uint8_t)addr);
    outb(r->b, 0x04, (uint8_t)(addr >> 8));
    outb(r->b, 0x81, (uint8_t)(addr >> 16));
    outb(r->b, 0x05, (uint8_t)(len - 1));
    outb(r->b, 0x05, (uint8_t)((len - 1) >> 8));
    outb(r->b, 0x0a, 0x02);
}

static void check_memory(Rig *r, uint32_t addr, size_t at, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        g_assert_cmphex(r->b->ram->host[addr + i], ==, pattern(at + i));
    }
}

static void test_formats(void)
{
    static const struct {
        unsigned size;
        FloppyDriveType type;
        uint8_t sectors, tracks, heads, rate;
    } f[] = {
        {160, FLOPPY_DRIVE_120, 8, 40, 1, 1},   {180, FLOPPY_DRIVE_120, 9, 40, 1, 1},
        {320, FLOPPY_DRIVE_120, 8, 40, 2, 1},   {360, FLOPPY_DRIVE_120, 9, 40, 2, 1},
        {640, FLOPPY_DRIVE_144, 8, 80, 2, 2},   {720, FLOPPY_DRIVE_144, 9, 80, 2, 2},
        {1200, FLOPPY_DRIVE_120, 15, 80, 2, 0}, {1440, FLOPPY_DRIVE_144, 18, 80, 2, 0},
        {2880, FLOPPY_DRIVE_288, 36, 80, 2, 3},
    };

    for (size_t i = 0; i < ARRAY_LEN(f); i++) {
        Rig r;
        uint8_t v[7], head = f[i].heads - 1, track = f[i].tracks - 1;
        size_t last = f[i].size * 1024 - 512;

        rig_init(&r, f[i].size * 1024, 0, false);
        g_assert_cmpint(isa_fdc_drive_type(r.fdc, 0), ==, f[i].type);
        g_assert_cmpint(isa_fdc_drive_type(r.fdc, 1), ==, FLOPPY_DRIVE_NONE);
        start(&r, f[i].rate, true);
        dma_program(&r, 0x46, 0x10000, 512);
        SEND(&r, head ? 0xe6 : 0x66, head << 2, track, head, f[i].sectors, 2, f[i].sectors, 0x1b,
             0xff);
        wait_irq(&r);
        result(&r, v, 7);
        g_assert_cmphex(v[0], ==, head << 2);
        g_assert_cmphex(v[1], ==, 0);
        g_assert_cmphex(v[3], ==, track + 1);
        g_assert_cmphex(v[5], ==, 1);
        check_memory(&r, 0x10000, last, 512);
        /* At another data rate there is nothing to be found. */
        outb(r.b, DIR, (f[i].rate + 1) & 3);
        SEND(&r, 0x4a, 0);
        result(&r, v, 7);
        g_assert_cmphex(v[0], ==, 0x40);
        g_assert_cmphex(v[1], ==, 1);
        rig_done(&r);
    }
}

static void test_seek(void)
{
    Rig r;
    uint8_t v[2];

    rig_init(&r, 1440 * 1024, 0, true);
    start(&r, 0, true);
    g_assert_cmphex(inb(r.b, DIR) & 0x80, ==, 0x80); /* nothing has stepped yet */
    SEND(&r, 0x0f, 0x00, 0x21);
    wait_irq(&r);
    sense(&r, 0x20, 0x21);
    g_assert_cmphex(inb(r.b, DIR) & 0x80, ==, 0);
    SEND(&r, 0x04, 0x00);
    result(&r, v, 1);
    g_assert_cmphex(v[0], ==, 0x68); /* protected, ready, two sides */
    SEND(&r, 0x07, 0x00);
    wait_irq(&r);
    sense(&r, 0x20, 0);
    SEND(&r, 0x04, 0x04);
    result(&r, v, 1);
    g_assert_cmphex(v[0], ==, 0x7c);
    SEND(&r, 0x07, 0x01); /* no such drive */
    wait_irq(&r);
    sense(&r, 0x71, 0);
    SEND(&r, 0x08); /* nothing to sense */
    result(&r, v, 1);
    g_assert_cmphex(v[0], ==, 0x80);
    SEND(&r, 0x1f);
    result(&r, v, 1);
    g_assert_cmphex(v[0], ==, 0x80);
    SEND(&r, 0x10);
    result(&r, v, 1);
    g_assert_cmphex(v[0], ==, 0x90);
    rig_done(&r);
}

static void test_read(void)
{
    Rig r;
    uint8_t v[7];

    rig_init(&r, 1440 * 1024, 720 * 1024, false);
    start(&r, 0, true);
    /* A whole cylinder, both heads. */
    dma_program(&r, 0x46, 0x20000, 36 * 512);
    SEND(&r, 0xe6, 0, 5, 0, 1, 2, 18, 0x1b, 0xff);
    wait_irq(&r);
    result(&r, v, 7);
    g_assert_cmphex(v[0], ==, 4);
    g_assert_cmphex(v[3], ==, 6);
    g_assert_cmphex(v[4], ==, 0);
    g_assert_cmphex(inb(r.b, 0x08) & 4, ==, 4); /* terminal count */
    check_memory(&r, 0x20000, 5 * 36 * 512, 36 * 512);
    /* The DMA asks for more than the track has. */
    dma_program(&r, 0x46, 0x20000, 20 * 512);
    SEND(&r, 0x46, 0, 5, 0, 17, 2, 18, 0x1b, 0xff);
    wait_irq(&r);
    result(&r, v, 7);
    g_assert_cmphex(v[0], ==, 0x40);
    g_assert_cmphex(v[1], ==, 0x80);
    /* Less than a sector. */
    memset(r.b->ram->host + 0x20000, 0xee, 512);
    dma_program(&r, 0x46, 0x20000, 100);
    SEND(&r, 0x46, 0, 5, 0, 1, 2, 18, 0x1b, 0xff);
    wait_irq(&r);
    result(&r, v, 7);
    g_assert_cmphex(v[0], ==, 0);
    g_assert_cmphex(r.b->ram->host[0x20000 + 100], ==, 0xee);
    rig_done(&r);
}

static void test_read_refused(void)
{
    Rig r;
    uint8_t v[7];

    rig_init(&r, 1440 * 1024, 720 * 1024, false);
    start(&r, 0, true);
    dma_program(&r, 0x46, 0x20000, 100);
    /* No such sector; a wrong head; sectors of another size. */
    SEND(&r, 0x46, 0, 5, 0, 19, 2, 19, 0x1b, 0xff);
    wait_irq(&r);
    result(&r, v, 7);
    g_assert_cmphex(v[1], ==, 4);
    SEND(&r, 0x46, 4, 5, 0, 1, 2, 19, 0x1b, 0xff);
    wait_irq(&r);
    result(&r, v, 7);
    g_assert_cmphex(v[1], ==, 4);
    SEND(&r, 0x46, 0, 5, 0, 1, 3, 9, 0x1b, 0xff);
    wait_irq(&r);
    result(&r, v, 7);
    g_assert_cmphex(v[1], ==, 4);
    /* Without implied seeks the heads must be there. */
    SEND(&r, 0x13, 0, 0x20, 0);
    SEND(&r, 0x46, 0, 9, 0, 1, 2, 18, 0x1b, 0xff);
    wait_irq(&r);
    result(&r, v, 7);
    g_assert_cmphex(v[1], ==, 4);
    g_assert_cmphex(v[2], ==, 0x10);
    /* The other drive. */
    outb(r.b, DOR, 0x2d);
    outb(r.b, DIR, 2);
    dma_program(&r, 0x46, 0x30000, 512);
    SEND(&r, 0x46, 1, 0, 0, 3, 2, 9, 0x1b, 0xff);
    wait_irq(&r);
    result(&r, v, 7);
    g_assert_cmphex(v[0], ==, 1);
    check_memory(&r, 0x30000, 2 * 512, 512);
    rig_done(&r);
}

static void check_file(Rig *r, int n, size_t at, const uint8_t *want, size_t len)
{
    g_autofree char *data = NULL;
    gsize size;

    block_flush_all(r->graph);
    g_assert_true(g_file_get_contents(r->path[n], &data, &size, NULL));
    g_assert_cmpuint(size, ==, r->size[n]);
    g_assert_cmpmem(data + at, len, want, len);
}

static void test_write(void)
{
    Rig r;
    uint8_t v[7], want[1024];

    rig_init(&r, 1440 * 1024, 0, false);
    start(&r, 0, true);
    for (int i = 0; i < 1024; i++) {
        want[i] = (uint8_t)(i * 3);
    }
    memcpy(r.b->ram->host + 0x10000, want, 1024);
    dma_program(&r, 0x4a, 0x10000, 1024);
    SEND(&r, 0xc5, 0, 1, 0, 18, 2, 18, 0x1b, 0xff); /* over to the other side */
    wait_irq(&r);
    result(&r, v, 7);
    g_assert_cmphex(v[0], ==, 4);
    g_assert_cmphex(v[5], ==, 2);
    check_file(&r, 0, (36 + 17) * 512, want, 1024);
    /* Format: the filler is written. */
    for (int i = 0; i < 18; i++) {
        memcpy(r.b->ram->host + 0x10000 + i * 4, (uint8_t[]){1, 0, (uint8_t)(i + 1), 2}, 4);
    }
    SEND(&r, 0x0f, 0, 1);
    wait_irq(&r);
    sense(&r, 0x20, 1);
    dma_program(&r, 0x4a, 0x10000, 72);
    SEND(&r, 0x4d, 0, 2, 18, 0x6c, 0xf6);
    wait_irq(&r);
    result(&r, v, 7);
    g_assert_cmphex(v[0], ==, 0);
    memset(want, 0xf6, 512);
    check_file(&r, 0, 36 * 512, want, 512);
    check_file(&r, 0, (36 + 17) * 512, want, 512);
    SEND(&r, 0x4d, 0, 2, 9, 0x6c, 0xf6);
    wait_irq(&r);
    result(&r, v, 7);
    g_assert_cmphex(v[0], ==, 0x40);
    rig_done(&r);

    rig_init(&r, 1440 * 1024, 0, true);
    start(&r, 0, true);
    SEND(&r, 0xc5, 0, 1, 0, 1, 2, 18, 0x1b, 0xff);
    wait_irq(&r);
    result(&r, v, 7);
    g_assert_cmphex(v[0], ==, 0x40);
    g_assert_cmphex(v[1], ==, 2);
    rig_done(&r);
}

static void test_pio(void)
{
    Rig r;
    uint8_t v[7], want[512];

    rig_init(&r, 1440 * 1024, 0, false);
    start(&r, 0, false);
    SEND(&r, 0x46, 0, 0, 0, 2, 2, 3, 0x1b, 0xff);
    for (int s = 0; s < 2; s++) {
        wait_irq(&r);
        for (int i = 0; i < 512; i++) {
            g_assert_cmphex(inb(r.b, MSR), ==, 0xf0);
            g_assert_cmphex(inb(r.b, FIFO), ==, pattern((size_t)(512 + s * 512 + i)));
        }
    }
    wait_irq(&r);
    result(&r, v, 7);
    g_assert_cmphex(v[0], ==, 0x40); /* nobody says terminal count */
    g_assert_cmphex(v[1], ==, 0x80);
    SEND(&r, 0x45, 0, 0, 0, 4, 2, 4, 0x1b, 0xff);
    for (int i = 0; i < 512; i++) {
        want[i] = (uint8_t)(0x80 ^ i);
        g_assert_cmphex(inb(r.b, MSR), ==, 0xb0);
        outb(r.b, FIFO, want[i]);
    }
    wait_irq(&r);
    result(&r, v, 7);
    check_file(&r, 0, 3 * 512, want, 512);
    /* A reset in the middle. */
    SEND(&r, 0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    start(&r, 0, true);
    SEND(&r, 0x4a, 0);
    wait_irq(&r);
    result(&r, v, 7);
    g_assert_cmphex(v[0], ==, 0);
    g_assert_cmphex(v[6], ==, 2);
    rig_done(&r);
}

static void test_registers(void)
{
    Rig r;
    uint8_t v[10];

    rig_init(&r, 1440 * 1024, 0, false);
    start(&r, 0, true);
    SEND(&r, 0x13, 0, 0x5a, 0x05);
    SEND(&r, 0x94); /* lock */
    result(&r, v, 1);
    g_assert_cmphex(v[0], ==, 0x10);
    SEND(&r, 0x12, 0x84);
    outb(r.b, DOR, 0x00);
    outb(r.b, DOR, 0x0c);
    SEND(&r, 0x0e);
    result(&r, v, 10);
    g_assert_cmphex(v[4], ==, 0xdf);
    g_assert_cmphex(v[7], ==, 0x90);
    g_assert_cmphex(v[8], ==, 0x5a); /* kept */
    g_assert_cmphex(v[9], ==, 0x05);
    SEND(&r, 0x14);
    result(&r, v, 1);
    g_assert_cmphex(v[0], ==, 0);
    outb(r.b, MSR, 0x80); /* reset by the data rate register */
    SEND(&r, 0x0e);
    result(&r, v, 10);
    g_assert_cmphex(v[8], ==, 0x60);
    /* Interrupts pass only through the DMA gate. */
    outb(r.b, DOR, 0x04);
    SEND(&r, 0x07, 0);
    g_assert_false(r.b->level[6]);
    outb(r.b, DOR, 0x0c);
    g_assert_true(r.b->level[6]);
    rig_done(&r);
}

static void test_dma_registers(void)
{
    Board *b = board_new();

    g_assert_true(i8237_new_pair(b->m, &b->isa, NULL));
    outb(b, 0x0c, 0);
    outb(b, 0x02, 0x34);
    outb(b, 0x02, 0x12);
    g_assert_cmphex(inb(b, 0x02), ==, 0x34);
    g_assert_cmphex(inb(b, 0x02), ==, 0x12);
    outb(b, 0xd8, 0);
    outb(b, 0xc6, 0x78);
    outb(b, 0xc6, 0x56);
    g_assert_cmphex(inb(b, 0xc6), ==, 0x78);
    g_assert_cmphex(inb(b, 0xc6), ==, 0x56);
    outb(b, 0x83, 0x44);
    g_assert_cmphex(inb(b, 0x83), ==, 0x44);
    outb(b, 0x0e, 0);
    g_assert_cmphex(inb(b, 0x0f), ==, 0xf0);
    outb(b, 0x0a, 0x07);
    g_assert_cmphex(inb(b, 0x0f), ==, 0xf8);
    outb(b, 0x0d, 0);
    g_assert_cmphex(inb(b, 0x0f), ==, 0xff);
    outb(b, 0x09, 0x05);
    g_assert_cmphex(inb(b, 0x08), ==, 0x20);
    board_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8237/registers", test_dma_registers);
    g_test_add_func("/fdc/formats", test_formats);
    g_test_add_func("/fdc/seek", test_seek);
    g_test_add_func("/fdc/read", test_read);
    g_test_add_func("/fdc/read-refused", test_read_refused);
    g_test_add_func("/fdc/write", test_write);
    g_test_add_func("/fdc/pio", test_pio);
    g_test_add_func("/fdc/registers", test_registers);
    return g_test_run();
}
