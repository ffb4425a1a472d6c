/* What passes with time: rollouts take their turns by what devices report, old telemetry goes, raw
 * batches move to the blobs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fleet/registry/rollout_turns.h"
#include "fleet/registry/store_state.h"
#include "trust/sha256.h"

#define DAY           ((int64_t)86400)
#define RAW_BYTES     ((int64_t)8 << 20)
#define RAW_SECONDS   300
#define CLEAN_SECONDS 600

/* ---- evidence ---- */

typedef struct Sample {
    int64_t p90, weight;
} Sample;

typedef struct Cohort {
    int64_t *ids, *answering; /* of its devices, sorted; of those that answer */
    int64_t *places;          /* of all devices of the group */
    size_t n, n_answering, n_places, room;
    Sample *now, *before; /* per device: of the new version and of the old one */
    size_t n_now, n_before, sample_room;
    int64_t last_failed; /* a device that failed the version and fell back is one failure */
} Cohort;

static void cohort_free(Cohort *c)
{
    free(c->ids);
    free(c->answering);
    free(c->places);
    free(c->now);
    free(c->before);
}

static bool cohort_room(Cohort *c)
{
    if (c->n_places < c->room)
        return true;
    const size_t n = c->room ? 2 * c->room : 1024;
    int64_t *ids = realloc(c->ids, n * sizeof *ids);
    c->ids = ids ? ids : c->ids;
    int64_t *answering = realloc(c->answering, n * sizeof *answering);
    c->answering = answering ? answering : c->answering;
    int64_t *places = realloc(c->places, n * sizeof *places);
    c->places = places ? places : c->places;
    if (!ids || !answering || !places)
        return false;
    c->room = n;
    return true;
}

static bool is_in_group(const LedgeStore *s, int group, LedgeQuery q)
{
    if (group < 0)
        return false;
    if (json_object_size(s->groups[group].selector) == 0)
        return true;
    const char *labels = ledge__sql_text(s->db, q, 2), *set = ledge__sql_text(s->db, q, 3);
    json_t *a = json_loads(labels ? labels : "{}", 0, NULL),
           *b = json_loads(set ? set : "{}", 0, NULL);
    const uint64_t bits = ledge__fleet_groups(s, ledge__sql_text(s->db, q, 1), a, b);
    json_decref(a);
    json_decref(b);
    return bits >> group & 1;
}

/* Devices of the rollout's group; those under the threshold are its cohort. */
static LedgeStatus gather_cohort(LedgeStore *s, const LedgeLiveRollout *r, LedgeError *err,
                                 Cohort *c)
{
    const LedgeQuery q = LEDGE_Q_DEVICES_PLACED;
    bool lost = false;
    LEDGE_TRY(ledge__sql_ask(s->db, err, q, ""));
    while (ledge__sql_next(s->db, q)) {
        if (lost || !is_in_group(s, r->group, q))
            continue;
        lost = !cohort_room(c);
        if (lost)
            continue;
        const int64_t id = ledge__sql_int(s->db, q, 0),
                      place = ledge__rollout_place(r->salt, ledge__sql_text(s->db, q, 1));
        c->places[c->n_places++] = place;
        if (place > r->threshold)
            continue;
        c->ids[c->n++] = id;
        if (ledge__sql_int(s->db, q, 6) >= s->now - r->plan.silent_s)
            c->answering[c->n_answering++] = id;
    }
    LEDGE_TRY(ledge__sql_end(s->db, q, err));
    return lost ? ledge__no_memory(err) : LEDGE_OK;
}

static int by_id(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool has(const int64_t *sorted, size_t n, int64_t id)
{
    return n && bsearch(&id, sorted, n, sizeof id, by_id);
}

static bool sample_room(Cohort *c)
{
    if (c->n_now < c->sample_room && c->n_before < c->sample_room)
        return true;
    const size_t n = c->sample_room ? 2 * c->sample_room : 256;
    Sample *now = realloc(c->now, n * sizeof *now);
    c->now = now ? now : c->now;
    Sample *before = realloc(c->before, n * sizeof *before);
    c->before = before ? before : c->before;
    if (!now || !before)
        return false;
    c->sample_room = n;
    return true;
}

static void count_failure(Cohort *c, LedgeEvidence *e, int64_t device)
{
    e->failed += c->last_failed != device;
    c->last_failed = device;
}

/* One row of EVIDENCE: a device and a version that it has or had. */
static void weigh(LedgeSql *db, const LedgeLiveRollout *r, Cohort *c, LedgeEvidence *e)
{
    const LedgeQuery q = LEDGE_Q_EVIDENCE;
    const int64_t id = ledge__sql_int(db, q, 0), samples = ledge__sql_int(db, q, 3),
                  p90 = ledge__sql_int(db, q, 5), drift = ledge__sql_int(db, q, 6);
    const char *state = ledge__sql_text(db, q, 2);
    const bool is_new = strcmp(ledge__sql_text(db, q, 1), r->to) == 0;
    if (!is_new) {
        e->old_samples += samples;
        /* The old version stands in for the new one. */
        if (strcmp(state, "fallback") == 0 && has(c->ids, c->n, id) &&
            ledge__sql_int(db, q, 9) >= r->at.entered)
            count_failure(c, e, id);
        if (p90 > 0 && samples > 0)
            c->before[c->n_before++] = (Sample){p90, samples};
        return;
    }
    if (!has(c->ids, c->n, id))
        return;
    if (strcmp(state, "failed") == 0 || strcmp(state, "fallback") == 0) {
        count_failure(c, e, id);
    } else if (strcmp(state, "running") == 0 && has(c->answering, c->n_answering, id)) {
        e->running++;
        e->judged += drift >= LEDGE_FLEET_DRIFT_FINE;
        e->drifting += drift == LEDGE_FLEET_DRIFT_HIGH;
    }
    e->samples += samples;
    e->errors += ledge__sql_int(db, q, 4);
    e->shadow_count += ledge__sql_int(db, q, 7);
    e->shadow_agree += ledge__sql_int(db, q, 8);
    if (p90 > 0 && samples > 0)
        c->now[c->n_now++] = (Sample){p90, samples};
}

static int by_p90(const void *a, const void *b)
{
    const int64_t x = ((const Sample *)a)->p90, y = ((const Sample *)b)->p90;
    return (x > y) - (x < y);
}

/* The p90 of the device in the middle, devices counting by their samples: one that is slow for
 * reasons of its own moves it little. */
static int64_t middle(Sample *samples, size_t n)
{
    int64_t all = 0, upto = 0;
    if (!n)
        return 0;
    qsort(samples, n, sizeof *samples, by_p90);
    for (size_t i = 0; i < n; i++)
        all += samples[i].weight;
    for (size_t i = 0; i < n; i++) {
        upto += samples[i].weight;
        if (2 * upto >= all)
            return samples[i].p90;
    }
    return samples[n - 1].p90;
}

static LedgeStatus gather(LedgeStore *s, const LedgeLiveRollout *r, LedgeError *err, Cohort *c,
                          LedgeEvidence *e)
{
    bool lost = false;
    *e = (LedgeEvidence){0};
    LEDGE_TRY(gather_cohort(s, r, err, c));
    if (c->n)
        qsort(c->ids, c->n, sizeof *c->ids, by_id);
    if (c->n_answering)
        qsort(c->answering, c->n_answering, sizeof *c->answering, by_id);
    e->cohort = (int64_t)c->n;
    e->answering = (int64_t)c->n_answering;
    LEDGE_TRY(ledge__sql_ask(s->db, err, LEDGE_Q_EVIDENCE, "ttt", r->model, r->to, r->from));
    while (ledge__sql_next(s->db, LEDGE_Q_EVIDENCE)) {
        lost |= !sample_room(c);
        if (!lost)
            weigh(s->db, r, c, e);
    }
    LEDGE_TRY(ledge__sql_end(s->db, LEDGE_Q_EVIDENCE, err));
    e->p90_us = middle(c->now, c->n_now);
    e->old_p90_us = middle(c->before, c->n_before);
    return lost ? ledge__no_memory(err) : LEDGE_OK;
}

/* ---- turns ---- */

static json_t *gates_json(const LedgeLiveRollout *r, const LedgeEvidence *e)
{
    LedgeGateView views[LEDGE_GATES];
    json_t *list = json_array();
    ledge__rollout_gates(&r->plan, &r->at, e, views);
    for (int i = 0; i < LEDGE_GATES; i++)
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:s, s:f, s:f}", "name", views[i].name,
                                              "state", ledge__gate_state_name(views[i].state),
                                              "have", views[i].have, "bound", views[i].bound));
    return json_pack("{s:o, s:{s:I, s:I, s:I, s:I, s:I}}", "gates", list, "devices", "cohort",
                     (json_int_t)e->cohort, "answering", (json_int_t)e->answering, "running",
                     (json_int_t)e->running, "failed", (json_int_t)e->failed, "samples",
                     (json_int_t)e->samples);
}

LedgeStatus ledge__rollout_threshold_now(LedgeStore *s, LedgeLiveRollout *r, LedgeError *err)
{
    Cohort c = {0};
    LedgeStatus status = gather_cohort(s, r, err, &c);
    if (!status)
        r->threshold =
            ledge__rollout_threshold(c.places, c.n_places, r->plan.steps[r->at.step].percent);
    cohort_free(&c);
    return status;
}

/* The group's alias moves to the new version; where other groups share the alias, the group gets
 * one of its own. */
static LedgeStatus finish(LedgeStore *s, const LedgeLiveRollout *r, LedgeError *err)
{
    json_t *rows = NULL;
    const char *group = r->group >= 0 ? s->groups[r->group].name : "";
    char alias[LEDGE_FLEET_NAME] = "";
    size_t sharing = 0;
    LEDGE_TRY(ledge__sql_list(s->db, err, &rows, LEDGE_Q_ASSIGNMENTS, ""));
    json_t *mine = NULL;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *a = json_array_get(rows, i);
        if (strcmp(ledge__member_text(a, "model"), r->model) == 0 &&
            strcmp(ledge__member_text(a, "grp"), group) == 0)
            mine = a;
    }
    for (size_t i = 0; i < json_array_size(rows) && mine; i++) {
        const json_t *a = json_array_get(rows, i);
        sharing += strcmp(ledge__member_text(a, "model"), r->model) == 0 &&
                   strcmp(ledge__member_text(a, "alias"), ledge__member_text(mine, "alias")) == 0;
    }
    LedgeStatus status = LEDGE_OK;
    if (mine) {
        snprintf(alias, sizeof alias, "%s",
                 sharing > 1 ? group : ledge__member_text(mine, "alias"));
        status =
            ledge__sql_run(s->db, err, LEDGE_Q_ASSIGNMENT_SET, "tttttti", group, r->model, alias,
                           json_string_value(json_object_get(mine, "fallback_model")),
                           json_string_value(json_object_get(mine, "fallback_version")),
                           ledge__member_text(mine, "moment"), ledge__member_int(mine, "strict"));
        if (!status)
            status = ledge__sql_run(s->db, err, LEDGE_Q_ALIAS_SET, "tttti", r->model, alias, r->to,
                                    r->from, s->now);
    }
    json_decref(rows);
    return status;
}

static const char *const turn_names[] = {"", "rollout.next", "rollout.done", "rollout.pause",
                                         "rollout.rollback"};

LedgeStatus ledge__rollout_apply(LedgeStore *s, LedgeLiveRollout *r, LedgeRolloutTurn turn,
                                 const char *who, const char *why, LedgeError *err)
{
    char subject[64];
    if (turn == LEDGE_TURN_NEXT)
        LEDGE_TRY(ledge__rollout_threshold_now(s, r, err));
    if (turn == LEDGE_TURN_DONE)
        LEDGE_TRY(finish(s, r, err));
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_ROLLOUT_SET, "iitiiiti", r->id, r->revision,
                             ledge__rollout_state_name(r->at.state), (int64_t)r->at.step,
                             r->at.entered, r->threshold, r->at.reason, s->now));
    if (!ledge__sql_changed(s->db)) /* another registry was first */
        return LEDGE_OK;
    r->revision++;
    snprintf(subject, sizeof subject, "rollout %lld", (long long)r->id);
    LEDGE_TRY(ledge__store_audit(
        s, who, turn == LEDGE_TURN_NONE ? "rollout.resume" : turn_names[turn], subject,
        why && why[0] ? why : r->at.reason,
        json_pack("{s:s, s:s, s:i}", "model", r->model, "version", r->to, "step", r->at.step + 1),
        err));
    return ledge__store_changed(s, err);
}

static LedgeStatus turn_one(LedgeStore *s, LedgeLiveRollout *r, LedgeError *err)
{
    Cohort c = {0};
    LedgeEvidence e;
    LedgeStatus status = gather(s, r, err, &c, &e);
    cohort_free(&c);
    if (status)
        return status;
    /* Devices may have come since the step began; nobody is in it yet. */
    if (r->threshold < 0 && r->at.state == LEDGE_ROLLOUT_RUNNING) {
        LEDGE_TRY(ledge__rollout_threshold_now(s, r, err));
        if (r->threshold >= 0)
            return ledge__rollout_apply(s, r, LEDGE_TURN_NONE, "registry", "the first devices came",
                                        err);
    }
    json_t *gates = gates_json(r, &e);
    char *text = gates ? json_dumps(gates, JSON_COMPACT) : NULL;
    json_decref(gates);
    if (!text)
        return ledge__no_memory(err);
    status = ledge__sql_run(s->db, err, LEDGE_Q_ROLLOUT_GATES, "it", r->id, text);
    free(text);
    if (status)
        return status;
    const LedgeRolloutTurn turn = ledge__rollout_turn(&r->plan, &r->at, &e, s->now);
    return turn ? ledge__rollout_apply(s, r, turn, "registry", NULL, err) : LEDGE_OK;
}

LedgeStatus ledge__store_turn_rollouts(LedgeStore *s, LedgeError *err)
{
    for (size_t i = 0; i < s->n_rollouts; i++)
        LEDGE_TRY(turn_one(s, &s->rollouts[i], err));
    return LEDGE_OK;
}

/* ---- what is old ---- */

LedgeStatus ledge__store_clean(LedgeStore *s, LedgeError *err)
{
    char day[16];
    struct tm tm;
    int64_t dropped;
    const time_t first = (time_t)(s->now - s->options.keep_days * DAY);
    if (s->now - s->cleaned < CLEAN_SECONDS)
        return LEDGE_OK;
    (void)gmtime_r(&first, &tm);
    (void)strftime(day, sizeof day, "%Y%m%d", &tm);
    LEDGE_TRY(ledge__sql_drop_days(s->db, day, err, &dropped));
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_ROLLUPS_DROP, "i",
                             s->now - s->options.keep_rollup_days * DAY));
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_EVENTS_DROP, "i",
                             s->now - s->options.keep_rollup_days * DAY));
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_RAW_SEGMENTS_DROP, "i",
                             s->now - s->options.keep_rollup_days * DAY));
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_SAMPLES_DROP, "i",
                             s->now - s->options.keep_days * DAY));
    /* An id must be known for as long as a device may still send its batch again. */
    LEDGE_TRY(ledge__sql_run(s->db, err, LEDGE_Q_BATCHES_DROP, "i",
                             s->now - (s->options.keep_rollup_days + 366) * DAY));
    s->cleaned = s->now;
    return LEDGE_OK;
}

/* ---- raw batches ---- */

typedef struct Segment {
    char *bytes;
    size_t n;
    int64_t first, last, batches;
} Segment;

/* A line of JSON saying what follows, then the bytes as they came. */
static LedgeStatus gather_segment(LedgeStore *s, int64_t upto, LedgeError *err, Segment *g)
{
    FILE *to = open_memstream(&g->bytes, &g->n);
    LedgeStatus status =
        to ? ledge__sql_ask(s->db, err, LEDGE_Q_RAW_TAKE, "i", upto) : ledge__no_memory(err);
    if (!status) {
        while (ledge__sql_next(s->db, LEDGE_Q_RAW_TAKE)) {
            size_t n;
            const int64_t at = ledge__sql_int(s->db, LEDGE_Q_RAW_TAKE, 1);
            const void *body = ledge__sql_bytes(s->db, LEDGE_Q_RAW_TAKE, 3, &n);
            fprintf(to, "{\"batch\":\"%s\",\"received\":%lld,\"bytes\":%zu}\n",
                    ledge__sql_text(s->db, LEDGE_Q_RAW_TAKE, 2), (long long)at, n);
            (void)fwrite(body, 1, n, to);
            (void)putc('\n', to);
            g->first = g->batches++ ? g->first : at;
            g->last = at;
        }
        status = ledge__sql_end(s->db, LEDGE_Q_RAW_TAKE, err);
    }
    if (to && (ferror(to) | fclose(to)) && !status)
        status = ledge__no_memory(err);
    return status;
}

static LedgeStatus write_file(const char *path, const Segment *g, LedgeError *err)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t done = 0;
    while (fd >= 0 && done < g->n) {
        const ssize_t n = write(fd, g->bytes + done, g->n - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    LedgeStatus status =
        fd >= 0 && done == g->n
            ? LEDGE_OK
            : ledge__fail(err, LEDGE_ERROR_IO, path, "cannot be written: %s", strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return status;
}

/* The blob is durable before the rows go, in this transaction: a cut in between leaves both, and
 * the next try makes the same blob again. */
static LedgeStatus move_segment(LedgeStore *s, int64_t upto, LedgeError *err)
{
    Segment g = {0};
    char hash[LEDGE_SHA256_HEX], path[500];
    LedgeStatus status = gather_segment(s, upto, err, &g);
    if (!status)
        status = ledge__sha256_of(g.bytes, g.n, hash);
    if (!status) {
        snprintf(path, sizeof path, "%s/raw-%ld", ledge__blobs_folder(s->options.blobs),
                 (long)getpid());
        status = write_file(path, &g, err);
    }
    if (!status)
        status = ledge__blobs_put(s->options.blobs, hash, path, err);
    if (!status)
        status = ledge__sql_run(s->db, err, LEDGE_Q_BLOB_ADD, "tii", hash, (int64_t)g.n, s->now);
    if (!status)
        status = ledge__sql_run(s->db, err, LEDGE_Q_RAW_SEGMENT, "tiiii", hash, g.first, g.last,
                                g.batches, (int64_t)g.n);
    if (!status)
        status = ledge__sql_run(s->db, err, LEDGE_Q_RAW_DONE, "i", upto);
    free(g.bytes);
    return status;
}

LedgeStatus ledge__store_move_raw(LedgeStore *s, bool force, LedgeError *err)
{
    int64_t n = 0, oldest = 0, bytes = 0, last = 0;
    if (!s->options.keep_raw || !s->options.blobs)
        return LEDGE_OK;
    LEDGE_TRY(ledge__sql_ask(s->db, err, LEDGE_Q_RAW_WAITING, ""));
    while (ledge__sql_next(s->db, LEDGE_Q_RAW_WAITING)) {
        n = ledge__sql_int(s->db, LEDGE_Q_RAW_WAITING, 0);
        oldest = ledge__sql_int(s->db, LEDGE_Q_RAW_WAITING, 1);
        bytes = ledge__sql_int(s->db, LEDGE_Q_RAW_WAITING, 2);
        last = ledge__sql_int(s->db, LEDGE_Q_RAW_WAITING, 3);
    }
    LEDGE_TRY(ledge__sql_end(s->db, LEDGE_Q_RAW_WAITING, err));
    const bool due = bytes >= RAW_BYTES || s->now - oldest >= RAW_SECONDS || force;
    return n && due ? move_segment(s, last, err) : LEDGE_OK;
}
