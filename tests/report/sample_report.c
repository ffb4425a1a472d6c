/* The sample: 53 layers of a network like MobileNetV2, with numbers made up by a formula. */
#include "sample_report.h"

#include <math.h>
#include <stdio.h>

#define N_LAYERS 53

static LedgeHtmlLayer layers[N_LAYERS];
static char names[N_LAYERS][64];

static void make_layers(void)
{
    for (int i = 0; i < N_LAYERS; i++) {
        LedgeHtmlLayer *l = &layers[i];
        snprintf(names[i], sizeof names[i], "/features/%d/block/%s", i / 3,
                 i % 3 == 1 ? "depthwise/Conv" : "project/Conv");
        *l = (LedgeHtmlLayer){names[i], i == N_LAYERS - 1 ? "Gemm" : "Conv", 0, 0, false, NULL};
        l->sqnr_db = 34 + 9 * sin(i * 1.7) + 5 * cos(i * 0.31) - (i == 4 ? 21 : 0);
        l->agreement = 1 - 1 / (10 + l->sqnr_db);
    }
    layers[4].is_float = layers[7].is_float = true;
    layers[4].why = "--mixed: alone it costs 1.20 points of top-1, the most of all layers";
    layers[7].name = SAMPLE_HOSTILE;
    layers[7].why = "--exclude <b>names</b> it";
    layers[20].sqnr_db = INFINITY;
    layers[30].sqnr_db = NAN;
    layers[30].agreement = NAN;
}

LedgeHtmlReport sample_report(void)
{
    static LedgeHtmlVariant variants[] = {
        {"float", 14160000, 0.852, 0.964, 1, 6.07, 6.31, 0, true, false},
        {"static, minmax", 3690000, 0.844, 0.96, 0.954, 2.91, 3.1, 0.998, false, false},
        {"static, entropy, bias corrected", 3690000, 0.846, 0.962, 0.962, 2.9, 3.05, 0.998, false,
         false},
        {"static, mixed", 4120000, 0.85, 0.964, 0.974, 3.1, 3.3, 0.941, false, true},
        {"dynamic", 13200000, 0.852, 0.964, 0.99, 5.9, 6.2, 0.04, false, false},
        {"weights <i>only</i>", 3700000, 0.848, 0.962, 0.968, 6.2, 6.4, 0, false, false},
    };
    static const char *const warnings[] = {
        "60 calibration pictures are few; 100 or more give steadier ranges",
        "picture 'dark<1>.jpg' looks unlike the others: its range is 0.08 of theirs"};
    static LedgeHtmlPair settings[] = {
        {"mode", "static"},
        {"calibration", "60 of 500 pictures in val, entropy"},
        {"weights", "int8, symmetric, one scale per channel"},
        {"activations", "uint8, asymmetric"},
        {"preprocessing",
         "{\"color\": \"rgb\", \"crop\": {\"width\": 224, \"height\": 224}, \"scale\": 1.0}"}};
    make_layers();
    return (LedgeHtmlReport){
        .title = "mobilenetv2 & friends <1.0>.int8.onnx",
        .version = "0.1.0",
        .date = "2026-11-22 18:00 UTC",
        .cpu = "AMD EPYC 9004, 2 threads",
        .n_pictures = 500,
        .variants = variants,
        .n_variants = sizeof variants / sizeof *variants,
        .layers = layers,
        .n_layers = N_LAYERS,
        .warnings = warnings,
        .n_warnings = 2,
        .settings = settings,
        .n_settings = sizeof settings / sizeof *settings,
    };
}
