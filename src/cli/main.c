/* The command line's entry: finds the subcommand and hands over. Compiled for each of the programs
 * that make up the command line (program.c): LEDGE_LEVEL says which commands this one has, and
 * LEDGE_NEXT names the one that knows more. */
#include "cli/cli.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#ifdef LEDGE_WASM /* the program that devices run guests by has nothing else */
static const CliCommand *const commands[] = {&cli_wasm};
#else
static const CliCommand *const commands[] = {
#define COMMAND(name) &cli_##name,
#if LEDGE_LEVEL >= 1
#define SERVE_COMMAND(name) COMMAND(name)
#else
#define SERVE_COMMAND(name)
#endif
#if LEDGE_LEVEL >= 2
#define FLEET_COMMAND(name) COMMAND(name)
#else
#define FLEET_COMMAND(name)
#endif
#include "cli/commands.def"
#undef COMMAND
#undef SERVE_COMMAND
#undef FLEET_COMMAND
};
#endif
#define N_COMMANDS (sizeof commands / sizeof *commands)

static const CliCommand *find(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

#ifndef LEDGE_NEXT

static int unknown(const char *word)
{
    const char *names[N_COMMANDS + 1];
    for (size_t i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i]->name;
    names[N_COMMANDS] = "help";
    const char *near = cli_nearest(word, names, N_COMMANDS + 1);
    if (near)
        cli_fail_with(NULL, LEDGE_ERROR_ARGUMENT, "unknown command '%s'; did you mean '%s'?",
                      cli_clean(word), near);
    else
        cli_fail_with(NULL, LEDGE_ERROR_ARGUMENT,
                      "unknown command '%s'; 'ledge help' lists all commands", cli_clean(word));
    return CLI_USAGE;
}

static void overview(FILE *to)
{
    fprintf(to, "ledge %s: run ONNX models on edge devices\n\nusage: ledge COMMAND ...\n\n",
            ledge_version());
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-11s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(to, "  %-11s %s\n", "help", "print this, or what a command takes");
    fprintf(to, "\n'ledge COMMAND --help' says what a command takes. Exit codes: 0 ok, 1 failed,\n"
                "2 usage, 3 bad input file, 4 strict provider refusal, 5 gate refused.\n");
}

static int help(int argc, char **argv)
{
    char *as_option[] = {argv[0], (char[]){"--help"}, NULL};
    if (argc < 2) {
        overview(stdout);
        return cli_finish();
    }
    const CliCommand *c = find(argv[1]);
    return c ? c->run(c, 2, as_option) : unknown(argv[1]);
}

static int other(int argc, char **argv)
{
    const char *word = argc < 2 ? "" : argv[1];
    if (argc < 2) {
        overview(stderr);
        return CLI_USAGE;
    }
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return help(argc - 1, argv + 1);
    return unknown(word);
}

#else

/* Other commands, help, and what is no command at all. */
static int other(int argc, char **argv)
{
    char path[PATH_MAX];
    const bool wasm = LEDGE_LEVEL == 0 && argc > 1 && strcmp(argv[1], "wasm") == 0;
    if (wasm && cli_program_beside("ledge-wasm", path, sizeof path))
        execv(path, argv);
    if (cli_program_beside(LEDGE_NEXT, path, sizeof path))
        execv(path, argv);
    cli_fail_with(NULL, LEDGE_ERROR_NOT_FOUND,
                  LEDGE_NEXT ", which the other commands are in, is not beside this program or in "
                             "../libexec/ledge; install ledge again");
    return CLI_FAILED;
}

#endif

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a write error with a sentence */
    signal(SIGXFSZ, SIG_IGN); /* so is a file grown to its limit */
    signal(SIGCHLD, SIG_DFL); /* who starts us may ignore it: how children end would be lost */
    const char *word = argc < 2 ? "" : argv[1];
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        printf("ledge %s\n", ledge_version());
        return cli_finish();
    }
    const CliCommand *c = find(word);
    return c ? c->run(c, argc - 1, argv + 1) : other(argc, argv);
}
