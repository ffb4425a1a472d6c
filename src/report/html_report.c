/* The report's page, see html_report.h: what changed first, then what to beware of, then the
 * modes, the layers, and how it was made. */
#include "report/html_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/out_file.h"
#include "report/html_chart.h"
#include "report/html_style.h"
#include "report/html_text.h"

#define WIDE   862
#define NARROW 336

static const LedgeHtmlVariant *find(const LedgeHtmlReport *r, bool chosen)
{
    for (size_t i = 0; i < r->n_variants; i++)
        if (chosen ? r->variants[i].is_chosen : r->variants[i].is_reference)
            return &r->variants[i];
    return NULL;
}

/* ---- numbers ---- */

static void bytes(LedgeText *h, uint64_t n)
{
    const double v = (double)n;
    if (v < 1e3)
        ledge__text_printf(h, "%.0f B", v);
    else if (v < 1e6)
        ledge__text_printf(h, "%.1f kB", v / 1e3);
    else
        ledge__text_printf(h, v < 1e9 ? "%.2f MB" : "%.2f GB", v / (v < 1e9 ? 1e6 : 1e9));
}

static void percent(LedgeText *h, double share)
{
    if (isfinite(share))
        ledge__text_printf(h, "%.2f%%", 100 * share);
    else
        ledge__text_printf(h, "&ndash;");
}

static void milliseconds(LedgeText *h, double ms)
{
    if (isfinite(ms))
        ledge__text_printf(h, "%.*f ms", ms < 1 ? 3 : ms < 100 ? 2 : 1, ms);
    else
        ledge__text_printf(h, "&ndash;");
}

/* ---- before and after ---- */

static void card_size(LedgeText *h, const LedgeHtmlVariant *from, const LedgeHtmlVariant *to)
{
    if (!to->bytes)
        return;
    ledge__text_printf(h, "<div class=\"card\"><span>size</span><b>");
    bytes(h, to->bytes);
    ledge__text_printf(h, "</b><span>before ");
    bytes(h, from->bytes);
    if (from->bytes)
        ledge__text_printf(h, ", &times;%.2f", (double)to->bytes / (double)from->bytes);
    ledge__text_printf(h, "</span></div>\n");
}

static void card_top1(LedgeText *h, const LedgeHtmlVariant *from, const LedgeHtmlVariant *to)
{
    if (!isfinite(to->top1))
        return;
    ledge__text_printf(h, "<div class=\"card\"><span>top-1</span><b>");
    percent(h, to->top1);
    ledge__text_printf(h, "</b><span>before ");
    percent(h, from->top1);
    if (isfinite(from->top1))
        ledge__text_printf(h, ", %+.2f points", 100 * (to->top1 - from->top1));
    ledge__text_printf(h, "</span></div>\n");
}

static void card_agreement(LedgeText *h, const LedgeHtmlReport *r, const LedgeHtmlVariant *to)
{
    if (!isfinite(to->agreement))
        return;
    ledge__text_printf(h, "<div class=\"card\"><span>agreement</span><b>");
    percent(h, to->agreement);
    ledge__text_printf(h, "</b><span>same class, %zu pictures</span></div>\n", r->n_pictures);
}

static void card_latency(LedgeText *h, const LedgeHtmlVariant *from, const LedgeHtmlVariant *to)
{
    if (!isfinite(to->p50_ms))
        return;
    ledge__text_printf(h, "<div class=\"card\"><span>latency, p50</span><b>");
    milliseconds(h, to->p50_ms);
    ledge__text_printf(h, "</b><span>before ");
    milliseconds(h, from->p50_ms);
    if (isfinite(from->p50_ms) && from->p50_ms > 0)
        ledge__text_printf(h, ", &times;%.2f", to->p50_ms / from->p50_ms);
    ledge__text_printf(h, "</span></div>\n");
}

static void card_integers(LedgeText *h, const LedgeHtmlVariant *to)
{
    if (!isfinite(to->integer_share))
        return;
    ledge__text_printf(h, "<div class=\"card\"><span>in integers</span><b>");
    percent(h, to->integer_share);
    ledge__text_printf(h, "</b><span>of the arithmetic</span></div>\n");
}

static void cards(LedgeText *h, const LedgeHtmlReport *r)
{
    const LedgeHtmlVariant *from = find(r, false), *to = find(r, true);
    if (!from || !to)
        return;
    ledge__text_printf(h, "<div class=\"cards\">\n");
    card_size(h, from, to);
    card_top1(h, from, to);
    card_agreement(h, r, to);
    card_latency(h, from, to);
    card_integers(h, to);
    ledge__text_printf(h, "</div>\n");
}

static void warnings(LedgeText *h, const LedgeHtmlReport *r)
{
    if (!r->n_warnings)
        return;
    ledge__text_printf(h, "<h2>Warnings</h2>\n<div class=\"box warn\"><ul>\n");
    for (size_t i = 0; i < r->n_warnings; i++) {
        ledge__text_printf(h, "<li>");
        ledge__html_text(h, r->warnings[i]);
        ledge__text_printf(h, "</li>\n");
    }
    ledge__text_printf(h, "</ul></div>\n");
}

/* ---- modes ---- */

static bool knows_top5(const LedgeHtmlReport *r)
{
    for (size_t i = 0; i < r->n_variants; i++)
        if (isfinite(r->variants[i].top5))
            return true;
    return false;
}

static void variant_row(LedgeText *h, const LedgeHtmlReport *r, const LedgeHtmlVariant *v)
{
    ledge__text_printf(h, "<tr%s><td class=\"name\">", v->is_chosen ? " class=\"chosen\"" : "");
    ledge__html_text(h, v->name);
    ledge__text_printf(h, "%s</td><td class=\"n\">", v->is_chosen ? " &larr; written" : "");
    if (v->bytes)
        bytes(h, v->bytes);
    else
        ledge__text_printf(h, "&ndash;");
    const double shares[] = {v->top1, v->top5, v->agreement};
    for (size_t i = 0; i < 3; i++) {
        if (i == 1 && !knows_top5(r))
            continue;
        ledge__text_printf(h, "</td><td class=\"n%s\">", i ? " more" : "");
        percent(h, shares[i]);
    }
    ledge__text_printf(h, "</td><td class=\"n\">");
    milliseconds(h, v->p50_ms);
    ledge__text_printf(h, "</td><td class=\"n more\">");
    milliseconds(h, v->p90_ms);
    ledge__text_printf(h, "</td></tr>\n");
}

static void modes(LedgeText *h, const LedgeHtmlReport *r)
{
    if (!r->n_variants)
        return;
    ledge__text_printf(h, "<h2>%s</h2>\n",
                       r->n_variants > 2 ? "Modes compared" : "Before and after");
    if (r->n_pictures) {
        ledge__text_printf(h, "<p class=\"soft\">Measured on %zu ", r->n_pictures);
        ledge__html_text(h, r->pictures ? r->pictures : "pictures");
    }
    if (r->n_pictures && r->cpu) {
        ledge__text_printf(h, "; latency in turn on ");
        ledge__html_text(h, r->cpu);
    }
    ledge__text_printf(h, r->n_pictures ? ".</p>\n" : "\n");
    if (ledge__html_has_pareto_chart(r)) {
        ledge__text_printf(h, "<div class=\"box\">\n");
        ledge__html_chart_pareto(h, r, WIDE, "wide");
        ledge__html_chart_pareto(h, r, NARROW, "narrow");
        ledge__text_printf(h,
                           "<p class=\"soft\">Up and to the left is better; the dashed line joins "
                           "the modes that no other beats in both.</p></div>\n");
    }
    ledge__text_printf(h,
                       "<div class=\"box\"><table><tr><th>model</th><th class=\"n\">size</th>"
                       "<th class=\"n\">top-1</th>%s<th class=\"n more\">agreement</th>"
                       "<th class=\"n\">p50</th><th class=\"n more\">p90</th></tr>\n",
                       knows_top5(r) ? "<th class=\"n more\">top-5</th>" : "");
    for (size_t i = 0; i < r->n_variants; i++)
        variant_row(h, r, &r->variants[i]);
    ledge__text_printf(h, "</table></div>\n");
}

/* ---- layers ---- */

static void layer_row(LedgeText *h, const LedgeHtmlLayer *l)
{
    ledge__text_printf(h, "<tr><td class=\"name\">");
    ledge__html_text(h, l->name);
    ledge__text_printf(h, "</td><td>");
    ledge__html_text(h, l->op_type);
    ledge__text_printf(h, "</td><td>%s</td><td class=\"n\">", l->is_float ? "float" : "integers");
    if (isnan(l->sqnr_db))
        ledge__text_printf(h, "&ndash;");
    else if (isinf(l->sqnr_db))
        ledge__text_printf(h, l->sqnr_db > 0 ? "exact" : "lost");
    else
        ledge__text_printf(h, "%.1f dB", l->sqnr_db);
    ledge__text_printf(h, "</td><td class=\"n\">");
    percent(h, l->agreement);
    ledge__text_printf(h, "</td></tr>\n");
}

static void layers(LedgeText *h, const LedgeHtmlReport *r)
{
    if (!r->n_layers)
        return;
    ledge__text_printf(h, "<h2>Damage layer by layer</h2>\n");
    if (ledge__html_has_layers_chart(r)) {
        ledge__text_printf(h, "<p class=\"soft\">");
        ledge__html_text(h, r->sqnr_of ? r->sqnr_of
                                       : "Signal to quantization noise at the model's output "
                                         "when one layer alone is quantized.");
        ledge__text_printf(
            h, " Higher is better; every 6 dB halve the noise.</p>\n<div class=\"box\">\n");
        ledge__html_chart_layers(h, r, WIDE, "wide");
        ledge__html_chart_layers(h, r, NARROW, "narrow");
        ledge__text_printf(h,
                           "<p class=\"soft keys\"><span><i class=\"key bar\"></i>quantized</span>"
                           "<span><i class=\"key kept\"></i>stayed in float</span></p></div>\n");
    }
    ledge__text_printf(h,
                       "<details class=\"box\"><summary>All %zu, one by one</summary><table><tr>"
                       "<th>layer</th><th>operator</th><th>runs in</th><th class=\"n\">SQNR</th>"
                       "<th class=\"n\">agreement</th></tr>\n",
                       r->n_layers);
    for (size_t i = 0; i < r->n_layers; i++)
        layer_row(h, &r->layers[i]);
    ledge__text_printf(h, "</table></details>\n");
}

static void kept(LedgeText *h, const LedgeHtmlReport *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_layers; i++)
        n += r->layers[i].is_float;
    if (!r->n_layers)
        return;
    ledge__text_printf(h, "<h2>What stayed in float</h2>\n");
    if (!n) {
        ledge__text_printf(h, "<p>Nothing: every layer that can be quantized is.</p>\n");
        return;
    }
    ledge__text_printf(
        h, "<div class=\"box\"><table><tr><th>layer</th><th>operator</th><th>why</th></tr>\n");
    for (size_t i = 0; i < r->n_layers; i++) {
        if (!r->layers[i].is_float)
            continue;
        ledge__text_printf(h, "<tr><td class=\"name\">");
        ledge__html_text(h, r->layers[i].name);
        ledge__text_printf(h, "</td><td>");
        ledge__html_text(h, r->layers[i].op_type);
        ledge__text_printf(h, "</td><td>");
        ledge__html_text(h, r->layers[i].why);
        ledge__text_printf(h, "</td></tr>\n");
    }
    ledge__text_printf(h, "</table></div>\n");
}

static void settings(LedgeText *h, const LedgeHtmlReport *r)
{
    if (!r->n_settings)
        return;
    ledge__text_printf(h, "<h2>How it was made</h2>\n<div class=\"box\"><table>\n");
    for (size_t i = 0; i < r->n_settings; i++) {
        ledge__text_printf(h, "<tr><th>");
        ledge__html_text(h, r->settings[i].key);
        ledge__text_printf(h, "</th><td class=\"name\">");
        ledge__html_text(h, r->settings[i].value);
        ledge__text_printf(h, "</td></tr>\n");
    }
    ledge__text_printf(h, "</table></div>\n");
}

/* ---- the page ---- */

static void head(LedgeText *h, const LedgeHtmlReport *r)
{
    ledge__text_printf(h,
                       "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                       "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                       "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                       "style-src 'unsafe-inline'\">\n"
                       "<meta name=\"generator\" content=\"ledge ");
    ledge__html_text(h, r->version);
    ledge__text_printf(h, "\">\n<title>");
    ledge__html_text(h, r->title);
    ledge__text_printf(
        h, " &ndash; ledge report</title>\n<style>\n%s</style></head>\n<body><main>\n<h1>",
        ledge__html_style);
    ledge__html_text(h, r->title);
    ledge__text_printf(h, "</h1>\n<p class=\"soft\">Quantization report, ");
    ledge__html_text(h, r->date);
    ledge__text_printf(h, "</p>\n");
}

LedgeStatus ledge__html_report(const LedgeHtmlReport *r, LedgeError *err, char **out, size_t *size)
{
    LedgeText h = {0};
    head(&h, r);
    cards(&h, r);
    warnings(&h, r);
    modes(&h, r);
    layers(&h, r);
    kept(&h, r);
    settings(&h, r);
    ledge__text_printf(&h, "<footer>Made by ledge ");
    ledge__html_text(&h, r->version);
    ledge__text_printf(&h, ". One file, no network, no script.</footer>\n</main></body></html>\n");
    if (h.failed) {
        ledge__text_free(&h);
        return ledge__no_memory(err);
    }
    *out = h.p;
    *size = h.n;
    return LEDGE_OK;
}

LedgeStatus ledge__html_report_write(const LedgeHtmlReport *r, const char *path, LedgeError *err)
{
    char *page;
    size_t n;
    LEDGE_TRY(ledge__html_report(r, err, &page, &n));
    const LedgeStatus status = ledge__out_file_whole(NULL, path, page, n, err);
    ledge__free(NULL, page);
    return status;
}
