/* ledge-post: sends its standard input to a URL by HTTP POST. The server's alerts go out by it, in
 * a process of their own.
 *
 *   ledge-post URL [TOKEN_FILE]
 *
 * Exit codes: 0 the answer was 2xx, 1 anything else, 2 usage. What it has to say goes to stderr
 * when LEDGE_POST_VERBOSE is set. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/transfer.h"

enum { BODY_MAX = 4 << 20, TOKEN_MAX = 4096 };

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

/* The header with the token of a file; false: it cannot be read. */
static bool read_token(const char *file, char *line, size_t size)
{
    FILE *f = fopen(file, "re");
    size_t n = 0;
    char *token = f ? slurp(f, TOKEN_MAX, &n) : NULL;
    if (f)
        (void)fclose(f);
    if (token) {
        token[strcspn(token, "\r\n")] = '\0';
        snprintf(line, size, "Authorization: Bearer %s", token);
    }
    free(token);
    return token != NULL;
}

int main(int argc, char **argv)
{
    char bearer[TOKEN_MAX + 32] = "";
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: ledge-post URL [TOKEN_FILE] <BODY\n");
        return 2;
    }
    size_t size;
    char *body = slurp(stdin, BODY_MAX, &size);
    LedgeTransfer t = {.url = argv[1], .body = body, .size = size, .connect_s = 10, .whole_s = 25};
    CURLcode code = CURLE_FAILED_INIT;
    const bool ready = body && (argc < 3 || read_token(argv[2], bearer, sizeof bearer));
    CURL *c = ready ? curl_easy_init() : NULL;
    t.headers[0] = "Content-Type: application/json";
    t.headers[1] = bearer[0] ? bearer : NULL;
    if (c && ledge__transfer_set(c, &t))
        code = ledge__transfer_do(c, &t, NULL, BODY_MAX);
    const bool ok = code == CURLE_OK && t.code >= 200 && t.code < 300;
    if (!ok && getenv("LEDGE_POST_VERBOSE"))
        fprintf(stderr, "ledge-post: %s: %s (HTTP %ld)\n", argv[1], curl_easy_strerror(code),
                t.code);
    curl_easy_cleanup(c);
    ledge__transfer_end(&t);
    free(body);
    return ok ? 0 : 1;
}
