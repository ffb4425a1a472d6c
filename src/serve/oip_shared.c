/* Requests whose tensors lie in shared memory. Inputs are copied once, and looked at only then: the
 * client may change what lies there while the model runs. */
#include "serve/oip.h"

#include <stdlib.h>

enum { REGISTER = 4096 }; /* bytes of a request to register a region */

/* Room for all of them, each aligned; SIZE_MAX: more than `limit`. */
static size_t room_of(const LedgeOipRequest *r, size_t limit)
{
    size_t room = 0;
    for (size_t i = 0; i < r->n_inputs; i++) {
        const LedgeOipShared *s = r->input[i].shared;
        if (s && s->bytes > limit - room)
            return SIZE_MAX;
        if (s)
            room = ledge__round_up(room + (size_t)s->bytes, LEDGE_ALIGN);
        if (room > limit)
            return SIZE_MAX;
    }
    return room;
}

static LedgeStatus fetch(LedgeOipInput *in, LedgeRegions *regions, char *to, size_t limit,
                         LedgeArena *arena, LedgeError *err)
{
    const LedgeOipShared *s = in->shared;
    LedgeRegion *region = NULL;
    LEDGE_TRY(ledge__region_find(regions, s->region, s->offset, s->bytes, false, err, &region));
    const LedgeStatus status = ledge__region_read(region, s->offset, to, (size_t)s->bytes, err);
    ledge__region_unref(region);
    LEDGE_TRY(status);
    return ledge__oip_take(in, to, s->bytes, "shared_memory_byte_size", limit, arena, err);
}

LedgeStatus ledge__oip_fetch(LedgeOipRequest *r, LedgeRegions *regions, size_t limit,
                             LedgeArena *arena, LedgeError *err)
{
    const size_t room = room_of(r, limit);
    if (room == SIZE_MAX)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, "request",
                           "the tensors in shared memory are larger than this server takes");
    char *to = aligned_alloc(LEDGE_ALIGN, room + LEDGE_ALIGN);
    if (!to)
        return ledge__no_memory(err);
    r->fetched = to;
    for (size_t i = 0; i < r->n_inputs; i++) {
        if (!r->input[i].shared)
            continue;
        LEDGE_TRY(fetch(&r->input[i], regions, to, limit, arena, err));
        to += ledge__round_up((size_t)r->input[i].shared->bytes, LEDGE_ALIGN);
    }
    for (size_t i = 0; i < r->n_outputs; i++) {
        LedgeOipShared *s = r->output[i].shared;
        if (s)
            LEDGE_TRY(
                ledge__region_find(regions, s->region, s->offset, s->bytes, true, err, &s->held));
    }
    return LEDGE_OK;
}

void ledge__oip_release(LedgeOipRequest *r)
{
    if (!r || !r->shares)
        return;
    for (size_t i = 0; i < r->n_outputs; i++)
        if (r->output[i].shared)
            ledge__region_unref(r->output[i].shared->held);
    free(r->fetched);
}

/* ---- registering ---- */

LedgeStatus ledge__oip_read_region(const char *body, size_t size, LedgeError *err,
                                   LedgeRegionInfo *out)
{
    static const char below[] = "a number below 0";
    LedgeJson j;
    char key[16];
    bool has_size = false;
    if (size > REGISTER)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, "request", "it has more than %d bytes",
                           REGISTER);
    out->key[0] = '\0';
    out->offset = out->bytes = 0;
    ledge__json_begin(&j, body, size);
    ledge__json_object(&j);
    while (ledge__json_member(&j, key, sizeof key)) {
        if (strcmp(key, "key") == 0) {
            ledge__json_string(&j, out->key, sizeof out->key);
        } else if (strcmp(key, "offset") == 0) {
            out->offset = (uint64_t)ledge__json_natural(&j, below);
        } else if (strcmp(key, "byte_size") == 0) {
            out->bytes = (uint64_t)ledge__json_natural(&j, below);
            has_size = true;
        } else {
            ledge__json_skip(&j);
        }
    }
    ledge__json_finish(&j);
    LEDGE_TRY(ledge__json_status(&j, "request", err));
    if (!out->key[0] || !has_size)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "request",
                           "a region needs \"key\" and \"byte_size\"");
    return LEDGE_OK;
}
