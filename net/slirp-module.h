/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/slirp-module.h: the functions of libslirp that netdev-user uses (module "slirp"). */
#ifndef RHEA_NET_SLIRP_MODULE_H
#define RHEA_NET_SLIRP_MODULE_H

#include "util/module.h"

#include <libslirp.h>

typedef struct SlirpModule {
    ModuleHead head;
    __typeof__(slirp_new) *new;
    __typeof__(slirp_cleanup) *cleanup;
    __typeof__(slirp_input) *input;
    __typeof__(slirp_pollfds_fill) *pollfds_fill;
    __typeof__(slirp_pollfds_poll) *pollfds_poll;
    __typeof__(slirp_connection_info) *connection_info;
    __typeof__(slirp_add_hostfwd) *add_hostfwd;
    __typeof__(slirp_add_exec) *add_exec;
} SlirpModule;

#endif
