/* Names and enumerations of the fleet protocol, see wire_names.h. */
#include "fleet/protocol/wire_names.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"

#define ONE(NAME, name) name,
static const char *const states[] = {LEDGE_FLEET_STATES(ONE)};
static const char *const drifts[] = {LEDGE_FLEET_DRIFTS(ONE)};
#undef ONE
enum { N_STATES = sizeof states / sizeof *states, N_DRIFTS = sizeof drifts / sizeof *drifts };

const char *ledge__fleet_state_name(LedgeFleetState state)
{
    return states[state];
}

const char *ledge__fleet_drift_name(LedgeFleetDrift drift)
{
    return drifts[drift];
}

static int find(const char *const *names, int n, const char *name)
{
    int i = 0;
    while (i < n && strcmp(names[i], name) != 0)
        i++;
    return i;
}

bool ledge__fleet_state_of(const char *name, LedgeFleetState *out)
{
    const int i = find(states, N_STATES, name);
    if (i < N_STATES)
        *out = (LedgeFleetState)i;
    return i < N_STATES;
}

bool ledge__fleet_drift_of(const char *name, LedgeFleetDrift *out)
{
    const int i = find(drifts, N_DRIFTS, name);
    if (i < N_DRIFTS)
        *out = (LedgeFleetDrift)i;
    return i < N_DRIFTS;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_word(const char *text, size_t most, const char *more)
{
    const size_t n = strlen(text);
    if (n == 0 || n > most || !is_alnum(text[0]))
        return false;
    for (size_t i = 1; i < n; i++)
        if (!is_alnum(text[i]) && !strchr(more, text[i]))
            return false;
    return true;
}

bool ledge__fleet_is_name(const char *text)
{
    return is_word(text, LEDGE_FLEET_NAME - 1, "._-");
}

bool ledge__fleet_is_device(const char *text)
{
    return is_word(text, LEDGE_FLEET_DEVICE - 1, "._:-");
}

bool ledge__fleet_is_batch(const char *text)
{
    return is_word(text, LEDGE_FLEET_BATCH - 1, "._:-");
}

bool ledge__fleet_is_path(const char *text)
{
    enum { DEEPEST = 8 };
    int names = 0;
    if (strlen(text) >= LEDGE_FLEET_PATH)
        return false;
    while (names++ < DEEPEST) {
        const size_t n = strcspn(text, "/");
        if (n == 0 || !(is_alnum(text[0]) || text[0] == '_'))
            return false;
        for (size_t i = 1; i < n; i++)
            if (!is_alnum(text[i]) && !strchr("._-", text[i]))
                return false;
        if (!text[n])
            return true;
        text += n + 1;
    }
    return false;
}

bool ledge__fleet_is_sha256(const char *text)
{
    return strlen(text) == LEDGE_FLEET_SHA256 - 1 &&
           strspn(text, "0123456789abcdef") == LEDGE_FLEET_SHA256 - 1;
}

void ledge__fleet_read(LedgeJson *j, char *out, size_t size, bool (*is)(const char *),
                       const char *what)
{
    ledge__json_string(j, out, size);
    if (!j->bad && !is(out))
        ledge__json_fault(j, what);
}

int64_t ledge__fleet_count(LedgeJson *j, int64_t least, const char *what)
{
    const int64_t v = ledge__json_integer(j);
    if (!j->bad && v < least)
        ledge__json_fault(j, what);
    return v;
}

void ledge__fleet_put_string(FILE *to, const char *text)
{
    const char *end = text + strlen(text);
    putc('"', to);
    while (text < end) {
        const size_t n = ledge__utf8_length(text, (size_t)(end - text));
        if (*text == '"' || *text == '\\')
            fprintf(to, "\\%c", *text);
        else if (n == 1 && *text < 0x20)
            fprintf(to, "\\u%04x", (unsigned char)*text);
        else if (n)
            fwrite(text, 1, n, to);
        else
            putc('?', to);
        text += n ? n : 1;
    }
    putc('"', to);
}

void ledge__fleet_put(FILE *to, bool first, const char *key, const char *text)
{
    fprintf(to, first ? "\"%s\":" : ",\"%s\":", key);
    ledge__fleet_put_string(to, text);
}

void ledge__fleet_put_int(FILE *to, bool first, const char *key, int64_t v)
{
    fprintf(to, first ? "\"%s\":%" PRId64 : ",\"%s\":%" PRId64, key, v);
}
