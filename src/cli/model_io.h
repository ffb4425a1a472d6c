/* Feeding models: input tensors from files, pictures or random numbers, labels, timing. */
#ifndef LEDGE_CLI_MODEL_IO_H
#define LEDGE_CLI_MODEL_IO_H

#include "base/scores.h"
#include "cli/cli.h"
#include "image/labels.h"

/* One tensor per model input; all data is owned. */
typedef struct CliInputs {
    LedgeTensor *tensors;
    size_t n;
} CliInputs;

/* Room for the model's inputs, none of them filled. false: no memory. */
bool cli_inputs_new(const LedgeModel *m, CliInputs *in);
void cli_inputs_free(CliInputs *in);
/* Fills inputs from "NAME=FILE.npy" words; a word without '=' means the first input that is not
 * yet filled. All functions here give CLI_GO or the exit code after printing why. */
int cli_inputs_files(const LedgeModel *m, const CliList *words, CliInputs *in);
/* Applies "NAME=1x3x224x224" to what the random numbers below will take; dims: one
 * LedgeTensorInfo copy per input. */
int cli_shapes_apply(const LedgeModel *m, const CliList *words, LedgeTensorInfo *infos);
/* Fills the inputs still empty with random numbers (the same for the same seed): floats from
 * -1 to 1, integers 0 and 1. Free dimensions are 1 unless `shapes` says otherwise. */
int cli_inputs_random(const LedgeModel *m, const CliList *shapes, uint64_t seed, CliInputs *in);
/* The same of descriptions without free dimensions, saying nothing: SHAPE or TYPE where numbers
 * cannot fill an input, MEMORY. */
LedgeStatus cli_inputs_fill(const LedgeTensorInfo *infos, uint64_t seed, LedgeError *err,
                            CliInputs *in);
/* Index of the input called `name`; (size_t)-1 after an error message that lists them. */
size_t cli_input_index(const LedgeModel *m, const char *name);

/* Loads the model and makes a session; on failure both are NULL and why is printed. */
typedef struct CliOpen {
    const char *path, *cpu;
    bool no_optimize;
    int64_t threads;
    bool (*pixels)(void *arg, const LedgeModel *m, size_t input, LedgePixels *out); /* or NULL */
    void *pixels_arg;
    const char *provider; /* list, or NULL */
    CliList provider_options;
    bool strict;
} CliOpen;
/* The model alone. */
int cli_open_model(const CliOpen *o, LedgeModel **model);
/* A session on `provider`, whatever `o` has in its place. */
int cli_open_session(const CliOpen *o, const char *provider, LedgeModel *model,
                     LedgeSession **session);
int cli_open(const CliOpen *o, LedgeModel **model, LedgeSession **session);
/* Writes the model at `path` to `out`, which may be the same, with one entry of its metadata set.
 */
int cli_set_metadata(const char *path, const char *out, const char *key, const char *value);
/* Whether both are there and one file, by whatever names; NULL is none. */
bool cli_same_file(const char *a, const char *b);
/* Before the work begins: `out` is another file than the model `in`, and can be written. */
int cli_check_output(const char *in, const char *out);
/* Bytes; 0 where that cannot be told. */
uint64_t cli_file_size(const char *path);
/* Threads that a session with this option really runs on. */
int cli_threads(int64_t asked);

/* ---- labels ---- */

/* From a file with one class a line, or, with path NULL, from the model (image/labels.h). */
int cli_labels_load(const LedgeModel *m, const char *path, LedgeLabels *out);

/* ---- time ---- */

uint64_t cli_now_ns(void);
/* Milliseconds from exec to the first answer of `ledge bench WORDS...` (ended by NULL: a model
 * and options) in a fresh process, and its peak memory; NaN when that did not work. */
double cli_cold_start(char *const *words, uint64_t *peak);
/* Percentile p (0 … 100) of sorted values, linear between neighbours. */
double cli_percentile(const double *sorted, size_t n, double p);
int cli_compare_doubles(const void *a, const void *b);

#endif
