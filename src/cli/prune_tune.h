/* Training after pruning, for ledge prune and ledge compress: data, teacher, and the loop. */
#ifndef LEDGE_CLI_PRUNE_TUNE_H
#define LEDGE_CLI_PRUNE_TUNE_H

#include "cli/prune_work.h"
#include "compress/train/train.h"

typedef struct PruneTuneOptions {
    CliList data;
    int64_t epochs, batch;
    bool resume;
    const char *labels, *preprocess, *teacher, *rate, *augment, *checkpoint;
} PruneTuneOptions;

/* Rows for a command's table; S has a PruneTuneOptions called `tune`. */
/* clang-format off */
#define PRUNE_TUNE_OPTIONS(S) \
    {"finetune", 0, CLI_LIST, "DATA", "train on cifar10:FILE, mnist:IMAGES[,LABELS] or folder:DIR,CSV", \
     offsetof(S, tune.data), 0, 0}, \
    {"epochs", 0, CLI_INT, "N", "times that training sees all data (10)", \
     offsetof(S, tune.epochs), 0, 100000}, \
    {"teacher", 0, CLI_TEXT, "T", "model to learn from; the unpruned one (default), or none", \
     offsetof(S, tune.teacher), 0, 0}, \
    {"rate", 0, CLI_TEXT, "R", "highest learning rate (0.02)", offsetof(S, tune.rate), 0, 0}, \
    {"batch", 0, CLI_INT, "N", "pictures in a training step (64)", \
     offsetof(S, tune.batch), 1, 65536}, \
    {"augment", 0, CLI_TEXT, "LIST", "crop:PIXELS, flip, colour:A, mixup:A, with commas; or none", \
     offsetof(S, tune.augment), 0, 0}, \
    {"preprocess", 0, CLI_TEXT, "P", "imagenet, tf, caffe, none or FILE.json; else the model's own", \
     offsetof(S, tune.preprocess), 0, 0}, \
    {"checkpoint", 0, CLI_TEXT, "FILE", "keep training's state here, after each epoch and on Ctrl-C", \
     offsetof(S, tune.checkpoint), 0, 0}, \
    {"resume", 0, CLI_FLAG, NULL, "go on from the checkpoint", offsetof(S, tune.resume), 0, 0}
/* clang-format on */

typedef struct PruneTune {
    const PruneTuneOptions *o;
    int threads;
    uint64_t seed;
    volatile const sig_atomic_t *interrupted;
    bool keep_zeros; /* weights that are zero stay zero */
    LedgeTrainOptions train;
    LedgeModel *teacher; /* the unpruned model where no other was named; open in any case */
    LedgeModel *model;   /* the unpruned model: how its pictures are prepared */
    LedgeTrainData *data;
    double loss, accuracy, seconds; /* of the last epoch */
    size_t epochs;                  /* trained */
} PruneTune;

/* Checks the options. CLI_GO, or the exit code after a message. */
int prune_tune_check(const CliCommand *c, PruneTune *t);
/* Opens data and teacher. `path`: the unpruned model. */
int prune_tune_open(PruneTune *t, const char *path);
/* Trains the model in `b`, which is replaced. */
int prune_tune_run(PruneTune *t, const char *path, PruneBytes *b);
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
