/* For guests that `ledge serve` runs before or after a model (docs/wasm.md, "In front of a model").
 *
 * The guest is a reactor. It exports ledge_alloc, ledge_free, and ledge_preprocess,
 * ledge_postprocess or both. The server lays a request into memory that it asks for, calls with
 * its address, and copies what the answer points to before it calls anything else; then it gives
 * the request back. So an answer may point into the request, into static memory, or to memory that
 * the guest frees at its next call. All addresses are the guest's own: on wasm32 the structures
 * below are what the server reads and writes, byte by byte.
 *
 * A server has several instances, and a request may have one before the model and another one
 * behind it: what the second half is to know of the first (the size of a picture, say) goes with
 * the request as a note. What an instance keeps lasts until it is ended or the model is loaded
 * anew. */
#ifndef LEDGE_GUEST_SERVE_H
#define LEDGE_GUEST_SERVE_H

#include <stdint.h>

#define GUEST_SERVE_VERSION 1 /* of what is laid out here; in every request */
#define GUEST_SERVE_RANK    8
#define GUEST_SERVE_TENSORS 64 /* most of a request or an answer */
#ifdef __wasm__
#define GUEST_EXPORT(symbol) __attribute__((export_name(symbol)))
#else /* so that the header can be read, and a guest be tested, elsewhere */
#define GUEST_EXPORT(symbol)
#endif

/* Element types are ONNX's. The data of GUEST_STRING is, for each element, 32 bits of its length
 * and its bytes. */
enum {
    GUEST_FLOAT = 1,
    GUEST_UINT8 = 2,
    GUEST_INT8 = 3,
    GUEST_INT32 = 6,
    GUEST_INT64 = 7,
    GUEST_STRING = 8,
    GUEST_BOOL = 9,
    GUEST_FLOAT16 = 10,
    GUEST_DOUBLE = 11
};

typedef struct GuestTensor {
    const char *name; /* NUL-terminated, up to 127 bytes */
    uint32_t type, rank;
    void *data; /* of what is only described: NULL */
    uint32_t bytes;
    uint32_t reserved;              /* 0 */
    int64_t dims[GUEST_SERVE_RANK]; /* of what is only described: -1 where free */
} GuestTensor;

typedef struct GuestRequest {
    uint32_t version;       /* GUEST_SERVE_VERSION */
    uint32_t top;           /* of a picture's request: classes asked for; else 0 */
    const char *model;      /* its name */
    const char *preprocess; /* its metadata "ledge.preprocess" and "ledge.labels"; NULL: none */
    const char *labels;
    const uint8_t *body; /* to ledge_preprocess: bytes that came as such; NULL: tensors came */
    uint32_t body_bytes;
    uint32_t n_tensors; /* to ledge_preprocess: as they came; to ledge_postprocess: outputs */
    GuestTensor *tensors;
    uint32_t n_inputs; /* to ledge_preprocess: what the model takes, only described */
    GuestTensor *inputs;
    const void *note; /* to ledge_postprocess: what ledge_preprocess left for it; NULL: nothing */
    uint32_t note_bytes;
} GuestRequest;

/* An error, or JSON, or tensors. */
typedef struct GuestAnswer {
    const char *error; /* the request is at fault: a sentence for whoever sent it */
    const char *json;  /* of ledge_postprocess: one JSON value, given to the client as "result" */
    uint32_t json_bytes;
    uint32_t n_tensors;
    const GuestTensor *tensors; /* the model's inputs; or outputs in place of the model's */
    const void *note;           /* of ledge_preprocess: bytes for ledge_postprocess, up to 64 KiB */
    uint32_t note_bytes;
} GuestAnswer;

#ifdef __wasm__
_Static_assert(sizeof(GuestTensor) == 88 && sizeof(GuestRequest) == 52 && sizeof(GuestAnswer) == 28,
               "the server reads these");
#endif

/* What the guest defines, each with its GUEST_EXPORT. An address of 0 from ledge_alloc: no memory;
 * from the two others: the guest could not do it. */
GUEST_EXPORT("ledge_alloc") void *ledge_alloc(uint32_t bytes);
GUEST_EXPORT("ledge_free") void ledge_free(void *block);
GUEST_EXPORT("ledge_preprocess") const GuestAnswer *ledge_preprocess(const GuestRequest *request);
GUEST_EXPORT("ledge_postprocess") const GuestAnswer *ledge_postprocess(const GuestRequest *request);

#endif
