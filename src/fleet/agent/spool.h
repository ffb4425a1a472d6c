/* A spool: an append log on the disk between one writer and one reader, who may be two processes.
 *
 * A folder of segments, each named by the number of its first record in hexadecimal:
 *
 *   NNNNNNNNNNNNNNNN.seg    records, one behind the other:
 *                           u32 mark, u32 length, u64 number, u64 checksum, payload
 *   cursor                  the reader's: last record and last batch that it has taken over
 *   lock                    held by the writer
 *
 * All little-endian. Numbers count up from 1 and are never used again. The writer alone appends;
 * it begins a new segment whenever it starts, so that a tail torn by a crash stays where it is
 * and is passed over. The reader deletes segments that it is done with, the writer the oldest ones
 * where the disk's share is full. A record whose checksum is wrong is passed over, and the next
 * mark with a right one is looked for. */
#ifndef LEDGE_AGENT_SPOOL_H
#define LEDGE_AGENT_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledge/status.h"

enum { LEDGE_SPOOL_RECORD = 4096, LEDGE_SPOOL_SEGMENT = 1 << 18 };

typedef struct LedgeSpool LedgeSpool;

/* Makes the folder where it is missing. Statuses: MISMATCH (another writer has it), IO, LIMIT (disk
 * full), MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__spool_open(const char *folder, LedgeError *err,
                                               LedgeSpool **out);
/* Flushes and frees; NULL is legal. */
void ledge__spool_close(LedgeSpool *s);
/* Up to LEDGE_SPOOL_RECORD bytes, kept in memory until a flush or until 64 kB have come together.
 * Statuses: IO, LIMIT; the record is then lost and its number was used. Records that were taken in
 * and could not be written later are counted by ledge__spool_lost. */
LEDGE_MUST_CHECK LedgeStatus ledge__spool_append(LedgeSpool *s, const void *bytes, size_t size,
                                                 LedgeError *err);
/* Hands all to the system (a crash of the process loses nothing from then on) and, with `sync`, to
 * the disk (nor does a power cut). */
LEDGE_MUST_CHECK LedgeStatus ledge__spool_flush(LedgeSpool *s, bool sync, LedgeError *err);
/* How many were, since it was asked last. */
uint64_t ledge__spool_lost(LedgeSpool *s);
uint64_t ledge__spool_next(const LedgeSpool *s); /* number of the next record */
int64_t ledge__spool_bytes(const LedgeSpool *s); /* of all segments, as this writer knows */
/* Counts them anew: the reader deletes segments too. */
void ledge__spool_measure(LedgeSpool *s);
/* Deletes the oldest segment but the last. Gives how many records that nobody had taken over went
 * with it; 0 and false: there is none to delete. */
bool ledge__spool_drop_oldest(LedgeSpool *s, uint64_t *lost);

typedef struct LedgeSpoolCursor {
    uint64_t record, batch; /* the last ones taken over; 0: none */
} LedgeSpoolCursor;
/* One that is missing or damaged is all zero. */
LedgeSpoolCursor ledge__spool_cursor(const char *folder);
LEDGE_MUST_CHECK LedgeStatus ledge__spool_set_cursor(const char *folder, LedgeSpoolCursor c,
                                                     LedgeError *err);

typedef struct LedgeSpoolReader LedgeSpoolReader;

/* Reads records behind number `after`. With `sync` each record is on the disk before it is given:
 * who remembers its number must ask for that, or a power cut takes the record and lets the next
 * writer use the number again. */
LEDGE_MUST_CHECK LedgeStatus ledge__spool_read(const char *folder, uint64_t after, bool sync,
                                               LedgeError *err, LedgeSpoolReader **out);
void ledge__spool_read_end(LedgeSpoolReader *r); /* NULL is legal */
/* The next whole record, valid until the next call; false: none is there now. */
bool ledge__spool_read_next(LedgeSpoolReader *r, uint64_t *number, const void **bytes,
                            size_t *size);
/* Whether it was the end, or a segment could not be read: IO. */
LEDGE_MUST_CHECK LedgeStatus ledge__spool_read_status(const LedgeSpoolReader *r, LedgeError *err);
/* Bytes that were no whole record; a tail that may still be written is not counted. */
uint64_t ledge__spool_read_damaged(const LedgeSpoolReader *r);
/* Deletes segments all of whose records were taken over. */
void ledge__spool_trim(const char *folder, uint64_t record);

#endif
