/* What the subcommands share: their table, options, messages, progress and JSON.
 *
 * A command is one CliCommand: its words for --help and its run function, which parses its own
 * options by cli_parse. Results go to stdout, all else to stderr; with --json stdout carries
 * one JSON object and nothing more. Exit codes are stable, people script them. */
#ifndef LEDGE_CLI_CLI_H
#define LEDGE_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "ledge/ledge.h"

enum {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_BAD_INPUT = 3, /* a file (or what it asks for) cannot be taken */
    CLI_REFUSED = 4,   /* strict provider refusal */
    CLI_GATE = 5       /* accuracy or latency gate refused */
};

/* ---- options (options.c) ---- */

typedef enum CliKind {
    CLI_FLAG, /* bool */
    CLI_INT,  /* int64_t between min and max */
    CLI_TEXT, /* const char * */
    CLI_LIST  /* CliList: may be given again and again */
} CliKind;

typedef struct CliList {
    const char **items;
    size_t n;
} CliList;

typedef struct CliOption {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    CliKind kind;
    const char *value; /* what the help calls the value; NULL for flags */
    const char *help;
    size_t offset; /* into the command's options structure */
    int64_t min, max;
} CliOption;

typedef struct CliCommand CliCommand;
struct CliCommand {
    const char *name;
    const char *arguments; /* "MODEL INPUT..." */
    const char *summary;   /* one line for `ledge help` */
    const char *description;
    const CliOption *options;
    size_t n_options;
    int (*run)(const CliCommand *c, int argc, char **argv);
};

/* What is left besides options; freed by cli_args_free, with the lists in `options`. */
typedef struct CliArgs {
    const char **items;
    size_t n;
    void *memory;
} CliArgs;

#define CLI_GO (-1)
/* Fills `options` (set to the defaults before) and *args from argv[1…]. Returns CLI_GO, or the
 * exit code to end with: --help was printed, or a mistake was. At least `min_args` and at most
 * `max_args` arguments are asked for. */
int cli_parse(const CliCommand *c, int argc, char **argv, size_t min_args, size_t max_args,
              void *options, CliArgs *args);
void cli_args_free(CliArgs *args);
/* Index of `word` among the n names, `absent` for NULL, -1 for an unknown one. */
int cli_choose(const char *word, int absent, const char *const *names, int n);
/* Whether the whole of `text` is a number from low to high, then in *out. */
bool cli_number(const char *text, double low, double high, double *out);
/* The one of `names` that `word` was probably meant to be, or NULL. */
const char *cli_nearest(const char *word, const char *const *names, size_t n);
/* A usage mistake: prints the sentence and how to get help; gives CLI_USAGE. */
int cli_usage(const CliCommand *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define CLI_OPTION_JSON(S)                                                                         \
    {                                                                                              \
        "json", 0, CLI_FLAG, NULL, "print one JSON object and nothing else", offsetof(S, json), 0, \
            0                                                                                      \
    }
/* The pictures that a command works on. */
#define CLI_OPTION_IMAGES(S)                                                                       \
    {                                                                                              \
        "images", 'd', CLI_TEXT, "DIR", "folder of .jpg and .png pictures", offsetof(S, images),   \
            0, 0                                                                                   \
    }
#define CLI_OPTION_LABELS(S)                                                                       \
    {                                                                                              \
        "labels", 'l', CLI_TEXT, "FILE", "CSV of file,class_id for the pictures in it",            \
            offsetof(S, labels), 0, 0                                                              \
    }
#define CLI_OPTION_DATASET(S)                                                                      \
    {                                                                                              \
        "dataset", 0, CLI_TEXT, "SET", "instead: cifar10:FILE or mnist:IMAGES[,LABELS]",           \
            offsetof(S, dataset), 0, 0                                                             \
    }
#define CLI_OPTION_LIMIT(S)                                                                        \
    {                                                                                              \
        "limit", 'n', CLI_INT, "N", "only the first N pictures", offsetof(S, limit), 0, INT32_MAX  \
    }
#define CLI_OPTION_PREPROCESS(S)                                                                   \
    {                                                                                              \
        "preprocess", 0, CLI_TEXT, "P",                                                            \
            "imagenet, tf, caffe, none or FILE.json; else the model's own",                        \
            offsetof(S, preprocess), 0, 0                                                          \
    }
#define CLI_OPTION_THREADS(S)                                                                      \
    {                                                                                              \
        "threads", 't', CLI_INT, "N", "threads to run on; 0 takes every fast core",                \
            offsetof(S, threads), 0, 1024                                                          \
    }
#define CLI_OPTION_CPU(S)                                                                          \
    {                                                                                              \
        "cpu", 0, CLI_TEXT, "LEVEL", "highest CPU level whose kernels may be chosen, e.g. avx2",   \
            offsetof(S, cpu), 0, 0                                                                 \
    }
#define CLI_OPTION_HOST(S)                                                                         \
    {                                                                                              \
        "host", 0, CLI_TEXT, "ADDRESS", "address to listen on (127.0.0.1)", offsetof(S, host), 0,  \
            0                                                                                      \
    }
/* own: the one that is taken without it, as text. */
#define CLI_OPTION_PORT(S, own)                                                                    \
    {                                                                                              \
        "port", 'p', CLI_INT, "N", "port to listen on (" own "); 0 takes one that is free",        \
            offsetof(S, port), 0, 65535                                                            \
    }
#define CLI_OPTION_CONNECTIONS(S, own)                                                             \
    {                                                                                              \
        "connections", 0, CLI_INT, "N", "most connections at a time (" own ")",                    \
            offsetof(S, connections), 1, 1000000                                                   \
    }
#define CLI_OPTION_TLS_CERT(S)                                                                     \
    {                                                                                              \
        "tls-cert", 0, CLI_TEXT, "FILE", "certificate chain in PEM, for HTTPS",                    \
            offsetof(S, certificate), 0, 0                                                         \
    }
#define CLI_OPTION_TLS_KEY(S)                                                                      \
    {                                                                                              \
        "tls-key", 0, CLI_TEXT, "FILE", "its private key in PEM", offsetof(S, key), 0, 0           \
    }
#define CLI_OPTION_SHAPE(S)                                                                        \
    {                                                                                              \
        "shape", 0, CLI_LIST, "NAME=AxBxC", "dimensions of an input whose own are free",           \
            offsetof(S, shapes), 0, 0                                                              \
    }

/* ---- messages (output.c) ---- */

/* From here on errors are JSON too. */
void cli_set_json(bool on);
/* "ledge: FILE: where: message"; file may be NULL. Gives the exit code for the status. */
int cli_fail(const char *file, const LedgeError *err);
/* The same with a message of our own. */
int cli_fail_with(const char *file, LedgeStatus status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* For files being written: what cannot be written is CLI_FAILED, not a bad input. */
int cli_fail_writing(const char *file, const LedgeError *err);
void cli_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints and frees the object; CLI_OK, or CLI_FAILED when stdout cannot be written. */
int cli_print_json(json_t *object);
/* CLI_FAILED with a sentence when stdout could not take all that was printed. */
int cli_finish(void);

/* Text of a model or file, safe for a terminal: control characters become '?'. Valid until the
 * eighth call after this one. */
const char *cli_clean(const char *text);
/* JSON string of any bytes; not valid UTF-8 is replaced. */
json_t *cli_json_text(const char *text);
json_t *cli_json_real(double v); /* null for NaN and infinities */

/* Progress on stderr, if that is a terminal. done == total ends the line. */
void cli_progress(const char *what, size_t done, size_t total);
void cli_progress_end(void);

/* "1.23 GB"; valid until the eighth call after this one. */
const char *cli_bytes(uint64_t n);
const char *cli_count(uint64_t n); /* "1.23 M" */

/* Names of the features in `flags` (base/cpu.h) that ledge has kernels for (cmd_doctor.c). */
size_t cli_cpu_features(uint32_t flags, const char **names, size_t most);

/* ---- tensors in words (tensor_text.c) ---- */

/* "float32 [N,3,224,224]"; valid as above. */
const char *cli_info_text(const LedgeTensorInfo *info);
const char *cli_tensor_text(const LedgeTensor *t);
json_t *cli_info_json(const LedgeTensorInfo *info);
bool cli_is_number(LedgeType type);

/* ---- the commands ---- */

#define COMMAND(name)       extern const CliCommand cli_##name;
#define SERVE_COMMAND(name) COMMAND(name)
#define FLEET_COMMAND(name) COMMAND(name)
#include "cli/commands.def"
#undef COMMAND
#undef SERVE_COMMAND
#undef FLEET_COMMAND

/* The path of the program `name`, such as "ledge-serve", of this very build or installation. */
bool cli_program_beside(const char *name, char *path, size_t size);

#endif
