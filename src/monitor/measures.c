/* The distances of measures.h. */
#include "monitor/measures.h"

#include <float.h>
#include <math.h>

static double total(const uint64_t *c, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)c[i];
    return sum;
}

/* Smoothed proportion of bin i. */
static double share(const uint64_t *c, size_t i, size_t n, double sum)
{
    return ((double)c[i] / sum + LEDGE_MEASURE_SMOOTHING) /
           (1 + (double)n * LEDGE_MEASURE_SMOOTHING);
}

double ledge__measure_psi(const uint64_t *p, const uint64_t *q, size_t n)
{
    const double np = total(p, n), nq = total(q, n);
    double sum = 0;
    if (np == 0 || nq == 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        const double a = share(p, i, n, np), b = share(q, i, n, nq);
        sum += (a - b) * log(a / b);
    }
    return sum;
}

double ledge__measure_js(const uint64_t *p, const uint64_t *q, size_t n)
{
    const double np = total(p, n), nq = total(q, n);
    double sum = 0;
    if (np == 0 || nq == 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        const double a = share(p, i, n, np), b = share(q, i, n, nq), m = (a + b) / 2;
        sum += a * log2(a / m) + b * log2(b / m);
    }
    return sqrt(fmax(sum / 2, 0));
}

double ledge__measure_ks(const uint64_t *p, const uint64_t *q, size_t n)
{
    const double np = total(p, n), nq = total(q, n);
    double a = 0, b = 0, most = 0;
    if (np == 0 || nq == 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        a += (double)p[i];
        b += (double)q[i];
        most = fmax(most, fabs(a / np - b / nq));
    }
    return most;
}

double ledge__measure_chi_square(const uint64_t *p, const uint64_t *q, size_t n, double *df)
{
    const double np = total(p, n), nq = total(q, n);
    double sum = 0;
    *df = 0;
    if (np == 0 || nq == 0)
        return 0;
    const double kp = sqrt(nq / np), kq = sqrt(np / nq);
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        const double both = (double)p[i] + (double)q[i];
        if (both == 0)
            continue;
        const double gap = kp * (double)p[i] - kq * (double)q[i];
        sum += gap * gap / both;
        used++;
    }
    *df = used > 1 ? (double)(used - 1) : 0;
    return sum;
}

/* x^a e^-x / gamma(a). C's own lgamma writes its sign where all threads share it. */
static double gamma_scale(double a, double x)
{
    int sign;
    return exp(a * log(x) - x - lgamma_r(a, &sign));
}

/* Regularised incomplete gamma functions: the series for P below a + 1, the continued fraction
 * for Q above (Abramowitz and Stegun 6.5.29, 6.5.31; evaluated by Lentz's method). */
static double gamma_series(double a, double x)
{
    double term = 1 / a, sum = term;
    for (int i = 1; i < 10000 && fabs(term) > fabs(sum) * DBL_EPSILON; i++) {
        term *= x / (a + i);
        sum += term;
    }
    return sum * gamma_scale(a, x);
}

static double gamma_fraction(double a, double x)
{
    const double tiny = 1e-300;
    double b = x + 1 - a, c = 1 / tiny, d = 1 / b, h = d;
    for (int i = 1; i < 10000; i++) {
        const double an = -i * (i - a);
        b += 2;
        d = an * d + b;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = b + an / c;
        c = fabs(c) < tiny ? tiny : c;
        const double step = d * c;
        h *= step;
        if (fabs(step - 1) < DBL_EPSILON)
            break;
    }
    return h * gamma_scale(a, x);
}

double ledge__chi_square_tail(double x, double df)
{
    const double a = df / 2, y = x / 2;
    if (!(df > 0) || !(x > 0))
        return 1;
    const double q = y < a + 1 ? 1 - gamma_series(a, y) : gamma_fraction(a, y);
    return fmin(fmax(q, 0), 1);
}
