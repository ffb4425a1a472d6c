/* ledge registry simulate: a fleet that is made up, against a real registry.
 *
 * Thousands of devices poll and send telemetry by the agent's own code (its messages, its HTTP
 * client, its compression), with requests that get lost on either way, clocks that are wrong,
 * restarts, and versions that are bad. A batch is sent until it is answered, always with the same
 * bytes. In the end it says what was acknowledged, so that the registry's own count can be held
 * against it. Each thread has a part of the devices and a connection. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/registry_cli.h"
#include "fleet/agent/http_client.h"
#include "fleet/protocol/deflate.h"
#include "fleet/protocol/wire_batch.h"
#include "fleet/protocol/wire_poll.h"
#include "image/file_bytes.h"

enum { THREADS = 64 };

typedef struct Options {
    RegistryClient client;
    bool json;
    int64_t devices, seconds, interval, records, loss, restarts, skew, threads, seed;
    const char *bad, *slow, *failing, *drifting, *prefix;
    CliList labels;
} Options;

#define OPT(name_, letter_, kind_, value_, help_, field_, least_, most_)                           \
    {                                                                                              \
        name_, letter_, kind_, value_, help_, offsetof(Options, field_), least_, most_             \
    }
static const CliOption options[] = {
    OPT("devices", 'n', CLI_INT, "N", "how many devices (100)", devices, 1, 1000000),
    OPT("seconds", 0, CLI_INT, "S", "how long (30)", seconds, 1, 1000000),
    OPT("interval", 'i', CLI_INT, "S", "seconds between a device's turns (5)", interval, 1, 86400),
    OPT("records", 0, CLI_INT, "N", "inferences of a device in one turn (20)", records, 0, 1000),
    OPT("loss", 0, CLI_INT, "PERCENT", "requests or answers that get lost (5)", loss, 0, 99),
    OPT("restarts", 0, CLI_INT, "PERCENT", "turns after which a device starts anew (1)", restarts,
        0, 100),
    OPT("skew", 0, CLI_INT, "S", "seconds that clocks are wrong by, at most (3600)", skew, 0,
        2000000000),
    OPT("bad", 0, CLI_TEXT, "VERSION", "a version half of whose inferences fail", bad, 0, 0),
    OPT("slow", 0, CLI_TEXT, "VERSION", "a version three times as slow", slow, 0, 0),
    OPT("failing", 0, CLI_TEXT, "VERSION", "a version that fails its self-test", failing, 0, 0),
    OPT("drifting", 0, CLI_TEXT, "VERSION", "a version whose data drift", drifting, 0, 0),
    OPT("label", 'l', CLI_LIST, "KEY=VALUE", "a label of all of them", labels, 0, 0),
    OPT("prefix", 0, CLI_TEXT, "TEXT", "what their ids begin with (sim)", prefix, 0, 0),
    OPT("threads", 't', CLI_INT, "N", "connections (8)", threads, 1, THREADS),
    OPT("seed", 0, CLI_INT, "N", "another one is another fleet", seed, 0, INT64_MAX),
    REGISTRY_CLIENT_OPTIONS(Options),
    CLI_OPTION_JSON(Options),
};

typedef struct Device {
    int64_t number, skew_s;
    uint64_t serial, seq;
    double due, started;
    char model[LEDGE_FLEET_NAME], version[LEDGE_FLEET_NAME]; /* "": none yet */
    char shadow[LEDGE_FLEET_NAME], failed[LEDGE_FLEET_NAME];
    char etag[LEDGE_FLEET_ETAG];
    LedgePollWindow window, shadow_window;
    char *batch; /* on its way until it is answered, deflated */
    size_t batch_size, batch_records;
    bool saw_bad;
} Device;

typedef struct Count {
    int64_t polls, unchanged, refused, lost, batches, resent, duplicates, records, restarts;
} Count;

typedef struct Part {
    const Options *o;
    pthread_t thread;
    Device *devices;
    size_t n;
    uint64_t random;
    double until;
    LedgeHttp *http;
    bool is_calm; /* nothing is lost any more */
    char session[32]; /* part of every batch id: another run is another fleet's queue */
    Count count;
    LedgeError err;
    LedgeStatus status;
} Part;

/* ---- chance and time ---- */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* xorshift64*, by Sebastiano Vigna's description. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

static bool chance(Part *p, int64_t percent)
{
    return (int64_t)(next_random(&p->random) >> 33) % 100 < percent;
}

static bool is(const char *version, const char *name)
{
    return name && version[0] && strcmp(version, name) == 0;
}

/* ---- what a device did since its last turn ---- */

static void write_records(Part *p, Device *d, FILE *to, int64_t clock_us)
{
    const Options *o = p->o;
    LedgeBatchWriter w;
    LedgeBatchHead head = {.clock_us = clock_us};
    snprintf(head.device_id, sizeof head.device_id, "%s-%" PRId64, o->prefix, d->number);
    snprintf(head.batch, sizeof head.batch, "%.100s-%s:%" PRIu64, head.device_id, p->session,
             d->serial++);
    ledge__batch_write_head(&w, to, &head);
    ledge__batch_write_list(&w, LEDGE_BATCH_RECORDS);
    for (int64_t i = 0; i < o->records; i++) {
        LedgeTelemetryRecord r = {
            .seq = d->seq++,
            .timestamp = clock_us - (o->records - i) * 1000,
            .latency_us = 3000 + (int64_t)(next_random(&p->random) >> 40) % 3000,
            .confidence_ppm = 900000,
            .class_id = (int64_t)(next_random(&p->random) >> 40) % 10,
            .drift = is(d->version, o->drifting) ? LEDGE_FLEET_DRIFT_HIGH : LEDGE_FLEET_DRIFT_FINE};
        r.latency_us *= is(d->version, o->slow) ? 3 : 1;
        r.error = is(d->version, o->bad) ? chance(p, 50) : false;
        snprintf(r.model, sizeof r.model, "%s", d->model);
        snprintf(r.version, sizeof r.version, "%s", d->version);
        ledge__batch_write_record(&w, &r);
        d->window.errors += r.error;
        d->window.p90_us = r.latency_us > d->window.p90_us ? r.latency_us : d->window.p90_us;
        d->window.drift = r.drift;
    }
    d->window.count += o->records;
    d->shadow_window.shadow_count += d->shadow[0] ? o->records : 0;
    d->shadow_window.shadow_agree +=
        d->shadow[0] ? o->records * (is(d->shadow, o->bad) ? 5 : 10) / 10 : 0;
    ledge__batch_write_end(&w);
}

static LedgeStatus infer(Part *p, Device *d, LedgeError *err)
{
    char *text = NULL;
    size_t n = 0;
    const int64_t clock_us = ((int64_t)time(NULL) + d->skew_s) * 1000000;
    if (d->batch || !d->version[0] || !p->o->records)
        return LEDGE_OK;
    FILE *to = open_memstream(&text, &n);
    if (!to)
        return LEDGE_ERROR_MEMORY;
    write_records(p, d, to, clock_us > 0 ? clock_us : 1);
    LedgeStatus status =
        fclose(to) ? LEDGE_ERROR_MEMORY : ledge__deflate(text, n, err, &d->batch, &d->batch_size);
    free(text);
    d->batch_records = (size_t)p->o->records;
    return status;
}

/* ---- asking ---- */

/* Lost before it arrives, or its answer after: the device cannot tell which. */
static LedgeStatus ask(Part *p, const LedgeHttpAsk *what, LedgeHttpAnswer *out, bool *lost)
{
    LedgeError err = {0};
    *out = (LedgeHttpAnswer){0};
    *lost = !p->is_calm && chance(p, p->o->loss);
    if (*lost && chance(p, 50)) {
        p->count.lost++;
        return LEDGE_OK;
    }
    LedgeStatus status = ledge__http_ask(p->http, what, &err, out);
    if (status == LEDGE_ERROR_IO) { /* the registry is away, or cut it: as good as lost */
        *lost = true;
        status = LEDGE_OK;
    }
    p->count.lost += *lost;
    return status;
}

static LedgeStatus send_batch(Part *p, Device *d, LedgeError *err)
{
    LedgeHttpAnswer a;
    LedgeBatchAnswer said;
    bool lost;
    const LedgeHttpAsk what = {.path = "/v1/telemetry",
                               .body = d->batch,
                               .body_size = d->batch_size,
                               .is_deflated = true,
                               .max = 65536};
    if (!d->batch)
        return LEDGE_OK;
    LEDGE_TRY(ask(p, &what, &a, &lost));
    LedgeStatus status = LEDGE_OK;
    if (!lost && a.status == 200) {
        status = ledge__batch_answer_read(a.body, a.size, err, &said);
        p->count.batches++;
        p->count.records += (int64_t)d->batch_records;
        p->count.duplicates += !status && said.duplicate;
        free(d->batch);
        d->batch = NULL;
    } else {
        p->count.resent++;
        p->count.refused += !lost;
    }
    free(a.body);
    return status;
}

/* Does at once what it is told: the bytes are not fetched, everything else is. */
static void obey(const Options *o, Device *d, const LedgePollAnswer *a)
{
    d->shadow[0] = '\0';
    for (size_t i = 0; i < a->n_models; i++) {
        const LedgeAssignment *m = &a->models[i];
        if (d->model[0] && strcmp(m->name, d->model) != 0)
            continue;
        snprintf(d->model, sizeof d->model, "%s", m->name);
        d->saw_bad |= is(m->version, o->bad) || is(m->version, o->failing) ||
                      is(m->version, o->slow) || is(m->version, o->drifting);
        if (m->shadow) {
            snprintf(d->shadow, sizeof d->shadow, "%s", m->version);
        } else if (is(m->version, o->failing)) {
            snprintf(d->failed, sizeof d->failed, "%s", m->version);
        } else if (strcmp(m->version, d->version) != 0) {
            snprintf(d->version, sizeof d->version, "%s", m->version);
            d->window = (LedgePollWindow){0};
            d->failed[0] = '\0';
        }
    }
    snprintf(d->etag, sizeof d->etag, "%s", a->etag);
}

static void report(LedgePollRequest *r, const Device *d, const char *version, LedgeFleetState state,
                   const LedgePollWindow *w)
{
    if (!version[0])
        return;
    LedgePollModel *m = &r->models[r->n_models++];
    snprintf(m->name, sizeof m->name, "%s", d->model);
    snprintf(m->version, sizeof m->version, "%s", version);
    m->state = state;
    m->window = *w;
    if (state == LEDGE_FLEET_FAILED)
        snprintf(m->reason, sizeof m->reason, "the self-test failed");
}

static LedgeStatus write_poll(const Part *p, const Device *d, char **text, size_t *n)
{
    static const LedgePollWindow none;
    LedgePollRequest *r = calloc(1, sizeof *r);
    FILE *to = r ? open_memstream(text, n) : NULL;
    if (!to) {
        free(r);
        return LEDGE_ERROR_MEMORY;
    }
    snprintf(r->device_id, sizeof r->device_id, "%s-%" PRId64, p->o->prefix, d->number);
    snprintf(r->agent, sizeof r->agent, "ledge-simulate");
    snprintf(r->arch, sizeof r->arch, "x86-64");
    snprintf(r->level, sizeof r->level, "avx2");
    r->cores = 4;
    for (size_t i = 0; i < p->o->labels.n && r->n_labels < LEDGE_FLEET_LABELS; i++) {
        const char *label = p->o->labels.items[i], *eq = strchr(label, '=');
        LedgePollLabel *l = &r->labels[r->n_labels++];
        snprintf(l->key, sizeof l->key, "%.*s", (int)(eq - label), label);
        snprintf(l->value, sizeof l->value, "%s", eq + 1);
    }
    r->clock = (int64_t)time(NULL) + d->skew_s;
    r->uptime_s = (int64_t)(now_s() - d->started);
    snprintf(r->boot, sizeof r->boot, "%" PRId64 "-%.0f", d->number, d->started * 10);
    report(r, d, d->version, LEDGE_FLEET_RUNNING, &d->window);
    report(r, d, d->shadow, LEDGE_FLEET_RUNNING, &d->shadow_window);
    report(r, d, d->failed, LEDGE_FLEET_FAILED, &none);
    r->queue_records = d->batch ? (int64_t)d->batch_records : 0;
    r->disk_free = 1000000000;
    ledge__poll_request_write(r, to);
    free(r);
    return fclose(to) ? LEDGE_ERROR_MEMORY : LEDGE_OK;
}

static LedgeStatus poll_once(Part *p, Device *d, LedgeError *err)
{
    char *text = NULL;
    size_t n = 0;
    LedgeHttpAnswer a;
    bool lost;
    LEDGE_TRY(write_poll(p, d, &text, &n));
    const LedgeHttpAsk what = {.path = "/v1/poll",
                               .body = text,
                               .body_size = n,
                               .if_none_match = d->etag[0] ? d->etag : NULL,
                               .max = LEDGE_FLEET_POLL_MAX};
    LedgeStatus status = ask(p, &what, &a, &lost);
    free(text);
    if (!status && !lost && (a.status == 200 || a.status == 304)) {
        LedgePollAnswer *answer = a.status == 200 ? malloc(sizeof *answer) : NULL;
        p->count.polls++;
        p->count.unchanged += a.status == 304;
        if (answer)
            status = ledge__poll_answer_read(a.body, a.size, err, answer);
        d->window.count = d->window.errors = d->window.p90_us = 0; /* it was told */
        d->shadow_window = (LedgePollWindow){0};
        if (answer && !status)
            obey(p->o, d, answer);
        free(answer);
    } else if (!status && !lost) {
        p->count.refused++;
    }
    free(a.body);
    return status;
}

/* ---- the parts ---- */

static LedgeStatus turn(Part *p, Device *d, LedgeError *err)
{
    LEDGE_TRY(infer(p, d, err));
    LEDGE_TRY(send_batch(p, d, err));
    LEDGE_TRY(poll_once(p, d, err));
    if (chance(p, p->o->restarts)) { /* the queue and what runs are on its disk; the rest is not */
        d->started = now_s();
        d->etag[0] = '\0';
        d->window = (LedgePollWindow){0};
        p->count.restarts++;
    }
    return LEDGE_OK;
}

static Device *earliest(const Part *p)
{
    Device *d = p->devices;
    for (size_t i = 1; i < p->n; i++)
        d = p->devices[i].due < d->due ? &p->devices[i] : d;
    return d;
}

static void *work(void *arg)
{
    Part *p = arg;
    while (p->n && !p->status) {
        /* Within one interval every device is due once; the earliest is one among thousands. */
        Device *d = earliest(p);
        const double now = now_s();
        if (now >= p->until)
            break;
        if (d->due > now) {
            const double wait = d->due - now < p->until - now ? d->due - now : p->until - now;
            nanosleep(&(struct timespec){(time_t)wait, (long)((wait - (double)(time_t)wait) * 1e9)},
                      NULL);
            continue;
        }
        p->status = turn(p, d, &p->err);
        /* A fifth of jitter either way, as agents have. */
        d->due += (double)p->o->interval *
                  (0.8 + (double)(next_random(&p->random) >> 40) / (double)(1 << 24) * 0.4);
        d->due = d->due < now ? now : d->due;
    }
    return NULL;
}

/* What is still on its way gets its answer, so that the counts can be compared. */
static void settle(Part *p)
{
    LedgeError err;
    p->is_calm = true;
    for (size_t i = 0; i < p->n; i++)
        for (int k = 0; k < 20 && p->devices[i].batch; k++)
            if (send_batch(p, &p->devices[i], &err) || (p->devices[i].batch && usleep(100000)))
                break;
}

typedef struct Fleet {
    Options *o;
    Device *devices;
    Part parts[THREADS];
    size_t n_parts;
    LedgeHttpOptions http;
    char base[600], token[300];
} Fleet;

static int prepare(Fleet *f)
{
    const Options *o = f->o;
    LedgeError err = {0};
    const char *server = o->client.server ? o->client.server : getenv("LEDGE_REGISTRY"),
               *token = getenv("LEDGE_REGISTRY_TOKEN");
    uint8_t *bytes = NULL;
    size_t size;
    snprintf(f->base, sizeof f->base, "%s", server ? server : "http://127.0.0.1:8070");
    if (o->client.token_file) {
        if (ledge__file_bytes(NULL, o->client.token_file, 256, &err, &bytes, &size))
            return cli_fail(o->client.token_file, &err);
        bytes[strcspn((char *)bytes, "\r\n")] = '\0';
        snprintf(f->token, sizeof f->token, "%s", (char *)bytes);
        ledge__free(NULL, bytes);
    } else {
        snprintf(f->token, sizeof f->token, "%s", token ? token : "");
    }
    f->http = (LedgeHttpOptions){
        .base = f->base, .token = f->token[0] ? f->token : NULL, .ca = o->client.ca};
    f->devices = calloc((size_t)o->devices, sizeof *f->devices);
    return f->devices ? CLI_GO : cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
}

static int start(Fleet *f)
{
    const Options *o = f->o;
    const double begin = now_s();
    const size_t most = (size_t)(o->threads < o->devices ? o->threads : o->devices);
    uint64_t random = (uint64_t)o->seed * 2654435761u + 88172645463325252ULL;
    for (int64_t i = 0; i < o->devices; i++)
        f->devices[i] = (Device){
            .number = i,
            .started = begin,
            .skew_s = o->skew ? (int64_t)(next_random(&random) >> 20) % (2 * o->skew) - o->skew : 0,
            .due = begin +
                   (double)(next_random(&random) >> 40) / (double)(1 << 24) * (double)o->interval};
    for (; f->n_parts < most; f->n_parts++) {
        Part *p = &f->parts[f->n_parts];
        const size_t from = (size_t)o->devices * f->n_parts / most,
                     to = (size_t)o->devices * (f->n_parts + 1) / most;
        *p = (Part){.o = o,
                    .devices = f->devices + from,
                    .n = to - from,
                    .random = next_random(&random) | 1,
                    .until = begin + (double)o->seconds};
        snprintf(p->session, sizeof p->session, "%lx%lx", (unsigned long)time(NULL),
                 (unsigned long)getpid());
        if (ledge__http_new(&f->http, &p->err, &p->http))
            return cli_fail(NULL, &p->err);
        if (pthread_create(&p->thread, NULL, work, p) != 0) {
            ledge__http_free(p->http);
            return cli_fail_with(NULL, LEDGE_ERROR_RUNTIME, "cannot start a thread: %s",
                                 strerror(errno));
        }
    }
    return CLI_GO;
}

static void add(Count *to, const Count *from)
{
    to->polls += from->polls, to->unchanged += from->unchanged, to->refused += from->refused;
    to->lost += from->lost, to->batches += from->batches, to->resent += from->resent;
    to->duplicates += from->duplicates, to->records += from->records,
        to->restarts += from->restarts;
}

static int end(Fleet *f, Count *all)
{
    int code = CLI_GO;
    for (size_t i = 0; i < f->n_parts; i++) {
        Part *p = &f->parts[i];
        pthread_join(p->thread, NULL);
        if (p->status && code == CLI_GO)
            code = cli_fail_with(p->err.where, p->status, "%s",
                                 p->err.message[0] ? p->err.message : ledge_status_text(p->status));
        settle(p);
        add(all, &p->count);
        ledge__http_free(p->http);
    }
    return code;
}

static json_t *versions_of(const Fleet *f, int64_t *saw_bad, int64_t *waiting)
{
    json_t *o = json_object();
    for (int64_t i = 0; i < f->o->devices; i++) {
        const Device *d = &f->devices[i];
        const char *version = d->version[0] ? d->version : "none";
        const json_int_t n = json_integer_value(json_object_get(o, version));
        (void)json_object_set_new(o, version, json_integer(n + 1));
        *saw_bad += d->saw_bad;
        *waiting += d->batch != NULL;
    }
    return o;
}

static int say(const Fleet *f, const Count *c)
{
    int64_t saw_bad = 0, waiting = 0;
    json_t *versions = versions_of(f, &saw_bad, &waiting);
    if (f->o->json)
        return cli_print_json(
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
                      "devices", (json_int_t)f->o->devices, "polls", (json_int_t)c->polls,
                      "unchanged", (json_int_t)c->unchanged, "refused", (json_int_t)c->refused,
                      "lost", (json_int_t)c->lost, "batches", (json_int_t)c->batches, "resent",
                      (json_int_t)c->resent, "duplicates", (json_int_t)c->duplicates, "records",
                      (json_int_t)c->records, "restarts", (json_int_t)c->restarts, "saw_bad",
                      (json_int_t)saw_bad, "waiting", (json_int_t)waiting, "versions", versions));
    char *text = json_dumps(versions, JSON_COMPACT | JSON_SORT_KEYS);
    printf("%" PRId64 " devices: %" PRId64 " polls (%" PRId64 " unchanged), %" PRId64
           " batches with %" PRId64 " records acknowledged\n"
           "%" PRId64 " requests or answers lost, %" PRId64 " refused, %" PRId64
           " batches sent again, %" PRId64 " of them there already, %" PRId64 " restarts\n"
           "devices by version: %s; %" PRId64 " ever saw a version that is bad\n",
           f->o->devices, c->polls, c->unchanged, c->batches, c->records, c->lost, c->refused,
           c->resent, c->duplicates, c->restarts, text ? text : "", saw_bad);
    free(text);
    json_decref(versions);
    return cli_finish();
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Options o = {.devices = 100,
                 .seconds = 30,
                 .interval = 5,
                 .records = 20,
                 .loss = 5,
                 .restarts = 1,
                 .skew = 3600,
                 .threads = 8,
                 .seed = 1,
                 .prefix = "sim"};
    CliArgs args;
    Fleet *f = calloc(1, sizeof *f);
    Count all = {0};
    int code = cli_parse(c, argc, argv, 0, 0, &o, &args);
    if (code != CLI_GO || !f) {
        free(f);
        return code != CLI_GO ? code : cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    }
    f->o = &o;
    for (size_t i = 0; i < o.labels.n && code == CLI_GO; i++)
        if (!strchr(o.labels.items[i], '='))
            code = cli_usage(c, "a label is KEY=VALUE, not '%s'", cli_clean(o.labels.items[i]));
    if (code == CLI_GO && (!ledge__fleet_is_name(o.prefix) || strlen(o.prefix) > 40))
        code = cli_usage(c, "--prefix takes letters, digits, '.', '_' and '-', up to 40");
    if (code == CLI_GO)
        code = prepare(f);
    if (code == CLI_GO) {
        code = start(f);
        const int ended = end(f, &all);
        code = code == CLI_GO ? ended : code;
    }
    if (code == CLI_GO)
        code = say(f, &all);
    for (int64_t i = 0; f->devices && i < o.devices; i++)
        free(f->devices[i].batch);
    free(f->devices);
    free(f);
    cli_args_free(&args);
    return code;
}

const CliCommand registry_simulate = {
    .name = "registry simulate",
    .arguments = "",
    .summary = "a fleet that is made up, for tests and planning",
    .description =
        "Devices with losses, wrong clocks and restarts poll and send telemetry by the agent's "
        "own\n"
        "code. The token must let devices enroll. In the end it says what was acknowledged.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
