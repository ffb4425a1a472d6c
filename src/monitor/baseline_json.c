/* A baseline as JSON, in and out. Its bytes come with models from elsewhere: every count, edge
 * and length is checked before it is used. */
#include "monitor/baseline.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <jansson.h>

#define WHERE "baseline"

static LedgeStatus bad(LedgeError *err, const char *key, const char *wanted)
{
    return ledge__fail(err, LEDGE_ERROR_FORMAT, WHERE, "\"%s\" must be %s", key, wanted);
}

static LedgeStatus read_number(const json_t *o, const char *key, LedgeError *err, double *out)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_number(v) || !isfinite(json_number_value(v)))
        return bad(err, key, "a number");
    *out = json_number_value(v);
    return LEDGE_OK;
}

static LedgeStatus read_count(const json_t *v, const char *key, LedgeError *err, uint64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 ||
        json_integer_value(v) > INT64_C(1) << 53)
        return bad(err, key, "a count of 0 … 2^53");
    *out = (uint64_t)json_integer_value(v);
    return LEDGE_OK;
}

/* "edges" and "counts"; both missing: no bins. */
static LedgeStatus read_bins(const json_t *o, LedgeError *err, LedgeBins *out)
{
    const json_t *edges = json_object_get(o, "edges"), *counts = json_object_get(o, "counts");
    memset(out, 0, sizeof *out);
    if (!edges && !counts)
        return LEDGE_OK;
    const size_t n = json_array_size(counts);
    if (n < 1 || n > LEDGE_BASELINE_BINS)
        return bad(err, "counts", "an array of 1 to 32 counts");
    if (!json_is_array(edges) || json_array_size(edges) != n - 1)
        return bad(err, "edges", "an array one shorter than \"counts\"");
    for (size_t i = 0; i < n; i++)
        LEDGE_TRY(read_count(json_array_get(counts, i), "counts", err, &out->count[i]));
    for (size_t i = 0; i + 1 < n; i++) {
        const json_t *v = json_array_get(edges, i);
        if (!json_is_number(v) || !isfinite(json_number_value(v)) ||
            (i && json_number_value(v) <= out->edge[i - 1]))
            return bad(err, "edges", "rising numbers");
        out->edge[i] = json_number_value(v);
    }
    out->n = (uint32_t)n;
    return LEDGE_OK;
}

static LedgeStatus read_spread(const json_t *o, LedgeError *err, double *mean, double *std)
{
    LEDGE_TRY(read_number(o, "mean", err, mean));
    LEDGE_TRY(read_number(o, "std", err, std));
    return *std >= 0 ? LEDGE_OK : bad(err, "std", "0 or more");
}

static LedgeStatus read_classes(const json_t *o, LedgeBaseline *b, LedgeError *err)
{
    const json_t *list = json_object_get(o, "classes");
    if (!list)
        return LEDGE_OK;
    const size_t n = json_array_size(list);
    if (!json_is_array(list) || n > LEDGE_BASELINE_CLASSES)
        return bad(err, "classes", "an array of at most 1,048,576 counts");
    b->classes = ledge__calloc(b->allocator, n, sizeof *b->classes);
    if (!b->classes)
        return ledge__no_memory(err);
    b->n_classes = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        LEDGE_TRY(read_count(json_array_get(list, i), "classes", err, &b->classes[i]));
    return LEDGE_OK;
}

static LedgeStatus read_feature(const json_t *o, LedgeFeatureBaseline *f, LedgeError *err)
{
    const char *name = json_string_value(json_object_get(o, "name"));
    if (!name || !*name || strlen(name) >= sizeof f->name)
        return bad(err, "name", "a text of 1 to 31 bytes");
    strcpy(f->name, name);
    LEDGE_TRY(read_spread(o, err, &f->mean, &f->std));
    return read_bins(o, err, &f->bins);
}

static LedgeStatus read_features(const json_t *o, LedgeBaseline *b, LedgeError *err)
{
    const json_t *list = json_object_get(o, "features");
    if (!list)
        return LEDGE_OK;
    if (!json_is_array(list) || json_array_size(list) > LEDGE_BASELINE_FEATURES)
        return bad(err, "features", "an array of at most 16 features");
    for (size_t i = 0; i < json_array_size(list); i++)
        LEDGE_TRY(read_feature(json_array_get(list, i), &b->feature[i], err));
    b->n_features = (uint32_t)json_array_size(list);
    return LEDGE_OK;
}

static LedgeStatus read_all(const json_t *o, LedgeBaseline *b, LedgeError *err)
{
    if (!json_is_object(o) || json_integer_value(json_object_get(o, "format")) != 1)
        return bad(err, "format", "1, the one format that this version of ledge knows");
    LEDGE_TRY(read_count(json_object_get(o, "samples"), "samples", err, &b->samples));
    LEDGE_TRY(read_classes(o, b, err));
    const json_t *c = json_object_get(o, "confidence");
    if (c) {
        LEDGE_TRY(read_spread(c, err, &b->confidence_mean, &b->confidence_std));
        LEDGE_TRY(read_bins(c, err, &b->confidence));
    }
    return read_features(o, b, err);
}

LedgeStatus ledge__baseline_read(const char *json, size_t size, const LedgeAllocator *a,
                                 LedgeError *err, LedgeBaseline **out)
{
    json_error_t fault;
    json_t *o = json_loadb(json, size, JSON_REJECT_DUPLICATES, &fault);
    if (!o)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, WHERE, "not JSON: %s (line %d)", fault.text,
                           fault.line);
    LedgeBaseline *b = ledge__calloc(a, 1, sizeof *b);
    LedgeStatus s = b ? LEDGE_OK : ledge__no_memory(err);
    if (b) {
        b->allocator = a;
        s = read_all(o, b, err);
    }
    json_decref(o);
    if (s != LEDGE_OK)
        ledge__baseline_free(b);
    else
        *out = b;
    return s;
}

static json_t *counts_of(const uint64_t *counts, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_integer((json_int_t)counts[i]));
    return list;
}

static json_t *spread_of(double mean, double std, const LedgeBins *bins)
{
    json_t *o = json_pack("{s:f,s:f}", "mean", mean, "std", std);
    if (bins->n == 0)
        return o;
    json_t *edges = json_array();
    for (uint32_t i = 0; i + 1 < bins->n; i++)
        json_array_append_new(edges, json_real(bins->edge[i]));
    json_object_set_new(o, "edges", edges);
    json_object_set_new(o, "counts", counts_of(bins->count, bins->n));
    return o;
}

char *ledge__baseline_write(const LedgeBaseline *b, const LedgeAllocator *a)
{
    json_t *o = json_pack("{s:i,s:I}", "format", 1, "samples", (json_int_t)b->samples);
    json_t *features = json_array();
    if (b->n_classes)
        json_object_set_new(o, "classes", counts_of(b->classes, b->n_classes));
    if (b->confidence.n)
        json_object_set_new(o, "confidence",
                            spread_of(b->confidence_mean, b->confidence_std, &b->confidence));
    for (uint32_t i = 0; i < b->n_features; i++) {
        const LedgeFeatureBaseline *f = &b->feature[i];
        json_t *one = spread_of(f->mean, f->std, &f->bins);
        json_object_set_new(one, "name", json_string(f->name));
        json_array_append_new(features, one);
    }
    json_object_set_new(o, "features", features);
    /* jansson grows nothing of ours: ask for the size, then write. */
    const size_t size = json_dumpb(o, NULL, 0, JSON_COMPACT | JSON_SORT_KEYS);
    char *text = size ? ledge__alloc(a, size + 1, 1) : NULL;
    if (text && json_dumpb(o, text, size, JSON_COMPACT | JSON_SORT_KEYS) == size) {
        text[size] = '\0';
    } else {
        ledge__free(a, text);
        text = NULL;
    }
    json_decref(o);
    return text;
}
