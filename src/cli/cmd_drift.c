/* ledge drift: what a model's answers and inputs usually look like, and whether they still do. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/out_file.h"
#include "cli/model_io.h"
#include "image/dataset.h"
#include "image/file_bytes.h"
#include "image/preprocess.h"
#include "ledge/report.h"
#include "monitor/collect.h"
#include "monitor/input_features.h"

#define BASELINE_KEY "ledge.baseline"
#define BASELINE_MAX ((size_t)64 << 20)
enum { FEWEST = 50 };

typedef struct Options {
    bool json;
    int64_t limit, threads, window;
    const char *images, *dataset, *preprocess, *cpu, *out, *baseline, *gate;
} Options;

static const CliOption options[] = {
    CLI_OPTION_IMAGES(Options),
    CLI_OPTION_DATASET(Options),
    CLI_OPTION_LIMIT(Options),
    CLI_OPTION_PREPROCESS(Options),
    {"output", 'o', CLI_TEXT, "FILE", "baseline: where it goes; a .onnx gets it as metadata",
     offsetof(Options, out), 0, 0},
    {"baseline", 'b', CLI_TEXT, "FILE", "check: the baseline; else the model's own",
     offsetof(Options, baseline), 0, 0},
    {"window", 'w', CLI_INT, "N", "check: answers in a window (1000, or all if fewer)",
     offsetof(Options, window), 40, INT32_MAX},
    {"gate", 0, CLI_TEXT, "SEVERITY", "check: exit with 5 from warning or high on",
     offsetof(Options, gate), 0, 0},
    CLI_OPTION_THREADS(Options),
    CLI_OPTION_CPU(Options),
    CLI_OPTION_JSON(Options),
};

typedef struct Watch {
    const Options *o;
    const char *path;
    LedgeModel *model;
    LedgeSession *session;
    LedgePreprocess pre;
    LedgeDataset *data;
    size_t n;
    int64_t classes; /* of the first output, 0 before the first run */
    LedgeBaseline *baseline;
    LedgeCollector *collector;
    LedgeDrift *drift;
    json_t *windows;
    LedgeSeverity worst;
} Watch;

static void watch_free(Watch *w)
{
    ledge_session_free(w->session);
    ledge_model_free(w->model);
    ledge__dataset_free(w->data);
    ledge__baseline_free(w->baseline);
    ledge__collector_free(w->collector);
    ledge__drift_free(w->drift);
    json_decref(w->windows);
}

static const LedgeAllocator *allocator(void)
{
    return ledge__allocator_or_default(NULL);
}

static int open_all(Watch *w)
{
    LedgeError err = {0};
    const CliOpen open = {w->path, w->o->cpu, false, w->o->threads};
    const int code = cli_open(&open, &w->model, &w->session);
    if (code != CLI_GO)
        return code;
    if (ledge_model_input_count(w->model) != 1)
        return cli_fail_with(w->path, LEDGE_ERROR_SHAPE,
                             "drift takes models of one input; this one has %zu",
                             ledge_model_input_count(w->model));
    if (ledge__preprocess_for_model(w->model, 0, w->o->preprocess, &err, &w->pre, NULL))
        return cli_fail(w->path, &err);
    if (w->o->dataset ? ledge__dataset_open(NULL, w->o->dataset, &err, &w->data)
                      : ledge__dataset_open_folder(NULL, w->o->images, NULL, &err, &w->data))
        return cli_fail(NULL, &err);
    w->n = ledge__dataset_count(w->data);
    if (w->o->limit && (size_t)w->o->limit < w->n)
        w->n = (size_t)w->o->limit;
    if (w->n < FEWEST)
        return cli_fail_with(NULL, LEDGE_ERROR_LIMIT,
                             "%zu pictures say too little of a distribution; give %d or more", w->n,
                             FEWEST);
    return CLI_GO;
}

/* Runs picture i and says what a monitor wants to know. */
static int look_at(Watch *w, size_t i, float *features, LedgeDriftRecord *r)
{
    LedgeError err = {0};
    LedgeSample sample;
    LedgeTensor in = {0}, out[8] = {0};
    const size_t n_out = ledge_model_output_count(w->model);
    if (n_out < 1 || n_out > 8)
        return cli_fail_with(w->path, LEDGE_ERROR_SHAPE, "the model has %zu outputs", n_out);
    if (ledge__dataset_read(w->data, i, &err, &sample))
        return cli_fail(NULL, &err);
    LedgeStatus s = ledge__preprocess_tensor(&w->pre, NULL, &sample.image, &err, &in);
    ledge__image_free(&sample.image);
    if (s)
        return cli_fail(sample.name, &err);
    const uint64_t start = cli_now_ns();
    s = ledge_session_run(w->session, &in, 1, out, n_out, &err);
    *r = (LedgeDriftRecord){.time = (double)i,
                            .latency = (double)(cli_now_ns() - start) / 1e9,
                            .class_id = -1,
                            .confidence = NAN,
                            .features = features,
                            .n_features = LEDGE_INPUT_FEATURE_COUNT};
    if (s == LEDGE_OK && !ledge__input_features(&in, 0, NULL, features))
        r->n_features = 0;
    ledge__free(NULL, in.data);
    if (s)
        return cli_fail(w->path, &err);
    if (ledge__scores_row(&out[0])) {
        double p;
        ledge__scores_top(&out[0], 0, 1, &r->class_id);
        ledge__scores_probabilities(&out[0], 0, &r->class_id, 1, &p);
        r->confidence = (float)p;
        w->classes = ledge_tensor_count(&out[0]);
    }
    return CLI_GO;
}

static int each(Watch *w, int (*take)(Watch *w, const LedgeDriftRecord *r))
{
    int code = CLI_GO;
    for (size_t i = 0; i < w->n && code == CLI_GO; i++) {
        float features[LEDGE_INPUT_FEATURE_COUNT];
        LedgeDriftRecord r;
        code = look_at(w, i, features, &r);
        if (code == CLI_GO)
            code = take(w, &r);
        cli_progress("drift", i + 1, w->n);
    }
    cli_progress_end();
    return code;
}

/* ---- baseline ---- */

static int collect(Watch *w, const LedgeDriftRecord *r)
{
    LedgeError err = {0};
    if (!w->collector) { /* only now is the number of classes known */
        const char *names[LEDGE_INPUT_FEATURE_COUNT];
        for (uint32_t i = 0; i < LEDGE_INPUT_FEATURE_COUNT; i++)
            names[i] = ledge__input_feature_name(i);
        if (ledge__collector_new((uint32_t)w->classes, LEDGE_INPUT_FEATURE_COUNT, names,
                                 allocator(), &err, &w->collector))
            return cli_fail(w->path, &err);
    }
    ledge__collector_add(w->collector, r);
    return CLI_GO;
}

static bool is_model(const char *path)
{
    const size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".onnx") == 0;
}

static int put_baseline(const Watch *w, const char *text)
{
    LedgeError err = {0};
    const char *out = w->o->out;
    if (!is_model(out))
        return ledge__out_file_whole(NULL, out, text, strlen(text), &err)
                   ? cli_fail_writing(out, &err)
                   : CLI_GO;
    return cli_set_metadata(w->path, out, BASELINE_KEY, text);
}

static int make_baseline(Watch *w)
{
    LedgeError err = {0};
    int code = each(w, collect);
    if (code != CLI_GO)
        return code;
    if (ledge__collector_baseline(w->collector, &err, &w->baseline))
        return cli_fail(w->path, &err);
    char *text = ledge__baseline_write(w->baseline, allocator());
    code =
        text ? put_baseline(w, text) : cli_fail_with(w->path, LEDGE_ERROR_MEMORY, "out of memory");
    if (code == CLI_GO && w->o->json)
        code = cli_print_json(json_pack("{s:o, s:o, s:I, s:o}", "model", cli_json_text(w->path),
                                        "output", cli_json_text(w->o->out), "samples",
                                        (json_int_t)w->baseline->samples, "baseline",
                                        json_loads(text, 0, NULL)));
    else if (code == CLI_GO) {
        printf("%s: baseline of %zu pictures, mean confidence %.3f\n", cli_clean(w->o->out), w->n,
               w->baseline->confidence_mean);
        code = cli_finish();
    }
    ledge__free(allocator(), text);
    return code;
}

/* ---- check ---- */

static int load_baseline(Watch *w)
{
    LedgeError err = {0};
    if (!w->o->baseline) {
        const char *text = ledge_model_metadata(w->model, BASELINE_KEY);
        if (!text)
            return cli_fail_with(w->path, LEDGE_ERROR_NOT_FOUND,
                                 "the model carries no baseline; make one by 'ledge drift "
                                 "baseline', or name one by --baseline");
        if (ledge__baseline_read(text, strlen(text), allocator(), &err, &w->baseline))
            return cli_fail(w->path, &err);
        return CLI_GO;
    }
    uint8_t *bytes = NULL;
    size_t size;
    if (ledge__file_bytes(NULL, w->o->baseline, BASELINE_MAX, &err, &bytes, &size))
        return cli_fail(w->o->baseline, &err);
    const LedgeStatus s =
        ledge__baseline_read((const char *)bytes, size, allocator(), &err, &w->baseline);
    ledge__free(NULL, bytes);
    return s ? cli_fail(w->o->baseline, &err) : CLI_GO;
}

static const char *finding_name(const LedgeDriftFinding *f, char *room, size_t size)
{
    const char *name = ledge__drift_measure_name(f->measure);
    if (!f->feature[0])
        return name;
    snprintf(room, size, "%s(%s)", name, f->feature);
    return room;
}

static json_t *window_json(const LedgeDriftReport *r)
{
    json_t *findings = json_array();
    for (uint32_t i = 0; i < r->n; i++) {
        const LedgeDriftFinding *f = &r->finding[i];
        char room[80];
        json_array_append_new(findings,
                              json_pack("{s:o, s:o, s:o, s:o, s:s}", "measure",
                                        cli_json_text(finding_name(f, room, sizeof room)), "value",
                                        cli_json_real(f->value), "threshold",
                                        cli_json_real(f->threshold), "p", cli_json_real(f->p),
                                        "severity", ledge__severity_name(f->severity)));
    }
    return json_pack("{s:I, s:I, s:s, s:o, s:o, s:o}", "answers", (json_int_t)r->records, "window",
                     (json_int_t)r->window, "severity", ledge__severity_name(r->severity),
                     "confidence", cli_json_real(r->confidence_mean), "change_at",
                     cli_json_real(r->change_time), "findings", findings);
}

static int print_window(const LedgeDriftReport *r)
{
    printf("answers %llu to %llu: %s\n", (unsigned long long)(r->records - r->window + 1),
           (unsigned long long)r->records, ledge__severity_name(r->severity));
    for (uint32_t i = 0; i < r->n; i++) {
        const LedgeDriftFinding *f = &r->finding[i];
        char room[80];
        if (f->severity != LEDGE_FINE)
            printf("  %-8s %-26s %.4g, bound %.4g\n", ledge__severity_name(f->severity),
                   cli_clean(finding_name(f, room, sizeof room)), f->value, f->threshold);
    }
    if (!isnan(r->change_time))
        printf("  confidence has fallen since answer %.0f\n", r->change_time + 1);
    return CLI_GO;
}

static int judge(Watch *w, const LedgeDriftRecord *r)
{
    LedgeDriftReport report;
    if (!ledge__drift_record(w->drift, r))
        return CLI_GO;
    ledge__drift_report(w->drift, &report);
    w->worst = report.severity > w->worst ? report.severity : w->worst;
    if (!report.judged)
        return CLI_GO;
    if (!w->o->json)
        return print_window(&report);
    json_array_append_new(w->windows, window_json(&report));
    return CLI_GO;
}

static int check(Watch *w)
{
    LedgeError err = {0};
    const size_t wanted = w->o->window ? (size_t)w->o->window : 1000;
    LedgeDriftOptions o = {.window = (uint32_t)(wanted < w->n ? wanted : w->n)};
    /* Latency here is this machine's, not the fleet's; and a window is judged when it is full. */
    o.threshold[LEDGE_DRIFT_LATENCY].warning = o.threshold[LEDGE_DRIFT_LATENCY].high = INFINITY;
    o.minimum = o.window / 4 * 4;
    int code = load_baseline(w);
    if (code != CLI_GO)
        return code;
    if (ledge__drift_new(&o, w->baseline, allocator(), &err, &w->drift))
        return cli_fail(NULL, &err);
    w->windows = json_array();
    code = each(w, judge);
    if (code != CLI_GO)
        return code;
    const bool gate =
        w->o->gate && w->worst >= (strcmp(w->o->gate, "high") == 0 ? LEDGE_HIGH : LEDGE_WARNING);
    if (w->o->json)
        code = cli_print_json(json_pack("{s:o, s:I, s:s, s:O, s:b}", "model",
                                        cli_json_text(w->path), "answers", (json_int_t)w->n,
                                        "severity", ledge__severity_name(w->worst), "windows",
                                        w->windows, "passed", (int)!gate));
    else
        code = cli_finish();
    if (gate)
        fprintf(stderr, "ledge: drift is %s\n", ledge__severity_name(w->worst));
    return code == CLI_OK && gate ? CLI_GATE : code;
}

static int check_options(const CliCommand *c, const Options *o, bool making)
{
    if (!o->images == !o->dataset)
        return cli_usage(c, "give --images DIR or --dataset SET");
    if (making != (o->out != NULL))
        return cli_usage(c, making ? "say by --output FILE where the baseline goes"
                                   : "--output goes with baseline");
    if (making && (o->baseline || o->gate || o->window))
        return cli_usage(c, "--baseline, --window and --gate go with check");
    if (o->gate && strcmp(o->gate, "warning") != 0 && strcmp(o->gate, "high") != 0)
        return cli_usage(c, "--gate takes warning or high");
    return CLI_GO;
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Options o = {0};
    CliArgs args;
    Watch w = {.o = &o};
    int code = cli_parse(c, argc, argv, 2, 2, &o, &args);
    if (code != CLI_GO)
        return code;
    const bool making = strcmp(args.items[0], "baseline") == 0;
    if (!making && strcmp(args.items[0], "check") != 0)
        code = cli_usage(c, "'%s' is neither baseline nor check", cli_clean(args.items[0]));
    else
        code = check_options(c, &o, making);
    w.path = args.items[1];
    if (code == CLI_GO)
        code = open_all(&w);
    if (code == CLI_GO)
        code = making ? make_baseline(&w) : check(&w);
    watch_free(&w);
    cli_args_free(&args);
    return code;
}

const CliCommand cli_drift = {
    .name = "drift",
    .arguments = "baseline|check MODEL",
    .summary = "record what a model usually sees and answers, or check that it still does",
    .description =
        "'baseline' runs a model over pictures like those it will see and keeps how confidence,\n"
        "classes and input features are distributed: in a file, or in the metadata of a .onnx.\n"
        "'check' runs it over other pictures and tells what has moved, window by window.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
