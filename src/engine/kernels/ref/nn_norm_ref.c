/* Plain softmax family and normalisations: layer, RMS, group, instance, batch, LRN, Lp. */
#include "engine/kernels/ref/nn_ref.h"

#include <math.h>
#include <string.h>

#define NN_LANES 32

/* Rows of an item so that each is worth handing out. */
static size_t grain(size_t size)
{
    return size >= 4096 ? 1 : 4096 / (size ? size : 1);
}

#define T float
#define FN(x) x##_f32_ref
#define EXP expf
#define LOG logf
#define SQRT sqrtf
#define POW powf
#define FABS fabsf
#include "engine/kernels/ref/nn_norm_body.h"
#undef T
#undef FN
#undef EXP
#undef LOG
#undef SQRT
#undef POW
#undef FABS

#define T double
#define FN(x) x##_f64_ref
#define EXP exp
#define LOG log
#define SQRT sqrt
#define POW pow
#define FABS fabs
#include "engine/kernels/ref/nn_norm_body.h"
