/* Fuzz target of the pruner: whatever model it accepts, the plan's first and last step give graphs
 * that are sound. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "compress/prune/prune.h"
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void build(LedgePruner *p, size_t step)
{
    LedgeError err = {0};
    LedgePruned *m = NULL;
    ledge__pruner_take(p, step);
    check(ledge__pruner_macs(p) >= 0);
    for (size_t i = 0; i < ledge__pruner_layers(p); i++) {
        const LedgePruneLayer l = ledge__pruner_layer(p, i);
        check(l.kept <= l.channels && (l.kept > 0 || l.channels == 0));
    }
    if (ledge__pruner_build(p, &err, &m)) {
        check(err.message[0] != '\0');
        return;
    }
    check(ledge__graph_check(m->graph) == NULL);
    ledge__pruned_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LedgeError err = {0};
    LedgePruner *p = NULL;
    const LedgePruneOptions o = {.importance = size & 1 ? LEDGE_PRUNE_L1 : LEDGE_PRUNE_BN,
                                 .per_layer = size & 2,
                                 .round = 1 + (int)(size & 3),
                                 .layer_limit = 1};
    if (ledge__pruner_open(NULL, data, size, &o, &err, &p)) {
        check(err.message[0] != '\0');
        return 0;
    }
    if (ledge__pruner_score(p, NULL, NULL, &err) == LEDGE_OK &&
        ledge__pruner_plan(p, &err) == LEDGE_OK) {
        build(p, 0);
        build(p, ledge__pruner_steps(p) - 1);
    }
    ledge__pruner_free(p);
    return 0;
}
