/* Calibration data: pictures or arrays, one sample at a time, as the model's inputs.
 *
 * Pictures come from a folder or a data set and are prepared as the model wants them; arrays are
 * .npy files whose first axis counts samples, one file an input. Of more samples than wanted
 * every k-th is taken, so that data sorted by class still shows all classes. */
#ifndef LEDGE_COMPRESS_SAMPLES_H
#define LEDGE_COMPRESS_SAMPLES_H

#include "image/dataset.h"
#include "image/preprocess.h"
#include "ledge/ledge.h"

typedef struct LedgeSamples LedgeSamples;

typedef struct LedgeSamplesOptions {
    const char *folder;        /* of pictures, or one .npy file for the first input */
    const char *labels;        /* CSV for the folder; may be NULL */
    const char *dataset;       /* "cifar10:FILE" and so on */
    const char *const *arrays; /* "NAME=FILE.npy" */
    size_t n_arrays;
    const char *preprocess;    /* NULL: the model's own */
    size_t limit;              /* 0: all */
    const LedgeAllocator *allocator;
} LedgeSamplesOptions;

typedef struct LedgeSampleInputs {
    char name[300];
    int32_t label;             /* -1: none known */
    const LedgeTensor *inputs; /* one per model input, valid until the next read */
    size_t n_inputs;
} LedgeSampleInputs;

/* One of folder, dataset and arrays must be given. The model must outlive the samples. Statuses:
 * those of opening data, SHAPE and TYPE (the data does not fit the model's inputs, by name). */
LedgeStatus ledge__samples_open(const LedgeModel *model, const LedgeSamplesOptions *o,
                                LedgeError *err, LedgeSamples **out);
void ledge__samples_free(LedgeSamples *s); /* NULL is legal */
size_t ledge__samples_count(const LedgeSamples *s);     /* that will be read */
size_t ledge__samples_available(const LedgeSamples *s); /* before the limit */
bool ledge__samples_are_pictures(const LedgeSamples *s);
/* Where the preprocessing came from: "option", "model" or "default"; NULL for arrays. */
const char *ledge__samples_preprocess_from(const LedgeSamples *s);
const LedgePreprocess *ledge__samples_preprocess(const LedgeSamples *s); /* NULL for arrays */
LedgeStatus ledge__samples_read(LedgeSamples *s, size_t index, LedgeError *err,
                                LedgeSampleInputs *out);

#endif
