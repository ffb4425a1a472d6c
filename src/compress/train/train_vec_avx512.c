/* Training's inner loops for AVX-512. */
#include "base/cpu.h"

#define TRAIN_VEC     ledge__train_vec_avx512
#define TRAIN_VEC_CPU LEDGE_CPU_AVX512
#include "compress/train/train_vec_body.h"
