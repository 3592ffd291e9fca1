/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The module "slirp". */
#include "net/slirp-module.h"

#include "config.h"

MODULE_TABLE(SlirpModule) = {
    .head = {RHEA_VERSION},
    .new = slirp_new,
    .cleanup = slirp_cleanup,
    .input = slirp_input,
    .pollfds_fill = slirp_pollfds_fill,
    .pollfds_poll = slirp_pollfds_poll,
    .connection_info = slirp_connection_info,
    .add_hostfwd = slirp_add_hostfwd,
    .add_exec = slirp_add_exec,
};
