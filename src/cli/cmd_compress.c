/* ledge compress: prune, distill, quantize and certify a model in one go, by a recipe.
 *
 * Each step is a `ledge` process of its own, whose model the next one takes. What they made is
 * measured side by side and shown as a table and, on request, as a page. The model that is read is
 * never touched; the last one is written when all steps are through. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/out_file.h"
#include "cli/compress_steps.h"
#include "cli/interrupt.h"
#include "cli/model_io.h"
#include "image/dataset.h"
#include "report/html_report.h"

typedef struct Options {
    bool json;
    int64_t threads;
    const char *out, *recipe, *test, *preprocess, *report, *stages;
    CliList train;
} Options;

static const CliOption options[] = {
    {"output", 'o', CLI_TEXT, "FILE", "the compressed model to write", offsetof(Options, out), 0,
     0},
    {"recipe", 0, CLI_TEXT, "FILE", "steps and their options as JSON, or default",
     offsetof(Options, recipe), 0, 0},
    {"train", 0, CLI_LIST, "SET", "cifar10:FILE, mnist:IMAGES[,LABELS], folder:DIR,CSV to train on",
     offsetof(Options, train), 0, 0},
    {"test", 0, CLI_TEXT, "SET", "the same, to measure on", offsetof(Options, test), 0, 0},
    CLI_OPTION_PREPROCESS(Options),
    {"report", 0, CLI_TEXT, "R.html", "write a page on what each step lost and won",
     offsetof(Options, report), 0, 0},
    {"stages", 0, CLI_TEXT, "DIR", "keep the models of all steps in this new folder",
     offsetof(Options, stages), 0, 0},
    CLI_OPTION_THREADS(Options),
    CLI_OPTION_JSON(Options),
};

/* ---- before the work ---- */

/* What a step cannot do without, told before the first of them runs for an hour. */
static int check_step(const CliCommand *c, const Options *o, const RecipeStep *s)
{
    if (s->kind == RECIPE_DISTILL && !o->train.n && !recipe_has(s, "--data"))
        return cli_usage(c, "the step 'distill' needs data to train on: --train SET");
    if (s->kind == RECIPE_QUANTIZE && !o->train.n && recipe_needs_data(s))
        return cli_usage(c, "the step 'quantize' needs data to find ranges on: --train SET");
    if (s->kind == RECIPE_CERTIFY && !o->test && !recipe_has(s, "--dataset") &&
        !recipe_has(s, "--images"))
        return cli_usage(c, "the step 'certify' needs labelled pictures: --test SET");
    if (s->kind == RECIPE_PRUNE && !o->train.n && recipe_has(s, "--epochs"))
        return cli_usage(c, "the step 'prune' trains for so many epochs, but on what? --train SET");
    return CLI_GO;
}

static int check(const CliCommand *c, const Options *o, Compress *k)
{
    LedgeError err = {0};
    if (!o->out)
        return cli_usage(c, "give the file to write: -o OUT.onnx");
    if (recipe_read(o->recipe ? o->recipe : "default", &err, &k->recipe))
        return cli_fail(NULL, &err);
    for (size_t i = 0; i < k->recipe.n; i++) {
        const int wrong = check_step(c, o, &k->recipe.steps[i]);
        if (wrong != CLI_GO)
            return wrong;
    }
    if (access(k->path, R_OK) != 0)
        return cli_fail_with(k->path, LEDGE_ERROR_IO, "cannot be opened: %s", strerror(errno));
    const int code = cli_check_output(k->path, o->out);
    if (code != CLI_GO)
        return code;
    if (o->report && ledge__out_file_try(NULL, o->report, &err))
        return cli_fail_writing(o->report, &err);
    return CLI_GO;
}

/* The folder of the steps' models: beside the output, so that it is on a disk with room. */
static int make_folder(Compress *k, const Options *o)
{
    const int n = o->stages ? snprintf(k->folder, sizeof k->folder, "%s", o->stages)
                            : snprintf(k->folder, sizeof k->folder, "%s.steps-XXXXXX", o->out);
    bool ok = n > 0 && (size_t)n + 64 < sizeof k->folder;
    if (ok)
        ok = o->stages ? mkdir(k->folder, 0777) == 0 : mkdtemp(k->folder) != NULL;
    if (!ok) {
        cli_fail_with(o->stages ? o->stages : o->out, LEDGE_ERROR_IO,
                      "no folder for the steps' models can be made: %s", strerror(errno));
        k->folder[0] = '\0';
        return CLI_FAILED;
    }
    if (k->recipe.steps[k->recipe.n - 1].kind == RECIPE_CERTIFY)
        snprintf(k->certificate, sizeof k->certificate, "%s/certificate.json", k->folder);
    return CLI_GO;
}

static void remove_folder(const Compress *k)
{
    char path[PATH_MAX + 32];
    for (size_t i = 1; i <= k->recipe.n && k->folder[0]; i++) {
        static const char *const ends[] = {"", ".checkpoint"};
        for (size_t e = 0; e < 2; e++) {
            snprintf(path, sizeof path, "%s/%zu-%s.onnx%s", k->folder, i,
                     recipe_kind_name(k->recipe.steps[i - 1].kind), ends[e]);
            unlink(path);
        }
    }
    if (k->certificate[0])
        unlink(k->certificate);
    if (k->folder[0])
        rmdir(k->folder);
}

/* ---- the work ---- */

static int run_steps(Compress *k)
{
    for (size_t i = 0; i < k->recipe.n; i++) {
        const RecipeKind kind = k->recipe.steps[i].kind;
        if (cli_interrupted)
            return cli_was_interrupted();
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "step %zu of %zu: %s\n", i + 1, k->recipe.n, recipe_kind_name(kind));
        const int code = compress_step(k, i);
        if (code == CLI_GATE && kind == RECIPE_CERTIFY)
            return CLI_GATE; /* the table says why */
        if (code != CLI_OK)
            return code;
    }
    return CLI_GO;
}

static int copy_file(const char *from, const char *to)
{
    LedgeError err = {0};
    LedgeOutFile *out = NULL;
    char buffer[65536];
    size_t n;
    FILE *f = fopen(from, "rb");
    if (!f)
        return cli_fail_with(from, LEDGE_ERROR_IO, "cannot be read: %s", strerror(errno));
    LedgeStatus s = ledge__out_file_open(NULL, to, &err, &out);
    while (!s && (n = fread(buffer, 1, sizeof buffer, f)) > 0)
        s = ledge__out_file_write(out, buffer, n, &err);
    const bool unread = ferror(f) != 0;
    fclose(f);
    if (s || unread)
        ledge__out_file_abort(out);
    else
        s = ledge__out_file_commit(out, &err);
    if (unread)
        return cli_fail_with(from, LEDGE_ERROR_IO, "cannot be read to its end");
    return s ? cli_fail_writing(to, &err) : CLI_GO;
}

static int write_results(Compress *k)
{
    char path[PATH_MAX];
    int code = copy_file(k->rows[k->n_rows - 1].path, k->out);
    if (code == CLI_GO && k->certificate[0]) {
        snprintf(path, sizeof path, "%s.cert.json", k->out);
        code = copy_file(k->certificate, path);
    }
    return code;
}

/* ---- the result ---- */

static void print_table(const Compress *k)
{
    printf("%-12s %10s %8s %8s %11s %8s %9s\n", "method", "size", "", "top-1", "latency p50", "",
           "MACs");
    for (size_t i = 0; i < k->n_rows; i++) {
        const CompressRow *r = &k->rows[i];
        char top1[16] = "-";
        if (isfinite(r->top1))
            snprintf(top1, sizeof top1, "%.2f%%", 100 * r->top1);
        printf("%-12s %10s ", r->name, cli_bytes(r->bytes));
        printf("%7.2fx %8s %8.3g ms ", (double)r->bytes / (double)k->rows[0].bytes, top1, r->ms);
        printf("%7.2fx %9s\n", r->ms / k->rows[0].ms, cli_count((uint64_t)r->macs));
    }
}

static json_t *rows_json(const Compress *k)
{
    json_t *list = json_array();
    for (size_t i = 0; i < k->n_rows; i++) {
        const CompressRow *r = &k->rows[i];
        json_array_append_new(
            list, json_pack("{s:s, s:I, s:I, s:I, s:o, s:o}", "method", r->name, "bytes",
                            (json_int_t)r->bytes, "macs", (json_int_t)r->macs, "integer_macs",
                            (json_int_t)r->integer_macs, "top1", cli_json_real(r->top1),
                            "latency_ms", cli_json_real(r->ms)));
    }
    return list;
}

/* The words of each step, as they could be given to the command itself. */
static size_t list_settings(const Compress *k, char text[][400], LedgeHtmlPair *to)
{
    for (size_t i = 0; i < k->recipe.n; i++) {
        const RecipeStep *s = &k->recipe.steps[i];
        size_t used = 0;
        text[i][0] = '\0';
        for (size_t w = 0; w < s->n_words && used < 400; w++)
            used += (size_t)snprintf(text[i] + used, 400 - used, "%s%s", w ? " " : "", s->words[w]);
        to[i] = (LedgeHtmlPair){recipe_kind_name(s->kind), text[i][0] ? text[i] : "as it comes"};
    }
    return k->recipe.n;
}

static size_t pictures_of(const Compress *k)
{
    LedgeError err = {0};
    LedgeDataset *d = NULL;
    if (!k->test || ledge__dataset_open(NULL, k->test, &err, &d))
        return 0;
    const size_t n = ledge__dataset_count(d);
    ledge__dataset_free(d);
    return n;
}

static int write_report(const Compress *k, const char *path)
{
    LedgeError err = {0};
    char text[RECIPE_MOST_STEPS][400], cpu[200], date[40], pictures[300];
    LedgeHtmlPair settings[RECIPE_MOST_STEPS];
    LedgeHtmlVariant variants[RECIPE_MOST_STEPS + 1];
    const time_t now = time(NULL);
    const int threads = cli_threads(k->threads);
    struct tm tm;
    const char *slash = strrchr(k->out, '/');
    for (size_t i = 0; i < k->n_rows; i++)
        variants[i] = (LedgeHtmlVariant){.name = k->rows[i].name,
                                         .bytes = k->rows[i].bytes,
                                         .top1 = k->rows[i].top1,
                                         .top5 = NAN,
                                         .agreement = NAN,
                                         .p50_ms = k->rows[i].ms,
                                         .p90_ms = NAN,
                                         .integer_share = (double)k->rows[i].integer_macs /
                                                          (double)(k->rows[i].macs + 1),
                                         .is_reference = i == 0,
                                         .is_chosen = i + 1 == k->n_rows};
    snprintf(cpu, sizeof cpu, "%s, %d thread%s", ledge__cpu_model_name(), threads,
             threads == 1 ? "" : "s");
    snprintf(pictures, sizeof pictures, "pictures of %s", k->test ? k->test : "nothing");
    strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &tm));
    const LedgeHtmlReport r = {.title = slash ? slash + 1 : k->out,
                               .version = ledge_version(),
                               .date = date,
                               .cpu = cpu,
                               .n_pictures = pictures_of(k),
                               .pictures = pictures,
                               .variants = variants,
                               .n_variants = k->n_rows,
                               .settings = settings,
                               .n_settings = list_settings(k, text, settings)};
    return ledge__html_report_write(&r, path, &err) ? cli_fail_writing(path, &err) : CLI_GO;
}

static int report(const Compress *k, const Options *o, bool written)
{
    if (!o->json) {
        print_table(k);
        if (written)
            printf("written: %s%s\n", cli_clean(k->out),
                   k->certificate[0] ? ", with its certificate beside it" : "");
        return cli_finish();
    }
    return cli_print_json(json_pack("{s:o, s:o, s:b, s:o, s:O}", "model", cli_json_text(k->path),
                                    "output", cli_json_text(k->out), "written", written, "table",
                                    rows_json(k), "steps", k->answers));
}

static int work(Compress *k, const Options *o)
{
    const int steps = run_steps(k);
    if (steps != CLI_GO && steps != CLI_GATE)
        return steps;
    int code = compress_measure(k);
    if (code == CLI_GO && steps == CLI_GO)
        code = write_results(k);
    if (code == CLI_GO && o->report)
        code = write_report(k, o->report);
    if (code == CLI_GO)
        code = report(k, o, steps == CLI_GO);
    return code == CLI_OK && steps == CLI_GATE ? CLI_GATE : code;
}

static int with_interrupts(Compress *k, const Options *o)
{
    struct sigaction before;
    cli_interrupts_take(&before);
    const int code = work(k, o);
    cli_interrupts_give_back(&before);
    return code;
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Options o = {0};
    CliArgs args;
    int code = cli_parse(c, argc, argv, 1, 1, &o, &args);
    if (code != CLI_GO)
        return code;
    Compress *k = calloc(1, sizeof *k);
    if (!k) {
        cli_args_free(&args);
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    }
    *k = (Compress){.json = o.json,
                    .path = args.items[0],
                    .out = o.out,
                    .preprocess = o.preprocess,
                    .test = o.test,
                    .train = o.train,
                    .threads = o.threads,
                    .n_rows = 1,
                    .answers = json_array()};
    snprintf(k->rows[0].name, sizeof k->rows[0].name, "original");
    snprintf(k->rows[0].path, sizeof k->rows[0].path, "%s", k->path);
    k->rows[0].top1 = k->rows[0].ms = NAN;
    code = check(c, &o, k);
    if (code == CLI_GO)
        code = make_folder(k, &o);
    if (code == CLI_GO)
        code = with_interrupts(k, &o);
    if (!o.stages)
        remove_folder(k);
    recipe_free(&k->recipe);
    json_decref(k->answers);
    free(k);
    cli_args_free(&args);
    return code;
}

const CliCommand cli_compress = {
    .name = "compress",
    .arguments = "MODEL",
    .summary = "prune, distill, quantize and certify a model by a recipe, and compare the results",
    .description = "Runs the steps of a recipe one after the other, each on what the one before "
                   "made, and shows\n"
                   "size, accuracy, latency and multiply-accumulates of all of them. The default "
                   "recipe removes\n"
                   "channels until half of the multiply-accumulates are left, trains with the "
                   "unpruned model as\n"
                   "teacher, quantizes to 8 bits, and certifies at most 2 points lost.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
