/* Answering requests: read, run (several at once where the model takes batches), write. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/image.h"
#include "serve/work.h"

enum { TENSORS = LEDGE_OIP_TENSORS };

/* One request on its way. */
typedef struct Asked {
    LedgeWork *work;
    LedgeOipRequest *request;
    LedgeTensor *inputs;
    int64_t rows; /* of the first dimension */
    bool open;    /* not answered yet */
} Asked;

typedef struct Batch {
    const LedgeWorkOptions *o;
    int worker;
    LedgeServed *model;
    LedgeArena *arena;
    uint32_t n;
    Asked *asked;
} Batch;

static void refuse(Asked *a, LedgeWorkEnd end, const LedgeError *err)
{
    char text[sizeof err->where + sizeof err->message + 4];
    snprintf(text, sizeof text, "%s%s%s", err->where, err->where[0] ? ": " : "", err->message);
    a->work->out.n = 0;
    a->work->out_json = 0;
    ledge__oip_write_error(text, &a->work->out);
    a->work->end = end;
    a->open = false;
    if (end == LEDGE_WORK_FAILED)
        ledge__served_failed(a->work->model);
}

static void refuse_text(Asked *a, LedgeWorkEnd end, const char *text)
{
    LedgeError err = {0};
    snprintf(err.message, sizeof err.message, "%s", text);
    refuse(a, end, &err);
}

/* ---- reading ---- */

static LedgeStatus read_tensors(Batch *b, Asked *a, LedgeError *err)
{
    LedgeWork *w = a->work;
    LedgeServed *m = b->model;
    if (w->kind == LEDGE_WORK_RAW) {
        if (m->n_inputs != 1)
            return ledge__fail(err, LEDGE_ERROR_ARGUMENT, m->name,
                               "a raw body is for models of one input; this one has %zu",
                               m->n_inputs);
        LEDGE_TRY(
            ledge__oip_read_raw(w->body, w->size, ledge_model_input(m->model, 0), err, a->request));
    } else {
        LEDGE_TRY(ledge__oip_read(w->body, w->size, w->json_bytes, b->o->tensor_limit, b->arena,
                                  err, a->request));
    }
    return ledge__oip_bind(a->request, m->model, m->name, err, a->inputs);
}

static LedgeStatus read_picture(Batch *b, Asked *a, LedgeError *err)
{
    LedgeServed *m = b->model;
    LedgeImage image;
    int64_t dims[4];
    if (!m->takes_pictures)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, m->name, "the model takes no pictures");
    LEDGE_TRY(ledge__image_decode(NULL, "picture", a->work->body, a->work->size, err, &image));
    LedgeStatus s = ledge__preprocess_dims(&m->pre, image.width, image.height, err, dims);
    if (s == LEDGE_OK) {
        a->inputs[0] = (LedgeTensor){.type = LEDGE_FLOAT, .rank = 4};
        memcpy(a->inputs[0].dims, dims, sizeof dims);
        a->inputs[0].bytes = (size_t)ledge_tensor_count(&a->inputs[0]) * sizeof(float);
        a->inputs[0].data = ledge__arena_aligned(b->arena, a->inputs[0].bytes);
        s = a->inputs[0].data ? ledge__preprocess_run(&m->pre, &image, err, a->inputs[0].data)
                              : ledge__no_memory(err);
    }
    ledge__image_free(&image);
    return s;
}

static void read_one(Batch *b, Asked *a)
{
    LedgeError err = {0};
    LedgeWork *w = a->work;
    a->open = true;
    if (w->deadline < ledge__now()) {
        refuse_text(a, LEDGE_WORK_LATE, "the request waited past its deadline");
        return;
    }
    a->request = ledge__arena_alloc(b->arena, 1, sizeof *a->request);
    a->inputs = ledge__arena_alloc(b->arena, b->model->n_inputs + 1, sizeof *a->inputs);
    if (!a->request || !a->inputs) {
        refuse_text(a, LEDGE_WORK_FAILED, "out of memory");
        return;
    }
    const LedgeStatus s =
        w->kind == LEDGE_WORK_CLASSIFY ? read_picture(b, a, &err) : read_tensors(b, a, &err);
    if (s != LEDGE_OK)
        refuse(a, s == LEDGE_ERROR_MEMORY ? LEDGE_WORK_FAILED : LEDGE_WORK_BAD, &err);
    else if (a->request->timeout > 0 && w->arrived + a->request->timeout < ledge__now())
        refuse_text(a, LEDGE_WORK_LATE, "the request waited past its timeout");
    else
        a->rows = b->model->n_inputs && a->inputs[0].rank > 0 ? a->inputs[0].dims[0] : 1;
}

/* ---- writing ---- */

static const char *drift_name(LedgeServed *m)
{
    pthread_mutex_lock(&m->lock);
    const char *name = !m->drift                  ? "off"
                       : m->drift_report.learning ? "learning"
                                                  : ledge__severity_name(m->drift_report.severity);
    pthread_mutex_unlock(&m->lock);
    return name;
}

static void put_parameters(const Batch *b, const LedgeWork *w, char *out, size_t size)
{
    snprintf(out, size,
             "\"ledge_provider\":\"cpu\",\"ledge_latency_ms\":%.3f,\"ledge_model_sha256\":\"%s\","
             "\"ledge_batch\":%u,\"ledge_drift\":\"%s\"",
             w->ran * 1e3, b->model->hash, w->batch, drift_name(b->model));
}

static void write_classes(const Batch *b, Asked *a, const LedgeTensor *out)
{
    enum { MOST = 100 };
    int64_t classes[MOST];
    double p[MOST];
    char parameters[256];
    LedgeWork *w = a->work;
    const size_t n = ledge__scores_top(&out[0], 0, w->top < MOST ? w->top : MOST, classes, p);
    if (n == 0) {
        refuse_text(a, LEDGE_WORK_BAD, "the model gives no row of scores");
        return;
    }
    put_parameters(b, w, parameters, sizeof parameters);
    ledge__text_add(&w->out, "{\"model_name\":");
    ledge__json_put_text(&w->out, b->model->name);
    ledge__text_add(&w->out, ",\"model_version\":");
    ledge__json_put_text(&w->out, b->model->version);
    ledge__text_add(&w->out, ",\"parameters\":{");
    ledge__text_add(&w->out, parameters);
    ledge__text_add(&w->out, "},\"predictions\":[");
    for (size_t i = 0; i < n; i++) {
        ledge__text_add(&w->out, i ? ",{\"class_id\":" : "{\"class_id\":");
        ledge__json_put_integer(&w->out, classes[i]);
        if ((size_t)classes[i] < b->model->n_labels) {
            const char *label = b->model->labels[classes[i]];
            ledge__text_add(&w->out, ",\"label\":");
            ledge__json_put_text(&w->out, label);
        }
        ledge__text_add(&w->out, ",\"confidence\":");
        ledge__json_put_float(&w->out, (float)p[i]);
        ledge__text_add(&w->out, "}");
    }
    ledge__text_add(&w->out, "]}");
}

static void write_one(const Batch *b, Asked *a, const LedgeTensor *out)
{
    LedgeError err = {0};
    char parameters[256];
    LedgeWork *w = a->work;
    w->end = LEDGE_WORK_DONE;
    ledge__served_record(b->model, w->arrived, w->ran, a->inputs, out);
    if (w->kind == LEDGE_WORK_CLASSIFY) {
        write_classes(b, a, out);
    } else {
        put_parameters(b, w, parameters, sizeof parameters);
        const LedgeOipAnswer answer = {.model = b->model->name,
                                       .version = b->model->version,
                                       .id = a->request->id,
                                       .names = b->model->output_names,
                                       .outputs = out,
                                       .n_outputs = b->model->n_outputs,
                                       .parameters = parameters};
        const LedgeStatus s = ledge__oip_write(a->request, &answer, &err, &w->out, &w->out_json);
        if (s != LEDGE_OK)
            refuse(a, s == LEDGE_ERROR_MEMORY ? LEDGE_WORK_FAILED : LEDGE_WORK_BAD, &err);
    }
    if (a->open && w->out.failed)
        w->end = LEDGE_WORK_FAILED;
    a->open = false;
}

/* ---- running ---- */

/* Runs inputs of the model; *ran is the time in it. */
static LedgeStatus run_model(Batch *b, const LedgeTensor *inputs, LedgeTensor *out, double *ran,
                             LedgeError *err)
{
    LedgeSession *session = NULL;
    LEDGE_TRY(ledge__served_session(b->model, b->worker, err, &session));
    const double start = ledge__now();
    const LedgeStatus s =
        ledge_session_run(session, inputs, b->model->n_inputs, out, b->model->n_outputs, err);
    *ran = ledge__now() - start;
    return s;
}

static bool at_fault(LedgeStatus s)
{
    return s == LEDGE_ERROR_SHAPE || s == LEDGE_ERROR_TYPE || s == LEDGE_ERROR_LIMIT ||
           s == LEDGE_ERROR_ARGUMENT || s == LEDGE_ERROR_FORMAT;
}

static LedgeTensor *new_outputs(Batch *b)
{
    return ledge__arena_alloc(b->arena, b->model->n_outputs + 1, sizeof(LedgeTensor));
}

static void run_alone(Batch *b, Asked *a)
{
    LedgeError err = {0};
    LedgeTensor *out = new_outputs(b);
    if (!out) {
        refuse_text(a, LEDGE_WORK_FAILED, "out of memory");
        return;
    }
    a->work->batch = 1;
    const LedgeStatus s = run_model(b, a->inputs, out, &a->work->ran, &err);
    if (s != LEDGE_OK)
        refuse(a, at_fault(s) ? LEDGE_WORK_BAD : LEDGE_WORK_FAILED, &err);
    else
        write_one(b, a, out);
}

/* Alike but for the first dimension, which all inputs of a request share. */
static bool alike(const Batch *b, const Asked *x, const Asked *y)
{
    for (size_t i = 0; i < b->model->n_inputs; i++) {
        const LedgeTensor *s = &x->inputs[i], *t = &y->inputs[i];
        if (s->type != t->type || s->rank != t->rank || t->rank < 1 || s->type == LEDGE_STRING ||
            s->dims[0] != x->rows || t->dims[0] != y->rows)
            return false;
        for (int32_t d = 1; d < t->rank; d++)
            if (s->dims[d] != t->dims[d])
                return false;
    }
    return true;
}

/* One input of all requests, one behind the other. false: no memory. */
static bool join_input(Batch *b, Asked *const *group, uint32_t n, size_t input, LedgeTensor *out)
{
    size_t bytes = 0;
    *out = group[0]->inputs[input];
    out->dims[0] = 0;
    for (uint32_t i = 0; i < n; i++) {
        out->dims[0] += group[i]->rows;
        bytes += group[i]->inputs[input].bytes;
    }
    char *to = ledge__arena_aligned(b->arena, bytes + 1);
    out->data = to;
    out->bytes = bytes;
    for (uint32_t i = 0; to && i < n; i++) {
        memcpy(to, group[i]->inputs[input].data, group[i]->inputs[input].bytes);
        to += group[i]->inputs[input].bytes;
    }
    return to != NULL;
}

/* The rows of one request out of what all of them gave. */
static bool cut_outputs(const Batch *b, const LedgeTensor *all, int64_t total, int64_t row,
                        int64_t rows, LedgeTensor *out)
{
    for (size_t i = 0; i < b->model->n_outputs; i++) {
        const unsigned bits = ledge_type_bits(all[i].type);
        if (all[i].rank < 1 || all[i].dims[0] != total || bits % 8 != 0 || bits == 0 || total == 0)
            return false;
        const size_t each = (size_t)(ledge_tensor_count(&all[i]) / total) * bits / 8;
        out[i] = all[i];
        out[i].dims[0] = rows;
        out[i].data = (char *)all[i].data + (size_t)row * each;
        out[i].bytes = (size_t)rows * each;
    }
    return true;
}

static bool run_together(Batch *b, Asked *const *group, uint32_t n)
{
    LedgeError err = {0};
    LedgeTensor *in = ledge__arena_alloc(b->arena, b->model->n_inputs, sizeof *in);
    LedgeTensor *all = new_outputs(b), *mine = new_outputs(b);
    int64_t total = 0, row = 0;
    double ran;
    if (!in || !all || !mine)
        return false;
    for (size_t i = 0; i < b->model->n_inputs; i++)
        if (!join_input(b, group, n, i, &in[i]))
            return false;
    for (uint32_t i = 0; i < n; i++)
        total += group[i]->rows;
    if (run_model(b, in, all, &ran, &err) != LEDGE_OK || !cut_outputs(b, all, total, 0, 0, mine))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        cut_outputs(b, all, total, row, group[i]->rows, mine);
        row += group[i]->rows;
        group[i]->work->ran = ran;
        group[i]->work->batch = n;
        write_one(b, group[i], mine);
    }
    return true;
}

/* Those like the first open one, together; what fails together is tried alone, so that one bad
 * request harms no other. */
static void run_group(Batch *b, uint32_t first)
{
    Asked *group[64];
    uint32_t n = 0;
    for (uint32_t i = first; i < b->n && n < 64; i++)
        if (b->asked[i].open && (n == 0 || alike(b, group[0], &b->asked[i])))
            group[n++] = &b->asked[i];
    if (n > 1 && b->model->batches && alike(b, group[0], group[0]) && run_together(b, group, n))
        return;
    for (uint32_t i = 0; i < n; i++)
        run_alone(b, group[i]);
}

void ledge__infer(const LedgeWorkOptions *o, int worker, LedgeWork **works, uint32_t n)
{
    Asked asked[64] = {{0}};
    Batch b = {.o = o, .worker = worker, .model = works[0]->model, .n = n, .asked = asked};
    b.arena = ledge__arena_new(ledge__allocator_or_default(NULL));
    for (uint32_t i = 0; i < n; i++) {
        asked[i].work = works[i];
        if (b.arena)
            read_one(&b, &asked[i]);
        else
            refuse_text(&asked[i], LEDGE_WORK_FAILED, "out of memory");
    }
    for (uint32_t i = 0; i < n; i++)
        if (asked[i].open)
            run_group(&b, i);
    ledge__arena_free(b.arena);
}
