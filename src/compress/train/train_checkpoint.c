/* Checkpoints: a header, the floats of parameters and moments, a checksum over it all.
 *
 *   0  8  "LEDGETRN"          24  8  steps            56  8  samples right
 *   8  4  version (1)         32  8  updates          64  8  samples labelled
 *  12  4  0                   40  8  loss (double)    72  8  floats that follow
 *  16  8  hash of the graph   48  8  steps seen       80  …  floats, then their XXH64 with all
 *         and the options                                   that is before
 *
 * Numbers are little-endian. A reader knows the size beforehand: another one is refused. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/out_file.h"
#include "compress/train/train_internal.h"

static const char magic[8] = {'L', 'E', 'D', 'G', 'E', 'T', 'R', 'N'};

typedef struct Header {
    char magic[8];
    uint32_t version, zero;
    uint64_t identity, steps, updates;
    double loss;
    uint64_t seen, right, labelled, floats;
} Header;

_Static_assert(sizeof(Header) == 80, "the header has no padding");

/* What must be the same for a checkpoint to fit: parameters by name and size, and the options that
 * the numbers depend on. */
static uint64_t identity(const Trainer *t)
{
    const LedgeTrainOptions *o = &t->o;
    const double numbers[] = {(double)o->batch,
                              o->epochs,
                              (double)o->optimizer,
                              o->rate,
                              o->momentum,
                              (double)o->nesterov,
                              o->beta1,
                              o->beta2,
                              o->epsilon,
                              o->weight_decay,
                              o->clip,
                              (double)o->schedule,
                              o->rate_end,
                              o->warmup,
                              o->step_factor,
                              o->label_smoothing,
                              o->alpha,
                              o->temperature,
                              (double)o->augment.crop,
                              (double)o->augment.flip,
                              (double)o->augment.colour,
                              (double)o->augment.mixup,
                              (double)o->keep_norms,
                              (double)o->seed};
    uint64_t h = ledge__hash64(numbers, sizeof numbers, 0);
    h = ledge__hash64(o->step_epochs, o->n_step_epochs * sizeof(double), h);
    for (size_t i = 0; i < t->n_params; i++) {
        const TrainValue *v = t->params[i];
        const uint64_t size[] = {v->count, v->grad != NULL};
        h = ledge__hash64(v->name, strlen(v->name), h);
        h = ledge__hash64(size, sizeof size, h);
    }
    return h;
}

static LedgeStatus write_all(const Trainer *t, const float *floats, LedgeOutFile *f,
                             LedgeError *err)
{
    Header h = {.version = 1,
                .identity = identity(t),
                .steps = t->place.steps,
                .updates = t->place.updates,
                .loss = t->place.loss,
                .seen = t->place.seen,
                .right = t->place.right,
                .labelled = t->place.labelled,
                .floats = t->state_floats};
    const size_t bytes = t->state_floats * sizeof(float);
    memcpy(h.magic, magic, sizeof magic);
    const uint64_t sum = ledge__hash64(floats, bytes, ledge__hash64(&h, sizeof h, 0));
    LEDGE_TRY(ledge__out_file_write(f, &h, sizeof h, err));
    LEDGE_TRY(ledge__out_file_write(f, floats, bytes, err));
    return ledge__out_file_write(f, &sum, sizeof sum, err);
}

LedgeStatus ledge__trainer_save(const LedgeTrainer *t, const char *path, LedgeError *err)
{
    LedgeOutFile *f = NULL;
    float *floats = ledge__alloc(t->allocator, t->state_floats, sizeof(float));
    if (!floats)
        return ledge__no_memory(err);
    ledge__train_state((Trainer *)t, floats, false); /* only read */
    LedgeStatus s = ledge__out_file_open(t->allocator, path, err, &f);
    if (!s)
        s = write_all(t, floats, f, err);
    ledge__free(t->allocator, floats);
    if (s) {
        ledge__out_file_abort(f);
        return s;
    }
    return ledge__out_file_commit(f, err);
}

LedgeStatus ledge__train_parse(Trainer *t, const void *bytes, size_t size, const char *where,
                               LedgeError *err)
{
    const size_t floats = t->state_floats * sizeof(float);
    Header h;
    uint64_t sum;
    if (size < sizeof h || memcmp(bytes, magic, sizeof magic) != 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where, "is no checkpoint of ledge");
    memcpy(&h, bytes, sizeof h);
    if (h.version != 1)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, where,
                           "is a checkpoint of version %u; this ledge reads version 1", h.version);
    if (h.identity != identity(t) || h.floats != t->state_floats)
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, where,
                           "is a checkpoint of another model or of other options; start anew, or "
                           "give the options that it was made with");
    if (size != sizeof h + floats + sizeof sum)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where, "the checkpoint is cut off");
    memcpy(&sum, (const char *)bytes + sizeof h + floats, sizeof sum);
    const char *state = (const char *)bytes + sizeof h;
    if (sum != ledge__hash64(state, floats, ledge__hash64(&h, sizeof h, 0)))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "the checkpoint is damaged: its checksum does not fit");
    float *copy = ledge__alloc(t->allocator, t->state_floats, sizeof(float));
    if (!copy)
        return ledge__no_memory(err);
    memcpy(copy, state, floats);
    ledge__train_state(t, copy, true);
    ledge__free(t->allocator, copy);
    t->place = (TrainPlace){h.steps, h.updates, h.loss, h.right, h.labelled, h.seen};
    ledge__train_state(t, t->good, false);
    t->good_place = t->place;
    return LEDGE_OK;
}

LedgeStatus ledge__trainer_load(LedgeTrainer *t, const char *path, LedgeError *err)
{
    struct stat st;
    const size_t most = sizeof(Header) + t->state_floats * sizeof(float) + sizeof(uint64_t);
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &st) || !S_ISREG(st.st_mode)) {
        if (f)
            fclose(f);
        return ledge__fail(err, LEDGE_ERROR_IO, path, "the checkpoint cannot be read");
    }
    /* One byte more than can be right tells a longer file. */
    char *bytes = ledge__alloc(t->allocator, most + 1, 1);
    const size_t n = bytes ? fread(bytes, 1, most + 1, f) : 0;
    const bool failed = ferror(f) != 0;
    fclose(f);
    const LedgeStatus s =
        !bytes   ? ledge__no_memory(err)
        : failed ? ledge__fail(err, LEDGE_ERROR_IO, path, "the checkpoint cannot be read")
                 : ledge__train_parse(t, bytes, n, path, err);
    ledge__free(t->allocator, bytes);
    return s;
}
