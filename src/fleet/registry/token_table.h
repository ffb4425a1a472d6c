/* Tokens in memory, by the SHA-256 of their text, so that no request waits for the database to know
 * who asks. Any thread may look up while another loads. */
#ifndef LEDGE_FLEET_REGISTRY_TOKEN_TABLE_H
#define LEDGE_FLEET_REGISTRY_TOKEN_TABLE_H

#include "fleet/registry/store.h"

typedef struct LedgeTokens LedgeTokens;

typedef struct LedgeCaller {
    int64_t token; /* 0: none */
    LedgeRole role;
    char device[LEDGE_FLEET_DEVICE]; /* of the role device; "": any device */
} LedgeCaller;

LedgeTokens *ledge__tokens_new(void);    /* NULL: no memory */
void ledge__tokens_free(LedgeTokens *t); /* NULL is legal */
/* On the database's thread: reads them anew where the epoch is another one than last time. */
LEDGE_MUST_CHECK LedgeStatus ledge__tokens_load(LedgeTokens *t, LedgeStore *s, LedgeError *err);
/* Of an Authorization header; false: it holds no token that is known. */
bool ledge__tokens_find(LedgeTokens *t, const char *header, LedgeCaller *out);

#endif
