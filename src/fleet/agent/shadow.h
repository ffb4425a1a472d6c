/* Versions in the shadow: they run on a part of the inputs that the serving version answers, beside
 * it, and answer nobody. Only whether they agree is told.
 *
 * One thread of the lowest priority takes one request at a time; whatever comes while it works goes
 * by, so that serving never waits for it. Models are links SHADOW/NAME.onnx to
 * …/versions/NAME/VERSION/FILE (agent_state.h), looked at anew every two seconds. */
#ifndef LEDGE_AGENT_SHADOW_H
#define LEDGE_AGENT_SHADOW_H

#include "fleet/agent/telemetry_queue.h"
#include "ledge/ledge.h"

typedef struct LedgeShadow LedgeShadow;

/* Tells `t`, which must outlive it. Statuses: ARGUMENT (path), MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__shadow_open(const char *folder, LedgeTelemetry *t,
                                                LedgeError *err, LedgeShadow **out);
void ledge__shadow_close(LedgeShadow *s); /* NULL is legal */
/* Inputs of a request and the class that was answered; they are copied or passed over. */
void ledge__shadow_show(LedgeShadow *s, const char *model, const LedgeTensor *inputs, size_t n,
                        int64_t class_id);

#endif
