/* ledge quantize --finetune: training with rounded values before the model is written. */
#ifndef LEDGE_CLI_QUANTIZE_FINETUNE_H
#define LEDGE_CLI_QUANTIZE_FINETUNE_H

#include "cli/training.h"
#include "compress/quantize/quant_finetune.h"

typedef struct QuantizeFinetuneOptions {
    CliList sets;
    int64_t batch;
    const char *epochs, *rate;
} QuantizeFinetuneOptions;

/* Rows for the command's table; S has a QuantizeFinetuneOptions called `finetune`. */
/* clang-format off */
#define QUANTIZE_FINETUNE_OPTIONS(S) \
    {"finetune", 'f', CLI_LIST, "SET", "static: then train with rounded values on SET (a folder, " \
     "cifar10:FILE, mnist:..., folder:DIR,CSV)", offsetof(S, finetune.sets), 0, 0}, \
    {"epochs", 'e', CLI_TEXT, "N", "of --finetune (5)", offsetof(S, finetune.epochs), 0, 0}, \
    {"rate", 'r', CLI_TEXT, "R", "highest learning rate of --finetune (0.001)", \
     offsetof(S, finetune.rate), 0, 0}, \
    {"batch", 'b', CLI_INT, "N", "pictures in a step of --finetune (64)", \
     offsetof(S, finetune.batch), 1, 65536}
/* clang-format on */

typedef struct QuantizeFinetune {
    LedgeTrainOptions train;
    LedgeTrainProgress last;
    bool done;
} QuantizeFinetune;

/* Both give CLI_GO, or the exit code after a message. */
int quantize_finetune_check(const CliCommand *c, const QuantizeFinetuneOptions *o,
                            QuantizeFinetune *f);
/* With ranges chosen. The float model at `path` teaches. */
int quantize_finetune_run(const QuantizeFinetuneOptions *o, QuantizeFinetune *f, LedgeQuantizer *q,
                          const char *path, const char *preprocess, const char *out);

#endif
