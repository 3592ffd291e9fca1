/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qom/internal.h: what the files of this room share and nobody else needs.
 */
#ifndef RHEA_QOM_INTERNAL_H
#define RHEA_QOM_INTERNAL_H

#include "qom/object.h"

#define TYPE_DEPTH_MAX 16

/* Fills `chain` with the types from the root to `t`; returns their number. */
unsigned type_chain(const TypeInfo *t, const TypeInfo *chain[TYPE_DEPTH_MAX]);
/* Writes the defaults of the properties that `t` itself declares. */
void property_init_defaults(Object *obj, const TypeInfo *t);
/* Releases what the properties that `t` itself declares own. */
void property_release(Object *obj, const TypeInfo *t);
/* Container below which links to type `type` are named, or NULL. */
const char *type_container(const char *type);
/* The tree in which the object's links are looked up. */
Object *object_scope(Object *obj);

#endif
