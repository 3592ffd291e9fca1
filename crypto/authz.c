/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "crypto/authz.h"

#include "util/bits.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_FILE (1u << 20) /* bytes */

typedef struct AuthzClass {
    bool (*allows)(Object *obj, const char *identity);
} AuthzClass;

static const char *const policies[] = {"deny", "allow", NULL};
static const char *const formats[] = {"exact", "glob", NULL};

typedef struct Rule {
    char *match;
    bool allow, glob;
} Rule;

/* ---- rules ---- */

static void rule_clear(gpointer p)
{
    g_free(((Rule *)p)->match);
}

static GArray *rules_new(void)
{
    GArray *a = g_array_new(FALSE, TRUE, sizeof(Rule));
    g_array_set_clear_func(a, rule_clear);
    return a;
}

static bool word(const Json *j, const char *key, const char *const *words, int *out, Error **errp)
{
    const char *s = json_get_str(j, key);
    for (int i = 0; s && words[i]; i++) {
        if (!strcmp(s, words[i])) {
            *out = i;
            return true;
        }
    }
    if (json_get(j, key)) {
        error_set(errp, "'%s' of a rule must be '%s' or '%s'", key, words[0], words[1]);
        return false;
    }
    return true;
}

static bool add_rule(GArray *rules, const Json *j, Error **errp)
{
    static const char *const known[] = {"match", "policy", "format", NULL};
    const char *match = json_type(j) == JSON_OBJECT ? json_get_str(j, "match") : NULL;
    int policy = -1, format = 0;
    if (!match) {
        error_set(errp, "a rule needs 'match'");
        return false;
    }
    for (size_t i = 0; i < json_length(j); i++) {
        if (!g_strv_contains(known, json_key_at(j, i))) {
            error_set(errp, "a rule has 'match', 'policy' and 'format', not '%s'",
                      json_key_at(j, i));
            return false;
        }
    }
    if (!word(j, "policy", policies, &policy, errp) || !word(j, "format", formats, &format, errp)) {
        return false;
    }
    if (policy < 0) {
        error_set(errp, "a rule needs 'policy'");
        return false;
    }
    Rule r = {g_strdup(match), policy == 1, format == 1};
    g_array_append_val(rules, r);
    return true;
}

/* An array, or what a command line makes of rules.0.…, rules.1.…; NULL on error. */
static GArray *parse_rules(const Json *j, Error **errp)
{
    GArray *rules = rules_new();
    bool ok = json_type(j) == JSON_ARRAY || json_type(j) == JSON_OBJECT;
    if (!ok) {
        error_set(errp, "'rules' must be an array");
    }
    for (size_t i = 0; ok && i < json_length(j); i++) {
        char key[16];
        g_snprintf(key, sizeof(key), "%zu", i);
        const Json *one = json_type(j) == JSON_ARRAY ? json_at(j, i) : json_get(j, key);
        if (!one) {
            error_set(errp, "'rules' must be numbered from 0; %s is missing", key);
        }
        ok = one && add_rule(rules, one, errp);
    }
    if (!ok) {
        g_array_unref(rules);
        return NULL;
    }
    return rules;
}

static bool decide(const GArray *rules, bool otherwise, const char *identity)
{
    for (guint i = 0; rules && i < rules->len; i++) {
        const Rule *r = &g_array_index(rules, Rule, i);
        if (r->glob ? g_pattern_match_simple(r->match, identity) : !strcmp(r->match, identity)) {
            return r->allow;
        }
    }
    return otherwise;
}

/* ---- authz-simple ---- */

typedef struct AuthzSimple {
    Object obj;
    char *identity;
} AuthzSimple;

static bool simple_allows(Object *obj, const char *identity)
{
    return !strcmp(((AuthzSimple *)obj)->identity, identity);
}

static bool simple_complete(Object *obj, Error **errp)
{
    if (!((AuthzSimple *)obj)->identity) {
        error_set(errp, "property 'identity' is missing");
        return false;
    }
    return true;
}

static const Property simple_props[] = {
    PROPERTY_STRING("identity", AuthzSimple, identity, "the one who may come in"),
    {0},
};

/* ---- authz-list ---- */

typedef struct AuthzList {
    Object obj;
    int policy;
    GArray *rules;
} AuthzList;

static bool list_allows(Object *obj, const char *identity)
{
    const AuthzList *l = (AuthzList *)obj;
    return decide(l->rules, l->policy == 1, identity);
}

static bool set_rules(Object *obj, const Property *p, const Json *v, Error **errp)
{
    AuthzList *l = (AuthzList *)obj;
    GArray *rules = parse_rules(v, errp);
    if (rules && l->rules) {
        g_array_unref(l->rules);
    }
    l->rules = rules ? rules : l->rules;
    return rules != NULL;
}

static Json *get_rules(Object *obj, const Property *p)
{
    const AuthzList *l = (AuthzList *)obj;
    Json *a = json_array();
    for (guint i = 0; l->rules && i < l->rules->len; i++) {
        const Rule *r = &g_array_index(l->rules, Rule, i);
        Json *o = json_object();
        json_put_string(o, "match", r->match);
        json_put_string(o, "policy", policies[r->allow]);
        json_put_string(o, "format", formats[r->glob]);
        json_append(a, o);
    }
    return a;
}

static void list_finalize(Object *obj)
{
    g_clear_pointer(&((AuthzList *)obj)->rules, g_array_unref);
}

static const Property list_props[] = {
    PROPERTY_ENUM("policy", AuthzList, policy, policies, 0, "for whom no rule matches"),
    {.name = "rules",
     .kind = PROP_CUSTOM,
     .help = "match, policy and format of each, in their order",
     .set = set_rules,
     .get = get_rules,
     .type_name = "QAuthZListRuleList",
     .runtime = true},
    {0},
};

/* ---- authz-list-file ---- */

typedef struct AuthzFile {
    Object obj;
    char *filename;
    bool refresh;
    bool allow;
    GArray *rules;
    struct stat seen;
} AuthzFile;

static bool parse_file(AuthzFile *f, const char *text, Error **errp)
{
    int policy = 0;
    g_autoptr(Json) j = json_parse(text, errp);
    if (!j) {
        return false;
    }
    if (json_type(j) != JSON_OBJECT || !json_get(j, "rules")) {
        error_set(errp, "an object with 'rules' and 'policy' is expected");
        return false;
    }
    GArray *rules = parse_rules(json_get(j, "rules"), errp);
    if (!rules || !word(j, "policy", policies, &policy, errp)) {
        g_clear_pointer(&rules, g_array_unref);
        return false;
    }
    g_clear_pointer(&f->rules, g_array_unref);
    f->rules = rules;
    f->allow = policy == 1;
    return true;
}

static bool load(AuthzFile *f, Error **errp)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) gerr = NULL;
    if (stat(f->filename, &f->seen) == 0 && f->seen.st_size > MAX_FILE) {
        error_set(errp, "'%s' has more than %u bytes", f->filename, MAX_FILE);
        return false;
    }
    if (!g_file_get_contents(f->filename, &text, NULL, &gerr)) {
        error_set(errp, "cannot read '%s': %s", f->filename, gerr->message);
        return false;
    }
    if (!parse_file(f, text, errp)) {
        error_prefix(errp, "'%s': ", f->filename);
        return false;
    }
    return true;
}

static bool has_changed(const AuthzFile *f)
{
    struct stat now;
    return stat(f->filename, &now) == 0 &&
           (now.st_ino != f->seen.st_ino || now.st_dev != f->seen.st_dev ||
            now.st_size != f->seen.st_size || now.st_mtim.tv_sec != f->seen.st_mtim.tv_sec ||
            now.st_mtim.tv_nsec != f->seen.st_mtim.tv_nsec);
}

static bool file_allows(Object *obj, const char *identity)
{
    AuthzFile *f = (AuthzFile *)obj;
    Error *err = NULL;
    /* What cannot be read leaves what was known in force. */
    if (f->refresh && has_changed(f) && !load(f, &err)) {
        error_report(err);
    }
    return decide(f->rules, f->allow, identity);
}

static bool file_complete(Object *obj, Error **errp)
{
    AuthzFile *f = (AuthzFile *)obj;
    if (!f->filename) {
        error_set(errp, "property 'filename' is missing");
        return false;
    }
    return load(f, errp);
}

static void file_finalize(Object *obj)
{
    g_clear_pointer(&((AuthzFile *)obj)->rules, g_array_unref);
}

static const Property file_props[] = {
    PROPERTY_STRING("filename", AuthzFile, filename, "JSON: {\"rules\": [...], \"policy\": ...}"),
    PROPERTY_BOOL("refresh", AuthzFile, refresh, true, "read it again when it has changed"),
    {0},
};

/* ---- types ---- */

static const AuthzClass simple_class = {simple_allows}, list_class = {list_allows},
                        file_class = {file_allows};
static const char *const file_aliases[] = {"authz-listfile", NULL};

OBJECT_TYPE(authz_type, .name = TYPE_AUTHZ, .parent = "object", .help = "who may come in",
            .size = sizeof(Object), .abstract = true, .container = "/objects")
OBJECT_TYPE(authz_simple_type, .name = "authz-simple", .parent = TYPE_AUTHZ,
            .help = "one identity may come in", .size = sizeof(AuthzSimple), .klass = &simple_class,
            .props = simple_props, .complete = simple_complete, .user_creatable = true)
OBJECT_TYPE(authz_list_type, .name = "authz-list", .parent = TYPE_AUTHZ,
            .help = "rules say who may come in", .size = sizeof(AuthzList), .klass = &list_class,
            .props = list_props, .finalize = list_finalize, .user_creatable = true)
OBJECT_TYPE(authz_file_type, .name = "authz-list-file", .parent = TYPE_AUTHZ,
            .help = "rules of a file say who may come in", .size = sizeof(AuthzFile),
            .klass = &file_class, .props = file_props, .complete = file_complete,
            .finalize = file_finalize, .user_creatable = true, .aliases = file_aliases)

Object *authz_find(Object *any, const char *id, Error **errp)
{
    g_autofree char *path = g_strconcat("/objects/", id, NULL);
    Object *o = object_resolve(object_root(any), path);
    if (!o || !object_is_a(o, TYPE_AUTHZ)) {
        error_set(errp,
                  o ? "Object with id '%s' does not say who may come in (authz-simple, authz-list, "
                      "authz-list-file)"
                    : "No authorization object with id '%s'",
                  id);
        return NULL;
    }
    return o;
}

bool authz_allows(Object *authz, const char *identity)
{
    const AuthzClass *k = object_class(authz);
    return identity && k->allows(authz, identity);
}
