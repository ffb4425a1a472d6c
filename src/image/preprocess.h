/* From a picture to the numbers that a model takes: resize, crop, colour order, scale.
 *
 * The description travels with the model as JSON (metadata key "ledge.preprocess", schema in
 * docs/preprocess.md). Each output number is (pixel * scale - mean[c]) / std[c], with c in
 * the order of the output's channels. */
#ifndef LEDGE_IMAGE_PREPROCESS_H
#define LEDGE_IMAGE_PREPROCESS_H

#include "image/image.h"
#include "image/image_resize.h"
#include "ledge/ledge.h"

#define LEDGE_PREPROCESS_KEY "ledge.preprocess"

typedef enum LedgeColor { LEDGE_COLOR_RGB, LEDGE_COLOR_BGR, LEDGE_COLOR_GRAY } LedgeColor;
static inline int ledge__color_channels(LedgeColor color)
{
    return color == LEDGE_COLOR_GRAY ? 1 : 3;
}

typedef enum LedgeLayout { LEDGE_LAYOUT_NCHW, LEDGE_LAYOUT_NHWC } LedgeLayout;
typedef enum LedgeResize {
    LEDGE_RESIZE_NONE,
    LEDGE_RESIZE_SHORTER, /* the shorter side becomes `shorter`, the shape is kept */
    LEDGE_RESIZE_EXACT    /* to resize_width x resize_height */
} LedgeResize;

typedef struct LedgePreprocess {
    LedgeColor color;
    LedgeResize resize;
    uint32_t shorter, resize_width, resize_height;
    uint32_t crop_width, crop_height; /* from the middle; 0: no crop */
    LedgeFilter filter;
    LedgeLayout layout;
    double scale, mean[3], std[3];
} LedgePreprocess;

/* A preset by name: "imagenet", "tf", "caffe", "none". Status: NOT_FOUND. */
LEDGE_MUST_CHECK LedgeStatus ledge__preprocess_preset(const char *name, LedgeError *err,
                                                      LedgePreprocess *out);
/* Parses the JSON description; `where` is for messages. Statuses: FORMAT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__preprocess_from_json(const char *where, const char *json,
                                                         size_t size, LedgeError *err,
                                                         LedgePreprocess *out);
/* The description as JSON, NUL-terminated; the caller frees it by free(). NULL: no memory. */
char *ledge__preprocess_to_json(const LedgePreprocess *pre);
/* What `--preprocess` takes: a preset's name, JSON text (from its '{') or a file of it. */
LEDGE_MUST_CHECK LedgeStatus ledge__preprocess_parse(const char *what, LedgeError *err,
                                                     LedgePreprocess *out);

/* What model input `index` needs: `override` (as above) if not NULL, else the model's own
 * metadata, else the preset "none"; then fitted to the input's dimensions where the model fixes
 * them: channels, layout, and height and width (docs/preprocess.md has the rules).
 * *from (may be NULL) tells which it was: "option", "model" or "default". Statuses: FORMAT,
 * NOT_FOUND, IO, SHAPE (the input takes no picture or cannot hold this crop), TYPE. */
LEDGE_MUST_CHECK LedgeStatus ledge__preprocess_for_model(const LedgeModel *model, size_t index,
                                                         const char *override, LedgeError *err,
                                                         LedgePreprocess *out, const char **from);
/* The fitting alone. */
LEDGE_MUST_CHECK LedgeStatus ledge__preprocess_fit(LedgePreprocess *pre,
                                                   const LedgeTensorInfo *input, LedgeError *err);

/* Dimensions of the tensor for a picture of this size: dims[0] is 1. Statuses: SHAPE (the
 * picture is smaller than the crop), LIMIT. */
LEDGE_MUST_CHECK LedgeStatus ledge__preprocess_dims(const LedgePreprocess *pre, uint32_t width,
                                                    uint32_t height, LedgeError *err,
                                                    int64_t dims[4]);
/* Fills `out`, which holds as many floats as the dimensions above multiply to. Statuses as
 * above and MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__preprocess_run(const LedgePreprocess *pre,
                                                   const LedgeImage *image, LedgeError *err,
                                                   float *out);
/* Both: a float32 tensor of rank 4 whose data the caller frees by ledge__free(a, data). */
LEDGE_MUST_CHECK LedgeStatus ledge__preprocess_tensor(const LedgePreprocess *pre,
                                                      const LedgeAllocator *a,
                                                      const LedgeImage *image, LedgeError *err,
                                                      LedgeTensor *out);

/* Back again: the picture that row `row` of a float32 tensor was made of, after resize and crop.
 * One that came from bytes gives the same bytes. The caller frees out. Statuses: SHAPE, LIMIT,
 * MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__preprocess_undo(const LedgePreprocess *pre,
                                                    const LedgeTensor *t, int64_t row,
                                                    LedgeError *err, LedgeImage *out);

/* Size of a picture after the resize step. */
void ledge__preprocess_size(const LedgePreprocess *pre, uint32_t *width, uint32_t *height);
/* Luma by ITU-R BT.601 in 16-bit fixed point, rounded, as Pillow's convert("L") has it. */
static inline uint8_t ledge__luma(const uint8_t *rgb)
{
    return (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

/* What to ask of the engine (LedgeModelOptions.pixels) so that the model takes what
 * ledge__preprocess_bytes gives, with the answers of ledge__preprocess_tensor. */
void ledge__preprocess_pixels(const LedgePreprocess *pre, LedgePixels *out);
/* The same for a model's only input, with *pre and *from as ledge__preprocess_for_model gives them:
 * what LedgeModelOptions.pixels may answer. false: it takes no pictures, or leaves their channels
 * open; *pre and *from say nothing then. */
bool ledge__preprocess_ask(const LedgeModel *model, size_t input, const char *override,
                           LedgePreprocess *pre, const char **from, LedgePixels *out);
/* What the bytes of such pixels stand for, channel by channel of the model. */
void ledge__preprocess_values(const LedgePreprocess *pre, float to[3][256]);
/* The picture resized and cropped, as uint8 [1,H,W,C]; the channels stay in the picture's order.
 * The caller frees out->data. Statuses: SHAPE, LIMIT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__preprocess_bytes(const LedgePreprocess *pre,
                                                     const LedgeAllocator *a,
                                                     const LedgeImage *image, LedgeError *err,
                                                     LedgeTensor *out);
/* Such bytes, of any number of pictures, as the floats that they stand for, in the layout of the
 * model's own input. The caller frees out->data. Statuses: SHAPE (not uint8 [N,H,W,C] of these
 * channels), LIMIT, MEMORY. */
LEDGE_MUST_CHECK LedgeStatus ledge__preprocess_floats(const LedgePreprocess *pre,
                                                      const LedgeAllocator *a,
                                                      const LedgeTensor *bytes, LedgeError *err,
                                                      LedgeTensor *out);

#endif
