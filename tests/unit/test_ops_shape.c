/* Shape operators at their edges: empty and scalar tensors, shapes that overflow, indices out of
 * range, steps backwards, pads that take away. The backend tests cover the middle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "one_op.h"

static OneOp one(int opset, const char *op, const LedgeTensor *in, int n)
{
    return one_op(opset, op, n, in, 1);
}

#define GIVES(opset, op, want, ...)                                                       \
    do {                                                                                  \
        const LedgeTensor in_[] = {__VA_ARGS__}, want_ = want;                            \
        OneOp o_ = one(opset, op, in_, (int)(sizeof in_ / sizeof in_[0]));               \
        one_op_gives(&o_, &want_);                                                       \
    } while (0)
#define REFUSED(opset, op, status, ...)                                                   \
    do {                                                                                  \
        const LedgeTensor in_[] = {__VA_ARGS__};                                          \
        OneOp o_ = one(opset, op, in_, (int)(sizeof in_ / sizeof in_[0]));               \
        one_op_refused(&o_, status);                                                     \
    } while (0)

static void reshape_keeps_zero_and_finds_minus_one(void **state)
{
    (void)state;
    float x[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    LedgeTensor in = shaped(LEDGE_FLOAT, DIMS(2, 6), x);
    GIVES(14, "Reshape", shaped(LEDGE_FLOAT, DIMS(2, 3, 2), x), in, INTS(0, 3, -1));
    GIVES(14, "Reshape", shaped(LEDGE_FLOAT, DIMS(12), x), in, INTS(-1));
    LedgeTensor none = shaped(LEDGE_FLOAT, DIMS(0, 6), NULL);
    GIVES(14, "Reshape", shaped(LEDGE_FLOAT, DIMS(0, 2, 3), NULL), none, INTS(0, 2, -1));
}

static void reshape_allowzero_takes_zero_at_its_word(void **state)
{
    (void)state;
    LedgeTensor none = shaped(LEDGE_FLOAT, DIMS(3, 0, 7), NULL);
    OneOp o = one_op(14, "Reshape", 2, (LedgeTensor[]){none, INTS(5, 0)}, 1);
    test_attr_int(o.t, o.n, "allowzero", 1);
    LedgeTensor want = shaped(LEDGE_FLOAT, DIMS(5, 0), NULL);
    one_op_gives(&o, &want);
}

static void reshape_refuses_what_does_not_fit(void **state)
{
    (void)state;
    float x[6] = {0};
    LedgeTensor in = shaped(LEDGE_FLOAT, DIMS(2, 3), x);
    REFUSED(14, "Reshape", LEDGE_ERROR_SHAPE, in, INTS(4, 2));
    REFUSED(14, "Reshape", LEDGE_ERROR_SHAPE, in, INTS(4, -1));
    REFUSED(14, "Reshape", LEDGE_ERROR_SHAPE, in, INTS(-1, -1));
    REFUSED(14, "Reshape", LEDGE_ERROR_SHAPE, in, shaped(LEDGE_INT64, DIMS(0), NULL));
    REFUSED(14, "Reshape", LEDGE_ERROR_SHAPE, in, INTS(-2, -3));
    REFUSED(14, "Reshape", LEDGE_ERROR_SHAPE, in, INTS(2, 3, 0));
    REFUSED(14, "Reshape", LEDGE_ERROR_LIMIT, in, INTS(INT64_C(1) << 40, INT64_C(1) << 40));
    REFUSED(14, "Reshape", LEDGE_ERROR_SHAPE, in, INTS(INT64_C(1) << 40, INT64_C(1) << 40, -1));
    REFUSED(14, "Reshape", LEDGE_ERROR_LIMIT, in, INTS(1, 1, 1, 1, 1, 1, 1, 1, 6));
}

static void squeeze_and_unsqueeze_check_their_axes(void **state)
{
    (void)state;
    float x[2] = {3, 4};
    LedgeTensor in = shaped(LEDGE_FLOAT, DIMS(1, 2, 1), x);
    GIVES(13, "Squeeze", shaped(LEDGE_FLOAT, DIMS(2), x), in, INTS(0, -1));
    GIVES(13, "Squeeze", shaped(LEDGE_FLOAT, DIMS(2), x), in);
    REFUSED(13, "Squeeze", LEDGE_ERROR_SHAPE, in, INTS(1));
    REFUSED(13, "Squeeze", LEDGE_ERROR_SHAPE, in, INTS(3));
    REFUSED(13, "Squeeze", LEDGE_ERROR_SHAPE, in, INTS(0, 0));
    REFUSED(13, "Squeeze", LEDGE_ERROR_SHAPE, shaped(LEDGE_FLOAT, DIMS(0, 2), NULL), INTS(0));
    GIVES(13, "Unsqueeze", shaped(LEDGE_FLOAT, DIMS(1, 1, 2, 1, 1), x), in, INTS(-1, 0));
    REFUSED(13, "Unsqueeze", LEDGE_ERROR_SHAPE, in, INTS(5));
    REFUSED(13, "Unsqueeze", LEDGE_ERROR_SHAPE, in, INTS(1, 1));
    REFUSED(13, "Unsqueeze", LEDGE_ERROR_LIMIT, in, INTS(0, 1, 2, 3, 4, 5));
    float scalar = 5;
    GIVES(13, "Unsqueeze", shaped(LEDGE_FLOAT, DIMS(1), &scalar),
          shaped(LEDGE_FLOAT, 0, NULL, &scalar), INTS(0));
}

static void shape_counts_its_range_from_both_ends(void **state)
{
    (void)state;
    LedgeTensor in = shaped(LEDGE_FLOAT, DIMS(4, 0, 6, 7), NULL);
    OneOp o = one_op(15, "Shape", 1, &in, 1);
    test_attr_int(o.t, o.n, "start", -3);
    test_attr_int(o.t, o.n, "end", -1);
    LedgeTensor want = INTS(0, 6);
    one_op_gives(&o, &want);
    o = one_op(15, "Shape", 1, &in, 1);
    test_attr_int(o.t, o.n, "start", 3);
    test_attr_int(o.t, o.n, "end", 1);
    want = shaped(LEDGE_INT64, DIMS(0), NULL);
    one_op_gives(&o, &want);
    GIVES(13, "Size", shaped(LEDGE_INT64, 0, NULL, (int64_t[]){0}), in);
}

static void transpose_moves_every_packed_element(void **state)
{
    (void)state;
    /* 3x3 of int4: 1 2 3 / 4 5 6 / 7 -8 -7, low bits first. */
    uint8_t x[5] = {0x21, 0x43, 0x65, 0x87, 0x09}, want[5] = {0x41, 0x27, 0x85, 0x63, 0x09};
    GIVES(21, "Transpose", shaped(LEDGE_INT4, DIMS(3, 3), want),
          shaped(LEDGE_INT4, DIMS(3, 3), x));
}

static void transpose_of_scalar_and_empty_is_itself(void **state)
{
    (void)state;
    float v = 2;
    GIVES(13, "Transpose", shaped(LEDGE_FLOAT, 0, NULL, &v), shaped(LEDGE_FLOAT, 0, NULL, &v));
    GIVES(13, "Transpose", shaped(LEDGE_FLOAT, DIMS(4, 0, 3), NULL),
          shaped(LEDGE_FLOAT, DIMS(3, 0, 4), NULL));
    OneOp o = one_op(13, "Transpose", 1,
                       (LedgeTensor[]){shaped(LEDGE_FLOAT, DIMS(1, 1), &v)}, 1);
    test_attr_ints(o.t, o.n, "perm", 2, (int64_t[]){1, 1});
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
}

static void slice_clamps_like_numpy(void **state)
{
    (void)state;
    int64_t x[5] = {0, 1, 2, 3, 4};
    LedgeTensor in = shaped(LEDGE_INT64, DIMS(5), x);
    GIVES(13, "Slice", INTS(4, 2, 0), in, INTS(-1), INTS(INT64_MIN), INTS(0), INTS(-2));
    GIVES(13, "Slice", INTS(0, 1, 2, 3, 4), in, INTS(INT64_MIN), INTS(INT64_MAX));
    GIVES(13, "Slice", INTS(4), in, INTS(INT64_MAX), INTS(INT64_MIN), INTS(0), INTS(INT64_MIN));
    GIVES(13, "Slice", INTS(1), in, INTS(1), INTS(3), INTS(-1), INTS(INT64_MAX));
    GIVES(13, "Slice", shaped(LEDGE_INT64, DIMS(0), NULL), in, INTS(3), INTS(1));
    REFUSED(13, "Slice", LEDGE_ERROR_SHAPE, in, INTS(0), INTS(2), INTS(0), INTS(0));
    REFUSED(13, "Slice", LEDGE_ERROR_SHAPE, in, INTS(0), INTS(2), INTS(1));
    REFUSED(13, "Slice", LEDGE_ERROR_SHAPE, in, INTS(0, 0), INTS(2, 2), INTS(0, 0));
    REFUSED(13, "Slice", LEDGE_ERROR_SHAPE, in, INTS(0, 1), INTS(2));
}

static void split_parts_must_add_up(void **state)
{
    (void)state;
    float x[5] = {0};
    LedgeTensor in = shaped(LEDGE_FLOAT, DIMS(5), x);
    OneOp o = one_op(13, "Split", 2, (LedgeTensor[]){in, INTS(2, 2)}, 2);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
    o = one_op(13, "Split", 2, (LedgeTensor[]){in, INTS(6, -1)}, 2);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
    o = one_op(13, "Split", 2, (LedgeTensor[]){in, INTS(5, 0, 0)}, 2);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
    o = one_op(13, "Split", 2, (LedgeTensor[]){in, INTS(0, 5)}, 2);
    LedgeTensor none = shaped(LEDGE_FLOAT, DIMS(0), NULL);
    one_op_gives(&o, &none);
}

static void gathers_refuse_indices_outside(void **state)
{
    (void)state;
    float x[6] = {0, 1, 2, 3, 4, 5};
    LedgeTensor in = shaped(LEDGE_FLOAT, DIMS(2, 3), x);
    GIVES(13, "Gather", shaped(LEDGE_FLOAT, DIMS(1, 3), x + 3), in, INTS(-1));
    REFUSED(13, "Gather", LEDGE_ERROR_RUNTIME, in, INTS(2));
    REFUSED(13, "Gather", LEDGE_ERROR_RUNTIME, in, INTS(-3));
    REFUSED(13, "Gather", LEDGE_ERROR_RUNTIME, in, INTS(INT64_MIN));
    REFUSED(13, "Gather", LEDGE_ERROR_RUNTIME, shaped(LEDGE_FLOAT, DIMS(0, 3), NULL), INTS(0));
    LedgeTensor bad = shaped(LEDGE_INT64, DIMS(1, 1), (int64_t[]){7});
    REFUSED(13, "GatherElements", LEDGE_ERROR_RUNTIME, in, bad);
    REFUSED(13, "GatherND", LEDGE_ERROR_RUNTIME, in, INTS(0, 3));
    REFUSED(13, "GatherND", LEDGE_ERROR_SHAPE, in, INTS(0, 0, 0));
    REFUSED(13, "GatherElements", LEDGE_ERROR_SHAPE, in,
            shaped(LEDGE_INT64, DIMS(1, 4), (int64_t[]){0, 0, 0, 0}));
}

static void gather_takes_strings_and_empty_indices(void **state)
{
    (void)state;
    LedgeTensor in = TEXTS(TEXT("a"), TEXT(""), TEXT("long one"));
    GIVES(13, "Gather", TEXTS(TEXT("long one"), TEXT("a")), in, INTS(2, 0));
    GIVES(13, "Gather", shaped(LEDGE_STRING, DIMS(0), NULL), in,
          shaped(LEDGE_INT64, DIMS(0), NULL));
}

static void scatters_refuse_indices_outside(void **state)
{
    (void)state;
    float x[3] = {1, 2, 3}, want[3] = {1, 9, 3};
    LedgeTensor in = shaped(LEDGE_FLOAT, DIMS(3), x);
    GIVES(18, "ScatterElements", shaped(LEDGE_FLOAT, DIMS(3), want), in, INTS(-2), FLOATS(9));
    REFUSED(18, "ScatterElements", LEDGE_ERROR_RUNTIME, in, INTS(3), FLOATS(9));
    REFUSED(18, "ScatterElements", LEDGE_ERROR_SHAPE, in, INTS(0, 1), FLOATS(9));
    LedgeTensor at = shaped(LEDGE_INT64, DIMS(1, 1), (int64_t[]){-4});
    REFUSED(18, "ScatterND", LEDGE_ERROR_RUNTIME, in, at, FLOATS(9));
    REFUSED(18, "ScatterND", LEDGE_ERROR_SHAPE, in, at, FLOATS(9, 9));
}

static void scatter_adds_repeated_indices_in_order(void **state)
{
    (void)state;
    int64_t want[3] = {1, 5, 3};
    OneOp o = one_op(18, "ScatterElements", 3,
                       (LedgeTensor[]){INTS(1, 2, 3), INTS(1, 1), INTS(1, 2)}, 1);
    test_attr_string(o.t, o.n, "reduction", "add");
    LedgeTensor t = shaped(LEDGE_INT64, DIMS(3), want);
    one_op_gives(&o, &t);
    o = one_op(18, "ScatterElements", 3, (LedgeTensor[]){INTS(1), INTS(0), INTS(2)}, 1);
    test_attr_string(o.t, o.n, "reduction", "median");
    one_op_refused(&o, LEDGE_ERROR_UNSUPPORTED);
}

static void pad_with_mode(const char *mode, LedgeTensor in, LedgeTensor pads, LedgeStatus status,
                          const LedgeTensor *want)
{
    OneOp o = one_op(19, "Pad", 2, (LedgeTensor[]){in, pads}, 1);
    test_attr_string(o.t, o.n, "mode", mode);
    if (status == LEDGE_OK)
        one_op_gives(&o, want);
    else
        one_op_refused(&o, status);
}

static void pad_repeats_far_beyond_the_edges(void **state)
{
    (void)state;
    LedgeTensor in = INTS(1, 2, 3), pads = INTS(5, 4);
    LedgeTensor reflect = INTS(2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3);
    LedgeTensor wrap = INTS(2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1);
    LedgeTensor edge = INTS(1, 1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3);
    pad_with_mode("reflect", in, pads, LEDGE_OK, &reflect);
    pad_with_mode("wrap", in, pads, LEDGE_OK, &wrap);
    pad_with_mode("edge", in, pads, LEDGE_OK, &edge);
    LedgeTensor single = INTS(7, 7, 7);
    pad_with_mode("reflect", INTS(7), INTS(1, 1), LEDGE_OK, &single);
}

static void pad_crops_with_negative_pads(void **state)
{
    (void)state;
    LedgeTensor in = INTS(1, 2, 3, 4), want = INTS(3, 4, 0);
    pad_with_mode("constant", in, INTS(-2, 1), LEDGE_OK, &want);
    LedgeTensor none = shaped(LEDGE_INT64, DIMS(0), NULL);
    pad_with_mode("constant", in, INTS(-2, -2), LEDGE_OK, &none);
    pad_with_mode("constant", in, INTS(-3, -2), LEDGE_ERROR_SHAPE, NULL);
    pad_with_mode("constant", in, INTS(INT64_MAX, INT64_MAX), LEDGE_ERROR_LIMIT, NULL);
    pad_with_mode("constant", in, INTS(INT64_MIN, 0), LEDGE_ERROR_LIMIT, NULL);
    pad_with_mode("constant", in, INTS(INT64_C(1) << 61, 0), LEDGE_ERROR_LIMIT, NULL);
    pad_with_mode("edge", shaped(LEDGE_INT64, DIMS(0), NULL), INTS(1, 0), LEDGE_ERROR_SHAPE, NULL);
    pad_with_mode("mirror", in, INTS(0, 0), LEDGE_ERROR_UNSUPPORTED, NULL);
}

static void tile_and_expand_refuse_to_overflow(void **state)
{
    (void)state;
    LedgeTensor in = INTS(1, 2);
    GIVES(13, "Tile", INTS(1, 2, 1, 2), in, INTS(2));
    GIVES(13, "Tile", shaped(LEDGE_INT64, DIMS(0), NULL), in, INTS(0));
    REFUSED(13, "Tile", LEDGE_ERROR_LIMIT, in, INTS(INT64_C(1) << 62));
    REFUSED(13, "Tile", LEDGE_ERROR_SHAPE, in, INTS(-1));
    REFUSED(13, "Tile", LEDGE_ERROR_SHAPE, in, INTS(1, 1));
    REFUSED(13, "Expand", LEDGE_ERROR_LIMIT, INTS(1), INTS(INT64_C(1) << 40, INT64_C(1) << 40));
    REFUSED(13, "Expand", LEDGE_ERROR_SHAPE, in, INTS(3));
    REFUSED(13, "Expand", LEDGE_ERROR_SHAPE, in, INTS(-1));
}

static void topk_orders_equals_by_index_and_nan_above_all(void **state)
{
    (void)state;
    float x[5] = {1, 3, 3, 0.0f / 0.0f, -0.0f};
    OneOp o = one_op(11, "TopK", 2, (LedgeTensor[]){shaped(LEDGE_FLOAT, DIMS(5), x), INTS(3)}, 2);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    assert_memory_equal(o.out[1].data, ((int64_t[]){3, 1, 2}), 24);
    one_op_end(&o);
    o = one_op(11, "TopK", 2, (LedgeTensor[]){INTS(5, 6), INTS(3)}, 2);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
    o = one_op(11, "TopK", 2, (LedgeTensor[]){INTS(5, 6), INTS(-1)}, 2);
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
    o = one_op(11, "TopK", 2, (LedgeTensor[]){INTS(5, 6), INTS(0)}, 2);
    LedgeTensor none = shaped(LEDGE_INT64, DIMS(0), NULL);
    one_op_gives(&o, &none);
}

static void unique_tells_strings_apart(void **state)
{
    (void)state;
    LedgeTensor in = TEXTS(TEXT("b"), TEXT(""), TEXT("b"), TEXT("ab"));
    OneOp o = one_op(11, "Unique", 1, &in, 4);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    assert_int_equal(o.out[0].dims[0], 3);
    assert_memory_equal(o.out[1].data, ((int64_t[]){1, 3, 0}), 24);
    assert_memory_equal(o.out[2].data, ((int64_t[]){2, 0, 2, 1}), 32);
    assert_memory_equal(o.out[3].data, ((int64_t[]){1, 1, 2}), 24);
    one_op_end(&o);
    LedgeTensor none = shaped(LEDGE_FLOAT, DIMS(0), NULL);
    GIVES(11, "Unique", none, none);
}

static void nonzero_of_nothing_has_no_columns(void **state)
{
    (void)state;
    GIVES(13, "NonZero", shaped(LEDGE_INT64, DIMS(2, 0), NULL),
          shaped(LEDGE_FLOAT, DIMS(3, 0), NULL));
    GIVES(13, "NonZero", shaped(LEDGE_INT64, DIMS(1, 2), ((int64_t[]){0, 2})), INTS(-1, 0, 5));
}

static void resize_refuses_scales_and_sizes_that_make_no_sense(void **state)
{
    (void)state;
    float x[4] = {1, 2, 3, 4};
    LedgeTensor in = shaped(LEDGE_FLOAT, DIMS(2, 2), x);
    REFUSED(13, "Resize", LEDGE_ERROR_SHAPE, in, NO_INPUT, FLOATS(1, 0));
    REFUSED(13, "Resize", LEDGE_ERROR_SHAPE, in, NO_INPUT, FLOATS(1, -2));
    REFUSED(13, "Resize", LEDGE_ERROR_SHAPE, in, NO_INPUT, FLOATS(1, 0.0f / 0.0f));
    REFUSED(13, "Resize", LEDGE_ERROR_SHAPE, in, NO_INPUT, FLOATS(1, 1e30f));
    REFUSED(13, "Resize", LEDGE_ERROR_LIMIT, in, NO_INPUT, FLOATS(1e9f, 1e9f));
    REFUSED(13, "Resize", LEDGE_ERROR_SHAPE, in, NO_INPUT, FLOATS(1));
    REFUSED(13, "Resize", LEDGE_ERROR_SHAPE, in, NO_INPUT, NO_INPUT, INTS(2, -2));
    REFUSED(13, "Resize", LEDGE_ERROR_FORMAT, in, NO_INPUT, NO_INPUT);
    REFUSED(13, "Resize", LEDGE_ERROR_SHAPE, shaped(LEDGE_FLOAT, DIMS(0, 2), NULL), NO_INPUT,
            NO_INPUT, INTS(1, 2));
    float twice[8] = {1, 1, 2, 2, 3, 3, 4, 4};
    GIVES(13, "Resize", shaped(LEDGE_FLOAT, DIMS(2, 4), twice), in, NO_INPUT, FLOATS(1, 2));
}

static void einsum_refuses_broken_equations(void **state)
{
    (void)state;
    static const char *const broken[] = {"", "i->ij", "ij", "i,j->ij", "i->ii", "..i.->i", "i-", "1"};
    for (size_t k = 0; k < sizeof broken / sizeof broken[0]; k++) {
        OneOp o = one_op(12, "Einsum", 1, (LedgeTensor[]){FLOATS(1, 2)}, 1);
        test_attr_string(o.t, o.n, "equation", broken[k]);
        assert_int_not_equal(one_op_run(&o), LEDGE_OK);
        one_op_end(&o);
    }
    OneOp o = one_op(12, "Einsum", 2, (LedgeTensor[]){FLOATS(1, 2), FLOATS(3, 4, 5)}, 1);
    test_attr_string(o.t, o.n, "equation", "i,i->");
    one_op_refused(&o, LEDGE_ERROR_SHAPE);
}

static void einsum_takes_diagonals(void **state)
{
    (void)state;
    int64_t x[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    OneOp o = one_op(12, "Einsum", 1, (LedgeTensor[]){shaped(LEDGE_INT64, DIMS(3, 3), x)}, 1);
    test_attr_string(o.t, o.n, "equation", "ii->i");
    LedgeTensor want = INTS(1, 5, 9);
    one_op_gives(&o, &want);
}

/* The batch stands behind a row label, so the product is made in one order and moved to another. */
static void einsum_products_keep_the_order_of_labels(void **state)
{
    (void)state;
    enum { B = 2, Q = 5, H = 3, D = 7, K = 4 };
    float x[B * Q * H * D], y[B * K * H * D], want[B * Q * H * K];
    test_fill(x, B * Q * H * D, 1);
    test_fill(y, B * K * H * D, 2);
    for (int b = 0; b < B; b++)
        for (int q = 0; q < Q; q++)
            for (int h = 0; h < H; h++)
                for (int k = 0; k < K; k++) {
                    float sum = 0;
                    for (int d = 0; d < D; d++)
                        sum += x[((b * Q + q) * H + h) * D + d] * y[((b * K + k) * H + h) * D + d];
                    want[((b * Q + q) * H + h) * K + k] = sum;
                }
    OneOp o = one_op(12, "Einsum", 2,
                     (LedgeTensor[]){shaped(LEDGE_FLOAT, DIMS(B, Q, H, D), x),
                                     shaped(LEDGE_FLOAT, DIMS(B, K, H, D), y)},
                     1);
    test_attr_string(o.t, o.n, "equation", "bqhd,bkhd->bqhk");
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    for (int i = 0; i < B * Q * H * K; i++)
        assert_float_equal(((float *)o.out[0].data)[i], want[i], 1e-5);
    one_op_end(&o);
}

static void boxes_and_grids_stay_inside_the_image(void **state)
{
    (void)state;
    float x[4] = {1, 2, 3, 4}, far[8] = {1e30f, -1e30f, 0.0f / 0.0f, 1.0f / 0.0f, 0, 0, -1, -1};
    LedgeTensor in = shaped(LEDGE_FLOAT, DIMS(1, 1, 2, 2), x);
    static const char *const pads[] = {"zeros", "border", "reflection"};
    static const char *const modes[] = {"linear", "nearest", "cubic"};
    for (int k = 0; k < 9; k++) {
        OneOp o = one_op(20, "GridSample", 2,
                           (LedgeTensor[]){in, shaped(LEDGE_FLOAT, DIMS(1, 1, 4, 2), far)}, 1);
        test_attr_string(o.t, o.n, "padding_mode", pads[k % 3]);
        test_attr_string(o.t, o.n, "mode", modes[k / 3]);
        assert_int_equal(one_op_run(&o), LEDGE_OK);
        one_op_end(&o);
    }
    LedgeTensor huge = shaped(LEDGE_FLOAT, DIMS(1, 4), ((float[]){-1e30f, 0, 1e30f, 1}));
    REFUSED(16, "RoiAlign", LEDGE_ERROR_RUNTIME, in, huge, INTS(0));
    float nan = 0.0f / 0.0f, boxes[8] = {nan, nan, nan, nan, -90, 90, 100, -100};
    LedgeTensor rois = shaped(LEDGE_FLOAT, DIMS(2, 4), boxes);
    OneOp o = one_op(16, "RoiAlign", 3, (LedgeTensor[]){in, rois, INTS(0, 0)}, 1);
    assert_int_equal(one_op_run(&o), LEDGE_OK);
    one_op_end(&o);
    REFUSED(16, "RoiAlign", LEDGE_ERROR_RUNTIME, in, rois, INTS(0, 1));
    REFUSED(16, "RoiAlign", LEDGE_ERROR_RUNTIME, in, rois, INTS(-1, 0));
}

static void tensor_scatter_refuses_to_write_past_the_cache(void **state)
{
    (void)state;
    float cache[4] = {0}, update[2] = {5, 6}, want[4] = {0, 0, 5, 6};
    LedgeTensor past = shaped(LEDGE_FLOAT, DIMS(1, 4, 1), cache);
    LedgeTensor add = shaped(LEDGE_FLOAT, DIMS(1, 2, 1), update);
    GIVES(24, "TensorScatter", shaped(LEDGE_FLOAT, DIMS(1, 4, 1), want), past, add, INTS(2));
    REFUSED(24, "TensorScatter", LEDGE_ERROR_RUNTIME, past, add, INTS(3));
    REFUSED(24, "TensorScatter", LEDGE_ERROR_RUNTIME, past, add, INTS(-1));
    REFUSED(24, "TensorScatter", LEDGE_ERROR_RUNTIME, past, add, INTS(INT64_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reshape_keeps_zero_and_finds_minus_one),
        cmocka_unit_test(reshape_allowzero_takes_zero_at_its_word),
        cmocka_unit_test(reshape_refuses_what_does_not_fit),
        cmocka_unit_test(squeeze_and_unsqueeze_check_their_axes),
        cmocka_unit_test(shape_counts_its_range_from_both_ends),
        cmocka_unit_test(transpose_moves_every_packed_element),
        cmocka_unit_test(transpose_of_scalar_and_empty_is_itself),
        cmocka_unit_test(slice_clamps_like_numpy),
        cmocka_unit_test(split_parts_must_add_up),
        cmocka_unit_test(gathers_refuse_indices_outside),
        cmocka_unit_test(gather_takes_strings_and_empty_indices),
        cmocka_unit_test(scatters_refuse_indices_outside),
        cmocka_unit_test(scatter_adds_repeated_indices_in_order),
        cmocka_unit_test(pad_repeats_far_beyond_the_edges),
        cmocka_unit_test(pad_crops_with_negative_pads),
        cmocka_unit_test(tile_and_expand_refuse_to_overflow),
        cmocka_unit_test(topk_orders_equals_by_index_and_nan_above_all),
        cmocka_unit_test(unique_tells_strings_apart),
        cmocka_unit_test(nonzero_of_nothing_has_no_columns),
        cmocka_unit_test(resize_refuses_scales_and_sizes_that_make_no_sense),
        cmocka_unit_test(einsum_refuses_broken_equations),
        cmocka_unit_test(einsum_takes_diagonals),
        cmocka_unit_test(einsum_products_keep_the_order_of_labels),
        cmocka_unit_test(boxes_and_grids_stay_inside_the_image),
        cmocka_unit_test(tensor_scatter_refuses_to_write_past_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
