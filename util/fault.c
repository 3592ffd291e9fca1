/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/fault.h"

/* State of a test's thread, not of any machine. */
static __thread unsigned left;
static __thread bool fired;

void fault_arm(unsigned n)
{
    left = n;
    fired = false;
}

bool fault_fired(void)
{
    return fired;
}

bool fault_here(const char *step, Error **errp)
{
    if (G_LIKELY(!left) || --left) {
        return false;
    }
    fired = true;
    error_set(errp, "%s: made to fail by a test", step);
    return true;
}
