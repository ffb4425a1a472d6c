/* Writes .npy version 1: the header padded so that the elements start at a multiple of 64. */
#include "image/npy.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/out_file.h"

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

/* Element i of a packed 2- or 4-bit tensor, low bits first, as one byte. */
static uint8_t unpack(const LedgeTensor *t, size_t i)
{
    unsigned bits = ledge_type_bits(t->type), per_byte = 8 / bits;
    unsigned v = ((const uint8_t *)t->data)[i / per_byte] >> (i % per_byte * bits);
    v &= (1u << bits) - 1;
    bool is_signed = t->type == LEDGE_INT4 || t->type == LEDGE_INT2;
    return (uint8_t)(is_signed && v >> (bits - 1) ? v | ~((1u << bits) - 1) : v);
}

static LedgeStatus write_header(LedgeOutFile *f, const char *descr, const LedgeTensor *t,
                                LedgeError *err)
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
    memset(text + n, ' ', padded - (size_t)n - 1);
    text[padded - 1] = '\n';
    LEDGE_TRY(ledge__out_file_write(f, magic, sizeof magic, err));
    return ledge__out_file_write(f, text, padded, err);
}

static LedgeStatus write_strings(LedgeOutFile *f, const LedgeTensor *t, size_t count, size_t widest,
                                 LedgeError *err)
{
    static const uint8_t zeros[64];
    const LedgeString *s = t->data;
    for (size_t i = 0; i < count; i++) {
        LEDGE_TRY(ledge__out_file_write(f, s[i].data, s[i].size, err));
        for (size_t left = widest - s[i].size; left > 0;) {
            size_t n = left < sizeof zeros ? left : sizeof zeros;
            LEDGE_TRY(ledge__out_file_write(f, zeros, n, err));
            left -= n;
        }
    }
    return LEDGE_OK;
}

/* Elements of a type that NumPy lacks, one by one in the wider type. */
static LedgeStatus write_widened(LedgeOutFile *f, const LedgeTensor *t, size_t count,
                                 LedgeError *err)
{
    for (size_t i = 0; i < count; i++) {
        if (t->type == LEDGE_BFLOAT16) {
            uint32_t wide = (uint32_t)((const uint16_t *)t->data)[i] << 16;
            LEDGE_TRY(ledge__out_file_write(f, &wide, sizeof wide, err));
        } else {
            uint8_t byte = unpack(t, i);
            LEDGE_TRY(ledge__out_file_write(f, &byte, 1, err));
        }
    }
    return LEDGE_OK;
}

static LedgeStatus write_all(LedgeOutFile *f, const LedgeTensor *t, const char *descr, size_t count,
                             size_t item, LedgeError *err)
{
    LEDGE_TRY(write_header(f, descr, t, err));
    if (t->type == LEDGE_STRING)
        return write_strings(f, t, count, item, err);
    if (t->type == LEDGE_BFLOAT16 || ledge_type_bits(t->type) < 8)
        return write_widened(f, t, count, err);
    return ledge__out_file_write(f, t->data, count * item, err);
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
    LedgeOutFile *f;
    LEDGE_TRY(ledge__out_file_open(ledge__allocator_or_default(NULL), path, err, &f));
    LedgeStatus status = write_all(f, tensor, descr, (size_t)count, item, err);
    if (status == LEDGE_OK)
        return ledge__out_file_commit(f, err);
    ledge__out_file_abort(f);
    return status;
}
