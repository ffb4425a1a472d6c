/* Canonical JSON, keys and envelopes: known vectors, and every way to be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "trust/canonical_json.h"
#include "trust/envelope.h"

static char *canonical(const char *text, LedgeStatus want)
{
    LedgeError err = {0};
    char *out = NULL;
    size_t n;
    json_t *o = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(o);
    assert_int_equal(ledge__canonical_json(o, &err, &out, &n), want);
    json_decref(o);
    assert_true(want ? err.message[0] != 0 : strlen(out) == n);
    return out;
}

static void canonical_json_sorts_by_bytes_and_has_no_spaces(void **state)
{
    (void)state;
    char *s = canonical("{\"b\": [1, -2, true, null], \"a\\\"\": \"x\\\\y\\n\\u00e9\", \"B\": {}}",
                        LEDGE_OK);
    assert_string_equal(s, "{\"B\":{},\"a\\\"\":\"x\\\\y\n\xc3\xa9\",\"b\":[1,-2,true,null]}");
    free(s);
    s = canonical("9223372036854775807", LEDGE_OK);
    assert_string_equal(s, "9223372036854775807");
    free(s);
}

static void canonical_json_refuses_fractions_and_depth(void **state)
{
    (void)state;
    char deep[200] = "";
    assert_null(canonical("{\"a\": 1.5}", LEDGE_ERROR_FORMAT));
    assert_null(canonical("[1e3]", LEDGE_ERROR_FORMAT));
    for (int i = 0; i < LEDGE_CANONICAL_DEPTH + 1; i++)
        deep[i] = '[', deep[LEDGE_CANONICAL_DEPTH + 1 + i] = ']';
    assert_null(canonical(deep, LEDGE_ERROR_LIMIT));
}

static void parsing_refuses_doubled_keys_tails_and_depth(void **state)
{
    (void)state;
    static const char *const bad[] = {"{\"a\":1,\"a\":2}",
                                      "{} {}",
                                      "[]",
                                      "",
                                      "{\"a\":\"\\u0000\"}",
                                      "{\"a\":99999999999999999999}",
                                      "{\"a\":\"\xff\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        LedgeError err = {0};
        json_t *o = NULL;
        assert_int_equal(ledge__json_parse("t", bad[i], strlen(bad[i]), &err, &o),
                         LEDGE_ERROR_FORMAT);
        assert_null(o);
    }
    char *deep = malloc(100000);
    LedgeError err = {0};
    json_t *o = NULL;
    assert_non_null(deep);
    memset(deep, '[', 100000);
    assert_int_equal(ledge__json_parse("t", deep, 100000, &err, &o), LEDGE_ERROR_LIMIT);
    free(deep);
}

/* RFC 8032, section 7.1, TEST 2 and TEST 3. */
static void signatures_verify_as_rfc_8032_has_them(void **state)
{
    (void)state;
    static const struct {
        const char *public, *message, *signature;
    } cases[] = {{"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
                  "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e"
                  "458f3613d0f11d"
                  "8c387b2eaeb4302aeeb00d291612bb0c00"},
                 {"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
                  "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290"
                  "ae67f760984dc6"
                  "594a7c15e9716ed28dc027beceea1ec40a"}};
    for (size_t i = 0; i < 2; i++) {
        uint8_t public[32], message[2], signature[64];
        const size_t n = strlen(cases[i].message) / 2;
        LedgeKey *key;
        assert_true(ledge__from_hex(cases[i].public, public, 32));
        assert_true(ledge__from_hex(cases[i].message, message, n));
        assert_true(ledge__from_hex(cases[i].signature, signature, 64));
        assert_int_equal(ledge__key_from_public(public, NULL, &key), LEDGE_OK);
        assert_true(ledge__key_verify(key, message, n, signature));
        message[0] ^= 1;
        assert_false(ledge__key_verify(key, message, n, signature));
        ledge__key_free(key);
    }
}

/* The key id as securesystemslib computes it for this public key. */
static void key_ids_are_those_of_tuf(void **state)
{
    (void)state;
    uint8_t public[32];
    LedgeKey *key;
    char want[LEDGE_SHA256_HEX];
    const char *text = "{\"keytype\":\"ed25519\",\"keyval\":{\"public\":"
                       "\"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c\"},"
                       "\"scheme\":\"ed25519\"}";
    assert_true(ledge__from_hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                                public, 32));
    assert_int_equal(ledge__key_from_public(public, NULL, &key), LEDGE_OK);
    assert_int_equal(ledge__sha256_of(text, strlen(text), want), LEDGE_OK);
    assert_string_equal(ledge__key_id(key), want);
    ledge__key_free(key);
}

static void sha256_of_abc_is_fips_180_4(void **state)
{
    (void)state;
    char hex[LEDGE_SHA256_HEX];
    LedgeSha256 *sha = ledge__sha256_new();
    assert_non_null(sha);
    assert_int_equal(ledge__sha256_of("abc", 3, hex), LEDGE_OK);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(ledge__sha256_add(sha, "x", 1), LEDGE_OK);
    assert_int_equal(ledge__sha256_hex(sha, hex), LEDGE_OK);
    assert_int_equal(ledge__sha256_add(sha, "ab", 2), LEDGE_OK);
    assert_int_equal(ledge__sha256_add(sha, "c", 1), LEDGE_OK);
    assert_int_equal(ledge__sha256_hex(sha, hex), LEDGE_OK);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    ledge__sha256_free(sha);
}

static void keys_are_private_on_disk_and_never_replaced(void **state)
{
    (void)state;
    char folder[] = "/tmp/ledge-key-XXXXXX", name[64], file[80];
    struct stat st;
    LedgeError err = {0};
    LedgeKey *key, *again, *public;
    assert_non_null(mkdtemp(folder));
    snprintf(name, sizeof name, "%s/k", folder);
    assert_int_equal(ledge__key_new(&err, &key), LEDGE_OK);
    assert_int_equal(ledge__key_save(key, name, &err), LEDGE_OK);
    assert_int_equal(ledge__key_save(key, name, &err), LEDGE_ERROR_IO);
    snprintf(file, sizeof file, "%s.key", name);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(ledge__key_load(file, &err, &again), LEDGE_OK);
    assert_true(ledge__key_is_private(again));
    assert_string_equal(ledge__key_id(again), ledge__key_id(key));
    snprintf(file, sizeof file, "%s.pub", name);
    assert_int_equal(ledge__key_load(file, &err, &public), LEDGE_OK);
    assert_false(ledge__key_is_private(public));
    assert_string_equal(ledge__key_id(public), ledge__key_id(key));
    uint8_t sig[LEDGE_SIGNATURE_BYTES];
    assert_int_equal(ledge__key_sign(public, "x", 1, &err, sig), LEDGE_ERROR_ARGUMENT);
    /* With the private file in the way nothing is written: no orphan public key. */
    assert_int_equal(unlink(file), 0);
    assert_int_equal(ledge__key_save(key, name, &err), LEDGE_ERROR_IO);
    assert_int_not_equal(access(file, F_OK), 0);
    snprintf(file, sizeof file, "%s.key", name);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(folder), 0);
    ledge__key_free(key);
    ledge__key_free(again);
    ledge__key_free(public);
}

static void other_keys_are_refused_by_name(void **state)
{
    (void)state;
    static const char elliptic[] =
        "-----BEGIN PUBLIC KEY-----\n"
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEF/6cYsgGBdorWff0SzQC6rxY1qnB\n"
        "d7iR1Q0VgV/Qo6k8r88nXlUd0hVQLo4UstoEwGamQU2IGRH2eot0TK/0Cw==\n"
        "-----END PUBLIC KEY-----\n";
    static const char encrypted[] =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
        "MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgaOQtOPMqACQICCAAw\n"
        "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEPNNGcaKdxBy2Q6DRTVjXB0EQHpO\n"
        "BFWdbAKi6BoPkSp3PARF9natLYKaTSuadKhtvcXH2pZfOohests3MW7L1e/NYeMC\n"
        "ZM+g2KedYd7h73DoWlo=\n"
        "-----END ENCRYPTED PRIVATE KEY-----\n";
    LedgeError err = {0};
    LedgeKey *key = NULL;
    assert_int_equal(ledge__key_parse("t", elliptic, strlen(elliptic), &err, &key),
                     LEDGE_ERROR_UNSUPPORTED);
    assert_int_equal(ledge__key_parse("t", encrypted, strlen(encrypted), &err, &key),
                     LEDGE_ERROR_UNSUPPORTED);
    assert_int_equal(ledge__key_parse("t", "hello", 5, &err, &key), LEDGE_ERROR_FORMAT);
    assert_int_equal(ledge__key_parse("t", "", 0, &err, &key), LEDGE_ERROR_FORMAT);
    assert_int_equal(ledge__key_parse("t", elliptic, 100, &err, &key), LEDGE_ERROR_FORMAT);
    assert_null(key);
}

/* Signed by a and b; trusted are what each check names. */
static void envelopes_count_each_trusted_key_once(void **state)
{
    (void)state;
    LedgeError err = {0};
    LedgeKey *a, *b, *c;
    json_t *content = json_pack("{s:i, s:s}", "n", 1, "what", "x"), *e, *copy;
    assert_int_equal(ledge__key_new(&err, &a), LEDGE_OK);
    assert_int_equal(ledge__key_new(&err, &b), LEDGE_OK);
    assert_int_equal(ledge__key_new(&err, &c), LEDGE_OK);
    const LedgeKey *ab[] = {a, b}, *aa[] = {a, a}, *cc[] = {c}, *abc[] = {a, b, c};
    assert_int_equal(ledge__envelope_make(content, ab, 2, &err, &e), LEDGE_OK);
    assert_int_equal(ledge__envelope_verify("t", e, ab, 2, 2, &err), LEDGE_OK);
    assert_int_equal(ledge__envelope_verify("t", e, abc, 3, 2, &err), LEDGE_OK);
    assert_int_equal(ledge__envelope_verify("t", e, abc, 3, 3, &err), LEDGE_ERROR_MISMATCH);
    assert_int_equal(ledge__envelope_verify("t", e, aa, 2, 2, &err), LEDGE_ERROR_MISMATCH);
    assert_int_equal(ledge__envelope_verify("t", e, cc, 1, 1, &err), LEDGE_ERROR_MISMATCH);
    assert_non_null(strstr(err.message, "another key"));
    assert_int_equal(ledge__envelope_verify("t", e, ab, 2, 0, &err), LEDGE_ERROR_ARGUMENT);
    copy = json_deep_copy(e);
    json_object_set_new(ledge__envelope_content(copy), "n", json_integer(2));
    assert_int_equal(ledge__envelope_verify("t", copy, ab, 2, 1, &err), LEDGE_ERROR_MISMATCH);
    assert_non_null(strstr(err.message, "changed"));
    json_decref(copy);
    /* One key that signs twice is still one. */
    copy = json_deep_copy(e);
    json_t *list = json_object_get(copy, "signatures");
    json_array_set(list, 1, json_array_get(list, 0));
    assert_int_equal(ledge__envelope_verify("t", copy, ab, 2, 2, &err), LEDGE_ERROR_MISMATCH);
    json_decref(copy);
    json_decref(e);
    assert_int_equal(ledge__envelope_make(content, NULL, 0, &err, &e), LEDGE_OK);
    assert_int_equal(ledge__envelope_verify("t", e, ab, 2, 1, &err), LEDGE_ERROR_MISMATCH);
    assert_non_null(strstr(err.message, "nobody"));
    json_decref(e);
    json_decref(content);
    ledge__key_free(a);
    ledge__key_free(b);
    ledge__key_free(c);
}

static void envelopes_of_another_shape_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "{\"signed\":{}}",
        "{\"signed\":[],\"signatures\":[]}",
        "{\"signed\":{},\"signatures\":{}}",
        "{\"signed\":{},\"signatures\":[],\"more\":1}",
        "{\"signed\":{},\"signatures\":[1]}",
        "{\"signed\":{},\"signatures\":[{\"keyid\":\"aa\",\"sig\":\"bb\"}]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        LedgeError err = {0};
        json_t *o = NULL;
        assert_int_equal(ledge__envelope_parse("t", bad[i], strlen(bad[i]), &err, &o),
                         LEDGE_ERROR_FORMAT);
        assert_null(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_json_sorts_by_bytes_and_has_no_spaces),
        cmocka_unit_test(canonical_json_refuses_fractions_and_depth),
        cmocka_unit_test(parsing_refuses_doubled_keys_tails_and_depth),
        cmocka_unit_test(signatures_verify_as_rfc_8032_has_them),
        cmocka_unit_test(key_ids_are_those_of_tuf),
        cmocka_unit_test(sha256_of_abc_is_fips_180_4),
        cmocka_unit_test(keys_are_private_on_disk_and_never_replaced),
        cmocka_unit_test(other_keys_are_refused_by_name),
        cmocka_unit_test(envelopes_count_each_trusted_key_once),
        cmocka_unit_test(envelopes_of_another_shape_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
