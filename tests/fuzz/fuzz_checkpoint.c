/* Fuzz target of what reads checkpoints of training.
 *
 * Bytes as they are, which a checksum guards, and then with identity, lengths and checksum put
 * right, as a forger would: no read outside them, a status with a sentence, and a trainer that can
 * still tell its rate, be saved and take its own checkpoint back. CHECKPOINT_SEED names a file to
 * write the checkpoint of a fresh trainer to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "compress/train/train_internal.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FLOATS = 3 * (6 + 2), SIZE = 80 + 4 * FLOATS + 8 };

static LedgeTrainer *trainer;
static unsigned char good[SIZE];

static LedgeValue *constant(LedgeGraph *g, const char *name, int32_t rank, int64_t d0, int64_t d1)
{
    static float zeros[8];
    LedgeTensor t = {LEDGE_FLOAT, rank, {d0, d1}, zeros, sizeof zeros};
    return ledge__value_constant(g, name, &t, true);
}

/* x [N,3] times w [2,3] and b [2]. */
static void make_trainer(void)
{
    LedgeGraph *g = NULL;
    LedgeError err = {0};
    LedgeTrainOptions o;
    check(ledge__graph_new(NULL, &g) == LEDGE_OK);
    g->opset = 13;
    LedgeValue *x = ledge__value_new(g, "x"), *y = ledge__value_new(g, "y");
    LedgeNode *n = ledge__node_new(g, "", "Gemm", "fc", 3, 1, NULL);
    check(x && y && n && ledge__graph_add_input(g, x) && ledge__node_set_int(g, n, "transB", 1));
    x->t = (LedgeTensor){.type = LEDGE_FLOAT, .rank = 2, .dims = {-1, 3}};
    ledge__node_set_input(n, 0, x);
    ledge__node_set_input(n, 1, constant(g, "w", 2, 2, 3));
    ledge__node_set_input(n, 2, constant(g, "b", 1, 2, 0));
    ledge__node_set_output(n, 0, y);
    check(ledge__graph_add_output(g, y));
    ledge__train_options_default(&o);
    o.batch = 2;
    o.threads = 1;
    check(ledge__trainer_new(g, &o, &err, &trainer) == LEDGE_OK);
    trainer->steps_per_epoch = 5;
}

static void save(const char *path)
{
    LedgeError err = {0};
    check(ledge__trainer_save(trainer, path, &err) == LEDGE_OK);
    FILE *f = fopen(path, "rb");
    check(f && fread(good, 1, SIZE, f) == SIZE && fgetc(f) == EOF);
    fclose(f);
}

static void begin(void)
{
    char path[] = "/tmp/ledge-fuzz-checkpoint-XXXXXX";
    const char *seed = getenv("CHECKPOINT_SEED");
    make_trainer();
    const int fd = seed ? 0 : mkstemp(path);
    check(fd >= 0);
    save(seed ? seed : path);
    if (!seed) {
        close(fd);
        unlink(path);
    }
}

static void parse(const unsigned char *bytes, size_t size)
{
    LedgeError err = {0};
    const LedgeStatus s = ledge__train_parse(trainer, bytes, size, "fuzz", &err);
    check(s == err.status && (s == LEDGE_OK || err.message[0] != '\0'));
    (void)ledge__train_rate(trainer);
    (void)ledge__train_gradient_norm(trainer);
    check(ledge__train_parse(trainer, good, SIZE, "fuzz", &err) == LEDGE_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char mended[SIZE];
    if (!trainer)
        begin();
    unsigned char *copy = malloc(size + 1); /* of the right size, for the sanitizer to watch */
    check(copy != NULL);
    memcpy(copy, data, size);
    parse(copy, size);
    free(copy);
    memcpy(mended, good, SIZE);
    memcpy(mended + 24, data, size < SIZE - 24 ? size : SIZE - 24);
    memcpy(mended + 72, good + 72, 8);
    const uint64_t sum = ledge__hash64(mended + 80, 4 * FLOATS, ledge__hash64(mended, 80, 0));
    memcpy(mended + 80 + 4 * FLOATS, &sum, sizeof sum);
    parse(mended, SIZE);
    return 0;
}
