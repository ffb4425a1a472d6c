/* Between the store's rollouts and the admin API: what a turn changes in the database. */
#ifndef LEDGE_FLEET_REGISTRY_ROLLOUT_TURNS_H
#define LEDGE_FLEET_REGISTRY_ROLLOUT_TURNS_H

#include "fleet/registry/store_state.h"

/* The threshold of the rollout's present step over the devices that there are now. */
LEDGE_MUST_CHECK LedgeStatus ledge__rollout_threshold_now(LedgeStore *s, LedgeLiveRollout *r,
                                                          LedgeError *err);
/* Saves r->at after a turn, with all that the turn brings: the next cohort, or the alias that moves
 * on. Audited in the name of `who`. */
LEDGE_MUST_CHECK LedgeStatus ledge__rollout_apply(LedgeStore *s, LedgeLiveRollout *r,
                                                  LedgeRolloutTurn turn, const char *who,
                                                  const char *why, LedgeError *err);

#endif
