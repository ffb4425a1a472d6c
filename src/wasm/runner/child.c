/* See child.h. */
#include "wasm/runner/child.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/start_program.h"

enum { SAID_MAX = 64 << 10 };

static void read_all(int fd, LedgeText *said)
{
    char room[4096];
    ssize_t n;
    while ((n = read(fd, room, sizeof room)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        if (said->n + (size_t)n <= SAID_MAX)
            ledge__text_put(said, room, (size_t)n);
    }
}

LedgeStatus ledge__child_run(const char *const *argv, LedgeError *err, LedgeText *said, int *code)
{
    int pipes[2], status = 0;
    pid_t child;
    if (pipe2(pipes, O_CLOEXEC))
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, argv[0], "no pipe: %s", strerror(errno));
    const LedgeSpawn how = {.program = argv[0],
                            .args = argv,
                            .in_path = true,
                            .in = LEDGE_SPAWN_NULL,
                            .out = pipes[1],
                            .err = pipes[1]};
    const int failed = ledge__spawn(&how, &child);
    close(pipes[1]);
    if (!failed) {
        read_all(pipes[0], said);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
    }
    close(pipes[0]);
    if (failed)
        return ledge__fail(err, failed == ENOENT ? LEDGE_ERROR_NOT_FOUND : LEDGE_ERROR_RUNTIME,
                           argv[0], "cannot be run: %s", strerror(failed));
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return LEDGE_OK;
}
