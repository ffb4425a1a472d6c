/* Files in and out: uploads go to a file while they are hashed, downloads come from a file by
 * ranges or by a redirection to where they lie. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "fleet/registry/registry_state.h"
#include "fleet/registry/store_state.h"
#include "trust/sha256.h"

/* ---- out ---- */

typedef struct Range {
    uint64_t first, last;
} Range;

/* One range of RFC 9110; 0: there is none to honour, 1: it is, -1: it cannot be satisfied. */
static int parse_range(const char *text, uint64_t size, Range *out)
{
    char *end;
    if (!text || strncmp(text, "bytes=", 6) != 0 || strchr(text, ','))
        return 0;
    text += 6;
    if (*text == '-') {
        const uint64_t n = strtoull(text + 1, &end, 10);
        if (end == text + 1 || *end)
            return 0;
        if (n == 0 || size == 0)
            return -1;
        *out = (Range){n > size ? 0 : size - n, size - 1};
        return 1;
    }
    if (*text < '0' || *text > '9')
        return 0;
    out->first = strtoull(text, &end, 10);
    if (*end++ != '-')
        return 0;
    out->last = size ? size - 1 : 0;
    if (*end) {
        const char *start = end;
        const uint64_t last = strtoull(start, &end, 10);
        if (*start < '0' || *start > '9' || *end || last < out->first)
            return 0;
        out->last = last < out->last ? last : out->last;
    }
    return out->first < size ? 1 : -1;
}

static enum MHD_Result redirect(LedgeCall *c, char *address)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (r) {
        (void)MHD_add_response_header(r, "Location", address);
        (void)MHD_add_response_header(r, "Cache-Control", "no-store");
    }
    free(address);
    return ledge__reply_with(c, 302, r);
}

static enum MHD_Result send_file(LedgeCall *c, const char *tag, int fd, uint64_t size)
{
    const char *if_range = ledge__call_header(c, "If-Range"),
               *if_match = ledge__call_header(c, "If-Match"),
               *if_none = ledge__call_header(c, "If-None-Match");
    Range range = {0, size ? size - 1 : 0};
    char text[96];
    const int asked = if_range && strcmp(if_range, tag) != 0
                          ? 0
                          : parse_range(ledge__call_header(c, "Range"), size, &range);
    unsigned code = asked > 0 ? 206 : asked < 0 ? 416 : 200;
    if (if_match && strcmp(if_match, "*") != 0 && strcmp(if_match, tag) != 0)
        code = 412;
    else if (if_none && strcmp(if_none, tag) == 0)
        code = 304;
    if (code >= 300) {
        (void)close(fd);
        struct MHD_Response *r = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)size);
        if (r && code == 416)
            (void)MHD_add_response_header(r, "Content-Range", text);
        if (r)
            (void)MHD_add_response_header(r, "ETag", tag);
        return ledge__reply_with(c, code, r);
    }
    const uint64_t n = size ? range.last - range.first + 1 : 0;
    struct MHD_Response *r =
        MHD_create_response_from_fd_at_offset64(n, fd, range.first); /* it closes fd */
    if (!r) {
        (void)close(fd);
        return MHD_NO;
    }
    snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)range.first,
             (unsigned long long)range.last, (unsigned long long)size);
    if (code == 206)
        (void)MHD_add_response_header(r, "Content-Range", text);
    (void)MHD_add_response_header(r, "ETag", tag);
    (void)MHD_add_response_header(r, "Accept-Ranges", "bytes");
    (void)MHD_add_response_header(r, "Content-Type", "application/octet-stream");
    (void)MHD_add_response_header(r, "Cache-Control", "public, max-age=31536000, immutable");
    return ledge__reply_with(c, code, r);
}

enum MHD_Result ledge__call_blob(LedgeCall *c)
{
    const char *hash = c->url + strlen("/v1/blobs/");
    LedgeBlobs *blobs = c->registry->options.store.blobs;
    char tag[LEDGE_SHA256_HEX + 2], *address = NULL;
    uint64_t size = 0;
    int fd = -1;
    if (!ledge__fleet_is_sha256(hash))
        return ledge__reply_error(c, 404, "a file is named by its SHA-256 in hexadecimal");
    c->task.status = ledge__blobs_address(blobs, hash, (int64_t)time(NULL), &c->task.err, &address);
    if (!c->task.status && address)
        return redirect(c, address);
    if (!c->task.status)
        c->task.status = ledge__blobs_file(blobs, hash, &c->task.err, &fd, &size);
    if (c->task.status == LEDGE_ERROR_NOT_FOUND)
        return ledge__reply_error(c, 404, "there is no such file");
    if (c->task.status)
        return ledge__reply_failure(c);
    snprintf(tag, sizeof tag, "\"%s\"", hash);
    return send_file(c, tag, fd, size);
}

/* ---- in ---- */

typedef struct Upload {
    char hash[LEDGE_SHA256_HEX], path[500];
    int fd;
    LedgeSha256 *sha;
    uint64_t size;
    bool is_put, is_orphan;
    void *more;     /* the handler's */
    LedgeTask slow; /* brings it to its place */
    LedgeCall *call;
} Upload;

static void free_upload(void *work)
{
    Upload *u = work;
    LedgeError ignored;
    if (u->fd >= 0)
        (void)close(u->fd);
    if (!u->is_put)
        (void)unlink(u->path);
    else if (u->is_orphan)
        (void)!ledge__blobs_remove(u->call->registry->options.store.blobs, u->hash, &ignored);
    ledge__sha256_free(u->sha);
    free(u->more);
    free(u);
}

static Upload *begin_upload(LedgeCall *c)
{
    const char *hash = strrchr(c->url, '/') + 1;
    Upload *u = ledge__fleet_is_sha256(hash) ? calloc(1, sizeof *u) : NULL;
    if (!u) {
        c->refusal = 404;
        return NULL;
    }
    c->work = u;
    c->work_free = free_upload;
    u->call = c;
    snprintf(u->hash, sizeof u->hash, "%s", hash);
    snprintf(u->path, sizeof u->path, "%s/%.16s-%ld-%llu",
             ledge__blobs_folder(c->registry->options.store.blobs), hash, (long)getpid(),
             (unsigned long long)atomic_fetch_add(&c->registry->n_upload, 1));
    u->sha = ledge__sha256_new();
    u->fd = open(u->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (u->fd < 0 || !u->sha)
        c->refusal = 503;
    return u;
}

bool ledge__upload_piece(LedgeCall *c, const char *bytes, size_t size)
{
    Upload *u = c->work ? c->work : begin_upload(c);
    if (c->refusal)
        return false;
    u->size += size;
    if (u->size > (c->route->handle == ledge__call_sample ? LEDGE_FIELD_SAMPLE_MAX
                                                          : c->registry->options.blob_limit)) {
        c->refusal = 413;
        return false;
    }
    if (ledge__sha256_add(u->sha, bytes, size)) {
        c->refusal = 503;
        return false;
    }
    while (size) {
        const ssize_t n = write(u->fd, bytes, size);
        if (n <= 0) { /* the disk is full */
            c->refusal = 503;
            return false;
        }
        bytes += n;
        size -= (size_t)n;
    }
    return true;
}

/* On the database's thread: the row, if no other registry's gc took the file meanwhile. With S3
 * that is not asked for here, where all wait. */
static LedgeStatus run_row(LedgeTask *t, LedgeStore *s, LedgeError *err)
{
    const LedgeCall *c = (const LedgeCall *)(const void *)t;
    const Upload *u = c->work;
    uint64_t size;
    int fd;
    if (ledge__blobs_file(c->registry->options.store.blobs, u->hash, err, &fd, &size))
        return ledge__fail(err, LEDGE_ERROR_IO, u->hash,
                           "was cleaned away while it came; send it again");
    if (fd >= 0)
        (void)close(fd);
    return ledge__sql_run(ledge__store_sql(s), err, LEDGE_Q_BLOB_ADD, "tii", u->hash,
                          (int64_t)u->size, (int64_t)time(NULL));
}

/* On the thread for slow things. */
static LedgeStatus put_blob(Upload *u, LedgeError *err)
{
    LEDGE_TRY(ledge__blobs_put(u->call->registry->options.store.blobs, u->hash, u->path, err));
    u->is_put = true;
    return LEDGE_OK;
}

static void after_put(LedgeTask *t)
{
    Upload *u = (Upload *)(void *)((char *)t - offsetof(Upload, slow));
    LedgeCall *c = u->call;
    if (!t->status && ledge__tasks_put(c->registry->tasks, &c->task))
        return;
    c->task.status = t->status ? t->status : LEDGE_ERROR_IO;
    c->task.err = t->err;
    ledge__call_done(&c->task);
}

static LedgeStatus run_put(LedgeTask *t, LedgeStore *s, LedgeError *err)
{
    (void)s;
    return put_blob((Upload *)(void *)((char *)t - offsetof(Upload, slow)), err);
}

static enum MHD_Result answer_upload(LedgeCall *c)
{
    const Upload *u = c->work;
    return ledge__reply_json(
        c, 201, json_pack("{s:s, s:I}", "sha256", u->hash, "length", (json_int_t)u->size));
}

bool ledge__upload_whole(LedgeCall *c, void *first, size_t *most, enum MHD_Result *done)
{
    char hash[LEDGE_SHA256_HEX];
    Upload *u = c->work ? c->work : begin_upload(c); /* an empty file has no pieces */
    if (c->refusal || !u)
        *done =
            ledge__reply_error(c, c->refusal == 404 ? 404 : 503,
                               c->refusal == 404 ? "a file is named by its SHA-256 in hexadecimal"
                                                 : "the file could not be written; try again");
    else if (ledge__sha256_hex(u->sha, hash))
        *done = ledge__reply(c, 503, NULL, NULL, 0);
    else if (strcmp(hash, u->hash) != 0)
        *done = ledge__reply_error(c, 409, "the bytes that came have the SHA-256 %s", hash);
    else {
        const ssize_t n = *most ? pread(u->fd, first, *most, 0) : 0;
        *most = n > 0 ? (size_t)n : 0;
        return true;
    }
    return false;
}

void ledge__upload_orphan(LedgeCall *c)
{
    ((Upload *)c->work)->is_orphan = true;
}

const char *ledge__upload_hash(const LedgeCall *c)
{
    return ((const Upload *)c->work)->hash;
}

int64_t ledge__upload_size(const LedgeCall *c)
{
    return (int64_t)((const Upload *)c->work)->size;
}

void *ledge__upload_more(const LedgeCall *c)
{
    return ((const Upload *)c->work)->more;
}

enum MHD_Result ledge__upload_store(LedgeCall *c, void *more,
                                    LedgeStatus (*run)(LedgeTask *, LedgeStore *, LedgeError *),
                                    enum MHD_Result (*answer)(LedgeCall *))
{
    Upload *u = c->work;
    u->more = more;
    c->task.run = run;
    c->task.done = ledge__call_done;
    c->answer = answer;
    u->slow = (LedgeTask){.run = run_put, .done = after_put};
    c->queued = true;
    MHD_suspend_connection(c->connection);
    if (!ledge__tasks_put(c->registry->slow, &u->slow)) {
        u->slow.status = ledge__fail(&u->slow.err, LEDGE_ERROR_IO, "registry",
                                     "too many uploads wait; try again");
        after_put(&u->slow);
    }
    return MHD_YES;
}

enum MHD_Result ledge__call_upload(LedgeCall *c)
{
    enum MHD_Result done;
    size_t none = 0;
    return ledge__upload_whole(c, NULL, &none, &done)
               ? ledge__upload_store(c, NULL, run_row, answer_upload)
               : done;
}
