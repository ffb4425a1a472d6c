/* Names of classes: one a line, in the order of the classes, from a file or from the model. */
#ifndef LEDGE_IMAGE_LABELS_H
#define LEDGE_IMAGE_LABELS_H

#include "ledge/ledge.h"

#define LEDGE_LABELS_KEY "ledge.labels"

typedef struct LedgeLabels {
    char *text; /* cut up into lines */
    const char **names;
    size_t n;
} LedgeLabels;

/* Cuts a copy of `text` into lines; a WordNet id ahead of a name is skipped, a line may be empty,
 * and nothing behind the last line end counts as none. Status: MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__labels_cut(const char *text, LedgeError *err, LedgeLabels *out);
/* Those in the model's metadata; none there is no error. Status: MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__labels_of_model(const LedgeModel *m, LedgeError *err,
                                                    LedgeLabels *out);
void ledge__labels_free(LedgeLabels *l);
/* The class's name, or NULL. */
const char *ledge__label(const LedgeLabels *l, int64_t index);

#endif
