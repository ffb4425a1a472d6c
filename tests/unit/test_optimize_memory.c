/* Lack of memory at any point of loading and optimising a model is an error, never a crash or a
 * leak. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "graph_from_text.h"
#include "ledge/ledge.h"

typedef struct Meter {
    long left;  /* allocations that still succeed; negative: all */
    long alive; /* given and not yet freed */
} Meter;

static void *metered_alloc(void *context, size_t size, size_t align)
{
    Meter *m = context;
    if (m->left == 0)
        return NULL;
    void *p = aligned_alloc(align, (size + align - 1) / align * align);
    m->left -= m->left > 0;
    m->alive += p != NULL;
    return p;
}

static void metered_free(void *context, void *p)
{
    ((Meter *)context)->alive -= p != NULL;
    free(p);
}

/* Big enough to fill several blocks of the arena, with a node for most passes. */
static const char network[] = "opset 17\n"
                              "input x f32[?,3,16,16]\n"
                              "const w0 f32[64,3,3,3]\n"
                              "const s f32[64]\n"
                              "const b f32[64]\n"
                              "const m f32[64]\n"
                              "const v f32[64] positive\n"
                              "const w1 f32[64,64,1,1]\n"
                              "const w2 f32[64,64,3,3]\n"
                              "const w3 f32[256,32]\n"
                              "const b3 f32[32]\n"
                              "const half f32[] = 0.5\n"
                              "const shape i64[2] = 0,-1\n"
                              "c0 = Conv(x, w0) {pads=[1,1,1,1], strides=[2,2]}\n"
                              "n0 = BatchNormalization(c0, s, b, m, v)\n"
                              "r0 = Relu(n0)\n"
                              "c1 = Conv(r0, w1)\n"
                              "c2 = Conv(r0, w2) {pads=[1,1,1,1]}\n"
                              "a = Add(c1, c2)\n"
                              "h = Mul(a, half)\n"
                              "k = Concat(h, r0) {axis=1}\n"
                              "t = Transpose(k) {perm=[0,2,3,1]}\n"
                              "i = Identity(t)\n"
                              "u = Transpose(i) {perm=[0,3,1,2]}\n"
                              "p = MaxPool(u) {kernel_shape=[4,4], strides=[4,4]}\n"
                              "f = Reshape(p, shape)\n"
                              "q, z = Split(f) {axis=1}\n"
                              "g = Gemm(q, w3, b3)\n"
                              "y = Sigmoid(g)\n"
                              "output y\n"
                              "output z\n";

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    size_t size;
    void *bytes = onnx_from_text(network, &size);
    long failures = 0;
    for (long allowed = 0;; allowed++) {
        Meter meter = {allowed, 0};
        LedgeAllocator a = {metered_alloc, metered_free, &meter};
        LedgeModelOptions options = {.allocator = &a};
        LedgeError err = {0};
        LedgeModel *model = NULL;
        LedgeStatus s = ledge_model_load_memory(bytes, size, &options, &err, &model);
        ledge_model_free(model);
        assert_int_equal(meter.alive, 0);
        if (s == LEDGE_OK)
            break;
        assert_int_equal(s, LEDGE_ERROR_MEMORY);
        failures++;
    }
    assert_true(failures > 10);
    ledge__free(NULL, bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
