/* Class labels from files, percentiles and the clock. */
#include "cli/model_io.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "image/file_bytes.h"

#define LABELS_MAX ((size_t)64 << 20)

int cli_labels_load(const LedgeModel *m, const char *path, LedgeLabels *out)
{
    LedgeError err = {0};
    size_t size;
    uint8_t *bytes = NULL;
    *out = (LedgeLabels){0};
    if (!path && !m)
        return CLI_GO;
    if (!path)
        return ledge__labels_of_model(m, &err, out) ? cli_fail(NULL, &err) : CLI_GO;
    LedgeStatus s = ledge__file_bytes(NULL, path, LABELS_MAX, &err, &bytes, &size);
    if (!s)
        s = ledge__labels_cut((const char *)bytes, &err, out);
    ledge__free(NULL, bytes);
    if (s)
        return cli_fail(path, &err);
    if (!out->n) {
        ledge__labels_free(out);
        return cli_fail_with(path, LEDGE_ERROR_FORMAT,
                             "no labels in it; one class a line is asked");
    }
    return CLI_GO;
}

uint64_t cli_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int cli_compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double cli_percentile(const double *sorted, size_t n, double p)
{
    if (!n)
        return NAN;
    const double at = p / 100 * (double)(n - 1);
    const size_t below = (size_t)at;
    if (below + 1 >= n)
        return sorted[n - 1];
    return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}
