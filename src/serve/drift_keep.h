/* Drift states on the disk, so that a restart does not forget what a model has answered: one file
 * for each model, version and model file, replaced whole. */
#ifndef LEDGE_SERVE_DRIFT_KEEP_H
#define LEDGE_SERVE_DRIFT_KEEP_H

#include "serve/served_model.h"

/* Saves the model's state into the folder if it has answered since the last time. Statuses: IO,
 * MEMORY. */
LedgeStatus ledge__drift_keep(LedgeServed *m, const char *folder, LedgeError *err);
/* Takes the saved state up; without one the monitor begins anew, and so it does, with a word on
 * stderr, where the file is damaged or of another baseline. */
void ledge__drift_take_up(LedgeServed *m, const char *folder);

#endif
