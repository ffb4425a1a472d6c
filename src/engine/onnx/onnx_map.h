/* Read-only mappings of a model file and of the external data files in its folder. */
#ifndef LEDGE_ENGINE_ONNX_MAP_H
#define LEDGE_ENGINE_ONNX_MAP_H

#include "base/alloc.h"
#include "base/error.h"

/* One file in memory; lives in the model's arena, its bytes until ledge__onnx_unmap_all. */
typedef struct OnnxMapping {
    struct OnnxMapping *next;
    const LedgeAllocator *allocator;
    const uint8_t *bytes;
    size_t size;
    bool is_mapped;   /* by mmap; else read into memory from the allocator */
    const char *name; /* as it was asked for */
} OnnxMapping;

/* The folder of a model file, to which external data is confined. */
typedef struct OnnxFolder {
    int fd;
    const char *path;
} OnnxFolder;

/* Maps `path` and puts it at the front of *list. Statuses: IO, MEMORY. */
LedgeStatus ledge__onnx_map(LedgeArena *arena, const char *path, OnnxMapping **list,
                            LedgeError *err);
/* Opens the folder that `path` lies in. The path is copied into the arena. */
LedgeStatus ledge__onnx_folder_open(LedgeArena *arena, const char *path, LedgeError *err,
                                    OnnxFolder *out);
void ledge__onnx_folder_close(OnnxFolder *folder);
/* Maps the file `name` inside the folder, once for any number of calls; refuses absolute
 * names, "..", and links that lead out of the folder. Statuses: FORMAT, IO, MEMORY. */
LedgeStatus ledge__onnx_map_in(LedgeArena *arena, const OnnxFolder *folder, const char *name,
                               OnnxMapping **list, LedgeError *err, const OnnxMapping **out);
void ledge__onnx_unmap_all(OnnxMapping *list);

#endif
