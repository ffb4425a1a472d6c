/* Fine-tuning a pruned model with the unpruned one as its teacher. */
#include "cli/prune_tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/model_io.h"

int prune_tune_check(const CliCommand *c, PruneTune *t)
{
    TrainingOptions o = *t->training;
    t->only_ranks = o.epochs && strcmp(o.epochs, "0") == 0;
    if (t->only_ranks)
        o.epochs = NULL;
    if (!t->data->n && (o.epochs || t->only_ranks || t->teacher_path || o.rate || o.resume))
        return cli_usage(c, "--epochs, --teacher and the other options of training go with "
                            "--finetune SET");
    const int code = training_options(c, &o, false, &t->steps, &t->train);
    if (t->teacher_path && strcmp(t->teacher_path, "none") == 0)
        t->train.alpha = 0;
    t->train.threads = t->threads;
    return code;
}

int prune_tune_open(PruneTune *t)
{
    LedgeError err = {0};
    const LedgeTrainDataOptions d = {
        .sets = t->data->items, .n_sets = t->data->n, .preprocess = t->preprocess};
    const CliOpen open = {.path = t->path}, other = {.path = t->teacher_path};
    if (!t->data->n)
        return CLI_GO;
    int code = cli_open_model(&open, &t->model);
    if (code == CLI_GO && t->teacher_path && t->train.alpha > 0)
        code = cli_open_model(&other, &t->teacher);
    if (code != CLI_GO)
        return code;
    if (ledge__train_data_open(t->model, &d, &err, &t->data_set))
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
                                      t->preprocess, t->data_set, err);
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
    free(t->steps);
    ledge__train_data_free(t->data_set);
    ledge_model_free(t->teacher);
    ledge_model_free(t->model);
}

/* ---- training ---- */

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

static LedgeStatus write_trained(PruneGradients *g, LedgeError *err, PruneBytes *out)
{
    LEDGE_TRY(ledge__trainer_write(g->trainer, err));
    LEDGE_TRY(ledge__graph_export(g->graph, g->onnx, err));
    return ledge__onnx_write_memory(g->onnx, NULL, &out->bytes, &out->size, err);
}

int prune_tune_run(PruneTune *t, PruneBytes *b)
{
    LedgeError err = {0};
    PruneBytes made = {0};
    PruneGradients g = {0};
    if (!t->data->n || t->only_ranks)
        return CLI_GO;
    LedgeStatus s = new_trainer(t, b, &err, &g);
    if (!s && t->keep_zeros)
        s = mask_zeros(g.trainer, &err);
    int code = s ? cli_fail(t->path, &err)
                 : training_run(t->training, t->out, g.trainer, t->data_set, &t->last);
    if (code == CLI_GO && write_trained(&g, &err, &made))
        code = cli_fail(t->path, &err);
    prune_tune_gradients_free(&g);
    if (code != CLI_GO)
        return code;
    t->trained = true;
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
        s = ledge__trainer_gradients(g.trainer, t->data_set, GRADIENT_BATCHES, err);
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
