/* Where activations and gradients lie: lifetimes first, then places that do not collide. */
#include <stdlib.h>
#include <string.h>

#include "compress/train/train_internal.h"

static size_t back_time(const Trainer *t, const TrainStep *s)
{
    return 2 * t->n_steps - s->time;
}

static bool has_backward(const TrainStep *s)
{
    return s->out->needs_grad && s->op->backward;
}

static LedgeStatus new_slot(Trainer *t, size_t floats, size_t begin, size_t end, LedgeError *err,
                            size_t *out)
{
    TrainSlot *all = ledge__arena_append(t->arena, t->slots, t->n_slots, sizeof *all);
    size_t bytes;
    if (!all || !ledge__mul(floats, sizeof(float), &bytes))
        return ledge__no_memory(err);
    t->slots = all;
    all[t->n_slots] = (TrainSlot){ledge__round_up(bytes, LEDGE_ALIGN), begin, end, 0};
    *out = t->n_slots++;
    return LEDGE_OK;
}

/* The last time that anything reads each value's data; kept in v->last. */
static void find_last_reads(Trainer *t)
{
    for (size_t i = 0; i < t->n_values; i++)
        t->values[i]->last = t->values[i]->kept ? t->n_steps : 0;
    for (size_t i = 0; i < t->n_steps; i++) {
        const TrainStep *s = t->steps[i];
        const bool back = has_backward(s);
        for (uint32_t k = 0; k < s->n_in; k++) {
            TrainValue *v = s->in[k];
            if (!v || v->fixed)
                continue;
            const bool later = back && s->flags & (k == 0 ? TRAIN_BACK_X0 : TRAIN_BACK_X1);
            const size_t at = later ? back_time(t, s) : s->time;
            v->last = v->last > at ? v->last : at;
        }
        if (back && s->flags & TRAIN_BACK_Y && s->out->last < back_time(t, s))
            s->out->last = back_time(t, s);
        if (s->out->last < s->time)
            s->out->last = s->time;
    }
}

static LedgeStatus plan_data(Trainer *t, LedgeError *err)
{
    LEDGE_TRY(new_slot(t, t->input->count, 0, t->input->last, err, &t->input->data_slot));
    for (size_t i = 0; i < t->n_steps; i++) {
        TrainStep *s = t->steps[i];
        TrainValue *x = s->in[0], *y = s->out;
        if (s->flags & TRAIN_INPLACE && !x->fixed && x != t->input && x->last == s->time &&
            x->count == y->count && x->data_slot != SIZE_MAX) {
            TrainSlot *slot = &t->slots[x->data_slot];
            slot->end = slot->end > y->last ? slot->end : y->last;
            y->data_slot = x->data_slot;
        } else {
            LEDGE_TRY(new_slot(t, y->count, s->time, y->last, err, &y->data_slot));
        }
    }
    return LEDGE_OK;
}

static LedgeStatus begin_gradient(Trainer *t, TrainStep *s, uint32_t k, LedgeError *err)
{
    TrainValue *x = s->in[k];
    const size_t end = back_time(t, x->producer);
    x->grad_begun = true;
    s->first[k] = true;
    bool twice = false;
    for (uint32_t i = 0; i < s->n_in; i++)
        twice |= i != k && s->in[i] == x;
    if (s->flags & TRAIN_STEAL && s->steal == k && x->count == s->out->count && !twice) {
        TrainSlot *slot = &t->slots[s->out->grad_slot];
        s->stolen = true;
        x->grad_slot = s->out->grad_slot;
        slot->end = slot->end > end ? slot->end : end;
        return LEDGE_OK;
    }
    return new_slot(t, x->count, back_time(t, s), end, err, &x->grad_slot);
}

static LedgeStatus plan_gradients(Trainer *t, LedgeError *err)
{
    for (size_t i = 0; i < t->n_values; i++) {
        TrainValue *v = t->values[i];
        if (!v->kept || !v->needs_grad || v->fixed)
            continue;
        v->grad_begun = true;
        LEDGE_TRY(new_slot(t, v->count, t->n_steps, back_time(t, v->producer), err, &v->grad_slot));
    }
    for (size_t i = t->n_steps; i-- > 0;) {
        TrainStep *s = t->steps[i];
        if (!has_backward(s) || !s->out->grad_begun)
            continue;
        s->backward = true;
        for (uint32_t k = 0; k < s->n_in; k++) {
            TrainValue *x = s->in[k];
            if (x && !x->fixed && x->needs_grad && !x->grad_begun)
                LEDGE_TRY(begin_gradient(t, s, k, err));
        }
    }
    return LEDGE_OK;
}

/* Largest first, each at the lowest place that is free for as long as it lives. */
static int by_size(const void *a, const void *b)
{
    const TrainSlot *x = *(TrainSlot *const *)a, *y = *(TrainSlot *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : x > y; /* they stand in one array */
}

static void place(TrainSlot **placed, size_t n, TrainSlot *s)
{
    s->at = 0;
    for (size_t i = 0; i < n;) { /* `placed` is in order of places */
        const TrainSlot *p = placed[i++];
        if (p->begin > s->end || s->begin > p->end)
            continue;
        if (s->at + s->bytes <= p->at)
            break;
        if (p->at + p->bytes > s->at)
            s->at = p->at + p->bytes;
    }
}

static LedgeStatus place_all(Trainer *t, LedgeError *err)
{
    TrainSlot **order = ledge__alloc(t->allocator, t->n_slots + 1, sizeof(TrainSlot *));
    TrainSlot **placed = ledge__alloc(t->allocator, t->n_slots + 1, sizeof(TrainSlot *));
    for (size_t i = 0; order && i < t->n_slots; i++)
        order[i] = &t->slots[i];
    if (order && placed) {
        qsort(order, t->n_slots, sizeof(TrainSlot *), by_size);
        for (size_t i = 0; i < t->n_slots; i++) {
            TrainSlot *s = order[i];
            place(placed, i, s);
            size_t at = i;
            for (; at > 0 && placed[at - 1]->at > s->at; at--)
                placed[at] = placed[at - 1];
            placed[at] = s;
            if (s->at + s->bytes > t->memory_bytes)
                t->memory_bytes = s->at + s->bytes;
        }
    }
    const bool ok = order && placed;
    ledge__free(t->allocator, order);
    ledge__free(t->allocator, placed);
    return ok ? LEDGE_OK : ledge__no_memory(err);
}

static void drop_dead_steps(Trainer *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_steps; i++)
        if (!t->steps[i]->dead)
            t->steps[n++] = t->steps[i];
    t->n_steps = n;
    for (size_t i = 0; i < n; i++)
        t->steps[i]->time = i;
}

LedgeStatus ledge__train_plan(Trainer *t, LedgeError *err)
{
    drop_dead_steps(t);
    find_last_reads(t);
    LEDGE_TRY(plan_data(t, err));
    LEDGE_TRY(plan_gradients(t, err));
    LEDGE_TRY(place_all(t, err));
    t->memory = ledge__alloc(t->allocator, t->memory_bytes, 1);
    for (size_t i = 0; i < t->n_steps; i++)
        t->scratch_bytes =
            t->steps[i]->scratch > t->scratch_bytes ? t->steps[i]->scratch : t->scratch_bytes;
    t->scratch = ledge__alloc(t->allocator, t->scratch_bytes, 1);
    if (!t->memory || !t->scratch)
        return ledge__fail(err, LEDGE_ERROR_MEMORY, "",
                           "a batch of %zu takes %zu MB of activations and gradients; try a "
                           "smaller batch",
                           t->o.batch, (t->memory_bytes + t->scratch_bytes) >> 20);
    memset(t->memory, 0, t->memory_bytes); /* pages come now, not in the first step */
    for (size_t i = 0; i < t->n_values; i++) {
        TrainValue *v = t->values[i];
        if (v->data_slot != SIZE_MAX)
            v->data = (float *)(void *)(t->memory + t->slots[v->data_slot].at);
        if (v->grad_slot != SIZE_MAX)
            v->grad = (float *)(void *)(t->memory + t->slots[v->grad_slot].at);
    }
    return LEDGE_OK;
}

void ledge__train_forward(Trainer *t)
{
    ledge__train_round_weights(t);
    for (size_t i = 0; i < t->n_steps; i++)
        t->steps[i]->op->forward(t, t->steps[i]);
}

void ledge__train_backward(Trainer *t)
{
    for (size_t i = 0; i < t->n_params; i++)
        if (t->params[i]->grad)
            memset(t->params[i]->grad, 0, t->params[i]->count * sizeof(float));
    for (size_t i = t->n_steps; i-- > 0;)
        if (t->steps[i]->backward)
            t->steps[i]->op->backward(t, t->steps[i]);
    ledge__train_restore_weights(t, true);
}
