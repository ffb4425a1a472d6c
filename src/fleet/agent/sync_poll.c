/* The poll of a turn: what the device says of itself, and what it is told. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "fleet/agent/dispatch.h"
#include "fleet/agent/sync_turn.h"

enum { METRICS_MAX = 32768, IDLE_S = 60, BOOT_MAX = 40 };

static int64_t seconds(clockid_t clock)
{
    return ledge__clock_us(clock) / 1000000;
}

/* ---- metrics of all producers ---- */

/* What was reported last, to tell the difference: one file, of the same form. */
static void read_metrics(const LedgeAgentDir *d, const char *name, LedgeProducerMetrics *out)
{
    char *text;
    size_t n;
    *out = (LedgeProducerMetrics){0};
    if (ledge__agent_read(d, name, METRICS_MAX, NULL, &text, &n))
        return;
    if (ledge__metrics_read(text, n, NULL, out))
        *out = (LedgeProducerMetrics){0};
    free(text);
}

static void add_model(LedgeProducerMetrics *all, const LedgeModelMetrics *m)
{
    for (size_t i = 0; i < all->n_models; i++) {
        LedgeModelMetrics *a = &all->models[i];
        if (strcmp(a->model, m->model) != 0 || strcmp(a->version, m->version) != 0)
            continue;
        a->count += m->count;
        a->errors += m->errors;
        a->shadow_count += m->shadow_count;
        a->shadow_agree += m->shadow_agree;
        a->p90_us = m->p90_us > a->p90_us ? m->p90_us : a->p90_us; /* the worse one */
        a->drift = m->drift > a->drift ? m->drift : a->drift;
        return;
    }
    if (all->n_models < LEDGE_METRICS_MODELS)
        all->models[all->n_models++] = *m;
}

static void gather(const LedgeAgentDir *d, LedgeProducerMetrics *all)
{
    char path[LEDGE_AGENT_PATH], file[300];
    LedgeProducerMetrics one;
    *all = (LedgeProducerMetrics){0};
    ledge__agent_path(d, path, "queue");
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (!ledge__fleet_is_name(e->d_name))
            continue;
        snprintf(file, sizeof file, "queue/%.64s/metrics.json", e->d_name);
        read_metrics(d, file, &one);
        for (size_t i = 0; i < one.n_models; i++)
            add_model(all, &one.models[i]);
        all->last = one.last > all->last ? one.last : all->last;
        all->dropped.oldest += one.dropped.oldest + one.dropped.rejected + one.dropped.sampled;
    }
    if (dir)
        closedir(dir);
}

static int64_t since(int64_t now, int64_t before)
{
    return now >= before ? now - before : now; /* begun anew */
}

static void fill_window(const LedgeProducerMetrics *all, const LedgeProducerMetrics *told,
                        LedgePollModel *m)
{
    const LedgeModelMetrics *now = NULL, zero = {{0}}, *before = &zero;
    for (size_t i = 0; i < all->n_models; i++)
        if (strcmp(all->models[i].model, m->name) == 0 &&
            strcmp(all->models[i].version, m->version) == 0)
            now = &all->models[i];
    for (size_t i = 0; i < told->n_models; i++)
        if (strcmp(told->models[i].model, m->name) == 0 &&
            strcmp(told->models[i].version, m->version) == 0)
            before = &told->models[i];
    if (!now)
        return;
    m->window = (LedgePollWindow){
        .count = since(now->count, before->count),
        .errors = since(now->errors, before->errors),
        .p90_us = now->p90_us,
        .drift = now->drift,
        .shadow_count = since(now->shadow_count, before->shadow_count),
        .shadow_agree = since(now->shadow_agree, before->shadow_agree),
    };
}

/* ---- the request ---- */

static void put_model(LedgePollRequest *r, const char *name, const char *version,
                      LedgeFleetState state, const char *reason, int64_t since_s)
{
    if (r->n_models == LEDGE_FLEET_MODELS)
        return;
    LedgePollModel *m = &r->models[r->n_models++];
    snprintf(m->name, sizeof m->name, "%s", name);
    snprintf(m->version, sizeof m->version, "%s", version);
    snprintf(m->reason, sizeof m->reason, "%s", reason);
    m->state = state;
    m->since_s = since_s < 0 ? 0 : since_s;
}

static void put_slots(const LedgeTurn *t, LedgePollRequest *r)
{
    char names[LEDGE_FLEET_MODELS][LEDGE_FLEET_NAME];
    size_t n = 0;
    if (ledge__agent_slots(&t->dir, NULL, names, LEDGE_FLEET_MODELS, &n))
        return;
    for (size_t i = 0; i < n; i++) {
        LedgeSlot s;
        if (ledge__agent_slot(&t->dir, names[i], NULL, &s))
            continue;
        if (s.running.version[0])
            put_model(r, s.name, s.running.version,
                      s.is_fallback ? LEDGE_FLEET_FALLBACK : LEDGE_FLEET_RUNNING, s.reason,
                      seconds(CLOCK_REALTIME) - s.since);
        if (s.candidate[0])
            put_model(r, s.name, s.candidate, s.candidate_state, s.candidate_reason, 0);
    }
}

static void read_boot(char out[LEDGE_FLEET_NAME])
{
    char line[BOOT_MAX] = "";
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f && !fgets(line, sizeof line, f))
        line[0] = '\0';
    if (f)
        fclose(f);
    line[strcspn(line, "\n")] = '\0';
    snprintf(out, LEDGE_FLEET_NAME, "%s", ledge__fleet_is_name(line) ? line : "unknown");
}

static void fill_request(LedgeTurn *t, const LedgeProducerMetrics *all,
                         const LedgeProducerMetrics *told, LedgePollRequest *r)
{
    const LedgeAgentConfig *c = t->config;
    struct statvfs disk;
    *r = (LedgePollRequest){.n_labels = c->n_labels,
                            .clock = seconds(CLOCK_REALTIME),
                            .skew_ms = t->result.skew_ms,
                            .has_skew = t->result.has_skew,
                            .uptime_s = seconds(CLOCK_BOOTTIME),
                            .cores = ledge__cpu_cores(NULL),
                            .queue_records = ledge__dispatch_waiting(&t->dir),
                            .queue_dropped = all->dropped.oldest,
                            .disk_quota = c->quota};
    snprintf(r->device_id, sizeof r->device_id, "%s", t->device_id);
    snprintf(r->agent, sizeof r->agent, "ledge-" LEDGE_BUILD_VERSION);
    snprintf(r->arch, sizeof r->arch, "%s", t->arch);
    snprintf(r->level, sizeof r->level, "%s", ledge__cpu_level_name(t->cpu));
    memcpy(r->labels, c->labels, sizeof r->labels);
    read_boot(r->boot);
    if (statvfs(t->dir.path, &disk) == 0)
        r->disk_free = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
    strcpy(r->etag, t->answer.etag);
    put_slots(t, r);
    for (size_t i = 0; i < r->n_models; i++)
        fill_window(all, told, &r->models[i]);
}

/* ---- the answer ---- */

void ledge__turn_load_answer(LedgeTurn *t)
{
    char *text;
    size_t n;
    if (ledge__agent_read(&t->dir, "answer.json", LEDGE_FLEET_POLL_MAX, NULL, &text, &n))
        return;
    if (ledge__poll_answer_read(text, n, NULL, &t->answer))
        t->answer = (LedgePollAnswer){.interval_s = LEDGE_FLEET_INTERVAL};
    free(text);
}

static LedgeStatus take_answer(LedgeTurn *t, const LedgeHttpAnswer *a, LedgeError *err)
{
    LedgePollAnswer answer;
    LedgeError problem = {0};
    if (ledge__poll_answer_read(a->body ? a->body : "", a->size, &problem, &answer)) {
        ledge__turn_problem(t, "poll", problem.message);
        return LEDGE_OK;
    }
    t->answer = answer;
    t->result.polled = true;
    return ledge__agent_write(&t->dir, "answer.json", a->body, a->size, err);
}

/* The windows that were reported begin anew; kept only when the registry has them. */
static LedgeStatus told_all(LedgeTurn *t, const LedgeProducerMetrics *all, LedgeError *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return ledge__no_memory(err);
    ledge__metrics_write(all, to);
    LedgeStatus status = fclose(to) == 0 ? ledge__agent_write(&t->dir, "told.json", text, size, err)
                                         : ledge__no_memory(err);
    free(text);
    return status;
}

static LedgeStatus judge(LedgeTurn *t, const LedgeHttpAnswer *a, LedgeError *err)
{
    char text[80];
    t->result.retry_after = a->retry_after;
    if (a->status == 304) {
        t->result.polled = true;
        return LEDGE_OK;
    }
    if (a->status == 200)
        return take_answer(t, a, err);
    snprintf(text, sizeof text, "the registry answers %d%s", a->status,
             a->status == 401 || a->status == 403 ? ": this device is not admitted" : "");
    ledge__turn_problem(t, "poll", text);
    return LEDGE_OK;
}

static LedgeStatus ask(LedgeTurn *t, const char *body, size_t size, LedgeHttpAnswer *a,
                       LedgeError *err)
{
    LedgeError problem = {0};
    const LedgeHttpAsk how = {.path = "/v1/poll",
                              .body = body,
                              .body_size = size,
                              .if_none_match = t->answer.etag[0] ? t->answer.etag : NULL,
                              .max = LEDGE_FLEET_POLL_MAX};
    const int64_t before = ledge__clock_ms(CLOCK_REALTIME);
    if (ledge__http_ask(t->http, &how, &problem, a)) {
        ledge__turn_problem(t, problem.where, problem.message);
        return LEDGE_OK;
    }
    LEDGE_TRY(judge(t, a, err));
    if (t->result.polled && a->status == 200 && t->answer.time) {
        const int64_t after = ledge__clock_ms(CLOCK_REALTIME);
        t->result.skew_ms = t->answer.time * 1000 - (before + (after - before) / 2);
        t->result.has_skew = true;
    }
    return LEDGE_OK;
}

LedgeStatus ledge__turn_poll(LedgeTurn *t, LedgeError *err)
{
    LedgeProducerMetrics *all = calloc(2, sizeof *all);
    LedgePollRequest *r = calloc(1, sizeof *r);
    LedgeHttpAnswer a = {0};
    char *text = NULL;
    size_t size = 0;
    FILE *to = all && r ? open_memstream(&text, &size) : NULL;
    LedgeStatus status = to ? LEDGE_OK : ledge__no_memory(err);
    if (to) {
        gather(&t->dir, &all[0]);
        read_metrics(&t->dir, "told.json", &all[1]);
        t->is_idle = seconds(CLOCK_REALTIME) - all[0].last / 1000000 >= IDLE_S;
        fill_request(t, &all[0], &all[1], r);
        ledge__poll_request_write(r, to);
        status = fclose(to) == 0 ? ask(t, text, size, &a, err) : ledge__no_memory(err);
        if (!status && t->result.polled)
            status = told_all(t, &all[0], err);
    }
    free(a.body);
    free(text);
    free(all);
    free(r);
    return status;
}
