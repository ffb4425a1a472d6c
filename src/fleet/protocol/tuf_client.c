/* The client workflow, see tuf_client.h. Numbers in comments are the specification's steps. */
#include "fleet/protocol/tuf_client.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "trust/certificate.h"

enum {
    ROTATIONS = 256, /* roots followed in one update; more wait for the next */
    FLOOR_MAX = 64,  /* bytes of the kept floor */
    TIME_MAX = 4096,
};

struct LedgeTuf {
    LedgeTufStore store;
    LedgeTufMeta meta[LEDGE_TUF_ROLE_COUNT]; /* trusted; envelope NULL: none */
    int64_t floor, time;
    bool time_was_signed, is_updated;
};

/* ---- store ---- */

/* A kept file of a role; one that is damaged or was signed by keys since replaced is as good as
 * none. */
static void load_kept(LedgeTuf *t, LedgeTufRole role)
{
    const char *name = ledge__tuf_role_name(role);
    LedgeTufMeta meta = {0};
    LedgeError err = {0};
    char *bytes;
    size_t size;
    ledge__tuf_meta_free(&t->meta[role]);
    if (t->store.load(t->store.context, name, ledge__tuf_role_max(role), &err, &bytes, &size))
        return;
    LedgeStatus status = ledge__tuf_parse(role, bytes, size, &err, &meta);
    free(bytes);
    if (!status)
        status = ledge__tuf_verify(&t->meta[LEDGE_TUF_ROOT], &meta, &err);
    if (status)
        ledge__tuf_meta_free(&meta);
    t->meta[role] = meta;
    t->meta[role].role = role;
}

static int64_t load_floor(LedgeTuf *t)
{
    LedgeError err = {0};
    char *bytes, text[FLOOR_MAX + 1] = "";
    size_t size;
    if (t->store.load(t->store.context, "time", FLOOR_MAX, &err, &bytes, &size))
        return 0;
    memcpy(text, bytes, size < FLOOR_MAX ? size : FLOOR_MAX);
    free(bytes);
    const long long v = strtoll(text, NULL, 10);
    return v > 0 ? v : 0;
}

static LedgeStatus save_floor(LedgeTuf *t, LedgeError *err)
{
    char text[FLOOR_MAX];
    const int n = snprintf(text, sizeof text, "%" PRId64 "\n", t->floor);
    return t->store.save(t->store.context, "time", text, (size_t)n, err);
}

/* Makes `meta` the trusted one: kept first, believed then. */
static LedgeStatus adopt(LedgeTuf *t, LedgeTufMeta *meta, const char *bytes, size_t size,
                         LedgeError *err)
{
    const LedgeTufRole role = meta->role;
    LEDGE_TRY(t->store.save(t->store.context, ledge__tuf_role_name(role), bytes, size, err));
    ledge__tuf_meta_free(&t->meta[role]);
    t->meta[role] = *meta;
    *meta = (LedgeTufMeta){0};
    return LEDGE_OK;
}

/* ---- opening ---- */

/* A root must be signed as it asks itself. */
static LedgeStatus read_root(const void *bytes, size_t size, LedgeError *err, LedgeTufMeta *out)
{
    LedgeTufMeta root;
    LEDGE_TRY(ledge__tuf_parse(LEDGE_TUF_ROOT, bytes, size, err, &root));
    LedgeStatus status = ledge__tuf_verify(&root, &root, err);
    for (int role = 0; !status && role < LEDGE_TUF_ROLE_COUNT; role++) {
        LedgeTufKeys keys;
        status = ledge__tuf_keys(&root, (LedgeTufRole)role, err, &keys);
        if (!status)
            ledge__tuf_keys_free(&keys);
    }
    if (status) {
        ledge__tuf_meta_free(&root);
        return status;
    }
    *out = root;
    return LEDGE_OK;
}

/* The kept root, or the anchor where none is kept yet. */
static LedgeStatus open_root(LedgeTuf *t, const void *anchor, size_t size, LedgeError *err)
{
    char *bytes;
    size_t n;
    LedgeError problem = {0};
    LedgeStatus status = t->store.load(t->store.context, "root",
                                       ledge__tuf_role_max(LEDGE_TUF_ROOT), &problem, &bytes, &n);
    if (status == LEDGE_ERROR_NOT_FOUND)
        return read_root(anchor, size, err, &t->meta[LEDGE_TUF_ROOT]);
    if (status)
        return ledge__fail(err, status, problem.where, "%s", problem.message);
    status = read_root(bytes, n, err, &t->meta[LEDGE_TUF_ROOT]);
    free(bytes);
    return status;
}

LedgeStatus ledge__tuf_open(const LedgeTufStore *store, const void *anchor, size_t size,
                            LedgeError *err, LedgeTuf **out)
{
    LedgeTuf *t = calloc(1, sizeof *t);
    if (!t)
        return ledge__no_memory(err);
    t->store = *store;
    LedgeStatus status = open_root(t, anchor, size, err);
    if (status) {
        ledge__tuf_free(t);
        return status;
    }
    t->floor = load_floor(t);
    *out = t;
    return LEDGE_OK;
}

void ledge__tuf_free(LedgeTuf *t)
{
    for (int i = 0; t && i < LEDGE_TUF_ROLE_COUNT; i++)
        ledge__tuf_meta_free(&t->meta[i]);
    free(t);
}

/* ---- 5.3: the root ---- */

/* 5.3.4 and 5.3.5: signed as the old root asks and as the new one does, and the very next. */
static LedgeStatus check_next_root(const LedgeTufMeta *old, const LedgeTufMeta *next,
                                   LedgeError *err)
{
    LEDGE_TRY(ledge__tuf_verify(old, next, err));
    if (next->version != old->version + 1)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, "root",
                           "is version %" PRId64 " where %" PRId64 " must follow", next->version,
                           old->version + 1);
    return LEDGE_OK;
}

static LedgeStatus keys_changed(const LedgeTufMeta *a, const LedgeTufMeta *b, LedgeTufRole role,
                                LedgeError *err, bool *out)
{
    LedgeTufKeys old, new;
    LEDGE_TRY(ledge__tuf_keys(a, role, err, &old));
    LedgeStatus status = ledge__tuf_keys(b, role, err, &new);
    if (!status) {
        *out = *out || !ledge__tuf_keys_equal(&old, &new);
        ledge__tuf_keys_free(&new);
    }
    ledge__tuf_keys_free(&old);
    return status;
}

/* 5.3.11: keys that were replaced may have been stolen and have signed version numbers without
 * end, or a time far ahead; what they signed is forgotten. The new root is kept only after that,
 * so that a device that stops in between does it again. */
static LedgeStatus recover(LedgeTuf *t, const LedgeTufMeta *next, LedgeError *err)
{
    const LedgeTufMeta *old = &t->meta[LEDGE_TUF_ROOT];
    bool timestamp = false, snapshot = false;
    LEDGE_TRY(keys_changed(old, next, LEDGE_TUF_TIMESTAMP, err, &timestamp));
    LEDGE_TRY(keys_changed(old, next, LEDGE_TUF_SNAPSHOT, err, &snapshot));
    if (!timestamp && !snapshot)
        return LEDGE_OK;
    LEDGE_TRY(t->store.remove(t->store.context, "timestamp", err));
    LEDGE_TRY(t->store.remove(t->store.context, "snapshot", err));
    if (timestamp) {
        LEDGE_TRY(t->store.remove(t->store.context, "time", err));
        t->floor = 0;
    }
    return LEDGE_OK;
}

static LedgeStatus take_next_root(LedgeTuf *t, const char *bytes, size_t size, LedgeError *err)
{
    LedgeTufMeta next;
    LEDGE_TRY(read_root(bytes, size, err, &next));
    LedgeStatus status = check_next_root(&t->meta[LEDGE_TUF_ROOT], &next, err);
    if (!status)
        status = recover(t, &next, err);
    if (!status)
        status = adopt(t, &next, bytes, size, err);
    ledge__tuf_meta_free(&next);
    return status;
}

static LedgeStatus update_root(LedgeTuf *t, const LedgeTufSource *source, LedgeError *err)
{
    const LedgeTufMeta *root = &t->meta[LEDGE_TUF_ROOT];
    for (int i = 0; i < ROTATIONS && root->version < INT64_MAX; i++) {
        char name[64], *bytes;
        size_t size;
        LedgeError problem = {0};
        snprintf(name, sizeof name, "%" PRId64 ".root.json", root->version + 1);
        LedgeStatus status = source->fetch(
            source->context, name, ledge__tuf_role_max(LEDGE_TUF_ROOT), &problem, &bytes, &size);
        if (status == LEDGE_ERROR_NOT_FOUND)
            break;
        if (status)
            return ledge__fail(err, status, problem.where, "%s", problem.message);
        status = take_next_root(t, bytes, size, err);
        free(bytes);
        LEDGE_TRY(status);
    }
    return LEDGE_OK;
}

/* ---- time ---- */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static LedgeStatus ask_time(LedgeTuf *t, const LedgeTufSource *source, const char *nonce,
                            LedgeError *err, int64_t *out)
{
    char name[128], *bytes;
    size_t size;
    snprintf(name, sizeof name, "time/%.64s.json", nonce);
    LEDGE_TRY(source->fetch(source->context, name, TIME_MAX, err, &bytes, &size));
    LedgeStatus status =
        ledge__tuf_read_time(&t->meta[LEDGE_TUF_ROOT], bytes, size, nonce, err, out);
    free(bytes);
    return status;
}

/* A source that gives no signed time, or a false one, is no reason to stop: an attacker could
 * then stop all updates, and gains nothing now. */
static LedgeStatus tell_time(LedgeTuf *t, const LedgeTufSource *source, const LedgeTufClock *clock,
                             LedgeError *err)
{
    int64_t signed_time = 0;
    LedgeError ignored = {0};
    t->time_was_signed =
        clock->nonce && ask_time(t, source, clock->nonce, &ignored, &signed_time) == LEDGE_OK;
    if (t->time_was_signed && signed_time > t->floor) {
        t->floor = signed_time;
        LEDGE_TRY(save_floor(t, err));
    }
    if (clock->is_synchronised || !t->time_was_signed)
        t->time = later(clock->now, t->floor);
    else
        t->time = later(signed_time, t->floor);
    return LEDGE_OK;
}

static LedgeStatus check_expiry(const LedgeTuf *t, const LedgeTufMeta *meta, LedgeError *err)
{
    char expires[LEDGE_TIME_TEXT], now[LEDGE_TIME_TEXT];
    if (meta->expires > t->time)
        return LEDGE_OK;
    ledge__time_text(meta->expires, expires);
    ledge__time_text(t->time, now);
    return ledge__fail(err, LEDGE_ERROR_MISMATCH, ledge__tuf_role_name(meta->role),
                       "version %" PRId64 " expired at %s, and it is %s by %s: the registry must "
                       "sign anew",
                       meta->version, expires, now,
                       t->time_was_signed ? "signed time" : "this device's clock");
}

/* ---- 5.4: the timestamp ---- */

static LedgeStatus rolled_back(const char *what, int64_t old, int64_t new, LedgeError *err)
{
    return ledge__fail(err, LEDGE_ERROR_MISMATCH, what,
                       "goes back from version %" PRId64 " to %" PRId64, old, new);
}

static LedgeStatus check_timestamp(const LedgeTuf *t, const LedgeTufMeta *next, LedgeError *err)
{
    const LedgeTufMeta *old = &t->meta[LEDGE_TUF_TIMESTAMP];
    LedgeTufFile before, after;
    LEDGE_TRY(ledge__tuf_verify(&t->meta[LEDGE_TUF_ROOT], next, err));
    LEDGE_TRY(ledge__tuf_listed(next, "snapshot.json", err, &after));
    if (old->envelope) {
        if (next->version < old->version)
            return rolled_back("timestamp", old->version, next->version, err);
        LEDGE_TRY(ledge__tuf_listed(old, "snapshot.json", err, &before));
        if (after.version < before.version)
            return rolled_back("the snapshot in timestamp", before.version, after.version, err);
    }
    return check_expiry(t, next, err);
}

static LedgeStatus update_timestamp(LedgeTuf *t, const LedgeTufSource *source, LedgeError *err)
{
    LedgeTufMeta next = {0};
    char *bytes;
    size_t size;
    load_kept(t, LEDGE_TUF_TIMESTAMP);
    LEDGE_TRY(source->fetch(source->context, "timestamp.json",
                            ledge__tuf_role_max(LEDGE_TUF_TIMESTAMP), err, &bytes, &size));
    LedgeStatus status = ledge__tuf_parse(LEDGE_TUF_TIMESTAMP, bytes, size, err, &next);
    if (!status)
        status = check_timestamp(t, &next, err);
    const LedgeTufMeta *old = &t->meta[LEDGE_TUF_TIMESTAMP];
    if (!status && old->envelope && next.version == old->version)
        status = check_expiry(t, old, err); /* 5.4.3: one version has one content */
    else if (!status)
        status = adopt(t, &next, bytes, size, err);
    ledge__tuf_meta_free(&next);
    free(bytes);
    return status;
}

/* ---- 5.5 and 5.6: the snapshot and the targets ---- */

/* Whatever was listed stays listed and goes on in version. */
static LedgeStatus check_lists(const LedgeTufMeta *old, const LedgeTufMeta *next, LedgeError *err)
{
    json_t *meta = json_object_get(ledge__envelope_content(old->envelope), "meta");
    for (void *it = json_object_iter(meta); it; it = json_object_iter_next(meta, it)) {
        const char *name = json_object_iter_key(it);
        LedgeTufFile before, after;
        LEDGE_TRY(ledge__tuf_listed(old, name, err, &before));
        if (ledge__tuf_listed(next, name, err, &after))
            return ledge__fail(err, LEDGE_ERROR_MISMATCH, "snapshot",
                               "no longer lists %.100s, which it did", name);
        if (after.version < before.version)
            return rolled_back(name, before.version, after.version, err);
    }
    return LEDGE_OK;
}

static LedgeStatus check_listed(const LedgeTuf *t, const LedgeTufMeta *next,
                                const LedgeTufFile *file, LedgeError *err)
{
    const LedgeTufMeta *old = &t->meta[next->role];
    LEDGE_TRY(ledge__tuf_verify(&t->meta[LEDGE_TUF_ROOT], next, err));
    if (next->version != file->version)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, ledge__tuf_role_name(next->role),
                           "is version %" PRId64 " where %" PRId64 " was signed", next->version,
                           file->version);
    if (old->envelope && next->version < old->version)
        return rolled_back(ledge__tuf_role_name(next->role), old->version, next->version, err);
    if (next->role == LEDGE_TUF_SNAPSHOT) {
        LedgeTufFile targets;
        LEDGE_TRY(ledge__tuf_listed(next, "targets.json", err, &targets));
        if (old->envelope)
            LEDGE_TRY(check_lists(old, next, err));
    } else if (!json_is_object(
                   json_object_get(ledge__envelope_content(next->envelope), "targets"))) {
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "targets", "has no object of targets");
    }
    return check_expiry(t, next, err);
}

static LedgeStatus check_and_parse(const LedgeTuf *t, LedgeTufRole role, const LedgeTufFile *file,
                                   const char *bytes, size_t size, LedgeError *err,
                                   LedgeTufMeta *out)
{
    LedgeTufMeta next;
    LEDGE_TRY(ledge__tuf_check_bytes(ledge__tuf_role_name(role), file, bytes, size, err));
    LEDGE_TRY(ledge__tuf_parse(role, bytes, size, err, &next));
    LedgeStatus status = check_listed(t, &next, file, err);
    if (status)
        ledge__tuf_meta_free(&next);
    else
        *out = next;
    return status;
}

/* What is kept serves if it is, to the byte, what is listed now; no need to fetch it again. */
static bool is_kept(LedgeTuf *t, LedgeTufRole role, const LedgeTufFile *file)
{
    LedgeTufMeta meta;
    LedgeError err = {0};
    char *bytes;
    size_t size;
    if (!file->sha256[0] || t->store.load(t->store.context, ledge__tuf_role_name(role),
                                          ledge__tuf_role_max(role), &err, &bytes, &size))
        return false;
    LedgeStatus status = check_and_parse(t, role, file, bytes, size, &err, &meta);
    free(bytes);
    if (status)
        return false;
    ledge__tuf_meta_free(&t->meta[role]);
    t->meta[role] = meta;
    return true;
}

/* `above` (timestamp or snapshot) lists the role's file. */
static LedgeStatus update_listed(LedgeTuf *t, const LedgeTufSource *source, LedgeTufRole role,
                                 LedgeTufRole above, LedgeError *err)
{
    LedgeTufMeta next = {0};
    LedgeTufFile file;
    char name[64], *bytes;
    size_t size, max = ledge__tuf_role_max(role);
    snprintf(name, sizeof name, "%s.json", ledge__tuf_role_name(role));
    LEDGE_TRY(ledge__tuf_listed(&t->meta[above], name, err, &file));
    load_kept(t, role);
    if (is_kept(t, role, &file))
        return LEDGE_OK;
    if (file.length >= 0 && (uint64_t)file.length < max)
        max = (size_t)file.length;
    snprintf(name, sizeof name, "%" PRId64 ".%s.json", file.version, ledge__tuf_role_name(role));
    LEDGE_TRY(source->fetch(source->context, name, max, err, &bytes, &size));
    LedgeStatus status = check_and_parse(t, role, &file, bytes, size, err, &next);
    if (!status)
        status = adopt(t, &next, bytes, size, err);
    ledge__tuf_meta_free(&next);
    free(bytes);
    return status;
}

LedgeStatus ledge__tuf_update(LedgeTuf *t, const LedgeTufSource *source, const LedgeTufClock *clock,
                              LedgeError *err)
{
    t->is_updated = false;
    LEDGE_TRY(update_root(t, source, err));
    LEDGE_TRY(tell_time(t, source, clock, err));
    LEDGE_TRY(check_expiry(t, &t->meta[LEDGE_TUF_ROOT], err));
    LEDGE_TRY(update_timestamp(t, source, err));
    LEDGE_TRY(update_listed(t, source, LEDGE_TUF_SNAPSHOT, LEDGE_TUF_TIMESTAMP, err));
    LEDGE_TRY(update_listed(t, source, LEDGE_TUF_TARGETS, LEDGE_TUF_SNAPSHOT, err));
    t->is_updated = true;
    return LEDGE_OK;
}

/* ---- use ---- */

LedgeStatus ledge__tuf_target(const LedgeTuf *t, const char *path, LedgeError *err,
                              LedgeTufFile *out, bool *rollback_ok)
{
    const json_t *custom = NULL;
    if (!t->is_updated)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, path, "the metadata are not up to date");
    LEDGE_TRY(ledge__tuf_find_target(&t->meta[LEDGE_TUF_TARGETS], path, err, out, &custom));
    if (rollback_ok)
        *rollback_ok = json_is_true(json_object_get(custom, "rollback_ok"));
    return LEDGE_OK;
}

LedgeStatus ledge__tuf_release(const LedgeTuf *t, const char *name, const char *version,
                               const void *bytes, size_t size, LedgeError *err, LedgeRelease **out)
{
    char path[LEDGE_FLEET_PATH];
    LedgeTufFile file;
    LedgeRelease *release;
    ledge__release_target(name, version, path);
    LEDGE_TRY(ledge__tuf_target(t, path, err, &file, NULL));
    LEDGE_TRY(ledge__tuf_check_bytes(path, &file, bytes, size, err));
    LEDGE_TRY(ledge__release_read(bytes, size, err, &release));
    if (strcmp(release->name, name) != 0 || strcmp(release->version, version) != 0) {
        LedgeStatus status = ledge__fail(err, LEDGE_ERROR_MISMATCH, path,
                                         "is the release of %s %s, not the one asked for",
                                         release->name, release->version);
        ledge__release_free(release);
        return status;
    }
    *out = release;
    return LEDGE_OK;
}

int64_t ledge__tuf_version(const LedgeTuf *t, LedgeTufRole role)
{
    return t->meta[role].envelope ? t->meta[role].version : 0;
}

int64_t ledge__tuf_time(const LedgeTuf *t)
{
    return t->time;
}

bool ledge__tuf_time_was_signed(const LedgeTuf *t)
{
    return t->time_was_signed;
}
