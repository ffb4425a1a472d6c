/* A build without providers (no dlopen, no fork: wasm): the CPU is all there is, and anything else
 * is refused by name. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "engine/session/backend.h"
#include "ledge/provider.h"

size_t ledge_provider_count(void)
{
    return 1;
}

const char *ledge_provider_name(size_t index)
{
    return index == 0 ? "cpu" : NULL;
}

static LedgeStatus refuse(const char *name, LedgeError *err)
{
    return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL,
                       "this build of ledge has no provider but cpu, '%.60s' was asked for", name);
}

LedgeStatus ledge_provider_probe(const char *name, LedgeError *error, LedgeProviderInfo *out)
{
    if (!name || !out)
        return ledge__fail(error, LEDGE_ERROR_ARGUMENT, NULL, "name and out must be given");
    if (strcmp(name, "cpu") != 0)
        return refuse(name, error);
    *out = (LedgeProviderInfo){.name = "cpu", .through = "ledge"};
    snprintf(out->version, sizeof out->version, "%s", ledge_version());
    return LEDGE_OK;
}

LedgeStatus ledge__backend_open(LedgeModel *m, const LedgeSessionOptions *o, int threads,
                                LedgeError *err, LedgeBackend **out)
{
    (void)m, (void)threads, (void)out;
    const bool cpu = strcmp(o->providers, "cpu") == 0 || strcmp(o->providers, "auto") == 0;
    return cpu && !o->n_provider_options ? LEDGE_OK : refuse(o->providers, err);
}

/* No backend is ever made, so none of these is ever called. */
void ledge__backend_free(LedgeBackend *b)
{
    (void)b;
}

bool ledge__backend_is_whole(const LedgeBackend *b)
{
    (void)b;
    return false;
}

LedgeGraph *ledge__backend_graph(const LedgeBackend *b, LedgeWeights **weights)
{
    (void)b, (void)weights;
    return NULL;
}

LedgeStatus ledge__backend_run(LedgeBackend *b, const LedgeTensor *inputs, LedgeTensor *outputs,
                               LedgeError *err)
{
    (void)b, (void)inputs, (void)outputs;
    return refuse("one", err);
}

bool ledge__backend_out_of_memory(const LedgeBackend *b)
{
    (void)b;
    return false;
}

LedgeStatus ledge__backend_step_down(LedgeBackend *b, LedgeError *err)
{
    (void)b;
    return refuse("one", err);
}

void ledge__backend_note(LedgeBackend *b, const char *fmt, ...)
{
    (void)b, (void)fmt;
}

const LedgePlacement *ledge__backend_placement(LedgeBackend *b)
{
    (void)b;
    return NULL;
}
