/* A tensor's elements on their way into a file: raw bytes, or the typed field that the file
 * they came from used. */
#include "engine/onnx/onnx_writer.h"

#include <string.h>

/* Element i of a varint field. int4 and friends go as the bytes that hold them. */
static uint64_t element(const OnnxTensor *t, size_t width, size_t i)
{
    uint64_t v = 0;
    memcpy(&v, (const uint8_t *)t->data + i * width, width);
    switch (t->data_type) {
    case LEDGE_INT8:
        return (uint64_t)(int64_t)(int8_t)v;
    case LEDGE_INT16:
        return (uint64_t)(int64_t)(int16_t)v;
    case LEDGE_INT32:
        return (uint64_t)(int64_t)(int32_t)v;
    default:
        return v;
    }
}

static void put_varints(OnnxWriter *w, const OnnxTensor *t, uint32_t number)
{
    const unsigned bits = ledge_type_bits((LedgeType)t->data_type);
    const size_t width = bits < 8 ? 1 : bits / 8, n = t->data_size / width;
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += ledge__wire_varint_size(element(t, width, i));
    ledge__onnx_put_varint(w, ledge__wire_tag(number, WIRE_LEN));
    ledge__onnx_put_varint(w, bytes);
    if (!w->memory && !w->file) {
        w->count += bytes;
        return;
    }
    for (size_t i = 0; i < n; i++)
        ledge__onnx_put_varint(w, element(t, width, i));
}

void ledge__onnx_put_data(OnnxWriter *w, const OnnxTensor *t, uint32_t number, bool asked)
{
    if (number == 6) {
        for (size_t i = 0; i < t->n_strings; i++)
            ledge__onnx_put_bytes(w, 6, t->strings[i].p, t->strings[i].n);
        return;
    }
    const bool verbatim = number == 4 || number == 9 || number == 10;
    if (!t->data_size && !(asked && verbatim))
        return;
    if (verbatim)
        ledge__onnx_put_bytes(w, number, t->data, t->data_size);
    else
        put_varints(w, t, number);
}
