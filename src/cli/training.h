/* What commands that train share: options, progress, Ctrl-C and checkpoints. */
#ifndef LEDGE_CLI_TRAINING_H
#define LEDGE_CLI_TRAINING_H

#include "cli/cli.h"
#include "compress/train/train.h"

typedef struct TrainingOptions {
    bool flip, nesterov, resume;
    bool no_checkpoint; /* of commands that cannot go on from one */
    int64_t batch, crop, seed;
    const char *epochs, *optimizer, *rate, *momentum, *decay, *schedule, *warmup, *smoothing, *clip,
        *colour, *mixup, *checkpoint;
    CliList steps;
} TrainingOptions;

/* Lines of a command's option table; S has a member `training`. */
/* clang-format off */
#define TRAINING_OPTIONS(S)                                                                        \
    {"epochs", 'e', CLI_TEXT, "N", "times that all data is seen (30)",                             \
     offsetof(S, training.epochs), 0, 0},                                                          \
    {"batch", 'b', CLI_INT, "N", "pictures in a step (64)", offsetof(S, training.batch), 1, 65536},\
    {"optimizer", 0, CLI_TEXT, "O", "sgd (default, with momentum) or adamw",                       \
     offsetof(S, training.optimizer), 0, 0},                                                       \
    {"rate", 'r', CLI_TEXT, "R", "highest learning rate (fresh weights: sgd 0.1, adamw 0.003; "    \
     "else a tenth)", offsetof(S, training.rate), 0, 0},                                           \
    {"momentum", 0, CLI_TEXT, "M", "of sgd (0.9)", offsetof(S, training.momentum), 0, 0},          \
    {"nesterov", 0, CLI_FLAG, NULL, "Nesterov's momentum", offsetof(S, training.nesterov), 0, 0},  \
    {"decay", 0, CLI_TEXT, "D", "weight decay (sgd 0.0005, adamw 0.01)",                           \
     offsetof(S, training.decay), 0, 0},                                                           \
    {"schedule", 0, CLI_TEXT, "S", "of the rate: cosine (default), steps or constant",             \
     offsetof(S, training.schedule), 0, 0},                                                        \
    {"step", 0, CLI_LIST, "EPOCH", "steps: where the rate becomes a tenth",                        \
     offsetof(S, training.steps), 0, 0},                                                           \
    {"warmup", 0, CLI_TEXT, "N", "epochs in which the rate rises from 0 (0)",                      \
     offsetof(S, training.warmup), 0, 0},                                                          \
    {"smoothing", 0, CLI_TEXT, "S", "of labels, 0 to 1 (0)", offsetof(S, training.smoothing), 0,   \
     0},                                                                                           \
    {"clip", 0, CLI_TEXT, "N", "longest norm of the gradient (no limit)",                          \
     offsetof(S, training.clip), 0, 0},                                                            \
    {"crop", 0, CLI_INT, "PIXELS", "augment: crop at random from a frame so wide (0)",             \
     offsetof(S, training.crop), 0, 1024},                                                         \
    {"flip", 0, CLI_FLAG, NULL, "augment: mirror every second picture",                            \
     offsetof(S, training.flip), 0, 0},                                                            \
    {"colour", 0, CLI_TEXT, "C", "augment: vary light, contrast and saturation by up to C (0)",    \
     offsetof(S, training.colour), 0, 0},                                                          \
    {"mixup", 0, CLI_TEXT, "A", "augment: mix pictures by weights of Beta(A,A) (0)",               \
     offsetof(S, training.mixup), 0, 0},                                                           \
    {"seed", 0, CLI_INT, "N", "of all random numbers (1)", offsetof(S, training.seed), 0,          \
     INT64_MAX},                                                                                   \
    {"checkpoint", 0, CLI_TEXT, "FILE", "where to keep what is needed to go on (OUT.checkpoint)",  \
     offsetof(S, training.checkpoint), 0, 0},                                                      \
    {"resume", 0, CLI_FLAG, NULL, "go on from the checkpoint", offsetof(S, training.resume), 0, 0}
/* clang-format on */

/* A number of an option between two bounds; `absent` for NULL. CLI_GO, or CLI_USAGE after saying
 * what is wrong. */
int training_number(const CliCommand *c, const char *option, const char *text, double absent,
                    double low, double high, double *out);
/* Fills `out` (all but alpha, temperature, features, threads). fresh: weights are random, so the
 * rates are those for them. steps (n_steps of them) is for out->step_epochs, to be freed by free. */
int training_options(const CliCommand *c, const TrainingOptions *o, bool fresh, double **steps,
                     LedgeTrainOptions *out);

/* Goes on from the checkpoint if asked to, trains with a progress bar (a line an epoch where stderr
 * is no terminal), keeps a checkpoint after each epoch and on Ctrl-C, and removes it at the end.
 * CLI_GO, or the exit code after a message; *last (may be NULL) is how it stood. */
int training_run(const TrainingOptions *o, const char *out_path, LedgeTrainer *t,
                 const LedgeTrainData *data, LedgeTrainProgress *last);

#endif
