/* Fast 64-bit checksums against damage (not against forgery). */
#ifndef LEDGE_BASE_HASH_H
#define LEDGE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH64 as its public specification (Yann Collet, "XXH64 algorithm description") defines it, about
 * 10 GB/s. */
uint64_t ledge__hash64(const void *data, size_t size, uint64_t seed);

/* The checksum of compiled models: as fast as memory is read. fold(a, b) is the high half of the
 * 128-bit product a × b, xor its low half; P1 … P5 are the primes of XXH64. Four lanes begin as
 * P1 … P4; each 64 bytes are eight little-endian words w0 … w7, the last ones filled up with zeros:
 * lane[i] = fold(w[2i] ^ P[i], w[2i+1] ^ lane[i]) + w[2i]. The result is
 * fold(fold(lane0 ^ P5, lane1 + size) ^ P1, fold(lane2 ^ P4, lane3 + P5) + size). */
uint64_t ledge__checksum(const void *data, size_t size);

#endif
