/* ledge registry push: packs a version, signs it on this machine, and gives it to a registry.
 *
 * The model is compiled for each target; golden inputs are run here, and what came out travels with
 * the version as its self-test; release.json lists all files by hash; targets.json, the newest one
 * plus this release, is signed with keys that never leave this machine. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cpu.h"
#include "cli/model_io.h"
#include "cli/registry_cli.h"
#include "fleet/protocol/release.h"
#include "fleet/protocol/tuf_meta.h"
#include "image/file_bytes.h"
#include "image/npy.h"
#include "ledge/report.h"
#include "wasm/runner/lwm_file.h"

#define DAY       ((int64_t)86400)
#define PATH_SIZE 600

typedef struct Options {
    RegistryClient client;
    bool json, force, rollback_ok, no_golden, no_compile;
    int64_t days, tolerance, latency_ratio, memory_ratio;
    const char *name, *version, *certificate, *labels, *preprocess, *baseline, *wasm, *guest,
        *guest_key, *reason, *root;
    CliList keys, targets, shapes, inputs;
} Options;

static const CliOption options[] = {
    {"name", 'n', CLI_TEXT, "NAME", "the model's name (the file's, without its ending)",
     offsetof(Options, name), 0, 0},
    {"version", 'v', CLI_TEXT, "VERSION", "the version; never one that was there before",
     offsetof(Options, version), 0, 0},
    {"key", 'k', CLI_LIST, "FILE", "private key of targets; may be repeated",
     offsetof(Options, keys), 0, 0},
    {"certificate", 'c', CLI_TEXT, "FILE", "what 'ledge certify' wrote",
     offsetof(Options, certificate), 0, 0},
    {"force", 0, CLI_FLAG, NULL, "push without a certificate (with --reason)",
     offsetof(Options, force), 0, 0},
    {"reason", 0, CLI_TEXT, "TEXT", "why: it goes into the audit log", offsetof(Options, reason), 0,
     0},
    {"target", 't', CLI_LIST, "LEVEL",
     "compile for this CPU level too (those this machine's kind has)", offsetof(Options, targets),
     0, 0},
    {"no-compile", 0, CLI_FLAG, NULL, "the model alone, compiled by devices",
     offsetof(Options, no_compile), 0, 0},
    {"input", 'i', CLI_LIST, "NAME=FILE.npy",
     "golden input (else one by chance); NAME= may be left out", offsetof(Options, inputs), 0, 0},
    {"tolerance", 0, CLI_INT, "PPM",
     "what outputs may differ by, in millionths (1000); 0: not at all",
     offsetof(Options, tolerance), 0, 1000000},
    {"no-golden", 0, CLI_FLAG, NULL, "no self-test travels with it", offsetof(Options, no_golden),
     0, 0},
    {"latency-ratio", 0, CLI_INT, "PERCENT",
     "slowest that it may be, in percent of the present model (0: any)",
     offsetof(Options, latency_ratio), 0, 100000},
    {"memory-ratio", 0, CLI_INT, "PERCENT", "most memory, likewise",
     offsetof(Options, memory_ratio), 0, 100000},
    {"labels", 0, CLI_TEXT, "FILE", "labels of its classes", offsetof(Options, labels), 0, 0},
    {"preprocess", 0, CLI_TEXT, "FILE", "how pictures are prepared", offsetof(Options, preprocess),
     0, 0},
    {"baseline", 0, CLI_TEXT, "FILE", "what drift is measured against", offsetof(Options, baseline),
     0, 0},
    {"wasm", 0, CLI_TEXT, "FILE", "WebAssembly module that goes with it", offsetof(Options, wasm),
     0, 0},
    {"guest", 0, CLI_TEXT, "FILE.lwm", "guest that devices run before or behind the model",
     offsetof(Options, guest), 0, 0},
    {"guest-key", 0, CLI_TEXT, "FILE", "public key that must have signed the guest",
     offsetof(Options, guest_key), 0, 0},
    {"rollback-ok", 0, CLI_FLAG, NULL, "devices may go back to it from a newer one",
     offsetof(Options, rollback_ok), 0, 0},
    {"root", 0, CLI_TEXT, "FILE", "root.json, to check targets that others signed",
     offsetof(Options, root), 0, 0},
    {"days", 0, CLI_INT, "N", "days until the targets expire (90)", offsetof(Options, days), 1,
     3650},
    CLI_OPTION_SHAPE(Options),
    REGISTRY_CLIENT_OPTIONS(Options),
    CLI_OPTION_JSON(Options),
};

typedef struct Push {
    Options *o;
    const char *model_path;
    char name[LEDGE_FLEET_NAME], folder[64]; /* folder: for what is made here */
    LedgeRelease *release;
    char sources[LEDGE_RELEASE_FILES][PATH_SIZE]; /* where each of its files lies */
    LedgeKey *keys[LEDGE_TUF_KEYS];
    size_t n_keys;
    char release_path[PATH_SIZE];
    LedgeTufFile release_file;
    json_t *answer;
} Push;

/* ---- what it consists of ---- */

static int add(Push *p, LedgeReleaseRole role, const char *path, const char *source)
{
    LedgeError err = {0};
    if (!source)
        return CLI_GO;
    if (strlen(source) >= PATH_SIZE)
        return cli_fail_with(source, LEDGE_ERROR_LIMIT, "the path is too long");
    if (ledge__release_add(p->release, role, path, source, &err))
        return cli_fail(source, &err);
    snprintf(p->sources[p->release->n_files - 1], PATH_SIZE, "%s", source);
    return CLI_GO;
}

/* The file's own name where it is a plain one. */
static int add_named(Push *p, LedgeReleaseRole role, const char *fallback, const char *source)
{
    const char *slash = source ? strrchr(source, '/') : NULL, *own = slash ? slash + 1 : source;
    const bool plain = own && ledge__fleet_is_path(own) &&
                       ledge__release_find(p->release, own) == p->release->n_files;
    return add(p, role, plain ? own : fallback, source);
}

/* The files beside the model that hold its weights, under the names that it has for them. Their
 * hashes in a certificate are the model's own business; here they travel. */
static int add_external(Push *p)
{
    LedgeError err = {0};
    LedgeReport *report = NULL;
    const char *slash = strrchr(p->model_path, '/');
    int code = CLI_GO;
    if (ledge_report_create(p->model_path, &(LedgeModelOptions){0}, &err, &report))
        return cli_fail(p->model_path, &err);
    for (size_t i = 0; i < report->n_external_files && code == CLI_GO; i++) {
        char path[PATH_SIZE];
        const char *name = report->external_files[i];
        snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash + 1 - p->model_path) : 0,
                 p->model_path, name);
        code = ledge__fleet_is_path(name)
                   ? add(p, LEDGE_RELEASE_MODEL, name, path)
                   : cli_fail_with(
                         p->model_path, LEDGE_ERROR_UNSUPPORTED,
                         "keeps weights in '%s', which is no plain name; save it as one file",
                         cli_clean(name));
    }
    ledge_report_free(report);
    return code;
}

#if defined(__x86_64__)
#define ARCH "x86-64"
static const char *const levels[] = {"avx2", "avx512vnni"};
#elif defined(__aarch64__)
#define ARCH "aarch64"
static const char *const levels[] = {"neon", "dotprod"};
#else
#define ARCH "other"
static const char *const levels[] = {"scalar"};
#endif

static int compile_shaped(const Push *p, LedgeModel *m, const char *path)
{
    LedgeError err = {0};
    const size_t n = ledge_model_input_count(m);
    LedgeTensorInfo *infos = calloc(n + 1, sizeof *infos);
    LedgeTensor *inputs = calloc(n + 1, sizeof *inputs);
    int code = infos && inputs ? cli_shapes_apply(m, &p->o->shapes, infos)
                               : cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    for (size_t i = 0; i < n && code == CLI_GO; i++) {
        inputs[i].type = infos[i].type;
        inputs[i].rank = infos[i].rank;
        memcpy(inputs[i].dims, infos[i].dims, sizeof inputs[i].dims);
    }
    const bool shaped = p->o->shapes.n > 0;
    if (code == CLI_GO &&
        ledge_model_compile(m, shaped ? inputs : NULL, shaped ? n : 0, path, &err))
        code = cli_fail_writing(path, &err);
    free(infos);
    free(inputs);
    return code;
}

static int compile_for(Push *p, const char *level)
{
    LedgeError err = {0};
    LedgeModel *m = NULL;
    char path[PATH_SIZE], name[64];
    if (ledge__cpu_flags_from_name(level) == 0xffffffffu || strlen(level) >= LEDGE_FLEET_WORD)
        return cli_fail_with(NULL, LEDGE_ERROR_ARGUMENT,
                             "'%s' is no CPU level of this machine's kind (%s); models for "
                             "others are compiled on a machine of theirs",
                             cli_clean(level), ARCH);
    snprintf(path, sizeof path, "%s/%s.ledge", p->folder, level);
    snprintf(name, sizeof name, "model-%s.ledge", level);
    if (ledge_model_load(p->model_path, &(LedgeModelOptions){.cpu = level}, &err, &m))
        return cli_fail(p->model_path, &err);
    int code = compile_shaped(p, m, path);
    ledge_model_free(m);
    if (code == CLI_GO)
        code = add(p, LEDGE_RELEASE_COMPILED, name, path);
    if (code == CLI_GO) {
        LedgeReleaseFile *f = &p->release->files[p->release->n_files - 1];
        snprintf(f->arch, sizeof f->arch, "%s", ARCH);
        snprintf(f->level, sizeof f->level, "%s", level);
    }
    return code;
}

static int compile_all(Push *p)
{
    const Options *o = p->o;
    int code = CLI_GO;
    if (o->no_compile)
        return CLI_GO;
    const size_t n = o->targets.n ? o->targets.n : sizeof levels / sizeof *levels;
    for (size_t i = 0; i < n && code == CLI_GO; i++) {
        cli_progress("compile", i, n);
        code = compile_for(p, o->targets.n ? o->targets.items[i] : levels[i]);
    }
    cli_progress_end();
    return code;
}

/* ---- the guest ---- */

typedef struct GuestTarget {
    const char *target, *arch, *level;
} GuestTarget;

/* As .lwm files and as releases name them; the most modest first. */
static const GuestTarget guest_targets[] = {
    {"x86_64", "x86-64", ""},
    {"x86_64_v2", "x86-64", "sse41"},
    {"x86_64_v3", "x86-64", "avx2"},
    {"aarch64", "aarch64", ""},
};
enum { N_GUEST_TARGETS = sizeof guest_targets / sizeof *guest_targets };

/* The least that a device must be to run it. One built for several kinds says nothing here: what
 * it lacks shows when it is loaded. */
static int guest_target(const char *path, const LwmFile *lwm, LedgeReleaseFile *f)
{
    int least = -1;
    bool is_mixed = false;
    for (size_t i = 0; i < lwm->n_targets; i++) {
        int k = 0;
        while (k < N_GUEST_TARGETS && strcmp(guest_targets[k].target, lwm->targets[i].name) != 0)
            k++;
        if (k == N_GUEST_TARGETS)
            return cli_fail_with(path, LEDGE_ERROR_UNSUPPORTED,
                                 "is built for '%s', which no device is; 'ledge wasm build' makes "
                                 "guests for x86_64, x86_64_v2, x86_64_v3 and aarch64",
                                 cli_clean(lwm->targets[i].name));
        is_mixed |= least >= 0 && strcmp(guest_targets[k].arch, guest_targets[least].arch) != 0;
        least = least < 0 || k < least ? k : least;
    }
    if (least >= 0 && !is_mixed) {
        snprintf(f->arch, sizeof f->arch, "%s", guest_targets[least].arch);
        snprintf(f->level, sizeof f->level, "%s", guest_targets[least].level);
    }
    return CLI_GO;
}

/* Read as a device will read it, so that what is damaged is seen here. */
static int read_guest(const Options *o, LwmFile **out)
{
    LedgeError err = {0};
    LedgeKey *key = NULL;
    uint8_t *bytes = NULL;
    size_t size;
    if (o->guest_key && ledge__key_load(o->guest_key, &err, &key))
        return cli_fail(o->guest_key, &err);
    int code = CLI_GO;
    if (ledge__file_bytes(NULL, o->guest, (size_t)LEDGE_RELEASE_GUEST_MAX, &err, &bytes, &size) ||
        ledge__lwm_read("", bytes, size, (const LedgeKey *const *)&key, key != NULL, &err, out))
        code = cli_fail(o->guest, &err);
    ledge__key_free(key);
    return code;
}

static int add_guest(Push *p)
{
    LwmFile *lwm = NULL;
    if (!p->o->guest)
        return CLI_GO;
    int code = read_guest(p->o, &lwm);
    if (code == CLI_GO)
        code = add(p, LEDGE_RELEASE_GUEST, LEDGE_RELEASE_GUEST_PATH, p->o->guest);
    if (code == CLI_GO)
        code = guest_target(p->o->guest, lwm, &p->release->files[p->release->n_files - 1]);
    ledge__lwm_free(lwm);
    return code;
}

/* ---- the self-test ---- */

static int save_tensor(Push *p, const char *stem, size_t i, const LedgeTensor *t, uint32_t *index)
{
    LedgeError err = {0};
    char path[PATH_SIZE], name[64];
    snprintf(path, sizeof path, "%s/%s%zu.npy", p->folder, stem, i);
    snprintf(name, sizeof name, "golden/%s%zu.npy", stem, i);
    if (ledge__npy_save(path, t, &err))
        return cli_fail_writing(path, &err);
    int code = add(p, LEDGE_RELEASE_GOLDEN, name, path);
    *index = (uint32_t)(p->release->n_files - 1);
    return code;
}

static int record_case(Push *p, LedgeModel *m, LedgeSession *session, const CliInputs *in)
{
    LedgeError err = {0};
    const size_t n = ledge_model_output_count(m);
    if (in->n > LEDGE_RELEASE_TENSORS || n > LEDGE_RELEASE_TENSORS)
        return cli_fail_with(p->model_path, LEDGE_ERROR_LIMIT,
                             "has more than %d inputs or outputs; use --no-golden",
                             LEDGE_RELEASE_TENSORS);
    LedgeTensor outputs[LEDGE_RELEASE_TENSORS] = {0};
    LedgeGoldenCase *c = &p->release->cases[p->release->n_cases];
    if (ledge_session_run(session, in->tensors, in->n, outputs, n, &err))
        return cli_fail(p->model_path, &err);
    int code = CLI_GO;
    for (; c->n_inputs < in->n && code == CLI_GO; c->n_inputs++)
        code =
            save_tensor(p, "in", c->n_inputs, &in->tensors[c->n_inputs], &c->inputs[c->n_inputs]);
    for (; c->n_outputs < n && code == CLI_GO; c->n_outputs++) {
        LedgeGoldenOutput *out = &c->outputs[c->n_outputs];
        code = save_tensor(p, "out", c->n_outputs, &outputs[c->n_outputs], &out->file);
        out->tolerance_ppm = p->o->tolerance;
    }
    p->release->n_cases++;
    return code;
}

static int make_golden(Push *p)
{
    const CliOpen open = {.path = p->model_path, .threads = 1};
    LedgeModel *m = NULL;
    LedgeSession *session = NULL;
    CliInputs in = {0};
    if (p->o->no_golden)
        return CLI_GO;
    int code = cli_open(&open, &m, &session);
    if (code == CLI_GO && !cli_inputs_new(m, &in))
        code = cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    if (code == CLI_GO)
        code = cli_inputs_files(m, &p->o->inputs, &in);
    if (code == CLI_GO)
        code = cli_inputs_random(m, &p->o->shapes, 1, &in);
    if (code == CLI_GO)
        code = record_case(p, m, session, &in);
    cli_inputs_free(&in);
    ledge_session_free(session);
    ledge_model_free(m);
    return code;
}

static int pack(Push *p)
{
    const Options *o = p->o;
    LedgeError err = {0};
    if (ledge__release_new(p->name, o->version, &err, &p->release))
        return cli_fail(NULL, &err);
    p->release->created = (int64_t)time(NULL);
    p->release->max_latency_ratio = o->latency_ratio * 10000;
    p->release->max_memory_ratio = o->memory_ratio * 10000;
    int code = add_named(p, LEDGE_RELEASE_MODEL, "model.onnx", p->model_path);
    if (code == CLI_GO)
        code = add_external(p);
    if (code == CLI_GO)
        code = add(p, LEDGE_RELEASE_CERTIFICATE, "certificate.json", o->certificate);
    if (code == CLI_GO)
        code = add(p, LEDGE_RELEASE_LABELS, "labels.txt", o->labels);
    if (code == CLI_GO)
        code = add(p, LEDGE_RELEASE_PREPROCESS, "preprocess.json", o->preprocess);
    if (code == CLI_GO)
        code = add(p, LEDGE_RELEASE_BASELINE, "baseline.json", o->baseline);
    if (code == CLI_GO)
        code = add(p, LEDGE_RELEASE_WASM, "module.wasm", o->wasm);
    if (code == CLI_GO)
        code = add_guest(p);
    if (code == CLI_GO)
        code = compile_all(p);
    return code == CLI_GO ? make_golden(p) : code;
}

static int write_release(Push *p)
{
    uint64_t size = 0;
    LedgeError err = {0};
    snprintf(p->release_path, sizeof p->release_path, "%s/release.json", p->folder);
    FILE *to = fopen(p->release_path, "wb");
    if (to)
        ledge__release_write(p->release, to);
    const bool bad = to && ferror(to);
    if (!to || fclose(to) || bad) {
        cli_fail_with(p->release_path, LEDGE_ERROR_IO, "cannot be written: %s", strerror(errno));
        return CLI_FAILED;
    }
    if (ledge__sha256_file(p->release_path, &err, p->release_file.sha256, &size))
        return cli_fail(p->release_path, &err);
    p->release_file.length = (int64_t)size;
    return CLI_GO;
}

/* ---- to the registry ---- */

static int upload(Push *p, const char *sha256, const char *file, uint64_t size)
{
    char path[200];
    RegistryAnswer a;
    snprintf(path, sizeof path, "/v1/admin/blobs/%s", sha256);
    int code = registry_ask(&p->o->client, "GET", path, NULL, &a);
    const bool there = code == CLI_GO && a.code == 200;
    if (code == CLI_GO && !there && a.code != 404)
        code = registry_refused(&p->o->client, &a);
    registry_answer_free(&a);
    if (code != CLI_GO || there)
        return code;
    code = registry_upload(&p->o->client, path, file, size, &a);
    if (code == CLI_GO && (a.code < 200 || a.code > 299))
        code = registry_refused(&p->o->client, &a);
    registry_answer_free(&a);
    return code;
}

static int upload_all(Push *p)
{
    int code = CLI_GO;
    const size_t n = p->release->n_files;
    for (size_t i = 0; i < n && code == CLI_GO; i++) {
        const LedgeReleaseFile *f = &p->release->files[i];
        cli_progress("upload", i, n);
        code = upload(p, f->sha256, p->sources[i], (uint64_t)f->length);
    }
    cli_progress_end();
    return code == CLI_GO ? upload(p, p->release_file.sha256, p->release_path,
                                   (uint64_t)p->release_file.length)
                          : code;
}

/* Never signs on top of what nobody trustworthy signed: the newest targets must be signed by one of
 * the keys at hand, or as --root asks. */
static int check_newest(const Push *p, const LedgeTufMeta *newest)
{
    LedgeError err = {0};
    LedgeTufMeta root = {0};
    char *text = NULL;
    size_t size = 0;
    if (ledge__envelope_verify("targets.json", newest->envelope, (const LedgeKey *const *)p->keys,
                               p->n_keys, 1, &err) == LEDGE_OK)
        return CLI_GO;
    if (!p->o->root)
        return cli_fail_with("targets.json", LEDGE_ERROR_MISMATCH,
                             "the registry's newest targets are not signed by your key; "
                             "give --root, by which other publishers' keys are known");
    FILE *from = fopen(p->o->root, "rb");
    if (from) {
        text = malloc(ledge__tuf_role_max(LEDGE_TUF_ROOT));
        size = text ? fread(text, 1, ledge__tuf_role_max(LEDGE_TUF_ROOT), from) : 0;
        fclose(from);
    }
    LedgeStatus status = ledge__tuf_parse(LEDGE_TUF_ROOT, text ? text : "", size, &err, &root);
    if (!status)
        status = ledge__tuf_verify(&root, &root, &err);
    if (!status)
        status = ledge__tuf_verify(&root, newest, &err);
    ledge__tuf_meta_free(&root);
    free(text);
    return status ? cli_fail(p->o->root, &err) : CLI_GO;
}

/* The targets as they are: their entries (a copy), and their version. */
static int newest_targets(Push *p, json_t **entries, int64_t *version)
{
    RegistryAnswer a;
    LedgeTufMeta newest = {0};
    LedgeError err = {0};
    int code = registry_ask(&p->o->client, "GET", "/v1/tuf/targets.json", NULL, &a);
    *version = 0;
    *entries = NULL;
    if (code == CLI_GO && a.code == 404) {
        *entries = json_object();
    } else if (code == CLI_GO && a.code != 200) {
        code = registry_refused(&p->o->client, &a);
    } else if (code == CLI_GO) {
        if (ledge__tuf_parse(LEDGE_TUF_TARGETS, a.body, a.size, &err, &newest))
            code = cli_fail("targets.json", &err);
        else
            code = check_newest(p, &newest);
        if (code == CLI_GO)
            *entries = json_deep_copy(
                json_object_get(ledge__envelope_content(newest.envelope), "targets"));
        *version = newest.version;
    }
    ledge__tuf_meta_free(&newest);
    registry_answer_free(&a);
    return code == CLI_GO && !*entries ? cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory")
                                       : code;
}

/* What was retired leaves the targets. */
static int drop_retired(Push *p, json_t *entries)
{
    json_t *models = NULL;
    int code = registry_do(&p->o->client, "GET", "/v1/admin/models", NULL, &models);
    const json_t *versions = json_object_get(models, "versions");
    for (size_t i = 0; i < json_array_size(versions); i++) {
        const json_t *v = json_array_get(versions, i);
        char path[LEDGE_FLEET_PATH];
        const char *model = json_string_value(json_object_get(v, "model")),
                   *version = json_string_value(json_object_get(v, "version")),
                   *state = json_string_value(json_object_get(v, "state"));
        if (!model || !version || !state || strcmp(state, "retired") != 0 ||
            !ledge__fleet_is_name(model) || !ledge__fleet_is_name(version))
            continue;
        ledge__release_target(model, version, path);
        (void)json_object_del(entries, path);
    }
    json_decref(models);
    return code;
}

static int sign_targets(Push *p, json_t *entries, int64_t version, char **out)
{
    LedgeError err = {0};
    char path[LEDGE_FLEET_PATH];
    size_t size;
    json_t *envelope = NULL;
    ledge__release_target(p->name, p->o->version, path);
    json_t *custom = p->o->rollback_ok ? json_pack("{s:b}", "rollback_ok", 1) : NULL;
    if (json_object_set_new(
            entries, path,
            ledge__tuf_make_target(p->release_file.length, p->release_file.sha256, custom)))
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    json_t *content = ledge__tuf_make_targets(version + 1, (int64_t)time(NULL) + p->o->days * DAY,
                                              json_incref(entries));
    LedgeStatus status = content ? ledge__envelope_make(content, (const LedgeKey *const *)p->keys,
                                                        p->n_keys, &err, &envelope)
                                 : LEDGE_ERROR_MEMORY;
    json_decref(content);
    if (!status)
        status = ledge__tuf_text(envelope, &err, out, &size, NULL);
    json_decref(envelope);
    return status ? cli_fail(NULL, &err) : CLI_GO;
}

static int publish(Push *p)
{
    json_t *entries = NULL;
    int64_t version;
    char *targets = NULL;
    int code = newest_targets(p, &entries, &version);
    if (code == CLI_GO)
        code = drop_retired(p, entries);
    if (code == CLI_GO)
        code = sign_targets(p, entries, version, &targets);
    json_decref(entries);
    if (code == CLI_GO) {
        json_t *body = json_pack("{s:s, s:s, s:s, s:b, s:s}", "name", p->name, "version",
                                 p->o->version, "targets", targets, "force", p->o->force, "reason",
                                 p->o->reason ? p->o->reason : "");
        code = registry_do(&p->o->client, "POST", "/v1/admin/releases", body, &p->answer);
        json_decref(body);
    }
    free(targets);
    return code;
}

/* ---- the verb ---- */

static int load_keys(Push *p)
{
    LedgeError err = {0};
    for (size_t i = 0; i < p->o->keys.n; i++, p->n_keys++) {
        const char *file = p->o->keys.items[i];
        if (p->n_keys == LEDGE_TUF_KEYS)
            return cli_fail_with(file, LEDGE_ERROR_LIMIT, "is one key too many");
        if (ledge__key_load(file, &err, &p->keys[i]))
            return cli_fail(file, &err);
        if (!ledge__key_is_private(p->keys[i]))
            return cli_fail_with(file, LEDGE_ERROR_ARGUMENT,
                                 "is a public key; signing takes the private one");
    }
    return CLI_GO;
}

static int take_name(Push *p, const CliCommand *c)
{
    const char *slash = strrchr(p->model_path, '/'), *file = slash ? slash + 1 : p->model_path;
    const char *name = p->o->name;
    if (name)
        snprintf(p->name, sizeof p->name, "%s", name);
    else
        snprintf(p->name, sizeof p->name, "%.*s", (int)strcspn(file, "."), file);
    if ((name && strlen(name) >= sizeof p->name) || !ledge__fleet_is_name(p->name))
        return cli_usage(
            c, "'%s' is no model's name: letters, digits, '.', '_' and '-', up to 64; give --name",
            cli_clean(name ? name : p->name));
    if (!p->o->version || !ledge__fleet_is_name(p->o->version))
        return cli_usage(c, "give the version: --version 1.0.0");
    return CLI_GO;
}

static void remove_folder(const Push *p)
{
    for (size_t i = 0; p->release && i < p->release->n_files; i++)
        if (strncmp(p->sources[i], p->folder, strlen(p->folder)) == 0)
            (void)unlink(p->sources[i]);
    if (p->release_path[0])
        (void)unlink(p->release_path);
    (void)rmdir(p->folder);
}

static int push(Push *p)
{
    int code = load_keys(p);
    if (code != CLI_GO)
        return code;
    const char *tmp = getenv("TMPDIR");
    snprintf(p->folder, sizeof p->folder, "%.40s/ledge-push-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    if (!mkdtemp(p->folder)) {
        cli_fail_with(p->folder, LEDGE_ERROR_IO, "cannot make a folder: %s", strerror(errno));
        return CLI_FAILED;
    }
    code = pack(p);
    if (code == CLI_GO)
        code = write_release(p);
    if (code == CLI_GO)
        code = upload_all(p);
    if (code == CLI_GO)
        code = publish(p);
    remove_folder(p);
    return code;
}

static int run_push(const CliCommand *c, int argc, char **argv)
{
    Options o = {.days = 90, .tolerance = 1000};
    CliArgs args;
    int code = cli_parse(c, argc, argv, 1, 1, &o, &args);
    if (code != CLI_GO)
        return code;
    Push *p = calloc(1, sizeof *p);
    if (!p) {
        cli_args_free(&args);
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    }
    p->o = &o;
    p->model_path = args.items[0];
    if (!o.keys.n)
        code = cli_usage(c, "sign it: --key targets.key");
    else if (!o.certificate && !o.force)
        code = cli_usage(c, "give --certificate (from 'ledge certify'), or --force and --reason");
    else if (o.force && !o.reason)
        code = cli_usage(c, "--force needs --reason");
    if (code == CLI_GO)
        code = take_name(p, c);
    if (code == CLI_GO)
        code = push(p);
    if (code == CLI_GO && o.json) {
        code = cli_print_json(json_incref(p->answer));
    } else if (code == CLI_GO) {
        printf("%s %s is in the registry: %zu files, %s; 'ledge registry promote' or 'rollout' "
               "brings it to devices\n",
               cli_clean(p->name), cli_clean(o.version), p->release->n_files,
               json_is_true(json_object_get(p->answer, "certified")) ? "certified"
                                                                     : "without a certificate");
        code = cli_finish();
    }
    for (size_t i = 0; i < p->n_keys + 1 && i < LEDGE_TUF_KEYS; i++)
        ledge__key_free(p->keys[i]);
    ledge__release_free(p->release);
    json_decref(p->answer);
    free(p);
    registry_client_free(&o.client);
    cli_args_free(&args);
    return code;
}

const CliCommand registry_push = {
    .name = "registry push",
    .arguments = "MODEL --version VERSION --key FILE --certificate FILE",
    .summary = "sign a version of a model here, and give it to the registry",
    .description =
        "Compiles the model for each CPU level, runs it once on golden inputs for the self-test\n"
        "that travels with it, signs the list of all files with keys that stay on this machine,\n"
        "and uploads. No device gets it before 'promote' or 'rollout' says so.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run_push,
};
