/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rhea-img: disk images, offline. */
#include "config.h"
#include "tools/img.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const ImgCommand *const commands[] = {
    &img_amend,   &img_bench,   &img_bitmap, &img_check,  &img_commit,
    &img_compare, &img_convert, &img_create, &img_dd,     &img_info,
    &img_map,     &img_measure, &img_rebase, &img_resize, &img_snapshot,
};

int img_fail(Error *err)
{
    if (err) {
        error_report(err);
    }
    return 1;
}

bool img_quiet(const ToolArgs *a)
{
    return tool_has(a, "quiet");
}

BlockNode *img_open_word(Tool *t, const ToolArgs *a, unsigned i, const ToolOpen *more, Error **errp)
{
    ToolOpen o = *more;
    o.format = tool_get(a, "format");
    o.image_opts = tool_has(a, "image-opts");
    o.cache = tool_get(a, "cache");
    o.force_share = tool_has(a, "force-share");
    return tool_open(t, tool_word(a, i), &o, errp);
}

bool img_show_snapshot(BlockNode *n, const char *spec, Error **errp)
{
    if (!spec) {
        return true;
    }
    if (!g_str_has_prefix(spec, "snapshot.")) {
        return image_snapshot_show(n, spec, errp) == 0;
    }
    g_autoptr(OptionText) o = option_parse("-l", spec, NULL, errp);
    if (!o) {
        return false;
    }
    const Json *s = json_get(option_values(o), "snapshot");
    const char *id = json_get_str(s, "id"), *name = json_get_str(s, "name");
    if (!id && !name) {
        error_set(errp, "-l %s: 'snapshot.id' or 'snapshot.name' is missing", spec);
        return false;
    }
    return image_snapshot_show(n, id ? id : name, errp) == 0;
}

void img_print_json(const Json *j)
{
    g_autofree char *text = json_print(j, true);
    puts(text);
}

static void print_help(void)
{
    printf("rhea-img " RHEA_VERSION ": disk images, offline\n"
           "usage: rhea-img COMMAND [OPTIONS] …\n\nCommands:\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        printf("  %-10s %s\n", commands[i]->name, commands[i]->help);
    }
    printf("\n'rhea-img COMMAND --help' tells the options of one.\n");
}

static const ImgCommand *find_command(const char *name)
{
    const char *names[ARRAY_LEN(commands) + 1] = {NULL};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        names[i] = commands[i]->name;
        if (!strcmp(name, commands[i]->name)) {
            return commands[i];
        }
    }
    const char *near = nearest_word(name, names);
    if (near) {
        report_error("there is no command '%s'; did you mean '%s'?", name, near);
    } else {
        report_error("there is no command '%s' ('rhea-img --help' lists them)", name);
    }
    return NULL;
}

static int run_command(const ImgCommand *c, int argc, char **argv)
{
    Error *err = NULL;
    Tool t;
    g_autoptr(ToolArgs) a = tool_args_parse(argc, argv, c->options, &err);
    if (tool_has(a, "help")) {
        printf("usage: rhea-img %s [OPTIONS] %s\n%s\n\n", c->name, c->words, c->help);
        tool_print_options(c->options);
        return 0;
    }
    if (!tool_start(&t, &err)) {
        return img_fail(err);
    }
    t.graph->patient = true;
    int status = tool_add_objects(&t, a, &err) ? c->run(&t, a) : img_fail(err);
    tool_stop(&t);
    return status;
}

int main(int argc, char **argv)
{
    g_autofree char *program = NULL;
    signal(SIGPIPE, SIG_IGN);
    report_set_program("rhea-img");
    if (argc < 2) {
        report_error("a command is missing ('rhea-img --help' lists them)");
        return 1;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        print_help();
        return 0;
    }
    if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
        puts("rhea-img version " RHEA_VERSION);
        return 0;
    }
    const ImgCommand *c = find_command(name);
    if (!c) {
        return 1;
    }
    program = g_strdup_printf("rhea-img: %s", c->name);
    report_set_program(program);
    int status = run_command(c, argc - 1, argv + 1);
    report_set_program("rhea-img");
    if (tool_interrupted()) {
        tool_die_of_signal();
    }
    return status;
}
