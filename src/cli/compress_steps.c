/* Runs the steps of a recipe and measures what came out. */
#include "cli/compress_steps.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/start_program.h"
#include "base/text.h"
#include "cli/interrupt.h"
#include "cli/model_io.h"
#include "cli/prune_work.h"
#include "ledge/report.h"

#define MOST_ANSWER ((size_t)64 << 20)

/* ---- words ---- */

typedef struct Words {
    const char **items; /* "ledge" first; NULL behind the last */
    size_t n, room;
    bool failed; /* no memory for all of them */
} Words;

static void add(Words *w, const char *word)
{
    if (w->n + 2 > w->room) {
        const size_t room = 2 * w->room + 64;
        const char **grown = realloc(w->items, room * sizeof *grown);
        w->failed |= !grown;
        if (!grown)
            return;
        w->items = grown;
        w->room = room;
    }
    w->items[w->n++] = word;
    w->items[w->n] = NULL;
}

static void add_pair(Words *w, const RecipeStep *s, const char *option, const char *value)
{
    if (!value || recipe_has(s, option))
        return;
    add(w, option);
    add(w, value);
}

/* ---- a process ---- */

static int start(const Words *w, int out, pid_t *pid)
{
    char program[PATH_MAX];
    if (!cli_program_beside("ledge", program, sizeof program))
        snprintf(program, sizeof program, "/proc/self/exe");
    const LedgeSpawn how = {.program = program,
                            .args = w->items,
                            .in = LEDGE_SPAWN_SAME,
                            .out = out,
                            .err = LEDGE_SPAWN_SAME};
    return ledge__spawn(&how, pid);
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

/* Runs the words with --json behind them, which are freed. *out is what was printed, NULL for
 * nothing or what is no JSON; messages go to stderr as they are. Gives the exit code. */
static int run_words(Words *w, json_t **out)
{
    int ends[2], status = 0, code = CLI_FAILED;
    LedgeText t = {0};
    pid_t pid = 0;
    add(w, "--json");
    int wrong = w->failed ? ENOMEM : pipe2(ends, O_CLOEXEC) != 0 ? errno : 0;
    if (!wrong) {
        wrong = start(w, ends[1], &pid);
        close(ends[1]);
        if (!wrong)
            read_all(ends[0], &t);
        close(ends[0]);
    }
    while (!wrong && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (wrong)
        cli_fail_with(NULL, LEDGE_ERROR_IO, "'ledge %s' cannot be started: %s",
                      w->n > 1 ? w->items[1] : "", strerror(wrong));
    else if (WIFEXITED(status))
        code = WEXITSTATUS(status);
    else if (cli_interrupted)
        cli_was_interrupted();
    else
        cli_fail_with(NULL, LEDGE_ERROR_RUNTIME, "'ledge %s' was ended by signal %d (%s)",
                      w->items[1], WTERMSIG(status), strsignal(WTERMSIG(status)));
    *out = !wrong && WIFEXITED(status) && t.n ? json_loadb(t.p, t.n, 0, NULL) : NULL;
    ledge__text_free(&t);
    free(w->items);
    return code;
}

/* What a command that failed said of it, with --json: the only object then. step 0: none. */
static void pass_error_on(const Compress *c, json_t *answer, size_t step)
{
    if (!c->json || !json_object_get(answer, "error"))
        return;
    if (step)
        json_object_set_new(answer, "step", json_integer((json_int_t)step));
    cli_print_json(json_incref(answer));
}

/* ---- a step ---- */

/* All training data, where the recipe names none. */
static void add_train(Words *w, const Compress *c, const RecipeStep *s, const char *option)
{
    for (size_t i = 0; i < c->train.n && !recipe_has(s, option); i++) {
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

static void words_of(const Compress *c, size_t step, const char *model, const char *made, Words *w)
{
    const RecipeStep *s = &c->recipe.steps[step];
    add(w, "ledge");
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
    if (s->kind == RECIPE_QUANTIZE && recipe_needs_data(s))
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
    const int code = run_words(&w, &answer);
    if (code != CLI_OK)
        pass_error_on(c, answer, step + 1);
    json_array_append_new(c->answers, answer ? answer : json_null());
    if (code == CLI_OK && !measures)
        c->rows[c->n_rows++] = row;
    return code;
}

/* ---- measuring ---- */

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
    const CliOpen first = {.path = c->rows[0].path};
    LedgeModel *original;
    int code = cli_open_model(&first, &original);
    for (size_t i = 1; i < c->n_rows && code == CLI_GO; i++) {
        const CliOpen other = {.path = c->rows[i].path};
        LedgeModel *m;
        double ms[2];
        code = cli_open_model(&other, &m);
        if (code == CLI_GO && prune_time_models(original, m, (int)c->threads, &err, ms))
            code = cli_fail(c->rows[i].path, &err);
        if (code == CLI_GO) {
            c->rows[0].ms = ms[0];
            c->rows[i].ms = ms[1];
        }
        ledge_model_free(m);
    }
    ledge_model_free(original);
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
    add(&w, "ledge");
    add(&w, "eval");
    for (size_t i = 0; i < c->n_rows; i++)
        add(&w, c->rows[i].path);
    add_pair(&w, &none, "--dataset", c->test);
    add_pair(&w, &none, "--preprocess", c->preprocess);
    snprintf(threads, sizeof threads, "%lld", (long long)c->threads);
    add_pair(&w, &none, "--threads", threads);
    const int code = run_words(&w, &answer);
    json_t *models = json_object_get(answer, "models");
    for (size_t i = 0; i < c->n_rows && code == CLI_OK; i++)
        c->rows[i].top1 = json_number_value(json_object_get(json_array_get(models, i), "top1"));
    if (code != CLI_OK)
        pass_error_on(c, answer, 0);
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
