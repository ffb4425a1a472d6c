/* NumPy's .npy files, versions 1 to 3, in and out.
 *
 * Follows the format description in NumPy's numpy/lib/format.py documentation ("NEP 1"). */
#ifndef LEDGE_IMAGE_NPY_H
#define LEDGE_IMAGE_NPY_H

#include "ledge/allocator.h"
#include "ledge/status.h"
#include "ledge/tensor.h"

/* Parses a .npy file's bytes. Any byte order and Fortran order come out native and row-major;
 * strings (S and U) as LEDGE_STRING, UTF-8. `name` is for messages. Statuses: FORMAT,
 * UNSUPPORTED (dtypes without a tensor type, such as dates and records), LIMIT, MEMORY.
 * out->data is one block that the caller frees by ledge__npy_free with the same allocator. */
LEDGE_MUST_CHECK LedgeStatus ledge__npy_parse(const LedgeAllocator *a, const char *name,
                                              const void *bytes, size_t size, LedgeError *err,
                                              LedgeTensor *out);
/* The same from a file; also IO, NOT_FOUND, and LIMIT for files over 4 GiB. */
LEDGE_MUST_CHECK LedgeStatus ledge__npy_load(const LedgeAllocator *a, const char *path,
                                             LedgeError *err, LedgeTensor *out);
void ledge__npy_free(const LedgeAllocator *a, LedgeTensor *tensor); /* NULL is legal */

/* Writes a dense tensor. Types that NumPy lacks are widened: 4- and 2-bit integers to 8 bits,
 * bfloat16 to float32. Nothing is left at `path` on failure. Statuses: UNSUPPORTED (float8,
 * float4, containers), ARGUMENT, IO, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__npy_save(const char *path, const LedgeTensor *tensor,
                                             LedgeError *err);

#endif
