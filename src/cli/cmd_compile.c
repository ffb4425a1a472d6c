/* ledge compile: a model planned and packed for a CPU, as one file to map and run. */
#include <stdlib.h>
#include <string.h>

#include "cli/model_io.h"

typedef struct Options {
    bool json;
    const char *out, *cpu;
    CliList shapes;
} Options;

static const CliOption options[] = {
    {"output", 'o', CLI_TEXT, "FILE", "the compiled model to write, usually M.ledge",
     offsetof(Options, out), 0, 0},
    CLI_OPTION_CPU(Options),
    CLI_OPTION_SHAPE(Options),
    CLI_OPTION_JSON(Options),
};

static int compile_shaped(LedgeModel *m, const Options *o)
{
    const size_t n = ledge_model_input_count(m);
    LedgeTensorInfo *infos = calloc(n + 1, sizeof *infos);
    LedgeTensor *inputs = calloc(n + 1, sizeof *inputs);
    LedgeError err = {0};
    int code = infos && inputs ? cli_shapes_apply(m, &o->shapes, infos)
                               : cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    if (code == CLI_GO) {
        for (size_t i = 0; i < n; i++) {
            inputs[i].type = infos[i].type;
            inputs[i].rank = infos[i].rank;
            memcpy(inputs[i].dims, infos[i].dims, sizeof inputs[i].dims);
        }
        if (ledge_model_compile(m, o->shapes.n ? inputs : NULL, o->shapes.n ? n : 0, o->out, &err))
            code = cli_fail_writing(o->out, &err);
    }
    free(infos);
    free(inputs);
    return code;
}

static int compile_model(const char *path, const Options *o)
{
    LedgeError err = {0};
    LedgeModel *m = NULL;
    const LedgeModelOptions mo = {.cpu = o->cpu};
    if (ledge_model_load(path, &mo, &err, &m))
        return cli_fail(path, &err);
    const uint64_t start = cli_now_ns();
    int code = compile_shaped(m, o);
    const double ms = (double)(cli_now_ns() - start) / 1e6;
    ledge_model_free(m);
    if (code != CLI_GO)
        return code;
    if (o->json)
        return cli_print_json(json_pack("{s:o, s:o, s:I, s:I, s:f}", "model", cli_json_text(path),
                                        "output", cli_json_text(o->out), "model_bytes",
                                        (json_int_t)cli_file_size(path), "output_bytes",
                                        (json_int_t)cli_file_size(o->out), "milliseconds", ms));
    printf("%s  %s -> %s  %s\n", cli_clean(path), cli_bytes(cli_file_size(path)), cli_clean(o->out),
           cli_bytes(cli_file_size(o->out)));
    return cli_finish();
}

static int run(const CliCommand *c, int argc, char **argv)
{
    Options o = {0};
    CliArgs args;
    int code = cli_parse(c, argc, argv, 1, 1, &o, &args);
    if (code != CLI_GO)
        return code;
    code = o.out ? compile_model(args.items[0], &o)
                 : cli_usage(c, "say where the compiled model goes: -o M.ledge");
    cli_args_free(&args);
    return code;
}

const CliCommand cli_compile = {
    .name = "compile",
    .arguments = "MODEL -o FILE",
    .summary = "plan and pack a model for a CPU: a .ledge file that maps and runs",
    .description =
        "Writes the model optimised, with its weights packed for the kernels of one CPU level\n"
        "(this machine's, or --cpu). Such a file starts in milliseconds; a machine of another\n"
        "kind or another version of ledge refuses it with a sentence.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
