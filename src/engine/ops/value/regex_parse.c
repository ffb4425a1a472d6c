/* The parser of regular expressions: recursive descent from pattern to tree. Nesting and counts
 * are bounded, so hostile patterns are refused, not endured. */
#include "engine/ops/value/regex_tree.h"

#define MAX_DEPTH 200 /* groups inside each other */
#define MAX_RUNE  0x10ffff

void *ledge__regex_alloc(RegexParser *s, size_t bytes)
{
    void *p = s->alloc(s->context, bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

RegexNode *ledge__regex_fail(RegexParser *s, const char *why)
{
    if (!s->why)
        s->why = why;
    return NULL;
}

static RegexNode *node_new(RegexParser *s, RegexKind kind, RegexNode *a, RegexNode *b)
{
    RegexNode *n = ledge__regex_alloc(s, sizeof *n);
    if (n)
        *n = (RegexNode){.kind = kind, .a = a, .b = b};
    return n;
}

uint32_t ledge__regex_decode(const uint8_t **p, const uint8_t *end)
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
    RegexRange *items;
    int n, cap;
} Set;

static bool set_add(RegexParser *s, Set *set, uint32_t low, uint32_t high)
{
    if (set->n == set->cap) {
        int cap = set->cap ? 2 * set->cap : 8;
        RegexRange *grown = ledge__regex_alloc(s, (size_t)cap * sizeof *grown);
        if (!grown)
            return false;
        if (set->n)
            memcpy(grown, set->items, (size_t)set->n * sizeof *grown);
        set->items = grown;
        set->cap = cap;
    }
    set->items[set->n++] = (RegexRange){low, high};
    return true;
}

/* Adds a range, and under flag i its letters in the other case. */
static bool set_add_folded(RegexParser *s, Set *set, uint32_t low, uint32_t high)
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
static bool set_finish(RegexParser *s, Set *set, bool negate)
{
    for (int i = 1; i < set->n; i++) {
        RegexRange r = set->items[i];
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
static bool add_perl_class(RegexParser *s, Set *set, uint8_t which)
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
static bool parse_hex(RegexParser *s, uint32_t *out)
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
        ledge__regex_fail(s, "a \\x escape is incomplete");
        return false;
    }
    *out = v;
    return true;
}

/* The character that an escape stands for, after the backslash. */
static bool parse_escape(RegexParser *s, uint32_t *out)
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
        ledge__regex_fail(s, "an escape is not known");
        return false;
    }
    s->p--;
    *out = ledge__regex_decode(&s->p, s->end);
    return true;
}

/* [:name:] inside a class; p stands on "[:". */
static bool parse_posix(RegexParser *s, Set *set, bool *found)
{
    static const struct {
        const char *name, *ranges; /* pairs of low and high */
    } classes[] = {{"alnum", "09AZaz"},
                   {"alpha", "AZaz"},
                   {"ascii", "\x01\x7f"},
                   {"blank", "\t\t  "},
                   {"cntrl", "\x01\x1f\x7f\x7f"},
                   {"digit", "09"},
                   {"graph", "!~"},
                   {"lower", "az"},
                   {"print", " ~"},
                   {"punct", "!/:@[`{~"},
                   {"space", "\t\r  "},
                   {"upper", "AZ"},
                   {"word", "09AZaz__"},
                   {"xdigit", "09AFaf"}};
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
static bool class_item(RegexParser *s, Set *set, uint32_t *c, bool *single)
{
    *single = true;
    if (*s->p != '\\') {
        *c = ledge__regex_decode(&s->p, s->end);
        return true;
    }
    s->p++;
    if (s->p == s->end) {
        ledge__regex_fail(s, "a ] is missing");
        return false;
    }
    if (is_perl_class(*s->p)) {
        *single = false;
        return add_perl_class(s, set, *s->p++);
    }
    return parse_escape(s, c);
}

/* […], after the opening bracket. */
static RegexNode *parse_class(RegexParser *s)
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
                return ledge__regex_fail(s, "a range in [] is not one");
        }
        if (!set_add_folded(s, &set, low, high))
            return NULL;
    }
    if (s->p == s->end)
        return ledge__regex_fail(s, "a ] is missing");
    s->p++;
    if (!set_finish(s, &set, negate))
        return NULL;
    RegexNode *n = node_new(s, NODE_CLASS, NULL, NULL);
    if (n) {
        n->ranges = set.items;
        n->n_ranges = set.n;
    }
    return n;
}

static RegexNode *class_node(RegexParser *s, uint32_t low, uint32_t high, bool negate)
{
    Set set = {0};
    if (!set_add_folded(s, &set, low, high) || !set_finish(s, &set, negate))
        return NULL;
    RegexNode *n = node_new(s, NODE_CLASS, NULL, NULL);
    if (n) {
        n->ranges = set.items;
        n->n_ranges = set.n;
    }
    return n;
}

static RegexNode *assert_node(RegexParser *s, RegexAssertion what)
{
    RegexNode *n = node_new(s, NODE_ASSERT, NULL, NULL);
    if (n)
        n->assertion = what;
    return n;
}

/* ---- the grammar ---- */

static RegexNode *parse_alternatives(RegexParser *s);

/* (?…: flags up to ':' or ')'; *group tells whether a group follows. */
static bool parse_flags(RegexParser *s, bool *group)
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
            ledge__regex_fail(s, "a (? group is not known");
            return false;
        }
    }
    ledge__regex_fail(s, "a ) is missing");
    return false;
}

/* (?P<name> or (?<name>, after the '<'. */
static bool skip_name(RegexParser *s)
{
    while (s->p < s->end && *s->p != '>')
        s->p++;
    if (s->p == s->end) {
        ledge__regex_fail(s, "a group's name has no end");
        return false;
    }
    s->p++;
    return true;
}

/* After "(?": a name, flags, or nothing capturing. */
static bool parse_group_head(RegexParser *s, bool *group)
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
static RegexNode *parse_group(RegexParser *s)
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
        return ledge__regex_fail(s, "groups are nested too deeply");
    RegexNode *inside = parse_alternatives(s);
    s->depth--;
    if (!inside)
        return NULL;
    if (s->p == s->end || *s->p != ')')
        return ledge__regex_fail(s, "a ) is missing");
    s->p++;
    s->fold = fold;
    s->dot_all = dot_all;
    s->multi_line = multi_line;
    return inside;
}

/* After a backslash outside of a class. */
static RegexNode *parse_backslash(RegexParser *s)
{
    uint32_t c;
    if (s->p == s->end)
        return ledge__regex_fail(s, "it ends in a backslash");
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
        RegexNode *n = node_new(s, NODE_CLASS, NULL, NULL);
        if (n) {
            n->ranges = set.items;
            n->n_ranges = set.n;
        }
        return n;
    }
    return parse_escape(s, &c) ? class_node(s, c, c, false) : NULL;
}

static RegexNode *parse_atom(RegexParser *s)
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
        return ledge__regex_fail(s, "there is nothing to repeat");
    default:
        c = ledge__regex_decode(&s->p, s->end);
        return class_node(s, c, c, false);
    }
}

static int parse_number(RegexParser *s)
{
    int v = -1;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
        v = (v < 0 ? 0 : v) * 10 + (*s->p++ - '0');
        if (v > LEDGE_REGEX_MAX_REPEAT)
            v = LEDGE_REGEX_MAX_REPEAT + 1;
    }
    return v;
}

/* {n}, {n,} or {n,m}; what is none of them is literal text, and p stays. */
static bool parse_braces(RegexParser *s, int *min, int *max)
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
static RegexNode *parse_repeat(RegexParser *s, RegexNode *atom)
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
        return ledge__regex_fail(s, "a repetition is repeated");
    if (min > LEDGE_REGEX_MAX_REPEAT || max > LEDGE_REGEX_MAX_REPEAT || (max >= 0 && max < min))
        return ledge__regex_fail(s, "a repetition is out of range");
    atom = node_new(s, NODE_REPEAT, atom, NULL);
    if (atom) {
        atom->min = min;
        atom->max = max;
    }
    return atom;
}

/* A left-leaning chain, so that emitting it needs no depth. */
static RegexNode *parse_sequence(RegexParser *s)
{
    RegexNode *all = NULL;
    while (s->p < s->end && *s->p != '|' && *s->p != ')') {
        RegexNode *next = parse_repeat(s, parse_atom(s));
        if (!next)
            return NULL;
        all = all ? node_new(s, NODE_CAT, all, next) : next;
        if (!all)
            return NULL;
    }
    return all ? all : node_new(s, NODE_EMPTY, NULL, NULL);
}

static RegexNode *parse_alternatives(RegexParser *s)
{
    RegexNode *all = parse_sequence(s);
    while (all && s->p < s->end && *s->p == '|') {
        s->p++;
        RegexNode *next = parse_sequence(s);
        all = next ? node_new(s, NODE_ALT, all, next) : NULL;
    }
    return all;
}

RegexNode *ledge__regex_parse(RegexParser *s)
{
    RegexNode *root = parse_alternatives(s);
    if (root && s->p < s->end)
        return ledge__regex_fail(s, "a ) has no (");
    return root;
}
