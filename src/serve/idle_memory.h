/* What a server that waits need not hold. */
#ifndef LEDGE_SERVE_IDLE_MEMORY_H
#define LEDGE_SERVE_IDLE_MEMORY_H

/* Memory of requests, once freed, is kept for the next ones, whatever its size up to 16 MiB, until
 * ledge__trim_heap. */
void ledge__keep_heap(void);
/* Free memory of the allocator goes back to the system. */
void ledge__trim_heap(void);
/* Code and constants of program and libraries are let go of; what is used comes back by itself from
 * the file, which the system has at hand. */
void ledge__let_code_go(void);

#endif
