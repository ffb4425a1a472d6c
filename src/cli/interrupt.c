/* The one handler of Ctrl-C; see interrupt.h. */
#include "cli/interrupt.h"

volatile sig_atomic_t cli_interrupted;

static void on_interrupt(int number)
{
    (void)number;
    cli_interrupted = 1;
}

void cli_interrupts_take(struct sigaction *before)
{
    struct sigaction mine = {.sa_handler = on_interrupt};
    sigemptyset(&mine.sa_mask);
    sigaction(SIGINT, &mine, before);
}

void cli_interrupts_give_back(const struct sigaction *before)
{
    sigaction(SIGINT, before, NULL);
}

int cli_was_interrupted(void)
{
    return cli_fail_with(NULL, LEDGE_ERROR_CANCELLED, "interrupted; nothing was written");
}
