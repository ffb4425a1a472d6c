/* What ledge_page.wasm exports to a web page, or to any host that keeps an instance and asks it
 * again and again: a model is opened once from memory, pixels go in, JSON comes out. It is a WASI
 * reactor: the host calls _initialize() once, before all else.
 *
 *   ledge_page_alloc(n), ledge_page_free(p)  memory for what the page hands over
 *   ledge_page_open(bytes, n, preprocess)    a handle, or 0; the bytes stay while it is open and
 *                                            are freed by ledge_page_close
 *   ledge_page_info(handle)                  JSON: input, labels, who describes the preprocessing
 *   ledge_page_classify(handle, rgba, w, h, k)   JSON: the k best classes and the milliseconds
 *   ledge_page_bench(handle, runs)           JSON: milliseconds of runs on a random picture
 *   ledge_page_message()                     why the last call gave 0
 *   ledge_page_close(handle)
 *
 * Text is UTF-8 that ends with a NUL and is valid until the next call. Pixels are RGBA as a canvas
 * has them; transparency is laid over white. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "cli/pictures.h"

#define EXPORT(name) __attribute__((export_name(#name))) name

typedef struct Page {
    LedgeModel *model;
    LedgeSession *session;
    LedgeLabels labels;
    CliPictures pictures;
    void *bytes;
    char *preprocess;
} Page;

typedef struct Times {
    double prepare, run;
} Times;

static LedgeError last;
static char *answer; /* of the last call that gave JSON */

void *EXPORT(ledge_page_alloc)(size_t n);
void EXPORT(ledge_page_free)(void *p);
Page *EXPORT(ledge_page_open)(void *bytes, size_t n, const char *preprocess);
const char *EXPORT(ledge_page_info)(const Page *p);
const char *EXPORT(ledge_page_classify)(Page *p, const uint8_t *rgba, uint32_t width,
                                        uint32_t height, uint32_t k);
const char *EXPORT(ledge_page_bench)(Page *p, uint32_t runs);
const char *EXPORT(ledge_page_message)(void);
void EXPORT(ledge_page_close)(Page *p);

void *ledge_page_alloc(size_t n)
{
    return malloc(n ? n : 1);
}

void ledge_page_free(void *p)
{
    free(p);
}

const char *ledge_page_message(void)
{
    return last.message[0] ? last.message : ledge_status_text(last.status);
}

void ledge_page_close(Page *p)
{
    if (!p)
        return;
    ledge_session_free(p->session);
    ledge_model_free(p->model);
    ledge__labels_free(&p->labels);
    free(p->preprocess);
    free(p->bytes);
    free(p);
}

/* The answer as text that lives until the next one; takes the object over. */
static const char *give(json_t *o)
{
    free(answer);
    answer = o ? json_dumps(o, JSON_REAL_PRECISION(9)) : NULL;
    json_decref(o);
    if (!answer)
        last = (LedgeError){.status = LEDGE_ERROR_MEMORY};
    return answer;
}

static LedgeStatus set_up(Page *p, size_t n)
{
    const LedgeModelOptions options = {.pixels = cli_pictures_ask, .pixels_arg = &p->pictures};
    const LedgeSessionOptions one = {.threads = 1};
    CliPictures *pictures = &p->pictures;
    pictures->preprocess = p->preprocess;
    LEDGE_TRY(ledge_model_load_memory(p->bytes, n, &options, &last, &p->model));
    LEDGE_TRY(ledge_session_create(p->model, &one, &last, &p->session));
    if (ledge_model_output_count(p->model) < 1)
        return ledge__fail(&last, LEDGE_ERROR_SHAPE, NULL, "the model has no output");
    LEDGE_TRY(ledge__labels_of_model(p->model, &last, &p->labels));
    return pictures->bytes ? LEDGE_OK
                           : ledge__preprocess_for_model(p->model, 0, p->preprocess, &last,
                                                         &pictures->pre, &pictures->from);
}

Page *ledge_page_open(void *bytes, size_t n, const char *preprocess)
{
    Page *p = calloc(1, sizeof *p);
    last = (LedgeError){.status = LEDGE_ERROR_MEMORY};
    if (!p) {
        free(bytes);
        return NULL;
    }
    p->bytes = bytes;
    p->preprocess = preprocess && *preprocess ? strdup(preprocess) : NULL;
    last = (LedgeError){0};
    if (set_up(p, n) != LEDGE_OK) {
        ledge_page_close(p);
        return NULL;
    }
    return p;
}

const char *ledge_page_info(const Page *p)
{
    return give(json_pack("{s:s, s:o, s:o, s:I, s:s, s:b, s:I}", "version", ledge_version(),
                          "input", cli_info_json(ledge_model_input(p->model, 0)), "output",
                          cli_info_json(ledge_model_output(p->model, 0)), "labels",
                          (json_int_t)p->labels.n, "preprocess", p->pictures.from, "bytes",
                          (int)p->pictures.bytes, "memory",
                          (json_int_t)__builtin_wasm_memory_size(0) * 65536));
}

static LedgeStatus rgb_of(const uint8_t *rgba, uint32_t width, uint32_t height, LedgeImage *out)
{
    LEDGE_TRY(ledge__image_new(NULL, width, height, 3, &last, out));
    const size_t n = (size_t)width * height;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++) {
            const unsigned alpha = rgba[4 * i + 3];
            out->pixels[3 * i + c] =
                (uint8_t)((rgba[4 * i + c] * alpha + 255 * (255 - alpha) + 127) / 255);
        }
    return LEDGE_OK;
}

/* The best classes of the output, which must be one row of scores. */
static json_t *best(const Page *p, const LedgeTensor *scores, size_t k)
{
    int64_t index[1000];
    double probability[1000];
    json_t *a = json_array();
    const size_t n = ledge__scores_top(scores, 0, k < 1000 ? k : 1000, index);
    ledge__scores_probabilities(scores, 0, index, n, probability);
    for (size_t i = 0; i < n; i++) {
        const char *label = ledge__label(&p->labels, index[i]);
        json_array_append_new(a, json_pack("{s:I, s:o, s:o, s:o}", "class", (json_int_t)index[i],
                                           "label", label ? cli_json_text(label) : json_null(),
                                           "score", cli_json_real(ledge__tensor_number(scores, index[i])),
                                           "probability", cli_json_real(probability[i])));
    }
    return a;
}

static LedgeStatus run(Page *p, const LedgeImage *image, LedgeTensor *output, Times *ms)
{
    LedgeTensor input = {0};
    const size_t outputs = ledge_model_output_count(p->model);
    const uint64_t start = cli_now_ns();
    LEDGE_TRY(cli_pictures_tensor(&p->pictures, image, &last, &input));
    const uint64_t ready = cli_now_ns();
    LedgeTensor *all = calloc(outputs, sizeof *all);
    const LedgeStatus status =
        all ? ledge_session_run(p->session, &input, 1, all, outputs, &last) : LEDGE_ERROR_MEMORY;
    *ms = (Times){(double)(ready - start) / 1e6, (double)(cli_now_ns() - ready) / 1e6};
    if (status == LEDGE_OK)
        *output = all[0]; /* its data is the session's */
    free(all);
    ledge__free(NULL, input.data);
    return status;
}

const char *ledge_page_classify(Page *p, const uint8_t *rgba, uint32_t width, uint32_t height,
                                uint32_t k)
{
    LedgeImage image = {0};
    LedgeTensor output = {0};
    Times ms;
    last = (LedgeError){0};
    LedgeStatus status = rgb_of(rgba, width, height, &image);
    if (!status)
        status = run(p, &image, &output, &ms);
    ledge__image_free(&image);
    if (!status && !ledge__scores_row(&output))
        status = ledge__fail(&last, LEDGE_ERROR_SHAPE, NULL,
                             "the model's first output is %s, not one row of scores",
                             cli_tensor_text(&output));
    if (status)
        return NULL;
    return give(json_pack("{s:f, s:f, s:o}", "prepare_ms", ms.prepare, "milliseconds", ms.run,
                          "top", best(p, &output, k)));
}

#define MOST_RUNS 10000

static LedgeStatus time_runs(Page *p, const CliInputs *in, double *ms, size_t runs)
{
    const size_t n = ledge_model_output_count(p->model);
    LedgeTensor *outputs = calloc(n, sizeof *outputs);
    LedgeStatus status = outputs ? LEDGE_OK : LEDGE_ERROR_MEMORY;
    for (size_t i = 0; i < runs && !status; i++) {
        const uint64_t start = cli_now_ns();
        status = ledge_session_run(p->session, in->tensors, in->n, outputs, n, &last);
        ms[i] = (double)(cli_now_ns() - start) / 1e6;
    }
    free(outputs);
    return status;
}

const char *ledge_page_bench(Page *p, uint32_t runs)
{
    static double ms[MOST_RUNS];
    const size_t n = runs < 1 ? 1 : runs < MOST_RUNS ? runs : MOST_RUNS;
    CliInputs in;
    last = (LedgeError){.status = LEDGE_ERROR_MEMORY};
    const bool ready = cli_inputs_new(p->model, &in) &&
                       cli_inputs_random(p->model, &(CliList){0}, 1, &in) == CLI_GO;
    last = (LedgeError){0};
    const LedgeStatus status = ready ? time_runs(p, &in, ms, n) : LEDGE_ERROR_SHAPE;
    cli_inputs_free(&in);
    if (status)
        return NULL;
    qsort(ms, n, sizeof *ms, cli_compare_doubles);
    return give(json_pack("{s:I, s:f, s:f, s:f}", "runs", (json_int_t)n, "min", ms[0], "p50",
                          cli_percentile(ms, n, 50), "p90", cli_percentile(ms, n, 90)));
}
