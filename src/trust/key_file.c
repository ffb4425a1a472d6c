/* Keys on disk: written so that a private key is never readable by others, not even for a
 * moment, and that no existing file is ever replaced. */
#include "trust/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/out_file.h"
#include "trust/key_name.h"

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
    if (!status && !ledge__sync_folder_of(private_path)) {
        status = cannot(err, private_path, "sync the folder");
        unlink(private_path);
    }
    if (status)
        unlink(public_path);
    return status;
}

LedgeStatus ledge__pem_save(EVP_PKEY *pkey, const char *name, LedgeError *err)
{
    char private_path[4096], public_path[4096];
    size_t size = 0, public_size;
    if (snprintf(private_path, sizeof private_path, "%s.key", name) >= (int)sizeof private_path ||
        snprintf(public_path, sizeof public_path, "%s.pub", name) >= (int)sizeof public_path)
        return ledge__fail(err, LEDGE_ERROR_IO, NULL, "this name is too long");
    char *private_pem = ledge__pem_text(pkey, true, &size);
    char *public_pem = ledge__pem_text(pkey, false, &public_size);
    LedgeStatus status = private_pem && public_pem
                             ? save(private_path, public_path, private_pem, size, public_pem, err)
                             : ledge__no_memory(err);
    if (private_pem)
        OPENSSL_cleanse(private_pem, size);
    free(private_pem);
    free(public_pem);
    return status;
}

/* ---- reading ---- */

/* libcrypto would ask at the terminal; an encrypted key is refused by name instead. */
static int no_password(char *to, int size, int writing, void *asked)
{
    (void)to, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

LedgeStatus ledge__pem_parse(const char *where, const void *bytes, size_t size, LedgeError *err,
                             EVP_PKEY **out, bool *is_private)
{
    bool is_encrypted = false;
    BIO *bio = size <= INT32_MAX ? BIO_new_mem_buf(bytes, (int)size) : NULL;
    if (!bio)
        return ledge__no_memory(err);
    *is_private = true;
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, no_password, &is_encrypted);
    if (!pkey && !is_encrypted) {
        BIO_free(bio);
        bio = BIO_new_mem_buf(bytes, (int)size);
        *is_private = false;
        pkey = bio ? PEM_read_bio_PUBKEY(bio, NULL, no_password, &is_encrypted) : NULL;
    }
    BIO_free(bio);
    ERR_clear_error();
    if (is_encrypted)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, where,
                           "the key is encrypted, which ledge does not read; keep it on an "
                           "encrypted disk instead");
    if (!pkey)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where,
                           "holds no key in PEM form; 'ledge key new' makes one");
    *out = pkey;
    return LEDGE_OK;
}

char *ledge__pem_text(EVP_PKEY *pkey, bool private_part, size_t *size)
{
    char *bytes = NULL, *text = NULL;
    BIO *bio = BIO_new(BIO_s_secmem());
    if (bio && (private_part ? PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL)
                             : PEM_write_bio_PUBKEY(bio, pkey)) == 1) {
        const long n = BIO_get_mem_data(bio, &bytes);
        text = n > 0 ? malloc((size_t)n + 1) : NULL;
        if (text) {
            memcpy(text, bytes, (size_t)n);
            text[n] = '\0';
            *size = (size_t)n;
        }
    }
    BIO_free(bio);
    ERR_clear_error();
    return text;
}

LedgeStatus ledge__pem_load(const char *path, LedgeError *err, EVP_PKEY **out, bool *is_private)
{
    char *text;
    size_t size;
    LEDGE_TRY(ledge__key_text(path, err, &text, &size));
    const LedgeStatus status = ledge__pem_parse(path, text, size, err, out, is_private);
    ledge__key_text_free(text, size);
    return status;
}
