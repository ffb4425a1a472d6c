/* The training step: gradients over a graph of plain ONNX operators, and the loop around it.
 *
 *   data      all pictures of a set in memory, as bytes of the size that the model takes
 *   trainer   a graph's float constants as parameters, with gradients, optimiser and loss
 *   run       epochs over the data: shuffled, augmented, checkpointed, told about as they go
 *   write     the trained numbers back into the graph, which then is exported as ever
 *
 * BatchNormalization must still be there: give the graph as it was built (and perhaps changed),
 * not as the optimiser leaves it. The same seed gives the same numbers, to the bit, for every
 * number of threads; another CPU level rounds otherwise. Nothing here is shared between threads. */
#ifndef LEDGE_COMPRESS_TRAIN_H
#define LEDGE_COMPRESS_TRAIN_H

#include "engine/graph/graph.h"
#include "image/preprocess.h"
#include "ledge/ledge.h"

/* ---- data ---- */

typedef struct LedgeTrainData LedgeTrainData;

typedef struct LedgeTrainDataOptions {
    const char *const *sets; /* "cifar10:FILE", "mnist:IMAGES[,LABELS]", "folder:DIR[,CSV]" or a
                                folder's bare path; one after the other */
    size_t n_sets;
    const char *labels;     /* CSV for bare folders; may be NULL */
    const char *preprocess; /* NULL: the model's own */
    size_t limit;           /* 0: all; else so many, evenly spread */
    const LedgeAllocator *allocator;
} LedgeTrainDataOptions;

/* Decodes all pictures, prepared as the model's only input wants them. Statuses: those of opening
 * data sets and reading pictures, SHAPE (pictures of different sizes where the model resizes none),
 * LIMIT (more than fits the memory set aside), MEMORY. `model` is only looked at. */
LedgeStatus ledge__train_data_open(const LedgeModel *model, const LedgeTrainDataOptions *o,
                                   LedgeError *err, LedgeTrainData **out);
void ledge__train_data_free(LedgeTrainData *data); /* NULL is legal */
size_t ledge__train_data_count(const LedgeTrainData *data);
size_t ledge__train_data_labelled(const LedgeTrainData *data);             /* of them */
int32_t ledge__train_data_label(const LedgeTrainData *data, size_t index); /* -1: none */
/* Of every picture: height, width and channels. */
void ledge__train_data_size(const LedgeTrainData *data, size_t *h, size_t *w, size_t *c);
const LedgePreprocess *ledge__train_data_preprocess(const LedgeTrainData *data);
/* FORMAT, naming the sample, when a label is not below `classes`. */
LedgeStatus ledge__train_data_check(const LedgeTrainData *data, int64_t classes, LedgeError *err);

/* ---- options ---- */

typedef enum LedgeTrainOptimizer { LEDGE_TRAIN_SGD, LEDGE_TRAIN_ADAMW } LedgeTrainOptimizer;
typedef enum LedgeTrainSchedule {
    LEDGE_TRAIN_COSINE, /* down to `rate_end` × rate along half a cosine */
    LEDGE_TRAIN_STEPS,  /* times `step_factor` at each of step_epochs */
    LEDGE_TRAIN_CONSTANT
} LedgeTrainSchedule;

typedef struct LedgeTrainAugment {
    uint32_t crop; /* pixels of zeros around the picture before a random crop; 0: none */
    bool flip;     /* left-right, every second picture */
    float colour;  /* brightness, contrast and saturation each vary by up to ± this; 0: none */
    float mixup;   /* parameter of the Beta distribution of mixing weights; 0: none */
} LedgeTrainAugment;

/* Mean squared error between a tensor of the student and one of the teacher, of equal shapes. */
typedef struct LedgeTrainFeature {
    const char *student, *teacher; /* tensor names */
    float weight;
} LedgeTrainFeature;

/* A value that is rounded to integers while training: an activation (channels 1), or the constant
 * weights of a layer, element i of which has the scale i / inner % channels. */
typedef struct LedgeTrainFake {
    const LedgeValue *value;
    const float *scales; /* to begin with; learned from there */
    size_t channels, inner;
    int32_t zero, low, high;
    uint32_t group; /* fakes of one group share their scales */
} LedgeTrainFake;

typedef struct LedgeTrainOptions {
    size_t batch; /* samples in a step */
    double epochs;
    LedgeTrainOptimizer optimizer;
    double rate;                  /* learning rate at its highest */
    double momentum;              /* SGD */
    bool nesterov;                /* SGD */
    double beta1, beta2, epsilon; /* AdamW */
    double weight_decay;          /* of weights; not of biases, normalisation and learned scales */
    double clip;                  /* longest norm of all gradients together; 0: no limit */
    LedgeTrainSchedule schedule;
    double rate_end; /* cosine */
    double warmup;   /* epochs in which the rate rises from 0 in a line */
    const double *step_epochs;
    size_t n_step_epochs;
    double step_factor;
    double label_smoothing; /* 0 … 1 (excluded) */
    double alpha;           /* weight of the teacher's part of the loss; 1 - alpha: the labels' */
    double temperature;
    const LedgeTrainFeature *features;
    size_t n_features;
    LedgeTrainAugment augment;
    int64_t input_dims[LEDGE_MAX_RANK]; /* of the input where the model leaves them free; 0: none */
    /* A tensor that, with all before it, stays as it is, and a model that gives it, as an output of
     * this name, for a picture (it must outlive the trainer). NULL: all is trained. */
    const char *freeze;
    LedgeModel *frozen;
    const LedgeTrainFake *fakes;
    size_t n_fakes;
    bool keep_norms; /* BatchNormalization uses and keeps its running statistics */
    uint64_t seed;
    int threads;  /* 0: every fast core */
    uint32_t cpu; /* CPU flags that kernels may use; 0: this CPU's */
    const LedgeAllocator *allocator;
} LedgeTrainOptions;

/* SGD 0.1 with momentum 0.9, cosine, batch 64, 30 epochs, decay 5e-4; alpha 0.7, temperature 4;
 * no augmentation; seed 1. */
void ledge__train_options_default(LedgeTrainOptions *o);

/* ---- trainer ---- */

typedef struct LedgeTrainer LedgeTrainer;

/* The graph must have one float input of rank 2 or more, batch first, and a first output of
 * [batch, classes] scores (a last Softmax is looked through). `g` must outlive the trainer and is
 * not changed until ledge__trainer_write. Strings and arrays in `o` must stay. Statuses: ARGUMENT,
 * UNSUPPORTED (names the node whose operator has no gradient, and what to freeze), SHAPE, LIMIT,
 * MEMORY. */
LedgeStatus ledge__trainer_new(LedgeGraph *g, const LedgeTrainOptions *o, LedgeError *err,
                               LedgeTrainer **out);
void ledge__trainer_free(LedgeTrainer *t); /* NULL is legal */

/* Fresh random weights (seeded), neutral normalisations, biases of 0. */
void ledge__trainer_init(LedgeTrainer *t);
int64_t ledge__trainer_classes(const LedgeTrainer *t);
/* Numbers that training changes. */
uint64_t ledge__trainer_parameters(const LedgeTrainer *t);

/* A teacher of the same classes: any model of one picture input that ledge runs, 8-bit ones too.
 * It sees the same augmented pixels, prepared as it wants them (`preprocess` NULL: its own). Must
 * outlive the trainer. Statuses: SHAPE (classes, picture sizes or features do not fit),
 * NOT_FOUND (a feature's name), and those of sessions. */
LedgeStatus ledge__trainer_set_teacher(LedgeTrainer *t, LedgeModel *teacher, const char *preprocess,
                                       const LedgeTrainData *data, LedgeError *err);

/* ---- training ---- */

typedef struct LedgeTrainProgress {
    size_t epoch, epochs;  /* epoch counts from 0 */
    size_t step, steps;    /* done in this epoch */
    uint64_t done, total;  /* steps of all epochs */
    double loss, accuracy; /* means over this epoch so far; accuracy NaN without labels */
    double rate;
    double seconds, seconds_left;
    bool epoch_end;
} LedgeTrainProgress;

/* After each step. false: stop; run then gives CANCELLED and may be called again to go on. */
typedef bool (*LedgeTrainProgressFn)(void *arg, const LedgeTrainProgress *p);

/* Trains from where it stands (a fresh trainer, or one that loaded a checkpoint) to the last
 * epoch. A loss that is no number: RUNTIME, naming the layer where it began; the parameters are
 * then those of the last good epoch (or of the beginning). Statuses: FORMAT (labels out of range),
 * ARGUMENT (fewer samples than a batch), CANCELLED, MEMORY, what the teacher's session gives. */
LedgeStatus ledge__trainer_run(LedgeTrainer *t, const LedgeTrainData *data,
                               LedgeTrainProgressFn progress, void *arg, LedgeError *err);

typedef struct LedgeTrainScore {
    size_t samples, correct; /* of the labelled ones */
    double loss;             /* mean cross-entropy */
} LedgeTrainScore;

/* As inference computes it: running statistics, no augmentation. */
LedgeStatus ledge__trainer_evaluate(LedgeTrainer *t, const LedgeTrainData *data, LedgeError *err,
                                    LedgeTrainScore *out);

/* Gradients alone: the mean over the first `batches` batches of `data` (unshuffled, without
 * augmentation; 0: all), which ledge__trainer_parameter then shows. For importance of channels. */
LedgeStatus ledge__trainer_gradients(LedgeTrainer *t, const LedgeTrainData *data, size_t batches,
                                     LedgeError *err);

typedef struct LedgeTrainParameter {
    LedgeValue *value;     /* the graph's constant; NULL: a learned scale */
    float *data;           /* as it is now; may be changed between steps */
    const float *gradient; /* NULL: not trained (running statistics) */
    size_t count;
} LedgeTrainParameter;

size_t ledge__trainer_parameter_count(const LedgeTrainer *t);
/* index must be below the count. */
void ledge__trainer_parameter(const LedgeTrainer *t, size_t index, LedgeTrainParameter *out);
/* Elements where mask is 0 stay zero from now on (pruned weights); NULL lifts it. The mask is
 * copied. NOT_FOUND: the value is no trained parameter. */
LedgeStatus ledge__trainer_set_mask(LedgeTrainer *t, const LedgeValue *value, const uint8_t *mask,
                                    LedgeError *err);

/* The scales that fake `index` learned (`channels` of them); false: training never met its value.
 */
bool ledge__trainer_scales(const LedgeTrainer *t, size_t index, float *scales);
/* Puts the parameters into the graph's constants (new memory of the graph's arena). */
LedgeStatus ledge__trainer_write(LedgeTrainer *t, LedgeError *err);

/* ---- checkpoints ---- */

/* Parameters, the optimiser's state and the place in the schedule, as one file, whole or not at
 * all. Statuses: IO, MEMORY. */
LedgeStatus ledge__trainer_save(const LedgeTrainer *t, const char *path, LedgeError *err);
/* Goes on from there. MISMATCH: of another graph or other options; FORMAT: damaged. On failure the
 * trainer is unchanged. */
LedgeStatus ledge__trainer_load(LedgeTrainer *t, const char *path, LedgeError *err);

#endif
