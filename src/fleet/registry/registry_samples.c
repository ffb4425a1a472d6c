/* Samples of inputs (fleet/protocol/field_sample.h): taken in as files, listed, removed. The
 * registry reads their heads; what they hold is sealed to somebody else. */
#include <stdlib.h>
#include <string.h>

#include "fleet/registry/registry_state.h"
#include "fleet/registry/store_state.h"

typedef struct Sample {
    LedgeFieldHead head;
    char device[LEDGE_FLEET_DEVICE];
    bool may_enroll, duplicate;
} Sample;

static LedgeStatus run_sample(LedgeTask *t, LedgeStore *s, LedgeError *err)
{
    LedgeCall *c = (LedgeCall *)(void *)t;
    Sample *p = ledge__upload_more(c);
    int64_t known = -1;
    LedgeStatus status = ledge__store_sample(s, p->device, p->may_enroll, ledge__upload_hash(c),
                                             ledge__upload_size(c), &p->head, err, &p->duplicate);
    /* A device that is not admitted must not fill the disk. */
    if (status == LEDGE_ERROR_PROVIDER &&
        ledge__sql_number(ledge__store_sql(s), NULL, -1, &known, LEDGE_Q_BLOB_GET, "t",
                          ledge__upload_hash(c)) == LEDGE_OK &&
        known < 0)
        ledge__upload_orphan(c);
    return status;
}

static enum MHD_Result answer_sample(LedgeCall *c)
{
    const Sample *p = ledge__upload_more(c);
    return ledge__reply_json(
        c, 200,
        json_pack("{s:s, s:b}", "sha256", ledge__upload_hash(c), "duplicate", p->duplicate));
}

/* /v1/samples/DEVICE/SHA256 */
enum MHD_Result ledge__call_sample(LedgeCall *c)
{
    const char *name = c->url + strlen("/v1/samples/"), *slash = strchr(name, '/');
    char first[LEDGE_FIELD_SAMPLE_HEAD + 64];
    size_t n = sizeof first;
    enum MHD_Result done;
    LedgeError err = {0};
    if (!ledge__upload_whole(c, first, &n, &done))
        return done;
    Sample *p = calloc(1, sizeof *p);
    if (!p)
        return ledge__reply(c, 503, NULL, NULL, 0);
    snprintf(p->device, sizeof p->device, "%.*s", slash ? (int)(slash - name) : 0, name);
    if (!slash || strchr(slash + 1, '/') || (size_t)(slash - name) >= sizeof p->device ||
        !ledge__fleet_is_device(p->device))
        done = ledge__reply_error(c, 404, "a sample is at /v1/samples/DEVICE/SHA256");
    else if (ledge__field_sample_head(first, n, &err, &p->head, NULL))
        done = ledge__reply_error(c, 400, "%s: %s", err.where, err.message);
    else if (ledge__call_device(c, p->device, &p->may_enroll, &done))
        return ledge__upload_store(c, p, run_sample, answer_sample);
    free(p);
    return done;
}

/* ---- for people ---- */

LedgeStatus ledge__admin_samples(LedgeStore *s, const LedgeAsk *ask, LedgeError *err, json_t **out)
{
    json_t *rows = NULL;
    const char *after = ask->query ? ask->query(ask->query_arg, "after") : NULL,
               *model = ask->query ? ask->query(ask->query_arg, "model") : NULL;
    LEDGE_TRY(ledge__sql_list(s->db, err, &rows, LEDGE_Q_SAMPLES, "tti", after ? after : "",
                              model ? model : "", ledge__admin_number(ask, "limit", 1000, 10000)));
    return ledge__admin_pack(json_pack("{s:o}", "samples", rows), err, out);
}

/* The file goes with the next gc. */
LedgeStatus ledge__admin_sample_drop(LedgeStore *s, const LedgeAsk *ask, LedgeError *err,
                                     json_t **out)
{
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_SAMPLE_DROP, "t", ask->words[0]));
    if (!ledge__sql_changed(s->db))
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, ask->words[0], "there is no such sample");
    LEDGE_TRY(ledge__store_audit(s, ask->who, "sample.remove", ask->words[0],
                                 ledge__admin_reason(ask), NULL, err));
    return ledge__admin_pack(json_pack("{s:s, s:b}", "sha256", ask->words[0], "removed", 1), err,
                             out);
}
