/* A WebAssembly guest that carries engine and model in one module and needs no files: a PPM of
 * 48x48 pixels on stdin, the kind of sign on stdout.
 *
 *   scripts/bytes_as_c.sh models/signs.onnx >bytes.inc
 *   clang --target=wasm32-wasi -O2 examples/wasm_guest.c -DMODEL_BYTES='"bytes.inc"' -I. \
 *       -o guest.wasm $(PKG_CONFIG_PATH=build-wasm pkg-config --cflags --libs ledge_wasm)
 *   wasmedge guest.wasm <tests/data/signs/stop.ppm */
#include <stdio.h>

#include "ledge/ledge.h"

enum { SIDE = 48 };

static const unsigned char model_bytes[] = {
#include MODEL_BYTES
};

/* Planes of red, green and blue as models/signs.onnx wants them; 0: no such picture. */
static int read_ppm(float planes[3][SIDE * SIDE])
{
    int w = 0, h = 0;
    if (scanf("P6 %d %d 255", &w, &h) != 2 || getchar() == EOF || w != SIDE || h != SIDE)
        return 0;
    for (int i = 0; i < SIDE * SIDE * 3; i++) {
        const int byte = getchar();
        if (byte == EOF)
            return 0;
        planes[i % 3][i / 3] = ((float)byte / 255 - 0.5f) / 0.25f;
    }
    return 1;
}

int main(void)
{
    static float planes[3][SIDE * SIDE];
    LedgeModel *model = NULL;
    LedgeSession *session = NULL;
    LedgeError e = {0};
    LedgeTensor in = {LEDGE_FLOAT, 4, {1, 3, SIDE, SIDE}, planes, sizeof planes}, out = {0};
    if (!read_ppm(planes))
        return fprintf(stderr, "guest: a PPM of %dx%d pixels is wanted on stdin\n", SIDE, SIDE), 1;
    if (ledge_model_load_memory(model_bytes, sizeof model_bytes, NULL, &e, &model) ||
        ledge_session_create(model, NULL, &e, &session) ||
        ledge_session_run(session, &in, 1, &out, 1, &e))
        return fprintf(stderr, "guest: %s\n", e.message), 1;
    const float *score = out.data;
    int best = 0;
    for (int i = 1; i < ledge_tensor_count(&out); i++)
        best = score[i] > score[best] ? i : best;
    printf("class %d, score %.3f\n", best, score[best]);
    ledge_session_free(session);
    ledge_model_free(model);
    return 0;
}
