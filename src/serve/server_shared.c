/* What clients ask of regions of shared memory: register, unregister, status. Only those on this
 * machine may. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "serve/server_state.h"

bool ledge__is_loopback(const struct sockaddr *a)
{
    if (a && a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    if (!a || a->sa_family != AF_INET6)
        return false;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127);
}

LedgeRegions *ledge__server_regions(const LedgeExchange *x, const char **why)
{
    LedgeRegions *all = x->server->regions;
    const union MHD_ConnectionInfo *info =
        all ? MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS) : NULL;
    *why = !all ? "shared memory is off; start the server with --shared-memory"
                : "shared memory is for clients on the server's own machine, at its loopback "
                  "address";
    return info && ledge__is_loopback(info->client_addr) ? all : NULL;
}

/* ---- status ---- */

typedef struct List {
    LedgeText b;
    size_t n;
} List;

static void put_region(void *arg, const LedgeRegionInfo *info)
{
    List *list = arg;
    ledge__text_add(&list->b, list->n++ ? ",{\"name\":" : "{\"name\":");
    ledge__json_put_text(&list->b, info->name);
    ledge__text_add(&list->b, ",\"key\":");
    ledge__json_put_text(&list->b, info->key);
    ledge__text_add(&list->b, ",\"offset\":");
    ledge__json_put_unsigned(&list->b, info->offset);
    ledge__text_add(&list->b, ",\"byte_size\":");
    ledge__json_put_unsigned(&list->b, info->bytes);
    ledge__text_add(&list->b, "}");
}

static enum MHD_Result send_status(LedgeExchange *x, LedgeRegions *regions, const char *name)
{
    List list = {.n = 0};
    ledge__text_add(&list.b, "[");
    const bool found = ledge__regions_visit(regions, name, put_region, &list);
    ledge__text_add(&list.b, "]");
    const enum MHD_Result done =
        found ? ledge__send(x, 200, "application/json", &list.b, NULL, NULL)
              : ledge__send_error(x, 404, "no region of shared memory is registered by that name");
    ledge__text_free(&list.b);
    return done;
}

/* ---- register ---- */

static enum MHD_Result add(LedgeExchange *x, LedgeRegions *regions, const char *name)
{
    LedgeError err = {0};
    LedgeRegionInfo info;
    char text[sizeof err.where + sizeof err.message + 4];
    LedgeStatus s = ledge__oip_read_region(x->work.body, x->work.size, &err, &info);
    const int n = snprintf(info.name, sizeof info.name, "%s", name);
    if (n < 0 || (size_t)n >= sizeof info.name)
        info.name[0] = '\0'; /* too long to be one */
    if (s == LEDGE_OK)
        s = ledge__regions_add(regions, &info, &err);
    if (s == LEDGE_OK)
        return ledge__send_static(x, "application/json", "{}", 2, NULL, NULL);
    snprintf(text, sizeof text, "%s: %s", err.where, err.message);
    return ledge__send_error(x, s == LEDGE_ERROR_MEMORY ? 503 : 400, text);
}

enum MHD_Result ledge__server_shared(LedgeExchange *x, LedgeSharedAsk ask, const char *name)
{
    const char *why;
    LedgeRegions *regions = ledge__server_regions(x, &why);
    if (!regions)
        return ledge__send_error(x, x->server->regions ? 403 : 400, why);
    if (ask == LEDGE_SHARED_STATUS)
        return send_status(x, regions, name);
    if (ask == LEDGE_SHARED_REGISTER)
        return add(x, regions, name);
    ledge__regions_remove(regions, name);
    return ledge__send_static(x, "application/json", "{}", 2, NULL, NULL);
}
