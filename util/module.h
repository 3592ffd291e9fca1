/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/module.h: optional libraries, loaded when they are first used.
 *
 * The program itself links only what every machine needs.  A library that serves one
 * feature (PNG, zstd, libslirp, ...) is linked by a module: a small shared object that
 * exports one constant table of functions.  Types, options and help live in the program,
 * so that they are the same whether the module is there or not.
 *
 * Modules lie in `modules/` beside the program in a build folder, else in LIBDIR/rhea.
 */
#ifndef RHEA_UTIL_MODULE_H
#define RHEA_UTIL_MODULE_H

#include "util/error.h"

/* What every module's table begins with. */
typedef struct ModuleHead {
    const char *version; /* RHEA_VERSION of its build; another one is refused */
} ModuleHead;

/* A module defines its table with this: MODULE_TABLE(PngModule) = {{RHEA_VERSION}, ...}; */
#define MODULE_SYMBOL "rhea_module"
#define MODULE_TABLE(type)         \
    extern const type rhea_module; \
    const type rhea_module

/*
 * The table of the module `name`, loaded if it was not yet; it stays for good.  Any
 * thread; may read files.  NULL: it is not there, or its library is not; the message
 * names both and the hint says which package brings them.
 */
const void *module_load(const char *name, Error **errp);
/* Loads all that can be loaded: before the process gives up the right to open files. */
void module_load_all(void);

#endif
