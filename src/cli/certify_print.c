/* Certificates in words. */
#include <inttypes.h>

#include "cli/certify.h"

static double share(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

static void print_model(const char *what, const LedgeCertifiedModel *m, int64_t n)
{
    printf("%-11s %s, %s, sha256 %.16s...\n", what, cli_clean(m->name),
           cli_bytes((uint64_t)m->length), m->sha256);
    printf("            top-1 %.2f%% (%" PRId64 ")  top-5 %.2f%%\n", 100 * share(m->top1, n),
           m->top1, 100 * share(m->top5, n));
    printf("            p50 %.3f  p90 %.3f  p99 %.3f ms", (double)m->p50_ns / 1e6,
           (double)m->p90_ns / 1e6, (double)m->p99_ns / 1e6);
    if (m->cold_start_ns)
        printf("  cold start %.1f ms", (double)m->cold_start_ns / 1e6);
    if (m->peak_memory)
        printf("  peak memory %s", cli_bytes((uint64_t)m->peak_memory));
    printf("\n            %.1f%% of %sMAC in integers\n", 100 * share(m->integer_macs, m->macs),
           cli_count((uint64_t)m->macs));
}

void certify_print(const LedgeCertificate *c)
{
    const int64_t n = c->pictures.count;
    print_model("model", &c->model, n);
    print_model("reference", &c->reference, n);
    printf("agreement   %.2f%% (%" PRId64 " of %" PRId64 ")\n", 100 * share(c->agreement, n),
           c->agreement, n);
    printf("latency     %.2f of the reference's\n", share(c->model.p50_ns, c->reference.p50_ns));
    printf("pictures    %" PRId64 " of %s, sha256 %.16s...\n", n, cli_clean(c->pictures.source),
           c->pictures.sha256);
    printf("measured    on %s, %s kernels, %" PRId64 " threads, %" PRId64 " runs each\n",
           cli_clean(c->cpu.name), cli_clean(c->cpu.kernels), c->cpu.threads, c->cpu.runs);
    if (c->model.baseline)
        printf("baseline    of drift: sha256 %.16s...\n", c->model.baseline);
}

int certify_say_gates(const LedgeCertificate *c)
{
    const LedgeGates failed = ledge__certificate_gates(c);
    const int64_t n = c->pictures.count;
    if (failed.drop)
        fprintf(stderr, "ledge: refused: top-1 drops by %.2f points, %.2f are allowed\n",
                100 * share(c->reference.top1 - c->model.top1, n),
                (double)c->gates.max_drop / 10000);
    if (failed.agreement)
        fprintf(
            stderr,
            "ledge: refused: the models agree on %.2f%% of the pictures, %.2f%% are asked for\n",
            100 * share(c->agreement, n), (double)c->gates.min_agreement / 10000);
    if (failed.latency)
        fprintf(stderr, "ledge: refused: it takes %.2f of the reference's time, %.2f is allowed\n",
                share(c->model.p50_ns, c->reference.p50_ns),
                (double)c->gates.max_latency_ratio / LEDGE_MILLION);
    return failed.drop || failed.agreement || failed.latency ? CLI_GATE : CLI_OK;
}
