/* Reads recipes. They come from anywhere, so that all of them is bounded and checked here; what an
 * option means is checked by the command that it is for. */
#include "cli/compress_recipe.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "image/file_bytes.h"

static const char by_default[] =
    "{\"steps\": [{\"prune\": {\"target-macs\": 0.5, \"round\": 16}},"
    " {\"distill\": {\"epochs\": 10}}, {\"quantize\": {\"samples\": 300}},"
    " {\"certify\": {\"max-drop\": 2}}]}";

static const char *const kinds[RECIPE_KINDS] = {"prune", "distill", "quantize", "certify"};

const char *recipe_kind_name(RecipeKind kind)
{
    return kinds[kind];
}

bool recipe_has(const RecipeStep *s, const char *option)
{
    for (size_t i = 0; i < s->n_words; i++)
        if (strcmp(s->words[i], option) == 0)
            return true;
    return false;
}

bool recipe_needs_data(const RecipeStep *s)
{
    if (recipe_has(s, "--calibrate") || recipe_has(s, "--dataset") || recipe_has(s, "--input"))
        return false;
    for (size_t i = 0; i + 1 < s->n_words; i++)
        if (strcmp(s->words[i], "--mode") == 0)
            return strcmp(s->words[i + 1], "static") == 0;
    return true;
}

void recipe_free(Recipe *r)
{
    for (size_t i = 0; i < r->n; i++) {
        for (size_t k = 0; k < r->steps[i].n_words; k++)
            free(r->steps[i].words[k]);
        free(r->steps[i].words);
    }
    *r = (Recipe){0};
}

typedef struct Reading {
    const char *where;
    LedgeError *err;
    Recipe recipe;
} Reading;

static LedgeStatus wrong(const Reading *r, const char *fmt, const char *word)
{
    return ledge__fail(r->err, LEDGE_ERROR_FORMAT, r->where, fmt, word);
}

/* Takes `word` over. */
static LedgeStatus add_word(Reading *r, RecipeStep *s, char *word)
{
    if (!word)
        return ledge__no_memory(r->err);
    if (s->n_words == RECIPE_MOST_WORDS) {
        free(word);
        return wrong(r, "the step '%s' has too many options", recipe_kind_name(s->kind));
    }
    s->words[s->n_words++] = word;
    return LEDGE_OK;
}

static char *option_word(const char *name)
{
    char *word = malloc(strlen(name) + 3);
    if (word)
        sprintf(word, "--%s", name);
    return word;
}

static char *value_word(const json_t *value)
{
    char text[40];
    if (json_is_string(value))
        return strdup(json_string_value(value));
    if (json_is_integer(value))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
    else
        snprintf(text, sizeof text, "%.17g", json_real_value(value));
    return strdup(text);
}

/* Input, output and format are the chain's own. */
static bool is_own(const char *name)
{
    static const char *const own[] = {"output", "json", "help", "reference", "student"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(name, own[i]) == 0)
            return true;
    return false;
}

static bool is_option_name(const char *name)
{
    const size_t n = strlen(name);
    return n > 0 && n < 40 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n &&
           name[0] != '-';
}

static LedgeStatus add_option(Reading *r, RecipeStep *s, const char *name, const json_t *value)
{
    if (json_is_false(value))
        return LEDGE_OK;
    LEDGE_TRY(add_word(r, s, option_word(name)));
    if (json_is_true(value))
        return LEDGE_OK;
    if (!json_is_string(value) && !json_is_number(value))
        return wrong(
            r, "the option '%.40s' must be a text, a number, true, false or a list of them", name);
    return add_word(r, s, value_word(value));
}

static LedgeStatus add_options(Reading *r, RecipeStep *s, json_t *options)
{
    const char *name;
    json_t *value, *item;
    size_t i;
    if (!json_is_object(options))
        return wrong(r, "the options of '%s' must be an object, like {\"amount\": 0.4}",
                     recipe_kind_name(s->kind));
    json_object_foreach(options, name, value)
    {
        if (!is_option_name(name))
            return wrong(r, "'%.40s' is no name of an option; write them without dashes before",
                         cli_clean(name));
        if (is_own(name))
            return wrong(r, "the option '%.40s' is the chain's own to set", name);
        if (!json_is_array(value)) {
            LEDGE_TRY(add_option(r, s, name, value));
            continue;
        }
        json_array_foreach(value, i, item) LEDGE_TRY(add_option(r, s, name, item));
    }
    return LEDGE_OK;
}

static LedgeStatus add_step(Reading *r, json_t *step)
{
    void *only = json_is_object(step) ? json_object_iter(step) : NULL;
    if (!only || json_object_size(step) != 1)
        return wrong(r, "each step must be an object of one entry, like {\"prune\": {...}}%s", "");
    const char *name = json_object_iter_key(only);
    RecipeStep *s = &r->recipe.steps[r->recipe.n];
    size_t kind = 0;
    while (kind < RECIPE_KINDS && strcmp(name, kinds[kind]) != 0)
        kind++;
    if (kind == RECIPE_KINDS)
        return wrong(r, "'%.40s' is no step; there are prune, distill, quantize and certify",
                     cli_clean(name));
    *s = (RecipeStep){.kind = (RecipeKind)kind,
                      .words = calloc(RECIPE_MOST_WORDS, sizeof *s->words)};
    if (!s->words)
        return ledge__no_memory(r->err);
    r->recipe.n++;
    return add_options(r, s, json_object_iter_value(only));
}

/* Nothing can follow what only measures, and what is quantized is neither pruned nor trained. */
static LedgeStatus check_order(Reading *r)
{
    const Recipe *all = &r->recipe;
    for (size_t i = 0; i + 1 < all->n; i++) {
        const RecipeKind now = all->steps[i].kind, next = all->steps[i + 1].kind;
        if (now == RECIPE_CERTIFY)
            return wrong(r, "'certify' must be the last step%s", "");
        if (now == RECIPE_QUANTIZE && next != RECIPE_CERTIFY)
            return wrong(r, "'%s' cannot follow 'quantize', which makes a model of integers",
                         recipe_kind_name(next));
    }
    if (all->steps[0].kind == RECIPE_CERTIFY)
        return wrong(r, "a recipe of 'certify' alone makes no model%s", "");
    return LEDGE_OK;
}

static LedgeStatus read_all(Reading *r, json_t *root)
{
    const char *key;
    json_t *value, *step;
    size_t i;
    if (!json_is_object(root))
        return wrong(r, "a recipe is an object, like {\"steps\": [{\"prune\": {}}]}%s", "");
    json_object_foreach(root, key, value) if (strcmp(key, "steps") != 0) return wrong(
        r, "'%.40s' is no key of a recipe, which has 'steps' alone", cli_clean(key));
    json_t *steps = json_object_get(root, "steps");
    if (!json_is_array(steps) || json_array_size(steps) == 0)
        return wrong(r, "'steps' must be a list of one step or more%s", "");
    if (json_array_size(steps) > RECIPE_MOST_STEPS)
        return wrong(r, "the recipe has too many steps%s", "");
    json_array_foreach(steps, i, step) LEDGE_TRY(add_step(r, step));
    return check_order(r);
}

LedgeStatus recipe_parse(const char *where, const char *text, size_t size, LedgeError *err,
                         Recipe *out)
{
    Reading r = {.where = where, .err = err};
    json_error_t e;
    if (size > RECIPE_MOST_BYTES)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, where, "is too long for a recipe");
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);
    if (!root)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where, "line %d: %s", e.line, e.text);
    const LedgeStatus s = read_all(&r, root);
    json_decref(root);
    if (s)
        recipe_free(&r.recipe);
    else
        *out = r.recipe;
    return s;
}

LedgeStatus recipe_read(const char *what, LedgeError *err, Recipe *out)
{
    if (strcmp(what, "default") == 0)
        return recipe_parse("default", by_default, sizeof by_default - 1, err, out);
    uint8_t *text = NULL;
    size_t n;
    LEDGE_TRY(ledge__file_bytes(NULL, what, RECIPE_MOST_BYTES, err, &text, &n));
    const LedgeStatus s = recipe_parse(what, (const char *)text, n, err, out);
    ledge__free(NULL, text);
    return s;
}
