/* What `ledge serve` is told to do, by flags and by a file: put together at the start, and again
 * when the file has changed. */
#ifndef LEDGE_CLI_SERVE_SETUP_H
#define LEDGE_CLI_SERVE_SETUP_H

#include <limits.h>

#include "cli/cli.h"
#include "serve/serve_config.h"
#include "serve/server.h"

/* As the flags were given: -1 and NULL where they were not. */
typedef struct ServeFlags {
    bool json, no_drift, alert_log, guest_beside, pixels;
    int64_t port, workers, threads, queue, batch, connections, drain, telemetry_mb,
        samples_per_hour, guest_pages;
    const char *config, *host, *repository, *delay, *deadline, *body, *token, *certificate, *key,
        *cpu, *cache, *cache_ttl, *state, *telemetry, *shadow, *watch, *webhook, *alertmanager,
        *exec, *alert_token, *overflow, *samples, *sample_key, *sample_below, *samples_mb, *guest,
        *guest_key, *guest_time, *shared_memory;
} ServeFlags;

typedef struct ServeSetup {
    LedgeServeConfig config; /* of the file, with the flags over it */
    char *token, *certificate, *key;
    char post[PATH_MAX]; /* ledge-post, where alerts need it */
} ServeSetup;

/* Gives CLI_GO, or the exit code after printing why. `c` is for usage mistakes. */
int serve_setup_read(const CliCommand *c, const ServeFlags *f, ServeSetup *out);
void serve_setup_free(ServeSetup *s); /* {0} is legal */
/* The server's part of it; points into `s`. Gives CLI_GO, or the exit code after printing why. */
int serve_setup_options(ServeSetup *s, LedgeServerOptions *out);
/* Tells the table how models are served and loads all of them, those of `args` too. At a start the
 * first failure is the exit code; later failures are warnings and the old models go on. lasting:
 * its state and seen, which are those of the start and outlive the table, go to every model. */
int serve_setup_models(const ServeSetup *s, const CliArgs *args, bool start,
                       const LedgeServedOptions *lasting, LedgeModelTable *t);

#endif
