/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The JIT's vector operations. */
#include "accel/tcg/jit-internal.h"

unsigned jit_vector_op(JitCtx *j, unsigned i)
{
    jit_call_stub(j, STUB_VECTOR, i);
    return i + 1;
}
