/* Samples sealed and opened, see field_sample.h. */
#include "fleet/protocol/field_sample.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define MAGIC     "LDGSMPL1"
#define INFO      "ledge field sample 1"
#define KEY(text) (strcmp(key, text) == 0)
enum { PREFIX = 12, KEY_SIZE = 32, ALIGN = 16, MILLION = 1000000, CONTENT_JSON = 16384 };

static void put_u32(uint8_t *p, size_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static size_t get_u32(const uint8_t *p)
{
    return (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
}

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---- the head ---- */

static bool write_head(const LedgeFieldHead *h, const char *key, FILE *to)
{
    putc('{', to);
    ledge__fleet_put(to, true, "key", key);
    ledge__fleet_put(to, false, "model", h->model);
    ledge__fleet_put(to, false, "version", h->version);
    ledge__fleet_put_int(to, false, "timestamp", h->timestamp);
    ledge__fleet_put_int(to, false, "confidence_ppm", h->confidence_ppm);
    ledge__fleet_put_int(to, false, "class_id", h->class_id);
    ledge__fleet_put(to, false, "drift", ledge__fleet_drift_name(h->drift));
    putc('}', to);
    return fclose(to) == 0;
}

static void read_head_member(LedgeJson *j, const char *key, LedgeFieldHead *h)
{
    char word[LEDGE_FLEET_WORD];
    if (KEY("key")) {
        ledge__fleet_read(j, h->key, sizeof h->key, ledge__fleet_is_sha256, "no key id");
    } else if (KEY("model")) {
        ledge__fleet_read(j, h->model, sizeof h->model, ledge__fleet_is_name, "no model's name");
    } else if (KEY("version")) {
        ledge__fleet_read(j, h->version, sizeof h->version, ledge__fleet_is_name, "no version");
    } else if (KEY("timestamp")) {
        h->timestamp = ledge__json_integer(j);
    } else if (KEY("confidence_ppm")) {
        const int64_t v = ledge__fleet_count(j, -1, "a confidence below zero");
        if (v > MILLION)
            ledge__json_fault(j, "a confidence above 1000000 millionths");
        h->confidence_ppm = j->bad ? -1 : (int32_t)v;
    } else if (KEY("class_id")) {
        h->class_id = ledge__fleet_count(j, -1, "a class below -1");
    } else if (KEY("drift")) {
        ledge__json_string(j, word, sizeof word);
        if (!j->bad && !ledge__fleet_drift_of(word, &h->drift))
            ledge__json_fault(j, "an unknown drift verdict");
    } else {
        ledge__json_skip(j);
    }
}

LedgeStatus ledge__field_sample_head(const void *bytes, size_t size, LedgeError *err,
                                     LedgeFieldHead *out, size_t *end)
{
    const uint8_t *p = bytes;
    LedgeFieldHead h = {.confidence_ppm = -1, .class_id = -1};
    LedgeJson json, *j = &json;
    char key[KEY_SIZE];
    if (size > LEDGE_FIELD_SAMPLE_MAX)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, "sample", "is larger than the %zu bytes allowed",
                           LEDGE_FIELD_SAMPLE_MAX);
    if (size < PREFIX || memcmp(p, MAGIC, 8) != 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "sample", "is no sample of inputs");
    const size_t n = get_u32(p + 8);
    if (n > LEDGE_FIELD_SAMPLE_HEAD || size - PREFIX < n + LEDGE_SEAL_OVERHEAD)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "sample", "was cut");
    ledge__json_begin(j, (const char *)p + PREFIX, n);
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key))
        read_head_member(j, key, &h);
    ledge__json_finish(j);
    if (!j->bad && (!h.key[0] || !h.model[0] || !h.version[0]))
        ledge__json_fault(j, "key, model or version is missing");
    LEDGE_TRY(ledge__json_status(j, "sample", err));
    *out = h;
    if (end)
        *end = PREFIX + n;
    return LEDGE_OK;
}

/* ---- the content ---- */

size_t ledge__field_content_bytes(const LedgeFieldContent *c)
{
    size_t sum = 0;
    if (c->picture)
        return c->picture_size;
    for (size_t i = 0; i < c->n_inputs; i++) {
        const size_t n = ledge_tensor_bytes(&c->inputs[i]);
        if (c->inputs[i].type == LEDGE_STRING || !c->inputs[i].data || n > LEDGE_FIELD_SAMPLE_MAX)
            return 0;
        sum += n;
    }
    return sum;
}

static void write_input(const LedgeTensor *t, const char *name, FILE *to)
{
    putc('{', to);
    ledge__fleet_put(to, true, "name", name);
    ledge__fleet_put_int(to, false, "type", t->type);
    fputs(",\"shape\":[", to);
    for (int32_t d = 0; d < t->rank; d++)
        fprintf(to, d ? ",%lld" : "%lld", (long long)t->dims[d]);
    fputs("]}", to);
}

static bool write_list(const LedgeFieldContent *c, FILE *to)
{
    putc('{', to);
    ledge__fleet_put(to, true, "preprocess", c->preprocess);
    if (c->picture)
        ledge__fleet_put_int(to, false, "picture", (int64_t)c->picture_size);
    fputs(",\"inputs\":[", to);
    for (size_t i = 0; i < c->n_inputs && !c->picture; i++) {
        if (i)
            putc(',', to);
        write_input(&c->inputs[i], c->names[i], to);
    }
    fputs("]}", to);
    return fclose(to) == 0;
}

/* The content as it is sealed; freed with free(). */
static LedgeStatus pack(const LedgeFieldContent *c, LedgeError *err, uint8_t **out, size_t *size)
{
    char *list = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&list, &n);
    if (!to || !write_list(c, to)) {
        free(list);
        return ledge__no_memory(err);
    }
    size_t at = aligned(4 + n);
    uint8_t *p = calloc(1, at + ledge__field_content_bytes(c) + (c->n_inputs + 1) * ALIGN);
    if (!p) {
        free(list);
        return ledge__no_memory(err);
    }
    put_u32(p, n);
    memcpy(p + 4, list, n);
    free(list);
    if (c->picture) {
        memcpy(p + at, c->picture, c->picture_size);
        at += c->picture_size;
    }
    for (size_t i = 0; i < c->n_inputs && !c->picture; i++) {
        const size_t bytes = ledge_tensor_bytes(&c->inputs[i]);
        memcpy(p + at, c->inputs[i].data, bytes);
        at = aligned(at + bytes);
    }
    *out = p;
    *size = at;
    return LEDGE_OK;
}

static void read_shape(LedgeJson *j, LedgeTensor *t)
{
    ledge__json_array(j);
    while (ledge__json_element(j)) {
        const int64_t d = ledge__fleet_count(j, 0, "a dimension below zero");
        if (t->rank == LEDGE_MAX_RANK)
            ledge__json_fault(j, "more dimensions than a tensor has");
        else
            t->dims[t->rank++] = d;
    }
}

static bool is_any(const char *text)
{
    (void)text;
    return true;
}

static void read_input(LedgeJson *j, LedgeFieldContent *c)
{
    char key[KEY_SIZE];
    if (c->n_inputs == LEDGE_FIELD_SAMPLE_INPUTS) {
        ledge__json_fault(j, "more than 8 inputs");
        return;
    }
    char *name = c->names[c->n_inputs];
    LedgeTensor *t = &c->inputs[c->n_inputs++];
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("name"))
            ledge__fleet_read(j, name, LEDGE_FIELD_SAMPLE_NAME, is_any, "");
        else if (KEY("type"))
            t->type = (LedgeType)(ledge__fleet_count(j, 0, "no type") & 0xff);
        else if (KEY("shape"))
            read_shape(j, t);
        else
            ledge__json_skip(j);
    }
    if (!j->bad && (!ledge_type_bits(t->type) || t->type == LEDGE_STRING))
        ledge__json_fault(j, "a type that no sample has");
}

static void read_list(LedgeJson *j, LedgeFieldContent *c, int64_t *picture)
{
    char key[KEY_SIZE];
    *picture = -1;
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("preprocess")) {
            ledge__fleet_read(j, c->preprocess, sizeof c->preprocess, is_any, "");
        } else if (KEY("picture")) {
            *picture = ledge__fleet_count(j, 0, "a size below zero");
        } else if (KEY("inputs")) {
            ledge__json_array(j);
            while (ledge__json_element(j))
                read_input(j, c);
        } else {
            ledge__json_skip(j);
        }
    }
    ledge__json_finish(j);
}

/* Points the tensors, or the picture, at their bytes, all of which must be there. */
static bool place(LedgeFieldContent *c, size_t at, size_t size, int64_t picture)
{
    uint8_t *p = c->bytes;
    if (picture >= 0) {
        if (at > size || (uint64_t)picture > size - at || c->n_inputs)
            return false;
        c->picture = p + at;
        c->picture_size = (size_t)picture;
        return true;
    }
    for (size_t i = 0; i < c->n_inputs; i++) {
        const size_t n = ledge_tensor_bytes(&c->inputs[i]);
        if (at > size || n > size - at)
            return false;
        c->inputs[i].data = p + at;
        c->inputs[i].bytes = n;
        at = aligned(at + n);
    }
    return c->n_inputs > 0;
}

void ledge__field_content_free(LedgeFieldContent *c)
{
    if (c)
        free(c->bytes);
    free(c);
}

LedgeStatus ledge__field_content_read(void *bytes, size_t size, LedgeError *err,
                                      LedgeFieldContent **out)
{
    LedgeJson json, *j = &json;
    int64_t picture;
    LedgeFieldContent *c = calloc(1, sizeof *c);
    if (!c) {
        free(bytes);
        return ledge__no_memory(err);
    }
    c->bytes = bytes;
    const size_t n = size < 4 ? 0 : get_u32(bytes);
    LedgeStatus status = LEDGE_OK;
    if (size < 4 || n > size - 4 || n > CONTENT_JSON)
        status = ledge__fail(err, LEDGE_ERROR_FORMAT, "sample", "was cut before it was sealed");
    if (!status) {
        ledge__json_begin(j, (const char *)bytes + 4, n);
        read_list(j, c, &picture);
        status = ledge__json_status(j, "sample", err);
    }
    if (!status && !place(c, aligned(4 + n), size, picture))
        status = ledge__fail(err, LEDGE_ERROR_FORMAT, "sample", "lists more than it holds");
    if (status)
        ledge__field_content_free(c);
    else
        *out = c;
    return status;
}

/* ---- both ---- */

/* Prefix and head, and room behind them for `sealed` bytes. */
static LedgeStatus begin(const LedgeFieldHead *head, const char *key, size_t sealed,
                         LedgeError *err, uint8_t **out, size_t *end)
{
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);
    if (!to || !write_head(head, key, to)) {
        free(text);
        return ledge__no_memory(err);
    }
    uint8_t *p = malloc(PREFIX + n + sealed);
    if (p) {
        memcpy(p, MAGIC, 8);
        put_u32(p + 8, n);
        memcpy(p + PREFIX, text, n);
    }
    free(text);
    *out = p;
    *end = PREFIX + n;
    return p ? LEDGE_OK : ledge__no_memory(err);
}

LedgeStatus ledge__field_sample_seal(const LedgeFieldHead *head, const LedgeFieldContent *c,
                                     const LedgeSealKey *to, LedgeError *err, uint8_t **out,
                                     size_t *size)
{
    uint8_t *content = NULL, *p = NULL;
    size_t n = 0, end = 0;
    const size_t bytes = ledge__field_content_bytes(c);
    if (!bytes || !ledge__fleet_is_name(head->model) || !ledge__fleet_is_name(head->version))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "sample", "there is nothing to be kept");
    if (bytes > LEDGE_FIELD_SAMPLE_MAX / 8 * 7)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, "sample", "the inputs are too large");
    LEDGE_TRY(pack(c, err, &content, &n));
    LedgeStatus status =
        begin(head, ledge__seal_key_id(to), n + LEDGE_SEAL_OVERHEAD, err, &p, &end);
    if (!status)
        status = ledge__seal(to, INFO, p, end, content, n, err, p + end);
    free(content);
    if (status) {
        free(p);
        return status;
    }
    *out = p;
    *size = end + n + LEDGE_SEAL_OVERHEAD;
    return LEDGE_OK;
}

LedgeStatus ledge__field_sample_open(const void *bytes, size_t size, const LedgeSealKey *key,
                                     LedgeError *err, LedgeFieldHead *head, LedgeFieldContent **out)
{
    size_t end;
    LedgeFieldHead h;
    LEDGE_TRY(ledge__field_sample_head(bytes, size, err, &h, &end));
    if (strcmp(h.key, ledge__seal_key_id(key)) != 0)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, "sample",
                           "was sealed to the key %.16s…, and this is %.16s…", h.key,
                           ledge__seal_key_id(key));
    const size_t n = size - end - LEDGE_SEAL_OVERHEAD;
    uint8_t *content = malloc(n + 1);
    if (!content)
        return ledge__no_memory(err);
    LedgeStatus status = ledge__unseal(key, INFO, bytes, end, (const uint8_t *)bytes + end,
                                       size - end, err, content);
    if (status) {
        free(content);
        return status == LEDGE_ERROR_MISMATCH
                   ? ledge__fail(err, status, "sample", "was changed or cut after it was sealed")
                   : status;
    }
    status = ledge__field_content_read(content, n, err, out);
    if (!status)
        *head = h;
    return status;
}
