/* Features of inputs. */
#include "monitor/input_features.h"

#include <math.h>
#include <stddef.h>

enum { GRID = 64 };

const char *ledge__input_feature_name(uint32_t feature)
{
    static const char *const names[] = {
#define NAMES(NAME, name) name,
        LEDGE_INPUT_FEATURES(NAMES)
#undef NAMES
    };
    return feature < LEDGE_INPUT_FEATURE_COUNT ? names[feature] : "";
}

typedef struct View {
    const void *data;
    bool bytes;
} View;

static double at(const View *v, size_t i)
{
    return v->bytes ? (double)((const uint8_t *)v->data)[i] : (double)((const float *)v->data)[i];
}

typedef struct Sums {
    double n, sum, square, edges, n_edges;
} Sums;

static void add(Sums *s, double x)
{
    s->n++;
    s->sum += x;
    s->square += x * x;
}

/* Where one channel of a picture lies: the distance from row to row and from pixel to pixel. */
typedef struct Plane {
    size_t base, h, w, row, pixel;
} Plane;

/* One channel, every step-th row and column; returns its mean. */
static double look_at_plane(const View *v, const Plane *p, Sums *s)
{
    const size_t down = (p->h + GRID - 1) / GRID, right = (p->w + GRID - 1) / GRID;
    double sum = 0, n = 0;
    for (size_t y = 0; y < p->h; y += down)
        for (size_t x = 0; x < p->w; x += right) {
            const size_t i = p->base + y * p->row + x * p->pixel;
            const double value = at(v, i);
            add(s, value);
            sum += value;
            n++;
            if (y > 0 && x > 0 && y + 1 < p->h && x + 1 < p->w) {
                s->edges += fabs(4 * value - at(v, i - p->pixel) - at(v, i + p->pixel) -
                                 at(v, i - p->row) - at(v, i + p->row));
                s->n_edges++;
            }
        }
    return sum / n;
}

static void look_at_picture(const View *v, const LedgeTensor *t, size_t base, bool nhwc, Sums *s,
                            float *out)
{
    const size_t c = (size_t)t->dims[nhwc ? 3 : 1], h = (size_t)t->dims[nhwc ? 1 : 2],
                 w = (size_t)t->dims[nhwc ? 2 : 3];
    double first = 0, last = 0;
    for (size_t i = 0; i < c; i++) {
        const Plane p = {nhwc ? base + i : base + i * h * w, h, w, nhwc ? w * c : w, nhwc ? c : 1};
        last = look_at_plane(v, &p, s);
        first = i == 0 ? last : first;
    }
    if (s->n_edges > 0)
        out[LEDGE_INPUT_SHARPNESS] = (float)(s->edges / s->n_edges);
    if (c == 3)
        out[LEDGE_INPUT_RED_BLUE] = (float)(first - last);
}

static void look_at_values(const View *v, size_t base, size_t n, Sums *s)
{
    const size_t step = (n + GRID * GRID - 1) / (GRID * GRID);
    for (size_t i = 0; i < n; i += step)
        add(s, at(v, base + i));
}

bool ledge__input_features(const LedgeTensor *t, int64_t item, float out[LEDGE_INPUT_FEATURE_COUNT])
{
    const View v = {t->data, t->type == LEDGE_UINT8};
    const int64_t items = t->rank > 1 ? t->dims[0] : 1, count = ledge_tensor_count(t);
    if (!t->data || (t->type != LEDGE_FLOAT && !v.bytes) || item < 0 || item >= items || count <= 0)
        return false;
    const size_t n = (size_t)(count / items), base = (size_t)item * n;
    Sums s = {0};
    for (int i = 0; i < LEDGE_INPUT_FEATURE_COUNT; i++)
        out[i] = NAN;
    if (t->rank == 4 && t->dims[1] <= 4)
        look_at_picture(&v, t, base, false, &s, out);
    else if (t->rank == 4 && t->dims[3] <= 4)
        look_at_picture(&v, t, base, true, &s, out);
    else
        look_at_values(&v, base, n, &s);
    const double mean = s.sum / s.n;
    out[LEDGE_INPUT_MEAN] = (float)mean;
    out[LEDGE_INPUT_SPREAD] = (float)sqrt(fmax(s.square / s.n - mean * mean, 0));
    return true;
}
