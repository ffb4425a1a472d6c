/* The strided copy against the plain loop that it stands for: every element size, random shapes,
 * permutations, gaps and repeats, with and without threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/ops/shape/move.h"

static uint32_t seed = 1;

static int64_t pick(int64_t low, int64_t high)
{
    seed = seed * 1664525u + 1013904223u;
    return low + (int64_t)((seed >> 8) % (uint32_t)(high - low + 1));
}

/* What a move means, one element at a time. */
static void plain(const LedgeMove *m, int32_t d, int64_t from, int64_t to, const uint8_t *a,
                  uint8_t *b)
{
    if (d == m->rank) {
        size_t size = m->bits / 8;
        memcpy(b + (size_t)to * size, a + (size_t)from * size, size);
        return;
    }
    for (int64_t i = 0; i < m->dims[d]; i++)
        plain(m, d + 1, from + i * m->from_stride[d], to + i * m->to_stride[d], a, b);
}

/* A random permutation of a random shape, some dimensions repeated (stride 0) or reversed, the
 * result with a gap behind each row. Returns the elements of each side. */
static void random_move(LedgeMove *m, int64_t most, int64_t *n_from, int64_t *n_to)
{
    int64_t dims[6], stride[6], step = 1, gap = pick(0, 1) * pick(0, 3);
    int32_t rank = (int32_t)pick(0, 5), order[6];
    m->rank = 0;
    m->from_offset = m->to_offset = pick(0, 2);
    for (int32_t d = rank - 1; d >= 0; d--) {
        dims[d] = pick(1, d < 2 ? most : 5);
        order[d] = d;
        stride[d] = step;
        if (pick(0, 9) == 0)
            stride[d] = 0;
        else
            step *= dims[d];
        if (stride[d] && pick(0, 9) == 0) {
            m->from_offset += stride[d] * (dims[d] - 1);
            stride[d] = -stride[d];
        }
    }
    for (int32_t d = rank - 1; d > 0; d--) {
        int32_t k = (int32_t)pick(0, d), swap = order[d];
        order[d] = order[k];
        order[k] = swap;
    }
    int64_t to[6], total = 1;
    for (int32_t d = rank - 1; d >= 0; d--) {
        to[d] = total;
        total = total * dims[order[d]] + (d == rank - 1 ? gap : 0);
    }
    for (int32_t d = 0; d < rank; d++)
        ledge__move_dim(m, dims[order[d]], stride[order[d]], to[d]);
    *n_from = step + 2;
    *n_to = total + 2;
}

static void move_is_its_plain_loop(void **state)
{
    (void)state;
    static const unsigned sizes[] = {1, 2, 4, 8, 16};
    LedgePool *pool = NULL;
    assert_int_equal(ledge__pool_new(NULL, 3, &pool), LEDGE_OK);
    for (int round = 0; round < 1500; round++) {
        LedgeMove m = {.bits = 8 * sizes[round % 5]};
        int64_t n_from, n_to;
        random_move(&m, round % 50 == 0 ? 150 : 20, &n_from, &n_to);
        size_t size = m.bits / 8, bytes_from = (size_t)n_from * size, bytes = (size_t)n_to * size;
        uint8_t *from = malloc(bytes_from), *want = malloc(bytes), *got = malloc(bytes);
        assert_true(from && want && got);
        for (size_t i = 0; i < bytes_from; i++)
            from[i] = (uint8_t)pick(0, 255);
        memset(want, 7, bytes);
        memset(got, 7, bytes);
        plain(&m, 0, m.from_offset, m.to_offset, from, want);
        ledge__move(&m, from, got, round % 2 ? pool : NULL);
        assert_memory_equal(got, want, bytes);
        free(from);
        free(want);
        free(got);
    }
    ledge__pool_free(pool);
}

static void move_of_nothing_touches_nothing(void **state)
{
    (void)state;
    LedgeMove m = {.bits = 32};
    ledge__move_dim(&m, 3, 1, 1);
    ledge__move_dim(&m, 0, 1, 1);
    ledge__move(&m, NULL, NULL, NULL);
}

static void packed_elements_keep_their_neighbours(void **state)
{
    (void)state;
    for (unsigned bits = 2; bits <= 4; bits += 2) {
        uint8_t bytes[4] = {0xff, 0xff, 0xff, 0xff};
        ledge__packed_set(bytes, 5, bits, 1);
        for (int64_t i = 0; i < 32 / (int64_t)bits; i++)
            assert_int_equal(ledge__packed_get(bytes, i, bits), i == 5 ? 1 : (1 << bits) - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(move_is_its_plain_loop),
        cmocka_unit_test(move_of_nothing_touches_nothing),
        cmocka_unit_test(packed_elements_keep_their_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
