/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/module.h"

#include "config.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

/* What there is, and the Debian package with the library. */
static const struct {
    const char *name, *package;
} known[] = {
    {"capstone", "libcapstone4"}, {"cipher", "libnettle8"}, {"des", "libnettle8"},
    {"png", "libpng16-16"},       {"slirp", "libslirp0"},   {"tls", "libgnutls30"},
    {"xz", "liblzma5"},           {"zstd", "libzstd1"},     {"curl", "libcurl3-gnutls"},
    {"iscsi", "libiscsi7"},       {"nfs", "libnfs13"},      {"rbd", "librbd1"},
};

/* Of the process, as loaded objects are. */
static const ModuleHead *loaded[G_N_ELEMENTS(known)]; /* atomic */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int find(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(known); i++) {
        if (!strcmp(known[i].name, name)) {
            return (int)i;
        }
    }
    g_assert_not_reached();
}

/* Beside a program that was not installed, or beside the folder with the tests; else LIBDIR. */
static char *find_file(const char *name)
{
    g_autofree char *exe = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *folder = exe ? g_path_get_dirname(exe) : NULL;
    g_autofree char *file = g_strconcat(name, ".so", NULL);

    if (folder && !g_str_has_suffix(folder, "/bin")) {
        static const char *const places[] = {"modules", "../modules"};
        for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
            g_autofree char *path = g_build_filename(folder, places[i], file, NULL);
            if (access(path, R_OK) == 0) {
                return g_steal_pointer(&path);
            }
        }
    }
    return g_build_filename(RHEA_MODULEDIR, file, NULL);
}

/* dlopen()'s own text is the most exact there is: the file, or the library that it misses. */
static const ModuleHead *load(unsigned i, Error **errp)
{
    g_autofree char *path = find_file(known[i].name);
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const ModuleHead *head = object ? dlsym(object, MODULE_SYMBOL) : NULL;

    if (!head) {
        error_set(errp, "The module '%s' cannot be loaded: %s", known[i].name, dlerror());
        error_hint(errp, "it is built and installed with Rhea, and needs the package %s",
                   known[i].package);
    } else if (strcmp(head->version, RHEA_VERSION)) {
        error_set(errp, "The module %s belongs to Rhea %s, this is %s", path, head->version,
                  RHEA_VERSION);
        head = NULL;
    }
    if (!head && object) {
        dlclose(object);
    }
    return head;
}

typedef struct Load {
    unsigned i;
    const ModuleHead *head;
    Error *err;
} Load;

static void *load_body(void *opaque)
{
    Load *l = opaque;
    l->head = load(l->i, &l->err);
    return NULL;
}

/*
 * The caller may be a fiber, and what libraries do when they are loaded needs more stack than
 * fibers have (librados' options some hundred kilobytes): they get a thread's.
 */
static const ModuleHead *load_apart(unsigned i, Error **errp)
{
    Load l = {.i = i};
    pthread_t thread;
    int err = pthread_create(&thread, NULL, load_body, &l);
    if (err) {
        error_set_errno(errp, err, "Could not start a thread to load the module '%s'",
                        known[i].name);
        return NULL;
    }
    pthread_join(thread, NULL);
    if (l.err) {
        error_propagate(errp, l.err);
    }
    return l.head;
}

const void *module_load(const char *name, Error **errp)
{
    unsigned i = (unsigned)find(name);
    const ModuleHead *head = __atomic_load_n(&loaded[i], __ATOMIC_ACQUIRE);

    if (!head) {
        pthread_mutex_lock(&lock);
        head = loaded[i] ? loaded[i] : load_apart(i, errp);
        __atomic_store_n(&loaded[i], head, __ATOMIC_RELEASE);
        pthread_mutex_unlock(&lock);
    }
    return head;
}

void module_load_all(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(known); i++) {
        Error *err = NULL;
        if (!module_load(known[i].name, &err)) {
            error_free(err);
        }
    }
}
