/* SPDX-License-Identifier: GPL-2.0-or-later */
/* On hosts without a back end there is no JIT: the interpreter executes everything. */
#include "accel/tcg/jit.h"

bool jit_available(void)
{
    return false;
}

Jit *jit_new(size_t size, bool icount, Error **errp)
{
    error_set(errp, "tcg: there is no JIT for this host");
    return NULL;
}

void jit_init_returns(const Jit *j, TcgCpu *tc)
{
}

void jit_free(Jit *j)
{
}

void jit_reset(Jit *j)
{
}

bool jit_compile(Jit *j, Block *b)
{
    b->jit_never = true;
    return true;
}

const void *jit_no_code(const Jit *j)
{
    return NULL;
}

void jit_link(Jit *j, Block *from, unsigned slot, const Block *to)
{
}

void jit_link_lookup(Jit *jit, Block *from, unsigned slot)
{
}

Block *jit_run(Jit *j, CPUX86 *cpu, const Block *b, unsigned *slot)
{
    return NULL;
}

bool jit_contains(const Block *b, uintptr_t pc)
{
    return false;
}

void jit_usage(const Jit *j, size_t *used, size_t *size)
{
    *used = *size = 0;
}
