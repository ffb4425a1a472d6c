/* An exchange over HTTP, see transfer.h. */
#include "http/transfer.h"

#include <string.h>

static size_t on_answer(char *bytes, size_t one, size_t n, void *arg)
{
    LedgeTransfer *t = arg;
    n *= one;
    if (n > t->room) {
        t->over = true; /* an answer that does not end is one that failed */
        return 0;
    }
    t->room -= n;
    if (!t->answer)
        return n;
    ledge__text_put(t->answer, bytes, n);
    return t->answer->failed ? 0 : n;
}

/* No more than was said, though the file may have more. */
static size_t on_read(char *to, size_t one, size_t n, void *arg)
{
    LedgeTransfer *t = arg;
    const uint64_t room = one * n < t->left ? one * n : t->left;
    const size_t got = fread(to, 1, (size_t)room, t->from);
    t->left -= got;
    return got;
}

static bool set_headers(LedgeTransfer *t)
{
    for (int i = 0; i < LEDGE_TRANSFER_HEADERS; i++) {
        struct curl_slist *longer =
            t->headers[i] ? curl_slist_append(t->list, t->headers[i]) : t->list;
        if (t->headers[i] && !longer)
            return false;
        t->list = longer;
    }
    return true;
}

static void set_bounds(CURL *curl, const LedgeTransfer *t)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    const char *names = t->https_only ? "https" : "http,https";
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, names);
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, names);
#else
    const long protocols = t->https_only ? CURLPROTO_HTTPS : CURLPROTO_HTTP | CURLPROTO_HTTPS;
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, protocols);
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS, protocols);
#endif
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, t->connect_s);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, t->whole_s);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, t->slowest);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, t->stall_s);
    if (t->ca)
        curl_easy_setopt(curl, CURLOPT_CAINFO, t->ca);
}

bool ledge__transfer_set(CURL *curl, LedgeTransfer *t)
{
    if (!set_headers(t))
        return false;
    set_bounds(curl, t);
    curl_easy_setopt(curl, CURLOPT_URL, t->url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, t->list);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->why);
    t->left = t->size;
    if (t->from) {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(curl, CURLOPT_READDATA, t);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->size);
    } else if (t->body) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, t->body);
    }
    if (t->method)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, t->method);
    if (t->method && strcmp(t->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    return true;
}

CURLcode ledge__transfer_do(CURL *curl, LedgeTransfer *t, LedgeText *answer, size_t max)
{
    t->answer = answer;
    t->room = max;
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    const CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &t->code);
    return result;
}

void ledge__transfer_end(LedgeTransfer *t)
{
    curl_slist_free_all(t->list);
    t->list = NULL;
}
