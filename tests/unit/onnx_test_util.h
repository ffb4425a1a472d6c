/* Helpers of the ONNX tests: building wire bytes by hand, finding files, failing allocators. */
#ifndef LEDGE_TESTS_ONNX_TEST_UTIL_H
#define LEDGE_TESTS_ONNX_TEST_UTIL_H

#include <dirent.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/onnx/onnx.h"

#ifndef LEDGE_SOURCE_ROOT /* the build sets it */
#define LEDGE_SOURCE_ROOT "."
#endif

/* ---- wire bytes ---- */

typedef struct Bytes {
    uint8_t p[8192];
    size_t n;
} Bytes;

static inline void put_varint(Bytes *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        b->p[b->n++] = (uint8_t)(v | 0x80);
    b->p[b->n++] = (uint8_t)v;
}

static inline void put_int(Bytes *b, uint32_t field, int64_t v)
{
    put_varint(b, (uint64_t)field << 3);
    put_varint(b, (uint64_t)v);
}

static inline void put_len(Bytes *b, uint32_t field, const void *p, size_t n)
{
    put_varint(b, (uint64_t)field << 3 | 2);
    put_varint(b, n);
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
}

static inline void put_text(Bytes *b, uint32_t field, const char *s)
{
    put_len(b, field, s, strlen(s));
}

static inline void put_sub(Bytes *b, uint32_t field, const Bytes *sub)
{
    put_len(b, field, sub->p, sub->n);
}

/* A TensorProto's name, type and dims; the caller adds the data. */
static inline Bytes tensor_head(const char *name, int type, int n_dims, const int64_t *dims)
{
    Bytes t = {.n = 0};
    for (int i = 0; i < n_dims; i++)
        put_int(&t, 1, dims[i]);
    put_int(&t, 2, type);
    put_text(&t, 8, name);
    return t;
}

/* A model with the one initializer. */
static inline Bytes model_around(const Bytes *initializer)
{
    Bytes graph = {.n = 0}, model = {.n = 0}, opset = {.n = 0};
    put_text(&graph, 2, "g");
    put_sub(&graph, 5, initializer);
    put_int(&model, 1, 8);
    put_sub(&model, 7, &graph);
    put_int(&opset, 2, 13);
    put_sub(&model, 8, &opset);
    return model;
}

/* ---- files ---- */

static inline void data_path(char *to, size_t size, const char *name)
{
    snprintf(to, size, "%s/tests/data/onnx/%s", LEDGE_SOURCE_ROOT, name);
}

/* Folder of shared assets, or NULL with a line that says so. */
static inline const char *assets(void)
{
    static char path[1024];
    const char *env = getenv("LEDGE_ASSETS");
    snprintf(path, sizeof path, "%s", env ? env : LEDGE_SOURCE_ROOT "/../shared/assets");
    DIR *d = opendir(path);
    if (!d) {
        printf("skipped: no assets at %s (set LEDGE_ASSETS)\n", path);
        return NULL;
    }
    closedir(d);
    return path;
}

static inline uint8_t *read_whole(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *p = malloc(*size ? *size : 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, *size, f), *size);
    fclose(f);
    return p;
}

/* ---- an allocator that refuses the n-th request and counts what is not given back ---- */

typedef struct Failing {
    long until_failure; /* -1: never */
    long live;
    bool refused; /* some request was */
} Failing;

static inline void *failing_alloc(void *context, size_t size, size_t align)
{
    Failing *f = context;
    if (f->until_failure == 0) {
        f->refused = true;
        return NULL;
    }
    if (f->until_failure > 0)
        f->until_failure--;
    void *p = aligned_alloc(align, (size + align - 1) / align * align);
    f->live += p != NULL;
    return p;
}

static inline void failing_free(void *context, void *pointer)
{
    Failing *f = context;
    f->live -= pointer != NULL;
    free(pointer);
}

static inline LedgeAllocator failing_allocator(Failing *f)
{
    return (LedgeAllocator){failing_alloc, failing_free, f};
}

#endif
