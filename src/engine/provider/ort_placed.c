/* Reading ONNX Runtime's assignment record and its profile, see ort_placed.h. */
#include "engine/provider/ort_placed.h"

#include <string.h>

#include "base/error.h"

static LedgeStatus add(OrtPlacedList *list, LedgeStr provider, LedgeStr node, LedgeStr op,
                       LedgeError *err)
{
    OrtPlaced *items = ledge__arena_append(list->arena, list->items, list->n, sizeof *items);
    if (!items)
        return ledge__no_memory(err);
    list->items = items;
    OrtPlaced *p = &items[list->n];
    p->provider = ledge__arena_strn(list->arena, provider.p, provider.n);
    p->node = ledge__arena_strn(list->arena, node.p, node.n);
    p->op_type = ledge__arena_strn(list->arena, op.p, op.n);
    if (!p->provider || !p->node || !p->op_type)
        return ledge__no_memory(err);
    list->n++;
    return LEDGE_OK;
}

static LedgeStr str(const char *z)
{
    return (LedgeStr){z ? z : "", z ? strlen(z) : 0};
}

static LedgeStatus add_subgraph(const OrtLibrary *o, const OrtEpAssignedSubgraph *part,
                                OrtPlacedList *list, LedgeError *err)
{
    static const char during[] = "reading the assignment record";
    const char *provider = NULL;
    const OrtEpAssignedNode *const *nodes = NULL;
    size_t n = 0;
    LEDGE_TRY(ledge__ort_check(o, o->c.SubgraphProvider(part, &provider), LEDGE_ERROR_PROVIDER,
                               during, err));
    LEDGE_TRY(ledge__ort_check(o, o->c.SubgraphNodes(part, &nodes, &n), LEDGE_ERROR_PROVIDER,
                               during, err));
    for (size_t i = 0; i < n; i++) {
        const char *name = NULL, *op = NULL;
        LEDGE_TRY(
            ledge__ort_check(o, o->c.NodeName(nodes[i], &name), LEDGE_ERROR_PROVIDER, during, err));
        LEDGE_TRY(ledge__ort_check(o, o->c.NodeOperator(nodes[i], &op), LEDGE_ERROR_PROVIDER,
                                   during, err));
        LEDGE_TRY(add(list, str(provider), str(name), str(op), err));
    }
    return LEDGE_OK;
}

LedgeStatus ledge__ort_placed_by_record(const OrtLibrary *o, const OrtSession *session,
                                        OrtPlacedList *list, LedgeError *err)
{
    const OrtEpAssignedSubgraph *const *parts = NULL;
    size_t n = 0;
    LEDGE_TRY(ledge__ort_check(o, o->c.GetAssignment(session, &parts, &n), LEDGE_ERROR_PROVIDER,
                               "reading the assignment record", err));
    for (size_t i = 0; i < n; i++)
        LEDGE_TRY(add_subgraph(o, parts[i], list, err));
    return LEDGE_OK;
}

/* ---- the profile ---- */

/* The text behind `key` : " in one event; absent: p NULL. Names with escapes are left as written.
 */
static LedgeStr member(const char *event, size_t size, const char *key)
{
    const size_t n = strlen(key);
    for (const char *p = event, *end = event + size; (p = memchr(p, '"', (size_t)(end - p))); p++) {
        if ((size_t)(end - p) < n + 2 || memcmp(p + 1, key, n) != 0 || p[n + 1] != '"')
            continue;
        const char *v = p + n + 2;
        while (v < end && (*v == ' ' || *v == ':'))
            v++;
        if (v == end || *v != '"')
            continue;
        const char *close = memchr(v + 1, '"', (size_t)(end - v - 1));
        if (close)
            return (LedgeStr){v + 1, (size_t)(close - v - 1)};
    }
    return (LedgeStr){0};
}

#define KERNEL "_kernel_time"

/* Events of a profile stand one a line. */
LedgeStatus ledge__ort_placed_by_profile(const char *json, size_t size, OrtPlacedList *list,
                                         LedgeError *err)
{
    for (const char *p = json, *end = json + size; p < end;) {
        const char *close = memchr(p, '\n', (size_t)(end - p));
        const size_t n = (size_t)((close ? close : end) - p);
        const LedgeStr category = member(p, n, "cat"), provider = member(p, n, "provider");
        LedgeStr name = member(p, n, "name");
        const size_t tail = sizeof KERNEL - 1;
        if (ledge__str_eq(category, "Node") && provider.n && name.n > tail &&
            memcmp(name.p + name.n - tail, KERNEL, tail) == 0) {
            name.n -= tail;
            LEDGE_TRY(add(list, provider, name, member(p, n, "op_name"), err));
        }
        p += n + 1;
    }
    return LEDGE_OK;
}
