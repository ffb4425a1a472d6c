/* Distances between two histograms over the same bins, and the tests that go with them.
 *
 * Counts in, one number out; nothing is kept. Where a measure needs proportions, SMOOTHING is
 * added to each and the sum made 1 again, so that an empty bin costs much but not infinity.
 * The figures equal SciPy's (entropy, jensenshannon, chisquare, chi2.sf) to 1e-9. */
#ifndef LEDGE_MONITOR_MEASURES_H
#define LEDGE_MONITOR_MEASURES_H

#include <stddef.h>
#include <stdint.h>

#define LEDGE_MEASURE_SMOOTHING 1e-6

/* Population stability index: sum of (p - q) ln(p / q), natural logarithm; 0 when either is
 * empty. Symmetric. */
double ledge__measure_psi(const uint64_t *p, const uint64_t *q, size_t n);
/* Jensen-Shannon distance with base 2: the root of the divergence, 0 … 1. */
double ledge__measure_js(const uint64_t *p, const uint64_t *q, size_t n);
/* Kolmogorov-Smirnov statistic over ordered bins: the largest gap between the two cumulated
 * proportions, 0 … 1. A lower bound of the statistic over the values themselves. */
double ledge__measure_ks(const uint64_t *p, const uint64_t *q, size_t n);
/* Pearson's two-sample statistic for counts of unequal totals (Press et al., "Numerical
 * Recipes", section on differing distributions) over bins that are not empty in both; *df is
 * their number less one. */
double ledge__measure_chi_square(const uint64_t *p, const uint64_t *q, size_t n, double *df);
/* Probability that chi-square with df degrees of freedom exceeds x. */
double ledge__chi_square_tail(double x, double df);

#endif
