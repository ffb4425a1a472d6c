/* Training's inner loops for AVX2. */
#include "base/cpu.h"

#define TRAIN_VEC     ledge__train_vec_avx2
#define TRAIN_VEC_CPU LEDGE_CPU_AVX2
#include "compress/train/train_vec_body.h"
