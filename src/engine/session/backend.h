/* What a session calls when it was asked for execution providers: declared here, made in
 * engine/provider, as operators are declared in graph/op.h and made in engine/ops.
 *
 * A backend either runs the whole model in one go, or gives the session a graph of its own, in
 * which ledge.External nodes stand for the parts that providers run. */
#ifndef LEDGE_ENGINE_BACKEND_H
#define LEDGE_ENGINE_BACKEND_H

#include "engine/plan/weights.h"
#include "engine/session/model.h"
#include "ledge/report.h"

typedef struct LedgeBackend LedgeBackend;

/* o->providers is given. *out stays NULL in a build that has the CPU alone. Statuses: PROVIDER
 * (strict), ARGUMENT (names, options), those of the model. */
LedgeStatus ledge__backend_open(LedgeModel *m, const LedgeSessionOptions *o, int threads,
                                LedgeError *err, LedgeBackend **out);
void ledge__backend_free(LedgeBackend *b); /* NULL is legal */

/* True: ledge__backend_run does all. False: the session plans and runs *graph. */
bool ledge__backend_is_whole(const LedgeBackend *b);
LedgeGraph *ledge__backend_graph(const LedgeBackend *b, LedgeWeights **weights);

/* inputs in the model's order; outputs[i] for each model output is set to memory of the backend's,
 * valid until the next run. */
LedgeStatus ledge__backend_run(LedgeBackend *b, const LedgeTensor *inputs, LedgeTensor *outputs,
                               LedgeError *err);
/* After a failed run: a provider's memory gave out. */
bool ledge__backend_out_of_memory(const LedgeBackend *b);
/* Leaves that provider out from now on and chooses anew; the graph is another then. */
LedgeStatus ledge__backend_step_down(LedgeBackend *b, LedgeError *err);
void ledge__backend_note(LedgeBackend *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
const LedgePlacement *ledge__backend_placement(LedgeBackend *b);

#endif
