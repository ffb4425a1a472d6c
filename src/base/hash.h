/* A fast 64-bit checksum against damage (not against forgery): XXH64 as its public
 * specification (Yann Collet, "XXH64 algorithm description") defines it, about 10 GB/s. */
#ifndef LEDGE_BASE_HASH_H
#define LEDGE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t ledge__hash64(const void *data, size_t size, uint64_t seed);

#endif
