/* Template: windows over NHWC pixels (pooling, resampling) and recurrent gates, over the
 * vocabulary of the simd_<isa>.h included before. A tap is the address of a pixel's channels. */

static vf tap_max_nan(const float *const *taps, size_t n_taps, size_t c, size_t n)
{
    vf m = load_some(taps[0] + c, n);
    for (size_t t = 1; t < n_taps; t++)
        m = both_max(m, load_some(taps[t] + c, n));
    return m;
}

/* v * 0 is NaN for NaN and infinities alone: their sum tells whether the slower way is needed. */
static inline vf tap_max(const float *const *taps, size_t n_taps, size_t c, size_t n)
{
    vf m = load_some(taps[0] + c, n), nan = vf_mul(m, vf_set(0.0f));
    for (size_t t = 1; t < n_taps; t++) {
        const vf v = load_some(taps[t] + c, n);
        m = vf_max(v, m);
        nan = vf_fma(v, vf_set(0.0f), nan);
    }
    return vf_all_number(nan) ? m : tap_max_nan(taps, n_taps, c, n);
}

static void vec_pool_max(const float *const *taps, size_t n_taps, float *y, size_t channels)
{
    size_t c = 0;
    for (; c + VF_LANES <= channels; c += VF_LANES)
        vf_store(y + c, tap_max(taps, n_taps, c, VF_LANES));
    if (c < channels)
        vf_store_n(y + c, tap_max(taps, n_taps, c, channels - c), channels - c);
}

static inline vf tap_sum(const float *const *taps, size_t n_taps, vf scale, size_t c, size_t n)
{
    vf s = load_some(taps[0] + c, n);
    for (size_t t = 1; t < n_taps; t++)
        s = vf_add(s, load_some(taps[t] + c, n));
    return vf_mul(s, scale);
}

static void vec_pool_sum(const float *const *taps, size_t n_taps, float scale, float *y,
                         size_t channels)
{
    const vf s = vf_set(scale);
    size_t c = 0;
    for (; c + VF_LANES <= channels; c += VF_LANES)
        vf_store(y + c, tap_sum(taps, n_taps, s, c, VF_LANES));
    if (c < channels)
        vf_store_n(y + c, tap_sum(taps, n_taps, s, c, channels - c), channels - c);
}

static inline vf tap_lerp(const float *const *taps, const float *weights, size_t n_taps, size_t c,
                          size_t n)
{
    vf s = vf_mul(load_some(taps[0] + c, n), vf_set(weights[0]));
    for (size_t t = 1; t < n_taps; t++)
        s = vf_fma(load_some(taps[t] + c, n), vf_set(weights[t]), s);
    return s;
}

static void vec_lerp(const float *const *taps, const float *weights, size_t n_taps, float *y,
                     size_t channels)
{
    size_t c = 0;
    for (; c + VF_LANES <= channels; c += VF_LANES)
        vf_store(y + c, tap_lerp(taps, weights, n_taps, c, VF_LANES));
    if (c < channels)
        vf_store_n(y + c, tap_lerp(taps, weights, n_taps, c, channels - c), channels - c);
}

/* ---- recurrent ---- */

static inline vf clip_gate(vf x, vf clip)
{
    return vf_clamp(x, vf_neg(clip), clip);
}

static void vec_lstm_gates(const LedgeLstmGates *p)
{
    const size_t n = p->n;
    const vf clip = vf_set(p->clip > 0.0f ? p->clip : INFINITY);
    for (size_t j = 0; j < n; j += VF_LANES) {
        const size_t left = n - j < VF_LANES ? n - j : VF_LANES;
        const float *g = p->gates + j, *w = p->peephole ? p->peephole + j : NULL;
        vf i = load_some(g, left), o = load_some(g + n, left), f = load_some(g + 2 * n, left);
        vf c = load_some(p->cell + j, left);
        if (w) {
            i = vf_fma(load_some(w, left), c, i);
            f = vf_fma(load_some(w + 2 * n, left), c, f);
        }
        i = vf_sigmoid(clip_gate(i, clip));
        f = p->input_forget ? vf_sub(vf_set(1.0f), i) : vf_sigmoid(clip_gate(f, clip));
        const vf t = vf_tanh(clip_gate(load_some(g + 3 * n, left), clip));
        c = vf_fma(f, c, vf_mul(i, t));
        if (w)
            o = vf_fma(load_some(w + n, left), c, o);
        o = vf_sigmoid(clip_gate(o, clip));
        store_some(p->cell + j, c, left);
        store_some(p->hidden + j, vf_mul(o, vf_tanh(c)), left);
    }
}

static void vec_gru_gates(const LedgeGruGates *p)
{
    const size_t n = p->n;
    const vf clip = vf_set(p->clip > 0.0f ? p->clip : INFINITY);
    for (size_t j = 0; j < n; j += VF_LANES) {
        const size_t left = n - j < VF_LANES ? n - j : VF_LANES;
        const float *x = p->x + j, *h = p->h + j;
        const vf z = vf_sigmoid(clip_gate(vf_add(load_some(x, left), load_some(h, left)), clip));
        const vf r =
            vf_sigmoid(clip_gate(vf_add(load_some(x + n, left), load_some(h + n, left)), clip));
        const vf t = vf_tanh(
            clip_gate(vf_fma(r, load_some(h + 2 * n, left), load_some(x + 2 * n, left)), clip));
        const vf old = load_some(p->hidden + j, left);
        store_some(p->hidden + j, vf_fma(z, vf_sub(old, t), t), left);
    }
}
