/* Plain scaled dot-product attention with grouped heads, masks, windows and cached keys. */
#include "engine/kernels/ref/nn_ref.h"

#include <math.h>
#include <string.h>

#define NN_ROWS 32 /* query rows of an item */

size_t ledge__attention_ref_scratch(const LedgeAttentionRef *p, int threads)
{
    size_t n;
    if (__builtin_mul_overflow(p->past_len + p->kv_len, NN_ROWS * (size_t)threads, &n))
        return SIZE_MAX;
    return n;
}

/* Keys [lo, hi) that query i of batch b may see by position alone. */
static void visible(const LedgeAttentionRef *p, size_t b, size_t i, size_t *lo, size_t *hi)
{
    int64_t keys = (int64_t)(p->past_len + p->kv_len), from = 0, to = keys;
    int64_t at = (int64_t)i + (p->offset ? p->offset[b] : (int64_t)p->past_len);
    if (p->valid && p->valid[b] < to)
        to = p->valid[b];
    if (p->causal && at + 1 < to)
        to = at + 1;
    if (p->left >= 0 && at - p->left > from)
        from = at - p->left;
    if (p->right >= 0 && p->right < keys && at + p->right + 1 < to)
        to = at + p->right + 1;
    *lo = (size_t)from;
    *hi = to < from ? (size_t)from : (size_t)to;
}

#define T float
#define FN(x) x##_f32_ref
#define EXP expf
#define TANH tanhf
#include "engine/kernels/ref/nn_attention_body.h"
#undef T
#undef FN
#undef EXP
#undef TANH

#define T double
#define FN(x) x##_f64_ref
#define EXP exp
#define TANH tanh
#include "engine/kernels/ref/nn_attention_body.h"
