/* ledge.wasm as a command: `inspect`, `run` and `bench` of the command line, unchanged, for any
 * WebAssembly runtime with WASI preview 1. What the other commands need (sockets, processes,
 * signatures) is not there. */
#include <math.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/model_io.h"

static const CliCommand *const commands[] = {&cli_inspect, &cli_run, &cli_bench};
#define N_COMMANDS (sizeof commands / sizeof *commands)

/* There are no processes to start: bench says that the cold start could not be timed. The memory
 * of an instance never shrinks, so that its size is the peak. */
double cli_cold_start(char *const *words, uint64_t *peak)
{
    (void)words;
    *peak = (uint64_t)__builtin_wasm_memory_size(0) * 65536;
    return NAN;
}

static const CliCommand *find(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static void overview(FILE *to)
{
    fprintf(to, "ledge %s for WebAssembly\n\nusage: ledge COMMAND ...\n\n", ledge_version());
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-11s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(to, "\n'ledge COMMAND --help' says what a command takes. Files are seen in the folders\n"
                "that the runtime opens to the module.\n");
}

int main(int argc, char **argv)
{
    const char *word = argc < 2 ? "" : argv[1];
    const CliCommand *c = find(word);
    if (c)
        return c->run(c, argc - 1, argv + 1);
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        printf("ledge %s\n", ledge_version());
        return cli_finish();
    }
    if (strcmp(word, "help") == 0 && argc > 2 && (c = find(argv[2])))
        return c->run(c, 2, (char *[]){argv[2], (char[]){"--help"}, NULL});
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        overview(stdout);
        return cli_finish();
    }
    if (argc < 2)
        overview(stderr);
    else
        cli_fail_with(NULL, LEDGE_ERROR_ARGUMENT,
                      "'%s' is no command of the WebAssembly module, which has inspect, run and "
                      "bench",
                      cli_clean(word));
    return CLI_USAGE;
}
