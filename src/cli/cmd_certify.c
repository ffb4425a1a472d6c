/* ledge certify: proof, signed, that a compressed model is as right and as fast as it should
 * be; and the check of such a proof. A model that fails a gate gets none (exit 5). */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/out_file.h"
#include "base/text.h"
#include "cli/certify.h"
#include "trust/envelope.h"

static const CliOption options[] = {
    {"reference", 'r', CLI_TEXT, "FP32", "the float model that MODEL was made from",
     offsetof(CertifyOptions, reference), 0, 0},
    CLI_OPTION_IMAGES(CertifyOptions),
    CLI_OPTION_LABELS(CertifyOptions),
    CLI_OPTION_DATASET(CertifyOptions),
    CLI_OPTION_LIMIT(CertifyOptions),
    CLI_OPTION_PREPROCESS(CertifyOptions),
    {"max-drop", 0, CLI_TEXT, "POINTS", "percentage points of top-1 that may be lost (1)",
     offsetof(CertifyOptions, max_drop), 0, 0},
    {"min-agreement", 0, CLI_TEXT, "PERCENT", "share of pictures with the same class (0)",
     offsetof(CertifyOptions, min_agreement), 0, 0},
    {"max-latency-ratio", 0, CLI_TEXT, "R", "of the medians, model / reference (1.0)",
     offsetof(CertifyOptions, max_latency_ratio), 0, 0},
    {"runs", 0, CLI_INT, "N",
     "timed runs of each model; 0 takes what fits in 4 seconds, 50 at least",
     offsetof(CertifyOptions, runs), 0, 100000},
    {"days", 0, CLI_INT, "N", "days until the certificate expires (365)",
     offsetof(CertifyOptions, days), 1, 36500},
    {"key", 'k', CLI_LIST, "FILE", "private key to sign with; --check: public key to trust",
     offsetof(CertifyOptions, keys), 0, 0},
    {"output", 'o', CLI_TEXT, "CERT.json", "write the certificate there",
     offsetof(CertifyOptions, out), 0, 0},
    {"check", 'c', CLI_TEXT, "CERT.json", "check this certificate instead of making one",
     offsetof(CertifyOptions, check), 0, 0},
    {"model", 'm', CLI_TEXT, "MODEL", "--check: the model that it should be for",
     offsetof(CertifyOptions, model), 0, 0},
    {"remeasure", 0, CLI_FLAG, NULL, "--check: also measure again, here, and judge by its gates",
     offsetof(CertifyOptions, remeasure), 0, 0},
    CLI_OPTION_THREADS(CertifyOptions),
    CLI_OPTION_CPU(CertifyOptions),
    CLI_OPTION_JSON(CertifyOptions),
};

/* ---- making ---- */

/* "0.3" as millionths of `unit` (percent: 10000); false when it is no number from 0 to `most`. */
static bool millionths(const char *text, double unit, double most, int64_t *out)
{
    double v;
    if (!cli_number(text, 0, most, &v))
        return false;
    *out = (int64_t)(v * unit + 0.5);
    return true;
}

static int read_gates(const CliCommand *c, const CertifyOptions *o, LedgeCertificate *to)
{
    if (!millionths(o->max_drop, 1e4, 100, &to->gates.max_drop))
        return cli_usage(c, "--max-drop takes percentage points from 0 to 100");
    if (!millionths(o->min_agreement, 1e4, 100, &to->gates.min_agreement))
        return cli_usage(c, "--min-agreement takes a percentage from 0 to 100");
    if (!millionths(o->max_latency_ratio, 1e6, 1000, &to->gates.max_latency_ratio))
        return cli_usage(c, "--max-latency-ratio takes a number from 0 to 1000");
    return CLI_GO;
}

static int write_envelope(const char *path, const json_t *envelope)
{
    LedgeError err = {0};
    LedgeText text = {0};
    char *json = json_dumps(envelope, JSON_INDENT(1) | JSON_SORT_KEYS);
    if (json)
        ledge__text_printf(&text, "%s\n", json);
    free(json);
    const bool made = json && !text.failed;
    const int code = !made ? cli_fail_with(path, LEDGE_ERROR_MEMORY, "out of memory")
                     : ledge__out_file_whole(NULL, path, text.p, text.n, &err)
                         ? cli_fail_writing(path, &err)
                         : CLI_GO;
    ledge__text_free(&text);
    return code;
}

static json_t *failures(LedgeGates g)
{
    json_t *names = json_array();
    if (g.drop)
        json_array_append_new(names, json_string("max-drop"));
    if (g.agreement)
        json_array_append_new(names, json_string("min-agreement"));
    if (g.latency)
        json_array_append_new(names, json_string("max-latency-ratio"));
    return names;
}

static int print_result(const Certify *m, const json_t *envelope, bool written)
{
    const CertifyOptions *o = m->o;
    const size_t n = ledge__envelope_signatures(envelope);
    if (o->json) {
        const LedgeGates g = ledge__certificate_gates(&m->c);
        return cli_print_json(json_pack("{s:o, s:b, s:b, s:o, s:O}", "certificate",
                                        written ? cli_json_text(o->out) : json_null(), "signed",
                                        n > 0, "passed", !(g.drop || g.agreement || g.latency),
                                        "failed", failures(g), "statement",
                                        ledge__envelope_content(envelope)));
    }
    certify_print(&m->c);
    if (written && n)
        printf("certificate %s, signed by %.16s...\n", cli_clean(o->out),
               ledge__envelope_key_id(envelope, 0));
    else if (written)
        printf("certificate %s, NOT SIGNED: --key signs it\n", cli_clean(o->out));
    else if (!o->out)
        printf("no certificate is written; -o CERT.json asks for one\n");
    return cli_finish();
}

/* Refused models get no certificate. */
static int conclude(Certify *m, LedgeKey **keys)
{
    LedgeError err = {0};
    json_t *content = ledge__certificate_json(&m->c), *envelope = NULL;
    if (!content)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    LedgeStatus status =
        ledge__envelope_make(content, (const LedgeKey *const *)keys, m->o->keys.n, &err, &envelope);
    json_decref(content);
    if (status)
        return cli_fail(m->o->keys.n ? m->o->keys.items[0] : NULL, &err);
    const int gates = certify_say_gates(&m->c);
    const bool written = gates == CLI_OK && m->o->out;
    int code = written ? write_envelope(m->o->out, envelope) : CLI_GO;
    if (code == CLI_GO)
        code = print_result(m, envelope, written);
    json_decref(envelope);
    return code == CLI_OK ? gates : code;
}

static int check_private(const CertifyOptions *o, LedgeKey **keys)
{
    for (size_t i = 0; i < o->keys.n; i++)
        if (!ledge__key_is_private(keys[i]))
            return cli_fail_with(o->keys.items[i], LEDGE_ERROR_FORMAT,
                                 "a public key cannot sign; give the private one (NAME.key)");
    return CLI_GO;
}

/* Before minutes of measuring: can the certificate be written at all? */
static int check_output(const CertifyOptions *o)
{
    LedgeError err = {0};
    return o->out && ledge__out_file_try(NULL, o->out, &err) ? cli_fail_writing(o->out, &err)
                                                             : CLI_GO;
}

static int make(const CliCommand *c, const CertifyOptions *o, const char *path)
{
    Certify m = {.o = o};
    LedgeKey **keys = NULL;
    int code = read_gates(c, o, &m.c);
    if (code == CLI_GO)
        code = certify_keys(o, &keys);
    if (code == CLI_GO)
        code = check_private(o, keys);
    if (code == CLI_GO)
        code = check_output(o);
    if (code == CLI_GO) {
        m.side[CERTIFY_MODEL].path = path;
        m.side[CERTIFY_REFERENCE].path = o->reference;
        code = certify_measure(&m);
    }
    if (code == CLI_GO) {
        m.c.created = (int64_t)time(NULL);
        m.c.expires = m.c.created + o->days * 86400;
        m.c.ledge_version = ledge_version();
        code = conclude(&m, keys);
    }
    certify_keys_free(keys, o->keys.n);
    certify_free(&m);
    return code;
}

/* ---- */

static int check_pictures(const CliCommand *c, const CertifyOptions *o)
{
    if (!o->reference)
        return cli_usage(c, "give --reference, the float model to compare with");
    if (!o->images == !o->dataset)
        return cli_usage(c, "give --images DIR and --labels FILE, or --dataset SET");
    if (!o->labels != !o->images)
        return cli_usage(c, "--images and --labels go together");
    return CLI_GO;
}

static int check_usage(const CliCommand *c, const CertifyOptions *o, const CliArgs *args)
{
    if (!o->check) {
        if (!args->n || o->model || o->remeasure)
            return cli_usage(c, args->n ? "--model and --remeasure go with --check"
                                        : "give a MODEL to certify, or --check CERT.json");
        return check_pictures(c, o);
    }
    if (args->n || !o->model)
        return cli_usage(c, "with --check the model goes with --model");
    if (o->out)
        return cli_usage(c, "--check writes nothing, so --output has no meaning");
    if (!o->remeasure && (o->reference || o->images || o->dataset))
        return cli_usage(c, "pictures and reference go with --check only to --remeasure");
    return o->remeasure ? check_pictures(c, o) : CLI_GO;
}

static int run(const CliCommand *c, int argc, char **argv)
{
    CertifyOptions o = {
        .days = 365, .max_drop = "1", .min_agreement = "0", .max_latency_ratio = "1"};
    CliArgs args;
    int code = cli_parse(c, argc, argv, 0, 1, &o, &args);
    if (code != CLI_GO)
        return code;
    code = check_usage(c, &o, &args);
    if (code == CLI_GO)
        code = o.check ? certify_check(&o) : make(c, &o, args.items[0]);
    cli_args_free(&args);
    return code;
}

const CliCommand cli_certify = {
    .name = "certify",
    .arguments = "MODEL --reference FP32 ... | --check CERT.json --model MODEL",
    .summary = "measure a compressed model against its parent and sign the result, or check that",
    .description =
        "Runs MODEL and the float model it was made from on labelled pictures, times both in\n"
        "turn, and writes what was seen as a certificate, signed if --key is given. A model that\n"
        "lost too much, agrees too little or is slower gets none and ends with 5.\n"
        "--check verifies signature, dates and hashes, and measures nothing unless asked to.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .run = run,
};
