/* .npy files as NumPy writes them, hostile ones, and files that ledge writes. */
#include "image_test.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static LedgeTensor load(const char *name)
{
    LedgeTensor t;
    LedgeError err = {0};
    char file[64];
    snprintf(file, sizeof file, "npy/%s.npy", name);
    if (ledge__npy_load(NULL, data_path(file), &err, &t) != LEDGE_OK)
        fail_msg("%s: %s", err.where, err.message);
    return t;
}

static double element(const LedgeTensor *t, size_t i)
{
    switch (t->type) {
    case LEDGE_INT8:
        return ((const int8_t *)t->data)[i];
    case LEDGE_INT16:
        return ((const int16_t *)t->data)[i];
    case LEDGE_INT32:
        return ((const int32_t *)t->data)[i];
    case LEDGE_INT64:
        return (double)((const int64_t *)t->data)[i];
    case LEDGE_UINT8:
    case LEDGE_BOOL:
        return ((const uint8_t *)t->data)[i];
    case LEDGE_UINT16:
        return ((const uint16_t *)t->data)[i];
    case LEDGE_UINT32:
        return ((const uint32_t *)t->data)[i];
    case LEDGE_UINT64:
        return (double)((const uint64_t *)t->data)[i];
    case LEDGE_FLOAT:
        return ((const float *)t->data)[i];
    case LEDGE_DOUBLE:
        return ((const double *)t->data)[i];
    case LEDGE_COMPLEX64:
        return ((const float *)t->data)[2 * i];
    case LEDGE_COMPLEX128:
        return ((const double *)t->data)[2 * i];
    default:
        fail_msg("unexpected type %s", ledge_type_name(t->type));
        return 0;
    }
}

/* 0 … 23 in shape (2, 3, 4). */
static void check_count(const char *name, LedgeType type)
{
    LedgeTensor t = load(name);
    assert_int_equal(t.type, type);
    assert_int_equal(t.rank, 3);
    assert_int_equal(t.dims[0], 2);
    assert_int_equal(t.dims[1], 3);
    assert_int_equal(t.dims[2], 4);
    assert_int_equal(t.bytes, 24 * ledge_type_bits(type) / 8);
    for (size_t i = 0; i < 24; i++)
        assert_true(element(&t, i) == (type == LEDGE_BOOL ? (double)(i % 2) : (double)i));
    ledge__npy_free(NULL, &t);
}

static void every_number_type_is_read(void **state)
{
    (void)state;
    check_count("i1", LEDGE_INT8);
    check_count("i2", LEDGE_INT16);
    check_count("i4", LEDGE_INT32);
    check_count("i8", LEDGE_INT64);
    check_count("u1", LEDGE_UINT8);
    check_count("u2", LEDGE_UINT16);
    check_count("u4", LEDGE_UINT32);
    check_count("u8", LEDGE_UINT64);
    check_count("f4", LEDGE_FLOAT);
    check_count("f8", LEDGE_DOUBLE);
    check_count("c8", LEDGE_COMPLEX64);
    check_count("c16", LEDGE_COMPLEX128);
    check_count("bool", LEDGE_BOOL);
    LedgeTensor half = load("f2");
    assert_int_equal(half.type, LEDGE_FLOAT16);
    assert_int_equal(((const uint16_t *)half.data)[1], 0x3c00);  /* 1.0 */
    assert_int_equal(((const uint16_t *)half.data)[23], 0x4dc0); /* 23.0 */
    ledge__npy_free(NULL, &half);
}

static void big_endian_and_fortran_order_come_out_native(void **state)
{
    (void)state;
    check_count("big_i2", LEDGE_INT16);
    check_count("big_u8", LEDGE_UINT64);
    check_count("big_f4", LEDGE_FLOAT);
    check_count("big_f8", LEDGE_DOUBLE);
    check_count("big_c8", LEDGE_COMPLEX64);
    check_count("fortran_f4", LEDGE_FLOAT);
    check_count("fortran_big_i4", LEDGE_INT32);
}

static void versions_2_and_3_are_read(void **state)
{
    (void)state;
    check_count("version2", LEDGE_FLOAT);
    check_count("version3", LEDGE_FLOAT);
}

static void scalars_and_empty_arrays_are_read(void **state)
{
    (void)state;
    LedgeTensor t = load("scalar");
    assert_int_equal(t.rank, 0);
    assert_true(element(&t, 0) == 42.0);
    ledge__npy_free(NULL, &t);
    t = load("empty");
    assert_int_equal(t.rank, 2);
    assert_int_equal(t.dims[0], 0);
    assert_int_equal(t.dims[1], 3);
    assert_int_equal(t.bytes, 0);
    ledge__npy_free(NULL, &t);
}

static void check_strings(const char *name, const char *const *want, size_t count)
{
    LedgeTensor t = load(name);
    assert_int_equal(t.type, LEDGE_STRING);
    assert_int_equal(ledge_tensor_count(&t), count);
    for (size_t i = 0; i < count; i++) {
        LedgeString s = ((const LedgeString *)t.data)[i];
        assert_int_equal(s.size, strlen(want[i]));
        assert_memory_equal(s.data, want[i], s.size);
    }
    ledge__npy_free(NULL, &t);
}

static void strings_come_out_as_utf8(void **state)
{
    (void)state;
    static const char *const words[] = {
        "a", "Zo\xc3\xab", "", "\xe6\x97\xa5\xe6\x9c\xac", "\xf0\x9f\x99\x82!", "end"};
    static const char *const bytes[] = {"one", "", "three"};
    check_strings("unicode", words, 6);
    check_strings("unicode_fortran_big", words, 6);
    check_strings("bytes", bytes, 3);
}

/* A version 1 file with this header and `data` bytes of zeros. */
static LedgeStatus parse(const char *header, size_t data, LedgeError *err)
{
    static uint8_t file[1024];
    size_t n = strlen(header);
    LedgeTensor t;
    memset(file, 0, sizeof file);
    memcpy(file, "\x93NUMPY\1\0", 8);
    file[8] = (uint8_t)n;
    file[9] = (uint8_t)(n >> 8);
    memcpy(file + 10, header, n);
    LedgeStatus status = ledge__npy_parse(NULL, "test.npy", file, 10 + n + data, err, &t);
    if (status == LEDGE_OK)
        ledge__npy_free(NULL, &t);
    else
        assert_string_equal(err->where, "test.npy");
    return status;
}

static void hostile_headers_are_refused(void **state)
{
    (void)state;
    LedgeError err = {0};
    static const char *const good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
    assert_int_equal(parse(good, 8, &err), LEDGE_OK);
    assert_int_equal(parse(good, 7, &err), LEDGE_ERROR_FORMAT);
    assert_non_null(strstr(err.message, "cut off"));
    static const struct {
        const char *header;
        LedgeStatus status;
    } cases[] = {
        {"", LEDGE_ERROR_FORMAT},
        {"{", LEDGE_ERROR_FORMAT},
        {"{}", LEDGE_ERROR_FORMAT},
        {"{'descr': '<f4', 'shape': (2,)}", LEDGE_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,)}", LEDGE_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", LEDGE_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2", LEDGE_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 2}", LEDGE_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", LEDGE_ERROR_FORMAT},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
         LEDGE_ERROR_FORMAT},
        {"{'descr': '<f3', 'fortran_order': False, 'shape': (2,)}", LEDGE_ERROR_UNSUPPORTED},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", LEDGE_ERROR_UNSUPPORTED},
        {"{'descr': '|V4', 'fortran_order': False, 'shape': (2,)}", LEDGE_ERROR_UNSUPPORTED},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
         LEDGE_ERROR_LIMIT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
         LEDGE_ERROR_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}",
         LEDGE_ERROR_LIMIT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (800000000,)}", LEDGE_ERROR_FORMAT},
        {"{'descr': '|S0', 'fortran_order': False, 'shape': (4000000000,)}", LEDGE_ERROR_LIMIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (parse(cases[i].header, 64, &err) != cases[i].status)
            fail_msg("%s gave status %d: %s", cases[i].header, err.status, err.message);
}

static void dtypes_without_tensor_type_are_refused_by_name(void **state)
{
    (void)state;
    LedgeTensor t;
    LedgeError err = {0};
    assert_int_equal(ledge__npy_load(NULL, data_path("npy/dates.npy"), &err, &t),
                     LEDGE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "<M8[D]"));
    assert_int_equal(ledge__npy_load(NULL, data_path("npy/records.npy"), &err, &t),
                     LEDGE_ERROR_UNSUPPORTED);
}

static void check_round_trip(const char *name)
{
    LedgeTensor t = load(name), back;
    LedgeError err = {0};
    char path[] = "/tmp/ledge-npy-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(ledge__npy_save(path, &t, &err), LEDGE_OK);
    assert_int_equal(ledge__npy_load(NULL, path, &err, &back), LEDGE_OK);
    assert_int_equal(back.type, t.type);
    assert_int_equal(back.rank, t.rank);
    assert_memory_equal(back.dims, t.dims, sizeof t.dims);
    if (t.type == LEDGE_STRING) {
        const LedgeString *a = t.data, *b = back.data;
        for (int64_t i = 0; i < ledge_tensor_count(&t); i++) {
            assert_int_equal(a[i].size, b[i].size);
            assert_memory_equal(a[i].data, b[i].data, a[i].size);
        }
    } else {
        assert_memory_equal(back.data, t.data, t.bytes);
    }
    unlink(path);
    ledge__npy_free(NULL, &t);
    ledge__npy_free(NULL, &back);
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    static const char *const names[] = {"i1",  "i2",   "i4",     "i8",    "u1",      "u2",
                                        "u4",  "u8",   "f2",     "f4",    "f8",      "c8",
                                        "c16", "bool", "scalar", "empty", "unicode", "bytes"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_round_trip(names[i]);
}

static void types_that_numpy_lacks_are_widened_or_refused(void **state)
{
    (void)state;
    LedgeError err = {0};
    char path[] = "/tmp/ledge-npy-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    uint8_t packed[] = {0x7f, 0x08}; /* -1, 7, -8 in int4, low bits first */
    LedgeTensor t = {LEDGE_INT4, 1, {3}, packed, sizeof packed}, back;
    assert_int_equal(ledge__npy_save(path, &t, &err), LEDGE_OK);
    assert_int_equal(ledge__npy_load(NULL, path, &err, &back), LEDGE_OK);
    assert_int_equal(back.type, LEDGE_INT8);
    assert_true(element(&back, 0) == -1 && element(&back, 1) == 7 && element(&back, 2) == -8);
    ledge__npy_free(NULL, &back);
    uint16_t brain[] = {0x3f80, 0xc000}; /* 1.0, -2.0 */
    t = (LedgeTensor){LEDGE_BFLOAT16, 1, {2}, brain, sizeof brain};
    assert_int_equal(ledge__npy_save(path, &t, &err), LEDGE_OK);
    assert_int_equal(ledge__npy_load(NULL, path, &err, &back), LEDGE_OK);
    assert_int_equal(back.type, LEDGE_FLOAT);
    assert_true(element(&back, 0) == 1.0 && element(&back, 1) == -2.0);
    ledge__npy_free(NULL, &back);
    t.type = LEDGE_FLOAT8E5M2;
    assert_int_equal(ledge__npy_save(path, &t, &err), LEDGE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "float8e5m2"));
    unlink(path);
}

static void a_place_that_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    LedgeTensor t = load("f4");
    LedgeError err = {0};
    struct stat there;
    assert_int_equal(ledge__npy_save("/dev/full", &t, &err), LEDGE_ERROR_IO);
    assert_int_equal(stat("/dev/full", &there), 0);
    assert_true(S_ISCHR(there.st_mode)); /* no file was renamed over it */
    assert_int_equal(ledge__npy_save("/nowhere/x.npy", &t, &err), LEDGE_ERROR_IO);
    assert_non_null(strstr(err.where, "/nowhere/x.npy"));
    ledge__npy_free(NULL, &t);
}

static LedgeStatus load_with(const LedgeAllocator *a, const void *file, LedgeError *err)
{
    LedgeTensor t;
    LedgeStatus status = ledge__npy_load(a, data_path(file), err, &t);
    if (status == LEDGE_OK)
        ledge__npy_free(a, &t);
    return status;
}

static void lack_of_memory_is_an_error_at_every_step(void **state)
{
    (void)state;
    assert_survives_lack_of_memory(load_with, "npy/fortran_big_i4.npy");
    assert_survives_lack_of_memory(load_with, "npy/unicode.npy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_type_is_read),
        cmocka_unit_test(big_endian_and_fortran_order_come_out_native),
        cmocka_unit_test(versions_2_and_3_are_read),
        cmocka_unit_test(scalars_and_empty_arrays_are_read),
        cmocka_unit_test(strings_come_out_as_utf8),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(dtypes_without_tensor_type_are_refused_by_name),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(types_that_numpy_lacks_are_widened_or_refused),
        cmocka_unit_test(a_place_that_cannot_be_written_is_an_error),
        cmocka_unit_test(lack_of_memory_is_an_error_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
