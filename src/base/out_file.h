/* Writing a file so that nobody ever sees half of it.
 *
 * Bytes go to a new file beside the wanted one; only a commit, after all of them are on the
 * disk, renames it over. A failure or an abort (Ctrl-C, full disk) leaves what was there. */
#ifndef LEDGE_BASE_OUT_FILE_H
#define LEDGE_BASE_OUT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/error.h"

typedef struct LedgeOutFile LedgeOutFile;

/* Statuses: IO (naming the path), MEMORY. */
LedgeStatus ledge__out_file_open(const LedgeAllocator *a, const char *path, LedgeError *err,
                                 LedgeOutFile **out);
/* Buffered. After a failure all further calls but abort fail too. */
LedgeStatus ledge__out_file_write(LedgeOutFile *f, const void *bytes, size_t size, LedgeError *err);
/* Zero bytes until the size is a multiple of `align`. */
LedgeStatus ledge__out_file_pad(LedgeOutFile *f, size_t align, LedgeError *err);
uint64_t ledge__out_file_size(const LedgeOutFile *f); /* bytes written so far */
/* Brings all bytes to the disk, still under the temporary name. For several files that belong
 * together: sync each, then commit each. */
LedgeStatus ledge__out_file_sync(LedgeOutFile *f, LedgeError *err);
/* Syncs, renames, syncs the folder, and frees f whatever the outcome. */
LedgeStatus ledge__out_file_commit(LedgeOutFile *f, LedgeError *err);
/* Removes the temporary file and frees; NULL is legal. */
void ledge__out_file_abort(LedgeOutFile *f);

/* Brings the names in a folder, or in the folder that `path` is in, to the disk: what was created
 * or renamed there is else lost by a power cut, its bytes synced or not. False: errno says why;
 * file systems that know no such thing count as done. */
bool ledge__sync_folder(const char *folder);
bool ledge__sync_folder_of(const char *path);

/* A whole file in one go. */
LedgeStatus ledge__out_file_whole(const LedgeAllocator *a, const char *path, const void *bytes,
                                  size_t size, LedgeError *err);
/* Whether a name is one that files have while they are written: what a kill leaves behind. */
bool ledge__out_file_is_unfinished(const char *name);
/* Whether it could be written: for those who would work long before they try. */
LedgeStatus ledge__out_file_try(const LedgeAllocator *a, const char *path, LedgeError *err);

#endif
