/* Class labels, best scores, percentiles and the clock. */
#include "cli/model_io.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "image/file_bytes.h"

#define LABELS_KEY "ledge.labels"
#define LABELS_MAX ((size_t)64 << 20)

/* "n01440764 tench" → "tench" */
static char *skip_wordnet_id(char *line)
{
    if (line[0] != 'n' || strlen(line) < 11 || line[9] != ' ')
        return line;
    for (int i = 1; i < 9; i++)
        if (!isdigit((unsigned char)line[i]))
            return line;
    return line + 10;
}

/* Cuts l->text into lines; a last empty one does not count. */
static bool cut_lines(CliLabels *l)
{
    size_t lines = 1;
    for (const char *p = l->text; *p; p++)
        lines += *p == '\n';
    l->names = calloc(lines, sizeof *l->names);
    if (!l->names)
        return false;
    for (char *p = l->text; p && *p;) {
        char *end = strchr(p, '\n');
        if (end)
            *end = '\0';
        p[strcspn(p, "\r")] = '\0';
        l->names[l->n++] = skip_wordnet_id(p);
        p = end ? end + 1 : NULL;
    }
    return true;
}

int cli_labels_load(const LedgeModel *m, const char *path, CliLabels *out)
{
    LedgeError err = {0};
    size_t size;
    uint8_t *bytes = NULL;
    const char *own = m && !path ? ledge_model_metadata(m, LABELS_KEY) : NULL;
    *out = (CliLabels){0};
    if (!path && !own)
        return CLI_GO;
    if (path) {
        if (ledge__file_bytes(NULL, path, LABELS_MAX, &err, &bytes, &size))
            return cli_fail(path, &err);
        own = (const char *)bytes;
    }
    out->text = strdup(own);
    ledge__free(NULL, bytes);
    if (!out->text || !cut_lines(out)) {
        cli_labels_free(out);
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    }
    if (path && !out->n) {
        cli_labels_free(out);
        return cli_fail_with(path, LEDGE_ERROR_FORMAT,
                             "no labels in it; one class a line is asked");
    }
    return CLI_GO;
}

void cli_labels_free(CliLabels *l)
{
    free(l->names);
    free(l->text);
    *l = (CliLabels){0};
}

const char *cli_label(const CliLabels *l, int64_t index)
{
    return index >= 0 && (uint64_t)index < l->n ? l->names[index] : NULL;
}

bool cli_is_scores(const LedgeTensor *t)
{
    int64_t most = 0;
    if (t->type != LEDGE_FLOAT && t->type != LEDGE_DOUBLE && t->type != LEDGE_FLOAT16 &&
        t->type != LEDGE_BFLOAT16)
        return false;
    for (int32_t i = 0; i < t->rank; i++)
        most = t->dims[i] > most ? t->dims[i] : most;
    return most > 1 && ledge_tensor_count(t) == most;
}

/* NaN ranks last. */
static double rank_of(const LedgeTensor *t, int64_t i)
{
    const double v = cli_element(t, i);
    return isnan(v) ? -INFINITY : v;
}

size_t cli_top(const LedgeTensor *t, size_t k, int64_t *indices)
{
    const int64_t count = ledge_tensor_count(t);
    size_t n = 0;
    for (int64_t i = 0; i < count; i++) {
        const double v = rank_of(t, i);
        size_t at = n;
        while (at > 0 && v > rank_of(t, indices[at - 1]))
            at--;
        if (at >= k)
            continue;
        n += n < k;
        memmove(indices + at + 1, indices + at, (n - at - 1) * sizeof *indices);
        indices[at] = i;
    }
    return n;
}

void cli_probabilities(const LedgeTensor *t, const int64_t *indices, size_t k, double *out)
{
    const int64_t count = ledge_tensor_count(t);
    double sum = 0, least = INFINITY, most = -INFINITY, exps = 0;
    for (int64_t i = 0; i < count; i++) {
        const double v = cli_element(t, i);
        sum += v;
        least = v < least ? v : least;
        most = v > most ? v : most;
    }
    for (int64_t i = 0; i < count; i++)
        exps += exp(cli_element(t, i) - most);
    const bool already = least >= 0 && fabs(sum - 1) < 1e-3;
    for (size_t i = 0; i < k; i++) {
        const double v = cli_element(t, indices[i]);
        out[i] = already ? v : exp(v - most) / exps;
    }
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
