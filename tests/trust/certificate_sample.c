/* The sample certificate. */
#include "certificate_sample.h"

#define HASH "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static LedgeCertifiedModel model(const char *name, int64_t top1, int64_t p50)
{
    return (LedgeCertifiedModel){.name = name,
                                 .sha256 = HASH,
                                 .length = 3690000,
                                 .external = json_pack("{s:s}", "w.data", HASH),
                                 .preprocess = "{\"scale\": 1.0}",
                                 .top1 = top1,
                                 .top5 = 480,
                                 .p50_ns = p50,
                                 .p90_ns = p50 + 1,
                                 .p99_ns = p50 + 2,
                                 .cold_start_ns = 21000000,
                                 .peak_memory = 28000000,
                                 .macs = 300000000,
                                 .integer_macs = 299000000};
}

LedgeCertificate sample_certificate(void)
{
    LedgeCertificate c = {.created = 1795370400, .expires = 1826906400, .ledge_version = "0.1.0"};
    c.model = model("m.int8.onnx", 424, 2900000);
    c.reference = model("m.onnx", 426, 6000000);
    c.model.baseline = HASH;
    c.pictures.source = "folder:val";
    c.pictures.sha256 = HASH;
    c.pictures.names = json_array();
    c.pictures.count = 500;
    c.agreement = 487;
    c.cpu.name = "AMD EPYC";
    c.cpu.kernels = "avx512vnni";
    c.cpu.features = json_pack("[s, s]", "avx2", "avx512vnni");
    c.cpu.threads = 2;
    c.cpu.runs = 500;
    c.gates.max_drop = 6000;
    c.gates.min_agreement = 950000;
    c.gates.max_latency_ratio = LEDGE_MILLION;
    return c;
}

void sample_certificate_free(LedgeCertificate *c)
{
    json_decref(c->model.external);
    json_decref(c->reference.external);
    json_decref(c->pictures.names);
    json_decref(c->cpu.features);
}
