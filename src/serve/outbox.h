/* Alerts on their way out: a log, a webhook, Alertmanager, a program.
 *
 * Messages wait in a bounded queue and are delivered by one thread, in order for each channel; what
 * fails is tried again, ever more slowly, and given up after a quarter of an hour. Delivery is a
 * child process each time (ledge-post, or the user's own program with the message on its standard
 * input), so that no HTTP client lives in the server and nothing that hangs can hold it up. */
#ifndef LEDGE_SERVE_OUTBOX_H
#define LEDGE_SERVE_OUTBOX_H

#include "base/error.h"
#include "base/text.h"

typedef enum LedgeChannel {
    LEDGE_CHANNEL_WEBHOOK,      /* POST of one alert, JSON */
    LEDGE_CHANNEL_ALERTMANAGER, /* POST of all that hold, to URL/api/v2/alerts */
    LEDGE_CHANNEL_EXEC,         /* a program, one alert as JSON on its standard input */
    LEDGE_CHANNEL_COUNT
} LedgeChannel;

typedef struct LedgeOutboxOptions {
    const char *to[LEDGE_CHANNEL_COUNT]; /* URL, URL, path; NULL: the channel is off */
    const char *token_file;              /* bearer token for the POSTs, NULL: none */
    const char *post;                    /* path of ledge-post */
    double patience;                     /* seconds that one delivery may take, 0: 30 */
    double retry; /* seconds before the first new try, then doubled up to 60; 0: 1 */
} LedgeOutboxOptions;

typedef struct LedgeOutboxCounts {
    uint64_t delivered, failed, dropped; /* failed: tries; dropped: messages given up */
} LedgeOutboxCounts;

typedef struct LedgeOutbox LedgeOutbox;

/* The options' texts are borrowed. Statuses: MEMORY, RUNTIME (no thread). */
LedgeStatus ledge__outbox_new(const LedgeOutboxOptions *options, LedgeError *err,
                              LedgeOutbox **out);
/* Takes the text's memory. A channel that is off takes nothing; a newer message for Alertmanager
 * replaces one that waits, since each tells all. Threads: any. */
void ledge__outbox_put(LedgeOutbox *o, LedgeChannel channel, LedgeText *body);
void ledge__outbox_counts(LedgeOutbox *o, LedgeChannel channel, LedgeOutboxCounts *out);
bool ledge__outbox_has(const LedgeOutbox *o, LedgeChannel channel);
const char *ledge__channel_name(LedgeChannel channel);
/* Tries what waits once more, for at most `patience` seconds, and ends. NULL is legal. */
void ledge__outbox_free(LedgeOutbox *o, double patience);

#endif
