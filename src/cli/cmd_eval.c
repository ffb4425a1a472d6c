/* ledge eval: how often models are right on labelled pictures, how often they agree, and what
 * they mistake for what. Every model sees the same decoded picture, prepared its own way. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/out_file.h"
#include "cli/eval_ladder.h"
#include "cli/pictures.h"
#include "cli/placement.h"
#include "image/dataset.h"

typedef struct Options {
    bool json, strict;
    int64_t limit, threads, confused;
    const char *images, *labels, *dataset, *names, *preprocess, *predictions, *min_top1, *cpu,
        *provider, *ladder;
    CliList provider_options;
} Options;

static const CliOption options[] = {
    CLI_OPTION_IMAGES(Options),
    CLI_OPTION_LABELS(Options),
    CLI_OPTION_DATASET(Options),
    CLI_OPTION_LIMIT(Options),
    {"names", 0, CLI_TEXT, "FILE", "class names, one a line; else the model's own",
     offsetof(Options, names), 0, 0},
    CLI_OPTION_PREPROCESS(Options),
    {"confused", 0, CLI_INT, "N", "pairs of classes to show that are mixed up most (5)",
     offsetof(Options, confused), 0, 1000},
    {"predictions", 'o', CLI_TEXT, "FILE", "write each picture's classes as CSV",
     offsetof(Options, predictions), 0, 0},
    {"ladder", 0, CLI_TEXT, "SURE", "top1 or margin: the models, small to large, as a ladder too",
     offsetof(Options, ladder), 0, 0},
    {"min-top1", 0, CLI_TEXT, "PERCENT", "exit with 5 if a model's top-1 is below",
     offsetof(Options, min_top1), 0, 0},
    CLI_OPTION_THREADS(Options),
    CLI_OPTIONS_PROVIDER(Options, CLI_PROVIDER_HELP),
    CLI_OPTION_CPU(Options),
    CLI_OPTION_JSON(Options),
};

typedef struct Pair {
    int32_t truth, answer;
    size_t count;
} Pair;

typedef struct Judged {
    const char *path;
    LedgeModel *model;
    LedgeSession *session;
    CliPictures pictures;
    CliRung rung; /* per picture */
    size_t top1, top5;
    double total_ms;
    Pair *pairs; /* most frequent mistakes first */
    size_t n_pairs;
} Judged;

typedef struct Eval {
    const Options *o;
    LedgeDataset *data;
    size_t n, n_labelled;
    Judged *models;
    size_t n_models;
    LedgeLabels names;
    LedgeOutFile *csv;
    double min_top1;
    LedgeAdaptive *ladder; /* NULL: none is asked for */
} Eval;

static int no_memory(void)
{
    return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
}

static void eval_free(Eval *e)
{
    for (size_t i = 0; e->models && i < e->n_models; i++) {
        ledge_session_free(e->models[i].session);
        ledge_model_free(e->models[i].model);
        free(e->models[i].rung.answers);
        free(e->models[i].rung.sure);
        free(e->models[i].rung.ms);
        free(e->models[i].pairs);
    }
    free(e->models);
    ledge__dataset_free(e->data);
    ledge__labels_free(&e->names);
    ledge__out_file_abort(e->csv);
    ledge_adaptive_free(e->ladder);
}

/* ---- opening ---- */

static int open_data(Eval *e)
{
    LedgeError err = {0};
    LedgeStatus status = e->o->dataset ? ledge__dataset_open(NULL, e->o->dataset, &err, &e->data)
                                       : ledge__dataset_open_folder(NULL, e->o->images,
                                                                    e->o->labels, &err, &e->data);
    if (status)
        return cli_fail(NULL, &err);
    e->n = ledge__dataset_count(e->data);
    if (e->o->limit && (size_t)e->o->limit < e->n)
        e->n = (size_t)e->o->limit;
    return CLI_GO;
}

static int open_model(Eval *e, Judged *j)
{
    LedgeError err = {0};
    CliPictures *p = &j->pictures;
    const CliOpen open = {.path = j->path,
                          .cpu = e->o->cpu,
                          .threads = e->o->threads,
                          .pixels = cli_pictures_ask,
                          .pixels_arg = p,
                          .provider = e->o->provider,
                          .provider_options = e->o->provider_options,
                          .strict = e->o->strict};
    p->preprocess = e->o->preprocess;
    const int code = cli_open(&open, &j->model, &j->session);
    if (code != CLI_GO)
        return code;
    if (ledge_model_input_count(j->model) != 1)
        return cli_fail_with(j->path, LEDGE_ERROR_SHAPE,
                             "eval takes classifiers of one input; this model has %zu",
                             ledge_model_input_count(j->model));
    if (!p->bytes &&
        ledge__preprocess_for_model(j->model, 0, p->preprocess, &err, &p->pre, &p->from))
        return cli_fail(j->path, &err);
    if (strcmp(p->from, "default") == 0)
        cli_warn("%s says nothing of its preprocessing, so pixels go in as they are, 0 to 255; "
                 "--preprocess names another way",
                 j->path);
    j->rung.path = j->path;
    j->rung.answers = malloc((e->n + 1) * sizeof *j->rung.answers);
    j->rung.sure = malloc((e->n + 1) * sizeof *j->rung.sure);
    j->rung.ms = malloc((e->n + 1) * sizeof *j->rung.ms);
    return j->rung.answers && j->rung.sure && j->rung.ms ? CLI_GO : no_memory();
}

static int open_all(Eval *e, const CliArgs *args)
{
    int code = open_data(e);
    if (code != CLI_GO)
        return code;
    e->models = calloc(args->n, sizeof *e->models);
    if (!e->models)
        return no_memory();
    e->n_models = args->n;
    for (size_t i = 0; i < args->n && code == CLI_GO; i++) {
        e->models[i].path = args->items[i];
        code = open_model(e, &e->models[i]);
    }
    if (code == CLI_GO)
        code = cli_labels_load(e->models[0].model, e->o->names, &e->names);
    return code;
}

/* ---- judging ---- */

static int judge(Judged *j, const LedgeAdaptive *ladder, const LedgeSample *sample, size_t index)
{
    LedgeError err = {0};
    LedgeTensor in = {0}, out[8] = {0};
    int64_t best[5];
    const size_t n_out = ledge_model_output_count(j->model);
    if (n_out < 1 || n_out > 8)
        return cli_fail_with(j->path, LEDGE_ERROR_SHAPE,
                             "a classifier has one output; this has %zu", n_out);
    if (cli_pictures_tensor(&j->pictures, &sample->image, &err, &in))
        return cli_fail(sample->name, &err);
    const uint64_t start = cli_now_ns();
    LedgeStatus status = ledge_session_run(j->session, &in, 1, out, n_out, &err);
    const double ms = (double)(cli_now_ns() - start) / 1e6;
    j->total_ms += ms;
    ledge__free(NULL, in.data);
    if (status)
        return cli_fail(j->path, &err);
    if (!ledge__scores_row(&out[0]))
        return cli_fail_with(j->path, LEDGE_ERROR_SHAPE,
                             "a classifier gives one row of scores; this gives %s",
                             cli_tensor_text(&out[0]));
    const size_t k = ledge__scores_top(&out[0], 0, 5, best);
    j->rung.answers[index] = (int32_t)best[0];
    j->rung.ms[index] = (float)ms;
    j->rung.sure[index] = ladder ? (float)ledge_adaptive_confidence(ladder, &out[0]) : 0;
    j->top1 += best[0] == sample->label;
    for (size_t i = 0; i < k; i++)
        j->top5 += best[i] == sample->label;
    return CLI_GO;
}

static int write_row(Eval *e, const LedgeSample *s, size_t index)
{
    char row[600];
    LedgeError err = {0};
    size_t n = (size_t)snprintf(row, sizeof row, "%s,%d", s->name, (int)s->label);
    for (size_t m = 0; m < e->n_models && n < sizeof row - 16; m++)
        n +=
            (size_t)snprintf(row + n, sizeof row - n, ",%d", (int)e->models[m].rung.answers[index]);
    row[n++] = '\n';
    if (ledge__out_file_write(e->csv, row, n, &err))
        return cli_fail_writing(e->o->predictions, &err);
    return CLI_GO;
}

static int judge_all(Eval *e)
{
    int code = CLI_GO;
    for (size_t i = 0; i < e->n && code == CLI_GO; i++) {
        LedgeSample s;
        LedgeError err = {0};
        if (ledge__dataset_read(e->data, i, &err, &s))
            return cli_fail(NULL, &err);
        e->n_labelled += s.label >= 0;
        for (size_t m = 0; m < e->n_models && code == CLI_GO; m++)
            code = judge(&e->models[m], e->ladder, &s, i);
        if (code == CLI_GO && e->csv)
            code = write_row(e, &s, i);
        ledge__image_free(&s.image);
        cli_progress("eval", i + 1, e->n);
    }
    cli_progress_end();
    return code;
}

static int compare_pairs(const void *a, const void *b)
{
    const Pair *x = a, *y = b;
    if (x->truth != y->truth)
        return x->truth < y->truth ? -1 : 1;
    return (x->answer > y->answer) - (x->answer < y->answer);
}

static int frequent_first(const void *a, const void *b)
{
    const Pair *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return compare_pairs(a, b);
}

/* The mistakes, counted by pair of classes. */
static int count_mistakes(const Eval *e, Judged *j)
{
    size_t n = 0, kinds = 0;
    j->pairs = malloc((e->n + 1) * sizeof *j->pairs);
    if (!j->pairs)
        return no_memory();
    for (size_t i = 0; i < e->n; i++) {
        const int32_t truth = ledge__dataset_label(e->data, i);
        if (truth >= 0 && truth != j->rung.answers[i])
            j->pairs[n++] = (Pair){truth, j->rung.answers[i], 1};
    }
    qsort(j->pairs, n, sizeof *j->pairs, compare_pairs);
    for (size_t i = 0; i < n; i++) {
        if (kinds && compare_pairs(&j->pairs[kinds - 1], &j->pairs[i]) == 0)
            j->pairs[kinds - 1].count++;
        else
            j->pairs[kinds++] = j->pairs[i];
    }
    qsort(j->pairs, kinds, sizeof *j->pairs, frequent_first);
    j->n_pairs = kinds < (size_t)e->o->confused ? kinds : (size_t)e->o->confused;
    return CLI_GO;
}

static size_t agreement(const Eval *e, size_t a, size_t b)
{
    size_t n = 0;
    for (size_t i = 0; i < e->n; i++)
        n += e->models[a].rung.answers[i] == e->models[b].rung.answers[i];
    return n;
}

/* ---- the answer ---- */

static double share(size_t part, size_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

static json_t *class_json(const Eval *e, int32_t index)
{
    const char *name = ledge__label(&e->names, index);
    return json_pack("{s:i, s:o}", "class", (int)index, "label",
                     name ? cli_json_text(name) : json_null());
}

static json_t *model_json(const Eval *e, const Judged *j)
{
    json_t *confused = json_array();
    for (size_t i = 0; i < j->n_pairs; i++)
        json_array_append_new(confused, json_pack("{s:o, s:o, s:I}", "truth",
                                                  class_json(e, j->pairs[i].truth), "answer",
                                                  class_json(e, j->pairs[i].answer), "count",
                                                  (json_int_t)j->pairs[i].count));
    const bool known = e->n_labelled > 0;
    return json_pack(
        "{s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o}", "placement",
        cli_placement_json(ledge_session_placement(j->session)), "model", cli_json_text(j->path),
        "top1_count", (json_int_t)j->top1, "top5_count", (json_int_t)j->top5, "top1",
        known ? json_real(share(j->top1, e->n_labelled)) : json_null(), "top5",
        known ? json_real(share(j->top5, e->n_labelled)) : json_null(), "milliseconds_avg",
        cli_json_real(j->total_ms / (double)e->n), "confused", confused);
}

static size_t curve(const Eval *e, CliRung *rungs, CliLadderPoint *points)
{
    int32_t *labels = malloc((e->n + 1) * sizeof *labels);
    size_t n = 0;
    for (size_t m = 0; m < e->n_models; m++)
        rungs[m] = e->models[m].rung;
    for (size_t i = 0; labels && i < e->n; i++)
        labels[i] = ledge__dataset_label(e->data, i);
    if (labels)
        n = cli_ladder_curve(rungs, e->n_models, labels, e->n, points);
    free(labels);
    return n;
}

static json_t *ladder_json(const Eval *e)
{
    CliRung rungs[LEDGE_ADAPTIVE_RUNGS];
    CliLadderPoint points[CLI_LADDER_POINTS];
    const Judged *last = &e->models[e->n_models - 1];
    const size_t n = curve(e, rungs, points);
    return cli_ladder_json(e->n_models, points, n, e->n, last->top1, last->total_ms / (double)e->n);
}

static void print_ladder(const Eval *e)
{
    CliRung rungs[LEDGE_ADAPTIVE_RUNGS];
    CliLadderPoint points[CLI_LADDER_POINTS];
    const Judged *last = &e->models[e->n_models - 1];
    const size_t n = curve(e, rungs, points);
    cli_ladder_print(rungs, e->n_models, points, n, e->n, last->top1,
                     last->total_ms / (double)e->n);
}

static json_t *eval_json(const Eval *e, bool passed)
{
    json_t *models = json_array(), *agree = json_array();
    for (size_t m = 0; m < e->n_models; m++)
        json_array_append_new(models, model_json(e, &e->models[m]));
    for (size_t a = 0; a < e->n_models; a++)
        for (size_t b = a + 1; b < e->n_models; b++)
            json_array_append_new(agree, json_pack("{s:o, s:o, s:I, s:f}", "a",
                                                   cli_json_text(e->models[a].path), "b",
                                                   cli_json_text(e->models[b].path), "count",
                                                   (json_int_t)agreement(e, a, b), "share",
                                                   share(agreement(e, a, b), e->n)));
    return json_pack("{s:I, s:I, s:o, s:o, s:o*, s:b}", "pictures", (json_int_t)e->n, "labelled",
                     (json_int_t)e->n_labelled, "models", models, "agreement", agree, "ladder",
                     e->ladder ? ladder_json(e) : NULL, "passed", (int)passed);
}

static void print_class(const Eval *e, int32_t index)
{
    const char *name = ledge__label(&e->names, index);
    if (name)
        printf("%s", cli_clean(name));
    else
        printf("%d", (int)index);
}

static void print_model(const Eval *e, const Judged *j)
{
    printf("%s\n", cli_clean(j->path));
    if (e->n_labelled)
        printf("  top-1 %.2f%% (%zu of %zu)  top-5 %.2f%%", 100 * share(j->top1, e->n_labelled),
               j->top1, e->n_labelled, 100 * share(j->top5, e->n_labelled));
    printf("  %.2f ms a picture\n", j->total_ms / (double)e->n);
    for (size_t i = 0; i < j->n_pairs; i++) {
        printf(i ? "               " : "  mixed up     ");
        print_class(e, j->pairs[i].truth);
        printf(" taken for ");
        print_class(e, j->pairs[i].answer);
        printf(", %zu time%s\n", j->pairs[i].count, j->pairs[i].count == 1 ? "" : "s");
    }
}

static void print_eval(const Eval *e)
{
    printf("%zu pictures\n", e->n);
    for (size_t m = 0; m < e->n_models; m++)
        print_model(e, &e->models[m]);
    for (size_t a = 0; a < e->n_models; a++)
        for (size_t b = a + 1; b < e->n_models; b++)
            printf("%s and %s agree on %zu of %zu (%.2f%%)\n", cli_clean(e->models[a].path),
                   cli_clean(e->models[b].path), agreement(e, a, b), e->n,
                   100 * share(agreement(e, a, b), e->n));
    if (e->ladder)
        print_ladder(e);
}

static int report(Eval *e)
{
    bool passed = true;
    for (size_t m = 0; m < e->n_models; m++) {
        cli_placement_warn(ledge_session_placement(e->models[m].session));
        const int code = count_mistakes(e, &e->models[m]);
        if (code != CLI_GO)
            return code;
        passed &= 100 * share(e->models[m].top1, e->n_labelled) >= e->min_top1;
    }
    int code = CLI_OK;
    if (e->o->json) {
        code = cli_print_json(eval_json(e, passed));
    } else {
        print_eval(e);
        code = cli_finish();
    }
    if (!passed)
        fprintf(stderr, "ledge: top-1 is below the %s%% asked for\n", e->o->min_top1);
    return code == CLI_OK && !passed ? CLI_GATE : code;
}

static int write_header(Eval *e)
{
    LedgeError err = {0};
    LedgeStatus s = ledge__out_file_open(NULL, e->o->predictions, &err, &e->csv);
    if (!s)
        s = ledge__out_file_write(e->csv, "file,class_id", 13, &err);
    for (size_t m = 0; m < e->n_models && !s; m++) {
        char name[300];
        const char *slash = strrchr(e->models[m].path, '/');
        const int n = snprintf(name, sizeof name, ",%.250s", slash ? slash + 1 : e->models[m].path);
        s = ledge__out_file_write(e->csv, name, (size_t)n, &err);
    }
    if (!s)
        s = ledge__out_file_write(e->csv, "\n", 1, &err);
    return s ? cli_fail_writing(e->o->predictions, &err) : CLI_GO;
}

static int evaluate(Eval *e, const CliArgs *args)
{
    LedgeError err = {0};
    const LedgeAdaptiveOptions how = {
        .confidence = e->o->ladder && strcmp(e->o->ladder, "margin") == 0 ? LEDGE_CONFIDENCE_MARGIN
                                                                          : LEDGE_CONFIDENCE_TOP1};
    if (e->o->ladder && ledge_adaptive_create((uint32_t)args->n, &how, &err, &e->ladder))
        return cli_fail(NULL, &err);
    int code = open_all(e, args);
    if (code == CLI_GO && e->o->predictions)
        code = write_header(e);
    if (code == CLI_GO)
        code = judge_all(e);
    if (code != CLI_GO)
        return code;
    if (e->csv) {
        LedgeOutFile *csv = e->csv;
        e->csv = NULL;
        if (ledge__out_file_commit(csv, &err))
            return cli_fail_writing(e->o->predictions, &err);
    }
    return report(e);
}

static int check(const CliCommand *c, const Options *o, double *min_top1)
{
    if (!o->images == !o->dataset)
        return cli_usage(c, "give --images DIR or --dataset SET");
    if (o->labels && !o->images)
        return cli_usage(c, "--labels goes with --images");
    if (o->ladder && strcmp(o->ladder, "top1") != 0 && strcmp(o->ladder, "margin") != 0)
        return cli_usage(c, "--ladder takes top1 or margin");
    *min_top1 = 0;
    if (o->min_top1 && !cli_number(o->min_top1, 0, 100, min_top1))
        return cli_usage(c, "--min-top1 takes a percentage from 0 to 100");
    return CLI_GO;
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Options o = {.confused = 5};
    CliArgs args;
    Eval e = {.o = &o};
    int code = cli_parse(c, argc, argv, 1, 64, &o, &args);
    if (code != CLI_GO)
        return code;
    code = check(c, &o, &e.min_top1);
    if (code == CLI_GO)
        code = evaluate(&e, &args);
    eval_free(&e);
    cli_args_free(&args);
    return code;
}

const CliCommand cli_eval = {
    .name = "eval",
    .arguments = "MODEL...",
    .summary = "measure accuracy on labelled pictures, and agreement between models",
    .description =
        "Runs each model on every picture of a folder (--images, with --labels) or a data set\n"
        "(--dataset cifar10:FILE, mnist:IMAGES[,LABELS]) and prints top-1, top-5, how often\n"
        "models agree, and which classes are mixed up most.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
