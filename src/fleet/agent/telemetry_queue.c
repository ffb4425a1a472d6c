/* The ring, its thread and the overflow policies, see telemetry_queue.h. */
#include "fleet/agent/telemetry_queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/out_file.h"
#include "base/timed_wait.h"
#include "fleet/agent/spool.h"
#include "fleet/agent/telemetry_metrics.h"

enum {
    RING = 4096,
    ALERTS = 64, /* in memory */
    FLUSH_MS = 100,
    SYNC_MS = 1000,
    METRICS_MS = 2000,
    KEEP_ONE_OF = 10,
    PATH = 1024,
};
#define DISK       ((int64_t)64 << 20)
#define ALERT_DISK ((int64_t)8 << 20)

struct LedgeTelemetry {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool stops;
    /* under the lock: */
    LedgeTelemetryRecord *ring;
    size_t room, head, n; /* head: the oldest */
    LedgeFleetNote alerts[ALERTS];
    size_t n_alerts;
    LedgeDropped dropped; /* not yet written down */
    LedgeMetrics metrics;
    /* the thread's: */
    LedgeSpool *spool, *alert_spool;
    LedgeOverflow overflow;
    int64_t disk;
    uint64_t sampled;            /* records that came while sampling */
    LedgeTelemetryRecord *batch; /* taken from the ring at once */
    int64_t synced_ms, told_ms;
    LedgeDropped total;
    char folder[PATH / 2];
};

bool ledge__overflow_of(const char *name, LedgeOverflow *out)
{
    static const char *const names[] = {"oldest", "reject", "sample"};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (LedgeOverflow)i;
            return true;
        }
    return false;
}

/* ---- putting ---- */

void ledge__telemetry_put(LedgeTelemetry *t, const LedgeTelemetryRecord *r)
{
    pthread_mutex_lock(&t->lock);
    ledge__metrics_add(&t->metrics, r);
    if (t->n == t->room) {
        /* The disk does not keep up: memory is bounded too. */
        if (t->overflow == LEDGE_OVERFLOW_OLDEST) {
            t->head = (t->head + 1) % t->room;
            t->n--;
            t->dropped.oldest++;
        } else {
            t->dropped.rejected++;
        }
    }
    if (t->n < t->room) {
        LedgeTelemetryRecord *to = &t->ring[(t->head + t->n++) % t->room];
        *to = *r;
        if (!to->timestamp)
            to->timestamp = ledge__clock_us(CLOCK_REALTIME);
        if (t->n == t->room / 2)
            pthread_cond_signal(&t->wake);
    }
    pthread_mutex_unlock(&t->lock);
}

void ledge__telemetry_alert(LedgeTelemetry *t, const LedgeFleetNote *n)
{
    pthread_mutex_lock(&t->lock);
    if (t->n_alerts == ALERTS) {
        t->dropped.rejected++;
    } else {
        t->alerts[t->n_alerts] = *n;
        if (!n->timestamp)
            t->alerts[t->n_alerts].timestamp = ledge__clock_us(CLOCK_REALTIME);
        t->n_alerts++;
    }
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

void ledge__telemetry_shadow(LedgeTelemetry *t, const char *model, const char *version, bool agrees,
                             int64_t latency_us)
{
    pthread_mutex_lock(&t->lock);
    ledge__metrics_shadow(&t->metrics, model, version, agrees, latency_us);
    pthread_mutex_unlock(&t->lock);
}

/* ---- the thread ---- */

/* Whether a record may go to the disk; counts it where not. */
static bool has_room(LedgeTelemetry *t, LedgeDropped *dropped)
{
    const int64_t bytes = ledge__spool_bytes(t->spool);
    if (t->overflow == LEDGE_OVERFLOW_SAMPLE && bytes > t->disk / 2 &&
        t->sampled++ % KEEP_ONE_OF != 0) {
        dropped->sampled++;
        return false;
    }
    if (bytes + LEDGE_SPOOL_SEGMENT <= t->disk)
        return true;
    uint64_t lost = 0;
    if (t->overflow != LEDGE_OVERFLOW_OLDEST || !ledge__spool_drop_oldest(t->spool, &lost)) {
        dropped->rejected++;
        return false;
    }
    dropped->oldest += (int64_t)lost;
    return true;
}

static void write_record(LedgeTelemetry *t, const LedgeTelemetryRecord *r, LedgeDropped *dropped)
{
    uint8_t bytes[LEDGE_CODE_MAX];
    if (!has_room(t, dropped))
        return;
    if (ledge__spool_append(t->spool, bytes, ledge__code_record(r, bytes), NULL))
        dropped->rejected++;
}

static void write_alerts(LedgeTelemetry *t, const LedgeFleetNote *alerts, size_t n,
                         LedgeDropped *dropped)
{
    uint8_t bytes[LEDGE_CODE_MAX];
    for (size_t i = 0; i < n; i++) {
        uint64_t lost = 0;
        if (ledge__spool_bytes(t->alert_spool) + LEDGE_SPOOL_SEGMENT > ALERT_DISK)
            ledge__spool_drop_oldest(t->alert_spool, &lost);
        dropped->oldest += (int64_t)lost;
        const size_t size = ledge__code_note(LEDGE_CODE_ALERT, &alerts[i], bytes);
        if (ledge__spool_append(t->alert_spool, bytes, size, NULL))
            dropped->rejected++;
    }
    if (n)
        (void)!ledge__spool_flush(t->alert_spool, true, NULL);
}

/* Counts are written down as a record; if that fails, they are kept for the next time. */
static void write_dropped(LedgeTelemetry *t, LedgeDropped *d)
{
    uint8_t bytes[LEDGE_CODE_MAX];
    if (!d->oldest && !d->rejected && !d->sampled)
        return;
    LedgeStatus status = ledge__spool_append(t->spool, bytes, ledge__code_dropped(d, bytes), NULL);
    if (!status)
        status = ledge__spool_flush(t->spool, false, NULL);
    if (status) {
        (void)ledge__spool_lost(t->spool); /* the record of counts itself */
        pthread_mutex_lock(&t->lock);
        t->dropped.oldest += d->oldest;
        t->dropped.rejected += d->rejected;
        t->dropped.sampled += d->sampled;
        pthread_mutex_unlock(&t->lock);
        return;
    }
    t->total.oldest += d->oldest;
    t->total.rejected += d->rejected;
    t->total.sampled += d->sampled;
}

static void tell_metrics(LedgeTelemetry *t, LedgeProducerMetrics *m)
{
    char path[PATH], *text = NULL;
    size_t size = 0;
    m->next = (int64_t)ledge__spool_next(t->spool);
    m->next_alert = (int64_t)ledge__spool_next(t->alert_spool);
    m->bytes = ledge__spool_bytes(t->spool);
    m->dropped = t->total;
    snprintf(path, sizeof path, "%s/metrics.json", t->folder);
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return;
    ledge__metrics_write(m, to);
    if (fclose(to) == 0)
        (void)!ledge__out_file_whole(NULL, path, text, size, NULL);
    free(text);
}

/* One turn; the caller holds the lock, which is free while the disk is used. */
static void turn(LedgeTelemetry *t, bool last)
{
    LedgeFleetNote alerts[ALERTS];
    LedgeProducerMetrics m;
    const size_t n = t->n, n_alerts = t->n_alerts;
    const int64_t now = ledge__clock_ms(CLOCK_MONOTONIC);
    LedgeDropped dropped = t->dropped;
    const bool tells = last || now - t->told_ms >= METRICS_MS;
    for (size_t i = 0; i < n; i++)
        t->batch[i] = t->ring[(t->head + i) % t->room];
    memcpy(alerts, t->alerts, n_alerts * sizeof *alerts);
    t->n = t->n_alerts = 0;
    t->dropped = (LedgeDropped){0};
    if (tells)
        ledge__metrics_tell(&t->metrics, now, &m);
    pthread_mutex_unlock(&t->lock);
    if (ledge__spool_bytes(t->spool) > t->disk / 2) /* the agent has taken some away, perhaps */
        ledge__spool_measure(t->spool);
    write_alerts(t, alerts, n_alerts, &dropped);
    for (size_t i = 0; i < n; i++)
        write_record(t, &t->batch[i], &dropped);
    (void)!ledge__spool_flush(t->spool, false, NULL);
    dropped.rejected += (int64_t)(ledge__spool_lost(t->spool) + ledge__spool_lost(t->alert_spool));
    write_dropped(t, &dropped);
    const bool syncs = last || now - t->synced_ms >= SYNC_MS;
    (void)!ledge__spool_flush(t->spool, syncs, NULL);
    if (syncs)
        t->synced_ms = now;
    if (tells) {
        tell_metrics(t, &m);
        t->told_ms = now;
    }
    pthread_mutex_lock(&t->lock);
}

static void *carry(void *arg)
{
    LedgeTelemetry *t = arg;
    pthread_mutex_lock(&t->lock);
    while (!t->stops) {
        (void)ledge__wait_until(&t->wake, &t->lock,
                                1e-3 * (double)(ledge__clock_ms(CLOCK_MONOTONIC) + FLUSH_MS));
        turn(t, false);
    }
    turn(t, true);
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* ---- opening and closing ---- */

static void release(LedgeTelemetry *t)
{
    ledge__spool_close(t->spool);
    ledge__spool_close(t->alert_spool);
    ledge__wait_end(&t->lock, &t->wake);
    free(t->ring);
    free(t->batch);
    free(t);
}

/* Counts go on from the folder's last metrics. */
static void load_metrics(LedgeTelemetry *t)
{
    char path[PATH], text[32768];
    LedgeProducerMetrics m;
    snprintf(path, sizeof path, "%s/metrics.json", t->folder);
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    const size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    if (ledge__metrics_read(text, n, NULL, &m))
        return;
    t->total = m.dropped;
    ledge__metrics_start(&t->metrics, &m);
}

static LedgeStatus open_spools(LedgeTelemetry *t, LedgeError *err)
{
    char path[PATH];
    LEDGE_TRY(ledge__spool_open(t->folder, err, &t->spool));
    snprintf(path, sizeof path, "%s.alerts", t->folder);
    return ledge__spool_open(path, err, &t->alert_spool);
}

LedgeStatus ledge__telemetry_open(const LedgeTelemetryOptions *o, LedgeError *err,
                                  LedgeTelemetry **out)
{
    if (strlen(o->folder) >= PATH / 2)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, o->folder, "the path is too long");
    LedgeTelemetry *t = calloc(1, sizeof *t);
    if (!t || !ledge__wait_init(&t->lock, &t->wake)) {
        free(t);
        return ledge__no_memory(err);
    }
    strcpy(t->folder, o->folder);
    t->overflow = o->overflow;
    t->disk = o->disk ? o->disk : DISK;
    t->room = o->ring ? o->ring : RING;
    t->ring = calloc(t->room, sizeof *t->ring);
    t->batch = calloc(t->room, sizeof *t->batch);
    LedgeStatus status = t->ring && t->batch ? open_spools(t, err) : ledge__no_memory(err);
    if (!status) {
        load_metrics(t);
        t->synced_ms = t->told_ms = ledge__clock_ms(CLOCK_MONOTONIC);
        if (pthread_create(&t->thread, NULL, carry, t) != 0)
            status = ledge__no_memory(err);
    }
    if (status) {
        release(t);
        return status;
    }
    *out = t;
    return LEDGE_OK;
}

void ledge__telemetry_close(LedgeTelemetry *t)
{
    if (!t)
        return;
    ledge__wait_stop(&t->lock, &t->wake, &t->stops, t->thread);
    release(t);
}
