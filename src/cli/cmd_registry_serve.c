/* ledge registry init and serve: a registry's folder, and the server on it.
 *
 * DIR/registry.json     where database and files are
 * DIR/keys/             the online keys of snapshot and timestamp (0600)
 * DIR/root.json         what devices are given to trust
 * DIR/admin.token       the first admin's token (0600)
 * DIR/registry.db, DIR/blobs/   unless --db and --blobs say otherwise */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/out_file.h"
#include "cli/registry_cli.h"
#include "fleet/registry/publish.h"
#include "fleet/registry/registry_server.h"
#include "image/file_bytes.h"

#define DAY       ((int64_t)86400)
#define PATH_SIZE 600
#define PEM_MAX   ((size_t)1 << 20)

/* A registry's folder, opened. */
typedef struct Folder {
    const char *path;
    char database[PATH_SIZE], where[PATH_SIZE];
    LedgeBlobs *blobs;
    LedgeKey *snapshot, *timestamp;
} Folder;

static void path_in(const char *folder, const char *name, char out[PATH_SIZE])
{
    snprintf(out, PATH_SIZE, "%s/%s", folder, name);
}

static int write_new(const char *path, const char *text, size_t size, mode_t mode)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    bool ok = fd >= 0;
    for (size_t done = 0; ok && done < size;) {
        const ssize_t n = write(fd, text + done, size - done);
        ok = n > 0;
        done += ok ? (size_t)n : 0;
    }
    ok = ok && fsync(fd) == 0 && ledge__sync_folder_of(path);
    const int why = errno;
    if (fd >= 0)
        (void)close(fd);
    if (ok)
        return CLI_GO;
    cli_fail_with(path, LEDGE_ERROR_IO, "cannot be written: %s", strerror(why));
    return CLI_FAILED;
}

static int load_key(const char *folder, const char *name, LedgeKey **out)
{
    char path[PATH_SIZE];
    LedgeError err = {0};
    path_in(folder, name, path);
    return ledge__key_load(path, &err, out) ? cli_fail(path, &err) : CLI_GO;
}

static void folder_close(Folder *f)
{
    ledge__blobs_free(f->blobs);
    ledge__key_free(f->snapshot);
    ledge__key_free(f->timestamp);
}

static int folder_open(const char *path, Folder *f)
{
    char file[PATH_SIZE];
    LedgeError err = {0};
    f->path = path;
    path_in(path, "registry.json", file);
    json_t *o = json_load_file(file, JSON_REJECT_DUPLICATES, NULL);
    const char *database = json_string_value(json_object_get(o, "database")),
               *blobs = json_string_value(json_object_get(o, "blobs"));
    if (!database || !blobs) {
        json_decref(o);
        return cli_fail_with(file, LEDGE_ERROR_NOT_FOUND,
                             "is missing or damaged; 'ledge registry init %s' makes a registry",
                             cli_clean(path));
    }
    snprintf(f->database, sizeof f->database,
             ledge__sql_is_address(database) || database[0] == '/' ? "%.0s%s" : "%s/%s", path,
             database);
    snprintf(f->where, sizeof f->where,
             strncmp(blobs, "s3://", 5) == 0 || blobs[0] == '/' ? "%.0s%s" : "%s/%s", path, blobs);
    json_decref(o);
    int code = load_key(path, "keys/snapshot.key", &f->snapshot);
    if (code == CLI_GO)
        code = load_key(path, "keys/timestamp.key", &f->timestamp);
    if (code == CLI_GO && ledge__blobs_open(f->where, &err, &f->blobs))
        code = cli_fail(f->where, &err);
    return code;
}

static LedgeStoreOptions store_options(const Folder *f)
{
    return (LedgeStoreOptions){.database = f->database,
                               .blobs = f->blobs,
                               .snapshot_key = f->snapshot,
                               .timestamp_key = f->timestamp};
}

/* ---- init ---- */

typedef struct InitOptions {
    bool json;
    int64_t root_threshold, targets_threshold, days;
    const char *database, *blobs;
    CliList root_keys, targets_keys;
} InitOptions;

static const CliOption init_options[] = {
    {"root-key", 0, CLI_LIST, "FILE", "private key of root, from 'ledge key new'; may be repeated",
     offsetof(InitOptions, root_keys), 0, 0},
    {"root-threshold", 0, CLI_INT, "N", "how many of them a root needs (1)",
     offsetof(InitOptions, root_threshold), 1, 32},
    {"targets-key", 0, CLI_LIST, "FILE", "public or private key of a publisher; may be repeated",
     offsetof(InitOptions, targets_keys), 0, 0},
    {"targets-threshold", 0, CLI_INT, "N", "how many of them a release needs (1)",
     offsetof(InitOptions, targets_threshold), 1, 32},
    {"days", 0, CLI_INT, "N", "days until the root expires (365)", offsetof(InitOptions, days), 1,
     3650},
    {"db", 0, CLI_TEXT, "WHERE", "SQLite file, or postgres://… (registry.db)",
     offsetof(InitOptions, database), 0, 0},
    {"blobs", 0, CLI_TEXT, "WHERE", "folder, or s3://BUCKET[/PREFIX]?endpoint=URL (blobs)",
     offsetof(InitOptions, blobs), 0, 0},
    CLI_OPTION_JSON(InitOptions),
};

typedef struct Init {
    const InitOptions *o;
    Folder folder;
    LedgeTufKeys keys[LEDGE_TUF_ROLE_COUNT];
    json_t *root;
    char *root_text;
    size_t root_size;
} Init;

static int load_keys(const CliList *files, int64_t threshold, LedgeTufKeys *out)
{
    LedgeError err = {0};
    if (files->n > LEDGE_TUF_KEYS || (size_t)threshold > files->n)
        return cli_fail_with(NULL, LEDGE_ERROR_ARGUMENT,
                             "a threshold of %lld needs as many keys, and there are %zu",
                             (long long)threshold, files->n);
    for (; out->n < files->n; out->n++)
        if (ledge__key_load(files->items[out->n], &err, &out->keys[out->n]))
            return cli_fail(files->items[out->n], &err);
    out->threshold = (size_t)threshold;
    return CLI_GO;
}

static int make_online_keys(const char *folder)
{
    static const char *const names[] = {"keys/snapshot", "keys/timestamp"};
    char path[PATH_SIZE];
    LedgeError err = {0};
    for (int i = 0; i < 2; i++) {
        LedgeKey *key = NULL;
        path_in(folder, names[i], path);
        if (ledge__key_new(&err, &key))
            return cli_fail(NULL, &err);
        LedgeStatus status = ledge__key_save(key, path, &err);
        ledge__key_free(key);
        if (status)
            return cli_fail_writing(path, &err);
    }
    return CLI_GO;
}

static int make_folders(const char *folder)
{
    char path[PATH_SIZE];
    path_in(folder, "keys", path);
    if (strlen(folder) > PATH_SIZE - 100)
        return cli_fail_with(NULL, LEDGE_ERROR_LIMIT, "the folder's path is too long");
    if ((mkdir(folder, 0700) != 0 && errno != EEXIST) ||
        (mkdir(path, 0700) != 0 && errno != EEXIST) || !ledge__sync_folder_of(folder)) {
        cli_fail_with(folder, LEDGE_ERROR_IO, "cannot be made: %s", strerror(errno));
        return CLI_FAILED;
    }
    return CLI_GO;
}

static int make_config(const Init *n)
{
    char path[PATH_SIZE];
    path_in(n->folder.path, "registry.json", path);
    json_t *o = json_pack("{s:s, s:s}", "database", n->o->database ? n->o->database : "registry.db",
                          "blobs", n->o->blobs ? n->o->blobs : "blobs");
    char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
    json_decref(o);
    if (!text)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    const int code = write_new(path, text, strlen(text), 0600); /* an address may hold a password */
    free(text);
    return code;
}

static int make_root(Init *n)
{
    LedgeError err = {0};
    char path[PATH_SIZE];
    n->keys[LEDGE_TUF_SNAPSHOT] =
        (LedgeTufKeys){.keys = {n->folder.snapshot}, .n = 1, .threshold = 1};
    n->keys[LEDGE_TUF_TIMESTAMP] =
        (LedgeTufKeys){.keys = {n->folder.timestamp}, .n = 1, .threshold = 1};
    json_t *content = ledge__tuf_make_root(1, (int64_t)time(NULL) + n->o->days * DAY, n->keys);
    const LedgeTufKeys *k = &n->keys[LEDGE_TUF_ROOT];
    LedgeStatus status = content ? ledge__envelope_make(content, (const LedgeKey *const *)k->keys,
                                                        k->n, &err, &n->root)
                                 : LEDGE_ERROR_MEMORY;
    json_decref(content);
    if (!status)
        status = ledge__tuf_text(n->root, &err, &n->root_text, &n->root_size, NULL);
    path_in(n->folder.path, "root.json", path);
    return status ? cli_fail(NULL, &err) : write_new(path, n->root_text, n->root_size, 0644);
}

/* Targets of no release, where all the keys that they need are at hand. */
static LedgeStatus publish_nothing(const Init *n, LedgeStore *s, LedgeError *err)
{
    const LedgeTufKeys *k = &n->keys[LEDGE_TUF_TARGETS];
    const LedgeKey *keys[LEDGE_TUF_KEYS];
    size_t have = 0;
    for (size_t i = 0; i < k->n; i++)
        if (ledge__key_is_private(k->keys[i]))
            keys[have++] = k->keys[i];
    if (have < k->threshold)
        return LEDGE_OK;
    json_t *content = ledge__tuf_make_targets(1, (int64_t)time(NULL) + 90 * DAY, json_object()),
           *envelope = NULL;
    char *text = NULL;
    size_t size;
    LedgeTufMeta targets = {0};
    LedgeStatus status =
        content ? ledge__envelope_make(content, keys, have, err, &envelope) : LEDGE_ERROR_MEMORY;
    json_decref(content);
    if (!status)
        status = ledge__tuf_text(envelope, err, &text, &size, NULL);
    if (!status)
        status = ledge__publish_targets(s, text, size, err, &targets);
    ledge__tuf_meta_free(&targets);
    json_decref(envelope);
    free(text);
    return status;
}

static LedgeStatus fill_store(const Init *n, LedgeStore *s, LedgeError *err, json_t **token)
{
    const LedgeAsk ask = {.who = "init", .role = LEDGE_ROLE_ADMIN};
    LEDGE_TRY(ledge__publish_root(s, n->root_text, n->root_size, err));
    LEDGE_TRY(publish_nothing(n, s, err));
    LEDGE_TRY(ledge__store_audit(s, "init", "registry.init", "registry", "", NULL, err));
    LEDGE_TRY(
        ledge__store_token_new(s, &ask, LEDGE_ROLE_ADMIN, NULL, "the first admin", err, token));
    return ledge__store_changed(s, err);
}

static int make_store(const Init *n)
{
    LedgeError err = {0};
    LedgeStore *s = NULL;
    json_t *token = NULL;
    char path[PATH_SIZE];
    const LedgeStoreOptions options = store_options(&n->folder);
    LedgeStatus status = ledge__store_open(&options, &err, &s);
    if (!status)
        status = ledge__store_begin(s, (int64_t)time(NULL), &err);
    if (!status) {
        status = fill_store(n, s, &err, &token);
        if (status)
            ledge__store_undo(s);
        else
            status = ledge__store_commit(s, &err);
    }
    ledge__store_close(s);
    const char *text = json_string_value(json_object_get(token, "token"));
    path_in(n->folder.path, "admin.token", path);
    int code =
        status ? cli_fail(n->folder.database, &err) : write_new(path, text, strlen(text), 0600);
    json_decref(token);
    return code;
}

static int init(Init *n)
{
    const char *folder = n->folder.path;
    char path[PATH_SIZE];
    struct stat st;
    path_in(folder, "registry.json", path);
    if (stat(path, &st) == 0) {
        cli_fail_with(path, LEDGE_ERROR_IO,
                      "is there already; a registry is not made over another");
        return CLI_FAILED;
    }
    int code = load_keys(&n->o->root_keys, n->o->root_threshold, &n->keys[LEDGE_TUF_ROOT]);
    if (code == CLI_GO)
        code = load_keys(&n->o->targets_keys, n->o->targets_threshold, &n->keys[LEDGE_TUF_TARGETS]);
    if (code == CLI_GO)
        code = make_folders(folder);
    if (code == CLI_GO)
        code = make_online_keys(folder);
    if (code == CLI_GO)
        code = make_config(n);
    if (code == CLI_GO)
        code = folder_open(folder, &n->folder);
    if (code == CLI_GO)
        code = make_root(n);
    return code == CLI_GO ? make_store(n) : code;
}

static int run_init(const CliCommand *c, int argc, char **argv)
{
    InitOptions o = {.root_threshold = 1, .targets_threshold = 1, .days = 365};
    CliArgs args;
    int code = cli_parse(c, argc, argv, 1, 1, &o, &args);
    if (code != CLI_GO)
        return code;
    Init n = {.o = &o, .folder = {.path = args.items[0]}};
    if (!o.root_keys.n || !o.targets_keys.n)
        code = cli_usage(c, "name a --root-key and a --targets-key ('ledge key new' makes them)");
    if (code == CLI_GO)
        code = init(&n);
    if (code == CLI_GO && o.json)
        code = cli_print_json(json_pack("{s:o, s:s, s:s}", "folder", cli_json_text(n.folder.path),
                                        "root", "root.json", "token", "admin.token"));
    else if (code == CLI_GO) {
        printf("%s is a registry: 'ledge registry serve %s' runs it.\n"
               "root.json    what devices are given to trust\n"
               "admin.token  the first admin's token\n"
               "Keep the keys of root and targets elsewhere, offline.\n",
               cli_clean(n.folder.path), cli_clean(n.folder.path));
        code = cli_finish();
    }
    n.keys[LEDGE_TUF_SNAPSHOT].n = n.keys[LEDGE_TUF_TIMESTAMP].n = 0; /* the folder's */
    for (int r = 0; r < LEDGE_TUF_ROLE_COUNT; r++)
        ledge__tuf_keys_free(&n.keys[r]);
    folder_close(&n.folder);
    json_decref(n.root);
    free(n.root_text);
    cli_args_free(&args);
    return code;
}

const CliCommand registry_init = {
    .name = "registry init",
    .arguments = "DIR --root-key FILE --targets-key FILE",
    .summary = "make a registry in a folder",
    .description =
        "Makes the database, the online keys, the root that devices will trust, and the first\n"
        "admin's token. The root's private keys sign here and are not kept; of publishers the\n"
        "public keys are enough.",
    .options = init_options,
    .n_options = sizeof init_options / sizeof *init_options,
    .run = run_init,
};

/* ---- serve ---- */

typedef struct ServeOptions {
    bool json, open_api, keep_raw;
    int64_t port, threads, interval, keep_days, keep_rollups, polls, connections, blob;
    const char *host, *certificate, *key, *client_ca, *public_url;
} ServeOptions;

static const CliOption serve_options[] = {
    CLI_OPTION_HOST(ServeOptions),
    CLI_OPTION_PORT(ServeOptions, "8070"),
    CLI_OPTION_TLS_CERT(ServeOptions),
    CLI_OPTION_TLS_KEY(ServeOptions),
    {"client-ca", 0, CLI_TEXT, "FILE",
     "devices may show a certificate of these authorities instead of a token",
     offsetof(ServeOptions, client_ca), 0, 0},
    {"public-url", 0, CLI_TEXT, "URL", "by which devices reach it, where a proxy stands before it",
     offsetof(ServeOptions, public_url), 0, 0},
    {"interval", 0, CLI_INT, "S", "seconds between polls (60)", offsetof(ServeOptions, interval), 1,
     86400},
    {"polls", 0, CLI_INT, "N", "polls a second that one device may make (5); 0: any number",
     offsetof(ServeOptions, polls), 0, 1000000},
    {"open-api", 0, CLI_FLAG, NULL, "older clients' two calls, and files, without a token",
     offsetof(ServeOptions, open_api), 0, 0},
    {"keep-days", 0, CLI_INT, "N", "days that records are kept (30)",
     offsetof(ServeOptions, keep_days), 1, 36500},
    {"keep-figures", 0, CLI_INT, "N", "days that figures by version and group are kept (400)",
     offsetof(ServeOptions, keep_rollups), 1, 36500},
    {"keep-raw", 0, CLI_FLAG, NULL, "batches as they came go to the files too",
     offsetof(ServeOptions, keep_raw), 0, 0},
    {"threads", 't', CLI_INT, "N", "threads for the network (2)", offsetof(ServeOptions, threads),
     1, 64},
    CLI_OPTION_CONNECTIONS(ServeOptions, "10000"),
    {"largest-file", 0, CLI_INT, "MB", "largest file in megabytes (16384)",
     offsetof(ServeOptions, blob), 1, 1 << 24},
    CLI_OPTION_JSON(ServeOptions),
};

static int read_pem(const char *path, char **out)
{
    LedgeError err = {0};
    uint8_t *bytes = NULL;
    size_t size;
    if (!path)
        return CLI_GO;
    if (ledge__file_bytes(NULL, path, PEM_MAX, &err, &bytes, &size))
        return cli_fail(path, &err);
    *out = (char *)bytes;
    return CLI_GO;
}

/* Thousands of devices are thousands of sockets. */
static void raise_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int announce(const ServeOptions *o, uint16_t port)
{
    const char *host = o->host ? o->host : "127.0.0.1";
    char url[160];
    snprintf(url, sizeof url, strchr(host, ':') ? "%s://[%s]:%u/" : "%s://%s:%u/",
             o->certificate ? "https" : "http", host, port);
    if (o->json)
        return cli_print_json(json_pack("{s:s, s:i}", "url", url, "port", (int)port));
    printf("the registry is on %s  (Ctrl-C ends it)\n", url);
    return cli_finish();
}

static int serve(const ServeOptions *o, Folder *f, char *const pem[3])
{
    LedgeError err = {0};
    LedgeRegistry *r = NULL;
    sigset_t set;
    int got;
    LedgeRegistryOptions how = {.host = o->host,
                                .port = (uint16_t)o->port,
                                .threads = (int)o->threads,
                                .connections = (uint32_t)o->connections,
                                .certificate = pem[0],
                                .key = pem[1],
                                .client_ca = pem[2],
                                .public_url = o->public_url,
                                .open_api = o->open_api,
                                .polls_per_s = o->polls ? o->polls : -1,
                                .blob_limit = (uint64_t)o->blob << 20,
                                .store = store_options(f)};
    how.store.interval_s = o->interval;
    how.store.keep_days = o->keep_days;
    how.store.keep_rollup_days = o->keep_rollups;
    how.store.keep_raw = o->keep_raw;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* before there are threads, which inherit it */
    raise_files();
    if (ledge__registry_start(&how, &err, &r))
        return cli_fail_with(err.where, err.status, "%s", err.message);
    int code = announce(o, ledge__registry_port(r));
    if (code == CLI_OK)
        (void)sigwait(&set, &got);
    ledge__registry_stop(r);
    return code;
}

static int run_serve(const CliCommand *c, int argc, char **argv)
{
    ServeOptions o = {.port = 8070,
                      .interval = 60,
                      .polls = 5,
                      .keep_days = 30,
                      .keep_rollups = 400,
                      .threads = 2,
                      .connections = 10000,
                      .blob = 16384};
    CliArgs args;
    Folder folder = {0};
    char *pem[3] = {NULL, NULL, NULL};
    int code = cli_parse(c, argc, argv, 1, 1, &o, &args);
    if (code != CLI_GO)
        return code;
    if (!o.certificate != !o.key)
        code = cli_usage(c, "--tls-cert and --tls-key go together");
    else if (o.client_ca && !o.certificate)
        code = cli_usage(c, "--client-ca needs --tls-cert and --tls-key");
    if (code == CLI_GO)
        code = read_pem(o.certificate, &pem[0]);
    if (code == CLI_GO)
        code = read_pem(o.key, &pem[1]);
    if (code == CLI_GO)
        code = read_pem(o.client_ca, &pem[2]);
    if (code == CLI_GO)
        code = folder_open(args.items[0], &folder);
    if (code == CLI_GO)
        code = serve(&o, &folder, pem);
    for (int i = 0; i < 3; i++)
        ledge__free(NULL, pem[i]);
    folder_close(&folder);
    cli_args_free(&args);
    return code;
}

const CliCommand registry_serve = {
    .name = "registry serve",
    .arguments = "DIR",
    .summary = "run the registry of a folder",
    .description =
        "Serves devices, the API that the other verbs use, metrics at /metrics, and a page at /.\n"
        "SIGTERM answers what was asked and ends.",
    .options = serve_options,
    .n_options = sizeof serve_options / sizeof *serve_options,
    .run = run_serve,
};
