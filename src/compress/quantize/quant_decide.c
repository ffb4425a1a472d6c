/* Which nodes run on integers, which tensors that makes 8 bits, and whose ranges are one.
 *
 * Layers with weights (and products of activations) are what integers are for. What lies between
 * two of them goes along; what comes after the last, or hangs on float values alone, stays in
 * float: it costs little there and 8 bits would cost accuracy. */
#include "compress/quantize/quant_internal.h"

#include <string.h>

static const char *const chosen_out = "it was excluded";
static const char *const kept_out = "the search for mixed precision kept it";
static const char *const past_end = "no layer with weights comes after it";
static const char *const alone = "nothing before it runs on integers";

static bool is_heavy(const LedgeQuantNode *n)
{
    return n->role == LEDGE_QUANT_WEIGHTED || n->role == LEDGE_QUANT_PRODUCT;
}

static bool may_be_integer(const LedgeQuantNode *n)
{
    return n->role != LEDGE_QUANT_FLOAT && !n->keep_float && !n->excluded;
}

/* Takes over the bounds of a Relu or Clip that alone reads it. */
static bool can_absorb(const LedgeQuantNode *n)
{
    return is_heavy(n) || ledge__node_is(n->node, "Add") || ledge__node_is(n->node, "Mul") ||
           ledge__node_is(n->node, "AveragePool") || ledge__node_is(n->node, "GlobalAveragePool");
}

static void absorb(LedgeQuantizer *q, LedgeQuantNode *n)
{
    double lo, hi;
    LedgeNode *reader = may_be_integer(n) && can_absorb(n)
                            ? ledge__value_only_reader(n->node->out[0])
                            : NULL;
    LedgeQuantNode *a = reader ? ledge__quantizer_node(q, reader) : NULL;
    /* One that a search keeps in float still goes with its producer, so that a search needs no
     * tensor that was not observed before. */
    if (!a || a->role == LEDGE_QUANT_FLOAT || a->excluded || reader->in[0].value != n->node->out[0] ||
        !ledge__quant_bounds(reader, &lo, &hi) || lo > 0 || hi < 0)
        return;
    n->absorbs = reader;
    a->absorbed = n->node;
}

static LedgeQuantNode *producer_of(const LedgeQuantizer *q, const LedgeValue *v)
{
    return v && v->producer ? ledge__quantizer_node(q, v->producer) : NULL;
}

/* ---- backwards: what leads to a heavy layer ---- */

/* Slot of `u` holds data that `n` would take as 8 bits. */
static bool takes_as_data(const LedgeQuantNode *n, const LedgeUse *u)
{
    return (uint32_t)(u - n->node->in) < ledge__quant_data_inputs(n);
}

static bool leads_on(const LedgeQuantizer *q, const LedgeValue *v, const bool *useful)
{
    for (const LedgeUse *u = v ? v->uses : NULL; u; u = u->next) {
        const LedgeQuantNode *r = ledge__quantizer_node(q, u->node);
        if (r && takes_as_data(r, u) && useful[r - q->nodes])
            return true;
    }
    return false;
}

static void find_useful(const LedgeQuantizer *q, bool *useful)
{
    for (uint32_t i = q->n_nodes; i-- > 0;) {
        const LedgeQuantNode *n = &q->nodes[i];
        useful[i] = may_be_integer(n) && is_heavy(n);
        for (uint32_t k = 0; may_be_integer(n) && !useful[i] && k < n->node->n_out; k++)
            useful[i] = leads_on(q, n->node->out[k], useful);
    }
}

/* ---- forwards: what hangs on integers ---- */

static bool reads_integers(const LedgeQuantizer *q, const LedgeQuantNode *n)
{
    for (uint32_t i = 0; i < ledge__quant_data_inputs(n); i++) {
        const LedgeQuantNode *p = producer_of(q, ledge__node_in(n->node, i));
        if (p && p->integer)
            return true;
    }
    return false;
}

static void settle(const LedgeQuantizer *q, LedgeQuantNode *n, bool useful)
{
    n->integer = false;
    if (n->role == LEDGE_QUANT_FLOAT)
        return; /* `why` stands since it was classified */
    n->why = NULL;
    if (n->excluded || (n->keep_float && !n->absorbed))
        n->why = n->excluded ? chosen_out : kept_out;
    else if (is_heavy(n))
        n->integer = true;
    else if (!useful && !n->absorbed)
        n->why = past_end;
    else if (!reads_integers(q, n))
        n->why = alone;
    else
        n->integer = true;
}

/* ---- tensors ---- */

static bool read_by_integers(const LedgeQuantizer *q, const LedgeValue *v)
{
    for (const LedgeUse *u = v->uses; u; u = u->next) {
        const LedgeQuantNode *r = ledge__quantizer_node(q, u->node);
        if (r && r->integer && !r->absorbed && takes_as_data(r, u))
            return true;
    }
    return false;
}

/* CPU runtimes fuse a convolution only with a QuantizeLinear right behind it. */
static bool wants_integer_output(const LedgeQuantizer *q, const LedgeQuantNode *n)
{
    if (!is_heavy(n))
        return true;
    return (q->o.target == LEDGE_QUANT_CPU && ledge__node_is(n->node, "Conv")) ||
           read_by_integers(q, ledge__quant_output(n, 0));
}

static uint32_t root_of(const LedgeQuantizer *q, uint32_t id)
{
    while (q->tensors[id].tied != id)
        id = q->tensors[id].tied = q->tensors[q->tensors[id].tied].tied;
    return id;
}

static void mark_tensors(LedgeQuantizer *q, LedgeQuantNode *n)
{
    n->output_integer = wants_integer_output(q, n);
    for (uint32_t i = 0; i < ledge__quant_data_inputs(n); i++)
        if (ledge__node_in(n->node, i))
            q->tensors[n->node->in[i].value->id].quantized = true;
    for (uint32_t i = 0; n->output_integer && i < n->node->n_out; i++)
        if (ledge__quant_output(n, i))
            q->tensors[ledge__quant_output(n, i)->id].quantized = true;
}

static void tie(LedgeQuantizer *q, const LedgeQuantNode *n)
{
    const uint32_t root = root_of(q, n->node->in[0].value->id);
    for (uint32_t i = 1; i < ledge__quant_data_inputs(n); i++)
        if (ledge__node_in(n->node, i))
            q->tensors[root_of(q, n->node->in[i].value->id)].tied = root;
    for (uint32_t i = 0; i < n->node->n_out; i++)
        if (n->node->out[i])
            q->tensors[root_of(q, n->node->out[i]->id)].tied = root;
}

/* The activation works on the float output. */
static void let_go(const LedgeQuantizer *q, LedgeQuantNode *n)
{
    LedgeQuantNode *a = ledge__quantizer_node(q, n->absorbs);
    n->absorbs = a->absorbed = NULL;
    a->integer = false;
    a->why = past_end;
}

static void decide_tensors(LedgeQuantizer *q)
{
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        q->tensors[i].quantized = false;
        q->tensors[i].tied = i;
    }
    for (uint32_t i = 0; i < q->n_nodes; i++)
        if (q->nodes[i].integer && !q->nodes[i].absorbed) {
            mark_tensors(q, &q->nodes[i]);
            if (q->nodes[i].absorbs && !q->nodes[i].output_integer)
                let_go(q, &q->nodes[i]);
        }
    for (uint32_t i = 0; i < q->n_nodes; i++)
        if (q->nodes[i].integer && q->nodes[i].role == LEDGE_QUANT_MOVE)
            tie(q, &q->nodes[i]);
    for (uint32_t i = 0; i < q->n_tensors; i++)
        q->tensors[i].tied = root_of(q, i);
}

LedgeStatus ledge__quantizer_decide(LedgeQuantizer *q, LedgeError *err)
{
    bool *useful = ledge__calloc(q->allocator, (size_t)q->n_nodes + 1, sizeof *useful);
    if (!useful)
        return ledge__no_memory(err);
    for (uint32_t i = 0; i < q->n_nodes; i++) {
        q->nodes[i].absorbs = q->nodes[i].absorbed = NULL;
        q->nodes[i].output_integer = false;
    }
    for (uint32_t i = 0; i < q->n_nodes && q->o.mode == LEDGE_QUANT_STATIC; i++)
        absorb(q, &q->nodes[i]);
    find_useful(q, useful);
    for (uint32_t i = 0; i < q->n_nodes; i++) {
        LedgeQuantNode *n = &q->nodes[i];
        settle(q, n, useful[i]);
        /* Whose producer stayed in float is an activation like any other. */
        LedgeQuantNode *by = n->absorbed ? ledge__quantizer_node(q, n->absorbed) : NULL;
        if (by && !by->integer)
            by->absorbs = n->absorbed = NULL;
    }
    ledge__free(q->allocator, useful);
    if (q->o.mode == LEDGE_QUANT_STATIC)
        decide_tensors(q);
    q->has_ranges = false;
    return LEDGE_OK;
}
