/* A provider of one's own, as a chip's vendor would begin: it runs Conv, and leaves all else.
 *
 * Each convolution becomes a matrix product: the pixels under the kernel are laid out as columns
 * (im2col), and the product is cblas_sgemm of OpenBLAS where the build found it, else the plain
 * loops below. Weights are copied to "device" memory when the model is compiled; inputs and outputs
 * are copied there and back on each run, as an accelerator with memory of its own would have it.
 *
 *   cc -shared -fPIC provider_blas.c -o provider_blas.so $(pkg-config --cflags ledge) \
 *      -DHAVE_OPENBLAS $(pkg-config --cflags --libs openblas)
 *   ledge run model.onnx photo.jpg --provider ./provider_blas.so,cpu
 *
 * Options: memory_limit (bytes of device memory, 0: none). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledge/provider.h"

#ifdef HAVE_OPENBLAS
#include <cblas.h>
#define PRODUCT "OpenBLAS"
#else
#define PRODUCT "plain C"
#endif

#define EXPORT __attribute__((visibility("default")))

static LedgeStatus fail(LedgeError *e, LedgeStatus status, const char *what, const char *which)
{
    if (e) {
        e->status = status;
        e->where[0] = '\0';
        snprintf(e->message, sizeof e->message, "%s%s", what, which);
    }
    return status;
}

/* A provider calls nothing of ledge's: it is loaded by programs that have ledge inside. */
static size_t count(const LedgeTensor *t)
{
    size_t n = 1;
    for (int32_t d = 0; d < t->rank; d++)
        n *= (size_t)t->dims[d];
    return n;
}

/* ---- the device ---- */

typedef struct Device {
    size_t memory_limit, memory_used;
} Device;

static void *device_alloc(Device *d, size_t bytes)
{
    if (d->memory_limit && (bytes > d->memory_limit || d->memory_used > d->memory_limit - bytes))
        return NULL;
    void *p = malloc(bytes ? bytes : 1);
    d->memory_used += p ? bytes : 0;
    return p;
}

static void device_free(Device *d, void *p, size_t bytes)
{
    d->memory_used -= p ? bytes : 0;
    free(p);
}

/* C [m,n] = A [m,k] times B [k,n] */
static void product(const float *a, const float *b, float *c, int m, int n, int k)
{
#ifdef HAVE_OPENBLAS
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, a, k, b, n, 0, c, n);
#else
    for (int i = 0; i < m; i++) {
        memset(c + (size_t)i * (size_t)n, 0, (size_t)n * sizeof *c);
        for (int p = 0; p < k; p++) {
            const float w = a[(size_t)i * (size_t)k + (size_t)p];
            for (int j = 0; j < n; j++)
                c[(size_t)i * (size_t)n + (size_t)j] += w * b[(size_t)p * (size_t)n + (size_t)j];
        }
    }
#endif
}

/* ---- convolutions ---- */

typedef struct Conv {
    int kernel[2], stride[2], dilation[2], pad[4]; /* pad: top, left, bottom, right */
    int group, channels, in_per_group;             /* channels: that it makes */
    float *weights, *bias;                         /* on the device; bias may be NULL */
    size_t n_weights;
    int32_t in, out; /* value indices */
} Conv;

/* A part of the model: its convolutions in order, and the values between them. */
typedef struct Program {
    Device *device;
    const LedgeProviderGraph *graph; /* lives as long as the program */
    Conv *convs;
    size_t n_convs;
    float **memory;     /* per value: its copy on the device in this run */
    int64_t (*dims)[4]; /* per value: N, C, H, W in this run */
    float *columns;
    size_t columns_bytes;
    float **results; /* per output: host memory where the caller gave none */
} Program;

static const LedgeProviderAttribute *attribute(const LedgeProviderNode *n, const char *name)
{
    for (size_t i = 0; i < n->n_attributes; i++)
        if (strcmp(n->attributes[i].name, name) == 0)
            return &n->attributes[i];
    return NULL;
}

static int number(const LedgeProviderNode *n, const char *name, size_t i, int absent)
{
    const LedgeProviderAttribute *a = attribute(n, name);
    return a && a->type == LEDGE_ATTRIBUTE_INTS && i < a->count ? (int)a->ints[i] : absent;
}

static const LedgeTensor *input(const LedgeProviderGraph *g, const LedgeProviderNode *n, size_t i)
{
    return i < n->n_inputs && n->inputs[i] >= 0 ? &g->values[n->inputs[i]].tensor : NULL;
}

/* Why a node is left to others; NULL: this provider takes it. */
static const char *why_not(const LedgeProviderGraph *g, const LedgeProviderNode *n)
{
    const LedgeProviderAttribute *pad = attribute(n, "auto_pad");
    if (strcmp(n->domain, "") != 0 || strcmp(n->op_type, "Conv") != 0)
        return "this provider runs Conv alone";
    const LedgeTensor *x = input(g, n, 0), *w = input(g, n, 1), *b = input(g, n, 2);
    if (!x || x->type != LEDGE_FLOAT || x->rank != 4 || !w || w->rank != 4)
        return "it is no two-dimensional float32 convolution";
    if (x->data)
        return "its input is a constant";
    if (!w->data || (b && !b->data))
        return "its weights are no constants";
    if (pad && strcmp(pad->s, "NOTSET") != 0)
        return "auto_pad is not done here";
    return NULL;
}

static LedgeStatus claim(void *instance, const LedgeProviderGraph *g, bool *takes,
                         const char **reasons, LedgeError *error)
{
    (void)instance, (void)error;
    for (size_t i = 0; i < g->n_nodes; i++) {
        reasons[i] = g->nodes[i].offered ? why_not(g, &g->nodes[i]) : "it was not offered";
        takes[i] = reasons[i] == NULL;
    }
    return LEDGE_OK;
}

/* ---- compile ---- */

static float *to_device(Device *d, const LedgeTensor *t)
{
    const size_t bytes = count(t) * sizeof(float);
    float *p = device_alloc(d, bytes);
    if (p)
        memcpy(p, t->data, bytes); /* which need not be aligned */
    return p;
}

static LedgeStatus compile_conv(Program *p, const LedgeProviderNode *n, Conv *c)
{
    const LedgeTensor *w = input(p->graph, n, 1), *b = input(p->graph, n, 2);
    const LedgeProviderAttribute *group = attribute(n, "group");
    for (size_t i = 0; i < 2; i++) {
        c->kernel[i] = (int)w->dims[2 + i];
        c->stride[i] = number(n, "strides", i, 1);
        c->dilation[i] = number(n, "dilations", i, 1);
    }
    for (size_t i = 0; i < 4; i++)
        c->pad[i] = number(n, "pads", i, 0);
    c->group = group ? (int)group->i : 1;
    c->channels = (int)w->dims[0];
    c->in_per_group = (int)w->dims[1];
    c->in = n->inputs[0];
    c->out = n->outputs[0];
    c->n_weights = count(w);
    c->weights = to_device(p->device, w);
    c->bias = b ? to_device(p->device, b) : NULL;
    return c->weights && (c->bias || !b) ? LEDGE_OK : LEDGE_ERROR_MEMORY;
}

static void program_free(void *program)
{
    Program *p = program;
    for (size_t i = 0; p->convs && i < p->n_convs; i++) {
        device_free(p->device, p->convs[i].weights, p->convs[i].n_weights * sizeof(float));
        device_free(p->device, p->convs[i].bias, (size_t)p->convs[i].channels * sizeof(float));
    }
    for (size_t i = 0; p->results && i < p->graph->n_outputs; i++)
        free(p->results[i]);
    free(p->results);
    free(p->columns);
    free(p->convs);
    free(p->memory);
    free(p->dims);
    free(p);
}

static LedgeStatus compile(void *instance, const LedgeProviderGraph *part, LedgeError *error,
                           void **program)
{
    Program *p = calloc(1, sizeof *p);
    LedgeStatus status = p ? LEDGE_OK : LEDGE_ERROR_MEMORY;
    if (p) {
        p->device = instance;
        p->graph = part;
        p->convs = calloc(part->n_nodes + 1, sizeof *p->convs);
        p->memory = calloc(part->n_values + 1, sizeof *p->memory);
        p->dims = calloc(part->n_values + 1, sizeof *p->dims);
        p->results = calloc(part->n_outputs + 1, sizeof *p->results);
        if (!p->convs || !p->memory || !p->dims || !p->results)
            status = LEDGE_ERROR_MEMORY;
    }
    for (size_t i = 0; status == LEDGE_OK && i < part->n_nodes; i++)
        status = compile_conv(p, &part->nodes[i], &p->convs[p->n_convs++]);
    if (status == LEDGE_OK) {
        *program = p;
        return LEDGE_OK;
    }
    if (p)
        program_free(p);
    return fail(error, status, "the weights do not fit the device's memory", "");
}

/* ---- run ---- */

static size_t elements(const int64_t *dims)
{
    return (size_t)(dims[0] * dims[1] * dims[2] * dims[3]);
}

static int64_t span(const Conv *c, const int64_t *in, int axis)
{
    const int64_t reach = (int64_t)c->dilation[axis] * (c->kernel[axis] - 1) + 1;
    const int64_t room = in[2 + axis] + c->pad[axis] + c->pad[axis + 2] - reach;
    return room < 0 ? 0 : room / c->stride[axis] + 1;
}

/* Column j holds the pixels under the kernel at output position j; outside the picture it is 0. */
static void fill_columns(const Conv *c, const float *x, const int64_t *in, const int64_t *out,
                         float *columns)
{
    const int64_t n = out[2] * out[3];
    for (int ch = 0; ch < c->in_per_group; ch++)
        for (int ky = 0; ky < c->kernel[0]; ky++)
            for (int kx = 0; kx < c->kernel[1]; kx++, columns += n)
                for (int64_t oy = 0; oy < out[2]; oy++)
                    for (int64_t ox = 0; ox < out[3]; ox++) {
                        const int64_t y = oy * c->stride[0] - c->pad[0] + ky * c->dilation[0];
                        const int64_t z = ox * c->stride[1] - c->pad[1] + kx * c->dilation[1];
                        const int inside = y >= 0 && y < in[2] && z >= 0 && z < in[3];
                        columns[oy * out[3] + ox] = inside ? x[(ch * in[2] + y) * in[3] + z] : 0;
                    }
}

static LedgeStatus reserve_columns(Program *p, size_t bytes)
{
    if (bytes <= p->columns_bytes)
        return LEDGE_OK;
    free(p->columns);
    p->columns = malloc(bytes);
    p->columns_bytes = p->columns ? bytes : 0;
    return p->columns ? LEDGE_OK : LEDGE_ERROR_MEMORY;
}

static LedgeStatus run_conv(Program *p, const Conv *c)
{
    const int64_t *in = p->dims[c->in];
    int64_t *out = p->dims[c->out];
    out[0] = in[0];
    out[1] = c->channels;
    out[2] = span(c, in, 0);
    out[3] = span(c, in, 1);
    const int k = c->in_per_group * c->kernel[0] * c->kernel[1], m = c->channels / c->group;
    const int64_t n = out[2] * out[3];
    float *y = p->memory[c->out] = device_alloc(p->device, elements(out) * sizeof(float));
    if (!y || reserve_columns(p, (size_t)k * (size_t)n * sizeof(float)))
        return LEDGE_ERROR_MEMORY;
    const float *x = p->memory[c->in];
    for (int64_t i = 0; i < in[0] * c->group; i++, y += m * n) {
        const int64_t g = i % c->group;
        fill_columns(c, x + i * c->in_per_group * in[2] * in[3], in, out, p->columns);
        product(c->weights + g * m * k, p->columns, y, m, (int)n, k);
        for (int64_t j = 0; c->bias && j < m * n; j++)
            y[j] += c->bias[g * m + j / n];
    }
    return LEDGE_OK;
}

static LedgeStatus copy_in(Program *p, const LedgeTensor *inputs)
{
    for (size_t i = 0; i < p->graph->n_inputs; i++) {
        const int32_t v = p->graph->inputs[i];
        memcpy(p->dims[v], inputs[i].dims, sizeof p->dims[v]);
        p->memory[v] = to_device(p->device, &inputs[i]);
        if (!p->memory[v])
            return LEDGE_ERROR_MEMORY;
    }
    return LEDGE_OK;
}

static LedgeStatus copy_out(Program *p, LedgeTensor *outputs)
{
    for (size_t i = 0; i < p->graph->n_outputs; i++) {
        const int32_t v = p->graph->outputs[i];
        const size_t bytes = elements(p->dims[v]) * sizeof(float);
        LedgeTensor *to = &outputs[i];
        if (!to->data) {
            float *own = realloc(p->results[i], bytes + 1);
            if (!own)
                return LEDGE_ERROR_MEMORY;
            *to = (LedgeTensor){.type = LEDGE_FLOAT, .rank = 4, .data = own};
            memcpy(to->dims, p->dims[v], sizeof p->dims[v]);
            p->results[i] = own;
        } else if (to->bytes < bytes) {
            return LEDGE_ERROR_SHAPE;
        }
        memcpy(to->data, p->memory[v], bytes);
    }
    return LEDGE_OK;
}

static LedgeStatus run(void *program, const LedgeTensor *inputs, LedgeTensor *outputs,
                       LedgeError *error)
{
    Program *p = program;
    LedgeStatus status = copy_in(p, inputs);
    for (size_t i = 0; i < p->n_convs && status == LEDGE_OK; i++)
        status = run_conv(p, &p->convs[i]);
    if (status == LEDGE_OK)
        status = copy_out(p, outputs);
    for (size_t v = 0; v < p->graph->n_values; v++) {
        device_free(p->device, p->memory[v], elements(p->dims[v]) * sizeof(float));
        p->memory[v] = NULL;
    }
    return status ? fail(error, status, "the device has no memory left for this input", "")
                  : status;
}

/* ---- the provider ---- */

static const LedgeProviderOption options[] = {
    {"memory_limit", "0", "bytes of device memory; 0: as much as there is"},
};

static LedgeStatus probe(LedgeError *error)
{
    const char *missing = getenv("PROVIDER_BLAS_MISSING"); /* to see how a missing device is told */
    return missing ? fail(error, LEDGE_ERROR_PROVIDER, "no device: ", missing) : LEDGE_OK;
}

static LedgeStatus open_device(const LedgeProviderSetup *setup, LedgeError *error, void **instance)
{
    Device *d = calloc(1, sizeof *d);
    if (!d)
        return fail(error, LEDGE_ERROR_MEMORY, "no memory", "");
    for (size_t i = 0; i < setup->n_settings; i++)
        if (strcmp(setup->settings[i].key, "memory_limit") == 0)
            d->memory_limit = strtoull(setup->settings[i].value, NULL, 10);
#ifdef HAVE_OPENBLAS
    openblas_set_num_threads(setup->threads);
#endif
    *instance = d;
    return LEDGE_OK;
}

static const LedgeProvider provider = {
    .abi = LEDGE_PROVIDER_ABI,
    .size = sizeof(LedgeProvider),
    .name = "blas",
    .version = "1.0 (" PRODUCT ")",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .probe = probe,
    .open = open_device,
    .close = free,
    .claim = claim,
    .compile = compile,
    .run = run,
    .program_free = program_free,
};

EXPORT const LedgeProvider *ledge_provider_get(uint32_t abi);
EXPORT const LedgeProvider *ledge_provider_get(uint32_t abi)
{
    return abi >= LEDGE_PROVIDER_ABI ? &provider : NULL;
}
