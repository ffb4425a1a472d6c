/* Keeping some of the inputs that a model was unsure of, or that drift, for retraining.
 *
 * Off unless somebody asks for it with a public key. What is kept is sealed to that key before it
 * touches the disk (field_sample.h): nothing on the device opens it again. Choosing takes no time;
 * the inputs of the one that is chosen are copied, and a thread of the lowest priority seals and
 * writes them. While it is at work, others go by.
 *
 *   FOLDER/TIME-RANDOM.sample   whole, or not there
 *   FOLDER/last                 its time of change: when one was kept last
 *   FOLDER/lock                 held by the one process that writes there
 *
 * Never more than per_hour in an hour, over restarts too, since between two of them an hour's
 * share passes; never more bytes on the disk than allowed, for which the oldest go. */
#ifndef LEDGE_AGENT_SAMPLING_H
#define LEDGE_AGENT_SAMPLING_H

#include "fleet/protocol/field_sample.h"

typedef struct LedgeSamplingOptions {
    const char *folder;
    const char *key;  /* file of the public key */
    double below;     /* answers of less confidence are kept; 0: only while inputs drift */
    int64_t per_hour; /* at least 1 */
    int64_t disk;     /* bytes */
} LedgeSamplingOptions;

typedef struct LedgeSampling LedgeSampling;

/* Makes the folder. Statuses: those of the key, MISMATCH (another process keeps samples there), IO,
 * MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__sampling_open(const LedgeSamplingOptions *options,
                                                  LedgeError *err, LedgeSampling **out);
/* Writes what was taken and frees; NULL is legal. */
void ledge__sampling_close(LedgeSampling *s);
/* Whether an answer would be kept now; confidence NAN: the model gives none. Any thread. */
bool ledge__sampling_wants(LedgeSampling *s, double confidence, LedgeFleetDrift drift);
/* Copies what is to be kept, if there is still room for it. Any thread. */
void ledge__sampling_offer(LedgeSampling *s, const LedgeFieldHead *head,
                           const LedgeFieldContent *c);

enum { LEDGE_SAMPLING_NAME = 40 };
/* Names of whole samples in a folder, the oldest first, up to `most`. */
size_t ledge__sampling_list(const char *folder, char (*names)[LEDGE_SAMPLING_NAME], size_t most);

#endif
