/* See sample_send.h. */
#include "fleet/agent/sample_send.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fleet/agent/sampling.h"

enum { MOST = 256, ANSWER_MAX = 4096 };

/* Removes one that came over, or that never will. */
static LedgeStatus settle(const LedgeSampleSend *o, const char *file, const LedgeHttpAnswer *a,
                          LedgeError *err, LedgeSampleSent *out)
{
    const bool never = a->status == 400 || a->status == 409 || a->status == 413;
    if (a->status != 200 && !never)
        return ledge__fail(err, LEDGE_ERROR_IO, "samples", "the registry answers %d to a sample",
                           a->status);
    out->sent += !never;
    out->refused += never;
    return ledge__agent_remove(o->dir, file, err);
}

static LedgeStatus send_one(const LedgeSampleSend *o, const char *file, LedgeError *err,
                            LedgeSampleSent *out)
{
    char *bytes, sha[LEDGE_SHA256_HEX], path[300];
    size_t size;
    LedgeFieldHead head;
    LedgeHttpAnswer a = {0};
    LedgeStatus status =
        ledge__agent_read(o->dir, file, LEDGE_FIELD_SAMPLE_MAX, err, &bytes, &size);
    if (status == LEDGE_ERROR_NOT_FOUND)
        return LEDGE_OK; /* it had to make room in the meantime */
    if (status)
        return status;
    if (ledge__field_sample_head(bytes, size, err, &head, NULL) != LEDGE_OK) {
        free(bytes); /* damaged where it lay */
        out->refused++;
        return ledge__agent_remove(o->dir, file, err);
    }
    if (strcmp(head.key, o->key_id) != 0) {
        free(bytes);
        return LEDGE_OK;
    }
    status = ledge__sha256_of(bytes, size, sha) ? ledge__no_memory(err) : LEDGE_OK;
    snprintf(path, sizeof path, "/v1/samples/%s/%s", o->device_id, sha);
    const LedgeHttpAsk ask = {
        .path = path, .body = bytes, .body_size = size, .is_binary = true, .max = ANSWER_MAX};
    if (!status)
        status = ledge__http_ask(o->http, &ask, err, &a);
    free(bytes);
    if (!status)
        status = settle(o, file, &a, err, out);
    free(a.body);
    return status;
}

LedgeStatus ledge__sample_send(const LedgeSampleSend *o, LedgeError *err, LedgeSampleSent *out)
{
    char(*names)[LEDGE_SAMPLING_NAME] = malloc(sizeof *names * MOST), folder[LEDGE_AGENT_PATH];
    char file[64];
    LedgeStatus status = names ? LEDGE_OK : ledge__no_memory(err);
    *out = (LedgeSampleSent){0};
    ledge__agent_path(o->dir, folder, "samples");
    const size_t n = names ? ledge__sampling_list(folder, names, MOST) : 0;
    const int64_t end = ledge__clock_ms(CLOCK_MONOTONIC) + LEDGE_SAMPLE_SEND_MS;
    for (size_t i = 0; i < n && !status && ledge__clock_ms(CLOCK_MONOTONIC) < end; i++) {
        snprintf(file, sizeof file, "samples/%s", names[i]);
        status = o->stop && *o->stop
                     ? ledge__fail(err, LEDGE_ERROR_CANCELLED, "samples", "was stopped")
                     : send_one(o, file, err, out);
    }
    out->waiting = names ? (int64_t)ledge__sampling_list(folder, names, MOST) : 0;
    free(names);
    return status;
}
