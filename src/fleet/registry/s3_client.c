/* S3, see s3_client.h. The signature of addresses follows AWS's "Authenticating Requests: Using
 * Query Parameters (AWS Signature Version 4)". */
#include "fleet/registry/s3_client.h"

#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/error.h"
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

typedef struct Reply {
    LedgeText *text;
    size_t max;
    bool over;
    char *etag;
    FILE *from;
    uint64_t left;
} Reply;

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
    Reply *r = arg;
    if (r->text->n + size * n > r->max) {
        r->over = true;
        return 0;
    }
    ledge__text_put(r->text, bytes, size * n);
    return r->text->failed ? 0 : size * n;
}

static size_t on_header(char *bytes, size_t size, size_t n, void *arg)
{
    Reply *r = arg;
    const size_t all = size * n;
    if (r->etag && all > 6 && strncasecmp(bytes, "etag:", 5) == 0) {
        const char *from = bytes + 5, *end = bytes + all;
        while (from < end && (*from == ' ' || *from == '\t'))
            from++;
        while (end > from && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
            end--;
        snprintf(r->etag, 72, "%.*s", (int)(end - from), from);
    }
    return all;
}

/* No more than the part that was asked for. */
static size_t on_read(char *to, size_t size, size_t n, void *arg)
{
    Reply *r = arg;
    const uint64_t room = size * n < r->left ? size * n : r->left;
    const size_t got = fread(to, 1, (size_t)room, r->from);
    r->left -= got;
    return got;
}

static struct curl_slist *headers_for(const LedgeS3Ask *ask)
{
    char hash[120];
    snprintf(hash, sizeof hash, "x-amz-content-sha256: %s",
             ask->payload ? ask->payload : "UNSIGNED-PAYLOAD");
    struct curl_slist *h = curl_slist_append(NULL, hash);
    /* No "Expect:" without a value here: libcurl would sign it and not send it. */
    if (ask->text)
        h = curl_slist_append(h, "Content-Type: application/xml");
    return h;
}

static CURLcode perform(const LedgeS3 *s3, const LedgeS3Ask *ask, Reply *reply, long *code,
                        char *why)
{
    char url[1200], sigv4[100];
    CURL *curl = curl_easy_init();
    if (!curl)
        return CURLE_OUT_OF_MEMORY;
    struct curl_slist *headers = headers_for(ask);
    snprintf(url, sizeof url, "%s/%s/%s%s%s%s", s3->endpoint, s3->bucket, s3->prefix, ask->key,
             ask->query ? "?" : "", ask->query ? ask->query : "");
    snprintf(sigv4, sizeof sigv4, "aws:amz:%s:s3", s3->region);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, ask->method);
    curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, sigv4);
    curl_easy_setopt(curl, CURLOPT_USERNAME, s3->access_key);
    curl_easy_setopt(curl, CURLOPT_PASSWORD, s3->secret_key);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, reply);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1000L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 30L);
    if (strcmp(ask->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    if (ask->from) {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(curl, CURLOPT_READDATA, reply);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)ask->size);
    } else if (ask->text) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, ask->text);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(ask->text));
    }
    const CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, code);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return result;
}

static LedgeStatus judge(const LedgeS3 *s3, CURLcode result, long code, const Reply *reply,
                         const char *why, LedgeError *err)
{
    if (reply->over)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, s3->endpoint,
                           "the answer is larger than %zu bytes", reply->max);
    if (result != CURLE_OK)
        return ledge__fail(err, LEDGE_ERROR_IO, s3->endpoint, "S3 cannot be reached: %s",
                           why[0] ? why : curl_easy_strerror(result));
    if (code == 404)
        return ledge__fail(err, LEDGE_ERROR_NOT_FOUND, s3->bucket,
                           "S3 has no such object or bucket");
    if (code == 403)
        return ledge__fail(
            err, LEDGE_ERROR_IO, s3->bucket,
            "S3 refused (403); check the keys, the region, the clock and what the bucket allows");
    if (code < 200 || code > 299)
        return ledge__fail(err, LEDGE_ERROR_IO, s3->bucket, "S3 answered %ld", code);
    return LEDGE_OK;
}

LedgeStatus ledge__s3_do(const LedgeS3 *s3, const LedgeS3Ask *ask, LedgeError *err,
                         LedgeText *answer, char *etag)
{
    const long start = ask->from ? ftell(ask->from) : 0;
    LedgeStatus status = LEDGE_ERROR_IO;
    for (int try = 0; try < TRIES; try++) {
        char why[CURL_ERROR_SIZE] = "";
        long code = 0;
        Reply reply = {
            .text = answer, .max = ask->max, .etag = etag, .from = ask->from, .left = ask->size};
        answer->n = 0;
        if (try && ask->from && fseek(ask->from, start, SEEK_SET) != 0)
            break;
        if (try)
            nanosleep(&(struct timespec){.tv_sec = try - 1, .tv_nsec = 300000000}, NULL);
        const CURLcode result = perform(s3, ask, &reply, &code, why);
        status = judge(s3, result, code, &reply, why, err);
        if (status != LEDGE_ERROR_IO || (result == CURLE_OK && code < 500))
            break;
    }
    return status;
}

/* ---- addresses ---- */

static void hmac(const void *key, int n, const char *text, uint8_t out[32])
{
    unsigned size = 32;
    (void)HMAC(EVP_sha256(), key, n, (const unsigned char *)text, strlen(text), out, &size);
}

static void encode(const char *from, bool keep_slash, char *to, size_t size)
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
    encode(credential, false, encoded, sizeof encoded);
    snprintf(raw, sizeof raw, "/%s/%s%s", s3->bucket, s3->prefix, key);
    encode(raw, true, path, sizeof path);
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
