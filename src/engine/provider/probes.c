/* Answers of probes, kept for the process: ledge_provider_probe and the list of names. */
#include "engine/provider/probes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/lock.h"
#include "base/nearest.h"
#include "engine/provider/loaded.h"
#include "engine/provider/ort_library.h"

#define MAX_NAMES 64

typedef struct Kept {
    struct Kept *next;
    char *key; /* what was asked for, and of which library */
    ProbeAnswer answer;
} Kept;

size_t ledge_provider_count(void)
{
    return ledge__known_provider_count;
}

const char *ledge_provider_name(size_t index)
{
    return index < ledge__known_provider_count ? ledge__known_providers[index].name : NULL;
}

LedgeStatus ledge__provider_unknown(const char *name, LedgeError *err)
{
    const char *names[MAX_NAMES];
    size_t n = 0;
    char list[300] = "";
    for (; n < ledge__known_provider_count && n + 1 < MAX_NAMES; n++) {
        names[n] = ledge__known_providers[n].name;
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s, ", names[n]);
    }
    names[n++] = "auto";
    const char *near = ledge__nearest(name, names, n);
    if (near)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL,
                           "there is no provider '%.40s'; did you mean '%s'?", name, near);
    return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL,
                       "there is no provider '%.40s'; there are %sauto, and a shared library by "
                       "its path",
                       name, list);
}

static void look(const char *name, const KnownProvider *known, ProbeAnswer *out)
{
    char path[256], why[300];
    memset(out, 0, sizeof *out);
    if (!known) {
        char what[300];
        snprintf(what, sizeof what, "provider %.250s", name);
        ledge__probe_in_child(what, ledge__loaded_look, name, out);
    } else if (!known->ort_name) {
        snprintf(out->version, sizeof out->version, "%s", ledge_version());
    } else if (!ledge__ort_find(path, sizeof path, why, sizeof why)) {
        ledge__probe_refuse(out, "%s; %.180s", why, ledge__known_find("ort")->mend);
    } else {
        const OrtLook arg = {path, known};
        char what[300];
        snprintf(what, sizeof what, "%s in %.220s", known->ort_name, path);
        ledge__probe_in_child(what, ledge__ort_look, &arg, out);
        snprintf(out->library, sizeof out->library, "%s", path);
    }
    if (known)
        snprintf(out->name, sizeof out->name, "%s", known->name);
}

static const Kept *find(const Kept *list, const char *key)
{
    while (list && strcmp(list->key, key) != 0)
        list = list->next;
    return list;
}

LedgeStatus ledge__provider_probe(const char *name, LedgeError *err, ProbeAnswer *out)
{
    static LedgeLock lock = {PTHREAD_MUTEX_INITIALIZER};
    static Kept *kept; /* for as long as the process lives */
    const KnownProvider *known = ledge__known_find(name);
    char key[4500];
    if (!known && !ledge__loaded_is_path(name))
        return ledge__provider_unknown(name, err);
    const char *ort = getenv("LEDGE_ORT");
    snprintf(key, sizeof key, "%.2000s|%.2000s", name, known && known->ort_name && ort ? ort : "");
    ledge__lock_take(&lock);
    const Kept *have = find(kept, key);
    if (!have) {
        Kept *k = calloc(1, sizeof *k);
        if (k && (k->key = strdup(key))) {
            look(name, known, &k->answer);
            k->next = kept;
            kept = k;
        } else {
            free(k);
            k = NULL;
        }
        have = k;
    }
    if (have)
        *out = have->answer;
    ledge__lock_give(&lock);
    return have ? LEDGE_OK : ledge__no_memory(err);
}

LedgeStatus ledge_provider_probe(const char *name, LedgeError *error, LedgeProviderInfo *out)
{
    ProbeAnswer a;
    if (!name || !out)
        return ledge__fail(error, LEDGE_ERROR_ARGUMENT, NULL, "name and out must be given");
    const KnownProvider *known = ledge__known_find(name);
    LEDGE_TRY(ledge__provider_probe(name, error, &a));
    memset(out, 0, sizeof *out);
    out->name = known ? known->name : name;
    out->through = known && known->ort_name ? "ONNX Runtime" : "ledge";
    out->status = a.status;
    memcpy(out->version, a.version, sizeof out->version);
    memcpy(out->library, a.library, sizeof out->library);
    memcpy(out->reason, a.reason, sizeof out->reason);
    return LEDGE_OK;
}
