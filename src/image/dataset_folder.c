/* Folders of pictures, with labels from a CSV or without. */
#include "image/dataset_impl.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "image/file_bytes.h"

#define MAX_CSV   ((size_t)64 << 20)
#define MAX_CLASS 1000000

static LedgeStatus add(LedgeDataset *d, const char *folder, const char *name, size_t n,
                       LedgeError *err)
{
    char *path = ledge__arena_printf(d->arena, "%s/%.*s", folder, (int)n, name);
    if (!path)
        return ledge__no_memory(err);
    d->paths[d->count] = path;
    d->names[d->count] = path + strlen(folder) + 1;
    d->count++;
    return LEDGE_OK;
}

static LedgeStatus make_room(LedgeDataset *d, size_t most, bool labels, LedgeError *err)
{
    d->paths = ledge__arena_alloc(d->arena, most, sizeof *d->paths);
    d->names = ledge__arena_alloc(d->arena, most, sizeof *d->names);
    d->labels = labels ? ledge__arena_alloc(d->arena, most, sizeof *d->labels) : NULL;
    return d->paths && d->names && (d->labels || !labels) ? LEDGE_OK : ledge__no_memory(err);
}

static LedgeStr trimmed(const char *from, const char *to)
{
    while (from < to && strchr(" \t\r\"", *from))
        from++;
    while (to > from && strchr(" \t\r\"", to[-1]))
        to--;
    return (LedgeStr){from, (size_t)(to - from)};
}

/* -1: not a class number. */
static int32_t class_of(LedgeStr s)
{
    int32_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || v > MAX_CLASS)
            return -1;
        v = v * 10 + (s.p[i] - '0');
    }
    return s.n && v <= MAX_CLASS ? v : -1;
}

/* "file,class_id": the last comma parts them, so that a file's name may hold others. */
static LedgeStatus read_line(LedgeDataset *d, const char *folder, const char *csv, size_t number,
                             const char *line, size_t n, LedgeError *err)
{
    if (trimmed(line, line + n).n == 0)
        return LEDGE_OK;
    const char *comma = memrchr(line, ',', n);
    LedgeStr file = trimmed(line, comma ? comma : line);
    int32_t label = comma ? class_of(trimmed(comma + 1, line + n)) : -1;
    if (number == 1 && comma && label < 0)
        return LEDGE_OK; /* the names of the columns */
    if (file.n == 0 || label < 0 || memchr(file.p, 0, file.n))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, csv,
                           "line %zu is not \"file,class_id\" with a class from 0 to %d", number,
                           MAX_CLASS);
    d->labels[d->count] = label;
    return add(d, folder, file.p, file.n, err);
}

static LedgeStatus read_csv(LedgeDataset *d, const char *folder, const char *csv, const char *text,
                            size_t size, LedgeError *err)
{
    size_t lines = 1, number = 1;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    LEDGE_TRY(make_room(d, lines, true, err));
    for (size_t at = 0; at < size; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t n = end ? (size_t)(end - text) - at : size - at;
        LEDGE_TRY(read_line(d, folder, csv, number, text + at, n, err));
        at += n + 1;
    }
    return LEDGE_OK;
}

static LedgeStatus open_csv(LedgeDataset *d, const char *folder, const char *csv, LedgeError *err)
{
    const LedgeAllocator *a = ledge__arena_allocator(d->arena);
    uint8_t *text;
    size_t size;
    LEDGE_TRY(ledge__file_bytes(a, csv, MAX_CSV, err, &text, &size));
    LedgeStatus status = read_csv(d, folder, csv, (const char *)text, size, err);
    ledge__free(a, text);
    return status;
}

static int is_picture(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && dot != entry->d_name &&
           (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 ||
            strcasecmp(dot, ".png") == 0);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static LedgeStatus list_folder(LedgeDataset *d, const char *folder, LedgeError *err)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, is_picture, by_name);
    if (n < 0)
        return ledge__fail(err, errno == ENOENT ? LEDGE_ERROR_NOT_FOUND : LEDGE_ERROR_IO, folder,
                           "cannot be listed: %s", strerror(errno));
    LedgeStatus status = make_room(d, (size_t)n + 1, false, err);
    for (int i = 0; i < n; i++) {
        if (status == LEDGE_OK)
            status = add(d, folder, entries[i]->d_name, strlen(entries[i]->d_name), err);
        free(entries[i]);
    }
    free(entries);
    return status;
}

LedgeStatus ledge__dataset_open_folder(const LedgeAllocator *a, const char *folder,
                                       const char *labels, LedgeError *err, LedgeDataset **out)
{
    LedgeDataset *d = ledge__dataset_new(a);
    if (!d)
        return ledge__no_memory(err);
    LedgeStatus status = labels ? open_csv(d, folder, labels, err) : list_folder(d, folder, err);
    if (status == LEDGE_OK && d->count == 0)
        status =
            labels ? ledge__fail(err, LEDGE_ERROR_FORMAT, labels, "lists no picture")
                   : ledge__fail(err, LEDGE_ERROR_FORMAT, folder, "holds no .jpg or .png picture");
    if (status != LEDGE_OK) {
        ledge__dataset_free(d);
        return status;
    }
    *out = d;
    return LEDGE_OK;
}
