/* The list of connections and the thread that looks at it. */
#include "serve/slow_clients.h"

#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/timed_wait.h"
#include "serve/idle_memory.h"
#include "serve/served_model.h"

#define BYTES_PER_SECOND 1e4
#define QUIET            5 /* seconds without connections before memory is given back */

/* Who is to do something next. */
typedef enum Turn {
    SENDS, /* the client its request */
    WORKS, /* we; or it was shut down */
    READS  /* the client our answer */
} Turn;

struct LedgeGuarded {
    LedgeGuarded *next, *before;
    int socket;
    Turn turn;
    bool left; /* will send no more of its request, as was seen at the last look */
    double since;
    uint64_t bytes;
};

struct LedgeGuard {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool stop, served; /* served: somebody was there since memory was given back */
    double idle;
    LedgeGuarded *first;
};

/* The client has closed its side, and all that it sent was read. */
static bool has_left(int socket)
{
    struct pollfd p = {.fd = socket, .events = POLLRDHUP};
    int unread = 0;
    return poll(&p, 1, 0) == 1 && ioctl(socket, FIONREAD, &unread) == 0 && unread == 0;
}

/* Those who are too slow, or have left by two looks, are shut down; the rest of their end is the
 * transport's. */
static void look_around(LedgeGuard *g)
{
    const double now = ledge__now();
    for (LedgeGuarded *c = g->first; c; c = c->next) {
        if (c->turn == WORKS)
            continue;
        const bool left_before = c->left;
        c->left = c->turn == SENDS && has_left(c->socket);
        if ((left_before && c->left) ||
            now - c->since > g->idle + (double)c->bytes / BYTES_PER_SECOND) {
            shutdown(c->socket, SHUT_RDWR);
            c->turn = WORKS;
        }
    }
}

/* Bodies of a busy hour stay with the allocator; once nobody is there, the system can have them. */
static void give_memory_back(LedgeGuard *g)
{
    g->served = false;
    pthread_mutex_unlock(&g->lock);
    ledge__trim_heap();
    pthread_mutex_lock(&g->lock);
}

static void *watch(void *arg)
{
    LedgeGuard *g = arg;
    pthread_mutex_lock(&g->lock);
    while (!g->stop) {
        if (!g->first && !g->served) {
            pthread_cond_wait(&g->wake, &g->lock);
        } else if (!ledge__wait_until(&g->wake, &g->lock, ledge__now() + (g->first ? 1 : QUIET))) {
            look_around(g);
            if (!g->first)
                give_memory_back(g);
        }
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

LedgeStatus ledge__guard_new(double idle, LedgeError *err, LedgeGuard **out)
{
    LedgeGuard *g = calloc(1, sizeof *g);
    if (!g || !ledge__wait_init(&g->lock, &g->wake)) {
        free(g);
        return ledge__no_memory(err);
    }
    g->idle = idle;
    if (pthread_create(&g->thread, NULL, watch, g) != 0) {
        ledge__wait_end(&g->lock, &g->wake);
        free(g);
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, "guard", "the system gives no thread");
    }
    *out = g;
    return LEDGE_OK;
}

void ledge__guard_free(LedgeGuard *g)
{
    if (!g)
        return;
    ledge__wait_stop(&g->lock, &g->wake, &g->stop, g->thread);
    ledge__wait_end(&g->lock, &g->wake);
    free(g);
}

LedgeGuarded *ledge__guard_add(LedgeGuard *g, int socket)
{
    LedgeGuarded *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->socket = socket;
    c->turn = SENDS;
    c->since = ledge__now();
    pthread_mutex_lock(&g->lock);
    c->next = g->first;
    if (g->first)
        g->first->before = c;
    else
        pthread_cond_signal(&g->wake);
    g->first = c;
    g->served = true;
    pthread_mutex_unlock(&g->lock);
    return c;
}

void ledge__guard_remove(LedgeGuard *g, LedgeGuarded *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&g->lock);
    *(c->before ? &c->before->next : &g->first) = c->next;
    if (c->next)
        c->next->before = c->before;
    pthread_mutex_unlock(&g->lock);
    free(c);
}

static void turn_to(LedgeGuard *g, LedgeGuarded *c, Turn turn, size_t bytes)
{
    if (!c)
        return;
    pthread_mutex_lock(&g->lock);
    c->since = ledge__now();
    c->bytes = bytes;
    c->turn = turn;
    c->left = false;
    pthread_mutex_unlock(&g->lock);
}

void ledge__guard_request(LedgeGuard *g, LedgeGuarded *c)
{
    turn_to(g, c, SENDS, 0);
}

void ledge__guard_received(LedgeGuard *g, LedgeGuarded *c, size_t bytes)
{
    if (!c)
        return;
    pthread_mutex_lock(&g->lock);
    c->bytes += bytes;
    pthread_mutex_unlock(&g->lock);
}

void ledge__guard_pause(LedgeGuard *g, LedgeGuarded *c)
{
    turn_to(g, c, WORKS, 0);
}

void ledge__guard_answer(LedgeGuard *g, LedgeGuarded *c, size_t bytes)
{
    turn_to(g, c, READS, bytes);
}
