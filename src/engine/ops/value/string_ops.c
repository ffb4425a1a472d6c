/* StringConcat, StringSplit and RegexFullMatch. New strings' bytes come from the host and live as
 * long as the outputs do; parts of an input are views of it until they are stored. */
#include "engine/ops/shape/move.h"
#include "engine/ops/value/regex.h"

static LedgeStatus infer_string_concat(LedgeOpCtx *c)
{
    int64_t dims[LEDGE_MAX_RANK];
    int32_t rank;
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_STRING));
    LEDGE_TRY(ledge__op_need(c, 1, LEDGE_STRING));
    LEDGE_TRY(ledge__op_broadcast(c, c->in[0], c->in[1], &rank, dims));
    ledge__op_set_out(c, 0, LEDGE_STRING, rank, dims);
    return LEDGE_OK;
}

/* Strides of `t` under the shape of `out`: 0 where it is repeated. */
static void broadcast_strides(const LedgeTensor *t, const LedgeTensor *out, int64_t *strides)
{
    int64_t own[LEDGE_MAX_RANK];
    ledge__strides(t->rank, t->dims, own);
    for (int32_t d = 0; d < out->rank; d++) {
        int32_t k = d - (out->rank - t->rank);
        strides[d] = k < 0 || t->dims[k] == 1 ? 0 : own[k];
    }
}

static LedgeStatus run_string_concat(LedgeOpCtx *c)
{
    const LedgeString *a = c->in[0]->data, *b = c->in[1]->data;
    const LedgeTensor *t = c->out[0];
    LedgeString *out = t->data;
    int64_t sa[LEDGE_MAX_RANK], sb[LEDGE_MAX_RANK], total = ledge_tensor_count(t);
    broadcast_strides(c->in[0], t, sa);
    broadcast_strides(c->in[1], t, sb);
    for (int64_t i = 0; i < total; i++) {
        int64_t ia = 0, ib = 0, rest = i;
        for (int32_t d = t->rank - 1; d >= 0; d--) {
            ia += rest % t->dims[d] * sa[d];
            ib += rest % t->dims[d] * sb[d];
            rest /= t->dims[d];
        }
        size_t size = a[ia].size + b[ib].size;
        char *bytes = ledge__op_alloc(c, size + 1);
        if (!bytes)
            return ledge__no_memory(c->err);
        ledge__move_bytes(bytes, a[ia].data, a[ia].size);
        ledge__move_bytes(bytes + a[ia].size, b[ib].data, b[ib].size);
        out[i] = (LedgeString){bytes, size};
    }
    return LEDGE_OK;
}

/* ---- StringSplit ---- */

typedef struct Splitter {
    LedgeString delimiter; /* size 0: runs of white space */
    int64_t most;          /* splits; -1: no limit */
} Splitter;

static LedgeStatus infer_string_split(LedgeOpCtx *c)
{
    int64_t dims[LEDGE_MAX_RANK];
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_STRING));
    const LedgeTensor *in = c->in[0];
    ledge__op_set_out(c, 1, LEDGE_INT64, in->rank, in->dims);
    LEDGE_TRY(ledge__out_rank(c, 0, LEDGE_STRING, in->rank < 0 ? -1 : in->rank + 1));
    if (in->rank < 0)
        return LEDGE_OK;
    memcpy(dims, in->dims, (size_t)in->rank * sizeof *dims);
    dims[in->rank] = -1;
    ledge__op_set_out(c, 0, LEDGE_STRING, in->rank + 1, dims);
    return LEDGE_OK;
}

static bool is_space(char ch)
{
    return ch == ' ' || (ch >= '\t' && ch <= '\r');
}

/* Where the delimiter next stands at or after `from`; the size when nowhere. */
static size_t find_delimiter(LedgeString s, size_t from, LedgeString delimiter)
{
    for (size_t i = from; i + delimiter.size <= s.size; i++)
        if (memcmp(s.data + i, delimiter.data, delimiter.size) == 0)
            return i;
    return s.size;
}

/* Writes the parts of `s` to parts (NULL: only counts them) and returns how many there are. */
static int64_t split_one(const Splitter *how, LedgeString s, LedgeString *parts)
{
    int64_t n = 0;
    size_t at = 0, end = s.size;
    bool space = how->delimiter.size == 0;
    for (;;) {
        while (space && at < s.size && is_space(s.data[at]))
            at++;
        if (space && at == s.size)
            return n;
        bool last = how->most >= 0 && n == how->most;
        if (space) {
            for (end = at; end < s.size && !is_space(s.data[end]);)
                end++;
        } else {
            end = find_delimiter(s, at, how->delimiter);
        }
        if (last) /* the rest stays whole, but for white space at its end */
            for (end = s.size; space && is_space(s.data[end - 1]);)
                end--;
        if (parts)
            parts[n] = (LedgeString){s.data + at, end - at};
        n++;
        if (last || end == s.size)
            return n;
        at = end + how->delimiter.size;
    }
}

static LedgeStatus run_string_split(LedgeOpCtx *c)
{
    const LedgeTensor *in = c->in[0];
    const LedgeString *strings = in->data;
    const LedgeAttr *delimiter = ledge__node_attr(c->node, "delimiter");
    Splitter how = {.delimiter = delimiter ? delimiter->s : (LedgeString){0}};
    int64_t total = ledge_tensor_count(in), most = 0;
    how.most = ledge__node_int(c->node, "maxsplit", -1);
    LedgeTensor made = *in;
    for (int64_t i = 0; i < total; i++) {
        int64_t n = split_one(&how, strings[i], NULL);
        most = n > most ? n : most;
    }
    if (made.rank == LEDGE_MAX_RANK)
        return ledge__op_fail(c, LEDGE_ERROR_LIMIT, "the result has too many dimensions");
    made.dims[made.rank++] = most;
    LEDGE_TRY(ledge__check_dims(c, made.rank, made.dims));
    LedgeString *parts = ledge__work(c, (size_t)(total * most + 1) * sizeof *parts);
    if (!parts)
        return ledge__no_memory(c->err);
    memset(parts, 0, (size_t)(total * most + 1) * sizeof *parts);
    for (int64_t i = 0; i < total; i++) {
        int64_t n = split_one(&how, strings[i], parts + i * most);
        if (ledge__op_out(c, 1))
            ((int64_t *)c->out[1]->data)[i] = n;
    }
    made.data = parts;
    return ledge__op_store(c, 0, &made);
}

/* ---- RegexFullMatch ---- */

static LedgeStatus infer_regex(LedgeOpCtx *c)
{
    LEDGE_TRY(ledge__op_need(c, 0, LEDGE_STRING));
    ledge__op_set_out(c, 0, LEDGE_BOOL, c->in[0]->rank, c->in[0]->dims);
    return LEDGE_OK;
}

static void *regex_alloc(void *context, size_t bytes)
{
    return ledge__op_alloc(context, bytes);
}

static LedgeStatus prepare_regex(LedgeOpCtx *c)
{
    const LedgeAttr *pattern = ledge__node_attr(c->node, "pattern");
    const char *why;
    if (!pattern || pattern->type != ONNX_ATTR_STRING)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "pattern is missing");
    LedgeRegex *r = ledge__regex_new(pattern->s, regex_alloc, c, &why);
    if (!r && !why)
        return ledge__no_memory(c->err);
    if (!r)
        return ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "pattern '%.200s': %s", pattern->s.data,
                              why);
    c->state = r;
    c->scratch_bytes = ledge__regex_work_bytes(r);
    return LEDGE_OK;
}

static LedgeStatus run_regex(LedgeOpCtx *c)
{
    const LedgeString *strings = c->in[0]->data;
    uint8_t *out = c->out[0]->data;
    int64_t total = ledge_tensor_count(c->in[0]);
    void *work = ledge__work(c, ledge__regex_work_bytes(c->state));
    if (!work)
        return ledge__no_memory(c->err);
    for (int64_t i = 0; i < total; i++)
        out[i] = ledge__regex_full_match(c->state, strings[i], work);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_string[] = {
    {.domain = "",
     .op_type = "StringConcat",
     .since = 20,
     .infer = infer_string_concat,
     .run = run_string_concat},
    {.domain = "",
     .op_type = "StringSplit",
     .since = 20,
     .flags = LEDGE_OP_OWN_VALUES,
     .infer = infer_string_split,
     .run = run_string_split},
    {.domain = "",
     .op_type = "RegexFullMatch",
     .since = 20,
     .infer = infer_regex,
     .prepare = prepare_regex,
     .run = run_regex},
    {0},
};
