/* See guest_wire.h. What is written is laid out by one function that is run twice: to count, and
 * to write. What is read comes from the guest: every address and length is checked. */
#include "serve/guest_wire.h"

#include <string.h>

#include "base/json_scan.h"
#include "ledge/guest/guest_serve.h"
#include "serve/oip.h"

enum { TENSOR = 88, REQUEST = 52, ANSWER = 28, ALIGN = 16, SENTENCE = 400, NOTE = 65536 };

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static int64_t get64(const uint8_t *p)
{
    return (int64_t)((uint64_t)get32(p + 4) << 32 | get32(p));
}

static void put64(uint8_t *p, int64_t v)
{
    put32(p, (uint64_t)v & UINT32_MAX);
    put32(p + 4, (uint64_t)v >> 32);
}

/* ---- requests ---- */

typedef struct Lay {
    uint8_t *to; /* NULL: only counting */
    uint32_t address;
    uint64_t n; /* bytes so far */
} Lay;

/* Room for so many bytes: its address, and where it is (NULL while counting). */
static uint32_t room(Lay *l, uint64_t bytes, uint8_t **at)
{
    const uint64_t begin = (l->n + ALIGN - 1) / ALIGN * ALIGN;
    l->n = begin + bytes;
    *at = l->to ? l->to + begin : NULL;
    return (uint32_t)(l->address + begin);
}

static uint32_t lay_bytes(Lay *l, const void *bytes, size_t n)
{
    uint8_t *at;
    const uint32_t address = room(l, n, &at);
    if (at && n)
        memcpy(at, bytes, n);
    return address;
}

static uint32_t lay_text(Lay *l, const char *text)
{
    return text ? lay_bytes(l, text, strlen(text) + 1) : 0;
}

/* Each element its length and its bytes. */
static uint32_t lay_strings(Lay *l, const LedgeTensor *t, uint64_t *bytes)
{
    const LedgeString *s = t->data;
    const int64_t n = ledge_tensor_count(t);
    uint8_t *at;
    *bytes = 0;
    for (int64_t i = 0; i < n; i++)
        *bytes += 4 + (uint64_t)s[i].size;
    const uint32_t address = room(l, *bytes, &at);
    for (int64_t i = 0; at && i < n; i++) {
        put32(at, s[i].size);
        if (s[i].size)
            memcpy(at + 4, s[i].data, s[i].size);
        at += 4 + s[i].size;
    }
    return address;
}

/* `to`: the GuestTensor, or NULL. */
static void lay_tensor(Lay *l, const char *name, const LedgeTensor *t, uint8_t *to)
{
    /* Containers have no bytes of their own: they are only described. */
    const bool here = t->data && ledge_type_bits(t->type) > 0;
    uint64_t bytes = here ? ledge_tensor_bytes(t) : 0;
    uint32_t data = 0;
    const uint32_t text = lay_text(l, name);
    if (here && t->type == LEDGE_STRING)
        data = lay_strings(l, t, &bytes);
    else if (here)
        data = lay_bytes(l, t->data, (size_t)bytes);
    if (!to)
        return;
    memset(to, 0, TENSOR);
    put32(to, text);
    put32(to + 4, (uint32_t)t->type);
    put32(to + 8, t->rank > 0 ? (uint32_t)t->rank : 0);
    put32(to + 12, data);
    put32(to + 16, bytes);
    for (int32_t i = 0; i < t->rank; i++)
        put64(to + 24 + 8 * i, t->dims[i]);
}

static uint32_t lay_tensors(Lay *l, const LedgeGuestAsk *a)
{
    uint8_t *at;
    const uint32_t address = room(l, (uint64_t)a->n_tensors * TENSOR, &at);
    for (size_t i = 0; i < a->n_tensors; i++)
        lay_tensor(l, a->names[i], &a->tensors[i], at ? at + i * TENSOR : NULL);
    return a->n_tensors ? address : 0;
}

static uint32_t lay_inputs(Lay *l, const LedgeGuestAsk *a)
{
    uint8_t *at;
    const uint32_t address = room(l, (uint64_t)a->n_inputs * TENSOR, &at);
    for (size_t i = 0; i < a->n_inputs; i++) {
        const LedgeTensorInfo *info = a->inputs[i];
        LedgeTensor t = {.type = info->type, .rank = info->rank};
        for (int32_t d = 0; d < info->rank; d++)
            t.dims[d] = info->dims[d];
        lay_tensor(l, info->name, &t, at ? at + i * TENSOR : NULL);
    }
    return a->n_inputs ? address : 0;
}

static uint64_t lay(const LedgeGuestAsk *a, uint8_t *to, uint32_t address)
{
    Lay l = {.to = to, .address = address};
    uint8_t *request;
    uint32_t word[REQUEST / 4] = {GUEST_SERVE_VERSION, a->top};
    (void)room(&l, REQUEST, &request);
    word[2] = lay_text(&l, a->model);
    word[3] = lay_text(&l, a->preprocess);
    word[4] = lay_text(&l, a->labels);
    word[5] = a->body ? lay_bytes(&l, a->body, a->body_bytes) : 0;
    word[6] = (uint32_t)a->body_bytes;
    word[7] = (uint32_t)a->n_tensors;
    word[8] = lay_tensors(&l, a);
    word[9] = (uint32_t)a->n_inputs;
    word[10] = lay_inputs(&l, a);
    word[11] = a->note ? lay_bytes(&l, a->note, a->note_bytes) : 0;
    word[12] = (uint32_t)a->note_bytes;
    for (size_t i = 0; request && i < REQUEST / 4; i++)
        put32(request + 4 * i, word[i]);
    return l.n;
}

uint64_t ledge__guest_wire_size(const LedgeGuestAsk *ask)
{
    return lay(ask, NULL, 0);
}

void ledge__guest_wire_put(const LedgeGuestAsk *ask, uint8_t *to, uint32_t address)
{
    (void)lay(ask, to, address);
}

/* ---- answers ---- */

typedef struct Get {
    LedgeGuestMemory memory;
    LedgeArena *arena;
    LedgeError *err;
    uint64_t left; /* bytes that may still be copied */
} Get;

static LedgeStatus bad(const Get *g, const char *where, const char *what)
{
    return ledge__fail(g->err, LEDGE_ERROR_FORMAT, where, "%s", what);
}

static const uint8_t *at(const Get *g, uint32_t address, uint64_t n)
{
    return n <= g->memory.n && address <= g->memory.n - n ? g->memory.p + address : NULL;
}

/* A copy of the text at `address`, cut at `most` bytes; NULL: it runs out of the memory. */
static const char *get_text(const Get *g, uint32_t address, size_t most)
{
    const char *from = (const char *)at(g, address, 0);
    if (!from)
        return NULL;
    const uint64_t left = g->memory.n - address;
    const size_t room = left < most ? (size_t)left : most, n = strnlen(from, room);
    return n < room || room == most ? ledge__arena_strn(g->arena, from, n) : NULL;
}

/* Counts what is to be copied: an answer may name the same bytes again and again. */
static const uint8_t *get_bytes(Get *g, uint32_t address, uint64_t n)
{
    if (n > g->left)
        return NULL;
    g->left -= n;
    return at(g, address, n);
}

static LedgeStatus get_shape(Get *g, const uint8_t *p, const char *name, LedgeTensor *t)
{
    const uint32_t type = get32(p + 4), rank = get32(p + 8);
    if (rank > LEDGE_MAX_RANK || type > LEDGE_BFLOAT16 || !ledge__oip_datatype((LedgeType)type))
        return bad(g, name,
                   "a tensor of the guest's answer has no known type, or over 8 dimensions");
    *t = (LedgeTensor){.type = (LedgeType)type, .rank = (int32_t)rank};
    for (int32_t i = 0; i < t->rank; i++) {
        t->dims[i] = get64(p + 24 + 8 * i);
        if (t->dims[i] < 0)
            return bad(g, name, "a tensor of the guest's answer has a dimension below 0");
    }
    return LEDGE_OK;
}

static LedgeStatus get_data(Get *g, const uint8_t *p, const char *name, LedgeTensor *t)
{
    const uint64_t bytes = get32(p + 16);
    const int64_t count = ledge_tensor_count(t);
    const uint8_t *from = get_bytes(g, get32(p + 12), bytes);
    const bool strings = t->type == LEDGE_STRING;
    if (!from)
        return bad(g, name, "a tensor of the guest's answer does not lie in its memory");
    if (count < 0 || (!strings && ledge_tensor_bytes(t) != bytes))
        return bad(g, name,
                   "a tensor of the guest's answer has more or fewer bytes than its shape");
    t->data = ledge__arena_room(g->arena, bytes ? (size_t)bytes : 1);
    if (!t->data)
        return ledge__no_memory(g->err);
    memcpy(t->data, from, (size_t)bytes);
    t->bytes = (size_t)bytes;
    if (strings)
        return ledge__oip_split_strings(name, t->data, (size_t)bytes, (size_t)count, g->arena,
                                        g->err, t);
    for (size_t i = 0; t->type == LEDGE_BOOL && i < t->bytes; i++)
        ((uint8_t *)t->data)[i] = ((uint8_t *)t->data)[i] != 0;
    return LEDGE_OK;
}

static LedgeStatus get_tensors(Get *g, uint32_t address, uint32_t n, LedgeGuestSaid *out)
{
    if (n > GUEST_SERVE_TENSORS)
        return bad(g, "answer", "the guest's answer has more than 64 tensors");
    const uint8_t *p = at(g, address, (uint64_t)n * TENSOR);
    if (!p)
        return bad(g, "answer", "the tensors of the guest's answer do not lie in its memory");
    out->names = ledge__arena_alloc(g->arena, n, sizeof *out->names);
    out->tensors = ledge__arena_alloc(g->arena, n, sizeof *out->tensors);
    if (!out->names || !out->tensors)
        return ledge__no_memory(g->err);
    for (; out->n_tensors < n; out->n_tensors++, p += TENSOR) {
        LedgeTensor *t = &out->tensors[out->n_tensors];
        const char *name = get_text(g, get32(p), LEDGE_OIP_NAME - 1);
        if (!name)
            return bad(g, "answer", "a tensor's name does not lie in the guest's memory");
        out->names[out->n_tensors] = name;
        LEDGE_TRY(get_shape(g, p, name, t));
        LEDGE_TRY(get_data(g, p, name, t));
    }
    return LEDGE_OK;
}

static LedgeStatus get_json(Get *g, uint32_t address, uint32_t n, LedgeGuestSaid *out)
{
    const uint8_t *from = get_bytes(g, address, n);
    LedgeJson j;
    if (!from)
        return bad(g, "answer", "the JSON of the guest's answer does not lie in its memory");
    out->json = ledge__arena_strn(g->arena, (const char *)from, n);
    out->json_bytes = n;
    if (!out->json)
        return ledge__no_memory(g->err);
    ledge__json_begin(&j, out->json, n);
    ledge__json_skip(&j);
    ledge__json_finish(&j);
    return ledge__json_status(&j, "the guest's answer", g->err);
}

static LedgeStatus get_note(Get *g, uint32_t address, uint32_t n, LedgeGuestSaid *out)
{
    const uint8_t *from = n <= NOTE ? get_bytes(g, address, n) : NULL;
    if (!from)
        return bad(g, "answer", "the guest's note does not lie in its memory, or is over 64 KiB");
    out->note = ledge__arena_strn(g->arena, (const char *)from, n);
    out->note_bytes = n;
    return out->note ? LEDGE_OK : ledge__no_memory(g->err);
}

LedgeStatus ledge__guest_wire_get(LedgeGuestMemory memory, uint32_t address, LedgeGuestStage stage,
                                  LedgeArena *arena, LedgeError *err, LedgeGuestSaid *out)
{
    Get g = {.memory = memory, .arena = arena, .err = err, .left = memory.n};
    const uint8_t *p = at(&g, address, ANSWER);
    if (!p)
        return bad(&g, "answer", "the guest's answer does not lie in its memory");
    const uint32_t error = get32(p), json = get32(p + 4), json_bytes = get32(p + 8);
    *out = (LedgeGuestSaid){.json = NULL};
    if (error) {
        const char *text = get_text(&g, error, SENTENCE);
        return text ? ledge__fail(err, LEDGE_ERROR_ARGUMENT, NULL, "%s",
                                  text[0] ? text : "the guest refuses it and does not say why")
                    : bad(&g, "answer", "the guest's refusal does not lie in its memory");
    }
    const uint32_t note = get32(p + 20), note_bytes = get32(p + 24);
    if (note && stage == LEDGE_GUEST_PRE)
        LEDGE_TRY(get_note(&g, note, note_bytes, out));
    if (json && stage == LEDGE_GUEST_POST)
        return get_json(&g, json, json_bytes, out);
    return get_tensors(&g, get32(p + 16), get32(p + 12), out);
}
