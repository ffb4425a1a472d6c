/* A disk that loses what was not synced, for tests.
 *
 * Whatever a process does to files below a root is done, and written down in a log that all
 * processes of a boot share (power_shim.c stands between them and the C library). At an operation
 * chosen beforehand all of them die, and power_fail makes the root anew as a disk could have it:
 * of what no fsync of the file, or of the folder, had confirmed, chance takes some away
 * (power_replay.c). The same operations may also find the disk full for a while.
 *
 * A boot: power_begin; processes start, each with power_on or with LD_PRELOAD and LEDGE_POWERCUT;
 * they die by themselves or by power_cut; power_fail. */
#ifndef LEDGE_TESTS_POWERCUT_H
#define LEDGE_TESTS_POWERCUT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { POWER_PATH = 512 };

typedef enum PowerKind {
    POWER_CREATE, /* a file gets a name */
    POWER_FILE,   /* a file without a name */
    POWER_MKDIR,
    POWER_SYMLINK,
    POWER_LINK,
    POWER_RENAME,
    POWER_REMOVE,
    POWER_WRITE,
    POWER_TRUNCATE,
    POWER_SYNC,
    POWER_MODE,
    POWER_START /* all before it is on the disk */
} PowerKind;

/* An entry of the log; behind it lie the bytes of a write, or paths below the root. */
typedef struct PowerEntry {
    uint32_t kind, mode;
    uint64_t inode, offset, size; /* size: of what lies behind */
} PowerEntry;

typedef struct PowerControl {
    pthread_mutex_t lock; /* between processes; held during an operation and its entry */
    char root[POWER_PATH];
    uint64_t count;              /* operations since the beginning of this boot */
    uint64_t cut_at;             /* before this one all die; 0: never */
    uint64_t full_from, full_to; /* these find no room */
    bool is_cut;
    uint64_t refused; /* how often there was no room */
    uint64_t used;    /* bytes of the log */
    char log[];
} PowerControl;

enum { POWER_FILE_SIZE = 256 << 20 };

/* What a power cut did. */
typedef struct PowerLoss {
    size_t names, names_lost;   /* changes of folders that nothing had confirmed */
    size_t writes, writes_lost; /* writes and truncations likewise, wholly or in part */
} PowerLoss;

/* The file that holds control and log, made anew for `root` where that is not NULL. NULL: failed.
 */
PowerControl *power_open(const char *file, const char *root);
void power_close(PowerControl *c);
/* What is below the root is now on the disk, and counting begins. */
bool power_begin(PowerControl *c, uint64_t cut_at, uint64_t full_from, uint64_t full_to);
/* From now on this process is one of the boot; a test calls it behind fork. */
void power_on(PowerControl *c);
/* The end of a boot, wherever its processes are: each dies before its next operation, and none is
 * in the midst of one when this returns. */
void power_cut(PowerControl *c);
/* What the disk has. Gives false where the log cannot be understood. */
bool power_fail(PowerControl *c, unsigned seed, PowerLoss *loss);

/* ---- between the files ---- */

void power_lock(PowerControl *c);
bool power_add(PowerControl *c, PowerEntry e, const void *bytes, size_t size, const void *more,
               size_t more_size);

#endif
