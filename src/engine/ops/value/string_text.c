/* StringNormalizer and TfIdfVectorizer: words in, words or counts out.
 *
 * Letter case is changed for ASCII, Latin-1, Latin Extended-A, Greek and Cyrillic, whatever the
 * locale attribute says: the answer must not depend on the machine's locales. */
#include "engine/ops/shape/move.h"

/* ---- letter case ---- */

/* Blocks in which upper and lower letters alternate. */
static bool is_paired_block(uint32_t c)
{
    return (c >= 0x100 && c <= 0x137) || (c >= 0x14a && c <= 0x177) || (c >= 0x460 && c <= 0x481) ||
           (c >= 0x48a && c <= 0x4bf) || (c >= 0x4d0 && c <= 0x52f);
}

static uint32_t to_lower(uint32_t c)
{
    if ((c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7))
        return c + 32;
    if ((c >= 0x391 && c <= 0x3a9 && c != 0x3a2) || (c >= 0x410 && c <= 0x42f))
        return c + 32;
    if (c >= 0x400 && c <= 0x40f)
        return c + 80;
    if (c == 0x178)
        return 0xff;
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e))
        return c + (c & 1);
    return is_paired_block(c) && c != 0x130 && c != 0x131 ? c | 1 : c;
}

static uint32_t to_upper(uint32_t c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 0xe0 && c <= 0xfe && c != 0xf7))
        return c - 32;
    if ((c >= 0x3b1 && c <= 0x3c9 && c != 0x3c2) || (c >= 0x430 && c <= 0x44f))
        return c - 32;
    if (c >= 0x450 && c <= 0x45f)
        return c - 80;
    if (c == 0xff)
        return 0x178;
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e))
        return c - !(c & 1);
    return is_paired_block(c) && c != 0x130 && c != 0x131 && (c & 1) ? c - 1 : c;
}

/* Changes case in place: all mapped characters keep their length of one or two bytes but for
 * ÿ and Ÿ, which have two as well. Bytes that are no UTF-8 stay. */
static void change_case(char *s, size_t n, bool upper)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t b = (uint8_t)s[i];
        if (b < 0x80) {
            s[i] = (char)(upper ? to_upper(b) : to_lower(b));
        } else if (b >= 0xc2 && b <= 0xdf && i + 1 < n && ((uint8_t)s[i + 1] & 0xc0) == 0x80) {
            uint32_t c = (uint32_t)(b & 0x1f) << 6 | ((uint8_t)s[i + 1] & 0x3f);
            c = upper ? to_upper(c) : to_lower(c);
            s[i] = (char)(0xc0 | c >> 6);
            s[++i] = (char)(0x80 | (c & 0x3f));
        }
    }
}

static LedgeStatus changed_case(LedgeOpCtx *c, LedgeString s, bool upper, LedgeString *out)
{
    char *bytes = ledge__op_alloc(c, s.size + 1);
    if (!bytes)
        return ledge__no_memory(c->err);
    ledge__move_bytes(bytes, s.data, s.size);
    change_case(bytes, s.size, upper);
    *out = (LedgeString){bytes, s.size};
    return LEDGE_OK;
}

static bool same_string(LedgeString a, LedgeString b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ---- StringNormalizer ---- */

static LedgeStatus infer_normalizer(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_STRING));
    const LedgeTensor *in = c->in[0];
    const int64_t dims[2] = {in->rank == 2 ? 1 : -1, -1};
    if (in->rank >= 0 && in->rank != 1 && (in->rank != 2 || in->dims[0] > 1))
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input 0 must be [n] or [1, n]");
    ledge__op_set_out(c, 0, LEDGE_STRING, in->rank, dims);
    return LEDGE_OK;
}

typedef struct Normalizer {
    bool change, upper, sensitive;
    const LedgeAttr *stop;
    LedgeString *lower_stop; /* when not sensitive */
} Normalizer;

static LedgeStatus get_normalizer(LedgeOpCtx *c, Normalizer *n)
{
    const char *action = ledge__node_string(c->node, "case_change_action", "NONE");
    n->upper = strcmp(action, "UPPER") == 0;
    n->change = n->upper || strcmp(action, "LOWER") == 0;
    if (!n->change && strcmp(action, "NONE") != 0)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "case_change_action %s", action);
    n->sensitive = ledge__node_int(c->node, "is_case_sensitive", 0) != 0;
    n->stop = ledge__node_attr(c->node, "stopwords");
    n->lower_stop = NULL;
    if (!n->stop || n->sensitive)
        return LEDGE_OK;
    n->lower_stop = ledge__op_alloc(c, (n->stop->count + 1) * sizeof *n->lower_stop);
    if (!n->lower_stop)
        return ledge__no_memory(c->err);
    for (size_t i = 0; i < n->stop->count; i++)
        LEDGE_TRY(changed_case(c, n->stop->strings[i], false, &n->lower_stop[i]));
    return LEDGE_OK;
}

static LedgeStatus is_stop(LedgeOpCtx *c, const Normalizer *n, LedgeString s, bool *stop)
{
    LedgeString word = s;
    *stop = false;
    if (!n->stop)
        return LEDGE_OK;
    if (!n->sensitive)
        LEDGE_TRY(changed_case(c, s, false, &word));
    for (size_t i = 0; i < n->stop->count && !*stop; i++)
        *stop = same_string(word, n->sensitive ? n->stop->strings[i] : n->lower_stop[i]);
    return LEDGE_OK;
}

static LedgeStatus run_normalizer(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    const LedgeString *strings = in->data;
    Normalizer how = {0};
    int64_t total = ledge_tensor_count(in), kept = 0;
    LEDGE_TRY(get_normalizer(c, &how));
    LedgeString *out = ledge__op_alloc(c, (size_t)(total + 1) * sizeof *out);
    if (!out)
        return ledge__no_memory(c->err);
    for (int64_t i = 0; i < total; i++) {
        bool stop;
        LEDGE_TRY(is_stop(c, &how, strings[i], &stop));
        if (stop)
            continue;
        out[kept] = strings[i];
        if (how.change)
            LEDGE_TRY(changed_case(c, strings[i], how.upper, &out[kept]));
        kept++;
    }
    if (kept == 0) /* nothing left is one empty string */
        out[kept++] = (LedgeString){"", 0};
    LedgeTensor made = {.type = LEDGE_STRING, .rank = in->rank, .dims = {kept}, .data = out};
    if (in->rank == 2) {
        made.dims[0] = 1;
        made.dims[1] = kept;
    }
    return ledge__op_store(c, 0, &made);
}

/* ---- TfIdfVectorizer ---- */

typedef struct Gram {      /* one n-gram of the pool */
    int64_t first, output; /* position in the pool; column of the result */
} Gram;

typedef struct Tfidf {
    int64_t min, max, skip;
    int64_t columns;
    const int64_t *ints;
    const LedgeString *strings;
    size_t pool;
    Gram *grams;  /* by size, each size sorted by content */
    size_t *from; /* [max + 2]: grams of size n are from[n] … from[n+1]-1 */
    bool idf, tf;
    const float *weights;
} Tfidf;

static int compare_words(LedgeString a, LedgeString b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_tokens(const Tfidf *t, int64_t a, int64_t b)
{
    if (t->strings)
        return compare_words(t->strings[a], t->strings[b]);
    return (t->ints[a] > t->ints[b]) - (t->ints[a] < t->ints[b]);
}

static int compare_grams(const Tfidf *t, const Gram *a, const Gram *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        int order = compare_tokens(t, a->first + i, b->first + i);
        if (order)
            return order;
    }
    return 0;
}

/* Heap sort: no recursion, no more memory, and no context hidden from a comparison. */
static void sort_grams(const Tfidf *t, Gram *grams, size_t count, int64_t n)
{
    for (size_t end = count, start = count / 2; end > 1;) {
        Gram moved;
        if (start > 0) {
            moved = grams[--start];
        } else {
            moved = grams[--end];
            grams[end] = grams[0];
        }
        size_t at = start;
        for (size_t child; (child = 2 * at + 1) < end; at = child) {
            if (child + 1 < end && compare_grams(t, &grams[child], &grams[child + 1], n) < 0)
                child++;
            if (compare_grams(t, &moved, &grams[child], n) >= 0)
                break;
            grams[at] = grams[child];
        }
        grams[at] = moved;
    }
}

static LedgeStatus tfidf_attrs(LedgeOpCtx *c, Tfidf *t)
{
    const char *mode = ledge__node_string(c->node, "mode", "");
    const LedgeAttr *strings = ledge__node_attr(c->node, "pool_strings");
    size_t n = 0;
    t->min = ledge__node_int(c->node, "min_gram_length", 0);
    t->max = ledge__node_int(c->node, "max_gram_length", 0);
    t->skip = ledge__node_int(c->node, "max_skip_count", -1);
    if (t->min < 1 || t->max < t->min || t->max > 1 << 16 || t->skip < 0)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "gram lengths or the skip count are wrong");
    t->skip = t->skip > INT32_MAX ? INT32_MAX : t->skip; /* no row is longer */
    t->tf = strcmp(mode, "TF") == 0 || strcmp(mode, "TFIDF") == 0;
    t->idf = strcmp(mode, "IDF") == 0 || strcmp(mode, "TFIDF") == 0;
    if (!t->tf && !t->idf)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "mode %s", mode);
    t->ints = ledge__node_ints(c->node, "pool_int64s", &t->pool);
    if (strings && strings->count) {
        t->strings = strings->strings;
        t->pool = strings->count;
        t->ints = NULL;
    }
    if (!t->ints && !t->strings)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "the pool is missing");
    const int64_t *index = ledge__node_ints(c->node, "ngram_indexes", &n);
    for (size_t i = 0; i < n; i++) {
        if (index[i] < 0 || index[i] > INT32_MAX)
            return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "ngram index %lld", (long long)index[i]);
        t->columns = index[i] + 1 > t->columns ? index[i] + 1 : t->columns;
    }
    t->weights = ledge__node_floats(c->node, "weights", &n);
    if (!t->idf)
        t->weights = NULL;
    if (t->weights && (int64_t)n < t->columns)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "%zu weights for %lld columns", n,
                              (long long)t->columns);
    return LEDGE_OK;
}

/* Lists the n-grams of sizes min … max. */
static LedgeStatus list_grams(LedgeOpCtx *c, Tfidf *t)
{
    size_t n_counts = 0, n_index = 0, id = 0, made = 0;
    const int64_t *counts = ledge__node_ints(c->node, "ngram_counts", &n_counts);
    const int64_t *index = ledge__node_ints(c->node, "ngram_indexes", &n_index);
    t->grams = ledge__op_alloc(c, (t->pool + 1) * sizeof *t->grams);
    t->from = ledge__op_alloc(c, ((size_t)t->max + 2) * sizeof *t->from);
    if (!t->grams || !t->from)
        return ledge__no_memory(c->err);
    for (int64_t n = 1; n <= t->max; n++) {
        t->from[n] = made;
        if ((size_t)n > n_counts)
            continue;
        int64_t begin = counts[n - 1];
        int64_t end = (size_t)n < n_counts ? counts[n] : (int64_t)t->pool;
        if (begin < 0 || end < begin || end > (int64_t)t->pool || (end - begin) % n)
            return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "ngram_counts do not fit the pool");
        for (int64_t at = begin; at < end; at += n, id++) {
            if (id >= n_index)
                return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "ngram_indexes has too few entries");
            if (n >= t->min)
                t->grams[made++] = (Gram){at, index[id]};
        }
        sort_grams(t, t->grams + t->from[n], made - t->from[n], n);
    }
    t->from[t->max + 1] = made;
    return LEDGE_OK;
}

static LedgeStatus infer_tfidf(LedgeOpCtx *c)
{
    Tfidf t = {0};
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_TYPE_NONE));
    const LedgeTensor *in = c->in[0];
    LEDGE_TRY(tfidf_attrs(c, &t));
    if (in->type != LEDGE_TYPE_NONE &&
        (t.strings ? in->type != LEDGE_STRING : in->type != LEDGE_INT32 && in->type != LEDGE_INT64))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "the pool is not of type %s",
                              ledge_type_name(in->type));
    if (in->rank > 2)
        return ledge__op_fail(c, LEDGE_ERROR_SHAPE, "input 0 has %d dimensions", in->rank);
    const int64_t one[1] = {t.columns}, two[2] = {in->dims[0], t.columns};
    ledge__op_set_out(c, 0, LEDGE_FLOAT,
                      in->rank < 0    ? -1
                      : in->rank == 2 ? 2
                                      : 1,
                      in->rank == 2 ? two : one);
    return LEDGE_OK;
}

static LedgeStatus prepare_tfidf(LedgeOpCtx *c)
{
    Tfidf *t = ledge__op_alloc(c, sizeof *t);
    if (!t)
        return ledge__no_memory(c->err);
    memset(t, 0, sizeof *t);
    LEDGE_TRY(tfidf_attrs(c, t));
    LEDGE_TRY(list_grams(c, t));
    c->state = t;
    return LEDGE_OK;
}

static int compare_with_input(const Tfidf *t, const LedgeTensor *in, int64_t at, int64_t step,
                              const Gram *g, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        int order;
        if (t->strings) {
            order = compare_words(((const LedgeString *)in->data)[at + i * step],
                                  t->strings[g->first + i]);
        } else {
            int64_t v = ledge__index_at(in, at + i * step), w = t->ints[g->first + i];
            order = (v > w) - (v < w);
        }
        if (order)
            return order;
    }
    return 0;
}

/* Adds 1 to the column of the n-gram at `at`, if it is in the pool. */
static void count_gram(const Tfidf *t, const LedgeTensor *in, int64_t at, int64_t step, int64_t n,
                       float *row)
{
    size_t low = t->from[n], high = t->from[n + 1];
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = compare_with_input(t, in, at, step, &t->grams[mid], n);
        if (order == 0) {
            row[t->grams[mid].output] += 1;
            return;
        }
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
}

static LedgeStatus run_tfidf(LedgeOpCtx *c)
{
    const Tfidf *t = c->state;
    const LedgeTensor *in = c->in[0];
    float *out = c->out[0]->data;
    int64_t words = in->rank ? in->dims[in->rank - 1] : 1, rows = in->rank == 2 ? in->dims[0] : 1;
    if (ledge_tensor_bytes(c->out[0]))
        memset(out, 0, ledge_tensor_bytes(c->out[0]));
    for (int64_t r = 0; r < rows; r++) {
        float *row = out + r * t->columns;
        for (int64_t n = t->min; n <= t->max && n <= words; n++)
            for (int64_t step = 1; step <= (n == 1 ? 1 : t->skip + 1); step++) {
                if (t->from[n] == t->from[n + 1] || step > words)
                    break;
                for (int64_t at = 0; at + (n - 1) * step < words; at++)
                    count_gram(t, in, r * words + at, step, n, row);
            }
        for (int64_t k = 0; k < t->columns; k++) {
            if (!t->tf)
                row[k] = row[k] > 0 ? 1.0f : 0.0f;
            if (t->weights)
                row[k] *= t->weights[k];
        }
    }
    return LEDGE_OK;
}

const LedgeOp ledge__ops_text[] = {
    {.domain = "",
     .op_type = "StringNormalizer",
     .since = 10,
     .flags = LEDGE_OP_OWN_VALUES,
     .infer = infer_normalizer,
     .run = run_normalizer},
    {.domain = "",
     .op_type = "TfIdfVectorizer",
     .since = 9,
     .infer = infer_tfidf,
     .prepare = prepare_tfidf,
     .run = run_tfidf},
    {0},
};
