/* The keys that sign or are trusted. */
#include <stdlib.h>

#include "cli/certify.h"

void certify_keys_free(LedgeKey **keys, size_t n)
{
    for (size_t i = 0; keys && i < n; i++)
        ledge__key_free(keys[i]);
    free(keys);
}

int certify_keys(const CertifyOptions *o, LedgeKey ***out)
{
    LedgeError err = {0};
    LedgeKey **keys = calloc(o->keys.n + 1, sizeof *keys);
    if (!keys)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    for (size_t i = 0; i < o->keys.n; i++)
        if (ledge__key_load(o->keys.items[i], &err, &keys[i])) {
            certify_keys_free(keys, o->keys.n);
            return cli_fail(o->keys.items[i], &err);
        }
    *out = keys;
    return CLI_GO;
}
