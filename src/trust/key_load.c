/* Keys from files. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "trust/key_name.h"

#define KEY_FILE_MAX 65536

void ledge__key_text_free(char *text, size_t size)
{
    if (text)
        explicit_bzero(text, size);
    free(text);
}

static LedgeStatus read_text(FILE *f, const char *path, LedgeError *err, char **out, size_t *size)
{
    char *text = malloc(KEY_FILE_MAX + 1);
    if (!text)
        return ledge__no_memory(err);
    const size_t n = fread(text, 1, KEY_FILE_MAX + 1, f);
    if (!ferror(f) && n <= KEY_FILE_MAX) {
        *out = text;
        *size = n;
        return LEDGE_OK;
    }
    const LedgeStatus status =
        ferror(f) ? ledge__fail(err, LEDGE_ERROR_IO, path, "cannot be read: %s", strerror(errno))
                  : ledge__fail(err, LEDGE_ERROR_LIMIT, path, "is too large for a key's file");
    ledge__key_text_free(text, n);
    return status;
}

LedgeStatus ledge__key_text(const char *path, LedgeError *err, char **text, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return ledge__fail(err, errno == ENOENT ? LEDGE_ERROR_NOT_FOUND : LEDGE_ERROR_IO, path,
                           "cannot be opened: %s", strerror(errno));
    /* stdio's buffer would keep the private bytes after they are wiped here. */
    setvbuf(f, NULL, _IONBF, 0);
    const LedgeStatus status = read_text(f, path, err, text, size);
    fclose(f);
    return status;
}

LedgeStatus ledge__key_load(const char *path, LedgeError *err, LedgeKey **out)
{
    char *text;
    size_t size;
    LEDGE_TRY(ledge__key_text(path, err, &text, &size));
    const LedgeStatus status = ledge__key_parse(path, text, size, err, out);
    ledge__key_text_free(text, size);
    return status;
}
