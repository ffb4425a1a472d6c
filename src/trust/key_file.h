/* Between key.c and key_file.c: the private part as text. */
#ifndef LEDGE_TRUST_KEY_FILE_H
#define LEDGE_TRUST_KEY_FILE_H

#include "trust/key.h"

/* PKCS #8 PEM, freed by the caller after wiping its *size bytes; NULL: no memory, or public. */
char *ledge__key_private_pem(const LedgeKey *key, size_t *size);

#endif
