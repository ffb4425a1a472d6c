/* Open Inference Protocol v2: requests and answers as bytes, knowing neither HTTP nor models'
 * insides. Source: kserve.github.io, "Open Inference Protocol", and Triton's binary tensor data
 * extension; docs/protocol.md says what ledge takes. */
#ifndef LEDGE_SERVE_OIP_H
#define LEDGE_SERVE_OIP_H

#include "base/error.h"
#include "base/json_scan.h"
#include "ledge/ledge.h"
#include "serve/json_write.h"
#include "serve/shared_memory.h"

enum { LEDGE_OIP_TENSORS = 64, LEDGE_OIP_NAME = 128 };

/* Where a tensor lies, or is to be written, in a region of shared memory. */
typedef struct LedgeOipShared {
    char region[LEDGE_REGION_NAME];
    uint64_t offset, bytes;
    LedgeRegion *held; /* of an output, from ledge__oip_fetch on */
} LedgeOipShared;

typedef struct LedgeOipInput {
    char name[LEDGE_OIP_NAME];
    LedgeTensor tensor;     /* data lies in the body or in the request's arena */
    LedgeOipShared *shared; /* NULL: the data came with the request */
} LedgeOipInput;

typedef struct LedgeOipOutput {
    char name[LEDGE_OIP_NAME];
    bool binary;
    LedgeOipShared *shared; /* NULL: it goes into the answer */
} LedgeOipOutput;

typedef struct LedgeOipRequest {
    char id[LEDGE_OIP_NAME];    /* "" where none was given */
    size_t n_inputs, n_outputs; /* n_outputs 0: all are wanted */
    LedgeOipInput input[LEDGE_OIP_TENSORS];
    LedgeOipOutput output[LEDGE_OIP_TENSORS];
    bool binary_default; /* for outputs that say nothing of it */
    double timeout;      /* seconds, from parameters.timeout in microseconds; 0: none */
    bool shares;         /* some tensors are in shared memory */
    void *fetched;       /* copies of those inputs */
} LedgeOipRequest;

/* What was read of a body's first array of numbers while the body came in. Begins as zeros. */
typedef struct LedgeOipAhead {
    LedgeJsonNumbers numbers; /* .out: their memory, NULL: none yet */
    LedgeJson j;              /* where to go on */
    const char *from;         /* where "data" begins */
    size_t tried;             /* bytes that were there when it was last looked for */
    bool off;                 /* there is nothing to read ahead */
} LedgeOipAhead;

/* Reads on in a request without binary tensors of which `have` bytes are there out of `whole`, at a
 * place that stays. Nothing is refused here: ledge__oip_read, told of it, does all checks and finds
 * these numbers read. false: these bytes brought nothing, or there is nothing to read ahead; asking
 * on after that may cost as much as all bytes again each time. */
bool ledge__oip_ahead(LedgeOipAhead *a, char *body, size_t have, size_t whole, size_t limit);
void ledge__oip_ahead_free(LedgeOipAhead *a);

/* Reads a request. json_bytes: value of Inference-Header-Content-Length, or SIZE_MAX without that
 * header; the binary tensors follow the JSON. `body` is written to (strings are decoded in place)
 * and must outlive the request, as must `ahead`, what was read of it before; NULL: nothing. limit:
 * most bytes that one tensor may take. Statuses: FORMAT, LIMIT, TYPE, SHAPE, MEMORY, each with one
 * sentence. */
LedgeStatus ledge__oip_read(char *body, size_t size, size_t json_bytes, size_t limit,
                            const LedgeOipAhead *ahead, LedgeArena *arena, LedgeError *err,
                            LedgeOipRequest *out);
/* The bytes of one input, at a place of our own that outlives it: aligned, checked, made a tensor.
 * said: the parameter that gave their number, for messages. */
LedgeStatus ledge__oip_take(LedgeOipInput *in, char *p, uint64_t size, const char *said,
                            size_t limit, LedgeArena *arena, LedgeError *err);
/* Copies the inputs that lie in shared memory, of `limit` bytes together at most, and takes hold of
 * the regions of outputs. Statuses: those of ledge__oip_read and of ledge__region_find and _read.
 */
LedgeStatus ledge__oip_fetch(LedgeOipRequest *r, LedgeRegions *regions, size_t limit,
                             LedgeArena *arena, LedgeError *err);
/* The body of a request to register a region, whose name stands elsewhere. Statuses: FORMAT,
 * LIMIT. */
LedgeStatus ledge__oip_read_region(const char *body, size_t size, LedgeError *err,
                                   LedgeRegionInfo *out);
void ledge__oip_release(LedgeOipRequest *r); /* what fetch took; NULL is legal */
/* A body that is nothing but the bytes of the only input (header value 0). */
LedgeStatus ledge__oip_read_raw(char *body, size_t size, const LedgeTensorInfo *input,
                                LedgeError *err, LedgeOipRequest *out);
/* Orders the request's inputs as the model wants them; names, types and dimensions must fit, and
 * the outputs that are asked for must be there. */
LedgeStatus ledge__oip_bind(const LedgeOipRequest *r, const LedgeModel *model,
                            const char *model_name, LedgeError *err, LedgeTensor *inputs);

/* The data of a tensor of `count` strings from bytes: for each a length of 32 bits and its bytes,
 * which are pointed into. Statuses: SHAPE, FORMAT, MEMORY, with `name` as the place. */
LedgeStatus ledge__oip_split_strings(const char *name, const char *p, size_t size, size_t count,
                                     LedgeArena *arena, LedgeError *err, LedgeTensor *t);

/* "FP32" …; NULL for types that the protocol lacks. */
const char *ledge__oip_datatype(LedgeType type);

typedef struct LedgeOipAnswer {
    const char *model, *version, *id; /* id "": left out */
    const char *const *names;         /* of all outputs */
    const LedgeTensor *outputs;
    size_t n_outputs;
    const char *parameters; /* members of a JSON object without the braces; NULL: none */
} LedgeOipAnswer;

/* Writes the answer, and into shared memory what is to go there; *json_bytes is the size of its
 * JSON, or 0 when no binary tensors follow. Statuses: NOT_FOUND (an output that the model lacks),
 * TYPE, MEMORY, SHAPE (too large for the place that was named), those of ledge__region_write. */
LedgeStatus ledge__oip_write(const LedgeOipRequest *r, const LedgeOipAnswer *a, LedgeError *err,
                             LedgeText *out, size_t *json_bytes);
/* {"error":"…"} */
void ledge__oip_write_error(const char *message, LedgeText *out);

#endif
