/* Reads .npy: a magic, a header that is a Python dictionary literal, then the elements.
 *
 * The header is read by hand: only the three keys that the format has, in any order. Nothing
 * is allocated before the shape is known to fit the bytes that are there. */
#include "image/npy.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "image/file_bytes.h"

#define MAX_FILE (SIZE_MAX / 2 < (uint64_t)4 << 30 ? SIZE_MAX / 2 : (size_t)((uint64_t)4 << 30))

typedef struct Npy {
    const char *name;
    LedgeError *err;
    const char *at, *end; /* the header text */
    LedgeTensor t;
    char kind;   /* numpy's letter: b i u f c S U */
    size_t item; /* bytes per element in the file */
    bool swap, fortran;
    bool has_descr, has_order, has_shape;
} Npy;

static LedgeStatus bad(const Npy *n, const char *what)
{
    return ledge__fail(n->err, LEDGE_ERROR_FORMAT, n->name, "the .npy file is damaged: %s", what);
}

static void skip_blank(Npy *n)
{
    while (n->at < n->end && (*n->at == ' ' || *n->at == '\t' || *n->at == '\n'))
        n->at++;
}

static bool eat(Npy *n, char c)
{
    skip_blank(n);
    if (n->at == n->end || *n->at != c)
        return false;
    n->at++;
    return true;
}

/* A quoted text without escapes. */
static bool eat_text(Npy *n, LedgeStr *out)
{
    skip_blank(n);
    if (n->at == n->end || (*n->at != '\'' && *n->at != '"'))
        return false;
    char quote = *n->at++;
    const char *close = memchr(n->at, quote, (size_t)(n->end - n->at));
    if (!close)
        return false;
    *out = (LedgeStr){n->at, (size_t)(close - n->at)};
    n->at = close + 1;
    return true;
}

static bool eat_word(Npy *n, const char *word)
{
    skip_blank(n);
    size_t k = strlen(word);
    if ((size_t)(n->end - n->at) < k || memcmp(n->at, word, k) != 0)
        return false;
    n->at += k;
    return true;
}

static bool eat_number(Npy *n, int64_t *out)
{
    skip_blank(n);
    const char *start = n->at;
    int64_t v = 0;
    for (; n->at < n->end && *n->at >= '0' && *n->at <= '9'; n->at++)
        if (__builtin_mul_overflow(v, (int64_t)10, &v) ||
            __builtin_add_overflow(v, (int64_t)(*n->at - '0'), &v))
            return false;
    (void)(n->at > start && eat_word(n, "L")); /* Python 2 wrote long integers so */
    *out = v;
    return n->at > start;
}

static LedgeStatus eat_shape(Npy *n)
{
    int64_t dim;
    n->t.rank = 0;
    if (!eat(n, '('))
        return bad(n, "its shape is not a tuple");
    while (!eat(n, ')')) {
        if (!eat_number(n, &dim))
            return bad(n, "its shape is not made of whole numbers");
        if (n->t.rank == LEDGE_MAX_RANK)
            return ledge__fail(n->err, LEDGE_ERROR_LIMIT, n->name,
                               "has over %d dimensions; reshape it first", LEDGE_MAX_RANK);
        n->t.dims[n->t.rank++] = dim;
        if (!eat(n, ',') && (skip_blank(n), n->at == n->end || *n->at != ')'))
            return bad(n, "its shape is not a tuple");
    }
    return LEDGE_OK;
}

static LedgeType type_of(char kind, size_t item)
{
    static const struct {
        char kind;
        uint8_t item;
        LedgeType type;
    } types[] = {
        {'b', 1, LEDGE_BOOL},      {'i', 1, LEDGE_INT8},        {'i', 2, LEDGE_INT16},
        {'i', 4, LEDGE_INT32},     {'i', 8, LEDGE_INT64},       {'u', 1, LEDGE_UINT8},
        {'u', 2, LEDGE_UINT16},    {'u', 4, LEDGE_UINT32},      {'u', 8, LEDGE_UINT64},
        {'f', 2, LEDGE_FLOAT16},   {'f', 4, LEDGE_FLOAT},       {'f', 8, LEDGE_DOUBLE},
        {'c', 8, LEDGE_COMPLEX64}, {'c', 16, LEDGE_COMPLEX128},
    };
    if (kind == 'S' || kind == 'U')
        return LEDGE_STRING;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].kind == kind && types[i].item == item)
            return types[i].type;
    return LEDGE_TYPE_NONE;
}

/* A dtype such as "<f4", "|u1", ">i8", "<U12". */
static LedgeStatus read_descr(Npy *n, LedgeStr d)
{
    Npy digits = *n;
    int64_t item = -1;
    digits.at = d.p + (d.n < 2 ? d.n : 2);
    digits.end = d.p + d.n;
    bool ok = d.n >= 3 && strchr("<>|=", d.p[0]) && eat_number(&digits, &item) &&
              digits.at == digits.end && item <= INT32_MAX;
    n->kind = ok ? d.p[1] : 0;
    n->t.type = ok ? type_of(n->kind, (size_t)item) : LEDGE_TYPE_NONE;
    if (n->t.type == LEDGE_TYPE_NONE)
        return ledge__fail(n->err, LEDGE_ERROR_UNSUPPORTED, n->name,
                           "has dtype '%.*s', which no tensor can hold; save it as a number, bool "
                           "or string type",
                           (int)(d.n < 40 ? d.n : 40), d.p);
    n->item = (size_t)item * (n->kind == 'U' ? 4 : 1);
    n->swap = d.p[0] == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? '>' : '<');
    return LEDGE_OK;
}

static LedgeStatus read_pair(Npy *n)
{
    LedgeStr key, descr;
    if (!eat_text(n, &key) || !eat(n, ':'))
        return bad(n, "its header is no dictionary");
    if (ledge__str_eq(key, "descr") && !n->has_descr) {
        n->has_descr = true;
        skip_blank(n);
        if (n->at < n->end && *n->at == '[')
            return ledge__fail(n->err, LEDGE_ERROR_UNSUPPORTED, n->name,
                               "holds records; save each field as its own .npy file");
        return eat_text(n, &descr) ? read_descr(n, descr) : bad(n, "its dtype is no text");
    }
    if (ledge__str_eq(key, "fortran_order") && !n->has_order) {
        n->has_order = true;
        n->fortran = eat_word(n, "True");
        return n->fortran || eat_word(n, "False") ? LEDGE_OK
                                                  : bad(n, "fortran_order is no truth value");
    }
    if (ledge__str_eq(key, "shape") && !n->has_shape) {
        n->has_shape = true;
        return eat_shape(n);
    }
    return bad(n, "its header has keys that the format does not know");
}

static LedgeStatus read_header(Npy *n)
{
    if (!eat(n, '{'))
        return bad(n, "its header is no dictionary");
    while (!eat(n, '}')) {
        LEDGE_TRY(read_pair(n));
        if (!eat(n, ',') && (skip_blank(n), n->at == n->end || *n->at != '}'))
            return bad(n, "its header is no dictionary");
    }
    if (!n->has_descr || !n->has_order || !n->has_shape)
        return bad(n, "its header lacks descr, fortran_order or shape");
    return LEDGE_OK;
}

/* Position in the file of row-major element `index`, when the file is column-major. */
static size_t fortran_position(const LedgeTensor *t, size_t index)
{
    size_t at[LEDGE_MAX_RANK], position = 0;
    for (int d = t->rank - 1; d >= 0; d--) {
        at[d] = index % (size_t)t->dims[d];
        index /= (size_t)t->dims[d];
    }
    for (int d = t->rank - 1; d >= 0; d--)
        position = position * (size_t)t->dims[d] + at[d];
    return position;
}

static void copy_swapped(const uint8_t *from, uint8_t *to, size_t item, size_t unit)
{
    for (size_t i = 0; i < item; i += unit)
        for (size_t k = 0; k < unit; k++)
            to[i + k] = from[i + unit - 1 - k];
}

static LedgeStatus read_numbers(Npy *n, const LedgeAllocator *a, const uint8_t *from, size_t count)
{
    uint8_t *to = ledge__alloc(a, count, n->item);
    if (!to)
        return ledge__no_memory(n->err);
    n->t.data = to;
    n->t.bytes = count * n->item;
    bool plain = !n->fortran && !n->swap;
    if (plain)
        memcpy(to, from, n->t.bytes);
    for (size_t i = 0; !plain && i < count; i++) {
        const uint8_t *at = from + (n->fortran ? fortran_position(&n->t, i) : i) * n->item;
        if (n->swap)
            copy_swapped(at, to + i * n->item, n->item, n->kind == 'c' ? n->item / 2 : n->item);
        else
            memcpy(to + i * n->item, at, n->item);
    }
    if (n->kind == 'b')
        for (size_t i = 0; i < count; i++)
            to[i] = to[i] != 0;
    return LEDGE_OK;
}

static uint32_t code_point(const uint8_t *p, bool swap)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return swap ? __builtin_bswap32(v) : v;
}

/* Writes a code point as UTF-8; 0: not a Unicode scalar value. */
static size_t utf8(uint32_t c, char *to)
{
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; c >>= 6)
        to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)(lead[n] | c);
    return n;
}

/* One element's text, its padding of zeros cut off. SIZE_MAX: not Unicode. */
static size_t read_text(const Npy *n, const uint8_t *from, char *to)
{
    size_t size = 0, used = 0;
    if (n->kind == 'S') {
        for (size_t i = 0; i < n->item; i++)
            used = from[i] ? i + 1 : used;
        memcpy(to, from, used);
        return used;
    }
    for (size_t i = 0; i < n->item; i += 4)
        used = code_point(from + i, n->swap) ? i + 4 : used;
    for (size_t i = 0; i < used; i += 4) {
        size_t more = utf8(code_point(from + i, n->swap), to + size);
        if (more == 0)
            return SIZE_MAX;
        size += more;
    }
    return size;
}

/* The LedgeString array first, then the bytes that they point to: one block. */
static LedgeStatus read_strings(Npy *n, const LedgeAllocator *a, const uint8_t *from, size_t count)
{
    size_t table, text, total;
    if (!ledge__mul(count, sizeof(LedgeString), &table) || !ledge__mul(count, n->item, &text) ||
        !ledge__add(table, text, &total))
        return bad(n, "its shape overflows");
    LedgeString *strings = ledge__alloc(a, total, 1);
    if (!strings)
        return ledge__no_memory(n->err);
    char *to = (char *)strings + table;
    for (size_t i = 0; i < count; i++) {
        size_t position = n->fortran ? fortran_position(&n->t, i) : i;
        size_t size = n->item ? read_text(n, from + position * n->item, to) : 0;
        if (size == SIZE_MAX) {
            ledge__free(a, strings);
            return bad(n, "a text in it is not Unicode");
        }
        strings[i] = (LedgeString){to, size};
        to += size;
    }
    n->t.data = strings;
    n->t.bytes = table;
    return LEDGE_OK;
}

static LedgeStatus read_elements(Npy *n, const LedgeAllocator *a, const uint8_t *from, size_t left)
{
    int64_t count = ledge_tensor_count(&n->t);
    size_t bytes;
    if (count < 0 || !ledge__mul((size_t)count, n->item, &bytes))
        return ledge__fail(n->err, LEDGE_ERROR_LIMIT, n->name, "its shape overflows");
    /* Elements of no bytes cost a table entry each, which the file does not pay for. */
    if (n->item == 0 && count > (1 << 20))
        return ledge__fail(n->err, LEDGE_ERROR_LIMIT, n->name, "holds over a million empty texts");
    if (bytes > left)
        return ledge__fail(n->err, LEDGE_ERROR_FORMAT, n->name,
                           "is cut off: its shape needs %zu bytes of data and %zu are there; copy "
                           "the file again",
                           bytes, left);
    if (n->t.type == LEDGE_STRING)
        return read_strings(n, a, from, (size_t)count);
    return read_numbers(n, a, from, (size_t)count);
}

LedgeStatus ledge__npy_parse(const LedgeAllocator *a, const char *name, const void *bytes,
                             size_t size, LedgeError *err, LedgeTensor *out)
{
    const uint8_t *p = bytes;
    Npy n = {.name = name, .err = err};
    if (size < 10 || memcmp(p, "\x93NUMPY", 6) != 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, name, "is not a .npy file");
    if (p[6] < 1 || p[6] > 3)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, name,
                           "is a .npy file of version %d; versions 1 to 3 are known", p[6]);
    size_t start = p[6] == 1 ? 10 : 12;
    if (size < start)
        return bad(&n, "it ends inside its header");
    size_t header = p[8] | (size_t)p[9] << 8;
    if (p[6] > 1)
        header |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (header > size - start)
        return bad(&n, "it ends inside its header");
    n.at = (const char *)p + start;
    n.end = n.at + header;
    LEDGE_TRY(read_header(&n));
    LEDGE_TRY(read_elements(&n, ledge__allocator_or_default(a), p + start + header,
                            size - start - header));
    *out = n.t;
    return LEDGE_OK;
}

LedgeStatus ledge__npy_load(const LedgeAllocator *a, const char *path, LedgeError *err,
                            LedgeTensor *out)
{
    uint8_t *bytes;
    size_t size;
    LEDGE_TRY(ledge__file_bytes(a, path, MAX_FILE, err, &bytes, &size));
    LedgeStatus status = ledge__npy_parse(a, path, bytes, size, err, out);
    ledge__free(ledge__allocator_or_default(a), bytes);
    return status;
}

void ledge__npy_free(const LedgeAllocator *a, LedgeTensor *tensor)
{
    if (!tensor)
        return;
    ledge__free(ledge__allocator_or_default(a), tensor->data);
    memset(tensor, 0, sizeof *tensor);
}
