/* Plain recurrent layers. */
#include "engine/kernels/ref/nn_ref.h"

#include <string.h>

size_t ledge__rnn_ref_scratch(const LedgeRnnRef *p)
{
    size_t rows, n;
    if (__builtin_mul_overflow(p->seq + 1, p->batch, &rows) ||
        __builtin_mul_overflow(rows, p->gates * p->hidden, &n) ||
        __builtin_add_overflow(n, 3 * p->batch * p->hidden, &n))
        return SIZE_MAX;
    return n;
}

/* Backwards, a row's own last step comes first; steps past its end fall on the padding. */
static size_t time_of(const LedgeRnnRef *p, size_t b, size_t step)
{
    size_t len = p->lens ? (size_t)p->lens[b] : p->seq;
    return p->reverse && step < len ? len - 1 - step : step;
}

#define T float
#define FN(x) x##_f32_ref
#include "engine/kernels/ref/nn_rnn_body.h"
#undef T
#undef FN

#define T double
#define FN(x) x##_f64_ref
#include "engine/kernels/ref/nn_rnn_body.h"
