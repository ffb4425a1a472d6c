/* Reading inference requests. */
#include "serve/oip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHERE "request"

static const struct {
    const char *name;
    LedgeType type;
} datatypes[] = {{"BOOL", LEDGE_BOOL},     {"UINT8", LEDGE_UINT8},   {"UINT16", LEDGE_UINT16},
                 {"UINT32", LEDGE_UINT32}, {"UINT64", LEDGE_UINT64}, {"INT8", LEDGE_INT8},
                 {"INT16", LEDGE_INT16},   {"INT32", LEDGE_INT32},   {"INT64", LEDGE_INT64},
                 {"FP16", LEDGE_FLOAT16},  {"FP32", LEDGE_FLOAT},    {"FP64", LEDGE_DOUBLE},
                 {"BYTES", LEDGE_STRING},  {"BF16", LEDGE_BFLOAT16}};
#define N_DATATYPES (sizeof datatypes / sizeof *datatypes)

const char *ledge__oip_datatype(LedgeType type)
{
    for (size_t i = 0; i < N_DATATYPES; i++)
        if (datatypes[i].type == type)
            return datatypes[i].name;
    return NULL;
}

typedef struct Reader {
    LedgeJson j;
    char *blobs; /* what follows the JSON */
    size_t blob_bytes, blob_at, limit;
    LedgeArena *arena;
    LedgeError *err;
    LedgeOipRequest *r;
    LedgeStatus status; /* of what is wrong beyond JSON */
    const char *end;    /* of the JSON, when all of it is there */
    const LedgeOipAhead *ahead;
    LedgeOipAhead *looking; /* instead of reading: for an array to read ahead */
} Reader;

/* A place in shared memory, as it is being read. */
typedef struct Place {
    LedgeOipShared at;
    bool has_region, has_size, has_offset;
} Place;

/* One entry of "inputs", as it is being read. */
typedef struct Entry {
    LedgeOipInput *in;
    bool has_name, has_type, has_shape, has_data, filled;
    LedgeJson data; /* where the data begin, when they came before type or shape */
    int64_t binary; /* bytes of its blob, -1: none */
    Place place;
} Entry;

static LedgeStatus fail(Reader *r, LedgeStatus s, const char *where, const char *what)
{
    if (r->status == LEDGE_OK)
        r->status = ledge__fail(r->err, s, where, "%s", what);
    return r->status;
}

static void read_datatype(Reader *r, Entry *e)
{
    char name[16];
    ledge__json_string(&r->j, name, sizeof name);
    for (size_t i = 0; i < N_DATATYPES; i++)
        if (strcmp(datatypes[i].name, name) == 0) {
            e->in->tensor.type = datatypes[i].type;
            e->has_type = true;
            return;
        }
    ledge__json_fault(&r->j, "an unknown datatype");
}

static void read_shape(Reader *r, Entry *e)
{
    LedgeTensor *t = &e->in->tensor;
    t->rank = 0;
    ledge__json_array(&r->j);
    while (ledge__json_element(&r->j)) {
        const int64_t d = ledge__json_integer(&r->j);
        if (t->rank == LEDGE_MAX_RANK)
            ledge__json_fault(&r->j, "a shape of more than 8 dimensions");
        else if (d < 0)
            ledge__json_fault(&r->j, "a dimension below 0");
        else
            t->dims[t->rank++] = d;
    }
    e->has_shape = true;
}

/* Elements and bytes of the tensor, within the limit. */
static LedgeStatus measure(const LedgeOipInput *in, size_t limit, LedgeError *err, size_t *count,
                           size_t *bytes)
{
    const LedgeTensor *t = &in->tensor;
    *count = 1;
    for (int32_t i = 0; i < t->rank; i++)
        if (!ledge__mul(*count, (size_t)t->dims[i], count))
            return ledge__fail(err, LEDGE_ERROR_LIMIT, in->name, "the shape is beyond all bounds");
    if (!ledge__mul(*count, ledge_type_bits(t->type) / 8, bytes) || *bytes > limit)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, in->name,
                           "the tensor is larger than this server takes");
    return LEDGE_OK;
}

static size_t read_strings(LedgeJson *j, LedgeString *out, size_t room)
{
    size_t n = 0;
    const int base = j->depth;
    ledge__json_array(j);
    while (!j->bad && j->depth > base) {
        if (!ledge__json_element(j))
            continue;
        if (ledge__json_peek(j) == LEDGE_JSON_ARRAY) {
            ledge__json_array(j);
        } else if (n == room) {
            ledge__json_fault(j, "more strings than the shape has room for");
        } else {
            const LedgeStr s = ledge__json_bytes(j);
            out[n++] = (LedgeString){s.p, s.n};
        }
    }
    return n;
}

/* Memory for the array that begins at `j`, and its first bracket. */
static void begin_ahead(Reader *r, const LedgeTensor *t, size_t count, size_t bytes,
                        const LedgeJson *j)
{
    LedgeOipAhead *a = r->looking;
    a->off = t->type == LEDGE_STRING || t->type == LEDGE_FLOAT16 || t->type == LEDGE_BFLOAT16;
    if (a->off)
        return;
    a->from = j->p;
    a->j = *j;
    ledge__json_numbers_begin(&a->j, &a->numbers);
    if (a->j.bad) /* it has not come yet, or never will */
        return;
    a->numbers.type = t->type;
    a->numbers.room = count;
    a->numbers.out = aligned_alloc(LEDGE_ALIGN, ledge__round_up(bytes + 1, LEDGE_ALIGN));
    a->off = !a->numbers.out;
}

/* Numbers into memory of the arena, or on where they were read before. */
static size_t fill_numbers(Reader *r, LedgeTensor *t, size_t count, LedgeJson *j)
{
    const LedgeOipAhead *a = r->ahead;
    if (!a || t->data != a->numbers.out)
        return ledge__json_numbers(j, t->type, t->data, count);
    LedgeJsonNumbers numbers = a->numbers;
    const char *end = j->end;
    *j = a->j;
    j->end = end;
    ledge__json_numbers_end(j, &numbers);
    return numbers.n;
}

static bool was_read_ahead(const Reader *r, const LedgeTensor *t, size_t count, const LedgeJson *j)
{
    const LedgeOipAhead *a = r->ahead;
    return a && a->numbers.out && a->from == j->p && a->numbers.type == t->type &&
           a->numbers.room == count;
}

/* JSON data into memory of the arena; `j` stands at the array. */
static void fill(Reader *r, Entry *e, LedgeJson *j)
{
    LedgeTensor *t = &e->in->tensor;
    size_t count, bytes, got;
    r->status = measure(e->in, r->limit, r->err, &count, &bytes);
    if (r->status)
        return;
    /* Two bytes of JSON hold at most one number: a shape cannot ask for more than was sent. */
    if (count > (size_t)(r->end - j->p) / 2 + 1) {
        fail(r, LEDGE_ERROR_SHAPE, e->in->name, "the shape needs more values than \"data\" holds");
        return;
    }
    if (r->looking) {
        begin_ahead(r, t, count, bytes, j);
        ledge__json_fault(j, "");
        return;
    }
    t->data = was_read_ahead(r, t, count, j) ? r->ahead->numbers.out
                                             : ledge__arena_room(r->arena, bytes ? bytes : 1);
    t->bytes = bytes;
    if (!t->data) {
        fail(r, LEDGE_ERROR_MEMORY, e->in->name, "out of memory");
        return;
    }
    if (t->type == LEDGE_STRING)
        got = read_strings(j, t->data, count);
    else if (t->type == LEDGE_FLOAT16 || t->type == LEDGE_BFLOAT16) {
        ledge__json_fault(j, "FP16 and BF16 go as binary tensors only");
        return;
    } else
        got = fill_numbers(r, t, count, j);
    if (!j->bad && got != count)
        fail(r, LEDGE_ERROR_SHAPE, e->in->name, "\"data\" holds fewer values than the shape needs");
    e->filled = true;
}

static void read_data(Reader *r, Entry *e)
{
    e->has_data = true;
    if (e->has_type && e->has_shape) {
        fill(r, e, &r->j);
    } else {
        e->data = r->j;
        ledge__json_skip(&r->j);
    }
}

/* Whether the key is one of a place in shared memory; its value is read then. */
static bool read_place(Reader *r, const char *key, Place *p)
{
    static const char below[] = "a place in shared memory below 0";
    if (strcmp(key, "shared_memory_region") == 0) {
        ledge__json_string(&r->j, p->at.region, sizeof p->at.region);
        p->has_region = true;
    } else if (strcmp(key, "shared_memory_byte_size") == 0) {
        p->at.bytes = (uint64_t)ledge__json_natural(&r->j, below);
        p->has_size = true;
    } else if (strcmp(key, "shared_memory_offset") == 0) {
        p->at.offset = (uint64_t)ledge__json_natural(&r->j, below);
        p->has_offset = true;
    } else {
        return false;
    }
    return true;
}

/* The place, kept for when the request is complete; NULL: there is none, or it is wrong. */
static LedgeOipShared *keep_place(Reader *r, const Place *p, const char *name)
{
    if ((!p->has_region && !p->has_size && !p->has_offset) || r->j.bad || r->looking)
        return NULL;
    LedgeOipShared *s = ledge__arena_alloc(r->arena, 1, sizeof *s);
    if (!p->has_region || !p->has_size) {
        fail(r, LEDGE_ERROR_FORMAT, name,
             "a tensor in shared memory needs \"shared_memory_region\" and "
             "\"shared_memory_byte_size\"");
        return NULL;
    }
    if (!s) {
        fail(r, LEDGE_ERROR_MEMORY, name, "out of memory");
        return NULL;
    }
    *s = p->at;
    r->r->shares = true;
    return s;
}

static void read_input_parameters(Reader *r, Entry *e)
{
    char key[32];
    ledge__json_object(&r->j);
    while (ledge__json_member(&r->j, key, sizeof key)) {
        if (strcmp(key, "binary_data_size") == 0) {
            e->binary = ledge__json_natural(&r->j, "binary_data_size below 0");
        } else if (!read_place(r, key, &e->place)) {
            ledge__json_skip(&r->j);
        }
    }
}

LedgeStatus ledge__oip_split_strings(const char *name, const char *p, size_t size, size_t count,
                                     LedgeArena *arena, LedgeError *err, LedgeTensor *t)
{
    LedgeString *out = count <= size / 4 ? ledge__arena_alloc(arena, count, sizeof *out) : NULL;
    if (!out)
        return count <= size / 4 ? ledge__no_memory(err)
                                 : ledge__fail(err, LEDGE_ERROR_SHAPE, name,
                                               "the data are too few for so many strings");
    for (size_t i = 0; i < count; i++) {
        const unsigned char *u = (const unsigned char *)p;
        const size_t n =
            size < 4 ? SIZE_MAX
                     : (size_t)u[0] | (size_t)u[1] << 8 | (size_t)u[2] << 16 | (size_t)u[3] << 24;
        if (size < 4 || n > size - 4)
            return ledge__fail(err, LEDGE_ERROR_FORMAT, name,
                               "a string is longer than the binary data");
        out[i] = (LedgeString){p + 4, n};
        p += 4 + n;
        size -= 4 + n;
    }
    if (size != 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, name,
                           "bytes are left over behind the last string");
    t->data = out;
    t->bytes = count * sizeof *out;
    return LEDGE_OK;
}

LedgeStatus ledge__oip_take(LedgeOipInput *in, char *p, uint64_t size, const char *said,
                            size_t limit, LedgeArena *arena, LedgeError *err)
{
    LedgeTensor *t = &in->tensor;
    size_t count, bytes;
    LEDGE_TRY(measure(in, limit, err, &count, &bytes));
    if (t->type == LEDGE_STRING)
        return ledge__oip_split_strings(in->name, p, (size_t)size, count, arena, err, t);
    if (size != bytes)
        return ledge__fail(err, LEDGE_ERROR_SHAPE, in->name,
                           "%s is not what shape and datatype need", said);
    t->data = p;
    t->bytes = bytes;
    if ((uintptr_t)p % LEDGE_ALIGN != 0) { /* kernels load whole vectors */
        t->data = ledge__arena_room(arena, bytes ? bytes : 1);
        if (!t->data)
            return ledge__no_memory(err);
        memcpy(t->data, p, bytes);
    }
    if (t->type == LEDGE_BOOL)
        for (size_t i = 0; i < bytes; i++)
            ((uint8_t *)t->data)[i] = ((uint8_t *)t->data)[i] != 0;
    return LEDGE_OK;
}

static LedgeStatus take_blob(Reader *r, Entry *e)
{
    if ((uint64_t)e->binary > r->blob_bytes - r->blob_at)
        return fail(r, LEDGE_ERROR_FORMAT, e->in->name,
                    "binary_data_size is more than what follows the JSON");
    char *p = r->blobs + r->blob_at;
    r->blob_at += (size_t)e->binary;
    return r->status = ledge__oip_take(e->in, p, (uint64_t)e->binary, "binary_data_size", r->limit,
                                       r->arena, r->err);
}

static void finish_input(Reader *r, Entry *e)
{
    if (r->j.bad || r->status)
        return;
    if (r->looking) { /* the first input has no array, or names it before its type */
        r->looking->off = true;
        ledge__json_fault(&r->j, "");
        return;
    }
    if (!e->has_name || !e->has_type || !e->has_shape) {
        fail(r, LEDGE_ERROR_FORMAT, e->has_name ? e->in->name : WHERE,
             "an input needs \"name\", \"datatype\" and \"shape\"");
        return;
    }
    e->in->shared = keep_place(r, &e->place, e->in->name);
    if (r->status)
        return;
    if (e->has_data + (e->binary >= 0) + (e->in->shared != NULL) != 1) {
        fail(r, LEDGE_ERROR_FORMAT, e->in->name,
             "an input needs either \"data\", or a \"binary_data_size\" with the bytes behind the "
             "JSON, or a place in shared memory");
    } else if (e->binary >= 0) {
        (void)take_blob(r, e);
    } else if (e->has_data && !e->filled) {
        fill(r, e, &e->data);
        if (e->data.bad) {
            r->j.bad = e->data.bad;
            r->j.p = e->data.p;
        }
    }
}

static void read_input(Reader *r)
{
    char key[32];
    if (r->r->n_inputs == LEDGE_OIP_TENSORS) {
        ledge__json_fault(&r->j, "more than 64 inputs");
        return;
    }
    Entry e = {.in = &r->r->input[r->r->n_inputs], .binary = -1};
    *e.in = (LedgeOipInput){0};
    ledge__json_object(&r->j);
    while (r->status == LEDGE_OK && ledge__json_member(&r->j, key, sizeof key)) {
        if (strcmp(key, "name") == 0) {
            ledge__json_string(&r->j, e.in->name, sizeof e.in->name);
            e.has_name = true;
        } else if (strcmp(key, "datatype") == 0 && !e.has_type) {
            read_datatype(r, &e);
        } else if (strcmp(key, "shape") == 0 && !e.has_shape) {
            read_shape(r, &e);
        } else if (strcmp(key, "data") == 0 && !e.has_data) {
            read_data(r, &e);
        } else if (strcmp(key, "parameters") == 0) {
            read_input_parameters(r, &e);
        } else {
            ledge__json_skip(&r->j);
        }
    }
    finish_input(r, &e);
    r->r->n_inputs++;
}

static void read_output_parameters(Reader *r, LedgeOipOutput *out, Place *place)
{
    char key[32];
    ledge__json_object(&r->j);
    while (ledge__json_member(&r->j, key, sizeof key)) {
        if (strcmp(key, "binary_data") == 0)
            out->binary = ledge__json_bool(&r->j);
        else if (!read_place(r, key, place))
            ledge__json_skip(&r->j);
    }
}

static void read_output(Reader *r)
{
    char key[32];
    Place place = {.has_size = false};
    if (r->r->n_outputs == LEDGE_OIP_TENSORS) {
        ledge__json_fault(&r->j, "more than 64 outputs");
        return;
    }
    LedgeOipOutput *out = &r->r->output[r->r->n_outputs++];
    *out = (LedgeOipOutput){.binary = r->r->binary_default};
    ledge__json_object(&r->j);
    while (ledge__json_member(&r->j, key, sizeof key)) {
        if (strcmp(key, "name") == 0)
            ledge__json_string(&r->j, out->name, sizeof out->name);
        else if (strcmp(key, "parameters") == 0)
            read_output_parameters(r, out, &place);
        else
            ledge__json_skip(&r->j);
    }
    if (!r->j.bad && !out->name[0])
        ledge__json_fault(&r->j, "an output without a name");
    out->shared = keep_place(r, &place, out->name);
}

static void read_parameters(Reader *r)
{
    char key[32];
    ledge__json_object(&r->j);
    while (ledge__json_member(&r->j, key, sizeof key)) {
        if (strcmp(key, "binary_data_output") == 0) {
            r->r->binary_default = ledge__json_bool(&r->j);
        } else if (strcmp(key, "timeout") == 0) {
            const int64_t us = ledge__json_integer(&r->j);
            if (us < 0)
                ledge__json_fault(&r->j, "a timeout below 0");
            r->r->timeout = (double)us * 1e-6;
        } else {
            ledge__json_skip(&r->j);
        }
    }
}

/* "outputs" are read last, since "parameters" anywhere says how they come by default. */
static void read_request(Reader *r)
{
    char key[32];
    LedgeJson outputs = {0};
    ledge__json_object(&r->j);
    while (r->status == LEDGE_OK && ledge__json_member(&r->j, key, sizeof key)) {
        if (strcmp(key, "id") == 0) {
            ledge__json_string(&r->j, r->r->id, sizeof r->r->id);
        } else if (strcmp(key, "inputs") == 0) {
            ledge__json_array(&r->j);
            while (r->status == LEDGE_OK && ledge__json_element(&r->j))
                read_input(r);
        } else if (strcmp(key, "outputs") == 0 && !outputs.p) {
            outputs = r->j;
            ledge__json_skip(&r->j);
        } else if (strcmp(key, "parameters") == 0) {
            read_parameters(r);
        } else {
            ledge__json_skip(&r->j);
        }
    }
    if (r->status)
        return;
    ledge__json_finish(&r->j);
    if (r->j.bad || !outputs.p)
        return;
    r->j = outputs; /* now that binary_data_output is known */
    ledge__json_array(&r->j);
    while (r->status == LEDGE_OK && ledge__json_element(&r->j))
        read_output(r);
}

LedgeStatus ledge__oip_read(char *body, size_t size, size_t json_bytes, size_t limit,
                            const LedgeOipAhead *ahead, LedgeArena *arena, LedgeError *err,
                            LedgeOipRequest *out)
{
    if (json_bytes != SIZE_MAX && json_bytes > size)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, WHERE,
                           "Inference-Header-Content-Length is %zu, but the body has %zu bytes",
                           json_bytes, size);
    const size_t json = json_bytes == SIZE_MAX ? size : json_bytes;
    Reader r = {.blobs = body + json,
                .blob_bytes = size - json,
                .limit = limit,
                .arena = arena,
                .err = err,
                .r = out,
                .end = body + json,
                .ahead = ahead};
    out->id[0] = '\0';
    out->n_inputs = out->n_outputs = 0;
    out->binary_default = out->shares = false;
    out->fetched = NULL;
    out->timeout = 0;
    ledge__json_begin(&r.j, body, json);
    read_request(&r);
    if (r.status)
        return r.status;
    LEDGE_TRY(ledge__json_status(&r.j, WHERE, err));
    if (out->n_inputs == 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, WHERE, "\"inputs\" is missing or empty");
    if (r.blob_at != r.blob_bytes)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, WHERE,
                           "%zu bytes behind the JSON belong to no input",
                           r.blob_bytes - r.blob_at);
    return LEDGE_OK;
}

/* ---- while it comes in ---- */

/* Tried again when twice as much is there, so that all tries together cost what one does. */
static void find_array(LedgeOipAhead *a, char *body, size_t have, size_t whole, size_t limit)
{
    LedgeError err = {0};
    if (have / 2 < a->tried)
        return;
    a->tried = have;
    LedgeOipRequest *scratch = calloc(1, sizeof *scratch);
    if (!scratch) {
        a->off = true;
        return;
    }
    Reader r = {.limit = limit, .err = &err, .r = scratch, .end = body + whole, .looking = a};
    ledge__json_begin(&r.j, body, have);
    read_request(&r);
    free(scratch);
}

bool ledge__oip_ahead(LedgeOipAhead *a, char *body, size_t have, size_t whole, size_t limit)
{
    if (!a->off && !a->numbers.out)
        find_array(a, body, have, whole, limit);
    if (!a->numbers.out)
        return !a->off;
    const char *before = a->j.p;
    a->j.end = body + have;
    ledge__json_numbers_ahead(&a->j, &a->numbers);
    return a->j.p != before;
}

void ledge__oip_ahead_free(LedgeOipAhead *a)
{
    free(a->numbers.out);
    a->numbers.out = NULL;
}
