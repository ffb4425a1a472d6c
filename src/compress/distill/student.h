/* Students: models to be trained, read from a file or built here with fresh weights.
 *
 *   tiny             five convolutions and one residual, for pictures of about 32 to 64 pixels
 *   resnet8          He et al.'s CIFAR residual network with one block a stage (16, 32, 64)
 *   mobilenet-0.25   MobileNetV2's inverted residuals at a quarter of the width
 *
 * All are Conv + BatchNormalization as exporters leave them, NCHW, opset 13, a free batch. */
#ifndef LEDGE_COMPRESS_STUDENT_H
#define LEDGE_COMPRESS_STUDENT_H

#include "compress/train/train.h"

typedef struct LedgeStudent {
    const LedgeAllocator *allocator;
    OnnxModel *file; /* what was read, which `head` and `graph` point into; NULL: built here */
    LedgeGraph *graph;
    LedgeArena *arena; /* of metadata and what is exported */
    OnnxModel head;    /* what is written but for the graph; metadata may be set here */
} LedgeStudent;

typedef struct LedgeStudentShape {
    int64_t channels, height, width; /* of the input; height and width at least 8 */
    int64_t classes;
} LedgeStudentShape;

/* Whether `name` is one of those above. */
bool ledge__student_is_builtin(const char *name);
/* Statuses: NOT_FOUND, SHAPE (too small a picture, fewer than 2 classes), MEMORY. Weights are all 0
 * until ledge__trainer_init. */
LedgeStatus ledge__student_build(const LedgeAllocator *a, const char *name,
                                 const LedgeStudentShape *s, LedgeError *err, LedgeStudent *out);
/* A model file, made ready for training: functions inlined, constants folded, BatchNormalization
 * left as it is. Statuses: those of reading and of shape inference. */
LedgeStatus ledge__student_read(const LedgeAllocator *a, const char *path, LedgeError *err,
                                LedgeStudent *out);
void ledge__student_free(LedgeStudent *s); /* also of a cleared struct */

/* The graph as it is now: as bytes, to be freed by ledge__free, or as a file, whole or not at
 * all. */
LedgeStatus ledge__student_bytes(LedgeStudent *s, LedgeError *err, void **bytes, size_t *size);
LedgeStatus ledge__student_save(LedgeStudent *s, const char *path, LedgeError *err);

/* A model file with some of its inner tensors as further outputs, as bytes. NOT_FOUND: a name that
 * the model does not compute. */
LedgeStatus ledge__with_outputs(const LedgeAllocator *a, const char *path, const char *const *names,
                                size_t n, LedgeError *err, void **bytes, size_t *size);

#endif
