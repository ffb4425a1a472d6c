/* What the files of `ledge bench` share. */
#ifndef LEDGE_CLI_BENCH_H
#define LEDGE_CLI_BENCH_H

#include "cli/model_io.h"
#include "cli/placement.h"

typedef struct BenchOptions {
    bool json, profile, first_answer, no_optimize, strict, pixels;
    int64_t threads, runs, warmup, seed, cold;
    const char *cpu, *provider;
    CliList inputs, shapes, provider_options;
} BenchOptions;

#define BENCH_AUTO_NS  3000000000u
#define BENCH_AUTO_MIN 10
#define BENCH_AUTO_MAX 5000

typedef struct Bench {
    const BenchOptions *o;
    const char *path;
    int argc; /* as the command was called, for fresh processes */
    char **argv;
    LedgeModel *model;
    LedgeSession *session; /* with one provider */
    CliInputs inputs;
    LedgeTensor *outputs;
    size_t n_outputs;
    double load_ms;
    double *ms; /* sorted */
    size_t n;
    double *cold_ms; /* sorted */
    size_t n_cold;
    uint64_t peak_bytes; /* of a fresh process that ran once; 0: not measured */
} Bench;

/* All give CLI_GO or the exit code after printing why. */

/* The model, and inputs for it. */
int cli_bench_inputs(Bench *b);
int cli_bench_run(Bench *b, LedgeSession *session);
CliOpen cli_bench_open(const Bench *b);
/* Milliseconds of cold starts, sorted, and the largest peak memory; `provider` NULL: as called. */
int cli_bench_cold(Bench *b, const char *provider, double **ms, size_t *n, uint64_t *peak);
json_t *cli_bench_latency_json(const double *ms, size_t n);
double cli_bench_average(const double *v, size_t n);

/* Providers A,B side by side. */
int cli_bench_sides(Bench *b);

#endif
