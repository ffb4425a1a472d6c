/* The child that looks at a provider: it may load anything, crash or hang; the parent only reads
 * a pipe, and ends the child when its time is up. */
#include "engine/provider/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void ledge__probe_refuse(ProbeAnswer *out, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(out->reason, sizeof out->reason, fmt, args);
    va_end(args);
    out->status = LEDGE_ERROR_PROVIDER;
}

static int seconds(void)
{
    const char *text = getenv("LEDGE_PROBE_SECONDS");
    const int n = text ? atoi(text) : 0;
    return n > 0 && n <= 3600 ? n : 20;
}

/* Never returns. What the library prints is nobody's business, and its signal handlers and core
 * files are not wanted either. */
static void be_the_child(ProbeLook look, const void *arg, ProbeAnswer *answer, int to)
{
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGTERM, SIGALRM};
    const struct rlimit none = {0, 0};
    const int null = open("/dev/null", O_RDWR);
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        signal(deadly[i], SIG_DFL);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
    }
    setrlimit(RLIMIT_CORE, &none);
    look(arg, answer);
    const char *p = (const char *)answer;
    for (size_t left = sizeof *answer; left;) {
        const ssize_t n = write(to, p, left);
        if (n <= 0)
            break;
        p += n;
        left -= (size_t)n;
    }
    _exit(0); /* no destructors of the library, no atexit of the parent's */
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The whole answer before the deadline. */
static bool receive(int from, ProbeAnswer *answer, bool *in_time)
{
    const int64_t end = now_ms() + 1000 * (int64_t)seconds();
    char *p = (char *)answer;
    size_t got = 0;
    *in_time = true;
    while (got < sizeof *answer) {
        struct pollfd fd = {.fd = from, .events = POLLIN};
        const int64_t left = end - now_ms();
        if (left <= 0)
            return *in_time = false;
        const int ready = poll(&fd, 1, (int)left);
        if (ready < 0 && errno != EINTR)
            return false;
        if (ready <= 0)
            continue;
        const ssize_t n = read(from, p + got, sizeof *answer - got);
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        got += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static void explain(const char *what, int status, bool in_time, ProbeAnswer *out)
{
    if (!in_time)
        ledge__probe_refuse(out,
                            "%s did not answer within %d seconds while being probed; its driver "
                            "may hang (LEDGE_PROBE_SECONDS gives it longer)",
                            what, seconds());
    else if (WIFSIGNALED(status))
        ledge__probe_refuse(out,
                            "%s crashed while being probed (%s); reinstall it or its driver, or "
                            "leave it out of the list",
                            what, strsignal(WTERMSIG(status)));
    else
        ledge__probe_refuse(out, "%s ended the process while being probed; reinstall it", what);
}

/* false: the child did not answer in time. */
static bool probe_once(const char *what, ProbeLook look, const void *arg, ProbeAnswer *out)
{
    int ends[2], status = 0;
    bool in_time = true;
    memset(out, 0, sizeof *out);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        ledge__probe_refuse(out, "%s cannot be probed: %s", what, strerror(errno));
        return true;
    }
    const pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        be_the_child(look, arg, out, ends[1]);
    }
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        ledge__probe_refuse(out, "%s cannot be probed: %s", what, strerror(errno));
        return true;
    }
    ProbeAnswer answer;
    const bool whole = receive(ends[0], &answer, &in_time);
    close(ends[0]);
    if (!whole)
        kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (whole)
        *out = answer;
    else
        explain(what, status, in_time, out);
    return whole || in_time;
}

void ledge__probe_in_child(const char *what, ProbeLook look, const void *arg, ProbeAnswer *out)
{
    bool answered = probe_once(what, look, arg, out);
#ifdef __SANITIZE_ADDRESS__
    /* A child that was forked beside threads may wait for ever for a lock of the sanitizer's own.
     */
    if (!answered)
        answered = probe_once(what, look, arg, out);
#endif
    (void)answered;
}
