/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rhea-io: reads and writes of disk images, by hand or by script. */
#include "config.h"
#include "tools/io.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const ToolOption options[] = {
    {"object", 0, 0, "OBJECTDEF", "an object such as secret,id=ID,file=FILE"},
    {"image-opts", 0, 0, NULL, "the image's name is a list of options"},
    {"cmd", 'c', 0, "STRING", "run a command and end"},
    {"format", 'f', 0, "FMT", "format of the image (default: looked at)"},
    {"read-only", 'r', 0, NULL, "open the image for reading only"},
    {"nocache", 'n', 0, NULL, "the same as -t none"},
    {"cache", 't', 0, "MODE", "cache mode (default: writeback)"},
    {"discard", 'd', 0, "MODE", "unmap: discards free space (default: ignore)"},
    {"aio", 'i', 0, "MODE", "threads, native or io_uring"},
    {"native-aio", 'k', 0, NULL, "the same as -i native"},
    {"force-share", 'U', 0, NULL, "open what others write to, too"},
    {"help", 'h', 0, NULL, "print this help"},
    {"version", 'V', 0, NULL, "print the version"},
    {NULL},
};

bool io_open(IoSession *s, const char *name, const ToolOpen *o)
{
    Error *err = NULL;
    BlockOpenFlags unused = {0};
    if (s->n) {
        report_error("file open already, try 'help close'");
        return false;
    }
    s->n = tool_cache_flags(o->cache, &unused, &s->writethrough, &err)
               ? tool_open(&s->tool, name, o, &err)
               : NULL;
    if (!s->n) {
        error_report(err);
    }
    return s->n != NULL;
}

void io_close(IoSession *s)
{
    io_wait(s);
    tool_close(&s->tool, s->n);
    s->n = NULL;
}

static void interactive(IoSession *s)
{
    char *line = NULL;
    size_t room = 0;
    bool prompt = isatty(STDIN_FILENO);
    while (!s->quit) {
        if (prompt) {
            printf("rhea-io> ");
            fflush(stdout);
        }
        ssize_t len = getline(&line, &room, stdin);
        if (len < 0) {
            break;
        }
        if (len && line[len - 1] == '\n') {
            line[len - 1] = 0;
        }
        if (!io_execute(s, line)) {
            s->status = 1;
        }
    }
    free(line);
}

static bool take_open(ToolArgs *a, ToolOpen *o, Error **errp)
{
    static const char *const discards[] = {"ignore", "off", "unmap", "on", NULL};
    o->format = tool_get(a, "format");
    o->image_opts = tool_has(a, "image-opts");
    o->cache = tool_has(a, "nocache") ? "none" : tool_get(a, "cache");
    o->write = !tool_has(a, "read-only");
    o->force_share = tool_has(a, "force-share");
    o->discard = tool_enum(a, "discard", discards, 0) >= 2;
    o->aio = tool_has(a, "native-aio") ? "native" : tool_get(a, "aio");
    if (o->force_share && o->write) {
        tool_mistake(a, "'-U' needs '-r'");
    }
    return tool_args_finish(a, 0, 1, "at most one image", errp);
}

static void run(IoSession *s, ToolArgs *a, const ToolOpen *o)
{
    g_autoptr(GPtrArray) lines = tool_all(a, "cmd");
    if (tool_n_words(a) && !io_open(s, tool_word(a, 0), o)) {
        s->status = 1;
        return;
    }
    for (guint i = 0; i < lines->len && !s->quit; i++) {
        if (!io_execute(s, lines->pdata[i])) {
            s->status = 1;
        }
    }
    if (!lines->len) {
        interactive(s);
    }
    io_close(s);
}

int main(int argc, char **argv)
{
    Error *err = NULL;
    IoSession s = {0};
    ToolOpen o = {0};
    signal(SIGPIPE, SIG_IGN);
    report_set_program("rhea-io");
    g_autoptr(ToolArgs) a = tool_args_parse(argc, argv, options, &err);
    if (tool_has(a, "help")) {
        printf(
            "usage: rhea-io [OPTIONS] [IMAGE]\nreads and writes of disk images; 'help' lists the "
            "commands\n\n");
        tool_print_options(options);
        return 0;
    }
    if (tool_has(a, "version")) {
        puts("rhea-io version " RHEA_VERSION);
        return 0;
    }
    if (!take_open(a, &o, &err) || !tool_start(&s.tool, &err)) {
        error_report(err);
        return 1;
    }
    s.tool.graph->patient = true;
    if (tool_add_objects(&s.tool, a, &err)) {
        run(&s, a, &o);
    } else {
        error_report(err);
        s.status = 1;
    }
    tool_stop(&s.tool);
    return s.status;
}
