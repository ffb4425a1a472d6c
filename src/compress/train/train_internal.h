/* What the files of the trainer share: values with their gradients, steps, and how they run.
 *
 * Building walks the graph once and makes a list of steps for one fixed batch size; rank-4
 * activations lie as NHWC pixels (`nhwc`), with a step of its own where an operator needs ONNX's
 * order. A plan then gives every activation and gradient its place: forward steps take times
 * 0 … n-1, the loss n, the backward of step i the time 2n - i. */
#ifndef LEDGE_COMPRESS_TRAIN_INTERNAL_H
#define LEDGE_COMPRESS_TRAIN_INTERNAL_H

#include <stdarg.h>

#include "base/alloc.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/pool.h"
#include "compress/train/train.h"
#include "compress/train/train_vec.h"
#include "engine/kernels/conv_f32.h"
#include "engine/kernels/vec.h"

enum { TRAIN_CHUNKS = 8 }; /* pieces that sums over a batch are made in, for any thread count */

typedef struct TrainValue {
    const char *name;
    LedgeValue *source; /* the graph's; NULL: made by the builder */
    int32_t rank;
    int64_t dims[LEDGE_MAX_RANK]; /* in ONNX's order */
    size_t count;
    bool nhwc;
    bool fixed; /* a constant: not planned, `data` is its own */
    bool needs_grad;
    bool decays; /* a parameter that weight decay pulls on */
    bool buffer; /* running statistics: saved, not trained */
    bool kept;   /* must survive: features, scores */
    float *data, *grad;
    uint8_t *mask; /* of pruned weights */
    float *least;  /* lower bounds of learned scales, or NULL */
    struct TrainStep *producer;
    size_t last;                 /* planning: time of the last read */
    size_t data_slot, grad_slot; /* SIZE_MAX: none */
    bool grad_begun;             /* planning: some step has contributed already */
} TrainValue;

typedef struct TrainStep TrainStep;
typedef struct LedgeTrainer Trainer;
typedef struct TrainBuild TrainBuild;

enum {
    TRAIN_BACK_X0 = 1, /* backward reads the first input … */
    TRAIN_BACK_X1 = 2, /* … the others */
    TRAIN_BACK_Y = 4,  /* … the output */
    TRAIN_INPLACE = 8, /* the output may take the first input's place */
    TRAIN_STEAL = 16,  /* backward may turn the output's gradient into that of input `steal` */
    TRAIN_SPOIL = 32   /* backward changes the output's gradient */
};

typedef struct TrainOp {
    const char *name;
    unsigned flags;
    void (*forward)(Trainer *t, TrainStep *s);
    void (*backward)(Trainer *t, TrainStep *s);
} TrainOp;

enum { TRAIN_MOST_INPUTS = 16 };

struct TrainStep {
    const TrainOp *op;
    const char *name, *kind; /* the node's, for messages */
    TrainValue **in;
    uint32_t n_in;
    TrainValue *out;
    unsigned flags;
    uint32_t steal; /* which input may take over the output's gradient */
    bool stolen;    /* planned: it does */
    bool *first;    /* per input: this step is the first to write its gradient */
    bool dead;      /* taken in by a later step */
    bool backward;  /* planned: it has a gradient to pass on */
    size_t time;
    size_t scratch; /* bytes while it runs, shared by all steps */
    void *state;    /* the operator's own, in the arena */
};

typedef struct TrainSlot { /* a planned stretch of memory */
    size_t bytes, begin, end, at;
} TrainSlot;

typedef struct TrainTeacher TrainTeacher;
typedef struct TrainFake TrainFake;
typedef struct TrainFrozen TrainFrozen;

/* How far training is; goes into checkpoints. */
typedef struct TrainPlace {
    uint64_t steps, updates; /* steps taken; of them by the optimiser */
    double loss;             /* sums over the epoch at hand */
    uint64_t right, labelled, seen;
} TrainPlace;

struct LedgeTrainer {
    LedgeGraph *graph;
    LedgeTrainOptions o;
    const LedgeAllocator *allocator;
    LedgeArena *arena;
    LedgePool *pool;
    uint32_t cpu;
    const LedgeVec *vec;
    const TrainVec *tv;
    const LedgeF32Kernels *k;
    LedgeRunner runner;

    TrainValue **values; /* all */
    size_t n_values;
    TrainStep **steps;
    size_t n_steps;
    TrainValue *input, *scores;
    TrainValue **params; /* trained ones and buffers */
    size_t n_params;
    TrainSlot *slots;
    size_t n_slots;
    char *memory; /* of all slots */
    size_t memory_bytes;
    char *scratch;
    size_t scratch_bytes;
    bool training; /* batch statistics */
    bool learning; /* running statistics move */
    size_t used;   /* samples of the batch at hand that are real */

    float **moment1, **moment2; /* per parameter */
    size_t steps_per_epoch;

    float *pixels; /* the batch before it is normalised: [batch][h][w][c] */
    int32_t *label_a, *label_b;
    float *mix; /* per sample: weight of label_a */
    double *loss_room, *sample_losses;
    uint8_t *sample_right;
    uint32_t *eval_order;
    TrainValue **features;
    TrainFake *fakes; /* o.n_fakes of them */
    bool rounded;     /* rounded weights stand in for the whole ones */
    TrainFrozen *frozen; /* NULL: all is trained */
    size_t pixel_floats; /* of t->pixels */
    TrainTeacher *teacher;
    const float *taught; /* its scores for the batch at hand, [batch][classes]; NULL: none */
    TrainPlace place;
    float *good;           /* parameters and moments of the last good epoch … */
    TrainPlace good_place; /* … and where it ended */
    size_t state_floats;   /* of all parameters and moments */
};

/* ---- building (train_build.c) ---- */

struct TrainBuild {
    Trainer *t;
    LedgeError *err;
    TrainValue **by_id;    /* per LedgeValue.id */
    const LedgeNode *node; /* at hand */
};

/* A new value of these dims, or NULL. */
TrainValue *ledge__train_value(TrainBuild *b, const char *name, int32_t rank, const int64_t *dims,
                               bool nhwc);
/* A step that makes `out` of `n` inputs, appended; `state_bytes` of zeroed state. NULL: no memory.
 */
TrainStep *ledge__train_step(TrainBuild *b, const TrainOp *op, TrainValue *const *in, uint32_t n,
                             TrainValue *out, size_t state_bytes);
/* The node's i-th input as a float value; NULL: omitted, or (err set, status) wrong. */
LedgeStatus ledge__train_in(TrainBuild *b, uint32_t i, TrainValue **out);
/* The same, in NHWC or ONNX order as asked. */
LedgeStatus ledge__train_in_layout(TrainBuild *b, uint32_t i, bool nhwc, TrainValue **out);
/* `v` in the order asked, through a step if need be. */
LedgeStatus ledge__train_layout(TrainBuild *b, TrainValue *v, bool nhwc, TrainValue **out);
/* The value that stands for the node's first output. */
LedgeStatus ledge__train_output(TrainBuild *b, int32_t rank, const int64_t *dims, bool nhwc,
                                TrainValue **out);
/* Marks a constant as trained; NULL and what is no constant are passed over. */
LedgeStatus ledge__train_param(TrainBuild *b, TrainValue *v, bool decays);
/* Marks a constant as running statistics. */
LedgeStatus ledge__train_buffer(TrainBuild *b, TrainValue *v);
/* A step that makes `y` of the same elements, and one that permutes memory axes (as they lie). */
LedgeStatus ledge__train_view(TrainBuild *b, TrainValue *x, TrainValue *y);
LedgeStatus ledge__train_permute(TrainBuild *b, TrainValue *x, const int32_t *perm, TrainValue *y);
/* Whether it is asked for by name, so that no step may swallow it. */
bool ledge__train_is_feature(const TrainBuild *b, const TrainValue *v);
LedgeStatus ledge__train_build(Trainer *t, LedgeError *err);
LedgeStatus ledge__train_refuse(TrainBuild *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* One per operator: adds steps for b->node. */
typedef LedgeStatus TrainBuildFn(TrainBuild *b);
typedef struct TrainBuilder {
    const char *op_type;
    TrainBuildFn *build;
} TrainBuilder;
extern const TrainBuilder ledge__train_builders[];

TrainBuildFn ledge__train_conv, ledge__train_gemm, ledge__train_matmul, ledge__train_batch_norm,
    ledge__train_clamp, ledge__train_map, ledge__train_pair, ledge__train_concat,
    ledge__train_slice, ledge__train_pad, ledge__train_pool, ledge__train_global_pool,
    ledge__train_reshape, ledge__train_transpose, ledge__train_softmax, ledge__train_layer_norm,
    ledge__train_identity, ledge__train_reduce_mean;

/* Window attributes of Conv and pools, for an input of in[0] × in[1] pixels; `kernel` is given. */
typedef struct TrainWindow {
    int64_t kernel[2], stride[2], dilation[2], pad[4], out[2]; /* pad: top, left, bottom, right */
} TrainWindow;
LedgeStatus ledge__train_window(TrainBuild *b, const int64_t in[2], TrainWindow *w);

/* ---- fake quantization (train_fake.c) ---- */

LedgeStatus ledge__train_fake_begin(TrainBuild *b);
/* Puts the step in where the value is to be rounded; its readers come later. */
LedgeStatus ledge__train_fake_value(TrainBuild *b, const LedgeValue *value);
LedgeStatus ledge__train_fake_weights(TrainBuild *b); /* when all nodes are built */
/* Forward begins with rounded weights; backward, or whoever calls forward alone, puts the whole
 * ones back, with `gradients` those of whole weights and scales from the rounded ones'. */
void ledge__train_round_weights(Trainer *t);
void ledge__train_restore_weights(Trainer *t, bool gradients);

/* ---- planning (train_plan.c) ---- */

LedgeStatus ledge__train_plan(Trainer *t, LedgeError *err);

/* ---- running ---- */

void ledge__train_forward(Trainer *t);
/* Gradients of kept values were written by the loss; parameters' gradients are zeroed here. */
void ledge__train_backward(Trainer *t);
/* Where the gradient of input i goes, and whether to add to it; NULL: not wanted. */
static inline float *ledge__train_grad(const TrainStep *s, uint32_t i, bool *accumulate)
{
    *accumulate = s->in[i]->fixed || !s->first[i];
    return s->in[i]->needs_grad ? s->in[i]->grad : NULL;
}
/* to (+)= from, by all threads. */
void ledge__train_pass(Trainer *t, const float *from, float *to, size_t n, bool accumulate);
/* Memory order of a value: dims as they lie. */
void ledge__train_lies(const TrainValue *v, int64_t dims[LEDGE_MAX_RANK]);
/* Elements of a float constant in the graph, which may be misaligned. */
void ledge__train_copy(float *to, const LedgeValue *from, size_t count);

/* ---- linear maps (train_linear.c): conv over NHWC, forward and both gradients ---- */

typedef struct TrainLinear {
    LedgeConvShape s;
    LedgeConvPlan forward, back; /* back: of the gradient, dilated where strides are above 1 */
    size_t bh, bw;               /* size of the dilated gradient; 0: the gradient serves as it is */
    size_t bt, bl;               /* rows and columns cut off above and to the left of it */
    size_t hq, wq;               /* size of a phase plane of the input */
    size_t at_packed, at_bias, at_zeros, at_turned, at_dilated, at_run; /* in scratch */
    size_t chunk_bytes; /* of the weights' gradient */
    size_t scratch;
    bool wants_dx;
} TrainLinear;

/* Fills in plans for shape `s`. false: sizes overflow. */
bool ledge__train_linear_plan(const Trainer *t, const LedgeConvShape *s, bool wants_dx,
                              TrainLinear *l);
/* Weights [m][c / group][kh][kw]; bias may be NULL. */
void ledge__train_linear_forward(Trainer *t, const TrainLinear *l, const float *x, const float *w,
                                 const float *bias, float *y);
void ledge__train_linear_dx(Trainer *t, const TrainLinear *l, const float *dy, const float *w,
                            float *dx, bool accumulate);
/* dw += …, of the weights' own order. */
void ledge__train_linear_dw(Trainer *t, const TrainLinear *l, const float *x, const float *dy,
                            float *dw);
/* db[c] += the sum over rows. */
void ledge__train_column_sums(Trainer *t, const float *dy, size_t rows, size_t c, float *db);

/* All parameters and moments to or from one array of t->state_floats. */
void ledge__train_state(Trainer *t, float *floats, bool restore);

/* A checkpoint's bytes; on failure the trainer is unchanged. `where` is for messages. */
LedgeStatus ledge__train_parse(Trainer *t, const void *bytes, size_t size, const char *where,
                               LedgeError *err);

/* ---- loss (train_loss.c) ---- */

/* Loss of the batch at hand against label_a, label_b, mix and the teacher's scores; with `grad`
 * also the gradients of scores and features. */
double ledge__train_loss(Trainer *t, bool grad, size_t *right, size_t *labelled);

/* ---- optimiser (train_update.c) ---- */

double ledge__train_rate(const Trainer *t);
double ledge__train_gradient_norm(const Trainer *t); /* of all gradients together */
void ledge__train_update(Trainer *t, double rate, double norm);

/* ---- batches (train_batch.c) ---- */

/* Fills t->pixels, labels and the input from samples order[0 … n); n may be below the batch. The
 * epoch and the place in it choose the random numbers of augmentation. */
LedgeStatus ledge__train_batch(Trainer *t, const LedgeTrainData *data, const uint32_t *order,
                               size_t n, bool augment, uint64_t epoch, uint64_t place,
                               LedgeError *err);
/* A permutation of 0 … n-1 that depends on the seed and the epoch alone. */
void ledge__train_shuffle(uint32_t *order, size_t n, uint64_t seed, uint64_t epoch);
const uint8_t *ledge__train_data_pixels(const LedgeTrainData *d, size_t index);

/* ---- teacher (train_teacher.c) ---- */

LedgeStatus ledge__train_teach(Trainer *t, LedgeError *err); /* on t->pixels */
const float *ledge__train_taught_feature(const Trainer *t, size_t i);
void ledge__train_teacher_free(Trainer *t);
/* n pictures of pixel values [h][w][c] as a model of these pixels takes them. */
void ledge__train_prepare(const LedgePixels *px, size_t h, size_t w, size_t c, const float *pixels,
                          size_t n, float *to);

/* ---- the frozen part (train_frozen.c) ---- */

LedgeStatus ledge__train_freeze(Trainer *t, LedgeError *err);
size_t ledge__train_frozen_floats(const Trainer *t); /* pixels that a batch has */
/* From t->pixels to the trainer's input. */
LedgeStatus ledge__train_run_frozen(Trainer *t, const LedgePixels *px, size_t h, size_t w, size_t c,
                                    LedgeError *err);
void ledge__train_frozen_free(Trainer *t);

/* splitmix64, one stream a purpose. */
static inline uint64_t ledge__train_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static inline double ledge__train_uniform(uint64_t *state)
{
    return (double)(ledge__train_random(state) >> 11) * 0x1p-53;
}

#endif
