/* Training after pruning: data, teacher, and the loop. */
#ifndef LEDGE_CLI_PRUNE_TUNE_H
#define LEDGE_CLI_PRUNE_TUNE_H

#include "cli/prune_work.h"
#include "cli/training.h"

/* Rows for a command's table. */
/* clang-format off */
#define PRUNE_TUNE_OPTIONS(S) \
    {"finetune", 0, CLI_LIST, "SET", "train on cifar10:FILE, mnist:IMAGES[,LABELS], folder:DIR,CSV", \
     offsetof(S, finetune), 0, 0}, \
    {"teacher", 0, CLI_TEXT, "T", "model to learn from; the unpruned one (default), or none", \
     offsetof(S, teacher), 0, 0}
/* clang-format on */

typedef struct PruneTune {
    const char *path, *out; /* the unpruned model, the one to be written */
    const CliList *data;    /* empty: no training */
    const char *preprocess, *teacher_path;
    const TrainingOptions *training;
    int threads;
    bool keep_zeros; /* weights that are zero stay zero */
    bool only_ranks; /* by gradients; --epochs 0 */
    double *steps;
    LedgeTrainOptions train;
    LedgeModel *teacher; /* NULL: the unpruned model, or none */
    LedgeModel *model;   /* the unpruned model: how its pictures are prepared */
    LedgeTrainData *data_set;
    LedgeTrainProgress last;
    bool trained;
} PruneTune;

/* Checks the options. CLI_GO, or the exit code after a message. */
int prune_tune_check(const CliCommand *c, PruneTune *t);
/* Opens data and teacher, if there is any data. */
int prune_tune_open(PruneTune *t);
/* Trains the model in `b`, which is replaced; nothing where there is no data. */
int prune_tune_run(PruneTune *t, PruneBytes *b);
/* Gradients of the model in `b` for importance by Taylor; prune_tune_gradient is a
 * LedgePruneGradient over them until they are freed. */
typedef struct PruneGradients {
    OnnxModel *onnx;
    LedgeGraph *graph;
    LedgeTrainer *trainer;
} PruneGradients;
LedgeStatus prune_tune_gradients(PruneTune *t, const PruneBytes *b, LedgeError *err,
                                 PruneGradients *out);
const float *prune_tune_gradient(void *gradients, const char *name, int64_t count);
void prune_tune_gradients_free(PruneGradients *g);
void prune_tune_free(PruneTune *t);

#endif
