/* See lwm_glue.h. The header has, for each function:
 *   / * import: 'wasi_snapshot_preview1' 'fd_close' * /
 *   u32 w2c_wasi__snapshot__preview1_fd_close(struct w2c_wasi__snapshot__preview1*, u32);
 * and the like with export. Only names and types taken from it are written out again. */
#include "wasm/runner/lwm_glue.h"

#include <ctype.h>

typedef struct Declaration {
    char *module, *name;                /* module: NULL for exports */
    char *result, *symbol, *parameters; /* C text; parameters: the first is the instance */
} Declaration;

typedef struct Glue {
    LedgeArena *arena;
    LedgeError *err;
    LedgeText *c;
    char *instance_type; /* "w2c_guest" */
    char *instantiate;   /* its symbol, without the ending */
    char *host_types;    /* parameters of instantiate behind the instance */
    Declaration memory;
    LwmGlue out;
} Glue;

static LedgeStatus odd(Glue *g, const char *line)
{
    return ledge__fail(g->err, LEDGE_ERROR_UNSUPPORTED, NULL,
                       "wasm2c wrote a header that ledge cannot read (%.120s); wabt 1.0.32 to "
                       "1.0.36 are known",
                       line);
}

static char *next_line(char **text)
{
    char *line = *text, *end = strchr(line, '\n');
    if (!*line)
        return NULL;
    *text = end ? end + 1 : line + strlen(line);
    if (end)
        *end = '\0';
    return line;
}

/* 'TEXT' at *p; moves behind it. */
static char *quoted(char **p)
{
    char *begin = strchr(*p, '\''), *end = begin ? strchr(begin + 1, '\'') : NULL;
    if (!end)
        return NULL;
    *end = '\0';
    *p = end + 1;
    return begin + 1;
}

/* "u32 NAME(PARAMETERS);" */
static bool declaration(char *line, Declaration *d)
{
    char *open = strchr(line, '('), *close = strrchr(line, ')');
    if (!open || !close || close < open)
        return false;
    *open = *close = '\0';
    d->parameters = open + 1;
    char *symbol = open;
    while (symbol > line && (isalnum((unsigned char)symbol[-1]) || symbol[-1] == '_'))
        symbol--;
    if (symbol == line || !*symbol)
        return false;
    d->symbol = symbol;
    d->result = line;
    while (symbol > line && symbol[-1] == ' ')
        *--symbol = '\0';
    return true;
}

/* The letter of a C type that wasm2c uses for values; 0 for another. */
static char letter_of(const char *type)
{
    static const struct {
        const char *name;
        char letter;
    } types[] = {{"u32", 'i'}, {"u64", 'I'}, {"f32", 'f'}, {"f64", 'F'}};
    while (*type == ' ')
        type++;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(type, types[i].name) == 0)
            return types[i].letter;
    return 0;
}

static const char *type_of(char letter)
{
    return letter == 'i' ? "u32" : letter == 'I' ? "u64" : letter == 'f' ? "f32" : "f64";
}

/* The parameters behind the instance and the result as letters; NULL: some cannot be passed. */
static const char *signature_of(Glue *g, const Declaration *d)
{
    char text[600];
    size_t n = 0;
    char *save = NULL, *copy = ledge__arena_str(g->arena, d->parameters);
    if (!copy)
        return NULL;
    (void)strtok_r(copy, ",", &save);
    for (char *p; (p = strtok_r(NULL, ",", &save));) {
        if (n + 3 >= sizeof text || !letter_of(p))
            return NULL;
        text[n++] = letter_of(p);
    }
    text[n++] = ':';
    if (strcmp(d->result, "void") != 0) {
        if (!letter_of(d->result))
            return NULL;
        text[n++] = letter_of(d->result);
    }
    return ledge__arena_strn(g->arena, text, n);
}

static void put_values(Glue *g, const char *signature)
{
    ledge__text_printf(g->c, "    uint64_t v[%zu] = {0};\n", strlen(signature) + 1);
    for (size_t i = 0; signature[i] != ':'; i++)
        ledge__text_printf(g->c, "    v[%zu] = lwm_from_%s(a%zu);\n", i, type_of(signature[i]), i);
}

static LedgeStatus add(Glue *g, const Declaration *d, const char *signature, LwmFunctionName **list,
                       size_t *n)
{
    LwmFunctionName *grown = ledge__arena_append(g->arena, *list, *n, sizeof **list);
    if (!grown)
        return ledge__no_memory(g->err);
    *list = grown;
    grown[(*n)++] = (LwmFunctionName){d->module, d->name, signature};
    return LEDGE_OK;
}

static LedgeStatus put_import(Glue *g, const Declaration *d)
{
    const char *signature = signature_of(g, d);
    const size_t index = g->out.n_imports;
    if (!signature)
        return ledge__fail(g->err, LEDGE_ERROR_UNSUPPORTED, NULL,
                           "the import %s.%s takes or gives something else than one number each",
                           d->module, d->name);
    const size_t first = strcspn(d->parameters, ",");
    ledge__text_printf(g->c, "%s %s(%.*s host", d->result, d->symbol, (int)first, d->parameters);
    for (size_t i = 0; signature[i] != ':'; i++)
        ledge__text_printf(g->c, ", %s a%zu", type_of(signature[i]), i);
    ledge__text_add(g->c, ")\n{\n");
    put_values(g, signature);
    ledge__text_printf(g->c, "    lwm_call(host, %zu, v);\n", index);
    if (strcmp(d->result, "void") != 0)
        ledge__text_printf(g->c, "    return lwm_to_%s(v[0]);\n", d->result);
    ledge__text_add(g->c, "}\n");
    return add(g, d, signature, &g->out.imports, &g->out.n_imports);
}

/* Exports that cannot be called by numbers (of vectors, several results) are left out: a guest's
 * other exports work. */
static LedgeStatus put_export(Glue *g, const Declaration *d)
{
    const char *signature = signature_of(g, d);
    if (!signature)
        return LEDGE_OK;
    const bool gives = strcmp(d->result, "void") != 0;
    ledge__text_printf(
        g->c, "static void lwm_export_%zu(void *instance, uint64_t *v)\n{\n    (void)v;\n    ",
        g->out.n_exports);
    if (gives)
        ledge__text_printf(g->c, "v[0] = lwm_from_%s(", d->result);
    ledge__text_printf(g->c, "%s(instance", d->symbol);
    for (size_t i = 0; signature[i] != ':'; i++)
        ledge__text_printf(g->c, ", lwm_to_%s(v[%zu])", type_of(signature[i]), i);
    ledge__text_add(g->c, gives ? "));\n}\n" : ");\n}\n");
    return add(g, d, signature, &g->out.exports, &g->out.n_exports);
}

/* "void wasm2c_guest_instantiate(w2c_guest*, struct w2c_a*, struct w2c_b*)" */
static LedgeStatus take_instantiate(Glue *g, char *line)
{
    static const char ending[] = "_instantiate";
    Declaration d;
    if (!declaration(line, &d))
        return odd(g, line);
    const size_t n = strlen(d.symbol), tail = sizeof ending - 1;
    if (n <= tail || strcmp(d.symbol + n - tail, ending) != 0)
        return odd(g, line);
    d.symbol[n - tail] = '\0';
    g->instantiate = d.symbol;
    g->out.old = strncmp(d.symbol, "Z_", 2) == 0;
    char *comma = strchr(d.parameters, ',');
    g->host_types = comma ? comma + 1 : NULL;
    if (comma)
        *comma = '\0';
    char *star = strchr(d.parameters, '*');
    if (!star)
        return odd(g, line);
    *star = '\0';
    g->instance_type = d.parameters;
    return LEDGE_OK;
}

static LedgeStatus take_export(Glue *g, Declaration *d)
{
    if (strstr(d->result, "wasm_rt_memory_t")) {
        if (!g->memory.symbol)
            g->memory = *d;
        return LEDGE_OK;
    }
    return strchr(d->result, '*') ? LEDGE_OK : put_export(g, d); /* tables, globals */
}

static LedgeStatus take_line(Glue *g, char *line, char **rest)
{
    const bool import = strncmp(line, "/* import: ", 11) == 0;
    Declaration d = {0};
    if (!g->instantiate && strncmp(line, "void ", 5) == 0 && strstr(line, "_instantiate("))
        return take_instantiate(g, line);
    if (!import && strncmp(line, "/* export: ", 11) != 0)
        return LEDGE_OK;
    char *p = line;
    if (import)
        d.module = quoted(&p);
    d.name = quoted(&p);
    char *next = next_line(rest);
    if (!d.name || (import && !d.module) || !next)
        return odd(g, line);
    if (import && strncmp(next, "extern ", 7) == 0)
        return odd(g, next);
    if (!declaration(next, &d))
        return odd(g, next);
    return import ? put_import(g, &d) : take_export(g, &d);
}

static void put_lives(Glue *g)
{
    ledge__text_printf(g->c,
                       "static void lwm_instantiate(void *instance, LwmHost *host)\n{\n"
                       "    (void)host;\n    %s_instantiate(instance",
                       g->instantiate);
    char *save = NULL;
    for (char *p = g->host_types ? strtok_r(g->host_types, ",", &save) : NULL; p;
         p = strtok_r(NULL, ",", &save))
        ledge__text_printf(g->c, ", (%s)(void *)host", p);
    ledge__text_printf(
        g->c, ");\n}\nstatic void lwm_destroy(void *instance)\n{\n    %s_free(instance);\n}\n",
        g->instantiate);
    ledge__text_add(g->c,
                    "static void lwm_memory(void *instance, uint8_t **data, uint64_t *bytes)\n{\n");
    if (g->memory.symbol)
        ledge__text_printf(g->c,
                           "    wasm_rt_memory_t *m = %s(instance);\n    *data = m->data;\n"
                           "    *bytes = (uint64_t)m->pages * LWM_PAGE;\n}\n",
                           g->memory.symbol);
    else
        ledge__text_add(g->c, "    (void)instance;\n    *data = 0;\n    *bytes = 0;\n}\n");
    /* Old wabt makes its function types once per module, before the first instance. */
    ledge__text_add(
        g->c, "static void lwm_start(const LwmServices *services)\n{\n    lwm_bind(services);\n");
    if (g->out.old)
        ledge__text_printf(g->c, "    %s_init_module();\n", g->instantiate);
    ledge__text_add(g->c, "}\n");
}

static void put_table(Glue *g, bool guard_pages)
{
    ledge__text_add(g->c, "static const LwmExport lwm_exports[] = {\n");
    for (size_t i = 0; i < g->out.n_exports; i++)
        ledge__text_printf(g->c, "    {\"%s\", lwm_export_%zu},\n", g->out.exports[i].name, i);
    ledge__text_printf(g->c,
                       "    {0, 0},\n};\n__attribute__((visibility(\"default\"))) const LwmModule "
                       "ledge_wasm_module = {\n    LWM_ABI, %zu, %zu, %d, sizeof(%s), lwm_exports, "
                       "lwm_start, lwm_end, lwm_instantiate, lwm_destroy, lwm_memory,\n};\n",
                       g->out.n_imports, g->out.n_exports, guard_pages, g->instance_type);
}

LedgeStatus ledge__lwm_glue(LedgeArena *arena, char *header, bool guard_pages, LedgeError *err,
                            LedgeText *c, LwmGlue *out)
{
    Glue g = {.arena = arena, .err = err, .c = c};
    char *rest = header;
    g.out.simd = strstr(header, "simde") != NULL || strstr(header, "v128") != NULL;
    g.out.old = strstr(header, "Z_guest_instantiate(") != NULL;
    ledge__text_printf(
        c, "#define LWM_WABT_OLD %d\n#include \"guest_glue.inc\"\n#include \"guest.h\"\n",
        g.out.old);
    for (char *line; (line = next_line(&rest));)
        LEDGE_TRY(take_line(&g, line, &rest));
    if (!g.instantiate)
        return odd(&g, "no function to instantiate it");
    put_lives(&g);
    put_table(&g, guard_pages);
    if (c->failed)
        return ledge__no_memory(err);
    *out = g.out;
    return LEDGE_OK;
}
