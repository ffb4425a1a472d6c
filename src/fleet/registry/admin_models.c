/* Releases, aliases, files: what there is to run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fleet/protocol/release.h"
#include "fleet/registry/admin.h"
#include "fleet/registry/publish.h"
#include "fleet/registry/store_state.h"
#include "trust/certificate.h"

#define DAY ((int64_t)86400)

/* ---- taking a release in ---- */

typedef struct Intake {
    LedgeStore *s;
    const LedgeAsk *ask;
    const char *name, *version;
    bool force;
    LedgeTufMeta targets;
    LedgeTufFile file;
    LedgeRelease *release;
    json_t *certificate; /* what it states; NULL: none */
} Intake;

static const LedgeReleaseFile *file_of(const LedgeRelease *r, LedgeReleaseRole role)
{
    for (size_t i = 0; i < r->n_files; i++)
        if (r->files[i].role == role)
            return &r->files[i];
    return NULL;
}

/* release.json, as the targets that were just taken in describe it. */
static LedgeStatus read_release(Intake *n, LedgeError *err)
{
    char path[LEDGE_FLEET_PATH], *text = NULL;
    size_t size;
    ledge__release_target(n->name, n->version, path);
    LEDGE_TRY(ledge__tuf_find_target(&n->targets, path, err, &n->file, NULL));
    LEDGE_TRY(ledge__blobs_read(n->s->options.blobs, n->file.sha256, LEDGE_FLEET_RELEASE_MAX, err,
                                &text, &size));
    LedgeStatus status = ledge__tuf_check_bytes(path, &n->file, text, size, err);
    if (!status)
        status = ledge__release_read(text, size, err, &n->release);
    free(text);
    if (status)
        return status;
    return strcmp(n->release->name, n->name) == 0 && strcmp(n->release->version, n->version) == 0
               ? LEDGE_OK
               : ledge__fail(err, LEDGE_ERROR_MISMATCH, path, "is the release of %s %s",
                             n->release->name, n->release->version);
}

static LedgeStatus check_blob(LedgeStore *s, const char *sha256, int64_t length, const char *path,
                              LedgeError *err)
{
    int64_t have = -1;
    LEDGE_TRY(ledge__sql_number(s->db, err, -1, &have, LEDGE_Q_BLOB_GET, "t", sha256));
    if (have == length)
        return LEDGE_OK;
    return have < 0 ? ledge__fail(err, LEDGE_ERROR_NOT_FOUND, path, "was not uploaded")
                    : ledge__fail(err, LEDGE_ERROR_MISMATCH, path,
                                  "has %lld bytes, and the release says %lld", (long long)have,
                                  (long long)length);
}

/* The signature on the targets covers the certificate by its hash; here it must be a certificate,
 * in date, for this very model. */
static LedgeStatus read_certificate(Intake *n, LedgeError *err)
{
    const LedgeReleaseFile *file = file_of(n->release, LEDGE_RELEASE_CERTIFICATE),
                           *model = file_of(n->release, LEDGE_RELEASE_MODEL);
    json_t *envelope = NULL;
    LedgeCertificate c;
    char *text = NULL;
    size_t size;
    if (!file)
        return n->force ? LEDGE_OK
                        : ledge__fail(err, LEDGE_ERROR_ARGUMENT, n->name,
                                      "has no certificate: make one with 'ledge certify', or say "
                                      "--force and why");
    LEDGE_TRY(ledge__blobs_read(n->s->options.blobs, file->sha256, LEDGE_CERTIFICATE_MAX, err,
                                &text, &size));
    LedgeStatus status = ledge__envelope_parse(file->path, text, size, err, &envelope);
    free(text);
    if (!status)
        status = ledge__certificate_read(file->path, ledge__envelope_content(envelope), err, &c);
    if (!status)
        status = ledge__certificate_check_time(file->path, &c, n->s->now, err);
    if (!status && (!model || strcmp(c.model.sha256, model->sha256) != 0))
        status = ledge__fail(err, LEDGE_ERROR_MISMATCH, file->path,
                             "is for another model than this release's");
    if (!status)
        n->certificate = json_incref(ledge__envelope_content(envelope));
    json_decref(envelope);
    return status;
}

static LedgeStatus store_release(Intake *n, LedgeError *err)
{
    LedgeSql *db = n->s->db;
    char *text = n->certificate ? json_dumps(n->certificate, JSON_COMPACT) : strdup("null");
    if (!text)
        return ledge__no_memory(err);
    LedgeStatus status = ledge__sql_run(db, err, LEDGE_Q_MODEL_ADD, "ti", n->name, n->s->now);
    if (!status)
        status =
            ledge__sql_run(db, err, LEDGE_Q_VERSION_ADD, "ttititi", n->name, n->version, n->s->now,
                           n->file.sha256, n->file.length, text, (int64_t)!n->certificate);
    free(text);
    for (size_t i = 0; i < n->release->n_files && !status; i++) {
        const LedgeReleaseFile *f = &n->release->files[i];
        status = check_blob(n->s, f->sha256, f->length, f->path, err);
        if (!status)
            status = ledge__sql_run(db, err, LEDGE_Q_FILE_ADD, "tttttitt", n->name, n->version,
                                    ledge__release_role_name(f->role), f->path, f->sha256,
                                    f->length, f->arch, f->level);
    }
    return status;
}

static LedgeStatus take_in(Intake *n, LedgeError *err)
{
    const char *text;
    json_t *there = NULL;
    const LedgeAsk *ask = n->ask;
    LEDGE_TRY(ledge__admin_text(ask, "name", ledge__fleet_is_name, err, &n->name));
    LEDGE_TRY(ledge__admin_text(ask, "version", ledge__fleet_is_name, err, &n->version));
    LEDGE_TRY(ledge__admin_text(ask, "targets", NULL, err, &text));
    n->force = json_is_true(json_object_get(ask->body, "force"));
    LEDGE_TRY(
        ledge__sql_one(n->s->db, err, &there, LEDGE_Q_VERSION_GET, "tt", n->name, n->version));
    json_decref(there);
    if (there)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, n->version,
                           "this version of %s is there already; a version never changes, take "
                           "another",
                           n->name);
    if (n->force && !ledge__admin_reason(ask)[0])
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, n->version,
                           "a release that is forced in needs a reason");
    LEDGE_TRY(ledge__publish_targets(n->s, text, strlen(text), err, &n->targets));
    LEDGE_TRY(read_release(n, err));
    LEDGE_TRY(read_certificate(n, err));
    LEDGE_TRY(store_release(n, err));
    char subject[160];
    snprintf(subject, sizeof subject, "%s %s", n->name, n->version);
    LEDGE_TRY(ledge__store_audit(n->s, ask->who, "release.push", subject, ledge__admin_reason(ask),
                                 json_pack("{s:b, s:s, s:I}", "certified", n->certificate != NULL,
                                           "release_sha256", n->file.sha256, "targets_version",
                                           (json_int_t)n->targets.version),
                                 err));
    return ledge__store_changed(n->s, err);
}

LedgeStatus ledge__admin_release(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    Intake n = {.s = s, .ask = ask};
    LedgeStatus status = take_in(&n, err);
    if (!status)
        status = ledge__admin_pack(json_pack("{s:s, s:s, s:b, s:I}", "name", n.name, "version",
                                             n.version, "certified", n.certificate != NULL,
                                             "targets_version", (json_int_t)n.targets.version),
                                   err, out);
    ledge__tuf_meta_free(&n.targets);
    ledge__release_free(n.release);
    json_decref(n.certificate);
    return status;
}

LedgeStatus ledge__admin_root(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    const char *text;
    LedgeTufMeta root = {0};
    LEDGE_TRY(ledge__admin_text(ask, "root", NULL, err, &text));
    LEDGE_TRY(ledge__publish_root(s, text, strlen(text), err));
    LEDGE_TRY(ledge__publish_newest(s, LEDGE_TUF_ROOT, err, &root));
    const int64_t version = root.version;
    ledge__tuf_meta_free(&root);
    LEDGE_TRY(ledge__store_audit(s, ask->who, "root.new", "root", ledge__admin_reason(ask),
                                 json_pack("{s:I}", "version", (json_int_t)version), err));
    return ledge__admin_pack(json_pack("{s:I}", "version", (json_int_t)version), err, out);
}

/* ---- what is there ---- */

LedgeStatus ledge__admin_models(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    json_t *versions = NULL, *aliases = NULL, *assignments = NULL;
    (void)ask;
    LedgeStatus status = ledge__sql_list(s->db, err, &versions, LEDGE_Q_VERSIONS, "");
    if (!status)
        status = ledge__sql_list(s->db, err, &aliases, LEDGE_Q_ALIASES, "");
    if (!status)
        status = ledge__sql_list(s->db, err, &assignments, LEDGE_Q_ASSIGNMENTS, "");
    if (!status)
        return ledge__admin_pack(json_pack("{s:o, s:o, s:o}", "versions", versions, "aliases",
                                           aliases, "assignments", assignments),
                                 err, out);
    json_decref(versions);
    json_decref(aliases);
    return status;
}

static LedgeStatus need_version(LedgeStore *s, const char *model, const char *version,
                                LedgeError *err, json_t **out)
{
    LEDGE_TRY(ledge__sql_one(s->db, err, out, LEDGE_Q_VERSION_GET, "tt", model, version));
    return *out ? LEDGE_OK
                : ledge__fail(err, LEDGE_ERROR_NOT_FOUND, model, "there is no version %s of it",
                              version);
}

LedgeStatus ledge__admin_version(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    json_t *o = NULL, *files = NULL, *aliases = NULL;
    LEDGE_TRY(need_version(s, ask->words[0], ask->words[1], err, &o));
    LedgeStatus status =
        ledge__sql_list(s->db, err, &files, LEDGE_Q_FILES, "tt", ask->words[0], ask->words[1]);
    if (!status)
        status = ledge__sql_list(s->db, err, &aliases, LEDGE_Q_ALIASES_OF, "tt", ask->words[0],
                                 ask->words[1]);
    if (!status &&
        (json_object_set_new(o, "files", files) || json_object_set_new(o, "aliases", aliases)))
        status = ledge__no_memory(err);
    if (status)
        json_decref(o);
    else
        *out = o;
    return status;
}

/* ---- aliases ---- */

static LedgeStatus need_active(LedgeStore *s, const char *model, const char *version,
                               LedgeError *err)
{
    json_t *row = NULL;
    LEDGE_TRY(need_version(s, model, version, err, &row));
    const bool active = strcmp(ledge__member_text(row, "state"), "active") == 0;
    json_decref(row);
    return active ? LEDGE_OK
                  : ledge__fail(err, LEDGE_ERROR_MISMATCH, version, "this version was retired");
}

LedgeStatus ledge__admin_promote(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    const char *model = ask->words[0], *version, *alias = "champion";
    char subject[160];
    json_t *before = NULL;
    int64_t live = 0, assigned = 0;
    LEDGE_TRY(ledge__admin_text(ask, "version", ledge__fleet_is_name, err, &version));
    if (json_object_get(ask->body, "alias"))
        LEDGE_TRY(ledge__admin_text(ask, "alias", ledge__fleet_is_name, err, &alias));
    LEDGE_TRY(need_active(s, model, version, err));
    LEDGE_TRY(ledge__sql_number(s->db, err, 0, &live, LEDGE_Q_ROLLOUT_LIVE_OF, "t", model));
    if (live)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, model,
                           "a rollout of it is on its way; let it end, or roll it back");
    LEDGE_TRY(ledge__sql_one(s->db, err, &before, LEDGE_Q_ALIAS_GET, "tt", model, alias));
    const char *old = before ? ledge__member_text(before, "version") : NULL;
    LedgeStatus status =
        ledge__sql_run(s->db, err, LEDGE_Q_ALIAS_SET, "tttti", model, alias, version, old, s->now);
    snprintf(subject, sizeof subject, "%s %s", model, version);
    if (!status)
        status = ledge__store_audit(
            s, ask->who, "model.promote", subject, ledge__admin_reason(ask),
            json_pack("{s:s, s:s}", "alias", alias, "before", old ? old : ""), err);
    json_decref(before);
    LEDGE_TRY(status);
    /* A model that no group runs would go nowhere: all run it, until a group is told otherwise. */
    LEDGE_TRY(ledge__sql_number(s->db, err, 0, &assigned, LEDGE_Q_ASSIGNMENTS_OF, "t", model));
    if (!assigned && strcmp(alias, "champion") == 0)
        LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_ASSIGNMENT_SET, "tttttti", "all", model, alias,
                                 NULL, NULL, "now", (int64_t)0));
    LEDGE_TRY(ledge__store_changed(s, err));
    return ledge__admin_pack(
        json_pack("{s:s, s:s, s:s}", "model", model, "version", version, "alias", alias), err, out);
}

LedgeStatus ledge__admin_retire(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    const char *model = ask->words[0], *version;
    char subject[160];
    json_t *aliases = NULL;
    LEDGE_TRY(ledge__admin_text(ask, "version", ledge__fleet_is_name, err, &version));
    LEDGE_TRY(need_active(s, model, version, err));
    for (size_t i = 0; i < s->n_rollouts; i++)
        if (strcmp(s->rollouts[i].model, model) == 0 &&
            (strcmp(s->rollouts[i].to, version) == 0 || strcmp(s->rollouts[i].from, version) == 0))
            return ledge__fail(err, LEDGE_ERROR_MISMATCH, version, "rollout %lld needs it",
                               (long long)s->rollouts[i].id);
    LEDGE_TRY(ledge__sql_list(s->db, err, &aliases, LEDGE_Q_ALIASES_OF, "tt", model, version));
    LedgeStatus status = LEDGE_OK;
    if (json_array_size(aliases))
        status = ledge__fail(err, LEDGE_ERROR_MISMATCH, version,
                             "it is the %s of %s; promote another version first",
                             ledge__member_text(json_array_get(aliases, 0), "alias"), model);
    json_decref(aliases);
    LEDGE_TRY(status);
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_VERSION_STATE, "ttt", model, version, "retired"));
    snprintf(subject, sizeof subject, "%s %s", model, version);
    LEDGE_TRY(ledge__store_audit(s, ask->who, "model.retire", subject, ledge__admin_reason(ask),
                                 NULL, err));
    LEDGE_TRY(ledge__store_changed(s, err));
    return ledge__admin_pack(
        json_pack("{s:s, s:s, s:s}", "model", model, "version", version, "state", "retired"), err,
        out);
}

/* ---- files ---- */

/* Of what lies at the place, all that has no row: a registry was killed, or lost its database,
 * between the one and the other. */
static LedgeStatus add_strays(LedgeStore *s, const json_t *stored, LedgeError *err, json_t *rows)
{
    for (size_t i = 0; i < json_array_size(stored); i++) {
        json_t *file = json_array_get(stored, i);
        int64_t length;
        LEDGE_TRY(ledge__sql_number(s->db, err, -1, &length, LEDGE_Q_BLOB_GET, "t",
                                    ledge__member_text(file, "sha256")));
        if (length < 0 && json_array_append(rows, file) != 0)
            return ledge__no_memory(err);
    }
    return LEDGE_OK;
}

/* Takes the rows out; the files go when that is committed, by who asked (registry_admin.c). */
LedgeStatus ledge__admin_gc(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    const json_t *grace = json_object_get(ask->body, "grace_s");
    const int64_t before = s->now - (json_is_integer(grace) && json_integer_value(grace) >= 0
                                         ? json_integer_value(grace)
                                         : DAY);
    const bool dry = json_is_true(json_object_get(ask->body, "dry_run"));
    json_t *rows = NULL;
    int64_t bytes = 0;
    LEDGE_TRY(ledge__sql_list(s->db, err, &rows, LEDGE_Q_BLOBS_UNUSED, "i", before + 1));
    LedgeStatus status = add_strays(s, ask->stored, err, rows);
    for (size_t i = 0; i < json_array_size(rows) && !status; i++) {
        const json_t *row = json_array_get(rows, i);
        bytes += ledge__member_int(row, "length");
        if (!dry)
            status = ledge__sql_run(s->db, err, LEDGE_Q_BLOB_DROP, "t",
                                    ledge__member_text(row, "sha256"));
    }
    if (!status && !dry)
        status =
            ledge__store_audit(s, ask->who, "gc", "blobs", ledge__admin_reason(ask),
                               json_pack("{s:I, s:I}", "files", (json_int_t)json_array_size(rows),
                                         "bytes", (json_int_t)bytes),
                               err);
    if (!status)
        return ledge__admin_pack(json_pack("{s:o, s:I, s:b}", "removed", rows, "bytes",
                                           (json_int_t)bytes, "dry_run", dry),
                                 err, out);
    json_decref(rows);
    return status;
}

LedgeStatus ledge__admin_blob(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    int64_t length = -1;
    LEDGE_TRY(ledge__sql_number(s->db, err, -1, &length, LEDGE_Q_BLOB_GET, "t", ask->words[0]));
    if (length < 0)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, ask->words[0], "there is no such file");
    return ledge__admin_pack(
        json_pack("{s:s, s:I}", "sha256", ask->words[0], "length", (json_int_t)length), err, out);
}
