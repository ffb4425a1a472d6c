/* How the functions over bytes are cut into pieces of work, by size alone. */
#ifndef LEDGE_KERNELS_BYTES_PIECE_H
#define LEDGE_KERNELS_BYTES_PIECE_H

#include <stddef.h>

/* Elements of one piece: some microseconds of work, and at home in an L1 or L2. */
enum { BYTE_PIECE = 16384 };

static inline size_t ledge__pieces(size_t n, size_t piece)
{
    return n / piece + (n % piece != 0);
}

static inline size_t ledge__piece_size(size_t n, size_t piece, size_t i)
{
    return n - i * piece < piece ? n - i * piece : piece;
}

#endif
