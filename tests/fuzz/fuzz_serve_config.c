/* Fuzz target of `ledge serve`'s configuration files. Any bytes: a refusal has a place and a
 * sentence and leaves the configuration as it was; what is taken is within its bounds. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_input.h"
#include "serve/serve_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_options(const LedgeServedOptions *o)
{
    check(o->threads >= 1 && o->threads <= 1024 && o->batch <= 64);
    check(o->delay >= 0 && o->deadline >= 0 && o->cache_ttl >= 0 && isfinite(o->cache_ttl));
    for (int i = 0; i < LEDGE_DRIFT_MEASURE_COUNT; i++)
        check(o->drift_options.threshold[i].high >= o->drift_options.threshold[i].warning);
}

static void check_config(const LedgeServeConfig *c)
{
    check(c->port >= -1 && c->port <= 65535 && c->workers >= 0 && c->deadline >= 0);
    check(strlen(c->host) < sizeof c->host && strlen(c->alerts.exec) < sizeof c->alerts.exec);
    check(!c->certificate[0] == !c->key[0]);
    check_options(&c->defaults);
    for (size_t i = 0; i < c->n_models; i++) {
        check(ledge__served_name_ok(c->models[i].name) && c->models[i].version[0] != '0');
        check_options(&c->models[i].options);
    }
    for (size_t i = 0; i < c->n_ladders; i++) {
        const LedgeLadderOptions *o = &c->ladders[i];
        check(ledge__served_name_ok(o->name) && o->n >= 2 && o->n <= LEDGE_ADAPTIVE_RUNGS);
        check(o->adaptive.threshold >= 0 && o->adaptive.threshold <= 1);
        for (uint32_t k = 0; k < o->n; k++)
            check(ledge__served_name_ok(o->model[k]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LedgeServeConfig c, before;
    LedgeError err = {0};
    memset(&c, 0, sizeof c);
    ledge__serve_config_init(&c);
    before = c;
    const LedgeStatus s =
        ledge__serve_config_parse("/etc/ledge/serve.json", (const char *)data, size, &err, &c);
    check(s == err.status);
    if (s == LEDGE_OK)
        check_config(&c);
    else
        check(err.message[0] && err.where[0] && c.n_models == 0 && c.port == before.port &&
              !c.models && !c.ladders);
    ledge__serve_config_free(&c);
    return 0;
}
