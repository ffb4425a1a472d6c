/* The tables of vec.def, one an instruction set; only vec.c and the tables themselves see it. */
#ifndef LEDGE_KERNELS_VEC_TABLES_H
#define LEDGE_KERNELS_VEC_TABLES_H

#include "engine/kernels/vec.h"

#define VEC_ISA(name, flags) extern const LedgeVec ledge__vec_##name;
#include "engine/kernels/vec.def"

#endif
