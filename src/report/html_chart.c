/* Inline SVG charts, see html_chart.h. Coordinates are pixels at the size the chart is made
 * for, y downwards. */
#include "report/html_chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHAR_WIDTH 6.7 /* of 12 pixel text, on average */
#define BOLD_WIDTH 7.8
#define MOST_SHOWN 12 /* variants with a label; more would only cover each other */

typedef struct Axis {
    double low, high, step; /* of the values */
    double from, to;        /* in pixels */
} Axis;

static double place(const Axis *a, double v)
{
    return a->from + (v - a->low) / (a->high - a->low) * (a->to - a->from);
}

/* 1, 2 or 5 times a power of ten, so that about `ticks` steps cover the range. */
static double nice_step(double range, int ticks)
{
    const double rough = range / ticks, ten = pow(10, floor(log10(rough)));
    const double times = rough / ten;
    return ten * (times <= 1 ? 1 : times <= 2 ? 2 : times <= 5 ? 5 : 10);
}

static Axis axis(double low, double high, int ticks, double from, double to)
{
    Axis a = {.from = from, .to = to};
    if (!(high - low > 1e-9 * fmax(1, fabs(high))))
        high = low + 1;
    a.step = nice_step(high - low, ticks);
    a.low = floor(low / a.step + 1e-9) * a.step;
    a.high = ceil(high / a.step - 1e-9) * a.step;
    return a;
}

static void begin(LedgeText *h, int width, int height, const char *css_class, const char *label)
{
    ledge__text_printf(
        h,
        "<svg class=\"%s\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" "
        "aria-label=\"%s\">\n",
        css_class, width, height, width, height, label);
}

static int decimals(double step)
{
    return step >= 1 ? 0 : step >= 0.1 ? 1 : step >= 0.01 ? 2 : 3;
}

static void horizontal_lines(LedgeText *h, const Axis *y, double left, double right)
{
    for (double v = y->low; v <= y->high + y->step / 2; v += y->step) {
        const double at = place(y, v);
        ledge__text_printf(
            h,
            "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
            "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.*f</text>\n",
            left, right, at, at, left - 6, at + 4, decimals(y->step), v);
    }
}

/* ---- damage layer by layer ---- */

static size_t count_measured(const LedgeHtmlReport *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_layers; i++)
        n += !isnan(r->layers[i].sqnr_db);
    return n;
}

bool ledge__html_has_layers_chart(const LedgeHtmlReport *r)
{
    return count_measured(r) > 0;
}

static double highest_db(const LedgeHtmlReport *r)
{
    double most = 20;
    for (size_t i = 0; i < r->n_layers; i++)
        if (isfinite(r->layers[i].sqnr_db))
            most = fmax(most, r->layers[i].sqnr_db);
    return most;
}

/* Layers without any damage reach up to the chart's edge. */
static double shown_db(const Axis *y, double db)
{
    return fmin(y->high, fmax(0, db));
}

static void column(LedgeText *h, const LedgeHtmlLayer *l, const Axis *y, double x, double width)
{
    const double top = place(y, shown_db(y, l->sqnr_db)), gap = width > 4 ? 1 : 0;
    ledge__text_printf(
        h, "<rect class=\"%s\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"><title>",
        l->is_float ? "kept" : "bar", x + gap, top, fmax(0.5, width - 2 * gap),
        fmax(1, y->from - top));
    ledge__html_text(h, l->name);
    ledge__text_printf(h, " (");
    ledge__html_text(h, l->op_type);
    if (isinf(l->sqnr_db))
        ledge__text_printf(h, "): no damage");
    else
        ledge__text_printf(h, "): %.1f dB", l->sqnr_db);
    ledge__text_printf(h, "%s</title></rect>\n", l->is_float ? ", stayed in float" : "");
}

static void name_worst(LedgeText *h, const LedgeHtmlReport *r, const Axis *y, double left,
                       double right, double step)
{
    size_t worst = r->n_layers, place_of_worst = 0, at = 0;
    for (size_t i = 0; i < r->n_layers; i++) {
        if (isnan(r->layers[i].sqnr_db))
            continue;
        if (worst == r->n_layers || r->layers[i].sqnr_db < r->layers[worst].sqnr_db) {
            worst = i;
            place_of_worst = at;
        }
        at++;
    }
    const double x = left + (0.5 + (double)place_of_worst) * step;
    const bool on_left = x > (left + right) / 2;
    const double room = (on_left ? x - left : right - x) / BOLD_WIDTH - 10;
    const double top = y->to - 10;
    ledge__text_printf(h,
                       "<line class=\"lead\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                       "<text class=\"mark\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">",
                       x, x, top - 4, place(y, shown_db(y, r->layers[worst].sqnr_db)) - 2,
                       x + (on_left ? -5 : 5), top, on_left ? "end" : "start");
    ledge__html_text_cut(h, r->layers[worst].name, room > 6 ? (size_t)room : 6);
    ledge__text_printf(h, " %.1f dB</text>\n", r->layers[worst].sqnr_db);
}

void ledge__html_chart_layers(LedgeText *h, const LedgeHtmlReport *r, int width,
                              const char *css_class)
{
    const int height = 260;
    const double left = 34, right = width - 2;
    if (!ledge__html_has_layers_chart(r))
        return;
    const Axis y = axis(0, highest_db(r), 5, height - 30, 30);
    const double step = (right - left) / (double)count_measured(r);
    begin(h, width, height, css_class, "SQNR of each layer in decibels");
    horizontal_lines(h, &y, left, right);
    for (size_t i = 0, at = 0; i < r->n_layers; i++)
        if (!isnan(r->layers[i].sqnr_db))
            column(h, &r->layers[i], &y, left + (double)at++ * step, step);
    name_worst(h, r, &y, left, right, step);
    ledge__text_printf(
        h,
        "<text class=\"tick\" x=\"%.1f\" y=\"%d\">first layer</text>"
        "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"end\">last layer</text>"
        "<text class=\"tick\" x=\"2\" y=\"12\">dB</text></svg>\n",
        left, height - 12, right, height - 12);
}

/* ---- accuracy against latency ---- */

bool ledge__html_is_labelled(const LedgeHtmlReport *r)
{
    for (size_t i = 0; i < r->n_variants; i++)
        if (!isnan(r->variants[i].top1))
            return true;
    return false;
}

double ledge__html_quality(const LedgeHtmlReport *r, const LedgeHtmlVariant *v)
{
    return ledge__html_is_labelled(r) ? v->top1 : v->is_reference ? 1 : v->agreement;
}

static bool is_plotted(const LedgeHtmlReport *r, const LedgeHtmlVariant *v)
{
    return isfinite(v->p50_ms) && isfinite(ledge__html_quality(r, v));
}

bool ledge__html_has_pareto_chart(const LedgeHtmlReport *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_variants; i++)
        n += is_plotted(r, &r->variants[i]);
    return n >= 2;
}

typedef struct Box {
    double x0, y0, x1, y1;
} Box;

typedef struct Plot {
    const LedgeHtmlReport *r;
    Axis x, y;
    Box taken[2 * MOST_SHOWN];
    size_t n_taken;
} Plot;

static double overlap(Box a, Box b)
{
    const double w = fmin(a.x1, b.x1) - fmax(a.x0, b.x0), t = fmin(a.y1, b.y1) - fmax(a.y0, b.y0);
    return w > 0 && t > 0 ? w * t : 0;
}

/* What of the box is covered, or outside the chart. */
static double cost(const Plot *p, Box b)
{
    double sum = 20 * (fmax(0, b.x1 - p->x.to - 4) + fmax(0, p->x.from - b.x0) +
                       fmax(0, b.y1 - p->y.from) + fmax(0, p->y.to - 16 - b.y0));
    for (size_t i = 0; i < p->n_taken; i++)
        sum += overlap(b, p->taken[i]);
    return sum;
}

/* Right of the point, left of it, above, below: whichever covers least. */
static void label(LedgeText *h, Plot *p, const LedgeHtmlVariant *v, double x, double y)
{
    const size_t letters = strlen(v->name) > 28 ? 29 : strlen(v->name);
    const double w = (double)letters * (v->is_chosen ? BOLD_WIDTH : CHAR_WIDTH);
    const Box choice[] = {
        {x + 10, y - 8, x + 10 + w, y + 8},     {x - 10 - w, y - 8, x - 10, y + 8},
        {x - w / 2, y - 26, x + w / 2, y - 10}, {x - w / 2, y + 10, x + w / 2, y + 26},
        {x + 6, y - 24, x + 6 + w, y - 8},      {x + 6, y + 8, x + 6 + w, y + 24},
        {x - 6 - w, y - 24, x - 6, y - 8},      {x - 6 - w, y + 8, x - 6, y + 24}};
    size_t best = 0;
    for (size_t i = 1; i < sizeof choice / sizeof *choice; i++)
        if (cost(p, choice[i]) < cost(p, choice[best]) - 1e-9)
            best = i;
    const Box *b = &choice[best];
    p->taken[p->n_taken++] = *b;
    ledge__text_printf(h, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
                       v->is_chosen ? "mark" : "point", (b->x0 + b->x1) / 2, b->y1 - 4);
    ledge__html_text_cut(h, v->name, 28);
    ledge__text_printf(h, "</text>\n");
}

static bool is_beaten(const LedgeHtmlReport *r, const LedgeHtmlVariant *v)
{
    for (size_t i = 0; i < r->n_variants; i++) {
        const LedgeHtmlVariant *o = &r->variants[i];
        const double a = ledge__html_quality(r, o), b = ledge__html_quality(r, v);
        if (o != v && is_plotted(r, o) && o->p50_ms <= v->p50_ms && a >= b &&
            (o->p50_ms < v->p50_ms || a > b))
            return true;
    }
    return false;
}

static int by_latency(const void *a, const void *b)
{
    const LedgeHtmlVariant *x = *(const LedgeHtmlVariant *const *)a,
                           *y = *(const LedgeHtmlVariant *const *)b;
    return (x->p50_ms > y->p50_ms) - (x->p50_ms < y->p50_ms);
}

/* A staircase through the variants that no other beats. */
static void front(LedgeText *h, const Plot *p, const LedgeHtmlVariant **sorted, size_t n)
{
    double last = NAN;
    ledge__text_printf(h, "<path class=\"front\" d=\"");
    for (size_t i = 0; i < n; i++) {
        if (is_beaten(p->r, sorted[i]))
            continue;
        const double x = place(&p->x, sorted[i]->p50_ms);
        const double y = place(&p->y, 100 * ledge__html_quality(p->r, sorted[i]));
        if (isnan(last))
            ledge__text_printf(h, "M%.1f %.1f", x, y);
        else
            ledge__text_printf(h, "L%.1f %.1fL%.1f %.1f", x, last, x, y);
        last = y;
    }
    ledge__text_printf(h, "\"/>\n");
}

static void vertical_ticks(LedgeText *h, const Axis *x, double bottom)
{
    for (double v = x->low; v <= x->high + x->step / 2; v += x->step)
        ledge__text_printf(
            h, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.*f</text>\n",
            place(x, v), bottom + 18, decimals(x->step), v);
}

static void points(LedgeText *h, Plot *p, const LedgeHtmlVariant **sorted, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double x = place(&p->x, sorted[i]->p50_ms);
        const double y = place(&p->y, 100 * ledge__html_quality(p->r, sorted[i]));
        if (p->n_taken < MOST_SHOWN)
            p->taken[p->n_taken++] = (Box){x - 7, y - 7, x + 7, y + 7};
        ledge__text_printf(h, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"6\"><title>",
                           sorted[i]->is_chosen      ? "chosen"
                           : sorted[i]->is_reference ? "reference"
                                                     : "tried",
                           x, y);
        ledge__html_text(h, sorted[i]->name);
        ledge__text_printf(h, ": %.2f%%, %.3f ms</title></circle>\n",
                           100 * ledge__html_quality(p->r, sorted[i]), sorted[i]->p50_ms);
    }
    for (size_t i = 0; i < n && i < MOST_SHOWN; i++)
        label(h, p, sorted[i], place(&p->x, sorted[i]->p50_ms),
              place(&p->y, 100 * ledge__html_quality(p->r, sorted[i])));
}

static void draw_pareto(LedgeText *h, const LedgeHtmlReport *r, int width, const char *css_class,
                        const LedgeHtmlVariant **sorted, size_t n)
{
    const int height = 300;
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        low = fmin(low, 100 * ledge__html_quality(r, sorted[i]));
        high = fmax(high, 100 * ledge__html_quality(r, sorted[i]));
    }
    const double margin = fmax(0.5, (high - low) * 0.25), most = sorted[n - 1]->p50_ms;
    Plot p = {.r = r};
    p.x = axis(0, most * 1.08, width > 500 ? 8 : 4, 46, width - 12);
    p.y = axis(fmax(0, low - margin), fmin(100, high + margin), 5, height - 44, 26);
    begin(h, width, height, css_class, "accuracy against latency");
    horizontal_lines(h, &p.y, p.x.from, p.x.to);
    vertical_ticks(h, &p.x, p.y.from);
    front(h, &p, sorted, n);
    points(h, &p, sorted, n);
    ledge__text_printf(
        h,
        "<text class=\"tick\" x=\"2\" y=\"12\">%s, %%</text>"
        "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"end\">latency p50, ms"
        "</text></svg>\n",
        ledge__html_is_labelled(r) ? "top-1" : "agreement", p.x.to, height - 8);
}

void ledge__html_chart_pareto(LedgeText *h, const LedgeHtmlReport *r, int width,
                              const char *css_class)
{
    size_t n = 0;
    const LedgeHtmlVariant **sorted = calloc(r->n_variants + 1, sizeof *sorted);
    if (!sorted) {
        h->failed = true;
        return;
    }
    for (size_t i = 0; i < r->n_variants; i++)
        if (is_plotted(r, &r->variants[i]))
            sorted[n++] = &r->variants[i];
    qsort(sorted, n, sizeof *sorted, by_latency);
    if (n >= 2)
        draw_pareto(h, r, width, css_class, sorted, n);
    free(sorted);
}
