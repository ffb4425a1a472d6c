#include "serve/drift_keep.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/out_file.h"
#include "image/file_bytes.h"

enum { PATH = 4096 };

static LedgeStatus path_of(const LedgeServed *m, const char *folder, LedgeError *err, char *path)
{
    const int n =
        snprintf(path, PATH, "%s/%s-%s-%.16s.drift", folder, m->name, m->version, m->hash);
    if (n < 0 || n >= PATH)
        return ledge__fail(err, LEDGE_ERROR_IO, folder, "the path is too long");
    return LEDGE_OK;
}

LedgeStatus ledge__drift_keep(LedgeServed *m, const char *folder, LedgeError *err)
{
    const size_t size = ledge__drift_state_bytes();
    char path[PATH];
    void *bytes = malloc(size);
    if (!bytes)
        return ledge__no_memory(err);
    pthread_mutex_lock(&m->lock);
    const uint64_t records = m->drift_records;
    const bool same = records == m->kept_records;
    if (!same)
        ledge__drift_save(m->drift, bytes);
    pthread_mutex_unlock(&m->lock);
    LedgeStatus s = same ? LEDGE_OK : path_of(m, folder, err, path);
    if (s == LEDGE_OK && !same)
        s = ledge__out_file_whole(NULL, path, bytes, size, err);
    if (s == LEDGE_OK)
        m->kept_records = records; /* the watchman's alone */
    free(bytes);
    return s;
}

void ledge__drift_take_up(LedgeServed *m, const char *folder)
{
    LedgeError err = {0};
    char path[PATH];
    uint8_t *bytes = NULL;
    size_t size;
    LedgeStatus s = path_of(m, folder, &err, path);
    if (s == LEDGE_OK)
        s = ledge__file_bytes(NULL, path, ledge__drift_state_bytes(), &err, &bytes, &size);
    if (s == LEDGE_ERROR_NOT_FOUND)
        return;
    if (s == LEDGE_OK)
        s = ledge__drift_restore(m->drift, bytes, size, &err);
    if (s != LEDGE_OK)
        fprintf(stderr, "ledge: %s: drift is watched from the beginning: %s\n", path, err.message);
    ledge__free(NULL, bytes);
}
