/* The option parser: fills a structure by a table, prints --help from the same table, and
 * guesses what a mistyped word was meant to be. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"

int cli_choose(const char *word, int absent, const char *const *names, int n)
{
    for (int i = 0; word && i < n; i++)
        if (strcmp(word, names[i]) == 0)
            return i;
    return word ? -1 : absent;
}

bool cli_number(const char *text, double low, double high, double *out)
{
    char *end;
    errno = 0;
    const double v = strtod(text, &end);
    if (errno || end == text || *end || !(v >= low && v <= high))
        return false;
    *out = v;
    return true;
}

const char *cli_nearest(const char *word, const char *const *names, size_t n)
{
    return ledge__nearest(word, names, n);
}

/* ---- help ---- */

static void print_option(const CliOption *o)
{
    char left[64];
    if (!o->help) /* for ledge's own use */
        return;
    int n = o->letter ? snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name)
                      : snprintf(left, sizeof left, "      --%s", o->name);
    if (o->value)
        snprintf(left + n, sizeof left - (size_t)n, " %s", o->value);
    printf("%-28s  %s\n", left, o->help);
}

static int print_help(const CliCommand *c)
{
    printf("usage: ledge %s [OPTION...] %s\n\n%s\n\noptions:\n", c->name, c->arguments,
           c->description);
    for (size_t i = 0; i < c->n_options; i++)
        print_option(&c->options[i]);
    print_option(&(CliOption){"help", 'h', CLI_FLAG, NULL, "print this", 0, 0, 0});
    return cli_finish();
}

int cli_usage(const CliCommand *c, const char *fmt, ...)
{
    char text[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cli_fail_with(NULL, LEDGE_ERROR_ARGUMENT, "%s (see 'ledge %s --help')", text, c->name);
    return CLI_USAGE;
}

/* ---- parsing ---- */

static const CliOption *find(const CliCommand *c, const char *name, size_t n)
{
    for (size_t i = 0; i < c->n_options; i++)
        if (strlen(c->options[i].name) == n && strncmp(c->options[i].name, name, n) == 0)
            return &c->options[i];
    return NULL;
}

static const CliOption *find_letter(const CliCommand *c, char letter)
{
    for (size_t i = 0; i < c->n_options; i++)
        if (letter && c->options[i].letter == letter)
            return &c->options[i];
    return NULL;
}

static int unknown_option(const CliCommand *c, const char *word)
{
    char name[LEDGE_WORD_MAX + 1];
    const char *names[64];
    size_t n = 0;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    for (; n < c->n_options && n < 63; n++)
        names[n] = c->options[n].name;
    names[n++] = "help";
    const char *near = word[1] == '-' ? cli_nearest(name, names, n) : NULL;
    if (near)
        return cli_usage(c, "unknown option '%s'; did you mean '--%s'?", cli_clean(word), near);
    return cli_usage(c, "unknown option '%s'", cli_clean(word));
}

static int set_int(const CliCommand *c, const CliOption *o, const char *value, int64_t *to)
{
    char *end;
    errno = 0;
    const long long v = strtoll(value, &end, 10);
    if (errno || end == value || *end || v < o->min || v > o->max)
        return cli_usage(c, "--%s takes a whole number from %lld to %lld, not '%s'", o->name,
                         (long long)o->min, (long long)o->max, cli_clean(value));
    *to = v;
    return CLI_GO;
}

static int set(const CliCommand *c, const CliOption *o, const char *value, void *options, int argc,
               CliArgs *args)
{
    void *to = (char *)options + o->offset;
    CliList *list = to;
    switch (o->kind) {
    case CLI_FLAG:
        *(bool *)to = true;
        return CLI_GO;
    case CLI_INT:
        return set_int(c, o, value, to);
    case CLI_TEXT:
        *(const char **)to = value;
        return CLI_GO;
    case CLI_LIST:
        break;
    }
    if (!list->items) /* args->memory has room for each option's list */
        list->items = args->items + (size_t)argc * (size_t)(1 + (o - c->options));
    list->items[list->n++] = value;
    return CLI_GO;
}

/* The option that argv[*i] names, its value taken from there or from the next word. */
static int parse_option(const CliCommand *c, int argc, char **argv, int *i, void *options,
                        CliArgs *args)
{
    const char *word = argv[*i], *value = NULL;
    const CliOption *o = NULL;
    if (word[1] == '-') {
        const size_t n = strcspn(word + 2, "=");
        o = find(c, word + 2, n);
        value = word[2 + n] ? word + 3 + n : NULL;
    } else {
        o = find_letter(c, word[1]);
        value = o && word[2] ? word + 2 : NULL;
    }
    if (!o)
        return unknown_option(c, word);
    if (o->kind == CLI_FLAG && value)
        return cli_usage(c, "--%s takes no value", o->name);
    if (o->kind != CLI_FLAG && !value) {
        if (*i + 1 >= argc)
            return cli_usage(c, "--%s needs a value: %s", o->name, o->value);
        value = argv[++*i];
    }
    return set(c, o, value, options, argc, args);
}

static bool wants(int argc, char **argv, const char *word, const char *letter)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], word) == 0 || (letter && strcmp(argv[i], letter) == 0))
            return true;
    return false;
}

static int check_count(const CliCommand *c, const CliArgs *args, size_t min_args, size_t max_args)
{
    if (args->n < min_args)
        return cli_usage(c, "'ledge %s' needs %s", c->name, c->arguments);
    if (args->n > max_args)
        return cli_usage(c, "'%s' is one argument too many for 'ledge %s'",
                         cli_clean(args->items[max_args]), c->name);
    return CLI_GO;
}

int cli_parse(const CliCommand *c, int argc, char **argv, size_t min_args, size_t max_args,
              void *options, CliArgs *args)
{
    bool only_arguments = false;
    *args = (CliArgs){0};
    if (wants(argc, argv, "--help", "-h"))
        return print_help(c);
    cli_set_json(wants(argc, argv, "--json", NULL));
    args->memory = calloc((size_t)argc * (c->n_options + 1), sizeof *args->items);
    if (!args->memory)
        return cli_fail_with(NULL, LEDGE_ERROR_MEMORY, "out of memory");
    args->items = args->memory;
    for (int i = 1; i < argc; i++) {
        int code = CLI_GO;
        if (!only_arguments && strcmp(argv[i], "--") == 0)
            only_arguments = true;
        else if (!only_arguments && argv[i][0] == '-' && argv[i][1])
            code = parse_option(c, argc, argv, &i, options, args);
        else
            args->items[args->n++] = argv[i];
        if (code != CLI_GO) {
            cli_args_free(args);
            return code;
        }
    }
    int code = check_count(c, args, min_args, max_args);
    if (code != CLI_GO)
        cli_args_free(args);
    return code;
}

void cli_args_free(CliArgs *args)
{
    free(args->memory);
    *args = (CliArgs){0};
}
