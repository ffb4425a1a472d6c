/* Ctrl-C in commands that work for long: it ends the work between two steps. */
#ifndef LEDGE_CLI_INTERRUPT_H
#define LEDGE_CLI_INTERRUPT_H

#include <signal.h>

#include "cli/cli.h"

/* Set by Ctrl-C between the two calls below, and never taken back: the command is to end. */
extern volatile sig_atomic_t cli_interrupted;

/* Calls may be nested: what Ctrl-C did before the first is what it does after the last. */
void cli_interrupts_take(struct sigaction *before);
void cli_interrupts_give_back(const struct sigaction *before);

/* The message, for commands that write their file at the end; CLI_FAILED. */
int cli_was_interrupted(void);

#endif
