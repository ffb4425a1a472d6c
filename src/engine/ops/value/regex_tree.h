/* Between the two halves of the regular expression engine: the tree that the parser makes and the
 * program is made from, and what both halves use. */
#ifndef LEDGE_ENGINE_OPS_REGEX_TREE_H
#define LEDGE_ENGINE_OPS_REGEX_TREE_H

#include <stdint.h>
#include <string.h>

#include "engine/ops/value/regex.h"

#define LEDGE_REGEX_MAX_REPEAT 1000 /* in {n,m}, as in RE2 */

typedef struct RegexRange {
    uint32_t low, high;
} RegexRange;

typedef enum RegexKind {
    NODE_EMPTY,
    NODE_CLASS,
    NODE_CAT,
    NODE_ALT,
    NODE_REPEAT,
    NODE_ASSERT
} RegexKind;

typedef enum RegexAssertion {
    TEXT_BEGIN,
    TEXT_END,
    LINE_BEGIN,
    LINE_END,
    WORD_EDGE,
    NO_WORD_EDGE
} RegexAssertion;

typedef struct RegexNode {
    RegexKind kind;
    struct RegexNode *a, *b; /* CAT, ALT: both; REPEAT: a */
    int min, max;            /* REPEAT; max -1: no bound */
    RegexAssertion assertion;
    RegexRange *ranges; /* CLASS */
    int n_ranges;
} RegexNode;

typedef struct RegexParser {
    const uint8_t *p, *end;
    LedgeRegexAlloc alloc;
    void *context;
    const char *why;
    int depth;
    bool fold, dot_all, multi_line; /* flags i, s, m */
} RegexParser;

/* Zeroed, or NULL. */
void *ledge__regex_alloc(RegexParser *s, size_t bytes);
/* Notes the first reason; always NULL. */
RegexNode *ledge__regex_fail(RegexParser *s, const char *why);
/* One UTF-8 character; a byte that starts none counts as itself. */
uint32_t ledge__regex_decode(const uint8_t **p, const uint8_t *end);
/* The tree of the whole pattern; NULL with s->why set, or for lack of memory. */
RegexNode *ledge__regex_parse(RegexParser *s);

#endif
