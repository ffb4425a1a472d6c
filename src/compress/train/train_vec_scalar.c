/* Training's inner loops for the instruction set that every CPU of this kind has. */
#include "base/cpu.h"

#define TRAIN_VEC     ledge__train_vec_scalar
#define TRAIN_VEC_CPU 0
#include "compress/train/train_vec_body.h"
