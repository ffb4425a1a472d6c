/* A turn's result as text: for the process that stays, which is linked against no cryptography. */
#include <string.h>

#include "fleet/agent/agent_sync.h"

enum { KEY_SIZE = 32 };

#define ONE(NAME, name, max) name,
static const char *const roles[] = {LEDGE_TUF_ROLES(ONE)};
#undef ONE

#define NUMBERS(X)                                                                                 \
    X(time)                                                                                        \
    X(interval_s)                                                                                  \
    X(retry_after)                                                                                 \
    X(skew_ms)                                                                                     \
    X(trusted_time)                                                                                \
    X(received)                                                                                    \
    X(sent) X(duplicates) X(refused) X(waiting) X(changes) X(samples) X(samples_waiting)

void ledge__sync_result_write(const LedgeSyncResult *r, FILE *to)
{
    putc('{', to);
    ledge__fleet_put(to, true, "problem", r->problem);
    ledge__fleet_put(to, false, "samples_problem", r->samples_problem);
#define PUT(field) ledge__fleet_put_int(to, false, #field, r->field);
    NUMBERS(PUT)
#undef PUT
    fprintf(to, ",\"has_skew\":%s,\"polled\":%s,\"changed\":%s,\"signed_time\":%s",
            r->has_skew ? "true" : "false", r->polled ? "true" : "false",
            r->changed ? "true" : "false", r->signed_time ? "true" : "false");
    for (int role = 0; role < LEDGE_TUF_ROLE_COUNT; role++)
        ledge__fleet_put_int(to, false, roles[role], r->versions[role]);
    fputs("}\n", to);
}

static bool is_any(const char *text)
{
    (void)text;
    return true;
}

static bool read_number(LedgeJson *j, const char *key, LedgeSyncResult *r)
{
#define GET(field)                                                                                 \
    if (strcmp(key, #field) == 0) {                                                                \
        r->field = ledge__json_integer(j);                                                         \
        return true;                                                                               \
    }
    NUMBERS(GET)
#undef GET
    for (int role = 0; role < LEDGE_TUF_ROLE_COUNT; role++)
        if (strcmp(key, roles[role]) == 0) {
            r->versions[role] = ledge__json_integer(j);
            return true;
        }
    return false;
}

LedgeStatus ledge__sync_result_read(const char *text, size_t size, LedgeError *err,
                                    LedgeSyncResult *out)
{
    LedgeJson json, *j = &json;
    char key[KEY_SIZE];
    *out = (LedgeSyncResult){0};
    ledge__json_begin(j, text, size);
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (strcmp(key, "problem") == 0)
            ledge__fleet_read(j, out->problem, sizeof out->problem, is_any, "");
        else if (strcmp(key, "samples_problem") == 0)
            ledge__fleet_read(j, out->samples_problem, sizeof out->samples_problem, is_any, "");
        else if (strcmp(key, "has_skew") == 0)
            out->has_skew = ledge__json_bool(j);
        else if (strcmp(key, "polled") == 0)
            out->polled = ledge__json_bool(j);
        else if (strcmp(key, "changed") == 0)
            out->changed = ledge__json_bool(j);
        else if (strcmp(key, "signed_time") == 0)
            out->signed_time = ledge__json_bool(j);
        else if (!read_number(j, key, out))
            ledge__json_skip(j);
    }
    ledge__json_finish(j);
    return ledge__json_status(j, "status", err);
}
