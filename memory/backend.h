/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory/backend.h: `-object memory-backend-ram|-file|-memfd`: RAM that the user
 * describes and a machine or a NUMA node uses.
 *
 * Its memory is made by object_complete(); one user claims it.  Control thread.
 */
#ifndef RHEA_MEMORY_BACKEND_H
#define RHEA_MEMORY_BACKEND_H

#include "memory/memory.h"
#include "qom/object.h"

typedef enum BackendPolicy {
    BACKEND_POLICY_DEFAULT,
    BACKEND_POLICY_PREFERRED,
    BACKEND_POLICY_BIND,
    BACKEND_POLICY_INTERLEAVE,
} BackendPolicy;

typedef struct MemoryBackend {
    Object obj;
    uint64_t size;
    bool merge, dump, prealloc, share, reserve, canonical_id;
    uint32_t prealloc_threads;
    PropArray *host_nodes;
    int policy; /* BackendPolicy */
    /* -file */
    char *path;
    uint64_t align, offset;
    bool discard, readonly;
    int rom; /* OnOffAuto */
    /* -memfd */
    bool hugetlb, seal;
    uint64_t hugetlbsize;

    RamBlock *ram; /* after complete */
    bool claimed;
} MemoryBackend;

#define TYPE_MEMORY_BACKEND "memory-backend"
#define MEMORY_BACKEND(o) OBJECT_CAST(MemoryBackend, o, TYPE_MEMORY_BACKEND)

/* The RAM, for one user; the caller owns a reference of it until it releases the backend. */
RamBlock *memory_backend_claim(MemoryBackend *b, MemorySystem *sys, Error **errp);
void memory_backend_release(MemoryBackend *b);
/* The backend of this id below /objects. */
MemoryBackend *memory_backend_find(Object *root, const char *id, Error **errp);
/* One element of query-memdev. */
Json *memory_backend_info(MemoryBackend *b);

#endif
