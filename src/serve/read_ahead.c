/* The thread that reads ahead, and the pieces of an array that it shares with whoever waits for it.
 *
 * Where the array begins is found by ledge__oip_ahead, which also reads its first numbers. From
 * there on pieces are cut: each begins behind a comma and ends before one, and commas say how many
 * numbers it holds. Counting is done by whoever reads the piece; where its numbers go is known once
 * those before it have counted. So two threads read at once, and the lock is held for moments
 * only: on a virtual machine, being woken for it took longer than reading a piece. A piece that is
 * anything but numbers between commas (an array of arrays, the end of it all) ends this: from there
 * on the thread alone goes on, in order. */
#include "serve/read_ahead.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/timed_wait.h"

enum {
    STEP = 65536,  /* bytes that are worth a wake-up */
    PIECE = 16384, /* bytes that are read in one go */
    HEAD = 4096,   /* within these most arrays begin */
    HELP = 192,    /* pieces that whoever has other things to do may be kept with: about 1 ms */
    SPINS = 200    /* looks at what is about to change, before the core is given to others */
};

/* How a body is read just now. */
typedef enum Way { FIND, PIECES, IN_ORDER } Way;

typedef struct Piece {
    const char *p, *end; /* from behind a comma to the next piece's */
    const char *have;
    size_t turn; /* so many were cut before it */
} Piece;

struct LedgeReadAhead {
    pthread_t thread;
    int number; /* the thread's own, from when it first sleeps */
    size_t limit;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t more, done;
    bool stop, asleep;
    LedgeOipAhead *to; /* NULL: nothing is to be read; where `alone`, that thread's own */
    char *body;
    size_t whole, have;
    size_t told, seen; /* of `have`: at the last wake-up; when something was last read in order */
    Way way;
    bool alone;       /* a thread is at what has no pieces */
    unsigned busy;    /* threads that read a piece */
    const char *next; /* where the next piece is cut */
    size_t cuts;      /* pieces so far */
    bool spoilt;      /* one was no piece: none after `next` counts, */
    size_t spoilt_at; /* and that is this number */
    /* Not of the lock; changes hands from piece to piece. */
    atomic_size_t turn;
    size_t next_at; /* the first number of the piece whose turn it is */
};

/* Takes the lock, which nobody holds for long. */
static void take(LedgeReadAhead *r)
{
    for (int i = 0; i < SPINS; i++) {
        if (pthread_mutex_trylock(&r->lock) == 0)
            return;
        ledge__cpu_pause();
    }
    pthread_mutex_lock(&r->lock);
}

/* ---- pieces ---- */

/* Lock held. false: there is no whole piece. */
static bool cut(LedgeReadAhead *r, Piece *out)
{
    const char *p = r->next, *have = r->body + r->have;
    const char *end = p + PIECE;
    if (end > have) { /* the last one ends with the array */
        const char *close = r->have == r->whole ? memchr(p, ']', (size_t)(have - p)) : NULL;
        if (!close)
            return false;
        end = close;
    }
    end = memrchr(p, ',', (size_t)(end - p));
    if (!end)
        return false;
    *out = (Piece){p, end, have, r->cuts++};
    r->next = end + 1;
    return true;
}

/* Which number is the first of the n of this piece, once those before it have counted theirs. */
static size_t place(LedgeReadAhead *r, const Piece *piece, size_t n)
{
    for (int i = 0; atomic_load_explicit(&r->turn, memory_order_acquire) != piece->turn; i++) {
        if (i < SPINS)
            ledge__cpu_pause();
        else
            sched_yield();
    }
    const size_t at = r->next_at;
    r->next_at += n;
    atomic_store_explicit(&r->turn, piece->turn + 1, memory_order_release);
    return at;
}

/* Lock held, nobody is busy: the rest goes on behind the last number before the next piece. */
static void settle(LedgeReadAhead *r)
{
    LedgeOipAhead *a = r->to;
    if (r->way != PIECES)
        return;
    a->j.p = r->next - 1;
    a->numbers.n = r->spoilt ? r->spoilt_at : r->next_at;
    r->way = IN_ORDER;
}

/* Lock held, and given up meanwhile. */
static void read_piece(LedgeReadAhead *r, const Piece *piece)
{
    const LedgeJsonNumbers a = r->to->numbers;
    r->busy++;
    pthread_mutex_unlock(&r->lock);
    const size_t n = ledge__json_commas(piece->p, (size_t)(piece->end - piece->p)) + 1;
    const size_t at = place(r, piece, n);
    const bool good = at <= a.room && n <= a.room - at &&
                      ledge__json_numbers_between(piece->p, piece->end, piece->have, a.type, a.out,
                                                  at, n);
    take(r);
    r->busy--;
    if (!good && piece->p < r->next) { /* others may still be busy behind it */
        r->spoilt = true;
        r->spoilt_at = at;
        r->next = piece->p;
    }
    if (r->busy == 0)
        pthread_cond_broadcast(&r->done);
}

/* ---- the rest ---- */

/* Lock held, and given up meanwhile: finds the array, or reads it in order. */
static void read_alone(LedgeReadAhead *r)
{
    LedgeOipAhead *to = r->to;
    const bool head = r->way == FIND && r->seen == 0 && r->have > HEAD;
    const size_t have = head ? HEAD : r->have;
    r->alone = true;
    pthread_mutex_unlock(&r->lock);
    const bool goes_on = ledge__oip_ahead(to, r->body, have, r->whole, r->limit);
    take(r);
    r->alone = false;
    r->seen = have;
    if (r->way == FIND && to->numbers.out && to->j.p < r->body + have && *to->j.p == ',') {
        r->way = PIECES;
        r->spoilt = false;
        r->next = to->j.p + 1;
        r->next_at = to->numbers.n;
        r->cuts = 0;
        atomic_store(&r->turn, 0);
    } else if (!goes_on && !head) {
        r->to = NULL;
    }
    pthread_cond_broadcast(&r->done);
}

/* Lock held. Does a bit of what there is to do; false: there is nothing. */
static bool do_some(LedgeReadAhead *r)
{
    Piece piece;
    if (!r->to || r->alone)
        return false;
    if (r->way == PIECES && !r->spoilt) {
        if (cut(r, &piece)) {
            read_piece(r, &piece);
            return true;
        }
        if (r->have < r->whole)
            return false;
    }
    if (r->busy)
        return false;
    settle(r);
    if (r->seen >= r->have)
        return false;
    read_alone(r);
    return true;
}

/* ---- the thread ---- */

static void *read_on(void *arg)
{
    LedgeReadAhead *r = arg;
    take(r);
    r->number = (int)syscall(SYS_gettid);
    while (!r->stop) {
        if (do_some(r))
            continue;
        r->asleep = true;
        pthread_cond_wait(&r->more, &r->lock);
        r->asleep = false;
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

LedgeStatus ledge__read_ahead_new(size_t limit, LedgeError *err, LedgeReadAhead **out)
{
    LedgeReadAhead *r = calloc(1, sizeof *r);
    if (!r || !ledge__wait_init(&r->lock, &r->more)) {
        free(r);
        return ledge__no_memory(err);
    }
    r->limit = limit;
    pthread_cond_init(&r->done, NULL);
    if (pthread_create(&r->thread, NULL, read_on, r) != 0) {
        pthread_cond_destroy(&r->done);
        ledge__wait_end(&r->lock, &r->more);
        free(r);
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, "reader", "the system gives no thread");
    }
    *out = r;
    return LEDGE_OK;
}

void ledge__read_ahead_free(LedgeReadAhead *r)
{
    if (!r)
        return;
    ledge__wait_stop(&r->lock, &r->more, &r->stop, r->thread);
    pthread_cond_destroy(&r->done);
    ledge__wait_end(&r->lock, &r->more);
    free(r);
}

/* ---- its users ---- */

bool ledge__read_ahead_begin(LedgeReadAhead *r, LedgeOipAhead *to, char *body, size_t whole)
{
    take(r);
    const bool is_free = !r->to;
    if (is_free) {
        r->to = to;
        r->body = body;
        r->whole = whole;
        r->have = r->told = r->seen = 0;
        r->way = FIND;
    }
    pthread_mutex_unlock(&r->lock);
    return is_free;
}

void ledge__read_ahead_more(LedgeReadAhead *r, const LedgeOipAhead *to, size_t have)
{
    bool wake = false;
    take(r);
    if (r->to == to) {
        r->have = have;
        wake = r->asleep && (have - r->told >= STEP || have == r->whole);
        if (wake)
            r->told = have;
    }
    pthread_mutex_unlock(&r->lock);
    if (wake)
        pthread_cond_signal(&r->more);
}

void ledge__read_ahead_help(LedgeReadAhead *r, const LedgeOipAhead *to)
{
    Piece piece;
    take(r);
    const bool stuck = r->to == to && r->asleep && r->told > 0;
    pthread_mutex_unlock(&r->lock);
    /* A thread that was woken while all cores were busy may wait for this one, though another is
     * idle by now. */
    if (stuck)
        ledge__cpu_send_away(r->number);
    take(r);
    if (r->to == to && r->way == FIND && r->seen == 0 && !r->alone)
        read_alone(r);
    for (int i = 0; i < HELP && r->to == to && r->way == PIECES && !r->spoilt && cut(r, &piece);
         i++)
        read_piece(r, &piece);
    pthread_mutex_unlock(&r->lock);
}

static void end_it(LedgeReadAhead *r, const LedgeOipAhead *to, bool wanted)
{
    take(r);
    while (r->to == to) {
        if (wanted && do_some(r))
            continue;
        if (!r->busy && !r->alone) {
            settle(r);
            r->to = NULL;
            break;
        }
        pthread_cond_wait(&r->done, &r->lock);
    }
    pthread_mutex_unlock(&r->lock);
}

void ledge__read_ahead_end(LedgeReadAhead *r, const LedgeOipAhead *to)
{
    end_it(r, to, true);
}

void ledge__read_ahead_drop(LedgeReadAhead *r, const LedgeOipAhead *to)
{
    end_it(r, to, false);
}
