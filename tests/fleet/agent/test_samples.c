/* Inputs kept for retraining: only when asked for, only so many, only readable by one key's holder,
 * and each at the registry once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_registry.h"
#include "fleet/agent/agent_sync.h"
#include "fleet/agent/sampling.h"

typedef struct Site {
    char state[64], samples[80], public[90], private[90], other[90];
    LedgeSealKey *key, *stranger;
    LedgeSamplingOptions options;
} Site;

static int begin(void **state)
{
    Site *s = calloc(1, sizeof *s);
    char name[80];
    strcpy(s->state, "/tmp/ledge-samples-XXXXXX");
    assert_non_null(mkdtemp(s->state));
    snprintf(s->samples, sizeof s->samples, "%s/samples", s->state);
    snprintf(name, sizeof name, "%s/key", s->state);
    assert_int_equal(ledge__seal_key_new(NULL, &s->key), LEDGE_OK);
    assert_int_equal(ledge__seal_key_save(s->key, name, NULL), LEDGE_OK);
    snprintf(s->public, sizeof s->public, "%s.pub", name);
    snprintf(s->private, sizeof s->private, "%s.key", name);
    snprintf(name, sizeof name, "%s/other", s->state);
    assert_int_equal(ledge__seal_key_new(NULL, &s->stranger), LEDGE_OK);
    assert_int_equal(ledge__seal_key_save(s->stranger, name, NULL), LEDGE_OK);
    snprintf(s->other, sizeof s->other, "%s.pub", name);
    s->options = (LedgeSamplingOptions){
        .folder = s->samples, .key = s->public, .below = 0.5, .per_hour = 3600000, .disk = 1 << 20};
    *state = s;
    return 0;
}

static int end(void **state)
{
    Site *s = *state;
    assert_int_equal(ledge__agent_remove_all(s->state, NULL), LEDGE_OK);
    ledge__seal_key_free(s->key);
    ledge__seal_key_free(s->stranger);
    free(s);
    return 0;
}

static void wait_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static size_t count(const Site *s, char (*names)[LEDGE_SAMPLING_NAME])
{
    static char some[300][LEDGE_SAMPLING_NAME];
    return ledge__sampling_list(s->samples, names ? names : some, 300);
}

static const LedgeFieldHead about = {
    .model = "net", .version = "7", .confidence_ppm = 400000, .class_id = 3, .timestamp = 5};

/* Two inputs whose bytes tell of `seed`. */
static void fill(LedgeFieldContent *c, float *x, int64_t *ids, int seed)
{
    *c = (LedgeFieldContent){.n_inputs = 2, .names = {"x", "ids"}};
    for (int i = 0; i < 300; i++)
        x[i] = (float)(seed * 1000 + i) / 7;
    for (int i = 0; i < 5; i++)
        ids[i] = seed - i;
    c->inputs[0] = (LedgeTensor){LEDGE_FLOAT, 4, {1, 3, 10, 10}, x, 1200};
    c->inputs[1] = (LedgeTensor){LEDGE_INT64, 1, {5}, ids, 40};
}

/* Offers until one is kept; false: none was within a second. */
static bool keep(const Site *s, LedgeSampling *k, int seed)
{
    LedgeFieldContent c;
    float x[300];
    int64_t ids[5];
    const size_t before = count(s, NULL);
    fill(&c, x, ids, seed);
    for (int i = 0; i < 200; i++) {
        if (ledge__sampling_wants(k, 0.4, LEDGE_FLEET_DRIFT_FINE))
            ledge__sampling_offer(k, &about, &c);
        wait_ms(5);
        if (count(s, NULL) != before)
            return true;
    }
    return false;
}

static char *read_sample(const Site *s, const char *name, size_t *size)
{
    LedgeAgentDir d;
    char file[100], *bytes;
    assert_int_equal(ledge__agent_open(&d, s->state, false, NULL), LEDGE_OK);
    snprintf(file, sizeof file, "samples/%s", name);
    assert_int_equal(ledge__agent_read(&d, file, LEDGE_FIELD_SAMPLE_MAX, NULL, &bytes, size),
                     LEDGE_OK);
    ledge__agent_close(&d);
    return bytes;
}

static void what_is_kept_opens_as_it_was_and_for_one_key_alone(void **state)
{
    Site *s = *state;
    LedgeSampling *k;
    char names[300][LEDGE_SAMPLING_NAME];
    LedgeError err = {0};
    LedgeFieldHead head;
    LedgeFieldContent want, *got = NULL;
    float x[300];
    int64_t ids[5];
    size_t size;
    assert_int_equal(ledge__sampling_open(&s->options, &err, &k), LEDGE_OK);
    assert_true(keep(s, k, 1));
    ledge__sampling_close(k);
    assert_int_equal(count(s, names), 1);
    char *bytes = read_sample(s, names[0], &size);
    fill(&want, x, ids, 1);
    assert_int_equal(ledge__field_sample_open(bytes, size, s->key, &err, &head, &got), LEDGE_OK);
    assert_string_equal(head.model, "net");
    assert_string_equal(head.version, "7");
    assert_int_equal(head.confidence_ppm, 400000);
    assert_int_equal(head.class_id, 3);
    assert_int_equal(got->n_inputs, 2);
    assert_string_equal(got->names[1], "ids");
    assert_int_equal(got->inputs[0].rank, 4);
    assert_int_equal(got->inputs[0].dims[3], 10);
    assert_memory_equal(got->inputs[0].data, x, sizeof x);
    assert_memory_equal(got->inputs[1].data, ids, sizeof ids);
    ledge__field_content_free(got);
    /* Nothing of the inputs can be seen. */
    assert_null(memmem(bytes, size, x, 16));
    assert_null(memmem(bytes, size, "ids", 3));
    /* One sentence for each way of being wrong. */
    assert_int_equal(ledge__field_sample_open(bytes, size, s->stranger, &err, &head, &got),
                     LEDGE_ERROR_MISMATCH);
    assert_non_null(strstr(err.message, "was sealed to the key"));
    LedgeSealKey *public;
    assert_int_equal(ledge__seal_key_load(s->public, &err, &public), LEDGE_OK);
    assert_int_equal(ledge__field_sample_open(bytes, size, public, &err, &head, &got),
                     LEDGE_ERROR_ARGUMENT);
    ledge__seal_key_free(public);
    for (size_t at = 0; at < size; at += at < 200 ? 1 : 37) {
        bytes[at] ^= 1;
        const LedgeStatus status = ledge__field_sample_open(bytes, size, s->key, &err, &head, &got);
        assert_true(status == LEDGE_ERROR_MISMATCH || status == LEDGE_ERROR_FORMAT);
        assert_true(err.message[0]);
        bytes[at] ^= 1;
    }
    for (size_t n = 0; n < size; n += 1 + n / 8)
        assert_int_not_equal(ledge__field_sample_open(bytes, n, s->key, &err, &head, &got),
                             LEDGE_OK);
    free(bytes);
}

static void a_picture_is_kept_as_it_came(void **state)
{
    Site *s = *state;
    uint8_t *bytes;
    size_t size;
    LedgeFieldHead head;
    LedgeFieldContent *got, c = {.picture = "\xff\xd8 a picture", .picture_size = 12};
    strcpy(c.preprocess, "{\"a\":1}");
    assert_int_equal(ledge__field_sample_seal(&about, &c, s->key, NULL, &bytes, &size), LEDGE_OK);
    assert_int_equal(ledge__field_sample_open(bytes, size, s->key, NULL, &head, &got), LEDGE_OK);
    assert_int_equal(got->picture_size, 12);
    assert_memory_equal(got->picture, c.picture, 12);
    assert_string_equal(got->preprocess, c.preprocess);
    ledge__field_content_free(got);
    free(bytes);
}

static void only_what_is_uncertain_or_drifts_is_wanted(void **state)
{
    Site *s = *state;
    LedgeSampling *k, *second = NULL;
    LedgeError err = {0};
    assert_int_equal(ledge__sampling_open(&s->options, &err, &k), LEDGE_OK);
    assert_true(ledge__sampling_wants(k, 0.49, LEDGE_FLEET_DRIFT_FINE));
    assert_false(ledge__sampling_wants(k, 0.5, LEDGE_FLEET_DRIFT_FINE));
    assert_false(ledge__sampling_wants(k, 0.9, LEDGE_FLEET_DRIFT_LEARNING));
    assert_true(ledge__sampling_wants(k, 0.9, LEDGE_FLEET_DRIFT_WARNING));
    assert_true(ledge__sampling_wants(k, 0.9, LEDGE_FLEET_DRIFT_HIGH));
    assert_false(ledge__sampling_wants(k, NAN, LEDGE_FLEET_DRIFT_FINE));
    /* One process at a time; a key that opens has no place on a device. */
    assert_int_equal(ledge__sampling_open(&s->options, &err, &second), LEDGE_ERROR_MISMATCH);
    ledge__sampling_close(k);
    s->options.key = s->private;
    assert_int_equal(ledge__sampling_open(&s->options, &err, &second), LEDGE_ERROR_ARGUMENT);
    assert_non_null(strstr(err.message, "private key"));
}

static void no_more_than_so_many_an_hour_are_kept_over_restarts(void **state)
{
    Site *s = *state;
    LedgeSampling *k;
    s->options.per_hour = 7200; /* one each half second */
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(ledge__sampling_open(&s->options, NULL, &k), LEDGE_OK);
        (void)keep(s, k, i);
        ledge__sampling_close(k);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    const double took = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
    const double kept = (double)count(s, NULL);
    assert_true(kept >= 2);
    assert_true(kept <= took / 0.5 + 1);
    /* A clock that was set back gives no more. */
    char last[100];
    snprintf(last, sizeof last, "%s/last", s->samples);
    const time_t far = time(NULL) + 1000000000;
    const struct timespec future[2] = {{far, 0}, {far, 0}};
    assert_int_equal(utimensat(AT_FDCWD, last, future, 0), 0);
    s->options.per_hour = 1;
    assert_int_equal(ledge__sampling_open(&s->options, NULL, &k), LEDGE_OK);
    assert_false(ledge__sampling_wants(k, 0.1, LEDGE_FLEET_DRIFT_HIGH));
    ledge__sampling_close(k);
}

static int64_t bytes_of_samples(const Site *s)
{
    char names[300][LEDGE_SAMPLING_NAME], path[200];
    int64_t sum = 0;
    struct stat st;
    const size_t n = count(s, names);
    for (size_t i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%.39s", s->samples, names[i]);
        sum += stat(path, &st) == 0 ? st.st_size : 0;
    }
    return sum;
}

static void the_disk_share_is_kept_and_the_oldest_go(void **state)
{
    Site *s = *state;
    LedgeSampling *k;
    char first[300][LEDGE_SAMPLING_NAME], now[300][LEDGE_SAMPLING_NAME];
    LedgeFieldContent c;
    float x[300];
    int64_t ids[5];
    s->options.disk = 8000;
    assert_int_equal(ledge__sampling_open(&s->options, NULL, &k), LEDGE_OK);
    for (int i = 0; i < 4; i++)
        assert_true(keep(s, k, i));
    count(s, first);
    fill(&c, x, ids, 9);
    for (int i = 0; i < 300; i++) {
        ledge__sampling_offer(k, &about, &c);
        wait_ms(2);
        assert_true(bytes_of_samples(s) <= s->options.disk);
    }
    const size_t n = count(s, now);
    assert_in_range(n, 3, 5);
    assert_string_not_equal(first[0], now[0]);
    ledge__sampling_close(k);
}

/* Whatever moment it is killed at: files are whole or not there, and what was half-made goes. */
static void a_process_killed_while_it_writes_leaves_whole_samples(void **state)
{
    Site *s = *state;
    char names[300][LEDGE_SAMPLING_NAME], path[200], foreign[200];
    unsigned seed = 3;
    s->options.disk = 200000;
    /* A busy machine may need more, and longer ones, before some have written anything. */
    for (int i = 0; i < 60 || (i < 400 && count(s, names) < 3); i++) {
        int begun[2];
        char byte;
        assert_int_equal(pipe(begun), 0);
        const pid_t pid = fork();
        if (pid == 0) {
            LedgeSampling *k;
            LedgeFieldContent c;
            float x[300];
            int64_t ids[5];
            if (ledge__sampling_open(&s->options, NULL, &k))
                _exit(1);
            (void)!write(begun[1], "b", 1);
            for (int n = 0;; n++) {
                fill(&c, x, ids, n);
                ledge__sampling_offer(k, &about, &c);
                usleep(500); /* the thread that writes is of the lowest priority */
            }
        }
        seed = seed * 1103515245u + 12345u;
        close(begun[1]);
        (void)!read(begun[0], &byte, 1);
        close(begun[0]);
        usleep((seed >> 16) % 60000 + (i < 60 ? 0 : (unsigned)i * 500));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    snprintf(path, sizeof path, "%s/1.sample.77-0.tmp", s->samples); /* as on FAT */
    close(open(path, O_WRONLY | O_CREAT, 0600));
    snprintf(foreign, sizeof foreign, "%s/notes.txt", s->samples);
    close(open(foreign, O_WRONLY | O_CREAT, 0600));
    LedgeSampling *k;
    assert_int_equal(ledge__sampling_open(&s->options, NULL, &k), LEDGE_OK);
    ledge__sampling_close(k);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(unlink(foreign), 0); /* what is not a sample's stays */
    const size_t n = count(s, names);
    assert_true(n > 2);
    for (size_t i = 0; i < n; i++) {
        LedgeFieldHead head;
        LedgeFieldContent *c;
        size_t size;
        char *bytes = read_sample(s, names[i], &size);
        assert_int_equal(ledge__field_sample_open(bytes, size, s->key, NULL, &head, &c), LEDGE_OK);
        ledge__field_content_free(c);
        free(bytes);
    }
    DIR *d = opendir(s->samples);
    size_t others = 0;
    for (struct dirent *e; (e = readdir(d));)
        others += e->d_name[0] != '.' && !strstr(e->d_name, ".sample");
    closedir(d);
    assert_int_equal(others, 2); /* lock, last */
}

/* ---- sending ---- */

typedef struct Fleet {
    Registry registry;
    LedgeAgentConfig config;
    LedgeSyncResult result;
    char url[64], root[100];
} Fleet;

static Fleet *start_fleet(Site *s)
{
    Fleet *f = calloc(1, sizeof *f);
    registry_start(&f->registry);
    snprintf(f->root, sizeof f->root, "%s/root.json", s->state);
    const RepoFile *root = repo_get(&f->registry.repo.files, "1.root.json");
    FILE *to = fopen(f->root, "wb");
    assert_int_equal(fwrite(root->bytes, 1, root->size, to), root->size);
    fclose(to);
    f->config = (LedgeAgentConfig){.state = s->state,
                                   .root = f->root,
                                   .device_id = "cam-1",
                                   .http = {.base = registry_url(&f->registry, f->url)}};
    return f;
}

static void turn(Fleet *f)
{
    LedgeError err = {0};
    assert_int_equal(ledge__agent_sync(&f->config, LEDGE_SYNC_ALL, &err, &f->result), LEDGE_OK);
}

static void stop_fleet(Fleet *f)
{
    registry_stop(&f->registry);
    free(f);
}

static void keep_some(Site *s, int n)
{
    LedgeSampling *k;
    assert_int_equal(ledge__sampling_open(&s->options, NULL, &k), LEDGE_OK);
    for (int i = 0; i < n; i++)
        assert_true(keep(s, k, i));
    ledge__sampling_close(k);
}

static void without_the_key_nothing_leaves_the_device(void **state)
{
    Site *s = *state;
    Fleet *f = start_fleet(s);
    keep_some(s, 3);
    turn(f);
    assert_int_equal(f->registry.samples_asked, 0);
    assert_int_equal(count(s, NULL), 3);
    f->config.sample_key = s->other; /* these are for another */
    turn(f);
    assert_int_equal(f->registry.samples_asked, 0);
    f->config.sample_key = "/nonexistent";
    turn(f);
    assert_non_null(strstr(f->result.samples_problem, "nonexistent"));
    assert_string_equal(f->result.problem, ""); /* polls do not suffer */
    assert_int_equal(count(s, NULL), 3);
    f->config.sample_key = s->public;
    turn(f);
    assert_int_equal(f->registry.samples.n, 3);
    assert_int_equal(f->result.samples, 3);
    assert_int_equal(count(s, NULL), 0);
    stop_fleet(f);
}

static void each_sample_arrives_once_whatever_is_lost(void **state)
{
    Site *s = *state;
    Fleet *f = start_fleet(s);
    keep_some(s, 12);
    f->config.sample_key = s->public;
    f->registry.faults.cut = 40; /* stored, but the answer is lost */
    f->registry.faults.busy = 20;
    for (int i = 0; i < 300 && count(s, NULL); i++)
        turn(f);
    assert_int_equal(count(s, NULL), 0);
    assert_int_equal(f->registry.samples.n, 12); /* by name: the same file has the same */
    assert_true(f->registry.samples_asked > 12);
    for (size_t i = 0; i < 12; i++) {
        const RepoFile *one = &f->registry.samples.files[i];
        char sha[LEDGE_SHA256_HEX];
        LedgeFieldHead head;
        LedgeFieldContent *c;
        assert_int_equal(ledge__sha256_of(one->bytes, one->size, sha), LEDGE_OK);
        assert_string_equal(one->name, sha);
        assert_int_equal(ledge__field_sample_open(one->bytes, one->size, s->key, NULL, &head, &c),
                         LEDGE_OK);
        ledge__field_content_free(c);
    }
    stop_fleet(f);
}

static void what_a_registry_cannot_take_waits_or_goes(void **state)
{
    Site *s = *state;
    Fleet *f = start_fleet(s);
    char path[200];
    keep_some(s, 2);
    f->config.sample_key = s->public;
    f->registry.sample_status = 404; /* an older registry */
    turn(f);
    assert_int_equal(count(s, NULL), 2);
    assert_non_null(strstr(f->result.samples_problem, "404"));
    assert_string_equal(f->result.problem, "");
    assert_int_equal(f->result.samples_waiting, 2);
    f->registry.sample_status = 400; /* will never be taken */
    turn(f);
    assert_int_equal(count(s, NULL), 0);
    /* One that is damaged where it lies is not sent. */
    f->registry.sample_status = 0;
    keep_some(s, 1);
    char names[300][LEDGE_SAMPLING_NAME];
    count(s, names);
    snprintf(path, sizeof path, "%s/%s", s->samples, names[0]);
    assert_int_equal(truncate(path, 20), 0);
    const size_t asked = f->registry.samples_asked;
    turn(f);
    assert_int_equal(f->registry.samples_asked, asked);
    assert_int_equal(count(s, NULL), 0);
    stop_fleet(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_kept_opens_as_it_was_and_for_one_key_alone),
        TEST(a_picture_is_kept_as_it_came),
        TEST(only_what_is_uncertain_or_drifts_is_wanted),
        TEST(no_more_than_so_many_an_hour_are_kept_over_restarts),
        TEST(the_disk_share_is_kept_and_the_oldest_go),
        TEST(a_process_killed_while_it_writes_leaves_whole_samples),
        TEST(without_the_key_nothing_leaves_the_device),
        TEST(each_sample_arrives_once_whatever_is_lost),
        TEST(what_a_registry_cannot_take_waits_or_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
