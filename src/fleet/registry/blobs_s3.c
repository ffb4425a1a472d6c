/* Blobs in an S3 bucket. Small files go in one request; large ones in parts, each tried again by
 * itself, so that a broken connection costs a part. Devices fetch by signed addresses. What S3
 * gives back is checked by hash: some servers answer a range with the wrong bytes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "fleet/protocol/wire_names.h"
#include "fleet/registry/blobs_impl.h"
#include "fleet/registry/s3_client.h"
#include "trust/certificate.h"
#include "trust/sha256.h"

#define PART       ((uint64_t)16 << 20) /* bytes; S3 takes 5 MiB and more, and up to 10,000 parts */
#define ANSWER_MAX ((size_t)1 << 20)
enum { ADDRESS_SECONDS = 900, PARTS = 10000 };

typedef struct S3Blobs {
    LedgeBlobs base;
    LedgeS3 s3;
} S3Blobs;

static const LedgeS3 *s3_of(LedgeBlobs *b)
{
    return &((const S3Blobs *)(const void *)b)->s3;
}

/* ---- in parts ---- */

static LedgeStatus begin_parts(const LedgeS3 *s3, const char *key, LedgeError *err, char *id,
                               size_t size)
{
    LedgeText answer = {0};
    char raw[400];
    const LedgeS3Ask ask = {
        .method = "POST", .key = key, .query = "uploads=", .text = "", .max = ANSWER_MAX};
    LedgeStatus status = ledge__s3_do(s3, &ask, err, &answer, NULL);
    if (!status && !ledge__s3_element(answer.p, "UploadId", raw, sizeof raw))
        status = ledge__fail(err, LEDGE_ERROR_IO, s3->bucket, "S3 began no upload in parts");
    if (!status)
        ledge__s3_encode(raw, false, id, size);
    ledge__text_free(&answer);
    return status;
}

static LedgeStatus send_parts(const LedgeS3 *s3, const char *key, const char *id, FILE *from,
                              uint64_t size, LedgeError *err, LedgeText *list)
{
    LedgeStatus status = LEDGE_OK;
    LedgeText answer = {0};
    const uint64_t part = size / PARTS + 1 > PART ? size / PARTS + 1 : PART;
    ledge__text_add(list, "<CompleteMultipartUpload>");
    for (uint64_t at = 0, n = 1; at < size && !status; at += part, n++) {
        char query[700], etag[72] = "";
        snprintf(query, sizeof query, "partNumber=%llu&uploadId=%s", (unsigned long long)n, id);
        const LedgeS3Ask ask = {.method = "PUT",
                                .key = key,
                                .query = query,
                                .from = from,
                                .size = size - at < part ? size - at : part,
                                .max = ANSWER_MAX};
        if (fseeko(from, (off_t)at, SEEK_SET) != 0)
            status = ledge__fail(err, LEDGE_ERROR_IO, key, "cannot be read: %s", strerror(errno));
        else
            status = ledge__s3_do(s3, &ask, err, &answer, etag);
        ledge__text_printf(list, "<Part><PartNumber>%llu</PartNumber><ETag>%s</ETag></Part>",
                           (unsigned long long)n, etag);
    }
    ledge__text_add(list, "</CompleteMultipartUpload>");
    ledge__text_free(&answer);
    return !status && list->failed ? ledge__no_memory(err) : status;
}

/* The last step may say 200 and fail all the same: the body tells. */
static LedgeStatus complete(const LedgeS3 *s3, const char *key, const char *id, const char *list,
                            LedgeError *err)
{
    LedgeText answer = {0};
    char query[700];
    snprintf(query, sizeof query, "uploadId=%s", id);
    const LedgeS3Ask ask = {
        .method = "POST", .key = key, .query = query, .text = list, .max = ANSWER_MAX};
    LedgeStatus status = ledge__s3_do(s3, &ask, err, &answer, NULL);
    if (!status && answer.p && strstr(answer.p, "<Error>"))
        status =
            ledge__fail(err, LEDGE_ERROR_IO, s3->bucket, "S3 could not put the parts together");
    ledge__text_free(&answer);
    return status;
}

/* So that no parts lie about and cost. */
static void drop_parts(const LedgeS3 *s3, const char *key, const char *id)
{
    char query[700];
    LedgeText answer = {0};
    LedgeError ignored;
    snprintf(query, sizeof query, "uploadId=%s", id);
    (void)!ledge__s3_do(
        s3, &(LedgeS3Ask){.method = "DELETE", .key = key, .query = query, .max = ANSWER_MAX},
        &ignored, &answer, NULL);
    ledge__text_free(&answer);
}

static LedgeStatus put_parts(const LedgeS3 *s3, const char *key, FILE *from, uint64_t size,
                             LedgeError *err)
{
    char id[600];
    LedgeText list = {0};
    LEDGE_TRY(begin_parts(s3, key, err, id, sizeof id));
    LedgeStatus status = send_parts(s3, key, id, from, size, err, &list);
    if (!status)
        status = complete(s3, key, id, list.p, err);
    if (status)
        drop_parts(s3, key, id);
    ledge__text_free(&list);
    return status;
}

/* ---- the interface ---- */

static LedgeStatus put(LedgeBlobs *b, const char *sha256, const char *file, LedgeError *err)
{
    struct stat st;
    LedgeText answer = {0};
    FILE *from = fopen(file, "rb");
    LedgeStatus status = LEDGE_OK;
    if (!from || fstat(fileno(from), &st) != 0)
        status = ledge__fail(err, LEDGE_ERROR_IO, file, "cannot be read: %s", strerror(errno));
    else if ((uint64_t)st.st_size > PART)
        status = put_parts(s3_of(b), sha256, from, (uint64_t)st.st_size, err);
    else
        status = ledge__s3_do(s3_of(b),
                              &(LedgeS3Ask){.method = "PUT",
                                            .key = sha256,
                                            .payload = sha256,
                                            .from = from,
                                            .size = (uint64_t)st.st_size,
                                            .max = ANSWER_MAX},
                              err, &answer, NULL);
    if (from)
        fclose(from);
    ledge__text_free(&answer);
    if (status == LEDGE_ERROR_NOT_FOUND) /* the bucket; the blob is not */
        status = ledge__fail(err, LEDGE_ERROR_IO, s3_of(b)->bucket, "S3 has no such bucket");
    if (!status)
        (void)unlink(file);
    return status;
}

static LedgeStatus read_blob(LedgeBlobs *b, const char *sha256, size_t max, LedgeError *err,
                             char **out, size_t *size)
{
    LedgeText text = {0};
    char hash[LEDGE_SHA256_HEX];
    LedgeStatus status = ledge__s3_do(
        s3_of(b), &(LedgeS3Ask){.method = "GET", .key = sha256, .max = max}, err, &text, NULL);
    if (!status) {
        ledge__text_put(&text, "", 0);
        status =
            text.failed || !text.p ? ledge__no_memory(err) : ledge__sha256_of(text.p, text.n, hash);
    }
    if (!status && strcmp(hash, sha256) != 0)
        status = ledge__fail(err, LEDGE_ERROR_MISMATCH, sha256,
                             "S3 gave other bytes than were put there");
    if (status) {
        ledge__text_free(&text);
        return status;
    }
    *out = text.p;
    *size = text.n;
    return LEDGE_OK;
}

static LedgeStatus no_file(LedgeBlobs *b, const char *sha256, LedgeError *err, int *fd,
                           uint64_t *size)
{
    (void)b, (void)err, (void)sha256;
    *fd = -1;
    *size = 0;
    return LEDGE_OK;
}

static LedgeStatus address(LedgeBlobs *b, const char *sha256, int64_t now, LedgeError *err,
                           char **out)
{
    return ledge__s3_sign(s3_of(b), sha256, now, ADDRESS_SECONDS, err, out);
}

static LedgeStatus remove_blob(LedgeBlobs *b, const char *sha256, LedgeError *err)
{
    LedgeText answer = {0};
    LedgeStatus status =
        ledge__s3_do(s3_of(b), &(LedgeS3Ask){.method = "DELETE", .key = sha256, .max = ANSWER_MAX},
                     err, &answer, NULL);
    ledge__text_free(&answer);
    return status == LEDGE_ERROR_NOT_FOUND ? LEDGE_OK : status;
}

/* ---- the list ---- */

/* "2026-11-23T04:05:06.789Z"; -1: it is none. */
static int64_t time_of(const char *text)
{
    char whole[24];
    snprintf(whole, sizeof whole, "%.19sZ", text);
    return ledge__time_read(whole);
}

/* The SHA-256 that a key of ours ends with; NULL: it is none of ours. */
static const char *name_of(const LedgeS3 *s3, const char *key)
{
    const size_t skip = strlen(s3->prefix);
    return strncmp(key, s3->prefix, skip) == 0 && ledge__fleet_is_sha256(key + skip) ? key + skip
                                                                                     : NULL;
}

/* The next <NAME> from p on (which may be NULL), ended by a NUL, and where to go on; NULL: there is
 * none. */
static char *next_part(char *p, const char *name, char **rest)
{
    char text[32];
    snprintf(text, sizeof text, "<%s>", name);
    char *from = p ? strstr(p, text) : NULL;
    snprintf(text, sizeof text, "</%s>", name);
    *rest = from ? strstr(from, text) : NULL;
    if (*rest)
        *(*rest)++ = '\0';
    return from;
}

/* One object of the list. Its key goes to `last`. */
static bool take_object(const LedgeS3 *s3, const char *one, int64_t before, LedgeBlobFound found,
                        void *arg, char *last, size_t size)
{
    char when[64] = "", bytes[24] = "";
    const char *name;
    int64_t put;
    if (!ledge__s3_element(one, "Key", last, size) || !(name = name_of(s3, last)) ||
        !ledge__s3_element(one, "LastModified", when, sizeof when) ||
        !ledge__s3_element(one, "Size", bytes, sizeof bytes))
        return true;
    put = time_of(when);
    return put < 0 || put >= before || found(arg, name, strtoll(bytes, NULL, 10));
}

/* A page of the list; `last` is where the next one begins. */
static bool take_page(const LedgeS3 *s3, char *xml, int64_t before, LedgeBlobFound found, void *arg,
                      char *last, size_t size)
{
    for (char *one = xml, *rest; (one = next_part(one, "Contents", &rest)); one = rest)
        if (!take_object(s3, one, before, found, arg, last, size))
            return false;
    /* Others' keys may be long, or hold what XML writes in other letters: no key of ours is where
     * those are that begin alike, so they are all passed over. */
    char *odd = strchr(last, '&');
    if (odd)
        snprintf(odd, 2, "'");
    else if (strlen(last) == size - 1)
        last[size - 2] = '~';
    return true;
}

/* ListObjects, the first version, which all servers have. */
static LedgeStatus list(LedgeBlobs *b, int64_t before, LedgeBlobFound found, void *arg,
                        LedgeError *err)
{
    const LedgeS3 *s3 = s3_of(b);
    char query[1300], prefix[400], marker[800], last[256] = "", now[256] = "", more[8];
    LedgeText answer = {0};
    LedgeStatus status = LEDGE_OK;
    ledge__s3_encode(s3->prefix, false, prefix, sizeof prefix);
    do {
        strcpy(last, now);
        ledge__s3_encode(last, false, marker, sizeof marker);
        snprintf(query, sizeof query, "%s%s%smax-keys=1000&prefix=%s", marker[0] ? "marker=" : "",
                 marker, marker[0] ? "&" : "", prefix);
        const LedgeS3Ask ask = {.method = "GET", .query = query, .max = ANSWER_MAX};
        status = ledge__s3_do(s3, &ask, err, &answer, NULL);
        if (!status)
            ledge__text_put(&answer, "", 0);
        if (!status && (answer.failed || !answer.p))
            status = ledge__no_memory(err);
        if (status)
            break;
        if (!ledge__s3_element(answer.p, "IsTruncated", more, sizeof more))
            more[0] = '\0';
        if (!take_page(s3, answer.p, before, found, arg, now, sizeof now))
            status = ledge__no_memory(err);
        else if (strcmp(more, "true") == 0 && strcmp(now, last) <= 0)
            status = ledge__fail(err, LEDGE_ERROR_IO, s3->bucket, "S3's list does not go on");
    } while (!status && strcmp(more, "true") == 0);
    ledge__text_free(&answer);
    return status;
}

/* Of uploads in parts: those that a kill cut. One page; what is behind it comes the next time. */
static void tidy(LedgeBlobs *b, int64_t before)
{
    const LedgeS3 *s3 = s3_of(b);
    char query[500], prefix[400], key[256], raw[400], id[600], when[64];
    LedgeText answer = {0};
    LedgeError ignored;
    ledge__s3_encode(s3->prefix, false, prefix, sizeof prefix);
    snprintf(query, sizeof query, "max-uploads=1000&prefix=%s&uploads=", prefix);
    const LedgeS3Ask ask = {.method = "GET", .query = query, .max = ANSWER_MAX};
    if (ledge__s3_do(s3, &ask, &ignored, &answer, NULL) == LEDGE_OK)
        ledge__text_put(&answer, "", 0);
    for (char *one = answer.p, *rest; (one = next_part(one, "Upload", &rest)); one = rest) {
        const char *name;
        if (ledge__s3_element(one, "Key", key, sizeof key) && (name = name_of(s3, key)) &&
            ledge__s3_element(one, "UploadId", raw, sizeof raw) &&
            ledge__s3_element(one, "Initiated", when, sizeof when) && time_of(when) >= 0 &&
            time_of(when) < before) {
            ledge__s3_encode(raw, false, id, sizeof id);
            drop_parts(s3, name, id);
        }
    }
    ledge__text_free(&answer);
}

static void free_s3(LedgeBlobs *b)
{
    free(b);
}

LedgeStatus ledge__blobs_s3_open(const char *where, LedgeError *err, LedgeBlobs **out)
{
    S3Blobs *s = calloc(1, sizeof *s);
    const char *tmp = getenv("TMPDIR");
    if (!s)
        return ledge__no_memory(err);
    s->base = (LedgeBlobs){.free = free_s3,
                           .put = put,
                           .read = read_blob,
                           .file = no_file,
                           .address = address,
                           .remove = remove_blob,
                           .list = list,
                           .tidy = tidy};
    LedgeStatus status = ledge__s3_read(where, err, &s->s3);
    snprintf(s->base.folder, sizeof s->base.folder, "%.300s/ledge-registry-%ld",
             tmp && tmp[0] ? tmp : "/var/tmp", (long)getuid());
    if (!status && mkdir(s->base.folder, 0700) != 0 && errno != EEXIST)
        status =
            ledge__fail(err, LEDGE_ERROR_IO, s->base.folder, "cannot be made: %s", strerror(errno));
    if (status)
        free(s);
    else
        *out = &s->base;
    return status;
}
