/* What all datasets share: dispatch by name, and reading one sample. */
#include "image/dataset_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

LedgeDataset *ledge__dataset_new(const LedgeAllocator *a)
{
    LedgeArena *arena = ledge__arena_new(ledge__allocator_or_default(a));
    LedgeDataset *d = arena ? ledge__arena_alloc(arena, 1, sizeof *d) : NULL;
    if (!d) {
        ledge__arena_free(arena);
        return NULL;
    }
    d->arena = arena;
    return d;
}

void ledge__dataset_free(LedgeDataset *dataset)
{
    if (dataset)
        ledge__arena_free(dataset->arena);
}

size_t ledge__dataset_count(const LedgeDataset *dataset)
{
    return dataset->count;
}

int32_t ledge__dataset_label(const LedgeDataset *dataset, size_t index)
{
    return dataset->labels ? dataset->labels[index] : -1;
}

const char *ledge__dataset_path(const LedgeDataset *dataset, size_t index)
{
    return dataset->paths ? dataset->paths[index] : NULL;
}

/* Planes to pixels. */
static LedgeStatus read_binary(const LedgeDataset *d, size_t index, LedgeError *err,
                               LedgeImage *out)
{
    LEDGE_TRY(ledge__image_new(ledge__arena_allocator(d->arena), d->width, d->height, d->channels,
                               err, out));
    const uint8_t *from = d->pixels + index * d->record;
    size_t plane = (size_t)d->width * d->height, channels = (size_t)d->channels;
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < plane; i++)
            out->pixels[i * channels + c] = from[c * plane + i];
    return LEDGE_OK;
}

LedgeStatus ledge__dataset_read(const LedgeDataset *d, size_t index, LedgeError *err,
                                LedgeSample *out)
{
    LedgeImage image;
    if (d->paths)
        LEDGE_TRY(
            ledge__image_load(ledge__arena_allocator(d->arena), d->paths[index], err, &image));
    else
        LEDGE_TRY(read_binary(d, index, err, &image));
    out->image = image;
    out->label = ledge__dataset_label(d, index);
    if (d->names)
        snprintf(out->name, sizeof out->name, "%s", d->names[index]);
    else
        snprintf(out->name, sizeof out->name, "#%zu", index);
    return LEDGE_OK;
}

/* The word before the colon; empty where it is none of those known. */
static LedgeStr kind_of(const char *what)
{
    const char *colon = strchr(what, ':');
    const LedgeStr kind = {what, colon ? (size_t)(colon - what) : 0};
    const bool known = ledge__str_eq(kind, "cifar10") || ledge__str_eq(kind, "mnist") ||
                       ledge__str_eq(kind, "folder");
    return known ? kind : (LedgeStr){what, 0};
}

LedgeStatus ledge__dataset_open_any(const LedgeAllocator *a, const char *what, const char *labels,
                                    LedgeError *err, LedgeDataset **out)
{
    return kind_of(what).n ? ledge__dataset_open(a, what, err, out)
                           : ledge__dataset_open_folder(a, what, labels, err, out);
}

LedgeStatus ledge__dataset_open(const LedgeAllocator *a, const char *what, LedgeError *err,
                                LedgeDataset **out)
{
    const LedgeStr kind = kind_of(what);
    const char *colon = what + kind.n;
    char path[4096];
    if (!kind.n)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, what,
                           "is no dataset; give cifar10:FILE, mnist:IMAGES[,LABELS] or "
                           "folder:DIR[,CSV]");
    if (strlen(colon + 1) >= sizeof path)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, what, "this path is too long");
    strcpy(path, colon + 1);
    if (ledge__str_eq(kind, "cifar10"))
        return ledge__dataset_open_cifar10(a, path, err, out);
    char *comma = strchr(path, ',');
    if (comma)
        *comma++ = 0;
    return ledge__str_eq(kind, "mnist") ? ledge__dataset_open_mnist(a, path, comma, err, out)
                                        : ledge__dataset_open_folder(a, path, comma, err, out);
}
