/* Messages, JSON, progress: one place that knows what goes to which stream. */
#include "cli/cli.h"

#include <inttypes.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool json_mode;
static bool line_is_open; /* a progress line waits to be cleared */

void cli_set_json(bool on)
{
    json_mode = on;
}

/* ---- text ---- */

#define RING      8
#define RING_SIZE 1024

static char *ring(void)
{
    static char buffers[RING][RING_SIZE];
    static unsigned next;
    return buffers[next++ % RING];
}

const char *cli_clean(const char *text)
{
    char *to = ring();
    size_t n = 0;
    for (; *text && n + 1 < RING_SIZE; text++, n++)
        to[n] = (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text;
    /* C1 controls hide in UTF-8 as C2 80 … C2 9F */
    for (size_t i = 0; i + 1 < n; i++)
        if ((unsigned char)to[i] == 0xc2 && (unsigned char)to[i + 1] < 0xa0)
            to[i] = to[i + 1] = '?';
    to[n] = '\0';
    return to;
}

const char *cli_bytes(uint64_t n)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double v = (double)n;
    size_t u = 0;
    char *to = ring();
    for (; v >= 1000 && u + 1 < sizeof units / sizeof *units; u++)
        v /= 1000;
    snprintf(to, RING_SIZE, u && v < 100 ? "%.2f %s" : "%.0f %s", v, units[u]);
    return to;
}

const char *cli_count(uint64_t n)
{
    static const char *const units[] = {"", " k", " M", " G", " T"};
    double v = (double)n;
    size_t u = 0;
    char *to = ring();
    for (; v >= 1000 && u + 1 < sizeof units / sizeof *units; u++)
        v /= 1000;
    snprintf(to, RING_SIZE, u ? "%.2f%s" : "%.0f%s", v, units[u]);
    return to;
}

/* ---- errors ---- */

static int exit_code(LedgeStatus status)
{
    switch (status) {
    case LEDGE_OK:
        return CLI_OK;
    case LEDGE_ERROR_ARGUMENT:
        return CLI_USAGE;
    case LEDGE_ERROR_IO:
    case LEDGE_ERROR_FORMAT:
    case LEDGE_ERROR_UNSUPPORTED:
    case LEDGE_ERROR_SHAPE:
    case LEDGE_ERROR_TYPE:
    case LEDGE_ERROR_NOT_FOUND:
    case LEDGE_ERROR_LIMIT:
    case LEDGE_ERROR_MISMATCH:
        return CLI_BAD_INPUT;
    case LEDGE_ERROR_PROVIDER:
        return CLI_REFUSED;
    default:
        return CLI_FAILED;
    }
}

static void print_error_json(const char *file, const LedgeError *err)
{
    json_t *e = json_pack("{s:i, s:o, s:o, s:o, s:o}", "status", (int)err->status, "reason",
                          cli_json_text(ledge_status_text(err->status)), "file",
                          file ? cli_json_text(file) : json_null(), "where",
                          cli_json_text(err->where), "message", cli_json_text(err->message));
    if (e)
        cli_print_json(json_pack("{s:o}", "error", e));
}

int cli_fail(const char *file, const LedgeError *err)
{
    const bool twice = file && strcmp(file, err->where) == 0;
    cli_progress_end();
    fflush(stdout);
    fprintf(stderr, "ledge: ");
    if (file)
        fprintf(stderr, "%s: ", cli_clean(file));
    if (err->where[0] && !twice)
        fprintf(stderr, "%s: ", cli_clean(err->where));
    fprintf(stderr, "%s\n",
            cli_clean(err->message[0] ? err->message : ledge_status_text(err->status)));
    if (json_mode)
        print_error_json(file, err);
    return exit_code(err->status);
}

int cli_fail_with(const char *file, LedgeStatus status, const char *fmt, ...)
{
    LedgeError err = {.status = status};
    va_list args;
    va_start(args, fmt);
    vsnprintf(err.message, sizeof err.message, fmt, args);
    va_end(args);
    return cli_fail(file, &err);
}

int cli_fail_writing(const char *file, const LedgeError *err)
{
    const int code = cli_fail(file, err);
    return err->status == LEDGE_ERROR_IO ? CLI_FAILED : code;
}

void cli_warn(const char *fmt, ...)
{
    char text[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cli_progress_end();
    fprintf(stderr, "ledge: warning: %s\n", cli_clean(text));
}

int cli_finish(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return CLI_OK;
    fprintf(stderr, "ledge: cannot write to the output: %s\n", strerror(errno));
    return CLI_FAILED;
}

/* ---- JSON ---- */

int cli_print_json(json_t *object)
{
    cli_progress_end();
    if (!object) {
        fprintf(stderr, "ledge: out of memory\n");
        return CLI_FAILED;
    }
    json_dumpf(object, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    json_decref(object);
    putchar('\n');
    return cli_finish();
}

json_t *cli_json_text(const char *text)
{
    json_t *s = json_string(text);
    if (s)
        return s;
    char *ascii = strdup(text);
    for (char *p = ascii; p && *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    s = ascii ? json_string(ascii) : NULL;
    free(ascii);
    return s;
}

json_t *cli_json_real(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

/* ---- progress ---- */

void cli_progress_end(void)
{
    if (line_is_open)
        fprintf(stderr, "\r\033[K");
    line_is_open = false;
}

void cli_progress(const char *what, size_t done, size_t total)
{
    static struct timespec last;
    struct timespec now;
    if (!isatty(STDERR_FILENO) || !total)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const long long ms =
        (now.tv_sec - last.tv_sec) * 1000LL + (now.tv_nsec - last.tv_nsec) / 1000000;
    if (done < total && line_is_open && ms < 100)
        return;
    last = now;
    char bar[31];
    for (size_t i = 0; i < 30; i++)
        bar[i] = i < done * 30 / total ? '#' : '.';
    bar[30] = '\0';
    fprintf(stderr, "\r\033[K%s [%s] %zu/%zu", what, bar, done, total);
    fflush(stderr);
    line_is_open = true;
    if (done >= total)
        cli_progress_end();
}
