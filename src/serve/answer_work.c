/* Answering requests: found in the cache, or run, several at once where the model takes batches;
 * then written, or passed on to the next rung of a ladder.
 *
 * Whoever has been read is either answered, or parked with the request that makes the same outputs
 * already; that one's worker goes on with it. Nothing is written while a session's outputs are
 * still wanted by others: what has more to do waits in `todo`. */
#include "serve/answer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };

typedef struct Batch {
    const LedgeWorkOptions *o;
    int worker;
    LedgeArena *arena; /* of inputs that are put together, and of outputs */
    LedgeAsked *todo, **last;
    bool here;       /* in the thread that sends the answer too: the rest waits until it has */
    LedgeRest *rest; /* that which waits */
    uint32_t n;
    LedgeAsked *asked[MOST];
} Batch;

/* What is done about an answer once it is on its way. */
struct LedgeRest {
    LedgeServed *model; /* outlasts the work */
    LedgeAsked *asked;
    LedgeArena *arena; /* of the outputs */
    LedgeServedAnswer answer;
};

/* ---- ends ---- */

static void asked_free(LedgeAsked *a)
{
    ledge__image_free(&a->image);
    ledge__free(NULL, a->pixels);
    ledge__cache_value_unref(a->value);
    free(a->block);
    ledge__oip_release(a->request);
    ledge__oip_ahead_free(&a->ahead);
    ledge__arena_free(a->arena); /* it holds `a` too */
}

/* Gives the work back to the transport; nothing of it may be touched afterwards. */
static void give_back(const LedgeWorkOptions *o, LedgeAsked *a)
{
    LedgeWork *w = a->work;
    asked_free(a);
    o->ready(w);
}

static void fail_work(LedgeWork *w, LedgeWorkEnd end, const LedgeError *err)
{
    char text[sizeof err->where + sizeof err->message + 4];
    snprintf(text, sizeof text, "%s%s%s", err->where, err->where[0] ? ": " : "", err->message);
    w->out.n = 0;
    w->out_json = 0;
    ledge__oip_write_error(text, &w->out);
    w->end = end;
    if (end == LEDGE_WORK_FAILED)
        ledge__served_failed(w->model);
}

/* Those who waited for the same outputs get the same error: the same inputs would fail again. */
static void refuse(Batch *b, LedgeAsked *a, LedgeWorkEnd end, const LedgeError *err)
{
    LedgeCacheWaiter *joined =
        a->leads ? ledge__cache_land(a->work->model->cache, a->key, NULL) : NULL;
    a->leads = false;
    fail_work(a->work, end, err);
    give_back(b->o, a);
    while (joined) {
        LedgeAsked *other = (LedgeAsked *)joined;
        joined = joined->next;
        fail_work(other->work, end, err);
        give_back(b->o, other);
    }
}

static LedgeWorkEnd end_of(LedgeStatus s)
{
    switch (s) {
    case LEDGE_ERROR_SHAPE:
    case LEDGE_ERROR_TYPE:
    case LEDGE_ERROR_LIMIT:
    case LEDGE_ERROR_ARGUMENT:
    case LEDGE_ERROR_FORMAT:
    case LEDGE_ERROR_NOT_FOUND:
    case LEDGE_ERROR_UNSUPPORTED:
        return LEDGE_WORK_BAD;
    default:
        return LEDGE_WORK_FAILED;
    }
}

static void refuse_status(Batch *b, LedgeAsked *a, LedgeStatus s, const LedgeError *err)
{
    refuse(b, a, end_of(s), err);
}

static void refuse_memory(Batch *b, LedgeAsked *a)
{
    LedgeError err = {0};
    refuse_status(b, a, ledge__no_memory(&err), &err);
}

/* ---- outputs have come ---- */

static void later(Batch *b, LedgeAsked *a)
{
    a->next = NULL;
    *b->last = a;
    b->last = &a->next;
}

/* Shows the outputs to those who wait for them. */
static void land(Batch *b, LedgeAsked *a, const LedgeTensor *out)
{
    LedgeCacheValue *v = ledge__keep_outputs(out, a->work->model->n_outputs);
    LedgeCacheWaiter *joined = ledge__cache_land(a->work->model->cache, a->key, v);
    a->leads = false;
    while (joined) {
        LedgeAsked *other = (LedgeAsked *)joined;
        joined = joined->next;
        other->value = v ? ledge__cache_value_ref(v) : NULL;
        later(b, other);
    }
    ledge__cache_value_unref(v);
}

/* Whether the next rung is to run. */
static bool wants_more(LedgeAsked *a, const LedgeTensor *out)
{
    LedgeWork *w = a->work;
    LedgeError err = {0};
    LedgeServed *next = NULL;
    if (!w->ladder)
        return false;
    LedgeAdaptive *choice = w->ladder->adaptive;
    a->why = ledge_adaptive_step(choice, a->rung, ledge_adaptive_confidence(choice, &out[0]),
                                 a->value ? NAN : w->ran, ledge__now() - w->arrived);
    if (a->why != LEDGE_ADAPTIVE_CLIMB)
        return false;
    if (ledge__ladder_model(w->ladder, a->rung + 1, &err, &next) != LEDGE_OK) {
        a->why = LEDGE_ADAPTIVE_CLOSED; /* it is not loaded just now */
        return false;
    }
    a->rung++;
    w->next_model = next;
    return true;
}

static void show(const LedgeRest *r)
{
    ledge__served_show(r->model, &r->answer);
    ledge__served_unref(r->model);
}

/* Bytes of its inputs, as a measure of the work; 0: there is none. */
static size_t bytes_of(const LedgeAsked *a)
{
    size_t bytes = 0;
    for (size_t i = 0; i < a->work->model->n_inputs; i++) {
        if (a->inputs[i].type == LEDGE_STRING)
            return 0;
        bytes += a->inputs[i].bytes;
    }
    return bytes;
}

/* Statistics; with `written`, the answer goes back first: the client need not wait for them. Higher
 * rungs see the hard requests alone, which are not like any baseline. true: the request is needed
 * for what is done later. */
static bool record(Batch *b, LedgeAsked *a, const LedgeTensor *out, uint32_t rung, bool written)
{
    LedgeWork *w = a->work;
    LedgeRest r = {.model = ledge__served_ref(w->model),
                   .asked = a,
                   .arena = b->arena,
                   .answer = {.latency = a->value ? NAN : w->ran,
                              .inputs = a->inputs[0].data ? a->inputs : NULL,
                              .picture = {w->kind == LEDGE_WORK_CLASSIFY ? w->body : NULL, w->size},
                              .outputs = out,
                              .watch = rung == 0,
                              .features = a->features,
                              .n_features = a->rows}};
    b->rest = b->here && written ? ledge__arena_alloc(a->arena, 1, sizeof r) : NULL;
    if (!a->value)
        atomic_store(&r.model->quick_bytes,
                     w->ran <= LEDGE_QUICK && w->batch == 1 ? bytes_of(a) : 0);
    if (!b->rest)
        ledge__served_count(r.model, r.answer.latency);
    if (written) {
        a->block = w->block; /* inputs and picture lie there */
        a->ahead = w->ahead;
        w->block = w->ahead.numbers.out = NULL;
        b->o->ready(w);
    }
    if (b->rest)
        *b->rest = r;
    else
        show(&r);
    return b->rest != NULL;
}

static void arrived(Batch *b, LedgeAsked *a, const LedgeTensor *out)
{
    LedgeError err = {0};
    const uint32_t rung = a->rung;
    if (a->leads)
        land(b, a, out);
    if (wants_more(a, out)) {
        (void)record(b, a, out, rung, false);
        a->climbs = true;
        later(b, a);
        return;
    }
    a->work->end = LEDGE_WORK_DONE;
    const LedgeStatus s = ledge__asked_write(a, out, &err);
    const bool needed = record(b, a, out, rung, s == LEDGE_OK);
    if (s != LEDGE_OK)
        refuse_status(b, a, s, &err);
    else if (!needed)
        asked_free(a);
}

/* ---- running ---- */

/* Runs inputs of the model; *ran is the time in it. */
static LedgeStatus run_model(Batch *b, LedgeServed *m, const LedgeTensor *inputs, LedgeTensor *out,
                             double *ran, LedgeError *err)
{
    LedgeSession *session = NULL;
    LEDGE_TRY(ledge__served_session(m, b->worker, err, &session));
    const double start = ledge__now();
    const LedgeStatus s = ledge_session_run(session, inputs, m->n_inputs, out, m->n_outputs, err);
    *ran = ledge__now() - start;
    return s;
}

static LedgeTensor *new_outputs(Batch *b, const LedgeServed *m)
{
    return ledge__arena_alloc(b->arena, m->n_outputs + 1, sizeof(LedgeTensor));
}

static void run_alone(Batch *b, LedgeAsked *a)
{
    LedgeError err = {0};
    LedgeTensor *out = new_outputs(b, a->work->model);
    if (!out) {
        refuse_memory(b, a);
        return;
    }
    a->work->batch = 1;
    const LedgeStatus s = run_model(b, a->work->model, a->inputs, out, &a->work->ran, &err);
    if (s == LEDGE_OK)
        arrived(b, a, out);
    else
        refuse(b, a,
               s == LEDGE_ERROR_UNSUPPORTED || s == LEDGE_ERROR_NOT_FOUND ? LEDGE_WORK_FAILED
                                                                          : end_of(s),
               &err);
}

/* Alike but for the first dimension, which all inputs of a request share. */
static bool alike(const LedgeAsked *x, const LedgeAsked *y)
{
    for (size_t i = 0; i < x->work->model->n_inputs; i++) {
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

/* Notes what statistics will want of the input while it is in the caches; after a run of many it
 * would have to come back from far away. */
static void look(LedgeAsked *a)
{
    const LedgeServed *m = a->work->model;
    const bool some = m->drift && a->rung == 0 && (size_t)a->rows <= a->inputs[0].bytes;
    LedgeInputFeatures *f = some ? ledge__arena_alloc(a->arena, (size_t)a->rows, sizeof *f) : NULL;
    if (f && ledge__served_look(m, &a->inputs[0], a->rows, f))
        a->features = f;
}

/* One input of all requests, one behind the other. false: no memory. */
static bool join_input(Batch *b, LedgeAsked *const *group, uint32_t n, size_t input,
                       LedgeTensor *out)
{
    size_t bytes = 0;
    *out = group[0]->inputs[input];
    out->dims[0] = 0;
    for (uint32_t i = 0; i < n; i++) {
        out->dims[0] += group[i]->rows;
        bytes += group[i]->inputs[input].bytes;
    }
    char *to = ledge__arena_room(b->arena, bytes + 1);
    out->data = to;
    out->bytes = bytes;
    for (uint32_t i = 0; to && i < n; i++) {
        memcpy(to, group[i]->inputs[input].data, group[i]->inputs[input].bytes);
        to += group[i]->inputs[input].bytes;
        if (input == 0)
            look(group[i]);
    }
    return to != NULL;
}

/* The rows of one request out of what all of them gave. */
static bool cut_outputs(size_t n_outputs, const LedgeTensor *all, int64_t total, int64_t row,
                        int64_t rows, LedgeTensor *out)
{
    for (size_t i = 0; i < n_outputs; i++) {
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

static bool run_together(Batch *b, LedgeServed *m, LedgeAsked *const *group, uint32_t n)
{
    LedgeError err = {0};
    LedgeTensor *in = ledge__arena_alloc(b->arena, m->n_inputs, sizeof *in);
    LedgeTensor *all = new_outputs(b, m), *mine = new_outputs(b, m);
    int64_t total = 0, row = 0;
    double ran;
    if (!in || !all || !mine)
        return false;
    for (size_t i = 0; i < m->n_inputs; i++)
        if (!join_input(b, group, n, i, &in[i]))
            return false;
    for (uint32_t i = 0; i < n; i++)
        total += group[i]->rows;
    if (run_model(b, m, in, all, &ran, &err) != LEDGE_OK ||
        !cut_outputs(m->n_outputs, all, total, 0, 0, mine))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const int64_t rows = group[i]->rows;
        cut_outputs(m->n_outputs, all, total, row, rows, mine);
        row += rows;
        group[i]->work->ran = ran;
        group[i]->work->batch = n;
        arrived(b, group[i], mine);
    }
    return true;
}

/* ---- the way of a request ---- */

/* Whether the model must run for it: else the cache had it, or it waits for another's run, or it
 * is refused. A picture is decoded only here. */
static bool must_run(Batch *b, LedgeAsked *a)
{
    LedgeError err = {0};
    LedgeServed *m = a->work->model;
    LedgeStatus s = LEDGE_OK;
    a->cache = m->cache ? "miss" : "off";
    if (m->cache) {
        s = ledge__asked_key(a, &err);
        const LedgeCacheTurn turn =
            s ? LEDGE_CACHE_LEAD : ledge__cache_ask(m->cache, a->key, &a->waiter, &a->value);
        if (s == LEDGE_OK && turn == LEDGE_CACHE_JOINED)
            return false; /* perhaps answered already */
        a->leads = s == LEDGE_OK && turn == LEDGE_CACHE_LEAD;
    }
    if (a->value) {
        later(b, a);
        return false;
    }
    if (s == LEDGE_OK && a->work->kind == LEDGE_WORK_CLASSIFY && !a->inputs[0].data)
        s = ledge__asked_picture(a, &err);
    if (s != LEDGE_OK)
        refuse_status(b, a, s, &err);
    return s == LEDGE_OK;
}

/* One from `todo`: outputs from the cache, or the next rung. */
static void go_on(Batch *b, LedgeAsked *a)
{
    LedgeError err = {0};
    LedgeWork *w = a->work;
    if (!a->climbs) {
        a->cache = "hit";
        w->ran = 0;
        w->batch = 1;
        if (a->value)
            arrived(b, a, ((LedgeKept *)a->value)->outputs);
        else
            refuse_memory(b, a); /* for what the leader made */
        return;
    }
    a->climbs = false;
    a->below += w->ran;
    w->ran = 0;
    ledge__cache_value_unref(a->value);
    a->value = NULL;
    ledge__served_unref(w->model);
    w->model = w->next_model;
    w->next_model = NULL;
    const LedgeStatus s = ledge__asked_bind(a, &err);
    if (s != LEDGE_OK)
        refuse_status(b, a, s, &err);
    else if (must_run(b, a))
        run_alone(b, a);
}

/* Those like the first open one, together; what fails together is tried alone, so that one bad
 * request harms no other. */
static void run_group(Batch *b, LedgeServed *m, uint32_t first)
{
    LedgeAsked *group[MOST];
    uint32_t n = 0;
    for (uint32_t i = first; i < b->n && n < MOST; i++)
        if (b->asked[i] && (n == 0 || alike(group[0], b->asked[i]))) {
            group[n++] = b->asked[i];
            b->asked[i] = NULL; /* answered or waiting when this is over */
        }
    if (n > 1 && m->batches && alike(group[0], group[0]) && run_together(b, m, group, n))
        return;
    for (uint32_t i = 0; i < n; i++)
        run_alone(b, group[i]);
}

static LedgeAsked *new_asked(LedgeWork *w)
{
    LedgeArena *arena = ledge__arena_new(ledge__allocator_or_default(NULL));
    LedgeAsked *a = arena ? ledge__arena_alloc(arena, 1, sizeof *a) : NULL;
    if (!a) {
        ledge__arena_free(arena);
        return NULL;
    }
    a->work = w;
    a->arena = arena;
    a->rung = w->rung;
    a->cache = "off";
    return a;
}

static bool read_one(Batch *b, LedgeAsked *a)
{
    LedgeError err = {0};
    LedgeWork *w = a->work;
    LedgeStatus s = LEDGE_OK;
    const bool read = w->begun != NULL;
    w->begun = NULL;
    if (w->deadline < ledge__now())
        snprintf(err.message, sizeof err.message, "the request waited past its deadline");
    else if (!read)
        s = ledge__asked_read(a, b->o->tensor_limit, &err);
    if (s == LEDGE_OK && !err.message[0] && a->request->timeout > 0 &&
        w->arrived + a->request->timeout < ledge__now())
        snprintf(err.message, sizeof err.message, "the request waited past its timeout");
    if (s != LEDGE_OK)
        refuse_status(b, a, s, &err);
    else if (err.message[0])
        refuse(b, a, LEDGE_WORK_LATE, &err);
    else
        return true;
    return false;
}

void ledge__infer(const LedgeWorkOptions *o, int worker, LedgeWork **works, uint32_t n)
{
    Batch b = {.o = o, .worker = worker};
    LedgeError err = {0};
    LedgeServed *m = ledge__served_ref(works[0]->model); /* outlasts the works */
    b.last = &b.todo;
    b.arena = ledge__arena_new(ledge__allocator_or_default(NULL));
    for (uint32_t i = 0; i < n; i++) {
        LedgeAsked *a = !b.arena ? NULL : works[i]->begun ? works[i]->begun : new_asked(works[i]);
        if (!a) {
            (void)!ledge__no_memory(&err);
            fail_work(works[i], LEDGE_WORK_FAILED, &err);
            o->ready(works[i]);
        } else if (read_one(&b, a) && must_run(&b, a)) {
            b.asked[b.n++] = a;
        }
    }
    for (uint32_t i = 0; i < b.n; i++)
        if (b.asked[i])
            run_group(&b, m, i);
    while (b.todo) {
        LedgeAsked *a = b.todo;
        b.todo = a->next;
        if (!b.todo)
            b.last = &b.todo;
        go_on(&b, a);
    }
    ledge__arena_free(b.arena);
    ledge__served_unref(m);
}

/* ---- without a worker ---- */

bool ledge__infer_here(const LedgeWorkOptions *o, LedgeWork *work, LedgeRest **rest)
{
    const LedgeServed *m = work->model;
    const size_t quick = atomic_load(&m->quick_bytes);
    Batch b = {.o = o, .worker = LEDGE_SERVE_WORKERS, .here = true};
    *rest = NULL;
    if (quick == 0 || work->kind == LEDGE_WORK_CLASSIFY || work->ladder || m->cache || m->guest)
        return false;
    b.arena = ledge__arena_new(ledge__allocator_or_default(NULL));
    LedgeAsked *a = b.arena ? new_asked(work) : NULL;
    const bool more = a && read_one(&b, a);
    if (more && bytes_of(a) <= quick)
        run_alone(&b, a);
    else if (more)
        work->begun = a; /* who knows how long it takes */
    *rest = b.rest;
    if (!b.rest)
        ledge__arena_free(b.arena);
    return a && !work->begun;
}

void ledge__infer_forget(LedgeWork *work)
{
    if (work->begun)
        asked_free(work->begun);
    work->begun = NULL;
}

void ledge__infer_rest(LedgeRest *rest)
{
    if (!rest)
        return;
    LedgeArena *arena = rest->arena;
    ledge__served_count(rest->model, rest->answer.latency);
    show(rest);
    asked_free(rest->asked); /* it holds `rest` too */
    ledge__arena_free(arena);
}
