/* A guest that classifies pictures: JSON in, JSON out, with preparation, inference and top-k inside
 * the sandbox. The model is the host's, by name; how pictures are prepared for it and what its
 * classes are called it says itself (metadata ledge.preprocess and ledge.labels).
 *
 *   clang --target=wasm32-wasi -O2 -Iinclude examples/guest_classify.c -o classify.wasm
 *   ledge wasm build classify.wasm -o classify.lwm
 *   ledge wasm run classify.lwm --nn-preload net=model.onnx --dir photos:/in:ro -- net /in/a.ppm
 *
 * With -mexec-model=reactor -DREACTOR it exports, for a host that keeps the instance:
 *   edge_alloc(size) -> ptr   edge_infer(ptr, len) -> ptr of JSON, ended by a NUL   edge_free(ptr)
 * Request:  {"image_data": base64 or [numbers], "width", "height", "model_id",
 *            "confidence_threshold", "top_k"}; image_data is RGB, 3 bytes a pixel.
 * Response: {"predictions": [{"class_id", "label", "confidence"}], "latency_ms", "model_version",
 *            "runtime"}, or {"error": sentence}. */
#include <time.h>

#include "ledge/guest/guest_image.h"
#include "ledge/guest/guest_nn.h"

#define EXPORT(name) __attribute__((export_name(name)))

enum { MOST_SIDE = 16384, MOST_NAME = 64, MOST_TOP = 100 };

/* ---- the model ---- */

typedef struct Model {
    char name[MOST_NAME + 1];
    nn_graph graph;
    nn_context context;
    char *labels, *version; /* texts, or NULL */
    GuestPrepare prepare;
} Model;

static Model model; /* the last one used stays open */
static char problem[600];

static bool fails(const char *what, nn_errno e)
{
    char why[512] = "";
    uint32_t n = 0;
    if (!e)
        return false;
    if (nn_last_error(why, sizeof why - 1, &n) == NN_GUEST_SUCCESS)
        why[n < sizeof why - 1 ? n : sizeof why - 1] = '\0';
    snprintf(problem, sizeof problem, "%s: errno %u: %s", what, (unsigned)e, why);
    return true;
}

static char *metadata(nn_graph graph, const char *key)
{
    uint32_t n = 0;
    const uint32_t key_size = (uint32_t)strlen(key);
    if (nn_metadata(graph, key, key_size, NULL, 0, &n) != NN_GUEST_TOO_LARGE)
        return NULL;
    char *text = malloc((size_t)n + 1);
    if (text && nn_metadata(graph, key, key_size, text, n, &n) == NN_GUEST_SUCCESS) {
        text[n] = '\0';
        return text;
    }
    free(text);
    return NULL;
}

static void close_model(void)
{
    if (!model.name[0])
        return;
    nn_finalize_execution_context(model.context);
    nn_unload(model.graph);
    free(model.labels);
    free(model.version);
    memset(&model, 0, sizeof model);
}

static bool read_model(Model *m)
{
    uint32_t dims[8] = {0}, rank = 0;
    if (fails("shape", nn_tensor_shape(m->graph, 0, 0, dims, 8, &rank)))
        return false;
    if (rank != 4) {
        snprintf(problem, sizeof problem, "the model's input has %u dimensions, a picture 4",
                 (unsigned)rank);
        return false;
    }
    char *how = metadata(m->graph, "ledge.preprocess");
    const GuestJson o = {how, how ? how + strlen(how) : NULL};
    const bool nhwc = dims[3] == 3 && dims[1] != 3;
    const uint32_t h = dims[nhwc ? 1 : 2], w = dims[nhwc ? 2 : 3];
    const bool fixed = h != UINT32_MAX && w != UINT32_MAX;
    m->prepare = guest_prepare_read(o, fixed ? h : 0, fixed ? w : 0);
    if (dims[1] == 3 || dims[3] == 3)
        m->prepare.nhwc = nhwc;
    free(how);
    m->labels = metadata(m->graph, "ledge.labels");
    m->version = metadata(m->graph, "version");
    return true;
}

static bool open_model(const char *name)
{
    Model m = {.graph = 0};
    if (strcmp(model.name, name) == 0)
        return true;
    close_model();
    if (fails("load_by_name", nn_load_by_name(name, (uint32_t)strlen(name), &m.graph)))
        return false;
    if (!fails("init_execution_context", nn_init_execution_context(m.graph, &m.context))) {
        if (read_model(&m)) {
            snprintf(m.name, sizeof m.name, "%s", name);
            model = m;
            return true;
        }
        nn_finalize_execution_context(m.context);
    }
    nn_unload(m.graph);
    return false;
}

/* Scores of a picture, by malloc. */
static float *score(const uint8_t *rgb, uint32_t width, uint32_t height, uint32_t *n)
{
    uint32_t dims[4], shape[8], rank = 0, bytes = 0;
    size_t count = 1;
    float *scores = NULL, *in = guest_prepare(&model.prepare, rgb, width, height, dims);
    if (!in) {
        snprintf(problem, sizeof problem, "the picture is too small for the crop, or too large");
        return NULL;
    }
    const nn_tensor t = {dims, 4, NN_TYPE_F32, (const uint8_t *)in,
                         dims[0] * dims[1] * dims[2] * dims[3] * 4};
    if (!fails("set_input", nn_set_input(model.context, 0, &t)) &&
        !fails("compute", nn_compute(model.context)) &&
        !fails("output_shape", nn_output_shape(model.context, 0, shape, 8, &rank))) {
        for (uint32_t d = 0; d < rank; d++)
            count *= shape[d];
        scores = malloc(count * sizeof *scores + 4);
    }
    free(in);
    if (scores && fails("get_output", nn_get_output(model.context, 0, (uint8_t *)scores,
                                                    (uint32_t)count * 4, &bytes))) {
        free(scores);
        return NULL;
    }
    *n = (uint32_t)count;
    return scores;
}

/* ---- the answer ---- */

static char *failure(void)
{
    GuestText t = {0};
    guest_put_text(&t, "{\"error\":");
    guest_put_string(&t, problem, strlen(problem));
    guest_put_text(&t, "}");
    return t.p;
}

static char *answer(const float *scores, uint32_t n, float threshold, uint32_t k, double ms)
{
    GuestText t = {0};
    char line[96];
    guest_put_text(&t, "{");
    guest_put_predictions(&t, scores, n, model.labels, threshold, k);
    snprintf(line, sizeof line, ",\"latency_ms\":%.3f,\"model_version\":", ms);
    guest_put_text(&t, line);
    guest_put_string(&t, model.version ? model.version : "",
                     model.version ? strlen(model.version) : 0);
    guest_put_text(&t, ",\"runtime\":\"wasi-nn\"}");
    return t.p;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static char *classify(const uint8_t *rgb, uint32_t width, uint32_t height, const char *name,
                      float threshold, uint32_t k)
{
    uint32_t n = 0;
    const double begin = now_ms();
    problem[0] = '\0';
    float *scores = open_model(name) ? score(rgb, width, height, &n) : NULL;
    if (!scores) {
        if (!problem[0])
            snprintf(problem, sizeof problem, "out of memory");
        return failure();
    }
    guest_softmax(scores, n);
    char *json = answer(scores, n, threshold, k, now_ms() - begin);
    free(scores);
    return json;
}

#ifdef REACTOR

/* ---- for hosts that call exports ---- */

static int digit64(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = c ? strchr(digits, c) : NULL;
    return p ? (int)(p - digits) : -1;
}

/* How many bytes came out; SIZE_MAX when it is no base64. */
static size_t decode64(GuestJson t, uint8_t *out, size_t room)
{
    uint32_t bits = 0, have = 0;
    size_t n = 0;
    for (const char *p = t.p; p < t.end && *p != '='; p++) {
        const int d = digit64(*p);
        if (d < 0)
            return SIZE_MAX;
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have >= 8) {
            have -= 8;
            if (n == room)
                return SIZE_MAX;
            out[n++] = (uint8_t)(bits >> have);
        }
    }
    return n;
}

static size_t read_numbers(GuestJson v, uint8_t *out, size_t room)
{
    const char *at = v.p;
    GuestJson item;
    size_t n = 0;
    while (guest_json_next(v, &at, &item)) {
        const double d = guest_json_number(item, -1);
        if (n == room || d < 0 || d > 255)
            return SIZE_MAX;
        out[n++] = (uint8_t)d;
    }
    return n;
}

EXPORT("edge_alloc") void *edge_alloc(uint32_t size)
{
    return malloc(size ? size : 1);
}

EXPORT("edge_free") void edge_free(void *p)
{
    free(p);
}

EXPORT("edge_infer") char *edge_infer(const char *request, uint32_t size)
{
    const GuestJson o = {request, request + size};
    const GuestJson data = guest_json_get(o, "image_data");
    const GuestJson id = guest_json_text(guest_json_get(o, "model_id"));
    const double width = guest_json_number(guest_json_get(o, "width"), 0);
    const double height = guest_json_number(guest_json_get(o, "height"), 0);
    const double k = guest_json_number(guest_json_get(o, "top_k"), 5);
    const double threshold = guest_json_number(guest_json_get(o, "confidence_threshold"), 0);
    char name[MOST_NAME + 1] = "";
    if (!(width >= 1 && width <= MOST_SIDE && height >= 1 && height <= MOST_SIDE) || !data.p ||
        !id.p || id.end - id.p > MOST_NAME || id.end == id.p || !(k >= 1 && k <= MOST_TOP)) {
        snprintf(problem, sizeof problem,
                 "image_data, width, height (1 to %d) and model_id are wanted; top_k is 1 to %d",
                 MOST_SIDE, MOST_TOP);
        return failure();
    }
    memcpy(name, id.p, (size_t)(id.end - id.p));
    const size_t bytes = (size_t)width * (size_t)height * 3;
    uint8_t *rgb = malloc(bytes);
    const size_t n = !rgb                       ? SIZE_MAX
                     : guest_json_is(data, '[') ? read_numbers(data, rgb, bytes)
                                                : decode64(guest_json_text(data), rgb, bytes);
    char *json;
    if (n == bytes) {
        json =
            classify(rgb, (uint32_t)width, (uint32_t)height, name, (float)threshold, (uint32_t)k);
    } else {
        snprintf(problem, sizeof problem, "image_data is not base64 or a list of %zu bytes", bytes);
        json = failure();
    }
    free(rgb);
    return json;
}

#else

/* ---- as a command ---- */

/* A binary PPM (P6, 255 levels), by malloc. */
static uint8_t *read_ppm(const char *path, uint32_t *width, uint32_t *height)
{
    unsigned w = 0, h = 0;
    FILE *f = fopen(path, "rb");
    uint8_t *rgb = NULL;
    if (f && fscanf(f, "P6 %u %u 255", &w, &h) == 2 && fgetc(f) != EOF && w && h &&
        w <= MOST_SIDE && h <= MOST_SIDE)
        rgb = malloc((size_t)w * h * 3);
    if (rgb && fread(rgb, 3, (size_t)w * h, f) != (size_t)w * h) {
        free(rgb);
        rgb = NULL;
    }
    if (f)
        fclose(f);
    *width = w;
    *height = h;
    return rgb;
}

int main(int argc, char **argv)
{
    uint32_t width, height;
    if (argc != 3) {
        fprintf(stderr, "usage: classify MODEL PICTURE.ppm\n");
        return 2;
    }
    uint8_t *rgb = read_ppm(argv[2], &width, &height);
    if (!rgb) {
        fprintf(stderr, "%s is no PPM that can be read\n", argv[2]);
        return 1;
    }
    char *json = classify(rgb, width, height, argv[1], 0, 5);
    puts(json ? json : "{\"error\":\"out of memory\"}");
    const int code = json && strncmp(json, "{\"error\"", 8) != 0 ? 0 : 1;
    free(json);
    free(rgb);
    close_model();
    return code;
}

#endif
