/* The verbs that ask a running registry: list, show, promote, retire, gc, devices, groups, rollout,
 * token, audit, events. Each is an address, a body, and a table. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/registry_cli.h"
#include "fleet/registry/store.h"
#include "image/file_bytes.h"

typedef struct Options {
    RegistryClient client;
    bool json, dry_run, verify, shadow, strict;
    int64_t limit, priority, grace;
    const char *reason, *alias, *role, *device, *note, *plan, *group, *when, *fallback, *block;
    CliList labels, steps;
} Options;

#define OPT(name_, letter_, kind_, value_, help_, field_)                                          \
    {                                                                                              \
        name_, letter_, kind_, value_, help_, offsetof(Options, field_), 0, INT64_MAX              \
    }
#define REASON OPT("reason", 0, CLI_TEXT, "TEXT", "why: it goes into the audit log", reason)
#define COMMON REGISTRY_CLIENT_OPTIONS(Options), CLI_OPTION_JSON(Options)

typedef struct Verb {
    const CliCommand *command;
    Options o;
    CliArgs args;
    json_t *body, *out;
} Verb;

/* Parses, lets `ask` do its part, and prints what came as JSON where that is wanted. */
static int run_verb(const CliCommand *c, int argc, char **argv, size_t least, size_t most,
                    int (*ask)(Verb *v))
{
    Verb v = {.command = c, .o = {.limit = 100, .priority = 10, .grace = 86400}};
    int code = cli_parse(c, argc, argv, least, most, &v.o, &v.args);
    if (code != CLI_GO)
        return code;
    v.body = json_object();
    if (v.o.reason)
        (void)json_object_set_new(v.body, "reason", json_string(v.o.reason));
    code = ask(&v);
    if (code == CLI_GO && v.o.json) {
        code = cli_print_json(v.out);
        v.out = NULL;
    } else if (code == CLI_GO) {
        code = cli_finish();
    }
    json_decref(v.body);
    json_decref(v.out);
    registry_client_free(&v.o.client);
    cli_args_free(&v.args);
    return code;
}

/* A verb of that name, of which ask_NAME and NAME_options are there. */
#define VERB(name_, least_, most_, arguments_, summary_, description_)                             \
    static int run_##name_(const CliCommand *c, int argc, char **argv)                             \
    {                                                                                              \
        return run_verb(c, argc, argv, least_, most_, ask_##name_);                                \
    }                                                                                              \
    const CliCommand registry_##name_ = {                                                          \
        .name = "registry " #name_,                                                                \
        .arguments = arguments_,                                                                   \
        .summary = summary_,                                                                       \
        .description = description_,                                                               \
        .options = name_##_options,                                                                \
        .n_options = sizeof name_##_options / sizeof *name_##_options,                             \
        .run = run_##name_,                                                                        \
    }

static const char *arg(const Verb *v, size_t i)
{
    return i < v->args.n ? v->args.items[i] : "";
}

static void put(Verb *v, const char *key, const char *value)
{
    if (value)
        (void)json_object_set_new(v->body, key, json_string(value));
}

static int ask(Verb *v, const char *method, const char *path)
{
    return registry_do(&v->o.client, method, path, strcmp(method, "GET") == 0 ? NULL : v->body,
                       &v->out);
}

#define TABLE(v, key, ...)                                                                         \
    do {                                                                                           \
        static const RegistryColumn columns_[] = {__VA_ARGS__};                                    \
        if (!(v)->o.json)                                                                          \
            registry_table(json_object_get((v)->out, key), columns_,                               \
                           sizeof columns_ / sizeof *columns_);                                    \
    } while (0)

/* ---- models ---- */

static const CliOption list_options[] = {COMMON}, show_options[] = {COMMON};

static int ask_list(Verb *v)
{
    int code = ask(v, "GET", "/v1/admin/models");
    if (code == CLI_GO) {
        TABLE(v, "versions", {"model", "model"}, {"version", "version"}, {"state", "state"},
              {"created", "created"}, {"bytes", "bytes"}, {"devices", "devices"},
              {"forced", "forced"});
        if (!v->o.json && json_array_size(json_object_get(v->out, "aliases")))
            printf("\n");
        if (json_array_size(json_object_get(v->out, "aliases")))
            TABLE(v, "aliases", {"model", "model"}, {"alias", "alias"}, {"version", "version"},
                  {"previous", "before"}, {"changed", "changed"});
    }
    return code;
}

VERB(list, 0, 0, "", "models, versions and aliases",
     "Lists every version of every model, and what the aliases name.");

static int ask_show(Verb *v)
{
    char path[1800];
    snprintf(path, sizeof path, "/v1/admin/models/%s/%s", registry_word(arg(v, 0)),
             registry_word(arg(v, 1)));
    int code = ask(v, "GET", path);
    if (code == CLI_GO && !v->o.json) {
        printf("%s %s, %s, pushed %s, %s\n", cli_clean(arg(v, 0)), cli_clean(arg(v, 1)),
               json_string_value(json_object_get(v->out, "state")),
               registry_time(json_integer_value(json_object_get(v->out, "created"))),
               json_integer_value(json_object_get(v->out, "forced")) ? "without a certificate"
                                                                     : "certified");
        TABLE(v, "files", {"role", "role"}, {"path", "path"}, {"length", "bytes"}, {"arch", "arch"},
              {"level", "level"}, {"sha256", "sha256"});
    }
    return code;
}

VERB(show, 2, 2, "MODEL VERSION", "one version: its files, certificate and aliases",
     "Shows what a version consists of; --json has the certificate too.");

static const CliOption promote_options[] = {
    OPT("alias", 'a', CLI_TEXT, "NAME", "the alias to move (champion)", alias), REASON, COMMON};

static int ask_promote(Verb *v)
{
    char path[1000];
    put(v, "version", arg(v, 1));
    put(v, "alias", v->o.alias);
    snprintf(path, sizeof path, "/v1/admin/models/%s/promote", registry_word(arg(v, 0)));
    int code = ask(v, "POST", path);
    if (code == CLI_GO && !v->o.json)
        printf("%s of %s is now %s\n", json_string_value(json_object_get(v->out, "alias")),
               cli_clean(arg(v, 0)), cli_clean(arg(v, 1)));
    return code;
}

VERB(promote, 2, 2, "MODEL VERSION", "let an alias name a version, for all devices at once",
     "Moves an alias. Devices that run the model by it get the version with their next\n"
     "poll; 'ledge registry rollout' does it step by step.");

static const CliOption retire_options[] = {REASON, COMMON};

static int ask_retire(Verb *v)
{
    char path[1000];
    put(v, "version", arg(v, 1));
    snprintf(path, sizeof path, "/v1/admin/models/%s/retire", registry_word(arg(v, 0)));
    int code = ask(v, "POST", path);
    if (code == CLI_GO && !v->o.json)
        printf("%s %s is retired\n", cli_clean(arg(v, 0)), cli_clean(arg(v, 1)));
    return code;
}

VERB(retire, 2, 2, "MODEL VERSION", "a version that no device is to get any more",
     "Refused while an alias or a rollout needs it. Its files go with the next 'gc'.");

static const CliOption gc_options[] = {
    OPT("dry-run", 'n', CLI_FLAG, NULL, "only say what would go", dry_run),
    OPT("grace", 0, CLI_INT, "S", "seconds that a file is left alone after its upload (86400)",
        grace),
    REASON, COMMON};

static int ask_gc(Verb *v)
{
    (void)json_object_set_new(v->body, "dry_run", json_boolean(v->o.dry_run));
    (void)json_object_set_new(v->body, "grace_s", json_integer(v->o.grace));
    int code = ask(v, "POST", "/v1/admin/gc");
    if (code == CLI_GO && !v->o.json)
        printf("%zu files, %s%s\n", json_array_size(json_object_get(v->out, "removed")),
               cli_bytes((uint64_t)json_integer_value(json_object_get(v->out, "bytes"))),
               v->o.dry_run ? " would go" : " removed");
    return code;
}

VERB(gc, 0, 0, "", "remove files that no version needs",
     "Removes files that belong to no version that is not retired, and what registries that were\n"
     "killed during an upload left at the files' place, a day old at least.");

/* ---- devices and groups ---- */

static const CliOption devices_options[] = {
    OPT("limit", 0, CLI_INT, "N", "at most so many (100)", limit),
    OPT("label", 'l', CLI_LIST, "KEY=VALUE",
        "labels that it shall have from now on, in place of those set before", labels),
    OPT("state", 0, CLI_TEXT, "blocked|active", "a blocked device is refused", block), REASON,
    COMMON};

static int put_labels(Verb *v, const char *key)
{
    json_t *o = json_object();
    for (size_t i = 0; i < v->o.labels.n; i++) {
        const char *text = v->o.labels.items[i], *is = strchr(text, '=');
        char name[100];
        if (!is || is == text || (size_t)(is - text) >= sizeof name) {
            json_decref(o);
            return cli_usage(v->command, "a label is KEY=VALUE, not '%s'", cli_clean(text));
        }
        snprintf(name, sizeof name, "%.*s", (int)(is - text), text);
        (void)json_object_set_new(o, name, json_string(is + 1));
    }
    (void)json_object_set_new(v->body, key, o);
    return CLI_GO;
}

static int ask_devices(Verb *v)
{
    char path[1000];
    int code = CLI_GO;
    const bool changes = v->o.labels.n || v->o.block;
    if (changes && !v->args.n)
        code = cli_usage(v->command, "name the device to change");
    if (code == CLI_GO && v->o.labels.n)
        code = put_labels(v, "labels");
    put(v, "state", v->o.block);
    if (v->args.n)
        snprintf(path, sizeof path, "/v1/admin/devices/%s", registry_word(arg(v, 0)));
    else
        snprintf(path, sizeof path, "/v1/admin/devices?limit=%lld", (long long)v->o.limit);
    if (code == CLI_GO)
        code = ask(v, changes ? "POST" : "GET", path);
    if (code == CLI_GO && !v->args.n)
        TABLE(v, "devices", {"name", "device"}, {"state", "state"}, {"last_seen", "last seen"},
              {"arch", "arch"}, {"level", "level"}, {"labels", "labels"}, {"queued", "queued"},
              {"skew_ms", "skew ms"});
    if (code == CLI_GO && v->args.n && !v->o.json) {
        printf("%s: %s, last seen %s\n", cli_clean(arg(v, 0)),
               json_string_value(json_object_get(v->out, "state")),
               registry_time(json_integer_value(json_object_get(v->out, "last_seen"))));
        TABLE(v, "models", {"model", "model"}, {"version", "version"}, {"state", "state"},
              {"samples", "samples"}, {"errors", "errors"}, {"p90_us", "p90 us"},
              {"reason", "reason"});
    }
    return code;
}

VERB(devices, 0, 1, "[DEVICE]", "devices, what they run and how they fare; labels, blocking",
     "Lists devices, or shows one. --label and --state change it.");

static const CliOption groups_options[] = {
    OPT("label", 'l', CLI_LIST, "KEY=VALUE",
        "the group is of devices with this label; may be repeated", labels),
    OPT("priority", 0, CLI_INT, "N", "which group decides where several run a model (10)",
        priority),
    OPT("alias", 'a', CLI_TEXT, "NAME", "by which alias it runs the model (champion)", alias),
    OPT("when", 0, CLI_TEXT, "WHEN", "now, idle, or hours such as 22:00-04:00", when),
    OPT("fallback", 0, CLI_TEXT, "MODEL=VERSION", "what runs where the model fails", fallback),
    OPT("strict", 0, CLI_FLAG, NULL, "this version or none", strict),
    REASON,
    COMMON};

static int put_assignment(Verb *v)
{
    put(v, "alias", v->o.alias);
    put(v, "when", v->o.when);
    (void)json_object_set_new(v->body, "strict", json_boolean(v->o.strict));
    if (!v->o.fallback)
        return CLI_GO;
    const char *is = strchr(v->o.fallback, '=');
    if (!is)
        return cli_usage(v->command, "--fallback takes MODEL=VERSION");
    (void)json_object_set_new(v->body, "fallback",
                              json_pack("{s:s#, s:s}", "name", v->o.fallback,
                                        (int)(is - v->o.fallback), "version", is + 1));
    return CLI_GO;
}

static int ask_groups(Verb *v)
{
    char path[1800] = "/v1/admin/groups";
    const char *method = "GET";
    int code = CLI_GO;
    const char *what = arg(v, 0);
    if (strcmp(what, "set") == 0 && v->args.n == 2) {
        method = "PUT";
        code = put_labels(v, "selector");
        (void)json_object_set_new(v->body, "priority", json_integer(v->o.priority));
        snprintf(path, sizeof path, "/v1/admin/groups/%s", registry_word(arg(v, 1)));
    } else if (strcmp(what, "drop") == 0 && v->args.n == 2) {
        method = "DELETE";
        snprintf(path, sizeof path, "/v1/admin/groups/%s", registry_word(arg(v, 1)));
    } else if ((strcmp(what, "assign") == 0 || strcmp(what, "unassign") == 0) && v->args.n == 3) {
        method = what[0] == 'a' ? "PUT" : "DELETE";
        code = what[0] == 'a' ? put_assignment(v) : CLI_GO;
        snprintf(path, sizeof path, "/v1/admin/groups/%s/models/%s", registry_word(arg(v, 1)),
                 registry_word(arg(v, 2)));
    } else if (v->args.n) {
        code = cli_usage(
            v->command,
            "it takes nothing, set GROUP, drop GROUP, assign GROUP MODEL, or unassign GROUP MODEL");
    }
    if (code == CLI_GO)
        code = ask(v, method, path);
    if (code == CLI_GO) {
        TABLE(v, "groups", {"name", "group"}, {"priority", "priority"},
              {"selector", "devices with"});
        TABLE(v, "assignments", {"grp", "group"}, {"model", "model"}, {"alias", "alias"},
              {"moment", "when"}, {"fallback_model", "fallback"}, {"fallback_version", "version"},
              {"strict", "strict"});
    }
    return code;
}

VERB(groups, 0, 3, "[set GROUP | drop GROUP | assign GROUP MODEL | unassign GROUP MODEL]",
     "groups of devices by their labels, and the models they run",
     "Without words it lists them. A device is in every group whose labels it has; where\n"
     "several run a model, the group of the highest priority decides. 'all' is everybody.");

/* ---- rollouts ---- */

static const CliOption rollout_options[] = {
    OPT("group", 'g', CLI_TEXT, "NAME", "the group to go through (all)", group),
    OPT("plan", 'p', CLI_TEXT, "FILE",
        "steps and gates as JSON (docs/registry.md); else 1, 10, 50, 100 %", plan),
    OPT("step", 0, CLI_LIST, "PERCENT",
        "a step of the plan; may be repeated, in place of the plan's", steps),
    OPT("shadow", 0, CLI_FLAG, NULL,
        "the first step runs beside the old version and answers nobody", shadow),
    OPT("when", 0, CLI_TEXT, "WHEN", "devices switch now, idle, or in hours such as 22:00-04:00",
        when),
    OPT("limit", 0, CLI_INT, "N", "list at most so many (100)", limit),
    REASON,
    COMMON};

static int make_plan(Verb *v)
{
    LedgeError err = {0};
    uint8_t *bytes = NULL;
    size_t size;
    json_t *plan = NULL, *steps = json_array();
    if (v->o.plan) {
        if (ledge__file_bytes(NULL, v->o.plan, 1 << 20, &err, &bytes, &size)) {
            json_decref(steps);
            return cli_fail(v->o.plan, &err);
        }
        plan = json_loadb((char *)bytes, size, JSON_REJECT_DUPLICATES, NULL);
        ledge__free(NULL, bytes);
        if (!json_is_object(plan)) {
            json_decref(plan);
            json_decref(steps);
            return cli_fail_with(v->o.plan, LEDGE_ERROR_FORMAT, "is no JSON object");
        }
    }
    plan = plan ? plan : json_object();
    for (size_t i = 0; i < v->o.steps.n; i++) {
        char *rest;
        const double percent = strtod(v->o.steps.items[i], &rest);
        if (rest == v->o.steps.items[i] || *rest) {
            json_decref(plan);
            json_decref(steps);
            return cli_usage(v->command, "--step takes a percentage, not '%s'",
                             cli_clean(v->o.steps.items[i]));
        }
        json_t *step = json_pack("{s:f}", "percent", percent);
        if (i == 0 && v->o.shadow)
            (void)json_object_set_new(step, "shadow", json_true());
        (void)json_array_append_new(steps, step);
    }
    if (v->o.steps.n)
        (void)json_object_set(plan, "steps", steps);
    json_decref(steps);
    if (v->o.when)
        (void)json_object_set_new(plan, "when", json_string(v->o.when));
    (void)json_object_set_new(v->body, "plan", plan);
    return CLI_GO;
}

static void say_rollout(const json_t *r)
{
    const json_t *plan = json_object_get(r, "plan");
    printf("rollout %lld: %s %s -> %s, group %s, %s, step %lld of %zu%s%s\n",
           (long long)json_integer_value(json_object_get(r, "id")),
           cli_clean(json_string_value(json_object_get(r, "model"))),
           cli_clean(json_string_value(json_object_get(r, "from_version"))),
           cli_clean(json_string_value(json_object_get(r, "to_version"))),
           cli_clean(json_string_value(json_object_get(r, "grp"))),
           json_string_value(json_object_get(r, "state")),
           (long long)json_integer_value(json_object_get(r, "step")) + 1,
           json_array_size(json_object_get(plan, "steps")),
           json_string_length(json_object_get(r, "reason")) ? ": " : "",
           cli_clean(json_string_value(json_object_get(r, "reason"))));
    static const RegistryColumn columns[] = {
        {"name", "gate"}, {"state", "state"}, {"have", "seen"}, {"bound", "bound"}};
    const json_t *gates = json_object_get(json_object_get(r, "gates"), "gates");
    if (json_array_size(gates))
        registry_table(gates, columns, 4);
}

static int ask_rollout(Verb *v)
{
    static const char *const commands[] = {"pause", "resume", "rollback", "advance"};
    char path[1000];
    const char *method = "GET";
    int code = CLI_GO;
    const char *what = arg(v, 0);
    bool is_command = false;
    for (size_t i = 0; i < 4; i++)
        is_command |= strcmp(what, commands[i]) == 0;
    snprintf(path, sizeof path, "/v1/admin/rollouts?limit=%lld", (long long)v->o.limit);
    if (strcmp(what, "start") == 0 && v->args.n == 3) {
        method = "POST";
        put(v, "model", arg(v, 1));
        put(v, "version", arg(v, 2));
        put(v, "group", v->o.group);
        code = make_plan(v);
        snprintf(path, sizeof path, "/v1/admin/rollouts");
    } else if (strcmp(what, "show") == 0 && v->args.n == 2) {
        snprintf(path, sizeof path, "/v1/admin/rollouts/%s", registry_word(arg(v, 1)));
    } else if (is_command && v->args.n == 2) {
        method = "POST";
        snprintf(path, sizeof path, "/v1/admin/rollouts/%s/%s", registry_word(arg(v, 1)), what);
    } else if (v->args.n) {
        code = cli_usage(v->command,
                         "it takes nothing, start MODEL VERSION, show ID, pause ID, resume ID, "
                         "rollback ID or advance ID");
    }
    if (code == CLI_GO)
        code = ask(v, method, path);
    if (code == CLI_GO && !v->args.n)
        TABLE(v, "rollouts", {"id", "id"}, {"model", "model"}, {"from_version", "from"},
              {"to_version", "to"}, {"grp", "group"}, {"state", "state"}, {"step", "step"},
              {"changed", "changed"}, {"reason", "reason"});
    else if (code == CLI_GO && !v->o.json)
        say_rollout(v->out);
    return code;
}

VERB(rollout, 0, 3,
     "[start MODEL VERSION | show ID | pause ID | resume ID | rollback ID | advance ID]",
     "bring a version to the fleet in steps, with gates between them",
     "Without words it lists them. Devices are taken in an order that is the rollout's own;\n"
     "a gate that refuses rolls all of them back (or pauses, as the plan says).");

/* ---- tokens, the log ---- */

static const CliOption token_options[] = {
    OPT("role", 'r', CLI_TEXT, "ROLE", "device, viewer, publisher, operator or admin", role),
    OPT("device", 'd', CLI_TEXT, "ID", "the one device that it is for", device),
    OPT("note", 0, CLI_TEXT, "TEXT", "whose it is", note), REASON, COMMON};

static int ask_token(Verb *v)
{
    char path[1000] = "/v1/admin/tokens";
    const char *method = "GET";
    int code = CLI_GO;
    const char *what = arg(v, 0);
    if (strcmp(what, "new") == 0 && v->args.n == 1) {
        method = "POST";
        put(v, "role", v->o.role ? v->o.role : "device");
        put(v, "device", v->o.device);
        put(v, "note", v->o.note);
    } else if (strcmp(what, "revoke") == 0 && v->args.n == 2) {
        method = "DELETE";
        snprintf(path, sizeof path, "/v1/admin/tokens/%s", registry_word(arg(v, 1)));
    } else if (v->args.n) {
        code = cli_usage(v->command, "it takes nothing, new, or revoke ID");
    }
    if (code == CLI_GO)
        code = ask(v, method, path);
    if (code == CLI_GO && !v->args.n)
        TABLE(v, "tokens", {"id", "id"}, {"role", "role"}, {"device", "device"}, {"note", "note"},
              {"created", "created"}, {"revoked", "revoked"});
    else if (code == CLI_GO && !v->o.json && method[0] == 'P')
        printf("%s\n", json_string_value(json_object_get(v->out, "token")));
    else if (code == CLI_GO && !v->o.json)
        printf("token %s is revoked\n", cli_clean(arg(v, 1)));
    return code;
}

VERB(token, 0, 2, "[new | revoke ID]", "tokens of devices and people",
     "Without words it lists them. 'new' prints a token, once: the registry keeps its hash\n"
     "alone. A token of the role device without --device lets any device enroll.");

static const CliOption audit_options[] = {
    OPT("limit", 0, CLI_INT, "N", "the newest so many (100)", limit),
    OPT("verify", 0, CLI_FLAG, NULL, "read the whole log and check the chain of its hashes",
        verify),
    COMMON};

/* Every entry's hash is its own, and names the one before. */
static int verify_page(const json_t *entries, char last[LEDGE_SHA256_HEX], int64_t *last_id)
{
    LedgeError err = {0};
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *e = json_array_get(entries, i);
        char hash[LEDGE_SHA256_HEX];
        const int64_t id = json_integer_value(json_object_get(e, "id"));
        const char *said = json_string_value(json_object_get(e, "hash")),
                   *previous = json_string_value(json_object_get(e, "previous"));
        if (ledge__audit_hash(e, &err, hash))
            return cli_fail(NULL, &err);
        if (!said || strcmp(said, hash) != 0 || !previous || strcmp(previous, last) != 0 ||
            id != *last_id + 1)
            return cli_fail_with(
                NULL, LEDGE_ERROR_MISMATCH,
                "entry %lld of the audit log was changed, or one before it is missing",
                (long long)id);
        snprintf(last, LEDGE_SHA256_HEX, "%s", hash);
        *last_id = id;
    }
    return CLI_GO;
}

static int verify_all(Verb *v)
{
    char last[LEDGE_SHA256_HEX] = "", path[100];
    int64_t id = 0;
    for (;;) {
        snprintf(path, sizeof path, "/v1/admin/audit?after=%lld&limit=1000", (long long)id);
        json_decref(v->out);
        v->out = NULL;
        int code = ask(v, "GET", path);
        if (code != CLI_GO)
            return code;
        const json_t *entries = json_object_get(v->out, "entries");
        if (!json_array_size(entries))
            break;
        code = verify_page(entries, last, &id);
        if (code != CLI_GO)
            return code;
    }
    json_decref(v->out);
    v->out = json_pack("{s:I, s:b, s:s}", "entries", (json_int_t)id, "whole", 1, "last", last);
    if (!v->o.json)
        printf("%lld entries, the chain is whole; the last one's hash is %s\n", (long long)id,
               last);
    return CLI_GO;
}

static int ask_audit(Verb *v)
{
    char path[100];
    if (v->o.verify)
        return verify_all(v);
    snprintf(path, sizeof path, "/v1/admin/audit?limit=%lld", (long long)v->o.limit);
    int code = ask(v, "GET", path);
    if (code == CLI_GO)
        TABLE(v, "entries", {"id", "id"}, {"at", "when"}, {"who", "who"}, {"action", "what"},
              {"subject", "of"}, {"reason", "why"}, {"detail", "detail"});
    return code;
}

VERB(audit, 0, 0, "", "who did what, when and why",
     "Prints the newest entries of the audit log. It can only grow, and each entry holds the\n"
     "hash of the one before: keep the last hash elsewhere, and nothing can be rewritten.");

static const CliOption events_options[] = {
    OPT("limit", 0, CLI_INT, "N", "the newest so many (100)", limit), COMMON};

static int ask_events(Verb *v)
{
    char path[100];
    snprintf(path, sizeof path, "/v1/admin/events?limit=%lld", (long long)v->o.limit);
    int code = ask(v, "GET", path);
    if (code == CLI_GO)
        TABLE(v, "events", {"received", "when"}, {"device", "device"}, {"severity", "severity"},
              {"kind", "what"}, {"model", "model"}, {"version", "version"}, {"text", "text"});
    return code;
}

VERB(events, 0, 0, "", "alerts and events that devices sent",
     "Prints the newest alerts (drift, resources) and events (switched, fell back ...).");
