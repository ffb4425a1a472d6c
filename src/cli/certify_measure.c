/* The measuring part of ledge certify: both models see the same pictures, then take turns at
 * the clock, then start afresh. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cpu.h"
#include "cli/certify.h"
#include "ledge/report.h"

#define BLOCK     8 /* timed runs of one model before the other's turn */
#define FEWEST    50
#define MOST      2000
#define BUDGET_NS 4000000000u
#define PAUSE_NS  1000000 /* until the other session's workers sleep */
#define STARTS    5
#define KEPT      8 /* pictures that the clock is run on */

static int no_memory(void)
{
    return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
}

void certify_free(Certify *m)
{
    for (int i = 0; i < 2; i++) {
        CertifySide *s = &m->side[i];
        LedgeCertifiedModel *c = i ? &m->c.reference : &m->c.model;
        ledge_session_free(s->session);
        ledge_model_free(s->model);
        free(s->answers);
        free(s->ms);
        json_decref(c->external);
        free(m->preprocess[i]);
    }
    json_decref(m->c.pictures.names);
    json_decref(m->c.cpu.features);
    free(m->source);
    ledge__dataset_free(m->data);
}

/* ---- what the files are ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int add_external(const char *path, const char *file, json_t *to)
{
    char full[4096], hex[LEDGE_SHA256_HEX];
    LedgeError err = {0};
    const int folder = (int)(base_name(path) - path);
    snprintf(full, sizeof full, "%.*s%s", folder, path, file);
    if (ledge__sha256_file(full, &err, hex, NULL))
        return cli_fail(full, &err);
    json_t *name = cli_json_text(file);
    const int bad = !name || json_object_set_new(to, json_string_value(name), json_string(hex));
    json_decref(name);
    return bad ? no_memory() : CLI_GO;
}

static int read_report(const LedgeReport *r, const char *path, LedgeCertifiedModel *c)
{
    c->macs = r->macs;
    c->integer_macs = r->integer_macs;
    c->external = json_object();
    if (!c->external)
        return no_memory();
    for (size_t i = 0; i < r->n_external_files; i++) {
        const int code = add_external(path, r->external_files[i], c->external);
        if (code != CLI_GO)
            return code;
    }
    return CLI_GO;
}

int certify_identify(Certify *m, int which)
{
    LedgeError err = {0};
    LedgeReport *r = NULL;
    uint64_t length = 0;
    LedgeCertifiedModel *c = which ? &m->c.reference : &m->c.model;
    const char *path = m->side[which].path;
    const LedgeModelOptions options = {.cpu = m->o->cpu};
    if (ledge__sha256_file(path, &err, m->hash[which], &length))
        return cli_fail(path, &err);
    c->name = base_name(path);
    c->sha256 = m->hash[which];
    c->length = (int64_t)length;
    if (ledge_report_create(path, &options, &err, &r))
        return cli_fail(path, &err);
    const int code = read_report(r, path, c);
    ledge_report_free(r);
    return code;
}

static int identify_metadata(Certify *m, int which)
{
    LedgeCertifiedModel *c = which ? &m->c.reference : &m->c.model;
    const char *baseline = ledge_model_metadata(m->side[which].model, "ledge.baseline");
    m->preprocess[which] = ledge__preprocess_to_json(&m->side[which].pre);
    c->preprocess = m->preprocess[which];
    if (!c->preprocess)
        return no_memory();
    if (!baseline)
        return CLI_GO;
    c->baseline = m->hash[2 + which];
    return ledge__sha256_of(baseline, strlen(baseline), m->hash[2 + which]) ? no_memory() : CLI_GO;
}

/* ---- opening ---- */

static int open_side(Certify *m, int which)
{
    LedgeError err = {0};
    const char *from = NULL;
    CertifySide *s = &m->side[which];
    const CliOpen open = {s->path, m->o->cpu, false, m->o->threads};
    const int code = cli_open(&open, &s->model, &s->session);
    if (code != CLI_GO)
        return code;
    const size_t n_in = ledge_model_input_count(s->model),
                 n_out = ledge_model_output_count(s->model);
    if (n_in != 1 || n_out < 1 || n_out > 8)
        return cli_fail_with(
            s->path, LEDGE_ERROR_SHAPE,
            "certify takes classifiers of one input; this model has %zu inputs and "
            "%zu outputs",
            n_in, n_out);
    if (ledge__preprocess_for_model(s->model, 0, m->o->preprocess, &err, &s->pre, &from))
        return cli_fail(s->path, &err);
    if (strcmp(from, "default") == 0)
        cli_warn("%s says nothing of its preprocessing, so pixels go in as they are, 0 to 255; "
                 "--preprocess names another way",
                 s->path);
    s->answers = calloc(m->n + 1, sizeof *s->answers);
    return s->answers ? identify_metadata(m, which) : no_memory();
}

static int open_data(Certify *m)
{
    LedgeError err = {0};
    const CertifyOptions *o = m->o;
    LedgeStatus status =
        o->dataset ? ledge__dataset_open(NULL, o->dataset, &err, &m->data)
                   : ledge__dataset_open_folder(NULL, o->images, o->labels, &err, &m->data);
    if (status)
        return cli_fail(NULL, &err);
    m->n = ledge__dataset_count(m->data);
    if (o->limit && (size_t)o->limit < m->n)
        m->n = (size_t)o->limit;
    for (size_t i = 0; i < m->n; i++)
        if (ledge__dataset_label(m->data, i) < 0)
            return cli_fail_with(o->dataset ? o->dataset : o->images, LEDGE_ERROR_FORMAT,
                                 "the pictures have no labels, and a certificate states accuracy; "
                                 "--labels FILE.csv gives them");
    return CLI_GO;
}

/* ---- pictures ---- */

static int run_side(CertifySide *s, const LedgeTensor *in, LedgeTensor *out)
{
    LedgeError err = {0};
    LedgeTensor outputs[8] = {0};
    if (ledge_session_run(s->session, in, 1, outputs, ledge_model_output_count(s->model), &err))
        return cli_fail(s->path, &err);
    *out = outputs[0];
    return CLI_GO;
}

static int judge(Certify *m, int which, const LedgeSample *sample, size_t index)
{
    LedgeError err = {0};
    LedgeTensor in = {0}, out = {0};
    int64_t best[5];
    CertifySide *s = &m->side[which];
    LedgeCertifiedModel *c = which ? &m->c.reference : &m->c.model;
    if (ledge__preprocess_tensor(&s->pre, NULL, &sample->image, &err, &in))
        return cli_fail(sample->name, &err);
    const int code = run_side(s, &in, &out);
    ledge__free(NULL, in.data);
    if (code != CLI_GO)
        return code;
    if (!ledge__scores_row(&out))
        return cli_fail_with(s->path, LEDGE_ERROR_SHAPE,
                             "a classifier gives one row of scores; this gives %s",
                             cli_tensor_text(&out));
    const size_t k = ledge__scores_top(&out, 0, 5, best);
    s->answers[index] = (int32_t)best[0];
    c->top1 += best[0] == sample->label;
    for (size_t i = 0; i < k; i++)
        c->top5 += best[i] == sample->label;
    return CLI_GO;
}

/* "HASH LABEL NAME\n" goes into the list's hash: of the file, or of the pixels in sets without
 * files. */
static int note_picture(Certify *m, size_t index, const LedgeSample *s, LedgeSha256 *list)
{
    char hex[LEDGE_SHA256_HEX], line[400];
    LedgeError err = {0};
    const char *path = ledge__dataset_path(m->data, index);
    const size_t bytes = (size_t)s->image.width * s->image.height * (size_t)s->image.channels;
    LedgeStatus status = path ? ledge__sha256_file(path, &err, hex, NULL)
                              : ledge__sha256_of(s->image.pixels, bytes, hex);
    if (status)
        return path ? cli_fail(path, &err) : no_memory();
    const int n = snprintf(line, sizeof line, "%s %d %s\n", hex, (int)s->label, s->name);
    if (ledge__sha256_add(list, line, (size_t)n))
        return no_memory();
    return path && json_array_append_new(m->c.pictures.names, cli_json_text(s->name)) ? no_memory()
                                                                                      : CLI_GO;
}

static int see_pictures(Certify *m, LedgeSha256 *list)
{
    int code = CLI_GO;
    for (size_t i = 0; i < m->n && code == CLI_GO; i++) {
        LedgeSample s;
        LedgeError err = {0};
        if (ledge__dataset_read(m->data, i, &err, &s))
            return cli_fail(NULL, &err);
        code = note_picture(m, i, &s, list);
        for (int k = 0; k < 2 && code == CLI_GO; k++)
            code = judge(m, k, &s, i);
        m->c.agreement += code == CLI_GO && m->side[0].answers[i] == m->side[1].answers[i];
        ledge__image_free(&s.image);
        cli_progress("accuracy", i + 1, m->n);
    }
    cli_progress_end();
    return code;
}

static int measure_accuracy(Certify *m)
{
    const CertifyOptions *o = m->o;
    LedgeSha256 *list = ledge__sha256_new();
    m->c.pictures.names = json_array();
    const char *from = o->dataset ? o->dataset : o->images;
    const char *colon = o->dataset ? strchr(o->dataset, ':') : NULL;
    const size_t kind = colon ? (size_t)(colon - from) : 0;
    /* Folders differ from machine to machine: only the last name is told. */
    if (asprintf(&m->source, "%.*s:%s", kind ? (int)kind : 6, kind ? from : "folder",
                 base_name(from)) < 0)
        m->source = NULL;
    int code = list && m->source && m->c.pictures.names ? see_pictures(m, list) : no_memory();
    if (code == CLI_GO && ledge__sha256_hex(list, m->hash[4]))
        code = no_memory();
    ledge__sha256_free(list);
    m->c.pictures.source = m->source;
    m->c.pictures.sha256 = m->hash[4];
    m->c.pictures.count = (int64_t)m->n;
    return code;
}

/* ---- the clock ---- */

/* BLOCK runs on one picture; the first, with cold caches after the other's turn, is not
 * counted. */
static int time_block(CertifySide *s, const LedgeTensor *in, size_t at, size_t count)
{
    LedgeTensor out;
    const struct timespec pause = {0, PAUSE_NS};
    nanosleep(&pause, NULL);
    int code = run_side(s, in, &out);
    for (size_t i = 0; i < count && code == CLI_GO; i++) {
        const uint64_t start = cli_now_ns();
        code = run_side(s, in, &out);
        s->ms[at + i] = (double)(cli_now_ns() - start) / 1e6;
    }
    return code;
}

/* In the order A B, B A, A B, …, so that what drifts (heat, neighbours) meets both alike. */
static int take_turns(Certify *m, LedgeTensor inputs[2][KEPT], size_t n_inputs)
{
    int code = CLI_GO;
    const size_t fewest = m->o->runs ? (size_t)m->o->runs : FEWEST;
    const size_t most = m->o->runs ? (size_t)m->o->runs : MOST;
    const uint64_t start = cli_now_ns();
    for (size_t block = 0; code == CLI_GO && m->n_runs < most; block++) {
        if (m->n_runs >= fewest && cli_now_ns() - start > BUDGET_NS)
            break;
        const size_t count = most - m->n_runs < BLOCK ? most - m->n_runs : BLOCK;
        for (size_t k = 0; k < 2 && code == CLI_GO; k++) {
            const size_t which = (block + k) % 2;
            code = time_block(&m->side[which], &inputs[which][block % n_inputs], m->n_runs, count);
        }
        m->n_runs += count;
        cli_progress("latency", m->n_runs < fewest ? m->n_runs : fewest, fewest + 1);
    }
    cli_progress_end();
    return code;
}

static int keep_pictures(Certify *m, LedgeTensor inputs[2][KEPT], size_t n)
{
    int code = CLI_GO;
    for (size_t i = 0; i < n && code == CLI_GO; i++) {
        LedgeSample s;
        LedgeError err = {0};
        if (ledge__dataset_read(m->data, i, &err, &s))
            return cli_fail(NULL, &err);
        for (int k = 0; k < 2 && code == CLI_GO; k++)
            if (ledge__preprocess_tensor(&m->side[k].pre, NULL, &s.image, &err, &inputs[k][i]))
                code = cli_fail(s.name, &err);
        ledge__image_free(&s.image);
    }
    return code;
}

static int64_t percentile_ns(const double *ms, size_t n, double p)
{
    const double ns = cli_percentile(ms, n, p) * 1e6;
    return ns >= 1 ? (int64_t)ns : 1;
}

static int measure_latency(Certify *m)
{
    LedgeTensor inputs[2][KEPT] = {0};
    const size_t n = m->n < KEPT ? m->n : KEPT;
    int code = keep_pictures(m, inputs, n);
    for (int k = 0; k < 2 && code == CLI_GO; k++) {
        m->side[k].ms = malloc((m->o->runs ? (size_t)m->o->runs : MOST) * sizeof(double));
        if (!m->side[k].ms)
            code = no_memory();
    }
    if (code == CLI_GO)
        code = take_turns(m, inputs, n);
    for (int k = 0; k < 2; k++) {
        LedgeCertifiedModel *c = k ? &m->c.reference : &m->c.model;
        for (size_t i = 0; i < n; i++)
            ledge__free(NULL, inputs[k][i].data);
        if (code != CLI_GO)
            continue;
        qsort(m->side[k].ms, m->n_runs, sizeof(double), cli_compare_doubles);
        c->p50_ns = percentile_ns(m->side[k].ms, m->n_runs, 50);
        c->p90_ns = percentile_ns(m->side[k].ms, m->n_runs, 90);
        c->p99_ns = percentile_ns(m->side[k].ms, m->n_runs, 99);
    }
    return code;
}

/* A certificate of a busy machine would hold for that machine alone. */
static void warn_of_noise(const Certify *m)
{
    const LedgeCertifiedModel *c[] = {&m->c.model, &m->c.reference};
    for (int k = 0; k < 2; k++)
        if (c[k]->p90_ns > c[k]->p50_ns / 2 * 3) {
            cli_warn("latencies of %s scatter (p90 is %.1f times p50): this machine is busy, and "
                     "the figures say little; certify again on a quiet one",
                     c[k]->name, (double)c[k]->p90_ns / (double)c[k]->p50_ns);
            return;
        }
}

/* ---- fresh starts ---- */

/* NAME=1x3x224x224 of the first picture, for inputs whose own dimensions are free. */
static int input_shape(const Certify *m, const CertifySide *s, char *to, size_t size)
{
    LedgeSample sample;
    LedgeError err = {0};
    int64_t d[4];
    if (ledge__dataset_read(m->data, 0, &err, &sample))
        return cli_fail(NULL, &err);
    LedgeStatus status =
        ledge__preprocess_dims(&s->pre, sample.image.width, sample.image.height, &err, d);
    ledge__image_free(&sample.image);
    if (status)
        return cli_fail(sample.name, &err);
    snprintf(to, size, "%s=%dx%dx%dx%d", ledge_model_input(s->model, 0)->name, (int)d[0], (int)d[1],
             (int)d[2], (int)d[3]);
    return CLI_GO;
}

static int start_afresh(Certify *m, int which)
{
    CertifySide *s = &m->side[which];
    LedgeCertifiedModel *c = which ? &m->c.reference : &m->c.model;
    char shape[600], threads[32], *path = strdup(s->path),
                                  *cpu = strdup(m->o->cpu ? m->o->cpu : "");
    double ms[STARTS];
    size_t n = 0;
    snprintf(threads, sizeof threads, "--threads=%d", (int)m->o->threads);
    int code = input_shape(m, s, shape, sizeof shape);
    char *words[] = {threads, (char[]){"--shape"}, shape, (char[]){"--"}, path, NULL, NULL, NULL};
    if (m->o->cpu) {
        words[3] = (char[]){"--cpu"}, words[4] = cpu, words[5] = (char[]){"--"}, words[6] = path;
    }
    for (int i = 0; i < STARTS && path && cpu && code == CLI_GO; i++) {
        uint64_t peak = 0;
        const double took = cli_cold_start(words, &peak);
        if (took > 0)
            ms[n++] = took;
        c->peak_memory = (int64_t)peak > c->peak_memory ? (int64_t)peak : c->peak_memory;
        cli_progress("cold start", (size_t)(which * STARTS + i + 1), 2 * STARTS);
    }
    free(path);
    free(cpu);
    if (code == CLI_GO && !n)
        cli_warn("the cold start of %s could not be timed", s->path);
    qsort(ms, n, sizeof *ms, cli_compare_doubles);
    c->cold_start_ns = n ? percentile_ns(ms, n, 50) : 0;
    return code;
}

/* ---- all of it ---- */

static int describe_cpu(Certify *m)
{
    const char *names[32];
    const uint32_t flags = ledge__cpu_flags();
    const uint32_t cap = m->o->cpu ? ledge__cpu_flags_from_name(m->o->cpu) : 0xffffffff;
    const size_t n = cli_cpu_features(ledge__cpu_flags_uncapped(), names, 32);
    m->c.cpu.name = ledge__cpu_model_name();
    m->c.cpu.kernels = ledge__cpu_level_name(flags & cap);
    m->c.cpu.threads = cli_threads(m->o->threads);
    m->c.cpu.runs = (int64_t)m->n_runs;
    m->c.cpu.features = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(m->c.cpu.features, json_string(names[i])))
            return no_memory();
    return m->c.cpu.features ? CLI_GO : no_memory();
}

int certify_measure(Certify *m)
{
    int code = open_data(m);
    for (int k = 0; k < 2 && code == CLI_GO; k++)
        code = certify_identify(m, k);
    for (int k = 0; k < 2 && code == CLI_GO; k++)
        code = open_side(m, k);
    if (code == CLI_GO)
        code = measure_accuracy(m);
    if (code == CLI_GO)
        code = measure_latency(m);
    if (code == CLI_GO)
        warn_of_noise(m);
    for (int k = 0; k < 2 && code == CLI_GO; k++)
        code = start_afresh(m, k);
    return code == CLI_GO ? describe_cpu(m) : code;
}
