/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character backends: files, sockets, pseudo-terminals, the mux, wrong options. */
#include "chardev/chardev.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct Fixture {
    ClockSet *clocks;
    EventLoop *loop;
    Object *root;
    char *dir;
} Fixture;

typedef struct User {
    CharFrontend fe;
    GString *got;
    GString *events;
    size_t room;
} User;

static void setup(Fixture *f, gconstpointer data)
{
    f->clocks = clock_set_new();
    f->loop = loop_new("control", f->clocks, NULL);
    f->root = object_new("container");
    f->dir = g_dir_make_tmp("rhea-chardev-XXXXXX", NULL);
}

static void teardown(Fixture *f, gconstpointer data)
{
    object_unref(f->root);
    loop_free(f->loop);
    clock_set_free(f->clocks);
    g_autofree char *cmd = g_strdup_printf("rm -rf %s", f->dir);
    g_assert_cmpint(system(cmd), ==, 0);
    g_free(f->dir);
}

static size_t can_receive(void *opaque)
{
    return ((User *)opaque)->room;
}

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
    User *u = opaque;
    g_assert_cmpuint(len, <=, u->room);
    u->room -= len;
    g_string_append_len(u->got, (const char *)buf, (gssize)len);
}

static void event(void *opaque, CharEvent ev)
{
    g_string_append_c(((User *)opaque)->events, "OCBio"[ev]);
}

static const CharHandlers handlers = {can_receive, receive, event};

static void user_init(User *u, Fixture *f, Chardev *chr)
{
    u->got = g_string_new(NULL);
    u->events = g_string_new(NULL);
    u->room = 1000;
    g_assert_true(char_attach(&u->fe, chr, &handlers, u, f->loop, NULL));
}

static void user_fini(User *u)
{
    char_detach(&u->fe);
    g_string_free(u->got, TRUE);
    g_string_free(u->events, TRUE);
}

static void spin(Fixture *f)
{
    for (int i = 0; i < 20; i++) {
        loop_poll(f->loop, 2 * NS_PER_MS);
    }
}

static Chardev *make(Fixture *f, const char *id, const char *json, Error **errp)
{
    g_autoptr(Json) o = json_parse(json, NULL);
    g_assert_nonnull(o);
    return chardev_new(f->root, id, o, f->loop, errp);
}

static void say(User *u, const char *text)
{
    g_assert_cmpuint(char_write(&u->fe, (const uint8_t *)text, strlen(text)), ==, strlen(text));
}

static void test_null(Fixture *f, gconstpointer data)
{
    User u;
    Chardev *chr = make(f, "n0", "{'backend':'null'}", NULL);
    g_assert_nonnull(chr);
    user_init(&u, f, chr);
    say(&u, "lost");
    spin(f);
    g_assert_cmpstr(u.events->str, ==, "O");
    g_assert_cmpstr(chardev_filename(chr), ==, "null");
    /* a second user is refused, nobody at all is fine */
    CharFrontend other;
    g_autoptr(Error) err = NULL;
    g_assert_false(char_attach(&other, chr, &handlers, &u, f->loop, &err));
    g_assert_nonnull(strstr(error_message(err), "'n0' is in use"));
    g_assert_true(char_attach(&other, NULL, &handlers, &u, f->loop, NULL));
    g_assert_cmpuint(char_write(&other, (const uint8_t *)"x", 1), ==, 1);
    g_assert_false(char_connected(&other));
    char_detach(&other);
    user_fini(&u);
}

static void test_file(Fixture *f, gconstpointer data)
{
    g_autofree char *out = g_strdup_printf("%s/out", f->dir);
    g_autofree char *in = g_strdup_printf("%s/in", f->dir);
    g_autofree char *log = g_strdup_printf("%s/log", f->dir);
    g_file_set_contents(in, "hello", -1, NULL);
    g_autofree char *json = g_strdup_printf(
        "{'backend':'file','path':'%s','input-path':'%s','logfile':'%s'}", out, in, log);
    User u;
    user_init(&u, f, make(f, "f0", json, NULL));
    u.room = 2; /* taken in pieces */
    say(&u, "world");
    spin(f);
    g_assert_cmpstr(u.got->str, ==, "he");
    for (int i = 0; i < 3; i++) {
        u.room = 2;
        char_accept_input(&u.fe);
        spin(f);
    }
    g_assert_cmpstr(u.got->str, ==, "hello");
    g_assert_cmpstr(u.events->str, ==, "OC"); /* the input's end */
    g_autofree char *text = NULL, *logged = NULL;
    g_file_get_contents(out, &text, NULL, NULL);
    g_file_get_contents(log, &logged, NULL, NULL);
    g_assert_cmpstr(text, ==, "world");
    g_assert_cmpstr(logged, ==, "world");
    user_fini(&u);
}

static int connect_unix(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    g_strlcpy(un.sun_path, path, sizeof(un.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    return fd;
}

static void test_socket(Fixture *f, gconstpointer data)
{
    g_autofree char *path = g_strdup_printf("%s/s", f->dir);
    g_autofree char *text = g_strdup_printf("unix:%s,server=on,wait=off", path);
    bool none, mon;
    User u;
    char buf[100];
    Chardev *chr = chardev_new_short(f->root, "s0", text, f->loop, &none, &mon, NULL);
    g_assert_true(chr && !none && !mon);
    g_assert_true(g_str_has_prefix(chardev_filename(chr), "disconnected:unix:/"));
    user_init(&u, f, chr);
    say(&u, "nobody listens");
    for (int round = 0; round < 2; round++) {
        int fd = connect_unix(path);
        g_assert_cmpint(write(fd, "ping", 4), ==, 4);
        spin(f);
        g_assert_cmpstr(u.got->str, ==, "ping");
        g_assert_true(char_connected(&u.fe));
        say(&u, "pong");
        g_assert_cmpint(read(fd, buf, sizeof(buf)), ==, 4);
        close(fd);
        spin(f);
        g_assert_false(char_connected(&u.fe));
        g_assert_cmpstr(u.events->str, ==, "OC");
        g_string_truncate(u.got, 0);
        g_string_truncate(u.events, 0);
    }
    user_fini(&u);
    object_unparent((Object *)chr);
    g_assert_cmpint(access(path, F_OK), <, 0); /* removed */
}

static void note(void *opaque)
{
    ++*(int *)opaque;
}

/* Only the second time does it work. */
static bool save(void *opaque, Error **errp)
{
    if (++*(int *)opaque == 1) {
        error_set(errp, "no room");
        return false;
    }
    return true;
}

static void test_flow(Fixture *f, gconstpointer data)
{
    g_autofree char *path = g_strdup_printf("%s/s", f->dir);
    g_autofree char *json =
        g_strdup_printf("{'backend':'socket','path':'%s','server':true,'wait':false}", path);
    User u;
    user_init(&u, f, make(f, "s0", json, NULL));
    int fd = connect_unix(path), told = 0;
    spin(f);
    g_autofree uint8_t *big = g_malloc0(4 << 20);
    size_t n = char_write(&u.fe, big, 4 << 20); /* more than a socket buffer holds */
    g_assert_cmpuint(n, <, 4 << 20);
    g_assert_cmpuint(char_write(&u.fe, big, 100), <, 100);
    char_when_writable(&u.fe, note, &told);
    spin(f);
    g_assert_cmpint(told, ==, 0);
    char_write_all(&u.fe, big, 5000);
    size_t total = 0;
    while (total < n + 5000) {
        ssize_t r = recv(fd, big, 1 << 20, MSG_DONTWAIT);
        total += r > 0 ? (size_t)r : 0;
        loop_poll(f->loop, NS_PER_MS);
    }
    spin(f);
    g_assert_cmpint(told, ==, 1);
    close(fd);
    user_fini(&u);
}

static void test_pty(Fixture *f, gconstpointer data)
{
    User u;
    bool none, mon;
    if (access("/dev/pts/ptmx", F_OK) < 0) {
        g_test_skip("no pseudo terminals here: /dev/pts is not mounted");
        return;
    }
    Chardev *chr = chardev_new_short(f->root, "p0", "pty", f->loop, &none, &mon, NULL);
    g_assert_nonnull(chr);
    user_init(&u, f, chr);
    const char *name = chardev_filename(chr) + strlen("pty:");
    g_assert_false(char_connected(&u.fe));
    int fd = open(name, O_RDWR | O_NOCTTY);
    g_assert_cmpint(fd, >=, 0);
    for (int i = 0; i < 200 && !char_connected(&u.fe); i++) {
        loop_poll(f->loop, 10 * NS_PER_MS);
    }
    g_assert_true(char_connected(&u.fe));
    char buf[10];
    g_assert_cmpint(write(fd, "in", 2), ==, 2);
    spin(f);
    g_assert_cmpstr(u.got->str, ==, "in");
    say(&u, "out");
    g_assert_cmpint(read(fd, buf, sizeof(buf)), ==, 3);
    close(fd);
    spin(f);
    g_assert_false(char_connected(&u.fe));
    user_fini(&u);
}

static void quit(void *opaque)
{
    ++*(int *)opaque;
}

static void test_mux(Fixture *f, gconstpointer data)
{
    g_autofree char *path = g_strdup_printf("%s/s", f->dir);
    g_autofree char *json = g_strdup_printf(
        "{'backend':'socket','path':'%s','server':'on','wait':'off','mux':'on'}", path);
    int quits = 0;
    chardev_set_escape_handlers(f->root, quit, save, &quits);
    Chardev *chr = make(f, "m", json, NULL);
    g_assert_nonnull(chr);
    g_assert_nonnull(chardev_find(f->root, "m-base", NULL));
    int fd = connect_unix(path);
    User a, b;
    user_init(&a, f, chr);
    user_init(&b, f, chr);
    spin(f);
    /* the newest has the keyboard */
    g_assert_cmpint(write(fd, "\001c1\001c2\001\0013\001b\001cx", 14), ==, 14);
    spin(f);
    g_assert_cmpstr(a.got->str, ==, "1x");
    g_assert_cmpstr(b.got->str, ==, "2\0013");
    g_assert_cmpstr(a.events->str, ==, "Oioi");
    g_assert_cmpstr(b.events->str, ==, "OoiBo");
    say(&a, "A");
    say(&b, "B");
    char buf[1000] = "";
    g_assert_cmpint(read(fd, buf, sizeof(buf)), ==, 2);
    g_assert_cmpint(memcmp(buf, "AB", 2), ==, 0);
    g_assert_cmpint(write(fd, "\001h\001x", 4), ==, 4);
    spin(f);
    g_assert_cmpint(quits, ==, 1);
    g_assert_cmpint(read(fd, buf, sizeof(buf) - 1), >, 100);
    g_assert_nonnull(strstr(buf, "C-a c    switch between console and monitor"));
    g_assert_nonnull(strstr(buf, "C-a s    save disk data back to file (if -snapshot)"));
    quits = 0;
    memset(buf, 0, sizeof(buf));
    g_assert_cmpint(write(fd, "\001s\001s", 4), ==, 4);
    spin(f);
    g_assert_cmpint(quits, ==, 2);
    g_assert_cmpint(read(fd, buf, sizeof(buf) - 1), >, 0);
    g_assert_cmpstr(buf, ==, "\r\ncommit: no room\r\n");
    /* the owner of the keyboard goes: the other has it */
    char_detach(&a.fe);
    spin(f);
    g_assert_cmpint(write(fd, "z", 1), ==, 1);
    spin(f);
    g_assert_cmpstr(b.got->str, ==, "2\0013z");
    close(fd);
    g_string_free(a.got, TRUE);
    g_string_free(a.events, TRUE);
    user_fini(&b);
    object_unparent((Object *)chr);
}

static void test_telnet(Fixture *f, gconstpointer data)
{
    bool none, mon;
    User u;
    Chardev *chr = chardev_new_short(f->root, "t0", "telnet:127.0.0.1:0,server=on,wait=off",
                                     f->loop, &none, &mon, NULL);
    g_assert_nonnull(chr);
    const char *port = strrchr(chardev_filename(chr), ':') + 1;
    g_autofree char *client = g_strdup_printf("tcp:127.0.0.1:%d", atoi(port));
    user_init(&u, f, chr);
    User c;
    user_init(&c, f, chardev_new_short(f->root, "c0", client, f->loop, &none, &mon, NULL));
    say(&c, "a\377\373\001b\377\372\001\377\360c\377\377d");
    spin(f);
    g_assert_cmpstr(u.got->str, ==, "abc\377d");
    g_string_truncate(c.got, 0);
    say(&u, "x\377y");
    spin(f);
    g_assert_cmpstr(c.got->str, ==, "x\377\377y");
    user_fini(&c);
    user_fini(&u);
}

static void test_ringbuf(Fixture *f, gconstpointer data)
{
    User u;
    Chardev *chr = make(f, "r0", "{'backend':'memory','size':8}", NULL);
    user_init(&u, f, chr);
    say(&u, "0123456789");
    g_autoptr(GByteArray) got = chardev_ringbuf_read(chr, 5);
    g_assert_cmpmem(got->data, got->len, "23456", 5);
    say(&u, "abc");
    g_autoptr(GByteArray) rest = chardev_ringbuf_read(chr, 100);
    g_assert_cmpmem(rest->data, rest->len, "789abc", 6);
    user_fini(&u);
}

static void expect_error(Fixture *f, const char *json, const char *want)
{
    g_autoptr(Error) err = NULL;
    g_assert_null(make(f, NULL, json, &err));
    g_autofree char *all = g_strconcat(error_message(err), "\n", error_hints(err), NULL);
    if (!strstr(all, want)) {
        g_error("'%s' is not in '%s'", want, all);
    }
}

static void test_errors(Fixture *f, gconstpointer data)
{
    expect_error(f, "{'backend':'null'}", "'id' is missing");
    expect_error(f, "{'backend':'null','id':'1x'}", "no valid id");
    expect_error(f, "{'id':'x'}", "'backend' is missing");
    expect_error(f, "{'id':'x','backend':'sokcet'}", "did you mean 'socket'");
    expect_error(f, "{'id':'x','backend':'mux'}", "no character backend 'mux'");
    expect_error(f, "{'id':'x','backend':'null','size':1}", "no option 'size'");
    expect_error(f, "{'id':'x','backend':'socket','port':'1','sever':'on'}",
                 "did you mean 'server'");
    expect_error(f, "{'id':'x','backend':'socket','port':'1','wait':'on','tls-creds':'t'}",
                 "'tls-creds' is not supported; 'wait' is for server=on");
    expect_error(f, "{'id':'x','backend':'socket','server':7,'path':'/x'}", "must be on or off");
    expect_error(f, "{'id':'x','backend':'socket','path':'/nowhere/x'}",
                 "Could not connect to unix:/nowhere/x");
    expect_error(f, "{'id':'x','backend':'file'}", "'path' is missing");
    expect_error(f, "{'id':'x','backend':'file','path':'/nowhere/x'}", "/nowhere/x");
    expect_error(f, "{'id':'x','backend':'ringbuf','size':100}", "power of two");
    expect_error(f, "{'id':'x','backend':'pipe','path':'/nowhere/x'}", "mkfifo");
    g_assert_nonnull(make(f, "x", "{'backend':'null'}", NULL));
    expect_error(f, "{'id':'x','backend':'null'}", "'x' already");
    bool none, mon;
    static const char *const bad[] = {"stdo", "vc", "tcp:nohost", "", "file", "unix", NULL};
    for (unsigned i = 0; bad[i]; i++) {
        g_autoptr(Error) err = NULL;
        g_assert_null(chardev_new_short(f->root, "y", bad[i], f->loop, &none, &mon, &err));
        g_assert_true(err && !none);
    }
    g_autoptr(Error) err = NULL;
    g_assert_null(chardev_new_short(f->root, "y", "none", f->loop, &none, &mon, &err));
    g_assert_true(!err && none);
    g_assert_nonnull(chardev_new_short(f->root, "y", "chardev:x", f->loop, &none, &mon, NULL));
    g_assert_null(chardev_find(f->root, "nope", NULL));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(Fixture *, gconstpointer);
    } tests[] = {{"null", test_null},     {"file", test_file},     {"socket", test_socket},
                 {"flow", test_flow},     {"pty", test_pty},       {"mux", test_mux},
                 {"telnet", test_telnet}, {"errors", test_errors}, {"ringbuf", test_ringbuf}};
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/chardev/%s", tests[i].name);
        g_test_add(path, Fixture, NULL, setup, tests[i].fn, teardown);
    }
    return g_test_run();
}
