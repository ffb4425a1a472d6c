/* The repository of tuf_repo.h. */
#include "tuf_repo.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#undef NDEBUG
#include <assert.h>

#define OK(call) assert((call) == LEDGE_OK)

void repo_put(RepoFiles *f, const char *name, const void *bytes, size_t size)
{
    repo_remove(f, name);
    assert(f->n < REPO_FILES);
    RepoFile *one = &f->files[f->n++];
    snprintf(one->name, sizeof one->name, "%s", name);
    one->bytes = malloc(size + 1);
    assert(one->bytes);
    memcpy(one->bytes, bytes, size);
    one->bytes[size] = '\0';
    one->size = size;
}

RepoFile *repo_get(RepoFiles *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->files[i].name, name) == 0)
            return &f->files[i];
    return NULL;
}

void repo_remove(RepoFiles *f, const char *name)
{
    RepoFile *one = repo_get(f, name);
    if (!one)
        return;
    free(one->bytes);
    *one = f->files[--f->n];
}

void repo_copy(RepoFiles *to, const RepoFiles *from)
{
    repo_clear(to);
    for (size_t i = 0; i < from->n; i++)
        repo_put(to, from->files[i].name, from->files[i].bytes, from->files[i].size);
}

void repo_clear(RepoFiles *f)
{
    while (f->n)
        repo_remove(f, f->files[0].name);
}

/* ---- the repository ---- */

void repo_key(LedgeTufKeys *keys, size_t n, size_t threshold)
{
    ledge__tuf_keys_free(keys);
    for (size_t i = 0; i < n; i++)
        OK(ledge__key_new(NULL, &keys->keys[i]));
    keys->n = n;
    keys->threshold = threshold;
}

void repo_sign(Repo *r, LedgeTufRole role, json_t *content, const char *name, LedgeTufFile *file)
{
    json_t *envelope;
    char *text;
    size_t size;
    assert(content);
    OK(ledge__envelope_make(content, (const LedgeKey *const *)r->keys[role].keys, r->keys[role].n,
                            NULL, &envelope));
    OK(ledge__tuf_text(envelope, NULL, &text, &size, file));
    repo_put(&r->files, name, text, size);
    free(text);
    json_decref(envelope);
    json_decref(content);
}

void repo_publish_root(Repo *r, const LedgeTufKeys *signers)
{
    const LedgeKey *keys[2 * LEDGE_TUF_KEYS];
    json_t *envelope, *content;
    char *text, name[64];
    size_t size, n = 0;
    for (size_t i = 0; signers && i < signers->n; i++)
        keys[n++] = signers->keys[i];
    for (size_t i = 0; i < r->keys[LEDGE_TUF_ROOT].n; i++)
        keys[n++] = r->keys[LEDGE_TUF_ROOT].keys[i];
    const int64_t version = ++r->version[LEDGE_TUF_ROOT];
    content = ledge__tuf_make_root(version, r->expires[LEDGE_TUF_ROOT], r->keys);
    OK(ledge__envelope_make(content, keys, n, NULL, &envelope));
    OK(ledge__tuf_text(envelope, NULL, &text, &size, NULL));
    snprintf(name, sizeof name, "%lld.root.json", (long long)version);
    repo_put(&r->files, name, text, size);
    free(text);
    json_decref(envelope);
    json_decref(content);
}

/* The entry of what is published now. */
static LedgeTufFile listed(Repo *r, LedgeTufRole role)
{
    LedgeTufFile f = {.version = r->version[role]};
    char name[64];
    snprintf(name, sizeof name, "%lld.%s.json", (long long)f.version, ledge__tuf_role_name(role));
    const RepoFile *file = repo_get(&r->files, name);
    assert(file);
    f.length = (int64_t)file->size;
    OK(ledge__sha256_of(file->bytes, file->size, f.sha256));
    return f;
}

void repo_publish(Repo *r, LedgeTufRole role, bool above)
{
    const int64_t version = ++r->version[role], expires = r->expires[role];
    LedgeTufFile file, below;
    char name[64];
    snprintf(name, sizeof name, "%lld.%s.json", (long long)version, ledge__tuf_role_name(role));
    if (role == LEDGE_TUF_TARGETS) {
        repo_sign(r, role, ledge__tuf_make_targets(version, expires, json_incref(r->targets)), name,
                  &file);
    } else if (role == LEDGE_TUF_SNAPSHOT) {
        below = listed(r, LEDGE_TUF_TARGETS);
        repo_sign(r, role, ledge__tuf_make_snapshot(version, expires, &below), name, &file);
    } else {
        below = listed(r, LEDGE_TUF_SNAPSHOT);
        repo_sign(r, role, ledge__tuf_make_timestamp(version, expires, &below), "timestamp.json",
                  &file);
    }
    if (above && role == LEDGE_TUF_TARGETS)
        repo_publish(r, LEDGE_TUF_SNAPSHOT, true);
    else if (above && role == LEDGE_TUF_SNAPSHOT)
        repo_publish(r, LEDGE_TUF_TIMESTAMP, true);
}

void repo_add_target(Repo *r, const char *path, const char *content, bool rollback_ok)
{
    char sha[LEDGE_SHA256_HEX];
    OK(ledge__sha256_of(content, strlen(content), sha));
    json_t *custom = rollback_ok ? json_pack("{s:b}", "rollback_ok", 1) : NULL;
    json_t *entry = ledge__tuf_make_target((int64_t)strlen(content), sha, custom);
    assert(entry && json_object_set_new(r->targets, path, entry) == 0);
}

void repo_new(Repo *r)
{
    *r = (Repo){.targets = json_object(), .time = REPO_NOW};
    for (int role = 0; role < LEDGE_TUF_ROLE_COUNT; role++) {
        repo_key(&r->keys[role], 1, 1);
        r->expires[role] = REPO_NOW + 30 * REPO_DAY;
    }
    repo_key(&r->keys[LEDGE_TUF_ROOT], 3, 2);
    r->expires[LEDGE_TUF_ROOT] = REPO_NOW + (int64_t)30 * 365 * REPO_DAY; /* for tests by real clocks */
    repo_publish_root(r, NULL);
    repo_publish(r, LEDGE_TUF_TARGETS, true);
}

void repo_free(Repo *r)
{
    for (int role = 0; role < LEDGE_TUF_ROLE_COUNT; role++)
        ledge__tuf_keys_free(&r->keys[role]);
    json_decref(r->targets);
    repo_clear(&r->files);
}

/* ---- what the client is given ---- */

static LedgeStatus give_time(Repo *r, const char *name, LedgeError *err, char **bytes, size_t *size)
{
    char nonce[65];
    json_t *envelope, *content;
    if (sscanf(name, "time/%64[0-9a-f].json", nonce) != 1 || !r->time)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, name, "tells no time");
    const LedgeTufKeys *k = &r->keys[LEDGE_TUF_TIMESTAMP];
    content = ledge__tuf_make_time(r->time, nonce);
    OK(ledge__envelope_make(content, (const LedgeKey *const *)k->keys, k->n, NULL, &envelope));
    OK(ledge__tuf_text(envelope, NULL, bytes, size, NULL));
    json_decref(envelope);
    json_decref(content);
    return LEDGE_OK;
}

static LedgeStatus fetch(void *context, const char *name, size_t max, LedgeError *err, char **bytes,
                         size_t *size)
{
    Repo *r = context;
    r->asked++;
    r->largest_max = max > r->largest_max ? max : r->largest_max;
    const RepoFile *f = repo_get(&r->files, name);
    if (r->endless) { /* a source that does not keep to its bound either */
        *size = max + 1;
        *bytes = malloc(*size);
        assert(*bytes);
        memset(*bytes, ' ', *size);
        return LEDGE_OK;
    }
    if (!f && strncmp(name, "time/", 5) == 0)
        return give_time(r, name, err, bytes, size);
    if (!f)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, name, "there is no such file");
    if (f->size > max)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, name, "is larger than %zu bytes", max);
    *bytes = malloc(f->size + 1);
    assert(*bytes);
    memcpy(*bytes, f->bytes, f->size);
    *size = f->size;
    return LEDGE_OK;
}

LedgeTufSource repo_source(Repo *r)
{
    return (LedgeTufSource){r, fetch};
}

static LedgeStatus load(void *context, const char *name, size_t max, LedgeError *err, char **bytes,
                        size_t *size)
{
    const RepoFile *f = repo_get(context, name);
    if (!f || f->size > max)
        return ledge__fail(err, f ? LEDGE_ERROR_LIMIT : LEDGE_ERROR_NOT_FOUND, name, "not kept");
    *bytes = malloc(f->size + 1);
    assert(*bytes);
    memcpy(*bytes, f->bytes, f->size);
    *size = f->size;
    return LEDGE_OK;
}

static LedgeStatus save(void *context, const char *name, const void *bytes, size_t size,
                        LedgeError *err)
{
    (void)err;
    repo_put(context, name, bytes, size);
    return LEDGE_OK;
}

static LedgeStatus forget(void *context, const char *name, LedgeError *err)
{
    (void)err;
    repo_remove(context, name);
    return LEDGE_OK;
}

LedgeTufStore repo_store(RepoFiles *device)
{
    return (LedgeTufStore){device, load, save, forget};
}

LedgeTufClock repo_clock(int64_t now, bool synchronised)
{
    static char nonce[33];
    static unsigned n;
    snprintf(nonce, sizeof nonce, "%032x", ++n);
    return (LedgeTufClock){now, synchronised, nonce};
}
