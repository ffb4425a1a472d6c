/* The programs that make up the command line, and how one finds the other.
 *
 * `ledge` starts in a millisecond since it is linked against little. `ledge-serve` has libcrypto
 * and an HTTP server too, `ledge-fleet` databases and an HTTP client, whose start-up alone takes
 * longer than a small model does; `ledge-wasm` runs guests and needs jansson alone. All lie in one
 * folder where they were built, and as bin/ledge and in libexec/ledge where they were installed. */
#include "cli/cli.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool cli_program_beside(const char *name, char *path, size_t size)
{
    static const char *const places[] = {"", "../libexec/ledge/", "../../bin/"};
    char self[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return false;
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash)
        return false;
    slash[1] = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const int length = snprintf(path, size, "%s%s%s", self, places[i], name);
        if (length > 0 && (size_t)length < size && access(path, X_OK) == 0)
            return true;
    }
    return false;
}
