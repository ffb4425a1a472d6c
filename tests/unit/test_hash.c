/* The checksum of compiled models against its definition in hash.h, computed elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"

static void checksum_is_as_defined(void **state)
{
    static const struct {
        size_t size;
        uint64_t sum;
    } known[] = {{0, 0xc3732e3b150245efu}, {64, 0x592544334c75e156u}, {200, 0xdab113205969dd97u}};
    uint8_t bytes[200];
    (void)state;
    for (int i = 0; i < 200; i++)
        bytes[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        assert_true(ledge__checksum(bytes, known[i].size) == known[i].sum);
    assert_true(ledge__checksum("ledge", 5) == 0x7a3e5caa2e6a744au);
}

static void checksum_tells_every_flipped_bit_and_length(void **state)
{
    enum { SIZE = 333 };
    uint8_t bytes[SIZE + 64] = {0};
    (void)state;
    const uint64_t sum = ledge__checksum(bytes, SIZE);
    for (int i = 0; i < SIZE * 8; i++) {
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_true(ledge__checksum(bytes, SIZE) != sum);
        bytes[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t n = 0; n < sizeof(bytes); n++)
        assert_true(n == SIZE || ledge__checksum(bytes, n) != sum); /* all zeros, too */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksum_is_as_defined),
        cmocka_unit_test(checksum_tells_every_flipped_bit_and_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
