/* Keys on disk: written so that a private key is never readable by others, not even for a
 * moment, and that no existing file is ever replaced. */
#include "trust/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

static LedgeStatus cannot(LedgeError *err, const char *path, const char *what)
{
    if (errno == EEXIST)
        return ledge__fail(err, LEDGE_ERROR_IO, path,
                           "is there already; a key is never replaced, choose another name");
    return ledge__fail(err, LEDGE_ERROR_IO, path, "cannot %s: %s", what, strerror(errno));
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n) {
        const ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        p += done;
        n -= (size_t)done;
    }
    return fsync(fd) == 0;
}

static LedgeStatus write_new(const char *path, mode_t mode, const char *text, size_t n,
                             LedgeError *err)
{
    LedgeStatus status = LEDGE_OK;
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return cannot(err, path, "create the file");
    if (!write_all(fd, text, n))
        status = cannot(err, path, "write");
    if (close(fd) != 0 && !status)
        status = cannot(err, path, "write");
    if (status)
        unlink(path);
    return status;
}

static LedgeStatus save(const char *private_path, const char *public_path, const char *private_pem,
                        size_t private_size, const char *public_pem, LedgeError *err)
{
    LEDGE_TRY(write_new(public_path, 0644, public_pem, strlen(public_pem), err));
    LedgeStatus status = write_new(private_path, 0600, private_pem, private_size, err);
    if (status)
        unlink(public_path);
    return status;
}

LedgeStatus ledge__key_save(const LedgeKey *key, const char *name, LedgeError *err)
{
    char private_path[4096], public_path[4096];
    size_t size = 0;
    if (snprintf(private_path, sizeof private_path, "%s.key", name) >= (int)sizeof private_path ||
        snprintf(public_path, sizeof public_path, "%s.pub", name) >= (int)sizeof public_path)
        return ledge__fail(err, LEDGE_ERROR_IO, NULL, "this name is too long");
    char *private_pem = ledge__key_private_pem(key, &size);
    char *public_pem = ledge__key_public_pem(key);
    LedgeStatus status = private_pem && public_pem
                             ? save(private_path, public_path, private_pem, size, public_pem, err)
                             : ledge__no_memory(err);
    if (private_pem)
        OPENSSL_cleanse(private_pem, size);
    free(private_pem);
    free(public_pem);
    return status;
}
