/* The agent's folder: everything that it knows, so that a device that loses power at any moment
 * goes on from it.
 *
 *   lock                        held by the one process that changes things
 *   identity                    device id, where none was given
 *   tuf/root timestamp ...      trusted metadata
 *   answer.json                 the last poll's answer
 *   slots/NAME.json             slot.h; the one truth about what runs
 *   versions/NAME/VERSION/      a whole version with its release.json, never changed but to repair
 *   versions/NAME/.new          one that is being put together
 *   shadow/NAME.onnx            link to one that only runs beside it
 *   serve/NAME.onnx             link to the model file that runs: what `ledge serve` is given
 *   blobs/SHA256[.part]         downloads
 *   queue/…                     telemetry (spool.h)
 *   status.json                 what happened last, for people and for the resident process
 *
 * Small files are replaced whole and brought to the disk (base/out_file.h). A version's folder
 * gets its name when all that is in it is on the disk. The link follows the slot: it is set anew
 * whenever they differ. */
#ifndef LEDGE_AGENT_STATE_H
#define LEDGE_AGENT_STATE_H

#include "fleet/agent/slot.h"
#include "fleet/protocol/tuf_client.h"

enum { LEDGE_AGENT_PATH = 1024 };

typedef struct LedgeAgentDir {
    char path[512];
    int lock; /* -1: not held */
} LedgeAgentDir;

/* exclusive: makes the folder and those in it where they are missing, and takes the lock, which is
 * released by close. Else nothing is made: whoever only looks may be another user. Statuses: IO,
 * ARGUMENT (path too long), MISMATCH (another process has it). */
LEDGE_MUST_CHECK LedgeStatus ledge__agent_open(LedgeAgentDir *d, const char *path, bool exclusive,
                                               LedgeError *err);
void ledge__agent_close(LedgeAgentDir *d);
/* Where root runs this process and the folder is another user's, it goes on as that user, with the
 * folder's group and no other. For good; before threads begin. IO. */
LEDGE_MUST_CHECK LedgeStatus ledge__agent_become_owner(const char *path, LedgeError *err);

/* PATH/…; false: longer than LEDGE_AGENT_PATH. */
bool ledge__agent_path(const LedgeAgentDir *d, char out[LEDGE_AGENT_PATH], const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Small files, by their name in the folder. What `read` gives is freed with free() and ends with a
 * NUL. Statuses: NOT_FOUND, LIMIT, IO, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__agent_read(const LedgeAgentDir *d, const char *name, size_t max,
                                               LedgeError *err, char **out, size_t *size);
LEDGE_MUST_CHECK LedgeStatus ledge__agent_write(const LedgeAgentDir *d, const char *name,
                                                const void *bytes, size_t size, LedgeError *err);
/* Removing what is not there is OK. */
LEDGE_MUST_CHECK LedgeStatus ledge__agent_remove(const LedgeAgentDir *d, const char *name,
                                                 LedgeError *err);

/* A slot; one that is not there is empty but for its name. FORMAT: damaged. */
LEDGE_MUST_CHECK LedgeStatus ledge__agent_slot(const LedgeAgentDir *d, const char *name,
                                               LedgeError *err, LedgeSlot *out);
LEDGE_MUST_CHECK LedgeStatus ledge__agent_save_slot(const LedgeAgentDir *d, const LedgeSlot *slot,
                                                    LedgeError *err);
/* Names of all slots; up to `most`. */
LEDGE_MUST_CHECK LedgeStatus ledge__agent_slots(const LedgeAgentDir *d, LedgeError *err,
                                                char (*names)[LEDGE_FLEET_NAME], size_t most,
                                                size_t *n);
/* Points FOLDER/NAME.onnx ("serve" or "shadow") at versions/NAME/VERSION/FILE, atomically; does
 * nothing where it does already. *changed may be NULL. */
LEDGE_MUST_CHECK LedgeStatus ledge__agent_link(const LedgeAgentDir *d, const char *folder,
                                               const char *name, const char *version,
                                               const char *file, LedgeError *err, bool *changed);

/* Removes such a link; *changed: there was one. */
LEDGE_MUST_CHECK LedgeStatus ledge__agent_unlink(const LedgeAgentDir *d, const char *folder,
                                                 const char *name, LedgeError *err, bool *changed);

/* A store for tuf_client.h; `d` must outlive it. */
LedgeTufStore ledge__agent_tuf_store(LedgeAgentDir *d);

/* Removes a file or a folder with all in it; what is not there is OK. */
LEDGE_MUST_CHECK LedgeStatus ledge__agent_remove_all(const char *path, LedgeError *err);
/* fsync of a folder. */
LEDGE_MUST_CHECK LedgeStatus ledge__agent_sync_folder(const char *path, LedgeError *err);
/* This boot's id, as the kernel gives it; "unknown" where it gives none. */
void ledge__agent_boot(char out[LEDGE_FLEET_NAME]);
/* Sum of the lengths of all files beneath. */
int64_t ledge__agent_bytes(const char *path);
/* Removes files that were being written an hour ago or longer (base/out_file.h): whoever wrote them
 * was killed, or lost its power, before they got their names. */
void ledge__agent_sweep(const LedgeAgentDir *d);
/* Makes the folders above a file of a release within `folder`. */
LEDGE_MUST_CHECK LedgeStatus ledge__agent_make_parents(const char *folder, const char *file,
                                                       LedgeError *err);

#endif
