/* What is at which address, for whom. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "fleet/registry/registry_state.h"

#define KB(n) ((size_t)(n) << 10)
#define MB(n) ((size_t)(n) << 20)

static const LedgeRoute routes[] = {
    {"POST", "/v1/poll", LEDGE_ROLE_DEVICE, false, KB(64), ledge__call_poll},
    {"POST", "/v1/telemetry", LEDGE_ROLE_DEVICE, false, MB(1), ledge__call_batch},
    {"POST", "/v1/events", LEDGE_ROLE_DEVICE, false, MB(1), ledge__call_batch},
    {"POST", "/v1/samples/", LEDGE_ROLE_DEVICE, false, SIZE_MAX, ledge__call_sample},
    {"GET", "/v1/tuf/", LEDGE_ROLE_NONE, false, 0, ledge__call_tuf},
    {"GET", "/v1/blobs/", LEDGE_ROLE_DEVICE, true, 0, ledge__call_blob},
    {"HEAD", "/v1/blobs/", LEDGE_ROLE_DEVICE, true, 0, ledge__call_blob},
    {"GET", "/api/models/latest", LEDGE_ROLE_DEVICE, true, 0, ledge__call_old_latest},
    {"POST", "/api/ingest", LEDGE_ROLE_DEVICE, true, MB(4), ledge__call_old_ingest},
    {"PUT", "/v1/admin/blobs/", LEDGE_ROLE_PUBLISHER, false, SIZE_MAX, ledge__call_upload},
    {"GET", "/v1/admin/", LEDGE_ROLE_VIEWER, false, 0, ledge__call_admin},
    {"POST", "/v1/admin/", LEDGE_ROLE_VIEWER, false, MB(12), ledge__call_admin},
    {"PUT", "/v1/admin/", LEDGE_ROLE_VIEWER, false, MB(1), ledge__call_admin},
    {"DELETE", "/v1/admin/", LEDGE_ROLE_VIEWER, false, KB(64), ledge__call_admin},
    {"GET", "/metrics", LEDGE_ROLE_VIEWER, true, 0, ledge__call_metrics},
    {"GET", "/v1/health", LEDGE_ROLE_NONE, false, 0, ledge__call_health},
    {"GET", "/", LEDGE_ROLE_NONE, false, 0, ledge__call_page},
};

static bool is_at(const char *path, const char *url)
{
    const size_t n = strlen(path);
    return n > 1 && path[n - 1] == '/' ? strncmp(path, url, n) == 0 : strcmp(path, url) == 0;
}

const LedgeRoute *ledge__route_find(const char *method, const char *url, bool *known)
{
    *known = false;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!is_at(routes[i].path, url))
            continue;
        *known = true;
        if (strcmp(routes[i].method, method) == 0)
            return &routes[i];
    }
    return NULL;
}

/* ---- the page ---- */

static const unsigned char page[] = {
#include "fleet_page_bytes.h"
};

enum MHD_Result ledge__call_page(LedgeCall *c)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(sizeof page, (void *)(uintptr_t)page,
                                                             MHD_RESPMEM_PERSISTENT);
    if (!r)
        return MHD_NO;
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "text/html; charset=utf-8");
    /* Nothing but itself: what a device calls itself can load and run nothing. */
    (void)MHD_add_response_header(r, "Content-Security-Policy",
                                  "default-src 'self'; style-src 'unsafe-inline'; script-src "
                                  "'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; "
                                  "form-action 'none'");
    return ledge__reply_with(c, 200, r);
}

enum MHD_Result ledge__call_health(LedgeCall *c)
{
    return ledge__reply_json(c, 200, json_pack("{s:s}", "status", "ok"));
}

/* ---- for Prometheus ---- */

static void put(LedgeText *t, const char *name, const char *type, const char *help, uint64_t v)
{
    ledge__text_printf(
        t,
        "# HELP ledge_registry_%s %s\n# TYPE ledge_registry_%s %s\nledge_registry_%s %" PRIu64 "\n",
        name, help, name, type, name, v);
}

enum MHD_Result ledge__call_metrics(LedgeCall *c)
{
    LedgeRegistry *r = c->registry;
    const LedgeTasksCount n = ledge__tasks_count(r->tasks);
    LedgeText t = {0};
    put(&t, "polls_total", "counter", "Polls answered.", atomic_load(&r->n_polls));
    put(&t, "batches_total", "counter", "Batches of telemetry stored.", atomic_load(&r->n_batches));
    put(&t, "duplicate_batches_total", "counter", "Batches that were there already.",
        atomic_load(&r->n_duplicates));
    put(&t, "records_total", "counter", "Records of telemetry stored.", atomic_load(&r->n_records));
    put(&t, "tasks_total", "counter", "Tasks that asked the database.", n.tasks);
    put(&t, "commits_total", "counter", "Transactions committed.", n.commits);
    put(&t, "failed_transactions_total", "counter", "Transactions undone.", n.failures);
    put(&t, "waiting_tasks", "gauge", "Tasks that wait for the database.", n.waiting);
    ledge__text_add(&t, "# HELP ledge_registry_answers_total Answers by status code.\n"
                        "# TYPE ledge_registry_answers_total counter\n");
    for (int i = 0; i < LEDGE_REGISTRY_CODES; i++) {
        const uint64_t v = atomic_load(&r->codes[i]);
        if (v)
            ledge__text_printf(&t, "ledge_registry_answers_total{code=\"%d\"} %" PRIu64 "\n", i, v);
    }
    if (t.failed) {
        ledge__text_free(&t);
        return ledge__reply(c, 503, NULL, NULL, 0);
    }
    return ledge__reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", t.p, t.n);
}
