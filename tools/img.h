/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tools/img.h: the commands of rhea-img. */
#ifndef RHEA_TOOLS_IMG_H
#define RHEA_TOOLS_IMG_H

#include "tools/tool.h"

typedef struct ImgCommand {
    const char *name, *words, *help;
    const ToolOption *options;
    /* The exit status; a message has been printed if it is a failure's. */
    int (*run)(Tool *t, ToolArgs *a);
} ImgCommand;

extern const ImgCommand img_create, img_resize, img_amend, img_measure, img_info, img_check,
    img_map, img_snapshot, img_convert, img_dd, img_compare, img_commit, img_rebase, img_bitmap,
    img_bench;

/* What most commands have. */
#define IMG_OPT_FORMAT                                                      \
    {                                                                       \
        "format", 'f', 0, "FMT", "format of the image (default: looked at)" \
    }
#define IMG_OPT_IMAGE_OPTS                                           \
    {                                                                \
        "image-opts", 0, 0, NULL, "image names are lists of options" \
    }
#define IMG_OPT_OBJECT                                                       \
    {                                                                        \
        "object", 0, 0, "OBJDEF", "an object such as secret,id=ID,file=FILE" \
    }
#define IMG_OPT_FORCE_SHARE                                           \
    {                                                                 \
        "force-share", 'U', 0, NULL, "open what others write to, too" \
    }
#define IMG_OPT_QUIET                              \
    {                                              \
        "quiet", 'q', 0, NULL, "print errors only" \
    }
#define IMG_OPT_PROGRESS                          \
    {                                             \
        "progress", 'p', 0, NULL, "show progress" \
    }
#define IMG_OPT_HELP                            \
    {                                           \
        "help", 'h', 0, NULL, "print this help" \
    }

/* Prints and frees the error; 1. */
int img_fail(Error *err);
bool img_quiet(const ToolArgs *a);
/* Opens word `i` as the common options say. */
BlockNode *img_open_word(Tool *t, const ToolArgs *a, unsigned i, const ToolOpen *more,
                         Error **errp);
/* "id" or "snapshot.id=…,snapshot.name=…": shows it; true if `spec` is NULL. */
bool img_show_snapshot(BlockNode *n, const char *spec, Error **errp);
void img_print_json(const Json *j);
void img_print_snapshots(GPtrArray *list);

#endif
