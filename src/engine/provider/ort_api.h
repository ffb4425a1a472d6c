/* The part of ONNX Runtime's C API that ledge calls, by slot.
 *
 * The API is a table of functions whose order never changes; versions only append. So the
 * slots below serve every library from API version 18 on, and no header of ONNX Runtime is
 * needed to build. Slot numbers: onnxruntime_c_api.h, struct OrtApi. */
#ifndef LEDGE_PROVIDER_ORT_API_H
#define LEDGE_PROVIDER_ORT_API_H

#include <stddef.h>
#include <stdint.h>

#define ORT_API_VERSION_MIN 18u
#define ORT_LOG_FATAL             4   /* errors come as statuses */
#define ORT_API_VERSION_PLACEMENT 24u /* has the slots of ORT_PLACEMENT_SLOTS */

typedef struct OrtStatus OrtStatus; /* NULL: success */
typedef struct OrtEnv OrtEnv;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtValue OrtValue;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtTypeInfo OrtTypeInfo;
typedef struct OrtShapeInfo OrtShapeInfo; /* OrtTensorTypeAndShapeInfo */
typedef struct OrtProviderOptionsV2 OrtProviderOptionsV2; /* of CUDA or TensorRT */
typedef struct OrtEpAssignedSubgraph OrtEpAssignedSubgraph;
typedef struct OrtEpAssignedNode OrtEpAssignedNode;

typedef struct OrtApiBase {
    const void *(*GetApi)(uint32_t version); /* NULL: the library is older than that */
    const char *(*GetVersionString)(void);
} OrtApiBase;

/* X(slot, name, result, parameters) */
#define ORT_SLOTS(X)                                                                      \
    X(1, GetErrorCode, int, (const OrtStatus *))                                          \
    X(2, GetErrorMessage, const char *, (const OrtStatus *))                              \
    X(3, CreateEnv, OrtStatus *, (int level, const char *id, OrtEnv **))                  \
    X(7, CreateSession, OrtStatus *,                                                      \
      (const OrtEnv *, const char *path, const OrtSessionOptions *, OrtSession **))       \
    X(8, CreateSessionFromArray, OrtStatus *,                                             \
      (const OrtEnv *, const void *, size_t, const OrtSessionOptions *, OrtSession **))   \
    X(9, Run, OrtStatus *,                                                                \
      (OrtSession *, const OrtRunOptions *, const char *const *, const OrtValue *const *, \
       size_t, const char *const *, size_t, OrtValue **))                                 \
    X(10, CreateSessionOptions, OrtStatus *, (OrtSessionOptions **))                      \
    X(14, EnableProfiling, OrtStatus *, (OrtSessionOptions *, const char *prefix))        \
    X(17, DisableMemPattern, OrtStatus *, (OrtSessionOptions *))                          \
    X(19, DisableCpuMemArena, OrtStatus *, (OrtSessionOptions *))                         \
    X(23, SetGraphOptimizationLevel, OrtStatus *, (OrtSessionOptions *, int))             \
    X(24, SetIntraOpNumThreads, OrtStatus *, (OrtSessionOptions *, int))                  \
    X(25, SetInterOpNumThreads, OrtStatus *, (OrtSessionOptions *, int))                  \
    X(30, SessionGetInputCount, OrtStatus *, (const OrtSession *, size_t *))              \
    X(31, SessionGetOutputCount, OrtStatus *, (const OrtSession *, size_t *))             \
    X(36, SessionGetInputName, OrtStatus *,                                               \
      (const OrtSession *, size_t, OrtAllocator *, char **))                              \
    X(37, SessionGetOutputName, OrtStatus *,                                              \
      (const OrtSession *, size_t, OrtAllocator *, char **))                              \
    X(49, CreateTensorWithData, OrtStatus *,                                              \
      (const OrtMemoryInfo *, void *, size_t, const int64_t *, size_t, int, OrtValue **)) \
    X(50, IsTensor, OrtStatus *, (const OrtValue *, int *))                               \
    X(51, GetTensorMutableData, OrtStatus *, (OrtValue *, void **))                       \
    X(60, GetTensorElementType, OrtStatus *, (const OrtShapeInfo *, int *))               \
    X(61, GetDimensionsCount, OrtStatus *, (const OrtShapeInfo *, size_t *))              \
    X(62, GetDimensions, OrtStatus *, (const OrtShapeInfo *, int64_t *, size_t))          \
    X(65, GetTensorTypeAndShape, OrtStatus *, (const OrtValue *, OrtShapeInfo **))        \
    X(69, CreateCpuMemoryInfo, OrtStatus *, (int type, int memory, OrtMemoryInfo **))     \
    X(76, AllocatorFree, OrtStatus *, (OrtAllocator *, void *))                           \
    X(78, GetAllocator, OrtStatus *, (OrtAllocator **))                                   \
    X(92, ReleaseEnv, void, (OrtEnv *))                                                   \
    X(93, ReleaseStatus, void, (OrtStatus *))                                             \
    X(94, ReleaseMemoryInfo, void, (OrtMemoryInfo *))                                     \
    X(95, ReleaseSession, void, (OrtSession *))                                           \
    X(96, ReleaseValue, void, (OrtValue *))                                               \
    X(99, ReleaseShapeInfo, void, (OrtShapeInfo *))                                       \
    X(100, ReleaseSessionOptions, void, (OrtSessionOptions *))                            \
    X(110, SessionEndProfiling, OrtStatus *, (OrtSession *, OrtAllocator *, char **))     \
    X(125, GetAvailableProviders, OrtStatus *, (char ***, int *))                         \
    X(126, ReleaseAvailableProviders, OrtStatus *, (char **, int))                        \
    X(130, AddSessionConfigEntry, OrtStatus *,                                            \
      (OrtSessionOptions *, const char *key, const char *value))                          \
    X(170, AppendTensorRT, OrtStatus *, (OrtSessionOptions *, const OrtProviderOptionsV2 *)) \
    X(171, CreateTensorRTOptions, OrtStatus *, (OrtProviderOptionsV2 **))                 \
    X(172, UpdateTensorRTOptions, OrtStatus *,                                            \
      (OrtProviderOptionsV2 *, const char *const *, const char *const *, size_t))         \
    X(174, ReleaseTensorRTOptions, void, (OrtProviderOptionsV2 *))                        \
    X(204, AppendCUDA, OrtStatus *, (OrtSessionOptions *, const OrtProviderOptionsV2 *))  \
    X(205, CreateCUDAOptions, OrtStatus *, (OrtProviderOptionsV2 **))                     \
    X(206, UpdateCUDAOptions, OrtStatus *,                                                \
      (OrtProviderOptionsV2 *, const char *const *, const char *const *, size_t))         \
    X(208, ReleaseCUDAOptions, void, (OrtProviderOptionsV2 *))                            \
    X(216, AppendNamed, OrtStatus *,                                                      \
      (OrtSessionOptions *, const char *name, const char *const *, const char *const *, size_t))

/* Only from ORT_API_VERSION_PLACEMENT on. */
#define ORT_PLACEMENT_SLOTS(X)                                                            \
    X(407, GetAssignment, OrtStatus *,                                                    \
      (const OrtSession *, const OrtEpAssignedSubgraph *const **, size_t *))              \
    X(408, SubgraphProvider, OrtStatus *, (const OrtEpAssignedSubgraph *, const char **)) \
    X(409, SubgraphNodes, OrtStatus *,                                                    \
      (const OrtEpAssignedSubgraph *, const OrtEpAssignedNode *const **, size_t *))       \
    X(410, NodeName, OrtStatus *, (const OrtEpAssignedNode *, const char **))             \
    X(412, NodeOperator, OrtStatus *, (const OrtEpAssignedNode *, const char **))

typedef struct OrtCalls {
#define ORT_FIELD(slot, name, result, parameters) result(*name) parameters;
    ORT_SLOTS(ORT_FIELD)
    ORT_PLACEMENT_SLOTS(ORT_FIELD) /* NULL in older libraries */
#undef ORT_FIELD
} OrtCalls;

/* Takes the functions out of the library's table. */
static inline void ledge__ort_fill(OrtCalls *c, const void *api, uint32_t version)
{
    void *const *table = (void *const *)api;
#define ORT_TAKE(slot, name, result, parameters) \
    __builtin_memcpy(&c->name, &table[slot], sizeof c->name);
    __builtin_memset(c, 0, sizeof *c);
    ORT_SLOTS(ORT_TAKE)
    if (version >= ORT_API_VERSION_PLACEMENT) {
        ORT_PLACEMENT_SLOTS(ORT_TAKE)
    }
#undef ORT_TAKE
}

#endif
