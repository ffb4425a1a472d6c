/* ledge run: inputs in, answers out. Pictures are preprocessed as the model says, .npy files
 * go in as they are; one row of scores is shown as the best classes, anything else as a
 * summary; --output keeps whole tensors. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "cli/pictures.h"
#include "cli/placement.h"
#include "image/npy.h"

typedef struct Options {
    bool json, no_optimize, strict;
    int64_t threads, top;
    const char *labels, *preprocess, *output, *cpu, *provider;
    CliList inputs, provider_options;
} Options;

static const CliOption options[] = {
    {"top", 'k', CLI_INT, "K", "best classes to show (5)", offsetof(Options, top), 1, 1000},
    {"labels", 'l', CLI_TEXT, "FILE", "class names, one a line; else the model's own",
     offsetof(Options, labels), 0, 0},
    CLI_OPTION_PREPROCESS(Options),
    {"input", 'i', CLI_LIST, "NAME=F.npy", "a tensor for the named input",
     offsetof(Options, inputs), 0, 0},
    {"output", 'o', CLI_TEXT, "DIR", "write every output there as .npy", offsetof(Options, output),
     0, 0},
    CLI_OPTION_THREADS(Options),
    CLI_OPTIONS_PROVIDER(Options, CLI_PROVIDER_HELP),
    CLI_OPTION_CPU(Options),
    {"no-optimize", 0, CLI_FLAG, NULL, "run the graph as it stands in the file",
     offsetof(Options, no_optimize), 0, 0},
    CLI_OPTION_JSON(Options),
};

typedef struct Run {
    const Options *o;
    const char *path;
    LedgeModel *model;
    LedgeSession *session;
    LedgeLabels labels;
    LedgeTensor *outputs;
    size_t n_outputs;
    size_t n_files; /* positional inputs, each a run of its own */
    json_t *results;
    bool told_default;
    CliPictures pictures;
} Run;

static void run_free(Run *r)
{
    ledge_session_free(r->session);
    ledge_model_free(r->model);
    ledge__labels_free(&r->labels);
    free(r->outputs);
    json_decref(r->results);
}

/* ---- inputs ---- */

static bool is_npy(const char *file)
{
    const size_t n = strlen(file);
    return n > 4 && strcmp(file + n - 4, ".npy") == 0;
}

static size_t first_empty(const CliInputs *in)
{
    size_t i = 0;
    while (i < in->n && in->tensors[i].data)
        i++;
    return i;
}

static int load_picture(Run *r, const char *file, CliInputs *in)
{
    LedgeError err = {0};
    CliPictures *p = &r->pictures;
    LedgeImage image = {0};
    const size_t index = first_empty(in);
    if (index >= in->n)
        return cli_fail_with(file, LEDGE_ERROR_SHAPE,
                             "the model takes %zu inputs; this is one too "
                             "many",
                             in->n);
    if (!p->bytes &&
        ledge__preprocess_for_model(r->model, index, r->o->preprocess, &err, &p->pre, &p->from))
        return cli_fail(r->path, &err);
    if (strcmp(p->from, "default") == 0 && !r->told_default)
        cli_warn("%s says nothing of its preprocessing, so pixels go in as they are, 0 to 255; "
                 "--preprocess names another way",
                 r->path);
    r->told_default = true;
    LedgeStatus status = ledge__image_load(NULL, file, &err, &image);
    if (!status)
        status = cli_pictures_tensor(p, &image, &err, &in->tensors[index]);
    ledge__image_free(&image);
    return status ? cli_fail(file, &err) : CLI_GO;
}

static int load_inputs(Run *r, const char *file, CliInputs *in)
{
    if (!cli_inputs_new(r->model, in))
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    int code = cli_inputs_files(r->model, &r->o->inputs, in);
    if (code == CLI_GO && file && is_npy(file))
        code = cli_inputs_files(r->model, &(CliList){&file, 1}, in);
    else if (code == CLI_GO && file)
        code = load_picture(r, file, in);
    const size_t missing = first_empty(in);
    if (code == CLI_GO && missing < in->n)
        return cli_fail_with(r->path, LEDGE_ERROR_SHAPE,
                             "input '%s' (%s) is not given; use --input %s=FILE.npy",
                             ledge_model_input(r->model, missing)->name,
                             cli_info_text(ledge_model_input(r->model, missing)),
                             ledge_model_input(r->model, missing)->name);
    return code;
}

/* ---- outputs ---- */

/* Any tensor name as a file name: letters, digits, '.', '-', '_'; no leading dot. */
static void file_name(const char *name, char *to, size_t size)
{
    size_t n = 0;
    for (; name[n] && n + 1 < size; n++) {
        const char ch = name[n];
        const bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                           (ch >= '0' && ch <= '9') || ch == '-' || ch == '_' ||
                           (ch == '.' && n > 0);
        to[n] = plain ? ch : '_';
    }
    to[n] = '\0';
}

/* The i-th output's file name; numbered where an earlier output has the same. */
static void output_name(const Run *r, size_t i, char *to, size_t size)
{
    char other[200];
    const char *own = ledge_model_output(r->model, i)->name;
    file_name(*own ? own : "output", to, size - 24);
    for (size_t k = 0; k < i; k++) {
        own = ledge_model_output(r->model, k)->name;
        file_name(*own ? own : "output", other, sizeof other - 24);
        if (strcmp(other, to) == 0) {
            snprintf(to + strlen(to), 24, "-%zu", i);
            return;
        }
    }
}

static int save_outputs(Run *r, const char *file)
{
    char stem[200] = "";
    LedgeError err = {0};
    if (mkdir(r->o->output, 0777) != 0 && errno != EEXIST) {
        cli_fail_with(r->o->output, LEDGE_ERROR_IO, "cannot make the folder: %s", strerror(errno));
        return CLI_FAILED;
    }
    if (file && r->n_files > 1) { /* cat.jpg → cat. */
        const char *slash = strrchr(file, '/');
        file_name(slash ? slash + 1 : file, stem, sizeof stem - 1);
        char *dot = strrchr(stem, '.');
        strcpy(dot ? dot : stem + strlen(stem), ".");
    }
    for (size_t i = 0; i < r->n_outputs; i++) {
        char name[200], path[4096];
        output_name(r, i, name, sizeof name);
        snprintf(path, sizeof path, "%s/%s%s.npy", r->o->output, stem, name);
        if (ledge__npy_save(path, &r->outputs[i], &err))
            return cli_fail_writing(path, &err);
    }
    return CLI_GO;
}

/* ---- answers ---- */

typedef struct Best {
    int64_t index[1000];
    double probability[1000];
    size_t n;
} Best;

static void find_best(const Run *r, Best *best)
{
    best->n = ledge__scores_top(&r->outputs[0], 0, (size_t)r->o->top, best->index);
    ledge__scores_probabilities(&r->outputs[0], 0, best->index, best->n, best->probability);
}

static json_t *best_json(const Run *r, const Best *best)
{
    json_t *a = json_array();
    for (size_t i = 0; i < best->n; i++) {
        const char *label = ledge__label(&r->labels, best->index[i]);
        json_array_append_new(
            a, json_pack("{s:I, s:o, s:o, s:o}", "class", (json_int_t)best->index[i], "label",
                         label ? cli_json_text(label) : json_null(), "score",
                         cli_json_real(ledge__tensor_number(&r->outputs[0], best->index[i])),
                         "probability", cli_json_real(best->probability[i])));
    }
    return a;
}

static void print_best(const Run *r, const Best *best)
{
    for (size_t i = 0; i < best->n; i++) {
        const char *label = ledge__label(&r->labels, best->index[i]);
        printf("  %5.1f%%  %5" PRId64 "  %s\n", 100 * best->probability[i], best->index[i],
               label ? cli_clean(label) : "");
    }
}

typedef struct Summary {
    double least, most, mean;
    bool known;
} Summary;

static Summary summarise(const LedgeTensor *t)
{
    Summary s = {INFINITY, -INFINITY, 0, false};
    const int64_t n = ledge_tensor_count(t);
    if (!cli_is_number(t->type) || n < 1)
        return s;
    for (int64_t i = 0; i < n; i++) {
        const double v = ledge__tensor_number(t, i);
        s.least = v < s.least ? v : s.least;
        s.most = v > s.most ? v : s.most;
        s.mean += v / (double)n;
    }
    s.known = true;
    return s;
}

static json_t *outputs_json(const Run *r)
{
    json_t *a = json_array();
    for (size_t i = 0; i < r->n_outputs; i++) {
        const LedgeTensor *t = &r->outputs[i];
        const Summary s = summarise(t);
        json_t *shape = json_array();
        for (int32_t d = 0; d < t->rank; d++)
            json_array_append_new(shape, json_integer(t->dims[d]));
        json_array_append_new(a, json_pack("{s:o, s:s, s:o, s:o, s:o, s:o}", "name",
                                           cli_json_text(ledge_model_output(r->model, i)->name),
                                           "type", ledge_type_name(t->type), "shape", shape, "min",
                                           s.known ? cli_json_real(s.least) : json_null(), "max",
                                           s.known ? cli_json_real(s.most) : json_null(), "mean",
                                           s.known ? cli_json_real(s.mean) : json_null()));
    }
    return a;
}

static void print_outputs(const Run *r)
{
    for (size_t i = 0; i < r->n_outputs; i++) {
        const Summary s = summarise(&r->outputs[i]);
        printf("  %-20s %s", cli_clean(ledge_model_output(r->model, i)->name),
               cli_tensor_text(&r->outputs[i]));
        if (s.known)
            printf("  min %.6g  max %.6g  mean %.6g", s.least, s.most, s.mean);
        printf("\n");
    }
}

static void answer(Run *r, const char *file, double ms)
{
    static Best best;
    const bool scores = r->n_outputs == 1 && ledge__scores_row(&r->outputs[0]);
    if (scores)
        find_best(r, &best);
    if (r->o->json) {
        json_t *one =
            json_pack("{s:o, s:f, s:o}", "input", file ? cli_json_text(file) : json_null(),
                      "milliseconds", ms, "outputs", outputs_json(r));
        if (one && scores)
            json_object_set_new(one, "top", best_json(r, &best));
        json_array_append_new(r->results, one);
        return;
    }
    printf("%s  (%.2f ms)\n", file ? cli_clean(file) : cli_clean(r->path), ms);
    if (scores)
        print_best(r, &best);
    else
        print_outputs(r);
}

static int run_file(Run *r, const char *file)
{
    CliInputs in = {0};
    LedgeError err = {0};
    int code = load_inputs(r, file, &in);
    for (size_t i = 0; i < r->n_outputs; i++)
        r->outputs[i].data = NULL;
    const uint64_t start = cli_now_ns();
    if (code == CLI_GO &&
        ledge_session_run(r->session, in.tensors, in.n, r->outputs, r->n_outputs, &err))
        code = cli_fail(file ? file : r->path, &err);
    const double ms = (double)(cli_now_ns() - start) / 1e6;
    if (code == CLI_GO)
        answer(r, file, ms);
    if (code == CLI_GO && r->o->output)
        code = save_outputs(r, file);
    cli_inputs_free(&in);
    return code;
}

/* Every input is a picture, so the model may take bytes. */
static bool only_pictures(const Run *r, const CliArgs *args)
{
    for (size_t i = 1; i < args->n; i++)
        if (is_npy(args->items[i]))
            return false;
    return args->n > 1 && r->o->inputs.n == 0;
}

static int run_all(Run *r, const CliArgs *args)
{
    const CliOpen open = {.path = r->path,
                          .cpu = r->o->cpu,
                          .no_optimize = r->o->no_optimize,
                          .threads = r->o->threads,
                          .pixels = only_pictures(r, args) ? cli_pictures_ask : NULL,
                          .pixels_arg = &r->pictures,
                          .provider = r->o->provider,
                          .provider_options = r->o->provider_options,
                          .strict = r->o->strict};
    r->pictures.preprocess = r->o->preprocess;
    int code = cli_open(&open, &r->model, &r->session);
    if (code == CLI_GO)
        code = cli_labels_load(r->model, r->o->labels, &r->labels);
    if (code != CLI_GO)
        return code;
    r->n_outputs = ledge_model_output_count(r->model);
    r->outputs = calloc(r->n_outputs + 1, sizeof *r->outputs);
    r->results = json_array();
    if (!r->outputs || !r->results)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    if (args->n == 1)
        code = run_file(r, NULL);
    for (size_t i = 1; i < args->n && code == CLI_GO; i++)
        code = run_file(r, args->items[i]);
    if (code != CLI_GO)
        return code;
    const LedgePlacement *placement = ledge_session_placement(r->session);
    cli_placement_warn(placement);
    if (!r->o->json) {
        printf("%s\n", cli_placement_line(placement));
        return cli_finish();
    }
    json_incref(r->results);
    return cli_print_json(json_pack("{s:o, s:o, s:o, s:o}", "model", cli_json_text(r->path),
                                    "provider", cli_json_text(placement->got), "placement",
                                    cli_placement_json(placement), "results", r->results));
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Options o = {.top = 5};
    CliArgs args;
    int code = cli_parse(c, argc, argv, 1, SIZE_MAX, &o, &args);
    if (code != CLI_GO)
        return code;
    Run r = {.o = &o, .path = args.items[0], .n_files = args.n - 1};
    code = run_all(&r, &args);
    run_free(&r);
    cli_args_free(&args);
    return code;
}

const CliCommand cli_run = {
    .name = "run",
    .arguments = "MODEL [INPUT...]",
    .summary = "run a model on pictures or .npy files",
    .description =
        "Runs the model once for each INPUT. A .jpg or .png is resized, cropped and scaled as the\n"
        "model's metadata (or --preprocess) says; a .npy goes in as it is. A row of scores is\n"
        "shown as the best classes; other outputs as a summary, and whole with --output.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
