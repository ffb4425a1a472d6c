/* Plain matrix products of float, double, 32- and 64-bit integers and int16 into 32 bits. */
#include "engine/kernels/ref/nn_ref.h"

#include <string.h>

#define NN_M_BLOCK 64
#define NN_N_BLOCK 256
#define NN_K_BLOCK 256

#define IN float
#define T float
#define FN(x) x##_f32_ref
#include "engine/kernels/ref/nn_gemm_body.h"
#undef IN
#undef T
#undef FN

#define IN double
#define T double
#define FN(x) x##_f64_ref
#include "engine/kernels/ref/nn_gemm_body.h"
#undef IN
#undef T
#undef FN

#define IN uint32_t
#define T uint32_t
#define FN(x) x##_u32_ref
#include "engine/kernels/ref/nn_gemm_body.h"
#undef IN
#undef T
#undef FN

#define IN uint64_t
#define T uint64_t
#define FN(x) x##_u64_ref
#include "engine/kernels/ref/nn_gemm_body.h"
#undef IN
#undef T
#undef FN

#define IN int16_t
#define T uint32_t /* wraps instead of overflowing */
#define FN(x) x##_s16_ref
#include "engine/kernels/ref/nn_gemm_body.h"
#undef IN
#undef T
#undef FN

void ledge__matmul_f32_ref(const LedgeMatmul *g)
{
    for (size_t n = 0; n < g->n; n += NN_N_BLOCK)
        tile_f32_ref(g, 0, g->m, n, n + NN_N_BLOCK < g->n ? n + NN_N_BLOCK : g->n);
}

void ledge__matmul_f64_ref(const LedgeMatmul *g)
{
    for (size_t n = 0; n < g->n; n += NN_N_BLOCK)
        tile_f64_ref(g, 0, g->m, n, n + NN_N_BLOCK < g->n ? n + NN_N_BLOCK : g->n);
}

void ledge__matmul_s16_ref(const LedgeMatmul *g)
{
    for (size_t n = 0; n < g->n; n += NN_N_BLOCK)
        tile_s16_ref(g, 0, g->m, n, n + NN_N_BLOCK < g->n ? n + NN_N_BLOCK : g->n);
}
