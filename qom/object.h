/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qom/object.h: objects: types with inheritance, typed properties, and the
 * composition tree (`/machine`, `/objects`, `/chardevs`, `/netdevs`, …).
 *
 * A type is one constant `TypeInfo`, put into a linker section by OBJECT_TYPE();
 * there is no registration at start-up.  Its property table is complete and is
 * the only source for parsing, help, introspection and the manual; no property
 * is added at run time.  `init` sets defaults and cannot fail; what can fail is
 * `complete` (for `-object`s) or `realize` (for devices, hw/core/device.h).
 *
 * Threads: the tree is changed and properties are set on the control thread, or
 * with the loop's lock of the device concerned.
 */
#ifndef RHEA_QOM_OBJECT_H
#define RHEA_QOM_OBJECT_H

#include "util/error.h"
#include "util/json.h"

#include <stddef.h>
#include <stdint.h>

typedef struct Object Object;
typedef struct TypeInfo TypeInfo;
typedef struct Property Property;

struct Object {
    const TypeInfo *type;
    Object *parent;
    char *name;             /* in the parent; NULL for a root or an orphan */
    GHashTable *children;   /* name -> Object*, created when needed; owns a reference */
    GPtrArray *child_order; /* the same children, oldest first */
    Object *scope;          /* where an orphan's links are looked up: object_set_scope() */
    GPtrArray *was_set;     /* const Property*: set before completion, not left at the default */
    int refs;               /* atomic */
    bool rcu_free;          /* the memory is freed after an RCU grace period */
    bool embedded;          /* made by object_init_at(): the memory belongs to somebody else */
    bool completed;         /* complete()/realize() has succeeded: most properties are fixed now */
};

struct TypeInfo {
    const char *name;
    const char *parent; /* a type's name; NULL only for the root type "object" */
    const char *help;   /* one line */
    size_t size;        /* of the instance; 0: the parent's */
    const void *klass;  /* const table of functions, shape set by the base type; NULL: parent's */
    const Property *props;                       /* ends with {0}; the parent's come in addition */
    void (*init)(Object *obj);                   /* parents first */
    void (*finalize)(Object *obj);               /* parents last */
    bool (*complete)(Object *obj, Error **errp); /* user-creatable objects */
    /* object-del of a user-creatable object: false with a message that says who needs it.  NULL:
     * references tell (base types are asked too). */
    bool (*may_delete)(Object *obj, Error **errp);
    bool abstract;
    bool user_creatable;        /* offered by -object / object-add */
    const char *container;      /* where links to this type are looked up: "/chardevs" */
    const char *const *aliases; /* NULL-terminated other names */
};

#define OBJECT_TYPE(ident, ...)                                                               \
    static const TypeInfo ident = {__VA_ARGS__};                                              \
    static const TypeInfo *const ident##_entry __attribute__((section("rhea_types"), used)) = \
        &ident;

/* ---- types ---- */
const TypeInfo *type_find(const char *name); /* aliases too; NULL if unknown */
const TypeInfo *type_parent(const TypeInfo *t);
bool type_is_a(const TypeInfo *t, const char *base);
/* NULL-terminated array of the concrete types below `base`, by name; g_free it. */
const TypeInfo **type_list(const char *base, bool abstract_too);
size_t type_instance_size(const TypeInfo *t); /* its own or inherited */
const void *type_class(const TypeInfo *t);    /* its own or the nearest ancestor's table */
/*
 * Calls fn for each property, base types first; stops when it returns false.
 * A type may repeat a property of a base type (another default, other limits):
 * then its entry stands in for the base's.
 */
bool type_each_property(const TypeInfo *t, bool (*fn)(const Property *p, void *opaque),
                        void *opaque);
const Property *type_property(const TypeInfo *t, const char *name);

/* The type that -object and object-add make by that name; NULL and an error if there is none. */
const TypeInfo *object_type_for_users(const char *name, Error **errp);

/* ---- life ---- */
/* `type` must exist and be concrete (assert); for user input use object_try_new. */
Object *object_new(const char *type);
Object *object_try_new(const char *type, const char *base, Error **errp);
/* For objects embedded in others: same as new, in place; never freed by unref. */
void object_init_at(Object *obj, size_t size, const char *type);
Object *object_ref(Object *obj);
void object_unref(Object *obj);
/*
 * An object that is not yet in the tree looks up its links (and what its own
 * checks resolve) in the tree of `in_tree`, which must outlive its orphanhood.
 */
void object_set_scope(Object *obj, Object *in_tree);
/* Runs TypeInfo.complete of the type and its parents (base first), once. */
bool object_complete(Object *obj, Error **errp);

/* ---- tree ---- */
/* Takes over the caller's reference of `child`. `name` must be free (assert). */
void object_add_child(Object *parent, const char *name, Object *child);
/* Removes it from its parent and drops the parent's reference. */
void object_unparent(Object *child);
Object *object_root(Object *obj);
/* Absolute path, or relative to `from`; or, without '/', a unique partial name. */
Object *object_resolve(Object *from, const char *path);
/* Child container at path below root, made when absent ("container" type). */
Object *object_container(Object *root, const char *path);
char *object_path(const Object *obj);
bool object_each_child(Object *obj, bool (*fn)(Object *child, void *opaque), void *opaque);
bool object_is_a(const Object *obj, const char *type);
const void *object_class(const Object *obj);
/* Checked cast in debug builds; free in release. */
void *object_cast(const void *obj, const char *type);
#ifdef NDEBUG
#define OBJECT_CAST(T, obj, type) ((T *)(obj))
#else
#define OBJECT_CAST(T, obj, type) ((T *)object_cast((obj), (type)))
#endif

/* ---- properties ---- */
typedef enum PropKind {
    PROP_NONE,
    PROP_BOOL,        /* bool */
    PROP_ON_OFF_AUTO, /* int: OnOffAuto */
    PROP_BIT,         /* bit `arg` of a uint64_t */
    PROP_U8,
    PROP_U16,
    PROP_U32,
    PROP_U64,
    PROP_I32,
    PROP_I64,
    PROP_SIZE,     /* uint64_t, with suffixes */
    PROP_STRING,   /* char*, owned */
    PROP_ENUM,     /* int, index in `names` */
    PROP_MAC,      /* uint8_t[6] */
    PROP_UUID,     /* uint8_t[16] */
    PROP_PCI_ADDR, /* int32_t devfn: "slot.fn" or a number; -1: any */
    PROP_LINK,     /* Object*, of type `link`; holds a reference */
    PROP_ARRAY,    /* PropArray*: array of strings or integers by `arg` = element PropKind;
                    * NULL when empty */
    PROP_CUSTOM,   /* get/set functions */
} PropKind;

typedef enum OnOffAuto { ON_OFF_AUTO, ON_OFF_ON, ON_OFF_OFF } OnOffAuto;

typedef struct PropArray {
    size_t n;
    Json *values; /* JSON array of checked elements */
} PropArray;

struct Property {
    const char *name;
    PropKind kind;
    size_t offset; /* in the instance */
    const char *help;
    uint64_t def;             /* default (int64_t bit pattern); bool, enum, integers, MAC: unused */
    const char *def_str;      /* default of strings */
    uint64_t min, max;        /* integers and sizes; max 0: the kind's own */
    uint64_t arg;             /* bit number; element kind */
    const char *const *names; /* enum */
    const char *link;         /* type of links */
    bool runtime;             /* may be set after completion */
    bool read_only;           /* never set from outside */
    /* kind CUSTOM, or a side effect for `runtime` properties */
    bool (*set)(Object *obj, const Property *p, const Json *v, Error **errp);
    Json *(*get)(Object *obj, const Property *p);
    const char *type_name; /* for introspection of CUSTOM */
};

#define PROP_FIELD(T, field, k, n, h, ...)                                                 \
    {                                                                                      \
        .name = (n), .kind = (k), .offset = offsetof(T, field), .help = (h), ##__VA_ARGS__ \
    }
#define PROPERTY_BOOL(n, T, f, d, h) PROP_FIELD(T, f, PROP_BOOL, n, h, .def = (d))
#define PROPERTY_BIT(n, T, f, bit, d, h) PROP_FIELD(T, f, PROP_BIT, n, h, .arg = (bit), .def = (d))
#define PROPERTY_U8(n, T, f, d, h) PROP_FIELD(T, f, PROP_U8, n, h, .def = (d))
#define PROPERTY_U16(n, T, f, d, h) PROP_FIELD(T, f, PROP_U16, n, h, .def = (d))
#define PROPERTY_U32(n, T, f, d, h) PROP_FIELD(T, f, PROP_U32, n, h, .def = (d))
#define PROPERTY_U64(n, T, f, d, h) PROP_FIELD(T, f, PROP_U64, n, h, .def = (d))
#define PROPERTY_I32(n, T, f, d, h) PROP_FIELD(T, f, PROP_I32, n, h, .def = (uint64_t)(int64_t)(d))
#define PROPERTY_SIZE(n, T, f, d, h) PROP_FIELD(T, f, PROP_SIZE, n, h, .def = (d))
#define PROPERTY_STRING(n, T, f, h) PROP_FIELD(T, f, PROP_STRING, n, h)
#define PROPERTY_ENUM(n, T, f, nm, d, h) \
    PROP_FIELD(T, f, PROP_ENUM, n, h, .names = (nm), .def = (d))
#define PROPERTY_ON_OFF_AUTO(n, T, f, d, h) PROP_FIELD(T, f, PROP_ON_OFF_AUTO, n, h, .def = (d))
#define PROPERTY_MAC(n, T, f, h) PROP_FIELD(T, f, PROP_MAC, n, h)
#define PROPERTY_UUID(n, T, f, h) PROP_FIELD(T, f, PROP_UUID, n, h)
#define PROPERTY_PCI_ADDR(n, T, f, h) \
    PROP_FIELD(T, f, PROP_PCI_ADDR, n, h, .def = (uint64_t)(int64_t)-1)
#define PROPERTY_LINK(n, T, f, ty, h) PROP_FIELD(T, f, PROP_LINK, n, h, .link = (ty))

/*
 * Sets from JSON of the right type or from a string in QEMU's syntax.  The
 * error names the object, the property, the value and what would be accepted.
 */
bool object_set(Object *obj, const char *name, const Json *v, Error **errp);
bool object_set_string(Object *obj, const char *name, const char *v, Error **errp);
/* Was it set from outside before completion (else it has its default)? */
bool object_was_set(const Object *obj, const char *name);
/* For code that knows the property exists and fits (asserts otherwise). */
void object_set_uint(Object *obj, const char *name, uint64_t v);
void object_set_bool(Object *obj, const char *name, bool v);
void object_set_str(Object *obj, const char *name, const char *v);
void object_set_link(Object *obj, const char *name, Object *target);
Json *object_get(Object *obj, const char *name, Error **errp); /* caller owns */
/* The value an untouched property has, as object_get() would give it; NULL if none is declared. */
Json *property_default(const Property *p);
/* Printable type for introspection: "uint32", "bool", "str", "link<chardev>"… */
const char *property_type_name(const Property *p);
/* What device-list-properties and qom-list-properties say: name, type, description, default. */
Json *type_properties_json(const TypeInfo *t);
/* One line for `help`: "  mtu=<uint16>  - … (default: 0)". */
char *property_describe(const Property *p);

/*
 * Makes every property of `values` that is not in `ignore` (NULL-terminated)
 * a property of the object; reports all mistakes through option_mistake() when
 * `text` is given (an OptionText*, or NULL), else the first through errp.
 */
bool object_set_from(Object *obj, const Json *values, const char *const *ignore, void *text,
                     Error **errp);
/*
 * Would object_set_from() find mistakes in the text?  Names and values are tried on an object
 * made for that; links, and properties with a function of their own, are left to later.
 */
bool object_check_from(const TypeInfo *t, const Json *values, const char *const *ignore, void *text,
                       Error **errp);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Object, object_unref)

#endif
