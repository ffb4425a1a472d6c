/* What follows ledge.Pixels goes into it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "graph_from_text.h"

static void a_transpose_becomes_the_layout(void **state)
{
    (void)state;
    static const char before[] = "input x u8[2,5,7,3]\n"
                                 "const t f32[3,256]\n"
                                 "a = ledge.Pixels(x, t) {layout=\"nchw\", reversed=1}\n"
                                 "y = Transpose(a) {perm=[0,2,3,1]}\n"
                                 "output y\n";
    assert_pass("pixels", before,
                "y:float32[2,5,7,3] = ledge.Pixels(x, t) {reversed=1}\n"
                "output y\n");
}

static void quantize_becomes_the_table(void **state)
{
    (void)state;
    static const char before[] = "input x u8[2,5,7,3]\n"
                                 "const t f32[3,256]\n"
                                 "a = ledge.Pixels(x, t) {layout=\"nchw\"}\n"
                                 "y = ledge.Quantize(a) {layout=\"nhwc\", scale=0.01, zero=100}\n"
                                 "output y\n";
    assert_pass("pixels", before,
                "y:uint8[2,5,7,3] = ledge.Pixels(x, pixel_bytes) {reversed=0}\n"
                "output y\n");
}

static void other_readers_keep_the_floats(void **state)
{
    (void)state;
    static const char before[] = "input x u8[2,5,7,3]\n"
                                 "const t f32[3,256]\n"
                                 "a = ledge.Pixels(x, t) {layout=\"\"}\n"
                                 "y = ledge.Quantize(a) {layout=\"\", scale=0.01, zero=100}\n"
                                 "z = Relu(a)\n"
                                 "output y\n"
                                 "output z\n";
    assert_pass("pixels", before,
                "a:float32[2,5,7,3] = ledge.Pixels(x, t) {layout=\"\"}\n"
                "y:uint8[2,5,7,3] = ledge.Pixels(x, pixel_bytes) {reversed=0}\n"
                "z:float32[2,5,7,3] = Relu(a)\n"
                "output y\n"
                "output z\n");
}

static void planes_of_bytes_are_not_made(void **state)
{
    (void)state;
    assert_pass("pixels",
                "input x u8[2,5,7,3]\n"
                "const t f32[3,256]\n"
                "a = ledge.Pixels(x, t) {layout=\"nchw\"}\n"
                "y = ledge.Quantize(a) {layout=\"\", scale=0.01, zero=100}\n"
                "output y\n",
                NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transpose_becomes_the_layout),
        cmocka_unit_test(quantize_becomes_the_table),
        cmocka_unit_test(other_readers_keep_the_floats),
        cmocka_unit_test(planes_of_bytes_are_not_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
