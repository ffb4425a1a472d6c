/* The reader of configuration files: tables of keys over the pull reader of JSON. */
#include "serve/serve_config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "base/json_scan.h"

typedef struct Reader {
    LedgeJson j;
    const char *file;
    LedgeError *err;
    LedgeStatus status;
    LedgeServeConfig *c;
    LedgeJson models; /* where "models" begin: they are read when the defaults are known */
} Reader;

typedef enum Kind {
    TEXT, /* most: bytes of the field */
    PATH,
    WHOLE,  /* int64_t */
    NUMBER, /* double, times `scale` */
    COUNT,  /* uint32_t */
    BOOL,
    BYTES, /* size_t, times `scale` */
    PAIR,  /* LedgeDriftThreshold: [warning, high] */
    OTHER
} Kind;

typedef struct Key {
    const char *name;
    Kind kind;
    size_t offset;
    double least, most, scale;
    void (*read)(Reader *r, void *field); /* OTHER; with offset 0 it gets the whole object */
} Key;

enum { KEYS = 32 };

/* ---- messages ---- */

static void fail_at(Reader *r, const char *at, const char *what)
{
    size_t line = 1, column = 1;
    char where[200];
    if (r->status)
        return;
    for (const char *p = r->j.start; p < at && p < r->j.end; p++) {
        column = *p == '\n' ? 1 : column + 1;
        line += *p == '\n';
    }
    snprintf(where, sizeof where, "%.150s:%zu:%zu", r->file, line, column);
    r->status = ledge__fail(r->err, LEDGE_ERROR_FORMAT, where, "%s", what);
    ledge__json_fault(&r->j, "");
}

/* What JSON itself found wrong. */
static void check_json(Reader *r)
{
    if (r->j.bad)
        fail_at(r, r->j.p, r->j.bad);
}

static void fail_key(Reader *r, const char *at, const char *key, const Key *keys, size_t n)
{
    const char *names[KEYS];
    char text[200];
    for (size_t i = 0; i < n; i++)
        names[i] = keys[i].name;
    const char *near = ledge__nearest(key, names, n);
    snprintf(text, sizeof text,
             near ? "unknown key \"%.60s\"; did you mean \"%s\"?"
                  : "unknown key \"%.60s\"; docs/serve.md lists what there is",
             key, near);
    fail_at(r, at, text);
}

/* ---- values ---- */

static void read_text(Reader *r, char *out, size_t size)
{
    char text[LEDGE_CONFIG_PATH];
    const char *at = r->j.p;
    ledge__json_string(&r->j, text, size < sizeof text ? size : sizeof text);
    if (!r->j.bad && !text[0])
        fail_at(r, at, "the text is empty");
    if (!r->j.bad)
        strcpy(out, text);
}

static void read_path(Reader *r, char *out)
{
    char text[LEDGE_CONFIG_PATH];
    const char *slash = strrchr(r->file, '/'), *at = r->j.p;
    read_text(r, text, sizeof text);
    if (r->j.bad)
        return;
    const int folder = text[0] == '/' || !slash ? 0 : (int)(slash + 1 - r->file);
    if (snprintf(out, LEDGE_CONFIG_PATH, "%.*s%s", folder, r->file, text) >= LEDGE_CONFIG_PATH) {
        out[0] = '\0';
        fail_at(r, at, "the path is too long");
    }
}

static double read_number(Reader *r, const Key *k, bool whole)
{
    char text[120];
    (void)ledge__json_peek(&r->j); /* past the space, for the message */
    const char *at = r->j.p;
    const double v = ledge__json_number(&r->j);
    check_json(r);
    if (v >= k->least && v <= k->most && (!whole || v == floor(v)))
        return v;
    snprintf(text, sizeof text, "\"%.40s\" takes a %s from %.15g to %.15g", k->name,
             whole ? "whole number" : "number", k->least, k->most);
    fail_at(r, at, text);
    return 0;
}

static void read_pair(Reader *r, const Key *k, LedgeDriftThreshold *out)
{
    const char *at = r->j.p;
    double v[2] = {0, 0};
    size_t n = 0;
    ledge__json_array(&r->j);
    while (ledge__json_element(&r->j)) {
        if (n < 2)
            v[n] = read_number(r, k, false);
        else
            fail_at(r, at, "a threshold is [warning, high]");
        n++;
    }
    if (!r->j.bad && (n != 2 || v[1] < v[0]))
        fail_at(r, at, "a threshold is [warning, high], high not below warning");
    out->warning = v[0];
    out->high = v[1];
}

static void read_value(Reader *r, const Key *k, void *object)
{
    void *field = (char *)object + k->offset;
    switch (k->kind) {
    case TEXT:
        read_text(r, field, (size_t)k->most);
        break;
    case PATH:
        read_path(r, field);
        break;
    case WHOLE:
        *(int64_t *)field = (int64_t)read_number(r, k, true);
        break;
    case COUNT:
        *(uint32_t *)field = (uint32_t)read_number(r, k, true);
        break;
    case NUMBER:
        *(double *)field = read_number(r, k, false) * k->scale;
        break;
    case BYTES:
        *(size_t *)field = (size_t)(read_number(r, k, false) * k->scale);
        break;
    case BOOL:
        *(bool *)field = ledge__json_bool(&r->j);
        break;
    case PAIR:
        read_pair(r, k, field);
        break;
    case OTHER:
        k->read(r, field);
        break;
    }
    check_json(r);
}

static void read_object(Reader *r, const Key *keys, size_t n, void *object)
{
    char key[LEDGE_WORD_MAX + 24];
    bool seen[KEYS] = {0};
    ledge__json_object(&r->j);
    check_json(r);
    for (;;) {
        const char *from = r->j.p;
        if (!ledge__json_member(&r->j, key, sizeof key))
            break;
        const char *at = memchr(from, '"', (size_t)(r->j.p - from));
        size_t i = 0;
        while (i < n && strcmp(keys[i].name, key) != 0)
            i++;
        if (i == n)
            fail_key(r, at, key, keys, n);
        else if (seen[i])
            fail_at(r, at, "the key is given twice");
        else
            read_value(r, &keys[i], object);
        if (i < n)
            seen[i] = true;
    }
    check_json(r);
}

/* ---- what is inside a model's entry ---- */

static void read_thresholds(Reader *r, void *target)
{
#define PAIR_OF(NAME, name, warning, high)                                                         \
    {name, PAIR, offsetof(LedgeDriftOptions, threshold[LEDGE_DRIFT_##NAME]), 1e-9, 1e9, 1, NULL},
    static const Key keys[] = {LEDGE_DRIFT_MEASURES(PAIR_OF)};
#undef PAIR_OF
    read_object(r, keys, sizeof keys / sizeof *keys, target);
}

static void read_drift(Reader *r, void *target)
{
    static const Key keys[] = {
        {"window", COUNT, offsetof(LedgeDriftOptions, window), 40, 1e8, 1, NULL},
        {"minimum", COUNT, offsetof(LedgeDriftOptions, minimum), 10, 1e8, 1, NULL},
        {"learn", COUNT, offsetof(LedgeDriftOptions, learn), 50, 1e8, 1, NULL},
        {"thresholds", OTHER, 0, 0, 0, 0, read_thresholds},
    };
    LedgeServedOptions *o = target;
    const LedgeJsonKind kind = ledge__json_peek(&r->j);
    const char *at = r->j.p;
    if (kind == LEDGE_JSON_TRUE || kind == LEDGE_JSON_FALSE) {
        o->drift = ledge__json_bool(&r->j);
        return;
    }
    o->drift = true;
    read_object(r, keys, sizeof keys / sizeof *keys, &o->drift_options);
    const LedgeDriftOptions *d = &o->drift_options;
    if (!r->j.bad && (d->minimum ? d->minimum : 200) > (d->window ? d->window : 1000))
        fail_at(r, at, "the window is smaller than the minimum of answers to judge by (200)");
}

static void read_cache(Reader *r, void *target)
{
    static const Key keys[] = {
        {"mb", BYTES, offsetof(LedgeServedOptions, cache_bytes), 0, 1e6, 1e6, NULL},
        {"ttl_s", NUMBER, offsetof(LedgeServedOptions, cache_ttl), 0, 1e9, 1, NULL},
    };
    read_object(r, keys, sizeof keys / sizeof *keys, target);
}

/* A path alone, an object, or false for none. */
static void read_guest(Reader *r, void *target)
{
#define FIELD(name) offsetof(LedgeGuestSettings, name)
    static const Key keys[] = {
        {"path", PATH, FIELD(path), 0, 0, 0, NULL},
        {"beside", BOOL, FIELD(beside), 0, 0, 0, NULL},
        {"key", PATH, FIELD(key), 0, 0, 0, NULL},
        {"pages", COUNT, FIELD(pages), 1, 65536, 1, NULL},
        {"time_ms", NUMBER, FIELD(time), 0.1, 1e6, 1e-3, NULL},
        {"fuel_ms", NUMBER, FIELD(fuel), 0.1, 1e6, 1e-3, NULL},
    };
#undef FIELD
    LedgeGuestSettings *g = &((LedgeServedOptions *)target)->guest;
    const LedgeJsonKind kind = ledge__json_peek(&r->j);
    if (kind == LEDGE_JSON_FALSE) {
        (void)ledge__json_bool(&r->j);
        *g = (LedgeGuestSettings){.path = ""};
    } else if (kind == LEDGE_JSON_STRING) {
        read_path(r, g->path);
    } else {
        read_object(r, keys, sizeof keys / sizeof *keys, g);
    }
}

static void read_threads(Reader *r, void *target)
{
    static const Key key = {"threads", WHOLE, 0, 1, 1024, 1, NULL};
    ((LedgeServedOptions *)target)->threads = (int)read_number(r, &key, true);
}

/* Of a model, and of "defaults"; BASE: where the options lie in what is read. */
#define SETTINGS(BASE)                                                                             \
    {"batch", COUNT, (BASE) + offsetof(LedgeServedOptions, batch), 1, 64, 1, NULL},                \
        {"delay_ms", NUMBER, (BASE) + offsetof(LedgeServedOptions, delay), 0, 1e6, 1e-3, NULL},    \
        {"deadline_s", NUMBER, (BASE) + offsetof(LedgeServedOptions, deadline), 0.001, 1e6, 1,     \
         NULL},                                                                                    \
        {"threads", OTHER, (BASE), 0, 0, 0, read_threads},                                         \
        {"pixels", BOOL, (BASE) + offsetof(LedgeServedOptions, pixels), 0, 0, 0, NULL},            \
        {"cache", OTHER, (BASE), 0, 0, 0, read_cache},                                             \
        {"drift", OTHER, (BASE), 0, 0, 0, read_drift},                                             \
    {                                                                                              \
        "guest", OTHER, (BASE), 0, 0, 0, read_guest                                                \
    }

static void read_version(Reader *r, void *target)
{
    static const Key key = {"version", WHOLE, 0, 1, 999999999, 1, NULL};
    LedgeModelConfig *m = target;
    snprintf(m->version, sizeof m->version, "%.0f", read_number(r, &key, true));
}

static void read_defaults(Reader *r, void *target)
{
    static const Key keys[] = {SETTINGS(0)};
    read_object(r, keys, sizeof keys / sizeof *keys, &((LedgeServeConfig *)target)->defaults);
}

static void read_name(Reader *r, void *target)
{
    (void)ledge__json_peek(&r->j);
    const char *at = r->j.p;
    read_text(r, target, LEDGE_SERVE_NAME);
    if (!r->j.bad && !ledge__served_name_ok(target))
        fail_at(r, at, "a name is made of up to 63 letters, digits, '_', '-' and '.'");
}

/* `items` with room for one more behind `n`. NULL: there are `most`, or no memory; that is told. */
static void *one_more(Reader *r, void *items, size_t n, size_t most, const char *too_many,
                      size_t size)
{
    if (n == most) {
        fail_at(r, r->j.p, too_many);
        return NULL;
    }
    void *more = realloc(items, (n + 1) * size);
    if (!more) {
        r->status = ledge__no_memory(r->err);
        ledge__json_fault(&r->j, "");
    }
    return more;
}

static void read_model(Reader *r)
{
    static const Key keys[] = {
        {"name", OTHER, offsetof(LedgeModelConfig, name), 0, 0, 0, read_name},
        {"path", PATH, offsetof(LedgeModelConfig, path), 0, 0, 0, NULL},
        {"version", OTHER, 0, 0, 0, 0, read_version},
        SETTINGS(offsetof(LedgeModelConfig, options)),
    };
    LedgeServeConfig *c = r->c;
    const char *at = r->j.p;
    LedgeModelConfig *m =
        one_more(r, c->models, c->n_models, LEDGE_CONFIG_MODELS, "more than 256 models", sizeof *m);
    if (!m)
        return;
    c->models = m;
    m += c->n_models++;
    *m = (LedgeModelConfig){.version = "1", .options = c->defaults};
    read_object(r, keys, sizeof keys / sizeof *keys, m);
    if (!r->j.bad && !m->name[0])
        fail_at(r, at, "a model needs a \"name\"");
    for (size_t i = 0; !r->j.bad && i + 1 < c->n_models; i++)
        if (strcmp(c->models[i].name, m->name) == 0 &&
            (strcmp(c->models[i].version, m->version) == 0 || !m->path[0] || !c->models[i].path[0]))
            fail_at(r, at, "two entries are of the same model and version");
}

static void read_models(Reader *r, void *target)
{
    (void)target;
    r->models = r->j;
    ledge__json_skip(&r->j);
}

/* ---- ladders ---- */

static void read_ladder_models(Reader *r, void *target)
{
    LedgeLadderOptions *o = target;
    ledge__json_array(&r->j);
    while (ledge__json_element(&r->j)) {
        if (o->n == LEDGE_ADAPTIVE_RUNGS)
            fail_at(r, r->j.p, "a ladder has at most 8 models");
        else
            read_name(r, o->model[o->n++]);
    }
}

static void read_confidence(Reader *r, void *target)
{
    char text[16] = "";
    (void)ledge__json_peek(&r->j);
    const char *at = r->j.p;
    read_text(r, text, sizeof text);
    const bool margin = strcmp(text, "margin") == 0;
    if (!margin && strcmp(text, "top1") != 0)
        fail_at(r, at, "\"confidence\" is \"top1\" or \"margin\"");
    ((LedgeLadderOptions *)target)->adaptive.confidence =
        margin ? LEDGE_CONFIDENCE_MARGIN : LEDGE_CONFIDENCE_TOP1;
}

static void read_ladder(Reader *r)
{
#define FIELD(name) offsetof(LedgeLadderOptions, adaptive.name)
    static const Key keys[] = {
        {"name", OTHER, offsetof(LedgeLadderOptions, name), 0, 0, 0, read_name},
        {"models", OTHER, 0, 0, 0, 0, read_ladder_models},
        {"confidence", OTHER, 0, 0, 0, 0, read_confidence},
        {"threshold", NUMBER, FIELD(threshold), 1e-9, 1, 1, NULL},
        {"budget_ms", NUMBER, FIELD(budget), 0, 1e9, 1e-3, NULL},
        {"down_after", COUNT, FIELD(down_after), 1, 1e9, 1, NULL},
        {"up_after", COUNT, FIELD(up_after), 1, 1e9, 1, NULL},
    };
#undef FIELD
    LedgeServeConfig *c = r->c;
    const char *at = r->j.p;
    LedgeLadderOptions *o = one_more(r, c->ladders, c->n_ladders, LEDGE_CONFIG_LADDERS,
                                     "more than 32 ladders", sizeof *o);
    if (!o)
        return;
    c->ladders = o;
    o += c->n_ladders++;
    *o = (LedgeLadderOptions){.n = 0};
    read_object(r, keys, sizeof keys / sizeof *keys, o);
    if (!r->j.bad && (!o->name[0] || o->n < 2))
        fail_at(r, at, "a ladder needs a \"name\" and two \"models\" or more, the smallest first");
}

static void read_ladders(Reader *r, void *target)
{
    (void)target;
    ledge__json_array(&r->j);
    while (ledge__json_element(&r->j))
        read_ladder(r);
}

/* ---- the whole ---- */

static void read_tls(Reader *r, void *target)
{
    static const Key keys[] = {
        {"certificate", PATH, offsetof(LedgeServeConfig, certificate), 0, 0, 0, NULL},
        {"key", PATH, offsetof(LedgeServeConfig, key), 0, 0, 0, NULL},
    };
    const char *at = r->j.p;
    read_object(r, keys, sizeof keys / sizeof *keys, target);
    if (!r->j.bad && (!r->c->certificate[0] || !r->c->key[0]))
        fail_at(r, at, "\"tls\" needs \"certificate\" and \"key\"");
}

static void read_alerts(Reader *r, void *target)
{
#define FIELD(name) offsetof(LedgeAlertsConfig, name)
    static const Key keys[] = {
        {"log", BOOL, FIELD(log), 0, 0, 0, NULL},
        {"webhook", TEXT, FIELD(webhook), 0, LEDGE_CONFIG_PATH, 0, NULL},
        {"alertmanager", TEXT, FIELD(alertmanager), 0, LEDGE_CONFIG_PATH, 0, NULL},
        {"exec", PATH, FIELD(exec), 0, 0, 0, NULL},
        {"token_file", PATH, FIELD(token_file), 0, 0, 0, NULL},
        {"cooldown_s", NUMBER, FIELD(cooldown), 0, 1e9, 1, NULL},
        {"repeat_s", NUMBER, FIELD(repeat), 0, 1e9, 1, NULL},
    };
#undef FIELD
    read_object(r, keys, sizeof keys / sizeof *keys, &((LedgeServeConfig *)target)->alerts);
}

static void read_samples(Reader *r, void *target)
{
#define FIELD(name) offsetof(LedgeSamplesConfig, name)
    static const Key keys[] = {
        {"folder", PATH, FIELD(folder), 0, 0, 0, NULL},
        {"key", PATH, FIELD(key), 0, 0, 0, NULL},
        {"below", NUMBER, FIELD(below), 0, 1, 1, NULL},
        {"per_hour", WHOLE, FIELD(per_hour), 1, 3600, 1, NULL},
        {"mb", NUMBER, FIELD(mb), 0.001, 1e6, 1, NULL},
    };
#undef FIELD
    const char *at = r->j.p;
    read_object(r, keys, sizeof keys / sizeof *keys, &((LedgeServeConfig *)target)->samples);
    if (!r->j.bad && (!r->c->samples.folder[0] || !r->c->samples.key[0]))
        fail_at(r, at, "\"samples\" needs \"folder\" and \"key\"");
}

static void read_root(Reader *r)
{
#define FIELD(name) offsetof(LedgeServeConfig, name)
    static const Key keys[] = {
        {"host", TEXT, FIELD(host), 0, sizeof((LedgeServeConfig *)0)->host, 0, NULL},
        {"port", WHOLE, FIELD(port), 0, 65535, 1, NULL},
        {"workers", WHOLE, FIELD(workers), 0, LEDGE_SERVE_WORKERS, 1, NULL},
        {"queue", WHOLE, FIELD(queue), 1, 1e6, 1, NULL},
        {"connections", WHOLE, FIELD(connections), 1, 1e6, 1, NULL},
        {"deadline_s", NUMBER, FIELD(deadline), 0.001, 1e6, 1, NULL},
        {"body_mb", NUMBER, FIELD(body_mb), 0.001, 1e6, 1, NULL},
        {"idle_s", NUMBER, FIELD(idle), 1, 1e6, 1, NULL},
        {"watch_s", NUMBER, FIELD(watch), 0.01, 1e6, 1, NULL},
        {"drain_s", NUMBER, FIELD(drain), 0, 86400, 1, NULL},
        {"token_file", PATH, FIELD(token_file), 0, 0, 0, NULL},
        {"state", PATH, FIELD(state), 0, 0, 0, NULL},
        {"repository", PATH, FIELD(repository), 0, 0, 0, NULL},
        {"shared_memory", TEXT, FIELD(shared_memory), 0, LEDGE_REGION_KEY, 0, NULL},
        {"cpu", TEXT, FIELD(defaults.cpu), 0, sizeof((LedgeServedOptions *)0)->cpu, 0, NULL},
        {"tls", OTHER, 0, 0, 0, 0, read_tls},
        {"defaults", OTHER, 0, 0, 0, 0, read_defaults},
        {"models", OTHER, 0, 0, 0, 0, read_models},
        {"ladders", OTHER, 0, 0, 0, 0, read_ladders},
        {"alerts", OTHER, 0, 0, 0, 0, read_alerts},
        {"samples", OTHER, 0, 0, 0, 0, read_samples},
    };
#undef FIELD
    read_object(r, keys, sizeof keys / sizeof *keys, r->c);
    ledge__json_finish(&r->j);
    check_json(r);
    if (r->j.bad || !r->models.p)
        return;
    r->j = r->models;
    ledge__json_array(&r->j);
    check_json(r);
    while (ledge__json_element(&r->j))
        read_model(r);
    check_json(r);
}

void ledge__serve_config_init(LedgeServeConfig *c)
{
    *c = (LedgeServeConfig){.port = -1,
                            .drain = -1,
                            .defaults = {.threads = 1, .drift = true},
                            .samples = {.below = 0.5, .per_hour = 20, .mb = 64}};
}

void ledge__serve_config_free(LedgeServeConfig *c)
{
    free(c->models);
    free(c->ladders);
    c->models = NULL;
    c->ladders = NULL;
    c->n_models = c->n_ladders = 0;
}

LedgeStatus ledge__serve_config_parse(const char *file, const char *text, size_t size,
                                      LedgeError *err, LedgeServeConfig *out)
{
    LedgeServeConfig c = *out;
    Reader r = {.file = file, .err = err, .c = &c};
    if (size > LEDGE_CONFIG_MAX)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, file, "a configuration has at most 1 MiB");
    ledge__json_begin(&r.j, text, size);
    read_root(&r);
    if (r.status != LEDGE_OK) {
        ledge__serve_config_free(&c);
        return r.status;
    }
    *out = c;
    return LEDGE_OK;
}
