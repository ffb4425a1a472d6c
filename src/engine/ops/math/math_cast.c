/* Operators that change element types: Cast, CastLike, BitCast. Strings are read as numbers in
 * plain or scientific form, INF and NaN in any case; numbers are written with as few digits as
 * tell them from their neighbours. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "engine/kernels/ref/broadcast.h"
#include "engine/kernels/ref/convert.h"
#include "engine/kernels/vec.h"
#include "engine/ops/math/math_types.h"

#define CHUNK 256
#define NUMBER_TEXT 40 /* room for any number as text */

#define CASTABLE                                                                                   \
    (LEDGE_SET_TENSORS & ~(LEDGE_SET(COMPLEX64) | LEDGE_SET(COMPLEX128)))

/* ---- numbers to numbers ---- */

typedef struct CastJob {
    const LedgeTensor *from, *to;
    LedgeStoreMode mode;
    const LedgeVec *vec;
} CastJob;

/* Integers reach a float type in one rounding only: through double with a sticky bit. */
static void integers_to_floats(const CastJob *j, size_t at, size_t count)
{
    int64_t whole[CHUNK];
    double chunk[CHUNK];
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK;
        ledge__load_i64(j->from->type, j->from->data, at + done, n, whole);
        for (size_t i = 0; i < n; i++)
            chunk[i] = j->from->type == LEDGE_UINT64 ? ledge__u64_to_f64_odd((uint64_t)whole[i])
                                                     : ledge__i64_to_f64_odd(whole[i]);
        ledge__store_f64_mode(j->to->type, j->to->data, at + done, n, chunk, j->mode);
    }
}

static void integers_to_integers(const CastJob *j, size_t at, size_t count)
{
    int64_t chunk[CHUNK];
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK;
        ledge__load_i64(j->from->type, j->from->data, at + done, n, chunk);
        ledge__store_i64(j->to->type, j->to->data, at + done, n, chunk);
    }
}

static void floats_to_any(const CastJob *j, size_t at, size_t count)
{
    double chunk[CHUNK];
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK;
        ledge__load_f64(j->from->type, j->from->data, at + done, n, chunk);
        ledge__store_f64_mode(j->to->type, j->to->data, at + done, n, chunk, j->mode);
    }
}

static void cast_piece(void *arg, const LedgeSpan *s)
{
    const CastJob *j = arg;
    const LedgeTensor *from = j->from, *to = j->to;
    LedgeTypeSet short_ways = LEDGE_SET(BFLOAT16) | LEDGE_SET(UINT8) | LEDGE_SET(INT8) |
                              LEDGE_SET(UINT16) | LEDGE_SET(INT16);
    if (to->type == LEDGE_FLOAT16 && from->type == LEDGE_FLOAT)
        j->vec->to_f16((const float *)from->data + s->out, (uint16_t *)to->data + s->out, s->n);
    else if (to->type == LEDGE_FLOAT && from->type == LEDGE_FLOAT16)
        j->vec->from_f16((const uint16_t *)from->data + s->out, (float *)to->data + s->out, s->n);
    else if (to->type == LEDGE_FLOAT)
        ledge__load_f32(from->type, from->data, s->out, s->n, (float *)to->data + s->out);
    else if (to->type == LEDGE_DOUBLE)
        ledge__load_f64(from->type, from->data, s->out, s->n, (double *)to->data + s->out);
    else if (from->type == LEDGE_FLOAT && ledge__type_in(to->type, short_ways))
        ledge__store_f32(to->type, to->data, s->out, s->n, (const float *)from->data + s->out);
    else if (ledge__num_is_float(from->type))
        floats_to_any(j, s->out, s->n);
    else if (ledge__num_is_float(to->type))
        integers_to_floats(j, s->out, s->n);
    else
        integers_to_integers(j, s->out, s->n);
}

/* ---- numbers to text ---- */

/* Whether `text` is read back as the very number v of the type. */
static bool reads_back(LedgeType type, const char *text, double v)
{
    double stored, parsed = strtod(text, NULL);
    char bits[8];
    ledge__store_f64(type, bits, 0, 1, &parsed);
    ledge__load_f64(type, bits, 0, 1, &stored);
    return stored == v;
}

/* "1.25e-07" as digits and exponent, then plainly where the exponent is small: -3 ... 15. */
static void float_text(LedgeType type, double v, char *text)
{
    if (isnan(v) || isinf(v)) {
        strcpy(text, isnan(v) ? "NaN" : v > 0 ? "INF" : "-INF");
        return;
    }
    int digits = 1;
    do
        snprintf(text, NUMBER_TEXT, "%.*e", digits - 1, v);
    while (!reads_back(type, text, v) && ++digits <= 17);
    int exponent = atoi(strchr(text, 'e') + 1);
    if (v == 0 || (exponent >= -4 && exponent < 16)) {
        int after = digits - 1 - exponent;
        snprintf(text, NUMBER_TEXT, "%.*f", after > 1 ? after : 1, v);
    }
}

static void number_text(const LedgeTensor *t, size_t i, char *text)
{
    int64_t whole;
    double v;
    if (ledge__num_is_float(t->type)) {
        ledge__load_f64(t->type, t->data, i, 1, &v);
        float_text(t->type, v, text);
        return;
    }
    ledge__load_i64(t->type, t->data, i, 1, &whole);
    if (t->type == LEDGE_BOOL)
        strcpy(text, whole ? "True" : "False");
    else if (t->type == LEDGE_UINT64)
        snprintf(text, NUMBER_TEXT, "%llu", (unsigned long long)whole);
    else
        snprintf(text, NUMBER_TEXT, "%lld", (long long)whole);
}

static LedgeStatus to_strings(LedgeOpCtx *c, const LedgeTensor *from, const LedgeTensor *to)
{
    LedgeString *y = to->data;
    size_t n = (size_t)ledge_tensor_count(from);
    for (size_t i = 0; i < n; i++) {
        char text[NUMBER_TEXT];
        number_text(from, i, text);
        y[i].size = strlen(text);
        char *p = ledge__op_alloc(c, y[i].size + 1);
        if (!p)
            return ledge__no_memory(c->err);
        memcpy(p, text, y[i].size);
        y[i].data = p;
    }
    return LEDGE_OK;
}

/* ---- text to numbers ---- */

static bool blank(const char *p)
{
    while (isspace((unsigned char)*p))
        p++;
    return *p == 0;
}

/* Both readings of a text; an integer type takes the whole one when the text is one. */
static bool parse_number(const char *text, double *v, int64_t *whole, bool *is_whole)
{
    char *end;
    *is_whole = false;
    if (strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0) {
        *whole = tolower((unsigned char)text[0]) == 't';
        *v = (double)*whole;
        return true;
    }
    *v = strtod(text, &end);
    if (end == text || !blank(end))
        return false;
    *whole = text[strspn(text, " \t\n")] == '-' ? (int64_t)strtoll(text, &end, 10)
                                                : (int64_t)strtoull(text, &end, 10);
    *is_whole = blank(end);
    return true;
}

static LedgeStatus from_strings(LedgeOpCtx *c, const CastJob *j)
{
    const LedgeString *x = j->from->data;
    size_t n = (size_t)ledge_tensor_count(j->from);
    for (size_t i = 0; i < n; i++) {
        char text[128];
        double v = 0;
        int64_t whole = 0;
        bool is_whole = false;
        bool fits = x[i].size < sizeof text;
        if (fits && x[i].size)
            memcpy(text, x[i].data, x[i].size);
        text[fits ? x[i].size : 0] = 0;
        if (!parse_number(text, &v, &whole, &is_whole))
            return ledge__op_fail(c, LEDGE_ERROR_RUNTIME, "\"%.60s\" is not a number", text);
        if (is_whole && !ledge__num_is_float(j->to->type))
            ledge__store_i64(j->to->type, j->to->data, i, 1, &whole);
        else
            ledge__store_f64_mode(j->to->type, j->to->data, i, 1, &v, j->mode);
    }
    return LEDGE_OK;
}

/* ---- the operators ---- */

static LedgeStatus store_mode(LedgeOpCtx *c, LedgeStoreMode *mode)
{
    static const char *const names[] = {"up", "down", "nearest"};
    const char *round = ledge__node_string(c->node, "round_mode", "up");
    mode->saturate = ledge__node_int(c->node, "saturate", 1) != 0;
    for (int i = 0; i < 3; i++)
        if (strcmp(round, names[i]) == 0) {
            mode->round = (LedgeE8m0Round)i;
            return LEDGE_OK;
        }
    return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "round_mode is \"%s\", must be up, down or nearest",
                          round);
}

static LedgeStatus run_cast(LedgeOpCtx *c)
{
    CastJob j = {.from = c->in[0], .to = c->out[0], .vec = ledge__vec(c->cpu)};
    LEDGE_TRY(store_mode(c, &j.mode));
    if (j.from->type == j.to->type)
        return ledge__op_store(c, 0, j.from);
    if (j.to->type == LEDGE_STRING)
        return to_strings(c, j.from, j.to);
    ledge__math_clear_tail(j.to);
    if (j.from->type == LEDGE_STRING)
        return from_strings(c, &j);
    ledge__each_piece(c->pool, (size_t)ledge_tensor_count(j.from), cast_piece, &j);
    return LEDGE_OK;
}

static LedgeStatus infer_cast(LedgeOpCtx *c)
{
    LedgeType to;
    LedgeStoreMode mode;
    LEDGE_TRY(ledge__math_type_attr(c, "to", LEDGE_TYPE_NONE, CASTABLE, &to));
    if (to == LEDGE_TYPE_NONE)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "attribute to is missing");
    LEDGE_TRY(store_mode(c, &mode));
    return ledge__math_infer_like_input(c, CASTABLE, to);
}

static LedgeStatus infer_cast_like(LedgeOpCtx *c)
{
    LedgeStoreMode mode;
    LEDGE_TRY(ledge__math_need(c, 0, CASTABLE));
    LEDGE_TRY(ledge__math_need(c, 1, CASTABLE));
    LEDGE_TRY(store_mode(c, &mode));
    ledge__op_set_out(c, 0, c->in[1]->type, c->in[0]->rank, c->in[0]->dims);
    return LEDGE_OK;
}

static LedgeStatus infer_bit_cast(LedgeOpCtx *c)
{
    LedgeType to;
    LedgeTypeSet set = LEDGE_SET_TENSORS & ~LEDGE_SET(STRING);
    LEDGE_TRY(ledge__math_type_attr(c, "to", LEDGE_TYPE_NONE, set, &to));
    LEDGE_TRY(ledge__math_need(c, 0, set));
    LedgeType from = c->in[0]->type;
    if (to == LEDGE_TYPE_NONE)
        return ledge__op_fail(c, LEDGE_ERROR_FORMAT, "attribute to is missing");
    if (from != LEDGE_TYPE_NONE && ledge_type_bits(from) != ledge_type_bits(to))
        return ledge__op_fail(c, LEDGE_ERROR_TYPE, "%s and %s differ in width",
                              ledge_type_name(from), ledge_type_name(to));
    return ledge__math_infer_like_input(c, set, to);
}

static LedgeStatus run_bit_cast(LedgeOpCtx *c)
{
    ledge__math_copy(c->out[0], c->in[0]);
    return LEDGE_OK;
}

const LedgeOp ledge__ops_math_cast[] = {
    {"", "Cast", 6, 0, 0, infer_cast, NULL, run_cast, NULL},
    {"", "CastLike", 15, 0, 0, infer_cast_like, NULL, run_cast, NULL},
    {"", "BitCast", 26, 0, LEDGE_OP_VIEW, infer_bit_cast, NULL, run_bit_cast, NULL},
    {0}};
