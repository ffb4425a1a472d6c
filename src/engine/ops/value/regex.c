/* The regular expression engine: a recursive parser makes a tree, the tree becomes a program of
 * few instructions, and all ways through the program are followed at once, one character at a
 * time. Sizes and nesting are bounded, so hostile patterns are refused, not endured. */
#include "engine/ops/value/regex.h"

#include <stdint.h>
#include <string.h>

#define MAX_DEPTH 200     /* groups inside each other */
#define MAX_REPEAT 1000   /* in {n,m}, as in RE2 */
#define MAX_PROGRAM 20000 /* instructions */
#define MAX_RUNE 0x10ffff

typedef struct Range {
    uint32_t low, high;
} Range;

typedef enum Kind { NODE_EMPTY, NODE_CLASS, NODE_CAT, NODE_ALT, NODE_REPEAT, NODE_ASSERT } Kind;

typedef enum Assertion { TEXT_BEGIN, TEXT_END, LINE_BEGIN, LINE_END, WORD_EDGE, NO_WORD_EDGE } Assertion;

typedef struct Node {
    Kind kind;
    struct Node *a, *b; /* CAT, ALT: both; REPEAT: a */
    int min, max;       /* REPEAT; max -1: no bound */
    Assertion assertion;
    Range *ranges;      /* CLASS */
    int n_ranges;
} Node;

typedef enum Code { OP_CLASS, OP_SPLIT, OP_JUMP, OP_ASSERT, OP_MATCH } Code;

typedef struct Instruction {
    Code code;
    int x, y; /* next; SPLIT: both ways; ASSERT: y is the assertion */
    const Range *ranges;
    int n_ranges;
} Instruction;

struct LedgeRegex {
    Instruction *code;
    int n;
};

typedef struct Parser {
    const uint8_t *p, *end;
    LedgeRegexAlloc alloc;
    void *context;
    const char *why;
    int depth;
    bool fold, dot_all, multi_line; /* flags i, s, m */
} Parser;

static void *parser_alloc(Parser *s, size_t bytes)
{
    void *p = s->alloc(s->context, bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

static Node *fail(Parser *s, const char *why)
{
    if (!s->why)
        s->why = why;
    return NULL;
}

static Node *node_new(Parser *s, Kind kind, Node *a, Node *b)
{
    Node *n = parser_alloc(s, sizeof *n);
    if (n)
        *n = (Node){.kind = kind, .a = a, .b = b};
    return n;
}

/* One UTF-8 character; a byte that starts none counts as itself. */
static uint32_t decode(const uint8_t **p, const uint8_t *end)
{
    uint32_t c = *(*p)++;
    int more = c >= 0xf0 && c < 0xf8 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
    if (c < 0x80 || c >= 0xf8 || end - *p < more)
        return c;
    uint32_t v = c & (0x3f >> more);
    for (int i = 0; i < more; i++) {
        if (((*p)[i] & 0xc0) != 0x80)
            return c;
        v = v << 6 | ((*p)[i] & 0x3f);
    }
    *p += more;
    return v;
}

/* ---- classes ---- */

typedef struct Set {
    Range *items;
    int n, cap;
} Set;

static bool set_add(Parser *s, Set *set, uint32_t low, uint32_t high)
{
    if (set->n == set->cap) {
        int cap = set->cap ? 2 * set->cap : 8;
        Range *grown = parser_alloc(s, (size_t)cap * sizeof *grown);
        if (!grown)
            return false;
        if (set->n)
            memcpy(grown, set->items, (size_t)set->n * sizeof *grown);
        set->items = grown;
        set->cap = cap;
    }
    set->items[set->n++] = (Range){low, high};
    return true;
}

/* Adds a range, and under flag i its letters in the other case. */
static bool set_add_folded(Parser *s, Set *set, uint32_t low, uint32_t high)
{
    if (!set_add(s, set, low, high))
        return false;
    for (uint32_t c = low; s->fold && c <= high && c <= 'z'; c++) {
        bool upper = c >= 'A' && c <= 'Z', lower = c >= 'a' && c <= 'z';
        if ((upper || lower) && !set_add(s, set, c ^ 32, c ^ 32))
            return false;
    }
    return true;
}

/* Sorts and joins; `negate` turns it inside out. */
static bool set_finish(Parser *s, Set *set, bool negate)
{
    for (int i = 1; i < set->n; i++) {
        Range r = set->items[i];
        int k = i;
        for (; k > 0 && set->items[k - 1].low > r.low; k--)
            set->items[k] = set->items[k - 1];
        set->items[k] = r;
    }
    int n = 0;
    for (int i = 0; i < set->n; i++) {
        if (n && set->items[i].low <= set->items[n - 1].high + 1) {
            if (set->items[i].high > set->items[n - 1].high)
                set->items[n - 1].high = set->items[i].high;
        } else {
            set->items[n++] = set->items[i];
        }
    }
    set->n = n;
    if (!negate)
        return true;
    Set other = {0};
    uint32_t from = 0;
    for (int i = 0; i < n; i++) {
        if (set->items[i].low > from && !set_add(s, &other, from, set->items[i].low - 1))
            return false;
        from = set->items[i].high + 1;
    }
    if (from <= MAX_RUNE && !set_add(s, &other, from, MAX_RUNE))
        return false;
    *set = other;
    return true;
}

/* d, w and s (capital: negated) into `set`; false also for lack of memory. */
static bool add_perl_class(Parser *s, Set *set, uint8_t which)
{
    Set own = {0};
    bool ok = true;
    switch (which | 32) {
    case 'd':
        ok = set_add(s, &own, '0', '9');
        break;
    case 'w':
        ok = set_add(s, &own, '0', '9') && set_add(s, &own, 'A', 'Z') &&
             set_add(s, &own, '_', '_') && set_add(s, &own, 'a', 'z');
        break;
    default:
        ok = set_add(s, &own, '\t', '\n') && set_add(s, &own, '\f', '\r') &&
             set_add(s, &own, ' ', ' ');
    }
    ok = ok && set_finish(s, &own, which < 'a');
    for (int i = 0; ok && i < own.n; i++)
        ok = set_add(s, set, own.items[i].low, own.items[i].high);
    return ok;
}

static bool is_perl_class(uint8_t c)
{
    return c && strchr("dwsDWS", c) != NULL;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \xHH and \x{H…}, after the x. */
static bool parse_hex(Parser *s, uint32_t *out)
{
    uint32_t v = 0;
    int digits = 0;
    bool braces = s->p < s->end && *s->p == '{';
    s->p += braces;
    while (s->p < s->end && hex_digit(*s->p) >= 0 && digits < (braces ? 8 : 2)) {
        v = v << 4 | (uint32_t)hex_digit(*s->p++);
        digits++;
    }
    bool closed = !braces || (s->p < s->end && *s->p++ == '}');
    if (digits == 0 || (!braces && digits != 2) || !closed || v > MAX_RUNE) {
        fail(s, "a \\x escape is incomplete");
        return false;
    }
    *out = v;
    return true;
}

/* The character that an escape stands for, after the backslash. */
static bool parse_escape(Parser *s, uint32_t *out)
{
    static const char names[] = "tnrfva", values[] = "\t\n\r\f\v\a";
    uint8_t c = *s->p++;
    const char *known = c ? strchr(names, c) : NULL;
    if (known) {
        *out = (uint8_t)values[known - names];
        return true;
    }
    if (c == 'x')
        return parse_hex(s, out);
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        fail(s, "an escape is not known");
        return false;
    }
    s->p--;
    *out = decode(&s->p, s->end);
    return true;
}

/* [:name:] inside a class; p stands on "[:". */
static bool parse_posix(Parser *s, Set *set, bool *found)
{
    static const struct {
        const char *name, *ranges; /* pairs of low and high */
    } classes[] = {{"alnum", "09AZaz"}, {"alpha", "AZaz"},   {"ascii", "\x01\x7f"},
                   {"blank", "\t\t  "}, {"cntrl", "\x01\x1f\x7f\x7f"}, {"digit", "09"},
                   {"graph", "!~"},     {"lower", "az"},     {"print", " ~"},
                   {"punct", "!/:@[`{~"}, {"space", "\t\r  "}, {"upper", "AZ"},
                   {"word", "09AZaz__"}, {"xdigit", "09AFaf"}};
    *found = false;
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        size_t n = strlen(classes[i].name);
        if ((size_t)(s->end - s->p) < n + 4 || memcmp(s->p + 2, classes[i].name, n) != 0 ||
            s->p[n + 2] != ':' || s->p[n + 3] != ']')
            continue;
        for (const char *r = classes[i].ranges; *r; r += 2)
            if (!set_add_folded(s, set, (uint8_t)r[0], (uint8_t)r[1]))
                return false;
        s->p += n + 4;
        *found = true;
        return true;
    }
    return true;
}

/* One character of a class, or a Perl class (*single false). */
static bool class_item(Parser *s, Set *set, uint32_t *c, bool *single)
{
    *single = true;
    if (*s->p != '\\') {
        *c = decode(&s->p, s->end);
        return true;
    }
    s->p++;
    if (s->p == s->end) {
        fail(s, "a ] is missing");
        return false;
    }
    if (is_perl_class(*s->p)) {
        *single = false;
        return add_perl_class(s, set, *s->p++);
    }
    return parse_escape(s, c);
}

/* […], after the opening bracket. */
static Node *parse_class(Parser *s)
{
    Set set = {0};
    bool negate = s->p < s->end && *s->p == '^', first = true;
    s->p += negate;
    while (s->p < s->end && (*s->p != ']' || first)) {
        uint32_t low, high;
        bool single, found = false;
        first = false;
        if (s->end - s->p > 1 && s->p[0] == '[' && s->p[1] == ':' && !parse_posix(s, &set, &found))
            return NULL;
        if (found)
            continue;
        if (!class_item(s, &set, &low, &single))
            return NULL;
        if (!single)
            continue;
        high = low;
        if (s->end - s->p > 1 && s->p[0] == '-' && s->p[1] != ']') {
            s->p++;
            if (!class_item(s, &set, &high, &single))
                return NULL;
            if (!single || high < low)
                return fail(s, "a range in [] is not one");
        }
        if (!set_add_folded(s, &set, low, high))
            return NULL;
    }
    if (s->p == s->end)
        return fail(s, "a ] is missing");
    s->p++;
    if (!set_finish(s, &set, negate))
        return NULL;
    Node *n = node_new(s, NODE_CLASS, NULL, NULL);
    if (n) {
        n->ranges = set.items;
        n->n_ranges = set.n;
    }
    return n;
}

static Node *class_node(Parser *s, uint32_t low, uint32_t high, bool negate)
{
    Set set = {0};
    if (!set_add_folded(s, &set, low, high) || !set_finish(s, &set, negate))
        return NULL;
    Node *n = node_new(s, NODE_CLASS, NULL, NULL);
    if (n) {
        n->ranges = set.items;
        n->n_ranges = set.n;
    }
    return n;
}

static Node *assert_node(Parser *s, Assertion what)
{
    Node *n = node_new(s, NODE_ASSERT, NULL, NULL);
    if (n)
        n->assertion = what;
    return n;
}

/* ---- the grammar ---- */

static Node *parse_alternatives(Parser *s);

/* (?…: flags up to ':' or ')'; *group tells whether a group follows. */
static bool parse_flags(Parser *s, bool *group)
{
    bool value = true;
    for (; s->p < s->end; s->p++) {
        switch (*s->p) {
        case 'i':
            s->fold = value;
            break;
        case 's':
            s->dot_all = value;
            break;
        case 'm':
            s->multi_line = value;
            break;
        case 'U': /* greediness does not change what matches as a whole */
            break;
        case '-':
            value = false;
            break;
        case ':':
        case ')':
            *group = *s->p++ == ':';
            return true;
        default:
            fail(s, "a (? group is not known");
            return false;
        }
    }
    fail(s, "a ) is missing");
    return false;
}

/* (?P<name> or (?<name>, after the '<'. */
static bool skip_name(Parser *s)
{
    while (s->p < s->end && *s->p != '>')
        s->p++;
    if (s->p == s->end) {
        fail(s, "a group's name has no end");
        return false;
    }
    s->p++;
    return true;
}

/* After "(?": a name, flags, or nothing capturing. */
static bool parse_group_head(Parser *s, bool *group)
{
    size_t left = (size_t)(s->end - s->p);
    *group = true;
    if (left > 1 && s->p[0] == 'P' && s->p[1] == '<') {
        s->p += 2;
        return skip_name(s);
    }
    if (left > 1 && s->p[0] == '<' && s->p[1] != '=' && s->p[1] != '!') {
        s->p++;
        return skip_name(s);
    }
    return parse_flags(s, group);
}

/* After "(". */
static Node *parse_group(Parser *s)
{
    bool fold = s->fold, dot_all = s->dot_all, multi_line = s->multi_line, group = true;
    if (s->p < s->end && *s->p == '?') {
        s->p++;
        if (!parse_group_head(s, &group))
            return NULL;
        if (!group) /* flags for the rest of the group around */
            return node_new(s, NODE_EMPTY, NULL, NULL);
    }
    if (++s->depth > MAX_DEPTH)
        return fail(s, "groups are nested too deeply");
    Node *inside = parse_alternatives(s);
    s->depth--;
    if (!inside)
        return NULL;
    if (s->p == s->end || *s->p != ')')
        return fail(s, "a ) is missing");
    s->p++;
    s->fold = fold;
    s->dot_all = dot_all;
    s->multi_line = multi_line;
    return inside;
}

/* After a backslash outside of a class. */
static Node *parse_backslash(Parser *s)
{
    uint32_t c;
    if (s->p == s->end)
        return fail(s, "it ends in a backslash");
    switch (*s->p) {
    case 'b':
        s->p++;
        return assert_node(s, WORD_EDGE);
    case 'B':
        s->p++;
        return assert_node(s, NO_WORD_EDGE);
    case 'A':
        s->p++;
        return assert_node(s, TEXT_BEGIN);
    case 'z':
        s->p++;
        return assert_node(s, TEXT_END);
    default:
        break;
    }
    if (is_perl_class(*s->p)) {
        Set set = {0};
        if (!add_perl_class(s, &set, *s->p++) || !set_finish(s, &set, false))
            return NULL;
        Node *n = node_new(s, NODE_CLASS, NULL, NULL);
        if (n) {
            n->ranges = set.items;
            n->n_ranges = set.n;
        }
        return n;
    }
    return parse_escape(s, &c) ? class_node(s, c, c, false) : NULL;
}

static Node *parse_atom(Parser *s)
{
    uint32_t c;
    switch (*s->p) {
    case '(':
        s->p++;
        return parse_group(s);
    case '[':
        s->p++;
        return parse_class(s);
    case '\\':
        s->p++;
        return parse_backslash(s);
    case '.':
        s->p++;
        return s->dot_all ? class_node(s, 0, MAX_RUNE, false) : class_node(s, '\n', '\n', true);
    case '^':
        s->p++;
        return assert_node(s, s->multi_line ? LINE_BEGIN : TEXT_BEGIN);
    case '$':
        s->p++;
        return assert_node(s, s->multi_line ? LINE_END : TEXT_END);
    case '*':
    case '+':
    case '?':
        return fail(s, "there is nothing to repeat");
    default:
        c = decode(&s->p, s->end);
        return class_node(s, c, c, false);
    }
}

static int parse_number(Parser *s)
{
    int v = -1;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
        v = (v < 0 ? 0 : v) * 10 + (*s->p++ - '0');
        if (v > MAX_REPEAT)
            v = MAX_REPEAT + 1;
    }
    return v;
}

/* {n}, {n,} or {n,m}; what is none of them is literal text, and p stays. */
static bool parse_braces(Parser *s, int *min, int *max)
{
    const uint8_t *start = s->p++;
    *min = *max = parse_number(s);
    if (*min >= 0 && s->p < s->end && *s->p == ',') {
        s->p++;
        *max = parse_number(s);
    }
    if (*min < 0 || s->p == s->end || *s->p != '}') {
        s->p = start;
        return false;
    }
    s->p++;
    return true;
}

/* A quantifier behind an atom, if there is one. As in RE2 none may follow it directly. */
static Node *parse_repeat(Parser *s, Node *atom)
{
    int min = 0, max = -1;
    uint8_t c = atom && s->p < s->end ? *s->p : 0;
    if (c == '{') {
        if (!parse_braces(s, &min, &max))
            return atom;
    } else if (c == '*' || c == '+' || c == '?') {
        s->p++;
        min = c == '+';
        max = c == '?' ? 1 : -1;
    } else {
        return atom;
    }
    if (s->p < s->end && *s->p == '?') /* lazy */
        s->p++;
    if (s->p < s->end && (*s->p == '*' || *s->p == '+' || *s->p == '?'))
        return fail(s, "a repetition is repeated");
    if (min > MAX_REPEAT || max > MAX_REPEAT || (max >= 0 && max < min))
        return fail(s, "a repetition is out of range");
    atom = node_new(s, NODE_REPEAT, atom, NULL);
    if (atom) {
        atom->min = min;
        atom->max = max;
    }
    return atom;
}

/* A left-leaning chain, so that emitting it needs no depth. */
static Node *parse_sequence(Parser *s)
{
    Node *all = NULL;
    while (s->p < s->end && *s->p != '|' && *s->p != ')') {
        Node *next = parse_repeat(s, parse_atom(s));
        if (!next)
            return NULL;
        all = all ? node_new(s, NODE_CAT, all, next) : next;
        if (!all)
            return NULL;
    }
    return all ? all : node_new(s, NODE_EMPTY, NULL, NULL);
}

static Node *parse_alternatives(Parser *s)
{
    Node *all = parse_sequence(s);
    while (all && s->p < s->end && *s->p == '|') {
        s->p++;
        Node *next = parse_sequence(s);
        all = next ? node_new(s, NODE_ALT, all, next) : NULL;
    }
    return all;
}

/* ---- the program ---- */

typedef struct Emitter {
    Parser *parser;
    Instruction *code;
    int n, cap;
} Emitter;

static int emit(Emitter *e, Instruction i)
{
    if (e->n == MAX_PROGRAM) {
        fail(e->parser, "it is too large");
        return -1;
    }
    if (e->n == e->cap) {
        int cap = e->cap ? 2 * e->cap : 32;
        Instruction *grown = parser_alloc(e->parser, (size_t)cap * sizeof *grown);
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

static bool emit_node(Emitter *e, const Node *n);

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

static bool emit_repeat(Emitter *e, const Node *n)
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

static bool emit_class(Emitter *e, const Node *n)
{
    return emit(e, (Instruction){.code = OP_CLASS, .x = e->n + 1, .ranges = n->ranges,
                                 .n_ranges = n->n_ranges}) >= 0;
}

/* The items of a chain of one kind. Chains lean left: they are walked back to their head. */
static const Node **chain_items(Emitter *e, const Node *n, int *count)
{
    Kind kind = n->kind;
    *count = 1;
    for (const Node *k = n; k->kind == kind; k = k->a)
        ++*count;
    const Node **items = parser_alloc(e->parser, (size_t)*count * sizeof *items);
    int at = *count;
    for (; items && n->kind == kind; n = n->a)
        items[--at] = n->b;
    if (items)
        items[0] = n;
    return items;
}

static bool emit_sequence(Emitter *e, const Node *n)
{
    int count;
    const Node **items = chain_items(e, n, &count);
    for (int i = 0; items && i < count; i++)
        if (!emit_node(e, items[i]))
            return false;
    return items != NULL;
}

static bool emit_alternatives(Emitter *e, const Node *n)
{
    int count, jump = -1;
    const Node **items = chain_items(e, n, &count);
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

static bool emit_node(Emitter *e, const Node *n)
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
    Parser s = {.p = text, .end = text + pattern.size, .alloc = alloc, .context = context};
    *why = NULL;
    if (pattern.size > MAX_PROGRAM) {
        *why = "it is too large";
        return NULL;
    }
    Node *root = parse_alternatives(&s);
    if (root && s.p < s.end)
        root = fail(&s, "a ) has no (");
    Emitter e = {.parser = &s};
    if (!root || !emit_node(&e, root) || emit(&e, (Instruction){.code = OP_MATCH}) < 0) {
        *why = s.why;
        return NULL;
    }
    LedgeRegex *r = parser_alloc(&s, sizeof *r);
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

static bool holds(Assertion what, const uint8_t *p, const uint8_t *begin, const uint8_t *end)
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
                   (op->code == OP_ASSERT && holds((Assertion)op->y, p, begin, end))) {
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
        uint32_t c = decode(&p, end);
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
