/* CPU detection: levels are nested, the cap by name works, and counts and sizes are sane. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"

static void names_allow_what_they_say(void **state)
{
    (void)state;
    assert_int_equal(ledge__cpu_flags_from_name("scalar"), 0);
    assert_int_equal(ledge__cpu_flags_from_name("avx2"), LEDGE_CPU_SSE41 | LEDGE_CPU_AVX2);
    assert_false(ledge__cpu_flags_from_name("avx512") & LEDGE_CPU_AVX512VNNI);
    assert_true(ledge__cpu_flags_from_name("avx512vnni") & LEDGE_CPU_AVX512VNNI);
    assert_false(ledge__cpu_flags_from_name("avx512vnni") & LEDGE_CPU_AVXVNNI); /* Zen 4 has none */
    assert_int_equal(ledge__cpu_flags_from_name("neon"), LEDGE_CPU_NEON);
    assert_int_equal(ledge__cpu_flags_from_name("abacus"), UINT32_MAX);
}

static void level_name_gives_back_its_name(void **state)
{
    static const char *const names[] = {"scalar",     "sse41", "avx2",    "avxvnni", "avx512",
                                        "avx512vnni", "neon",  "dotprod", "i8mm",    "simd128"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_string_equal(ledge__cpu_level_name(ledge__cpu_flags_from_name(names[i])), names[i]);
}

static void detected_levels_are_nested(void **state)
{
    const uint32_t f = ledge__cpu_flags_uncapped();
    (void)state;
    if (f & LEDGE_CPU_AVX512VNNI)
        assert_true(f & LEDGE_CPU_AVX512);
    if (f & (LEDGE_CPU_AVX512 | LEDGE_CPU_AVXVNNI))
        assert_true(f & LEDGE_CPU_AVX2);
    if (f & LEDGE_CPU_AVX2)
        assert_true(f & LEDGE_CPU_SSE41);
#if defined(__aarch64__)
    assert_true(f & LEDGE_CPU_NEON);
#endif
#if defined(__x86_64__)
    __builtin_cpu_init();
    assert_int_equal(!!(f & LEDGE_CPU_SSE41), !!__builtin_cpu_supports("sse4.1"));
    assert_int_equal(!!(f & LEDGE_CPU_AVX2),
                     __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
    assert_int_equal(!!(f & LEDGE_CPU_AVX512),
                     __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"));
#endif
}

/* The first call of the process reads the variable, so this test comes before the others
 * that ask for flags. */
static void environment_caps_the_flags(void **state)
{
    (void)state;
    setenv("LEDGE_CPU", "sse41", 1);
    assert_int_equal(ledge__cpu_flags(), ledge__cpu_flags_uncapped() & LEDGE_CPU_SSE41);
    unsetenv("LEDGE_CPU");
}

static void counts_and_sizes_are_sane(void **state)
{
    uint32_t l1, l2, l3;
    int fast = 0;
    (void)state;
    const int all = ledge__cpu_cores(&fast);
    assert_in_range(all, 1, 4096);
    assert_in_range(fast, 1, all);
    ledge__cpu_caches(&l1, &l2, &l3);
    assert_in_range(l1, 4 << 10, 4 << 20);
    assert_in_range(l2, l1, 256 << 20);
    assert_true(l3 >= l2 / 2);
    assert_true(strlen(ledge__cpu_model_name()) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(environment_caps_the_flags),
        cmocka_unit_test(names_allow_what_they_say),
        cmocka_unit_test(level_name_gives_back_its_name),
        cmocka_unit_test(detected_levels_are_nested),
        cmocka_unit_test(counts_and_sizes_are_sane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
