/* ledge.External: a part of the graph that an execution provider runs. The planner and the
 * optimiser see one opaque node; all it does is call whoever is bound to the node. */
#include "engine/graph/op.h"

static LedgeStatus infer(LedgeOpCtx *c)
{
    const LedgeExternal *x = c->node->external;
    return x ? x->infer(x->self, c)
             : ledge__op_fail(c, LEDGE_ERROR_UNSUPPORTED, "no provider is bound to this node");
}

static LedgeStatus run(LedgeOpCtx *c)
{
    return c->node->external->run(c->node->external->self, c);
}

static int64_t macs(const LedgeOpCtx *c)
{
    return c->node->external ? c->node->external->macs : 0;
}

const LedgeOp ledge__ops_ledge_external[] = {
    {.domain = "ledge",
     .op_type = "External",
     .since = 1,
     .flags = LEDGE_OP_IMPURE | LEDGE_OP_OWN_VALUES,
     .infer = infer,
     .run = run,
     .macs = macs},
    {0},
};
