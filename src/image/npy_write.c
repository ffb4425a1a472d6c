/* Writes .npy version 1: the header padded so that the elements start at a multiple of 64. */
#include "image/npy.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"

/* numpy's letter and bytes per element as written; NULL: no dtype for it. */
static const char *descr_of(LedgeType type, size_t *item)
{
    static const struct {
        LedgeType type;
        const char *descr;
        uint8_t item;
    } types[] = {
        {LEDGE_FLOAT, "<f4", 4},     {LEDGE_UINT8, "|u1", 1},        {LEDGE_INT8, "|i1", 1},
        {LEDGE_UINT16, "<u2", 2},    {LEDGE_INT16, "<i2", 2},        {LEDGE_INT32, "<i4", 4},
        {LEDGE_INT64, "<i8", 8},     {LEDGE_BOOL, "|b1", 1},         {LEDGE_FLOAT16, "<f2", 2},
        {LEDGE_DOUBLE, "<f8", 8},    {LEDGE_UINT32, "<u4", 4},       {LEDGE_UINT64, "<u8", 8},
        {LEDGE_COMPLEX64, "<c8", 8}, {LEDGE_COMPLEX128, "<c16", 16}, {LEDGE_UINT4, "|u1", 1},
        {LEDGE_INT4, "|i1", 1},      {LEDGE_UINT2, "|u1", 1},        {LEDGE_INT2, "|i1", 1},
        {LEDGE_BFLOAT16, "<f4", 4},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type) {
            *item = types[i].item;
            return types[i].descr;
        }
    return NULL;
}

static bool is_packed(LedgeType type)
{
    return ledge_type_bits(type) < 8;
}

/* Element i of a packed 2- or 4-bit tensor, low bits first, as one byte. */
static uint8_t unpack(const LedgeTensor *t, size_t i)
{
    unsigned bits = ledge_type_bits(t->type), per_byte = 8 / bits;
    unsigned v = ((const uint8_t *)t->data)[i / per_byte] >> (i % per_byte * bits);
    v &= (1u << bits) - 1;
    bool is_signed = t->type == LEDGE_INT4 || t->type == LEDGE_INT2;
    return (uint8_t)(is_signed && v >> (bits - 1) ? v | ~((1u << bits) - 1) : v);
}

static bool write_header(FILE *f, const char *descr, const LedgeTensor *t)
{
    char text[512], shape[LEDGE_MAX_RANK * 22 + 4];
    size_t used = 0;
    for (int d = 0; d < t->rank; d++)
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%lld,%s",
                                 (long long)t->dims[d], d + 1 < t->rank ? " " : "");
    shape[used] = 0;
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                     descr, shape);
    size_t padded = ledge__round_up(10 + (size_t)n + 1, 64) - 10;
    uint8_t magic[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
    magic[8] = (uint8_t)padded;
    magic[9] = (uint8_t)(padded >> 8);
    return fwrite(magic, sizeof magic, 1, f) == 1 &&
           fprintf(f, "%-*s\n", (int)padded - 1, text) == (int)padded;
}

static bool write_strings(FILE *f, const LedgeTensor *t, size_t count, size_t widest)
{
    const LedgeString *s = t->data;
    for (size_t i = 0; i < count; i++) {
        if (s[i].size && fwrite(s[i].data, 1, s[i].size, f) != s[i].size)
            return false;
        for (size_t k = s[i].size; k < widest; k++)
            if (putc(0, f) == EOF)
                return false;
    }
    return true;
}

static bool write_elements(FILE *f, const LedgeTensor *t, size_t count, size_t item)
{
    if (count == 0)
        return true;
    if (t->type == LEDGE_BFLOAT16) {
        for (size_t i = 0; i < count; i++) {
            uint32_t wide = (uint32_t)((const uint16_t *)t->data)[i] << 16;
            if (fwrite(&wide, sizeof wide, 1, f) != 1)
                return false;
        }
        return true;
    }
    if (!is_packed(t->type))
        return fwrite(t->data, item, count, f) == count;
    for (size_t i = 0; i < count; i++)
        if (putc(unpack(t, i), f) == EOF)
            return false;
    return true;
}

static LedgeStatus write_file(const char *path, const LedgeTensor *t, const char *descr,
                              size_t count, size_t item, LedgeError *err)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        return ledge__fail(err, LEDGE_ERROR_IO, path, "cannot be written: %s", strerror(errno));
    bool ok =
        write_header(f, descr, t) && (t->type == LEDGE_STRING ? write_strings(f, t, count, item)
                                                              : write_elements(f, t, count, item));
    int fault = errno;
    if (fclose(f) != 0 && ok) {
        fault = errno;
        ok = false;
    }
    if (ok)
        return LEDGE_OK;
    struct stat what;
    if (stat(path, &what) == 0 && S_ISREG(what.st_mode)) /* never a device or a pipe */
        unlink(path);
    return ledge__fail(err, LEDGE_ERROR_IO, path, "cannot be written: %s", strerror(fault));
}

LedgeStatus ledge__npy_save(const char *path, const LedgeTensor *tensor, LedgeError *err)
{
    int64_t count = ledge_tensor_count(tensor);
    size_t item = 1;
    char text_descr[32];
    const char *descr = descr_of(tensor->type, &item);
    if (count < 0 || tensor->rank < 0)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, path, "the tensor's shape is not known");
    if (tensor->type == LEDGE_STRING) {
        const LedgeString *s = tensor->data;
        for (int64_t i = 0; i < count; i++)
            item = s[i].size > item ? s[i].size : item;
        snprintf(text_descr, sizeof text_descr, "|S%zu", item);
        descr = text_descr;
    }
    if (!descr)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, path, "no .npy dtype for %s tensors",
                           ledge_type_name(tensor->type));
    return write_file(path, tensor, descr, (size_t)count, item, err);
}
