/* Inputs that take the bytes of pictures; see LedgePixels in the public header. */
#ifndef LEDGE_ENGINE_PIXELS_H
#define LEDGE_ENGINE_PIXELS_H

#include "engine/session/model.h"

/* Asks o->pixels about each input and rewrites those that it names. The model's inputs must be
 * described already; afterwards they must be described anew. */
LedgeStatus ledge__model_pixels(LedgeModel *m, const LedgeModelOptions *o, LedgeError *err);

#endif
