/* ledge-sync: one turn of the agent, in a process of its own (fleet/agent/agent_sync.h).
 *
 *   ledge-sync sync|verify|telemetry|fall-back OPTIONS     as `ledge agent`
 *
 * Exit codes as everywhere; 0 also where the registry could not be reached, which status.json
 * says. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "cli/agent_options.h"

static bool stops;

static void on_stop(int signal)
{
    (void)signal;
    stops = true;
}

static bool kind_of(const char *name, LedgeSyncWhat *out)
{
    static const char *const names[] = {"sync", "verify", "telemetry", "fall-back"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (LedgeSyncWhat)i;
            return true;
        }
    return false;
}

static int print(const LedgeSyncResult *r, bool json)
{
    if (json) {
        ledge__sync_result_write(r, stdout);
        return cli_finish();
    }
    if (r->problem[0])
        printf("problem    %s\n", cli_clean(r->problem));
    printf("%s%s; %s received, %lld batches sent\n",
           r->polled ? "the registry answered" : "no answer",
           r->changed ? ", another version is served now" : "", cli_bytes((uint64_t)r->received),
           (long long)r->sent);
    return cli_finish();
}

static int run(const CliCommand *c, int argc, char **argv)
{
    AgentOptions o = agent_defaults;
    CliArgs args;
    LedgeAgentConfig config;
    LedgeSyncWhat what = LEDGE_SYNC_ALL;
    LedgeSyncResult result;
    LedgeError err = {0};
    char *token = NULL;
    int code = cli_parse(c, argc, argv, 1, 1, &o, &args);
    if (code != CLI_GO)
        return code;
    if (!kind_of(args.items[0], &what))
        code = cli_usage(c, "'%s' is no kind of turn", cli_clean(args.items[0]));
    if (code == CLI_GO)
        code = agent_config(c, &o, &config, &token);
    /* Root has nothing to do from here on: the token was read. */
    if (code == CLI_GO && ledge__agent_become_owner(o.state, &err))
        code = cli_fail(NULL, &err);
    if (code == CLI_GO) {
        config.stop = &stops;
        code = ledge__agent_sync(&config, what, &err, &result) ? cli_fail(NULL, &err)
               : o.quiet                                       ? CLI_OK
                                                               : print(&result, o.json);
    }
    free(token);
    cli_args_free(&args);
    return code;
}

int main(int argc, char **argv)
{
    CliCommand c = {
        .name = "agent",
        .arguments = "sync|verify|telemetry|fall-back",
        .summary = "one turn of the agent",
        .description = "One turn of the agent: polls, fetches, tests, switches, reports.",
        .options = agent_options,
        .n_options = AGENT_OPTIONS,
        .run = run,
    };
    const struct sigaction stop = {.sa_handler = on_stop};
    const struct rlimit no_core = {0, 0};
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)setrlimit(RLIMIT_CORE, &no_core); /* tokens are in memory */
    return run(&c, argc, argv);
}
