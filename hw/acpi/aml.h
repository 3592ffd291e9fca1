/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hw/acpi/aml.h: makes ACPI Machine Language, the byte code of the DSDT (ACPI
 * 6.3, chapter 20).
 *
 * Each function makes one term.  aml_append() puts a term into a container
 * (scope, device, method, if, package, resource template …) and consumes it;
 * functions that take terms as arguments consume them, too.  Terms come out in
 * the order they were appended.  Names may be paths: "\\_SB.PCI0", "^LNKA".
 * Knows nothing of machines.
 */
#ifndef RHEA_HW_ACPI_AML_H
#define RHEA_HW_ACPI_AML_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Aml Aml;

Aml *aml_block(void); /* terms one after another, without a head */
void aml_append(Aml *to, Aml *term);
/* The finished bytes of a term, which is consumed; the caller owns the array. */
GByteArray *aml_finish(Aml *term);
void aml_free(Aml *term); /* NULL is fine */

/* ---- data ---- */
Aml *aml_int(uint64_t v); /* in the shortest encoding */
Aml *aml_string(const char *s);
Aml *aml_eisaid(const char *id); /* "PNP0A03" */
Aml *aml_buffer(const void *data, size_t len);
Aml *aml_uuid(const char *text); /* as ToUUID(): a buffer of 16 bytes */
Aml *aml_package(void);          /* elements are appended, at most 255 */
Aml *aml_ref(const char *name);  /* a name as operand */
Aml *aml_arg(unsigned n);        /* 0-6 */
Aml *aml_local(unsigned n);      /* 0-7 */

/* ---- declarations ---- */
Aml *aml_name(const char *name, Aml *value);
Aml *aml_scope(const char *name);
Aml *aml_device(const char *name);
Aml *aml_method(const char *name, unsigned args, bool serialized);
typedef enum AmlSpace {
    AML_SYSTEM_MEMORY = 0,
    AML_SYSTEM_IO = 1,
    AML_PCI_CONFIG = 2,
} AmlSpace;
Aml *aml_operation_region(const char *name, AmlSpace space, uint64_t offset, uint64_t len);
typedef enum AmlAccess { AML_ANY, AML_BYTE, AML_WORD, AML_DWORD, AML_QWORD } AmlAccess;
Aml *aml_field(const char *region, AmlAccess access); /* Preserve, NoLock */
Aml *aml_field_unit(const char *name, unsigned bits); /* name NULL: skips bits */
Aml *aml_create_dword_field(Aml *buffer, Aml *index, const char *name);

/* ---- statements and operators (results go nowhere but into the enclosing term) ---- */
Aml *aml_store(Aml *value, Aml *target);
Aml *aml_return(Aml *value);
Aml *aml_if(Aml *condition);
Aml *aml_else(void); /* right after its If */
Aml *aml_equal(Aml *a, Aml *b);
Aml *aml_land(Aml *a, Aml *b);
Aml *aml_lnot(Aml *a);
/* target NULL: none */
Aml *aml_and(Aml *a, Aml *b, Aml *target);
Aml *aml_or(Aml *a, Aml *b, Aml *target);
Aml *aml_call(const char *method, unsigned n, Aml *args[]);

/* ---- resources ---- */
Aml *aml_resources(void);                               /* descriptors are appended */
Aml *aml_io(uint16_t base, uint8_t align, uint8_t len); /* Decode16, fixed */
Aml *aml_irq(unsigned irq);                             /* edge, active high, exclusive */
Aml *aml_dma(unsigned channel);
Aml *aml_memory32(uint32_t base, uint32_t len, bool writable);
/* Extended interrupt: level, active high, shared; `n` choices. */
Aml *aml_interrupt(const uint32_t *irqs, unsigned n);
/* Address spaces that a bridge passes on: [min, max]. */
Aml *aml_word_bus(uint16_t min, uint16_t max);
Aml *aml_word_io(uint16_t min, uint16_t max);
Aml *aml_dword_memory(uint32_t min, uint32_t max, bool cacheable);
Aml *aml_qword_memory(uint64_t min, uint64_t max, bool cacheable);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Aml, aml_free)

#endif
