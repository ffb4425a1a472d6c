/* Tokens in memory, see token_table.h. */
#include "fleet/registry/token_table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "fleet/protocol/wire_names.h"
#include "trust/sha256.h"

typedef struct Slot {
    uint8_t hash[LEDGE_SHA256_BYTES];
    bool used;
    LedgeRole role;
    int64_t id;
    const char *device; /* in texts, or NULL */
} Slot;

struct LedgeTokens {
    pthread_rwlock_t lock;
    Slot *slots;
    size_t n;     /* a power of two */
    json_t *rows; /* what the devices' texts lie in */
    int64_t epoch;
};

LedgeTokens *ledge__tokens_new(void)
{
    LedgeTokens *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->epoch = -1;
    pthread_rwlock_init(&t->lock, NULL);
    return t;
}

void ledge__tokens_free(LedgeTokens *t)
{
    if (!t)
        return;
    pthread_rwlock_destroy(&t->lock);
    free(t->slots);
    json_decref(t->rows);
    free(t);
}

/* The hash is uniform: its first bytes are the place. */
static Slot *place(Slot *slots, size_t n, const uint8_t hash[LEDGE_SHA256_BYTES])
{
    uint64_t first;
    memcpy(&first, hash, sizeof first);
    size_t i = (size_t)first & (n - 1);
    while (slots[i].used && memcmp(slots[i].hash, hash, LEDGE_SHA256_BYTES) != 0)
        i = (i + 1) & (n - 1);
    return &slots[i];
}

static void fill(Slot *slots, size_t n, const json_t *rows)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *hex = json_string_value(json_object_get(row, "hash"));
        uint8_t hash[LEDGE_SHA256_BYTES];
        if (!hex || !ledge__from_hex(hex, hash, sizeof hash))
            continue;
        Slot *s = place(slots, n, hash);
        memcpy(s->hash, hash, sizeof hash);
        s->used = true;
        s->id = json_integer_value(json_object_get(row, "id"));
        s->role = ledge__role_of(json_string_value(json_object_get(row, "role")));
        s->device = json_string_value(json_object_get(row, "device"));
    }
}

LedgeStatus ledge__tokens_load(LedgeTokens *t, LedgeStore *s, LedgeError *err)
{
    json_t *rows = NULL;
    int64_t epoch = 0;
    LEDGE_TRY(ledge__sql_number(ledge__store_sql(s), err, 0, &epoch, LEDGE_Q_EPOCH_GET, ""));
    if (epoch == t->epoch)
        return LEDGE_OK;
    LEDGE_TRY(ledge__sql_list(ledge__store_sql(s), err, &rows, LEDGE_Q_TOKENS_LIVE, ""));
    size_t n = 64;
    while (n < 2 * json_array_size(rows))
        n *= 2;
    Slot *slots = calloc(n, sizeof *slots);
    if (!slots) {
        json_decref(rows);
        return ledge__no_memory(err);
    }
    fill(slots, n, rows);
    pthread_rwlock_wrlock(&t->lock);
    Slot *old = t->slots;
    json_t *old_rows = t->rows;
    t->slots = slots;
    t->n = n;
    t->rows = rows;
    t->epoch = epoch;
    pthread_rwlock_unlock(&t->lock);
    free(old);
    json_decref(old_rows);
    return LEDGE_OK;
}

bool ledge__tokens_find(LedgeTokens *t, const char *header, LedgeCaller *out)
{
    char hex[LEDGE_SHA256_HEX];
    uint8_t hash[LEDGE_SHA256_BYTES];
    if (!header || strncasecmp(header, "Bearer ", 7) != 0 || strlen(header) > 7 + LEDGE_FLEET_TOKEN)
        return false;
    const char *text = header + 7 + strspn(header + 7, " ");
    if (ledge__sha256_of(text, strlen(text), hex) || !ledge__from_hex(hex, hash, sizeof hash))
        return false;
    pthread_rwlock_rdlock(&t->lock);
    const Slot *s = t->slots ? place(t->slots, t->n, hash) : NULL;
    const bool found = s && s->used;
    if (found) {
        *out = (LedgeCaller){.token = s->id, .role = s->role};
        if (s->device)
            memcpy(out->device, s->device, strnlen(s->device, sizeof out->device - 1));
    }
    pthread_rwlock_unlock(&t->lock);
    return found;
}
