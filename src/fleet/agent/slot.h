/* One model on a device: which version runs, which are kept, what was tried; and what to do next.
 *
 * Pure: no files, no clock, no network. The caller says what is so (LedgeSlotFacts), asks for a
 * decision, carries it out, and tells the slot, which is then saved whole (agent_state.h). Since a
 * decision depends on what is so and not on what was under way, a process that dies at any
 * moment is followed by one that goes on. */
#ifndef LEDGE_AGENT_SLOT_H
#define LEDGE_AGENT_SLOT_H

#include "fleet/protocol/wire_poll.h"

enum {
    LEDGE_SLOT_KEPT = 8,     /* versions besides the running one */
    LEDGE_SLOT_TRIED = 8,    /* versions whose failure is remembered */
    LEDGE_SLOT_ATTEMPTS = 3, /* self-tests that began and never ended */
};

/* A version is its release: the same name signed anew with other content is another one. */
typedef struct LedgeSlotVersion {
    char version[LEDGE_FLEET_NAME];  /* "": none */
    char sha256[LEDGE_FLEET_SHA256]; /* of its release.json */
    int64_t created;                 /* as release.json says */
} LedgeSlotVersion;

typedef struct LedgeSlotTried {
    LedgeSlotVersion what;
    int64_t attempts; /* self-tests begun without a verdict yet, which sets one of: */
    bool has_failed, has_passed;
    char reason[LEDGE_FLEET_REASON];
} LedgeSlotTried;

typedef struct LedgeSlot {
    char name[LEDGE_FLEET_NAME];
    LedgeSlotVersion running;
    bool is_fallback;                       /* the running one stands in for another … */
    char reason[LEDGE_FLEET_REASON];        /* … because of this */
    int64_t since;                          /* seconds since 1970, by the device's clock */
    LedgeSlotVersion kept[LEDGE_SLOT_KEPT]; /* whole on the disk; the newest first */
    size_t n_kept;
    LedgeSlotTried tried[LEDGE_SLOT_TRIED]; /* the newest first */
    size_t n_tried;
    /* What is under way, for the report: version "" is none. */
    char candidate[LEDGE_FLEET_NAME];
    LedgeFleetState candidate_state;
    char candidate_reason[LEDGE_FLEET_REASON];
} LedgeSlot;

typedef struct LedgeSlotFacts {
    LedgeSlotVersion wanted; /* what metadata say of the assigned version; version "": nobody
                                signed it, or it cannot be known now */
    const char *unknown;     /* … and why */
    bool rollback_ok;        /* its target says so */
    bool is_whole;           /* its folder is on the disk, every file verified */
    bool running_is_damaged;
    bool kept_is_whole[LEDGE_SLOT_KEPT];
    int minute; /* of the device's day */
    bool is_idle;
} LedgeSlotFacts;

typedef enum LedgeSlotAction {
    LEDGE_SLOT_NOTHING, /* the wanted version runs, or nothing is wanted */
    LEDGE_SLOT_WAIT,    /* reason: it is not time */
    LEDGE_SLOT_REFUSE,  /* reason: the assignment cannot be followed */
    LEDGE_SLOT_FETCH,   /* download, verify, unpack beside */
    LEDGE_SLOT_TEST,
    LEDGE_SLOT_SWITCH,   /* to `wanted` */
    LEDGE_SLOT_REPAIR,   /* the running version's files, from what was signed */
    LEDGE_SLOT_FALL_BACK /* to kept[index] */
} LedgeSlotAction;

typedef struct LedgeSlotDecision {
    LedgeSlotAction action;
    size_t index;
    char reason[LEDGE_FLEET_REASON];
} LedgeSlotDecision;

/* assignment may be NULL: none. */
LedgeSlotDecision ledge__slot_decide(const LedgeSlot *s, const LedgeAssignment *a,
                                     const LedgeSlotFacts *f);

/* A self-test begins: to be saved before it does, so that a test that takes the device down is
 * not tried for ever. */
void ledge__slot_testing(LedgeSlot *s, const LedgeSlotVersion *v);
void ledge__slot_passed(LedgeSlot *s, const LedgeSlotVersion *v);
void ledge__slot_failed(LedgeSlot *s, const LedgeSlotVersion *v, const char *reason);
/* `v` runs from now on; the one before is kept. */
void ledge__slot_switched(LedgeSlot *s, const LedgeSlotVersion *v, int64_t now);
/* kept[index] runs from now on. The one before is kept if it is undamaged, and counts as failed
 * for the reason given. */
void ledge__slot_fell_back(LedgeSlot *s, size_t index, bool damaged, const char *reason,
                           int64_t now);
/* Which kept version may go to leave `keep` of them; n_kept: none. Never `spared` (the fallback
 * that the assignment names). */
size_t ledge__slot_excess(const LedgeSlot *s, size_t keep, const char *spared);
void ledge__slot_forget(LedgeSlot *s, size_t index); /* kept[index] */
const LedgeSlotTried *ledge__slot_tried(const LedgeSlot *s, const LedgeSlotVersion *v);
bool ledge__slot_version_equal(const LedgeSlotVersion *a, const LedgeSlotVersion *b);

/* The slot's text form: one JSON object. Reading checks all names. */
void ledge__slot_write(const LedgeSlot *s, FILE *to);
LEDGE_MUST_CHECK LedgeStatus ledge__slot_read(const char *text, size_t size, LedgeError *err,
                                              LedgeSlot *out);

#endif
