/* Convolutions for one working type; included by nn_conv_ref.c with
 *   T  type of columns and weights, OUT  of results, FN(x)  the name for this type,
 *   LOAD(p, x, i)  element i of x as T.
 * A tile of output positions becomes columns of a matrix, which the weights multiply. */

/* One kernel element's row of the column matrix: inputs under output positions o0 … o1. */
static void FN(column_row)(const LedgeConvRef *p, const void *x, size_t base, const int64_t *k,
                           size_t o0, size_t o1, T *to)
{
    const LedgeWindow *w = &p->w;
    int last = w->nd - 1;
    int64_t ow = w->out[last], iw = w->in[last], s = w->stride[last];
    for (size_t o = o0; o < o1;) {
        int64_t ox = (int64_t)(o % (size_t)ow);
        size_t run = (size_t)(ow - ox) < o1 - o ? (size_t)(ow - ox) : o1 - o;
        size_t from = 0;
        bool inside = outer_offset(w, o / (size_t)ow, k, &from);
        int64_t x0 = ox * s - w->pad[last] + k[last] * w->dilation[last];
        int64_t lo = x0 < 0 ? (-x0 + s - 1) / s : 0;
        int64_t hi = x0 < iw ? (iw - x0 + s - 1) / s : 0;
        lo = !inside || lo > (int64_t)run ? (int64_t)run : lo;
        hi = hi > (int64_t)run ? (int64_t)run : hi < lo ? lo : hi;
        int64_t at = (int64_t)(base + from * (size_t)iw) + x0, j = 0;
        for (; j < lo; j++)
            to[j] = 0;
        for (; j < hi; j++)
            to[j] = LOAD(p, x, at + j * s);
        for (; j < (int64_t)run; j++)
            to[j] = 0;
        to += run;
        o += run;
    }
}

static void FN(columns)(const LedgeConvRef *p, size_t plane, size_t o0, size_t o1, T *col)
{
    const LedgeWindow *w = &p->w;
    size_t space = product(w->in, w->nd);
    for (int64_t c = 0; c < p->in_c; c++) {
        int64_t k[NN_MAX_SPATIAL] = {0};
        do {
            FN(column_row)(p, p->x, (plane + (size_t)c) * space, k, o0, o1, col);
            col += o1 - o0;
        } while (next_index(k, w->kernel, w->nd));
    }
}

static void FN(conv_item)(const LedgeConvRef *p, size_t item, int thread)
{
    size_t out = product(p->w.out, p->w.nd), k = (size_t)p->in_c * product(p->w.kernel, p->w.nd);
    size_t tile = tile_size(k), tiles = (out + tile - 1) / tile;
    size_t blocks = ((size_t)p->out_c + NN_OUT_BLOCK - 1) / NN_OUT_BLOCK;
    size_t m0 = item % blocks * NN_OUT_BLOCK, o0 = item / blocks % tiles * tile;
    size_t image_group = item / blocks / tiles, group = image_group % (size_t)p->groups;
    size_t o1 = o0 + tile < out ? o0 + tile : out;
    size_t m1 = m0 + NN_OUT_BLOCK < (size_t)p->out_c ? m0 + NN_OUT_BLOCK : (size_t)p->out_c;
    size_t row = group * (size_t)p->out_c + m0;
    T *col = (T *)p->scratch + (size_t)thread * k * tile;
    LedgeMatmul g = {.m = m1 - m0, .n = o1 - o0, .k = k, .a_row = k, .a_col = 1, .b_col = 1};
    g.a = (const T *)p->weights + row * k;
    g.c = (OUT *)p->y + (image_group * (size_t)p->out_c + m0) * out + o0;
    g.c_row = out;
    g.b = col;
    g.b_row = o1 - o0;
    if (IN_PLACE_OK && is_pointwise(&p->w)) {
        g.b = (const T *)p->x + image_group * (size_t)p->in_c * out + o0;
        g.b_row = out;
    } else {
        FN(columns)(p, image_group * (size_t)p->in_c, o0, o1, col);
    }
    if (p->product)
        p->product(&g, p->product_arg, thread);
    else
        FN(ledge__matmul)(&g);
    for (size_t m = 0; m < g.m && p->bias; m++) {
        OUT b = ((const OUT *)p->bias)[row + m], *y = (OUT *)g.c + m * out;
        for (size_t j = 0; j < g.n; j++)
            y[j] += b;
    }
}

static void FN(conv_items)(void *arg, size_t begin, size_t end, int thread)
{
    for (size_t i = begin; i < end; i++)
        FN(conv_item)(arg, i, thread);
}

void FN(ledge__conv)(const LedgeConvRef *p, LedgePool *pool)
{
    size_t out = product(p->w.out, p->w.nd), k = (size_t)p->in_c * product(p->w.kernel, p->w.nd);
    size_t tile = tile_size(k), tiles = (out + tile - 1) / tile;
    size_t blocks = ((size_t)p->out_c + NN_OUT_BLOCK - 1) / NN_OUT_BLOCK;
    ledge__pool_run(pool, (size_t)p->batch * (size_t)p->groups * tiles * blocks, 1,
                    FN(conv_items), (void *)p);
}
