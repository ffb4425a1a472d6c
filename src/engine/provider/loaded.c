/* Loading a provider's library and checking what it exports. */
#include "engine/provider/loaded.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

/* Bytes of LedgeProvider in the first version; later members may be missing. */
#define SIZE_OF_ABI_1 (offsetof(LedgeProvider, program_free) + sizeof(void (*)(void *)))

bool ledge__loaded_is_path(const char *word)
{
    const size_t n = strlen(word);
    return strchr(word, '/') || (n > 3 && strcmp(word + n - 3, ".so") == 0);
}

static LedgeStatus check(const LedgeProvider *p, const char *path, LedgeError *err)
{
    if (!p)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, path,
                           "this provider is for another version of ledge than %d; rebuild it",
                           LEDGE_PROVIDER_ABI);
    if (p->abi != LEDGE_PROVIDER_ABI || p->size < SIZE_OF_ABI_1)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, path,
                           "this provider has interface version %u and %u bytes, ledge takes "
                           "version %d and at least %zu; rebuild it",
                           p->abi, p->size, LEDGE_PROVIDER_ABI, SIZE_OF_ABI_1);
    if (!p->name || !*p->name || strlen(p->name) > 40 || !p->open || !p->close || !p->claim ||
        !p->compile || !p->run || !p->program_free)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, path,
                           "this provider leaves out its name or one of its functions");
    return LEDGE_OK;
}

LedgeStatus ledge__loaded_open(const char *path, LedgeError *err, const LedgeProvider **out)
{
    char here[4096]; /* without a slash the loader would search its own folders */
    LedgeProviderGet get;
    snprintf(here, sizeof here, "%s%s", strchr(path, '/') ? "" : "./", path);
    void *handle = dlopen(here, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, path,
                           "this is no library that can be loaded here: %.300s", dlerror());
    void *symbol = dlsym(handle, LEDGE_PROVIDER_SYMBOL);
    if (!symbol)
        return ledge__fail(err, LEDGE_ERROR_PROVIDER, path,
                           "this is no provider: it does not export %s", LEDGE_PROVIDER_SYMBOL);
    memcpy(&get, &symbol, sizeof get);
    const LedgeProvider *p = get(LEDGE_PROVIDER_ABI);
    LEDGE_TRY(check(p, path, err));
    *out = p;
    return LEDGE_OK;
}

void ledge__loaded_look(const void *path, ProbeAnswer *out)
{
    LedgeError err = {0};
    const LedgeProvider *p = NULL;
    snprintf(out->library, sizeof out->library, "%s", (const char *)path);
    LedgeStatus status = ledge__loaded_open(path, &err, &p);
    if (status == LEDGE_OK) {
        snprintf(out->name, sizeof out->name, "%s", p->name);
        snprintf(out->version, sizeof out->version, "%s", p->version ? p->version : "");
        status = p->probe ? p->probe(&err) : LEDGE_OK;
        if (status && !err.message[0])
            snprintf(err.message, sizeof err.message, "it says that it cannot be used here (%s)",
                     ledge_status_text(status));
    }
    if (status)
        ledge__probe_refuse(out, "%s: %.400s", (const char *)path, err.message);
}
