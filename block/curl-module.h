/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block/curl-module.h: what block/curl.c asks of libcurl (module "curl"). */
#ifndef RHEA_BLOCK_CURL_MODULE_H
#define RHEA_BLOCK_CURL_MODULE_H

#include "util/module.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct CurlSpec {
    const char *url, *username, *password, *cookie;
    bool verify;
    unsigned timeout_s;
} CurlSpec;

/* A failure leaves a text in *why, which the caller frees with g_free(). */
typedef struct CurlModule {
    ModuleHead head;
    /* Asks for the size and whether ranges can be had. Blocks. */
    void *(*open)(const CurlSpec *spec, uint64_t *size, char **why);
    /* Any thread, several at a time; exactly `len` bytes. 0 or -errno. */
    int (*pread)(void *opaque, uint64_t off, void *buf, size_t len);
    void (*close)(void *opaque);
} CurlModule;

#endif
