/* Options of the agent, see agent_options.h. */
#include "cli/agent_options.h"

#include <stdlib.h>
#include <string.h>

#define MEGA ((int64_t)1000000)
enum { TOKEN_MAX = 4096 };

const AgentOptions agent_defaults = {
    .state = "/var/lib/ledge", .interval = LEDGE_FLEET_INTERVAL, .keep = 2};

const CliOption agent_options[AGENT_OPTIONS] = {
    {"state", 's', CLI_TEXT, "DIR", "the agent's folder (/var/lib/ledge)",
     offsetof(AgentOptions, state), 0, 0},
    {"registry", 'u', CLI_TEXT, "URL", "the registry, https://HOST[:PORT]",
     offsetof(AgentOptions, url), 0, 0},
    {"root", 'r', CLI_TEXT, "FILE", "root.json: whom this device trusts",
     offsetof(AgentOptions, root), 0, 0},
    {"device", 'd', CLI_TEXT, "ID", "this device's id; else one is made up and kept",
     offsetof(AgentOptions, device), 0, 0},
    {"label", 'l', CLI_LIST, "NAME=VALUE", "label that rollouts may choose by",
     offsetof(AgentOptions, labels), 0, 0},
    {"token-file", 0, CLI_TEXT, "FILE", "this device's token", offsetof(AgentOptions, token), 0, 0},
    {"ca", 0, CLI_TEXT, "FILE", "authorities to trust for TLS; else the system's",
     offsetof(AgentOptions, ca), 0, 0},
    {"tls-cert", 0, CLI_TEXT, "FILE", "client certificate in PEM", offsetof(AgentOptions, cert), 0,
     0},
    {"tls-key", 0, CLI_TEXT, "FILE", "its private key in PEM", offsetof(AgentOptions, key), 0, 0},
    {"proxy", 0, CLI_TEXT, "URL", "HTTP or SOCKS proxy; else what the environment says",
     offsetof(AgentOptions, proxy), 0, 0},
    {"bandwidth", 0, CLI_INT, "KB", "most kilobytes a second to download; 0: no limit",
     offsetof(AgentOptions, bandwidth), 0, INT32_MAX},
    {"quota", 0, CLI_INT, "MB", "most megabytes of models and downloads; 0: no limit",
     offsetof(AgentOptions, quota), 0, INT32_MAX},
    {"keep", 0, CLI_INT, "N", "versions kept besides the running one (2)",
     offsetof(AgentOptions, keep), 0, LEDGE_SLOT_KEPT},
    {"interval", 'i', CLI_INT, "S", "seconds between polls until the registry says (60)",
     offsetof(AgentOptions, interval), 1, 86400},
    {"serve", 0, CLI_FLAG, NULL, "run: also serve the models, by `ledge serve`",
     offsetof(AgentOptions, serve), 0, 0},
    {"serve-args", 0, CLI_TEXT, "ARGS", "run: arguments for `ledge serve`, parted by blanks",
     offsetof(AgentOptions, serve_args), 0, 0},
    {"sample-key", 0, CLI_TEXT, "FILE",
     "keep inputs that are uncertain or drift, sealed to this public key, and send them",
     offsetof(AgentOptions, sample_key), 0, 0},
    {"turns", 0, CLI_INT, "N", "run: end after N turns; 0: go on", offsetof(AgentOptions, turns), 0,
     INT32_MAX},
    {"quiet", 'q', CLI_FLAG, NULL, "no messages on stderr", offsetof(AgentOptions, quiet), 0, 0},
    CLI_OPTION_JSON(AgentOptions),
};

static int read_token(const char *path, char **out)
{
    FILE *f = fopen(path, "re");
    char *text = calloc(1, TOKEN_MAX + 1);
    const size_t n = f && text ? fread(text, 1, TOKEN_MAX, f) : 0;
    if (f)
        fclose(f);
    if (text)
        text[strcspn(text, "\r\n")] = '\0';
    if (!f || !text || !n || !text[0]) {
        free(text);
        return cli_fail_with(path, LEDGE_ERROR_IO, "cannot be read or holds no token");
    }
    *out = text;
    return CLI_GO;
}

static int read_labels(const CliCommand *c, const CliList *list, LedgeAgentConfig *out)
{
    for (size_t i = 0; i < list->n; i++) {
        LedgePollLabel *l = &out->labels[out->n_labels];
        const char *equals = strchr(list->items[i], '=');
        const size_t n = equals ? (size_t)(equals - list->items[i]) : LEDGE_FLEET_NAME;
        if (out->n_labels == LEDGE_FLEET_LABELS)
            return cli_usage(c, "a device has %d labels at most", LEDGE_FLEET_LABELS);
        if (n >= sizeof l->key || strlen(equals + 1) >= sizeof l->value)
            return cli_usage(c, "--label takes NAME=VALUE, each up to 64 letters");
        snprintf(l->key, sizeof l->key, "%.*s", (int)n, list->items[i]);
        snprintf(l->value, sizeof l->value, "%s", equals + 1);
        if (!ledge__fleet_is_name(l->key) || !ledge__fleet_is_name(l->value))
            return cli_usage(c, "--label takes letters, digits, '.', '_' and '-'");
        out->n_labels++;
    }
    return CLI_GO;
}

/* The process that stays has no cryptography to read a key with; but a server that does not start
 * because of it would be taken for one with a bad model. */
static int look_at_key(const char *path)
{
    char line[64] = "";
    FILE *f = fopen(path, "re");
    if (f && !fgets(line, sizeof line, f))
        line[0] = '\0';
    if (f)
        fclose(f);
    return strncmp(line, "-----BEGIN PUBLIC KEY-----", 26) == 0
               ? CLI_GO
               : cli_fail_with(path, f ? LEDGE_ERROR_FORMAT : LEDGE_ERROR_IO,
                               "is no public key; 'ledge key new --type sampling' makes a pair");
}

int agent_config(const CliCommand *c, const AgentOptions *o, LedgeAgentConfig *out, char **token)
{
    *out = (LedgeAgentConfig){
        .state = o->state,
        .root = o->root,
        .device_id = o->device,
        .quota = o->quota * MEGA,
        .keep = o->keep,
        .sample_key = o->sample_key,
        .http = {.base = o->url,
                 .ca = o->ca,
                 .cert = o->cert,
                 .key = o->key,
                 .proxy = o->proxy,
                 .bandwidth = o->bandwidth * 1000},
    };
    if (!o->url || !o->root)
        return cli_usage(c, "--registry and --root say whom to ask and whom to trust");
    if (!o->cert != !o->key)
        return cli_usage(c, "--tls-cert and --tls-key go together");
    int code = read_labels(c, &o->labels, out);
    if (code == CLI_GO && o->sample_key)
        code = look_at_key(o->sample_key);
    if (code != CLI_GO || !o->token)
        return code;
    const int read = read_token(o->token, token);
    out->http.token = *token;
    return read;
}
