/* ledge distill: trains a small model, on labels and on what a larger one says of the data.
 *
 * Teacher and data are only read; the student is written whole or not at all, as plain ONNX. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/out_file.h"
#include "cli/model_io.h"
#include "cli/training.h"
#include "compress/distill/student.h"
#include "image/dataset.h"
#include "image/file_bytes.h"

#define LABELS_KEY "ledge.labels"
#define LABELS_MAX ((size_t)64 << 20)
/* Where nobody says how pictures are to be prepared: values of about -2 to 2. */
#define OWN_PREPROCESS                                                                             \
    "{\"color\": \"rgb\", \"scale\": 0.00392156862745098, \"mean\": 0.5, \"std\": 0.25}"

enum { MOST_FEATURES = 32 };

typedef struct Options {
    bool json, init;
    int64_t threads, limit;
    const char *out, *teacher, *student, *labels, *preprocess, *teacher_preprocess, *names, *alpha,
        *temperature, *freeze;
    CliList data, eval, features;
    TrainingOptions training;
} Options;

static const CliOption options[] = {
    {"output", 'o', CLI_TEXT, "FILE", "the trained student to write", offsetof(Options, out), 0, 0},
    {"teacher", 'T', CLI_TEXT, "MODEL", "any model that ledge runs; without one labels alone teach",
     offsetof(Options, teacher), 0, 0},
    {"student", 's', CLI_TEXT, "S", "a model file, or tiny, resnet8, mobilenet-0.25",
     offsetof(Options, student), 0, 0},
    {"init", 0, CLI_FLAG, NULL, "begin with fresh weights instead of the file's",
     offsetof(Options, init), 0, 0},
    {"data", 'd', CLI_LIST, "SET",
     "cifar10:FILE, mnist:IMAGES[,LABELS], folder:DIR[,CSV] or a folder; "
     "may be given again",
     offsetof(Options, data), 0, 0},
    CLI_OPTION_LABELS(Options),
    {"limit", 'n', CLI_INT, "N", "take N of the pictures, evenly spread; 0 takes all",
     offsetof(Options, limit), 0, INT32_MAX},
    {"eval", 0, CLI_LIST, "SET", "measure the student on this in the end; may be given again",
     offsetof(Options, eval), 0, 0},
    {"alpha", 'a', CLI_TEXT, "A", "the teacher's part of the loss, 0 to 1 (0.7)",
     offsetof(Options, alpha), 0, 0},
    {"temperature", 0, CLI_TEXT, "T", "that softens both models' scores (4)",
     offsetof(Options, temperature), 0, 0},
    {"feature", 0, CLI_LIST, "S=T[:W]",
     "match the student's tensor S to the teacher's T, weight W (1)", offsetof(Options, features),
     0, 0},
    {"freeze", 0, CLI_TEXT, "TENSOR", "leave what makes this tensor of the student as it is",
     offsetof(Options, freeze), 0, 0},
    CLI_OPTION_PREPROCESS(Options),
    {"teacher-preprocess", 0, CLI_TEXT, "P", "the teacher's, where it differs from the student's",
     offsetof(Options, teacher_preprocess), 0, 0},
    {"names", 0, CLI_TEXT, "FILE", "class names to keep in the student, one a line",
     offsetof(Options, names), 0, 0},
    TRAINING_OPTIONS(Options),
    CLI_OPTION_THREADS(Options),
    CLI_OPTION_JSON(Options),
};

typedef struct Job {
    const Options *o;
    LedgeTrainOptions t;
    double *steps;
    LedgeTrainFeature features[MOST_FEATURES];
    char *feature_text[MOST_FEATURES];
    size_t n_features;
    LedgeModel *teacher;
    void *teacher_bytes;
    LedgeStudent student;
    void *student_bytes, *frozen_bytes;
    LedgeModel *frozen;        /* the student as it was, giving the tensor to freeze up to */
    LedgeModel *student_model; /* as it was before training, for the shape of its input */
    LedgePreprocess pre;
    const char *pre_from;
    LedgeTrainData *data, *eval;
    LedgeTrainer *trainer;
    LedgeTrainProgress last;
    LedgeTrainScore score;
    double seconds;
    uint64_t bytes;
    size_t samples, labelled;
} Job;

/* ---- options ---- */

static int check_feature(const CliCommand *c, Job *j, const char *word)
{
    LedgeTrainFeature *f = &j->features[j->n_features];
    char *text = strdup(word), *eq = text ? strchr(text, '=') : NULL;
    j->feature_text[j->n_features++] = text;
    if (!text)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    char *colon = eq ? strrchr(eq, ':') : NULL, *end = NULL;
    double weight = 1;
    if (colon) { /* tensor names may hold colons too: only a number is a weight */
        weight = strtod(colon + 1, &end);
        if (end == colon + 1 || *end)
            weight = 1;
        else
            *colon = '\0';
    }
    if (!eq || eq == text || !eq[1] || !(weight > 0 && weight < 1e6))
        return cli_usage(c, "--feature takes STUDENT_TENSOR=TEACHER_TENSOR[:WEIGHT]");
    *eq = '\0';
    *f = (LedgeTrainFeature){text, eq + 1, (float)weight};
    return CLI_GO;
}

static int check(const CliCommand *c, const Options *o, Job *j)
{
    const bool fresh = o->student && (o->init || ledge__student_is_builtin(o->student));
    if (!o->out)
        return cli_usage(c, "give the file to write: -o OUT.onnx");
    if (!o->student)
        return cli_usage(c, "give a student: --student S.onnx, or tiny, resnet8, mobilenet-0.25");
    if (!o->data.n)
        return cli_usage(c, "give pictures to learn from: --data SET");
    if (o->freeze && fresh)
        return cli_usage(c, "--freeze goes with a student from a file, without --init");
    if (!o->teacher && (o->features.n || o->alpha || o->temperature || o->teacher_preprocess))
        return cli_usage(c, "--feature, --alpha, --temperature and --teacher-preprocess go with "
                            "--teacher");
    if (o->features.n > MOST_FEATURES)
        return cli_usage(c, "--feature may be given %d times", MOST_FEATURES);
    int code = training_options(c, &o->training, fresh, &j->steps, &j->t);
    if (code == CLI_GO)
        code = training_number(c, "alpha", o->alpha, 0.7, 0, 1, &j->t.alpha);
    if (code == CLI_GO)
        code = training_number(c, "temperature", o->temperature, 4, 0.01, 1000, &j->t.temperature);
    for (size_t i = 0; i < o->features.n && code == CLI_GO; i++)
        code = check_feature(c, j, o->features.items[i]);
    j->t.features = j->features;
    j->t.n_features = j->n_features;
    j->t.threads = (int)o->threads;
    return code;
}

/* Before hours of work: the output is none of the inputs, and can be written. */
static int check_output(const Job *j)
{
    LedgeError err = {0};
    const Options *o = j->o;
    if (cli_same_file(o->teacher, o->out) || cli_same_file(o->student, o->out))
        return cli_fail_with(o->out, LEDGE_ERROR_ARGUMENT,
                             "is a model that is read; give another file to write");
    return ledge__out_file_try(NULL, o->out, &err) ? cli_fail_writing(o->out, &err) : CLI_GO;
}

/* ---- opening ---- */

static int open_teacher(Job *j)
{
    LedgeError err = {0};
    const char *names[MOST_FEATURES];
    size_t size;
    const char *path = j->o->teacher;
    if (!path)
        return CLI_GO;
    for (size_t i = 0; i < j->n_features; i++)
        names[i] = j->features[i].teacher;
    if (j->n_features) {
        if (ledge__with_outputs(NULL, path, names, j->n_features, &err, &j->teacher_bytes, &size) ||
            ledge_model_load_memory(j->teacher_bytes, size, NULL, &err, &j->teacher))
            return cli_fail(path, &err);
    } else if (ledge_model_load(path, NULL, &err, &j->teacher)) {
        return cli_fail(path, &err);
    }
    if (!ledge_model_input_count(j->teacher) || !ledge_model_output_count(j->teacher))
        return cli_fail_with(path, LEDGE_ERROR_SHAPE, "the model has no inputs or no outputs");
    return CLI_GO;
}

/* What to give as an override: the option; else NULL where some model says it itself. */
static const char *preprocess_word(const Job *j)
{
    LedgePreprocess pre;
    LedgeError err;
    const char *from = "default";
    if (j->o->preprocess)
        return j->o->preprocess;
    if (j->student_model &&
        ledge__preprocess_for_model(j->student_model, 0, NULL, &err, &pre, &from) == LEDGE_OK &&
        strcmp(from, "default") != 0)
        return NULL;
    return OWN_PREPROCESS;
}

/* Classes that the data's labels tell of, and what the first picture becomes. */
static LedgeStatus look_at_data(Job *j, LedgeStudentShape *s, LedgeError *err)
{
    LedgeDataset *set = NULL;
    LedgeSample sample;
    int64_t dims[4];
    LEDGE_TRY(ledge__dataset_open_any(NULL, j->o->data.items[0], j->o->labels, err, &set));
    for (size_t i = 0; i < ledge__dataset_count(set); i++)
        if (ledge__dataset_label(set, i) >= s->classes)
            s->classes = ledge__dataset_label(set, i) + 1;
    LedgeStatus status = ledge__dataset_read(set, 0, err, &sample);
    if (!status) {
        j->pre.layout = LEDGE_LAYOUT_NCHW;
        status =
            ledge__preprocess_dims(&j->pre, sample.image.width, sample.image.height, err, dims);
        ledge__image_free(&sample.image);
    }
    if (!status) {
        s->channels = dims[1];
        s->height = dims[2];
        s->width = dims[3];
    }
    ledge__dataset_free(set);
    return status;
}

/* Preprocessing of a built-in student: the option's, else the teacher's, else our own. */
static LedgeStatus choose_preprocess(Job *j, LedgeError *err)
{
    if (j->o->preprocess)
        j->pre_from = "option";
    else if (j->teacher)
        LEDGE_TRY(ledge__preprocess_for_model(j->teacher, 0, NULL, err, &j->pre, &j->pre_from));
    if (j->pre_from && strcmp(j->pre_from, "model") == 0)
        return LEDGE_OK;
    if (!j->o->preprocess)
        j->pre_from = "default";
    return ledge__preprocess_parse(j->o->preprocess ? j->o->preprocess : OWN_PREPROCESS, err,
                                   &j->pre);
}

static size_t count_lines(const char *text)
{
    size_t n = *text != '\0';
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void cut_last_newlines(char *text)
{
    size_t n = strlen(text);
    while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        text[--n] = '\0';
}

/* Class names for the student: from the option, or as the teacher has them. */
static int read_names(Job *j, size_t *n)
{
    LedgeError err = {0};
    uint8_t *bytes = NULL;
    size_t size;
    const char *own = j->teacher ? ledge_model_metadata(j->teacher, LABELS_KEY) : NULL;
    if (!j->o->names && !own)
        return CLI_GO;
    if (j->o->names && ledge__file_bytes(NULL, j->o->names, LABELS_MAX, &err, &bytes, &size))
        return cli_fail(j->o->names, &err);
    if (bytes)
        cut_last_newlines((char *)bytes);
    const char *text = bytes ? (const char *)bytes : own;
    *n = count_lines(text);
    const LedgeStatus s = j->student.arena
                              ? ledge__onnx_set_metadata(&j->student.head, LABELS_KEY, text, &err)
                              : LEDGE_OK;
    ledge__free(NULL, bytes);
    return s ? cli_fail(NULL, &err) : CLI_GO;
}

static int build_student(Job *j)
{
    LedgeError err = {0};
    LedgeStudentShape s = {.classes = 2};
    size_t names = 0;
    if (choose_preprocess(j, &err) || look_at_data(j, &s, &err))
        return cli_fail(NULL, &err);
    const int code = read_names(j, &names);
    if (code != CLI_GO)
        return code;
    if (j->teacher && ledge_model_output(j->teacher, 0)->rank >= 2 &&
        ledge_model_output(j->teacher, 0)->dims[1] > 1)
        s.classes = ledge_model_output(j->teacher, 0)->dims[1];
    else if ((int64_t)names > s.classes)
        s.classes = (int64_t)names;
    if (ledge__student_build(NULL, j->o->student, &s, &err, &j->student))
        return cli_fail(NULL, &err);
    return CLI_GO;
}

static int keep_preprocess(Job *j)
{
    LedgeError err = {0};
    char *text = ledge__preprocess_to_json(&j->pre);
    if (!text)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    const LedgeStatus s =
        ledge__onnx_set_metadata(&j->student.head, LEDGE_PREPROCESS_KEY, text, &err);
    free(text);
    return s ? cli_fail(NULL, &err) : CLI_GO;
}

static int open_student(Job *j)
{
    LedgeError err = {0};
    size_t size, names = 0;
    const bool builtin = ledge__student_is_builtin(j->o->student);
    int code = CLI_GO;
    if (builtin)
        code = build_student(j);
    else if (ledge__student_read(NULL, j->o->student, &err, &j->student))
        code = cli_fail(j->o->student, &err);
    if (code == CLI_GO)
        code = read_names(j, &names);
    if (code == CLI_GO && builtin)
        code = keep_preprocess(j);
    if (code != CLI_GO)
        return code;
    if (ledge__student_bytes(&j->student, &err, &j->student_bytes, &size) ||
        ledge_model_load_memory(j->student_bytes, size, NULL, &err, &j->student_model))
        return cli_fail(j->o->student, &err);
    return CLI_GO;
}

static int open_sets(Job *j, const CliList *sets, size_t limit, LedgeTrainData **out)
{
    LedgeError err = {0};
    const LedgeTrainDataOptions o = {.sets = sets->items,
                                     .n_sets = sets->n,
                                     .labels = j->o->labels,
                                     .preprocess = preprocess_word(j),
                                     .limit = limit};
    return ledge__train_data_open(j->student_model, &o, &err, out) ? cli_fail(NULL, &err) : CLI_GO;
}

static int open_data(Job *j)
{
    int code = open_sets(j, &j->o->data, (size_t)j->o->limit, &j->data);
    if (code == CLI_GO && j->o->eval.n)
        code = open_sets(j, &j->o->eval, 0, &j->eval);
    if (code != CLI_GO)
        return code;
    j->samples = ledge__train_data_count(j->data);
    j->labelled = ledge__train_data_labelled(j->data);
    j->pre = *ledge__train_data_preprocess(j->data);
    return keep_preprocess(j);
}

static int open_frozen(Job *j)
{
    LedgeError err = {0};
    size_t size;
    if (!j->o->freeze)
        return CLI_GO;
    if (ledge__with_outputs(NULL, j->o->student, &j->o->freeze, 1, &err, &j->frozen_bytes, &size) ||
        ledge_model_load_memory(j->frozen_bytes, size, NULL, &err, &j->frozen))
        return cli_fail(j->o->student, &err);
    j->t.freeze = j->o->freeze;
    j->t.frozen = j->frozen;
    return CLI_GO;
}

static int open_trainer(Job *j)
{
    LedgeError err = {0};
    const bool fresh = j->o->init || ledge__student_is_builtin(j->o->student);
    const char *how = j->o->teacher_preprocess;
    size_t h, w, c;
    ledge__train_data_size(j->data, &h, &w, &c);
    memcpy(j->t.input_dims, (int64_t[]){0, (int64_t)c, (int64_t)h, (int64_t)w},
           4 * sizeof(int64_t));
    if (ledge__trainer_new(j->student.graph, &j->t, &err, &j->trainer))
        return cli_fail(j->o->student, &err);
    if (fresh)
        ledge__trainer_init(j->trainer);
    if (!j->teacher)
        return CLI_GO;
    /* A teacher that says nothing of itself is taken to want what the student gets. */
    if (!how && !ledge_model_metadata(j->teacher, LEDGE_PREPROCESS_KEY))
        how = preprocess_word(j);
    if (ledge__trainer_set_teacher(j->trainer, j->teacher, how, j->data, &err))
        return cli_fail(j->o->teacher, &err);
    return CLI_GO;
}

/* ---- the answer ---- */

static int write_student(Job *j)
{
    LedgeError err = {0};
    if (j->eval && ledge__trainer_evaluate(j->trainer, j->eval, &err, &j->score))
        return cli_fail(NULL, &err);
    if (ledge__trainer_write(j->trainer, &err))
        return cli_fail(NULL, &err);
    if (ledge__student_save(&j->student, j->o->out, &err))
        return cli_fail_writing(j->o->out, &err);
    j->bytes = cli_file_size(j->o->out);
    return CLI_GO;
}

static double accuracy(const Job *j)
{
    return j->score.samples ? (double)j->score.correct / (double)j->score.samples : NAN;
}

static int report(const Job *j)
{
    if (j->o->json)
        return cli_print_json(json_pack(
            "{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:o, s:o, s:f}", "output",
            cli_json_text(j->o->out), "student", cli_json_text(j->o->student), "teacher",
            j->o->teacher ? cli_json_text(j->o->teacher) : json_null(), "bytes",
            (json_int_t)j->bytes, "parameters", (json_int_t)ledge__trainer_parameters(j->trainer),
            "samples", (json_int_t)j->samples, "labelled", (json_int_t)j->labelled, "loss",
            cli_json_real(j->last.loss), "accuracy", cli_json_real(j->last.accuracy),
            "eval_samples", (json_int_t)j->score.samples, "eval_accuracy",
            cli_json_real(accuracy(j)), "eval_loss",
            cli_json_real(j->score.samples ? j->score.loss : NAN), "seconds", j->seconds));
    printf("%s: %s, %s parameters\n", cli_clean(j->o->out), cli_bytes(j->bytes),
           cli_count(ledge__trainer_parameters(j->trainer)));
    printf("trained on %zu pictures (%zu labelled) in %.1f s; last epoch: loss %.4f", j->samples,
           j->labelled, j->seconds, j->last.loss);
    if (!isnan(j->last.accuracy))
        printf(", %.1f %% right as augmented", 100 * j->last.accuracy);
    printf("\n");
    if (j->score.samples)
        printf("top-1 %.2f %% of %zu pictures, loss %.4f\n", 100 * accuracy(j), j->score.samples,
               j->score.loss);
    return cli_finish();
}

static int distill(Job *j)
{
    int code = check_output(j);
    if (code == CLI_GO)
        code = open_teacher(j);
    if (code == CLI_GO)
        code = open_student(j);
    if (code == CLI_GO)
        code = open_data(j);
    if (code == CLI_GO)
        code = open_frozen(j);
    if (code == CLI_GO)
        code = open_trainer(j);
    const uint64_t start = cli_now_ns();
    if (code == CLI_GO)
        code = training_run(&j->o->training, j->o->out, j->trainer, j->data, &j->last);
    j->seconds = (double)(cli_now_ns() - start) / 1e9;
    if (code == CLI_GO)
        code = write_student(j);
    return code == CLI_GO ? report(j) : code;
}

static void free_job(Job *j)
{
    ledge__trainer_free(j->trainer);
    ledge__train_data_free(j->data);
    ledge__train_data_free(j->eval);
    ledge_model_free(j->student_model);
    ledge_model_free(j->teacher);
    ledge_model_free(j->frozen);
    ledge__free(NULL, j->frozen_bytes);
    ledge__free(NULL, j->student_bytes);
    ledge__free(NULL, j->teacher_bytes);
    ledge__student_free(&j->student);
    for (size_t i = 0; i < j->n_features; i++)
        free(j->feature_text[i]);
    free(j->steps);
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Options o = {.training = {.batch = 64, .seed = 1}};
    CliArgs args;
    Job j = {.o = &o};
    int code = cli_parse(c, argc, argv, 0, 0, &o, &args);
    if (code != CLI_GO)
        return code;
    code = check(c, &o, &j);
    if (code == CLI_GO)
        code = distill(&j);
    free_job(&j);
    cli_args_free(&args);
    return code;
}

const CliCommand cli_distill = {
    .name = "distill",
    .arguments = "",
    .summary = "train a small model, by labels and by what a larger one says",
    .description =
        "Trains STUDENT on pictures and writes it as plain ONNX. With --teacher the loss is\n"
        "alpha * KL(teacher, student) * T^2 + (1 - alpha) * cross-entropy, on both models' scores\n"
        "softened by T, and pictures need no labels. Without, labels alone teach.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
