/* CIFAR-10 binary files and MNIST idx files, read whole. */
#include "image/dataset_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <zlib.h>

#include "base/error.h"

#define MAX_BYTES     ((size_t)512 << 20)
#define CIFAR_SIDE    32
#define CIFAR_RECORD  (1 + 3 * CIFAR_SIDE * CIFAR_SIDE)
#define CIFAR_CLASSES 10

typedef struct Bytes {
    const uint8_t *p;
    size_t n;
} Bytes;

static LedgeStatus gz_fault(gzFile f, const char *path, LedgeError *err)
{
    int code = Z_OK;
    const char *text = gzerror(f, &code);
    if (code == Z_ERRNO)
        return ledge__fail(err, LEDGE_ERROR_IO, path, "cannot be read: %s", strerror(errno));
    return ledge__fail(err, LEDGE_ERROR_FORMAT, path,
                       "the gzip data is damaged or cut off (%s); copy the file again", text);
}

/* Reads to the end into the arena, unpacking gzip; plain files pass as they are. */
static LedgeStatus read_gz(LedgeArena *arena, gzFile f, const char *path, LedgeError *err,
                           Bytes *out)
{
    size_t cap = 0, used = 0;
    uint8_t *bytes = NULL;
    for (;;) {
        if (used == cap) {
            size_t wider = cap ? 4 * cap : (size_t)1 << 20;
            uint8_t *moved = ledge__arena_alloc(arena, wider, 1);
            if (!moved)
                return ledge__no_memory(err);
            if (used)
                memcpy(moved, bytes, used);
            bytes = moved;
            cap = wider;
        }
        size_t room = cap - used < (1u << 30) ? cap - used : 1u << 30;
        int got = gzread(f, bytes + used, (unsigned)room);
        int code;
        gzerror(f, &code);
        if (got < 0 || code < 0)
            return gz_fault(f, path, err);
        used += (size_t)got;
        if (used > MAX_BYTES)
            return ledge__fail(err, LEDGE_ERROR_LIMIT, path, "is over 512 MiB when unpacked");
        if (got == 0)
            break;
    }
    *out = (Bytes){bytes, used};
    return LEDGE_OK;
}

static LedgeStatus read_file(LedgeDataset *d, const char *path, LedgeError *err, Bytes *out)
{
    gzFile f = gzopen(path, "rb");
    if (!f)
        return ledge__fail(err, errno == ENOENT ? LEDGE_ERROR_NOT_FOUND : LEDGE_ERROR_IO, path,
                           "cannot be opened: %s", strerror(errno));
    LedgeStatus status = read_gz(d->arena, f, path, err, out);
    gzclose(f);
    return status;
}

static LedgeStatus read_cifar10(LedgeDataset *d, const char *path, LedgeError *err)
{
    Bytes file;
    LEDGE_TRY(read_file(d, path, err, &file));
    if (file.n == 0 || file.n % CIFAR_RECORD != 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, path,
                           "is %zu bytes long, not a multiple of CIFAR-10's %d-byte records",
                           file.n, CIFAR_RECORD);
    d->count = file.n / CIFAR_RECORD;
    d->labels = ledge__arena_alloc(d->arena, d->count, sizeof *d->labels);
    if (!d->labels)
        return ledge__no_memory(err);
    for (size_t i = 0; i < d->count; i++) {
        d->labels[i] = file.p[i * CIFAR_RECORD];
        if (d->labels[i] >= CIFAR_CLASSES)
            return ledge__fail(err, LEDGE_ERROR_FORMAT, path,
                               "record %zu has class %d of 10; this is no CIFAR-10 file", i,
                               d->labels[i]);
    }
    d->pixels = file.p + 1;
    d->record = CIFAR_RECORD;
    d->width = d->height = CIFAR_SIDE;
    d->channels = 3;
    return LEDGE_OK;
}

static uint32_t big_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static LedgeStatus check_idx(Bytes file, const char *path, int rank, LedgeError *err)
{
    size_t header = 4 + 4 * (size_t)rank, need = header, size = 1;
    if (file.n < header || big_u32(file.p) != 0x800u + (unsigned)rank)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, path, "is no idx%d file of bytes", rank);
    bool ok = true;
    for (int i = 0; i < rank; i++)
        ok = ok && ledge__mul(size, big_u32(file.p + 4 + 4 * i), &size);
    if (!ok || !ledge__add(header, size, &need) || need != file.n || size == 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, path,
                           "its header and its length of %zu bytes disagree; copy it again",
                           file.n);
    return LEDGE_OK;
}

static LedgeStatus read_mnist(LedgeDataset *d, const char *images, const char *labels,
                              LedgeError *err)
{
    Bytes pixels, classes;
    LEDGE_TRY(read_file(d, images, err, &pixels));
    LEDGE_TRY(check_idx(pixels, images, 3, err));
    LEDGE_TRY(read_file(d, labels, err, &classes));
    LEDGE_TRY(check_idx(classes, labels, 1, err));
    d->count = big_u32(pixels.p + 4);
    if (big_u32(classes.p + 4) != d->count)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, labels, "has %u labels for %zu pictures",
                           big_u32(classes.p + 4), d->count);
    d->height = big_u32(pixels.p + 8);
    d->width = big_u32(pixels.p + 12);
    d->channels = 1;
    d->record = (size_t)d->width * d->height;
    d->pixels = pixels.p + 16;
    d->labels = ledge__arena_alloc(d->arena, d->count, sizeof *d->labels);
    if (!d->labels)
        return ledge__no_memory(err);
    for (size_t i = 0; i < d->count; i++)
        d->labels[i] = classes.p[8 + i];
    return LEDGE_OK;
}

static LedgeStatus finish(LedgeDataset *d, LedgeStatus status, LedgeDataset **out)
{
    if (status != LEDGE_OK) {
        ledge__dataset_free(d);
        return status;
    }
    *out = d;
    return LEDGE_OK;
}

LedgeStatus ledge__dataset_open_cifar10(const LedgeAllocator *a, const char *path, LedgeError *err,
                                        LedgeDataset **out)
{
    LedgeDataset *d = ledge__dataset_new(a);
    if (!d)
        return ledge__no_memory(err);
    return finish(d, read_cifar10(d, path, err), out);
}

/* The labels' file by the pictures' one; NULL: no such pattern in its name, or no memory. */
static const char *guess_labels(LedgeDataset *d, const char *images)
{
    const char *base = strrchr(images, '/');
    const char *at = strstr(base ? base : images, "images-idx3");
    return at ? ledge__arena_printf(d->arena, "%.*slabels-idx1%s", (int)(at - images), images,
                                    at + strlen("images-idx3"))
              : NULL;
}

LedgeStatus ledge__dataset_open_mnist(const LedgeAllocator *a, const char *images,
                                      const char *labels, LedgeError *err, LedgeDataset **out)
{
    LedgeDataset *d = ledge__dataset_new(a);
    if (!d)
        return ledge__no_memory(err);
    if (!labels)
        labels = guess_labels(d, images);
    if (!labels)
        return finish(d,
                      ledge__fail(err, LEDGE_ERROR_ARGUMENT, images,
                                  "give its labels file too: mnist:IMAGES,LABELS"),
                      out);
    return finish(d, read_mnist(d, images, labels, err), out);
}
