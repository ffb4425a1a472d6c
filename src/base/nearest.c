/* The nearest word, for "did you mean": edit distance with swaps of neighbours. */
#include "base/nearest.h"

#include <stdbool.h>
#include <string.h>

/* Edits (insert, delete, change, swap of neighbours) that turn a into b. */
static size_t distance(const char *a, const char *b)
{
    const size_t n = strlen(a), m = strlen(b);
    size_t rows[3][LEDGE_WORD_MAX + 1];
    if (n > LEDGE_WORD_MAX || m > LEDGE_WORD_MAX)
        return LEDGE_WORD_MAX;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = rows[i % 3], *before = rows[(i + 2) % 3], *older = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = before[j - 1] + (a[i - 1] != b[j - 1]);
            best = before[j] + 1 < best ? before[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = older[j - 2] + 1 < best ? older[j - 2] + 1 : best;
            now[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *ledge__nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 2; /* more than a third wrong is another word */
    for (size_t i = 0; i < n; i++) {
        const size_t d = distance(word, names[i]);
        const bool begins = strlen(word) >= 3 && strncmp(names[i], word, strlen(word)) == 0;
        if (d < least || (begins && !best)) {
            best = names[i];
            least = d < least ? d : least;
        }
    }
    return best;
}
