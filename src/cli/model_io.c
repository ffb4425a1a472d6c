/* Feeding models, see model_io.h. */
#include "cli/model_io.h"

#include "ledge/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cpu.h"
#include "base/out_file.h"
#include "image/npy.h"
#include "ledge/provider.h"

static int no_memory(void)
{
    return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
}

int cli_open_model(const CliOpen *o, LedgeModel **model)
{
    LedgeError err = {0};
    /* Bytes of pictures are normalised by ledge's own graph: with providers floats go in. */
    const LedgeModelOptions mo = {.cpu = o->cpu,
                                  .no_optimize = o->no_optimize,
                                  .pixels = o->provider ? NULL : o->pixels,
                                  .pixels_arg = o->pixels_arg,
                                  .for_providers = o->provider != NULL};
    LedgeProviderInfo ort;
    *model = NULL;
    const LedgeStatus status = ledge_model_load(o->path, &mo, &err, model);
    if (status == LEDGE_ERROR_UNSUPPORTED && !o->provider && strstr(err.message, "operator") &&
        ledge_provider_probe("ort", NULL, &ort) == LEDGE_OK && ort.status == LEDGE_OK) {
        const size_t n = strlen(err.message);
        snprintf(err.message + n, sizeof err.message - n,
                 "; ONNX Runtime %s is here and may know it: --provider ort", ort.version);
    }
    return status ? cli_fail(o->path, &err) : CLI_GO;
}

int cli_open_session(const CliOpen *o, const char *provider, LedgeModel *model,
                     LedgeSession **session)
{
    LedgeError err = {0};
    const LedgeSessionOptions so = {.threads = (int)o->threads,
                                    .providers = provider,
                                    .provider_options = o->provider_options.items,
                                    .n_provider_options = o->provider_options.n,
                                    .strict = o->strict};
    if (o->provider_options.n && !provider)
        return cli_fail_with(o->path, LEDGE_ERROR_ARGUMENT,
                             "--provider-option without --provider, which names who gets it");
    *session = NULL;
    return ledge_session_create(model, &so, &err, session) ? cli_fail(o->path, &err) : CLI_GO;
}

int cli_open(const CliOpen *o, LedgeModel **model, LedgeSession **session)
{
    *session = NULL;
    int code = cli_open_model(o, model);
    if (code == CLI_GO)
        code = cli_open_session(o, o->provider, *model, session);
    if (code != CLI_GO) {
        ledge_model_free(*model);
        *model = NULL;
    }
    return code;
}

int cli_set_metadata(const char *path, const char *out, const char *key, const char *value)
{
    LedgeError err = {0};
    if (ledge_file_set_metadata(path, out, key, value, &err) == LEDGE_OK)
        return CLI_GO;
    /* an error at another file than the one read is one of writing */
    return strcmp(err.where, path) != 0 && strcmp(err.where, out) == 0 ? cli_fail_writing(out, &err)
                                                                       : cli_fail(path, &err);
}

bool cli_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return a && b && stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

int cli_check_output(const char *in, const char *out)
{
    LedgeError err = {0};
    if (cli_same_file(in, out))
        return cli_fail_with(out, LEDGE_ERROR_ARGUMENT,
                             "is the model that is read; give another file to write");
    return ledge__out_file_try(NULL, out, &err) ? cli_fail_writing(out, &err) : CLI_GO;
}

uint64_t cli_file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

int cli_threads(int64_t asked)
{
    int fast;
    (void)ledge__cpu_cores(&fast);
    return asked ? (int)asked : fast;
}

bool cli_inputs_new(const LedgeModel *m, CliInputs *in)
{
    in->n = ledge_model_input_count(m);
    in->tensors = calloc(in->n + 1, sizeof *in->tensors);
    return in->tensors != NULL;
}

void cli_inputs_free(CliInputs *in)
{
    for (size_t i = 0; in->tensors && i < in->n; i++)
        ledge__npy_free(NULL, &in->tensors[i]);
    free(in->tensors);
    *in = (CliInputs){0};
}

size_t cli_input_index(const LedgeModel *m, const char *name)
{
    const size_t n = ledge_model_input_count(m);
    char list[400] = "";
    for (size_t i = 0; i < n; i++) {
        const char *own = ledge_model_input(m, i)->name;
        const size_t used = strlen(list);
        if (strcmp(own, name) == 0)
            return i;
        snprintf(list + used, sizeof list - used, "%s'%.60s'", i ? ", " : "", own);
    }
    cli_fail_with(NULL, LEDGE_ERROR_NOT_FOUND, "the model has no input '%s'; it has %s", name,
                  n ? list : "none");
    return (size_t)-1;
}

static int load_file(const LedgeModel *m, const char *word, CliInputs *in)
{
    const char *eq = strchr(word, '=');
    const char *file = eq ? eq + 1 : word;
    size_t index = 0;
    LedgeError err = {0};
    if (eq) {
        char *name = strndup(word, (size_t)(eq - word));
        if (!name)
            return no_memory();
        index = cli_input_index(m, name);
        free(name);
        if (index == (size_t)-1)
            return CLI_BAD_INPUT;
    } else {
        while (index < in->n && in->tensors[index].data)
            index++;
    }
    if (index >= in->n || in->tensors[index].data)
        return cli_fail_with(file, LEDGE_ERROR_SHAPE,
                             index >= in->n ? "the model takes %zu inputs; this is one too many"
                                            : "input %zu is given twice",
                             index >= in->n ? in->n : index);
    if (ledge__npy_load(NULL, file, &err, &in->tensors[index]))
        return cli_fail(file, &err);
    return CLI_GO;
}

int cli_inputs_files(const LedgeModel *m, const CliList *words, CliInputs *in)
{
    for (size_t i = 0; i < words->n; i++) {
        const int code = load_file(m, words->items[i], in);
        if (code != CLI_GO)
            return code;
    }
    return CLI_GO;
}

/* ---- shapes and random numbers ---- */

static bool parse_dims(const char *text, LedgeTensorInfo *info)
{
    int32_t rank = 0;
    int64_t dims[LEDGE_MAX_RANK];
    for (const char *p = text; *p;) {
        char *end;
        errno = 0;
        if (rank == LEDGE_MAX_RANK)
            return false;
        dims[rank] = strtoll(p, &end, 10);
        if (errno || end == p || dims[rank++] < 0 || (*end && *end != 'x' && *end != ','))
            return false;
        p = *end ? end + 1 : end;
    }
    if (info->rank >= 0 && rank != info->rank)
        return false;
    for (int32_t i = 0; i < rank && info->rank >= 0; i++)
        if (info->dims[i] >= 0 && info->dims[i] != dims[i])
            return false;
    info->rank = rank;
    memcpy(info->dims, dims, (size_t)rank * sizeof *dims);
    return true;
}

int cli_shapes_apply(const LedgeModel *m, const CliList *words, LedgeTensorInfo *infos)
{
    for (size_t i = 0; i < ledge_model_input_count(m); i++)
        infos[i] = *ledge_model_input(m, i);
    for (size_t i = 0; i < words->n; i++) {
        const char *word = words->items[i], *eq = strrchr(word, '=');
        char *name = eq ? strndup(word, (size_t)(eq - word)) : NULL;
        if (!name)
            return cli_fail_with(NULL, LEDGE_ERROR_ARGUMENT,
                                 "--shape takes NAME=AxBxC, as in --shape input=1x3x224x224");
        const size_t index = cli_input_index(m, name);
        free(name);
        if (index == (size_t)-1)
            return CLI_BAD_INPUT;
        if (!parse_dims(eq + 1, &infos[index]))
            return cli_fail_with(NULL, LEDGE_ERROR_SHAPE, "'%s' does not fit the input's %s",
                                 eq + 1, cli_info_text(ledge_model_input(m, index)));
    }
    for (size_t i = 0; i < ledge_model_input_count(m); i++)
        for (int32_t d = 0; d < infos[i].rank; d++)
            infos[i].dims[d] = infos[i].dims[d] < 0 ? 1 : infos[i].dims[d];
    return CLI_GO;
}

static uint64_t next_random(uint64_t *state)
{
    /* splitmix64, by its published constants */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* From -1 to 1 in steps of 2^-23, two of each number's halves. */
static void fill_floats(float *to, int64_t count, uint64_t seed)
{
    for (int64_t i = 0; i < count; i += 2) {
        const uint64_t bits = next_random(&seed);
        to[i] = (float)((int32_t)bits >> 8) * 0x1p-23f;
        if (i + 1 < count)
            to[i + 1] = (float)((int32_t)(bits >> 32) >> 8) * 0x1p-23f;
    }
}

static void fill_random(LedgeTensor *t, int64_t count, uint64_t seed)
{
    const unsigned width = ledge_type_bits(t->type) / 8;
    for (int64_t i = 0; i < count; i++) {
        const uint64_t bits = next_random(&seed);
        if (t->type == LEDGE_DOUBLE)
            ((double *)t->data)[i] = (double)(bits >> 11) / 9007199254740992.0 * 2 - 1;
        else if (t->type == LEDGE_FLOAT16) /* ±[0.5, 1): any fraction, one exponent */
            ((uint16_t *)t->data)[i] = (uint16_t)((bits & 0x83ff) | 14 << 10);
        else if (t->type == LEDGE_BFLOAT16)
            ((uint16_t *)t->data)[i] = (uint16_t)((bits & 0x807f) | 126 << 7);
        else if (t->type == LEDGE_UINT8 || t->type == LEDGE_INT8)
            ((uint8_t *)t->data)[i] = (uint8_t)bits;
        else /* small, as token numbers, masks and indices must be */
            ((uint8_t *)t->data)[i * width] = bits & 1;
    }
}

static LedgeStatus random_input(const LedgeTensorInfo *info, uint64_t seed, LedgeError *err,
                                LedgeTensor *out)
{
    LedgeTensor t = {.type = info->type, .rank = info->rank};
    if (info->rank < 0)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, NULL,
                           "input '%s' has no known rank; give --shape %s=... or --input",
                           info->name, info->name);
    if (!cli_is_number(info->type))
        return ledge__fail(err, LEDGE_ERROR_TYPE, NULL,
                           "input '%s' is %s, which random numbers cannot fill; give it by "
                           "--input %s=FILE.npy",
                           info->name, ledge_type_name(info->type), info->name);
    memcpy(t.dims, info->dims, sizeof t.dims);
    t.bytes = ledge_tensor_bytes(&t);
    t.data = t.bytes == SIZE_MAX ? NULL : ledge__calloc(NULL, t.bytes, 1);
    if (!t.data)
        return ledge__no_memory(err);
    if (t.type == LEDGE_FLOAT) /* the usual case, which counts in a cold start */
        fill_floats(t.data, ledge_tensor_count(&t), seed);
    else
        fill_random(&t, ledge_tensor_count(&t), seed);
    *out = t;
    return LEDGE_OK;
}

LedgeStatus cli_inputs_fill(const LedgeTensorInfo *infos, uint64_t seed, LedgeError *err,
                            CliInputs *in)
{
    for (size_t i = 0; i < in->n; i++)
        if (!in->tensors[i].data)
            LEDGE_TRY(random_input(&infos[i], seed + i, err, &in->tensors[i]));
    return LEDGE_OK;
}

int cli_inputs_random(const LedgeModel *m, const CliList *shapes, uint64_t seed, CliInputs *in)
{
    LedgeError err = {0};
    LedgeTensorInfo *infos = calloc(in->n + 1, sizeof *infos);
    if (!infos)
        return no_memory();
    int code = cli_shapes_apply(m, shapes, infos);
    if (code == CLI_GO && cli_inputs_fill(infos, seed, &err, in))
        code = cli_fail(NULL, &err);
    free(infos);
    return code;
}
