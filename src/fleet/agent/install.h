/* Versions of a model on the disk: put together from downloads, checked, mended, removed. */
#ifndef LEDGE_AGENT_INSTALL_H
#define LEDGE_AGENT_INSTALL_H

#include "fleet/agent/agent_state.h"
#include "fleet/agent/download.h"

/* Which of a release's files a device of this kind wants: one to run, and those that go with it. */
typedef struct LedgeInstallPlan {
    bool wanted[LEDGE_RELEASE_FILES];
    size_t model;  /* index of the file to run */
    int64_t bytes; /* of all wanted */
} LedgeInstallPlan;

/* flags: of the CPU (base/cpu.h). UNSUPPORTED: no file runs there. */
LEDGE_MUST_CHECK LedgeStatus ledge__install_plan(const LedgeRelease *r, const char *arch,
                                                 uint32_t flags, LedgeError *err,
                                                 LedgeInstallPlan *out);

/* Whether versions/NAME/VERSION/ has every wanted file, with right length and SHA-256, and this
 * very release.json. MISMATCH: not. */
LEDGE_MUST_CHECK LedgeStatus ledge__install_check(const LedgeAgentDir *d, const LedgeRelease *r,
                                                  const LedgeInstallPlan *plan,
                                                  const char *release_sha256, LedgeError *err);

/* Downloads what is missing; files that another version of the model has are taken from there. */
LEDGE_MUST_CHECK LedgeStatus ledge__install_fetch(const LedgeAgentDir *d, const LedgeDownload *how,
                                                  const LedgeRelease *r,
                                                  const LedgeInstallPlan *plan, LedgeError *err);
/* Puts a version together beside the others and names it when it is whole and on the disk. All
 * its files must be in blobs/. A folder of that name that is there makes way. */
LEDGE_MUST_CHECK LedgeStatus ledge__install_unpack(const LedgeAgentDir *d, const LedgeRelease *r,
                                                   const LedgeInstallPlan *plan,
                                                   const void *release_json, size_t size,
                                                   LedgeError *err);
/* Replaces damaged files of a version, one by one, so that its folder is never without. */
LEDGE_MUST_CHECK LedgeStatus ledge__install_repair(const LedgeAgentDir *d, const LedgeRelease *r,
                                                   const LedgeInstallPlan *plan,
                                                   const void *release_json, size_t size,
                                                   LedgeError *err);
/* Reads release.json of a version that is on the disk and checks its SHA-256. Statuses: NOT_FOUND,
 * MISMATCH, FORMAT, MEMORY. bytes (may be NULL) is freed with free(). */
LEDGE_MUST_CHECK LedgeStatus ledge__install_release(const LedgeAgentDir *d, const char *name,
                                                    const LedgeSlotVersion *v, LedgeError *err,
                                                    LedgeRelease **out, char **bytes, size_t *size);
LEDGE_MUST_CHECK LedgeStatus ledge__install_remove(const LedgeAgentDir *d, const char *name,
                                                   const char *version, LedgeError *err);
/* Removes what no process left behind on purpose: half-made folders, versions that no slot knows.
 */
void ledge__install_sweep(const LedgeAgentDir *d, const LedgeSlot *slot,
                          const char *const keep_versions[2]);

typedef struct LedgeInstallWanted {
    LedgeRelease *release;
    char sha256[LEDGE_FLEET_SHA256]; /* of its release.json */
} LedgeInstallWanted;

/* Removes downloads that none of the wanted releases has. */
void ledge__install_sweep_blobs(const LedgeAgentDir *d, const LedgeInstallWanted *wanted, size_t n);
/* Bytes of the wanted files that have come already. */
int64_t ledge__install_has(const LedgeAgentDir *d, const LedgeRelease *r,
                           const LedgeInstallPlan *plan);

#endif
