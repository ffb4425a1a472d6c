/* Loading models for clients, away from the network's thread and the workers that infer: it may
 * take seconds. */
#include <stdio.h>

#include "serve/work.h"

static LedgeWorkEnd end_of(LedgeStatus s)
{
    switch (s) {
    case LEDGE_OK:
        return LEDGE_WORK_DONE;
    case LEDGE_ERROR_NOT_FOUND:
        return LEDGE_WORK_MISSING;
    case LEDGE_ERROR_MEMORY:
    case LEDGE_ERROR_RUNTIME:
        return LEDGE_WORK_FAILED;
    default:
        return LEDGE_WORK_BAD;
    }
}

void ledge__load(const LedgeWorkOptions *o, int worker, LedgeWork **works, uint32_t n)
{
    (void)worker;
    for (uint32_t i = 0; i < n; i++) {
        LedgeError err = {0};
        char text[sizeof err.where + sizeof err.message + 4];
        LedgeWork *w = works[i];
        w->end = end_of(ledge__model_table_load(w->table, w->name, &err));
        snprintf(text, sizeof text, "%s: %s", err.where, err.message);
        if (w->end == LEDGE_WORK_DONE)
            ledge__text_add(&w->out, "{}");
        else
            ledge__oip_write_error(text, &w->out);
        o->ready(w);
    }
}
