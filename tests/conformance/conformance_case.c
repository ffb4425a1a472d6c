/* Runs one ONNX backend test case: loads model.onnx, feeds input_*.pb, compares what comes out
 * with output_*.pb as onnx's own runner does: equal types and shapes, integers and strings
 * exactly, floats within rtol 1e-3 and atol 1e-7 (bfloat16: two of its steps), NaN equal to NaN.
 * Models that draw random numbers are compared by type and shape only, since the standard leaves
 * their values open. */
#include "conformance.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/kernels/ref/convert.h"
#include "engine/onnx/onnx.h"
#include "ledge/ledge.h"

#define MAX_VALUES 64

static void verdict(CaseResult *r, Outcome outcome, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void verdict(CaseResult *r, Outcome outcome, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    r->outcome = outcome;
    vsnprintf(r->detail, sizeof r->detail, fmt, args);
    va_end(args);
}

/* ---- comparing ---- */

static bool differ(CaseResult *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Notes the first difference; always false. */
static bool differ(CaseResult *r, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    r->outcome = CASE_WRONG;
    vsnprintf(r->detail, sizeof r->detail, fmt, args);
    va_end(args);
    return false;
}

static bool close_enough(double got, double want, double rtol)
{
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got);
    if (isinf(want) || isinf(got))
        return got == want;
    return fabs(got - want) <= 1e-7 + rtol * fabs(want);
}

/* The whole tensor's squared error over its squares is that of one float32 rounding. Sums that
 * cancel (a transform's zeros) leave noise of that size, which no per-element bound allows. */
static bool is_rounding_noise(LedgeType type, const void *got, const void *want, size_t n)
{
    double error = 0, power = 0;
    for (size_t i = 0; i < n; i++) {
        double g, w;
        ledge__load_f64(type, got, i, 1, &g);
        ledge__load_f64(type, want, i, 1, &w);
        error += (g - w) * (g - w);
        power += w * w;
    }
    return error <= 1e-14 * power;
}

static bool same_floats(const char *name, LedgeType type, const void *got, const void *want,
                        size_t n, CaseResult *r)
{
    double rtol = type == LEDGE_BFLOAT16 ? 0x1p-6 : 1e-3;
    for (size_t i = 0; i < n; i++) {
        double g, w;
        ledge__load_f64(type, got, i, 1, &g);
        ledge__load_f64(type, want, i, 1, &w);
        if (!close_enough(g, w, rtol))
            return is_rounding_noise(type, got, want, n) ||
                   differ(r, "%s[%zu] is %.9g, must be %.9g (%s)", name, i, g, w,
                          ledge_type_name(type));
    }
    return true;
}

static bool same_complex(const char *name, LedgeType type, const void *got, const void *want,
                         size_t n, CaseResult *r)
{
    return same_floats(name, type == LEDGE_COMPLEX64 ? LEDGE_FLOAT : LEDGE_DOUBLE, got, want,
                       2 * n, r);
}

static bool same_integers(const char *name, LedgeType type, const void *got, const void *want,
                          size_t n, CaseResult *r)
{
    for (size_t i = 0; i < n; i++) {
        int64_t g, w;
        ledge__load_i64(type, got, i, 1, &g);
        ledge__load_i64(type, want, i, 1, &w);
        if (g != w)
            return differ(r, "%s[%zu] is %lld, must be %lld (%s)", name, i, (long long)g,
                          (long long)w, ledge_type_name(type));
    }
    return true;
}

static bool same_strings(const char *name, const LedgeString *got, const LedgeString *want,
                         size_t n, CaseResult *r)
{
    for (size_t i = 0; i < n; i++)
        if (got[i].size != want[i].size ||
            (got[i].size && memcmp(got[i].data, want[i].data, got[i].size) != 0))
            return differ(r, "%s[%zu] is \"%.*s\", must be \"%.*s\"", name, i,
                          (int)(got[i].size < 60 ? got[i].size : 60), got[i].data,
                          (int)(want[i].size < 60 ? want[i].size : 60), want[i].data);
    return true;
}

static bool same_shape(const char *name, const LedgeTensor *got, const LedgeTensor *want,
                       CaseResult *r)
{
    if (got->type != want->type)
        return differ(r, "%s is of type %s, must be %s", name, ledge_type_name(got->type),
                      ledge_type_name(want->type));
    if (got->rank != want->rank)
        return differ(r, "%s has rank %d, must have %d", name, got->rank, want->rank);
    for (int32_t d = 0; d < want->rank; d++)
        if (got->dims[d] != want->dims[d])
            return differ(r, "%s has %lld in dimension %d, must have %lld", name,
                          (long long)got->dims[d], d, (long long)want->dims[d]);
    return true;
}

static bool same_value(const char *name, const LedgeTensor *got, const LedgeTensor *want,
                       bool shapes_only, CaseResult *r)
{
    if (want->type == LEDGE_SEQUENCE || want->type == LEDGE_OPTIONAL) {
        if (got->type != want->type || got->dims[0] != want->dims[0])
            return differ(r, "%s is a %s of %lld, must be a %s of %lld", name,
                          ledge_type_name(got->type), (long long)got->dims[0],
                          ledge_type_name(want->type), (long long)want->dims[0]);
        for (int64_t i = 0; i < want->dims[0]; i++)
            if (!same_value(name, (const LedgeTensor *)got->data + i,
                            (const LedgeTensor *)want->data + i, shapes_only, r))
                return false;
        return true;
    }
    if (!same_shape(name, got, want, r))
        return false;
    int64_t n = ledge_tensor_count(want);
    if (shapes_only || n <= 0)
        return true;
    if (!got->data)
        return differ(r, "%s has no data", name);
    if (want->type == LEDGE_STRING)
        return same_strings(name, got->data, want->data, (size_t)n, r);
    if (want->type == LEDGE_COMPLEX64 || want->type == LEDGE_COMPLEX128)
        return same_complex(name, want->type, got->data, want->data, (size_t)n, r);
    if (ledge__num_is_float(want->type))
        return same_floats(name, want->type, got->data, want->data, (size_t)n, r);
    return same_integers(name, want->type, got->data, want->data, (size_t)n, r);
}

/* ---- reading ---- */

static const OnnxType *type_of(const OnnxValueInfo *infos, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (ledge__str_eq(infos[i].name, name))
            return &infos[i].type;
    return NULL;
}

/* Whole file into the arena, which zeroes and aligns; false: no such file. */
static bool read_file(LedgeArena *arena, const char *path, char **bytes, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    bool ok = false;
    long n;
    if (fseek(f, 0, SEEK_END) == 0 && (n = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0) {
        *bytes = ledge__arena_alloc(arena, (size_t)n + 1, 1);
        *size = (size_t)n;
        ok = *bytes && fread(*bytes, 1, *size, f) == *size;
    }
    fclose(f);
    return ok;
}

static bool read_value(LedgeArena *arena, const char *dir, int set, const char *what, size_t i,
                       const OnnxType *type, LedgeTensor *out, CaseResult *r)
{
    char path[4096], *bytes;
    size_t size;
    LedgeError err = {0};
    snprintf(path, sizeof path, "%s/test_data_set_%d/%s_%zu.pb", dir, set, what, i);
    if (!read_file(arena, path, &bytes, &size))
        return differ(r, "cannot read %s", path);
    if (ledge__onnx_read_value(arena, type, bytes, size, &err, out) != LEDGE_OK)
        return differ(r, "%s_%zu.pb: %s", what, i, err.message);
    size_t need = ledge_tensor_bytes(out);
    if (need == 0 || need == SIZE_MAX || !out->data)
        return true;
    /* The bytes lie in the file at any address; a caller of the API aligns its tensors. */
    void *aligned = ledge__arena_alloc(arena, need > 4096 ? need : 4096, 1);
    if (!aligned)
        return differ(r, "out of memory");
    memcpy(aligned, out->data, need);
    out->data = aligned;
    out->bytes = need;
    return true;
}

/* ---- running ---- */

static bool draws_random(const OnnxNode *nodes, size_t n)
{
    static const char *const names[] = {"Bernoulli",        "RandomNormal",      "RandomUniform",
                                        "RandomNormalLike", "RandomUniformLike", "Multinomial"};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
            if (ledge__str_eq(nodes[i].op_type, names[k]))
                return true;
    return false;
}

/* A refusal is fine when it says UNSUPPORTED; any other error on a valid model is wrong. */
static void refused(CaseResult *r, LedgeStatus status, const LedgeError *err, const char *when)
{
    verdict(r, status == LEDGE_ERROR_UNSUPPORTED ? CASE_UNSUPPORTED : CASE_WRONG,
            "%s: %s%s%s [%s]", when, err->where, err->where[0] ? ": " : "", err->message,
            ledge_status_text(status));
}

static void run_set(const char *dir, int set, const OnnxModel *onnx, LedgeModel *model,
                    LedgeSession *session, LedgeArena *arena, CaseResult *r)
{
    LedgeTensor in[MAX_VALUES] = {{0}}, out[MAX_VALUES] = {{0}}, want;
    LedgeError err = {0};
    size_t n_in = ledge_model_input_count(model), n_out = ledge_model_output_count(model);
    for (size_t i = 0; i < n_in; i++)
        if (!read_value(arena, dir, set, "input", i,
                        type_of(onnx->graph.inputs, onnx->graph.n_inputs,
                                ledge_model_input(model, i)->name),
                        &in[i], r))
            return;
    LedgeStatus status = ledge_session_run(session, in, n_in, out, n_out, &err);
    if (status != LEDGE_OK) {
        refused(r, status, &err, "run");
        return;
    }
    bool random = draws_random(onnx->graph.nodes, onnx->graph.n_nodes);
    for (size_t i = 0; i < n_out; i++) {
        const char *name = ledge_model_output(model, i)->name;
        if (!read_value(arena, dir, set, "output", i,
                        type_of(onnx->graph.outputs, onnx->graph.n_outputs, name), &want, r) ||
            !same_value(name, &out[i], &want, random, r))
            return;
    }
    r->outcome = random ? CASE_PASS_SHAPES : CASE_PASS;
}

static void run_loaded(const char *dir, const OnnxModel *onnx, LedgeModel *model,
                       const CaseOptions *options, CaseResult *r)
{
    LedgeSessionOptions so = {.threads = options->threads};
    LedgeSession *session = NULL;
    LedgeError err = {0};
    if (ledge_model_input_count(model) > MAX_VALUES ||
        ledge_model_output_count(model) > MAX_VALUES) {
        verdict(r, CASE_WRONG, "more than %d inputs or outputs", MAX_VALUES);
        return;
    }
    LedgeStatus status = ledge_session_create(model, &so, &err, &session);
    if (status != LEDGE_OK) {
        refused(r, status, &err, "session");
        return;
    }
    verdict(r, CASE_WRONG, "no test data");
    for (int set = 0; set < 100; set++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/test_data_set_%d", dir, set);
        if (access(path, F_OK) != 0)
            break;
        r->detail[0] = 0;
        LedgeArena *arena = ledge__arena_new(NULL);
        if (arena)
            run_set(dir, set, onnx, model, session, arena, r);
        ledge__arena_free(arena);
        if (r->outcome > CASE_PASS_SHAPES)
            break;
    }
    ledge_session_free(session);
}

void conformance_case(const char *dir, const CaseOptions *options, CaseResult *r)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/model.onnx", dir);
    OnnxModel *onnx = NULL;
    LedgeModel *model = NULL;
    LedgeError err = {0};
    LedgeModelOptions mo = {.no_optimize = options->no_optimize};
    memset(r, 0, sizeof *r);
    LedgeStatus status = ledge__onnx_read_file(NULL, path, &err, &onnx);
    if (status != LEDGE_OK) {
        refused(r, status, &err, "read");
        return;
    }
    int64_t opset = ledge__onnx_opset(onnx, "");
    if (opset > ONNX_MAX_OPSET || (opset != 0 && opset < ONNX_MIN_OPSET)) {
        verdict(r, CASE_OUT_OF_RANGE, "opset %lld", (long long)opset);
    } else {
        status = ledge_model_load(path, &mo, &err, &model);
        if (status != LEDGE_OK)
            refused(r, status, &err, "load");
        else
            run_loaded(dir, onnx, model, options, r);
    }
    ledge_model_free(model);
    ledge__onnx_free(onnx);
}
