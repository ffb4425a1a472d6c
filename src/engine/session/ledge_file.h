/* The compiled model file, M.ledge: the optimised graph and its weights as the kernels of one
 * CPU level want them, laid out to be mapped and run. See docs/formats.md.
 *
 * All numbers are little-endian. Layout: header, graph (an ONNX ModelProto without the large
 * constants), table (constants, packed forms, names), then the blobs on 64-byte boundaries,
 * starting on a page. Every part has a checksum, so damage is told before anything runs. */
#ifndef LEDGE_ENGINE_LEDGE_FILE_H
#define LEDGE_ENGINE_LEDGE_FILE_H

#include "engine/session/model.h"

#define LEDGE_FILE_FORMAT 2u
/* Rises whenever a packed form or an internal operator changes its meaning. */
#define LEDGE_FILE_PACKING 4u
#define LEDGE_FILE_PAGE 4096u

typedef struct LedgeFilePart {
    uint64_t offset, size, hash; /* ledge__checksum */
} LedgeFilePart;

typedef struct LedgeFileHeader {
    char magic[8];
    uint32_t format, packing;
    uint64_t cpu; /* flags of base/cpu.h that kernels were chosen for */
    uint64_t file_size;
    LedgeFilePart graph, table;
    uint64_t n_constants, n_forms, names_offset; /* offset inside the table */
    uint64_t hash; /* of all the bytes before it */
} LedgeFileHeader;

typedef struct LedgeFileConstant {
    uint64_t name_offset, name_size; /* inside the names */
    int32_t type, rank;
    int64_t dims[LEDGE_MAX_RANK];
    LedgeFilePart data; /* size 0: only packed forms are in the file */
} LedgeFileConstant;

typedef struct LedgeFileForm {
    uint64_t constant; /* index */
    uint64_t key_offset, key_size;
    LedgeFilePart data;
} LedgeFileForm;

/* What a file adds to a model: the constants' memory and the packed forms. */
typedef struct LedgeFile LedgeFile;

/* Checks a file and makes an OnnxModel over it, whose initializers lie in `bytes`; these must
 * outlive both. Threads go on checking the weights meanwhile: nothing may be computed from these
 * for good before ledge__file_verified. Statuses: FORMAT, MISMATCH (CPU, version), MEMORY. */
LedgeStatus ledge__file_open(const LedgeAllocator *a, const void *bytes, size_t size,
                             LedgeError *err, LedgeFile **out, OnnxModel **model);
/* Waits for the checks of the weights: OK, or FORMAT where one is damaged. */
LedgeStatus ledge__file_verified(LedgeFile *f, LedgeError *err);
uint32_t ledge__file_cpu(const LedgeFile *f);
/* Enters the packed forms into the model's weights and seals them. */
LedgeStatus ledge__file_adopt(const LedgeFile *f, const LedgeGraph *g, LedgeWeights *w,
                              LedgeError *err);
void ledge__file_free(LedgeFile *f); /* NULL is legal */

#endif
