/* Guesses what a mistyped word was meant to be. */
#ifndef LEDGE_BASE_NEAREST_H
#define LEDGE_BASE_NEAREST_H

#include <stddef.h>

#define LEDGE_WORD_MAX 40 /* longer words are near to nothing */

/* The one of `names` that `word` was probably meant to be, or NULL. */
const char *ledge__nearest(const char *word, const char *const *names, size_t n);

#endif
