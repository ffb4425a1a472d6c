/* Fuzz target of what reads signed files: envelopes, certificates, keys.
 *
 * Any bytes: no read outside them, a status with a sentence, and what is accepted as a
 * certificate must come out the same when it is written and read again. A file that the fuzzer
 * made is never one that the trusted key signed. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_input.h"
#include "trust/canonical_json.h"
#include "trust/certificate.h"
#include "trust/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const json_t *content)
{
    LedgeCertificate c, back;
    LedgeError err = {0};
    char *first = NULL, *second = NULL;
    size_t n, m;
    LedgeStatus status = ledge__certificate_read("fuzz", content, &err, &c);
    check(status == err.status);
    if (status) {
        check(err.message[0] != '\0');
        return;
    }
    (void)!ledge__certificate_check_time("fuzz", &c, 1800000000, &err);
    json_t *o = ledge__certificate_json(&c);
    check(o && ledge__certificate_read("fuzz", o, &err, &back) == LEDGE_OK);
    check(ledge__canonical_json(content, &err, &first, &n) == LEDGE_OK);
    check(ledge__canonical_json(o, &err, &second, &m) == LEDGE_OK);
    check(n == m && memcmp(first, second, n) == 0);
    free(first);
    free(second);
    json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* RFC 8032, TEST 2: its private key is public, but no seed is signed by it. */
    static const uint8_t public[LEDGE_PUBLIC_KEY_BYTES] = {
        0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a, 0x92, 0xb7, 0x0a,
        0xa7, 0x4d, 0x1b, 0x7e, 0xbc, 0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4,
        0x96, 0x8c, 0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c};
    static LedgeKey *trusted;
    LedgeError err = {0};
    LedgeKey *key = NULL;
    json_t *envelope = NULL;
    if (!trusted)
        check(ledge__key_from_public(public, NULL, &trusted) == LEDGE_OK);
    if (ledge__key_parse("fuzz", data, size, &err, &key) == LEDGE_OK)
        check(strlen(ledge__key_id(key)) == 64);
    ledge__key_free(key);
    LedgeStatus status = ledge__envelope_parse("fuzz", data, size, &err, &envelope);
    if (status) {
        check(err.message[0] != '\0' && !envelope);
        return 0;
    }
    const LedgeKey *const keys[] = {trusted};
    check(ledge__envelope_verify("fuzz", envelope, keys, 1, 1, &err) != LEDGE_OK);
    round_trip(ledge__envelope_content(envelope));
    json_decref(envelope);
    return 0;
}
