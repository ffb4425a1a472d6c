/* How long to wait before asking again, so that many devices that failed at the same moment do not
 * come back at the same moment. */
#ifndef LEDGE_AGENT_BACKOFF_H
#define LEDGE_AGENT_BACKOFF_H

#include <stdint.h>

/* wait_ms doubled `failures` times, up to longest_ms, spread from four fifths to six fifths.
 * asked_ms > 0 is what the other side asks for: not before that, and spread by a quarter behind it,
 * since many were told the same. */
int64_t ledge__backoff_ms(int64_t wait_ms, int failures, int64_t longest_ms, int64_t asked_ms,
                          uint32_t random);
/* For it; never waits. */
uint32_t ledge__backoff_random(void);

#endif
