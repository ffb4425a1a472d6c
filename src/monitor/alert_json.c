#include "monitor/alert_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* RFC 3339 in UTC with milliseconds; the text is the caller's. */
static const char *time_text(double unix_time, char *to, size_t size)
{
    const time_t whole = (time_t)floor(unix_time);
    const int thousandths = (int)((unix_time - floor(unix_time)) * 1000);
    struct tm tm;
    char date[32];
    if (!gmtime_r(&whole, &tm) || !strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm))
        return "1970-01-01T00:00:00Z";
    snprintf(to, size, "%s.%03dZ", date, thousandths);
    return to;
}

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

json_t *ledge__alert_json(const LedgeAlert *a, double wall, const char *host)
{
    char since[48], ended[48];
    const bool over = !isnan(a->ended);
    return json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:s?}", "event",
                     over ? "resolved" : "firing", "id", (json_int_t)a->id, "name", a->name,
                     "subject", a->subject, "severity", ledge__severity_name(a->severity), "text",
                     a->text, "value", number(a->value), "threshold", number(a->threshold), "host",
                     host, "since", time_text(a->since + wall, since, sizeof since), "ended",
                     over ? time_text(a->ended + wall, ended, sizeof ended) : NULL);
}

json_t *ledge__alert_for_alertmanager(const LedgeAlert *a, double now, double wall, double alive,
                                      const char *host)
{
    char since[48], ends[48], value[32];
    const bool over = !isnan(a->ended);
    snprintf(value, sizeof value, "%.6g", a->value);
    time_text((over ? a->ended : now + alive) + wall, ends, sizeof ends);
    return json_pack("{s:{s:s, s:s, s:s, s:s, s:s}, s:{s:s, s:s}, s:s, s:s}", "labels", "alertname",
                     a->name, "job", "ledge", "instance", host, "subject", a->subject, "severity",
                     a->severity == LEDGE_HIGH ? "critical" : "warning", "annotations", "summary",
                     a->text, "value", value, "startsAt",
                     time_text(a->since + wall, since, sizeof since), "endsAt", ends);
}
