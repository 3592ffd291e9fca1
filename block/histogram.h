/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/histogram.h: how long a drive's requests take, counted by intervals of time
 * (block-latency-histogram-set, query-blockstats).  All under the drive's loop's lock.
 */
#ifndef RHEA_BLOCK_HISTOGRAM_H
#define RHEA_BLOCK_HISTOGRAM_H

#include "util/error.h"
#include "util/json.h"

#include <stdint.h>

#define HISTOGRAM_MAX 1024u /* boundaries */

/* bins[i] counts what took less than bounds[i], and not less than the one before. */
typedef struct BlkHistogram {
    uint64_t *bounds, *bins; /* nanoseconds; n, and n + 1 of them; NULL: nothing is counted */
    unsigned n;
} BlkHistogram;

/* `bounds`: a list of numbers above zero, each larger than the one before, or NULL: none. */
bool histogram_check(const Json *bounds, const char *name, Error **errp);
/* Begins anew with these, which were checked. */
void histogram_set(BlkHistogram *h, const Json *bounds);
void histogram_add(BlkHistogram *h, uint64_t ns);
Json *histogram_json(const BlkHistogram *h); /* NULL: nothing is counted */

#endif
