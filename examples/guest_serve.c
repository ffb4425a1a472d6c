/* A guest for `ledge serve`: before the model it makes the input of a picture (a binary PPM, which
 * the server itself does not read), after it a list of the best classes of the scores.
 *
 *   clang --target=wasm32-wasi -mexec-model=reactor -O2 -Iinclude examples/guest_serve.c -o
 * pre.wasm ledge wasm build pre.wasm -o pre.lwm ledge serve net=model.onnx --guest pre.lwm curl
 * --data-binary @photo.ppm 'localhost:8000/v1/classify/net?top=3'
 *
 * How pictures are prepared for the model and what its classes are called comes with the request.
 * Tensors that are sent instead of a picture go to the model as they are. With -DONLY_PRE or
 * -DONLY_POST it does one half, and the server the other. */
#include "ledge/guest/guest_image.h"
#include "ledge/guest/guest_serve.h"

enum { MOST_SIDE = 16384 };

static GuestAnswer answer; /* the last one; what it points to is freed by the next call */

void *ledge_alloc(uint32_t bytes)
{
    return malloc(bytes ? bytes : 1);
}

void ledge_free(void *block)
{
    free(block);
}

static const GuestAnswer *refuse(const char *why)
{
    answer = (GuestAnswer){.error = why};
    return &answer;
}

#ifndef ONLY_POST

static GuestTensor tensor;

/* A number of the head; 0: there is none, or it is too large. */
static uint32_t read_number(const uint8_t **p, const uint8_t *end)
{
    uint32_t v = 0;
    while (*p < end && (**p == ' ' || **p == '\n' || **p == '\t' || **p == '\r'))
        ++*p;
    for (; *p < end && **p >= '0' && **p <= '9' && v <= MOST_SIDE; ++*p)
        v = v * 10 + (uint32_t)(**p - '0');
    return v <= MOST_SIDE ? v : 0;
}

/* The pixels of a PPM (P6, 255 levels), inside the body; NULL: it is none. */
static const uint8_t *read_ppm(const GuestRequest *r, uint32_t *width, uint32_t *height)
{
    const uint8_t *p = r->body, *end = p + r->body_bytes;
    if (r->body_bytes < 2 || memcmp(p, "P6", 2) != 0)
        return NULL;
    p += 2;
    *width = read_number(&p, end);
    *height = read_number(&p, end);
    if (read_number(&p, end) != 255 || !*width || !*height || p == end)
        return NULL;
    p++;
    return (uint64_t)*width * *height * 3 == (uint64_t)(end - p) ? p : NULL;
}

static GuestPrepare how(const GuestRequest *r)
{
    const GuestJson o = {r->preprocess,
                         r->preprocess ? r->preprocess + strlen(r->preprocess) : NULL};
    const int64_t *d = r->inputs[0].dims;
    const bool nhwc = d[3] == 3 && d[1] != 3;
    const int64_t h = d[nhwc ? 1 : 2], w = d[nhwc ? 2 : 3];
    GuestPrepare p =
        guest_prepare_read(o, h > 0 && w > 0 ? (uint32_t)h : 0, h > 0 && w > 0 ? (uint32_t)w : 0);
    if (d[1] == 3 || d[3] == 3)
        p.nhwc = nhwc;
    return p;
}

const GuestAnswer *ledge_preprocess(const GuestRequest *r)
{
    uint32_t width, height, dims[4];
    free(tensor.data);
    tensor.data = NULL;
    if (!r->body) { /* tensors came: they are what the model is to get */
        answer = (GuestAnswer){.n_tensors = r->n_tensors, .tensors = r->tensors};
        return &answer;
    }
    if (r->n_inputs != 1 || r->inputs[0].type != GUEST_FLOAT || r->inputs[0].rank != 4)
        return refuse("the model takes no pictures");
    const uint8_t *rgb = read_ppm(r, &width, &height);
    if (!rgb)
        return refuse("the body is no PPM (P6) of 255 levels");
    const GuestPrepare p = how(r);
    tensor = (GuestTensor){.name = r->inputs[0].name, .type = GUEST_FLOAT, .rank = 4};
    tensor.data = guest_prepare(&p, rgb, width, height, dims);
    if (!tensor.data)
        return refuse("the picture is too small for the crop, or too large");
    tensor.bytes = 4;
    for (int i = 0; i < 4; i++) {
        tensor.dims[i] = dims[i];
        tensor.bytes *= dims[i];
    }
    answer = (GuestAnswer){.n_tensors = 1, .tensors = &tensor};
    return &answer;
}

#endif
#ifndef ONLY_PRE

static GuestText text;

const GuestAnswer *ledge_postprocess(const GuestRequest *r)
{
    const GuestTensor *t = &r->tensors[0];
    if (!r->n_tensors || t->type != GUEST_FLOAT)
        return refuse("the model gives no scores");
    guest_softmax(t->data, t->bytes / 4);
    text.n = 0;
    guest_put_text(&text, "{");
    guest_put_predictions(&text, t->data, t->bytes / 4, r->labels, 0, r->top ? r->top : 5);
    guest_put_text(&text, "}");
    if (!text.p)
        return NULL;
    answer = (GuestAnswer){.json = text.p, .json_bytes = (uint32_t)text.n};
    return &answer;
}

#endif
