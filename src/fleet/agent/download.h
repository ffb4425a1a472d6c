/* Fetching one file of a release by its SHA-256, over a network that cuts, stalls and lies.
 *
 * What came so far lies in FOLDER/SHA256.part and is taken up again, in this process or another.
 * With hashes of chunks each chunk is checked when it is whole and fetched again alone; what is
 * in the file and was checked is never asked for twice. Without them the whole file is judged at
 * its end, and FOLDER/SHA256.boot names the boot in which it was written to: what a process wrote
 * that was killed is there, but of what was written before the machine went down, only what the
 * disk had confirmed is taken up again. When length and SHA-256 are right, the file is brought to
 * the disk and named FOLDER/SHA256: a file with that name is always whole. */
#ifndef LEDGE_AGENT_DOWNLOAD_H
#define LEDGE_AGENT_DOWNLOAD_H

#include "fleet/agent/http_client.h"
#include "fleet/protocol/release.h"

typedef struct LedgeDownload {
    LedgeHttp *http;
    const char *folder;
    int tries;        /* in a row without a new byte, before it gives up for this time; 0: 5 */
    int wait_ms;      /* before a second try; doubles with each, up to 60 s; 0: 1000 */
    const bool *stop; /* set by a signal: gives up; NULL: never */
} LedgeDownload;

/* Statuses: IO (not now: what came is kept, try again later), NOT_FOUND (the registry has no such
 * file), MISMATCH (what comes again and again is not what was signed), CANCELLED, LIMIT (disk
 * full), MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__download(const LedgeDownload *d, const LedgeReleaseFile *file,
                                             LedgeError *err);

#endif
