/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -sandbox: what the filter lets through and what not, each tried in a process of its own. */
#include "system/setup.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NO_FILTER 200

static const SandboxRules all = {
    .on = true, .deny_rights = true, .deny_spawn = true, .deny_resources = true};
static const SandboxRules few = {.on = true, .allow_obsolete = true};

static void *nothing(void *opaque)
{
    return opaque;
}

/* ---- what is tried: the errno, 0 if it works ---- */

static int try_thread(void)
{
    pthread_t t;
    int it;
    void *back;
    return pthread_create(&t, NULL, nothing, &it) || pthread_join(t, &back) || back != &it;
}

static int try_fork(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    return pid < 0 ? errno : waitpid(pid, &status, 0) != pid;
}

static int try_program(void)
{
    char *const argv[] = {"true", NULL};
    int status;
    pid_t pid;
    int ret = posix_spawn(&pid, "/bin/true", NULL, NULL, argv, argv + 1);
    return ret ? ret : waitpid(pid, &status, 0) != pid || status != 0;
}

static int try_priority(void)
{
    return setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0)) ? errno : 0;
}

static int try_mount(void)
{
    return mount("none", "/nowhere", "tmpfs", 0, NULL) ? errno : 0;
}

static int try_user(void)
{
    return setuid(getuid()) ? errno : 0;
}

static int try_host_name(void)
{
    return syscall(SYS_sethostname, NULL, 1 << 20) ? errno : 0; /* an invalid length */
}

static int try_obsolete(void)
{
    return syscall(SYS_remap_file_pages, NULL, 0, 0, 0, 0) ? errno : 0;
}

static int try_new_rights(void)
{
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
}

/* Of another thread, which was there before the filter. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *other_thread(void *opaque)
{
    pthread_mutex_lock(&gate);
    *(int *)opaque = try_fork();
    pthread_mutex_unlock(&gate);
    return NULL;
}

static int in_sandbox(const SandboxRules *r, int (*what)(void))
{
    Error *err = NULL;
    int result = -1, status;
    pid_t pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        pthread_t t;
        if (!what) {
            pthread_mutex_lock(&gate);
            pthread_create(&t, NULL, other_thread, &result);
        }
        if (!sandbox_enter(r, &err)) {
            _exit(NO_FILTER);
        }
        if (what) {
            _exit(what());
        }
        pthread_mutex_unlock(&gate);
        pthread_join(t, NULL);
        _exit(result);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool able(void)
{
    if (in_sandbox(&few, try_thread) == NO_FILTER) {
        g_test_skip("this kernel takes no filters");
        return false;
    }
    return true;
}

static void test_all(void)
{
    if (!able()) {
        return;
    }
    g_assert_cmpint(in_sandbox(&all, try_thread), ==, 0);
    g_assert_cmpint(in_sandbox(&all, NULL), ==, EPERM);
    g_assert_cmpint(in_sandbox(&all, try_fork), ==, EPERM);
    g_assert_cmpint(in_sandbox(&all, try_program), ==, EPERM);
    g_assert_cmpint(in_sandbox(&all, try_priority), ==, EPERM);
    g_assert_cmpint(in_sandbox(&all, try_mount), ==, EPERM);
    g_assert_cmpint(in_sandbox(&all, try_user), ==, -SIGSYS);
    g_assert_cmpint(in_sandbox(&all, try_host_name), ==, -SIGSYS);
    g_assert_cmpint(in_sandbox(&all, try_obsolete), ==, -SIGSYS);
    g_assert_cmpint(in_sandbox(&all, try_new_rights), ==, 1);
}

static void test_few(void)
{
    SandboxRules children = few;

    if (!able()) {
        return;
    }
    children.deny_rights_of_children = true;
    g_assert_cmpint(in_sandbox(&few, try_thread), ==, 0);
    g_assert_cmpint(in_sandbox(&few, try_fork), ==, 0);
    g_assert_cmpint(in_sandbox(&few, try_program), ==, 0);
    g_assert_cmpint(in_sandbox(&few, try_priority), ==, 0);
    g_assert_cmpint(in_sandbox(&few, try_user), ==, 0);
    g_assert_cmpint(in_sandbox(&few, try_obsolete), >, 0);
    g_assert_cmpint(in_sandbox(&few, try_mount), ==, EPERM);
    g_assert_cmpint(in_sandbox(&few, try_host_name), ==, -SIGSYS);
    g_assert_cmpint(in_sandbox(&children, try_new_rights), ==, 1);
    g_assert_cmpint(in_sandbox(&children, try_user), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sandbox/all", test_all);
    g_test_add_func("/sandbox/few", test_few);
    return g_test_run();
}
