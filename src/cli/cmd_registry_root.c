/* ledge registry root: the next root, with other keys or a later date, signed offline by the
 * present one's keys and its own; and handing it to the registry. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/out_file.h"
#include "cli/registry_cli.h"
#include "fleet/protocol/tuf_meta.h"
#include "image/file_bytes.h"

#define DAY ((int64_t)86400)

typedef struct Options {
    RegistryClient client;
    bool json, publish;
    int64_t days, thresholds[LEDGE_TUF_ROLE_COUNT];
    const char *out, *reason;
    CliList keys, role_keys[LEDGE_TUF_ROLE_COUNT];
} Options;

#define ROLE_KEYS(name, ROLE)                                                                      \
    {name "-key",                                                                                  \
     0,                                                                                            \
     CLI_LIST,                                                                                     \
     "FILE",                                                                                       \
     "in place of its keys; public ones are enough",                                               \
     offsetof(Options, role_keys[LEDGE_TUF_##ROLE]),                                               \
     0,                                                                                            \
     0},                                                                                           \
    {                                                                                              \
        name "-threshold", 0, CLI_INT, "N", "how many of them sign (as it was)",                   \
            offsetof(Options, thresholds[LEDGE_TUF_##ROLE]), 1, 32                                 \
    }

static const CliOption options[] = {
    {"key", 'k', CLI_LIST, "FILE", "private key that signs: of the present root, and of the next",
     offsetof(Options, keys), 0, 0},
    ROLE_KEYS("root", ROOT),
    ROLE_KEYS("targets", TARGETS),
    ROLE_KEYS("snapshot", SNAPSHOT),
    ROLE_KEYS("timestamp", TIMESTAMP),
    {"days", 0, CLI_INT, "N", "days until it expires (365)", offsetof(Options, days), 1, 3650},
    {"output", 'o', CLI_TEXT, "FILE", "where the next root goes", offsetof(Options, out), 0, 0},
    {"publish", 0, CLI_FLAG, NULL, "hand it to the registry too", offsetof(Options, publish), 0, 0},
    {"reason", 0, CLI_TEXT, "TEXT", "why: it goes into the audit log", offsetof(Options, reason), 0,
     0},
    REGISTRY_CLIENT_OPTIONS(Options),
    CLI_OPTION_JSON(Options),
};

typedef struct Next {
    Options *o;
    LedgeTufMeta present;
    LedgeTufKeys keys[LEDGE_TUF_ROLE_COUNT], signers;
    char *text;
    size_t size;
    int64_t version;
} Next;

static int load_list(const CliList *files, LedgeTufKeys *out)
{
    LedgeError err = {0};
    for (size_t i = 0; i < files->n; i++, out->n++) {
        if (out->n == LEDGE_TUF_KEYS)
            return cli_fail_with(files->items[i], LEDGE_ERROR_LIMIT, "is one key too many");
        if (ledge__key_load(files->items[i], &err, &out->keys[out->n]))
            return cli_fail(files->items[i], &err);
    }
    return CLI_GO;
}

static int load_present(Next *n, const char *path)
{
    LedgeError err = {0};
    uint8_t *bytes = NULL;
    size_t size;
    if (ledge__file_bytes(NULL, path, ledge__tuf_role_max(LEDGE_TUF_ROOT), &err, &bytes, &size))
        return cli_fail(path, &err);
    LedgeStatus status = ledge__tuf_parse(LEDGE_TUF_ROOT, bytes, size, &err, &n->present);
    ledge__free(NULL, bytes);
    if (!status)
        status = ledge__tuf_verify(&n->present, &n->present, &err);
    return status ? cli_fail(path, &err) : CLI_GO;
}

/* Roles that no option names stay as they are. */
static int gather(Next *n)
{
    LedgeError err = {0};
    for (int r = 0; r < LEDGE_TUF_ROLE_COUNT; r++) {
        LedgeTufKeys present = {0};
        if (ledge__tuf_keys(&n->present, (LedgeTufRole)r, &err, &present))
            return cli_fail(NULL, &err);
        int code = CLI_GO;
        if (n->o->role_keys[r].n) {
            code = load_list(&n->o->role_keys[r], &n->keys[r]);
            n->keys[r].threshold =
                n->o->thresholds[r] ? (size_t)n->o->thresholds[r] : present.threshold;
            ledge__tuf_keys_free(&present);
        } else {
            n->keys[r] = present;
            if (n->o->thresholds[r])
                n->keys[r].threshold = (size_t)n->o->thresholds[r];
        }
        if (code != CLI_GO)
            return code;
        if (n->keys[r].threshold > n->keys[r].n)
            return cli_fail_with(
                NULL, LEDGE_ERROR_ARGUMENT, "the %s needs %zu keys, and %zu are named",
                ledge__tuf_role_name((LedgeTufRole)r), n->keys[r].threshold, n->keys[r].n);
    }
    return load_list(&n->o->keys, &n->signers);
}

static int make(Next *n)
{
    LedgeError err = {0};
    json_t *envelope = NULL;
    LedgeTufMeta next = {0};
    n->version = n->present.version + 1;
    json_t *content =
        ledge__tuf_make_root(n->version, (int64_t)time(NULL) + n->o->days * DAY, n->keys);
    LedgeStatus status =
        content ? ledge__envelope_make(content, (const LedgeKey *const *)n->signers.keys,
                                       n->signers.n, &err, &envelope)
                : LEDGE_ERROR_MEMORY;
    json_decref(content);
    if (!status)
        status = ledge__tuf_text(envelope, &err, &n->text, &n->size, NULL);
    json_decref(envelope);
    if (!status)
        status = ledge__tuf_parse(LEDGE_TUF_ROOT, n->text, n->size, &err, &next);
    if (!status)
        status = ledge__tuf_verify(&n->present, &next, &err); /* devices ask for both */
    if (!status)
        status = ledge__tuf_verify(&next, &next, &err);
    ledge__tuf_meta_free(&next);
    return status ? cli_fail("the next root", &err) : CLI_GO;
}

static int save(const Next *n)
{
    LedgeError err = {0};
    LedgeOutFile *f = NULL;
    LedgeStatus status = ledge__out_file_open(NULL, n->o->out, &err, &f);
    if (!status) {
        status = ledge__out_file_write(f, n->text, n->size, &err);
        if (status)
            ledge__out_file_abort(f);
        else
            status = ledge__out_file_commit(f, &err);
    }
    return status ? cli_fail_writing(n->o->out, &err) : CLI_GO;
}

static int publish(Next *n)
{
    json_t *answer = NULL, *body = json_pack("{s:s, s:s}", "root", n->text, "reason",
                                             n->o->reason ? n->o->reason : "");
    const int code = registry_do(&n->o->client, "POST", "/v1/admin/root", body, &answer);
    json_decref(body);
    json_decref(answer);
    return code;
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Options o = {.days = 365};
    CliArgs args;
    Next n = {.o = &o};
    int code = cli_parse(c, argc, argv, 1, 1, &o, &args);
    if (code != CLI_GO)
        return code;
    if (!o.keys.n || (!o.out && !o.publish))
        code = cli_usage(c, "name the keys that sign (--key), and say -o FILE or --publish");
    if (code == CLI_GO)
        code = load_present(&n, args.items[0]);
    if (code == CLI_GO)
        code = gather(&n);
    if (code == CLI_GO)
        code = make(&n);
    if (code == CLI_GO && o.out)
        code = save(&n);
    if (code == CLI_GO && o.publish)
        code = publish(&n);
    if (code == CLI_GO && o.json) {
        code = cli_print_json(
            json_pack("{s:I, s:b}", "version", (json_int_t)n.version, "published", o.publish));
    } else if (code == CLI_GO) {
        printf("root %lld is signed%s\n", (long long)n.version, o.publish ? " and published" : "");
        code = cli_finish();
    }
    for (int r = 0; r < LEDGE_TUF_ROLE_COUNT; r++)
        ledge__tuf_keys_free(&n.keys[r]);
    ledge__tuf_keys_free(&n.signers);
    ledge__tuf_meta_free(&n.present);
    free(n.text);
    registry_client_free(&o.client);
    cli_args_free(&args);
    return code;
}

const CliCommand registry_root = {
    .name = "registry root",
    .arguments = "ROOT.json --key FILE... [-o FILE] [--publish]",
    .summary = "sign the next root: other keys, another threshold, a later date",
    .description =
        "Takes the present root and makes the next. It must be signed by as many keys of the\n"
        "present root as that asks for, and by as many of its own; devices follow from one to the\n"
        "next. What no option names stays as it is.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
