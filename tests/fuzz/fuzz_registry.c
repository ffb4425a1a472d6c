/* Fuzz target of what the registry takes from outside, through to a database in memory: polls,
 * batches, older clients' batches, rollout plans, and requests of the admin API.
 *
 * The first byte chooses. Any bytes: a status with a sentence, or a change that is whole; a batch
 * that came once is a duplicate the second time; a plan that was taken is taken again when it is
 * written. Each run ends by undoing all it did. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fleet/registry/admin.h"
#include "fleet/registry/rollout.h"
#include "fleet/registry/store_state.h"
#include "fuzz_input.h"
#include "trust/canonical_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static LedgeStore *store;

/* A model, a version, a group that runs it, a device. */
static void fill(void)
{
    LedgeError err;
    LedgeSql *db = ledge__store_sql(store);
    const char *hash = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    check(!ledge__store_begin(store, 1795000000, &err));
    check(!ledge__sql_run(db, &err, LEDGE_Q_MODEL_ADD, "ti", "net", (int64_t)1));
    check(!ledge__sql_run(db, &err, LEDGE_Q_VERSION_ADD, "ttititi", "net", "1", (int64_t)1, hash,
                          (int64_t)1, "null", (int64_t)1));
    check(!ledge__sql_run(db, &err, LEDGE_Q_VERSION_ADD, "ttititi", "net", "2", (int64_t)1, hash,
                          (int64_t)1, "null", (int64_t)1));
    check(!ledge__sql_run(db, &err, LEDGE_Q_ALIAS_SET, "tttti", "net", "champion", "1", NULL,
                          (int64_t)1));
    check(!ledge__sql_run(db, &err, LEDGE_Q_ASSIGNMENT_SET, "tttttti", "all", "net", "champion",
                          NULL, NULL, "now", (int64_t)0));
    check(!ledge__store_changed(store, &err));
    check(!ledge__store_commit(store, &err));
}

static void set_up(void)
{
    char folder[] = "/tmp/ledge-fuzz-XXXXXX";
    LedgeError err = {0};
    LedgeBlobs *blobs = NULL;
    if (store)
        return;
    check(mkdtemp(folder) != NULL);
    check(!ledge__blobs_open(folder, &err, &blobs));
    const LedgeStoreOptions options = {.database = ":memory:", .blobs = blobs};
    check(!ledge__store_open(&options, &err, &store));
    fill();
    /* Nothing lies in it but an empty folder. */
    char path[64];
    snprintf(path, sizeof path, "%s/incoming", folder);
    (void)remove(path);
    (void)remove(folder);
}

static void fuzz_poll(const char *text, size_t size)
{
    static LedgePollRequest request;
    static LedgePollAnswer first, second;
    LedgeError err = {0};
    if (ledge__poll_request_read(text, size, &err, &request)) {
        check(err.message[0] != '\0');
        return;
    }
    check(!ledge__store_poll(store, &request, true, &err, &first));
    check(!ledge__store_poll(store, &request, true, &err, &second));
    check(strcmp(first.etag, second.etag) == 0 && first.n_models == second.n_models);
}

static void fuzz_batch(const char *text, size_t size, bool is_old)
{
    LedgeIngest i;
    LedgeError err = {0};
    LedgeBatchAnswer answer;
    LedgeStatus status = is_old ? ledge__ingest_read_old(text, size, &err, &i)
                                : ledge__ingest_read(text, size, 1795000000000000, &err, &i);
    if (status) {
        check(err.message[0] != '\0');
        return;
    }
    check(!ledge__store_ingest(store, &i, true, &err, &answer));
    check(answer.duplicate ? answer.stored == 0 : answer.stored == (int64_t)i.n_rows);
    check(!ledge__store_ingest(store, &i, true, &err, &answer) && answer.duplicate);
    check(!ledge__store_flush_rollups(store, &err));
    ledge__ingest_free(&i);
}

static void fuzz_plan(const char *text, size_t size)
{
    LedgeRolloutPlan plan, again;
    LedgeError err = {0};
    json_t *o = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    if (o && !ledge__rollout_plan_read(o, &err, &plan)) {
        json_t *back = ledge__rollout_plan_json(&plan);
        check(back && !ledge__rollout_plan_read(back, &err, &again));
        check(plan.n == again.n && strcmp(plan.moment, again.moment) == 0 &&
              plan.silent_s == again.silent_s);
        json_decref(back);
    }
    json_decref(o);
}

static const char *no_query(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, "limit") == 0 ? "10" : NULL;
}

/* "METHOD path\nbody" */
static void fuzz_admin(char *text, size_t size)
{
    char words[3][LEDGE_ADMIN_WORD];
    char *line = memchr(text, '\n', size), *path = memchr(text, ' ', size);
    LedgeError err = {0};
    json_t *body = NULL, *out = NULL;
    bool known;
    if (!line || !path || path > line)
        return;
    *line++ = '\0';
    *path++ = '\0';
    const LedgeAdminRoute *route = ledge__admin_find(text, path, words, &known);
    const size_t rest = size - (size_t)(line - text);
    if (!route || (rest && ledge__json_parse("body", line, rest, &err, &body)))
        return;
    const LedgeAsk ask = {.who = "fuzz",
                          .role = LEDGE_ROLE_ADMIN,
                          .words = {words[0], words[1], words[2]},
                          .body = body,
                          .query = no_query};
    LedgeStatus status = route->op(store, &ask, &err, &out);
    check(status ? out == NULL && err.message[0] != '\0' : out != NULL);
    json_decref(out);
    json_decref(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LedgeError err;
    if (!size || size > 65536)
        return 0;
    set_up();
    char *text = malloc(size);
    check(text != NULL);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    check(!ledge__store_begin(store, 1795000000, &err));
    switch (data[0] % 5) {
    case 0:
        fuzz_poll(text, size - 1);
        break;
    case 1:
    case 2:
        fuzz_batch(text, size - 1, data[0] % 5 == 2);
        break;
    case 3:
        fuzz_plan(text, size - 1);
        break;
    default:
        fuzz_admin(text, size - 1);
    }
    ledge__store_undo(store);
    free(text);
    return 0;
}
