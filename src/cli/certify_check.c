/* ledge certify --check: is this certificate genuine, in date, and about this model? With
 * --remeasure also: does the model still hold it, here? */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/certify.h"
#include "trust/envelope.h"

typedef struct Check {
    const CertifyOptions *o;
    json_t *envelope;
    LedgeCertificate c; /* borrows from envelope */
    size_t n_keys;
    LedgeKey **keys;
    Certify again; /* --remeasure */
} Check;

static int refuse(const Check *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int refuse(const Check *k, const char *fmt, ...)
{
    LedgeError err = {.status = LEDGE_ERROR_MISMATCH};
    va_list args;
    va_start(args, fmt);
    vsnprintf(err.message, sizeof err.message, fmt, args);
    va_end(args);
    return cli_fail(k->o->check, &err);
}

static int check_signature(Check *k)
{
    LedgeError err = {0};
    const CertifyOptions *o = k->o;
    int code = certify_keys(o, &k->keys);
    if (code != CLI_GO)
        return code;
    k->n_keys = o->keys.n;
    if (o->keys.n) {
        if (ledge__envelope_verify(o->check, k->envelope, (const LedgeKey *const *)k->keys,
                                   o->keys.n, 1, &err))
            return cli_fail(o->check, &err);
    } else if (ledge__envelope_signatures(k->envelope)) {
        cli_warn("the signature is not checked, since no --key says whom to trust");
    } else {
        cli_warn("the certificate is not signed: anybody can have written it");
    }
    return CLI_GO;
}

/* The model's file and its external data, byte for byte. */
static int check_model(Check *k)
{
    Certify here = {.o = k->o, .side = {{.path = k->o->model}}};
    int code = certify_identify(&here, CERTIFY_MODEL);
    if (code == CLI_GO && strcmp(here.c.model.sha256, k->c.model.sha256) != 0)
        code = refuse(k, "is for another model: '%s' is not the %s it was made for",
                      cli_clean(k->o->model), cli_clean(k->c.model.name));
    if (code == CLI_GO && !json_equal(here.c.model.external, k->c.model.external))
        code = refuse(k, "the external data of '%s' are not those that it was made for",
                      cli_clean(k->o->model));
    certify_free(&here);
    return code;
}

/* ---- measuring again ---- */

static int compare(Check *k)
{
    Certify *m = &k->again;
    m->c.gates = k->c.gates;
    if (strcmp(m->c.reference.sha256, k->c.reference.sha256) != 0)
        return refuse(k, "'%s' is not the reference %s that it was made with",
                      cli_clean(k->o->reference), cli_clean(k->c.reference.name));
    if (strcmp(m->c.pictures.sha256, k->c.pictures.sha256) != 0)
        return refuse(k, "these are not the pictures of %s that it was made with",
                      cli_clean(k->c.pictures.source));
    return CLI_GO;
}

static int remeasure(Check *k)
{
    Certify *m = &k->again;
    m->o = k->o;
    m->side[CERTIFY_MODEL].path = k->o->model;
    m->side[CERTIFY_REFERENCE].path = k->o->reference;
    const int code = certify_measure(m);
    return code == CLI_GO ? compare(k) : code;
}

/* ---- the answer ---- */

static json_t *key_ids(const json_t *envelope)
{
    json_t *ids = json_array();
    for (size_t i = 0; i < ledge__envelope_signatures(envelope); i++)
        json_array_append_new(ids, json_string(ledge__envelope_key_id(envelope, i)));
    return ids;
}

static int report(Check *k)
{
    const CertifyOptions *o = k->o;
    const char *signature = o->keys.n                                 ? "verified"
                            : ledge__envelope_signatures(k->envelope) ? "not checked"
                                                                      : "none";
    const LedgeCertificate *c = o->remeasure ? &k->again.c : &k->c;
    const int gates = o->remeasure ? certify_say_gates(c) : CLI_OK;
    char until[LEDGE_TIME_TEXT];
    int code;
    ledge__time_text(k->c.expires, until);
    if (o->json) {
        k->again.c.created = k->c.created, k->again.c.expires = k->c.expires;
        k->again.c.ledge_version = ledge_version();
        code = cli_print_json(json_pack(
            "{s:o, s:b, s:s, s:o, s:o, s:o}", "certificate", cli_json_text(o->check), "valid",
            gates == CLI_OK, "signature", signature, "keyids", key_ids(k->envelope), "statement",
            json_incref(ledge__envelope_content(k->envelope)), "remeasured",
            o->remeasure ? ledge__certificate_json(c) : json_null()));
    } else {
        printf("%s: signature %s, valid until %s%s\n", cli_clean(o->check), signature, until,
               o->remeasure ? "; measured again:" : "");
        certify_print(c);
        code = cli_finish();
    }
    return code == CLI_OK ? gates : code;
}

static int check(Check *k)
{
    LedgeError err = {0};
    const CertifyOptions *o = k->o;
    if (ledge__envelope_load(o->check, LEDGE_CERTIFICATE_MAX, &err, &k->envelope))
        return cli_fail(o->check, &err);
    int code = check_signature(k);
    if (code != CLI_GO)
        return code;
    if (ledge__certificate_read(o->check, ledge__envelope_content(k->envelope), &err, &k->c) ||
        ledge__certificate_check_time(o->check, &k->c, (int64_t)time(NULL), &err))
        return cli_fail(o->check, &err);
    code = check_model(k);
    if (code == CLI_GO && o->remeasure)
        code = remeasure(k);
    return code == CLI_GO ? report(k) : code;
}

int certify_check(const CertifyOptions *o)
{
    Check k = {.o = o};
    const int code = check(&k);
    certify_free(&k.again);
    certify_keys_free(k.keys, k.n_keys);
    json_decref(k.envelope);
    return code;
}
