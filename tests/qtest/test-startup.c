/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting and ending: wrong options, the run state, QMP's rules, what starting costs. */
#include "libqtest.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- wrong options ---- */
static void refused(const char *args, const char *const *want)
{
    g_autofree char *text = NULL;
    int status = qtest_run_to_end(&text, "%s", args);
    g_test_message("%s: %s", args, text);
    g_assert_cmpint(status, ==, 1);
    for (; *want; want++) {
        if (!strstr(text, *want)) {
            g_error("%s: '%s' is not in: %s", args, *want, text);
        }
    }
}
#define REFUSED(args, ...) refused(args, (const char *const[]){__VA_ARGS__, NULL})

static void test_all_at_once(void)
{
    REFUSED("-nosuch -machine nosuch -m 12Q -smp 3,cores=2 -device e1000x -boot order=z",
            "-nosuch: there is no such option", "no machine type 'nosuch'", "12Q", "maxcpus (3)",
            "did you mean 'e1000'?", "-boot order=z");
    REFUSED("-machine q35,smm=maybe -accel tcg,tb-sise=1 -object iothread,id=i,x=1 "
            "-netdev user,id=n,hosttfwd=1 -nic user,model=e1000,ipv4=perhaps -device e1000,mca=1 "
            "-device virtio-blk-pci,drive=nosuch,scsi=7,serial=x -object nosuch,id=n",
            "smm=maybe", "did you mean 'tb-size'?", "iothread,id=i,x=1", "did you mean 'hostfwd'?",
            "ipv4=perhaps", "did you mean 'mac'?", "no object type 'nosuch'");
}

static void test_mistakes(void)
{
    REFUSED("-cdrommm x", "did you mean -cdrom?");
    REFUSED("-spice port=1", "-spice is not supported");
    REFUSED("-m", "an argument is missing");
    REFUSED("-machine pc,nosuch=1", "nosuch");
    REFUSED("-accel nosuch", "invalid accelerator nosuch");
    REFUSED("-drive file=/nonexistent/x", "/nonexistent/x");
    REFUSED("-device e1000,mca=1", "did you mean 'mac'?", "^~~~~");
    REFUSED("-serial sdtio", "did you mean 'stdio'?");
    REFUSED("-chardev socket,id=x,path=/nonexistent/y", "Could not connect to unix:/nonexistent/y");
    REFUSED("-serial stdio -monitor stdio", "in use by another");
    REFUSED("-netdev user", "'id' is missing");
    REFUSED("-netdev nosuch,id=n", "nosuch");
    REFUSED("-object nosuch,id=n", "no object type 'nosuch'");
    REFUSED("-mon chardev=nosuch", "nosuch");
    REFUSED("-chardev null,id=c -mon c,pretty=on", "only monitors with mode=control");
    REFUSED("-chardev null,id=n -mon n,id=4x", "an id is a letter");
    REFUSED("-chardev null,id=n -chardev null,id=o -mon n,id=a -mon o,id=a", "'a' already");
    REFUSED("-qtest-log /dev/null", "there is no -qtest");
    REFUSED("-qtest null -qtest-log /nonexistent/log", "/nonexistent/log");
    REFUSED("-compat deprecated-input=crash", "reject");
    REFUSED("-append x", "-kernel");
    REFUSED("-uuid 12", "no UUID");
    REFUSED("-rtc base=yesterday", "localtime");
    REFUSED("-bios /nonexistent/bios", "/nonexistent/bios");
    REFUSED("-kernel /nonexistent/kernel", "/nonexistent/kernel");
    REFUSED("-d nosuch", "nosuch");
    REFUSED("-trace nosuch_event", "nosuch_event");
    REFUSED("-watchdog-action nosuch", "inject-nmi");
    REFUSED("-run-with user=nosuchuser", "nosuchuser");
    REFUSED("-daemonize -nographic", "exclude each other");
    REFUSED("-global nonsense", "DRIVER.PROPERTY=VALUE");
    REFUSED("-machine pc,memory-backend=nosuch", "nosuch");
    REFUSED("-readconfig /nonexistent/conf", "/nonexistent/conf");
    REFUSED("-k fr", "en-us");
    REFUSED("-m 9999999G", "memory");
}

/* A wrong line must not have written anything. */
static void test_nothing_written(void)
{
    g_autofree char *dir = g_dir_make_tmp("rhea-startup-XXXXXX", NULL);
    g_autofree char *keep = g_strdup_printf("%s/keep", dir);
    g_autofree char *pid = g_strdup_printf("%s/pid", dir);
    g_autofree char *log = g_strdup_printf("%s/log", dir);
    g_autofree char *text = NULL, *err = NULL;
    g_assert_true(g_file_set_contents(keep, "precious", -1, NULL));
    int status = qtest_run_to_end(
        &err, "-serial file:%s -pidfile %s -D %s -d int -device nosuch -drive file=/nonexistent/x",
        keep, pid, log);
    g_assert_cmpint(status, ==, 1);
    g_assert_true(g_file_get_contents(keep, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "precious");
    g_assert_false(g_file_test(pid, G_FILE_TEST_EXISTS));
    g_assert_false(g_file_test(log, G_FILE_TEST_EXISTS));
    unlink(keep);
    rmdir(dir);
}

static void test_help(void)
{
    static const char *const helps[] = {
        "-help",         "-version",          "-machine help",
        "-cpu help",     "-device help",      "-device e1000,help",
        "-chardev help", "-netdev help",      "-object help",
        "-d help",       "-trace help",       "-accel help",
        "-display help", "-machine q35,help", "-object memory-backend-ram,help",
        "-drive help"};
    for (unsigned i = 0; i < G_N_ELEMENTS(helps); i++) {
        g_autofree char *err = NULL;
        g_assert_cmpint(qtest_run_to_end(&err, "%s", helps[i]), ==, 0);
        g_assert_cmpuint(strlen(err), >, 10); /* it holds standard output, too */
        g_assert_null(strstr(err, "rhea-system-x86_64: "));
    }
}

/* ---- run state ---- */
static const char *status(QTest *q)
{
    static char text[40];
    g_autoptr(Json) r = qtest_qmp(q, "query-status", NULL);
    g_strlcpy(text, json_get_str(r, "status"), sizeof(text));
    return text;
}

static void test_run_state(void)
{
    QTest *q = qtest_start("-S");
    g_assert_cmpstr(status(q), ==, "prelaunch");
    json_unref(qtest_qmp(q, "cont", NULL));
    json_unref(qtest_qmp_event(q, "RESUME"));
    g_assert_cmpstr(status(q), ==, "running");
    json_unref(qtest_qmp(q, "stop", NULL));
    json_unref(qtest_qmp_event(q, "STOP"));
    g_assert_cmpstr(status(q), ==, "paused");
    json_unref(qtest_qmp(q, "system_reset", NULL));
    g_autoptr(Json) reset = qtest_qmp_event(q, "RESET");
    g_assert_cmpstr(json_get_str(json_get(reset, "data"), "reason"), ==, "host-qmp-system-reset");
    json_unref(qtest_qmp(q, "cont", NULL));
    json_unref(qtest_qmp(q, "system_powerdown", NULL));
    json_unref(qtest_qmp_event(q, "POWERDOWN"));
    qtest_quit(q);
}

static void test_no_shutdown(void)
{
    QTest *q = qtest_start("-machine pc -no-shutdown -device pvpanic,events=7");
    qtest_outb(q, 0x505, 4); /* the guest's driver says: shut down */
    g_autoptr(Json) ev = qtest_qmp_event(q, "SHUTDOWN");
    g_assert_cmpstr(json_get_str(json_get(ev, "data"), "reason"), ==, "guest-shutdown");
    json_unref(qtest_qmp_event(q, "STOP"));
    g_assert_cmpstr(status(q), ==, "shutdown");
    g_autoptr(Json) refused_reply = qtest_qmp_try(q, "cont", NULL);
    g_assert_nonnull(json_get(refused_reply, "error"));
    json_unref(qtest_qmp(q, "system_reset", NULL));
    json_unref(qtest_qmp_event(q, "RESET"));
    g_assert_cmpstr(status(q), ==, "paused");
    qtest_quit(q);
}

static void test_no_reboot(void)
{
    QTest *q = qtest_start("-no-reboot");
    json_unref(qtest_qmp(q, "system_reset", NULL));
    g_assert_cmpint(qtest_wait_exit(q), ==, 0);
}

static void test_panic(void)
{
    QTest *q = qtest_start("-machine pc -device pvpanic -action panic=pause");
    qtest_outb(q, 0x505, 1);
    g_autoptr(Json) ev = qtest_qmp_event(q, "GUEST_PANICKED");
    g_assert_cmpstr(json_get_str(json_get(ev, "data"), "action"), ==, "pause");
    json_unref(qtest_qmp_event(q, "STOP"));
    g_assert_cmpstr(status(q), ==, "guest-panicked");
    qtest_quit(q);
    q = qtest_start("-machine pc -device pvpanic -action panic=exit-failure");
    qtest_outb(q, 0x505, 1);
    g_assert_cmpint(qtest_wait_exit(q), ==, 1);
}

/* What a machine needs while it runs, and what it does not. */
static void test_sandbox(void)
{
    int status;
    g_autofree char *err = NULL;
    const char *dir = qtest_tmpdir(NULL);
    g_autofree char *disk = g_strdup_printf("%s/sandbox.raw", dir);
    QTest *q;

    g_assert_true(g_file_set_contents(disk, "x", 1, NULL));
    q = qtest_start("-machine pc -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
                    "resourcecontrol=deny");
    json_unref(qtest_qmp(q, "object-add", "{'qom-type': 'iothread', 'id': 'io'}"));
    json_unref(qtest_qmp(q, "blockdev-add",
                         "{'driver': 'raw', 'node-name': 'd', 'file': {'driver': 'file',"
                         "'filename': '%s'}}",
                         disk));
    json_unref(qtest_qmp(q, "chardev-add",
                         "{'id': 'c', 'backend': {'type': 'socket', 'data': {'wait': false,"
                         "'addr': {'type': 'unix', 'data': {'path': '%s.socket'}}}}}",
                         disk));
    g_assert_cmphex(qtest_inb(q, 0x64) & 0x04, ==, 0);
    qtest_kill(q); /* at its end a sanitizer would look at the process from outside */
    status = qtest_run_to_end(&err, "-sandbox on,spawn=perhaps");
    g_assert_cmpint(status, ==, 1);
    g_assert_nonnull(strstr(err, "expected one of: allow, deny"));
}

static uint8_t cmos(QTest *q, uint8_t reg)
{
    qtest_outb(q, 0x70, reg);
    return qtest_inb(q, 0x71);
}

static void test_boot_once(void)
{
    QTest *q = qtest_start("-boot order=c,once=d");
    g_assert_cmphex(cmos(q, 0x3d), ==, 0x03); /* d: the CD-ROM */
    json_unref(qtest_qmp(q, "system_reset", NULL));
    json_unref(qtest_qmp_event(q, "RESET"));
    g_assert_cmphex(cmos(q, 0x3d), ==, 0x02); /* c: the disk */
    qtest_quit(q);
}

/* ---- QMP's rules ---- */
/* Sends lines as they are; what comes back, a line an answer. */
static char **raw_session(const char *args, const char *input)
{
    g_autofree char *dir = g_dir_make_tmp("rhea-qmp-XXXXXX", NULL);
    g_autofree char *in = g_strdup_printf("%s/in", dir), *out = g_strdup_printf("%s/out", dir);
    g_autofree char *cmd =
        g_strdup_printf("%s -accel qtest -nodefaults -display none -qmp stdio %s <%s >%s",
                        g_getenv("RHEA_BINARY"), args, in, out);
    g_autofree char *text = NULL;
    g_assert_true(g_file_set_contents(in, input, -1, NULL));
    g_assert_cmpint(system(cmd), ==, 0);
    g_assert_true(g_file_get_contents(out, &text, NULL, NULL));
    unlink(in);
    unlink(out);
    rmdir(dir);
    return g_strsplit(text, "\r\n", 0);
}

static void test_qmp_errors(void)
{
    static const struct {
        const char *request, *class_name, *desc;
    } cases[] = {
        {"{'execute': 'query-status'}", "CommandNotFound", "Expecting capabilities negotiation"},
        {"{'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}}", "GenericError",
         "'oob' is not available"},
        {"{'execute': 'qmp_capabilities', 'id': 'x'}", NULL, "\"id\": \"x\""},
        {"{'execute': 'qmp_capabilities'}", "CommandNotFound", "already complete"},
        {"{'execute': 'nosuch'}", "CommandNotFound", "nosuch"},
        {"{'execute': 'stop', 'arguments': {'x': 1}}", "GenericError", "'x' is unexpected"},
        {"{'execute': 'qom-get', 'arguments': {'path': '/machine'}}", "GenericError",
         "'property' is missing"},
        {"{'execute': 'qom-get', 'arguments': {'path': '/nosuch', 'property': 'x'}}",
         "DeviceNotFound", "/nosuch"},
        {"{'execute': 'device_del', 'arguments': {'id': 'nosuch'}}", "DeviceNotFound", "nosuch"},
        {"{'execute': 'stop', 'extra': 1}", "GenericError", "'extra' is unexpected"},
        {"{'exec-oob': 'stop'}", "GenericError", "exec-oob"},
        {"{'execute': 7}", "GenericError", "must be a string"},
        {"{'execute': 'stop', 'arguments': []}", "GenericError", "must be an object"},
        {"{}", "GenericError", "lacks member 'execute'"},
        {"[]", "GenericError", "must be a JSON object"},
        {"}", "GenericError", "JSON parse error"},
        {"{'execute': 'quit', 'id': {'a': [1]}}", NULL, "\"id\": {\"a\": [1]}"},
    };
    g_autoptr(GString) input = g_string_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_string_append_printf(input, "%s\n", cases[i].request);
    }
    g_auto(GStrv) answers = raw_session("", input->str);
    g_assert_cmpuint(g_strv_length(answers), >, G_N_ELEMENTS(cases));
    g_assert_nonnull(strstr(answers[0], "\"QMP\""));
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *answer = answers[i + 1];
        g_autofree char *class_text =
            g_strdup_printf("\"class\": \"%s\"", cases[i].class_name ? cases[i].class_name : "");
        g_test_message("%s -> %s", cases[i].request, answer);
        g_assert_true(!cases[i].class_name || strstr(answer, class_text));
        g_assert_nonnull(strstr(answer, cases[i].desc));
    }
}

/* -compat: what is unstable is refused if that is wanted. */
static void test_qmp_policy(void)
{
    static const char input[] = "{'execute': 'qmp_capabilities'}\n{'execute': 'x-query-jit'}\n"
                                "{'execute': 'query-status'}\n{'execute': 'quit'}\n";
    g_auto(GStrv) free_hand = raw_session("-compat unstable-output=hide", input);
    g_auto(GStrv) strict =
        raw_session("-compat unstable-input=reject,deprecated-input=reject", input);
    g_assert_null(strstr(free_hand[2], "disabled by policy"));
    g_assert_nonnull(strstr(strict[2], "Unstable command x-query-jit disabled by policy"));
    g_assert_nonnull(strstr(strict[3], "return"));
}

/* -qtest-log has both sides of the conversation. */
static void test_qtest_log(void)
{
    g_autofree char *path = g_strdup_printf("/tmp/rhea-qtest-log-%d", getpid());
    QTest *q = qtest_start("-machine q35 -qtest-log %s", path);
    g_autofree char *text = NULL;
    qtest_outb(q, 0x80, 0x5a);
    qtest_quit(q);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    unlink(path);
    g_assert_nonnull(strstr(text, "[R +"));
    g_assert_nonnull(strstr(text, "outb 0x80 0x5a\n[S +"));
    g_assert_nonnull(strstr(text, "OK\n"));
}

/* Every query without arguments answers, and the answer fits the schema's list. */
static void test_qmp_queries(void)
{
    QTest *q = qtest_start("-machine q35 -device VGA -device e1000,id=nic0 -name guest=x");
    g_autoptr(Json) commands = qtest_qmp(q, "query-commands", NULL);
    unsigned n = 0;
    for (size_t i = 0; i < json_length(commands); i++) {
        const char *name = json_get_str(json_at(commands, i), "name");
        if (g_str_has_prefix(name, "query-") && strcmp(name, "query-qmp-schema")) {
            g_autoptr(Json) r = qtest_qmp_try(q, name, NULL);
            const Json *e = json_get(r, "error");
            if (e && !strstr(json_get_str(e, "desc"), "is missing")) { /* it wants arguments */
                g_error("%s: %s", name, json_get_str(e, "desc"));
            }
            n++;
        }
    }
    g_assert_cmpuint(n, >, 20);
    g_autoptr(Json) name = qtest_qmp(q, "query-name", NULL);
    g_assert_cmpstr(json_get_str(name, "name"), ==, "x");
    g_autoptr(Json) nic = qtest_qmp(q, "qom-get", "{'path': 'nic0', 'property': 'type'}");
    g_assert_cmpstr(json_get_string(nic), ==, "e1000");
    qtest_quit(q);
}

/* Every human command that changes nothing runs. */
static void test_hmp(void)
{
    QTest *q = qtest_start("-machine pc -device VGA");
    static const char *const lines[] = {
        "help",          "info",          "info block",    "info chardev",
        "info cpus",     "info irq",      "info roms",     "info kvm",
        "info mtree",    "info mtree -f", "info name",     "info network",
        "info numa",     "info pci",      "info qom-tree", "info qtree",
        "info ramblock", "info status",   "info uuid",     "info version",
        "info vnc",      "p 1+1",         "i/b 0x64",      "qom-list /",
        "info mice",     "log none",      "nosuch",        "info nosuch",
        "help nosuch",   "p 1/0",         "sendkey a-b",   "x"};
    for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
        g_autofree char *r = qtest_hmp(q, "%s", lines[i]);
        g_assert_nonnull(r);
    }
    qtest_quit(q);
}

/* ---- cost ---- */
static void test_budget(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    g_test_skip("a sanitizer's costs are not the program's");
    return;
#endif
    const char *binary = g_getenv("RHEA_BINARY");
    g_autofree char *cmd = g_strdup_printf(
        "printf '{\"execute\":\"qmp_capabilities\"}{\"execute\":\"quit\"}' | "
        "%s -accel qtest -machine q35 -nodefaults -display none -qmp stdio >/dev/null",
        binary);
    struct rusage before, after;
    double best = 1;
    for (int i = 0; i < 5; i++) {
        getrusage(RUSAGE_CHILDREN, &before);
        g_assert_cmpint(system(cmd), ==, 0);
        getrusage(RUSAGE_CHILDREN, &after);
        double s = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
                            before.ru_stime.tv_sec) +
                   1e-6 * (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec +
                                   after.ru_stime.tv_usec - before.ru_stime.tv_usec);
        best = MIN(best, s);
    }
    g_test_message("CPU time to the first answers and out: %.1f ms", best * 1000);
    g_test_message("resident: %ld KiB", after.ru_maxrss);
#ifndef __SANITIZE_ADDRESS__
    g_assert_cmpfloat(best, <, 0.030); /* 15 ms on a quiet machine, and the shell */
    g_assert_cmpint(after.ru_maxrss, <, 40 * 1024);
#endif
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/startup/all-at-once", test_all_at_once);
    g_test_add_func("/startup/mistakes", test_mistakes);
    g_test_add_func("/startup/nothing-written", test_nothing_written);
    g_test_add_func("/startup/help", test_help);
    g_test_add_func("/startup/run-state", test_run_state);
    g_test_add_func("/startup/no-shutdown", test_no_shutdown);
    g_test_add_func("/startup/no-reboot", test_no_reboot);
    g_test_add_func("/startup/panic", test_panic);
    g_test_add_func("/startup/boot-once", test_boot_once);
    g_test_add_func("/startup/qmp-errors", test_qmp_errors);
    g_test_add_func("/startup/qmp-policy", test_qmp_policy);
    g_test_add_func("/startup/qtest-log", test_qtest_log);
    g_test_add_func("/startup/qmp-queries", test_qmp_queries);
    g_test_add_func("/startup/hmp", test_hmp);
    g_test_add_func("/startup/sandbox", test_sandbox);
    g_test_add_func("/startup/budget", test_budget);
    return g_test_run();
}
