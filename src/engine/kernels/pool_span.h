/* Where a pooling window's taps fall along one axis. */
#ifndef LEDGE_KERNELS_POOL_SPAN_H
#define LEDGE_KERNELS_POOL_SPAN_H

#include <stddef.h>

/* Positions of a kernel along one axis that fall on the image: [first, end) of its taps. */
typedef struct Span {
    size_t first, end;
    ptrdiff_t start;  /* where tap 0 lies; negative in the padding */
    size_t in_padded; /* taps that lie on the image or its padding */
} Span;

static inline Span span_of(size_t out, size_t kernel, size_t stride, size_t dilation, size_t pad_before,
                    size_t pad_after, size_t size)
{
    Span s = {0, kernel, (ptrdiff_t)(out * stride) - (ptrdiff_t)pad_before, kernel};
    while (s.first < kernel && s.start + (ptrdiff_t)(s.first * dilation) < 0)
        s.first++;
    while (s.end > s.first && s.start + (ptrdiff_t)((s.end - 1) * dilation) >= (ptrdiff_t)size)
        s.end--;
    while (s.in_padded > 0 &&
           s.start + (ptrdiff_t)((s.in_padded - 1) * dilation) >= (ptrdiff_t)(size + pad_after))
        s.in_padded--;
    return s;
}

#endif
