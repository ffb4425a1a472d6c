/* Models whose weights have blocks of zeros: which layers skip them, that answers stay, with other
 * thread counts to the bit, also from a compiled file, and that a file with damaged indices behind
 * right checksums is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "engine/session/ledge_file.h"
#include "ledge/report.h"
#include "model_maker.h"

enum { SIDE = 5, IN = 48, MID = 56, OUT = 24, ANSWERS = 2 * OUT };

static char path[64];

/* Blocks of 16 output channels and one input are zero in `share` of three. `step`: from output to
 * output channel. */
static void clear_blocks(float *w, size_t out, size_t in, size_t out_step, size_t in_step,
                         size_t share)
{
    for (size_t k = 0; k < in; k++)
        for (size_t o = 0; o < out; o++)
            if ((k + o / 16) % 3 < share)
                w[o * out_step + k * in_step] = 0;
}

/* Conv 1x1 -> pool -> Gemm -> MatMul; `share` of three blocks of each are zeros. */
static TestModel *model(size_t share)
{
    static float a[MID * IN], b[MID * MID], c[MID * OUT];
    TestModel *t = test_model_new(13);
    test_input(t, "x", LEDGE_FLOAT, 4, (int64_t[]){2, IN, SIDE, SIDE});
    test_fill(a, MID * IN, 1), test_fill(b, MID * MID, 2), test_fill(c, MID * OUT, 3);
    clear_blocks(a, MID, IN, IN, 1, share);
    clear_blocks(b, MID, MID, MID, 1, share);
    clear_blocks(c, OUT, MID, 1, OUT, share);
    test_floats(t, "a", 4, (int64_t[]){MID, IN, 1, 1}, a);
    test_floats(t, "b", 2, (int64_t[]){MID, MID}, b);
    test_floats(t, "c", 2, (int64_t[]){MID, OUT}, c);
    test_noise(t, "bias", 1, (int64_t[]){MID}, 4);
    test_node(t, "Conv", "x a bias", "u");
    test_node(t, "Relu", "u", "v");
    test_node(t, "GlobalAveragePool", "v", "p");
    test_node(t, "Flatten", "p", "f");
    test_attr_int(t, test_node(t, "Gemm", "f b bias", "g"), "transB", 1);
    test_node(t, "MatMul", "g c", "y");
    test_output(t, "y");
    return t;
}

static void run(LedgeModel *m, int threads, float *out)
{
    static float x[2 * IN * SIDE * SIDE];
    LedgeError err = {0};
    LedgeSession *s = NULL;
    const LedgeSessionOptions o = {.threads = threads};
    test_fill(x, sizeof x / sizeof *x, 5);
    const LedgeTensor in = {.type = LEDGE_FLOAT, .rank = 4, .dims = {2, IN, SIDE, SIDE},
                            .data = x, .bytes = sizeof x};
    LedgeTensor y = {.data = out, .bytes = ANSWERS * sizeof *out};
    if (ledge_session_create(m, &o, &err, &s) || ledge_session_run(s, &in, 1, &y, 1, &err))
        fail_msg("%s: %s", err.where, err.message);
    ledge_session_free(s);
}

static size_t steps_that_skip(const char *file)
{
    LedgeReport *r = NULL;
    LedgeError err = {0};
    size_t n = 0;
    assert_int_equal(ledge_report_create(file, NULL, &err, &r), LEDGE_OK);
    for (size_t i = 0; i < r->n_steps; i++)
        n += r->steps[i].skips_zeros;
    ledge_report_free(r);
    return n;
}

static LedgeModel *load_and_compile(TestModel *t)
{
    LedgeError err = {0};
    LedgeModel *m = test_load(t, true, &err);
    assert_non_null(m);
    snprintf(path, sizeof path, "/tmp/ledge-strips-%d.ledge", (int)getpid());
    if (ledge_model_compile(m, NULL, 0, path, &err))
        fail_msg("%s: %s", err.where, err.message);
    return m;
}

static void layers_with_enough_zero_blocks_skip_them(void **state)
{
    (void)state;
    for (size_t share = 0; share < 3; share++) {
        TestModel *t = model(share);
        ledge_model_free(load_and_compile(t));
        assert_int_equal(steps_that_skip(path), share == 2 ? 3 : 0);
        test_model_free(t);
        unlink(path);
    }
}

static void answers_stay_and_do_not_depend_on_threads(void **state)
{
    (void)state;
    LedgeError err = {0};
    float plain[ANSWERS], one[ANSWERS], more[ANSWERS];
    TestModel *t = model(2), *other = model(2);
    LedgeModel *whole = test_load(other, false, &err), *m = load_and_compile(t), *file = NULL;
    assert_non_null(whole);
    assert_int_equal(ledge_model_load(path, NULL, &err, &file), LEDGE_OK);
    run(whole, 1, plain);
    run(m, 1, one);
    for (size_t i = 0; i < ANSWERS; i++)
        assert_true(fabsf(one[i] - plain[i]) <= 1e-5f * (1 + fabsf(plain[i])));
    run(m, 3, more);
    assert_memory_equal(one, more, sizeof one);
    run(file, 2, more);
    assert_memory_equal(one, more, sizeof one);
    ledge_model_free(whole), ledge_model_free(m), ledge_model_free(file);
    test_model_free(t), test_model_free(other);
    unlink(path);
}

static uint8_t *read_all(size_t *size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = aligned_alloc(4096, (*size + 4095) / 4096 * 4096);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

/* Right checksums after a change in packed form i. */
static void seal(uint8_t *bytes, size_t i)
{
    LedgeFileHeader h;
    LedgeFileForm f;
    memcpy(&h, bytes, sizeof h);
    uint8_t *at = bytes + h.table.offset + h.n_constants * sizeof(LedgeFileConstant) + i * sizeof f;
    memcpy(&f, at, sizeof f);
    f.data.hash = ledge__checksum(bytes + f.data.offset, (size_t)f.data.size);
    memcpy(at, &f, sizeof f);
    h.table.hash = ledge__checksum(bytes + h.table.offset, (size_t)h.table.size);
    h.hash = ledge__checksum(&h, offsetof(LedgeFileHeader, hash));
    memcpy(bytes, &h, sizeof h);
}

static uint32_t *numbers_of_form(uint8_t *bytes, size_t i)
{
    LedgeFileHeader h;
    LedgeFileForm f;
    memcpy(&h, bytes, sizeof h);
    memcpy(&f, bytes + h.table.offset + h.n_constants * sizeof(LedgeFileConstant) + i * sizeof f,
           sizeof f);
    return (uint32_t *)(void *)(bytes + f.data.offset);
}

static LedgeStatus load_and_prepare(const uint8_t *bytes, size_t size, LedgeError *err)
{
    LedgeModel *m = NULL;
    LedgeSession *s = NULL;
    LedgeStatus status = ledge_model_load_memory(bytes, size, NULL, err, &m);
    if (!status)
        status = ledge_session_create(m, NULL, err, &s);
    ledge_session_free(s);
    ledge_model_free(m);
    return status;
}

static void damaged_indices_of_a_compiled_file_are_refused(void **state)
{
    (void)state;
    LedgeError err = {0};
    size_t size;
    TestModel *t = model(2);
    ledge_model_free(load_and_compile(t));
    uint8_t *bytes = read_all(&size);
    LedgeFileHeader h;
    memcpy(&h, bytes, sizeof h);
    assert_int_equal(h.n_forms, 3);
    for (size_t i = 0; i < 3; i++) {
        uint32_t *number = numbers_of_form(bytes, i);
        for (size_t k = 0; k < 12; k++) { /* where strips begin, and the first of their rows */
            const uint32_t was = number[k];
            number[k] = 0x7fffffff;
            seal(bytes, i);
            assert_int_equal(load_and_prepare(bytes, size, &err), LEDGE_ERROR_FORMAT);
            assert_non_null(strstr(err.message, "rows that are not there"));
            number[k] = was;
        }
        seal(bytes, i);
        assert_int_equal(load_and_prepare(bytes, size, &err), LEDGE_OK);
    }
    free(bytes);
    test_model_free(t);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_with_enough_zero_blocks_skip_them),
        cmocka_unit_test(answers_stay_and_do_not_depend_on_threads),
        cmocka_unit_test(damaged_indices_of_a_compiled_file_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
