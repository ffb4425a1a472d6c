/* What probing said of each provider, asked once per process. */
#ifndef LEDGE_PROVIDER_PROBES_H
#define LEDGE_PROVIDER_PROBES_H

#include "engine/provider/probe.h"

/* Statuses: ARGUMENT for a name that there is not, MEMORY; what is not usable is in the answer. */
LedgeStatus ledge__provider_probe(const char *name, LedgeError *err, ProbeAnswer *out);
/* ARGUMENT, with the nearest name or all of them. */
LedgeStatus ledge__provider_unknown(const char *name, LedgeError *err);

#endif
