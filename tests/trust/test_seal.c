/* Sealing: as RFC 9180 says, opened by one key alone, and by nobody once a bit was changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "trust/key.h"
#include "trust/seal.h"

/* RFC 9180, A.2.1.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode. */
static const char recipient[] = "-----BEGIN PRIVATE "
                                "KEY-----\nMC4CAQAwBQYDK2VuBCIEIIBXmR7vjx8a8Y9KlJHRahzjM/"
                                "aV1NuOONp1l1xEeOD7\n-----END PRIVATE KEY-----\n";
static const char sealed_hex[] =
    "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"
    "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28";

static void what_the_standard_sealed_is_opened(void **state)
{
    (void)state;
    LedgeSealKey *key;
    uint8_t sealed[77], out[30] = {0};
    LedgeError err = {0};
    assert_int_equal(ledge__seal_key_parse("rfc", recipient, strlen(recipient), &err, &key),
                     LEDGE_OK);
    assert_true(ledge__from_hex(sealed_hex, sealed, sizeof sealed));
    assert_int_equal(
        ledge__unseal(key, "Ode on a Grecian Urn", "Count-0", 7, sealed, sizeof sealed, &err, out),
        LEDGE_OK);
    assert_string_equal((char *)out, "Beauty is truth, truth beauty");
    ledge__seal_key_free(key);
}

static void only_its_key_opens_it(void **state)
{
    (void)state;
    LedgeSealKey *own, *other;
    uint8_t plain[1000], sealed[1000 + LEDGE_SEAL_OVERHEAD], out[1000];
    LedgeError err = {0};
    assert_int_equal(ledge__seal_key_new(&err, &own), LEDGE_OK);
    assert_int_equal(ledge__seal_key_new(&err, &other), LEDGE_OK);
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * 7);
    for (size_t n = 0; n <= sizeof plain; n += 250) {
        const size_t size = n + LEDGE_SEAL_OVERHEAD;
        assert_int_equal(ledge__seal(own, "test", "head", 4, plain, n, &err, sealed), LEDGE_OK);
        assert_int_equal(ledge__unseal(own, "test", "head", 4, sealed, size, &err, out), LEDGE_OK);
        assert_memory_equal(out, plain, n);
        assert_int_equal(ledge__unseal(other, "test", "head", 4, sealed, size, &err, out),
                         LEDGE_ERROR_MISMATCH);
        assert_non_null(strstr(err.message, "another key"));
        assert_int_equal(ledge__unseal(own, "tesu", "head", 4, sealed, size, &err, out),
                         LEDGE_ERROR_MISMATCH);
        assert_int_equal(ledge__unseal(own, "test", "head", 3, sealed, size, &err, out),
                         LEDGE_ERROR_MISMATCH);
        assert_int_equal(ledge__unseal(own, "test", "head", 4, sealed, size - 1, &err, out),
                         LEDGE_ERROR_MISMATCH);
        for (size_t at = 0; at < size; at += 1 + size / 40) {
            sealed[at] ^= 4;
            assert_int_equal(ledge__unseal(own, "test", "head", 4, sealed, size, &err, out),
                             LEDGE_ERROR_MISMATCH);
            sealed[at] ^= 4;
        }
    }
    /* An encapsulated key of small order agrees on nothing. */
    memset(sealed, 0, 32);
    assert_int_equal(ledge__unseal(own, "test", "head", 4, sealed, 80, &err, out),
                     LEDGE_ERROR_MISMATCH);
    ledge__seal_key_free(own);
    ledge__seal_key_free(other);
}

static void keys_are_kept_apart(void **state)
{
    (void)state;
    char folder[] = "/tmp/ledge-seal-XXXXXX", name[64], path[80];
    LedgeSealKey *key, *public, *none = NULL;
    LedgeKey *signing, *no_signing = NULL;
    LedgeError err = {0};
    uint8_t sealed[LEDGE_SEAL_OVERHEAD], out[1];
    assert_non_null(mkdtemp(folder));
    snprintf(name, sizeof name, "%s/s", folder);
    assert_int_equal(ledge__seal_key_new(&err, &key), LEDGE_OK);
    assert_int_equal(ledge__seal_key_save(key, name, &err), LEDGE_OK);
    assert_int_equal(ledge__seal_key_save(key, name, &err), LEDGE_ERROR_IO); /* never replaced */
    snprintf(path, sizeof path, "%s.pub", name);
    assert_int_equal(ledge__seal_key_load(path, &err, &public), LEDGE_OK);
    assert_false(ledge__seal_key_is_private(public));
    assert_string_equal(ledge__seal_key_id(public), ledge__seal_key_id(key));
    assert_int_equal(ledge__seal(public, "x", NULL, 0, NULL, 0, &err, sealed), LEDGE_OK);
    assert_int_equal(ledge__unseal(public, "x", NULL, 0, sealed, sizeof sealed, &err, out),
                     LEDGE_ERROR_ARGUMENT);
    assert_int_equal(ledge__unseal(key, "x", NULL, 0, sealed, sizeof sealed, &err, out), LEDGE_OK);
    assert_int_equal(ledge__key_load(path, &err, &no_signing), LEDGE_ERROR_UNSUPPORTED);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s.key", name);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(ledge__key_new(&err, &signing), LEDGE_OK);
    assert_int_equal(ledge__key_save(signing, name, &err), LEDGE_OK);
    assert_int_equal(ledge__seal_key_load(path, &err, &none), LEDGE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "--type sampling"));
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s.pub", name);
    assert_int_equal(unlink(path), 0);
    rmdir(folder);
    ledge__seal_key_free(key);
    ledge__seal_key_free(public);
    ledge__key_free(signing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_standard_sealed_is_opened),
        cmocka_unit_test(only_its_key_opens_it),
        cmocka_unit_test(keys_are_kept_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
