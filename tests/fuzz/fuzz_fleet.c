/* Fuzz target of what agent and registry say to each other, and of the agent's own small files.
 *
 * The first byte says which reader gets the rest. No read outside the bytes, a status with a
 * sentence, and what is accepted is written and read again as the same text. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fleet/agent/agent_sync.h"
#include "fleet/agent/record_code.h"
#include "fleet/agent/telemetry_queue.h"
#include "fleet/protocol/deflate.h"
#include "fleet/protocol/release.h"
#include "fleet/protocol/wire_batch.h"
#include "fleet/protocol/wire_poll.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Text {
    char *p;
    size_t n;
    FILE *f;
} Text;

static FILE *begin(Text *t)
{
    t->f = open_memstream(&t->p, &t->n);
    check(t->f != NULL);
    return t->f;
}

/* Two texts made of one structure, before and after reading, are one. */
static void same(Text *a, Text *b)
{
    fclose(a->f);
    fclose(b->f);
    check(a->n == b->n && memcmp(a->p, b->p, a->n) == 0);
    free(a->p);
    free(b->p);
}

/* READ into a structure, write, read again, write again. */
#define ROUND_TRIP(Type, read, write)                                                              \
    do {                                                                                           \
        static Type first, second;                                                                 \
        LedgeError err = {0};                                                                      \
        Text a, b;                                                                                 \
        const LedgeStatus status = read(text, size, &err, &first);                                 \
        check(status == err.status && (!status || err.message[0]));                                \
        if (status)                                                                                \
            break;                                                                                 \
        write(&first, begin(&a));                                                                  \
        fflush(a.f);                                                                               \
        check(read(a.p, a.n, &err, &second) == LEDGE_OK);                                          \
        write(&second, begin(&b));                                                                 \
        same(&a, &b);                                                                              \
    } while (0)

static void try_release(const char *text, size_t size)
{
    LedgeRelease *first, *second;
    LedgeError err = {0};
    Text a, b;
    const LedgeStatus status = ledge__release_read(text, size, &err, &first);
    check(status == err.status);
    if (status)
        return;
    for (size_t i = 0; i < first->n_files; i++)
        check(ledge__fleet_is_path(first->files[i].path));
    ledge__release_write(first, begin(&a));
    fflush(a.f);
    if (a.n <= LEDGE_FLEET_RELEASE_MAX) {
        check(ledge__release_read(a.p, a.n, &err, &second) == LEDGE_OK);
        ledge__release_write(second, begin(&b));
        same(&a, &b);
        ledge__release_free(second);
    } else {
        fclose(a.f);
        free(a.p);
    }
    ledge__release_free(first);
}

static void try_batch(const char *text, size_t size)
{
    LedgeBatchReader r;
    LedgeTelemetryRecord record;
    LedgeFleetNote note;
    LedgeError err = {0};
    uint8_t bytes[LEDGE_CODE_MAX];
    static LedgeCoded coded;
    if (ledge__batch_open(&r, text, size, &err))
        return;
    ledge__batch_list(&r, LEDGE_BATCH_RECORDS);
    while (ledge__batch_record(&r, &record)) {
        const size_t n = ledge__code_record(&record, bytes);
        check(n <= sizeof bytes);
        ledge__code_read(bytes, n, record.seq, &coded);
        check(coded.kind == LEDGE_CODE_RECORD && coded.record.class_id == record.class_id);
    }
    (void)!ledge__batch_status(&r, &err);
    for (int list = LEDGE_BATCH_ALERTS; list <= LEDGE_BATCH_EVENTS; list++) {
        ledge__batch_list(&r, (LedgeBatchList)list);
        while (ledge__batch_note(&r, &note))
            check(ledge__code_note(LEDGE_CODE_EVENT, &note, bytes) <= sizeof bytes);
        (void)!ledge__batch_status(&r, &err);
    }
}

static void try_inflate(const char *bytes, size_t size)
{
    char *out;
    size_t n;
    if (ledge__inflate(bytes, size, 100000, NULL, &out, &n))
        return;
    check(n <= 100000 && out[n] == '\0');
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static LedgeCoded coded;
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    size--;
    switch (data[0]) {
    case 'p':
        ROUND_TRIP(LedgePollRequest, ledge__poll_request_read, ledge__poll_request_write);
        break;
    case 'a':
        ROUND_TRIP(LedgePollAnswer, ledge__poll_answer_read, ledge__poll_answer_write);
        break;
    case 's':
        ROUND_TRIP(LedgeSlot, ledge__slot_read, ledge__slot_write);
        break;
    case 'm':
        ROUND_TRIP(LedgeProducerMetrics, ledge__metrics_read, ledge__metrics_write);
        break;
    case 'y':
        ROUND_TRIP(LedgeSyncResult, ledge__sync_result_read, ledge__sync_result_write);
        break;
    case 'b':
        ROUND_TRIP(LedgeBatchAnswer, ledge__batch_answer_read, ledge__batch_answer_write);
        break;
    case 'r':
        try_release(text, size);
        break;
    case 't':
        try_batch(text, size);
        break;
    case 'z':
        try_inflate(text, size);
        break;
    default:
        ledge__code_read(data + 1, size, 7, &coded);
        break;
    }
    return 0;
}
