/* The driver: runs the groups of passes.def over a graph and its subgraphs. */
#include "engine/optimize/pass.h"

#include <assert.h>

typedef struct Pass {
    int group;
    const char *name;
    bool portable;
    LedgePassFn *run;
} Pass;

static const Pass passes[] = {
#define PASS(group, name, portable) {group, #name, portable, ledge__opt_##name},
#include "engine/optimize/passes.def"
#undef PASS
};

enum { N_PASSES = (int)(sizeof passes / sizeof passes[0]), MAX_ROUNDS = 24 };

static const LedgeOptOptions default_options;

size_t ledge__opt_pass_count(void)
{
    return N_PASSES;
}

const char *ledge__opt_pass_name(size_t i)
{
    return i < N_PASSES ? passes[i].name : NULL;
}

/* One round of passes [first, last). */
static LedgeStatus run_round(LedgeGraph *g, LedgeOptCtx *c, int first, int last, bool *changed)
{
    for (int i = first; i < last; i++) {
        if (c->options->portable && !passes[i].portable)
            continue;
        bool fired = false;
        LEDGE_TRY(passes[i].run(g, c, &fired));
        assert(!ledge__graph_check(g));
        if (fired && c->options->counts)
            c->options->counts[i]++;
        *changed |= fired;
    }
    return LEDGE_OK;
}

static LedgeStatus run_group(LedgeGraph *g, LedgeOptCtx *c, int first, int last)
{
    bool any = false;
    for (int round = 0; round < MAX_ROUNDS; round++) {
        bool changed = false;
        LEDGE_TRY(run_round(g, c, first, last, &changed));
        any |= changed;
        if (!changed)
            break;
    }
    /* A subgraph's shapes depend on its caller; they are inferred with the top graph's. */
    return any && !g->parent ? ledge__graph_infer(g, c->options->fold_limit, c->err) : LEDGE_OK;
}

static LedgeStatus optimize(LedgeGraph *g, LedgeOptCtx *c);

static LedgeStatus optimize_subgraphs(LedgeGraph *g, LedgeOptCtx *c)
{
    for (LedgeNode *n = g->first; n; n = n->next)
        for (size_t a = 0; a < n->n_attrs; a++)
            for (size_t i = 0; n->attrs[a].graphs && i < n->attrs[a].count; i++)
                LEDGE_TRY(optimize(n->attrs[a].graphs[i], c));
    return LEDGE_OK;
}

static LedgeStatus optimize(LedgeGraph *g, LedgeOptCtx *c)
{
    LEDGE_TRY(optimize_subgraphs(g, c));
    for (int first = 0, last; first < N_PASSES; first = last) {
        for (last = first; last < N_PASSES && passes[last].group == passes[first].group; last++)
            ;
        LEDGE_TRY(run_group(g, c, first, last));
    }
    return LEDGE_OK;
}

LedgeStatus ledge__graph_optimize(LedgeGraph *g, const LedgeOptOptions *o, LedgeError *err)
{
    LedgeOptCtx c = {o ? o : &default_options, err};
    return optimize(g, &c);
}

LedgeStatus ledge__opt_run_pass(LedgeGraph *g, const LedgeOptOptions *o, const char *name,
                                bool *changed, LedgeError *err)
{
    LedgeOptCtx c = {o ? o : &default_options, err};
    for (int i = 0; i < N_PASSES; i++)
        if (strcmp(passes[i].name, name) == 0)
            return passes[i].run(g, &c, changed);
    return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, name, "no pass of that name");
}
