/* .wasm and .lwm files: what is read from them, and every way of being damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "image/file_bytes.h"
#include "trust/sha256.h"
#include "wasm/runner/lwm_file.h"

/* (module (import "m" "f" (func (param i32 i64) (result f32)))
 *   (memory (export "memory") 1 3) (func (export "go") (param f64))) */
static const uint8_t small[] = {
    0, 'a',  's',  'm', 1,    0,    0,   0,    1,   11,  2,    0x60,
    2, 0x7f, 0x7e, 1,   0x7d, 0x60, 1,   0x7c, 0, /* types */
    2, 7,    1,    1,   'm',  1,    'f', 0,    0, /* import */
    3, 2,    1,    1,                             /* functions */
    5, 4,    1,    1,   1,    3,                  /* memory */
    7, 15,   2,    6,   'm',  'e',  'm', 'o',  'r', 'y', 2,    0,
    2, 'g',  'o',  0,   1,    10,   4,   1,    2,   0,   0x0b,
};

static LedgeStatus read_wasm(const uint8_t *bytes, size_t n, WasmFile *f, LedgeArena **arena)
{
    LedgeError err = {0};
    /* A block of just that size: AddressSanitizer sees a read past it. */
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    *arena = ledge__arena_new(NULL);
    const LedgeStatus status = ledge__wasm_file_read(*arena, copy, n, &err, f);
    assert_int_equal(status != LEDGE_OK, err.message[0] != '\0');
    free(copy);
    return status;
}

static void a_module_tells_what_it_needs(void **state)
{
    (void)state;
    WasmFile f;
    LedgeArena *arena;
    assert_int_equal(read_wasm(small, sizeof small, &f, &arena), LEDGE_OK);
    assert_int_equal(f.n_imports, 1);
    assert_string_equal(f.imports[0].module, "m");
    assert_string_equal(f.imports[0].name, "f");
    assert_string_equal(f.imports[0].signature, "iI:f");
    assert_int_equal(f.n_exports, 2);
    assert_string_equal(f.exports[1].name, "go");
    assert_string_equal(f.exports[1].signature, "F:");
    assert_true(f.has_memory);
    assert_int_equal(f.pages, 1);
    assert_int_equal(f.most_pages, 3);
    ledge__arena_free(arena);
}

static void cut_and_changed_modules_are_read_safely(void **state)
{
    (void)state;
    WasmFile f;
    LedgeArena *arena;
    size_t refused = 0;
    for (size_t n = 0; n < sizeof small; n++) {
        refused += read_wasm(small, n, &f, &arena) != LEDGE_OK;
        ledge__arena_free(arena);
    }
    assert_true(refused > sizeof small / 2);
    refused = 0;
    for (size_t i = 0; i < sizeof small; i++)
        for (int v = 0; v < 256; v += 5) {
            uint8_t bad[sizeof small];
            memcpy(bad, small, sizeof small);
            bad[i] = (uint8_t)v;
            refused += read_wasm(bad, sizeof bad, &f, &arena) != LEDGE_OK;
            ledge__arena_free(arena);
        }
    assert_true(refused > 1000);
}

static void names_that_could_end_a_comment_are_refused(void **state)
{
    (void)state;
    static const char bad[] = "*'\"\\?\n\x7f\x80";
    for (size_t i = 0; i + 1 < sizeof bad; i++) {
        uint8_t copy[sizeof small];
        WasmFile f;
        LedgeArena *arena;
        memcpy(copy, small, sizeof small);
        copy[25] = (uint8_t)bad[i]; /* 'm' of the import */
        assert_int_equal(read_wasm(copy, sizeof copy, &f, &arena), LEDGE_ERROR_UNSUPPORTED);
        ledge__arena_free(arena);
    }
}

/* ---- .lwm ---- */

static const LwmFunctionName imports[] = {{"wasi_snapshot_preview1", "fd_write", "iiii:i"}};
static const LwmFunctionName exports[] = {{NULL, "_start", ":"}};

static uint8_t *write_lwm(const LedgeKey *key, size_t *size)
{
    char path[] = "/tmp/ledge-lwm-XXXXXX";
    LedgeError err = {0};
    uint8_t *bytes = NULL;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    LwmFile f = {.name = "app",
                 .wasm_sha256 = "00",
                 .wasm2c = "1.0.36",
                 .ledge_version = "0.1.0",
                 .wasm_size = 100,
                 .created = 1,
                 .has_memory = true,
                 .pages = 2,
                 .most_pages = 100,
                 .imports = (LwmFunctionName *)(uintptr_t)imports,
                 .n_imports = 1,
                 .exports = (LwmFunctionName *)(uintptr_t)exports,
                 .n_exports = 1,
                 .n_targets = 2};
    f.targets[0] = (LwmTarget){"x86_64", "guard", (const uint8_t *)"code of x86", 11};
    f.targets[1] = (LwmTarget){"sparc", "guard", (const uint8_t *)"other", 5};
    assert_int_equal(ledge__lwm_write(&f, path, &key, key ? 1 : 0, &err), LEDGE_OK);
    assert_int_equal(ledge__file_bytes(NULL, path, 1 << 20, &err, &bytes, size), LEDGE_OK);
    unlink(path);
    return bytes;
}

static LedgeStatus read_lwm(const uint8_t *bytes, size_t n, const LedgeKey *key, LwmFile **f)
{
    LedgeError err = {0};
    uint8_t *copy = ledge__alloc(NULL, n, 1);
    assert_non_null(copy);
    if (n)
        memcpy(copy, bytes, n);
    const LedgeStatus status = ledge__lwm_read("t", copy, n, &key, key ? 1 : 0, &err, f);
    assert_int_equal(status != LEDGE_OK, err.message[0] != '\0');
    return status;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    size_t n;
    LwmFile *f = NULL;
    LedgeKey *key, *other;
    assert_int_equal(ledge__key_new(NULL, &key), LEDGE_OK);
    assert_int_equal(ledge__key_new(NULL, &other), LEDGE_OK);
    uint8_t *bytes = write_lwm(key, &n);
    assert_int_equal(read_lwm(bytes, n, key, &f), LEDGE_OK);
    assert_true(f->trusted && f->n_signatures == 1 && f->n_targets == 2 && f->has_memory);
    assert_string_equal(f->name, "app");
    assert_int_equal(f->pages, 2);
    assert_string_equal(f->imports[0].name, "fd_write");
    assert_memory_equal(f->targets[0].code, "code of x86", 11);
    assert_memory_equal(f->targets[1].code, "other", 5);
    assert_int_equal((uintptr_t)f->targets[1].code % 64, (uintptr_t)f->bytes % 64);
    ledge__lwm_free(f);
    assert_int_equal(read_lwm(bytes, n, other, &f), LEDGE_ERROR_MISMATCH);
    assert_int_equal(read_lwm(bytes, n, NULL, &f), LEDGE_OK);
    assert_false(f->trusted);
    ledge__lwm_free(f);
    ledge__free(NULL, bytes);
    bytes = write_lwm(NULL, &n);
    assert_int_equal(read_lwm(bytes, n, key, &f), LEDGE_ERROR_MISMATCH);
    ledge__free(NULL, bytes);
    ledge__key_free(key);
    ledge__key_free(other);
}

/* Sets the trailing hash right again, as whoever changes a file would. */
static void rehash(uint8_t *bytes, size_t n)
{
    char hex[LEDGE_SHA256_HEX];
    assert_int_equal(ledge__sha256_of(bytes, n - 32, hex), LEDGE_OK);
    assert_true(ledge__from_hex(hex, bytes + n - 32, 32));
}

static void changed_files_are_refused(void **state)
{
    (void)state;
    size_t n;
    LwmFile *f;
    LedgeKey *key;
    assert_int_equal(ledge__key_new(NULL, &key), LEDGE_OK);
    uint8_t *bytes = write_lwm(key, &n);
    for (size_t i = 0; i < n; i += 3) {
        bytes[i] ^= 0x20;
        assert_int_not_equal(read_lwm(bytes, n, NULL, &f), LEDGE_OK);
        bytes[i] ^= 0x20;
    }
    for (size_t cut = 0; cut < n; cut += 11)
        assert_int_not_equal(read_lwm(bytes, cut, NULL, &f), LEDGE_OK);
    ledge__free(NULL, bytes);
    ledge__key_free(key);
}

/* With the hash set right the signature must notice, or the code's own hash. */
static void a_right_hash_does_not_make_it_trusted(void **state)
{
    (void)state;
    size_t n, refused = 0;
    LwmFile *f = NULL;
    LedgeKey *key;
    assert_int_equal(ledge__key_new(NULL, &key), LEDGE_OK);
    uint8_t *bytes = write_lwm(key, &n);
    for (size_t i = 0; i < n - 32; i++) {
        bytes[i] ^= 1;
        rehash(bytes, n);
        if (read_lwm(bytes, n, key, &f) == LEDGE_OK) {
            /* Only filling, which nothing reads, may differ. */
            assert_memory_equal(f->targets[0].code, "code of x86", 11);
            assert_string_equal(f->name, "app");
            ledge__lwm_free(f);
        } else {
            refused++;
        }
        bytes[i] ^= 1;
    }
    assert_true(refused > n / 2);
    ledge__free(NULL, bytes);
    ledge__key_free(key);
}

static void code_for_other_machines_is_told_apart(void **state)
{
    (void)state;
    LedgeError err = {0};
    const LwmTarget *t = NULL;
    LwmFile f = {.n_targets = 1};
    f.targets[0] = (LwmTarget){"sparc", "guard", NULL, 0};
    assert_int_equal(ledge__lwm_choose(&f, &err, &t), LEDGE_ERROR_MISMATCH);
    assert_non_null(strstr(err.message, "was built for sparc, this machine is"));
    f.targets[1] = (LwmTarget){ledge__lwm_native_target(), "guard", NULL, 0};
    f.n_targets = 2;
    assert_int_equal(ledge__lwm_choose(&f, &err, &t), LEDGE_OK);
    assert_ptr_equal(t, &f.targets[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_module_tells_what_it_needs),
        cmocka_unit_test(cut_and_changed_modules_are_read_safely),
        cmocka_unit_test(names_that_could_end_a_comment_are_refused),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(changed_files_are_refused),
        cmocka_unit_test(a_right_hash_does_not_make_it_trusted),
        cmocka_unit_test(code_for_other_machines_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
