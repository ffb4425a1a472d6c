/* Attention and the products around it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "graph_from_text.h"

static void attention_is_found_and_its_gemms_merged(void **state)
{
    (void)state;
    static const char before[] = "opset 17\n"
                                 "input x f32[?,5,8]\n"
                                 "const wq f32[8,8]\n"
                                 "const wk f32[8,8]\n"
                                 "const wv f32[8,8]\n"
                                 "const bq f32[8]\n"
                                 "const bk f32[8]\n"
                                 "const bv f32[8]\n"
                                 "const split i64[4] = 0,0,2,4\n"
                                 "const merge i64[3] = 0,0,8\n"
                                 "const k f32[] = 0.5\n"
                                 "mq = MatMul(x, wq)\n"
                                 "q = Add(mq, bq)\n"
                                 "mk = MatMul(x, wk)\n"
                                 "k0 = Add(bk, mk)\n"
                                 "mv = MatMul(x, wv)\n"
                                 "v = Add(mv, bv)\n"
                                 "hq = Reshape(q, split)\n"
                                 "tq = Transpose(hq) {perm=[0,2,1,3]}\n"
                                 "hk = Reshape(k0, split)\n"
                                 "tk = Transpose(hk) {perm=[0,2,3,1]}\n"
                                 "hv = Reshape(v, split)\n"
                                 "tv = Transpose(hv) {perm=[0,2,1,3]}\n"
                                 "s = MatMul(tq, tk)\n"
                                 "c = Mul(s, k)\n"
                                 "p = Softmax(c) {axis=-1}\n"
                                 "o = MatMul(p, tv)\n"
                                 "t = Transpose(o) {perm=[0,2,1,3]}\n"
                                 "y = Reshape(t, merge)\n"
                                 "output y\n";
    assert_optimized(before, "%0:float32[?,5,24] = ledge.Gemm(x, %1, %2, _)\n"
                             "y:float32[?,5,8] = ledge.Attention(%0, _, _) {heads=2, scale=0.5}\n"
                             "output y\n");
    assert_outputs_agree(before);
}

static void attention_takes_a_mask(void **state)
{
    (void)state;
    static const char before[] = "opset 17\n"
                                 "input x f32[?,5,8]\n"
                                 "input z f32[?,1,1,5]\n"
                                 "const wq f32[8,8]\n"
                                 "const wk f32[8,8]\n"
                                 "const wv f32[8,8]\n"
                                 "const bq f32[8]\n"
                                 "const bk f32[8]\n"
                                 "const bv f32[8]\n"
                                 "const split i64[4] = 0,0,2,4\n"
                                 "const merge i64[3] = 0,0,8\n"
                                 "const k f32[] = 0.5\n"
                                 "mq = MatMul(x, wq)\n"
                                 "q = Add(mq, bq)\n"
                                 "mk = MatMul(x, wk)\n"
                                 "k0 = Add(bk, mk)\n"
                                 "mv = MatMul(x, wv)\n"
                                 "v = Add(mv, bv)\n"
                                 "hq = Reshape(q, split)\n"
                                 "tq = Transpose(hq) {perm=[0,2,1,3]}\n"
                                 "hk = Reshape(k0, split)\n"
                                 "tk = Transpose(hk) {perm=[0,2,3,1]}\n"
                                 "hv = Reshape(v, split)\n"
                                 "tv = Transpose(hv) {perm=[0,2,1,3]}\n"
                                 "s = MatMul(tq, tk)\n"
                                 "c = Mul(s, k)\n"
                                 "cm = Add(c, z)\n"
                                 "p = Softmax(cm) {axis=-1}\n"
                                 "o = MatMul(p, tv)\n"
                                 "t = Transpose(o) {perm=[0,2,1,3]}\n"
                                 "y = Reshape(t, merge)\n"
                                 "output y\n";
    assert_optimized(before,
                     "%0:float32[?,5,24] = ledge.Gemm(x, %1, %2, _)\n"
                     "y:float32[?,5,8] = ledge.Attention(%0, _, _, z) {heads=2, scale=0.5}\n"
                     "output y\n");
    assert_outputs_agree(before);
}

static void attention_reads_one_split(void **state)
{
    (void)state;
    static const char before[] = "opset 17\n"
                                 "input x f32[?,5,8]\n"
                                 "const wq f32[8,8]\n"
                                 "const wk f32[8,8]\n"
                                 "const wv f32[8,8]\n"
                                 "const bq f32[8]\n"
                                 "const bk f32[8]\n"
                                 "const bv f32[8]\n"
                                 "const split i64[4] = 0,0,2,4\n"
                                 "const merge i64[3] = 0,0,8\n"
                                 "const k f32[] = 0.5\n"
                                 "const w f32[8,24]\n"
                                 "m = MatMul(x, w)\n"
                                 "q, k0, v = Split(m) {axis=-1}\n"
                                 "hq = Reshape(q, split)\n"
                                 "tq = Transpose(hq) {perm=[0,2,1,3]}\n"
                                 "hk = Reshape(k0, split)\n"
                                 "tk = Transpose(hk) {perm=[0,2,3,1]}\n"
                                 "hv = Reshape(v, split)\n"
                                 "tv = Transpose(hv) {perm=[0,2,1,3]}\n"
                                 "s = MatMul(tq, tk)\n"
                                 "c = Mul(s, k)\n"
                                 "p = Softmax(c) {axis=-1}\n"
                                 "o = MatMul(p, tv)\n"
                                 "t = Transpose(o) {perm=[0,2,1,3]}\n"
                                 "y = Reshape(t, merge)\n"
                                 "output y\n";
    assert_pass("attention", before,
                "m:float32[?,5,24] = MatMul(x, w)\n"
                "y:float32[?,5,8] = ledge.Attention(m, _, _) {heads=2, scale=0.5}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void attention_of_a_vision_transformer_is_found(void **state)
{
    (void)state;
    static const char before[] = "opset 17\n"
                                 "input x f32[?,3,8,8]\n"
                                 "const w f32[16,3,4,4]\n"
                                 "const pe f32[1,4,16]\n"
                                 "const sh i64[3] = 0,16,-1\n"
                                 "const g f32[16]\n"
                                 "const b f32[16]\n"
                                 "const wqkv f32[16,48]\n"
                                 "const bqkv f32[48]\n"
                                 "const s5 i64[5] = 0,4,3,2,8\n"
                                 "const i0 i64[] = 0\n"
                                 "const i1 i64[] = 1\n"
                                 "const i2 i64[] = 2\n"
                                 "const k f32[] = 0.35\n"
                                 "const mg i64[3] = 0,4,16\n"
                                 "const wo f32[16,16]\n"
                                 "const w1 f32[16,32]\n"
                                 "const w2 f32[32,16]\n"
                                 "c = Conv(x, w) {strides=[4,4], kernel_shape=[4,4]}\n"
                                 "f = Reshape(c, sh)\n"
                                 "t = Transpose(f) {perm=[0,2,1]}\n"
                                 "a = Add(t, pe)\n"
                                 "n = LayerNormalization(a, g, b)\n"
                                 "m = MatMul(n, wqkv)\n"
                                 "mb = Add(m, bqkv)\n"
                                 "r = Reshape(mb, s5)\n"
                                 "p = Transpose(r) {perm=[2,0,3,1,4]}\n"
                                 "q = Gather(p, i0) {axis=0}\n"
                                 "kk = Gather(p, i1) {axis=0}\n"
                                 "v = Gather(p, i2) {axis=0}\n"
                                 "kt = Transpose(kk) {perm=[0,1,3,2]}\n"
                                 "sc = MatMul(q, kt)\n"
                                 "ss = Mul(sc, k)\n"
                                 "sm = Softmax(ss)\n"
                                 "o = MatMul(sm, v)\n"
                                 "ot = Transpose(o) {perm=[0,2,1,3]}\n"
                                 "om = Reshape(ot, mg)\n"
                                 "pr = MatMul(om, wo)\n"
                                 "a2 = Add(a, pr)\n"
                                 "n2 = LayerNormalization(a2, b, g)\n"
                                 "h = MatMul(n2, w1)\n"
                                 "ge = Relu(h)\n"
                                 "h2 = MatMul(ge, w2)\n"
                                 "y = Add(a2, h2)\n"
                                 "output y\n";
    assert_optimized(before,
                     "%0:float32[?,2,2,16] = ledge.Conv(x, w, _, _, _) {kernel_shape=[4,4], "
                     "strides=[4,4], dilations=[1,1], group=1, pads=[0,0,0,0], "
                     "x_layout=\"nchw\"}\n"
                     "t:float32[?,4,16] = Reshape(%0, %1)\n"
                     "a:float32[?,4,16] = Add(t, pe)\n"
                     "n:float32[?,4,16] = LayerNormalization(a, g, b)\n"
                     "m:float32[?,4,48] = ledge.Gemm(n, wqkv, %2, _)\n"
                     "om:float32[?,4,16] = ledge.Attention(m, _, _) {heads=2, scale=0.35}\n"
                     "pr:float32[?,4,16] = ledge.Gemm(om, wo, _, _)\n"
                     "n2:float32[?,4,16], a2:float32[?,4,16] = ledge.SkipLayerNorm(a, pr, b, g) "
                     "{epsilon=1e-05}\n"
                     "h:float32[?,4,32] = ledge.Gemm(n2, w1, _, _) {act=\"relu\"}\n"
                     "y:float32[?,4,16] = ledge.Gemm(h, w2, _, a2)\n"
                     "output y\n");
    assert_outputs_agree(before);
}

static void attention_takes_keys_of_another_length(void **state)
{
    (void)state;
    static const char before[] = "opset 17\n"
                                 "input x f32[2,5,8]\n"
                                 "input e f32[2,7,8]\n"
                                 "const wq f32[8,8]\n"
                                 "const wk f32[8,8]\n"
                                 "const wv f32[8,8]\n"
                                 "const bq f32[8]\n"
                                 "const bk f32[8]\n"
                                 "const bv f32[8]\n"
                                 "const split i64[4] = 0,0,2,4\n"
                                 "const merge i64[3] = 0,0,8\n"
                                 "const k f32[] = 0.5\n"
                                 "mq = MatMul(x, wq)\n"
                                 "q = Add(mq, bq)\n"
                                 "mk = MatMul(e, wk)\n"
                                 "k0 = Add(bk, mk)\n"
                                 "mv = MatMul(e, wv)\n"
                                 "v = Add(mv, bv)\n"
                                 "hq = Reshape(q, split)\n"
                                 "tq = Transpose(hq) {perm=[0,2,1,3]}\n"
                                 "hk = Reshape(k0, split)\n"
                                 "tk = Transpose(hk) {perm=[0,2,3,1]}\n"
                                 "hv = Reshape(v, split)\n"
                                 "tv = Transpose(hv) {perm=[0,2,1,3]}\n"
                                 "s = MatMul(tq, tk)\n"
                                 "c = Mul(s, k)\n"
                                 "p = Softmax(c) {axis=-1}\n"
                                 "o = MatMul(p, tv)\n"
                                 "t = Transpose(o) {perm=[0,2,1,3]}\n"
                                 "y = Reshape(t, merge)\n"
                                 "output y\n";
    assert_pass("attention", before,
                "mq:float32[2,5,8] = MatMul(x, wq)\n"
                "q:float32[2,5,8] = Add(mq, bq)\n"
                "mk:float32[2,7,8] = MatMul(e, wk)\n"
                "k0:float32[2,7,8] = Add(bk, mk)\n"
                "mv:float32[2,7,8] = MatMul(e, wv)\n"
                "v:float32[2,7,8] = Add(mv, bv)\n"
                "y:float32[2,5,8] = ledge.Attention(q, k0, v) {heads=2, scale=0.5}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void attention_with_a_softmax_over_queries_is_left(void **state)
{
    (void)state;
    static const char before[] = "opset 17\n"
                                 "input x f32[2,5,8]\n"
                                 "const wq f32[8,8]\n"
                                 "const wk f32[8,8]\n"
                                 "const wv f32[8,8]\n"
                                 "const bq f32[8]\n"
                                 "const bk f32[8]\n"
                                 "const bv f32[8]\n"
                                 "const split i64[4] = 0,0,2,4\n"
                                 "const merge i64[3] = 0,0,8\n"
                                 "const k f32[] = 0.5\n"
                                 "mq = MatMul(x, wq)\n"
                                 "q = Add(mq, bq)\n"
                                 "mk = MatMul(x, wk)\n"
                                 "k0 = Add(bk, mk)\n"
                                 "mv = MatMul(x, wv)\n"
                                 "v = Add(mv, bv)\n"
                                 "hq = Reshape(q, split)\n"
                                 "tq = Transpose(hq) {perm=[0,2,1,3]}\n"
                                 "hk = Reshape(k0, split)\n"
                                 "tk = Transpose(hk) {perm=[0,2,3,1]}\n"
                                 "hv = Reshape(v, split)\n"
                                 "tv = Transpose(hv) {perm=[0,2,1,3]}\n"
                                 "s = MatMul(tq, tk)\n"
                                 "c = Mul(s, k)\n"
                                 "p = Softmax(c) {axis=2}\n"
                                 "o = MatMul(p, tv)\n"
                                 "t = Transpose(o) {perm=[0,2,1,3]}\n"
                                 "y = Reshape(t, merge)\n"
                                 "output y\n";
    assert_pass("attention", before, NULL);
    assert_outputs_agree(before);
}

static void matmul_takes_transposes_and_scale(void **state)
{
    (void)state;
    static const char before[] = "input a f32[2,3,4,5]\n"
                                 "input b f32[2,3,6,5]\n"
                                 "const h f32[] = 0.5\n"
                                 "t = Transpose(b) {perm=[0,1,3,2]}\n"
                                 "m = MatMul(a, t)\n"
                                 "y = Div(m, h)\n"
                                 "output y\n";
    assert_pass("matmul", before,
                "y:float32[2,3,4,6] = ledge.MatMul(a, b) {transB=1, alpha=2}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void matmul_takes_permutations_of_heads(void **state)
{
    (void)state;
    static const char before[] = "input a f32[2,4,3,5]\n"
                                 "input b f32[2,6,3,5]\n"
                                 "ta = Transpose(a) {perm=[0,2,1,3]}\n"
                                 "tb = Transpose(b) {perm=[0,2,3,1]}\n"
                                 "m = MatMul(ta, tb)\n"
                                 "y = Transpose(m) {perm=[0,2,1,3]}\n"
                                 "output y\n";
    assert_pass("matmul", before,
                "y:float32[2,4,3,6] = ledge.MatMul(a, b) {perm_a=[0,2,1,3], perm_b=[0,2,3,1], "
                "perm_y=[0,2,1,3]}\n"
                "output y\n");
    assert_outputs_agree(before);
}

static void qkv_leaves_gemms_of_different_inputs(void **state)
{
    (void)state;
    static const char before[] = "input x f32[2,5,8]\n"
                                 "input z f32[2,5,8]\n"
                                 "const wq f32[8,8]\n"
                                 "q = ledge.Gemm(x, wq, _, _)\n"
                                 "k = ledge.Gemm(z, wq, _, _)\n"
                                 "v = ledge.Gemm(z, wq, _, _)\n"
                                 "y = ledge.Attention(q, k, v) {heads=2, scale=0.5}\n"
                                 "output y\n";
    assert_pass("qkv", before, NULL);
    assert_outputs_agree(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_is_found_and_its_gemms_merged),
        cmocka_unit_test(attention_takes_a_mask),
        cmocka_unit_test(attention_reads_one_split),
        cmocka_unit_test(attention_of_a_vision_transformer_is_found),
        cmocka_unit_test(attention_takes_keys_of_another_length),
        cmocka_unit_test(attention_with_a_softmax_over_queries_is_left),
        cmocka_unit_test(matmul_takes_transposes_and_scale),
        cmocka_unit_test(matmul_takes_permutations_of_heads),
        cmocka_unit_test(qkv_leaves_gemms_of_different_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
