/* Providers of one's own: shared libraries that export ledge_provider_get. */
#ifndef LEDGE_PROVIDER_LOADED_H
#define LEDGE_PROVIDER_LOADED_H

#include "engine/provider/probe.h"

/* True for a word that is a path ("./mine.so", "mine.so"). */
bool ledge__loaded_is_path(const char *word);
/* Looks at the library at path `arg`, for ledge__probe_in_child. */
void ledge__loaded_look(const void *path, ProbeAnswer *out);
/* Loads it into this process, for good. Probe it first. */
LedgeStatus ledge__loaded_open(const char *path, LedgeError *err, const LedgeProvider **out);

#endif
