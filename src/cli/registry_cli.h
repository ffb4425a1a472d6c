/* Between the verbs of `ledge registry`: the client of a running registry. */
#ifndef LEDGE_CLI_REGISTRY_CLI_H
#define LEDGE_CLI_REGISTRY_CLI_H

#include "cli/cli.h"

/* Options that every verb of a client has. */
typedef struct RegistryClient {
    const char *server, *token_file, *ca;
    char *token; /* read from the file or the environment */
} RegistryClient;

#define REGISTRY_CLIENT_OPTIONS(S)                                                                 \
    {"server",                                                                                     \
     's',                                                                                          \
     CLI_TEXT,                                                                                     \
     "URL",                                                                                        \
     "the registry (LEDGE_REGISTRY, or http://127.0.0.1:8070)",                                    \
     offsetof(S, client.server),                                                                   \
     0,                                                                                            \
     0},                                                                                           \
        {"token-file",                                                                             \
         0,                                                                                        \
         CLI_TEXT,                                                                                 \
         "FILE",                                                                                   \
         "file with the token (or the token itself in LEDGE_REGISTRY_TOKEN)",                      \
         offsetof(S, client.token_file),                                                           \
         0,                                                                                        \
         0},                                                                                       \
    {                                                                                              \
        "ca", 0, CLI_TEXT, "FILE", "PEM file of the authorities to trust for HTTPS",               \
            offsetof(S, client.ca), 0, 0                                                           \
    }

typedef struct RegistryAnswer {
    long code;
    char *body; /* NUL-terminated */
    size_t size;
    json_t *json; /* NULL: it was none */
} RegistryAnswer;

/* Asks; CLI_GO whatever the code was, or the exit code after saying why there was no answer. `body`
 * is borrowed; path begins with '/'. */
int registry_ask(RegistryClient *c, const char *method, const char *path, const json_t *body,
                 RegistryAnswer *out);
/* A file's bytes, from wherever the registry sends us to (S3). */
int registry_fetch(RegistryClient *c, const char *path, RegistryAnswer *out);
/* The same for a file's bytes, with PUT. */
int registry_upload(RegistryClient *c, const char *path, const char *file, uint64_t size,
                    RegistryAnswer *out);
void registry_answer_free(RegistryAnswer *a);
/* Asks, and says what the registry said where the code is not 2xx. *json is the caller's. */
int registry_do(RegistryClient *c, const char *method, const char *path, const json_t *body,
                json_t **json);
int registry_refused(const RegistryClient *c, const RegistryAnswer *a); /* says why */
void registry_client_free(RegistryClient *c);
/* A word as part of an address; valid until the eighth call after this one. */
const char *registry_word(const char *word);

/* A table: columns by key and title; a title in lower case. */
typedef struct RegistryColumn {
    const char *key, *title;
} RegistryColumn;
void registry_table(const json_t *rows, const RegistryColumn *columns, size_t n);
/* "2026-11-22T18:00:00Z", or "-" for 0; valid until the eighth call after this one. */
const char *registry_time(int64_t seconds);

extern const CliCommand registry_init, registry_serve, registry_push, registry_root, registry_list,
    registry_show, registry_promote, registry_retire, registry_gc, registry_devices,
    registry_groups, registry_rollout, registry_token, registry_audit, registry_events,
    registry_samples, registry_simulate;

#endif
