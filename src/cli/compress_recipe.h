/* Recipes of `ledge compress`: which steps, in which order, with which options. */
#ifndef LEDGE_CLI_COMPRESS_RECIPE_H
#define LEDGE_CLI_COMPRESS_RECIPE_H

#include "cli/cli.h"

enum { RECIPE_MOST_STEPS = 16, RECIPE_MOST_WORDS = 200 };
#define RECIPE_MOST_BYTES ((size_t)1 << 20)

typedef enum RecipeKind {
    RECIPE_PRUNE,
    RECIPE_DISTILL,
    RECIPE_QUANTIZE,
    RECIPE_CERTIFY,
    RECIPE_KINDS
} RecipeKind;

typedef struct RecipeStep {
    RecipeKind kind;
    char **words; /* options as on the command line: "--amount", "0.4", ... */
    size_t n_words;
} RecipeStep;

typedef struct Recipe {
    RecipeStep steps[RECIPE_MOST_STEPS];
    size_t n;
} Recipe;

const char *recipe_kind_name(RecipeKind kind);
/* Whether the step has the option, "--finetune". */
bool recipe_has(const RecipeStep *s, const char *option);

/* Whether a step 'quantize' finds ranges, and names no data to find them on. */
bool recipe_needs_data(const RecipeStep *s);

/* A file of {"steps": [{"prune": {"amount": 0.4}}, ...]}, or the word "default". Statuses: IO,
 * FORMAT (with one sentence on what is wrong where), LIMIT, MEMORY. */
LedgeStatus recipe_read(const char *what, LedgeError *err, Recipe *out);
/* The same from text; `where` is for messages. */
LedgeStatus recipe_parse(const char *where, const char *text, size_t size, LedgeError *err,
                         Recipe *out);
void recipe_free(Recipe *r);

#endif
