/* What ledge quantize does beyond ranges: equalization, adaptive rounding, mixed precision,
 * comparing modes, and the report. cmd_quantize.c calls these in this order. */
#ifndef LEDGE_CLI_QUANTIZE_MORE_H
#define LEDGE_CLI_QUANTIZE_MORE_H

#include "cli/cli.h"
#include "compress/quantize/quant_adaptive.h"
#include "compress/quantize/quant_equalize.h"
#include "compress/quantize/quant_mixed.h"
#include "report/html_report.h"

typedef struct QuantizeMoreOptions {
    bool mixed, equalize, compare;
    int64_t seed;
    const char *rounding, *max_drop, *min_agreement, *report;
} QuantizeMoreOptions;

/* Rows for the command's table; S has a QuantizeMoreOptions called `more`. */
/* clang-format off */
#define QUANTIZE_MORE_OPTIONS(S) \
    {"equalize", 0, CLI_FLAG, NULL, "even out weights between neighbouring layers first", \
     offsetof(S, more.equalize), 0, 0}, \
    {"rounding", 0, CLI_TEXT, "R", "of weights: nearest (default), or adaptive to the data", \
     offsetof(S, more.rounding), 0, 0}, \
    {"seed", 0, CLI_INT, "N", "of the places that adaptive rounding looks at (1)", \
     offsetof(S, more.seed), 0, INT64_MAX}, \
    {"mixed", 0, CLI_FLAG, NULL, "leave the fewest layers in float that hold --max-drop", \
     offsetof(S, more.mixed), 0, 0}, \
    {"max-drop", 0, CLI_TEXT, "POINTS", "percentage points that --mixed may lose (0.3)", \
     offsetof(S, more.max_drop), 0, 0}, \
    {"min-agreement", 0, CLI_TEXT, "PERCENT", "and of samples whose class must stay (0)", \
     offsetof(S, more.min_agreement), 0, 0}, \
    {"compare-modes", 0, CLI_FLAG, NULL, "measure the other modes and calibrators too", \
     offsetof(S, more.compare), 0, 0}, \
    {"report", 0, CLI_TEXT, "R.html", "write a page on what was lost and won", \
     offsetof(S, more.report), 0, 0}
/* clang-format on */

#define QUANTIZE_MOST_VARIANTS 12

typedef struct QuantizeMore {
    const QuantizeMoreOptions *o;
    const LedgeQuantOptions *q;
    const char *path;
    LedgeMixedBudget budget;
    bool adaptive;
    LedgeJudge *judge; /* NULL: nothing here needs samples */
    LedgeEqualized equalized;
    LedgeAdapted adapted;
    LedgeDamages damages; /* n 0: not measured */
    LedgeMixed mixed;
    LedgeHtmlVariant variants[QUANTIZE_MOST_VARIANTS];
    size_t n_variants;
} QuantizeMore;

/* All give CLI_GO, or the exit code after a message. */
int quantize_more_check(const CliCommand *c, QuantizeMore *m, bool has_data);
/* After opening, before observing: equalization. */
int quantize_more_equalize(QuantizeMore *m, LedgeQuantizer *q);
/* Before the first of `expected` samples. */
int quantize_more_begin(QuantizeMore *m, size_t expected);
/* Each sample, with the float model's outputs. */
int quantize_more_sample(QuantizeMore *m, const LedgeTensor *inputs, size_t n_inputs,
                         const LedgeTensor *outputs, size_t n_outputs, int32_t label);
/* When ranges are chosen: all that changes what will be built, then what is to be measured. */
int quantize_more_search(QuantizeMore *m, LedgeQuantizer *q);
/* With the model written: the page. */
int quantize_more_report(QuantizeMore *m, LedgeQuantizer *q, const char *out_path,
                         uint64_t in_bytes, uint64_t out_bytes, const json_t *warnings);
void quantize_more_print(const QuantizeMore *m, const LedgeQuantizer *q);
json_t *quantize_more_json(const QuantizeMore *m, const LedgeQuantizer *q);
void quantize_more_free(QuantizeMore *m);

#endif
