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

/* One channel, every step-th row and column; returns its mean. */
static double look_at_plane(const View *v, size_t base, size_t h, size_t w, Sums *s)
{
    const size_t down = (h + GRID - 1) / GRID, right = (w + GRID - 1) / GRID;
    double sum = 0, n = 0;
    for (size_t y = 0; y < h; y += down)
        for (size_t x = 0; x < w; x += right) {
            const size_t i = base + y * w + x;
            const double value = at(v, i);
            add(s, value);
            sum += value;
            n++;
            if (y > 0 && x > 0 && y + 1 < h && x + 1 < w) {
                s->edges += fabs(4 * value - at(v, i - 1) - at(v, i + 1) - at(v, i - w) -
                                 at(v, i + w));
                s->n_edges++;
            }
        }
    return sum / n;
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
    if (t->rank == 4 && t->dims[1] <= 4) {
        const size_t c = (size_t)t->dims[1], h = (size_t)t->dims[2], w = (size_t)t->dims[3];
        double first = 0, last = 0;
        for (size_t i = 0; i < c; i++) {
            last = look_at_plane(&v, base + i * h * w, h, w, &s);
            first = i == 0 ? last : first;
        }
        if (s.n_edges > 0)
            out[LEDGE_INPUT_SHARPNESS] = (float)(s.edges / s.n_edges);
        if (c == 3)
            out[LEDGE_INPUT_RED_BLUE] = (float)(first - last);
    } else {
        look_at_values(&v, base, n, &s);
    }
    const double mean = s.sum / s.n;
    out[LEDGE_INPUT_MEAN] = (float)mean;
    out[LEDGE_INPUT_SPREAD] = (float)sqrt(fmax(s.square / s.n - mean * mean, 0));
    return true;
}
