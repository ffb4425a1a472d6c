/* ONNX Runtime's word on which provider runs which node. */
#ifndef LEDGE_PROVIDER_ORT_PLACED_H
#define LEDGE_PROVIDER_ORT_PLACED_H

#include "engine/provider/ort_session.h"

typedef struct OrtPlacedList {
    LedgeArena *arena; /* of the strings too */
    OrtPlaced *items;
    size_t n;
} OrtPlacedList;

/* From the assignment record (API 24 and later; the session was made with it switched on). */
LedgeStatus ledge__ort_placed_by_record(const OrtLibrary *o, const OrtSession *session,
                                        OrtPlacedList *list, LedgeError *err);
/* From the bytes of a profile: its events of category "Node" that are a kernel's time. */
LedgeStatus ledge__ort_placed_by_profile(const char *json, size_t size, OrtPlacedList *list,
                                         LedgeError *err);

#endif
