/* A quantized model's answer is the same bytes on every CPU, whatever the threads and the batch.
 *
 * The numbers below are hashes of whole outputs. They hold for every machine: scripts/cross.sh
 * compares the answers themselves across machines. After a change of the models or of the
 * arithmetic that is meant, the failing test prints the new ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cpu.h"
#include "base/hash.h"
#include "ledge/ledge.h"
#include "../kernels/vex_vnni.h"

enum { BATCH = 3 };

/* A session refuses a level that the CPU has not got; the linker puts this in place of the answer
 * (--wrap), so that what a test stands in for counts as had. */
uint32_t __real_ledge__cpu_flags_uncapped(void);
uint32_t __wrap_ledge__cpu_flags_uncapped(void);
static bool stand_in;

uint32_t __wrap_ledge__cpu_flags_uncapped(void)
{
    return __real_ledge__cpu_flags_uncapped() | (stand_in ? LEDGE_CPU_AVXVNNI : 0);
}

static const struct {
    const char *name;
    uint64_t hash;
} models[] = {
    {"line_u8s8", 0xd14133d819a002e9u},   {"mixed_s8s8", 0xec125313f5d4e1feu},
    {"mixed_u8s8", 0xf018d40c0aa34eafu},  {"mobile_s8s8", 0x0de35314ddf7346fu},
    {"mobile_u8s8", 0x2bf2c3eaeea2af8eu}, {"mobile_u8u8", 0xdbb0292a6e00094du},
    {"residual_u8s8", 0x335090271f9d428au},
};

static void must(LedgeStatus s, const LedgeError *err)
{
    if (s != LEDGE_OK)
        fail_msg("%s: %s: %s", ledge_status_text(s), err->where, err->message);
}

static LedgeModel *load(size_t which, const char *cpu)
{
    char path[1024];
    LedgeError err = {0};
    LedgeModel *m;
    const LedgeModelOptions o = {.cpu = cpu};
    snprintf(path, sizeof path, "%s/tests/data/q8/%s.onnx", LEDGE_SOURCE_ROOT, models[which].name);
    must(ledge_model_load(path, &o, &err, &m), &err);
    return m;
}

/* About as far as what the models were calibrated on reaches. */
static LedgeTensor noise(const LedgeTensorInfo *info)
{
    LedgeTensor t = {.type = info->type, .rank = info->rank};
    uint32_t seed = 9;
    for (int32_t d = 0; d < t.rank; d++)
        t.dims[d] = d ? info->dims[d] : BATCH;
    t.bytes = ledge_tensor_bytes(&t);
    t.data = malloc(t.bytes);
    assert_non_null(t.data);
    for (int64_t i = 0; i < ledge_tensor_count(&t); i++) {
        seed = seed * 1664525u + 1013904223u;
        ((float *)t.data)[i] = (float)(int32_t)seed / (float)(1u << 30);
    }
    return t;
}

/* The answer for `parts` pieces of the batch one after the other, as a hash. */
static uint64_t answer(LedgeModel *m, int threads, int parts)
{
    LedgeError err = {0};
    LedgeSession *s;
    const LedgeSessionOptions o = {.threads = threads};
    LedgeTensor x = noise(ledge_model_input(m, 0));
    uint64_t hash = 0;
    must(ledge_session_create(m, &o, &err, &s), &err);
    char *at = x.data, *whole = NULL;
    size_t size = 0;
    x.dims[0] /= parts;
    x.bytes /= (size_t)parts;
    for (int i = 0; i < parts; i++, at += x.bytes) {
        LedgeTensor piece = x, y = {0};
        piece.data = at;
        must(ledge_session_run(s, &piece, 1, &y, 1, &err), &err);
        assert_int_equal(y.type, LEDGE_FLOAT);
        const size_t bytes = ledge_tensor_bytes(&y);
        whole = realloc(whole, size + bytes);
        assert_non_null(whole);
        memcpy(whole + size, y.data, bytes);
        size += bytes;
    }
    hash = ledge__hash64(whole, size, 0);
    free(whole);
    free(x.data);
    ledge_session_free(s);
    return hash;
}

/* NULL: all that this machine has. */
static const char *const levels[] = {"scalar",     "sse41", "avx2",    "avxvnni", "avx512",
                                     "avx512vnni", "neon",  "dotprod", "i8mm",    NULL};

static void every_level_gives_the_same_bytes(void **state)
{
    (void)state;
    stand_in = vex_vnni_emulated();
    const uint32_t here = ledge__cpu_flags_uncapped();
    int wrong = 0, ran = 0;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        for (size_t k = 0; k < sizeof levels / sizeof levels[0]; k++) {
            if (levels[k] && (ledge__cpu_flags_from_name(levels[k]) & ~here))
                continue; /* not of this machine */
            LedgeModel *m = load(i, levels[k]);
            const uint64_t got = answer(m, 1, 1);
            if (got != models[i].hash) {
                print_message("%s on %s: 0x%016llx\n", models[i].name,
                              levels[k] ? levels[k] : "this machine", (unsigned long long)got);
                wrong++;
            }
            ran++;
            ledge_model_free(m);
        }
    if (stand_in)
        assert_true(vex_vnni_count() > 1000); /* its kernels did run */
    stand_in = false;
    assert_true(ran >= (int)(sizeof models / sizeof models[0]));
    assert_int_equal(wrong, 0);
}

static void threads_and_batches_change_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        LedgeModel *m = load(i, NULL);
        for (int threads = 1; threads <= 3; threads++)
            for (int parts = 1; parts <= BATCH; parts += BATCH - 1)
                assert_int_equal(answer(m, threads, parts), models[i].hash);
        ledge_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_gives_the_same_bytes),
        cmocka_unit_test(threads_and_batches_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
