#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns the management schema (*.json here) into C and documentation.

usage: gen.py types-h|types-c|commands-h|commands-c|docs SCHEMA.json... > OUT
       gen.py check-docs FILE SCHEMA.json...   (is FILE what `docs` makes?)

The language is QEMU's: one Python-like dictionary per definition (enum, struct, union,
command, event), '##' comments before it are its documentation.  See qapi/qapi.h for what
becomes of them.  Extra keys of commands here: 'json': true (the result is a Json that the
room builds itself), 'gen': false (arguments are handed over as a Json, after they were
checked against 'data' unless 'open': true).
"""
import ast
import json
import re
import sys

BUILTIN = {  # name: (C type, kind, JSON type)
    'str': ('char *', 'STR', 'string'), 'bool': ('bool', 'BOOL', 'boolean'),
    'int': ('int64_t', 'INT', 'int'), 'int8': ('int64_t', 'INT8', 'int'),
    'int16': ('int64_t', 'INT16', 'int'), 'int32': ('int64_t', 'INT32', 'int'),
    'int64': ('int64_t', 'INT', 'int'), 'uint8': ('int64_t', 'UINT8', 'int'),
    'uint16': ('int64_t', 'UINT16', 'int'), 'uint32': ('int64_t', 'UINT32', 'int'),
    'uint64': ('uint64_t', 'UINT64', 'int'), 'size': ('uint64_t', 'UINT64', 'int'),
    'number': ('double', 'NUMBER', 'number'), 'any': ('Json *', 'ANY', 'value'),
}
C_WORDS = {'default', 'static', 'register', 'class', 'int', 'char', 'short', 'unix', 'linux',
           'double', 'float', 'auto', 'bool', 'switch', 'case', 'return', 'enum', 'union'}


def die(msg):
    sys.exit('gen.py: ' + msg)


def c_name(name):
    n = re.sub(r'[^A-Za-z0-9_]', '_', name)
    return 'q_' + n if n in C_WORDS or n[0].isdigit() else n


def c_const(enum, value):
    prefix = re.sub(r'(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', '_', enum).upper()
    return prefix + '_' + re.sub(r'[^A-Z0-9_]', '_', value.upper())


def q_name(name):
    """The C name of a type: rooms have their own types of the same names."""
    return name if re.match('Q[A-Z]', name) else 'Q' + name


class Schema:
    def __init__(self, files):
        self.defs = []
        for f in files:
            self.parse(f)
        self.types = {d.name: d for d in self.defs if d.kind in ('enum', 'struct', 'union')}
        for d in self.defs:
            d.resolve(self)

    def parse(self, path):
        doc, text, start = [], '', 0
        for no, line in enumerate(open(path, encoding='utf-8'), 1):
            if not text and line.startswith('#'):
                doc = [] if line.strip() == '##' and not doc else doc
                doc.append(line.lstrip('#').strip())
                continue
            if not text and not line.strip():
                doc = []
                continue
            start = start if text else no
            text += re.sub(r'#.*', '', line)
            if text.count('{') == text.count('}') and text.count('[') == text.count(']'):
                src = re.sub(r'\btrue\b', 'True', re.sub(r'\bfalse\b', 'False', text))
                try:
                    self.defs.append(Def(ast.literal_eval(src.strip()), ' '.join(doc).strip()))
                except (SyntaxError, ValueError) as e:
                    die(f'{path}:{start}: {e}')
                doc, text = [], ''
        if text:
            die(f'{path}:{start}: unbalanced')

    def of(self, *kinds):
        return [d for d in self.defs if d.kind in kinds]


class Member:
    def __init__(self, name, type_):
        self.optional = name.startswith('*')
        self.name = name.lstrip('*')
        self.array = isinstance(type_, list)
        self.type = type_[0] if self.array else type_


class Def:
    def __init__(self, e, doc):
        self.kind = next(iter(e))
        if self.kind not in ('enum', 'struct', 'union', 'command', 'event'):
            die(f'unknown kind of definition {self.kind}')
        self.name, self.e, self.doc = e[self.kind], e, doc
        self.c = q_name(self.name)
        self.values = e.get('data', []) if self.kind == 'enum' else []
        self.arg_type = e['data'] if isinstance(e.get('data'), str) else None

    def resolve(self, schema):
        self.schema, e = schema, self.e
        data = e.get('data', {})
        if self.kind == 'enum':
            return
        if self.kind == 'union':
            base = e['base']
            self.own = [Member(k, v) for k, v in base.items()]
            self.tag = e['discriminator']
            self.branches = data
        else:
            self.own = [Member(k, v) for k, v in data.items()] if isinstance(data, dict) else []
        for m in self.own:
            if m.type not in BUILTIN and m.type not in schema.types:
                die(f'{self.name}: unknown type {m.type}')

    def members(self):
        if self.arg_type:
            return self.schema.types[self.arg_type].members()
        base = self.e.get('base')
        up = self.schema.types[base].members() if isinstance(base, str) else []
        return up + self.own


def c_type(schema, m):
    if m.array:
        t = m.type
        scalar = t in BUILTIN and t not in ('str', 'any') or \
            t in schema.types and schema.types[t].kind == 'enum'
        return 'GArray *' if scalar else 'GPtrArray *'
    if m.type in BUILTIN:
        return BUILTIN[m.type][0]
    d = schema.types[m.type]
    return d.c + ' ' if d.kind == 'enum' else d.c + ' *'


def is_pointer(schema, m):
    return c_type(schema, m).endswith('*')


def sp(t):
    return t if t.endswith(('*', ' ')) else t + ' '


def type_ref(schema, m):
    base = f'&qapi_builtin_{BUILTIN[m.type][1].lower()}' if m.type in BUILTIN \
        else f'&{q_name(m.type)}_type'
    return base


HEAD = '/* SPDX-License-Identifier: GPL-2.0-or-later */\n/* Made by qapi/gen.py; do not edit. */\n'


def types_h(s):
    out = [HEAD, '#ifndef RHEA_QAPI_TYPES_H\n#define RHEA_QAPI_TYPES_H\n',
           '#include "qapi/visit.h"\n']
    for d in s.of('enum'):
        out.append(f'typedef enum {d.c} {{')
        out += [f'    {c_const(d.c, v)},' for v in d.values]
        out.append(f'    {c_const(d.c, "_max")}')
        out.append(f'}} {d.c};')
        out.append(f'extern const char *const {d.c}_names[];')
        out.append(f'extern const QapiType {d.c}_type;\n')
    for d in s.of('struct', 'union'):
        out.append(f'typedef struct {d.c} {d.c};')
    for d in s.of('struct', 'union'):
        out.append(f'struct {d.c} {{')
        for m in d.members():
            if m.optional and not is_pointer(s, m):
                out.append(f'    bool has_{c_name(m.name)};')
            out.append(f'    {sp(c_type(s, m))}{c_name(m.name)};')
        if d.kind == 'union':
            out.append('    union {\n        void *any;')
            out += [f'        {q_name(t)} *{c_name(k)};' for k, t in d.branches.items()]
            out.append('    } u;')
        if not d.members() and d.kind == 'struct':
            out.append('    char empty;')
        out.append('};')
        out.append(f'extern const QapiType {d.c}_type;')
        out.append(f'''static inline {d.c} *{d.c}_from_json(const Json *j, Error **errp)
{{
    return qapi_from_json(&{d.c}_type, j, errp);
}}
static inline Json *{d.c}_to_json(const {d.c} *v)
{{
    return qapi_to_json(&{d.c}_type, v);
}}
static inline void {d.c}_free({d.c} *v)
{{
    qapi_free(&{d.c}_type, v);
}}
''')
    out.append('#endif')
    return out


def member_table(s, name, members, struct):
    out = [f'static const QapiMember {name}[] = {{']
    for m in members:
        flags = ''
        if m.optional:
            flags += ', .optional = true'
            if not is_pointer(s, m):
                flags += f', .has_offset = offsetof({struct}, has_{c_name(m.name)})'
        if m.array:
            flags += ', .array = true'
        out.append(f'    {{.name = "{m.name}", .type = {type_ref(s, m)}, '
                   f'.offset = offsetof({struct}, {c_name(m.name)}){flags}}},')
    out.append('    {0}};')
    return out


def types_c(s):
    out = [HEAD, '#include "qapi/qapi-types.h"\n', '#include <stddef.h>\n']
    for d in s.of('enum'):
        vals = ', '.join(f'"{v}"' for v in d.values)
        out.append(f'const char *const {d.c}_names[] = {{{vals}, NULL}};')
        out.append(f'const QapiType {d.c}_type = {{.name = "{d.name}", .kind = QAPI_ENUM, '
                   f'.names = {d.c}_names}};')
    for d in s.of('struct', 'union'):
        out += member_table(s, f'{d.c}_members', d.members(), d.c)
        extra = ''
        if d.kind == 'union':
            tag = next(m for m in d.members() if m.name == d.tag)
            enum = s.types[tag.type]
            refs = ', '.join(f'&{q_name(d.branches[v])}_type' if v in d.branches else 'NULL'
                             for v in enum.values)
            out.append(f'static const QapiType *const {d.c}_branches[] = {{{refs}}};')
            extra = (f', .branches = {d.c}_branches, .tag_offset = offsetof({d.c}, '
                     f'{c_name(d.tag)}), .branch_offset = offsetof({d.c}, u)')
        out.append(f'const QapiType {d.c}_type = {{.name = "{d.name}", .kind = QAPI_STRUCT, '
                   f'.size = sizeof({d.c}), .members = {d.c}_members{extra}}};')
    out.append('\nconst QapiEvent qapi_events[] = {')
    for d in sorted(s.of('event'), key=lambda d: d.name):
        ref = f'&{q_name(d.arg_type)}_type' if d.arg_type else \
            f'&q_event_{d.name}_type' if d.own else 'NULL'
        out.append(f'    {{"{d.name}", {ref}}},')
    out.append('    {0}};')
    # events with inline data have a struct of their own, used for checking only
    pre = []
    for d in s.of('event'):
        if d.own:
            st = f'q_event_{d.name}'
            pre.append(f'struct {st} {{')
            for m in d.own:
                if m.optional and not is_pointer(s, m):
                    pre.append(f'    bool has_{c_name(m.name)};')
                pre.append(f'    {sp(c_type(s, m))}{c_name(m.name)};')
            pre.append('};')
            pre += member_table(s, f'{st}_members', d.own, f'struct {st}')
            pre.append(f'static const QapiType {st}_type = {{.name = "{d.name}", '
                       f'.kind = QAPI_STRUCT, .size = sizeof(struct {st}), '
                       f'.members = {st}_members}};')
    at = out.index('\nconst QapiEvent qapi_events[] = {')
    out[at:at] = pre
    names = sorted(d.name for d in s.of('event'))
    out.append('const char *const qmp_events[] = {' + ', '.join(f'"{n}"' for n in names) +
               ', NULL};')
    text = json.dumps(introspect(s), separators=(',', ':'))
    out.append('\n/* query-qmp-schema, as text: parsed when somebody asks. */')
    out.append('const char qmp_schema_text[] =')
    for i in range(0, len(text), 90):
        out.append('    ' + json.dumps(text[i:i + 90]))
    out[-1] += ';'
    return out


def args_of(s, d):
    """[(C declaration, expression)] of a command's arguments, from a struct pointer `a`."""
    out = []
    for m in d.members():
        n, t = c_name(m.name), c_type(s, m)
        if m.optional and not is_pointer(s, m):
            out.append((f'bool has_{n}', f'a->has_{n}'))
        const = 'const ' if is_pointer(s, m) and not m.array and m.type != 'any' or \
            m.type == 'any' else ''
        out.append((f'{const}{sp(t)}{n}', f'a->{n}'))
    return out


def ret_type(s, d):
    r = d.e.get('returns')
    if not r:
        return None
    if d.e.get('json'):
        return 'Json *'
    return c_type(s, Member('r', r))


def prototype(s, d):
    args = ['Object *root']
    if d.e.get('gen') is False:
        args.append('const Json *args')
    else:
        args += [a for a, _ in args_of(s, d)]
    if ret_type(s, d):
        args.append(f'{ret_type(s, d)}*out')
    args.append('Error **errp')
    return f'bool qmp_{c_name(d.name)}({", ".join(args)})'


def commands_h(s):
    out = [HEAD, '#ifndef RHEA_QAPI_COMMANDS_H\n#define RHEA_QAPI_COMMANDS_H\n',
           '#include "qapi/qapi-types.h"\n#include "qapi/qapi.h"\n']
    for d in s.of('command'):
        if d.doc:
            out.append(f'/* {d.doc} */')
        out.append(prototype(s, d) + ';')
    out.append('\n#endif')
    return out


def command_body(s, d):
    name, r = c_name(d.name), ret_type(s, d)
    gen = d.e.get('gen') is not False
    out = []
    struct = q_name(d.arg_type) if d.arg_type else None
    checked = not d.e.get('open')
    if not struct and d.own and checked:
        struct = f'q_args_{name}'
        out.append(f'typedef struct {struct} {{')
        for m in d.own:
            if m.optional and not is_pointer(s, m):
                out.append(f'    bool has_{c_name(m.name)};')
            out.append(f'    {sp(c_type(s, m))}{c_name(m.name)};')
        out.append(f'}} {struct};')
        out += member_table(s, f'{struct}_members', d.own, struct)
        out.append(f'static const QapiType {struct}_type = {{.name = "{d.name}", '
                   f'.kind = QAPI_STRUCT, .size = sizeof({struct}), '
                   f'.members = {struct}_members}};')
    desc = f'&{struct}_type' if struct else '&qapi_no_arguments'
    out.append(f'static bool run_{name}(Object *root, const Json *args, Json **ret, Error **errp)')
    out.append('{')
    call = ['root'] + (['args'] if not gen else [e for _, e in args_of(s, d)]) + \
        (['&out'] if r else []) + ['errp']
    call = f'qmp_{name}({", ".join(call)})'
    if r:
        zero = 'NULL' if r.endswith('*') else '0'
        out.append(f'    {sp(r)}out = {zero};')
    if gen and struct:
        out.append(f'    {struct} *a = qapi_from_json({desc}, args, errp);')
        out.append('    if (!a) {\n        return false;\n    }')
    elif checked:
        out.append(f'    if (!qapi_check({desc}, args, errp)) {{\n        return false;\n    }}')
    out.append(f'    bool ok = {call};')
    if gen and struct:
        out.append(f'    qapi_free({desc}, a);')
    if r:
        m = Member('r', d.e['returns'])
        out.append('    if (ok) {')
        if d.e.get('json'):
            out.append('        *ret = out;')
        elif m.array:
            out.append(f'        *ret = qapi_array_to_json({type_ref(s, m)}, out);')
            out.append(f'        qapi_array_free({type_ref(s, m)}, out);')
        elif m.type == 'str':
            out.append('        *ret = json_string(out);\n        g_free(out);')
        elif m.type == 'any':
            out.append('        *ret = out;')
        else:
            out.append(f'        *ret = qapi_to_json({type_ref(s, m)}, out);')
            out.append(f'        qapi_free({type_ref(s, m)}, out);')
        out.append('    }')
    else:
        out.append('    if (ok) {\n        *ret = json_object();\n    }')
    out.append('    return ok;\n}\n')
    return out


def commands_c(s):
    out = [HEAD, '#include "qapi/qapi-commands.h"\n', '#include <stddef.h>\n']
    for d in s.of('command'):
        out += command_body(s, d)
    out.append('const QmpCommand qmp_commands[] = {')
    for d in sorted(s.of('command'), key=lambda d: d.name):
        flags = ''.join(f', .{f.replace("-", "_")} = true' for f in
                        ('allow-oob', 'allow-preconfig') if d.e.get(f))
        flags += ''.join(f', .{f} = true' for f in ('deprecated', 'unstable')
                         if f in d.e.get('features', []))
        out.append(f'    {{.name = "{d.name}", .run = run_{c_name(d.name)}{flags}}},')
    out.append('    {0}};')
    out.append('const unsigned qmp_command_count = sizeof(qmp_commands) / sizeof(qmp_commands[0])'
               ' - 1;')
    return out


def introspect(s):
    out, used = [], {}

    def ref(m):
        name = BUILTIN[m.type][2] if m.type in BUILTIN else m.type
        name = {'string': 'str', 'boolean': 'bool', 'value': 'any'}.get(name, name) \
            if m.type in BUILTIN else name
        if m.type in BUILTIN and name not in used:
            used[name] = {'name': name, 'meta-type': 'builtin', 'json-type': BUILTIN[m.type][2]}
        if m.array:
            used.setdefault(f'[{name}]', {'name': f'[{name}]', 'meta-type': 'array',
                                          'element-type': name})
            return f'[{name}]'
        return name

    def obj(name, members, d=None):
        o = {'name': name, 'meta-type': 'object', 'members': []}
        for m in members:
            e = {'name': m.name, 'type': ref(m)}
            if m.optional:
                e['default'] = None
            o['members'].append(e)
        if d and d.kind == 'union':
            o['tag'] = d.tag
            o['variants'] = [{'case': k, 'type': t} for k, t in d.branches.items()]
        return o

    empty = obj('q_empty', [])
    for d in s.defs:
        if d.kind == 'enum':
            out.append({'name': d.name, 'meta-type': 'enum', 'values': d.values,
                        'members': [{'name': v} for v in d.values]})
        elif d.kind in ('struct', 'union'):
            out.append(obj(d.name, d.members(), d))
        else:
            arg = d.arg_type or ('q_empty' if not d.own else f'q_obj_{d.name}-arg')
            if not d.arg_type and d.own:
                out.append(obj(arg, d.own))
            e = {'name': d.name, 'meta-type': d.kind, 'arg-type': arg}
            if d.kind == 'command':
                r = d.e.get('returns')
                e['ret-type'] = ref(Member('r', r)) if r else 'q_empty'
                if d.e.get('allow-oob'):
                    e['allow-oob'] = True
            if d.e.get('features'):
                e['features'] = d.e['features']
            out.append(e)
    return out + [empty] + list(used.values())


def docs(s):
    out = ['# The management interface', '',
           'Made by `python3 qapi/gen.py docs qapi/*.json` from the schema; do not edit.', '',
           'A session is opened by `{"execute": "qmp_capabilities"}`; see `-qmp` and `-mon`.', '']

    def mem(ms):
        return ', '.join(('*' if m.optional else '') + m.name + ': ' +
                         (f'[{m.type}]' if m.array else m.type) for m in ms) or 'none'

    for title, kind in (('Commands', 'command'), ('Events', 'event')):
        out += [f'## {title}', '']
        for d in sorted(s.of(kind), key=lambda d: d.name):
            out += [f'### {d.name}', ''] + ([d.doc, ''] if d.doc else []) + [f'Arguments: {mem(d.members())}' if
                    kind == 'command' else f'Data: {mem(d.members())}', '']
            r = d.e.get('returns')
            if r:
                out += [f'Returns: {f"[{r[0]}]" if isinstance(r, list) else r}', '']
    out += ['## Types', '']
    for d in sorted(s.of('struct', 'union'), key=lambda d: d.name):
        out.append(f'- **{d.name}**: {mem(d.members())}' + (f'. {d.doc}' if d.doc else ''))
    for d in sorted(s.of('enum'), key=lambda d: d.name):
        out.append(f'- **{d.name}**: {" | ".join(d.values)}')
    return out


def check_docs(path, files):
    want = '\n'.join(docs(Schema(files))) + '\n'
    if open(path, encoding='utf-8').read() != want:
        die(f'{path} is out of date: python3 qapi/gen.py docs qapi/*.json > {path}')


def main():
    if len(sys.argv) > 3 and sys.argv[1] == 'check-docs':
        check_docs(sys.argv[2], sys.argv[3:])
        return
    makers = {'types-h': types_h, 'types-c': types_c, 'commands-h': commands_h,
              'commands-c': commands_c, 'docs': docs}
    if len(sys.argv) < 3 or sys.argv[1] not in makers:
        die('usage: gen.py ' + '|'.join(makers) + ' SCHEMA.json...')
    print('\n'.join(makers[sys.argv[1]](Schema(sys.argv[2:]))))


main()
