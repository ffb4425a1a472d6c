/* The protobuf wire format, see wire.h. */
#include "engine/onnx/wire.h"

#include <stdio.h>
#include <string.h>

#define MAX_FIELD_NUMBER ((1u << 29) - 1)

static LedgeStatus bad(const WireSpan *s, LedgeError *err, const char *what)
{
    char where[40];
    snprintf(where, sizeof where, "byte %llu", (unsigned long long)s->offset);
    return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                       "%s: the file is damaged, cut short, or no ONNX model", what);
}

static void skip(WireSpan *s, size_t n)
{
    s->p += n;
    s->n -= n;
    s->offset += n;
}

LedgeStatus ledge__wire_varint(WireSpan *s, uint64_t *out, LedgeError *err)
{
    uint64_t v = 0;
    for (size_t i = 0; i < 10; i++) {
        if (i >= s->n)
            return bad(s, err, "a number is cut off");
        v |= (uint64_t)(s->p[i] & 0x7f) << (7 * i);
        if (s->p[i] < 0x80) {
            skip(s, i + 1);
            *out = v;
            return LEDGE_OK;
        }
    }
    return bad(s, err, "a number is longer than 10 bytes");
}

static LedgeStatus take(WireSpan *s, size_t n, WireSpan *out, LedgeError *err)
{
    if (n > s->n)
        return bad(s, err, "a fixed-size field is cut off");
    *out = (WireSpan){s->p, n, s->offset};
    skip(s, n);
    return LEDGE_OK;
}

static LedgeStatus take_payload(WireSpan *s, WireField *f, LedgeError *err)
{
    const WireSpan start = *s;
    uint64_t length = 0;
    switch (f->type) {
    case WIRE_VARINT:
        LEDGE_TRY(ledge__wire_varint(s, &f->value, err));
        f->bytes = (WireSpan){start.p, (size_t)(s->p - start.p), start.offset};
        return LEDGE_OK;
    case WIRE_I64:
        LEDGE_TRY(take(s, 8, &f->bytes, err));
        memcpy(&f->value, f->bytes.p, 8);
        return LEDGE_OK;
    case WIRE_I32:
        LEDGE_TRY(take(s, 4, &f->bytes, err));
        memcpy(&f->value, f->bytes.p, 4);
        return LEDGE_OK;
    case WIRE_LEN:
        LEDGE_TRY(ledge__wire_varint(s, &length, err));
        if (length > s->n) {
            char what[120];
            snprintf(what, sizeof what, "field %u declares %llu bytes where %zu are left",
                     f->number, (unsigned long long)length, s->n);
            return bad(&start, err, what);
        }
        return take(s, (size_t)length, &f->bytes, err);
    }
    return bad(&start, err, "unknown kind of field");
}

LedgeStatus ledge__wire_next(WireSpan *s, WireField *out, bool *more, LedgeError *err)
{
    const WireSpan start = *s;
    WireField f = {0};
    uint64_t tag = 0;
    *more = s->n > 0;
    if (!*more)
        return LEDGE_OK;
    LEDGE_TRY(ledge__wire_varint(s, &tag, err));
    if (tag >> 3 == 0 || tag >> 3 > MAX_FIELD_NUMBER)
        return bad(&start, err, "not a field number");
    f.number = (uint32_t)(tag >> 3);
    f.type = (WireType)(tag & 7);
    LEDGE_TRY(take_payload(s, &f, err));
    f.whole = (WireSpan){start.p, (size_t)(s->p - start.p), start.offset};
    *out = f;
    return LEDGE_OK;
}

size_t ledge__wire_count_varints(WireSpan s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] < 0x80;
    return n;
}

size_t ledge__wire_varint_size(uint64_t v)
{
    size_t n = 1;
    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

uint8_t *ledge__wire_put_varint(uint8_t *to, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *to++ = (uint8_t)(v | 0x80);
    *to++ = (uint8_t)v;
    return to;
}
