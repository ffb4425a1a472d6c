/* Products flattened, see opt_product.h. */
#include "engine/optimize/opt_product.h"

#include "engine/optimize/pass.h"

#include <math.h>

bool ledge__opt_near(double a, double b)
{
    return fabs(a - b) <= 1e-4 * fabs(b); /* exporters write 0.7978845, 0.044715 and so on */
}

static void factor(LedgeValue *v, LedgeProduct *p, int depth, bool top);

static void add_factor(LedgeValue *v, LedgeProduct *p)
{
    if (p->n >= 0)
        p->n = p->n < LEDGE_OPT_FACTORS ? p->n + 1 : -1;
    if (p->n > 0)
        p->v[p->n - 1] = v;
}

static void power(LedgeNode *n, LedgeValue *v, LedgeProduct *p)
{
    double e;
    if (!ledge__opt_scalar(n->in[1].value, &e) || (e != 2 && e != 3)) {
        add_factor(v, p);
        return;
    }
    for (int i = 0; i < (int)e; i++)
        add_factor(n->in[0].value, p);
}

static void factor(LedgeValue *v, LedgeProduct *p, int depth, bool top)
{
    double k;
    LedgeNode *n = v->producer;
    if (ledge__opt_scalar(v, &k)) {
        p->constant *= k;
        return;
    }
    bool open = n && depth > 0 && !n->domain[0] && n->n_in == 2 && n->in[0].value &&
                n->in[1].value && (top || ledge__opt_single_use(v));
    if (open && strcmp(n->op_type, "Mul") == 0) {
        factor(n->in[0].value, p, depth - 1, false);
        factor(n->in[1].value, p, depth - 1, false);
    } else if (open && strcmp(n->op_type, "Div") == 0 && ledge__opt_scalar(n->in[1].value, &k) &&
               k != 0) {
        p->constant /= k;
        factor(n->in[0].value, p, depth - 1, false);
    } else if (open && strcmp(n->op_type, "Pow") == 0) {
        power(n, v, p);
    } else {
        add_factor(v, p);
    }
}

void ledge__opt_product(LedgeValue *v, LedgeProduct *p)
{
    *p = (LedgeProduct){.constant = 1};
    factor(v, p, 6, true);
}

LedgeValue *ledge__opt_cofactor(const LedgeProduct *p, double constant, const LedgeValue *v)
{
    if (p->n != 2 || !ledge__opt_near(p->constant, constant))
        return NULL;
    return p->v[0] == v ? p->v[1] : p->v[1] == v ? p->v[0] : NULL;
}
