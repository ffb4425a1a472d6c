/* The memory plan: lifetimes in, offsets out.
 *
 * Values that may share memory (views, in-place operators) are joined under one root; roots
 * are then placed largest first at the lowest offset free during their lifetime (in order of
 * birth where there are very many). */
#include "engine/plan/plan_internal.h"

#include <stdlib.h>

/* Up to so many blocks every pair is looked at. */
#define PAIRS_MAX_BLOCKS 4096

static uint32_t root_of(LedgePlan *p, uint32_t id)
{
    while (p->values[id].root != id) {
        p->values[id].root = p->values[p->values[id].root].root; /* halve the path */
        id = p->values[id].root;
    }
    return id;
}

static void set_lifetimes(LedgePlan *p)
{
    for (uint32_t i = 0; i < p->n_steps; i++) {
        const LedgeNode *n = p->steps[i].node;
        for (uint32_t k = 0; k < n->n_in; k++)
            if (n->in[k].value)
                p->values[root_of(p, n->in[k].value->id)].last = i;
        for (uint32_t k = 0; k < n->n_out; k++)
            if (n->out[k] && p->values[n->out[k]->id].root == n->out[k]->id) {
                p->values[n->out[k]->id].first = i;
                p->values[n->out[k]->id].last = i;
            }
    }
    for (uint32_t i = 0; i < p->g->n_outputs; i++) {
        PlanValue *r = &p->values[root_of(p, p->g->outputs[i]->id)];
        r->is_output = true;
        r->last = p->n_steps;
    }
}

/* Whether step s reads the memory `root` by another input than k. An element-wise operator may
 * name the same value twice: it reads an element just before it writes it. */
static bool read_otherwise(LedgePlan *p, const PlanStep *s, uint32_t k, uint32_t root)
{
    const uint32_t either = LEDGE_OP_INPLACE | LEDGE_OP_INPLACE_1;
    if ((s->node->op->flags & either) == either)
        return false;
    for (uint32_t i = 0; i < s->node->n_in; i++)
        if (i != k && s->node->in[i].value && root_of(p, s->node->in[i].value->id) == root)
            return true;
    return false;
}

/* Lets output 0 of step i live in the memory of input k, if that memory ends here. */
static bool join(LedgePlan *p, uint32_t i, uint32_t k)
{
    const PlanStep *s = &p->steps[i];
    if (k >= s->node->n_in || !s->node->in[k].value)
        return false;
    uint32_t from = root_of(p, s->node->in[k].value->id), to = s->node->out[0]->id;
    PlanValue *f = &p->values[from], *t = &p->values[to];
    if (f->place != PLAN_ARENA || t->place != PLAN_ARENA || t->root != to || from == to ||
        f->last != i || f->bytes != t->bytes || read_otherwise(p, s, k, from))
        return false;
    t->root = from;
    f->last = t->last;
    f->is_output |= t->is_output;
    return true;
}

static void share_memory(LedgePlan *p)
{
    for (uint32_t i = 0; i < p->n_steps; i++) {
        PlanStep *s = &p->steps[i];
        uint32_t flags = s->node->op->flags;
        if (s->dynamic || s->node->n_out == 0 || !s->node->out[0])
            continue;
        if (flags & LEDGE_OP_INPLACE_LAST) {
            uint32_t k = s->node->n_in - 1;
            if (s->node->n_in && s->node->in[k].value && !join(p, i, k)) {
                s->copy_first = true;
                s->copy_from = k;
            }
            continue;
        }
        if (!((flags & LEDGE_OP_INPLACE) && join(p, i, 0)) && (flags & LEDGE_OP_INPLACE_1))
            join(p, i, 1);
    }
}

/* Values freed while running are listed at the step that reads them last. */
static LedgeStatus list_releases(LedgePlan *p, LedgeError *err)
{
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t v = 0; v < p->g->n_values; v++) {
            const PlanValue *r = &p->values[v];
            if (r->place != PLAN_HEAP || r->root != v || r->last >= p->n_steps)
                continue;
            PlanStep *s = &p->steps[r->last];
            if (pass)
                s->release[s->n_release] = v;
            s->n_release++;
        }
        for (uint32_t i = 0; !pass && i < p->n_steps; i++) {
            PlanStep *s = &p->steps[i];
            s->release = ledge__arena_alloc(p->arena, s->n_release, sizeof *s->release);
            if (!s->release)
                return ledge__no_memory(err);
            s->n_release = 0;
        }
    }
    return LEDGE_OK;
}

typedef struct Block {
    size_t bytes, offset;
    uint32_t first, last, id;
} Block;

static int larger_first(const void *a, const void *b)
{
    const Block *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->id < y->id ? -1 : 1;
}

static int lower_first(const void *a, const void *b)
{
    const Block *x = *(const Block *const *)a, *y = *(const Block *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int earlier_first(const void *a, const void *b)
{
    const Block *x = a, *y = b;
    return x->first != y->first ? (x->first < y->first ? -1 : 1) : larger_first(a, b);
}

/* Lowest gap that fits among the placed blocks alive at the same time, given by offset. */
static size_t lowest_gap(const Block *b, Block **alive, size_t n_alive)
{
    size_t at = 0;
    for (size_t i = 0; i < n_alive; i++) {
        if (alive[i]->offset >= at + b->bytes)
            break;
        size_t end = alive[i]->offset + alive[i]->bytes;
        at = end > at ? end : at;
    }
    return at;
}

static LedgeStatus put(LedgePlan *p, const Block *b, LedgeError *err)
{
    size_t top;
    if (!ledge__add(b->offset, b->bytes, &top) || top > PTRDIFF_MAX / 2)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, p->g->name,
                           "activations need more memory than can be addressed");
    p->arena_bytes = top > p->arena_bytes ? top : p->arena_bytes;
    p->values[b->id].offset = b->offset;
    return LEDGE_OK;
}

static LedgeStatus place(LedgePlan *p, Block *blocks, size_t n, Block **alive, LedgeError *err)
{
    qsort(blocks, n, sizeof *blocks, larger_first);
    for (size_t i = 0; i < n; i++) {
        size_t n_alive = 0;
        for (size_t k = 0; k < i; k++)
            if (blocks[k].first <= blocks[i].last && blocks[i].first <= blocks[k].last)
                alive[n_alive++] = &blocks[k];
        qsort(alive, n_alive, sizeof *alive, lower_first);
        blocks[i].offset = lowest_gap(&blocks[i], alive, n_alive);
        LEDGE_TRY(put(p, &blocks[i], err));
    }
    return LEDGE_OK;
}

/* Packs less tightly than by size, but looks only at what is alive: for graphs so large that
 * pairs of blocks are too many. `alive` stays in the order of offsets. */
static LedgeStatus place_in_order(LedgePlan *p, Block *blocks, size_t n, Block **alive,
                                  LedgeError *err)
{
    size_t n_alive = 0;
    qsort(blocks, n, sizeof *blocks, earlier_first);
    for (size_t i = 0; i < n; i++) {
        size_t kept = 0, at;
        for (size_t k = 0; k < n_alive; k++)
            if (alive[k]->last >= blocks[i].first)
                alive[kept++] = alive[k];
        blocks[i].offset = lowest_gap(&blocks[i], alive, kept);
        LEDGE_TRY(put(p, &blocks[i], err));
        for (at = kept; at > 0 && alive[at - 1]->offset > blocks[i].offset; at--)
            alive[at] = alive[at - 1];
        alive[at] = &blocks[i];
        n_alive = kept + 1;
    }
    return LEDGE_OK;
}

static LedgeStatus place_all(LedgePlan *p, LedgeError *err)
{
    size_t n = 0;
    Block *blocks = ledge__alloc(p->o.allocator, (size_t)p->g->n_values + 1, sizeof *blocks);
    Block **alive = ledge__alloc(p->o.allocator, (size_t)p->g->n_values + 1, sizeof *alive);
    LedgeStatus s = blocks && alive ? LEDGE_OK : ledge__no_memory(err);
    for (uint32_t v = 0; s == LEDGE_OK && v < p->g->n_values; v++) {
        const PlanValue *r = &p->values[v];
        if (r->place == PLAN_ARENA && r->root == v)
            blocks[n++] = (Block){ledge__round_up(r->bytes ? r->bytes : 1, LEDGE_ALIGN), 0,
                                  r->first, r->last, v};
    }
    if (s == LEDGE_OK)
        s = (n > PAIRS_MAX_BLOCKS ? place_in_order : place)(p, blocks, n, alive, err);
    ledge__free(p->o.allocator, blocks);
    ledge__free(p->o.allocator, alive);
    return s;
}

LedgeStatus ledge__plan_layout(LedgePlan *p, LedgeError *err)
{
    set_lifetimes(p);
    share_memory(p);
    LEDGE_TRY(list_releases(p, err));
    LEDGE_TRY(place_all(p, err));
    for (uint32_t v = 0; v < p->g->n_values; v++)
        p->values[v].root = root_of(p, v);
    /* Outputs that are the caller's input or a constant are copied behind everything else. */
    for (uint32_t i = 0; i < p->g->n_outputs; i++) {
        const PlanValue *v = &p->values[p->g->outputs[i]->id];
        bool copied = (v->place == PLAN_INPUT || v->place == PLAN_CONSTANT) &&
                      v->t.type < LEDGE_SEQUENCE;
        p->output_copy[i] = copied ? p->arena_bytes : PLAN_NO_OFFSET;
        size_t bytes = copied ? ledge_tensor_bytes(&v->t) : 0;
        if (bytes == SIZE_MAX || !ledge__add(p->arena_bytes, ledge__round_up(bytes, LEDGE_ALIGN),
                                             &p->arena_bytes))
            return ledge__no_memory(err);
    }
    p->scratch_offset = p->arena_bytes;
    if (!ledge__add(p->arena_bytes, ledge__round_up(p->scratch_bytes, LEDGE_ALIGN),
                    &p->arena_bytes))
        return ledge__no_memory(err);
    return LEDGE_OK;
}
