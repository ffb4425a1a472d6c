/* The registry: finds operators by domain, type and opset version, and binds them to nodes. */
#include "engine/graph/op.h"

#define OPS(family) extern const LedgeOp ledge__ops_##family[];
#include "engine/ops/ops.def"
#undef OPS

static const LedgeOp *const families[] = {
#define OPS(family) ledge__ops_##family,
#include "engine/ops/ops.def"
#undef OPS
    NULL};

static const char *plain_domain(const char *domain)
{
    return strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

const LedgeOp *ledge__op_find(const char *domain, const char *op_type, int opset)
{
    domain = plain_domain(domain);
    for (size_t f = 0; families[f]; f++)
        for (const LedgeOp *op = families[f]; op->op_type; op++)
            if (op->op_type[0] == op_type[0] && strcmp(op->op_type, op_type) == 0 &&
                strcmp(op->domain, domain) == 0 &&
                opset >= op->since && (op->until == 0 || opset <= op->until))
                return op;
    return NULL;
}

const LedgeOp *ledge__op_at(size_t i)
{
    for (size_t f = 0; families[f]; f++)
        for (const LedgeOp *op = families[f]; op->op_type; op++)
            if (i-- == 0)
                return op;
    return NULL;
}

static LedgeStatus bind_subgraphs(LedgeNode *n, LedgeError *err)
{
    for (size_t a = 0; a < n->n_attrs; a++)
        if (n->attrs[a].graphs)
            for (size_t i = 0; i < n->attrs[a].count; i++)
                LEDGE_TRY(ledge__ops_bind(n->attrs[a].graphs[i], err));
    return LEDGE_OK;
}

LedgeStatus ledge__ops_bind(LedgeGraph *g, LedgeError *err)
{
    for (LedgeNode *n = g->first; n; n = n->next) {
        if (!n->op)
            n->op = ledge__op_find(n->domain, n->op_type, n->opset);
        if (!n->op && err)
            return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, n->name,
                               "operator %s%s%s (opset %d) is not supported by the CPU provider",
                               n->domain, n->domain[0] ? "." : "", n->op_type, n->opset);
        LEDGE_TRY(bind_subgraphs(n, err));
    }
    return LEDGE_OK;
}
