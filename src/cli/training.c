/* What commands that train share; see training.h. */
#include "cli/training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/interrupt.h"

/* ---- options ---- */

int training_number(const CliCommand *c, const char *option, const char *text, double absent,
                    double low, double high, double *out)
{
    *out = absent;
    return !text || cli_number(text, low, high, out)
               ? CLI_GO
               : cli_usage(c, "--%s takes a number from %g to %g", option, low, high);
}

typedef struct Number {
    const char *option, *text;
    double absent, low, high, *to;
} Number;

static int read_numbers(const CliCommand *c, const Number *n, size_t count)
{
    int code = CLI_GO;
    for (size_t i = 0; i < count && code == CLI_GO; i++)
        code =
            training_number(c, n[i].option, n[i].text, n[i].absent, n[i].low, n[i].high, n[i].to);
    return code;
}

static int read_steps(const CliCommand *c, const TrainingOptions *o, double **steps,
                      LedgeTrainOptions *out)
{
    *steps = o->steps.n ? malloc(o->steps.n * sizeof **steps) : NULL;
    if (o->steps.n && !*steps)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    for (size_t i = 0; i < o->steps.n; i++) {
        const int code = training_number(c, "step", o->steps.items[i], 0, 0, 1e6, &(*steps)[i]);
        if (code != CLI_GO)
            return code;
    }
    out->step_epochs = *steps;
    out->n_step_epochs = o->steps.n;
    if (o->steps.n && out->schedule != LEDGE_TRAIN_STEPS)
        return cli_usage(c, "--step goes with --schedule steps");
    if (!o->steps.n && out->schedule == LEDGE_TRAIN_STEPS)
        return cli_usage(c, "--schedule steps needs --step EPOCH, once for each step");
    return CLI_GO;
}

int training_options(const CliCommand *c, const TrainingOptions *o, bool fresh, double **steps,
                     LedgeTrainOptions *out)
{
    double colour, mixup;
    ledge__train_options_default(out);
    const int optimizer = cli_choose(o->optimizer, 0, (const char *const[]){"sgd", "adamw"}, 2);
    const int schedule =
        cli_choose(o->schedule, 0, (const char *const[]){"cosine", "steps", "constant"}, 3);
    if (optimizer < 0)
        return cli_usage(c, "--optimizer takes sgd or adamw");
    if (schedule < 0)
        return cli_usage(c, "--schedule takes cosine, steps or constant");
    const bool sgd = optimizer == LEDGE_TRAIN_SGD;
    const Number numbers[] = {
        {"epochs", o->epochs, 30, 1e-3, 1e5, &out->epochs},
        {"rate", o->rate, (sgd ? 0.1 : 0.003) * (fresh ? 1 : 0.1), 1e-12, 1e3, &out->rate},
        {"momentum", o->momentum, 0.9, 0, 0.9999, &out->momentum},
        {"decay", o->decay, sgd ? 5e-4 : 0.01, 0, 10, &out->weight_decay},
        {"warmup", o->warmup, 0, 0, 1e5, &out->warmup},
        {"smoothing", o->smoothing, 0, 0, 0.99, &out->label_smoothing},
        {"clip", o->clip, 0, 0, 1e9, &out->clip},
        {"colour", o->colour, 0, 0, 1, &colour},
        {"mixup", o->mixup, 0, 0, 100, &mixup},
    };
    const int code = read_numbers(c, numbers, sizeof numbers / sizeof *numbers);
    if (code != CLI_GO)
        return code;
    out->optimizer = (LedgeTrainOptimizer)optimizer;
    out->schedule = (LedgeTrainSchedule)schedule;
    out->batch = (size_t)o->batch;
    out->nesterov = o->nesterov;
    out->seed = (uint64_t)o->seed;
    out->augment = (LedgeTrainAugment){(uint32_t)o->crop, o->flip, (float)colour, (float)mixup};
    return read_steps(c, o, steps, out);
}

/* ---- running ---- */

typedef struct Watch {
    LedgeTrainer *t;
    const char *checkpoint;
    bool warned;
    LedgeTrainProgress last;
} Watch;

static void keep(Watch *w)
{
    LedgeError err = {0};
    if (!w->checkpoint)
        return;
    if (!ledge__trainer_save(w->t, w->checkpoint, &err))
        return;
    if (!w->warned)
        cli_warn("no checkpoint: %s: %s", w->checkpoint, err.message);
    w->warned = true;
}

/* "1:02:03" of seconds. */
static void clock_text(double seconds, char *to, size_t size)
{
    const long s = isfinite(seconds) && seconds < 1e9 ? (long)(seconds + 0.5) : 0;
    if (s >= 3600)
        snprintf(to, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(to, size, "%ld:%02ld", s / 60, s % 60);
}

static bool on_step(void *arg, const LedgeTrainProgress *p)
{
    Watch *w = arg;
    char text[160], left[24], right[32] = "";
    w->last = *p;
    clock_text(p->seconds_left, left, sizeof left);
    if (!isnan(p->accuracy))
        snprintf(right, sizeof right, ", %.1f %% right", 100 * p->accuracy);
    snprintf(text, sizeof text, "epoch %zu/%zu, loss %.4f%s, %s left", p->epoch + 1, p->epochs,
             p->loss, right, left);
    if (isatty(STDERR_FILENO))
        cli_progress(text, p->done, p->total);
    else if (p->epoch_end)
        fprintf(stderr, "%s\n", text);
    if (p->epoch_end)
        keep(w);
    return !cli_interrupted;
}

static int train(Watch *w, const LedgeTrainData *data)
{
    LedgeError err = {0};
    const LedgeStatus s = ledge__trainer_run(w->t, data, on_step, w, &err);
    cli_progress_end();
    if (!s) {
        if (w->checkpoint)
            unlink(w->checkpoint);
        return CLI_GO;
    }
    if (s != LEDGE_ERROR_CANCELLED)
        return cli_fail(NULL, &err);
    keep(w);
    return w->warned || !w->checkpoint
               ? cli_fail_with(NULL, s, "interrupted; nothing was written")
               : cli_fail_with(NULL, s,
                               "interrupted; '%s' has how far it came, and the same command "
                               "with --resume goes on",
                               w->checkpoint);
}

/* Ctrl-C ends the work between two steps. */
static int with_interrupts(Watch *w, const LedgeTrainData *data)
{
    struct sigaction before;
    cli_interrupts_take(&before);
    const int code = train(w, data);
    cli_interrupts_give_back(&before);
    return code;
}

int training_run(const TrainingOptions *o, const char *out_path, LedgeTrainer *t,
                 const LedgeTrainData *data, LedgeTrainProgress *last)
{
    char made[4096];
    LedgeError err = {0};
    Watch w = {.t = t, .checkpoint = o->checkpoint};
    if (!w.checkpoint && !o->no_checkpoint) {
        if ((size_t)snprintf(made, sizeof made, "%s.checkpoint", out_path) >= sizeof made)
            return cli_fail_with(out_path, LEDGE_ERROR_ARGUMENT, "the path is too long");
        w.checkpoint = made;
    }
    if (o->resume && ledge__trainer_load(t, w.checkpoint, &err))
        return cli_fail(w.checkpoint, &err);
    const int code = with_interrupts(&w, data);
    if (last)
        *last = w.last;
    return code;
}
