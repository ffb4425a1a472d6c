/* The regular expression engine: a tree becomes a program of few instructions, and all ways
 * through the program are followed at once, one character at a time, so that no pattern takes
 * more than linear time. */
#include "engine/ops/value/regex_tree.h"

#define MAX_PROGRAM 20000 /* instructions */

typedef enum Code { OP_CLASS, OP_SPLIT, OP_JUMP, OP_ASSERT, OP_MATCH } Code;

typedef struct Instruction {
    Code code;
    int x, y; /* next; SPLIT: both ways; ASSERT: y is the assertion */
    const RegexRange *ranges;
    int n_ranges;
} Instruction;

struct LedgeRegex {
    Instruction *code;
    int n;
};

/* ---- the program ---- */

typedef struct Emitter {
    RegexParser *parser;
    Instruction *code;
    int n, cap;
} Emitter;

static int emit(Emitter *e, Instruction i)
{
    if (e->n == MAX_PROGRAM) {
        ledge__regex_fail(e->parser, "it is too large");
        return -1;
    }
    if (e->n == e->cap) {
        int cap = e->cap ? 2 * e->cap : 32;
        Instruction *grown = ledge__regex_alloc(e->parser, (size_t)cap * sizeof *grown);
        if (!grown)
            return -1;
        if (e->n)
            memcpy(grown, e->code, (size_t)e->n * sizeof *grown);
        e->code = grown;
        e->cap = cap;
    }
    e->code[e->n] = i;
    return e->n++;
}

static bool emit_node(Emitter *e, const RegexNode *n);

/* Splits and jumps that all lead to the same place later are chained by the field that will
 * hold it; this sets them. */
static void patch_splits(Emitter *e, int at)
{
    while (at >= 0) {
        int before = e->code[at].y;
        e->code[at].y = e->n;
        at = before;
    }
}

static void patch_jumps(Emitter *e, int at)
{
    while (at >= 0) {
        int before = e->code[at].x;
        e->code[at].x = e->n;
        at = before;
    }
}

static bool emit_repeat(Emitter *e, const RegexNode *n)
{
    int last = 0, chain = -1;
    for (int i = 0; i < n->min; i++) {
        last = e->n;
        if (!emit_node(e, n->a))
            return false;
    }
    if (n->max < 0 && n->min > 0) /* x+: back to the last copy */
        return emit(e, (Instruction){.code = OP_SPLIT, .x = last, .y = e->n + 1}) >= 0;
    for (int i = n->min; i < n->max || (n->max < 0 && i == 0); i++) {
        int split = emit(e, (Instruction){.code = OP_SPLIT, .x = e->n + 1, .y = chain});
        if (split < 0 || !emit_node(e, n->a))
            return false;
        chain = split;
    }
    if (n->max < 0 && emit(e, (Instruction){.code = OP_JUMP, .x = chain}) < 0)
        return false;
    patch_splits(e, chain);
    return true;
}

static bool emit_class(Emitter *e, const RegexNode *n)
{
    return emit(e, (Instruction){.code = OP_CLASS,
                                 .x = e->n + 1,
                                 .ranges = n->ranges,
                                 .n_ranges = n->n_ranges}) >= 0;
}

/* The items of a chain of one kind. Chains lean left: they are walked back to their head. */
static const RegexNode **chain_items(Emitter *e, const RegexNode *n, int *count)
{
    RegexKind kind = n->kind;
    *count = 1;
    for (const RegexNode *k = n; k->kind == kind; k = k->a)
        ++*count;
    const RegexNode **items = ledge__regex_alloc(e->parser, (size_t)*count * sizeof *items);
    int at = *count;
    for (; items && n->kind == kind; n = n->a)
        items[--at] = n->b;
    if (items)
        items[0] = n;
    return items;
}

static bool emit_sequence(Emitter *e, const RegexNode *n)
{
    int count;
    const RegexNode **items = chain_items(e, n, &count);
    for (int i = 0; items && i < count; i++)
        if (!emit_node(e, items[i]))
            return false;
    return items != NULL;
}

static bool emit_alternatives(Emitter *e, const RegexNode *n)
{
    int count, jump = -1;
    const RegexNode **items = chain_items(e, n, &count);
    for (int i = 0; items && i < count; i++) {
        bool last = i + 1 == count;
        int split = last ? 0 : emit(e, (Instruction){.code = OP_SPLIT, .x = e->n + 1});
        if (split < 0 || !emit_node(e, items[i]))
            return false;
        if (last)
            break;
        jump = emit(e, (Instruction){.code = OP_JUMP, .x = jump});
        if (jump < 0)
            return false;
        e->code[split].y = e->n;
    }
    patch_jumps(e, jump);
    return items != NULL;
}

static bool emit_node(Emitter *e, const RegexNode *n)
{
    switch (n->kind) {
    case NODE_EMPTY:
        return true;
    case NODE_CLASS:
        return emit_class(e, n);
    case NODE_CAT:
        return emit_sequence(e, n);
    case NODE_ALT:
        return emit_alternatives(e, n);
    case NODE_REPEAT:
        return emit_repeat(e, n);
    case NODE_ASSERT:
        return emit(e, (Instruction){.code = OP_ASSERT, .x = e->n + 1, .y = n->assertion}) >= 0;
    }
    return false;
}

LedgeRegex *ledge__regex_new(LedgeString pattern, LedgeRegexAlloc alloc, void *context,
                             const char **why)
{
    const uint8_t *text = (const uint8_t *)pattern.data;
    RegexParser s = {.p = text, .end = text + pattern.size, .alloc = alloc, .context = context};
    *why = NULL;
    if (pattern.size > MAX_PROGRAM) {
        *why = "it is too large";
        return NULL;
    }
    RegexNode *root = ledge__regex_parse(&s);
    Emitter e = {.parser = &s};
    if (!root || !emit_node(&e, root) || emit(&e, (Instruction){.code = OP_MATCH}) < 0) {
        *why = s.why;
        return NULL;
    }
    LedgeRegex *r = ledge__regex_alloc(&s, sizeof *r);
    if (r)
        *r = (LedgeRegex){e.code, e.n};
    return r;
}

/* ---- matching ---- */

/* A set of instructions with a list: members are listed once, in any order. */
typedef struct Threads {
    int *list, *place;
    int n;
} Threads;

static bool contains(const Threads *t, int i)
{
    return t->place[i] < t->n && t->list[t->place[i]] == i;
}

static bool is_word(const uint8_t *p, const uint8_t *begin, const uint8_t *end)
{
    return p >= begin && p < end &&
           ((*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') ||
            *p == '_');
}

static bool holds(RegexAssertion what, const uint8_t *p, const uint8_t *begin, const uint8_t *end)
{
    bool edge = is_word(p - (p > begin), begin, end) && p > begin;
    switch (what) {
    case TEXT_BEGIN:
        return p == begin;
    case TEXT_END:
        return p == end;
    case LINE_BEGIN:
        return p == begin || p[-1] == '\n';
    case LINE_END:
        return p == end || *p == '\n';
    case WORD_EDGE:
        return edge != is_word(p, begin, end);
    case NO_WORD_EDGE:
        return edge == is_word(p, begin, end);
    }
    return false;
}

/* Adds instruction i and all that follows without reading a character. `stack` holds 2n. */
static void follow(const LedgeRegex *r, Threads *t, int i, int *stack, const uint8_t *p,
                   const uint8_t *begin, const uint8_t *end)
{
    int depth = 0;
    stack[depth++] = i;
    while (depth) {
        i = stack[--depth];
        if (contains(t, i))
            continue;
        t->place[i] = t->n;
        t->list[t->n++] = i;
        const Instruction *op = &r->code[i];
        if (op->code == OP_SPLIT) {
            stack[depth++] = op->y;
            stack[depth++] = op->x;
        } else if (op->code == OP_JUMP ||
                   (op->code == OP_ASSERT && holds((RegexAssertion)op->y, p, begin, end))) {
            stack[depth++] = op->x;
        }
    }
}

static bool in_class(const Instruction *op, uint32_t c)
{
    int low = 0, high = op->n_ranges;
    while (low < high) {
        int mid = (low + high) / 2;
        if (c > op->ranges[mid].high)
            low = mid + 1;
        else if (c < op->ranges[mid].low)
            high = mid;
        else
            return true;
    }
    return false;
}

size_t ledge__regex_work_bytes(const LedgeRegex *r)
{
    return (size_t)r->n * 6 * sizeof(int) + sizeof(int) * 8;
}

bool ledge__regex_full_match(const LedgeRegex *r, LedgeString text, void *work)
{
    static const uint8_t nothing[1] = {0};
    const uint8_t *begin = text.size ? (const uint8_t *)text.data : nothing;
    const uint8_t *end = begin + text.size, *p = begin;
    int *memory = work;
    size_t n = (size_t)r->n;
    Threads now = {memory, memory + n, 0}, next = {memory + 2 * n, memory + 3 * n, 0};
    int *stack = memory + 4 * n;
    memset(work, 0, ledge__regex_work_bytes(r));
    follow(r, &now, 0, stack, p, begin, end);
    while (p < end && now.n) {
        uint32_t c = ledge__regex_decode(&p, end);
        next.n = 0;
        for (int k = 0; k < now.n; k++) {
            const Instruction *op = &r->code[now.list[k]];
            if (op->code == OP_CLASS && in_class(op, c))
                follow(r, &next, op->x, stack, p, begin, end);
        }
        Threads swap = now;
        now = next;
        next = swap;
    }
    return p == end && contains(&now, r->n - 1);
}
