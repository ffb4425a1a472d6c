/* What really ran, in words and as JSON. */
#ifndef LEDGE_CLI_PLACEMENT_H
#define LEDGE_CLI_PLACEMENT_H

#include "cli/cli.h"
#include "ledge/report.h"

/* The options of every command that runs models; S has provider, provider_options and strict. */
#define CLI_OPTIONS_PROVIDER(S, help)                                                              \
    {"provider", 0, CLI_TEXT, "LIST", help, offsetof(S, provider), 0, 0},                          \
        {"provider-option",                                                                        \
         0,                                                                                        \
         CLI_LIST,                                                                                 \
         "P.KEY=V",                                                                                \
         "an option of a provider, tensorrt.fp16=1",                                               \
         offsetof(S, provider_options),                                                            \
         0,                                                                                        \
         0},                                                                                       \
    {                                                                                              \
        "strict", 0, CLI_FLAG, NULL, "fail (4) unless all runs on the first provider",             \
            offsetof(S, strict), 0, 0                                                              \
    }
#define CLI_PROVIDER_HELP "who runs it, in order of preference: cuda,ort,cpu or auto (cpu)"

/* "ran on ort (ONNX Runtime 1.30.0): all 66 nodes, 301 M MACs"; valid until the eighth call of a
 * text function after this one. */
const char *cli_placement_line(const LedgePlacement *p);
json_t *cli_placement_json(const LedgePlacement *p);
/* Warns on stderr of what did not go as asked; once for each call. */
void cli_placement_warn(const LedgePlacement *p);

#endif
