/* Products flattened, so that patterns hold for any order of their factors. */
#ifndef LEDGE_ENGINE_OPTIMIZE_PRODUCT_H
#define LEDGE_ENGINE_OPTIMIZE_PRODUCT_H

#include "engine/graph/graph.h"

enum { LEDGE_OPT_FACTORS = 4 };

/* constant * v[0] * … * v[n-1] */
typedef struct LedgeProduct {
    double constant;
    LedgeValue *v[LEDGE_OPT_FACTORS];
    int n; /* -1: too many */
} LedgeProduct;

/* Takes Mul and Div by a constant apart, through values that nothing else reads; integer
 * powers up to 3 count as repeated factors. */
void ledge__opt_product(LedgeValue *v, LedgeProduct *p);
/* |a - b| within float32 rounding. */
bool ledge__opt_near(double a, double b);
/* The other of two factors, or NULL if `p` is not `constant` times two of which one is `v`. */
LedgeValue *ledge__opt_cofactor(const LedgeProduct *p, double constant, const LedgeValue *v);

#endif
