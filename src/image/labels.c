/* Cutting lists of class names. */
#include "image/labels.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* "n01440764 tench" → "tench" */
static char *skip_wordnet_id(char *line)
{
    if (line[0] != 'n' || strlen(line) < 11 || line[9] != ' ')
        return line;
    for (int i = 1; i < 9; i++)
        if (!isdigit((unsigned char)line[i]))
            return line;
    return line + 10;
}

LedgeStatus ledge__labels_cut(const char *text, LedgeError *err, LedgeLabels *out)
{
    LedgeLabels l = {.text = strdup(text)};
    size_t lines = 1;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    l.names = calloc(lines, sizeof *l.names);
    if (!l.text || !l.names) {
        ledge__labels_free(&l);
        return ledge__no_memory(err);
    }
    for (char *p = l.text; p && *p;) {
        char *end = strchr(p, '\n');
        if (end)
            *end = '\0';
        p[strcspn(p, "\r")] = '\0';
        l.names[l.n++] = skip_wordnet_id(p);
        p = end ? end + 1 : NULL;
    }
    *out = l;
    return LEDGE_OK;
}

LedgeStatus ledge__labels_of_model(const LedgeModel *m, LedgeError *err, LedgeLabels *out)
{
    const char *text = ledge_model_metadata(m, LEDGE_LABELS_KEY);
    *out = (LedgeLabels){0};
    return text ? ledge__labels_cut(text, err, out) : LEDGE_OK;
}

void ledge__labels_free(LedgeLabels *l)
{
    free(l->names);
    free(l->text);
    *l = (LedgeLabels){0};
}

const char *ledge__label(const LedgeLabels *l, int64_t index)
{
    return index >= 0 && (uint64_t)index < l->n ? l->names[index] : NULL;
}
