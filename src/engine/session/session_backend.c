/* Running on execution providers: when one's memory gives out, the batch is cut, then the next
 * provider is taken, and the placement's note says so. */
#include "engine/session/session_state.h"

static LedgeStatus run_once(LedgeSession *s, const LedgeTensor *inputs, LedgeError *err)
{
    return ledge__backend_is_whole(s->backend)
               ? ledge__backend_run(s->backend, inputs, s->results, err)
               : ledge__session_run_plan(s, inputs, err);
}

/* ---- smaller batches ---- */

static bool same_name(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* The batch, when each input and output has it as its first, free dimension of one name: such a
 * model may be run in parts. 0: it may not. */
static int64_t batch_of(const LedgeSession *s, const LedgeTensor *inputs)
{
    const LedgeModel *m = s->model;
    const uint32_t n_in = m->graph->n_inputs, n_out = m->graph->n_outputs;
    for (uint32_t i = 0; i < n_in + n_out; i++) {
        const LedgeTensorInfo *info = i < n_in ? &m->inputs[i] : &m->outputs[i - n_in];
        if (info->rank < 1 || info->dims[0] >= 0 || info->type >= LEDGE_SEQUENCE ||
            ledge_type_bits(info->type) < 8 ||
            !same_name(info->dim_names[0], m->inputs[0].dim_names[0]))
            return 0;
        if (i < n_in && inputs[i].dims[0] != inputs[0].dims[0])
            return 0;
    }
    return n_in ? inputs[0].dims[0] : 0;
}

/* Rows `at` … `at + n` of a tensor of `batch` rows. */
static LedgeTensor rows(const LedgeTensor *t, int64_t batch, int64_t at, int64_t n)
{
    LedgeTensor part = *t;
    const size_t row = ledge_tensor_bytes(t) / (size_t)batch;
    part.dims[0] = n;
    part.bytes = row * (size_t)n;
    part.data = t->data ? (char *)t->data + row * (size_t)at : NULL;
    return part;
}

/* Room for the whole of output i, which has `t` per `n` rows. */
static LedgeStatus reserve_joined(LedgeSession *s, uint32_t i, const LedgeTensor *t, int64_t n,
                                  int64_t batch, LedgeError *err)
{
    size_t bytes;
    if (t->rank < 1 || t->dims[0] != n)
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, s->model->outputs[i].name,
                           "the batch cannot be cut: this output does not have it in front");
    if (!ledge__mul(ledge_tensor_bytes(t) / (size_t)n, (size_t)batch, &bytes))
        return ledge__no_memory(err);
    if (bytes <= s->joined_bytes[i])
        return LEDGE_OK;
    ledge__free(s->allocator, s->joined[i]);
    s->joined_bytes[i] = 0;
    s->joined[i] = ledge__alloc(s->allocator, bytes, 1);
    if (!s->joined[i])
        return ledge__no_memory(err);
    s->joined_bytes[i] = bytes;
    return LEDGE_OK;
}

static LedgeStatus join(LedgeSession *s, int64_t batch, int64_t at, int64_t n, LedgeError *err)
{
    for (uint32_t i = 0; i < s->model->graph->n_outputs; i++) {
        const LedgeTensor *t = &s->results[i];
        LEDGE_TRY(reserve_joined(s, i, t, n, batch, err));
        const size_t row = ledge_tensor_bytes(t) / (size_t)n;
        if (row)
            memcpy((char *)s->joined[i] + row * (size_t)at, t->data, row * (size_t)n);
    }
    return LEDGE_OK;
}

static LedgeStatus run_in_parts(LedgeSession *s, const LedgeTensor *inputs, int64_t batch,
                                LedgeError *err)
{
    const uint32_t n_in = s->model->graph->n_inputs;
    LedgeTensor *part = ledge__calloc(s->allocator, (size_t)n_in + 1, sizeof *part);
    LedgeStatus status = part ? LEDGE_OK : ledge__no_memory(err);
    for (int64_t at = 0, n; at < batch && status == LEDGE_OK; at += n) {
        n = batch - at < s->batch_cap ? batch - at : s->batch_cap;
        for (uint32_t i = 0; i < n_in; i++)
            part[i] = rows(&inputs[i], batch, at, n);
        status = run_once(s, part, err);
        if (status == LEDGE_OK)
            status = join(s, batch, at, n, err);
    }
    ledge__free(s->allocator, part);
    for (uint32_t i = 0; i < s->model->graph->n_outputs && status == LEDGE_OK; i++) {
        s->results[i].dims[0] = batch;
        s->results[i].data = s->joined[i];
        s->results[i].bytes = ledge_tensor_bytes(&s->results[i]);
    }
    return status;
}

LedgeStatus ledge__session_run_backend(LedgeSession *s, const LedgeTensor *inputs, LedgeError *err)
{
    const int64_t batch = batch_of(s, inputs);
    for (;;) {
        const bool cut = s->batch_cap && batch > s->batch_cap;
        LedgeStatus status = cut ? run_in_parts(s, inputs, batch, err) : run_once(s, inputs, err);
        if (status == LEDGE_OK || !s->backend || !ledge__backend_out_of_memory(s->backend))
            return status;
        const int64_t tried = cut ? s->batch_cap : batch;
        if (tried > 1) {
            s->batch_cap = (tried + 1) / 2;
            ledge__backend_note(s->backend,
                                "out of memory at batch %lld; run in parts of at most %lld",
                                (long long)tried, (long long)s->batch_cap);
            continue;
        }
        s->batch_cap = 0;
        LEDGE_TRY(ledge__backend_step_down(s->backend, err));
        LEDGE_TRY(ledge__session_adopt(s, err));
    }
}
