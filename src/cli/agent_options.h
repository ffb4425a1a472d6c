/* The options that `ledge agent` and the process of its turns (ledge-sync) share. */
#ifndef LEDGE_CLI_AGENT_OPTIONS_H
#define LEDGE_CLI_AGENT_OPTIONS_H

#include "cli/cli.h"
#include "fleet/agent/agent_sync.h"

typedef struct AgentOptions {
    bool json, serve, quiet;
    int64_t interval, keep, quota, bandwidth, turns;
    const char *state, *root, *url, *device, *token, *ca, *cert, *key, *proxy, *serve_args,
        *sample_key;
    CliList labels;
} AgentOptions;

enum { AGENT_OPTIONS = 20 };
extern const CliOption agent_options[AGENT_OPTIONS];
extern const AgentOptions agent_defaults;

/* What a turn needs, out of the options; `token` gets the token's memory, freed by the caller.
 * CLI_GO, or the exit code after a message. */
int agent_config(const CliCommand *c, const AgentOptions *o, LedgeAgentConfig *out, char **token);

#endif
