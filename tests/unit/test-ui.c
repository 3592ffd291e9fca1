/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Consoles, input, key tables and the VNC server, spoken to over its socket. */
#include "ui/console.h"
#include "ui/vnc.h"
#include "util/bits.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct Fixture {
    ClockSet *clocks;
    EventLoop *loop;
    UiContext *ui;
    Console *con;
    InputHandler handler;
    GString *log;
} Fixture;

static void draw(void *opaque)
{
}

static const ConsoleOps ops = {.update = draw};

static void on_event(void *opaque, const InputEvent *ev)
{
    Fixture *f = opaque;
    g_string_append_printf(f->log, "%d:%d:%d:%d ", ev->kind, ev->code, ev->down, ev->value);
}

static void setup(Fixture *f)
{
    f->clocks = clock_set_new();
    f->loop = loop_new("test", f->clocks, NULL);
    f->ui = ui_new(f->loop);
    f->con = console_new(f->ui, &ops, f, f->loop, "test", NULL);
    f->log = g_string_new(NULL);
    f->handler = (InputHandler){.name = "test",
                                .mask = 0xf & ~(1u << INPUT_ABS),
                                .event = on_event,
                                .opaque = f,
                                .loop = f->loop};
    input_add(f->ui, &f->handler);
}

static void teardown(Fixture *f)
{
    input_remove(f->ui, &f->handler);
    console_free(f->con);
    ui_free(f->ui);
    loop_free(f->loop);
    clock_set_free(f->clocks);
    g_string_free(f->log, TRUE);
}

static void run(Fixture *f, int ms)
{
    gint64 end = g_get_monotonic_time() + ms * 1000;
    while (g_get_monotonic_time() < end) {
        loop_poll(f->loop, NS_PER_MS);
    }
}

static void test_keys(void)
{
    int shift;
    for (int i = 1; i < KEY_CODE_COUNT; i++) {
        g_assert_cmpint(keycode_from_name(keycode_name(i)), ==, i);
    }
    g_assert_cmpint(keycode_from_name("nonsense"), ==, -1);
    g_assert_cmpint(keycode_to_xt(KEY_CODE_A), ==, 0x1e);
    g_assert_cmpint(keycode_to_xt(KEY_CODE_UP), ==, 0xc8);
    g_assert_cmpint(keycode_from_xt(0xc8), ==, KEY_CODE_UP);
    g_assert_cmpint(keycode_from_keysym('A', &shift), ==, KEY_CODE_A);
    g_assert_cmpint(shift, ==, 1);
    g_assert_cmpint(keycode_from_keysym(0xff0d, &shift), ==, KEY_CODE_RET);
    g_assert_cmpint(keycode_from_keysym(0x12345, &shift), ==, -1);
}

static void test_send_keys(void)
{
    Fixture f;
    setup(&f);
    const int keys[] = {KEY_CODE_CTRL, KEY_CODE_C};
    g_autofree char *expected =
        g_strdup_printf("0:%d:1:0 0:%d:1:0 0:%d:0:0 0:%d:0:0 ", KEY_CODE_CTRL, KEY_CODE_C,
                        KEY_CODE_C, KEY_CODE_CTRL);
    input_send_keys(f.ui, keys, 2, 20);
    run(&f, 150);
    g_assert_cmpstr(f.log->str, ==, expected);
    teardown(&f);
}

/* ---- a VNC client ---- */

static int vnc_connect(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&a, sizeof(a)), ==, 0);
    return fd;
}

/* Reads exactly `len` bytes while the server runs; false at end of file. */
static bool get(Fixture *f, int fd, void *buf, size_t len)
{
    size_t have = 0;
    for (int rounds = 0; have < len && rounds < 5000; rounds++) {
        ssize_t n = recv(fd, (char *)buf + have, len - have, MSG_DONTWAIT);
        if (n == 0) {
            return false;
        }
        have += n > 0 ? (size_t)n : 0;
        loop_poll(f->loop, NS_PER_MS);
    }
    g_assert_cmpuint(have, ==, len);
    return true;
}

static void put(int fd, const void *buf, size_t len)
{
    g_assert_cmpint(send(fd, buf, len, MSG_NOSIGNAL), ==, (ssize_t)len);
}

/* RFB 3.8 without a password, up to ServerInit. */
static void handshake(Fixture *f, int fd)
{
    uint8_t buf[64];
    get(f, fd, buf, 12);
    g_assert_cmpmem(buf, 12, "RFB 003.008\n", 12);
    put(fd, "RFB 003.008\n", 12);
    get(f, fd, buf, 2);
    g_assert_cmpuint(buf[1], ==, 1);
    put(fd, "\1", 1);
    get(f, fd, buf, 4);
    g_assert_cmpuint(ld_be32(buf), ==, 0);
    put(fd, "\1", 1);
    get(f, fd, buf, 24 + 4);
    g_assert_cmpuint(ld_be16(buf), ==, 640);
    g_assert_cmpuint(ld_be16(buf + 2), ==, 480);
}

static void request(int fd, bool incremental, unsigned w, unsigned h)
{
    uint8_t m[10] = {3, incremental};
    st_be16(m + 6, (uint16_t)w);
    st_be16(m + 8, (uint16_t)h);
    put(fd, m, sizeof(m));
}

static void set_encoding(int fd, int32_t encoding)
{
    uint8_t m[8] = {2, 0, 0, 1};
    st_be32(m + 4, (uint32_t)encoding);
    put(fd, m, sizeof(m));
}

static char *socket_path(void)
{
    return g_strdup_printf("/tmp/rhea-vnc-%d", getpid());
}

static VncServer *start(Fixture *f, const char *options, char **path)
{
    Error *err = NULL;
    *path = socket_path();
    g_autofree char *text = g_strdup_printf("unix:%s%s", *path, options);
    VncServer *v = vnc_new(f->ui, f->loop, text, &err);
    g_assert_null(err);
    return v;
}

/* A viewer that has shaken hands; its socket. */
static int session_begin(Fixture *f, VncServer **v)
{
    g_autofree char *path = NULL;
    setup(f);
    *v = start(f, "", &path);
    int fd = vnc_connect(path);
    handshake(f, fd);
    return fd;
}

static void session_end(Fixture *f, VncServer *v, int fd)
{
    close(fd);
    run(f, 20);
    vnc_free(v);
    teardown(f);
}

static void test_vnc_raw(void)
{
    Fixture f;
    VncServer *v;
    uint8_t head[16], px[4];
    int fd = session_begin(&f, &v);
    ((uint32_t *)(void *)surface_data(console_surface(f.con)))[0] = 0x00c0ffee;
    set_encoding(fd, 0);
    request(fd, false, 1, 1);
    get(&f, fd, head, 16);
    g_assert_cmpuint(ld_be16(head + 2), ==, 1);
    get(&f, fd, px, 4);
    g_assert_cmphex(ld_le32(px), ==, 0xc0ffee);
    /* Damage answers an incremental request. */
    request(fd, true, 640, 480);
    run(&f, 20);
    console_damage(f.con, 5, 6, 2, 1);
    get(&f, fd, head, 16);
    g_assert_cmpuint(ld_be16(head + 4), ==, 5);
    g_assert_cmpuint(ld_be16(head + 8), ==, 2);
    get(&f, fd, px, 4);
    session_end(&f, v, fd);
}

static void test_vnc_compressed(void)
{
    Fixture f;
    VncServer *v;
    uint8_t head[16];
    int fd = session_begin(&f, &v);
    set_encoding(fd, 5); /* Hextile: a black tile is one background */
    request(fd, false, 16, 16);
    get(&f, fd, head, 16);
    g_assert_cmpuint(ld_be32(head + 12), ==, 5);
    uint8_t tile[5];
    get(&f, fd, tile, 5);
    g_assert_cmpuint(tile[0], ==, 2);
    set_encoding(fd, 16); /* ZRLE */
    request(fd, false, 64, 64);
    get(&f, fd, head, 16);
    g_assert_cmpuint(ld_be32(head + 12), ==, 16);
    uint8_t len[4];
    get(&f, fd, len, 4);
    g_autofree uint8_t *z = g_malloc(ld_be32(len));
    get(&f, fd, z, ld_be32(len));
    g_assert_cmphex(z[0] & 0x0f, ==, 8); /* a zlib stream */
    session_end(&f, v, fd);
}

static void test_vnc_input(void)
{
    Fixture f;
    VncServer *v;
    int fd = session_begin(&f, &v);
    put(fd, "\4\1\0\0\0\0\0A", 8); /* 'A' without shift: it is pressed for us */
    put(fd, "\4\0\0\0\0\0\0A", 8);
    put(fd, "\5\1\0\12\0\12", 6);
    put(fd, "\5\0\0\14\0\11", 6);
    run(&f, 50);
    g_autofree char *expected =
        g_strdup_printf("0:%d:1:0 0:%d:1:0 0:%d:0:0 0:%d:0:0 1:0:1:0 2:0:0:2 2:1:0:-1 1:0:0:0 ",
                        KEY_CODE_SHIFT, KEY_CODE_A, KEY_CODE_SHIFT, KEY_CODE_A);
    g_assert_cmpstr(f.log->str, ==, expected);
    session_end(&f, v, fd);
}

static void test_vnc_password(void)
{
    Fixture f;
    g_autofree char *path = NULL;
    uint8_t buf[64];
    setup(&f);
    VncServer *v = start(&f, ",password=on", &path);
    for (int round = 0; round < 2; round++) { /* without a password set, then a wrong one */
        int fd = vnc_connect(path);
        get(&f, fd, buf, 12);
        put(fd, "RFB 003.003\n", 12);
        get(&f, fd, buf, 4 + 16);
        g_assert_cmpuint(ld_be32(buf), ==, 2);
        put(fd, "0123456789abcdef", 16);
        get(&f, fd, buf, 4);
        g_assert_cmpuint(ld_be32(buf), ==, 1);
        g_assert_false(get(&f, fd, buf, 1));
        close(fd);
        vnc_set_password(v, "secret");
    }
    vnc_free(v);
    teardown(&f);
}

/* A client that sends rubbish is dropped; the next one is served. */
static void test_vnc_hostile(void)
{
    Fixture f;
    g_autofree char *path = NULL;
    uint8_t rubbish[256];
    setup(&f);
    VncServer *v = start(&f, "", &path);
    GRand *rng = g_rand_new_with_seed(1);
    for (int i = 0; i < 200; i++) {
        int fd = vnc_connect(path);
        handshake(&f, fd);
        for (unsigned k = 0; k < sizeof(rubbish); k++) {
            rubbish[k] = (uint8_t)g_rand_int_range(rng, 0, k ? 256 : 7);
        }
        put(fd, rubbish, sizeof(rubbish));
        run(&f, 2);
        close(fd);
        run(&f, 1);
    }
    g_rand_free(rng);
    vnc_free(v);
    teardown(&f);
}

static void test_vnc_options(void)
{
    static const char *const bad[] = {"nonsense", ":99999", "unix:/nowhere/x", ":0,pasword=on",
                                      ":0,share=maybe"};
    Fixture f;
    setup(&f);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        Error *err = NULL;
        g_assert_null(vnc_new(f.ui, f.loop, bad[i], &err));
        g_assert_nonnull(err);
        error_free(err);
    }
    teardown(&f);
}

static void test_screendump(void)
{
    Fixture f;
    Error *err = NULL;
    setup(&f);
    g_autofree char *path = g_strdup_printf("/tmp/rhea-dump-%d.png", getpid());
    g_assert_true(ui_screendump(f.ui, f.con, path, NULL, &err));
    g_autofree char *data = NULL;
    gsize len;
    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    g_assert_cmpmem(data + 1, 3, "PNG", 3);
    unlink(path);
    g_assert_false(ui_screendump(f.ui, f.con, "/nowhere/x.ppm", NULL, &err));
    error_free(err);
    err = NULL;
    g_assert_false(ui_screendump(f.ui, f.con, path, "gif", &err));
    error_free(err);
    teardown(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ui/keys", test_keys);
    g_test_add_func("/ui/send-keys", test_send_keys);
    g_test_add_func("/ui/screendump", test_screendump);
    g_test_add_func("/vnc/raw", test_vnc_raw);
    g_test_add_func("/vnc/compressed", test_vnc_compressed);
    g_test_add_func("/vnc/input", test_vnc_input);
    g_test_add_func("/vnc/password", test_vnc_password);
    g_test_add_func("/vnc/hostile", test_vnc_hostile);
    g_test_add_func("/vnc/options", test_vnc_options);
    return g_test_run();
}
