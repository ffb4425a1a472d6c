/* Samples from the field: inputs that a model was unsure of, on their way to be learnt from.
 *
 *   "LDGSMPL1"   8 bytes
 *   u32          bytes of the head, little-endian
 *   head         JSON, in the clear: what telemetry says of an answer, and whose key opens the rest
 *   sealed       the content (trust/seal.h), bound to all that stands before it
 *
 * The content: u32 bytes of a JSON object, the object, then what it lists, each from a multiple of
 * 16 bytes on: the picture as it came, or the tensors of all inputs.
 *
 * Who seals holds a public key alone. Whoever carries a sample reads its head and no more. */
#ifndef LEDGE_FLEET_FIELD_SAMPLE_H
#define LEDGE_FLEET_FIELD_SAMPLE_H

#include "fleet/protocol/wire_names.h"
#include "trust/seal.h"

#define LEDGE_FIELD_SAMPLE_MAX ((size_t)16 << 20) /* bytes of a file */
enum {
    LEDGE_FIELD_SAMPLE_HEAD = 1024,
    LEDGE_FIELD_SAMPLE_INPUTS = 8,
    LEDGE_FIELD_SAMPLE_NAME = 128,
    LEDGE_FIELD_SAMPLE_TEXT = 4096 /* of a preprocessing */
};

typedef struct LedgeFieldHead {
    char key[LEDGE_FLEET_SHA256]; /* id of the key that opens it */
    char model[LEDGE_FLEET_NAME], version[LEDGE_FLEET_NAME];
    int64_t timestamp; /* microseconds since 1970, by the device's clock */
    int32_t confidence_ppm;
    int64_t class_id;
    LedgeFleetDrift drift;
} LedgeFieldHead;

typedef struct LedgeFieldContent {
    const void *picture; /* a JPEG or PNG; NULL: tensors */
    size_t picture_size;
    LedgeTensor inputs[LEDGE_FIELD_SAMPLE_INPUTS];
    char names[LEDGE_FIELD_SAMPLE_INPUTS][LEDGE_FIELD_SAMPLE_NAME];
    size_t n_inputs;
    char preprocess[LEDGE_FIELD_SAMPLE_TEXT]; /* how pictures become inputs[0], as JSON; "" */
    void *bytes;                              /* what all point into, of one that was opened */
} LedgeFieldContent;

/* Bytes of the tensors or the picture, as far as they may be kept: 0: there is none, or one of
 * strings or of unknown size. */
size_t ledge__field_content_bytes(const LedgeFieldContent *c);
/* A whole file; head->key is not looked at. *out is freed with free(). Statuses: LIMIT (more than
 * LEDGE_FIELD_SAMPLE_MAX), ARGUMENT, RUNTIME, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__field_sample_seal(const LedgeFieldHead *head,
                                                      const LedgeFieldContent *c,
                                                      const LedgeSealKey *to, LedgeError *err,
                                                      uint8_t **out, size_t *size);
/* The head of untrusted bytes. *end (may be NULL): where the sealed part begins. Statuses: FORMAT,
 * LIMIT. */
LEDGE_MUST_CHECK LedgeStatus ledge__field_sample_head(const void *bytes, size_t size,
                                                      LedgeError *err, LedgeFieldHead *out,
                                                      size_t *end);
/* All of it. Statuses: those above, MISMATCH (another key, or changed), ARGUMENT (a public key),
 * MEMORY. The content is freed by ledge__field_content_free. */
LEDGE_MUST_CHECK LedgeStatus ledge__field_sample_open(const void *bytes, size_t size,
                                                      const LedgeSealKey *key, LedgeError *err,
                                                      LedgeFieldHead *head,
                                                      LedgeFieldContent **out);
/* What was sealed, as it is read after opening: of untrusted bytes too, since anybody can seal. It
 * takes `bytes` over, which came from malloc, whatever the outcome. */
LEDGE_MUST_CHECK LedgeStatus ledge__field_content_read(void *bytes, size_t size, LedgeError *err,
                                                       LedgeFieldContent **out);
void ledge__field_content_free(LedgeFieldContent *c); /* NULL is legal */

#endif
