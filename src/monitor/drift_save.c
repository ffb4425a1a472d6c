/* The monitor's state on the disk: a header, the state, a checksum. A file that does not fit the
 * monitor in every respect is refused, and the monitor goes on as it was. */
#include "base/hash.h"
#include "monitor/drift_state.h"

#include <math.h>
#include <string.h>

typedef struct Header {
    char magic[8];
    uint32_t version, bytes; /* of the state */
    uint64_t reference;      /* hash of options and of the reference that was given */
    uint64_t hash;           /* of the state */
} Header;

static const char magic[8] = "\x89LDRIFT\n";
enum { VERSION = 2 };

size_t ledge__drift_state_bytes(void)
{
    return sizeof(Header) + sizeof(DriftState);
}

/* What a state must have been made under. A monitor that learns brings its own reference. */
static uint64_t setting(const LedgeDrift *d, bool own)
{
    const uint32_t o[] = {d->options.window, d->options.minimum, d->options.learn};
    uint64_t h = ledge__hash64(o, sizeof o, own);
    if (!own)
        h = ledge__hash64(&d->s.ref, sizeof d->s.ref, h);
    return ledge__hash64(d->group_of, d->group_of ? d->n_mapped : 0, h);
}

void ledge__drift_save(const LedgeDrift *d, void *to)
{
    Header h = {.version = VERSION,
                .bytes = sizeof(DriftState),
                .reference = setting(d, d->learns),
                .hash = ledge__hash64(&d->s, sizeof d->s, VERSION)};
    memcpy(h.magic, magic, sizeof magic);
    memcpy(to, &h, sizeof h);
    memcpy((char *)to + sizeof h, &d->s, sizeof d->s);
}

static bool bins_valid(const LedgeBins *b)
{
    if (b->n > DRIFT_BINS)
        return false;
    for (uint32_t i = 0; i + 1 < b->n; i++)
        if (!isfinite(b->edge[i]) || (i && b->edge[i] <= b->edge[i - 1]))
            return false;
    return true;
}

/* Everything that is used as an index or a length, since a checksum keeps no forger out. */
static bool state_valid(const DriftState *s)
{
    if (s->learning > 1 || s->full > DRIFT_QUARTERS || s->current >= DRIFT_SLOTS ||
        s->ref.n_features > LEDGE_BASELINE_FEATURES || !bins_valid(&s->ref.confidence))
        return false;
    for (uint32_t i = 0; i < LEDGE_BASELINE_FEATURES; i++)
        if (!bins_valid(&s->ref.feature[i].bins) ||
            !memchr(s->ref.feature[i].name, 0, LEDGE_BASELINE_NAME))
            return false;
    if (s->report.n > LEDGE_DRIFT_FINDINGS || (unsigned)s->report.severity > LEDGE_HIGH)
        return false;
    for (uint32_t i = 0; i < s->report.n; i++)
        if ((unsigned)s->report.finding[i].measure >= LEDGE_DRIFT_MEASURE_COUNT ||
            (unsigned)s->report.finding[i].severity > LEDGE_HIGH ||
            !memchr(s->report.finding[i].feature, 0, LEDGE_BASELINE_NAME))
            return false;
    for (uint32_t i = 0; i < LEDGE_DRIFT_FINDINGS; i++)
        if (s->level[i].severity > LEDGE_HIGH || s->level[i].calm > DRIFT_CALM)
            return false;
    return true;
}

LedgeStatus ledge__drift_restore(LedgeDrift *d, const void *bytes, size_t size, LedgeError *err)
{
    Header h;
    if (size != ledge__drift_state_bytes())
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "drift state", "%zu bytes, must be %zu", size,
                           ledge__drift_state_bytes());
    memcpy(&h, bytes, sizeof h);
    if (memcmp(h.magic, magic, sizeof magic) != 0)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, "drift state", "not a drift state");
    if (h.version != VERSION || h.bytes != sizeof(DriftState))
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, "drift state",
                           "written by another version of ledge");
    if (h.reference != setting(d, d->learns))
        return ledge__fail(err, LEDGE_ERROR_MISMATCH, "drift state",
                           "written with another baseline or window");
    DriftState *s = ledge__alloc(d->allocator, 1, sizeof *s);
    if (!s)
        return ledge__no_memory(err);
    memcpy(s, (const char *)bytes + sizeof h, sizeof *s);
    bool good = h.hash == ledge__hash64(s, sizeof *s, VERSION);
    s->report.learning = s->learning != 0; /* never read as they lie in the file */
    s->report.judged = s->report.n > 0;
    good = good && state_valid(s);
    if (good)
        d->s = *s;
    ledge__free(d->allocator, s);
    return good ? LEDGE_OK
                : ledge__fail(err, LEDGE_ERROR_FORMAT, "drift state", "the state is damaged");
}
