/* The report's charts, drawn as inline SVG in the page's own colours (CSS variables), for one
 * width in pixels each: the page carries a wide and a narrow one, and shows what fits. */
#ifndef LEDGE_REPORT_HTML_CHART_H
#define LEDGE_REPORT_HTML_CHART_H

#include "report/html_report.h"
#include "report/html_text.h"

/* Columns of SQNR per layer; nothing when no layer has one. */
void ledge__html_chart_layers(LedgeText *h, const LedgeHtmlReport *r, int width,
                              const char *css_class);
/* Accuracy (or, without labels, agreement) against latency, with the Pareto front; nothing when
 * fewer than two variants have both. */
void ledge__html_chart_pareto(LedgeText *h, const LedgeHtmlReport *r, int width,
                              const char *css_class);
bool ledge__html_has_layers_chart(const LedgeHtmlReport *r);
bool ledge__html_has_pareto_chart(const LedgeHtmlReport *r);
/* What the Pareto chart has on its vertical axis: top-1, or agreement where nothing is
 * labelled. */
double ledge__html_quality(const LedgeHtmlReport *r, const LedgeHtmlVariant *v);
bool ledge__html_is_labelled(const LedgeHtmlReport *r);

#endif
