/* ledge key: makes and shows the Ed25519 keys that certificates and fleets are signed with. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "trust/key.h"

typedef struct Options {
    bool json;
} Options;

static const CliOption options[] = {
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

static int announce(const LedgeKey *key, const char *name, bool json)
{
    char private_file[4100], public_file[4100];
    snprintf(private_file, sizeof private_file, "%s.key", name);
    snprintf(public_file, sizeof public_file, "%s.pub", name);
    if (json)
        return cli_print_json(key_json(key, private_file, public_file));
    printf("key id   %s\nprivate  %s  (keep it offline: who has it signs in your name)\n"
           "public   %s  (give it to whoever is to check)\n",
           ledge__key_id(key), cli_clean(private_file), cli_clean(public_file));
    return cli_finish();
}

static int make(const char *name, const Options *o)
{
    LedgeError err = {0};
    LedgeKey *key = NULL;
    const char *slash = strrchr(name, '/');
    if (slash ? !slash[1] : !name[0])
        return cli_fail_with(name, LEDGE_ERROR_ARGUMENT, "a key needs a name");
    if (ledge__key_new(&err, &key))
        return cli_fail(NULL, &err);
    const int code = ledge__key_save(key, name, &err) ? cli_fail_writing(NULL, &err)
                                                      : announce(key, name, o->json);
    ledge__key_free(key);
    return code;
}

static int show(const char *path, const Options *o)
{
    LedgeError err = {0};
    LedgeKey *key = NULL;
    if (ledge__key_load(path, &err, &key))
        return cli_fail(path, &err);
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
        code = make(args.items[1], &o);
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
    .summary = "make or show the keys that certificates are signed with",
    .description =
        "'new' makes an Ed25519 key pair: NAME.key (private, readable by you alone) and NAME.pub.\n"
        "Files that are there are never replaced. 'show' prints the key id and the public part.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
