/* What Resize computes from its attributes and inputs before it touches an element: for every
 * axis that changes, which positions of the input each position of the output is made of. */
#ifndef LEDGE_ENGINE_OPS_RESIZE_H
#define LEDGE_ENGINE_OPS_RESIZE_H

#include "engine/ops/shape/move.h"

typedef enum ResizeMode { RESIZE_NEAREST, RESIZE_LINEAR, RESIZE_CUBIC } ResizeMode;

typedef struct ResizeAxis {
    bool changes;      /* false: the axis is copied as it is */
    int64_t n_in, n_out;
    int taps;          /* per output position; nearest: 1 */
    int64_t *index;    /* [n_out][taps], inside the input */
    double *weight;    /* [n_out][taps]; NULL for nearest */
    float *weight_f;   /* the same in float */
    bool *outside;     /* [n_out], tf_crop_and_resize only, else NULL */
} ResizeAxis;

typedef struct ResizePlan {
    ResizeMode mode;
    int32_t rank;
    ResizeAxis axis[LEDGE_MAX_RANK];
    double extrapolation;
    bool any_outside;
} ResizePlan;

/* Bytes of work memory that a run wants; SIZE_MAX: the stages are too large. */
size_t ledge__resize_work_bytes(const LedgeOpCtx *c, const ResizePlan *p, const LedgeTensor *in);
/* Runs a plan from `in` to `out`, whose dims are the plan's. */
LedgeStatus ledge__resize_run(LedgeOpCtx *c, const ResizePlan *p, const LedgeTensor *in,
                              const LedgeTensor *out);

#endif
