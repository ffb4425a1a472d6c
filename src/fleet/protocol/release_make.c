/* Putting a release together from files, see release.h: for publishing and for tests. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "fleet/protocol/release.h"

LedgeStatus ledge__release_new(const char *name, const char *version, LedgeError *err,
                               LedgeRelease **out)
{
    if (!ledge__fleet_is_name(name) || !ledge__fleet_is_name(version))
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, name,
                           "name and version are up to 64 letters, digits, '.', '_' and '-'");
    LedgeRelease *r = calloc(1, sizeof *r);
    if (r)
        r->files = calloc(LEDGE_RELEASE_FILES, sizeof *r->files);
    if (r)
        r->cases = calloc(LEDGE_RELEASE_CASES, sizeof *r->cases);
    if (!r || !r->files || !r->cases) {
        ledge__release_free(r);
        return ledge__no_memory(err);
    }
    strcpy(r->name, name);
    strcpy(r->version, version);
    *out = r;
    return LEDGE_OK;
}

/* Powers of two, so that no file has more than LEDGE_RELEASE_CHUNKS. */
static int64_t chunk_size(int64_t length)
{
    int64_t size = LEDGE_RELEASE_CHUNK;
    while (length / size >= LEDGE_RELEASE_CHUNKS)
        size *= 2;
    return size;
}

/* One pass over the file for both kinds of hashes. */
static LedgeStatus hash(FILE *in, const char *source, LedgeReleaseFile *f, LedgeError *err)
{
    uint8_t *chunk = malloc((size_t)f->chunk_size);
    LedgeSha256 *whole = ledge__sha256_new();
    LedgeStatus status = chunk && whole ? LEDGE_OK : ledge__no_memory(err);
    int64_t left = f->length;
    for (size_t i = 0; !status && i < f->n_chunks; i++) {
        char hex[LEDGE_SHA256_HEX];
        const size_t n = (size_t)(left < f->chunk_size ? left : f->chunk_size);
        if (fread(chunk, 1, n, in) != n)
            status = ledge__fail(err, LEDGE_ERROR_IO, source, "cannot be read to its end");
        else if (ledge__sha256_of(chunk, n, hex) || ledge__sha256_add(whole, chunk, n))
            status = ledge__no_memory(err);
        else
            ledge__from_hex(hex, f->chunks[i], LEDGE_SHA256_BYTES);
        left -= (int64_t)n;
    }
    if (!status && ledge__sha256_hex(whole, f->sha256))
        status = ledge__no_memory(err);
    ledge__sha256_free(whole);
    free(chunk);
    return status;
}

static LedgeStatus add_open(FILE *in, const char *source, LedgeReleaseFile *f, LedgeError *err)
{
    struct stat st;
    if (fstat(fileno(in), &st) != 0 || !S_ISREG(st.st_mode))
        return ledge__fail(err, LEDGE_ERROR_IO, source, "is no regular file");
    f->length = st.st_size;
    f->chunk_size = chunk_size(f->length);
    f->n_chunks = (size_t)((f->length + f->chunk_size - 1) / f->chunk_size);
    f->chunks = calloc(f->n_chunks + 1, sizeof *f->chunks);
    return f->chunks ? hash(in, source, f, err) : ledge__no_memory(err);
}

LedgeStatus ledge__release_add(LedgeRelease *r, LedgeReleaseRole role, const char *path,
                               const char *source, LedgeError *err)
{
    LedgeReleaseFile f = {.role = role};
    if (!ledge__fleet_is_path(path) || strcmp(path, "release.json") == 0 ||
        ledge__release_find(r, path) < r->n_files)
        return ledge__fail(err, LEDGE_ERROR_ARGUMENT, path,
                           "is no plain relative path of letters, digits, '.', '_' and '-', or is "
                           "taken");
    if (r->n_files == LEDGE_RELEASE_FILES)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, path, "a release has %d files at most",
                           LEDGE_RELEASE_FILES);
    strcpy(f.path, path);
    FILE *in = fopen(source, "rb");
    if (!in)
        return ledge__fail(err, errno == ENOENT ? LEDGE_ERROR_NOT_FOUND : LEDGE_ERROR_IO, source,
                           "cannot be opened: %s", strerror(errno));
    LedgeStatus status = add_open(in, source, &f, err);
    fclose(in);
    const char *fault = status ? NULL : ledge__release_guest_fault(&f);
    if (fault)
        status = ledge__fail(err, LEDGE_ERROR_LIMIT, source, "would make %s", fault);
    if (status) {
        free(f.chunks);
        return status;
    }
    r->files[r->n_files++] = f;
    return LEDGE_OK;
}
