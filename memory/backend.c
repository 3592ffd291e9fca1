/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory backends: QEMU's property names on top of RAM blocks. */
#include "memory/backend.h"

#include <linux/mempolicy.h>

static const char *const policy_names[] = {"default", "preferred", "bind", "interleave", NULL};

/* ---- making the memory ---- */

static bool take_nodes(MemoryBackend *b, GArray *nodes, Error **errp)
{
    uint16_t end = 0xffff;
    uint64_t node;
    bool any = b->host_nodes && b->host_nodes->n;

    if (any && b->policy == BACKEND_POLICY_DEFAULT) {
        error_set(errp, "host-nodes must be empty for policy default");
        error_hint(errp, "use policy=bind, preferred or interleave");
        return false;
    }
    if (!any && b->policy != BACKEND_POLICY_DEFAULT) {
        error_set(errp, "host-nodes must be set for policy %s", policy_names[b->policy]);
        return false;
    }
    for (size_t i = 0; any && i < b->host_nodes->n; i++) {
        Json *v = json_at(b->host_nodes->values, i);
        uint16_t n;

        /* Elements were checked when they were set; they may be text or numbers. */
        node = 0;
        if (!json_get_uint(v, &node)) {
            node = g_ascii_strtoull(json_get_string(v), NULL, 0);
        }
        n = (uint16_t)node;
        g_array_append_val(nodes, n);
    }
    g_array_append_val(nodes, end);
    return true;
}

static int kernel_policy(int policy)
{
    switch (policy) {
    case BACKEND_POLICY_PREFERRED:
        return MPOL_PREFERRED;
    case BACKEND_POLICY_BIND:
        return MPOL_BIND;
    case BACKEND_POLICY_INTERLEAVE:
        return MPOL_INTERLEAVE;
    default:
        return MPOL_DEFAULT;
    }
}

static bool make_ram(MemoryBackend *b, RamOptions *o, Error **errp)
{
    g_autoptr(GArray) nodes = g_array_new(FALSE, FALSE, sizeof(uint16_t));
    const char *name = b->obj.name ? b->obj.name : b->obj.type->name;

    if (!b->size) {
        error_set(errp, "%s '%s' needs a size", b->obj.type->name, name);
        return false;
    }
    if (!take_nodes(b, nodes, errp)) {
        return false;
    }
    o->merge = b->merge;
    o->dump = b->dump;
    o->prealloc = b->prealloc;
    o->prealloc_threads = b->prealloc_threads;
    o->share = b->share;
    o->reserve = b->reserve;
    o->numa_policy = kernel_policy(b->policy);
    o->host_nodes = (const uint16_t *)(void *)nodes->data;
    b->ram = ram_block_new(NULL, name, b->size, o, errp);
    return b->ram != NULL;
}

static bool ram_complete(Object *obj, Error **errp)
{
    RamOptions o = {0};

    return make_ram(MEMORY_BACKEND(obj), &o, errp);
}

static bool file_complete(Object *obj, Error **errp)
{
    MemoryBackend *b = MEMORY_BACKEND(obj);
    RamOptions o = {.align = b->align, .fd_offset = b->offset, .readonly = b->readonly};

    if (!b->path || !*b->path) {
        error_set(errp, "memory-backend-file needs mem-path");
        return false;
    }
    if (b->rom == ON_OFF_ON && !b->readonly) {
        error_set(errp, "memory-backend-file: rom=on needs readonly=on");
        return false;
    }
    o.path = b->path;
    o.discard = b->discard;
    /* A file opened read-only and shared cannot be written through the mapping either. */
    o.rom = b->rom == ON_OFF_ON || (b->rom == ON_OFF_AUTO && b->readonly);
    if (b->readonly && !o.rom && b->share) {
        error_set(errp, "memory-backend-file: rom=off with readonly=on needs share=off");
        return false;
    }
    if (o.rom && b->prealloc) {
        error_set(errp, "memory-backend-file: read-only memory cannot be preallocated");
        return false;
    }
    return make_ram(b, &o, errp);
}

static bool memfd_complete(Object *obj, Error **errp)
{
    MemoryBackend *b = MEMORY_BACKEND(obj);
    RamOptions o = {.memfd = true,
                    .seal = b->seal,
                    .huge = b->hugetlb,
                    .huge_page_size = b->hugetlb ? b->hugetlbsize : 0};

    if (b->hugetlbsize && !b->hugetlb) {
        error_set(errp, "memory-backend-memfd: hugetlbsize needs hugetlb=on");
        return false;
    }
    if (b->hugetlbsize && !IS_POWER_OF_2(b->hugetlbsize)) {
        error_set(errp, "memory-backend-memfd: hugetlbsize must be a power of two");
        return false;
    }
    return make_ram(b, &o, errp);
}

static void backend_finalize(Object *obj)
{
    MemoryBackend *b = (MemoryBackend *)obj;

    ram_block_unref(b->ram);
}

/* ---- use ---- */

RamBlock *memory_backend_claim(MemoryBackend *b, MemorySystem *sys, Error **errp)
{
    g_autofree char *path = object_path(&b->obj);
    const char *id = b->obj.name ? b->obj.name : b->obj.type->name;

    if (!b->ram) {
        error_set(errp, "memory backend '%s' has no memory yet", id);
        return NULL;
    }
    if (b->claimed) {
        error_set(errp, "memory backend '%s' is used already", id);
        error_hint(errp, "each use needs a backend of its own");
        return NULL;
    }
    b->claimed = true;
    g_free(b->ram->name);
    b->ram->name = g_strdup(b->canonical_id ? path : id);
    if (!b->ram->sys) {
        ram_block_attach(b->ram, sys);
    }
    return ram_block_ref(b->ram);
}

void memory_backend_release(MemoryBackend *b)
{
    g_assert(b->claimed);
    b->claimed = false;
    ram_block_unref(b->ram);
}

MemoryBackend *memory_backend_find(Object *root, const char *id, Error **errp)
{
    g_autofree char *path = g_strdup_printf("/objects/%s", id);
    Object *obj = object_resolve(object_root(root), id[0] == '/' ? id : path);

    if (!obj) {
        error_set(errp, "there is no memory backend '%s'", id);
        error_hint(errp, "make one with -object memory-backend-ram,id=%s,size=…", id);
        return NULL;
    }
    if (!object_is_a(obj, TYPE_MEMORY_BACKEND)) {
        error_set(errp, "'%s' is a %s, not a memory backend", id, obj->type->name);
        return NULL;
    }
    return (MemoryBackend *)obj;
}

Json *memory_backend_info(MemoryBackend *b)
{
    Json *j = json_object();

    if (b->obj.name) {
        json_put_string(j, "id", b->obj.name);
    }
    json_put(j, "size", json_uint(b->size));
    json_put_bool(j, "merge", b->merge);
    json_put_bool(j, "dump", b->dump);
    json_put_bool(j, "prealloc", b->prealloc);
    json_put_bool(j, "share", b->share);
    json_put_bool(j, "reserve", b->reserve);
    json_put(j, "host-nodes", object_get(&b->obj, "host-nodes", NULL));
    json_put_string(j, "policy", policy_names[b->policy]);
    return j;
}

/* ---- types ---- */

static const Property backend_props[] = {
    PROPERTY_SIZE("size", MemoryBackend, size, 0, "size of the memory"),
    PROPERTY_BOOL("merge", MemoryBackend, merge, true, "let the host share identical pages"),
    PROPERTY_BOOL("dump", MemoryBackend, dump, true, "include it in core dumps"),
    PROPERTY_BOOL("prealloc", MemoryBackend, prealloc, false, "allocate all of it at once"),
    PROP_FIELD(MemoryBackend, prealloc_threads, PROP_U32, "prealloc-threads",
               "threads that preallocate", .def = 1, .min = 1, .max = 64),
    PROPERTY_BOOL("share", MemoryBackend, share, false, "other processes may map it"),
    PROPERTY_BOOL("reserve", MemoryBackend, reserve, true, "reserve swap space or huge pages"),
    PROP_FIELD(MemoryBackend, host_nodes, PROP_ARRAY, "host-nodes", "NUMA nodes of the host",
               .arg = PROP_U16, .max = 4095, .type_name = "int"),
    PROP_FIELD(MemoryBackend, policy, PROP_ENUM, "policy", "how the nodes are used",
               .names = policy_names, .type_name = "HostMemPolicy"),
    PROPERTY_BOOL("x-use-canonical-path-for-ramblock-id", MemoryBackend, canonical_id, true,
                  "name the memory by its path in snapshots"),
    {0},
};

static const Property file_props[] = {
    PROPERTY_STRING("mem-path", MemoryBackend, path, "file, or directory for a temporary one"),
    PROPERTY_SIZE("align", MemoryBackend, align, 0, "alignment of the mapping"),
    PROPERTY_SIZE("offset", MemoryBackend, offset, 0, "where in the file it begins"),
    PROPERTY_BOOL("discard-data", MemoryBackend, discard, false,
                  "free the file's pages at the end"),
    PROPERTY_BOOL("readonly", MemoryBackend, readonly, false, "open the file for reading only"),
    PROPERTY_ON_OFF_AUTO("rom", MemoryBackend, rom, ON_OFF_AUTO, "the guest cannot write it"),
    {0},
};

static const Property memfd_props[] = {
    PROPERTY_BOOL("share", MemoryBackend, share, true, "other processes may map it"),
    PROPERTY_BOOL("hugetlb", MemoryBackend, hugetlb, false, "use huge pages"),
    PROPERTY_SIZE("hugetlbsize", MemoryBackend, hugetlbsize, 0, "size of a huge page"),
    PROPERTY_BOOL("seal", MemoryBackend, seal, true, "fix the size for ever"),
    {0},
};

OBJECT_TYPE(backend_type, .name = TYPE_MEMORY_BACKEND, .parent = "object",
            .help = "memory described by the user", .size = sizeof(MemoryBackend), .abstract = true,
            .props = backend_props, .finalize = backend_finalize, .container = "/objects")
OBJECT_TYPE(backend_ram_type, .name = "memory-backend-ram", .parent = TYPE_MEMORY_BACKEND,
            .help = "anonymous memory", .complete = ram_complete, .user_creatable = true)
OBJECT_TYPE(backend_file_type, .name = "memory-backend-file", .parent = TYPE_MEMORY_BACKEND,
            .help = "memory that is a file", .complete = file_complete, .props = file_props,
            .user_creatable = true)
OBJECT_TYPE(backend_memfd_type, .name = "memory-backend-memfd", .parent = TYPE_MEMORY_BACKEND,
            .help = "memory with a descriptor that can be passed on", .complete = memfd_complete,
            .props = memfd_props, .user_creatable = true)
