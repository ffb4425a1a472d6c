/* Template: TILE_HEADER as tiles of TILE_NV vectors with 1 … TILE_ROWS rows, and
 * gemm_rows_<TILE_NV>, the table of them by rows less one. TILE_OF is what a tile takes. */
#ifndef TILE_JOIN
#define TILE_JOIN_(a, b) a##b
#define TILE_JOIN(a, b)  TILE_JOIN_(a, b)
#define TILE_CALL_(r, v) gemm_##r##x##v
#define TILE_CALL(r, v)  TILE_CALL_(r, v)
#define TILE_NAME        TILE_CALL(TILE_MR, TILE_NV)
#endif

#define TILE_MR 1
#include TILE_HEADER
#undef TILE_MR
#if TILE_ROWS >= 2
#define TILE_MR 2
#include TILE_HEADER
#undef TILE_MR
#endif
#if TILE_ROWS >= 3
#define TILE_MR 3
#include TILE_HEADER
#undef TILE_MR
#endif
#if TILE_ROWS >= 4
#define TILE_MR 4
#include TILE_HEADER
#undef TILE_MR
#endif
#if TILE_ROWS >= 5
#define TILE_MR 5
#include TILE_HEADER
#undef TILE_MR
#endif
#if TILE_ROWS >= 6
#define TILE_MR 6
#include TILE_HEADER
#undef TILE_MR
#endif
#if TILE_ROWS >= 7
#define TILE_MR 7
#include TILE_HEADER
#undef TILE_MR
#endif
#if TILE_ROWS >= 8
#define TILE_MR 8
#include TILE_HEADER
#undef TILE_MR
#endif

static void (*const TILE_JOIN(gemm_rows_, TILE_NV)[])(const TILE_OF *) = {
    TILE_CALL(1, TILE_NV),
#if TILE_ROWS >= 2
    TILE_CALL(2, TILE_NV),
#endif
#if TILE_ROWS >= 3
    TILE_CALL(3, TILE_NV),
#endif
#if TILE_ROWS >= 4
    TILE_CALL(4, TILE_NV),
#endif
#if TILE_ROWS >= 5
    TILE_CALL(5, TILE_NV),
#endif
#if TILE_ROWS >= 6
    TILE_CALL(6, TILE_NV),
#endif
#if TILE_ROWS >= 7
    TILE_CALL(7, TILE_NV),
#endif
#if TILE_ROWS >= 8
    TILE_CALL(8, TILE_NV),
#endif
};
#undef TILE_NV
#undef TILE_ROWS
