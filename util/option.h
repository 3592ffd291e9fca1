/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * util/option.h: QEMU's option syntax, `value,key=value,flag,a.b.0=x` or JSON.
 *
 * All syntaxes fill one Json object.  Each value remembers where it stood in
 * the text, so that the consumer (qapi visitors, properties) can report every
 * mistake of an option at once, underlined:
 *
 *     rhea-system-x86_64: -device e1000,mc=1,addr=99: 2 mistakes
 *       -device e1000,mc=1,addr=99
 *                     ^~ no such property; did you mean "mac"?
 *                          ^~~~~~~ …
 */
#ifndef RHEA_UTIL_OPTION_H
#define RHEA_UTIL_OPTION_H

#include "util/json.h"

typedef struct OptionText OptionText;

/*
 * Parses `text`, the argument of `option` (such as "-device").  `implied` is
 * the key of a first element without '=' (such as "driver"), or NULL.  Doubled
 * commas stand for one.  A bare key is "on", "nokey" is NOT special (as QEMU
 * deprecated it).  Dotted keys nest; numeric parts make arrays.  Text starting
 * with '{' is JSON.  Values are strings unless JSON was given.
 * NULL on a syntax error.
 */
OptionText *option_parse(const char *option, const char *text, const char *implied, Error **errp);
/* The same; the (NULL-terminated) keys in `lists` may be repeated and become arrays of strings. */
OptionText *option_parse_lists(const char *option, const char *text, const char *implied,
                               const char *const *lists, Error **errp);
void option_free(OptionText *o);

/* The parsed object; borrowed. */
Json *option_values(OptionText *o);
const char *option_name(const OptionText *o);
const char *option_source(const OptionText *o);

/*
 * Notes a mistake at `key` (dotted for nested; NULL for the option as a whole).
 * `message` says what is wrong and what would be right.
 */
void option_mistake(OptionText *o, const char *key, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
/* false and one combined error if any mistake was noted. */
bool option_check(OptionText *o, Error **errp);

/*
 * Takes members out of the option, converting; a bad value is noted as a
 * mistake and `def` returned.  option_finish() notes every member that nobody
 * took, with the nearest name among those that were asked for, then checks.
 */
const char *option_take_string(OptionText *o, const char *key, const char *def);
bool option_take_bool(OptionText *o, const char *key, bool def);
uint64_t option_take_uint(OptionText *o, const char *key, uint64_t def, uint64_t min, uint64_t max);
uint64_t option_take_size(OptionText *o, const char *key, uint64_t def, char default_suffix);
int option_take_enum(OptionText *o, const char *key, const char *const *names, int def);
bool option_has(const OptionText *o, const char *key);
/* Is the option's first bare word or its implied key "help" or "?"? */
bool option_wants_help(const OptionText *o);
bool option_finish(OptionText *o, Error **errp);

/* Text to value, for whoever holds a string; ends must match exactly. */
bool parse_bool(const char *s, bool *out);     /* on off yes no true false y n */
bool parse_uint(const char *s, uint64_t *out); /* decimal, 0x, 0 octal */
bool parse_int(const char *s, int64_t *out);
/* "512M", "1.5G", "4096": `suffix` (B K M G T P E) is used when none is given. */
bool parse_size(const char *s, char suffix, uint64_t *out);
bool parse_mac(const char *s, uint8_t mac[6]);
bool parse_uuid(const char *s, uint8_t uuid[16]);
/* Is it a name users may give: a letter, then letters, digits, '-', '.', '_'? */
bool parse_id(const char *id);
char *format_size(uint64_t bytes); /* "1.5 GiB" */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(OptionText, option_free)

#endif
