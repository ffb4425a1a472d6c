/* Addresses in figures, and what libmicrohttpd is told. */
#include "http/http_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Headers must fit; bodies go through it in pieces. */
#define CONNECTION_MEMORY ((size_t)64 << 10)
#define BACKLOG           4096u /* connections that the kernel may hold for us */

static bool address_of(const char *host, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
        return false;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return true;
}

static struct MHD_OptionItem text_item(enum MHD_OPTION option, const char *text)
{
    return (struct MHD_OptionItem){option, 0, (void *)(uintptr_t)text};
}

static enum MHD_Result may_connect(void *arg, const struct sockaddr *from, socklen_t size)
{
    const LedgeHttpDrain *d = arg;
    (void)from, (void)size;
    return atomic_load(&d->stage) < LEDGE_HTTP_CLOSED ? MHD_YES : MHD_NO;
}

LedgeStatus ledge__http_listen(const LedgeHttpListen *o, LedgeError *err, struct MHD_Daemon **out)
{
    struct sockaddr_storage address;
    struct MHD_OptionItem more[5];
    int n = 0;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO;
    if (!address_of(o->host, o->port, &address))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, o->host,
                           "give an address to listen on in figures, such as 127.0.0.1 or ::1");
    if (address.ss_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    if (o->certificate && MHD_is_feature_supported(MHD_FEATURE_SSL) != MHD_YES)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, o->host,
                           "this machine's libmicrohttpd was built without TLS");
    if (o->certificate) {
        flags |= MHD_USE_TLS;
        more[n++] = text_item(MHD_OPTION_HTTPS_MEM_CERT, o->certificate);
        more[n++] = text_item(MHD_OPTION_HTTPS_MEM_KEY, o->key);
    }
    if (o->client_ca)
        more[n++] = text_item(MHD_OPTION_HTTPS_MEM_TRUST, o->client_ca);
    if (o->threads > 1)
        more[n++] = (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, o->threads, NULL};
    more[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    errno = 0;
    *out = MHD_start_daemon(
        flags, o->port, may_connect, o->drain, o->on_request, o->arg, MHD_OPTION_SOCK_ADDR,
        (void *)&address, MHD_OPTION_NOTIFY_COMPLETED, o->on_done, o->arg,
        MHD_OPTION_NOTIFY_CONNECTION, o->on_connection, o->arg, MHD_OPTION_CONNECTION_LIMIT,
        o->connections, MHD_OPTION_CONNECTION_TIMEOUT, o->idle, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        CONNECTION_MEMORY, MHD_OPTION_LISTEN_BACKLOG_SIZE, BACKLOG, MHD_OPTION_ARRAY, more,
        MHD_OPTION_END);
    if (!*out)
        return ledge__fail(err, LEDGE_ERROR_RUNTIME, o->host, "cannot listen on port %u: %s",
                           o->port,
                           errno            ? strerror(errno)
                           : o->certificate ? "certificate or key cannot be used"
                                            : "the address is not this machine's");
    return LEDGE_OK;
}
