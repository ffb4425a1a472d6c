/* ledge-post: sends its standard input to a URL by HTTP POST. The server's alerts go out by it, in
 * a process of their own.
 *
 *   ledge-post URL [TOKEN_FILE]
 *
 * Exit codes: 0 the answer was 2xx, 1 anything else, 2 usage. What it has to say goes to stderr
 * when LEDGE_POST_VERBOSE is set. */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_MAX = 4 << 20, TOKEN_MAX = 4096 };

static size_t ignore(char *bytes, size_t size, size_t n, void *seen)
{
    size_t *total = seen;
    (void)bytes;
    *total += size * n;
    return *total > BODY_MAX ? 0 : size * n; /* an answer that does not end is one that failed */
}

static char *slurp(FILE *f, size_t max, size_t *size)
{
    char *bytes = malloc(max + 1);
    *size = bytes ? fread(bytes, 1, max + 1, f) : 0;
    if (!bytes || ferror(f) || *size > max) {
        free(bytes);
        return NULL;
    }
    bytes[*size] = '\0';
    return bytes;
}

static struct curl_slist *headers_of(const char *token_file)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    char line[TOKEN_MAX + 32];
    if (!token_file || !headers)
        return headers;
    FILE *f = fopen(token_file, "re");
    size_t size = 0;
    char *token = f ? slurp(f, TOKEN_MAX, &size) : NULL;
    if (f)
        (void)fclose(f);
    struct curl_slist *more = NULL;
    if (token) {
        token[strcspn(token, "\r\n")] = '\0';
        snprintf(line, sizeof line, "Authorization: Bearer %s", token);
        more = curl_slist_append(headers, line);
    }
    free(token);
    if (!more)
        curl_slist_free_all(headers);
    return more;
}

static CURLcode post(CURL *c, const char *url, struct curl_slist *headers, const char *body,
                     size_t size, long *status)
{
    size_t answer = 0;
    curl_easy_setopt(c, CURLOPT_URL, url);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(c, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, ignore);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, 25L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    const CURLcode code = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, status);
    return code;
}

int main(int argc, char **argv)
{
    size_t size;
    long status = 0;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: ledge-post URL [TOKEN_FILE] <BODY\n");
        return 2;
    }
    char *body = slurp(stdin, BODY_MAX, &size);
    struct curl_slist *headers = body ? headers_of(argc > 2 ? argv[2] : NULL) : NULL;
    CURL *c = headers ? curl_easy_init() : NULL;
    CURLcode code = CURLE_FAILED_INIT;
    if (c)
        code = post(c, argv[1], headers, body, size, &status);
    const bool ok = code == CURLE_OK && status >= 200 && status < 300;
    if (!ok && getenv("LEDGE_POST_VERBOSE"))
        fprintf(stderr, "ledge-post: %s: %s (HTTP %ld)\n", argv[1], curl_easy_strerror(code),
                status);
    curl_easy_cleanup(c);
    curl_slist_free_all(headers);
    free(body);
    return ok ? 0 : 1;
}
