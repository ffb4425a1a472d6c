/* ledge quantize --finetune; see quantize_finetune.h. */
#include "cli/quantize_finetune.h"

#include <string.h>

typedef struct Work {
    LedgeModel *teacher;
    LedgeTrainData *data;
    LedgeTrainer *trainer;
    LedgeTrainFake *fakes;
    size_t n_fakes;
} Work;

int quantize_finetune_check(const CliCommand *c, const QuantizeFinetuneOptions *o,
                            QuantizeFinetune *f)
{
    LedgeTrainOptions *t = &f->train;
    ledge__train_options_default(t);
    if (!o->sets.n && (o->epochs || o->rate))
        return cli_usage(c, "--epochs and --rate go with --finetune");
    int code = training_number(c, "epochs", o->epochs, 5, 1e-3, 1e5, &t->epochs);
    if (code == CLI_GO)
        code = training_number(c, "rate", o->rate, 0.001, 1e-12, 10, &t->rate);
    t->batch = (size_t)o->batch;
    t->weight_decay = 0;
    t->clip = 10;
    return code;
}

static int open_work(const QuantizeFinetuneOptions *o, QuantizeFinetune *f, LedgeQuantizer *q,
                     const char *path, const char *preprocess, Work *w)
{
    LedgeError err = {0};
    size_t h, width, c;
    const LedgeTrainDataOptions data = {
        .sets = o->sets.items, .n_sets = o->sets.n, .preprocess = preprocess};
    if (ledge_model_load(path, NULL, &err, &w->teacher))
        return cli_fail(path, &err);
    if (ledge__train_data_open(w->teacher, &data, &err, &w->data))
        return cli_fail(NULL, &err);
    if (ledge__quant_fakes(q, &err, &w->fakes, &w->n_fakes))
        return cli_fail(path, &err);
    ledge__train_data_size(w->data, &h, &width, &c);
    memcpy(f->train.input_dims, (int64_t[]){0, (int64_t)c, (int64_t)h, (int64_t)width},
           4 * sizeof(int64_t));
    f->train.fakes = w->fakes;
    f->train.n_fakes = w->n_fakes;
    f->train.threads = q->o.threads;
    if (f->train.batch > ledge__train_data_count(w->data))
        f->train.batch = ledge__train_data_count(w->data);
    if (ledge__trainer_new(q->graph, &f->train, &err, &w->trainer) ||
        ledge__trainer_set_teacher(w->trainer, w->teacher, preprocess, w->data, &err))
        return cli_fail(path, &err);
    return CLI_GO;
}

int quantize_finetune_run(const QuantizeFinetuneOptions *o, QuantizeFinetune *f, LedgeQuantizer *q,
                          const char *path, const char *preprocess, const char *out)
{
    LedgeError err = {0};
    Work w = {0};
    const TrainingOptions plain = {.no_checkpoint = true};
    int code = open_work(o, f, q, path, preprocess, &w);
    if (code == CLI_GO)
        code = training_run(&plain, out, w.trainer, w.data, &f->last);
    if (code == CLI_GO && ledge__quant_take_trained(q, w.trainer, w.fakes, w.n_fakes, &err))
        code = cli_fail(path, &err);
    f->done = code == CLI_GO;
    ledge__trainer_free(w.trainer);
    ledge__train_data_free(w.data);
    ledge_model_free(w.teacher);
    return code;
}
