/* Reducing over any set of dimensions: see reduce.h.
 *
 * Neighbouring dimensions of one kind are joined first. When the innermost one is reduced, each
 * result folds contiguous rows; when it is kept, a chunk of results is folded side by side. */
#include "engine/kernels/ref/reduce.h"

#include <math.h>
#include <string.h>

#include "engine/kernels/ref/convert.h"

#define CHUNK 256
#define LANES 8 /* partial sums of a contiguous row, so that it may be vectorised */

typedef struct ReduceJob {
    LedgeReduce kind;
    LedgeType type;
    const void *x;
    void *y;
    bool whole; /* integers, in int64 */
    /* Joined dimensions: kept ones and reduced ones, outermost first, with x's strides. The
     * innermost dimension is apart. */
    int n_kept, n_reduced;
    size_t kept[LEDGE_MAX_RANK], kept_stride[LEDGE_MAX_RANK];
    size_t reduced[LEDGE_MAX_RANK], reduced_stride[LEDGE_MAX_RANK];
    size_t inner;       /* length of the innermost dimension */
    bool inner_reduced;
    size_t rows;        /* product of reduced[]: rows (or elements) folded into a result */
    size_t depth;       /* elements folded into one result */
    size_t results;     /* product of kept[] */
} ReduceJob;

/* ---- folding in double ---- */

static double float_start(LedgeReduce kind)
{
    switch (kind) {
    case LEDGE_REDUCE_PROD:
        return 1;
    case LEDGE_REDUCE_MIN:
        return INFINITY;
    case LEDGE_REDUCE_MAX:
    case LEDGE_REDUCE_LOG_SUM_EXP: /* first its maximum */
        return -INFINITY;
    default:
        return 0;
    }
}

static inline double join(LedgeReduce kind, double a, double b)
{
    switch (kind) {
    case LEDGE_REDUCE_PROD:
        return a * b;
    case LEDGE_REDUCE_MIN:
        return a < b || a != a ? a : b;
    case LEDGE_REDUCE_MAX:
    case LEDGE_REDUCE_LOG_SUM_EXP:
        return a > b || a != a ? a : b;
    default:
        return a + b;
    }
}

/* What an element adds: itself, its size or its square. */
static void prepare_floats(LedgeReduce kind, double *v, size_t n)
{
    if (kind == LEDGE_REDUCE_L1)
        for (size_t i = 0; i < n; i++)
            v[i] = fabs(v[i]);
    else if (kind == LEDGE_REDUCE_L2 || kind == LEDGE_REDUCE_SUM_SQUARE)
        for (size_t i = 0; i < n; i++)
            v[i] *= v[i];
}

/* acc[i] and v[i] joined, n of them. */
static inline void join_floats(LedgeReduce kind, double *acc, const double *v, size_t n)
{
    switch (kind) {
    case LEDGE_REDUCE_PROD:
        for (size_t i = 0; i < n; i++)
            acc[i] *= v[i];
        return;
    case LEDGE_REDUCE_MIN:
        for (size_t i = 0; i < n; i++)
            acc[i] = join(LEDGE_REDUCE_MIN, acc[i], v[i]);
        return;
    case LEDGE_REDUCE_MAX:
    case LEDGE_REDUCE_LOG_SUM_EXP:
        for (size_t i = 0; i < n; i++)
            acc[i] = join(LEDGE_REDUCE_MAX, acc[i], v[i]);
        return;
    default:
        for (size_t i = 0; i < n; i++)
            acc[i] += v[i];
    }
}

/* A contiguous row into one number. */
static double fold_row(const ReduceJob *j, double acc, size_t at, size_t count)
{
    double v[CHUNK], lanes[LANES];
    for (int k = 0; k < LANES; k++)
        lanes[k] = float_start(j->kind);
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK, i = 0;
        ledge__load_f64(j->type, j->x, at + done, n, v);
        prepare_floats(j->kind, v, n);
        switch (j->kind) { /* constant kinds and lengths, so that each becomes a loop of vectors */
        case LEDGE_REDUCE_MIN:
            for (; i + LANES <= n; i += LANES)
                join_floats(LEDGE_REDUCE_MIN, lanes, v + i, LANES);
            break;
        case LEDGE_REDUCE_MAX:
        case LEDGE_REDUCE_LOG_SUM_EXP:
            for (; i + LANES <= n; i += LANES)
                join_floats(LEDGE_REDUCE_MAX, lanes, v + i, LANES);
            break;
        case LEDGE_REDUCE_PROD:
            for (; i + LANES <= n; i += LANES)
                join_floats(LEDGE_REDUCE_PROD, lanes, v + i, LANES);
            break;
        default:
            for (; i + LANES <= n; i += LANES)
                join_floats(LEDGE_REDUCE_SUM, lanes, v + i, LANES);
        }
        join_floats(j->kind, lanes, v + i, n - i);
    }
    for (int k = 0; k < LANES; k++)
        acc = join(j->kind, acc, lanes[k]);
    return acc;
}

static double finish_float(const ReduceJob *j, double acc)
{
    switch (j->kind) {
    case LEDGE_REDUCE_MEAN:
        return acc / (double)j->depth;
    case LEDGE_REDUCE_L2:
        return sqrt(acc);
    case LEDGE_REDUCE_LOG_SUM:
        return log(acc);
    default:
        return acc;
    }
}

/* ---- folding in int64 ---- */

static int64_t whole_start(const ReduceJob *j)
{
    int64_t lowest, highest;
    ledge__type_int_range(j->type, &lowest, &highest);
    if (j->kind == LEDGE_REDUCE_MIN)
        return j->type == LEDGE_UINT64 ? -1 : highest;
    return j->kind == LEDGE_REDUCE_MAX ? lowest : j->kind == LEDGE_REDUCE_PROD;
}

static void join_whole(const ReduceJob *j, int64_t *acc, int64_t v)
{
    uint64_t a = (uint64_t)*acc, u = (uint64_t)v;
    bool less = j->type == LEDGE_UINT64 ? u < a : v < *acc;
    switch (j->kind) {
    case LEDGE_REDUCE_PROD:
        *acc = (int64_t)(a * u);
        return;
    case LEDGE_REDUCE_MIN:
        *acc = less ? v : *acc;
        return;
    case LEDGE_REDUCE_MAX:
        *acc = less ? *acc : v;
        return;
    case LEDGE_REDUCE_L1:
        *acc = (int64_t)(v < 0 && j->type != LEDGE_UINT64 ? a - u : a + u);
        return;
    case LEDGE_REDUCE_L2:
    case LEDGE_REDUCE_SUM_SQUARE:
        *acc = (int64_t)(a + u * u);
        return;
    default:
        *acc = (int64_t)(a + u);
    }
}

static int64_t finish_whole(const ReduceJob *j, int64_t acc)
{
    if (j->kind == LEDGE_REDUCE_L2)
        return (int64_t)sqrt((double)(uint64_t)acc);
    if (j->kind != LEDGE_REDUCE_MEAN)
        return acc;
    if (j->depth == 0)
        return 0;
    return j->type == LEDGE_UINT64 ? (int64_t)((uint64_t)acc / j->depth)
                                   : acc / (int64_t)j->depth;
}

/* ---- the walk ---- */

/* Element of x where row `index` of the reduced dimensions starts, from the base of a result. */
static size_t offset_of(size_t index, int n, const size_t *dims, const size_t *strides)
{
    size_t at = 0;
    for (int d = n - 1; d >= 0; d--) {
        at += index % dims[d] * strides[d];
        index /= dims[d];
    }
    return at;
}

static void log_sum_exp(const ReduceJob *j, size_t base, double top, double *result)
{
    double sum = 0;
    size_t count = j->inner_reduced ? j->inner : 1;
    double shift = isinf(top) ? 0 : top; /* exp(-inf - -inf) would be NaN */
    for (size_t r = 0; r < j->rows; r++) {
        size_t at = base + offset_of(r, j->n_reduced, j->reduced, j->reduced_stride);
        for (size_t done = 0; done < count; done += CHUNK) {
            double v[CHUNK];
            size_t n = count - done < CHUNK ? count - done : CHUNK;
            ledge__load_f64(j->type, j->x, at + done, n, v);
            for (size_t i = 0; i < n; i++)
                sum += exp(v[i] - shift);
        }
    }
    *result = log(sum) + shift;
}

static void results_of_rows(const ReduceJob *j, size_t index)
{
    size_t base = offset_of(index, j->n_kept, j->kept, j->kept_stride);
    double acc = float_start(j->kind);
    int64_t whole = whole_start(j);
    for (size_t r = 0; r < j->rows; r++) {
        size_t at = base + offset_of(r, j->n_reduced, j->reduced, j->reduced_stride);
        if (!j->whole) {
            acc = fold_row(j, acc, at, j->inner);
            continue;
        }
        for (size_t done = 0; done < j->inner; done += CHUNK) {
            int64_t v[CHUNK];
            size_t n = j->inner - done < CHUNK ? j->inner - done : CHUNK;
            ledge__load_i64(j->type, j->x, at + done, n, v);
            for (size_t i = 0; i < n; i++)
                join_whole(j, &whole, v[i]);
        }
    }
    whole = finish_whole(j, whole);
    if (j->kind == LEDGE_REDUCE_LOG_SUM_EXP)
        log_sum_exp(j, base, acc, &acc);
    acc = finish_float(j, acc);
    if (j->whole)
        ledge__store_i64(j->type, j->y, index, 1, &whole);
    else
        ledge__store_f64(j->type, j->y, index, 1, &acc);
}

/* Results first … first+n-1 of one run of the innermost, kept dimension. */
static void results_side_by_side(const ReduceJob *j, size_t base, size_t out, size_t n)
{
    union {
        double f[CHUNK];
        int64_t w[CHUNK];
    } acc, v;
    for (size_t i = 0; i < n; i++) {
        if (j->whole)
            acc.w[i] = whole_start(j);
        else
            acc.f[i] = float_start(j->kind);
    }
    for (size_t r = 0; r < j->rows; r++) {
        size_t at = base + offset_of(r, j->n_reduced, j->reduced, j->reduced_stride);
        if (j->whole) {
            ledge__load_i64(j->type, j->x, at, n, v.w);
            for (size_t i = 0; i < n; i++)
                join_whole(j, &acc.w[i], v.w[i]);
        } else {
            ledge__load_f64(j->type, j->x, at, n, v.f);
            prepare_floats(j->kind, v.f, n);
            join_floats(j->kind, acc.f, v.f, n);
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (j->whole)
            acc.w[i] = finish_whole(j, acc.w[i]);
        else if (j->kind == LEDGE_REDUCE_LOG_SUM_EXP)
            log_sum_exp(j, base + i, acc.f[i], &acc.f[i]);
        else
            acc.f[i] = finish_float(j, acc.f[i]);
    }
    if (j->whole)
        ledge__store_i64(j->type, j->y, out, n, acc.w);
    else
        ledge__store_f64(j->type, j->y, out, n, acc.f);
}

static void reduce_items(void *arg, size_t begin, size_t end, int thread)
{
    const ReduceJob *j = arg;
    (void)thread;
    if (j->inner_reduced) {
        for (size_t i = begin; i < end; i++)
            results_of_rows(j, i);
        return;
    }
    size_t chunks = (j->inner + CHUNK - 1) / CHUNK;
    for (size_t i = begin; i < end; i++) {
        size_t outer = i / chunks, first = i % chunks * CHUNK;
        size_t n = j->inner - first < CHUNK ? j->inner - first : CHUNK;
        results_side_by_side(j, offset_of(outer, j->n_kept, j->kept, j->kept_stride) + first,
                             outer * j->inner + first, n);
    }
}

/* ---- setting up ---- */

/* Leaves out dimensions of 1 and joins neighbouring ones of one kind; innermost first. */
static int join_dims(const LedgeTensor *x, uint32_t axes, size_t *dims, bool *reduced)
{
    int n = 0;
    for (int32_t d = x->rank - 1; d >= 0; d--) {
        bool r = axes >> d & 1;
        if (x->dims[d] == 1)
            continue;
        if (n > 0 && r == reduced[n - 1]) {
            dims[n - 1] *= (size_t)x->dims[d];
            continue;
        }
        dims[n] = (size_t)x->dims[d];
        reduced[n++] = r;
    }
    if (n == 0) {
        dims[0] = 1;
        reduced[n++] = true;
    }
    return n;
}

static void set_up(ReduceJob *j, const LedgeTensor *x, uint32_t axes)
{
    size_t dims[LEDGE_MAX_RANK], stride = 1;
    bool reduced[LEDGE_MAX_RANK];
    int n = join_dims(x, axes, dims, reduced);
    j->inner = dims[0];
    j->inner_reduced = reduced[0];
    j->rows = j->results = 1;
    for (int d = n - 1; d >= 1; d--) { /* outermost first */
        if (reduced[d]) {
            j->reduced[j->n_reduced++] = dims[d];
            j->rows *= dims[d];
        } else {
            j->kept[j->n_kept++] = dims[d];
            j->results *= dims[d];
        }
    }
    int kept = j->n_kept, red = j->n_reduced;
    for (int d = 0; d < n; d++) {
        if (d > 0 && reduced[d])
            j->reduced_stride[--red] = stride;
        else if (d > 0)
            j->kept_stride[--kept] = stride;
        stride *= dims[d];
    }
    j->depth = j->rows * (j->inner_reduced ? j->inner : 1);
}

void ledge__reduce(LedgeReduce kind, const LedgeTensor *x, uint32_t axes, const LedgeTensor *y,
                   LedgePool *pool)
{
    ReduceJob j = {.kind = kind, .type = x->type, .x = x->data, .y = y->data,
                   .whole = !ledge__num_is_float(x->type)};
    if (ledge_tensor_count(y) == 0)
        return;
    set_up(&j, x, axes);
    if (j.whole && (kind == LEDGE_REDUCE_LOG_SUM || kind == LEDGE_REDUCE_LOG_SUM_EXP))
        j.whole = false; /* through double, then cut */
    size_t items = j.inner_reduced ? j.results : j.results * ((j.inner + CHUNK - 1) / CHUNK);
    size_t work = j.depth * (j.inner_reduced ? 1 : CHUNK) + 1;
    ledge__pool_run(pool, items, work > 16384 ? 1 : 16384 / work, reduce_items, &j);
}

/* ---- arg max, arg min ---- */

typedef struct ArgJob {
    const LedgeTensor *x;
    size_t n, inner, chunks; /* chunks of neighbouring results: CHUNK of them, or fewer */
    bool smallest, last_index, floats;
    int64_t *y;
} ArgJob;

/* NaN beats everything but an earlier NaN; with last_index equals beat what came before. */
static inline bool beats_float(double v, double best, bool last_index)
{
    bool equal = last_index && (v == best || (v != v && best != best));
    return v > best || equal || (v != v && best == best);
}

static inline bool beats_whole(const ArgJob *j, int64_t v, int64_t best)
{
    bool larger = j->x->type == LEDGE_UINT64 ? (uint64_t)v > (uint64_t)best : v > best;
    if (j->smallest)
        larger = !larger && v != best;
    return larger || (j->last_index && v == best);
}

/* Smallest is largest of the negatives. */
static void load_for_arg(const ArgJob *j, size_t at, size_t n, double *v)
{
    ledge__load_f64(j->x->type, j->x->data, at, n, v);
    for (size_t i = 0; j->smallest && i < n; i++)
        v[i] = -v[i];
}

/* One line whose elements lie one after the other. */
static void arg_line(const ArgJob *j, size_t base, int64_t *y)
{
    double best = 0;
    *y = 0;
    for (size_t done = 0; done < j->n; done += CHUNK) {
        double v[CHUNK];
        size_t n = j->n - done < CHUNK ? j->n - done : CHUNK;
        load_for_arg(j, base + done, n, v);
        for (size_t i = 0; i < n; i++)
            if (done + i == 0 || beats_float(v[i], best, j->last_index)) {
                best = v[i];
                *y = (int64_t)(done + i);
            }
    }
}

/* n lines whose elements lie side by side. */
static void arg_lines(const ArgJob *j, size_t base, size_t n, int64_t *y)
{
    double best[CHUNK], v[CHUNK];
    load_for_arg(j, base, n, best);
    for (size_t i = 0; i < n; i++)
        y[i] = 0;
    for (size_t k = 1; k < j->n; k++) {
        load_for_arg(j, base + k * j->inner, n, v);
        for (size_t i = 0; i < n; i++) {
            bool beats = beats_float(v[i], best[i], j->last_index);
            best[i] = beats ? v[i] : best[i];
            y[i] = beats ? (int64_t)k : y[i];
        }
    }
}

static void arg_line_whole(const ArgJob *j, size_t base, int64_t *y)
{
    int64_t best = 0, v;
    for (size_t k = 0; k < j->n; k++) {
        ledge__load_i64(j->x->type, j->x->data, base + k * j->inner, 1, &v);
        if (k > 0 && !beats_whole(j, v, best))
            continue;
        best = v;
        *y = (int64_t)k;
    }
}

static void arg_items(void *arg, size_t begin, size_t end, int thread)
{
    const ArgJob *j = arg;
    (void)thread;
    for (size_t item = begin; item < end; item++) {
        size_t outer = item / j->chunks, first = item % j->chunks * CHUNK;
        size_t n = j->inner - first < CHUNK ? j->inner - first : CHUNK;
        size_t base = outer * j->n * j->inner + first;
        int64_t *y = j->y + outer * j->inner + first;
        for (size_t i = 0; !j->floats && i < n; i++)
            arg_line_whole(j, base + i, y + i);
        if (j->floats && j->inner == 1)
            arg_line(j, base, y);
        else if (j->floats)
            arg_lines(j, base, n, y);
    }
}

static void split_at(const LedgeTensor *x, int32_t axis, size_t *outer, size_t *n, size_t *inner)
{
    *outer = *inner = 1;
    *n = x->rank ? (size_t)x->dims[axis] : 1;
    for (int32_t d = 0; d < x->rank; d++)
        if (d != axis)
            *(d < axis ? outer : inner) *= (size_t)x->dims[d];
}

void ledge__arg_extreme(const LedgeTensor *x, int32_t axis, bool smallest, bool last_index,
                        int64_t *y, LedgePool *pool)
{
    ArgJob j = {.x = x, .smallest = smallest, .last_index = last_index,
                .floats = ledge__num_is_float(x->type), .y = y};
    size_t outer;
    split_at(x, axis, &outer, &j.n, &j.inner);
    j.chunks = (j.inner + CHUNK - 1) / CHUNK;
    size_t work = (j.n + 1) * (j.inner < CHUNK ? j.inner : CHUNK);
    ledge__pool_run(pool, outer * j.chunks, 16384 / (work + 1) + 1, arg_items, &j);
}

/* ---- running sums ---- */

typedef struct AccumulateJob {
    const LedgeTensor *x, *y;
    size_t n, inner;
    bool product, exclusive, reverse, floats;
} AccumulateJob;

/* One line along the axis. A value is read before its place is written: x may be y. */
static void accumulate_line(const AccumulateJob *j, size_t base)
{
    double sum = j->product;
    int64_t whole = j->product;
    for (size_t k = 0; k < j->n; k++) {
        size_t at = base + (j->reverse ? j->n - 1 - k : k) * j->inner;
        double v = 0, next = sum;
        int64_t w = 0, next_whole = whole;
        if (j->floats) {
            ledge__load_f64(j->x->type, j->x->data, at, 1, &v);
            next = j->product ? sum * v : sum + v;
            ledge__store_f64(j->y->type, j->y->data, at, 1, j->exclusive ? &sum : &next);
        } else {
            ledge__load_i64(j->x->type, j->x->data, at, 1, &w);
            next_whole = (int64_t)(j->product ? (uint64_t)whole * (uint64_t)w
                                              : (uint64_t)whole + (uint64_t)w);
            ledge__store_i64(j->y->type, j->y->data, at, 1, j->exclusive ? &whole : &next_whole);
        }
        sum = next;
        whole = next_whole;
    }
}

/* The same for float32, without conversion calls. */
static void accumulate_line_f32(const AccumulateJob *j, size_t base)
{
    const float *x = (const float *)j->x->data + base;
    float *y = (float *)j->y->data + base;
    double sum = j->product;
    for (size_t k = 0; k < j->n; k++) {
        size_t at = (j->reverse ? j->n - 1 - k : k) * j->inner;
        double v = (double)x[at], next = j->product ? sum * v : sum + v;
        y[at] = (float)(j->exclusive ? sum : next);
        sum = next;
    }
}

static void accumulate_items(void *arg, size_t begin, size_t end, int thread)
{
    const AccumulateJob *j = arg;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        size_t base = i / j->inner * j->n * j->inner + i % j->inner;
        if (j->x->type == LEDGE_FLOAT)
            accumulate_line_f32(j, base);
        else
            accumulate_line(j, base);
    }
}

void ledge__accumulate(const LedgeTensor *x, int32_t axis, bool product, bool exclusive,
                       bool reverse, const LedgeTensor *y, LedgePool *pool)
{
    AccumulateJob j = {.x = x, .y = y, .product = product, .exclusive = exclusive,
                       .reverse = reverse, .floats = ledge__num_is_float(x->type)};
    size_t outer;
    split_at(x, axis, &outer, &j.n, &j.inner);
    ledge__pool_run(pool, outer * j.inner, 4096 / (j.n + 1) + 1, accumulate_items, &j);
}
