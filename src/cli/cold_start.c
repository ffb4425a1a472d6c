/* The first answer, timed from outside: a fresh process of `ledge` is started that
 * loads the model, runs once and reports its peak memory, the way a device starts one. The
 * child's part is `ledge bench --first-answer`. */
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/start_program.h"
#include "cli/model_io.h"

static pid_t spawn(char *const *words, int out)
{
    size_t n = 0;
    while (words[n])
        n++;
    const char **args = calloc(n + 4, sizeof *args);
    pid_t pid = -1;
    char program[PATH_MAX];
    if (!cli_program_beside("ledge", program, sizeof program))
        snprintf(program, sizeof program, "/proc/self/exe");
    if (!args)
        return -1;
    args[0] = "ledge";
    args[1] = "bench";
    args[2] = "--first-answer";
    for (size_t i = 0; i < n; i++)
        args[3 + i] = words[i];
    const LedgeSpawn how = {.program = program,
                            .args = args,
                            .in = LEDGE_SPAWN_SAME,
                            .out = out,
                            .err = LEDGE_SPAWN_NULL};
    if (ledge__spawn(&how, &pid) != 0)
        pid = -1;
    free(args);
    return pid;
}

double cli_cold_start(char *const *words, uint64_t *peak)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return NAN;
    const uint64_t start = cli_now_ns();
    pid_t pid = spawn(words, ends[1]);
    close(ends[1]);
    const bool ok = pid > 0 && read(ends[0], peak, sizeof *peak) == (ssize_t)sizeof *peak;
    const uint64_t end = cli_now_ns();
    close(ends[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return ok ? (double)(end - start) / 1e6 : NAN;
}
