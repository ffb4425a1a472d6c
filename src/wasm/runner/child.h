/* Running a program to its end, with what it says kept. */
#ifndef LEDGE_WASM_CHILD_H
#define LEDGE_WASM_CHILD_H

#include "base/error.h"
#include "base/text.h"

/* argv[0] is looked up in PATH; argv ends with NULL. *said gets up to 64 KiB of what it wrote to
 * stdout and stderr. *code: its exit status, 128 + N for signal N. Statuses: NOT_FOUND (no such
 * program), RUNTIME, MEMORY. */
LedgeStatus ledge__child_run(const char *const *argv, LedgeError *err, LedgeText *said, int *code);

#endif
