/* Talking to a registry, by libcurl. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/registry_cli.h"
#include "fleet/protocol/wire_names.h"
#include "http/transfer.h"
#include "image/file_bytes.h"
#include "trust/certificate.h"

#define ANSWER_MAX ((size_t)256 << 20)

static int read_token(RegistryClient *c)
{
    LedgeError err = {0};
    uint8_t *bytes = NULL;
    size_t size;
    const char *given = getenv("LEDGE_REGISTRY_TOKEN");
    if (c->token)
        return CLI_GO;
    if (!c->token_file) {
        c->token = strdup(given ? given : "");
    } else {
        if (ledge__file_bytes(NULL, c->token_file, 4096, &err, &bytes, &size))
            return cli_fail(c->token_file, &err);
        bytes[strcspn((char *)bytes, "\r\n")] = '\0';
        c->token = strdup((char *)bytes);
        ledge__free(NULL, bytes);
    }
    if (!c->token)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    return strlen(c->token) > LEDGE_FLEET_TOKEN || strpbrk(c->token, "\r\n")
               ? cli_fail_with(c->token_file ? c->token_file : "LEDGE_REGISTRY_TOKEN",
                               LEDGE_ERROR_ARGUMENT,
                               "is no token of a registry: those are a line of up to %d characters",
                               LEDGE_FLEET_TOKEN)
               : CLI_GO;
}

void registry_client_free(RegistryClient *c)
{
    free(c->token);
    c->token = NULL;
}

const char *registry_word(const char *word)
{
    static char ring[8][800];
    static unsigned next;
    char *to = ring[next++ % 8];
    size_t n = 0;
    for (; *word && n + 4 < sizeof ring[0]; word++) {
        const bool plain =
            strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:", *word) !=
            NULL;
        n += (size_t)snprintf(to + n, 4, plain ? "%c" : "%%%02X", (unsigned char)*word);
    }
    to[n] = '\0';
    return to;
}

static int perform(RegistryClient *c, LedgeTransfer *t, const char *path, bool follows,
                   RegistryAnswer *out)
{
    char url[2000], bearer[LEDGE_FLEET_TOKEN + 32];
    const char *server = c->server ? c->server : getenv("LEDGE_REGISTRY");
    LedgeText body = {0};
    if (!server)
        server = "http://127.0.0.1:8070";
    snprintf(url, sizeof url, "%.*s%s",
             (int)(strlen(server) - (server[0] && server[strlen(server) - 1] == '/')), server,
             path);
    snprintf(bearer, sizeof bearer, "Authorization: Bearer %s", c->token);
    t->url = url;
    t->ca = c->ca;
    t->connect_s = 20;
    t->slowest = 1;
    t->stall_s = 120;
    t->headers[0] =
        t->from ? "Content-Type: application/octet-stream" : "Content-Type: application/json";
    t->headers[1] = "Expect:";
    t->headers[2] = c->token[0] ? bearer : NULL;
    CURL *curl = curl_easy_init();
    CURLcode code = CURLE_OUT_OF_MEMORY;
    if (curl && ledge__transfer_set(curl, t) &&
        curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, (long)follows) == CURLE_OK)
        code = ledge__transfer_do(curl, t, &body, ANSWER_MAX);
    out->code = t->code;
    ledge__transfer_end(t);
    curl_easy_cleanup(curl);
    if (code != CURLE_OK) {
        ledge__text_free(&body);
        return cli_fail_with(server, LEDGE_ERROR_RUNTIME, "the registry cannot be reached: %s",
                             t->why[0] ? t->why : curl_easy_strerror(code));
    }
    ledge__text_put(&body, "", 0);
    out->body = body.p;
    out->size = body.n;
    out->json = body.p ? json_loadb(body.p, body.n, 0, NULL) : NULL;
    return CLI_GO;
}

int registry_ask(RegistryClient *c, const char *method, const char *path, const json_t *body,
                 RegistryAnswer *out)
{
    *out = (RegistryAnswer){0};
    int code = read_token(c);
    if (code != CLI_GO)
        return code;
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (body && !text)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    LedgeTransfer t = {.method = method, .body = text, .size = text ? strlen(text) : 0};
    code = perform(c, &t, path, false, out);
    free(text);
    return code;
}

int registry_fetch(RegistryClient *c, const char *path, RegistryAnswer *out)
{
    *out = (RegistryAnswer){0};
    const int code = read_token(c);
    return code == CLI_GO ? perform(c, &(LedgeTransfer){.method = NULL}, path, true, out) : code;
}

int registry_upload(RegistryClient *c, const char *path, const char *file, uint64_t size,
                    RegistryAnswer *out)
{
    *out = (RegistryAnswer){0};
    int code = read_token(c);
    if (code != CLI_GO)
        return code;
    FILE *from = fopen(file, "rb");
    if (!from)
        return cli_fail_with(file, LEDGE_ERROR_IO, "cannot be opened: %s", strerror(errno));
    LedgeTransfer t = {.method = "PUT", .from = from, .size = size};
    code = perform(c, &t, path, false, out);
    fclose(from);
    return code;
}

void registry_answer_free(RegistryAnswer *a)
{
    free(a->body);
    json_decref(a->json);
    *a = (RegistryAnswer){0};
}

int registry_refused(const RegistryClient *c, const RegistryAnswer *a)
{
    const char *said = json_string_value(json_object_get(a->json, "error"));
    (void)c;
    if (said)
        cli_fail_with(NULL, LEDGE_ERROR_RUNTIME, "the registry refused (%ld): %s", a->code,
                      cli_clean(said));
    else
        cli_fail_with(NULL, LEDGE_ERROR_RUNTIME, "the registry answered %ld", a->code);
    return CLI_FAILED;
}

int registry_do(RegistryClient *c, const char *method, const char *path, const json_t *body,
                json_t **json)
{
    RegistryAnswer a;
    int code = registry_ask(c, method, path, body, &a);
    if (code == CLI_GO && (a.code < 200 || a.code > 299 || !a.json))
        code = registry_refused(c, &a);
    if (code == CLI_GO)
        *json = json_incref(a.json);
    registry_answer_free(&a);
    return code;
}

/* ---- tables ---- */

const char *registry_time(int64_t seconds)
{
    static char ring[8][LEDGE_TIME_TEXT];
    static unsigned next;
    char *to = ring[next++ % 8];
    if (seconds <= 0)
        return "-";
    ledge__time_text(seconds, to);
    return to;
}

static const char *cell(const json_t *row, const char *key)
{
    static char ring[16][256];
    static unsigned next;
    char *to = ring[next++ % 16];
    const json_t *v = json_object_get(row, key);
    const bool is_time = strcmp(key, "created") == 0 || strcmp(key, "at") == 0 ||
                         strcmp(key, "changed") == 0 || strcmp(key, "last_seen") == 0 ||
                         strcmp(key, "received") == 0 || strcmp(key, "revoked") == 0 ||
                         strcmp(key, "entered") == 0;
    if (json_is_integer(v) && is_time)
        return registry_time(json_integer_value(v));
    if (json_is_integer(v))
        snprintf(to, 256, "%lld", (long long)json_integer_value(v));
    else if (json_is_string(v))
        snprintf(to, 256, "%s", cli_clean(json_string_value(v)));
    else if (json_is_real(v))
        snprintf(to, 256, "%g", json_real_value(v));
    else if (json_is_boolean(v))
        snprintf(to, 256, "%s", json_is_true(v) ? "yes" : "no");
    else if (json_is_object(v) || json_is_array(v)) {
        char *text = json_dumps(v, JSON_COMPACT);
        snprintf(to, 256, "%s", text ? cli_clean(text) : "");
        free(text);
    } else {
        snprintf(to, 256, "-");
    }
    return to[0] ? to : "-";
}

void registry_table(const json_t *rows, const RegistryColumn *columns, size_t n)
{
    int widths[16] = {0};
    for (size_t i = 0; i < n; i++)
        widths[i] = (int)strlen(columns[i].title);
    for (size_t r = 0; r < json_array_size(rows); r++)
        for (size_t i = 0; i < n; i++) {
            const int w = (int)strlen(cell(json_array_get(rows, r), columns[i].key));
            widths[i] = w > widths[i] ? w : widths[i];
        }
    for (size_t i = 0; i < n; i++)
        printf("%-*s%s", i + 1 < n ? widths[i] : 0, columns[i].title, i + 1 < n ? "  " : "\n");
    for (size_t r = 0; r < json_array_size(rows); r++)
        for (size_t i = 0; i < n; i++)
            printf("%-*s%s", i + 1 < n ? widths[i] : 0,
                   cell(json_array_get(rows, r), columns[i].key), i + 1 < n ? "  " : "\n");
}
