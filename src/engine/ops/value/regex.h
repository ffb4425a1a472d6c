/* Regular expressions in RE2's syntax, matched in time linear in the text for any pattern.
 *
 * Literals, ., classes (also [[:alpha:]]), \d \w \s \D \W \S, escapes, groups (also (?:…), named
 * and with flags i m s U), |, * + ? {n,m} with their lazy forms, ^ $ \A \z \b \B. Characters are
 * UTF-8; \w, \b and case folding are ASCII. Back references and look-around do not exist in RE2. */
#ifndef LEDGE_ENGINE_OPS_REGEX_H
#define LEDGE_ENGINE_OPS_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/alloc.h"
#include "ledge/tensor.h"

typedef struct LedgeRegex LedgeRegex;
typedef void *(*LedgeRegexAlloc)(void *context, size_t bytes); /* zeroed; freed by its owner */

/* NULL: *why says what is wrong ("a ) is missing"), or is NULL for lack of memory. */
LedgeRegex *ledge__regex_new(LedgeString pattern, LedgeRegexAlloc alloc, void *context,
                             const char **why);
/* Bytes of work memory that matching needs. */
size_t ledge__regex_work_bytes(const LedgeRegex *r);
/* Whether the whole text matches. `work` is 8-byte aligned. */
bool ledge__regex_full_match(const LedgeRegex *r, LedgeString text, void *work);

#endif
