/* Runs the steps of a recipe and measures what came out. */
#include "cli/compress_steps.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/start_program.h"
#include "base/text.h"
#include "cli/model_io.h"
#include "cli/prune_work.h"
#include "ledge/report.h"

#define MOST_ANSWER ((size_t)64 << 20)

/* ---- a process ---- */

static pid_t start(const char *const *words, int out)
{
    char program[PATH_MAX];
    const char *args[RECIPE_MOST_WORDS + 64] = {"ledge"};
    size_t n = 1;
    pid_t pid;
    if (!cli_program_beside("ledge", program, sizeof program))
        snprintf(program, sizeof program, "/proc/self/exe");
    for (size_t i = 0; words[i] && n + 2 < sizeof args / sizeof *args; i++)
        args[n++] = words[i];
    args[n] = "--json";
    const LedgeSpawn how = {.program = program,
                            .args = args,
                            .in = LEDGE_SPAWN_SAME,
                            .out = out,
                            .err = LEDGE_SPAWN_SAME};
    return ledge__spawn(&how, &pid) ? -1 : pid;
}

static void read_all(int from, LedgeText *t)
{
    for (;;) {
        char *to = t->n < MOST_ANSWER ? ledge__text_room(t, 65536) : NULL;
        if (!to)
            return;
        const ssize_t n = read(from, to, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        t->n += (size_t)n;
    }
}

int compress_run(const char *const *words, json_t **out)
{
    int ends[2], status = 0;
    LedgeText t = {0};
    if (pipe2(ends, O_CLOEXEC) != 0)
        return CLI_FAILED;
    const pid_t pid = start(words, ends[1]);
    close(ends[1]);
    if (pid > 0)
        read_all(ends[0], &t);
    close(ends[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    *out = t.n ? json_loadb(t.p, t.n, 0, NULL) : NULL;
    ledge__text_free(&t);
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : CLI_FAILED;
}

/* ---- the words of a step ---- */

typedef struct Words {
    const char *items[RECIPE_MOST_WORDS + 60];
    size_t n;
} Words;

static void add(Words *w, const char *word)
{
    if (w->n + 1 < sizeof w->items / sizeof *w->items)
        w->items[w->n++] = word;
}

static void add_pair(Words *w, const RecipeStep *s, const char *option, const char *value)
{
    if (!value || recipe_has(s, option))
        return;
    add(w, option);
    add(w, value);
}

/* All training data, where the recipe names none. */
static void add_train(Words *w, const Compress *c, const RecipeStep *s, const char *option)
{
    for (size_t i = 0; i < c->train.n && i < 40 && !recipe_has(s, option); i++) {
        add(w, option);
        add(w, c->train.items[i]);
    }
}

static bool trains_later(const Compress *c, size_t step)
{
    for (size_t i = step + 1; i < c->recipe.n; i++)
        if (c->recipe.steps[i].kind == RECIPE_DISTILL)
            return true;
    return false;
}

static bool needs_calibration(const RecipeStep *s)
{
    if (recipe_has(s, "--calibrate") || recipe_has(s, "--dataset") || recipe_has(s, "--input"))
        return false;
    for (size_t i = 0; i + 1 < s->n_words; i++)
        if (strcmp(s->words[i], "--mode") == 0)
            return strcmp(s->words[i + 1], "static") == 0;
    return true;
}

static void words_of(const Compress *c, size_t step, const char *model, const char *made, Words *w)
{
    const RecipeStep *s = &c->recipe.steps[step];
    add(w, recipe_kind_name(s->kind));
    if (s->kind == RECIPE_DISTILL) {
        add_pair(w, s, "--teacher", c->path);
        add_pair(w, s, "--student", model);
        add_train(w, c, s, "--data");
    } else {
        add(w, model);
    }
    add(w, "-o");
    add(w, made);
    if (s->kind == RECIPE_PRUNE && !trains_later(c, step))
        add_train(w, c, s, "--finetune");
    if (s->kind == RECIPE_QUANTIZE && needs_calibration(s))
        add_pair(w, s, "--dataset", c->train.n ? c->train.items[0] : NULL);
    if (s->kind == RECIPE_CERTIFY) {
        add(w, "--reference");
        add(w, c->path);
        add_pair(w, s, "--dataset", c->test);
    }
    for (size_t i = 0; i < s->n_words; i++)
        add(w, s->words[i]);
    if (s->kind != RECIPE_PRUNE || recipe_has(s, "--finetune") ||
        (c->train.n && !trains_later(c, step)))
        add_pair(w, s, "--preprocess", c->preprocess);
}

int compress_step(Compress *c, size_t step)
{
    const RecipeStep *s = &c->recipe.steps[step];
    const bool measures = s->kind == RECIPE_CERTIFY;
    CompressRow row = {.top1 = NAN, .ms = NAN};
    Words w = {0};
    char threads[24];
    json_t *answer = NULL;
    snprintf(row.name, sizeof row.name, "%s", recipe_kind_name(s->kind));
    if (snprintf(row.path, sizeof row.path, "%s/%zu-%s.onnx", c->folder, step + 1, row.name) >=
        (int)sizeof row.path)
        return CLI_FAILED;
    words_of(c, step, c->rows[c->n_rows - 1].path, measures ? c->certificate : row.path, &w);
    snprintf(threads, sizeof threads, "%lld", (long long)c->threads);
    add_pair(&w, s, "--threads", c->threads ? threads : NULL);
    const int code = compress_run(w.items, &answer);
    json_array_append_new(c->answers, answer ? answer : json_null());
    if (code == CLI_OK && !measures)
        c->rows[c->n_rows++] = row;
    return code;
}

/* ---- measuring ---- */

static int read_file(const char *path, PruneBytes *out)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st) != 0) {
        if (f)
            fclose(f);
        return cli_fail_with(path, LEDGE_ERROR_IO, "cannot be read: %s", strerror(errno));
    }
    out->size = (size_t)st.st_size;
    out->bytes = ledge__alloc(NULL, out->size, 1);
    const bool ok = out->bytes && fread(out->bytes, 1, out->size, f) == out->size;
    fclose(f);
    return ok ? CLI_GO : cli_fail_with(path, LEDGE_ERROR_IO, "cannot be read whole");
}

static int count_macs(CompressRow *row)
{
    LedgeError err = {0};
    LedgeReport *r = NULL;
    if (ledge_report_create(row->path, NULL, &err, &r))
        return cli_fail(row->path, &err);
    row->bytes = r->file_bytes + r->external_bytes;
    row->macs = r->macs;
    row->integer_macs = r->integer_macs;
    ledge_report_free(r);
    return CLI_GO;
}

/* Each model in turn with the original, whose own time is that of the last comparison. */
static int time_rows(Compress *c)
{
    LedgeError err = {0};
    PruneBytes first = {0};
    int code = read_file(c->rows[0].path, &first);
    for (size_t i = 1; i < c->n_rows && code == CLI_GO; i++) {
        PruneBytes b = {0};
        double ms[2];
        code = read_file(c->rows[i].path, &b);
        if (code == CLI_GO && prune_time(&first, &b, (int)c->threads, &err, ms))
            code = cli_fail(c->rows[i].path, &err);
        if (code == CLI_GO) {
            c->rows[0].ms = ms[0];
            c->rows[i].ms = ms[1];
        }
        ledge__free(NULL, b.bytes);
    }
    ledge__free(NULL, first.bytes);
    return code;
}

static int evaluate(Compress *c)
{
    static const RecipeStep none = {0};
    Words w = {0};
    json_t *answer = NULL;
    char threads[24];
    if (!c->test)
        return CLI_GO;
    add(&w, "eval");
    for (size_t i = 0; i < c->n_rows; i++)
        add(&w, c->rows[i].path);
    add_pair(&w, &none, "--dataset", c->test);
    add_pair(&w, &none, "--preprocess", c->preprocess);
    snprintf(threads, sizeof threads, "%lld", (long long)c->threads);
    add_pair(&w, &none, "--threads", threads);
    const int code = compress_run(w.items, &answer);
    json_t *models = json_object_get(answer, "models");
    for (size_t i = 0; i < c->n_rows && code == CLI_OK; i++)
        c->rows[i].top1 = json_number_value(json_object_get(json_array_get(models, i), "top1"));
    json_decref(answer);
    return code == CLI_OK ? CLI_GO : code;
}

int compress_measure(Compress *c)
{
    int code = CLI_GO;
    for (size_t i = 0; i < c->n_rows && code == CLI_GO; i++)
        code = count_macs(&c->rows[i]);
    if (code == CLI_GO)
        code = time_rows(c);
    return code == CLI_GO ? evaluate(c) : code;
}
