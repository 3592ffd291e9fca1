/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process around the machine: going into the background, signals, rights.  What is
 * static here belongs to the process, not to a machine.
 */
#include "system/setup.h"
#include "util/module.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- -daemonize ---- */
static int daemon_pipe = -1;

/* The parent: says what the child says, and ends with its success. */
static _Noreturn void parent_wait(int fd, pid_t child)
{
    char ok = 0;
    ssize_t n;
    do {
        n = read(fd, &ok, 1);
    } while (n < 0 && errno == EINTR);
    if (n == 1 && ok == 'k') {
        _exit(0);
    }
    /* The child has printed why: it still had our standard error. */
    int status;
    waitpid(child, &status, 0);
    _exit(1);
}

bool daemon_start(Error **errp)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        error_set_errno(errp, errno, "-daemonize: could not make a pipe");
        return false;
    }
    pid_t pid = fork();
    if (pid < 0) {
        error_set_errno(errp, errno, "-daemonize: could not fork");
        return false;
    }
    if (pid > 0) {
        close(fds[1]);
        parent_wait(fds[0], pid);
    }
    close(fds[0]);
    daemon_pipe = fds[1];
    setsid();
    signal(SIGTTOU, SIG_IGN);
    signal(SIGTTIN, SIG_IGN);
    return true;
}

void daemon_ready(void)
{
    if (daemon_pipe < 0) {
        return;
    }
    int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        if (null > 2) {
            close(null);
        }
    }
    ssize_t n G_GNUC_UNUSED = write(daemon_pipe, "k", 1);
    close(daemon_pipe);
    daemon_pipe = -1;
}

/* ---- -pidfile ---- */
static char *pidfile_path;
static dev_t pidfile_dev;
static ino_t pidfile_ino;

bool pidfile_write(const char *path, Error **errp)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat st;
    if (fd < 0) {
        error_set_errno(errp, errno, "-pidfile: could not open '%s'", path);
        return false;
    }
    if (fcntl(fd, F_SETLK, &lock) < 0) { /* held as long as we live */
        fcntl(fd, F_GETLK, &lock);
        error_set(errp, "-pidfile: '%s' is in use by process %ld", path, (long)lock.l_pid);
        close(fd);
        return false;
    }
    g_autofree char *text = g_strdup_printf("%ld\n", (long)getpid());
    if (ftruncate(fd, 0) < 0 || write(fd, text, strlen(text)) < 0 || fstat(fd, &st) < 0) {
        error_set_errno(errp, errno, "-pidfile: could not write '%s'", path);
        close(fd);
        return false;
    }
    pidfile_path = realpath(path, NULL);
    pidfile_dev = st.st_dev;
    pidfile_ino = st.st_ino;
    return true;
}

void pidfile_remove(void)
{
    struct stat st;
    /* Only if it is still ours. */
    if (pidfile_path && stat(pidfile_path, &st) == 0 && st.st_dev == pidfile_dev &&
        st.st_ino == pidfile_ino) {
        unlink(pidfile_path);
    }
    free(pidfile_path);
    pidfile_path = NULL;
}

/* ---- signals ---- */
static int signal_fd = -1;

static void signal_came(void *opaque)
{
    Vm *vm = opaque;
    struct signalfd_siginfo si;
    if (read(signal_fd, &si, sizeof(si)) != sizeof(si)) {
        return;
    }
    if (si.ssi_pid) {
        g_autofree char *path = g_strdup_printf("/proc/%u/comm", si.ssi_pid);
        g_autofree char *comm = NULL;
        g_file_get_contents(path, &comm, NULL, NULL);
        report_info("terminating on signal %u from process %u (%s)", si.ssi_signo, si.ssi_pid,
                    comm ? g_strstrip(comm) : "ended since");
    } else {
        report_info("terminating on signal %u", si.ssi_signo);
    }
    vm_request_shutdown(vm, Q_SHUTDOWN_CAUSE_HOST_SIGNAL, 0);
}

bool signals_setup(Vm *vm, Error **errp)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signal_fd < 0) {
        error_set_errno(errp, errno, "Could not watch for signals");
        return false;
    }
    loop_watch_fd(vm->control, signal_fd, signal_came, NULL, vm);
    return true;
}

/* ---- -run-with ---- */
static bool find_user(const char *text, uid_t *uid, gid_t *gid, const char **name, Error **errp)
{
    char *end;
    unsigned long u = strtoul(text, &end, 10);
    if (end != text && *end == ':') {
        unsigned long g = strtoul(end + 1, &end, 10);
        if (!*end) {
            *uid = (uid_t)u;
            *gid = (gid_t)g;
            return true;
        }
    }
    struct passwd *pw = getpwnam(text);
    if (!pw) {
        error_set(errp, "-run-with: there is no user '%s'", text);
        error_hint(errp, "user= takes a name or UID:GID");
        return false;
    }
    *uid = pw->pw_uid;
    *gid = pw->pw_gid;
    *name = pw->pw_name;
    return true;
}

bool rights_drop(const char *user, const char *chroot_dir, Error **errp)
{
    uid_t uid = 0;
    gid_t gid = 0;
    const char *name = NULL;
    if (user && !find_user(user, &uid, &gid, &name, errp)) {
        return false;
    }
    if (chroot_dir) { /* modules could not be found from in there */
        module_load_all();
    }
    if (chroot_dir && (chroot(chroot_dir) < 0 || chdir("/") < 0)) {
        error_set_errno(errp, errno, "-run-with: could not chroot to '%s'", chroot_dir);
        return false;
    }
    if (user && ((name ? initgroups(name, gid) : setgroups(1, &gid)) < 0 || setgid(gid) < 0 ||
                 setuid(uid) < 0)) {
        error_set_errno(errp, errno, "-run-with: could not become user '%s'", user);
        return false;
    }
    if (user && uid && setuid(0) == 0) {
        error_set(errp, "-run-with: root's rights could not be dropped");
        return false;
    }
    return true;
}
