/* Atoms (single channels), the spans that list them, and the classes and families they form. */
#include "compress/prune/prune_internal.h"

#include <stdlib.h>

/* ---- spans ---- */

LedgeStatus ledge__prune_span_new(LedgePruner *p, int64_t n, uint32_t *span)
{
    if (n < 0 || n > PRUNE_MOST_SPAN || p->listed + (size_t)n > PRUNE_MOST_LISTED)
        return ledge__fail(p->err, LEDGE_ERROR_LIMIT, p->onnx->path,
                           "the model's shapes have too many channels to follow");
    PruneSpan *grown = ledge__arena_append(p->arena, p->spans, p->n_spans, sizeof *grown);
    uint32_t *atoms = ledge__arena_alloc(p->arena, (size_t)n, sizeof *atoms);
    if (grown)
        p->spans = grown;
    if (!grown || !atoms)
        return ledge__no_memory(p->err);
    p->listed += (size_t)n;
    p->spans[p->n_spans] = (PruneSpan){atoms, (uint32_t)n, PRUNE_NONE};
    *span = (uint32_t)p->n_spans++;
    return LEDGE_OK;
}

LedgeStatus ledge__prune_span_fresh(LedgePruner *p, int64_t n, uint32_t *span)
{
    LEDGE_TRY(ledge__prune_span_new(p, n, span));
    for (int64_t i = 0; i < n; i++)
        LEDGE_TRY(ledge__prune_atom_new(p, &p->spans[*span].atoms[i]));
    return LEDGE_OK;
}

LedgeStatus ledge__prune_span_part(LedgePruner *p, uint32_t of, int64_t from, int64_t n,
                                   uint32_t *span)
{
    LEDGE_TRY(ledge__prune_span_new(p, n, span));
    if (n)
        memcpy(p->spans[*span].atoms, p->spans[of].atoms + from, (size_t)n * sizeof(uint32_t));
    return LEDGE_OK;
}

/* ---- atoms ---- */

LedgeStatus ledge__prune_atom_new(LedgePruner *p, uint32_t *atom)
{
    void *parent = p->parent, *pinned = p->pinned;
    if (!ledge__grow(p->allocator, &parent, p->n_atoms, &p->cap_parent, sizeof *p->parent))
        return ledge__no_memory(p->err);
    p->parent = parent;
    if (!ledge__grow(p->allocator, &pinned, p->n_atoms, &p->cap_pinned, sizeof *p->pinned))
        return ledge__no_memory(p->err);
    p->pinned = pinned;
    p->parent[p->n_atoms] = (uint32_t)p->n_atoms;
    p->pinned[p->n_atoms] = 0;
    *atom = (uint32_t)p->n_atoms++;
    return LEDGE_OK;
}

uint32_t ledge__prune_root(LedgePruner *p, uint32_t atom)
{
    while (p->parent[atom] != atom) {
        p->parent[atom] = p->parent[p->parent[atom]];
        atom = p->parent[atom];
    }
    return atom;
}

/* The lower number becomes the root, so that classes are numbered in the graph's order. */
void ledge__prune_join(LedgePruner *p, uint32_t a, uint32_t b)
{
    a = ledge__prune_root(p, a);
    b = ledge__prune_root(p, b);
    if (a == b)
        return;
    const uint32_t low = a < b ? a : b, high = a < b ? b : a;
    p->parent[high] = low;
    if (!p->pinned[low])
        p->pinned[low] = p->pinned[high];
}

void ledge__prune_join_spans(LedgePruner *p, uint32_t a, uint32_t b)
{
    for (uint32_t i = 0; a != b && i < p->spans[a].n; i++)
        ledge__prune_join(p, p->spans[a].atoms[i], p->spans[b].atoms[i]);
}

void ledge__prune_pin(LedgePruner *p, uint32_t span)
{
    for (uint32_t i = 0; i < p->spans[span].n; i++) {
        const uint32_t root = ledge__prune_root(p, p->spans[span].atoms[i]);
        if (!p->pinned[root])
            p->pinned[root] = (uint32_t)p->n_barriers;
    }
}

int64_t ledge__prune_count(const LedgePruner *p, uint32_t span, int64_t from, int64_t to)
{
    int64_t n = 0;
    for (int64_t i = from; i < to; i++)
        n += ledge__prune_stays(p, p->spans[span].atoms[i]);
    return n;
}

/* ---- classes ---- */

static LedgeStatus make_classes(LedgePruner *p)
{
    p->class_of = ledge__arena_alloc(p->arena, p->n_atoms, sizeof *p->class_of);
    if (!p->class_of)
        return ledge__no_memory(p->err);
    for (uint32_t a = 0; a < p->n_atoms; a++) {
        const uint32_t root = ledge__prune_root(p, a);
        p->class_of[a] = root == a ? p->n_classes++ : p->class_of[root];
    }
    p->classes = ledge__arena_alloc(p->arena, p->n_classes, sizeof *p->classes);
    return p->classes ? LEDGE_OK : ledge__no_memory(p->err);
}

/* Where each class occurs: lists of shares, span after span, `first` by class. */
typedef struct Places {
    PruneShare *shares;
    size_t *first; /* n_classes + 1 */
} Places;

/* One round over the spans; a class's repeated atoms in a span come to one share. */
static void visit(const LedgePruner *p, Places *places, size_t *next, uint32_t *last, bool store)
{
    memset(last, 0xff, p->n_classes * sizeof *last);
    for (uint32_t s = 0; s < p->n_spans; s++)
        for (uint32_t i = 0; i < p->spans[s].n; i++) {
            const uint32_t c = p->class_of[p->spans[s].atoms[i]];
            const bool again = last[c] == s;
            last[c] = s;
            if (store && again)
                places->shares[next[c] - 1].times++;
            else if (store)
                places->shares[next[c]++] = (PruneShare){s, 1};
            else
                next[c] += !again;
        }
}

static LedgeStatus find_places(const LedgePruner *p, Places *places, LedgeArena *arena)
{
    size_t *next = ledge__arena_alloc(arena, (size_t)p->n_classes + 1, sizeof *next);
    uint32_t *last = ledge__arena_alloc(arena, (size_t)p->n_classes + 1, sizeof *last);
    places->first = ledge__arena_alloc(arena, (size_t)p->n_classes + 1, sizeof *places->first);
    if (!next || !last || !places->first)
        return ledge__no_memory(p->err);
    visit(p, places, next, last, false);
    size_t total = 0;
    for (uint32_t c = 0; c <= p->n_classes; c++) {
        places->first[c] = total;
        total += c < p->n_classes ? next[c] : 0;
        next[c] = places->first[c];
    }
    places->shares = ledge__arena_alloc(arena, total, sizeof *places->shares);
    if (!places->shares)
        return ledge__no_memory(p->err);
    visit(p, places, next, last, true);
    return LEDGE_OK;
}

/* ---- families ---- */

static uint64_t hash_shares(const PruneShare *s, size_t n)
{
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < n; i++)
        h = ((h ^ s[i].span) * 1099511628211u ^ s[i].times) * 1099511628211u;
    return h ^ (h >> 29);
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
    while (b) {
        const uint32_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* What a family's first class tells of it. */
static LedgeStatus describe_family(LedgePruner *p, PruneFamily *f, const PruneShare *shares,
                                   uint32_t n)
{
    f->shares = ledge__arena_alloc(p->arena, n, sizeof *f->shares);
    if (!f->shares)
        return ledge__no_memory(p->err);
    memcpy(f->shares, shares, n * sizeof *shares);
    f->n_shares = n;
    f->layer = PRUNE_NONE;
    uint32_t times = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t layer = p->spans[shares[i].span].layer;
        if (layer == PRUNE_NONE || !p->layers[layer].counts)
            continue;
        f->channels += shares[i].times;
        if (f->layer == PRUNE_NONE) {
            f->layer = layer;
            times = shares[i].times;
        }
    }
    const uint32_t round = (uint32_t)p->o.round;
    f->chunk = round / gcd(round, times ? times : 1);
    return LEDGE_OK;
}

/* The family with just these shares, made where there is none yet. */
static LedgeStatus family_of(LedgePruner *p, const PruneShare *shares, uint32_t n, uint32_t *table,
                             size_t slots, uint32_t *out)
{
    size_t i = (size_t)hash_shares(shares, n) & (slots - 1);
    for (; table[i]; i = (i + 1) & (slots - 1)) {
        const PruneFamily *f = &p->families[table[i] - 1];
        if (f->n_shares == n && memcmp(f->shares, shares, n * sizeof *shares) == 0) {
            *out = table[i] - 1;
            return LEDGE_OK;
        }
    }
    PruneFamily *grown = ledge__arena_append(p->arena, p->families, p->n_families, sizeof *grown);
    if (!grown)
        return ledge__no_memory(p->err);
    p->families = grown;
    grown[p->n_families] = (PruneFamily){0};
    LEDGE_TRY(describe_family(p, &grown[p->n_families], shares, n));
    *out = p->n_families++;
    table[i] = p->n_families;
    return LEDGE_OK;
}

static LedgeStatus make_families(LedgePruner *p, const Places *places, LedgeArena *arena)
{
    size_t slots = 16;
    while (slots < 2 * (size_t)p->n_classes)
        slots *= 2;
    uint32_t *table = ledge__arena_alloc(arena, slots, sizeof *table);
    if (!table)
        return ledge__no_memory(p->err);
    for (uint32_t a = 0; a < p->n_atoms; a++)
        if (ledge__prune_root(p, a) == a && p->pinned[a])
            p->classes[p->class_of[a]].family = PRUNE_NONE;
    for (uint32_t c = 0; c < p->n_classes; c++) {
        const size_t first = places->first[c], n = places->first[c + 1] - first;
        if (p->classes[c].family == PRUNE_NONE)
            continue;
        LEDGE_TRY(
            family_of(p, &places->shares[first], (uint32_t)n, table, slots, &p->classes[c].family));
        p->families[p->classes[c].family].n++;
    }
    for (uint32_t f = 0; f < p->n_families; f++) {
        PruneFamily *family = &p->families[f];
        family->classes = ledge__arena_alloc(p->arena, family->n, sizeof *family->classes);
        if (!family->classes)
            return ledge__no_memory(p->err);
        p->prunable += family->n * family->channels;
        family->n = 0;
    }
    for (uint32_t c = 0; c < p->n_classes; c++)
        if (p->classes[c].family != PRUNE_NONE) {
            PruneFamily *family = &p->families[p->classes[c].family];
            family->classes[family->n++] = c;
        }
    return LEDGE_OK;
}

LedgeStatus ledge__prune_classify(LedgePruner *p)
{
    Places places = {0};
    LEDGE_TRY(make_classes(p));
    p->kept = ledge__arena_alloc(p->arena, p->n_spans, sizeof *p->kept);
    LedgeArena *scratch = ledge__arena_new(p->allocator);
    LedgeStatus s =
        p->kept && scratch ? find_places(p, &places, scratch) : ledge__no_memory(p->err);
    if (!s)
        s = make_families(p, &places, scratch);
    ledge__arena_free(scratch);
    return s;
}
