/* TopK and Unique. Elements of any ordered type become 64-bit keys that sort as the elements
 * do (NaN above all), so that one selection and one sort serve every type. */
#include <stdlib.h>

#include "engine/ops/shape/move.h"

/* Key of element i: unsigned, and ordered as the elements are. */
static uint64_t key_at(LedgeType type, const void *data, int64_t i)
{
    const uint64_t top = (uint64_t)1 << 63;
    uint64_t u;
    int64_t v;
    double f;
    switch (type) {
    case LEDGE_UINT64:
        memcpy(&u, (const char *)data + 8 * i, 8);
        return u;
    case LEDGE_INT64:
        memcpy(&v, (const char *)data + 8 * i, 8);
        return (uint64_t)v ^ top;
    default: /* every other number is exact in double */
        f = ledge__number_at(type, data, i);
        if (f != f)
            return UINT64_MAX;
        f += 0.0; /* -0 becomes 0 */
        memcpy(&u, &f, 8);
        return u & top ? ~u : u | top;
    }
}

/* The same for a float, without a call: its bits, turned so that they sort. */
static inline uint64_t float_key(float f)
{
    uint32_t u;
    if (f != f)
        return UINT64_MAX;
    f += 0.0f;
    memcpy(&u, &f, 4);
    return u >> 31 ? (uint32_t)~u : u | 0x80000000u;
}

typedef struct Entry {
    uint64_t key;
    int64_t index;
} Entry;

/* a comes after b: a smaller key, or the same one further back. Largest first. */
static inline bool after(const Entry *a, const Entry *b)
{
    return a->key != b->key ? a->key < b->key : a->index > b->index;
}

/* heap[0] is the one that comes last. */
static void sift_down(Entry *heap, int64_t n, int64_t at)
{
    Entry moved = heap[at];
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= n)
            break;
        if (child + 1 < n && after(&heap[child + 1], &heap[child]))
            child++;
        if (!after(&heap[child], &moved))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

/* The first k of n entries in order, by a heap of k; entries are given one by one by key. */
static void select_top(Entry *heap, int64_t k, LedgeType type, const void *data, int64_t base,
                       int64_t n, int64_t stride, bool largest)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t at = base + i * stride;
        uint64_t key = type == LEDGE_FLOAT ? float_key(((const float *)data)[at])
                                           : key_at(type, data, at);
        Entry e = {largest ? key : ~key, i};
        if (i < k) {
            heap[i] = e;
            if (i + 1 == k)
                for (int64_t p = k / 2 - 1; p >= 0; p--)
                    sift_down(heap, k, p);
        } else if (after(&heap[0], &e)) {
            heap[0] = e;
            sift_down(heap, k, 0);
        }
    }
    for (int64_t end = k - 1; end > 0; end--) {
        Entry last = heap[0];
        heap[0] = heap[end];
        heap[end] = last;
        sift_down(heap, end, 0);
    }
}

/* k: an attribute before opset 10; -1 while it is not known. */
static LedgeStatus get_k(LedgeOpCtx *c, int64_t *k)
{
    int n;
    *k = -1;
    if (c->node->opset < 10) {
        *k = ledge__node_int(c->node, "k", -1);
    } else {
        LEDGE_TRY(ledge__op_need(c, 1, LEDGE_INT64));
        LEDGE_TRY(ledge__op_int_input(c, 1, k, 1, &n));
        if (n < 0)
            return LEDGE_OK;
        if (n == 0)
            return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "k is empty");
    }
    if (*k < 0)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "k is %lld", (long long)*k);
    return LEDGE_OK;
}

static LedgeStatus need_ordered(LedgeOpCtx *c, LedgeType type, bool strings)
{
    bool ok = (type >= LEDGE_FLOAT && type <= LEDGE_INT64) || type == LEDGE_BOOL ||
              type == LEDGE_FLOAT16 || type == LEDGE_DOUBLE || type == LEDGE_UINT32 ||
              type == LEDGE_UINT64 || type == LEDGE_BFLOAT16 || type == LEDGE_TYPE_NONE ||
              (strings && type == LEDGE_STRING);
    if (!ok)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "an order of %s", ledge_type_name(type));
    return LEDGE_OK;
}

static LedgeStatus infer_topk(LedgeOpCtx *c)
{
    int64_t k, dims[LEDGE_MAX_RANK];
    int32_t axis;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    LEDGE_TRY(need_ordered(c, in->type, false));
    LEDGE_TRY(get_k(c, &k));
    if (in->rank < 0) {
        ledge__op_set_out(c, 0, in->type, -1, NULL);
        ledge__op_set_out(c, 1, LEDGE_INT64, -1, NULL);
        return LEDGE_OK;
    }
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -1), in->rank, &axis));
    if (k >= 0 && in->dims[axis] >= 0 && k > in->dims[axis])
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "k is %lld, the dimension has %lld",
                              (long long)k, (long long)in->dims[axis]);
    memcpy(dims, in->dims, sizeof dims);
    dims[axis] = k;
    ledge__op_set_out(c, 0, in->type, in->rank, dims);
    ledge__op_set_out(c, 1, LEDGE_INT64, in->rank, dims);
    return LEDGE_OK;
}

static LedgeStatus prepare_topk(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    int32_t axis;
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -1), in->rank, &axis));
    if (!ledge__mul((size_t)in->dims[axis],
                    sizeof(Entry) * (size_t)ledge__pool_threads(c->pool), &c->scratch_bytes))
        return ledge__no_memory(c->err);
    return LEDGE_OK;
}

typedef struct TopkWork {
    const LedgeTensor *in;
    LedgeTensor *values, *indices; /* each may be NULL */
    int64_t n, k, inner;
    bool largest;
    size_t size;
    Entry *heaps;
} TopkWork;

static void topk_lanes(void *arg, size_t begin, size_t end, int thread)
{
    const TopkWork *w = arg;
    Entry *heap = w->heaps + (int64_t)thread * w->k;
    for (size_t lane = begin; lane < end; lane++) {
        int64_t outer = (int64_t)lane / w->inner, inner = (int64_t)lane % w->inner;
        int64_t base = outer * w->n * w->inner + inner, to = outer * w->k * w->inner + inner;
        select_top(heap, w->k, w->in->type, w->in->data, base, w->n, w->inner, w->largest);
        for (int64_t i = 0; i < w->k; i++, to += w->inner) {
            if (w->indices)
                ((int64_t *)w->indices->data)[to] = heap[i].index;
            if (w->values)
                memcpy((char *)w->values->data + (size_t)to * w->size,
                       (const char *)w->in->data +
                           (size_t)(base + heap[i].index * w->inner) * w->size,
                       w->size);
        }
    }
}

static LedgeStatus run_topk(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    TopkWork w = {.in = in, .values = ledge__op_out(c, 0), .indices = ledge__op_out(c, 1)};
    int32_t axis;
    size_t bytes;
    LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", -1), in->rank, &axis));
    LEDGE_TRY(get_k(c, &w.k));
    LEDGE_TRY(ledge__element_size(c, in, &w.size));
    w.n = in->dims[axis];
    w.inner = ledge__dims_product(in->dims, axis + 1, in->rank);
    w.largest = ledge__node_int(c->node, "largest", 1) != 0;
    int64_t lanes = ledge__dims_product(in->dims, 0, axis) * w.inner;
    if (w.k == 0 || lanes == 0)
        return LEDGE_OK;
    if (!ledge__mul((size_t)w.k, sizeof(Entry) * (size_t)ledge__pool_threads(c->pool), &bytes) ||
        !(w.heaps = ledge__work(c, bytes)))
        return ledge__no_memory(c->err);
    size_t grain = (size_t)(8192 / w.n) + 1;
    ledge__pool_run(lanes > (int64_t)grain ? c->pool : NULL, (size_t)lanes, grain, topk_lanes, &w);
    return LEDGE_OK;
}

/* ---- Unique ---- */

typedef struct UniqueWork {
    const LedgeTensor *in;
    int64_t n, outer, inner, stride; /* item i is elements [o][i][inner] */
} UniqueWork;

static int compare_elements(const LedgeTensor *t, int64_t a, int64_t b)
{
    if (t->type == LEDGE_STRING) {
        const LedgeString *x = (const LedgeString *)t->data + a, *y = (const LedgeString *)t->data + b;
        size_t n = x->size < y->size ? x->size : y->size;
        int order = n ? memcmp(x->data, y->data, n) : 0;
        return order ? order : (x->size > y->size) - (x->size < y->size);
    }
    uint64_t x = key_at(t->type, t->data, a), y = key_at(t->type, t->data, b);
    return (x > y) - (x < y);
}

static int compare_items(const UniqueWork *w, int64_t a, int64_t b)
{
    for (int64_t o = 0; o < w->outer; o++)
        for (int64_t i = 0; i < w->inner; i++) {
            int64_t base = o * w->stride + i;
            int order = compare_elements(w->in, base + a * w->inner, base + b * w->inner);
            if (order)
                return order;
        }
    return 0;
}

/* Merge sort of item numbers: stable, so equal items keep their order; `spare` holds n. */
static void sort_items(const UniqueWork *w, int64_t *items, int64_t *spare)
{
    for (int64_t width = 1; width < w->n; width *= 2) {
        for (int64_t low = 0; low < w->n; low += 2 * width) {
            int64_t mid = low + width < w->n ? low + width : w->n;
            int64_t high = mid + width < w->n ? mid + width : w->n, a = low, b = mid;
            for (int64_t k = low; k < high; k++)
                spare[k] = a < mid && (b >= high || compare_items(w, items[a], items[b]) <= 0)
                               ? items[a++]
                               : items[b++];
        }
        memcpy(items, spare, (size_t)w->n * sizeof *items);
    }
}

static int compare_first(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

/* Groups of equal items: groups[g].index is the first item, .key its number in sorted order;
 * rank[i] tells the group of item i, count[g] its size. Returns how many groups there are. */
static int64_t group_items(const UniqueWork *w, const int64_t *items, Entry *groups, int64_t *rank,
                           int64_t *count)
{
    int64_t n = 0;
    for (int64_t k = 0; k < w->n; k++) {
        if (k == 0 || compare_items(w, items[k - 1], items[k]) != 0) {
            groups[n] = (Entry){(uint64_t)n, items[k]};
            count[n++] = 0;
        }
        rank[items[k]] = n - 1;
        count[n - 1]++;
    }
    return n;
}

static LedgeStatus infer_unique(LedgeOpCtx *c)
{
    int64_t dims[LEDGE_MAX_RANK], one = -1;
    int32_t axis;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    LEDGE_TRY(need_ordered(c, in->type, true));
    if (!ledge__node_attr(c->node, "axis")) {
        ledge__op_set_out(c, 0, in->type, 1, &one);
    } else if (in->rank < 0) {
        ledge__op_set_out(c, 0, in->type, -1, NULL);
    } else {
        LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), in->rank, &axis));
        memcpy(dims, in->dims, sizeof dims);
        dims[axis] = -1;
        ledge__op_set_out(c, 0, in->type, in->rank, dims);
    }
    for (uint32_t i = 1; i < 4; i++)
        ledge__op_set_out(c, i, LEDGE_INT64, 1, &one);
    return LEDGE_OK;
}

static LedgeStatus store_values(LedgeOpCtx *c, const UniqueWork *w, const Entry *groups, int64_t n)
{
    LedgeTensor *out = ledge__op_out(c, 0);
    int64_t dims[LEDGE_MAX_RANK] = {n};
    int32_t rank = 1, axis = 0;
    size_t size;
    if (!out)
        return LEDGE_OK;
    LEDGE_TRY(ledge__element_size(c, w->in, &size));
    if (ledge__node_attr(c->node, "axis")) {
        LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), w->in->rank, &axis));
        rank = w->in->rank;
        memcpy(dims, w->in->dims, sizeof dims);
        dims[axis] = n;
    }
    ledge__op_set_out(c, 0, w->in->type, rank, dims);
    LEDGE_TRY(ledge__op_output(c, 0));
    size_t run = (size_t)w->inner * size;
    for (int64_t o = 0; o < w->outer && run; o++)
        for (int64_t g = 0; g < n; g++)
            memcpy((char *)out->data + (size_t)(o * n + g) * run,
                   (const char *)w->in->data +
                       (size_t)(o * w->stride + groups[g].index * w->inner) * size,
                   run);
    return LEDGE_OK;
}

static LedgeStatus store_int64s(LedgeOpCtx *c, uint32_t i, int64_t n, int64_t **data)
{
    *data = NULL;
    if (!ledge__op_out(c, i))
        return LEDGE_OK;
    ledge__op_set_out(c, i, LEDGE_INT64, 1, &n);
    LEDGE_TRY(ledge__op_output(c, i));
    *data = c->out[i]->data;
    return LEDGE_OK;
}

/* Outputs 1 … 3: first index, inverse and count; new_number maps a sorted group to its place. */
static LedgeStatus store_indices(LedgeOpCtx *c, const UniqueWork *w, const Entry *groups, int64_t n,
                                 const int64_t *rank, const int64_t *count, int64_t *new_number)
{
    int64_t *first, *inverse, *counts;
    LEDGE_TRY(store_int64s(c, 1, n, &first));
    LEDGE_TRY(store_int64s(c, 2, w->n, &inverse));
    LEDGE_TRY(store_int64s(c, 3, n, &counts));
    for (int64_t g = 0; g < n; g++) {
        new_number[groups[g].key] = g;
        if (first)
            first[g] = groups[g].index;
        if (counts)
            counts[g] = count[groups[g].key];
    }
    for (int64_t i = 0; i < w->n && inverse; i++)
        inverse[i] = new_number[rank[i]];
    return LEDGE_OK;
}

static LedgeStatus run_unique(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    UniqueWork w = {.in = in, .n = ledge_tensor_count(in), .outer = 1, .inner = 1};
    int32_t axis;
    size_t bytes;
    w.stride = w.n;
    if (ledge__node_attr(c->node, "axis")) {
        LEDGE_TRY(ledge__op_axis(c, ledge__node_int(c->node, "axis", 0), in->rank, &axis));
        w.n = in->dims[axis];
        w.outer = ledge__dims_product(in->dims, 0, axis);
        w.inner = ledge__dims_product(in->dims, axis + 1, in->rank);
        w.stride = w.n * w.inner;
    }
    if (!ledge__mul((size_t)w.n + 1, 6 * sizeof(int64_t), &bytes))
        return ledge__no_memory(c->err);
    int64_t *items = ledge__work(c, bytes), *rank = items + w.n + 1, *count = rank + w.n + 1,
            *spare = count + w.n + 1;
    Entry *groups = (Entry *)(spare + w.n + 1);
    if (!items)
        return ledge__no_memory(c->err);
    for (int64_t i = 0; i < w.n; i++)
        items[i] = i;
    sort_items(&w, items, spare);
    int64_t n = group_items(&w, items, groups, rank, count);
    if (ledge__node_int(c->node, "sorted", 1) == 0 && n)
        qsort(groups, (size_t)n, sizeof *groups, compare_first);
    LEDGE_TRY(store_values(c, &w, groups, n));
    return store_indices(c, &w, groups, n, rank, count, spare);
}

const LedgeOp ledge__ops_topk[] = {
    {.domain = "", .op_type = "TopK", .since = 1, .infer = infer_topk, .prepare = prepare_topk,
     .run = run_topk},
    {.domain = "", .op_type = "Unique", .since = 11, .flags = LEDGE_OP_OWN_VALUES,
     .infer = infer_unique, .run = run_unique},
    {0},
};
