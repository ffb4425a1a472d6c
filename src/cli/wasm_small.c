/* Building guests as ledge-wasm does it: by the program that can. ledge-wasm is what a device needs
 * to run guests and no more, libcrypto left out; signing takes that. */
#include <limits.h>
#include <unistd.h>

#include "cli/wasm.h"

/* Returns only if there is no such program. */
static void hand_on(const WasmOptions *o)
{
    char path[PATH_MAX];
    if (cli_program_beside("ledge-serve", path, sizeof path))
        execv(path, (char **)(uintptr_t)(o->words - 1));
}

int wasm_build(const WasmOptions *o, const char *path)
{
    hand_on(o);
    return cli_fail_with(path, LEDGE_ERROR_NOT_FOUND,
                         "cannot be built here: that takes ledge-serve, which is not beside this "
                         "program or in ../libexec/ledge; build it where ledge is installed whole");
}

int wasm_cached(const WasmOptions *o, const char *path, char *out, size_t room)
{
    (void)out, (void)room;
    hand_on(o);
    return cli_fail_with(path, LEDGE_ERROR_NOT_FOUND,
                         "is a .wasm, and what compiles it is not here; build it where ledge is "
                         "installed whole: ledge wasm build %s -o APP.lwm --target %s",
                         path, ledge__lwm_native_target());
}
