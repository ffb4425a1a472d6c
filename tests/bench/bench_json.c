/* Speed of JSON numbers, without a server: as many as a picture of 3x224x224 has, read by one
 * thread, and the thousand of an answer, written. LEDGE_CPU=avx2 and the like choose the reader.
 *
 *   bench_json [ROUNDS]     500 by default
 *
 * Prints microseconds: the least, and the median. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/json_scan.h"
#include "serve/json_write.h"
#include "timing.h"

enum { N = 3 * 224 * 224, ANSWER = 1000, MOST = 100000 };

static void print(const char *what, double *took, int rounds)
{
    qsort(took, (size_t)rounds, sizeof *took, by_value);
    printf("  %-44s %8.1f %8.1f\n", what, took[0], took[rounds / 2]);
}

/* digits 0: bytes. */
static void make(LedgeText *text, int digits)
{
    text->n = 0;
    srand(1);
    for (int i = 0; i < N; i++)
        if (digits)
            ledge__text_printf(text, "%c%.*g", i ? ',' : '[', digits,
                               (double)(float)(2.0 * rand() / RAND_MAX - 1));
        else
            ledge__text_printf(text, "%c%d", i ? ',' : '[', rand() % 256);
    ledge__text_add(text, "]");
}

static void read_all(const char *what, LedgeText *text, LedgeType type, void *out, double *took,
                     int rounds)
{
    for (int i = 0; i < rounds; i++) {
        LedgeJson j;
        const double start = now_ms();
        ledge__json_begin(&j, text->p, text->n);
        const size_t n = ledge__json_numbers(&j, type, out, N);
        took[i] = (now_ms() - start) * 1e3;
        if (n != N || j.bad)
            exit(1);
    }
    print(what, took, rounds);
}

int main(int argc, char **argv)
{
    static const int digits[] = {1, 4, 9, 17};
    const int rounds = argc > 1 ? atoi(argv[1]) : 500;
    LedgeText text = {0};
    float *out = calloc(N, sizeof *out);
    double *took = calloc(MOST, sizeof *took);
    if (!out || !took || rounds < 1 || rounds > MOST)
        return 2;
    printf("JSON, %s, us: least, median\n", ledge__cpu_level_name(ledge__cpu_flags()));
    make(&text, 0);
    read_all("150,528 bytes", &text, LEDGE_UINT8, out, took, rounds);
    for (size_t i = 0; i < sizeof digits / sizeof *digits; i++) {
        char what[64];
        make(&text, digits[i]);
        snprintf(what, sizeof what, "150,528 singles of %d digits", digits[i]);
        read_all(what, &text, LEDGE_FLOAT, out, took, rounds);
    }
    for (int i = 0; i < rounds; i++) {
        text.n = 0;
        const double start = now_ms();
        ledge__json_put_floats(&text, out, ANSWER);
        took[i] = (now_ms() - start) * 1e3;
    }
    print("1,000 singles, written", took, rounds);
    const bool failed = text.failed;
    ledge__text_free(&text);
    free(out);
    free(took);
    return failed;
}
