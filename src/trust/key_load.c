/* Keys from files. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "trust/key.h"

#define KEY_FILE_MAX 65536

static LedgeStatus read_key(FILE *f, const char *path, LedgeError *err, LedgeKey **out)
{
    char *text = malloc(KEY_FILE_MAX + 1);
    if (!text)
        return ledge__no_memory(err);
    const size_t n = fread(text, 1, KEY_FILE_MAX + 1, f);
    LedgeStatus status =
        ferror(f) ? ledge__fail(err, LEDGE_ERROR_IO, path, "cannot be read: %s", strerror(errno))
        : n > KEY_FILE_MAX
            ? ledge__fail(err, LEDGE_ERROR_LIMIT, path, "is too large for a key's file")
            : ledge__key_parse(path, text, n, err, out);
    explicit_bzero(text, KEY_FILE_MAX + 1);
    free(text);
    return status;
}

LedgeStatus ledge__key_load(const char *path, LedgeError *err, LedgeKey **out)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return ledge__fail(err, errno == ENOENT ? LEDGE_ERROR_NOT_FOUND : LEDGE_ERROR_IO, path,
                           "cannot be opened: %s", strerror(errno));
    /* stdio's buffer would keep the private bytes after they are wiped here. */
    setvbuf(f, NULL, _IONBF, 0);
    LedgeStatus status = read_key(f, path, err, out);
    fclose(f);
    return status;
}
