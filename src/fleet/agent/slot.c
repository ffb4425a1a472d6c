/* What to do with a model next, see slot.h. */
#include "fleet/agent/slot.h"

#include <stdarg.h>
#include <string.h>

bool ledge__slot_version_equal(const LedgeSlotVersion *a, const LedgeSlotVersion *b)
{
    return strcmp(a->version, b->version) == 0 && strcmp(a->sha256, b->sha256) == 0;
}

const LedgeSlotTried *ledge__slot_tried(const LedgeSlot *s, const LedgeSlotVersion *v)
{
    for (size_t i = 0; i < s->n_tried; i++)
        if (ledge__slot_version_equal(&s->tried[i].what, v))
            return &s->tried[i];
    return NULL;
}

static LedgeSlotDecision decision(LedgeSlotAction action, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static LedgeSlotDecision decision(LedgeSlotAction action, const char *fmt, ...)
{
    LedgeSlotDecision d = {.action = action};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(d.reason, sizeof d.reason, fmt, ap);
    va_end(ap);
    return d;
}

/* ---- deciding ---- */

static size_t find_kept(const LedgeSlot *s, const char *version)
{
    size_t i = 0;
    while (i < s->n_kept && strcmp(s->kept[i].version, version) != 0)
        i++;
    return i;
}

/* The version to stand in: the one that the assignment names, else the newest that is whole and
 * did not fail. n_kept: there is none. */
static size_t stand_in(const LedgeSlot *s, const LedgeAssignment *a, const LedgeSlotFacts *f)
{
    if (a && strcmp(a->fallback_name, s->name) == 0) {
        const size_t named = find_kept(s, a->fallback_version);
        if (named < s->n_kept && f->kept_is_whole[named])
            return named;
    }
    for (size_t i = 0; i < s->n_kept; i++) {
        const LedgeSlotTried *t = ledge__slot_tried(s, &s->kept[i]);
        if (f->kept_is_whole[i] && !(t && t->has_failed))
            return i;
    }
    return s->n_kept;
}

/* A damaged model is mended first, whatever else is to be done: from the version that stands in,
 * which is at once, or from the network. */
static LedgeSlotDecision mend(const LedgeSlot *s, const LedgeAssignment *a, const LedgeSlotFacts *f)
{
    const size_t i = stand_in(s, a, f);
    if (i == s->n_kept || (a && a->strict))
        return decision(LEDGE_SLOT_REPAIR, "files of version %s are damaged", s->running.version);
    LedgeSlotDecision d =
        decision(LEDGE_SLOT_FALL_BACK, "files of version %s are damaged", s->running.version);
    d.index = i;
    return d;
}

static LedgeSlotDecision refuse_failed(const LedgeSlotTried *t)
{
    return t->has_failed ? decision(LEDGE_SLOT_REFUSE, "%s", t->reason)
                         : decision(LEDGE_SLOT_REFUSE,
                                    "its self-test was begun %d times and never came to an end",
                                    LEDGE_SLOT_ATTEMPTS);
}

static bool is_kept(const LedgeSlot *s, const LedgeSlotVersion *v)
{
    const size_t i = find_kept(s, v->version);
    return i < s->n_kept && ledge__slot_version_equal(&s->kept[i], v);
}

LedgeSlotDecision ledge__slot_decide(const LedgeSlot *s, const LedgeAssignment *a,
                                     const LedgeSlotFacts *f)
{
    const bool runs = s->running.version[0] != '\0';
    if (runs && f->running_is_damaged)
        return mend(s, a, f);
    if (!a)
        return decision(LEDGE_SLOT_NOTHING, "nothing is assigned");
    if (!f->wanted.version[0]) {
        if (runs && strcmp(a->version, s->running.version) == 0 && !s->is_fallback)
            return decision(LEDGE_SLOT_NOTHING, "version %s runs", s->running.version);
        return decision(LEDGE_SLOT_REFUSE, "%s", f->unknown ? f->unknown : "nobody signed it");
    }
    if (runs && ledge__slot_version_equal(&s->running, &f->wanted))
        return decision(LEDGE_SLOT_NOTHING, "version %s runs", s->running.version);
    const LedgeSlotTried *t = ledge__slot_tried(s, &f->wanted);
    if (t && !t->has_passed && (t->has_failed || t->attempts >= LEDGE_SLOT_ATTEMPTS))
        return refuse_failed(t);
    if (runs && f->wanted.created < s->running.created && !f->rollback_ok &&
        !is_kept(s, &f->wanted))
        return decision(LEDGE_SLOT_REFUSE,
                        "version %s is older than the running %s, and nobody signed that going "
                        "back is meant",
                        f->wanted.version, s->running.version);
    if (!f->is_whole)
        return decision(LEDGE_SLOT_FETCH, "version %s is to come", f->wanted.version);
    if (!t || !t->has_passed)
        return decision(LEDGE_SLOT_TEST, "version %s is to be tested", f->wanted.version);
    /* A device without a model waits for nothing. */
    if (runs && !ledge__fleet_when_allows(a->when, f->minute, f->is_idle))
        return decision(LEDGE_SLOT_WAIT, "the switch to version %s waits for '%s'",
                        f->wanted.version, a->when);
    return decision(LEDGE_SLOT_SWITCH, "version %s passed", f->wanted.version);
}

/* ---- what happened ---- */

static LedgeSlotTried *tried_of(LedgeSlot *s, const LedgeSlotVersion *v)
{
    for (size_t i = 0; i < s->n_tried; i++)
        if (ledge__slot_version_equal(&s->tried[i].what, v))
            return &s->tried[i];
    if (s->n_tried < LEDGE_SLOT_TRIED)
        s->n_tried++;
    memmove(&s->tried[1], &s->tried[0], (s->n_tried - 1) * sizeof *s->tried);
    s->tried[0] = (LedgeSlotTried){.what = *v};
    return &s->tried[0];
}

void ledge__slot_testing(LedgeSlot *s, const LedgeSlotVersion *v)
{
    tried_of(s, v)->attempts++;
}

void ledge__slot_passed(LedgeSlot *s, const LedgeSlotVersion *v)
{
    tried_of(s, v)->has_passed = true;
}

void ledge__slot_failed(LedgeSlot *s, const LedgeSlotVersion *v, const char *reason)
{
    LedgeSlotTried *t = tried_of(s, v);
    t->has_failed = true;
    t->has_passed = false;
    snprintf(t->reason, sizeof t->reason, "%s", reason);
}

static void forget_tried(LedgeSlot *s, const LedgeSlotVersion *v)
{
    for (size_t i = 0; i < s->n_tried; i++)
        if (ledge__slot_version_equal(&s->tried[i].what, v)) {
            s->n_tried--;
            memmove(&s->tried[i], &s->tried[i + 1], (s->n_tried - i) * sizeof *s->tried);
            return;
        }
}

void ledge__slot_forget(LedgeSlot *s, size_t index)
{
    s->n_kept--;
    memmove(&s->kept[index], &s->kept[index + 1], (s->n_kept - index) * sizeof *s->kept);
}

static void keep_version(LedgeSlot *s, const LedgeSlotVersion *v)
{
    if (!v->version[0])
        return;
    if (s->n_kept == LEDGE_SLOT_KEPT)
        s->n_kept--;
    memmove(&s->kept[1], &s->kept[0], s->n_kept * sizeof *s->kept);
    s->kept[0] = *v;
    s->n_kept++;
}

void ledge__slot_switched(LedgeSlot *s, const LedgeSlotVersion *v, int64_t now)
{
    const LedgeSlotVersion before = s->running, after = *v;
    const size_t i = find_kept(s, after.version);
    if (i < s->n_kept)
        ledge__slot_forget(s, i);
    if (strcmp(before.version, after.version) != 0)
        keep_version(s, &before);
    forget_tried(s, &after);
    s->running = after;
    s->is_fallback = false;
    s->reason[0] = '\0';
    s->since = now;
}

void ledge__slot_fell_back(LedgeSlot *s, size_t index, bool damaged, const char *reason,
                           int64_t now)
{
    const LedgeSlotVersion before = s->running, after = s->kept[index];
    ledge__slot_forget(s, index);
    if (!damaged) {
        keep_version(s, &before);
        ledge__slot_failed(s, &before, reason);
    }
    s->running = after;
    s->is_fallback = true;
    s->since = now;
    snprintf(s->reason, sizeof s->reason, "%s", reason);
}

size_t ledge__slot_excess(const LedgeSlot *s, size_t keep, const char *spared)
{
    if (s->n_kept <= keep)
        return s->n_kept;
    for (size_t i = s->n_kept; i-- > 0;)
        if (strcmp(s->kept[i].version, spared) != 0)
            return i;
    return s->n_kept;
}

/* ---- as text ---- */

#define KEY(text) (strcmp(key, text) == 0)
enum { KEY_SIZE = 32 };

static void write_version(const LedgeSlotVersion *v, FILE *to)
{
    ledge__fleet_put(to, true, "version", v->version);
    ledge__fleet_put(to, false, "sha256", v->sha256);
    ledge__fleet_put_int(to, false, "created", v->created);
}

void ledge__slot_write(const LedgeSlot *s, FILE *to)
{
    putc('{', to);
    ledge__fleet_put(to, true, "name", s->name);
    if (s->running.version[0]) {
        fputs(",\"running\":{", to);
        write_version(&s->running, to);
        putc('}', to);
    }
    fprintf(to, ",\"fallback\":%s", s->is_fallback ? "true" : "false");
    ledge__fleet_put(to, false, "reason", s->reason);
    ledge__fleet_put_int(to, false, "since", s->since);
    if (s->candidate[0]) {
        ledge__fleet_put(to, false, "candidate", s->candidate);
        ledge__fleet_put(to, false, "state", ledge__fleet_state_name(s->candidate_state));
        ledge__fleet_put(to, false, "why", s->candidate_reason);
    }
    fputs(",\"kept\":[", to);
    for (size_t i = 0; i < s->n_kept; i++) {
        fputs(i ? ",{" : "{", to);
        write_version(&s->kept[i], to);
        putc('}', to);
    }
    fputs("],\"tried\":[", to);
    for (size_t i = 0; i < s->n_tried; i++) {
        fputs(i ? ",{" : "{", to);
        write_version(&s->tried[i].what, to);
        ledge__fleet_put_int(to, false, "attempts", s->tried[i].attempts);
        fprintf(to, ",\"failed\":%s,\"passed\":%s", s->tried[i].has_failed ? "true" : "false",
                s->tried[i].has_passed ? "true" : "false");
        ledge__fleet_put(to, false, "reason", s->tried[i].reason);
        putc('}', to);
    }
    fputs("]}\n", to);
}

static bool is_any(const char *text)
{
    (void)text;
    return true;
}

#define READ(field, is, what) ledge__fleet_read(j, field, sizeof(field), is, what)

/* A version, and beside it what a tried one has more. */
static void read_version(LedgeJson *j, LedgeSlotTried *t)
{
    char key[KEY_SIZE];
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("version"))
            READ(t->what.version, ledge__fleet_is_name, "a version of other letters");
        else if (KEY("sha256"))
            READ(t->what.sha256, ledge__fleet_is_sha256, "no SHA-256");
        else if (KEY("created"))
            t->what.created = ledge__json_integer(j);
        else if (KEY("attempts"))
            t->attempts = ledge__fleet_count(j, 0, "a count below zero");
        else if (KEY("failed"))
            t->has_failed = ledge__json_bool(j);
        else if (KEY("passed"))
            t->has_passed = ledge__json_bool(j);
        else if (KEY("reason"))
            READ(t->reason, is_any, "");
        else
            ledge__json_skip(j);
    }
    if (!j->bad && (!t->what.version[0] || !t->what.sha256[0]))
        ledge__json_fault(j, "a version without version or sha256");
}

static void read_versions(LedgeJson *j, LedgeSlot *s, bool kept)
{
    ledge__json_array(j);
    while (ledge__json_element(j)) {
        LedgeSlotTried t = {0};
        if ((kept ? s->n_kept : s->n_tried) == 8) {
            ledge__json_fault(j, "more than 8 versions");
            continue;
        }
        read_version(j, &t);
        if (kept)
            s->kept[s->n_kept++] = t.what;
        else
            s->tried[s->n_tried++] = t;
    }
}

LedgeStatus ledge__slot_read(const char *text, size_t size, LedgeError *err, LedgeSlot *out)
{
    LedgeJson json, *j = &json;
    char key[KEY_SIZE];
    LedgeSlotTried t = {0};
    *out = (LedgeSlot){0};
    ledge__json_begin(j, text, size);
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("name"))
            READ(out->name, ledge__fleet_is_name, "a name of other letters");
        else if (KEY("running"))
            read_version(j, &t);
        else if (KEY("fallback"))
            out->is_fallback = ledge__json_bool(j);
        else if (KEY("reason"))
            READ(out->reason, is_any, "");
        else if (KEY("candidate"))
            READ(out->candidate, ledge__fleet_is_name, "a version of other letters");
        else if (KEY("why"))
            READ(out->candidate_reason, is_any, "");
        else if (KEY("state")) {
            char word[LEDGE_FLEET_WORD];
            ledge__json_string(j, word, sizeof word);
            if (!j->bad && !ledge__fleet_state_of(word, &out->candidate_state))
                ledge__json_fault(j, "an unknown state");
        } else if (KEY("since"))
            out->since = ledge__json_integer(j);
        else if (KEY("kept") || KEY("tried"))
            read_versions(j, out, KEY("kept"));
        else
            ledge__json_skip(j);
    }
    ledge__json_finish(j);
    out->running = t.what;
    if (!j->bad && !out->name[0])
        ledge__json_fault(j, "the name is missing");
    return ledge__json_status(j, "slot", err);
}
