/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs in a guest (test_cpu.py): protection keys as a program sees them. Each line says
 * what happened to an access under a key's rights.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf jump;
static volatile int code;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    code = info->si_code;
    siglongjmp(jump, 1);
}

static void attempt(const char *what, volatile char *p, int write)
{
    if (sigsetjmp(jump, 1)) {
        /* The handler's rights are the default ones; longjmp kept them. */
        printf("%s %s\n", what, code == SEGV_PKUERR ? "refused" : "fault");
        return;
    }
    if (write) {
        *p = 1;
    } else {
        (void)*p;
    }
    printf("%s allowed\n", what);
}

int main(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &sa, NULL);
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int key = pkey_alloc(0, 0), status;
    if (key < 0 || pkey_mprotect(p, 4096, PROT_READ | PROT_WRITE, key)) {
        printf("no keys\n");
        return 1;
    }
    attempt("write", p, 1);
    pkey_set(key, PKEY_DISABLE_WRITE);
    attempt("read without write", p, 0);
    attempt("write without write", p, 1);
    pkey_set(key, PKEY_DISABLE_ACCESS);
    attempt("read without access", p, 0);
    attempt("other page", p + 4096, 1);
    /* The rights are each process's own, and survive turns. */
    if (fork() == 0) {
        pkey_set(key, 0);
        for (int i = 0; i < 50; i++) {
            usleep(1000);
            p[0] = 2;
        }
        _exit(pkey_get(key));
    }
    for (int i = 0; i < 50; i++) {
        usleep(1000);
        if (pkey_get(key) != PKEY_DISABLE_ACCESS) {
            printf("rights lost\n");
        }
    }
    wait(&status);
    printf("child %d\n", status);
    return 0;
}
