/* release.json: what a version of a model consists of (docs/fleet.md).
 *
 * It is the one signed target of a release, models/NAME/VERSION/release.json; every other file is
 * named in it by SHA-256 and length, so the signature covers them all. Files are fetched by
 * SHA-256 and placed under their paths beneath the version's folder. */
#ifndef LEDGE_FLEET_RELEASE_H
#define LEDGE_FLEET_RELEASE_H

#include "fleet/protocol/wire_names.h"
#include "trust/sha256.h"

enum {
    LEDGE_RELEASE_FILES = 256,
    LEDGE_RELEASE_CASES = 32,
    LEDGE_RELEASE_TENSORS = 16,
    LEDGE_RELEASE_CHUNKS = 256, /* that ledge__release_add makes of one file, at most */
    LEDGE_RELEASE_CHUNK = 4096, /* bytes of a chunk, at least */
};

/* X(NAME, name): what a file is for. */
#define LEDGE_RELEASE_ROLES(X)                                                                     \
    X(MODEL, "model")                                                                              \
    X(COMPILED, "compiled")                                                                        \
    X(CERTIFICATE, "certificate")                                                                  \
    X(LABELS, "labels")                                                                            \
    X(PREPROCESS, "preprocess")                                                                    \
    X(BASELINE, "baseline")                                                                        \
    X(GOLDEN, "golden")                                                                            \
    X(WASM, "wasm")                                                                                \
    X(GUEST, "guest")

#define LEDGE_RELEASE_ONE(NAME, name) LEDGE_RELEASE_##NAME,
typedef enum LedgeReleaseRole { LEDGE_RELEASE_ROLES(LEDGE_RELEASE_ONE) } LedgeReleaseRole;
#undef LEDGE_RELEASE_ONE

/* A GUEST is native code that the server runs before or behind the model. One at most, under this
 * name, which no other file has; its target says where it runs. */
#define LEDGE_RELEASE_GUEST_PATH "guest.lwm"
#define LEDGE_RELEASE_GUEST_MAX  ((int64_t)64 << 20)

typedef struct LedgeReleaseFile {
    LedgeReleaseRole role;
    char path[LEDGE_FLEET_PATH];
    char sha256[LEDGE_FLEET_SHA256];
    int64_t length;
    char arch[LEDGE_FLEET_WORD], level[LEDGE_FLEET_WORD]; /* of COMPILED and GUEST; "": any */
    /* SHA-256 of each chunk_size bytes, the last one shorter: so that damage on the way costs one
     * chunk and not the file. NULL: none given. */
    int64_t chunk_size;
    uint8_t (*chunks)[LEDGE_SHA256_BYTES];
    size_t n_chunks;
} LedgeReleaseFile;

/* Inputs and the outputs that must come of them: .npy files of the role GOLDEN. */
typedef struct LedgeGoldenOutput {
    uint32_t file;         /* index into files */
    int64_t tolerance_ppm; /* 0: equal to the bit; else |got - want| <= t * max(1, |want|) */
} LedgeGoldenOutput;

typedef struct LedgeGoldenCase {
    uint32_t inputs[LEDGE_RELEASE_TENSORS]; /* indices into files, in the order of the model's */
    size_t n_inputs;
    LedgeGoldenOutput outputs[LEDGE_RELEASE_TENSORS];
    size_t n_outputs;
} LedgeGoldenCase;

typedef struct LedgeRelease {
    char name[LEDGE_FLEET_NAME], version[LEDGE_FLEET_NAME];
    int64_t created; /* seconds since 1970 */
    LedgeReleaseFile *files;
    size_t n_files;
    LedgeGoldenCase *cases;
    size_t n_cases;
    /* What the self-test may find; 0: no such limit. Ratios in millionths of the model that runs
     * on the device at the time, both measured there and then. */
    int64_t max_latency_ratio, max_memory_ratio;
    int64_t max_latency_us, max_memory; /* median of the golden runs; bytes of the process */
} LedgeRelease;

const char *ledge__release_role_name(LedgeReleaseRole role);
bool ledge__release_role_of(const char *name, LedgeReleaseRole *out);

/* Reads untrusted JSON and checks that paths are plain and different, that there is a MODEL or
 * COMPILED file, and that golden cases name GOLDEN files. Freed by ledge__release_free. Statuses:
 * FORMAT, LIMIT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__release_read(const char *text, size_t size, LedgeError *err,
                                                 LedgeRelease **out);
void ledge__release_free(LedgeRelease *release); /* NULL is legal */
/* An empty one to add files to: room for LEDGE_RELEASE_FILES and LEDGE_RELEASE_CASES. Statuses:
 * ARGUMENT (names), MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__release_new(const char *name, const char *version,
                                                LedgeError *err, LedgeRelease **out);
/* Adds the file at `source` under `path`, with its length and hashes; what else there is to say of
 * it is set in files[n_files - 1]. Statuses: ARGUMENT (path), LIMIT, IO, NOT_FOUND, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__release_add(LedgeRelease *release, LedgeReleaseRole role,
                                                const char *path, const char *source,
                                                LedgeError *err);
/* NULL: nothing is wrong with a file that may be a guest; else what is, as a noun. */
const char *ledge__release_guest_fault(const LedgeReleaseFile *f);
void ledge__release_write(const LedgeRelease *release, FILE *to);

/* "models/NAME/VERSION/release.json" */
void ledge__release_target(const char *name, const char *version, char out[LEDGE_FLEET_PATH]);
/* The index of a path; n_files: none. */
size_t ledge__release_find(const LedgeRelease *release, const char *path);

#endif
