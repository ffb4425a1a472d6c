/* A provider that does one thing wrong, as ODD_PROVIDER says: crash (while probing), hang, old (a
 * lower interface version), nameless, namesake (of one that ledge knows), open, claim, compile, run, small (outputs left unset), memory
 * (rows over 2 do not fit), none (takes nothing). Otherwise it takes every Relu. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ledge/provider.h"

#define EXPORT __attribute__((visibility("default")))

static int odd(const char *how)
{
    const char *m = getenv("ODD_PROVIDER");
    return m && strcmp(m, how) == 0;
}

static LedgeStatus fail(LedgeError *e, LedgeStatus status, const char *text)
{
    e->status = status;
    snprintf(e->message, sizeof e->message, "%s", text);
    return status;
}

static LedgeStatus probe(LedgeError *e)
{
    if (odd("crash"))
        abort();
    if (odd("hang"))
        for (;;)
            sleep(1000);
    return odd("absent") ? fail(e, LEDGE_ERROR_PROVIDER, "no such chip; plug one in") : LEDGE_OK;
}

static LedgeStatus open_odd(const LedgeProviderSetup *setup, LedgeError *e, void **instance)
{
    (void)setup;
    *instance = malloc(1);
    if (odd("open")) {
        free(*instance);
        *instance = NULL;
        return fail(e, LEDGE_ERROR_PROVIDER, "the chip is in use");
    }
    return LEDGE_OK;
}

static LedgeStatus claim(void *instance, const LedgeProviderGraph *g, bool *takes,
                         const char **reasons, LedgeError *e)
{
    (void)instance;
    for (size_t i = 0; i < g->n_nodes; i++) {
        takes[i] = !odd("none") && strcmp(g->nodes[i].op_type, "Relu") == 0;
        reasons[i] = takes[i] ? NULL : "only Relu is done here";
    }
    return odd("claim") ? fail(e, LEDGE_ERROR_PROVIDER, "the model is too strange") : LEDGE_OK;
}

typedef struct Program {
    float *own;
} Program;

static LedgeStatus compile(void *instance, const LedgeProviderGraph *part, LedgeError *e,
                           void **program)
{
    (void)instance, (void)part;
    if (odd("compile"))
        return fail(e, LEDGE_ERROR_PROVIDER, "the compiler gave up");
    *program = calloc(1, sizeof(Program));
    return *program ? LEDGE_OK : LEDGE_ERROR_MEMORY;
}

static LedgeStatus run(void *program, const LedgeTensor *in, LedgeTensor *out, LedgeError *e)
{
    Program *p = program;
    size_t n = 1;
    if (odd("run"))
        return fail(e, LEDGE_ERROR_RUNTIME, "the chip overheated");
    if (odd("memory") && in->dims[0] > 2)
        return fail(e, LEDGE_ERROR_MEMORY, "the chip's memory is full");
    if (odd("small"))
        return LEDGE_OK;
    for (int32_t d = 0; d < in->rank; d++)
        n *= (size_t)in->dims[d];
    if (!out->data) {
        p->own = realloc(p->own, n * sizeof(float) + 1);
        *out = *in;
        out->data = p->own;
    }
    for (size_t i = 0; i < n; i++)
        ((float *)out->data)[i] = ((float *)in->data)[i] > 0 ? ((float *)in->data)[i] : 0;
    return LEDGE_OK;
}

static void program_free(void *program)
{
    free(((Program *)program)->own);
    free(program);
}

EXPORT const LedgeProvider *ledge_provider_get(uint32_t abi);
EXPORT const LedgeProvider *ledge_provider_get(uint32_t abi)
{
    static LedgeProvider p = {.abi = LEDGE_PROVIDER_ABI,
                              .size = sizeof p,
                              .name = "odd",
                              .version = "0",
                              .probe = probe,
                              .open = open_odd,
                              .close = free,
                              .claim = claim,
                              .compile = compile,
                              .run = run,
                              .program_free = program_free};
    p.abi = odd("old") ? 0 : LEDGE_PROVIDER_ABI;
    p.name = odd("nameless") ? "" : odd("namesake") ? "cpu" : "odd";
    return abi >= LEDGE_PROVIDER_ABI ? &p : NULL;
}
