/* Models that guests load by name: each is loaded once and shared by all instances. */
#include "wasm/wasi_nn/nn_state.h"

#include <stdio.h>
#include <strings.h>

struct LedgeNnNames {
    LedgeModelOptions options;
    LedgeLock lock;
    NnNamed *items;
    size_t n, capacity;
};

LedgeStatus ledge__nn_names_new(const LedgeModelOptions *options, LedgeNnNames **out)
{
    LedgeNnNames *names = ledge__calloc(NULL, 1, sizeof *names);
    if (!names || !ledge__lock_init(&names->lock)) {
        ledge__free(NULL, names);
        return LEDGE_ERROR_MEMORY;
    }
    if (options)
        names->options = *options;
    *out = names;
    return LEDGE_OK;
}

void ledge__nn_names_free(LedgeNnNames *names)
{
    if (!names)
        return;
    for (size_t i = 0; i < names->n; i++) {
        ledge_model_free(names->items[i].model);
        ledge__free(NULL, names->items[i].name);
    }
    ledge__free(NULL, names->items);
    ledge__lock_end(&names->lock);
    ledge__free(NULL, names);
}

/* Takes "WORD:" off the front. */
static bool part(const char **text, char *out, size_t size)
{
    const char *colon = strchr(*text, ':');
    const size_t n = colon ? (size_t)(colon - *text) : 0;
    if (!colon || n >= size)
        return false;
    memcpy(out, *text, n);
    out[n] = '\0';
    *text = colon + 1;
    return true;
}

static LedgeStatus read_long(const char *word, LedgeError *err, size_t *name_size,
                             const char **path, NnTarget *target)
{
    char name[260], encoding[32], where[32];
    *path = word;
    if (!part(path, name, sizeof name) || !part(path, encoding, sizeof encoding) ||
        !part(path, where, sizeof where))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, word,
                           "is neither NAME=PATH nor NAME:ENCODING:TARGET:PATH");
    *name_size = strlen(name);
    if (strcasecmp(encoding, "onnx") != 0 && strncasecmp(encoding, "auto", 4) != 0)
        return ledge__fail(err, LEDGE_ERROR_UNSUPPORTED, word,
                           "the encoding '%s' is not onnx or auto", encoding);
    if (strcasecmp(where, "cpu") == 0 || strcasecmp(where, "auto") == 0)
        *target = NN_CPU;
    else if (strcasecmp(where, "gpu") == 0)
        *target = NN_GPU;
    else if (strcasecmp(where, "tpu") == 0)
        *target = NN_TPU;
    else
        return ledge__fail(err, LEDGE_ERROR_FORMAT, word,
                           "the target '%s' is none of cpu, gpu, tpu and auto", where);
    return LEDGE_OK;
}

static NnNamed *item_of(const LedgeNnNames *names, const char *name, size_t size)
{
    for (size_t i = 0; i < names->n; i++)
        if (strlen(names->items[i].name) == size && memcmp(names->items[i].name, name, size) == 0)
            return &names->items[i];
    return NULL;
}

LedgeStatus ledge__nn_names_add(LedgeNnNames *names, const char *word, LedgeError *err)
{
    const char *equals = strchr(word, '='), *colon = strchr(word, ':'), *path;
    NnTarget target = NN_CPU;
    size_t size;
    if (equals && (!colon || equals < colon)) {
        size = (size_t)(equals - word);
        path = equals + 1;
    } else {
        LEDGE_TRY(read_long(word, err, &size, &path, &target));
    }
    if (!size || size > 256 || !*path)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, word,
                           "a name of 1 to 256 bytes and a path are wanted");
    if (item_of(names, word, size))
        return ledge__fail(err, LEDGE_ERROR_FORMAT, word, "the name is given twice");
    if (!ledge__grow(NULL, (void **)&names->items, names->n, &names->capacity,
                     sizeof *names->items))
        return ledge__no_memory(err);
    const size_t path_size = strlen(path) + 1;
    char *text = ledge__alloc(NULL, size + 1 + path_size, 1);
    if (!text)
        return ledge__no_memory(err);
    memcpy(text, word, size);
    text[size] = '\0';
    memcpy(text + size + 1, path, path_size);
    names->items[names->n++] = (NnNamed){.name = text, .path = text + size + 1, .target = target};
    return LEDGE_OK;
}

size_t ledge__nn_names_count(const LedgeNnNames *names)
{
    return names->n;
}

const char *ledge__nn_name(const LedgeNnNames *names, size_t index)
{
    return names->items[index].name;
}

static LedgeStatus load(LedgeNnNames *names, NnNamed *item, LedgeError *err)
{
    LedgeModelOptions o = names->options;
    o.for_providers |= item->target != NN_CPU;
    return item->model ? LEDGE_OK : ledge_model_load(item->path, &o, err, &item->model);
}

LedgeStatus ledge__nn_names_load(LedgeNnNames *names, size_t index, LedgeError *err)
{
    ledge__lock_take(&names->lock);
    const LedgeStatus status = load(names, &names->items[index], err);
    ledge__lock_give(&names->lock);
    return status;
}

const NnNamed *ledge__nn_names_find(LedgeNnNames *names, const char *name, size_t size,
                                    LedgeError *err, LedgeStatus *status)
{
    ledge__lock_take(&names->lock);
    NnNamed *found = item_of(names, name, size);
    *status = found ? load(names, found, err) : LEDGE_ERROR_NOT_FOUND;
    ledge__lock_give(&names->lock);
    return *status ? NULL : found;
}
