/* The inference cache by itself: order, bounds, time, one run for many, many threads at once. */
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "serve/cache.h"
#include "trust/sha256.h"

typedef struct Number {
    LedgeCacheValue head;
    uint64_t v;
} Number;

static double clock_now;
static double fake_now(void)
{
    return clock_now;
}

static LedgeCache *new_cache(size_t bytes, double ttl)
{
    LedgeCache *c = NULL;
    const LedgeCacheOptions o = {.bytes = bytes, .ttl = ttl, .now = fake_now};
    assert_int_equal(ledge__cache_new(&o, NULL, &c), LEDGE_OK);
    return c;
}

static void key_of(uint64_t i, char key[LEDGE_CACHE_KEY])
{
    if (ledge__sha256_of(&i, sizeof i, key) != LEDGE_OK)
        abort();
}

static LedgeCacheValue *value_of(uint64_t i, size_t bytes)
{
    LedgeCacheValue *v = ledge__cache_value(sizeof(Number) + bytes);
    if (!v)
        abort();
    ((Number *)v)->v = i;
    return v;
}

/* What the cache has for i; 0: nothing, and then i + 1 is put there. */
static uint64_t get(LedgeCache *c, uint64_t i, size_t bytes)
{
    char key[LEDGE_CACHE_KEY];
    LedgeCacheWaiter me;
    LedgeCacheValue *v = NULL;
    key_of(i, key);
    const LedgeCacheTurn turn = ledge__cache_ask(c, key, &me, &v);
    assert_int_not_equal(turn, LEDGE_CACHE_JOINED);
    const uint64_t got = turn == LEDGE_CACHE_HIT ? ((Number *)v)->v : 0;
    if (turn == LEDGE_CACHE_LEAD) {
        v = value_of(i + 1, bytes);
        assert_null(ledge__cache_land(c, key, v));
    }
    ledge__cache_value_unref(v);
    return got;
}

static void what_was_made_is_given_again(void **state)
{
    (void)state;
    LedgeCache *c = new_cache(1 << 20, 0);
    LedgeCacheStats s;
    for (int round = 0; round < 2; round++)
        for (uint64_t i = 0; i < 500; i++)
            assert_int_equal(get(c, i, 10), round ? i + 1 : 0);
    ledge__cache_stats(c, &s);
    assert_true(s.hits == 500 && s.misses == 500 && s.entries == 500 && s.evicted == 0);
    ledge__cache_free(c);
}

static void least_recently_used_goes_first_and_bytes_are_kept(void **state)
{
    (void)state;
    const size_t bound = 10000;
    LedgeCache *c = new_cache(bound, 0);
    LedgeCacheStats s;
    for (uint64_t i = 0; i < 1000; i++) {
        (void)get(c, i, 100 + i % 300);
        (void)get(c, 0, 100); /* used again and again: it stays */
        ledge__cache_stats(c, &s);
        assert_true(s.bytes <= bound && s.entries > 0);
    }
    assert_int_equal(s.misses, 1000);
    assert_int_equal(s.entries + s.evicted, 1000);
    assert_int_equal(get(c, 0, 0), 1);
    assert_int_equal(get(c, 999, 0), 1000);
    assert_int_equal(get(c, 500, 0), 0);
    ledge__cache_free(c);
}

static void what_is_larger_than_the_cache_is_not_kept(void **state)
{
    (void)state;
    LedgeCache *c = new_cache(1000, 0);
    LedgeCacheStats s;
    (void)get(c, 1, 10);
    (void)get(c, 2, 2000);
    ledge__cache_stats(c, &s);
    assert_true(s.entries == 1 && s.evicted == 0);
    assert_int_equal(get(c, 1, 0), 2);
    ledge__cache_free(c);
    const LedgeCacheOptions none = {.now = fake_now};
    assert_int_equal(ledge__cache_new(&none, NULL, &c), LEDGE_ERROR_ARGUMENT);
}

static void an_entry_ends_with_its_time(void **state)
{
    (void)state;
    LedgeCache *c = new_cache(1 << 20, 10);
    LedgeCacheStats s;
    clock_now = 100;
    (void)get(c, 1, 0);
    clock_now = 109.9;
    assert_int_equal(get(c, 1, 0), 2); /* being used does not lengthen its life */
    clock_now = 110;
    assert_int_equal(get(c, 1, 0), 0);
    clock_now = 119.9;
    assert_int_equal(get(c, 1, 0), 2);
    ledge__cache_stats(c, &s);
    assert_true(s.expired == 1 && s.entries == 1 && s.bytes > 0);
    ledge__cache_free(c);
    clock_now = 0;
}

static void who_comes_meanwhile_joins_in_order(void **state)
{
    (void)state;
    LedgeCache *c = new_cache(1 << 20, 0);
    LedgeCacheWaiter w[3];
    LedgeCacheValue *v = NULL;
    char key[LEDGE_CACHE_KEY], other[LEDGE_CACHE_KEY];
    key_of(7, key);
    key_of(8, other);
    for (int succeeds = 0; succeeds < 2; succeeds++) {
        assert_int_equal(ledge__cache_ask(c, key, &w[0], &v), LEDGE_CACHE_LEAD);
        assert_int_equal(ledge__cache_ask(c, key, &w[1], &v), LEDGE_CACHE_JOINED);
        assert_int_equal(ledge__cache_ask(c, key, &w[2], &v), LEDGE_CACHE_JOINED);
        assert_int_equal(ledge__cache_ask(c, other, &w[0], &v), LEDGE_CACHE_LEAD);
        assert_null(ledge__cache_land(c, other, NULL));
        LedgeCacheValue *made = succeeds ? value_of(5, 0) : NULL;
        LedgeCacheWaiter *joined = ledge__cache_land(c, key, made);
        assert_ptr_equal(joined, &w[1]);
        assert_ptr_equal(joined->next, &w[2]);
        assert_null(joined->next->next);
        ledge__cache_value_unref(made);
    }
    assert_int_equal(ledge__cache_ask(c, key, &w[0], &v), LEDGE_CACHE_HIT); /* a failure is not */
    ledge__cache_value_unref(v);
    ledge__cache_free(c);
}

/* ---- many threads ---- */

enum { THREADS = 8, ROUNDS = 4000, KEYS = 37 };

typedef struct Joiner {
    LedgeCacheWaiter waiter;
    sem_t done;
    LedgeCacheValue *value;
} Joiner;

static LedgeCache *shared;
static atomic_int running[KEYS], runs, wrong;

/* Makes the value as a leader: never two at a time for one key. */
static void lead(uint64_t i, const char *key)
{
    if (atomic_fetch_add(&running[i], 1) != 0)
        atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&runs, 1);
    LedgeCacheValue *v = value_of(i, (size_t)(i * 13 % 200));
    atomic_fetch_sub(&running[i], 1);
    LedgeCacheWaiter *joined = ledge__cache_land(shared, key, v);
    while (joined) {
        Joiner *j = (Joiner *)joined;
        joined = joined->next; /* before it wakes and is gone */
        j->value = ledge__cache_value_ref(v);
        sem_post(&j->done);
    }
    ledge__cache_value_unref(v);
}

static void *hammer(void *arg)
{
    uint64_t x = (uintptr_t)arg * 77 + 1;
    for (int r = 0; r < ROUNDS; r++) {
        char key[LEDGE_CACHE_KEY];
        Joiner j = {.value = NULL};
        x = x * 6364136223846793005u + 1442695040888963407u;
        const uint64_t i = (x >> 33) % KEYS;
        key_of(i, key);
        sem_init(&j.done, 0, 0);
        switch (ledge__cache_ask(shared, key, &j.waiter, &j.value)) {
        case LEDGE_CACHE_LEAD:
            lead(i, key);
            break;
        case LEDGE_CACHE_JOINED:
            sem_wait(&j.done); /* fall through */
        case LEDGE_CACHE_HIT:
            if (((Number *)j.value)->v != i)
                atomic_fetch_add(&wrong, 1);
            ledge__cache_value_unref(j.value);
        }
        sem_destroy(&j.done);
    }
    return NULL;
}

static void threads_get_the_right_value_and_never_run_twice_at_once(void **state)
{
    (void)state;
    pthread_t t[THREADS];
    LedgeCacheStats s;
    shared = new_cache(6000, 0); /* too small for all keys */
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hammer, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    ledge__cache_stats(shared, &s);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_int_equal(s.hits + s.misses + s.joined, THREADS * ROUNDS);
    assert_int_equal(s.misses, atomic_load(&runs));
    assert_true(s.bytes <= 6000 && s.hits > 0 && s.evicted > 0);
    ledge__cache_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_made_is_given_again),
        cmocka_unit_test(least_recently_used_goes_first_and_bytes_are_kept),
        cmocka_unit_test(what_is_larger_than_the_cache_is_not_kept),
        cmocka_unit_test(an_entry_ends_with_its_time),
        cmocka_unit_test(who_comes_meanwhile_joins_in_order),
        cmocka_unit_test(threads_get_the_right_value_and_never_run_twice_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
