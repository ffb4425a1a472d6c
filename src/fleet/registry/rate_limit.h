/* How often somebody may ask: a bucket for each, which fills with time. A fixed table: when it is
 * full, the bucket that was asked least lately is given away. */
#ifndef LEDGE_FLEET_REGISTRY_RATE_LIMIT_H
#define LEDGE_FLEET_REGISTRY_RATE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct LedgeRateLimit LedgeRateLimit;

/* `per_second` requests, and `burst` at once. NULL: no memory. */
LedgeRateLimit *ledge__rate_limit_new(double per_second, double burst);
void ledge__rate_limit_free(LedgeRateLimit *r); /* NULL is legal */
/* now: seconds of a clock that never goes back. true: it may go on. Any thread. */
bool ledge__rate_limit_ask(LedgeRateLimit *r, uint64_t who, double now);

#endif
