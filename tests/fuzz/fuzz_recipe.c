/* Fuzz target of recipes: any bytes give a recipe within its bounds, or a sentence. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/compress_recipe.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Recipe r = {0};
    LedgeError err = {0};
    const LedgeStatus status = recipe_parse("fuzz", (const char *)data, size, &err, &r);
    check(status == err.status);
    if (status) {
        check(err.message[0] != '\0' && r.n == 0);
        return 0;
    }
    check(r.n >= 1 && r.n <= RECIPE_MOST_STEPS);
    for (size_t i = 0; i < r.n; i++) {
        check(r.steps[i].n_words <= RECIPE_MOST_WORDS);
        for (size_t w = 0; w < r.steps[i].n_words; w++)
            check(strlen(r.steps[i].words[w]) <= size + 2);
        check(recipe_kind_name(r.steps[i].kind) != NULL);
    }
    recipe_free(&r);
    return 0;
}
