/* Features of inputs. */
#include "monitor/input_features.h"

#include <math.h>
#include <stddef.h>

/* Places that are looked at: so many each way of a picture, or of a list. The means of far more
 * would hardly differ, next to how pictures differ from each other. */
enum { GRID = 32, PLACES = 4096 };

const char *ledge__input_feature_name(uint32_t feature)
{
    static const char *const names[] = {
#define NAMES(NAME, name) name,
        LEDGE_INPUT_FEATURES(NAMES)
#undef NAMES
    };
    return feature < LEDGE_INPUT_FEATURE_COUNT ? names[feature] : "";
}

/* Numbers, bytes, or bytes that stand for the numbers of a table. */
typedef enum Kind { FLOATS, BYTES, VALUES } Kind;

typedef struct View {
    Kind kind;
    const void *data;
    const float *value; /* of 256 bytes */
} View;

/* Asked thousands of times for each input, so that the kind is to be known where it is compiled. */
static inline __attribute__((always_inline)) double at(const View *v, Kind kind, size_t i)
{
    if (kind == FLOATS)
        return (double)((const float *)v->data)[i];
    const uint8_t byte = ((const uint8_t *)v->data)[i];
    return kind == BYTES ? (double)byte : (double)v->value[byte];
}

typedef struct Sums {
    double n, sum, square, edges, n_edges;
} Sums;

/* Where one channel of a picture lies: the distance from row to row and from pixel to pixel, and
 * the steps between places that are looked at. */
typedef struct Plane {
    size_t base, h, w, row, pixel, down, right;
} Plane;

/* Row y at its places. */
static inline __attribute__((always_inline)) void look_at_row(const View *v, Kind kind,
                                                              const Plane *p, size_t y, Sums *s)
{
    const bool inside = y > 0 && y + 1 < p->h;
    const size_t row = p->base + y * p->row;
    double sum = 0, square = 0, edges = 0;
    size_t n = 0, n_edges = 0;
    for (size_t x = 0; x < p->w; x += p->right, n++) {
        const size_t i = row + x * p->pixel;
        const double value = at(v, kind, i);
        sum += value;
        square += value * value;
        if (inside && x > 0 && x + 1 < p->w) {
            edges += fabs(4 * value - at(v, kind, i - p->pixel) - at(v, kind, i + p->pixel) -
                          at(v, kind, i - p->row) - at(v, kind, i + p->row));
            n_edges++;
        }
    }
    *s = (Sums){s->n + (double)n, s->sum + sum, s->square + square, s->edges + edges,
                s->n_edges + (double)n_edges};
}

static inline __attribute__((always_inline)) void look_at_rows(const View *v, Kind kind,
                                                               const Plane *p, Sums *s)
{
    for (size_t y = 0; y < p->h; y += p->down)
        look_at_row(v, kind, p, y, s);
}

/* One channel; returns its mean. */
static double look_at_plane(const View *v, const Plane *p, Sums *all)
{
    Sums s = {0};
    if (v->kind == FLOATS)
        look_at_rows(v, FLOATS, p, &s);
    else if (v->kind == BYTES)
        look_at_rows(v, BYTES, p, &s);
    else
        look_at_rows(v, VALUES, p, &s);
    *all = (Sums){all->n + s.n, all->sum + s.sum, all->square + s.square, all->edges + s.edges,
                  all->n_edges + s.n_edges};
    return s.sum / s.n;
}

/* pixels NULL: numbers and bytes are what they are. */
static void look_at_picture(const LedgeTensor *t, size_t base, bool nhwc,
                            const LedgeInputPixels *pixels, Sums *s, float *out)
{
    const size_t c = (size_t)t->dims[nhwc ? 3 : 1], h = (size_t)t->dims[nhwc ? 1 : 2],
                 w = (size_t)t->dims[nhwc ? 2 : 3];
    View v = {t->type == LEDGE_FLOAT ? FLOATS : pixels ? VALUES : BYTES, t->data, NULL};
    double first = 0, last = 0;
    for (size_t i = 0; i < c; i++) {
        const size_t from = pixels && pixels->reversed ? c - 1 - i : i;
        const Plane p = {.base = nhwc ? base + from : base + i * h * w,
                         .h = h,
                         .w = w,
                         .row = nhwc ? w * c : w,
                         .pixel = nhwc ? c : 1,
                         .down = (h + GRID - 1) / GRID,
                         .right = (w + GRID - 1) / GRID};
        v.value = pixels ? pixels->value[i] : NULL;
        last = look_at_plane(&v, &p, s);
        first = i == 0 ? last : first;
    }
    if (s->n_edges > 0)
        out[LEDGE_INPUT_SHARPNESS] = (float)(s->edges / s->n_edges);
    if (c == 3)
        out[LEDGE_INPUT_RED_BLUE] = (float)(first - last);
}

static void look_at_list(const LedgeTensor *t, size_t base, size_t n, Sums *s)
{
    const View v = {t->type == LEDGE_FLOAT ? FLOATS : BYTES, t->data, NULL};
    const size_t step = (n + PLACES - 1) / PLACES;
    for (size_t i = 0; i < n; i += step) {
        const double x = at(&v, v.kind, base + i);
        s->n++;
        s->sum += x;
        s->square += x * x;
    }
}

bool ledge__input_features(const LedgeTensor *t, int64_t item, const LedgeInputPixels *pixels,
                           LedgeInputFeatures out)
{
    const int64_t items = t->rank > 1 ? t->dims[0] : 1, count = ledge_tensor_count(t);
    const bool fits = pixels ? t->type == LEDGE_UINT8 && t->rank == 4 && t->dims[3] <= 4
                             : t->type == LEDGE_FLOAT || t->type == LEDGE_UINT8;
    if (!t->data || !fits || item < 0 || item >= items || count <= 0)
        return false;
    const size_t n = (size_t)(count / items), base = (size_t)item * n;
    Sums s = {0};
    for (int i = 0; i < LEDGE_INPUT_FEATURE_COUNT; i++)
        out[i] = NAN;
    if (t->rank == 4 && (pixels || t->dims[1] > 4) && t->dims[3] <= 4)
        look_at_picture(t, base, true, pixels, &s, out);
    else if (t->rank == 4 && t->dims[1] <= 4)
        look_at_picture(t, base, false, NULL, &s, out);
    else
        look_at_list(t, base, n, &s);
    const double mean = s.sum / s.n;
    out[LEDGE_INPUT_MEAN] = (float)mean;
    out[LEDGE_INPUT_SPREAD] = (float)sqrt(fmax(s.square / s.n - mean * mean, 0));
    return true;
}
