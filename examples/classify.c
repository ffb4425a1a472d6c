/* Classifies one picture with ledge's C API: classify MODEL.onnx PICTURE.ppm
 *
 * The picture is a binary PPM of the model's size; pixels become (value/255 - 0.5) / 0.25, as
 * models/signs.onnx wants them. Build: cc classify.c $(pkg-config --cflags --libs ledge) */
#include <stdio.h>
#include <stdlib.h>

#include "ledge/ledge.h"

/* Fills planes of red, green and blue from interleaved bytes; 0: no such picture. */
static int read_ppm(const char *path, float *planes, int64_t height, int64_t width)
{
    FILE *f = fopen(path, "rb");
    int w = 0, h = 0, ok = f && fscanf(f, "P6 %d %d 255", &w, &h) == 2 && fgetc(f) != EOF;
    ok = ok && w == width && h == height;
    for (int i = 0; ok && i < 3 * w * h; i++) {
        int byte = fgetc(f);
        ok = byte != EOF;
        planes[i % 3 * w * h + i / 3] = ((float)byte / 255 - 0.5f) / 0.25f;
    }
    if (f)
        fclose(f);
    return ok;
}

int main(int argc, char **argv)
{
    LedgeModel *model = NULL;
    LedgeSession *session = NULL;
    LedgeError e = {0};
    if (argc != 3)
        return fprintf(stderr, "usage: classify MODEL.onnx PICTURE.ppm\n"), 2;
    if (ledge_model_load(argv[1], NULL, &e, &model) == LEDGE_OK &&
        ledge_session_create(model, NULL, &e, &session) == LEDGE_OK) {
        const int64_t *dims = ledge_model_input(model, 0)->dims;
        LedgeTensor in = {LEDGE_FLOAT, 4, {1, 3, dims[2], dims[3]}, NULL, 0}, out = {0};
        in.bytes = ledge_tensor_bytes(&in);
        in.data = dims[1] == 3 && in.bytes != SIZE_MAX ? malloc(in.bytes) : NULL;
        if (!in.data || !read_ppm(argv[2], in.data, dims[2], dims[3])) {
            e = (LedgeError){.status = LEDGE_ERROR_FORMAT, .message = "no PPM of the model's size"};
        } else if (ledge_session_run(session, &in, 1, &out, 1, &e) == LEDGE_OK) {
            const float *score = out.data;
            int64_t best = 0, n = ledge_tensor_count(&out);
            for (int64_t i = 1; i < n; i++)
                best = score[i] > score[best] ? i : best;
            printf("class %lld, score %.3f\n", (long long)best, score[best]);
        }
        free(in.data);
    }
    if (e.status != LEDGE_OK)
        fprintf(stderr, "classify: %s %s\n", e.where, e.message);
    ledge_session_free(session);
    ledge_model_free(model);
    return e.status != LEDGE_OK;
}
