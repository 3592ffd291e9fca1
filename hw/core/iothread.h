/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/core/iothread.h: `-object iothread`: one more device loop.  A device given one
 * belongs to that loop and contends with no other.  Control thread.
 */
#ifndef RHEA_HW_CORE_IOTHREAD_H
#define RHEA_HW_CORE_IOTHREAD_H

#include "event/loop.h"
#include "qom/object.h"

#define TYPE_IOTHREAD "iothread"

typedef struct IoThread {
    Object obj;
    EventLoop *loop; /* running, once the object is complete */
    int tid;
} IoThread;

#endif
