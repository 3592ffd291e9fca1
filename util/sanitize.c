/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/sanitize.h"

#ifdef __SANITIZE_THREAD__
unsigned tsan_fence_word;
#endif
