/* The vector vocabulary of the fp32 kernel templates, in AVX-512VL: that of AVX2, 8 lanes, but
 * with 32 registers, for matrices that are a little wider than a multiple of 8. */
#ifndef LEDGE_KERNELS_VF_AVX512Y_H
#define LEDGE_KERNELS_VF_AVX512Y_H

#define VF_ISA avx512y
#define VF_REGISTERS 32
#define VF_ROWS_1    8
#define VF_ROWS_2    4 /* 9 … 16 columns fit a vector of AVX-512 as well */
#define VF_ROWS_3    8
#define VF_NO_STRIPS
#define VF_KEEP(x) __asm__("" : "+v"(x)) /* keeps x in a register of its own */

#include "engine/kernels/x86/vf_avx2.h"

#endif
