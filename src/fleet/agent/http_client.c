/* HTTP by libcurl, see http_client.h. */
#include "fleet/agent/http_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "http/transfer.h"

enum { CONNECT_S = 20, WHOLE_S = 120, STALL_S = 30, SLOWEST = 256, REDIRECTS = 5 };

struct LedgeHttp {
    LedgeHttpOptions o;
    CURL *curl;
    char token[4200]; /* the whole header */
    int64_t received;
    /* of the transfer under way */
    LedgeTransfer transfer;
    const LedgeHttpAsk *ask;
    LedgeHttpAnswer *answer;
    size_t room;
    bool is_over, is_stopped, has_no_memory;
};

LedgeStatus ledge__http_new(const LedgeHttpOptions *options, LedgeError *err, LedgeHttp **out)
{
    const bool is_http = strncmp(options->base, "http://", 7) == 0;
    if (!is_http && strncmp(options->base, "https://", 8) != 0)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, options->base,
                           "the registry's address begins with https:// or http://");
    if (options->token && strpbrk(options->token, "\r\n"))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, "token", "has a line break in it");
    LedgeHttp *h = calloc(1, sizeof *h);
    if (!h || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(h);
        return ledge__no_memory(err);
    }
    h->o = *options;
    h->curl = curl_easy_init();
    if (options->token && (size_t)snprintf(h->token, sizeof h->token, "Authorization: Bearer %s",
                                           options->token) >= sizeof h->token) {
        ledge__http_free(h);
        return ledge__fail(err, LEDGE_ERROR_LIMIT, "token", "is longer than 4 kB");
    }
    if (!h->curl) {
        ledge__http_free(h);
        return ledge__no_memory(err);
    }
    *out = h;
    return LEDGE_OK;
}

void ledge__http_free(LedgeHttp *h)
{
    if (!h)
        return;
    curl_easy_cleanup(h->curl);
    free(h);
    curl_global_cleanup();
}

int64_t ledge__http_received(const LedgeHttp *h)
{
    return h->received;
}

/* ---- what comes ---- */

static bool keep(LedgeHttp *h, const char *bytes, size_t n)
{
    LedgeHttpAnswer *a = h->answer;
    if (n > h->ask->max - a->size) {
        h->is_over = true;
        return false;
    }
    if (a->size + n + 1 > h->room) {
        const size_t room = 2 * (a->size + n) + 1024;
        char *wider = realloc(a->body, room);
        if (!wider) {
            h->has_no_memory = true;
            return false;
        }
        a->body = wider;
        h->room = room;
    }
    memcpy(a->body + a->size, bytes, n);
    a->size += n;
    a->body[a->size] = '\0';
    return true;
}

static size_t on_body(char *bytes, size_t one, size_t n, void *arg)
{
    LedgeHttp *h = arg;
    long status = 0;
    n *= one;
    h->received += (int64_t)n;
    h->answer->received += (int64_t)n;
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
    h->answer->status = (int)status;
    if (!h->ask->take)
        return keep(h, bytes, n) ? n : 0;
    if (status != 200 && status != 206)
        return h->answer->received <= 65536 ? n : 0; /* a page that says why; not wanted */
    h->is_stopped = !h->ask->take(h->ask->arg, bytes, n);
    return h->is_stopped ? 0 : n;
}

/* The value behind "Name:", without blanks; false: another header, or too long. */
static bool header(const char *line, size_t n, const char *name, char *out, size_t size)
{
    const size_t length = strlen(name);
    if (n <= length || strncasecmp(line, name, length) != 0 || line[length] != ':')
        return false;
    const char *p = line + length + 1, *end = line + n;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && (unsigned char)end[-1] <= ' ')
        end--;
    if ((size_t)(end - p) >= size)
        return false;
    memcpy(out, p, (size_t)(end - p));
    out[end - p] = '\0';
    return true;
}

static size_t on_header(char *line, size_t one, size_t n, void *arg)
{
    LedgeHttp *h = arg;
    LedgeHttpAnswer *a = h->answer;
    char text[128];
    long long from, to, total;
    n *= one;
    if (n > 5 && strncasecmp(line, "HTTP/", 5) == 0) { /* of the next answer, after a redirect */
        a->etag[0] = '\0';
        a->retry_after = a->range_from = a->range_total = -1;
    } else if (header(line, n, "etag", text, sizeof text)) {
        const size_t length = strlen(text);
        if (length >= 2 && length - 2 < sizeof a->etag && text[0] == '"' && text[length - 1] == '"')
            snprintf(a->etag, sizeof a->etag, "%.*s", (int)(length - 2), text + 1);
    } else if (header(line, n, "retry-after", text, sizeof text)) {
        char *end;
        const long long v = strtoll(text, &end, 10);
        a->retry_after = end != text && !*end && v >= 0 ? v : -1;
    } else if (header(line, n, "content-range", text, sizeof text)) {
        if (sscanf(text, "bytes %lld-%lld/%lld", &from, &to, &total) == 3 && from >= 0 &&
            to >= from && total > to) {
            a->range_from = from;
            a->range_total = total;
        }
    }
    return n;
}

/* ---- what goes ---- */

/* What all exchanges have; the lines of headers stay with the caller. */
static void describe(LedgeHttp *h, const char *url, char match[128])
{
    const LedgeHttpAsk *ask = h->ask;
    LedgeTransfer *t = &h->transfer;
    *t = (LedgeTransfer){.url = url,
                         .ca = h->o.ca,
                         .https_only = strncmp(h->o.base, "https", 5) == 0,
                         .body = ask->body,
                         .size = ask->body_size,
                         .connect_s = CONNECT_S,
                         /* a message; files may take as long as they come */
                         .whole_s = ask->take || ask->is_binary ? 0 : WHOLE_S,
                         .slowest = h->o.slowest ? (long)h->o.slowest : SLOWEST,
                         .stall_s = h->o.stall_s ? (long)h->o.stall_s : STALL_S};
    t->headers[0] = h->token[0] ? h->token : NULL;
    if (ask->body) {
        t->headers[1] = ask->is_binary ? "Content-Type: application/octet-stream"
                                       : "Content-Type: application/json";
        t->headers[2] = "Expect:";
        t->headers[3] = ask->is_deflated ? "Content-Encoding: deflate" : NULL;
    }
    if (ask->if_none_match) {
        snprintf(match, 128, "If-None-Match: \"%.72s\"", ask->if_none_match);
        t->headers[4] = match;
    }
}

static void set_more(LedgeHttp *h)
{
    CURL *c = h->curl;
    const LedgeHttpOptions *o = &h->o;
    char range[40];
    curl_easy_setopt(c, CURLOPT_USERAGENT, "ledge/" LEDGE_BUILD_VERSION);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, h);
    if (o->bandwidth) {
        curl_easy_setopt(c, CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t)o->bandwidth);
        curl_easy_setopt(c, CURLOPT_MAX_SEND_SPEED_LARGE, (curl_off_t)o->bandwidth);
    }
    if (o->proxy)
        curl_easy_setopt(c, CURLOPT_PROXY, o->proxy);
    if (o->cert)
        curl_easy_setopt(c, CURLOPT_SSLCERT, o->cert);
    if (o->key)
        curl_easy_setopt(c, CURLOPT_SSLKEY, o->key);
    if (!h->ask->body) {
        curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTS);
    }
    if (h->ask->is_partial) {
        snprintf(range, sizeof range, "%lld-", (long long)h->ask->from);
        curl_easy_setopt(c, CURLOPT_RANGE, range);
    }
}

static LedgeStatus judge(LedgeHttp *h, CURLcode code, const char *url, LedgeError *err)
{
    if (code == CURLE_OK)
        return LEDGE_OK;
    if (h->has_no_memory || code == CURLE_OUT_OF_MEMORY)
        return ledge__no_memory(err);
    if (h->is_over)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, url, "sends more than the %zu bytes allowed",
                           h->ask->max);
    if (h->is_stopped)
        return ledge__fail(err, LEDGE_ERROR_CANCELLED, url, "the transfer was ended");
    h->answer->too_slow = code == CURLE_OPERATION_TIMEDOUT;
    if (code == CURLE_OPERATION_TIMEDOUT)
        return ledge__fail(err, LEDGE_ERROR_IO, url, "is too slow: %s", h->transfer.why);
    return ledge__fail(err, LEDGE_ERROR_IO, url, "%s",
                       h->transfer.why[0] ? h->transfer.why : curl_easy_strerror(code));
}

LedgeStatus ledge__http_ask(LedgeHttp *h, const LedgeHttpAsk *ask, LedgeError *err,
                            LedgeHttpAnswer *out)
{
    char url[1024], match[128];
    *out = (LedgeHttpAnswer){.retry_after = -1, .range_from = -1, .range_total = -1};
    if ((size_t)snprintf(url, sizeof url, "%s%s", h->o.base, ask->path) >= sizeof url)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, h->o.base, "the address is too long");
    h->ask = ask;
    h->answer = out;
    h->room = 0;
    h->is_over = h->is_stopped = h->has_no_memory = false;
    describe(h, url, match);
    curl_easy_reset(h->curl);
    LedgeStatus status;
    if (ledge__transfer_set(h->curl, &h->transfer)) {
        set_more(h);
        const CURLcode code = curl_easy_perform(h->curl);
        curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &h->transfer.code);
        out->status = (int)h->transfer.code;
        status = judge(h, code, url, err);
    } else {
        status = ledge__no_memory(err);
    }
    ledge__transfer_end(&h->transfer);
    if (status) {
        free(out->body);
        out->body = NULL;
        out->size = 0;
    }
    return status;
}
