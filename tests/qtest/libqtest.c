/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting the program under test, the qtest protocol's client side, and QMP. */
#include "tests/qtest/libqtest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define IRQ_LINES 256
#define PATIENCE_MS 30000
/* A transfer is split into parts that fit into one line of the protocol. */
#define CHUNK 65536

typedef struct Line {
    int fd;
    GString *buf;
} Line;

struct QTest {
    pid_t pid;
    char *dir;
    Line qtest, qmp;
    GQueue events; /* Json* not yet asked for */
    uint8_t level[IRQ_LINES];
    unsigned raised[IRQ_LINES];
};

/* ---- the process ---- */

static const char *binary(void)
{
    const char *path = getenv("RHEA_BINARY");

    return path ? path : "build/rhea-system-x86_64";
}

static char *make_dir(void)
{
    GError *err = NULL;
    char *dir = g_dir_make_tmp("rhea-qtest-XXXXXX", &err);

    if (!dir) {
        g_error("no directory for the test: %s", err->message);
    }
    return dir;
}

static void remove_dir(const char *dir)
{
    GDir *d = g_dir_open(dir, 0, NULL);
    const char *name;

    while (d && (name = g_dir_read_name(d))) {
        g_autofree char *path = g_build_filename(dir, name, NULL);

        unlink(path);
    }
    if (d) {
        g_dir_close(d);
    }
    rmdir(dir);
}

static int listen_at(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpuint(strlen(path), <, sizeof(addr.sun_path));
    strcpy(addr.sun_path, path);
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 1) < 0) {
        g_error("cannot listen at %s: %s", path, strerror(errno));
    }
    return fd;
}

/* How the process ended, if it has. */
static bool ended(pid_t pid, int *status)
{
    return waitpid(pid, status, WNOHANG) == pid;
}

static void describe_end(QTest *q, const char *when)
{
    int status = 0;

    for (int i = 0; i < 100; i++) {
        if (ended(q->pid, &status)) {
            if (WIFSIGNALED(status)) {
                g_error("the program was killed by signal %d %s", WTERMSIG(status), when);
            }
            g_error("the program ended with status %d %s", WEXITSTATUS(status), when);
        }
        g_usleep(10000);
    }
    g_error("the program closed its socket %s", when);
}

static int accept_from(QTest *q, int listener)
{
    for (int waited = 0; waited < PATIENCE_MS; waited += 50) {
        struct pollfd p = {.fd = listener, .events = POLLIN};
        int status;

        if (poll(&p, 1, 50) > 0) {
            int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

            g_assert_cmpint(fd, >=, 0);
            close(listener);
            return fd;
        }
        if (ended(q->pid, &status)) {
            g_error("the program ended with status %d while starting", WEXITSTATUS(status));
        }
    }
    kill(q->pid, SIGKILL);
    g_error("the program did not connect to the test");
}

static pid_t spawn(char **argv, int stderr_fd)
{
    pid_t pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(2, 1); /* standard output is for the test's own results */
        if (stderr_fd >= 0) {
            dup2(stderr_fd, 1);
            dup2(stderr_fd, 2);
        }
        execv(argv[0], argv);
        fprintf(stderr, "cannot run %s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    return pid;
}

static void add_words(GPtrArray *argv, const char *text)
{
    g_auto(GStrv) words = NULL;
    GError *err = NULL;

    if (!g_shell_parse_argv(text, NULL, &words, &err)) {
        if (g_error_matches(err, G_SHELL_ERROR, G_SHELL_ERROR_EMPTY_STRING)) {
            g_error_free(err);
            return;
        }
        g_error("bad arguments '%s': %s", text, err->message);
    }
    for (char **w = words; *w; w++) {
        g_ptr_array_add(argv, g_strdup(*w));
    }
}

static Json *read_qmp(QTest *q);

QTest *qtest_start(const char *fmt, ...)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *extra = NULL;
    g_autofree char *qtest_path = NULL;
    g_autofree char *qmp_path = NULL;
    QTest *q = g_new0(QTest, 1);
    int qtest_fd, qmp_fd;
    va_list ap;

    va_start(ap, fmt);
    extra = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    q->dir = make_dir();
    g_queue_init(&q->events);
    qtest_path = g_build_filename(q->dir, "qtest", NULL);
    qmp_path = g_build_filename(q->dir, "qmp", NULL);
    qtest_fd = listen_at(qtest_path);
    qmp_fd = listen_at(qmp_path);
    g_ptr_array_add(argv, g_strdup(binary()));
    g_ptr_array_add(argv, g_strdup("-qtest"));
    g_ptr_array_add(argv, g_strdup_printf("unix:%s", qtest_path));
    g_ptr_array_add(argv, g_strdup("-qmp"));
    g_ptr_array_add(argv, g_strdup_printf("unix:%s", qmp_path));
    add_words(argv, "-accel qtest -display none -nodefaults");
    add_words(argv, extra);
    g_ptr_array_add(argv, NULL);
    q->pid = spawn((char **)argv->pdata, -1);
    q->qtest = (Line){.fd = accept_from(q, qtest_fd), .buf = g_string_new(NULL)};
    q->qmp = (Line){.fd = accept_from(q, qmp_fd), .buf = g_string_new(NULL)};
    json_unref(read_qmp(q)); /* the greeting */
    json_unref(qtest_qmp(q, "qmp_capabilities", NULL));
    return q;
}

static void qtest_free(QTest *q)
{
    close(q->qtest.fd);
    close(q->qmp.fd);
    g_string_free(q->qtest.buf, TRUE);
    g_string_free(q->qmp.buf, TRUE);
    g_queue_clear_full(&q->events, (GDestroyNotify)json_unref);
    remove_dir(q->dir);
    g_free(q->dir);
    g_free(q);
}

int qtest_wait_exit(QTest *q)
{
    int status = 0;

    for (int waited = 0; waited < PATIENCE_MS; waited += 5) {
        if (ended(q->pid, &status)) {
            qtest_free(q);
            if (WIFSIGNALED(status)) {
                g_error("the program was killed by signal %d", WTERMSIG(status));
            }
            return WEXITSTATUS(status);
        }
        g_usleep(5000);
    }
    kill(q->pid, SIGKILL);
    g_error("the program does not end");
}

void qtest_kill(QTest *q)
{
    int status;

    kill(q->pid, SIGKILL);
    while (!ended(q->pid, &status)) {
        g_usleep(500);
    }
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        g_error("the program had ended with status %#x before it was killed", status);
    }
    qtest_free(q);
}

static void send_qmp(QTest *q, const char *command, Json *args);

void qtest_quit(QTest *q)
{
    int status;

    send_qmp(q, "quit", NULL);
    status = qtest_wait_exit(q);
    if (status) {
        g_error("the program ended with status %d", status);
    }
}

int qtest_run_to_end(char **stderr_text, const char *fmt, ...)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *extra = NULL;
    g_autofree char *dir = make_dir();
    g_autofree char *path = g_build_filename(dir, "stderr", NULL);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), status = 0;
    pid_t pid;
    va_list ap;

    va_start(ap, fmt);
    extra = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_ptr_array_add(argv, g_strdup(binary()));
    add_words(argv, extra);
    g_ptr_array_add(argv, NULL);
    pid = spawn((char **)argv->pdata, fd);
    for (int waited = 0; !ended(pid, &status); waited += 5) {
        if (waited > PATIENCE_MS) {
            kill(pid, SIGKILL);
            g_error("the program does not end: %s", extra);
        }
        g_usleep(5000);
    }
    if (WIFSIGNALED(status)) {
        g_error("the program was killed by signal %d: %s", WTERMSIG(status), extra);
    }
    close(fd);
    if (stderr_text && !g_file_get_contents(path, stderr_text, NULL, NULL)) {
        *stderr_text = g_strdup("");
    }
    remove_dir(dir);
    return WEXITSTATUS(status);
}

static char *exit_dir;

static void remove_exit_dir(void)
{
    remove_dir(exit_dir);
    g_free(exit_dir);
}

const char *qtest_tmpdir(QTest *q)
{
    if (q) {
        return q->dir;
    }
    if (!exit_dir) {
        exit_dir = make_dir();
        atexit(remove_exit_dir);
    }
    return exit_dir;
}

/* ---- lines ---- */

static void send_all(QTest *q, Line *l, const char *text, size_t len)
{
    while (len) {
        ssize_t n = send(l->fd, text, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            describe_end(q, "while the test was writing to it");
        }
        text += n;
        len -= (size_t)n;
    }
}

/* The next line without its end; the caller frees. */
static char *read_line(QTest *q, Line *l)
{
    size_t looked = 0;

    for (;;) {
        char *nl = memchr(l->buf->str + looked, '\n', l->buf->len - looked);
        struct pollfd p = {.fd = l->fd, .events = POLLIN};
        char buf[4096];
        ssize_t n;

        if (nl) {
            char *line = g_strndup(l->buf->str, (gsize)(nl - l->buf->str));

            g_string_erase(l->buf, 0, nl - l->buf->str + 1);
            return g_strchomp(line);
        }
        looked = l->buf->len;
        if (poll(&p, 1, PATIENCE_MS) == 0) {
            kill(q->pid, SIGABRT);
            g_error("no answer from the program");
        }
        n = read(l->fd, buf, sizeof(buf));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            describe_end(q, "while the test waited for its answer");
        }
        g_string_append_len(l->buf, buf, n);
    }
}

static void note_irq(QTest *q, const char *line)
{
    int n;

    if (sscanf(line, "IRQ raise %d", &n) == 1 && n >= 0 && n < IRQ_LINES) {
        q->level[n] = 1;
        q->raised[n]++;
    } else if (sscanf(line, "IRQ lower %d", &n) == 1 && n >= 0 && n < IRQ_LINES) {
        q->level[n] = 0;
    } else {
        g_error("unexpected line '%s'", line);
    }
}

/* Sends a command; what follows "OK" and a blank, the caller frees. */
static char *command(QTest *q, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static char *command(QTest *q, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    send_all(q, &q->qtest, text, strlen(text));
    send_all(q, &q->qtest, "\n", 1);
    for (;;) {
        g_autofree char *line = read_line(q, &q->qtest);

        if (g_str_has_prefix(line, "IRQ ")) {
            note_irq(q, line);
        } else if (strcmp(line, "OK") == 0) {
            return g_strdup("");
        } else if (g_str_has_prefix(line, "OK ")) {
            return g_strdup(line + 3);
        } else {
            text[MIN(strlen(text), (size_t)80)] = 0;
            g_error("'%s' was answered '%s'", text, line);
        }
    }
}

static uint64_t number(char *answer)
{
    char *end;
    uint64_t v = g_ascii_strtoull(answer, &end, 0);

    if (*end || end == answer) {
        g_error("'%s' is no number", answer);
    }
    g_free(answer);
    return v;
}

/* ---- accesses ---- */

uint8_t qtest_inb(QTest *q, uint16_t port)
{
    return (uint8_t)number(command(q, "inb 0x%x", port));
}

uint16_t qtest_inw(QTest *q, uint16_t port)
{
    return (uint16_t)number(command(q, "inw 0x%x", port));
}

uint32_t qtest_inl(QTest *q, uint16_t port)
{
    return (uint32_t)number(command(q, "inl 0x%x", port));
}

void qtest_outb(QTest *q, uint16_t port, uint8_t v)
{
    g_free(command(q, "outb 0x%x 0x%x", port, v));
}

void qtest_outw(QTest *q, uint16_t port, uint16_t v)
{
    g_free(command(q, "outw 0x%x 0x%x", port, v));
}

void qtest_outl(QTest *q, uint16_t port, uint32_t v)
{
    g_free(command(q, "outl 0x%x 0x%x", port, v));
}

uint8_t qtest_readb(QTest *q, uint64_t addr)
{
    return (uint8_t)number(command(q, "readb 0x%" PRIx64, addr));
}

uint16_t qtest_readw(QTest *q, uint64_t addr)
{
    return (uint16_t)number(command(q, "readw 0x%" PRIx64, addr));
}

uint32_t qtest_readl(QTest *q, uint64_t addr)
{
    return (uint32_t)number(command(q, "readl 0x%" PRIx64, addr));
}

uint64_t qtest_readq(QTest *q, uint64_t addr)
{
    return number(command(q, "readq 0x%" PRIx64, addr));
}

void qtest_writeb(QTest *q, uint64_t addr, uint8_t v)
{
    g_free(command(q, "writeb 0x%" PRIx64 " 0x%x", addr, v));
}

void qtest_writew(QTest *q, uint64_t addr, uint16_t v)
{
    g_free(command(q, "writew 0x%" PRIx64 " 0x%x", addr, v));
}

void qtest_writel(QTest *q, uint64_t addr, uint32_t v)
{
    g_free(command(q, "writel 0x%" PRIx64 " 0x%x", addr, v));
}

void qtest_writeq(QTest *q, uint64_t addr, uint64_t v)
{
    g_free(command(q, "writeq 0x%" PRIx64 " 0x%" PRIx64, addr, v));
}

void qtest_memread(QTest *q, uint64_t addr, void *buf, size_t len)
{
    uint8_t *p = buf;

    while (len) {
        size_t n = MIN(len, (size_t)CHUNK);
        g_autofree char *text = command(q, "b64read 0x%" PRIx64 " 0x%zx", addr, n);
        gsize got;
        g_autofree guchar *bytes = g_base64_decode(text, &got);

        g_assert_cmpuint(got, ==, n);
        memcpy(p, bytes, n);
        p += n;
        addr += n;
        len -= n;
    }
}

void qtest_memwrite(QTest *q, uint64_t addr, const void *buf, size_t len)
{
    const uint8_t *p = buf;

    while (len) {
        size_t n = MIN(len, (size_t)CHUNK);
        g_autofree char *text = g_base64_encode(p, n);

        g_free(command(q, "b64write 0x%" PRIx64 " 0x%zx %s", addr, n, text));
        p += n;
        addr += n;
        len -= n;
    }
}

void qtest_memset(QTest *q, uint64_t addr, uint8_t byte, size_t len)
{
    while (len) {
        size_t n = MIN(len, (size_t)CHUNK * 4);

        g_free(command(q, "memset 0x%" PRIx64 " 0x%zx 0x%x", addr, n, byte));
        addr += n;
        len -= n;
    }
}

/* ---- time and interrupts ---- */

int64_t qtest_clock_step(QTest *q, int64_t ns)
{
    return (int64_t)number(command(q, "clock_step %" PRId64, ns));
}

int64_t qtest_clock_step_next(QTest *q)
{
    return (int64_t)number(command(q, "clock_step"));
}

int64_t qtest_clock_set(QTest *q, int64_t ns)
{
    return (int64_t)number(command(q, "clock_set %" PRId64, ns));
}

void qtest_breathe(QTest *q)
{
    g_usleep(1000);
    qtest_clock_step(q, 100000);
}

void qtest_irq_intercept_in(QTest *q, const char *path)
{
    g_free(command(q, "irq_intercept_in %s", path));
}

void qtest_irq_intercept_out(QTest *q, const char *path)
{
    g_free(command(q, "irq_intercept_out %s", path));
}

bool qtest_irq(QTest *q, int n)
{
    /* A round trip: what was raised by now has been told by then. */
    g_free(command(q, "endianness"));
    g_assert_cmpint(n, <, IRQ_LINES);
    return q->level[n];
}

unsigned qtest_irq_raised(QTest *q, int n)
{
    unsigned times;

    qtest_irq(q, n);
    times = q->raised[n];
    q->raised[n] = 0;
    return times;
}

/* ---- QMP ---- */

/* The next value from the monitor. */
static Json *read_qmp(QTest *q)
{
    g_autofree char *line = read_line(q, &q->qmp);
    g_autoptr(Error) err = NULL;
    Json *j = json_parse(line, &err);

    if (!j) {
        g_error("the monitor said '%s': %s", line, error_message(err));
    }
    return j;
}

static void send_qmp(QTest *q, const char *command, Json *args)
{
    g_autoptr(Json) request = json_object();
    g_autofree char *text = NULL, *line = NULL;

    json_put_string(request, "execute", command);
    if (args) {
        json_put(request, "arguments", args);
    }
    text = json_print(request, false);
    /* In one piece: after a whole "quit" the program may be gone. */
    line = g_strconcat(text, "\n", NULL);
    send_all(q, &q->qmp, line, strlen(line));
}

static Json *execute(QTest *q, const char *name, Json *args)
{
    send_qmp(q, name, args);
    for (;;) {
        Json *answer = read_qmp(q);

        if (!json_get(answer, "event")) {
            return answer;
        }
        g_queue_push_tail(&q->events, answer);
    }
}

static Json *parse_args(const char *fmt, va_list ap)
{
    g_autofree char *text = NULL;
    g_autoptr(Error) err = NULL;
    Json *j;

    if (!fmt) {
        return NULL;
    }
    text = g_strdup_vprintf(fmt, ap);
    j = json_parse(text, &err);
    if (!j) {
        g_error("bad arguments %s: %s", text, error_message(err));
    }
    return j;
}

void qtest_qmp_send(QTest *q, const char *name, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    send_qmp(q, name, parse_args(fmt, ap));
    va_end(ap);
}

Json *qtest_qmp_try(QTest *q, const char *name, const char *fmt, ...)
{
    Json *args;
    va_list ap;

    va_start(ap, fmt);
    args = parse_args(fmt, ap);
    va_end(ap);
    return execute(q, name, args);
}

Json *qtest_qmp(QTest *q, const char *name, const char *fmt, ...)
{
    g_autoptr(Json) answer = NULL;
    Json *args;
    va_list ap;

    va_start(ap, fmt);
    args = parse_args(fmt, ap);
    va_end(ap);
    answer = execute(q, name, args);
    if (!json_get(answer, "return")) {
        g_autofree char *text = json_print(answer, false);

        g_error("%s was answered %s", name, text);
    }
    return json_ref(json_get(answer, "return"));
}

Json *qtest_qmp_event(QTest *q, const char *name)
{
    for (GList *l = q->events.head; l; l = l->next) {
        if (g_strcmp0(json_get_str(l->data, "event"), name) == 0) {
            Json *event = l->data;

            g_queue_delete_link(&q->events, l);
            return event;
        }
    }
    for (;;) {
        Json *j = read_qmp(q);

        if (g_strcmp0(json_get_str(j, "event"), name) == 0) {
            return j;
        }
        g_queue_push_tail(&q->events, j);
    }
}

char *qtest_hmp(QTest *q, const char *fmt, ...)
{
    g_autofree char *line = NULL;
    g_autoptr(Json) answer = NULL;
    Json *args = json_object();
    va_list ap;

    va_start(ap, fmt);
    line = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    json_put_string(args, "command-line", line);
    answer = execute(q, "human-monitor-command", args);
    if (!json_get_str(answer, "return")) {
        g_error("'%s' was not executed", line);
    }
    return g_strdup(json_get_str(answer, "return"));
}
