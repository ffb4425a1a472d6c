/* Names and enumerations of the fleet protocol, see wire_names.h. */
#include "fleet/protocol/wire_names.h"

#include <inttypes.h>
#include <string.h>

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

/* Bytes of the UTF-8 character at p (RFC 3629); 0: none begins here. */
static int utf8_length(const unsigned char *p)
{
    const int n = p[0] < 0x80                   ? 1
                  : p[0] >= 0xC2 && p[0] < 0xE0 ? 2
                  : p[0] >= 0xE0 && p[0] < 0xF0 ? 3
                  : p[0] >= 0xF0 && p[0] < 0xF5 ? 4
                                                : 0;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    const bool is_long = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xF0 && p[1] < 0x90);
    const bool is_beyond = (p[0] == 0xED && p[1] >= 0xA0) || (p[0] == 0xF4 && p[1] >= 0x90);
    return is_long || is_beyond ? 0 : n;
}

void ledge__fleet_put_string(FILE *to, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    putc('"', to);
    while (*p) {
        const int n = utf8_length(p);
        if (n == 1 && (*p == '"' || *p == '\\'))
            fprintf(to, "\\%c", *p);
        else if (n == 1 && *p < 0x20)
            fprintf(to, "\\u%04x", *p);
        else if (n)
            fwrite(p, 1, (size_t)n, to);
        else
            putc('?', to);
        p += n ? n : 1;
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
