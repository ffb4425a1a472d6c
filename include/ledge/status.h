/* Status codes and the error record that every fallible ledge function uses.
 *
 * A function that can fail returns a LedgeStatus; LEDGE_OK is 0. Functions that read
 * other people's bytes also take a caller-owned LedgeError (may be NULL) and fill it
 * with where the fault is and one sentence that says what to do about it. */
#ifndef LEDGE_STATUS_H
#define LEDGE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define LEDGE_API __attribute__((visibility("default")))
#define LEDGE_MUST_CHECK __attribute__((warn_unused_result))
#else
#define LEDGE_API
#define LEDGE_MUST_CHECK
#endif

/* X(code, name, text). The numeric values are part of the ABI: append only. */
#define LEDGE_STATUS_LIST(X)                                                              \
    X(0, OK, "ok")                                                                        \
    X(1, ERROR_ARGUMENT, "invalid argument")                                              \
    X(2, ERROR_MEMORY, "out of memory")                                                   \
    X(3, ERROR_IO, "file or device error")                                                \
    X(4, ERROR_FORMAT, "damaged or malformed input")                                      \
    X(5, ERROR_UNSUPPORTED, "not supported")                                              \
    X(6, ERROR_SHAPE, "shapes do not fit")                                                \
    X(7, ERROR_TYPE, "types do not fit")                                                  \
    X(8, ERROR_NOT_FOUND, "not found")                                                    \
    X(9, ERROR_LIMIT, "over a limit")                                                     \
    X(10, ERROR_MISMATCH, "made for another machine or version")                          \
    X(11, ERROR_RUNTIME, "failed while running")                                          \
    X(12, ERROR_PROVIDER, "execution provider refused")                                   \
    X(13, ERROR_CANCELLED, "cancelled")

typedef enum LedgeStatus {
#define LEDGE_STATUS_ENUM(code, name, text) LEDGE_##name = (code),
    LEDGE_STATUS_LIST(LEDGE_STATUS_ENUM)
#undef LEDGE_STATUS_ENUM
} LedgeStatus;

/* What went wrong, where, and what to do. Both strings are NUL-terminated and are cut
 * to fit. `where` is a file, node, tensor or byte offset; it may be empty. */
typedef struct LedgeError {
    LedgeStatus status;
    char where[256];
    char message[512];
} LedgeError;

/* Short text of a status ("out of memory"); never NULL, static storage. */
LEDGE_API const char *ledge_status_text(LedgeStatus status);

#ifdef __cplusplus
}
#endif
#endif
