/* A repository of TUF metadata in memory, with the store of one device: for tests, which break it
 * in one place at a time. */
#ifndef LEDGE_TESTS_TUF_REPO_H
#define LEDGE_TESTS_TUF_REPO_H

#include "fleet/protocol/tuf_client.h"

enum { REPO_FILES = 4096, REPO_NOW = 1800000000, REPO_DAY = 86400 };

typedef struct RepoFile {
    char name[96];
    char *bytes;
    size_t size;
} RepoFile;

typedef struct RepoFiles {
    RepoFile files[REPO_FILES];
    size_t n;
} RepoFiles;
void repo_put(RepoFiles *f, const char *name, const void *bytes, size_t size);
RepoFile *repo_get(RepoFiles *f, const char *name); /* NULL: none */
void repo_remove(RepoFiles *f, const char *name);
void repo_copy(RepoFiles *to, const RepoFiles *from);
void repo_clear(RepoFiles *f);

typedef struct Repo {
    LedgeTufKeys keys[LEDGE_TUF_ROLE_COUNT]; /* private keys of today */
    int64_t version[LEDGE_TUF_ROLE_COUNT], expires[LEDGE_TUF_ROLE_COUNT];
    json_t *targets; /* path to entry */
    RepoFiles files; /* as published under /v1/tuf/ */
    int64_t time;    /* what it says when it is asked; 0: it answers no such question */
    size_t asked, largest_max;
    bool endless; /* gives as much as it is allowed to and more */
} Repo;

void repo_new(Repo *r); /* published once, all versions 1 */
void repo_free(Repo *r);
void repo_key(LedgeTufKeys *keys, size_t n, size_t threshold); /* new ones in place of the old */
/* The next root, signed by `signers` (NULL: none) and by its own keys. */
void repo_publish_root(Repo *r, const LedgeTufKeys *signers);
/* Signs and publishes the role and, where `above` is set, all that list it. */
void repo_publish(Repo *r, LedgeTufRole role, bool above);
void repo_add_target(Repo *r, const char *path, const char *content, bool rollback_ok);
void repo_sign(Repo *r, LedgeTufRole role, json_t *content, const char *name, LedgeTufFile *file);

LedgeTufSource repo_source(Repo *r);
LedgeTufStore repo_store(RepoFiles *device);
LedgeTufClock repo_clock(int64_t now, bool synchronised);

#endif
