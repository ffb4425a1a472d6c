/* Fourier transforms of any length in double: radix 2 for powers of two, and Bluestein's
 * chirp convolution (L. I. Bluestein, 1970) for the rest. */
#include "engine/kernels/ref/nn_ref.h"

#include <math.h>
#include <string.h>

static bool is_power(size_t n)
{
    return n && (n & (n - 1)) == 0;
}

/* Length of the power-of-two transform that is really run; 0: none or too large. */
static size_t work_length(size_t n)
{
    size_t m = 1;
    if (n == 0 || n > INT32_MAX)
        return 0;
    if (is_power(n))
        return n;
    while (m < 2 * n - 1)
        m *= 2;
    return m;
}

size_t ledge__fft_tables(size_t n)
{
    size_t m = work_length(n);
    return is_power(n) ? m : m + 2 * n + 2 * m;
}

size_t ledge__fft_work(size_t n)
{
    return is_power(n) ? 0 : 2 * work_length(n);
}

/* ---- power of two ---- */

static void reorder(double *a, size_t n)
{
    for (size_t i = 1, j = 0; i < n; i++) {
        size_t bit = n / 2;
        for (; j & bit; bit /= 2)
            j ^= bit;
        j ^= bit;
        if (i < j)
            for (int k = 0; k < 2; k++) {
                double t = a[2 * i + (size_t)k];
                a[2 * i + (size_t)k] = a[2 * j + (size_t)k];
                a[2 * j + (size_t)k] = t;
            }
    }
}

static void radix2(const double *twiddle, size_t n, double *a, bool inverse)
{
    double sign = inverse ? -1.0 : 1.0;
    reorder(a, n);
    for (size_t half = 1; half < n; half *= 2)
        for (size_t i = 0; i < n; i += 2 * half)
            for (size_t k = 0; k < half; k++) {
                const double *w = twiddle + 2 * (k * (n / 2 / half));
                double *p = a + 2 * (i + k), *q = p + 2 * half, wi = w[1] * sign;
                double re = q[0] * w[0] - q[1] * wi, im = q[0] * wi + q[1] * w[0];
                q[0] = p[0] - re;
                q[1] = p[1] - im;
                p[0] += re;
                p[1] += im;
            }
}

/* ---- any length ---- */

void ledge__fft_init(LedgeFft *f, size_t n, double *tables)
{
    const double pi = 3.14159265358979323846;
    *f = (LedgeFft){.n = n, .m = work_length(n), .twiddle = tables};
    for (size_t k = 0; k < f->m / 2; k++) {
        f->twiddle[2 * k] = cos(-2 * pi * (double)k / (double)f->m);
        f->twiddle[2 * k + 1] = sin(-2 * pi * (double)k / (double)f->m);
    }
    if (is_power(n))
        return;
    f->chirp = tables + f->m;
    f->kernel = f->chirp + 2 * n;
    memset(f->kernel, 0, 2 * f->m * sizeof(double));
    for (size_t k = 0; k < n; k++) {
        /* k^2 modulo 2n keeps the angle small and exact. */
        double angle = pi * (double)((uint64_t)k * k % (2 * (uint64_t)n)) / (double)n;
        f->chirp[2 * k] = cos(angle);
        f->chirp[2 * k + 1] = -sin(angle);
        f->kernel[2 * k] = cos(angle);
        f->kernel[2 * k + 1] = sin(angle);
        if (k) {
            f->kernel[2 * (f->m - k)] = cos(angle);
            f->kernel[2 * (f->m - k) + 1] = sin(angle);
        }
    }
    radix2(f->twiddle, f->m, f->kernel, false);
}

static void conjugate(double *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        a[2 * i + 1] = -a[2 * i + 1];
}

/* to = a * b, complex. */
static void times(const double *a, const double *b, double *to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double re = a[2 * i] * b[2 * i] - a[2 * i + 1] * b[2 * i + 1];
        double im = a[2 * i] * b[2 * i + 1] + a[2 * i + 1] * b[2 * i];
        to[2 * i] = re;
        to[2 * i + 1] = im;
    }
}

void ledge__fft_run(const LedgeFft *f, double *a, bool inverse, double *work)
{
    size_t n = f->n, m = f->m;
    if (!f->chirp) {
        radix2(f->twiddle, n, a, inverse);
        return;
    }
    if (inverse)
        conjugate(a, n);
    times(a, f->chirp, work, n);
    memset(work + 2 * n, 0, 2 * (m - n) * sizeof(double));
    radix2(f->twiddle, m, work, false);
    times(work, f->kernel, work, m);
    radix2(f->twiddle, m, work, true);
    for (size_t i = 0; i < 2 * n; i++)
        work[i] /= (double)m;
    times(work, f->chirp, a, n);
    if (inverse)
        conjugate(a, n);
}
