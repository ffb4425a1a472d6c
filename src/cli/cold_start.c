/* The first answer, timed from outside: a fresh process of `ledge` is started that
 * loads the model, runs once and reports its peak memory, the way a device starts one. The
 * child's part is `ledge bench --first-answer`. */
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/model_io.h"

static pid_t spawn(char *const *words, int out)
{
    size_t n = 0;
    while (words[n])
        n++;
    char **args = calloc(n + 4, sizeof *args);
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;
    char program[PATH_MAX];
    if (!cli_program_beside("ledge", program, sizeof program))
        snprintf(program, sizeof program, "/proc/self/exe");
    if (!args || posix_spawn_file_actions_init(&actions) != 0) {
        free(args);
        return -1;
    }
    args[0] = (char[]){"ledge"};
    args[1] = (char[]){"bench"};
    args[2] = (char[]){"--first-answer"};
    for (size_t i = 0; i < n; i++)
        args[3 + i] = words[i];
    extern char **environ;
    if (posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO) != 0 ||
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0) != 0 ||
        posix_spawn(&pid, program, &actions, NULL, args, environ) != 0)
        pid = -1;
    posix_spawn_file_actions_destroy(&actions);
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
