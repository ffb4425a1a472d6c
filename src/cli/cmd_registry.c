/* ledge registry: its verbs, each with options of its own. */
#include <string.h>

#include "cli/registry_cli.h"

static const CliCommand *const verbs[] = {
    &registry_init,    &registry_serve,   &registry_push,    &registry_list,
    &registry_show,    &registry_promote, &registry_retire,  &registry_gc,
    &registry_devices, &registry_groups,  &registry_rollout, &registry_token,
    &registry_audit,   &registry_events,  &registry_samples, &registry_root,
    &registry_simulate,
};
#define N_VERBS (sizeof verbs / sizeof *verbs)

static int help(void)
{
    printf("usage: ledge registry VERB ...\n\n%s\n\nverbs:\n", cli_registry.description);
    for (size_t i = 0; i < N_VERBS; i++)
        printf("  %-9s %s\n", strrchr(verbs[i]->name, ' ') + 1, verbs[i]->summary);
    printf("\n'ledge registry VERB --help' says what a verb takes.\n");
    return cli_finish();
}

static int run(const CliCommand *c, int argc, char **argv)
{
    const char *names[N_VERBS];
    if (argc < 2)
        return cli_usage(c, "'ledge registry' needs %s", c->arguments);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help();
    for (size_t i = 0; i < N_VERBS; i++) {
        names[i] = strrchr(verbs[i]->name, ' ') + 1;
        if (strcmp(argv[1], names[i]) == 0)
            return verbs[i]->run(verbs[i], argc - 1, argv + 1);
    }
    const char *near = cli_nearest(argv[1], names, N_VERBS);
    return cli_usage(c, "'%s' is no verb of the registry%s%s%s", cli_clean(argv[1]),
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

const CliCommand cli_registry = {
    .name = "registry",
    .arguments = "VERB ...",
    .summary = "say what a fleet of devices runs, and hear how it fares",
    .description =
        "Keeps models and their versions, signed so that devices trust no more than their\n"
        "publisher; rolls them out step by step; takes in what devices report. 'init' and\n"
        "'serve' run a registry, all other verbs talk to one.",
    .run = run,
};
