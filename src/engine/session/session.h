/* The session's insides that reports and tests look at. */
#ifndef LEDGE_ENGINE_SESSION_H
#define LEDGE_ENGINE_SESSION_H

#include "engine/plan/plan.h"
#include "engine/session/model.h"

/* The plan of the last run, or of creation; NULL when there is none yet. */
LedgePlan *ledge__session_plan(LedgeSession *s);
/* Makes the plan for these shapes, if it is not there; inputs NULL: the model's own shapes with
 * 1 for free dimensions. */
LedgeStatus ledge__session_plan_for(LedgeSession *s, const LedgeTensor *inputs, LedgeError *err);

#endif
