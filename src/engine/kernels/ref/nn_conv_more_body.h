/* Transposed and deformable convolution for one type; included by nn_conv_ref.c after
 * nn_conv_body.h, with FLOOR(x) of that type. */

/* Adds one kernel element's products for input positions i0 … i1 where they land in y. */
static void FN(scatter_row)(const LedgeWindow *w, const int64_t *k, size_t i0, size_t i1,
                            const T *from, T *y)
{
    int last = w->nd - 1;
    int64_t iw = w->in[last], ow = w->out[last], s = w->stride[last];
    for (size_t i = i0; i < i1;) {
        int64_t ix = (int64_t)(i % (size_t)iw);
        size_t run = (size_t)(iw - ix) < i1 - i ? (size_t)(iw - ix) : i1 - i;
        size_t rest = i / (size_t)iw, offset = 0, scale = 1;
        bool inside = true;
        for (int d = last - 1; d >= 0; d--) {
            int64_t at = (int64_t)(rest % (size_t)w->in[d]) * w->stride[d] - w->pad[d] +
                         k[d] * w->dilation[d];
            inside &= at >= 0 && at < w->out[d];
            offset += scale * (size_t)(inside ? at : 0);
            scale *= (size_t)w->out[d];
            rest /= (size_t)w->in[d];
        }
        int64_t x0 = ix * s - w->pad[last] + k[last] * w->dilation[last];
        for (size_t j = 0; inside && j < run; j++) {
            int64_t at = x0 + (int64_t)j * s;
            if (at >= 0 && at < ow)
                y[offset * (size_t)ow + (size_t)at] += from[j];
        }
        from += run;
        i += run;
    }
}

static void FN(transpose_item)(const LedgeConvRef *p, size_t item, int thread)
{
    const LedgeWindow *w = &p->w;
    size_t kernel = product(w->kernel, w->nd), in = product(w->in, w->nd);
    size_t out = product(w->out, w->nd), oc = item % (size_t)p->out_c;
    size_t image_group = item / (size_t)p->out_c, group = image_group % (size_t)p->groups;
    size_t tile = tile_size(kernel);
    T *rows = (T *)p->scratch + (size_t)thread * kernel * tile;
    T *y = (T *)p->y + item * out;
    T b = p->bias ? ((const T *)p->bias)[group * (size_t)p->out_c + oc] : 0;
    for (size_t i = 0; i < out; i++)
        y[i] = b;
    LedgeMatmul g = {.m = kernel, .k = (size_t)p->in_c, .b_row = in, .b_col = 1, .c = rows};
    g.a = (const T *)p->weights + (group * (size_t)p->in_c * (size_t)p->out_c + oc) * kernel;
    g.a_row = 1;
    g.a_col = (size_t)p->out_c * kernel;
    for (size_t i0 = 0; i0 < in; i0 += tile) {
        size_t i1 = i0 + tile < in ? i0 + tile : in, e = 0;
        int64_t k[NN_MAX_SPATIAL] = {0};
        g.b = (const T *)p->x + image_group * (size_t)p->in_c * in + i0;
        g.n = g.c_row = i1 - i0;
        FN(ledge__matmul)(&g);
        do {
            FN(scatter_row)(w, k, i0, i1, rows + e++ * (i1 - i0), y);
        } while (next_index(k, w->kernel, w->nd));
    }
}

static void FN(transpose_items)(void *arg, size_t begin, size_t end, int thread)
{
    for (size_t i = begin; i < end; i++)
        FN(transpose_item)(arg, i, thread);
}

void FN(ledge__conv_transpose)(const LedgeConvRef *p, LedgePool *pool)
{
    ledge__pool_run(pool, (size_t)(p->batch * p->groups * p->out_c), 1, FN(transpose_items),
                    (void *)p);
}

/* ---- deformable ---- */

static T FN(pixel)(const T *x, int64_t h, int64_t w, int64_t iy, int64_t ix)
{
    return iy < 0 || ix < 0 || iy >= h || ix >= w ? 0 : x[iy * w + ix];
}

static T FN(bilinear)(const T *x, int64_t h, int64_t w, T y0, T x0)
{
    /* The comparison is also false for NaN, which must not reach the integer cast. */
    if (!(y0 > -1 && x0 > -1 && y0 < (T)h && x0 < (T)w))
        return 0;
    T fy = FLOOR(y0), fx = FLOOR(x0), dy = y0 - fy, dx = x0 - fx;
    int64_t iy = (int64_t)fy, ix = (int64_t)fx;
    return (1 - dy) * ((1 - dx) * FN(pixel)(x, h, w, iy, ix) +
                       dx * FN(pixel)(x, h, w, iy, ix + 1)) +
           dy * ((1 - dx) * FN(pixel)(x, h, w, iy + 1, ix) +
                 dx * FN(pixel)(x, h, w, iy + 1, ix + 1));
}

static void FN(deform_columns)(const LedgeDeformRef *p, size_t image, size_t group, size_t o0,
                               size_t o1, T *col)
{
    const LedgeWindow *w = &p->conv.w;
    size_t kernel = product(w->kernel, 2), out = product(w->out, 2), in = product(w->in, 2);
    size_t channels = (size_t)(p->conv.groups * p->conv.in_c);
    size_t per = channels / (size_t)p->offset_groups;
    for (size_t i = 0; i < (size_t)p->conv.in_c; i++) {
        size_t c = group * (size_t)p->conv.in_c + i;
        const T *x = (const T *)p->conv.x + (image * channels + c) * in;
        size_t og = image * (size_t)p->offset_groups + c / per;
        for (size_t k = 0; k < kernel; k++) {
            const T *off = (const T *)p->offset + (og * kernel + k) * 2 * out;
            const T *mask = p->mask ? (const T *)p->mask + (og * kernel + k) * out : NULL;
            int64_t ky = (int64_t)k / w->kernel[1], kx = (int64_t)k % w->kernel[1];
            for (size_t o = o0; o < o1; o++) {
                int64_t oy = (int64_t)o / w->out[1], ox = (int64_t)o % w->out[1];
                T y = (T)(oy * w->stride[0] - w->pad[0] + ky * w->dilation[0]) + off[o];
                T xx = (T)(ox * w->stride[1] - w->pad[1] + kx * w->dilation[1]) + off[out + o];
                T v = FN(bilinear)(x, w->in[0], w->in[1], y, xx);
                *col++ = mask ? v * mask[o] : v;
            }
        }
    }
}

static void FN(deform_items)(void *arg, size_t begin, size_t end, int thread)
{
    const LedgeDeformRef *q = arg;
    const LedgeConvRef *p = &q->conv;
    size_t out = product(p->w.out, 2), k = (size_t)p->in_c * product(p->w.kernel, 2);
    size_t tile = tile_size(k), tiles = (out + tile - 1) / tile;
    T *col = (T *)p->scratch + (size_t)thread * k * tile;
    for (size_t item = begin; item < end; item++) {
        size_t o0 = item % tiles * tile, o1 = o0 + tile < out ? o0 + tile : out;
        size_t image_group = item / tiles, group = image_group % (size_t)p->groups;
        LedgeMatmul g = {.m = (size_t)p->out_c, .n = o1 - o0, .k = k, .a_row = k, .a_col = 1,
                         .b = col, .b_row = o1 - o0, .b_col = 1, .c_row = out};
        g.a = (const T *)p->weights + group * (size_t)p->out_c * k;
        g.c = (T *)p->y + image_group * (size_t)p->out_c * out + o0;
        FN(deform_columns)(q, image_group / (size_t)p->groups, group, o0, o1, col);
        FN(ledge__matmul)(&g);
        for (size_t m = 0; m < g.m && p->bias; m++)
            for (size_t j = 0; j < g.n; j++)
                ((T *)g.c)[m * out + j] += ((const T *)p->bias)[group * (size_t)p->out_c + m];
    }
}

void FN(ledge__deform_conv)(const LedgeDeformRef *q, LedgePool *pool)
{
    const LedgeConvRef *p = &q->conv;
    size_t out = product(p->w.out, 2), k = (size_t)p->in_c * product(p->w.kernel, 2);
    size_t tile = tile_size(k), tiles = (out + tile - 1) / tile;
    ledge__pool_run(pool, (size_t)(p->batch * p->groups) * tiles, 1, FN(deform_items), (void *)q);
}
