/* The loop: it learns, gives the same numbers for every number of threads and across a break, keeps
 * what is good when numbers go wrong, and refuses what cannot work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "compress/distill/student.h"
#include "compress/train/train_internal.h"
#include "graph_from_text.h"

enum { SIDE = 12, COUNT = 96, RECORD = 1 + 3 * 1024 };

/* A folder of one CIFAR-10 file: class 0 is bright above, 1 bright below, 2 bright to the left. */
typedef struct World {
    char folder[64], file[96], checkpoint[96];
    LedgeStudent student;
    LedgeModel *model;
    void *bytes;
    LedgeTrainData *data;
} World;

static void write_pictures(const char *path, int classes, bool labels)
{
    FILE *f = fopen(path, "wb");
    uint64_t state = 5;
    assert_non_null(f);
    for (int i = 0; i < COUNT; i++) {
        unsigned char r[RECORD];
        const int label = i % classes;
        r[0] = (unsigned char)(labels ? label : 9);
        for (int p = 0; p < 3 * 1024; p++) {
            const int y = p % 1024 / 32, x = p % 32;
            const int bright = label == 0 ? y < 16 : label == 1 ? y >= 16 : x < 16;
            r[1 + p] = (unsigned char)(bright * 90 + 60 + ledge__train_uniform(&state) * 90);
        }
        assert_int_equal(fwrite(r, 1, sizeof r, f), sizeof r);
    }
    assert_int_equal(fclose(f), 0);
}

/* limit 0: all. */
static LedgeTrainData *open_data(const World *w, size_t limit)
{
    static const char pre[] = "{\"color\": \"rgb\", \"resize\": {\"width\": 12, \"height\": 12}, "
                              "\"scale\": 0.00392156862, \"mean\": 0.5, \"std\": 0.25}";
    LedgeError err = {0};
    LedgeTrainData *data = NULL;
    const char *sets[] = {w->file};
    const LedgeTrainDataOptions o = {.sets = sets, .n_sets = 1, .preprocess = pre, .limit = limit};
    if (ledge__train_data_open(w->model, &o, &err, &data))
        fail_msg("%s: %s", err.where, err.message);
    return data;
}

static void open_world(World *w)
{
    LedgeError err = {0};
    size_t size;
    const LedgeStudentShape shape = {3, SIDE, SIDE, 3};
    memset(w, 0, sizeof *w);
    strcpy(w->folder, "/tmp/ledge-train-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->file, sizeof w->file, "cifar10:%s/set.bin", w->folder);
    snprintf(w->checkpoint, sizeof w->checkpoint, "%s/checkpoint", w->folder);
    write_pictures(w->file + 8, 3, true);
    assert_int_equal(ledge__student_build(NULL, "tiny", &shape, &err, &w->student), 0);
    assert_int_equal(ledge__student_bytes(&w->student, &err, &w->bytes, &size), 0);
    assert_int_equal(ledge_model_load_memory(w->bytes, size, NULL, &err, &w->model), 0);
    w->data = open_data(w, 0);
}

static void close_world(World *w)
{
    ledge__train_data_free(w->data);
    ledge_model_free(w->model);
    ledge__free(NULL, w->bytes);
    ledge__student_free(&w->student);
    unlink(w->file + 8);
    unlink(w->checkpoint);
    assert_int_equal(rmdir(w->folder), 0);
}

static LedgeTrainOptions options(void)
{
    LedgeTrainOptions o;
    ledge__train_options_default(&o);
    o.batch = 16;
    o.epochs = 6;
    o.rate = 0.05;
    o.threads = 1;
    o.augment = (LedgeTrainAugment){.crop = 2, .flip = false, .colour = 0.2f, .mixup = 0.2f};
    return o;
}

static LedgeTrainer *new_trainer(World *w, const LedgeTrainOptions *o)
{
    LedgeError err = {0};
    LedgeTrainer *t = NULL;
    if (ledge__trainer_new(w->student.graph, o, &err, &t))
        fail_msg("%s: %s", err.where, err.message);
    ledge__trainer_init(t);
    return t;
}

/* All parameters, buffers too, one after the other. */
static float *numbers(const LedgeTrainer *t, size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < t->n_params; i++)
        *count += t->params[i]->count;
    float *all = malloc(*count * sizeof *all), *to = all;
    assert_non_null(all);
    for (size_t i = 0; i < t->n_params; i++) {
        memcpy(to, t->params[i]->data, t->params[i]->count * sizeof *to);
        to += t->params[i]->count;
    }
    return all;
}

static void assert_same(const LedgeTrainer *a, const LedgeTrainer *b, bool same)
{
    size_t n, m;
    float *x = numbers(a, &n), *y = numbers(b, &m);
    assert_int_equal(n, m);
    assert_true((memcmp(x, y, n * sizeof *x) == 0) == same);
    free(x);
    free(y);
}

static void run(LedgeTrainer *t, World *w)
{
    LedgeError err = {0};
    if (ledge__trainer_run(t, w->data, NULL, NULL, &err))
        fail_msg("%s: %s", err.where, err.message);
}

static void training_learns_what_the_pictures_show(void **state)
{
    (void)state;
    World w;
    LedgeError err = {0};
    LedgeTrainScore before, after;
    open_world(&w);
    const LedgeTrainOptions o = options();
    LedgeTrainer *t = new_trainer(&w, &o);
    assert_int_equal(ledge__trainer_evaluate(t, w.data, &err, &before), 0);
    run(t, &w);
    assert_int_equal(ledge__trainer_evaluate(t, w.data, &err, &after), 0);
    assert_int_equal(after.samples, COUNT);
    assert_true(before.correct < COUNT * 2 / 3);
    assert_true(after.correct > COUNT * 9 / 10);
    assert_true(after.loss < before.loss);
    ledge__trainer_free(t);
    close_world(&w);
}

static void written_model_answers_as_the_trainer_does(void **state)
{
    (void)state;
    World w;
    LedgeError err = {0};
    void *bytes;
    size_t size;
    LedgeModel *m = NULL;
    LedgeSession *s = NULL;
    open_world(&w);
    const LedgeTrainOptions o = options();
    LedgeTrainer *t = new_trainer(&w, &o);
    run(t, &w);
    assert_int_equal(ledge__trainer_write(t, &err), 0);
    assert_int_equal(ledge__student_bytes(&w.student, &err, &bytes, &size), 0);
    assert_int_equal(ledge_model_load_memory(bytes, size, NULL, &err, &m), 0);
    assert_int_equal(ledge_session_create(m, NULL, &err, &s), 0);
    for (uint32_t i = 0; i < 8; i++) {
        float planes[3 * SIDE * SIDE];
        LedgeTensor in = {LEDGE_FLOAT, 4, {1, 3, SIDE, SIDE}, planes, sizeof planes}, out = {0};
        assert_int_equal(ledge__train_batch(t, w.data, &i, 1, false, 0, 0, &err), 0);
        for (size_t c = 0; c < 3; c++)
            for (size_t p = 0; p < SIDE * SIDE; p++)
                planes[c * SIDE * SIDE + p] = t->input->data[p * 3 + c];
        assert_int_equal(ledge_session_run(s, &in, 1, &out, 1, &err), 0);
        ledge__train_forward(t);
        for (size_t k = 0; k < 3; k++)
            assert_true(fabsf(((float *)out.data)[k] - t->scores->data[k]) < 1e-3f);
    }
    ledge_session_free(s);
    ledge_model_free(m);
    ledge__free(NULL, bytes);
    ledge__trainer_free(t);
    close_world(&w);
}

static void same_seed_gives_the_same_bits_for_any_number_of_threads(void **state)
{
    (void)state;
    World w;
    open_world(&w);
    LedgeTrainOptions o = options();
    LedgeTrainer *one = new_trainer(&w, &o);
    o.threads = 3;
    LedgeTrainer *three = new_trainer(&w, &o);
    o.seed = 2;
    LedgeTrainer *other = new_trainer(&w, &o);
    run(one, &w);
    run(three, &w);
    run(other, &w);
    assert_same(one, three, true);
    assert_same(one, other, false);
    ledge__trainer_free(one);
    ledge__trainer_free(three);
    ledge__trainer_free(other);
    close_world(&w);
}

static bool stop_at(void *arg, const LedgeTrainProgress *p)
{
    return p->done != *(uint64_t *)arg;
}

/* Broken off in the middle of an epoch and at the end of one. */
static void resumed_training_gives_the_numbers_of_an_unbroken_one(void **state)
{
    (void)state;
    World w;
    LedgeError err = {0};
    open_world(&w);
    LedgeTrainOptions o = options();
    for (int kind = 0; kind < 2; kind++) {
        o.optimizer = kind ? LEDGE_TRAIN_ADAMW : LEDGE_TRAIN_SGD;
        o.rate = kind ? 0.003 : 0.05;
        uint64_t at = kind ? 12 : 15;
        LedgeTrainer *whole = new_trainer(&w, &o), *first = new_trainer(&w, &o);
        LedgeTrainer *second = new_trainer(&w, &o);
        run(whole, &w);
        assert_int_equal(ledge__trainer_run(first, w.data, stop_at, &at, &err),
                         LEDGE_ERROR_CANCELLED);
        assert_int_equal(ledge__trainer_save(first, w.checkpoint, &err), 0);
        assert_same(first, whole, false);
        assert_int_equal(ledge__trainer_load(second, w.checkpoint, &err), 0);
        assert_same(first, second, true);
        run(second, &w);
        assert_same(whole, second, true);
        ledge__trainer_free(whole);
        ledge__trainer_free(first);
        ledge__trainer_free(second);
    }
    close_world(&w);
}

static void damaged_and_foreign_checkpoints_are_refused(void **state)
{
    (void)state;
    World w;
    LedgeError err = {0};
    open_world(&w);
    LedgeTrainOptions o = options();
    LedgeTrainer *t = new_trainer(&w, &o), *u = new_trainer(&w, &o);
    run(t, &w);
    assert_int_equal(ledge__trainer_save(t, w.checkpoint, &err), 0);
    FILE *f = fopen(w.checkpoint, "rb");
    const size_t size = 80 + t->state_floats * 4 + 8;
    unsigned char *bytes = malloc(size + 1);
    assert_true(f && bytes && fread(bytes, 1, size + 1, f) == size);
    fclose(f);
    for (size_t i = 0; i < size; i += i < 100 ? 1 : 977) { /* any bit that is wrong */
        bytes[i] ^= 4;
        assert_int_not_equal(ledge__train_parse(u, bytes, size, "test", &err), 0);
        bytes[i] ^= 4;
    }
    for (size_t n = 0; n < size; n += 331) /* any end that comes too soon */
        assert_int_not_equal(ledge__train_parse(u, bytes, n, "test", &err), 0);
    assert_int_equal(ledge__train_parse(u, bytes, size + 1, "test", &err), LEDGE_ERROR_FORMAT);
    assert_same(t, u, false); /* nothing of all that was taken over */
    assert_int_equal(ledge__train_parse(u, bytes, size, "test", &err), 0);
    assert_same(t, u, true);
    o.rate = 0.06;
    LedgeTrainer *v = new_trainer(&w, &o);
    assert_int_equal(ledge__trainer_load(v, w.checkpoint, &err), LEDGE_ERROR_MISMATCH);
    assert_int_equal(ledge__trainer_load(v, "/nowhere/at/all", &err), LEDGE_ERROR_IO);
    assert_int_equal(ledge__trainer_save(v, "/nowhere/at/all", &err), LEDGE_ERROR_IO);
    free(bytes);
    ledge__trainer_free(t);
    ledge__trainer_free(u);
    ledge__trainer_free(v);
    close_world(&w);
}

/* A rate that no training survives: the numbers of the last good epoch stay. */
static void loss_that_is_no_number_names_a_layer_and_keeps_what_was_good(void **state)
{
    (void)state;
    World w;
    LedgeError err = {0};
    open_world(&w);
    LedgeTrainOptions o = options();
    o.schedule = LEDGE_TRAIN_STEPS;
    const double at[] = {2};
    o.step_epochs = at;
    o.n_step_epochs = 1;
    o.step_factor = 1e30;
    LedgeTrainer *t = new_trainer(&w, &o);
    assert_int_equal(ledge__trainer_run(t, w.data, NULL, NULL, &err), LEDGE_ERROR_RUNTIME);
    assert_true(err.where[0] != '\0');
    assert_non_null(strstr(err.message, "step 12"));
    size_t n;
    float *x = numbers(t, &n);
    for (size_t i = 0; i < n; i++)
        assert_true(isfinite(x[i]));
    assert_int_equal(t->place.steps, 12);
    free(x);
    ledge__trainer_free(t);
    close_world(&w);
}

static void data_that_cannot_teach_is_refused(void **state)
{
    (void)state;
    World w;
    LedgeError err = {0};
    open_world(&w);
    LedgeTrainOptions o = options();
    LedgeTrainer *t = new_trainer(&w, &o);
    LedgeTrainData *few = open_data(&w, COUNT / 10);
    assert_int_equal(ledge__train_data_count(few), COUNT / 10);
    assert_int_equal(ledge__train_data_count(w.data), COUNT);
    assert_int_equal(ledge__trainer_run(t, few, NULL, NULL, &err), LEDGE_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "too few"));
    assert_int_equal(ledge__train_data_check(few, 3, &err), 0);
    assert_int_equal(ledge__train_data_check(w.data, 2, &err), LEDGE_ERROR_FORMAT);
    assert_non_null(strstr(err.message, "classes 0 to 1"));
    ledge__train_data_free(few);
    ledge__trainer_free(t);
    close_world(&w);
}

static void operators_without_gradient_are_refused_by_name(void **state)
{
    (void)state;
    LedgeError err = {0};
    LedgeTrainer *t = NULL;
    LedgeGraph *g = graph_from_text("input x f32[?,6]\nconst w f32[4,6]\n"
                                    "c = Gemm(x, w) {transB=1}\ny = CumSum(c, k)\n"
                                    "const k i64[1] = 1\noutput y\n");
    const LedgeTrainOptions o = options();
    assert_int_equal(ledge__trainer_new(g, &o, &err, &t), LEDGE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "CumSum"));
    ledge__graph_free(g);
}

/* Behind an operator without a gradient, by freezing up to what it makes. */
static void what_comes_after_a_frozen_tensor_learns(void **state)
{
    (void)state;
    static const char text[] = "input x f32[?,3,12,12]\nconst k i64[] = 1\nconst a f32[16,3,1,1]\n"
                               "const w f32[3,2304]\nc = Conv(x, a)\nd = CumSum(c, k)\n"
                               "r = Relu(d)\nf = Flatten(r)\ns = Gemm(f, w) {transB=1}\n"
                               "output s\noutput d\n";
    World w;
    LedgeError err = {0};
    LedgeTrainScore score;
    LedgeModel *model = NULL;
    LedgeTrainer *t = NULL;
    size_t size;
    open_world(&w);
    LedgeGraph *g = graph_from_text(text);
    void *bytes = onnx_from_text(text, &size);
    LedgeTrainOptions o = options();
    o.rate = 1e-4;
    o.epochs = 8;
    o.augment = (LedgeTrainAugment){.crop = 0};
    assert_int_equal(ledge__trainer_new(g, &o, &err, &t), LEDGE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "--freeze"));
    assert_non_null(strstr(err.message, "'d'"));
    assert_int_equal(ledge_model_load_memory(bytes, size, NULL, &err, &model), 0);
    o.freeze = "d";
    o.frozen = model;
    if (ledge__trainer_new(g, &o, &err, &t))
        fail_msg("%s: %s", err.where, err.message);
    assert_int_equal(ledge__trainer_parameter_count(t), 1);
    memset(t->params[0]->data, 0, t->params[0]->count * sizeof(float));
    run(t, &w);
    assert_int_equal(ledge__trainer_evaluate(t, w.data, &err, &score), 0);
    assert_true(score.correct > COUNT * 9 / 10);
    ledge__trainer_free(t);
    o.freeze = "nothing";
    assert_int_equal(ledge__trainer_new(g, &o, &err, &t), LEDGE_ERROR_NOT_FOUND);
    ledge_model_free(model);
    ledge__free(NULL, bytes);
    ledge__graph_free(g);
    close_world(&w);
}

static void masked_weights_stay_zero(void **state)
{
    (void)state;
    World w;
    LedgeError err = {0};
    open_world(&w);
    const LedgeTrainOptions o = options();
    LedgeTrainer *t = new_trainer(&w, &o);
    LedgeTrainParameter p;
    ledge__trainer_parameter(t, 0, &p);
    assert_int_equal(p.count, 16 * 3 * 9);
    uint8_t mask[16 * 3 * 9];
    for (size_t i = 0; i < p.count; i++)
        mask[i] = i % 3 == 0;
    assert_int_equal(ledge__trainer_set_mask(t, p.value, mask, &err), 0);
    run(t, &w);
    for (size_t i = 0; i < p.count; i++)
        assert_true((p.data[i] != 0) == (mask[i] != 0));
    ledge__trainer_free(t);
    close_world(&w);
}

/* A teacher alone teaches pictures whose labels nobody knows: alpha 1. */
static void teacher_teaches_without_labels(void **state)
{
    (void)state;
    World w;
    LedgeError err = {0};
    LedgeTrainScore score;
    LedgeModel *teacher = NULL;
    void *bytes;
    size_t size;
    open_world(&w);
    LedgeTrainOptions o = options();
    LedgeTrainer *t = new_trainer(&w, &o);
    run(t, &w);
    assert_int_equal(ledge__trainer_write(t, &err), 0);
    ledge__trainer_free(t);
    assert_int_equal(ledge__student_bytes(&w.student, &err, &bytes, &size), 0);
    assert_int_equal(ledge_model_load_memory(bytes, size, NULL, &err, &teacher), 0);
    static const char pre[] = "{\"color\": \"rgb\", \"scale\": 0.00392156862, \"mean\": 0.5, "
                              "\"std\": 0.25}";
    const LedgeTrainFeature feature = {"c5.relu", "logits", 1};
    o.seed = 9;
    o.alpha = 1;
    t = new_trainer(&w, &o);
    assert_int_equal(ledge__trainer_set_teacher(t, teacher, pre, w.data, &err), 0);
    run(t, &w);
    assert_int_equal(ledge__trainer_evaluate(t, w.data, &err, &score), 0);
    assert_true(score.correct > COUNT * 9 / 10);
    ledge__trainer_free(t);
    o.features = &feature;
    o.n_features = 1;
    t = new_trainer(&w, &o);
    assert_int_equal(ledge__trainer_set_teacher(t, teacher, pre, w.data, &err), LEDGE_ERROR_SHAPE);
    ledge__trainer_free(t);
    ledge_model_free(teacher);
    ledge__free(NULL, bytes);
    close_world(&w);
}

static size_t calls, fail_after;

static void *failing_alloc(void *context, size_t size, size_t align)
{
    (void)context;
    return calls++ == fail_after ? NULL : aligned_alloc(align, (size + align - 1) / align * align);
}

static void failing_free(void *context, void *p)
{
    (void)context;
    free(p);
}

static void every_failed_allocation_is_told(void **state)
{
    (void)state;
    World w;
    const LedgeAllocator a = {failing_alloc, failing_free, NULL};
    LedgeTrainOptions o = options();
    open_world(&w);
    o.allocator = &a;
    LedgeTrainer *t = NULL;
    LedgeStatus s = LEDGE_ERROR_MEMORY;
    for (fail_after = 0; s; fail_after++) {
        LedgeError err = {0};
        calls = 0;
        s = ledge__trainer_new(w.student.graph, &o, &err, &t);
        if (s)
            assert_int_equal(s, LEDGE_ERROR_MEMORY);
    }
    assert_true(fail_after > 5);
    ledge__trainer_free(t);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_learns_what_the_pictures_show),
        cmocka_unit_test(written_model_answers_as_the_trainer_does),
        cmocka_unit_test(same_seed_gives_the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(resumed_training_gives_the_numbers_of_an_unbroken_one),
        cmocka_unit_test(damaged_and_foreign_checkpoints_are_refused),
        cmocka_unit_test(loss_that_is_no_number_names_a_layer_and_keeps_what_was_good),
        cmocka_unit_test(data_that_cannot_teach_is_refused),
        cmocka_unit_test(operators_without_gradient_are_refused_by_name),
        cmocka_unit_test(what_comes_after_a_frozen_tensor_learns),
        cmocka_unit_test(masked_weights_stay_zero),
        cmocka_unit_test(teacher_teaches_without_labels),
        cmocka_unit_test(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
