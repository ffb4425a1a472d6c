/* Batches on their way, see dispatch.h. */
#include "fleet/agent/dispatch.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/out_file.h"
#include "fleet/agent/spool.h"
#include "fleet/protocol/deflate.h"

enum { NAME = 80, FILE_NAME = 160, ANSWER_MAX = 4096, SPOOLS = 64 };

typedef struct Item {
    char spool[NAME];
    uint64_t batch, last;
    int64_t count;
} Item;

static bool parse_name(const char *file, Item *out)
{
    const char *tilde = strchr(file, '~');
    int used = 0;
    if (!tilde || (size_t)(tilde - file) >= NAME)
        return false;
    snprintf(out->spool, NAME, "%.*s", (int)(tilde - file), file);
    return sscanf(tilde, "~%" SCNu64 "~%" SCNu64 "~%" SCNd64 ".z%n", &out->batch, &out->last,
                  &out->count, &used) == 3 &&
           used > 0 && !tilde[used] && ledge__fleet_is_name(out->spool);
}

static void item_path(const LedgeAgentDir *d, const Item *i, char out[LEDGE_AGENT_PATH])
{
    ledge__agent_path(d, out, "queue/outbox/%s~%" PRIu64 "~%" PRIu64 "~%" PRId64 ".z", i->spool,
                      i->batch, i->last, i->count);
}

static bool ends_with(const char *text, const char *tail)
{
    const size_t n = strlen(text), m = strlen(tail);
    return n > m && strcmp(text + n - m, tail) == 0;
}

/* What is urgent first, then by age. */
static int urgency(const Item *i)
{
    return ends_with(i->spool, ".alerts") ? 0 : ends_with(i->spool, ".events") ? 1 : 2;
}

static int by_urgency(const void *a, const void *b)
{
    const Item *x = a, *y = b;
    if (urgency(x) != urgency(y))
        return urgency(x) - urgency(y);
    const int c = strcmp(x->spool, y->spool);
    return c ? c : (x->batch > y->batch) - (x->batch < y->batch);
}

/* All batches, sorted; up to LEDGE_DISPATCH_FILES + some. */
static size_t list_items(const LedgeAgentDir *d, Item *items, size_t most)
{
    char path[LEDGE_AGENT_PATH];
    size_t n = 0;
    ledge__agent_path(d, path, "queue/outbox");
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && n < most && (e = readdir(dir));)
        n += parse_name(e->d_name, &items[n]);
    if (dir)
        closedir(dir);
    qsort(items, n, sizeof *items, by_urgency);
    return n;
}

/* ---- ids ---- */

/* 16 hexadecimal digits, made once for each spool. */
static LedgeStatus spool_id(const LedgeAgentDir *d, const char *spool, LedgeError *err,
                            char out[17])
{
    char file[FILE_NAME], *text;
    size_t n;
    uint64_t number;
    snprintf(file, sizeof file, "queue/%s/id", spool);
    if (ledge__agent_read(d, file, 64, NULL, &text, &n) == LEDGE_OK) {
        const bool ok = n >= 16 && strspn(text, "0123456789abcdef") >= 16;
        snprintf(out, 17, "%.16s", text);
        free(text);
        if (ok)
            return LEDGE_OK;
    }
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        return ledge__fail(err, LEDGE_ERROR_IO, spool, "no random numbers");
    snprintf(out, 17, "%016" PRIx64, number);
    return ledge__agent_write(d, file, out, 16, err);
}

static LedgeStatus batch_id(const LedgeDispatch *o, const Item *i, LedgeError *err,
                            char out[LEDGE_FLEET_BATCH])
{
    char id[17];
    LEDGE_TRY(spool_id(o->dir, i->spool, err, id));
    snprintf(out, LEDGE_FLEET_BATCH, "%.100s-%s:%" PRIu64, o->device_id, id, i->batch);
    return LEDGE_OK;
}

/* ---- making ---- */

typedef struct Making {
    const LedgeDispatch *o;
    Item item;
    LedgeBatchHead head;
    LedgeBatchWriter w;
    char *text;
    size_t size;
    int64_t taken; /* records of the spool, of any kind, since the last batch */
} Making;

/* Heads come before the lists but count what is in them, so items wait in memory. */
static LedgeStatus write_batch(Making *m, const LedgeCoded *items, size_t n, LedgeError *err)
{
    static const LedgeBatchList lists[] = {LEDGE_BATCH_ALERTS, LEDGE_BATCH_EVENTS,
                                           LEDGE_BATCH_RECORDS};
    FILE *to = open_memstream(&m->text, &m->size);
    if (!to)
        return ledge__no_memory(err);
    snprintf(m->head.device_id, sizeof m->head.device_id, "%s", m->o->device_id);
    m->head.clock_us = ledge__clock_us(CLOCK_REALTIME);
    ledge__batch_write_head(&m->w, to, &m->head);
    ledge__batch_write_list(&m->w, lists[urgency(&m->item)]);
    for (size_t i = 0; i < n; i++) {
        if (items[i].kind == LEDGE_CODE_RECORD)
            ledge__batch_write_record(&m->w, &items[i].record);
        else
            ledge__batch_write_note(&m->w, &items[i].note);
    }
    ledge__batch_write_end(&m->w);
    return fclose(to) == 0 ? LEDGE_OK : ledge__no_memory(err);
}

/* The file appears, then the cursor follows; who dies in between is followed by one who reads the
 * name. */
static LedgeStatus finish_batch(Making *m, const LedgeCoded *items, size_t n, LedgeError *err)
{
    char path[LEDGE_AGENT_PATH], *packed = NULL;
    size_t size;
    m->item.batch++;
    m->item.count = (int64_t)n;
    LEDGE_TRY(batch_id(m->o, &m->item, err, m->head.batch));
    LedgeStatus status = write_batch(m, items, n, err);
    if (!status)
        status = ledge__deflate(m->text, m->size, err, &packed, &size);
    free(m->text);
    m->text = NULL;
    if (status)
        return status;
    item_path(m->o->dir, &m->item, path);
    status = ledge__out_file_whole(NULL, path, packed, size, err);
    free(packed);
    m->head.dropped_oldest = m->head.dropped_rejected = m->head.dropped_sampled = 0;
    m->taken = 0;
    if (status)
        return status;
    ledge__agent_path(m->o->dir, path, "queue/%s", m->item.spool);
    LEDGE_TRY(ledge__spool_set_cursor(path, (LedgeSpoolCursor){m->item.last, m->item.batch}, err));
    ledge__spool_trim(path, m->item.last);
    return LEDGE_OK;
}

/* false: not for a batch. */
static bool take_item(Making *m, uint64_t number, const void *bytes, size_t size, LedgeCoded *to)
{
    ledge__code_read(bytes, size, number, to);
    m->item.last = number;
    m->taken++;
    if (to->kind == LEDGE_CODE_DROPPED) {
        m->head.dropped_oldest += to->dropped.oldest;
        m->head.dropped_rejected += to->dropped.rejected;
        m->head.dropped_sampled += to->dropped.sampled;
    }
    const int kind = urgency(&m->item);
    return to->kind == (kind == 0   ? LEDGE_CODE_ALERT
                        : kind == 1 ? LEDGE_CODE_EVENT
                                    : LEDGE_CODE_RECORD);
}

/* How far batches have come. A process may have died between a batch and its cursor, so the names
 * of what waits count too. */
static LedgeSpoolCursor reached(LedgeSpoolCursor c, const char *spool, const Item *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(items[i].spool, spool) == 0) {
            c.record = items[i].last > c.record ? items[i].last : c.record;
            c.batch = items[i].batch > c.batch ? items[i].batch : c.batch;
        }
    return c;
}

static LedgeStatus fill_from(Making *m, LedgeSpoolReader *r, bool partial, size_t files,
                             LedgeCoded *items, LedgeError *err)
{
    const void *bytes;
    uint64_t number;
    size_t size, n = 0;
    while (files < LEDGE_DISPATCH_FILES && ledge__spool_read_next(r, &number, &bytes, &size)) {
        n += take_item(m, number, bytes, size, &items[n]);
        if (n < LEDGE_DISPATCH_RECORDS)
            continue;
        LEDGE_TRY(finish_batch(m, items, n, err));
        n = 0;
        files++;
    }
    LEDGE_TRY(ledge__spool_read_status(r, err));
    /* Counts of what was dropped are worth a batch too. */
    return partial && m->taken && files < LEDGE_DISPATCH_FILES ? finish_batch(m, items, n, err)
                                                               : LEDGE_OK;
}

LedgeStatus ledge__dispatch_fill(const LedgeDispatch *o, const char *spool, bool partial,
                                 LedgeError *err, uint64_t *damaged)
{
    char path[LEDGE_AGENT_PATH];
    const size_t most = LEDGE_DISPATCH_FILES + SPOOLS;
    LedgeSpoolReader *r = NULL;
    Making m = {.o = o};
    Item *files = calloc(most, sizeof *files);
    LedgeCoded *items = calloc(LEDGE_DISPATCH_RECORDS, sizeof *items);
    LedgeStatus status = files && items ? LEDGE_OK : ledge__no_memory(err);
    if (!status) {
        ledge__agent_path(o->dir, path, "queue/%s", spool);
        const size_t n = list_items(o->dir, files, most);
        const LedgeSpoolCursor told = ledge__spool_cursor(path), c = reached(told, spool, files, n);
        snprintf(m.item.spool, sizeof m.item.spool, "%s", spool);
        m.item.batch = c.batch;
        /* The cursor follows names that it does not know yet: before they go, and so that the
         * writer does not count as lost what is in a batch. */
        if (c.record != told.record || c.batch != told.batch)
            status = ledge__spool_set_cursor(path, c, err);
        if (!status)
            status = ledge__spool_read(path, c.record, true, err, &r);
        if (!status)
            status = fill_from(&m, r, partial, n, items, err);
        if (!status && damaged)
            *damaged += ledge__spool_read_damaged(r);
    }
    ledge__spool_read_end(r);
    free(files);
    free(items);
    return status;
}

/* ---- sending ---- */

static LedgeStatus drop_item(const LedgeDispatch *o, const Item *i, LedgeError *err)
{
    char path[LEDGE_AGENT_PATH];
    item_path(o->dir, i, path);
    return unlink(path) == 0 || errno == ENOENT
               ? LEDGE_OK
               : ledge__fail(err, LEDGE_ERROR_IO, path, "cannot be removed: %s", strerror(errno));
}

/* The id that a batch was written with: it stays that one, whatever becomes of its spool. */
static LedgeStatus read_id(const void *packed, size_t size, LedgeError *err,
                           char out[LEDGE_FLEET_BATCH])
{
    char *text;
    size_t n;
    LedgeBatchReader b;
    LEDGE_TRY(ledge__inflate(packed, size, LEDGE_FLEET_BATCH_MAX, err, &text, &n));
    LedgeStatus status = ledge__batch_open(&b, text, n, err);
    if (!status)
        snprintf(out, LEDGE_FLEET_BATCH, "%s", b.head.batch);
    free(text);
    return status;
}

static LedgeStatus judge(const LedgeDispatch *o, const Item *i, const LedgeHttpAnswer *a,
                         const char *id, LedgeError *err, LedgeDispatchResult *out)
{
    LedgeBatchAnswer answer;
    if (a->status == 400 || a->status == 413 || a->status == 415 || a->status == 422) {
        out->refused++; /* it will never be taken */
        return drop_item(o, i, err);
    }
    if (a->status != 200) {
        out->retry_after = a->retry_after;
        return ledge__fail(err, LEDGE_ERROR_IO, i->spool, "the registry answers %d to a batch",
                           a->status);
    }
    LEDGE_TRY(ledge__batch_answer_read(a->body ? a->body : "", a->size, err, &answer));
    if (strcmp(answer.batch, id) != 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, i->spool,
                           "the answer is for another batch; this one is sent again");
    out->sent++;
    out->duplicates += answer.duplicate;
    out->records += i->count;
    return drop_item(o, i, err);
}

static LedgeStatus send_item(const LedgeDispatch *o, const Item *i, LedgeError *err,
                             LedgeDispatchResult *out)
{
    char path[LEDGE_AGENT_PATH], id[LEDGE_FLEET_BATCH] = "", *bytes;
    const size_t skip = strlen(o->dir->path) + 1;
    size_t size;
    LedgeHttpAnswer a;
    item_path(o->dir, i, path);
    LEDGE_TRY(ledge__agent_read(o->dir, path + skip, LEDGE_FLEET_BATCH_MAX, err, &bytes, &size));
    const LedgeHttpAsk ask = {.path = urgency(i) == 1 ? "/v1/events" : "/v1/telemetry",
                              .body = bytes,
                              .body_size = size,
                              .is_deflated = true,
                              .max = ANSWER_MAX};
    LedgeStatus status = ledge__http_ask(o->http, &ask, err, &a);
    /* One whose bytes are damaged has none; the registry refuses it. */
    if (!status && a.status == 200)
        status = read_id(bytes, size, err, id);
    if (!status)
        status = judge(o, i, &a, id, err, out);
    free(bytes);
    free(a.body);
    return status;
}

static size_t list_spools(const LedgeAgentDir *d, char (*names)[NAME])
{
    char path[LEDGE_AGENT_PATH];
    size_t n = 0;
    ledge__agent_path(d, path, "queue");
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && n < SPOOLS && (e = readdir(dir));)
        if (strcmp(e->d_name, "outbox") != 0 && strlen(e->d_name) < NAME &&
            ledge__fleet_is_name(e->d_name))
            strcpy(names[n++], e->d_name);
    if (dir)
        closedir(dir);
    return n;
}

static LedgeStatus fill_all(const LedgeDispatch *o, bool partial, LedgeError *err,
                            LedgeDispatchResult *out)
{
    char names[SPOOLS][NAME];
    const size_t n = list_spools(o->dir, names);
    for (int level = 0; level < 3; level++)
        for (size_t i = 0; i < n; i++) {
            Item item;
            strcpy(item.spool, names[i]);
            /* What is urgent waits for no others. */
            if (urgency(&item) == level)
                LEDGE_TRY(
                    ledge__dispatch_fill(o, names[i], partial || level < 2, err, &out->damaged));
        }
    return LEDGE_OK;
}

static LedgeStatus send_all(const LedgeDispatch *o, bool partial, LedgeError *err,
                            LedgeDispatchResult *out)
{
    const size_t most = LEDGE_DISPATCH_FILES + SPOOLS;
    Item *items = calloc(most, sizeof *items);
    LedgeStatus status = items ? LEDGE_OK : ledge__no_memory(err);
    for (bool more = true; !status && more;) {
        status = fill_all(o, partial, err, out);
        const size_t n = status ? 0 : list_items(o->dir, items, most);
        for (size_t i = 0; !status && i < n; i++)
            status = o->stop && *o->stop
                         ? ledge__fail(err, LEDGE_ERROR_CANCELLED, "outbox", "was stopped")
                         : send_item(o, &items[i], err, out);
        more = n >= LEDGE_DISPATCH_FILES;
    }
    free(items);
    return status;
}

LedgeStatus ledge__dispatch_send(const LedgeDispatch *o, bool partial, LedgeError *err,
                                 LedgeDispatchResult *out)
{
    char path[LEDGE_AGENT_PATH];
    *out = (LedgeDispatchResult){.retry_after = -1};
    ledge__agent_path(o->dir, path, "queue/outbox");
    if (mkdir(path, 0755) == 0) {
        ledge__agent_path(o->dir, path, "queue");
        LEDGE_TRY(ledge__agent_sync_folder(path, err));
    } else if (errno != EEXIST) {
        return ledge__fail(err, LEDGE_ERROR_IO, path, "cannot be created: %s", strerror(errno));
    }
    return send_all(o, partial, err, out);
}

int64_t ledge__dispatch_waiting(const LedgeAgentDir *d)
{
    char names[SPOOLS][NAME], path[LEDGE_AGENT_PATH];
    const size_t n = list_spools(d, names), most = LEDGE_DISPATCH_FILES + SPOOLS;
    Item *items = calloc(most, sizeof *items);
    int64_t waiting = 0;
    const size_t files = items ? list_items(d, items, most) : 0;
    for (size_t i = 0; i < n; i++) {
        LedgeSpoolReader *r;
        uint64_t number;
        const void *bytes;
        size_t size;
        ledge__agent_path(d, path, "queue/%s", names[i]);
        const LedgeSpoolCursor c = reached(ledge__spool_cursor(path), names[i], items, files);
        if (ledge__spool_read(path, c.record, false, NULL, &r))
            continue;
        while (ledge__spool_read_next(r, &number, &bytes, &size))
            waiting++;
        ledge__spool_read_end(r);
    }
    for (size_t i = 0; i < files; i++)
        waiting += items[i].count;
    free(items);
    return waiting;
}

LedgeStatus ledge__dispatch_event(const LedgeAgentDir *d, const LedgeFleetNote *n, LedgeError *err)
{
    char path[LEDGE_AGENT_PATH];
    uint8_t bytes[LEDGE_CODE_MAX];
    LedgeSpool *s;
    LedgeFleetNote note = *n;
    if (!note.timestamp)
        note.timestamp = ledge__clock_us(CLOCK_REALTIME);
    ledge__agent_path(d, path, "queue/agent.events");
    LEDGE_TRY(ledge__spool_open(path, err, &s));
    LedgeStatus status =
        ledge__spool_append(s, bytes, ledge__code_note(LEDGE_CODE_EVENT, &note, bytes), err);
    if (!status)
        status = ledge__spool_flush(s, true, err);
    ledge__spool_close(s);
    return status;
}
