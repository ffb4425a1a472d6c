/* ledge key: makes and shows the Ed25519 keys that certificates and fleets are signed with, and the
 * X25519 keys that samples of inputs are sealed to. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "trust/key.h"
#include "trust/seal.h"

typedef struct Options {
    bool json;
    const char *type;
} Options;

static const CliOption options[] = {
    {"type", 0, CLI_TEXT, "TYPE", "new: 'signing', or 'sampling' for inputs that devices keep",
     offsetof(Options, type), 0, 0},
    CLI_OPTION_JSON(Options),
};

static json_t *key_json(const LedgeKey *key, const char *private_file, const char *public_file)
{
    char *pem = ledge__key_public_pem(key);
    json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:o}", "keyid", ledge__key_id(key), "private",
                          private_file ? cli_json_text(private_file) : json_null(), "public",
                          public_file ? cli_json_text(public_file) : json_null(), "key",
                          ledge__key_json(key), "pem", pem ? cli_json_text(pem) : json_null());
    free(pem);
    return o;
}

static const char *file_of(const char *name, const char *ending)
{
    static char paths[2][4100];
    char *path = paths[ending[1] == 'p'];
    snprintf(path, sizeof paths[0], "%s%s", name, ending);
    return path;
}

/* Takes json; NULL: in words. */
static int announce(const char *id, const char *name, const char *whoever_has_it,
                    const char *whoever_is_to, json_t *json)
{
    if (json)
        return cli_print_json(json);
    printf("key id   %s\nprivate  %s  (keep it offline: who has it %s)\n"
           "public   %s  (give it to whoever is to %s)\n",
           id, cli_clean(file_of(name, ".key")), whoever_has_it, cli_clean(file_of(name, ".pub")),
           whoever_is_to);
    return cli_finish();
}

static int make_signing(const char *name, const Options *o)
{
    LedgeError err = {0};
    LedgeKey *key = NULL;
    if (ledge__key_new(&err, &key))
        return cli_fail(NULL, &err);
    const int code =
        ledge__key_save(key, name, &err)
            ? cli_fail_writing(NULL, &err)
            : announce(ledge__key_id(key), name, "signs in your name", "check",
                       o->json ? key_json(key, file_of(name, ".key"), file_of(name, ".pub"))
                               : NULL);
    ledge__key_free(key);
    return code;
}

static json_t *seal_json(const LedgeSealKey *key, const char *private_file, const char *public_file)
{
    char *pem = ledge__seal_key_public_pem(key);
    json_t *o =
        json_pack("{s:s, s:s, s:o, s:o, s:o}", "keyid", ledge__seal_key_id(key), "type", "sampling",
                  "private", private_file ? cli_json_text(private_file) : json_null(), "public",
                  public_file ? cli_json_text(public_file) : json_null(), "pem",
                  pem ? cli_json_text(pem) : json_null());
    free(pem);
    return o;
}

static int make_sampling(const char *name, const Options *o)
{
    LedgeError err = {0};
    LedgeSealKey *key = NULL;
    if (ledge__seal_key_new(&err, &key))
        return cli_fail(NULL, &err);
    const int code =
        ledge__seal_key_save(key, name, &err)
            ? cli_fail_writing(NULL, &err)
            : announce(ledge__seal_key_id(key), name, "reads all samples", "seal",
                       o->json ? seal_json(key, file_of(name, ".key"), file_of(name, ".pub"))
                               : NULL);
    ledge__seal_key_free(key);
    return code;
}

static int make(const CliCommand *c, const char *name, const Options *o)
{
    const char *slash = strrchr(name, '/');
    const bool samples = o->type && strcmp(o->type, "sampling") == 0;
    if (o->type && !samples && strcmp(o->type, "signing") != 0)
        return cli_usage(c, "--type is 'signing' or 'sampling', not '%s'", cli_clean(o->type));
    if (slash ? !slash[1] : !name[0])
        return cli_fail_with(name, LEDGE_ERROR_ARGUMENT, "a key needs a name");
    return samples ? make_sampling(name, o) : make_signing(name, o);
}

/* What is no signing key may be one for samples; the error of the former is the one to tell. */
static int show_sampling(const char *path, const Options *o, const LedgeError *why)
{
    LedgeError err = {0};
    LedgeSealKey *key = NULL;
    if (ledge__seal_key_load(path, &err, &key))
        return cli_fail(path, why);
    char *pem = ledge__seal_key_public_pem(key);
    int code = CLI_OK;
    if (o->json) {
        const bool is_private = ledge__seal_key_is_private(key);
        code = cli_print_json(seal_json(key, is_private ? path : NULL, is_private ? NULL : path));
    } else {
        printf("key id   %s\nkind     X25519, for samples, %s\n%s", ledge__seal_key_id(key),
               ledge__seal_key_is_private(key) ? "private; its public part:" : "public:",
               pem ? pem : "");
        code = cli_finish();
    }
    free(pem);
    ledge__seal_key_free(key);
    return code;
}

static int show(const char *path, const Options *o)
{
    LedgeError err = {0};
    LedgeKey *key = NULL;
    if (ledge__key_load(path, &err, &key))
        return err.status == LEDGE_ERROR_UNSUPPORTED ? show_sampling(path, o, &err)
                                                     : cli_fail(path, &err);
    const bool is_private = ledge__key_is_private(key);
    char *pem = ledge__key_public_pem(key);
    int code = pem ? CLI_OK : cli_fail_with(path, LEDGE_ERROR_MEMORY, "out of memory");
    if (pem && o->json) {
        code = cli_print_json(key_json(key, is_private ? path : NULL, is_private ? NULL : path));
    } else if (pem) {
        printf("key id   %s\nkind     Ed25519, %s\n%s", ledge__key_id(key),
               is_private ? "private; its public part:" : "public:", pem);
        code = cli_finish();
    }
    free(pem);
    ledge__key_free(key);
    return code;
}

static int run(const CliCommand *c, int argc, char **argv)
{
    static const char *const verbs[] = {"new", "show"};
    Options o = {0};
    CliArgs args;
    int code = cli_parse(c, argc, argv, 2, 2, &o, &args);
    if (code != CLI_GO)
        return code;
    const char *verb = args.items[0];
    if (strcmp(verb, "new") == 0) {
        code = make(c, args.items[1], &o);
    } else if (strcmp(verb, "show") == 0) {
        code = show(args.items[1], &o);
    } else {
        const char *near = cli_nearest(verb, verbs, 2);
        code = cli_usage(c, "'%s' is neither new nor show%s%s%s", cli_clean(verb),
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    cli_args_free(&args);
    return code;
}

const CliCommand cli_key = {
    .name = "key",
    .arguments = "new NAME | show FILE",
    .summary = "make or show the keys that releases are signed with and samples sealed to",
    .description =
        "'new' makes an Ed25519 key pair: NAME.key (private, readable by you alone) and NAME.pub.\n"
        "'--type sampling' makes an X25519 pair: devices seal inputs to NAME.pub, NAME.key opens "
        "them.\n"
        "Files that are there are never replaced. 'show' prints the key id and the public part.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
