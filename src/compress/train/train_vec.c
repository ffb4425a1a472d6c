/* Which of the instruction sets' loops to take. */
#include "compress/train/train_vec.h"

#include "base/cpu.h"

extern const TrainVec ledge__train_vec_scalar;
#if defined(__x86_64__)
extern const TrainVec ledge__train_vec_avx2, ledge__train_vec_avx512;
#endif

const TrainVec *ledge__train_vec(uint32_t cpu)
{
#if defined(__x86_64__)
    if (cpu & LEDGE_CPU_AVX512)
        return &ledge__train_vec_avx512;
    if (cpu & LEDGE_CPU_AVX2)
        return &ledge__train_vec_avx2;
#endif
    (void)cpu;
    return &ledge__train_vec_scalar;
}
