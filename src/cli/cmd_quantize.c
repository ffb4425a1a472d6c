/* ledge quantize: smaller and faster models of 8 or 4 bits, as standard ONNX.
 *
 * Opens the model, shows it the calibration data, writes the quantized one whole or not at all.
 * The model that is read is never touched. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/interrupt.h"
#include "cli/model_io.h"
#include "cli/quantize_finetune.h"
#include "cli/quantize_more.h"
#include "compress/quantize/quant_record.h"
#include "compress/quantize/samples.h"
#include "monitor/collect.h"
#include "monitor/input_features.h"

#define BASELINE_KEY "ledge.baseline"

enum { FEW_SAMPLES = 100, MOST_NAMED = 3 };

typedef struct Options {
    bool json;
    int64_t samples, block, threads, activations;
    const char *out, *mode, *calibrate, *labels, *dataset, *preprocess, *calibrator, *percentile,
        *target, *weights, *format;
    CliList inputs, exclude;
    QuantizeMoreOptions more;
    QuantizeFinetuneOptions finetune;
} Options;

static const CliOption options[] = {
    {"output", 'o', CLI_TEXT, "FILE", "the quantized model to write", offsetof(Options, out), 0, 0},
    {"mode", 'm', CLI_TEXT, "MODE", "static (default), dynamic, weights or int4",
     offsetof(Options, mode), 0, 0},
    {"calibrate", 'd', CLI_TEXT, "DATA", "folder of .jpg and .png pictures, or a .npy file",
     offsetof(Options, calibrate), 0, 0},
    {"labels", 'l', CLI_TEXT, "FILE", "CSV of file,class_id: only its pictures of the folder",
     offsetof(Options, labels), 0, 0},
    CLI_OPTION_DATASET(Options),
    {"input", 'i', CLI_LIST, "NAME=FILE.npy", "samples for one input, along the first axis",
     offsetof(Options, inputs), 0, 0},
    {"samples", 'n', CLI_INT, "N", "take N samples, evenly spread; 0 takes all",
     offsetof(Options, samples), 0, INT32_MAX},
    CLI_OPTION_PREPROCESS(Options),
    {"calibrator", 0, CLI_TEXT, "C", "minmax (default), percentile, entropy or mse",
     offsetof(Options, calibrator), 0, 0},
    {"percentile", 0, CLI_TEXT, "P", "of the values that percentile keeps inside (99.99)",
     offsetof(Options, percentile), 0, 0},
    {"target", 0, CLI_TEXT, "T", "cpu (default): uint8 activations; tensorrt, npu: int8 symmetric",
     offsetof(Options, target), 0, 0},
    {"activations", 0, CLI_INT, "BITS",
     "static: 8 (default), or 16 (opset 21), which run in float here",
     offsetof(Options, activations), 8, 16},
    {"weights", 0, CLI_TEXT, "W", "ranges of weights: minmax (default) or mse",
     offsetof(Options, weights), 0, 0},
    {"exclude", 'x', CLI_LIST, "NODE|OP", "leave this node, or all of this operator, in float",
     offsetof(Options, exclude), 0, 0},
    {"block", 0, CLI_INT, "N", "int4: weights that share a scale: 16, 32 (default), 64, 128, 256",
     offsetof(Options, block), 16, 256},
    {"format", 0, CLI_TEXT, "F", "int4: nbits (default, MatMulNBits) or onnx (opset 21)",
     offsetof(Options, format), 0, 0},
    QUANTIZE_MORE_OPTIONS(Options),
    QUANTIZE_FINETUNE_OPTIONS(Options),
    CLI_OPTION_THREADS(Options),
    CLI_OPTION_JSON(Options),
};

typedef struct Job {
    const Options *o;
    const char *path;
    LedgeQuantOptions q;
    LedgeQuantizer *quantizer;
    LedgeSamples *samples;
    QuantizeMore more;
    QuantizeFinetune finetune;
    LedgeCollector *collector; /* of the drift baseline */
    json_t *warnings;
    uint64_t in_bytes, out_bytes;
    double seconds;
    /* the samples with the least and the largest values */
    double least, most;
    char least_name[300], most_name[300];
} Job;

static void warn(Job *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void warn(Job *j, const char *fmt, ...)
{
    char text[1200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    json_array_append_new(j->warnings, cli_json_text(text));
    if (!j->o->json)
        cli_warn("%s", text);
}

/* ---- options ---- */

static int check_choices(const CliCommand *c, const Options *o, LedgeQuantOptions *q)
{
    static const char *const modes[] = {"static", "dynamic", "weights", "int4"};
    static const char *const targets[] = {"cpu", "tensorrt", "npu"};
    static const char *const calibrators[] = {"minmax", "percentile", "entropy", "mse"};
    static const char *const formats[] = {"nbits", "onnx"};
    const int mode = cli_choose(o->mode, 0, modes, 4),
              target = cli_choose(o->target, 0, targets, 3);
    const int calibrator = cli_choose(o->calibrator, LEDGE_CALIBRATE_MINMAX, calibrators, 4);
    const int format = cli_choose(o->format, 0, formats, 2);
    const int weights = cli_choose(o->weights, 0, (const char *const[]){"minmax", "mse"}, 2);
    if (mode < 0)
        return cli_usage(c, "--mode takes static, dynamic, weights or int4");
    if (target < 0)
        return cli_usage(c, "--target takes cpu, tensorrt or npu");
    if (calibrator < 0)
        return cli_usage(c, "--calibrator takes minmax, percentile, entropy or mse");
    if (format < 0)
        return cli_usage(c, "--format takes nbits or onnx");
    if (weights < 0)
        return cli_usage(c, "--weights takes minmax or mse");
    if (o->block & (o->block - 1))
        return cli_usage(c, "--block takes 16, 32, 64, 128 or 256");
    if (o->activations != 8 && o->activations != 16)
        return cli_usage(c, "--activations takes 8 or 16");
    q->wide = o->activations == 16;
    q->mode = (LedgeQuantMode)mode;
    q->target = (LedgeQuantTarget)target;
    q->calibrator = (LedgeCalibrator)calibrator;
    q->plain_onnx = format == 1;
    q->weights_mse = weights == 1;
    q->block = (int)o->block;
    return CLI_GO;
}

/* What 16 bits do not go with. */
static int check_wide(const CliCommand *c, const Options *o, const LedgeQuantOptions *q)
{
    if (!q->wide)
        return CLI_GO;
    if (q->mode != LEDGE_QUANT_STATIC)
        return cli_usage(c, "--activations 16 goes with --mode static");
    if (q->target == LEDGE_QUANT_TENSORRT)
        return cli_usage(c, "TensorRT has no activations of 16 bits: --target cpu or npu");
    if (q->calibrator != LEDGE_CALIBRATE_MINMAX && q->calibrator != LEDGE_CALIBRATE_PERCENTILE)
        return cli_usage(c, "--calibrator mse and entropy weigh ranges for 8 bits; with "
                            "--activations 16 give minmax or percentile");
    if (o->more.compare)
        return cli_usage(c, "--compare-modes compares what has 8 bits: not with --activations 16");
    return CLI_GO;
}

static int check(const CliCommand *c, const Options *o, LedgeQuantOptions *q)
{
    int code = check_choices(c, o, q);
    if (code == CLI_GO)
        code = check_wide(c, o, q);
    const int sources = !!o->calibrate + !!o->dataset + (!o->calibrate && o->inputs.n);
    if (code != CLI_GO)
        return code;
    if (!o->out)
        return cli_usage(c, "give the file to write: -o OUT.onnx");
    if (sources > 1 || (o->dataset && o->inputs.n))
        return cli_usage(c, "give one of --calibrate, --dataset and --input");
    if (!sources && q->mode == LEDGE_QUANT_STATIC)
        return cli_usage(c, "static quantization needs data: --calibrate DIR, --dataset SET or "
                            "--input NAME=FILE.npy; '--mode weights' needs none");
    if (o->labels && !o->calibrate)
        return cli_usage(c, "--labels goes with --calibrate");
    q->percentile = 99.99;
    if (o->percentile &&
        (!cli_number(o->percentile, 50, 100, &q->percentile) || q->percentile == 50))
        return cli_usage(c, "--percentile takes more than 50, up to 100");
    q->exclude = o->exclude.items;
    q->n_exclude = o->exclude.n;
    q->threads = (int)o->threads;
    return CLI_GO;
}

static int check_finetune(const CliCommand *c, Job *j)
{
    const Options *o = j->o;
    if (o->finetune.sets.n && j->q.mode != LEDGE_QUANT_STATIC)
        return cli_usage(c, "--finetune goes with --mode static");
    if (o->finetune.sets.n &&
        (o->more.mixed || o->more.compare || o->more.report || j->more.adaptive))
        return cli_usage(c, "--finetune does not go with --mixed, --rounding adaptive, "
                            "--compare-modes and --report");
    return quantize_finetune_check(c, &o->finetune, &j->finetune);
}

static int open_model(Job *j)
{
    LedgeError err = {0};
    if (ledge__quantizer_open(j->path, &j->q, &err, &j->quantizer))
        return cli_fail(j->path, &err);
    return CLI_GO;
}

/* ---- calibration ---- */

/* Arrays may come from anywhere: some of 0 … 1 among others of 0 … 255 spoil every range. */
static void look_at_range(Job *j, const LedgeSampleInputs *s)
{
    const LedgeTensor *t = &s->inputs[0];
    const int64_t n = t->type == LEDGE_FLOAT ? ledge_tensor_count(t) : 0;
    double largest = 0;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)((const float *)t->data)[i]));
    if (largest <= 0)
        return;
    if (j->most == 0 || largest < j->least) {
        j->least = largest;
        snprintf(j->least_name, sizeof j->least_name, "%s", s->name);
    }
    if (largest > j->most) {
        j->most = largest;
        snprintf(j->most_name, sizeof j->most_name, "%s", s->name);
    }
}

/* What the float model says of the sample goes into the drift baseline. */
static int collect(Job *j, const LedgeTensor *input, const LedgeTensor *output)
{
    LedgeError err = {0};
    float features[LEDGE_INPUT_FEATURE_COUNT];
    const char *names[LEDGE_INPUT_FEATURE_COUNT];
    const bool scores = ledge__scores_row(output);
    LedgeDriftRecord r = {.class_id = -1, .confidence = NAN, .features = features};
    for (uint32_t i = 0; i < LEDGE_INPUT_FEATURE_COUNT; i++)
        names[i] = ledge__input_feature_name(i);
    /* Only the first answer tells how many classes there are. */
    if (!j->collector &&
        ledge__collector_new(scores ? (uint32_t)ledge_tensor_count(output) : 0,
                             LEDGE_INPUT_FEATURE_COUNT, names, ledge__allocator_or_default(NULL),
                             &err, &j->collector))
        return cli_fail(j->path, &err);
    if (ledge__input_features(input, 0, NULL, features))
        r.n_features = LEDGE_INPUT_FEATURE_COUNT;
    if (scores) {
        double p;
        ledge__scores_top(output, 0, 1, &r.class_id);
        ledge__scores_probabilities(output, 0, &r.class_id, 1, &p);
        r.confidence = (float)p;
    }
    ledge__collector_add(j->collector, &r);
    return CLI_GO;
}

static int observe_one(Job *j, size_t index)
{
    LedgeError err = {0};
    LedgeSampleInputs s;
    const LedgeTensor *outputs;
    if (ledge__samples_read(j->samples, index, &err, &s))
        return cli_fail(NULL, &err);
    if (ledge__quantizer_observe(j->quantizer, s.inputs, s.n_inputs, &err, &outputs)) {
        cli_progress_end();
        return cli_fail(cli_clean(s.name), &err);
    }
    if (!ledge__samples_are_pictures(j->samples))
        look_at_range(j, &s);
    const int code = collect(j, &s.inputs[0], &outputs[0]);
    return code == CLI_GO ? quantize_more_sample(&j->more, s.inputs, s.n_inputs, outputs,
                                                 j->quantizer->graph->n_outputs, s.label)
                          : code;
}

static int observe_all(Job *j)
{
    const size_t n = ledge__samples_count(j->samples);
    int code = quantize_more_begin(&j->more, n);
    for (size_t i = 0; i < n && code == CLI_GO; i++) {
        code = cli_interrupted ? cli_was_interrupted() : observe_one(j, i);
        if (code == CLI_GO)
            cli_progress("calibrate", i + 1, n);
    }
    cli_progress_end();
    return code;
}

static void warn_of_samples(Job *j)
{
    const size_t n = ledge__samples_count(j->samples);
    const char *from = ledge__samples_preprocess_from(j->samples);
    if (from && strcmp(from, "default") == 0)
        warn(j,
             "%s says nothing of its preprocessing, so pixels go in as they are, 0 to 255; if it "
             "was trained otherwise all ranges are wrong: --preprocess names another way",
             j->path);
    if (n < FEW_SAMPLES)
        warn(j, "only %zu sample%s: ranges may miss what other data does; give 100 or more", n,
             n == 1 ? "" : "s");
}

static void warn_of_ranges(Job *j)
{
    if (j->most > 16 * j->least)
        warn(j,
             "samples are unlike each other: values reach %g in %s and %g in %s; is some of the "
             "data scaled otherwise?",
             j->least, j->least_name, j->most, j->most_name);
}

static void warn_of_collapse(Job *j)
{
    const LedgeQuantizer *q = j->quantizer;
    char names[400] = "";
    size_t count = 0;
    for (uint32_t i = 0; i < q->n_tensors; i++) {
        const LedgeQuantTensor *t = &q->tensors[i];
        if (!t->observer || !t->observer->count || t->observer->min < t->observer->max)
            continue;
        const size_t used = strlen(names);
        if (++count <= 3)
            snprintf(names + used, sizeof names - used, "%s'%.100s' (%g)", used ? ", " : "",
                     t->value->name, (double)t->observer->min);
    }
    if (count)
        warn(j, "%zu tensor%s held one value in all samples: %s%s", count, count == 1 ? "" : "s",
             names, count > 3 ? ", ..." : "");
}

static int open_samples(Job *j)
{
    LedgeError err = {0};
    const Options *o = j->o;
    const LedgeSamplesOptions so = {.folder = o->calibrate,
                                    .labels = o->labels,
                                    .dataset = o->dataset,
                                    .arrays = o->inputs.items,
                                    .n_arrays = o->inputs.n,
                                    .preprocess = o->preprocess,
                                    .limit = (size_t)o->samples};
    const int code = quantize_more_equalize(&j->more, j->quantizer);
    if (code != CLI_GO)
        return code;
    if (ledge__quantizer_observe_start(j->quantizer, &err))
        return cli_fail(j->path, &err);
    if (ledge__samples_open(ledge__quantizer_model(j->quantizer), &so, &err, &j->samples))
        return cli_fail(NULL, &err);
    return CLI_GO;
}

static int set_text(Job *j, const char *key, const char *text)
{
    LedgeError err = {0};
    if (!text || ledge__onnx_set_metadata(j->quantizer->onnx, key, text, &err))
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    return CLI_GO;
}

/* The drift baseline, and where the option chose the preprocessing that too: what the ranges were
 * found with is what the model must be fed with. */
static int keep_in_model(Job *j)
{
    LedgeError err = {0};
    LedgeBaseline *baseline = NULL;
    const LedgeAllocator *a = ledge__allocator_or_default(NULL);
    if (ledge__collector_baseline(j->collector, &err, &baseline))
        return cli_fail(j->path, &err);
    char *text = ledge__baseline_write(baseline, a);
    int code = set_text(j, BASELINE_KEY, text);
    ledge__free(a, text);
    ledge__baseline_free(baseline);
    const char *from = ledge__samples_preprocess_from(j->samples);
    if (code != CLI_GO || !from || strcmp(from, "option") != 0)
        return code;
    text = ledge__preprocess_to_json(ledge__samples_preprocess(j->samples));
    code = set_text(j, LEDGE_PREPROCESS_KEY, text);
    free(text);
    return code;
}

static int calibrate(Job *j)
{
    LedgeError err = {0};
    int code = open_samples(j);
    if (code != CLI_GO)
        return code;
    warn_of_samples(j);
    code = observe_all(j);
    if (code != CLI_GO)
        return code;
    warn_of_ranges(j);
    warn_of_collapse(j);
    if (j->q.mode == LEDGE_QUANT_STATIC && ledge__quantizer_ranges(j->quantizer, &err))
        return cli_fail(j->path, &err);
    code = keep_in_model(j);
    ledge__samples_free(j->samples);
    j->samples = NULL;
    ledge__quantizer_observe_end(j->quantizer);
    if (code == CLI_GO && j->o->finetune.sets.n)
        return quantize_finetune_run(&j->o->finetune, &j->finetune, j->quantizer, j->path,
                                     j->o->preprocess, j->o->out);
    return code == CLI_GO ? quantize_more_search(&j->more, j->quantizer) : code;
}

/* ---- writing ---- */

static int write_model(Job *j)
{
    LedgeError err = {0};
    OnnxModel *model = NULL;
    LedgeArena *arena = ledge__arena_new(ledge__allocator_or_default(NULL));
    if (!arena)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    int code = CLI_GO;
    if (ledge__quantizer_correct_bias(j->quantizer, &err) ||
        ledge__quant_record(j->quantizer, &err) ||
        ledge__quantizer_build(j->quantizer, arena, &err, &model))
        code = cli_fail(j->path, &err);
    else if (cli_interrupted)
        code = cli_was_interrupted();
    else if (ledge__onnx_write_file(model, j->o->out, false, &err))
        code = cli_fail_writing(j->o->out, &err);
    else
        j->out_bytes = cli_file_size(j->o->out);
    ledge__arena_free(arena);
    return code;
}

/* ---- the answer ---- */

static uint32_t layers(const Job *j, bool integer)
{
    return ledge__quant_count(j->quantizer, LEDGE_QUANT_WEIGHTED, integer);
}

static json_t *job_json(const Job *j)
{
    json_t *o =
        json_pack("{s:o, s:o, s:I, s:I, s:f, s:I, s:I, s:f, s:o, s:O, s:o}", "model",
                  cli_json_text(j->path), "output", cli_json_text(j->o->out), "input_bytes",
                  (json_int_t)j->in_bytes, "output_bytes", (json_int_t)j->out_bytes, "ratio",
                  j->in_bytes ? (double)j->out_bytes / (double)j->in_bytes : 0.0, "layers_integer",
                  (json_int_t)layers(j, true), "layers_float", (json_int_t)layers(j, false),
                  "seconds", j->seconds, "float_nodes", ledge__quant_float_nodes_json(j->quantizer),
                  "warnings", j->warnings, "quantization", ledge__quant_record_json(j->quantizer));
    if (o)
        json_object_set_new(o, "finetune",
                            j->finetune.done
                                ? json_pack("{s:f, s:o}", "epochs", j->finetune.train.epochs,
                                            "loss", cli_json_real(j->finetune.last.loss))
                                : json_null());
    if (o)
        json_object_set_new(o, "search", quantize_more_json(&j->more, j->quantizer));
    return o;
}

static const char *member(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

/* Nodes of one operator with one reason, as {"key": [names]} in the order of their first. */
static json_t *group_float_nodes(const json_t *list)
{
    json_t *groups = json_object(), *item;
    size_t i;
    json_array_foreach(list, i, item)
    {
        char key[300];
        snprintf(key, sizeof key, "%.150s: %.140s", member(item, "op"), member(item, "why"));
        if (!json_object_get(groups, key))
            json_object_set_new(groups, key, json_array());
        json_array_append(json_object_get(groups, key), json_object_get(item, "node"));
    }
    return groups;
}

static void print_float_nodes(const Job *j)
{
    json_t *list = ledge__quant_float_nodes_json(j->quantizer), *names;
    json_t *groups = group_float_nodes(list);
    const char *key;
    if (json_array_size(list))
        printf("stays in float:\n");
    json_object_foreach(groups, key, names)
    {
        const size_t n = json_array_size(names);
        printf("  %zu %s (", n, cli_clean(key));
        for (size_t i = 0; i < n && i < MOST_NAMED; i++)
            printf("%s%s", i ? ", " : "", cli_clean(json_string_value(json_array_get(names, i))));
        printf("%s)\n", n > MOST_NAMED ? ", ..." : "");
    }
    json_decref(groups);
    json_decref(list);
}

static int report(const Job *j)
{
    if (j->o->json)
        return cli_print_json(job_json(j));
    printf("%s: %s", cli_clean(j->o->out), cli_bytes(j->out_bytes));
    printf(" instead of %s (%.2f)\n", cli_bytes(j->in_bytes),
           j->in_bytes ? (double)j->out_bytes / (double)j->in_bytes : 0);
    printf("%s", ledge__quant_mode_name(j->q.mode));
    if (j->q.mode == LEDGE_QUANT_STATIC)
        printf("%s, calibrator %s", j->q.wide ? ", activations of 16 bits" : "",
               ledge__calibrator_name(j->q.calibrator));
    if (j->quantizer->samples)
        printf(", %zu samples", j->quantizer->samples);
    printf(", %.1f s\n", j->seconds);
    printf("%u of %u layers with weights on integers\n", layers(j, true),
           layers(j, true) + layers(j, false));
    if (j->finetune.done)
        printf("trained with rounded values: %.0f epochs, last loss %.4f\n",
               j->finetune.train.epochs, j->finetune.last.loss);
    quantize_more_print(&j->more, j->quantizer);
    print_float_nodes(j);
    return cli_finish();
}

/* Ctrl-C ends the work between two samples; a file being written is finished. */
static int with_interrupts(Job *j)
{
    const uint64_t start = cli_now_ns();
    struct sigaction before;
    cli_interrupts_take(&before);
    int code = CLI_GO;
    if (j->o->calibrate || j->o->dataset || j->o->inputs.n)
        code = calibrate(j);
    if (code == CLI_GO)
        code = write_model(j);
    if (code == CLI_GO)
        code = quantize_more_report(&j->more, j->quantizer, j->o->out, j->in_bytes, j->out_bytes,
                                    j->warnings);
    cli_interrupts_give_back(&before);
    j->seconds = (double)(cli_now_ns() - start) / 1e9;
    return code;
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Options o = {.block = 32, .activations = 8, .more.seed = 1, .finetune.batch = 64};
    CliArgs args;
    Job j = {.o = &o};
    int code = cli_parse(c, argc, argv, 1, 1, &o, &args);
    if (code != CLI_GO)
        return code;
    code = check(c, &o, &j.q);
    if (code == CLI_GO) {
        j.path = args.items[0];
        j.more = (QuantizeMore){.o = &o.more, .q = &j.q, .path = j.path};
        code = quantize_more_check(c, &j.more, o.calibrate || o.dataset || o.inputs.n);
    }
    if (code == CLI_GO)
        code = check_finetune(c, &j);
    if (code == CLI_GO) {
        j.warnings = json_array();
        j.in_bytes = cli_file_size(j.path);
        code = cli_check_output(j.path, o.out);
    }
    if (code == CLI_GO)
        code = open_model(&j);
    if (code == CLI_GO)
        code = with_interrupts(&j);
    if (code == CLI_GO)
        code = report(&j);
    ledge__samples_free(j.samples);
    quantize_more_free(&j.more);
    ledge__quantizer_free(j.quantizer);
    ledge__collector_free(j.collector);
    json_decref(j.warnings);
    cli_args_free(&args);
    return code;
}

const CliCommand cli_quantize = {
    .name = "quantize",
    .arguments = "MODEL",
    .summary = "make a model of 8-bit integers, or of 4-bit weights, as standard ONNX",
    .description = "Writes MODEL with its layers on integers. --mode static quantizes weights and "
                   "activations,\n"
                   "whose ranges it finds on calibration data (100 to 500 samples of what the "
                   "model will see);\n"
                   "dynamic finds them as MatMul and Gemm run; weights keeps float arithmetic; "
                   "int4 packs the\n"
                   "weights of MatMul and Gemm in blocks. What cannot be quantized stays in float "
                   "and is named.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
