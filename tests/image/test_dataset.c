/* Datasets: folders with and without labels, CIFAR-10, MNIST, and damaged ones. */
#include "image_test.h"

#include <unistd.h>
#include <zlib.h>

#include "image/dataset.h"

/* A file of the test's own, removed by name at the end of the run. */
static const char *temporary(const char *name, const void *bytes, size_t size, int gzipped)
{
    static char paths[8][128];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "/tmp/ledge-%d-%s", (int)getpid(), name);
    gzFile f = gzopen(path, gzipped ? "wb" : "wbT");
    assert_non_null(f);
    assert_int_equal(gzwrite(f, bytes, (unsigned)size), (int)size);
    assert_int_equal(gzclose(f), Z_OK);
    return path;
}

static void labels_come_from_the_csv(void **state)
{
    (void)state;
    static const char text[] = "file,class_id\r\nrgb.jpg,3\n\n\"grey.jpg\", 0\nrgb8.png,999";
    const char *csv = temporary("labels.csv", text, sizeof text - 1, 0);
    LedgeDataset *d;
    LedgeSample s;
    LedgeError err = {0};
    if (ledge__dataset_open_folder(NULL, data_path("image"), csv, &err, &d) != LEDGE_OK)
        fail_msg("%s: %s", err.where, err.message);
    assert_int_equal(ledge__dataset_count(d), 3);
    assert_int_equal(ledge__dataset_label(d, 2), 999);
    assert_int_equal(ledge__dataset_read(d, 1, &err, &s), LEDGE_OK);
    assert_string_equal(s.name, "grey.jpg");
    assert_int_equal(s.label, 0);
    assert_pixels(&s.image, "grey", 0);
    ledge__image_free(&s.image);
    ledge__dataset_free(d);
    unlink(csv);
}

static void bad_csv_lines_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"file,class_id\na.jpg,1\nb.jpg,x\n", "line 3"},
        {"a.jpg,1\nb.jpg\n", "line 2"},
        {"a.jpg,-1\na.jpg,-1\n", "line 2"},
        {"a.jpg,0\n,4\n", "line 2"},
        {"a.jpg,0\na.jpg,99999999999\n", "line 2"},
        {"file,class_id\n", "no picture"},
        {"", "no picture"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *csv = temporary("bad.csv", cases[i].text, strlen(cases[i].text), 0);
        LedgeDataset *d = NULL;
        LedgeError err = {0};
        LedgeStatus status = ledge__dataset_open_folder(NULL, data_path("image"), csv, &err, &d);
        if (status != LEDGE_ERROR_FORMAT || !strstr(err.message, cases[i].says))
            fail_msg("case %zu: status %d, %s", i, status, err.message);
        unlink(csv);
    }
}

static void a_folder_without_labels_lists_its_pictures(void **state)
{
    (void)state;
    LedgeDataset *d;
    LedgeSample s;
    LedgeError err = {0};
    assert_int_equal(ledge__dataset_open_folder(NULL, data_path("image"), NULL, &err, &d),
                     LEDGE_OK);
    assert_int_equal(ledge__dataset_count(d), 22);
    assert_int_equal(ledge__dataset_label(d, 0), -1);
    assert_int_equal(ledge__dataset_read(d, 0, &err, &s), LEDGE_OK);
    assert_string_equal(s.name, "bits1.png");
    ledge__image_free(&s.image);
    ledge__dataset_free(d);
    assert_int_equal(ledge__dataset_open_folder(NULL, data_path("npy"), NULL, &err, &d),
                     LEDGE_ERROR_FORMAT);
    assert_int_equal(ledge__dataset_open_folder(NULL, "/nowhere", NULL, &err, &d),
                     LEDGE_ERROR_NOT_FOUND);
}

static void cifar10_records_become_rgb_pictures(void **state)
{
    (void)state;
    static uint8_t file[2 * 3073];
    file[0] = 7;
    file[3073] = 9;
    file[3073 + 1 + 5] = 10;        /* red of pixel (5, 0) */
    file[3073 + 1 + 1024 + 5] = 20; /* green */
    file[3073 + 1 + 2048 + 5] = 30; /* blue */
    const char *path = temporary("cifar.bin", file, sizeof file, 0);
    char spec[160];
    snprintf(spec, sizeof spec, "cifar10:%s", path);
    LedgeDataset *d;
    LedgeSample s;
    LedgeError err = {0};
    assert_int_equal(ledge__dataset_open(NULL, spec, &err, &d), LEDGE_OK);
    assert_int_equal(ledge__dataset_count(d), 2);
    assert_int_equal(ledge__dataset_label(d, 0), 7);
    assert_int_equal(ledge__dataset_read(d, 1, &err, &s), LEDGE_OK);
    assert_int_equal(s.label, 9);
    assert_string_equal(s.name, "#1");
    assert_int_equal(s.image.width, 32);
    assert_int_equal(s.image.pixels[15], 10);
    assert_int_equal(s.image.pixels[16], 20);
    assert_int_equal(s.image.pixels[17], 30);
    ledge__image_free(&s.image);
    ledge__dataset_free(d);
    file[3073] = 10; /* no such class */
    path = temporary("cifar.bin", file, sizeof file, 0);
    assert_int_equal(ledge__dataset_open_cifar10(NULL, path, &err, &d), LEDGE_ERROR_FORMAT);
    path = temporary("cifar.bin", file, sizeof file - 1, 0);
    assert_int_equal(ledge__dataset_open_cifar10(NULL, path, &err, &d), LEDGE_ERROR_FORMAT);
    path = temporary("cifar.bin", file, 0, 0);
    assert_int_equal(ledge__dataset_open_cifar10(NULL, path, &err, &d), LEDGE_ERROR_FORMAT);
    unlink(path);
}

/* Two pictures of 3 x 2. */
static const uint8_t idx3[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2,  0,  0,
                               0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
static const uint8_t idx1[] = {0, 0, 8, 1, 0, 0, 0, 2, 4, 200};

static void check_mnist(int gzipped)
{
    const char *images = temporary("images-idx3", idx3, sizeof idx3, gzipped);
    const char *labels = temporary("labels-idx1", idx1, sizeof idx1, gzipped);
    char spec[160];
    snprintf(spec, sizeof spec, "mnist:%s", images); /* the labels' name follows from it */
    LedgeDataset *d;
    LedgeSample s;
    LedgeError err = {0};
    if (ledge__dataset_open(NULL, spec, &err, &d) != LEDGE_OK)
        fail_msg("%s: %s", err.where, err.message);
    assert_int_equal(ledge__dataset_count(d), 2);
    assert_int_equal(ledge__dataset_read(d, 1, &err, &s), LEDGE_OK);
    assert_int_equal(s.label, 200);
    assert_int_equal(s.image.width, 3);
    assert_int_equal(s.image.height, 2);
    assert_int_equal(s.image.channels, 1);
    assert_memory_equal(s.image.pixels, idx3 + 22, 6);
    ledge__image_free(&s.image);
    ledge__dataset_free(d);
    unlink(images);
    unlink(labels);
}

static void mnist_is_read_plain_and_gzipped(void **state)
{
    (void)state;
    check_mnist(0);
    check_mnist(1);
}

static void damaged_mnist_is_refused(void **state)
{
    (void)state;
    LedgeDataset *d;
    LedgeError err = {0};
    const char *images = temporary("images-idx3", idx3, sizeof idx3, 0);
    const char *labels = temporary("labels-idx1", idx1, sizeof idx1 - 1, 0);
    assert_int_equal(ledge__dataset_open_mnist(NULL, images, labels, &err, &d), LEDGE_ERROR_FORMAT);
    assert_int_equal(ledge__dataset_open_mnist(NULL, labels, labels, &err, &d), LEDGE_ERROR_FORMAT);
    uint8_t huge[16] = {0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    const char *bad = temporary("huge-images-idx3", huge, sizeof huge, 0);
    assert_int_equal(ledge__dataset_open_mnist(NULL, bad, labels, &err, &d), LEDGE_ERROR_FORMAT);
    unlink(bad);
    /* gzip cut in the middle */
    const char *whole = temporary("whole.gz", idx3, sizeof idx3, 1);
    assert_int_equal(truncate(whole, 20), 0);
    labels = temporary("labels-idx1", idx1, sizeof idx1, 0);
    assert_int_equal(ledge__dataset_open_mnist(NULL, whole, labels, &err, &d), LEDGE_ERROR_FORMAT);
    assert_non_null(strstr(err.message, "gzip"));
    assert_int_equal(ledge__dataset_open_mnist(NULL, "/nowhere/pictures", NULL, &err, &d),
                     LEDGE_ERROR_ARGUMENT);
    assert_int_equal(ledge__dataset_open(NULL, "svhn:x", &err, &d), LEDGE_ERROR_ARGUMENT);
    unlink(images);
    unlink(labels);
    unlink(whole);
}

static LedgeStatus open_with(const LedgeAllocator *a, const void *spec, LedgeError *err)
{
    LedgeDataset *d;
    LedgeSample s;
    LedgeStatus status = ledge__dataset_open(a, spec, err, &d);
    if (status != LEDGE_OK)
        return status;
    status = ledge__dataset_read(d, 0, err, &s);
    if (status == LEDGE_OK)
        ledge__image_free(&s.image);
    ledge__dataset_free(d);
    return status;
}

static void lack_of_memory_is_an_error_at_every_step(void **state)
{
    (void)state;
    static const char text[] = "rgb.jpg,3\ngrey.jpg,0\n";
    const char *csv = temporary("memory.csv", text, sizeof text - 1, 0);
    const char *images = temporary("memory-images-idx3", idx3, sizeof idx3, 0);
    const char *labels = temporary("memory-labels-idx1", idx1, sizeof idx1, 1);
    char spec[600];
    snprintf(spec, sizeof spec, "folder:%s,%s", data_path("image"), csv);
    assert_survives_lack_of_memory(open_with, spec);
    snprintf(spec, sizeof spec, "folder:%s", data_path("image"));
    assert_survives_lack_of_memory(open_with, spec);
    snprintf(spec, sizeof spec, "mnist:%s,%s", images, labels);
    assert_survives_lack_of_memory(open_with, spec);
    unlink(csv);
    unlink(images);
    unlink(labels);
}

static void the_shared_sets_open(void **state)
{
    (void)state;
    if (access(LEDGE_TEST_ASSETS "/images/imagenet/labels.csv", R_OK) != 0)
        skip();
    LedgeDataset *d;
    LedgeSample s;
    LedgeError err = {0};
    assert_int_equal(ledge__dataset_open_folder(NULL, LEDGE_TEST_ASSETS "/images/imagenet",
                                                LEDGE_TEST_ASSETS "/images/imagenet/labels.csv",
                                                &err, &d),
                     LEDGE_OK);
    assert_int_equal(ledge__dataset_count(d), 500);
    for (size_t i = 0; i < 500; i += 25) {
        if (ledge__dataset_read(d, i, &err, &s) != LEDGE_OK)
            fail_msg("%s: %s", err.where, err.message);
        assert_int_equal(s.label, 2 * i); /* one photo for each even class, in order */
        assert_true((s.image.width < s.image.height ? s.image.width : s.image.height) == 256);
        ledge__image_free(&s.image);
    }
    ledge__dataset_free(d);
    assert_int_equal(
        ledge__dataset_open(NULL, "mnist:" LEDGE_TEST_ASSETS "/mnist/t10k-images-idx3-ubyte.gz",
                            &err, &d),
        LEDGE_OK);
    assert_int_equal(ledge__dataset_count(d), 10000);
    assert_int_equal(ledge__dataset_label(d, 0), 7);
    ledge__dataset_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_come_from_the_csv),
        cmocka_unit_test(bad_csv_lines_are_named),
        cmocka_unit_test(a_folder_without_labels_lists_its_pictures),
        cmocka_unit_test(cifar10_records_become_rgb_pictures),
        cmocka_unit_test(mnist_is_read_plain_and_gzipped),
        cmocka_unit_test(damaged_mnist_is_refused),
        cmocka_unit_test(lack_of_memory_is_an_error_at_every_step),
        cmocka_unit_test(the_shared_sets_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
