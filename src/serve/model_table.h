/* All models that a server knows, by name and version.
 *
 * Where models come from: files named one by one, or a folder (a repository) of NAME.onnx,
 * NAME.ledge and NAME/VERSION/model.onnx or model.ledge, versions being numbers. Threads: any. */
#ifndef LEDGE_SERVE_MODEL_TABLE_H
#define LEDGE_SERVE_MODEL_TABLE_H

#include "serve/served_model.h"

typedef struct LedgeModelTable LedgeModelTable;

/* repository may be NULL. Nothing is loaded yet. */
LedgeStatus ledge__model_table_new(const char *repository, const LedgeServedOptions *options,
                                   LedgeError *err, LedgeModelTable **out);
void ledge__model_table_free(LedgeModelTable *t); /* NULL is legal */

/* Loads "NAME=FILE" or "FILE", whose name without its ending then is the model's. */
LedgeStatus ledge__model_table_add(LedgeModelTable *t, const char *what, LedgeError *err);
/* Loads all of the repository. What cannot be loaded is kept with its error and does not stop the
 * others; *failed counts them. */
LedgeStatus ledge__model_table_scan(LedgeModelTable *t, LedgeError *err, size_t *failed);
/* Loads a model (anew) from where it comes from. The old one serves until the new one is ready,
 * and on if that fails. Statuses: NOT_FOUND, those of ledge__served_load. */
LedgeStatus ledge__model_table_load(LedgeModelTable *t, const char *name, LedgeError *err);
LedgeStatus ledge__model_table_unload(LedgeModelTable *t, const char *name, LedgeError *err);

/* The version, or the highest where NULL; to be given back by ledge__served_unref. Statuses:
 * NOT_FOUND, RUNTIME (known, but not loaded). */
LedgeStatus ledge__model_table_find(LedgeModelTable *t, const char *name, const char *version,
                                    LedgeError *err, LedgeServed **out);

typedef struct LedgeModelEntry {
    char name[LEDGE_SERVE_NAME], version[16];
    LedgeServed *served; /* NULL: not loaded */
    const char *reason;  /* why not, "" when loaded */
} LedgeModelEntry;

/* Calls `visit` for each version of each model, by name; the table is locked meanwhile. */
void ledge__model_table_visit(LedgeModelTable *t,
                              void (*visit)(void *arg, const LedgeModelEntry *e), void *arg);
bool ledge__model_table_knows(LedgeModelTable *t, const char *name); /* loaded or not */
bool ledge__model_table_ready(LedgeModelTable *t); /* all that were asked for are loaded */

#endif
