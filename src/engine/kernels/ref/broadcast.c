/* Walking arrays of different shapes together: see broadcast.h. */
#include "engine/kernels/ref/broadcast.h"

#include <string.h>

/* Elements of one work item: enough that handing it out costs little, few enough to share. */
#define PIECE ((size_t)16384)

static size_t dim_of(const LedgeTensor *t, int32_t d, int32_t rank)
{
    int32_t i = d - (rank - t->rank);
    return i < 0 ? 1 : (size_t)t->dims[i];
}

/* Whether dimension `d`, outside the one planned last, continues it in every input. */
static bool mergeable(const LedgeBroadcast *b, const size_t *stride, int32_t inner)
{
    for (int i = 0; i < b->inputs; i++)
        if (stride[i] != b->strides[i][inner] * b->dims[inner])
            return false;
    return true;
}

static void reverse_dims(LedgeBroadcast *b)
{
    for (int32_t d = 0; d < b->rank / 2; d++) {
        int32_t e = b->rank - 1 - d;
        size_t t = b->dims[d];
        b->dims[d] = b->dims[e];
        b->dims[e] = t;
        for (int i = 0; i < b->inputs; i++) {
            t = b->strides[i][d];
            b->strides[i][d] = b->strides[i][e];
            b->strides[i][e] = t;
        }
    }
}

void ledge__broadcast_plan(LedgeBroadcast *b, const LedgeTensor *out,
                           const LedgeTensor *const *in, int n_in)
{
    memset(b, 0, sizeof *b);
    b->inputs = n_in;
    b->count = 1;
    size_t whole[LEDGE_BROADCAST_INPUTS] = {1, 1, 1};
    for (int32_t d = out->rank - 1; d >= 0; d--) { /* from the innermost; turned round below */
        size_t n = (size_t)out->dims[d], stride[LEDGE_BROADCAST_INPUTS] = {0};
        b->count *= n;
        for (int i = 0; i < n_in; i++) {
            size_t own = dim_of(in[i], d, out->rank);
            stride[i] = own == 1 ? 0 : whole[i];
            whole[i] *= own;
        }
        if (n == 1)
            continue;
        if (b->rank > 0 && mergeable(b, stride, b->rank - 1)) {
            b->dims[b->rank - 1] *= n;
            continue;
        }
        b->dims[b->rank] = n;
        for (int i = 0; i < n_in; i++)
            b->strides[i][b->rank] = stride[i];
        b->rank++;
    }
    if (b->rank == 0)
        b->dims[b->rank++] = 1;
    reverse_dims(b);
}

typedef struct Walk {
    const LedgeBroadcast *b;
    LedgeSpanFn fn;
    void *arg;
} Walk;

static void walk_piece(const Walk *w, size_t begin, size_t end)
{
    const LedgeBroadcast *b = w->b;
    int32_t last = b->rank - 1;
    size_t index[LEDGE_MAX_RANK], rest = begin;
    for (int32_t d = last; d >= 0; d--) {
        index[d] = rest % b->dims[d];
        rest /= b->dims[d];
    }
    while (begin < end) {
        LedgeSpan s = {.out = begin, .n = b->dims[last] - index[last]};
        if (s.n > end - begin)
            s.n = end - begin;
        for (int i = 0; i < b->inputs; i++) {
            s.step[i] = (uint8_t)b->strides[i][last];
            for (int32_t d = 0; d <= last; d++)
                s.at[i] += index[d] * b->strides[i][d];
        }
        w->fn(w->arg, &s);
        begin += s.n;
        index[last] = 0;
        for (int32_t d = last - 1; d >= 0; d--) {
            if (++index[d] < b->dims[d])
                break;
            index[d] = 0;
        }
    }
}

static void walk_items(void *arg, size_t begin, size_t end, int thread)
{
    const Walk *w = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        size_t stop = (i + 1) * PIECE;
        walk_piece(w, i * PIECE, stop < w->b->count ? stop : w->b->count);
    }
}

void ledge__broadcast_run(const LedgeBroadcast *b, LedgePool *pool, LedgeSpanFn fn, void *arg)
{
    Walk w = {b, fn, arg};
    if (b->count > 0)
        ledge__pool_run(pool, (b->count + PIECE - 1) / PIECE, 1, walk_items, &w);
}

typedef struct Pieces {
    size_t count;
    LedgeSpanFn fn;
    void *arg;
} Pieces;

static void piece_items(void *arg, size_t begin, size_t end, int thread)
{
    const Pieces *p = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        LedgeSpan s = {.out = i * PIECE, .n = PIECE, .at = {i * PIECE}, .step = {1}};
        if (s.n > p->count - s.out)
            s.n = p->count - s.out;
        p->fn(p->arg, &s);
    }
}

void ledge__each_piece(LedgePool *pool, size_t count, LedgeSpanFn fn, void *arg)
{
    Pieces p = {count, fn, arg};
    if (count > 0)
        ledge__pool_run(pool, (count + PIECE - 1) / PIECE, 1, piece_items, &p);
}
