/* Runs models on seeded noise and writes every float output, to compare machines.
 *
 *   answers [--threads N] [--provider LIST] OUT.bin MODEL...
 *
 * The same bytes in on every machine: inputs come from an integer generator. OUT.bin holds the
 * float32 outputs of all models one after the other. --compare A.bin B.bin prints the normalised
 * mean squared difference of two such files and fails over 1e-9. With --provider nothing may fall
 * back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "ledge/report.h"

#define MAX_IO 16
#define BOUND 1e-9

static void fill(LedgeTensor *t, uint64_t seed)
{
    int64_t n = ledge_tensor_count(t);
    t->bytes = ledge_tensor_bytes(t);
    t->data = calloc(1, t->bytes + 1);
    uint64_t s = seed * 0x9e3779b97f4a7c15u + 1;
    for (int64_t i = 0; t->data && i < n; i++) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        if (t->type == LEDGE_FLOAT)
            ((float *)t->data)[i] = (float)(int32_t)(s >> 32) / 2147483648.0f;
        else if (t->type == LEDGE_INT64)
            ((int64_t *)t->data)[i] = (int64_t)(s >> 33) % 1000;
    }
}

static int failed(const char *path, const LedgeError *err)
{
    fprintf(stderr, "answers: %s: %s: %s\n", path, err->where, err->message);
    return 1;
}

static int answer(const char *path, const LedgeSessionOptions *so, FILE *out)
{
    LedgeError err = {0};
    LedgeModel *m = NULL;
    LedgeSession *s = NULL;
    LedgeTensor in[MAX_IO] = {{0}}, y[MAX_IO] = {{0}};
    const LedgeModelOptions mo = {.for_providers = so->providers != NULL};
    if (ledge_model_load(path, &mo, &err, &m) != LEDGE_OK ||
        ledge_session_create(m, so, &err, &s) != LEDGE_OK)
        return failed(path, &err);
    size_t n_in = ledge_model_input_count(m), n_out = ledge_model_output_count(m);
    for (size_t i = 0; i < n_in && i < MAX_IO; i++) {
        const LedgeTensorInfo *info = ledge_model_input(m, i);
        in[i] = (LedgeTensor){.type = info->type, .rank = info->rank};
        for (int32_t d = 0; d < info->rank; d++)
            in[i].dims[d] = info->dims[d] < 0 ? 1 : info->dims[d];
        fill(&in[i], i + 1);
    }
    if (n_in > MAX_IO || n_out > MAX_IO ||
        ledge_session_run(s, in, n_in, y, n_out, &err) != LEDGE_OK)
        return failed(path, &err);
    if (so->providers) {
        const LedgePlacement *p = ledge_session_placement(s);
        printf("%s: %zu nodes on %s (%s)\n", path, p->n_nodes, p->got, p->providers[0].version);
    }
    for (size_t i = 0; i < n_out; i++)
        if (y[i].type == LEDGE_FLOAT)
            fwrite(y[i].data, 1, ledge_tensor_bytes(&y[i]), out);
    for (size_t i = 0; i < n_in; i++)
        free(in[i].data);
    ledge_session_free(s);
    ledge_model_free(m);
    return 0;
}

static int compare(const char *a, const char *b)
{
    FILE *fa = fopen(a, "rb"), *fb = fopen(b, "rb");
    float x, y;
    double num = 0, den = 0;
    size_t n = 0;
    while (fa && fb && fread(&x, 4, 1, fa) == 1 && fread(&y, 4, 1, fb) == 1) {
        num += ((double)x - (double)y) * ((double)x - (double)y);
        den += (double)y * (double)y;
        n++;
    }
    bool whole = fa && fb && n && feof(fa) && fgetc(fb) == EOF;
    printf("%zu floats, normalised mean squared difference %.2e\n", n, den > 0 ? num / den : num);
    if (fa)
        fclose(fa);
    if (fb)
        fclose(fb);
    return whole && num <= BOUND * den ? 0 : 1;
}

int main(int argc, char **argv)
{
    LedgeSessionOptions so = {.threads = 1, .strict = true};
    int at = 1;
    if (argc == 4 && strcmp(argv[1], "--compare") == 0)
        return compare(argv[2], argv[3]);
    for (; argc > at + 2 && strncmp(argv[at], "--", 2) == 0; at += 2) {
        if (strcmp(argv[at], "--threads") == 0)
            so.threads = atoi(argv[at + 1]);
        else if (strcmp(argv[at], "--provider") == 0)
            so.providers = argv[at + 1];
        else
            break;
    }
    if (argc < at + 2) {
        fprintf(stderr, "usage: answers [--threads N] [--provider LIST] OUT.bin MODEL... | "
                        "--compare A.bin B.bin\n");
        return 2;
    }
    FILE *out = fopen(argv[at], "wb");
    int status = out ? 0 : 1;
    printf("cpu level %s\n", ledge__cpu_level_name(ledge__cpu_flags()));
    for (int i = at + 1; i < argc && status == 0; i++)
        status = answer(argv[i], &so, out);
    if (out && fclose(out) != 0)
        status = 1;
    return status;
}
