/* A guest for `ledge serve` that does wrong what the first byte of the body names. In lower case it
 * does so after the model, else before it; 'W' does what it should. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ledge/guest/guest_serve.h"

static GuestAnswer answer;
static GuestTensor tensors[65];
static char after; /* what the second half is to do: the note */
static volatile int sink;

void *ledge_alloc(uint32_t bytes)
{
    return malloc(bytes);
}

void ledge_free(void *block)
{
    free(block);
}

static int deep(int n)
{
    volatile char frame[200];
    frame[n % 200] = (char)n;
    return n < 0 ? 0 : deep(n + 1) + frame[(n * 7) % 200];
}

/* The model's input, all 0. */
static const GuestAnswer *right(const GuestRequest *r)
{
    static float zeros[1 << 16];
    tensors[0] = r->inputs[0];
    tensors[0].data = zeros;
    tensors[0].bytes = 4;
    for (uint32_t i = 0; i < tensors[0].rank; i++) {
        if (tensors[0].dims[i] < 0)
            tensors[0].dims[i] = 1;
        tensors[0].bytes *= (uint32_t)tensors[0].dims[i];
    }
    answer = (GuestAnswer){
        .n_tensors = 1, .tensors = tensors, .note = &after, .note_bytes = sizeof after};
    return &answer;
}

/* One tensor that is wrong in the way that `what` names. */
static const GuestAnswer *bent(const GuestRequest *r, char what)
{
    right(r);
    GuestTensor *t = &tensors[0];
    if (what == 'n')
        t->name = "nobody";
    if (what == 'p')
        t->name = (const char *)0xfffffff0;
    if (what == 't')
        t->type = GUEST_INT64;
    if (what == 'u')
        t->type = 77;
    if (what == 'r')
        t->rank = 9;
    if (what == 'd')
        t->dims[0] = -5;
    if (what == 'h')
        t->dims[0] = INT64_MAX;
    if (what == 's')
        t->bytes -= 4;
    if (what == 'a')
        t->data = (void *)0xfffff000;
    if (what == 'o')
        answer.note_bytes = 1 << 17;
    if (what == '6')
        answer.n_tensors = 65;
    if (what == 'm') { /* the same bytes again and again: more than all the memory */
        for (int i = 0; i < 64; i++)
            tensors[i] = (GuestTensor){
                .name = "x", .type = GUEST_UINT8, .rank = 1, .bytes = 1 << 17, .dims = {1 << 17}};
        answer.n_tensors = 64;
    }
    if (what == 'g') { /* strings that lie about their length */
        static const uint32_t lies[] = {0xffffffff, 1};
        *t = (GuestTensor){.name = t->name,
                           .type = GUEST_STRING,
                           .rank = 1,
                           .bytes = 8,
                           .data = (void *)lies,
                           .dims = {2}};
    }
    return &answer;
}

static const GuestAnswer *wrong(char what)
{
    answer = (GuestAnswer){.json = "{}", .json_bytes = 2};
    switch (what) {
    case 'L':
        for (;;)
            sink++;
    case 'T':
        __builtin_trap();
    case 'D':
        sink = deep(0);
        return NULL;
    case 'M':
        for (volatile char *p; (p = malloc(1 << 16)) != NULL;)
            *p = 1;
        return NULL;
    case 'N':
        return NULL;
    case 'P':
        return (const GuestAnswer *)0xfffffffc;
    case 'X':
        _exit(5);
    case 'E':
        answer.error = (const char *)0xfffffff0;
        return &answer;
    case 'R':
        answer.error = "not \"this\" one\n";
        return &answer;
    case 'J':
        answer.json = "{\"a\":}";
        answer.json_bytes = 6;
        return &answer;
    case 'K':
        answer.json_bytes = 0xffffffff;
        return &answer;
    case 'O': /* neither JSON nor tensors */
        answer = (GuestAnswer){.json = NULL};
        return &answer;
    default:
        return &answer;
    }
}

const GuestAnswer *ledge_preprocess(const GuestRequest *r)
{
    const char what = r->body_bytes ? (char)r->body[0] : 'W';
    after = what >= 'a' && what <= 'z' ? (char)(what - 'a' + 'A') : 'W';
    if (what == '+')
        return bent(r, r->body_bytes > 1 ? (char)r->body[1] : '?');
    return what == 'W' || after != 'W' ? right(r) : wrong(what);
}

const GuestAnswer *ledge_postprocess(const GuestRequest *r)
{
    return r->note_bytes == 1 ? wrong(*(const char *)r->note) : NULL;
}
