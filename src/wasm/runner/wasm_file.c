/* Reading the sections of a .wasm file (WebAssembly Core Specification 2.0, chapter 5). */
#include "wasm/runner/wasm_file.h"

#include <stdio.h>

enum {
    SECTION_TYPE = 1,
    SECTION_IMPORT = 2,
    SECTION_FUNCTION = 3,
    SECTION_MEMORY = 5,
    SECTION_EXPORT = 7
};
enum { MOST_ITEMS = 100000, MOST_VALUES = 256, MOST_NAME = 1024 };

typedef struct Reader {
    LedgeArena *arena;
    LedgeError *err;
    const uint8_t *start, *p, *end;
    const char **types; /* signatures */
    uint32_t n_types;
    uint32_t *functions; /* type of each */
    uint32_t n_functions;
} Reader;

static LedgeStatus bad(const Reader *r, const char *what)
{
    char where[32];
    snprintf(where, sizeof where, "byte %zu", (size_t)(r->p - r->start));
    return ledge__fail(r->err, LEDGE_ERROR_FORMAT, where, "the module is damaged: %s", what);
}

static LedgeStatus byte(Reader *r, uint8_t *out)
{
    if (r->p == r->end)
        return bad(r, "it ends too early");
    *out = *r->p++;
    return LEDGE_OK;
}

/* LEB128 of 32 bits. */
static LedgeStatus number(Reader *r, uint32_t *out)
{
    uint64_t v = 0;
    uint8_t b = 0x80;
    for (unsigned shift = 0; b & 0x80; shift += 7) {
        if (shift > 28)
            return bad(r, "a number has more than 32 bits");
        LEDGE_TRY(byte(r, &b));
        v |= (uint64_t)(b & 0x7f) << shift;
    }
    if (v > UINT32_MAX)
        return bad(r, "a number has more than 32 bits");
    *out = (uint32_t)v;
    return LEDGE_OK;
}

/* Every item takes a byte at least, so that what follows bounds the count. */
static LedgeStatus count(Reader *r, uint32_t *out)
{
    LEDGE_TRY(number(r, out));
    if (*out > (size_t)(r->end - r->p))
        return bad(r, "a list is longer than the section that holds it");
    if (*out > MOST_ITEMS)
        return ledge__fail(r->err, LEDGE_ERROR_LIMIT, NULL,
                           "the module lists %u things of a kind; %d are the most that is taken",
                           *out, MOST_ITEMS);
    return LEDGE_OK;
}

/* A name that can stand in a C comment and in a message: wasm2c writes it into both. */
static LedgeStatus name(Reader *r, const char **out)
{
    uint32_t n;
    LEDGE_TRY(number(r, &n));
    if (n > (size_t)(r->end - r->p))
        return bad(r, "a name is longer than its section");
    if (n > MOST_NAME)
        return ledge__fail(r->err, LEDGE_ERROR_LIMIT, NULL, "a name has %u bytes", n);
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t c = r->p[i];
        if (c < 0x20 || c > 0x7e || strchr("*'\"\\?", c))
            return ledge__fail(r->err, LEDGE_ERROR_UNSUPPORTED, NULL,
                               "a name of an import or export holds the byte 0x%02x; only plain "
                               "ASCII without * ' \" \\ and ? is taken",
                               c);
    }
    *out = ledge__arena_strn(r->arena, (const char *)r->p, n);
    r->p += n;
    return *out ? LEDGE_OK : ledge__no_memory(r->err);
}

/* ---- types ---- */

static char letter_of(uint8_t type)
{
    switch (type) {
    case 0x7f:
        return 'i';
    case 0x7e:
        return 'I';
    case 0x7d:
        return 'f';
    case 0x7c:
        return 'F';
    case 0x7b:
        return 'v';
    case 0x70:
    case 0x6f:
        return 'r';
    default:
        return 0;
    }
}

static LedgeStatus value_types(Reader *r, char *text, size_t *n)
{
    uint32_t values;
    uint8_t b = 0;
    LEDGE_TRY(count(r, &values));
    if (values > MOST_VALUES)
        return ledge__fail(r->err, LEDGE_ERROR_LIMIT, NULL,
                           "a function has %u parameters or results", values);
    for (uint32_t i = 0; i < values; i++) {
        LEDGE_TRY(byte(r, &b));
        text[*n] = letter_of(b);
        if (!text[(*n)++])
            return bad(r, "a value is of no known type");
    }
    return LEDGE_OK;
}

static LedgeStatus read_types(Reader *r, WasmFile *f)
{
    uint32_t n;
    uint8_t form = 0;
    (void)f;
    LEDGE_TRY(count(r, &n));
    r->types = ledge__arena_alloc(r->arena, (size_t)n + 1, sizeof *r->types);
    if (!r->types)
        return ledge__no_memory(r->err);
    for (; r->n_types < n; r->n_types++) {
        char text[2 * MOST_VALUES + 2];
        size_t used = 0;
        LEDGE_TRY(byte(r, &form));
        if (form != 0x60)
            return bad(r, "a type is no function type");
        LEDGE_TRY(value_types(r, text, &used));
        text[used++] = ':';
        LEDGE_TRY(value_types(r, text, &used));
        r->types[r->n_types] = ledge__arena_strn(r->arena, text, used);
        if (!r->types[r->n_types])
            return ledge__no_memory(r->err);
    }
    return LEDGE_OK;
}

static LedgeStatus function_type(Reader *r, uint32_t *out)
{
    LEDGE_TRY(number(r, out));
    return *out < r->n_types ? LEDGE_OK : bad(r, "a function is of a type that is not there");
}

static LedgeStatus add_function(Reader *r, uint32_t type)
{
    uint32_t *grown =
        ledge__arena_append(r->arena, r->functions, r->n_functions, sizeof *r->functions);
    if (!grown)
        return ledge__no_memory(r->err);
    r->functions = grown;
    r->functions[r->n_functions++] = type;
    return LEDGE_OK;
}

/* ---- memories, tables, globals ---- */

static LedgeStatus limits(Reader *r, bool memory, uint32_t *least, uint32_t *most)
{
    uint8_t flags = 0;
    LEDGE_TRY(byte(r, &flags));
    if (memory && flags > 1)
        return ledge__fail(r->err, LEDGE_ERROR_UNSUPPORTED, NULL,
                           "the module's memory is shared or has 64-bit addresses");
    LEDGE_TRY(number(r, least));
    *most = UINT32_MAX;
    if (flags & 1)
        LEDGE_TRY(number(r, most));
    if (*most < *least)
        return bad(r, "a minimum is over its maximum");
    return LEDGE_OK;
}

static LedgeStatus memory_limits(Reader *r, WasmFile *f)
{
    if (f->has_memory)
        return ledge__fail(r->err, LEDGE_ERROR_UNSUPPORTED, NULL, "the module has two memories");
    LEDGE_TRY(limits(r, true, &f->pages, &f->most_pages));
    f->has_memory = true;
    if (f->most_pages > WASM_MOST_PAGES)
        f->most_pages = WASM_MOST_PAGES;
    return f->pages <= WASM_MOST_PAGES ? LEDGE_OK : bad(r, "its memory is over 4 GiB");
}

static LedgeStatus skip_kind(Reader *r, uint8_t kind, WasmFile *f)
{
    uint32_t least, most;
    uint8_t b;
    switch (kind) {
    case WASM_TABLE:
        LEDGE_TRY(byte(r, &b));
        return limits(r, false, &least, &most);
    case WASM_MEMORY:
        return memory_limits(r, f);
    case WASM_GLOBAL:
        LEDGE_TRY(byte(r, &b));
        return byte(r, &b);
    default:
        return bad(r, "something of no known kind is imported");
    }
}

static LedgeStatus read_imports(Reader *r, WasmFile *f)
{
    uint32_t n, type;
    uint8_t kind = 0;
    LEDGE_TRY(count(r, &n));
    f->imports = ledge__arena_alloc(r->arena, (size_t)n + 1, sizeof *f->imports);
    if (!f->imports)
        return ledge__no_memory(r->err);
    for (uint32_t i = 0; i < n; i++) {
        WasmImport *m = &f->imports[i];
        m->signature = "";
        LEDGE_TRY(name(r, &m->module));
        LEDGE_TRY(name(r, &m->name));
        LEDGE_TRY(byte(r, &kind));
        m->kind = (WasmKind)kind;
        if (kind == WASM_FUNCTION) {
            LEDGE_TRY(function_type(r, &type));
            LEDGE_TRY(add_function(r, type));
            m->signature = r->types[type];
        } else {
            LEDGE_TRY(skip_kind(r, kind, f));
        }
        f->n_imports++;
    }
    return LEDGE_OK;
}

static LedgeStatus read_functions(Reader *r, WasmFile *f)
{
    uint32_t n, type;
    (void)f;
    LEDGE_TRY(count(r, &n));
    for (uint32_t i = 0; i < n; i++) {
        LEDGE_TRY(function_type(r, &type));
        LEDGE_TRY(add_function(r, type));
    }
    return LEDGE_OK;
}

static LedgeStatus read_memories(Reader *r, WasmFile *f)
{
    uint32_t n;
    LEDGE_TRY(count(r, &n));
    for (uint32_t i = 0; i < n; i++)
        LEDGE_TRY(memory_limits(r, f));
    return LEDGE_OK;
}

static LedgeStatus read_exports(Reader *r, WasmFile *f)
{
    uint32_t n, index;
    uint8_t kind = 0;
    LEDGE_TRY(count(r, &n));
    f->exports = ledge__arena_alloc(r->arena, (size_t)n + 1, sizeof *f->exports);
    if (!f->exports)
        return ledge__no_memory(r->err);
    for (uint32_t i = 0; i < n; i++) {
        WasmExport *e = &f->exports[i];
        LEDGE_TRY(name(r, &e->name));
        LEDGE_TRY(byte(r, &kind));
        LEDGE_TRY(number(r, &index));
        if (kind > WASM_GLOBAL)
            return bad(r, "something of no known kind is exported");
        e->kind = (WasmKind)kind;
        e->signature = "";
        if (kind == WASM_FUNCTION) {
            if (index >= r->n_functions)
                return bad(r, "an export names a function that is not there");
            e->signature = r->types[r->functions[index]];
        }
        f->n_exports++;
    }
    return LEDGE_OK;
}

/* ---- */

static LedgeStatus read_section(Reader *r, uint8_t id, WasmFile *f)
{
    static LedgeStatus (*const readers[])(Reader *, WasmFile *) = {
        [SECTION_TYPE] = read_types,         [SECTION_IMPORT] = read_imports,
        [SECTION_FUNCTION] = read_functions, [SECTION_MEMORY] = read_memories,
        [SECTION_EXPORT] = read_exports,
    };
    if (id >= sizeof readers / sizeof *readers || !readers[id])
        return LEDGE_OK;
    return readers[id](r, f);
}

LedgeStatus ledge__wasm_file_read(LedgeArena *arena, const uint8_t *bytes, size_t size,
                                  LedgeError *err, WasmFile *out)
{
    Reader r = {.arena = arena, .err = err, .start = bytes, .p = bytes, .end = bytes + size};
    WasmFile f = {0};
    uint32_t seen = 0;
    if (size < 8 || memcmp(bytes, "\0asm", 4) != 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, NULL,
                           "is no WebAssembly module (it does not begin with \\0asm)");
    if (memcmp(bytes + 4, "\1\0\0\0", 4) != 0)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, NULL,
                           "is a WebAssembly component or of another version; a core module of "
                           "version 1 is wanted (target wasm32-wasi or wasm32-wasip1)");
    r.p += 8;
    while (r.p < r.end) {
        uint8_t id;
        uint32_t n;
        LEDGE_TRY(byte(&r, &id));
        LEDGE_TRY(number(&r, &n));
        if (n > (size_t)(r.end - r.p))
            return bad(&r, "a section is longer than the file");
        if (id && id < 32 && (seen >> id & 1))
            return bad(&r, "a section comes twice");
        seen |= id < 32 ? 1u << id : 0;
        Reader part = r;
        part.end = r.p + n;
        LEDGE_TRY(read_section(&part, id, &f));
        if (id == SECTION_TYPE || id == SECTION_IMPORT || id == SECTION_FUNCTION) {
            r.types = part.types;
            r.n_types = part.n_types;
            r.functions = part.functions;
            r.n_functions = part.n_functions;
        }
        r.p += n;
    }
    *out = f;
    return LEDGE_OK;
}
