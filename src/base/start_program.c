/* See start_program.h. */
#include "base/start_program.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <unistd.h>

extern char **environ;

static int redirect(posix_spawn_file_actions_t *actions, int to, int from)
{
    if (from == LEDGE_SPAWN_SAME)
        return 0;
    if (from == LEDGE_SPAWN_NULL)
        return posix_spawn_file_actions_addopen(actions, to, "/dev/null",
                                                to == STDIN_FILENO ? O_RDONLY : O_WRONLY, 0);
    return posix_spawn_file_actions_adddup2(actions, from, to);
}

static int set_apart(posix_spawnattr_t *attr)
{
    sigset_t usual, none;
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    sigaddset(&usual, SIGXFSZ);
    int code = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
                                                  POSIX_SPAWN_SETSIGMASK);
    if (!code)
        code = posix_spawnattr_setpgroup(attr, 0);
    if (!code)
        code = posix_spawnattr_setsigdefault(attr, &usual);
    return code ? code : posix_spawnattr_setsigmask(attr, &none);
}

int ledge__spawn(const LedgeSpawn *how, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    char *const *args = (char *const *)(uintptr_t)how->args;
    int code = posix_spawn_file_actions_init(&actions);
    if (code)
        return code;
    code = posix_spawnattr_init(&attr);
    if (!code) {
        code = how->apart ? set_apart(&attr) : 0;
        if (!code)
            code = redirect(&actions, STDIN_FILENO, how->in);
        if (!code)
            code = redirect(&actions, STDOUT_FILENO, how->out);
        if (!code)
            code = redirect(&actions, STDERR_FILENO, how->err);
        if (!code)
            code = (how->in_path ? posix_spawnp : posix_spawn)(pid, how->program, &actions, &attr,
                                                               args, environ);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&actions);
    return code;
}
