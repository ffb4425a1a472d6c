/* ledge preprocess: what a model expects of pictures, kept in its own metadata. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/model_io.h"
#include "image/file_bytes.h"
#include "image/preprocess.h"
#include "ledge/report.h"

#define LABELS_KEY "ledge.labels"
#define LABELS_MAX ((size_t)64 << 20)

typedef struct Options {
    bool json;
    const char *out, *labels;
} Options;

static const CliOption options[] = {
    {"output", 'o', CLI_TEXT, "FILE", "write the changed model there instead of over MODEL",
     offsetof(Options, out), 0, 0},
    {"labels", 'l', CLI_TEXT, "FILE", "set: also keep these class names in the model",
     offsetof(Options, labels), 0, 0},
    CLI_OPTION_JSON(Options),
};

static int print_description(const char *path, const char *from, const LedgePreprocess *pre)
{
    char *text = ledge__preprocess_to_json(pre);
    if (!text)
        return cli_fail_with(path, LEDGE_ERROR_MEMORY, "out of memory");
    json_t *o = json_pack("{s:o, s:s, s:o}", "model", cli_json_text(path), "from", from,
                          "preprocess", json_loads(text, 0, NULL));
    free(text);
    return cli_print_json(o);
}

static int show(const char *path, const Options *o)
{
    LedgeError err = {0};
    LedgeModel *m = NULL;
    LedgePreprocess pre;
    const char *from = NULL;
    if (ledge_model_load(path, NULL, &err, &m))
        return cli_fail(path, &err);
    if (!ledge_model_input_count(m)) {
        ledge_model_free(m);
        return cli_fail_with(path, LEDGE_ERROR_SHAPE, "the model has no inputs");
    }
    LedgeStatus status = ledge__preprocess_for_model(m, 0, NULL, &err, &pre, &from);
    int code = status ? cli_fail(path, &err) : CLI_GO;
    if (code == CLI_GO && !o->json && strcmp(from, "default") == 0)
        cli_warn("%s carries no description; this is what 'ledge run' takes in its place", path);
    if (code == CLI_GO)
        code = print_description(path, from, &pre);
    ledge_model_free(m);
    return code;
}

static int set_labels(const char *out, const char *labels)
{
    LedgeError err = {0};
    uint8_t *bytes = NULL;
    size_t size;
    if (ledge__file_bytes(NULL, labels, LABELS_MAX, &err, &bytes, &size))
        return cli_fail(labels, &err);
    const int code = cli_set_metadata(out, out, LABELS_KEY, (const char *)bytes);
    ledge__free(NULL, bytes);
    return code;
}

static int set(const char *path, const char *what, const Options *o)
{
    LedgeError err = {0};
    LedgePreprocess pre;
    const char *out = o->out ? o->out : path;
    if (ledge__preprocess_parse(what, &err, &pre))
        return cli_fail(NULL, &err);
    char *text = ledge__preprocess_to_json(&pre);
    if (!text)
        return cli_fail_with(path, LEDGE_ERROR_MEMORY, "out of memory");
    int code = cli_set_metadata(path, out, LEDGE_PREPROCESS_KEY, text);
    free(text);
    if (code == CLI_GO && o->labels)
        code = set_labels(out, o->labels);
    if (code != CLI_GO)
        return code;
    if (o->json)
        return print_description(out, "option", &pre);
    printf("%s now says how to prepare its pictures%s\n", cli_clean(out),
           o->labels ? " and what its classes are called" : "");
    return cli_finish();
}

static int run(const CliCommand *c, int argc, char **argv)
{
    static const char *const verbs[] = {"set", "show"};
    Options o = {0};
    CliArgs args;
    int code = cli_parse(c, argc, argv, 2, 3, &o, &args);
    if (code != CLI_GO)
        return code;
    const char *verb = args.items[0];
    if (strcmp(verb, "show") == 0 && args.n == 2) {
        code = show(args.items[1], &o);
    } else if (strcmp(verb, "set") == 0 && args.n == 3) {
        code = set(args.items[1], args.items[2], &o);
    } else if (strcmp(verb, "set") == 0) {
        code = cli_usage(c, "set takes a model and a preset or JSON file");
    } else if (strcmp(verb, "show") == 0) {
        code = cli_usage(c, "show takes one model");
    } else {
        const char *near = cli_nearest(verb, verbs, 2);
        code = cli_usage(c, "'%s' is neither set nor show%s%s%s", cli_clean(verb),
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    cli_args_free(&args);
    return code;
}

const CliCommand cli_preprocess = {
    .name = "preprocess",
    .arguments = "set MODEL PRESET|FILE.json | show MODEL",
    .summary = "keep in a model how its pictures are to be prepared, or show it",
    .description =
        "'set' writes the description (a preset: imagenet, tf, caffe, none; or a JSON file) into\n"
        "the model's metadata, where run, eval and serve find it. 'show' prints what a model\n"
        "says, fitted to its input.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
