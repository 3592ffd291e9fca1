/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The program that runs inside the guest of tests/bench/cpu: it is init, takes requests
 * from the serial line and answers with what it measured by the guest's clock.
 *
 *   row NAME SECONDS              a row of rows.c, in batches until so much time has passed
 *   exec SECONDS COMMAND [ARG…]   runs the command again and again
 *   off                           ends the machine
 *
 * Each answer: "<BEGIN>" when measuring starts, "<END> OPERATIONS SECONDS" or
 * "<SKIP> reason".
 */
#include "rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void answer(double operations, double seconds)
{
    printf("<END> %.6g %.6f\n", operations, seconds);
    fflush(stdout);
}

static void run_row(const char *name, double seconds)
{
    const Row *r = rows;
    while (r->name && strcmp(r->name, name)) {
        r++;
    }
    if (!r->name || (r->usable && !r->usable())) {
        printf("<SKIP> %s\n", r->name ? "the CPU can't" : "no such row");
        fflush(stdout);
        return;
    }
    if (r->setup) {
        r->setup();
    }
    r->batch(); /* caches, page tables, translated code */
    printf("<BEGIN>\n");
    fflush(stdout);
    double operations = 0, start = now(), t;
    do {
        operations += r->batch();
        t = now() - start;
    } while (t < seconds);
    answer(operations, t);
}

static int run_once(char **argv)
{
    int status;
    pid_t pid = fork();
    if (!pid) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        if (!getenv("BENCH_ERRORS")) {
            dup2(null, 2);
        }
        execvp(argv[0], argv);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0) {
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void run_program(double seconds, char **argv)
{
    printf("<BEGIN>\n");
    fflush(stdout);
    double operations = 0, start = now(), t;
    do {
        int status = run_once(argv);
        if (status) {
            printf("<SKIP> %s: status %d\n", argv[0], status);
            fflush(stdout);
            return;
        }
        operations++;
        t = now() - start;
    } while (t < seconds);
    answer(operations, t);
}

static void request(char *line)
{
    char *argv[64];
    int n = 0;
    for (char *p = strtok(line, " \r\n"); p && n < 63; p = strtok(NULL, " \r\n")) {
        argv[n++] = p;
    }
    argv[n] = NULL;
    if (n == 3 && !strcmp(argv[0], "row")) {
        run_row(argv[1], atof(argv[2]));
    } else if (n >= 3 && !strcmp(argv[0], "exec")) {
        run_program(atof(argv[1]), argv + 2);
    } else if (n == 1 && !strcmp(argv[0], "off")) {
        reboot(RB_POWER_OFF);
    } else if (n) {
        printf("<SKIP> not understood\n");
        fflush(stdout);
    }
}

static void be_init(void)
{
    mkdir("/proc", 0755);
    mkdir("/dev", 0755);
    mkdir("/tmp", 01777);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    mount("tmp", "/tmp", "tmpfs", 0, NULL);
    int tty = open("/dev/ttyS0", O_RDWR);
    if (tty >= 0) {
        dup2(tty, 0);
        dup2(tty, 1);
        dup2(tty, 2);
    }
    struct termios t;
    tcgetattr(0, &t);
    t.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG);
    t.c_iflag &= ~(tcflag_t)ICRNL;
    tcsetattr(0, TCSANOW, &t);
    setenv("PATH", "/usr/bin:/bin:/usr/sbin:/sbin", 1);
    setenv("HOME", "/tmp", 1);
    setenv("LC_ALL", "C", 1);
    if (chdir("/tmp")) {
        perror("/tmp");
    }
}

int main(int argc, char **argv)
{
    char line[1024];
    if (argc == 2 && !strcmp(argv[1], "nothing")) {
        return 0; /* what fork+exec runs */
    }
    if (argc == 3) { /* one row, on any Linux */
        run_row(argv[1], atof(argv[2]));
        return 0;
    }
    if (getpid() == 1) {
        be_init();
    }
    printf("<READY>\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        request(line);
    }
    return 0;
}
