/* Byte dot products of AVX-VNNI (VPDPBUSD and its three kin in their VEX encoding) on CPUs that
 * lack them: a SIGILL handler carries each one out on the registers in the signal's frame, so
 * that the kernels compiled for them run as they are, only slowly. For tests. */
#ifndef LEDGE_TESTS_VEX_VNNI_H
#define LEDGE_TESTS_VEX_VNNI_H

#include <stdbool.h>
#include <stdint.h>

/* What this CPU has (LEDGE_CPU_...) plus LEDGE_CPU_AVXVNNI where the handler can stand in for it.
 * Each call of these three puts the handler in place: cmocka sets its own before every test. */
uint32_t vex_vnni_cpu(void);

/* NULL where the kernels for AVX-VNNI run, else a sentence that says why they do not. */
const char *vex_vnni_missing(void);

/* Whether the handler stands in, and how many instructions it has carried out so far. */
bool vex_vnni_emulated(void);
uint64_t vex_vnni_count(void);

#endif
