/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tests/qtest/net-frames.h: Ethernet frames for tests of network cards.
 */
#ifndef RHEA_TESTS_NET_FRAMES_H
#define RHEA_TESTS_NET_FRAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Who has 10.0.2.2? Asked by 10.0.2.15. 60 bytes. */
static inline void arp_request(uint8_t f[64], const uint8_t mac[6])
{
    static const uint8_t head[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 1};
    static const uint8_t from[] = {10, 0, 2, 15}, to[] = {10, 0, 2, 2};
    memset(f, 0, 64);
    memset(f, 0xff, 6);
    memcpy(f + 6, mac, 6);
    memcpy(f + 12, head, sizeof(head));
    memcpy(f + 22, mac, 6);
    memcpy(f + 28, from, 4);
    memcpy(f + 38, to, 4);
}

static inline bool is_arp_answer(const uint8_t *f)
{
    static const uint8_t from[] = {10, 0, 2, 2};
    return f[12] == 8 && f[13] == 6 && f[21] == 2 && !memcmp(f + 28, from, 4);
}

#endif
