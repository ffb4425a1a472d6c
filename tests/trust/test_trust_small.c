/* Keys and hashes without libcrypto judge as libcrypto does. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "trust/ed25519_verify.h"
#include "trust/key.h"

/* ---- SHA-256 ---- */

static void expect_hash(const uint8_t *bytes, size_t n, size_t piece)
{
    uint8_t digest[32];
    char want[65], got[65];
    LedgeSha256 *s = ledge__sha256_new();
    assert_non_null(s);
    SHA256(bytes, n, digest);
    ledge__hex(digest, 32, want);
    for (int again = 0; again < 2; again++) { /* it starts anew by itself */
        for (size_t at = 0; at < n; at += piece)
            assert_int_equal(ledge__sha256_add(s, bytes + at, n - at < piece ? n - at : piece), 0);
        assert_int_equal(ledge__sha256_hex(s, got), LEDGE_OK);
        assert_string_equal(got, want);
    }
    assert_int_equal(ledge__sha256_of(bytes, n, got), LEDGE_OK);
    assert_string_equal(got, want);
    ledge__sha256_free(s);
}

static void hashes_are_libcryptos(void **state)
{
    (void)state;
    static uint8_t bytes[100001];
    assert_int_equal(RAND_bytes(bytes, sizeof bytes), 1);
    for (int plain = 0; plain < 2; plain++) {
        ledge__sha256_plain = plain;
        for (size_t n = 0; n < 300; n++)
            expect_hash(bytes + n % 7, n, n % 77 + 1);
        expect_hash(bytes, sizeof bytes, 4096);
        expect_hash(bytes, sizeof bytes, 63);
    }
    ledge__sha256_plain = false;
}

/* ---- Ed25519 ---- */

static bool by_libcrypto(const uint8_t key[32], const void *bytes, size_t n, const uint8_t sig[64])
{
    EVP_PKEY *p = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, 32);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    const bool ok = p && EVP_DigestVerifyInit(c, NULL, NULL, NULL, p) == 1 &&
                    EVP_DigestVerify(c, sig, 64, bytes, n) == 1;
    EVP_MD_CTX_free(c);
    EVP_PKEY_free(p);
    return ok;
}

static void sign(EVP_PKEY *p, const void *bytes, size_t n, uint8_t sig[64])
{
    size_t room = 64;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(c, NULL, NULL, NULL, p), 1);
    assert_int_equal(EVP_DigestSign(c, sig, &room, bytes, n), 1);
    EVP_MD_CTX_free(c);
}

static void the_rfcs_first_vector_holds(void **state)
{
    (void)state;
    uint8_t key[32], sig[64];
    assert_true(ledge__from_hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                                key, 32));
    assert_true(ledge__from_hex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
                                "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
                                sig, 64));
    assert_true(ledge__ed25519_verify(key, "", 0, sig));
    assert_false(ledge__ed25519_verify(key, "x", 1, sig));
}

static void signatures_are_judged_as_by_libcrypto(void **state)
{
    (void)state;
    uint8_t text[400], key[32], sig[64];
    for (int i = 0; i < 200; i++) {
        size_t room = 32;
        const size_t n = (size_t)i * 2;
        EVP_PKEY *p = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        assert_non_null(p);
        assert_int_equal(EVP_PKEY_get_raw_public_key(p, key, &room), 1);
        RAND_bytes(text, sizeof text);
        sign(p, text, n, sig);
        assert_true(ledge__ed25519_verify(key, text, n, sig));
        const int bit = i % 8;
        sig[i % 64] ^= (uint8_t)(1 << bit);
        assert_false(ledge__ed25519_verify(key, text, n, sig));
        sig[i % 64] ^= (uint8_t)(1 << bit);
        key[i % 32] ^= (uint8_t)(1 << bit);
        assert_int_equal(ledge__ed25519_verify(key, text, n, sig), by_libcrypto(key, text, n, sig));
        key[i % 32] ^= (uint8_t)(1 << bit);
        if (n) {
            text[n / 2] ^= 1;
            assert_false(ledge__ed25519_verify(key, text, n, sig));
        }
        EVP_PKEY_free(p);
    }
}

/* S + L is another spelling of S. */
static void one_signature_has_one_spelling(void **state)
{
    (void)state;
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,       0xd6,
                                      0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10};
    uint8_t key[32], sig[64];
    size_t room = 32;
    EVP_PKEY *p = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_int_equal(EVP_PKEY_get_raw_public_key(p, key, &room), 1);
    sign(p, "text", 4, sig);
    unsigned carry = 0;
    for (int i = 0; i < 32; i++) {
        carry += sig[32 + i] + order[i];
        sig[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    assert_false(by_libcrypto(key, "text", 4, sig));
    assert_false(ledge__ed25519_verify(key, "text", 4, sig));
    EVP_PKEY_free(p);
}

/* Keys and signatures that nobody made: points of small order, numbers not below p, what is no
 * point at all. */
static void odd_points_are_no_way_in(void **state)
{
    (void)state;
    static const char *const points[] = {
        "0100000000000000000000000000000000000000000000000000000000000000", /* the neutral one */
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* of order 2 */
        "0000000000000000000000000000000000000000000000000000000000000000", /* of order 4 */
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0200000000000000000000000000000000000000000000000000000000000000", /* none */
    };
    static const char *const not_below[] = {
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* p + 1 */
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* p */
        "0100000000000000000000000000000000000000000000000000000000000080", /* x = 0, "odd" */
    };
    uint8_t key[32], sig[64] = {0};
    for (size_t k = 0; k < 5; k++)
        for (size_t r = 0; r < 5; r++) {
            assert_true(ledge__from_hex(points[k], key, 32) && ledge__from_hex(points[r], sig, 32));
            assert_int_equal(ledge__ed25519_verify(key, "m", 1, sig),
                             by_libcrypto(key, "m", 1, sig));
        }
    for (size_t k = 0; k < 3; k++) { /* RFC 8032 refuses them where libcrypto may not */
        assert_true(ledge__from_hex(not_below[k], key, 32));
        assert_false(ledge__ed25519_verify(key, "m", 1, sig));
    }
    for (int i = 0; i < 200; i++) {
        RAND_bytes(key, 32);
        RAND_bytes(sig, 64);
        sig[63] &= 0x0f;
        assert_false(ledge__ed25519_verify(key, "m", 1, sig));
    }
}

/* ---- keys ---- */

static LedgeStatus parse(const char *text, size_t n, LedgeKey **key)
{
    LedgeError err = {0};
    char *copy = malloc(n ? n : 1); /* AddressSanitizer sees a read past it */
    assert_non_null(copy);
    memcpy(copy, text, n);
    const LedgeStatus s = ledge__key_parse("k.pub", copy, n, &err, key);
    assert_int_equal(s != LEDGE_OK, err.message[0] != '\0');
    free(copy);
    return s;
}

static char *pem(EVP_PKEY *p, bool private, size_t *n)
{
    char *at;
    BIO *b = BIO_new(BIO_s_mem());
    assert_true(private ? PEM_write_bio_PKCS8PrivateKey(b, p, NULL, NULL, 0, NULL, NULL)
                        : PEM_write_bio_PUBKEY(b, p));
    *n = (size_t)BIO_get_mem_data(b, &at);
    char *text = malloc(*n + 1);
    assert_non_null(text);
    memcpy(text, at, *n);
    text[*n] = '\0';
    BIO_free(b);
    return text;
}

static void public_keys_are_read_and_private_ones_refused(void **state)
{
    (void)state;
    LedgeKey *key = NULL;
    uint8_t sig[64];
    size_t n;
    EVP_PKEY *p = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    char *text = pem(p, false, &n);
    assert_int_equal(parse(text, n, &key), LEDGE_OK);
    assert_int_equal(strlen(ledge__key_id(key)), 64);
    sign(p, "text", 4, sig);
    assert_true(ledge__key_verify(key, "text", 4, sig));
    assert_false(ledge__key_verify(key, "texT", 4, sig));
    ledge__key_free(key);
    for (size_t cut = 0; cut < n - 1; cut++)
        assert_int_equal(parse(text, cut, &key), LEDGE_ERROR_FORMAT);
    text[30] = '*';
    assert_int_equal(parse(text, n, &key), LEDGE_ERROR_FORMAT);
    free(text);
    text = pem(p, true, &n);
    assert_int_equal(parse(text, n, &key), LEDGE_ERROR_UNSUPPORTED);
    free(text);
    EVP_PKEY_free(p);
    p = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    text = pem(p, false, &n);
    assert_int_equal(parse(text, n, &key), LEDGE_ERROR_UNSUPPORTED);
    free(text);
    EVP_PKEY_free(p);
}

/* The first key of RFC 8032; its name as The Update Framework counts it. */
static void a_key_has_the_same_name_everywhere(void **state)
{
    (void)state;
    uint8_t bytes[32], digest[32];
    char want[65], text[256];
    LedgeKey *key = NULL;
    static const char hex[] = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_true(ledge__from_hex(hex, bytes, 32));
    assert_int_equal(ledge__key_from_public(bytes, NULL, &key), LEDGE_OK);
    const int n = snprintf(text, sizeof text,
                           "{\"keytype\":\"ed25519\",\"keyval\":{\"public\":\"%s\"},\"scheme\":"
                           "\"ed25519\"}",
                           hex);
    SHA256((const uint8_t *)text, (size_t)n, digest);
    ledge__hex(digest, 32, want);
    assert_string_equal(ledge__key_id(key), want);
    ledge__key_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_libcryptos),
        cmocka_unit_test(the_rfcs_first_vector_holds),
        cmocka_unit_test(signatures_are_judged_as_by_libcrypto),
        cmocka_unit_test(one_signature_has_one_spelling),
        cmocka_unit_test(odd_points_are_no_way_in),
        cmocka_unit_test(public_keys_are_read_and_private_ones_refused),
        cmocka_unit_test(a_key_has_the_same_name_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
