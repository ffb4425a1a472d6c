/* ledge registry samples: lists the samples of inputs that devices sent, and opens them into a
 * folder that training takes. The registry never sees the key; samples are opened here. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/out_file.h"
#include "cli/registry_cli.h"
#include "fleet/protocol/field_sample.h"
#include "image/file_bytes.h"
#include "image/npy.h"
#include "image/preprocess.h"

enum { PAGE = 1000, PATH = 4096 };
#define CSV_MAX  ((size_t)1 << 30)
#define CSV_HEAD "file,class_id,confidence,model,version,device,time,drift\n"

typedef struct Options {
    RegistryClient client;
    bool json, remove;
    const char *model, *key, *out, *reason;
} Options;

static const CliOption options[] = {
    {"model", 'm', CLI_TEXT, "NAME", "only those of this model", offsetof(Options, model), 0, 0},
    {"key", 'k', CLI_TEXT, "FILE", "private key that opens them", offsetof(Options, key), 0, 0},
    {"out", 'o', CLI_TEXT, "DIR", "folder to put them into, opened", offsetof(Options, out), 0, 0},
    {"remove", 0, CLI_FLAG, NULL, "take those that were opened out of the registry",
     offsetof(Options, remove), 0, 0},
    {"reason", 0, CLI_TEXT, "TEXT", "why they are removed: it goes into the audit log",
     offsetof(Options, reason), 0, 0},
    REGISTRY_CLIENT_OPTIONS(Options),
    CLI_OPTION_JSON(Options),
};

typedef struct Job {
    Options o;
    LedgeSealKey *key;
    FILE *csv;
    uint8_t *table; /* the rows that were there before, with a NUL behind them; NULL: none */
    json_t *rows;
    size_t opened, failed;
} Job;

/* ---- one sample into the folder ---- */

typedef struct Open {
    Job *job;
    const char *name, *device; /* name: the beginning of its hash */
    LedgeFieldHead head;
    LedgeFieldContent *content;
} Open;

/* Whether a file has its row: not so, where one that was killed had just written the file. */
static bool has_row(const Job *j, const char *name)
{
    char start[PATH];
    const int n = snprintf(start, sizeof start, "\n%s,", name);
    return j->table && n < PATH && strstr((const char *)j->table, start);
}

/* The path of a file of it; *is_new: it belongs into the table. */
static void path_of(const Open *s, const char *part, const char *ending, char path[PATH],
                    bool *is_new)
{
    snprintf(path, PATH, "%s/%.24s%s%.60s%s", s->job->o.out, s->name, part[0] ? "-" : "", part,
             ending);
    for (char *p = path + strlen(s->job->o.out) + 1; *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._", *p))
            *p = '_';
    *is_new = access(path, F_OK) != 0 || !has_row(s->job, strrchr(path, '/') + 1);
}

static bool put_row(const Open *s, const char *path)
{
    const LedgeFieldHead *h = &s->head;
    FILE *to = s->job->csv;
    fprintf(to, "%s,%lld,", strrchr(path, '/') + 1, (long long)h->class_id);
    if (h->confidence_ppm >= 0)
        fprintf(to, "%.6f", (double)h->confidence_ppm / 1e6);
    fprintf(to, ",%s,%s,%s,%s,%s\n", h->model, h->version, s->device,
            registry_time(h->timestamp / 1000000), ledge__fleet_drift_name(h->drift));
    return fflush(to) == 0;
}

static LedgeStatus write_picture(const Open *s, LedgeError *err)
{
    const uint8_t *p = s->content->picture;
    const size_t n = s->content->picture_size;
    char path[PATH];
    bool is_new;
    const char *ending = n > 2 && p[0] == 0xff && p[1] == 0xd8  ? ".jpg"
                         : n > 2 && p[0] == 0x89 && p[1] == 'P' ? ".png"
                                                                : ".bin";
    path_of(s, "", ending, path, &is_new);
    LEDGE_TRY(ledge__out_file_whole(NULL, path, p, n, err));
    return !is_new || put_row(s, path) ? LEDGE_OK : ledge__fail_errno(err, s->job->o.out, "write");
}

/* The pictures that a tensor was made of; false: it is of none. */
static bool write_undone(const Open *s, LedgeError *err, LedgeStatus *status)
{
    const LedgeFieldContent *c = s->content;
    LedgePreprocess pre;
    char path[PATH], part[24] = "";
    bool is_new;
    *status = LEDGE_OK;
    if (!c->preprocess[0] || c->n_inputs != 1 ||
        ledge__preprocess_from_json("sample", c->preprocess, strlen(c->preprocess), err, &pre))
        return false;
    const int64_t rows = c->inputs[0].rank ? c->inputs[0].dims[0] : 0;
    for (int64_t i = 0; i < rows && !*status; i++) {
        LedgeImage image = {0};
        if (ledge__preprocess_undo(&pre, &c->inputs[0], i, err, &image))
            return false;
        if (rows > 1)
            snprintf(part, sizeof part, "%lld", (long long)i);
        path_of(s, part, ".png", path, &is_new);
        *status = ledge__png_save(path, &image, err);
        ledge__image_free(&image);
        if (!*status && is_new && !put_row(s, path))
            *status = ledge__fail_errno(err, s->job->o.out, "write");
    }
    return rows > 0;
}

static LedgeStatus write_tensors(const Open *s, LedgeError *err)
{
    const LedgeFieldContent *c = s->content;
    char path[PATH];
    bool is_new;
    for (size_t i = 0; i < c->n_inputs; i++) {
        path_of(s, c->n_inputs > 1 ? c->names[i] : "", ".npy", path, &is_new);
        LEDGE_TRY(ledge__npy_save(path, &c->inputs[i], err));
        if (is_new && !put_row(s, path))
            return ledge__fail_errno(err, s->job->o.out, "write");
    }
    return LEDGE_OK;
}

static LedgeStatus write_open(const Open *s, LedgeError *err)
{
    LedgeStatus status;
    if (s->content->picture)
        return write_picture(s, err);
    return write_undone(s, err, &status) ? status : write_tensors(s, err);
}

/* true: it is in the folder. What cannot be opened is told of, and the others go on. */
static bool open_one(Job *j, const char *name, const char *device, const void *bytes, size_t size)
{
    LedgeError err = {0};
    Open s = {.job = j, .name = name, .device = device};
    LedgeStatus status = ledge__field_sample_open(bytes, size, j->key, &err, &s.head, &s.content);
    if (!status) {
        status = write_open(&s, &err);
        ledge__field_content_free(s.content);
    }
    /* It is to be here for good before it is there no more. */
    if (!status && j->o.remove && fdatasync(fileno(j->csv)) != 0)
        status = ledge__fail_errno(&err, j->o.out, "write");
    if (status)
        cli_warn("%.24s: %s", cli_clean(name), err.message);
    j->opened += !status;
    j->failed += status != LEDGE_OK;
    return status == LEDGE_OK;
}

/* ---- where they come from ---- */

static int from_file(Job *j, const char *path)
{
    LedgeError err = {0};
    uint8_t *bytes = NULL;
    char sha[LEDGE_SHA256_HEX];
    size_t size;
    if (ledge__file_bytes(NULL, path, LEDGE_FIELD_SAMPLE_MAX, &err, &bytes, &size))
        return cli_fail(path, &err);
    if (ledge__sha256_of(bytes, size, sha) == LEDGE_OK)
        (void)open_one(j, sha, "", bytes, size);
    ledge__free(NULL, bytes);
    return CLI_GO;
}

static const char *text_of(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text ? text : "";
}

static int from_registry(Job *j, const json_t *row)
{
    char path[200];
    RegistryAnswer a;
    const char *sha = text_of(row, "sha256");
    json_t *gone = NULL, *body = json_object();
    snprintf(path, sizeof path, "/v1/blobs/%.64s", sha);
    int code = registry_fetch(&j->o.client, path, &a);
    if (code == CLI_GO && a.code != 200)
        code = registry_refused(&j->o.client, &a);
    if (code == CLI_GO && open_one(j, sha, text_of(row, "device"), a.body, a.size) && j->o.remove) {
        snprintf(path, sizeof path, "/v1/admin/samples/%.64s", sha);
        (void)json_object_set_new(body, "reason", json_string(j->o.reason ? j->o.reason : ""));
        code = registry_do(&j->o.client, "DELETE", path, body, &gone);
        json_decref(gone);
    }
    json_decref(body);
    registry_answer_free(&a);
    return code;
}

/* All samples of the registry, page by page, into j->rows. */
static int list(Job *j)
{
    char path[400];
    const char *after = "";
    for (size_t n = PAGE; n == PAGE;) {
        json_t *page = NULL;
        snprintf(path, sizeof path, "/v1/admin/samples?limit=%d&after=%.64s%s%s", PAGE, after,
                 j->o.model ? "&model=" : "", j->o.model ? registry_word(j->o.model) : "");
        const int code = registry_do(&j->o.client, "GET", path, NULL, &page);
        if (code != CLI_GO)
            return code;
        json_t *rows = json_object_get(page, "samples");
        n = json_array_size(rows);
        (void)json_array_extend(j->rows, rows);
        json_decref(page);
        if (n)
            after = text_of(json_array_get(j->rows, json_array_size(j->rows) - 1), "sha256");
    }
    return CLI_GO;
}

static void print_list(const json_t *rows)
{
    static const RegistryColumn columns[] = {
        {"sha256", "sha256"},  {"model", "model"}, {"version", "version"},
        {"device", "device"},  {"at", "taken"},    {"confidence_ppm", "millionths"},
        {"class_id", "class"}, {"drift", "drift"}, {"length", "bytes"}};
    registry_table(rows, columns, sizeof columns / sizeof *columns);
}

/* ---- the verb ---- */

/* The table, with its head. A row that a kill or a full disk has cut is taken off. */
static bool open_table(Job *j, const char *path, LedgeError *err)
{
    size_t n = 0;
    const LedgeStatus status = ledge__file_bytes(NULL, path, CSV_MAX, err, &j->table, &n);
    if (status && status != LEDGE_ERROR_NOT_FOUND)
        return false;
    const size_t all = n;
    while (n && j->table[n - 1] != '\n')
        n--;
    if (n < all)
        j->table[n] = '\0';
    j->csv = n < all && truncate(path, (off_t)n) != 0 ? NULL : fopen(path, "a");
    if (j->csv && (n || fputs(CSV_HEAD, j->csv) >= 0))
        return true;
    (void)!ledge__fail_errno(err, path, "write");
    return false;
}

static int begin_folder(Job *j)
{
    LedgeError err = {0};
    char path[PATH];
    if (ledge__seal_key_load(j->o.key, &err, &j->key))
        return cli_fail(NULL, &err);
    if (!ledge__seal_key_is_private(j->key))
        return cli_fail_with(j->o.key, LEDGE_ERROR_ARGUMENT,
                             "a public key cannot open samples; give the private one (NAME.key)");
    if (mkdir(j->o.out, 0700) != 0 && errno != EEXIST)
        return cli_fail_with(j->o.out, LEDGE_ERROR_IO, "cannot be created: %s", strerror(errno));
    snprintf(path, sizeof path, "%s/samples.csv", j->o.out);
    return open_table(j, path, &err) ? CLI_GO : cli_fail(path, &err);
}

static int work(Job *j, const CliArgs *args)
{
    int code = j->o.out ? begin_folder(j) : CLI_GO;
    if (code == CLI_GO && !args->n)
        code = list(j);
    for (size_t i = 0; i < args->n && code == CLI_GO; i++)
        code = from_file(j, args->items[i]);
    for (size_t i = 0; j->o.out && i < json_array_size(j->rows) && code == CLI_GO; i++)
        code = from_registry(j, json_array_get(j->rows, i));
    if (code != CLI_GO)
        return code;
    if (j->o.json) {
        code = cli_print_json(json_pack("{s:O, s:I, s:I}", "samples", j->rows, "opened",
                                        (json_int_t)j->opened, "failed", (json_int_t)j->failed));
    } else {
        if (!j->o.out)
            print_list(j->rows);
        else
            printf("%zu sample%s opened into %s\n", j->opened, j->opened == 1 ? "" : "s",
                   cli_clean(j->o.out));
        code = cli_finish();
    }
    return j->failed ? CLI_BAD_INPUT : code;
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Job j = {.key = NULL};
    CliArgs args;
    int code = cli_parse(c, argc, argv, 0, 4096, &j.o, &args);
    if (code != CLI_GO)
        return code;
    j.rows = json_array();
    if (!j.o.key != !j.o.out || (args.n && !j.o.out) || (j.o.remove && (!j.o.out || args.n)))
        code =
            cli_usage(c, "samples are opened with --key into --out; without both they are listed");
    else
        code = work(&j, &args);
    if (j.csv && fclose(j.csv) != 0 && code == CLI_OK)
        code = cli_fail_with(j.o.out, LEDGE_ERROR_IO, "cannot be written: %s", strerror(errno));
    ledge__free(NULL, j.table);
    ledge__seal_key_free(j.key);
    json_decref(j.rows);
    registry_client_free(&j.o.client);
    cli_args_free(&args);
    return code;
}

const CliCommand registry_samples = {
    .name = "registry samples",
    .arguments = "[FILE...]",
    .summary = "inputs that devices kept for retraining: list them, open them",
    .description =
        "Lists samples. With --key and --out it opens them, or the files given, into a folder:\n"
        "pictures where the model takes some, else .npy files, and samples.csv with the model's\n"
        "answers. 'ledge distill --data DIR' and '--finetune' take such a folder.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
