/* The list of providers that a session was asked for, and their options. */
#include "engine/provider/backend_state.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/nearest.h"
#include "engine/provider/loaded.h"
#include "engine/provider/probes.h"

void ledge__asked_refuse(Asked *a, LedgeStatus status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(a->reason, sizeof a->reason, fmt, args);
    va_end(args);
    a->status = status;
}

/* ---- names ---- */

static LedgeStatus add(LedgeBackend *b, const char *word, size_t n, LedgeError *err)
{
    char *name = ledge__arena_strn(b->arena, word, n);
    if (!name)
        return ledge__no_memory(err);
    if (b->n_asked == MAX_ASKED)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL, "a list of providers has at most %d",
                           MAX_ASKED);
    for (size_t i = 0; i < b->n_asked; i++)
        if (strcmp(b->asked[i].path ? b->asked[i].path : b->asked[i].name, name) == 0)
            return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL,
                               "provider '%.60s' is in the list twice", name);
    Asked *a = &b->asked[b->n_asked];
    a->known = ledge__known_find(name);
    if (!a->known && !ledge__loaded_is_path(name))
        return ledge__provider_unknown(name, err);
    if (!a->known) {
        const char *slash = strrchr(name, '/');
        a->path = name;
        snprintf(a->name, sizeof a->name, "%.60s", slash ? slash + 1 : name);
    } else {
        snprintf(a->name, sizeof a->name, "%s", name);
    }
    b->n_asked++;
    return LEDGE_OK;
}

LedgeStatus ledge__asked_parse(LedgeBackend *b, const LedgeSessionOptions *o, LedgeError *err)
{
    const char *p = b->list;
    char made[600];
    if (strcmp(p, "auto") == 0) {
        LEDGE_TRY(ledge__auto_expand(b->model, o, b->threads, made, sizeof made, err));
        p = made;
    }
    while (*p) {
        while (*p == ' ' || *p == ',')
            p++;
        size_t n = strcspn(p, ",");
        const char *next = p + n;
        while (n && p[n - 1] == ' ')
            n--;
        if (n == 4 && memcmp(p, "auto", 4) == 0)
            return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL,
                               "'auto' chooses by itself and stands alone, not in a list");
        if (n)
            LEDGE_TRY(add(b, p, n, err));
        p = next;
    }
    if (!b->n_asked)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL,
                           "the list of providers is empty; name one, such as cpu or ort");
    return LEDGE_OK;
}

/* ---- options ---- */

/* Short words for the options that are asked for most. */
static const struct {
    const char *provider, *word, *option;
} short_words[] = {
    {"tensorrt", "fp16", "trt_fp16_enable"},
    {"tensorrt", "bf16", "trt_bf16_enable"},
    {"tensorrt", "int8", "trt_int8_enable"},
    {"tensorrt", "engine_cache", "trt_engine_cache_enable"},
    {"tensorrt", "timing_cache", "trt_timing_cache_enable"},
    {"tensorrt", "workspace", "trt_max_workspace_size"},
    {"nnapi", "fp16", "use_fp16"},
    {"qnn", "fp16", "enable_htp_fp16_precision"},
};

static const LedgeProviderOption *find_in(const LedgeProviderOption *options, size_t n,
                                          const char *key, const char *prefix)
{
    for (size_t i = 0; i < n; i++) {
        const size_t skip = strlen(prefix);
        const bool begins = skip && strncmp(options[i].name, prefix, skip) == 0;
        if (strcmp(options[i].name, key) == 0 ||
            (begins && strcmp(options[i].name + skip, key) == 0))
            return &options[i];
    }
    return NULL;
}

/* Any key with a dot is one of ONNX Runtime's configuration entries ("session.…"). */
static const LedgeProviderOption config_entry = {NULL, "", ""};

static const LedgeProviderOption *find_option(const Asked *a, const char *key)
{
    if (a->api)
        return find_in(a->api->options, a->api->n_options, key, "");
    if (!a->known || !a->known->ort_name)
        return NULL;
    for (size_t i = 0; i < sizeof short_words / sizeof *short_words; i++)
        if (strcmp(short_words[i].provider, a->name) == 0 && strcmp(short_words[i].word, key) == 0)
            key = short_words[i].option;
    const LedgeProviderOption *o =
        find_in(a->known->options, a->known->n_options, key, a->known->prefix);
    if (!o)
        o = find_in(ledge__ort_session_options, ledge__ort_session_option_count, key, "");
    return o || !strchr(key, '.') ? o : &config_entry;
}

static LedgeStatus unknown_option(const Asked *a, const char *key, LedgeError *err)
{
    const char *names[96];
    size_t n = 0;
    const LedgeProviderOption *own = a->api ? a->api->options : a->known ? a->known->options : NULL;
    const size_t n_own = a->api ? a->api->n_options : a->known ? a->known->n_options : 0;
    for (size_t i = 0; i < n_own && n < 80; i++)
        names[n++] = own[i].name;
    for (size_t i = 0; a->known && a->known->ort_name && i < ledge__ort_session_option_count; i++)
        names[n++] = ledge__ort_session_options[i].name;
    const char *near = ledge__nearest(key, names, n);
    if (near)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL,
                           "provider %s has no option '%.40s'; did you mean '%s'?", a->name, key,
                           near);
    char list[300] = "";
    for (size_t i = 0; i < n; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", names[i]);
    return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL, "provider %s has no option '%.40s'; %s%s",
                       a->name, key, n ? "it has " : "it has none", list);
}

static bool is_number(const char *text)
{
    char *end;
    errno = 0;
    (void)strtoll(text, &end, 10);
    return *text && !errno && !*end;
}

static const char *as_switch(const char *value)
{
    static const char *const off[] = {"0", "false", "False", "off", "no"};
    static const char *const on[] = {"1", "true", "True", "on", "yes"};
    for (size_t i = 0; i < sizeof on / sizeof *on; i++) {
        if (strcmp(value, off[i]) == 0)
            return "0";
        if (strcmp(value, on[i]) == 0)
            return "1";
    }
    return NULL;
}

static bool is_level(const char *value)
{
    return strcmp(value, "disable") == 0 || strcmp(value, "basic") == 0 ||
           strcmp(value, "extended") == 0 || strcmp(value, "layout") == 0 ||
           strcmp(value, "all") == 0;
}

/* The value as the provider wants it, by the kind that its default shows; NULL: refused. */
static const char *fit_value(const Asked *a, const LedgeProviderOption *o, const char *value,
                             LedgeError *err)
{
    const char *preset = o->preset ? o->preset : "", *wanted = NULL;
    if (strcmp(preset, "0") == 0 || strcmp(preset, "1") == 0) {
        const char *word = as_switch(value);
        if (word || is_number(value))
            return word ? word : value;
        wanted = "0, 1 or a whole number";
    } else if (strcmp(preset, "true") == 0 || strcmp(preset, "false") == 0) {
        const char *word = as_switch(value);
        if (word)
            return *word == '1' ? "true" : "false";
        wanted = "true or false";
    } else if (is_number(preset)) {
        if (is_number(value))
            return value;
        wanted = "a whole number";
    } else if (strcmp(preset, "all") == 0 && !is_level(value)) {
        wanted = "disable, basic, extended, layout or all";
    }
    if (!wanted)
        return value;
    (void)ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL, "option %s.%s takes %s, not '%.60s'",
                      a->name, o->name, wanted, value);
    return NULL;
}

static LedgeStatus set_option(LedgeBackend *b, Asked *a, const char *key, const char *value,
                              LedgeError *err)
{
    const LedgeProviderOption *o = find_option(a, key);
    if (!o)
        return unknown_option(a, key, err);
    const char *fitted = o->name ? fit_value(a, o, value, err) : value;
    if (!fitted)
        return LEDGE_ERROR_ARGUMENT;
    LedgeProviderSetting *s = ledge__arena_append(b->arena, a->settings, a->n_settings, sizeof *s);
    if (!s)
        return ledge__no_memory(err);
    a->settings = s;
    s[a->n_settings].key = o->name ? o->name : ledge__arena_str(b->arena, key);
    s[a->n_settings].value = ledge__arena_str(b->arena, fitted);
    if (!s[a->n_settings].key || !s[a->n_settings].value)
        return ledge__no_memory(err);
    a->n_settings++;
    return LEDGE_OK;
}

static LedgeStatus one_setting(LedgeBackend *b, const char *word, LedgeError *err)
{
    const char *eq = strchr(word, '='), *dot = strchr(word, '.');
    char name[64], key[128];
    if (!eq || !dot || dot > eq || dot == word || eq == dot + 1 ||
        (size_t)(dot - word) >= sizeof name || (size_t)(eq - dot) >= sizeof key)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL,
                           "a provider option is PROVIDER.KEY=VALUE, such as tensorrt.fp16=1, not "
                           "'%.60s'",
                           word);
    snprintf(name, sizeof name, "%.*s", (int)(dot - word), word);
    snprintf(key, sizeof key, "%.*s", (int)(eq - dot - 1), dot + 1);
    for (size_t i = 0; i < b->n_asked; i++)
        if (strcmp(b->asked[i].name, name) == 0)
            return set_option(b, &b->asked[i], key, eq + 1, err);
    if (ledge__known_find(name) && strcmp(b->list, "auto") == 0)
        return LEDGE_OK; /* for one that was not chosen */
    if (ledge__known_find(name))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL,
                           "option '%.80s' is for provider %s, which is not in the list '%.100s'",
                           word, name, b->list);
    return ledge__provider_unknown(name, err);
}

LedgeStatus ledge__asked_settings(LedgeBackend *b, const LedgeSessionOptions *o, LedgeError *err)
{
    for (size_t i = 0; i < o->n_provider_options; i++)
        LEDGE_TRY(one_setting(b, o->provider_options[i], err));
    return LEDGE_OK;
}

/* ---- opening ---- */

static LedgeStatus probe(Asked *a, LedgeError *err)
{
    ProbeAnswer p;
    LEDGE_TRY(ledge__provider_probe(a->path ? a->path : a->name, err, &p));
    if (a->known && a->known->ort_name && p.version[0])
        snprintf(a->version, sizeof a->version, "ONNX Runtime %s", p.version);
    else
        snprintf(a->version, sizeof a->version, "%s", p.version);
    if (p.status) {
        ledge__asked_refuse(a, p.status, "%s", p.reason);
        return LEDGE_OK;
    }
    if (a->path) {
        LedgeError e = {0};
        if (ledge__loaded_open(a->path, &e, &a->api))
            ledge__asked_refuse(a, LEDGE_ERROR_PROVIDER, "%s", e.message);
        else if (ledge__known_find(a->api->name))
            ledge__asked_refuse(a, LEDGE_ERROR_PROVIDER,
                                "it calls itself '%s', which is a provider that ledge knows; it "
                                "must have a name of its own",
                                a->api->name);
        else
            snprintf(a->name, sizeof a->name, "%s", a->api->name);
    }
    return LEDGE_OK;
}

LedgeStatus ledge__asked_open(LedgeBackend *b, Asked *a, LedgeError *err)
{
    (void)b;
    return a->known && !a->known->ort_name ? LEDGE_OK : probe(a, err);
}
