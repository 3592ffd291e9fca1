/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block/throttle.h: limits of bytes and requests a second, shared by the members of a group.
 *
 * Each limit is a bucket that fills with what passes and leaks at the allowed rate; with
 * a burst (`max` for `length` seconds) it may run fuller for that long.  Requests that find a
 * bucket full wait in the order of their arrival, reads and writes each in a queue of
 * their own.  While anybody waits for the graph to be quiescent, nothing is held back.
 *
 * Groups are objects (`-object throttle-group`, below /objects) or made for a drive
 * (`-drive throttling.*`, block_set_io_throttle).  Any loop; a group has a lock of its own.
 */
#ifndef RHEA_BLOCK_THROTTLE_H
#define RHEA_BLOCK_THROTTLE_H

#include "block/node.h"

typedef enum ThrottleLimit {
    THROTTLE_BPS_TOTAL,
    THROTTLE_BPS_READ,
    THROTTLE_BPS_WRITE,
    THROTTLE_IOPS_TOTAL,
    THROTTLE_IOPS_READ,
    THROTTLE_IOPS_WRITE,
    THROTTLE_LIMITS,
} ThrottleLimit;

typedef struct ThrottleConfig {
    struct {
        uint64_t avg;    /* a second; 0: unlimited */
        uint64_t max;    /* burst, a second; 0: none */
        uint64_t length; /* seconds of burst, at least 1 */
    } limit[THROTTLE_LIMITS];
    uint64_t iops_size; /* bytes that count as one request; 0: requests of any size count one */
} ThrottleConfig;

typedef struct ThrottleGroup ThrottleGroup;

#define TYPE_THROTTLE_GROUP "throttle-group"

/* "bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr": as block_set_io_throttle has them;
 * "-total" spellings: "bps-total", "bps-read", …, as options have them. */
extern const char *const throttle_qmp_names[], *const throttle_option_names[];

void throttle_config_init(ThrottleConfig *c); /* no limits */
bool throttle_config_any(const ThrottleConfig *c);
bool throttle_config_check(const ThrottleConfig *c, Error **errp);
/*
 * Takes "bps-total", "iops-read-max", "bps-write-max-length", "iops-size" … with `prefix`
 * out of the options object `from` (numbers, or strings as -drive has them); mistakes are noted.
 */
void throttle_config_take(ThrottleConfig *c, BlockOpts *o, const char *prefix);

/* The names that -drive had first: "iops", "bps_rd", "iops_wr_max", "iops_size". */
extern const char *const throttle_old_names[];
void throttle_config_take_old(ThrottleConfig *c, BlockOpts *o);

/* By name; `create`: one that nobody configured is made, for a drive.  A reference. */
ThrottleGroup *throttle_group_get(BlockGraph *g, const char *name, bool create, Error **errp);
void throttle_group_unref(ThrottleGroup *t); /* NULL is fine */
const char *throttle_group_name(const ThrottleGroup *t);
void throttle_group_config(ThrottleGroup *t, ThrottleConfig *out);
void throttle_group_set(ThrottleGroup *t, const ThrottleConfig *c);
/* In a fiber: returns when `bytes` may pass.  Outside of one, at once. */
void throttle_pass(ThrottleGroup *t, EventLoop *loop, bool write, uint64_t bytes);
/* Lets everything go that is held back. */
void throttle_release_all(BlockGraph *g);
void throttle_forget_all(BlockGraph *g); /* the graph goes */

extern const BlockDriver block_driver_throttle;

#endif
