/* Fuzz target of WASI preview 1: a guest whose calls are the input's bytes.
 *
 * Each step calls a function with raw words, small numbers, places in the guest's memory where
 * paths and lists lie, or descriptors. The memory is a block of its exact size; a folder is given
 * that holds a link out of it. Whatever comes: an errno of WASI, nothing read from outside that
 * folder, nothing written or made there, and no descriptor of the host's left open. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz_input.h"
#include "wasm/runner/wasi_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY = 1 << 12, PATHS = 0x100, LIST = 0x300, OUT = 0x380, BUFFER = 0x400, STEPS = 60 };
#define SECRET "what lies outside"

static const char *const paths[] = {
    "a",   "sub",        "../outside", "link/x",   "sub/../../outside",
    "out", "/etc/group", "",           "sub/../a", "link"};
enum { N_PATHS = sizeof paths / sizeof *paths };

/* ---- the guest and its folder ---- */

static uint8_t *memory;
static char root[64], inside[80];

static void give_memory(void *instance, uint8_t **data, uint64_t *bytes)
{
    (void)instance;
    *data = memory;
    *bytes = MEMORY;
}

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *at)
{
    (void)s, (void)kind;
    return at->level ? remove(path) : 0;
}

static void empty(const char *folder)
{
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void remove_all(void)
{
    empty(root);
    rmdir(root);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    check(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void make_link(const char *name, const char *to)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", inside, name);
    check(symlink(to, path) == 0);
}

static void fill_inside(void)
{
    char path[160];
    empty(inside);
    write_file(inside, "a", "inside");
    snprintf(path, sizeof path, "%s/sub", inside);
    check(mkdir(path, 0700) == 0);
    make_link("link", "../outside");
    make_link("out", "../outside/secret");
}

static void set_up(void)
{
    char path[160];
    strcpy(root, "/tmp/ledge-fuzz-wasi-XXXXXX");
    check(mkdtemp(root) != NULL);
    snprintf(inside, sizeof inside, "%s/in", root);
    snprintf(path, sizeof path, "%s/outside", root);
    check(mkdir(inside, 0700) == 0 && mkdir(path, 0700) == 0);
    write_file(path, "secret", SECRET);
    memory = malloc(MEMORY);
    check(memory != NULL);
    atexit(remove_all);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){1 << 16, 1 << 16}); /* fd_allocate and the like */
}

static void fill_memory(void)
{
    memset(memory, 0, MEMORY);
    for (int i = 0; i < N_PATHS; i++)
        strcpy((char *)memory + PATHS + 32 * i, paths[i]);
    for (int i = 0; i < 4; i++) { /* buffers of readv and the like */
        wasi_put(memory + LIST + 8 * i, BUFFER + 64u * (unsigned)i, 4);
        wasi_put(memory + LIST + 8 * i + 4, 64, 4);
    }
}

/* ---- a step ---- */

static uint64_t argument(Input *in)
{
    const uint8_t how = byte(in), b = byte(in);
    switch (how % 6) {
    case 0:
        return word(in, 8);
    case 1:
        return b; /* descriptors, lengths, flags */
    case 2:
        return PATHS + 32u * (b % N_PATHS);
    case 3:
        return strlen(paths[b % N_PATHS]);
    case 4:
        return (const uint64_t[]){LIST, OUT, BUFFER, MEMORY - 8}[b % 4];
    default:
        return 3 + b % 4; /* the folder, and what was opened in it */
    }
}

/* Some end the guest by a jump, or wait. */
static bool may_call(const GuestFunction *f)
{
    return strcmp(f->name, "proc_exit") != 0 && strcmp(f->name, "poll_oneoff") != 0;
}

static void step(LedgeGuest *g, Input *in)
{
    uint64_t values[16] = {0};
    size_t n = 0;
    while (ledge__wasi_functions[n].name)
        n++;
    const GuestFunction *f = &ledge__wasi_functions[byte(in) % n];
    for (size_t i = 0; i < strcspn(f->signature, ":"); i++) {
        values[i] = argument(in);
        if (f->signature[i] == 'i')
            values[i] = (uint32_t)values[i];
    }
    if (!may_call(f))
        return;
    f->run(g, values, f);
    check(values[0] <= 76); /* the last errno of WASI */
}

static int open_descriptors(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    check(d != NULL);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void check_outside(void)
{
    char path[160], text[64] = "";
    int n = 0;
    snprintf(path, sizeof path, "%s/outside/secret", root);
    FILE *f = fopen(path, "r");
    check(f && fgets(text, sizeof text, f) && fclose(f) == 0 && strcmp(text, SECRET) == 0);
    snprintf(path, sizeof path, "%s/outside", root);
    const char *const folders[] = {root, path};
    for (int i = 0; i < 2; i++) {
        DIR *d = opendir(folders[i]);
        check(d != NULL);
        while (readdir(d))
            n++;
        closedir(d);
    }
    check(n == 4 + 3); /* ".", "..", in, outside; ".", "..", secret */
    check(!memmem(memory, MEMORY, SECRET, strlen(SECRET)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const LwmModule code = {.memory = give_memory};
    static LedgeGuestModule module = {.code = &code};
    static const char *const args[] = {"guest", "a longer argument"}, *const env[] = {"A=b"};
    Input in = {data, size};
    LedgeError err = {0};
    if (!memory)
        set_up();
    fill_inside();
    fill_memory();
    const bool read_only = byte(&in) & 1;
    ledge__wasi_no_openat2 = size & 1; /* both ways of keeping paths inside */
    const LedgeGuestDir dir = {inside, "/in", read_only};
    LedgeGuest g = {.module = &module,
                    .o = {.args = args,
                          .n_args = 2,
                          .env = env,
                          .n_env = 1,
                          .dirs = &dir,
                          .n_dirs = 1,
                          .no_stdin = true}};
    const int before = open_descriptors();
    check(ledge__wasi_new(&g.o, &err, &g.wasi) == LEDGE_OK);
    for (int i = 1; i < 3; i++) { /* what it writes is not wanted here */
        g.wasi->fds[i].host = open("/dev/null", O_WRONLY);
        g.wasi->fds[i].owned = true;
    }
    for (int i = 0; i < STEPS && in.left; i++)
        step(&g, &in);
    ledge__wasi_free(g.wasi);
    check(open_descriptors() == before);
    check_outside();
    return 0;
}
