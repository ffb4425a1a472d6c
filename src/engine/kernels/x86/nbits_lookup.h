/* Codes of four bits to floats by a table in a register, for AVX-512. */
#ifndef LEDGE_KERNELS_NBITS_LOOKUP_H
#define LEDGE_KERNELS_NBITS_LOOKUP_H

static inline vf nb_table(void)
{
    return _mm512_set_ps(7, 6, 5, 4, 3, 2, 1, 0, -1, -2, -3, -4, -5, -6, -7, -8);
}
#define NB_LOOKUP(x, table) _mm512_permutexvar_ps(x, table)

#endif
