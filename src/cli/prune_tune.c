/* Fine-tuning a pruned model with the unpruned one as its teacher. */
#include "cli/prune_tune.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/model_io.h"

/* ---- options ---- */

static bool parse_number(const char *text, size_t n, double least, double most, double *out)
{
    char copy[32], *end;
    if (n == 0 || n >= sizeof copy)
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    errno = 0;
    *out = strtod(copy, &end);
    return *end == '\0' && !errno && *out >= least && *out <= most;
}

/* One word of --augment: a name, or name:number. */
static bool parse_augment(const char *word, size_t n, LedgeTrainAugment *a)
{
    static const struct {
        const char *name;
        double most;
    } known[] = {{"crop", 256}, {"colour", 1}, {"mixup", 100}};
    double values[3] = {a->crop, (double)a->colour, (double)a->mixup};
    if (n == 4 && memcmp(word, "flip", 4) == 0) {
        a->flip = true;
        return true;
    }
    for (size_t i = 0; i < 3; i++) {
        const size_t m = strlen(known[i].name);
        if (n <= m + 1 || memcmp(word, known[i].name, m) != 0 || word[m] != ':')
            continue;
        if (!parse_number(word + m + 1, n - m - 1, 0, known[i].most, &values[i]))
            return false;
        a->crop = (uint32_t)values[0];
        a->colour = (float)values[1];
        a->mixup = (float)values[2];
        return true;
    }
    return false;
}

static bool parse_augments(const char *list, LedgeTrainAugment *a)
{
    if (strcmp(list, "none") == 0)
        return true;
    for (const char *p = list;;) {
        const size_t n = strcspn(p, ",");
        if (!parse_augment(p, n, a))
            return false;
        if (p[n] == '\0')
            return true;
        p += n + 1;
    }
}

int prune_tune_check(const CliCommand *c, PruneTune *t)
{
    const PruneTuneOptions *o = t->o;
    LedgeTrainOptions *r = &t->train;
    ledge__train_options_default(r);
    r->batch = o->batch ? (size_t)o->batch : 64;
    r->epochs = o->epochs > 0 ? (double)o->epochs : 10;
    r->rate = 0.02;
    r->warmup = fmin(1, r->epochs / 10);
    r->seed = t->seed;
    r->threads = t->threads;
    if (o->rate && !parse_number(o->rate, strlen(o->rate), 1e-9, 100, &r->rate))
        return cli_usage(c, "--rate takes a learning rate above 0, like 0.02");
    if (o->augment && !parse_augments(o->augment, &r->augment))
        return cli_usage(c, "--augment takes none or a list like crop:4,flip,colour:0.2,mixup:0.2");
    if (o->teacher && strcmp(o->teacher, "none") == 0)
        r->alpha = 0;
    if (o->resume && !o->checkpoint)
        return cli_usage(c, "--resume goes on from the file of --checkpoint");
    if (!o->data.n &&
        (o->epochs >= 0 || o->teacher || o->rate || o->augment || o->checkpoint || o->batch))
        return cli_usage(c, "--epochs, --teacher, --rate, --batch, --augment and --checkpoint go "
                            "with --finetune DATA");
    return CLI_GO;
}

/* ---- data and teacher ---- */

int prune_tune_open(PruneTune *t, const char *path)
{
    LedgeError err = {0};
    const PruneTuneOptions *o = t->o;
    const LedgeTrainDataOptions d = {.sets = o->data.items,
                                     .n_sets = o->data.n,
                                     .labels = o->labels,
                                     .preprocess = o->preprocess};
    const bool own = !o->teacher || strcmp(o->teacher, "none") == 0;
    const CliOpen open = {.path = path}, other = {.path = o->teacher};
    int code = cli_open_model(&open, &t->model);
    if (code == CLI_GO && !own)
        code = cli_open_model(&other, &t->teacher);
    if (code != CLI_GO)
        return code;
    if (ledge__train_data_open(t->model, &d, &err, &t->data))
        return cli_fail(NULL, &err);
    return CLI_GO;
}

static LedgeStatus new_trainer(PruneTune *t, const PruneBytes *b, LedgeError *err,
                               PruneGradients *out)
{
    LEDGE_TRY(ledge__onnx_read_memory(NULL, b->bytes, b->size, err, &out->onnx));
    LEDGE_TRY(ledge__graph_build(NULL, out->onnx, err, &out->graph));
    LEDGE_TRY(ledge__trainer_new(out->graph, &t->train, err, &out->trainer));
    if (t->train.alpha <= 0)
        return LEDGE_OK;
    return ledge__trainer_set_teacher(out->trainer, t->teacher ? t->teacher : t->model,
                                      t->o->preprocess, t->data, err);
}

void prune_tune_gradients_free(PruneGradients *g)
{
    ledge__trainer_free(g->trainer);
    ledge__graph_free(g->graph);
    ledge__onnx_free(g->onnx);
    *g = (PruneGradients){0};
}

void prune_tune_free(PruneTune *t)
{
    ledge__train_data_free(t->data);
    ledge_model_free(t->teacher);
    ledge_model_free(t->model);
}

/* ---- training ---- */

typedef struct Loop {
    PruneTune *t;
    LedgeTrainer *trainer;
    LedgeStatus saved;
    LedgeError *err;
} Loop;

static bool tick(void *arg, const LedgeTrainProgress *p)
{
    Loop *l = arg;
    char what[120];
    const int left = isfinite(p->seconds_left) ? (int)p->seconds_left : 0;
    snprintf(what, sizeof what, "epoch %zu of %zu, loss %.3f, right %.1f%%, %d:%02d left",
             p->epoch + 1, p->epochs, p->loss, isfinite(p->accuracy) ? 100 * p->accuracy : 0,
             left / 60, left % 60);
    cli_progress(what, (size_t)p->done, (size_t)p->total);
    l->t->loss = p->loss;
    l->t->accuracy = p->accuracy;
    l->t->seconds = p->seconds;
    l->t->epochs = p->epoch + (p->epoch_end ? 1 : 0);
    const bool stop = *l->t->interrupted;
    if (l->t->o->checkpoint && (p->epoch_end || stop))
        l->saved = ledge__trainer_save(l->trainer, l->t->o->checkpoint, l->err);
    return !stop && !l->saved;
}

/* Weights that are zero now stay so. */
static LedgeStatus mask_zeros(LedgeTrainer *trainer, LedgeError *err)
{
    LedgeStatus s = LEDGE_OK;
    for (size_t i = 0; i < ledge__trainer_parameter_count(trainer) && !s; i++) {
        LedgeTrainParameter p;
        ledge__trainer_parameter(trainer, i, &p);
        if (!p.gradient || p.value->t.rank < 2)
            continue;
        uint8_t *mask = ledge__alloc(NULL, p.count, 1);
        if (!mask)
            return ledge__no_memory(err);
        for (size_t k = 0; k < p.count; k++)
            mask[k] = p.data[k] != 0;
        s = ledge__trainer_set_mask(trainer, p.value, mask, err);
        ledge__free(NULL, mask);
    }
    return s;
}

static LedgeStatus train(PruneTune *t, const PruneBytes *from, LedgeError *err, PruneBytes *out)
{
    PruneGradients g = {0};
    LedgeStatus s = new_trainer(t, from, err, &g);
    if (!s && t->keep_zeros)
        s = mask_zeros(g.trainer, err);
    if (!s && t->o->resume)
        s = ledge__trainer_load(g.trainer, t->o->checkpoint, err);
    Loop loop = {t, g.trainer, LEDGE_OK, err};
    if (!s)
        s = ledge__trainer_run(g.trainer, t->data, tick, &loop, err);
    if (loop.saved)
        s = loop.saved;
    cli_progress_end();
    if (!s)
        s = ledge__trainer_write(g.trainer, err);
    if (!s)
        s = ledge__graph_export(g.graph, g.onnx, err);
    if (!s)
        s = ledge__onnx_write_memory(g.onnx, NULL, &out->bytes, &out->size, err);
    prune_tune_gradients_free(&g);
    return s;
}

int prune_tune_run(PruneTune *t, const char *path, PruneBytes *b)
{
    LedgeError err = {0};
    PruneBytes made = {0};
    const LedgeStatus s = train(t, b, &err, &made);
    if (s == LEDGE_ERROR_CANCELLED && t->o->checkpoint)
        return cli_fail_with(NULL, s, "interrupted; the same command with --resume goes on from %s",
                             cli_clean(t->o->checkpoint));
    if (s == LEDGE_ERROR_CANCELLED)
        return cli_fail_with(NULL, s, "interrupted; nothing was written");
    if (s == LEDGE_ERROR_IO && t->o->checkpoint)
        return cli_fail_writing(t->o->checkpoint, &err);
    if (s)
        return cli_fail(path, &err);
    ledge__free(NULL, b->bytes);
    *b = made;
    return CLI_GO;
}

/* ---- gradients ---- */

enum { GRADIENT_BATCHES = 50 };

LedgeStatus prune_tune_gradients(PruneTune *t, const PruneBytes *b, LedgeError *err,
                                 PruneGradients *out)
{
    PruneGradients g = {0};
    const double alpha = t->train.alpha;
    t->train.alpha = 0; /* of the labels' loss alone */
    LedgeStatus s = new_trainer(t, b, err, &g);
    if (!s)
        s = ledge__trainer_gradients(g.trainer, t->data, GRADIENT_BATCHES, err);
    t->train.alpha = alpha;
    if (s)
        prune_tune_gradients_free(&g);
    else
        *out = g;
    return s;
}

const float *prune_tune_gradient(void *gradients, const char *name, int64_t count)
{
    const PruneGradients *g = gradients;
    for (size_t i = 0; i < ledge__trainer_parameter_count(g->trainer); i++) {
        LedgeTrainParameter p;
        ledge__trainer_parameter(g->trainer, i, &p);
        if (strcmp(p.value->name, name) == 0 && p.count == (size_t)count)
            return p.gradient;
    }
    return NULL;
}
