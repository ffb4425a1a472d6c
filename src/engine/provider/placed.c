/* Puts together what is said of who runs what: from the choice, or from ONNX Runtime's own word. */
#include "engine/provider/backend_state.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct Placing {
    LedgeBackend *b;
    LedgeArena *arena;
    LedgePlacedProvider *providers;
    size_t n_providers;
    LedgeFallback *fallbacks;
    size_t n_fallbacks;
    size_t n_nodes;
    int64_t macs;
    bool no_memory;
} Placing;

/* ---- who ---- */

static LedgePlacedProvider *add_provider(Placing *p, const char *name, const char *version)
{
    LedgePlacedProvider *items =
        ledge__arena_append(p->arena, p->providers, p->n_providers, sizeof *items);
    const char *own = ledge__arena_str(p->arena, name), *v = ledge__arena_str(p->arena, version);
    if (!items || !own || !v) {
        p->no_memory = true;
        return NULL;
    }
    p->providers = items;
    items[p->n_providers] = (LedgePlacedProvider){.name = own, .version = v, .reason = ""};
    return &items[p->n_providers++];
}

/* The entry of that name, made if it is not there: a provider that nobody asked for. */
static LedgePlacedProvider *provider(Placing *p, const char *name, const char *version)
{
    for (size_t i = 0; i < p->n_providers; i++)
        if (strcmp(p->providers[i].name, name) == 0)
            return &p->providers[i];
    return add_provider(p, name, version);
}

static void add_asked(Placing *p)
{
    for (size_t i = 0; i < p->b->n_asked; i++) {
        const Asked *a = &p->b->asked[i];
        LedgePlacedProvider *to = add_provider(p, a->name, a->version);
        if (!to)
            return;
        to->status = a->status;
        to->reason = ledge__arena_str(p->arena, a->reason);
        p->no_memory |= !to->reason;
        if (to->reason && a->known && !a->known->ort_name && !*to->version)
            to->version = ledge_version();
    }
}

/* ---- nodes ---- */

static void fall_back(Placing *p, const char *node, const char *op_type, const char *to,
                      const char *reason)
{
    LedgeFallback *items =
        ledge__arena_append(p->arena, p->fallbacks, p->n_fallbacks, sizeof *items);
    if (!items) {
        p->no_memory = true;
        return;
    }
    p->fallbacks = items;
    items[p->n_fallbacks++] =
        (LedgeFallback){node, op_type, p->providers[0].name, to, reason ? reason : ""};
}

static void place_node(Placing *p, const char *name, const char *version, const char *node,
                       const char *op_type, int64_t macs, const char *reason)
{
    LedgePlacedProvider *to = provider(p, name, version);
    if (!to)
        return;
    to->nodes++;
    to->macs += macs;
    p->n_nodes++;
    p->macs += macs;
    /* A first one that did not come up at all is told once, not node by node. */
    if (to != &p->providers[0] && !p->providers[0].status)
        fall_back(p, node, op_type, to->name, reason);
}

static void place_all(Placing *p, const char *name, const char *version)
{
    const LedgeBackend *b = p->b;
    LedgePlacedProvider *to = provider(p, name, version);
    if (!to)
        return;
    to->nodes = p->n_nodes = b->n_nodes;
    for (size_t k = 0; b->costs && k < b->n_nodes; k++)
        to->macs += b->costs[k].macs;
    p->macs = to->macs;
}

static int by_name(const void *a, const void *b)
{
    const NodeCost *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* The file's nodes by name. ONNX Runtime's are these after its own first rewrites, and names mostly
 * stay; nodes that the file gave none are taken in order, operator by operator. */
typedef struct Names {
    const NodeCost **sorted;
    bool *used;
    size_t n;
} Names;

static int64_t macs_named(Names *s, const NodeCost *costs, const OrtPlaced *placed)
{
    const NodeCost wanted = {.name = placed->node}, *key = &wanted;
    const NodeCost **c =
        s->n && *placed->node ? bsearch(&key, s->sorted, s->n, sizeof *s->sorted, by_name) : NULL;
    if (c) {
        s->used[*c - costs] = true;
        return (*c)->macs;
    }
    for (size_t k = 0; k < s->n; k++)
        if (!s->used[k] && costs[k].macs && strcmp(costs[k].op_type, placed->op_type) == 0) {
            s->used[k] = true;
            return costs[k].macs;
        }
    return 0;
}

static bool sort_names(Placing *p, Names *s)
{
    const LedgeBackend *b = p->b;
    s->n = b->n_nodes;
    s->sorted = ledge__arena_alloc(p->arena, s->n, sizeof *s->sorted);
    s->used = ledge__arena_alloc(p->arena, s->n, sizeof *s->used);
    if (!s->sorted || !s->used)
        return false;
    for (size_t k = 0; k < s->n; k++)
        s->sorted[k] = &b->costs[k];
    if (s->n)
        qsort(s->sorted, s->n, sizeof *s->sorted, by_name);
    return true;
}

static bool in_file(const LedgeBackend *b, const char *op_type)
{
    for (size_t k = 0; k < b->n_nodes; k++)
        if (strcmp(b->costs[k].op_type, op_type) == 0)
            return true;
    return false;
}

/* Some providers fuse whole subgraphs into one node of their own making, under which the file's
 * nodes are not to be seen: work that nobody was named for is theirs. */
static void give_rest(Placing *p, const Names *names, const OrtPlaced *placed, size_t n)
{
    const LedgeBackend *b = p->b;
    int64_t rest = 0;
    for (size_t k = 0; k < b->n_nodes; k++)
        rest += names->used[k] ? 0 : b->costs[k].macs;
    for (size_t i = 0; i < n && rest; i++) {
        const KnownProvider *known = ledge__known_find_ort(placed[i].provider);
        if ((known && known->append == ORT_APPEND_NONE) || in_file(b, placed[i].op_type))
            continue;
        LedgePlacedProvider *to = provider(p, known ? known->name : placed[i].provider, "");
        if (!to)
            return;
        to->macs += rest;
        p->macs += rest;
        rest = 0;
    }
}

static void place_ort(Placing *p, const OrtPlaced *placed, size_t n)
{
    const LedgeBackend *b = p->b;
    const Asked *a = &b->asked[b->whole];
    Names names;
    if (!sort_names(p, &names)) {
        p->no_memory = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const KnownProvider *known = ledge__known_find_ort(placed[i].provider);
        const char *name = known ? known->name : placed[i].provider;
        char reason[160];
        snprintf(reason, sizeof reason, "%s does not take this %.60s here", a->known->ort_name,
                 placed[i].op_type);
        place_node(p, name, a->version, placed[i].node, placed[i].op_type,
                   macs_named(&names, b->costs, &placed[i]),
                   strcmp(name, a->name) != 0 ? ledge__arena_str(p->arena, reason) : "");
    }
    give_rest(p, &names, placed, n);
    size_t runners = 0;
    for (size_t i = 0; i < p->n_providers; i++)
        runners += p->providers[i].nodes > 0;
    for (size_t i = 0; i < p->n_providers && runners == 1; i++)
        if (p->providers[i].nodes) /* it does all the work, whatever the names are */
            for (size_t k = p->providers[i].macs = p->macs = 0; k < b->n_nodes; k++)
                p->macs = p->providers[i].macs += b->costs[k].macs;
}

static void place_parts(Placing *p)
{
    const LedgeBackend *b = p->b;
    for (size_t k = 0; k < b->n_nodes; k++) {
        const Asked *a = b->owners[k] == OWNER_CPU ? NULL : &b->asked[b->owners[k]];
        place_node(p, a ? a->name : "cpu", a ? a->version : ledge_version(), b->costs[k].name,
                   b->costs[k].op_type, b->costs[k].macs,
                   b->reasons[k] ? b->reasons[k] : "it was not claimed");
    }
}

/* ---- all of it ---- */

static int by_work(const void *a, const void *b)
{
    const LedgePlacedProvider *const *x = a, *const *y = b;
    if ((*x)->macs != (*y)->macs)
        return (*x)->macs < (*y)->macs ? 1 : -1;
    return ((*x)->nodes < (*y)->nodes) - ((*x)->nodes > (*y)->nodes);
}

/* "cuda+ort": all that run nodes, most work first. */
static const char *got(Placing *p)
{
    const LedgePlacedProvider **order = ledge__arena_alloc(p->arena, p->n_providers, sizeof *order);
    size_t n = 0;
    const char *text = "";
    for (size_t i = 0; order && i < p->n_providers; i++)
        if (p->providers[i].nodes)
            order[n++] = &p->providers[i];
    if (n)
        qsort(order, n, sizeof *order, by_work);
    for (size_t i = 0; text && i < n; i++)
        text = ledge__arena_printf(p->arena, "%s%s%s", text, i ? "+" : "", order[i]->name);
    p->no_memory |= !text || !order;
    return text && *text ? text : "cpu"; /* a model without nodes */
}

static const char *place_nodes(Placing *p, bool *settled)
{
    const LedgeBackend *b = p->b;
    const Asked *a = b->whole == NOBODY ? NULL : &b->asked[b->whole];
    size_t n = 0;
    const char *source = NULL;
    *settled = true;
    if (!a && !b->costs) { /* a compiled model */
        place_all(p, "cpu", ledge_version());
        return "ledge";
    }
    if (!a) {
        place_parts(p);
        return "ledge";
    }
    const OrtPlaced *placed = b->ort ? ledge__ort_program_placed(b->ort, &n, &source) : NULL;
    if (source) {
        place_ort(p, placed, n);
        return source;
    }
    place_all(p, a->name, a->version);
    if (!b->ort)
        return "ledge";
    if (a->known->append == ORT_APPEND_NONE)
        return "ONNX Runtime, whose CPU provider runs all";
    if (b->strict)
        return "ONNX Runtime, told to refuse a fallback";
    *settled = false;
    return "ONNX Runtime's profile, after the first run";
}

LedgeStatus ledge__place(LedgeBackend *b, LedgeError *err)
{
    Placing p = {.b = b, .arena = ledge__arena_new(b->allocator)};
    if (!p.arena)
        return ledge__no_memory(err);
    LedgePlacement made = {.asked = b->list, .note = b->note};
    add_asked(&p);
    if (!p.no_memory)
        made.source = place_nodes(&p, &made.settled);
    if (!p.no_memory)
        made.got = got(&p);
    if (p.no_memory) {
        ledge__arena_free(p.arena);
        return ledge__no_memory(err);
    }
    made.providers = p.providers;
    made.n_providers = p.n_providers;
    made.fallbacks = p.fallbacks;
    made.n_fallbacks = p.n_fallbacks;
    made.n_nodes = p.n_nodes;
    made.macs = p.macs;
    made.fell_back = p.providers[0].status != LEDGE_OK || p.providers[0].nodes < p.n_nodes;
    ledge__arena_free(b->place_arena);
    b->place_arena = p.arena;
    b->placement = made;
    return LEDGE_OK;
}
