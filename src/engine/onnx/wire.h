/* The protobuf wire format: reading fields one by one within bounds, and writing them.
 *
 * A WireSpan is a piece of the file that knows its offset there, so that every error can say
 * where. Reading never looks past the span's end; nothing here allocates. Follows
 * "Protocol Buffers Encoding" (wire types VARINT 0, I64 1, LEN 2, I32 5; groups are refused,
 * ONNX has none). */
#ifndef LEDGE_ENGINE_ONNX_WIRE_H
#define LEDGE_ENGINE_ONNX_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "ledge keeps tensor bytes little-endian and has no port to a big-endian machine"
#endif

typedef enum WireType { WIRE_VARINT = 0, WIRE_I64 = 1, WIRE_LEN = 2, WIRE_I32 = 5 } WireType;

typedef struct WireSpan {
    const uint8_t *p;
    size_t n;
    uint64_t offset; /* of p in the file */
} WireSpan;

typedef struct WireField {
    uint32_t number;
    WireType type;
    uint64_t value; /* VARINT, I64, I32 */
    WireSpan bytes; /* the payload: LEN's content, or the scalar's own bytes */
    WireSpan whole; /* tag included */
} WireField;

/* Takes the next field off the front of *s. *more is false (and *out untouched) at the end.
 * FORMAT when the bytes are no field or it reaches past the span. */
LedgeStatus ledge__wire_next(WireSpan *s, WireField *out, bool *more, LedgeError *err);
/* Takes one varint off the front; FORMAT when truncated or longer than 10 bytes. */
LedgeStatus ledge__wire_varint(WireSpan *s, uint64_t *out, LedgeError *err);
/* Varints in a packed field: bytes without the continuation bit. */
size_t ledge__wire_count_varints(WireSpan s);

static inline LedgeStr ledge__wire_str(WireSpan s)
{
    return (LedgeStr){(const char *)s.p, s.n};
}

/* Bytes that `v` takes as a varint. */
size_t ledge__wire_varint_size(uint64_t v);
/* Writes `v` and returns the byte after it. */
uint8_t *ledge__wire_put_varint(uint8_t *to, uint64_t v);

static inline uint64_t ledge__wire_tag(uint32_t number, WireType type)
{
    return (uint64_t)number << 3 | (uint64_t)type;
}

#endif
