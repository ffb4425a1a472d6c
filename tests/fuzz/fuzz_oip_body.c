/* Fuzz target of Open Inference Protocol requests: JSON with binary tensors behind it.
 *
 * The first two bytes are Inference-Header-Content-Length (65535: no such header), the rest is the
 * body. A region of shared memory is registered as "r". Any bytes: no tensor lies outside body,
 * arena and copies of the region, nothing is written beyond the region, a refusal has a sentence,
 * and what was understood comes out the same when it is written as binary tensors and read again,
 * or when it comes in pieces that are read ahead. */
#include <stdbool.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "fuzz_input.h"
#include "serve/oip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LIMIT ((size_t)1 << 16)

/* Its object has no name any more once it is registered. */
static LedgeRegions *regions(void)
{
    static LedgeRegions *all;
    LedgeRegionInfo info = {.name = "r", .offset = 5, .bytes = 1000};
    if (all)
        return all;
    snprintf(info.key, sizeof info.key, "/ledge-fuzz-%ld", (long)getpid());
    const int fd = shm_open(info.key, O_RDWR | O_CREAT | O_EXCL, 0600);
    check(fd >= 0 && ftruncate(fd, 2000) == 0 && close(fd) == 0);
    check(ledge__regions_new("ledge-fuzz-", NULL, &all) == LEDGE_OK);
    check(ledge__regions_add(all, &info, NULL) == LEDGE_OK && shm_unlink(info.key) == 0);
    return all;
}

/* The first input as every output that is asked for. */
static void write_outputs(const LedgeOipRequest *r)
{
    const char *names[LEDGE_OIP_TENSORS];
    LedgeTensor tensors[LEDGE_OIP_TENSORS];
    LedgeError err = {0};
    LedgeText text = {0};
    size_t json_bytes;
    for (size_t i = 0; i < r->n_outputs; i++) {
        names[i] = r->output[i].name;
        tensors[i] = r->input[0].tensor;
    }
    const LedgeOipAnswer a = {.model = "m",
                              .version = "1",
                              .id = "",
                              .names = names,
                              .outputs = tensors,
                              .n_outputs = r->n_outputs};
    const LedgeStatus s = ledge__oip_write(r, &a, &err, &text, &json_bytes);
    check(s == err.status && (s == LEDGE_OK || err.message[0]));
    ledge__text_free(&text);
}

/* The same bytes as the body of a request to register. */
static void read_region(const char *body, size_t size)
{
    LedgeRegionInfo info;
    LedgeError err = {0};
    const LedgeStatus s = ledge__oip_read_region(body, size, &err, &info);
    check(s == err.status && (s == LEDGE_OK || err.message[0]));
    check(s != LEDGE_OK || (info.key[0] && strlen(info.key) < sizeof info.key &&
                            info.offset <= INT64_MAX && info.bytes <= INT64_MAX));
}

static bool same_strings(const LedgeTensor *a, const LedgeTensor *b, size_t n)
{
    const LedgeString *x = a->data, *y = b->data;
    for (size_t i = 0; i < n; i++)
        if (x[i].size != y[i].size || memcmp(x[i].data, y[i].data, x[i].size) != 0)
            return false;
    return true;
}

static void same_tensor(const LedgeTensor *a, const LedgeTensor *b)
{
    const size_t n = (size_t)ledge_tensor_count(a);
    check(a->type == b->type && a->rank == b->rank);
    check(memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0);
    check(a->type == LEDGE_STRING ? same_strings(a, b, n)
                                  : memcmp(a->data, b->data, ledge_tensor_bytes(a)) == 0);
}

/* "outputs" of the answer become "inputs" of a request. */
static void read_again(const LedgeOipRequest *r, const LedgeText *text, size_t json_bytes)
{
    static LedgeOipRequest back;
    LedgeError err = {0};
    char *body = malloc(text->n + 1);
    LedgeArena *arena = ledge__arena_new(NULL);
    check(body && arena);
    memcpy(body, text->p, text->n);
    char *at = memmem(body, json_bytes, "\"outputs\":[", 11); /* the first: names cannot hold it */
    check(at != NULL);
    memcpy(at, "\"inputs\": [", 11);
    check(ledge__oip_read(body, text->n, json_bytes, 16 * LIMIT, NULL, arena, &err, &back) ==
          LEDGE_OK);
    check(back.n_inputs == r->n_inputs);
    for (size_t i = 0; i < r->n_inputs; i++)
        same_tensor(&r->input[i].tensor, &back.input[i].tensor);
    ledge__arena_free(arena);
    free(body);
}

static void write_back(const LedgeOipRequest *r)
{
    static LedgeOipRequest all;
    const char *names[LEDGE_OIP_TENSORS];
    LedgeTensor tensors[LEDGE_OIP_TENSORS];
    LedgeError err = {0};
    LedgeText text = {0};
    size_t json_bytes;
    for (size_t i = 0; i < r->n_inputs; i++) {
        names[i] = "x"; /* names that are no UTF-8 come out another way */
        tensors[i] = r->input[i].tensor;
        check(ledge_tensor_count(&tensors[i]) >= 0 && tensors[i].data);
    }
    const LedgeOipAnswer a = {.model = "m",
                              .version = "1",
                              .id = "",
                              .names = names,
                              .outputs = tensors,
                              .n_outputs = r->n_inputs};
    all.binary_default = true;
    check(ledge__oip_write(&all, &a, &err, &text, &json_bytes) == LEDGE_OK && json_bytes > 0);
    read_again(r, &text, json_bytes);
    ledge__text_free(&text);
}

/* The same body as it comes in, in pieces: what was read of it on the way must change nothing. */
static void read_in_pieces(const uint8_t *data, size_t size, const LedgeOipRequest *r,
                           const LedgeError *err)
{
    static LedgeOipRequest other;
    LedgeError again = {0};
    LedgeOipAhead ahead = {.off = false};
    LedgeArena *arena = ledge__arena_new(NULL);
    char *body = malloc(size + 1);
    check(arena && body);
    for (size_t have = 0; have < size;) {
        const size_t left = size - have, piece = 1 + have % 3 * (size / 5) + have % 7;
        memcpy(body + have, data + have, piece < left ? piece : left);
        have += piece < left ? piece : left;
        ledge__oip_ahead(&ahead, body, have, size, LIMIT);
    }
    const LedgeStatus s =
        ledge__oip_read(body, size, SIZE_MAX, LIMIT, &ahead, arena, &again, &other);
    check(s == err->status && strcmp(again.message, err->message) == 0 &&
          strcmp(again.where, err->where) == 0);
    check(s != LEDGE_OK || other.n_inputs == r->n_inputs);
    for (size_t i = 0; s == LEDGE_OK && i < r->n_inputs; i++)
        check(!r->input[i].shared == !other.input[i].shared);
    for (size_t i = 0; s == LEDGE_OK && i < r->n_inputs; i++)
        if (!r->input[i].shared)
            same_tensor(&r->input[i].tensor, &other.input[i].tensor);
    ledge__arena_free(arena);
    ledge__oip_ahead_free(&ahead);
    free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static LedgeOipRequest request;
    LedgeError err = {0};
    if (size < 2)
        return 0;
    const size_t header = data[0] | (size_t)data[1] << 8;
    LedgeArena *arena = ledge__arena_new(NULL);
    char *body = malloc(size - 1);
    check(arena && body);
    memcpy(body, data + 2, size - 2);
    read_region(body, size - 2);
    request.shares = false; /* of the bytes before */
    LedgeStatus s = ledge__oip_read(body, size - 2, header == 65535 ? SIZE_MAX : header, LIMIT,
                                    NULL, arena, &err, &request);
    check(s == err.status && (s == LEDGE_OK || err.message[0]));
    if (header == 65535)
        read_in_pieces(data + 2, size - 2, &request, &err);
    if (s == LEDGE_OK && request.shares)
        s = ledge__oip_fetch(&request, regions(), LIMIT, arena, &err);
    check(s == err.status && (s == LEDGE_OK || err.message[0]));
    if (s == LEDGE_OK) {
        write_back(&request);
        if (request.n_outputs)
            write_outputs(&request);
    }
    ledge__oip_release(&request);
    ledge__arena_free(arena);
    free(body);
    return 0;
}
