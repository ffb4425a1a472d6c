/* S3, see s3_client.h. The signature of addresses follows AWS's "Authenticating Requests: Using
 * Query Parameters (AWS Signature Version 4)". */
#include "fleet/registry/s3_client.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/error.h"
#include "http/transfer.h"
#include "trust/sha256.h"

enum { TRIES = 3 };

/* ---- where it is ---- */

static bool take(const char *query, const char *name, char *out, size_t size)
{
    const size_t n = strlen(name);
    for (const char *p = query; p && *p; p = strchr(p, '&') ? strchr(p, '&') + 1 : NULL)
        if (strncmp(p, name, n) == 0 && p[n] == '=') {
            const size_t length = strcspn(p + n + 1, "&");
            snprintf(out, size, "%.*s", (int)length, p + n + 1);
            return length < size;
        }
    return false;
}

LedgeStatus ledge__s3_read(const char *where, LedgeError *err, LedgeS3 *out)
{
    const char *p = where + strlen("s3://"), *query = strchr(p, '?'),
               *access = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");
    const size_t path = query ? (size_t)(query - p) : strlen(p), bucket = strcspn(p, "/?");
    *out = (LedgeS3){.region = "us-east-1"};
    if (getenv("AWS_REGION"))
        snprintf(out->region, sizeof out->region, "%s", getenv("AWS_REGION"));
    (void)take(query ? query + 1 : NULL, "region", out->region, sizeof out->region);
    if (!bucket || bucket >= sizeof out->bucket || path - bucket >= sizeof out->prefix - 1 ||
        !take(query ? query + 1 : NULL, "endpoint", out->endpoint, sizeof out->endpoint))
        return ledge__fail(
            err, LEDGE_ERROR_ARGUMENT, where,
            "an S3 place is s3://BUCKET[/PREFIX]?endpoint=https://HOST[:PORT][&region=R]");
    if (!access || !secret || strlen(access) >= sizeof out->access_key ||
        strlen(secret) >= sizeof out->secret_key)
        return ledge__fail(
            err, LEDGE_ERROR_ARGUMENT, where,
            "S3 needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment");
    snprintf(out->bucket, sizeof out->bucket, "%.*s", (int)bucket, p);
    if (path > bucket + 1)
        snprintf(out->prefix, sizeof out->prefix, "%.*s/", (int)(path - bucket - 1),
                 p + bucket + 1);
    snprintf(out->access_key, sizeof out->access_key, "%s", access);
    snprintf(out->secret_key, sizeof out->secret_key, "%s", secret);
    const size_t n = strlen(out->endpoint);
    if (n && out->endpoint[n - 1] == '/')
        out->endpoint[n - 1] = '\0';
    return LEDGE_OK;
}

/* ---- requests ---- */

static size_t on_header(char *bytes, size_t size, size_t n, void *arg)
{
    char *etag = arg;
    const size_t all = size * n;
    if (all > 6 && strncasecmp(bytes, "etag:", 5) == 0) {
        const char *from = bytes + 5, *end = bytes + all;
        while (from < end && (*from == ' ' || *from == '\t'))
            from++;
        while (end > from && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
            end--;
        snprintf(etag, 72, "%.*s", (int)(end - from), from);
    }
    return all;
}

static CURLcode perform(const LedgeS3 *s3, const LedgeS3Ask *ask, LedgeTransfer *t,
                        LedgeText *answer, char *etag)
{
    char url[2000], sigv4[100], hash[120];
    snprintf(url, sizeof url, "%s/%s%s%s%s%s%s", s3->endpoint, s3->bucket, ask->key ? "/" : "",
             ask->key ? s3->prefix : "", ask->key ? ask->key : "", ask->query ? "?" : "",
             ask->query ? ask->query : "");
    snprintf(sigv4, sizeof sigv4, "aws:amz:%s:s3", s3->region);
    snprintf(hash, sizeof hash, "x-amz-content-sha256: %s",
             ask->payload ? ask->payload : "UNSIGNED-PAYLOAD");
    *t = (LedgeTransfer){.url = url,
                         .method = ask->method,
                         .body = ask->text,
                         .from = ask->from,
                         .size = ask->from   ? ask->size
                                 : ask->text ? strlen(ask->text)
                                             : 0,
                         .connect_s = 10,
                         .slowest = 1000,
                         .stall_s = 30};
    t->headers[0] = hash;
    /* No "Expect:" without a value here: libcurl would sign it and not send it. */
    t->headers[1] = ask->text ? "Content-Type: application/xml" : NULL;
    CURL *curl = curl_easy_init();
    CURLcode result = CURLE_OUT_OF_MEMORY;
    if (curl && ledge__transfer_set(curl, t)) {
        curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, sigv4);
        curl_easy_setopt(curl, CURLOPT_USERNAME, s3->access_key);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, s3->secret_key);
        if (etag) {
            curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
            curl_easy_setopt(curl, CURLOPT_HEADERDATA, etag);
        }
        result = ledge__transfer_do(curl, t, answer, ask->max);
    }
    ledge__transfer_end(t);
    curl_easy_cleanup(curl);
    return result;
}

bool ledge__s3_element(const char *xml, const char *name, char *out, size_t size)
{
    char open[64];
    snprintf(open, sizeof open, "<%s>", name);
    const char *from = xml ? strstr(xml, open) : NULL;
    if (!from)
        return false;
    from += strlen(open);
    const size_t n = strcspn(from, "<");
    snprintf(out, size, "%.*s", (int)n, from);
    return n > 0 && n < size;
}

static LedgeStatus judge(const LedgeS3 *s3, CURLcode result, const LedgeTransfer *t, size_t max,
                         const LedgeText *answer, LedgeError *err)
{
    const long code = t->code;
    char why[64] = "";
    if (t->over)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, s3->endpoint,
                           "the answer is larger than %zu bytes", max);
    if (result != CURLE_OK)
        return ledge__fail(err, LEDGE_ERROR_IO, s3->endpoint, "S3 cannot be reached: %s",
                           t->why[0] ? t->why : curl_easy_strerror(result));
    if (code == 404)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, s3->bucket,
                           "S3 has no such object or bucket");
    if (code == 403)
        return ledge__fail(
            err, LEDGE_ERROR_IO, s3->bucket,
            "S3 refused (403); check the keys, the region, the clock and what the bucket allows");
    if (code < 200 || code > 299) {
        if (!ledge__s3_element(answer->p, "Code", why, sizeof why) ||
            why[strspn(why, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")])
            why[0] = '\0';
        return ledge__fail(err, LEDGE_ERROR_IO, s3->bucket, "S3 answered %ld%s%s", code,
                           why[0] ? ": " : "", why);
    }
    return LEDGE_OK;
}

LedgeStatus ledge__s3_do(const LedgeS3 *s3, const LedgeS3Ask *ask, LedgeError *err,
                         LedgeText *answer, char *etag)
{
    const long start = ask->from ? ftell(ask->from) : 0;
    LedgeStatus status = LEDGE_ERROR_IO;
    for (int try = 0; try < TRIES; try++) {
        LedgeTransfer t;
        answer->n = 0;
        if (try && ask->from && fseek(ask->from, start, SEEK_SET) != 0)
            break;
        if (try)
            nanosleep(&(struct timespec){.tv_sec = try - 1, .tv_nsec = 300000000}, NULL);
        const CURLcode result = perform(s3, ask, &t, answer, etag);
        status = judge(s3, result, &t, ask->max, answer, err);
        if (status != LEDGE_ERROR_IO || (result == CURLE_OK && t.code < 500))
            break;
    }
    return status;
}

/* ---- addresses ---- */

void ledge__s3_encode(const char *from, bool keep_slash, char *to, size_t size)
{
    size_t n = 0;
    for (; *from && n + 4 < size; from++) {
        const bool plain =
            strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", *from) ||
            (keep_slash && *from == '/');
        n += (size_t)snprintf(to + n, 4, plain ? "%c" : "%%%02X", (unsigned char)*from);
    }
    to[n] = '\0';
}

static void hmac(const void *key, int n, const char *text, uint8_t out[32])
{
    unsigned size = 32;
    (void)HMAC(EVP_sha256(), key, n, (const unsigned char *)text, strlen(text), out, &size);
}

LedgeStatus ledge__s3_sign(const LedgeS3 *s3, const char *key, int64_t now, int seconds,
                           LedgeError *err, char **out)
{
    char stamp[20], day[12], scope[200], credential[400], encoded[600], path[600], raw[400],
        query[1200], canonical[2600], text[400], secret[200], hash[LEDGE_SHA256_HEX],
        signature[LEDGE_SHA256_HEX];
    uint8_t k[32];
    struct tm tm;
    const time_t t = (time_t)now;
    (void)gmtime_r(&t, &tm);
    (void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    (void)strftime(day, sizeof day, "%Y%m%d", &tm);
    snprintf(scope, sizeof scope, "%s/%s/s3/aws4_request", day, s3->region);
    snprintf(credential, sizeof credential, "%s/%s", s3->access_key, scope);
    ledge__s3_encode(credential, false, encoded, sizeof encoded);
    snprintf(raw, sizeof raw, "/%s/%s%s", s3->bucket, s3->prefix, key);
    ledge__s3_encode(raw, true, path, sizeof path);
    snprintf(query, sizeof query,
             "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%s&X-Amz-Date=%s&X-Amz-Expires=%d&"
             "X-Amz-SignedHeaders=host",
             encoded, stamp, seconds);
    const char *host = strstr(s3->endpoint, "://") ? strstr(s3->endpoint, "://") + 3 : s3->endpoint;
    snprintf(canonical, sizeof canonical, "GET\n%s\n%s\nhost:%s\n\nhost\nUNSIGNED-PAYLOAD", path,
             query, host);
    LEDGE_TRY(ledge__sha256_of(canonical, strlen(canonical), hash));
    snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", stamp, scope, hash);
    snprintf(secret, sizeof secret, "AWS4%s", s3->secret_key);
    hmac(secret, (int)strlen(secret), day, k);
    hmac(k, 32, s3->region, k);
    hmac(k, 32, "s3", k);
    hmac(k, 32, "aws4_request", k);
    hmac(k, 32, text, k);
    ledge__hex(k, 32, signature);
    const size_t size = strlen(s3->endpoint) + strlen(path) + strlen(query) + 120;
    *out = malloc(size);
    if (!*out)
        return ledge__no_memory(err);
    snprintf(*out, size, "%s%s?%s&X-Amz-Signature=%s", s3->endpoint, path, query, signature);
    return LEDGE_OK;
}
