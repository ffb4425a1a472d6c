/* Public Ed25519 keys without libcrypto: read, named, and used to verify. See key_name.h. */
#include "trust/key_name.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "trust/ed25519_verify.h"

struct LedgeKey {
    uint8_t public_key[LEDGE_PUBLIC_KEY_BYTES];
    char id[LEDGE_SHA256_HEX];
};

LedgeStatus ledge__key_from_public(const uint8_t bytes[LEDGE_PUBLIC_KEY_BYTES], LedgeError *err,
                                   LedgeKey **out)
{
    LedgeKey *key = calloc(1, sizeof *key);
    if (!key)
        return ledge__no_memory(err);
    memcpy(key->public_key, bytes, LEDGE_PUBLIC_KEY_BYTES);
    const LedgeStatus status = ledge__public_key_id(bytes, err, key->id);
    if (status)
        free(key);
    else
        *out = key;
    return status;
}

void ledge__key_free(LedgeKey *key)
{
    free(key);
}

/* ---- PEM ---- */

static int digit64(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Bytes from base64 over lines, up to `room`; how many there were. -1: it is no base64. */
static int read_base64(const char *p, const char *end, uint8_t *out, int room)
{
    uint32_t bits = 0;
    int have = 0, n = 0;
    for (; p < end && *p != '='; p++) {
        const int d = digit64(*p);
        if (*p == '\n' || *p == '\r' || *p == ' ')
            continue;
        if (d < 0)
            return -1;
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        if (n < room)
            out[n] = (uint8_t)(bits >> have);
        n++;
    }
    return n;
}

static const char *find(const char *bytes, size_t size, const char *text)
{
    return memmem(bytes, size, text, strlen(text));
}

LedgeStatus ledge__key_parse(const char *where, const void *bytes, size_t size, LedgeError *err,
                             LedgeKey **out)
{
    static const char begin[] = "-----BEGIN PUBLIC KEY-----", end[] = "-----END PUBLIC KEY-----";
    /* RFC 8410: SubjectPublicKeyInfo of id-Ed25519, of which the last 32 bytes are the key. */
    static const uint8_t head[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                   0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
    enum { SIZE = sizeof head + LEDGE_PUBLIC_KEY_BYTES };
    uint8_t der[SIZE];
    const char *from = find(bytes, size, begin);
    if (!from && find(bytes, size, "PRIVATE KEY-----"))
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, where,
                           "is a private key; what runs guests takes the public one (NAME.pub)");
    const char *p = from ? from + strlen(begin) : NULL;
    const char *to = p ? find(p, size - (size_t)(p - (const char *)bytes), end) : NULL;
    const int n = to ? read_base64(p, to, der, SIZE) : -1;
    if (n < (int)sizeof head)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "holds no key in PEM form; 'ledge key new' makes one");
    if (n != SIZE || memcmp(der, head, sizeof head) != 0)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, where,
                           "is a key of another kind; ledge signs with Ed25519 alone");
    return ledge__key_from_public(der + sizeof head, err, out);
}

/* ---- use ---- */

const char *ledge__key_id(const LedgeKey *key)
{
    return key->id;
}

bool ledge__key_verify(const LedgeKey *key, const void *bytes, size_t size,
                       const uint8_t signature[LEDGE_SIGNATURE_BYTES])
{
    return ledge__ed25519_verify(key->public_key, bytes, size, signature);
}
