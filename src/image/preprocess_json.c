/* Preprocessing as JSON, in and out. The schema stands in docs/preprocess.md; a key that it
 * does not have is an error, since a misspelt one would silently change a model's answers. */
#include "image/preprocess.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/error.h"

#define MAX_SIDE 65536

static const char *const color_names[] = {"rgb", "bgr", "gray", NULL};
static const char *const layout_names[] = {"nchw", "nhwc", NULL};
static const char *const filter_names[] = {
#define FILTER_NAME(NAME, name) name,
    LEDGE_FILTER_LIST(FILTER_NAME)
#undef FILTER_NAME
        NULL};

typedef struct Reader {
    const char *where;
    LedgeError *err;
} Reader;

static LedgeStatus bad(const Reader *r, const char *key, const char *wanted)
{
    return ledge__fail(r->err, LEDGE_ERROR_FORMAT, r->where, "\"%s\" must be %s", key, wanted);
}

static LedgeStatus read_name(const Reader *r, const char *key, const json_t *value,
                             const char *const *names, const char *wanted, int *out)
{
    const char *text = json_string_value(value);
    for (int i = 0; text && names[i]; i++)
        if (strcmp(names[i], text) == 0) {
            *out = i;
            return LEDGE_OK;
        }
    return bad(r, key, wanted);
}

static bool is_side(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 1 &&
           json_integer_value(value) <= MAX_SIDE;
}

/* {"width": W, "height": H} */
static bool read_size(const json_t *value, uint32_t *width, uint32_t *height)
{
    const json_t *w = json_object_get(value, "width"), *h = json_object_get(value, "height");
    if (json_object_size(value) != 2 || !is_side(w) || !is_side(h))
        return false;
    *width = (uint32_t)json_integer_value(w);
    *height = (uint32_t)json_integer_value(h);
    return true;
}

static bool is_none(const json_t *value)
{
    return json_is_null(value) ||
           (json_is_string(value) && strcmp(json_string_value(value), "none") == 0);
}

static LedgeStatus read_resize(const Reader *r, const json_t *value, LedgePreprocess *pre)
{
    const json_t *shorter = json_object_get(value, "shorter");
    if (is_none(value)) {
        pre->resize = LEDGE_RESIZE_NONE;
    } else if (json_object_size(value) == 1 && is_side(shorter)) {
        pre->resize = LEDGE_RESIZE_SHORTER;
        pre->shorter = (uint32_t)json_integer_value(shorter);
    } else if (read_size(value, &pre->resize_width, &pre->resize_height)) {
        pre->resize = LEDGE_RESIZE_EXACT;
    } else {
        return bad(r, "resize",
                   "\"none\", {\"shorter\": N} or {\"width\": W, \"height\": H}, in pixels");
    }
    return LEDGE_OK;
}

static LedgeStatus read_crop(const Reader *r, const json_t *value, LedgePreprocess *pre)
{
    if (is_none(value)) {
        pre->crop_width = pre->crop_height = 0;
    } else if (is_side(value)) {
        pre->crop_width = pre->crop_height = (uint32_t)json_integer_value(value);
    } else if (!read_size(value, &pre->crop_width, &pre->crop_height)) {
        return bad(r, "crop", "\"none\", N or {\"width\": W, \"height\": H}, in pixels");
    }
    return LEDGE_OK;
}

/* One number for all channels, or an array of one or three. */
static LedgeStatus read_numbers(const Reader *r, const char *key, const json_t *value, bool nonzero,
                                double out[3])
{
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    if (n != 1 && n != 3)
        return bad(r, key, "a number, or an array of one or three");
    for (size_t c = 0; c < 3; c++) {
        const json_t *v = json_is_array(value) ? json_array_get(value, n == 3 ? c : 0) : value;
        double x = json_number_value(v);
        if (!json_is_number(v) || !isfinite(x) || (nonzero && x == 0.0))
            return bad(r, key, nonzero ? "made of numbers other than 0" : "made of numbers");
        out[c] = x;
    }
    return LEDGE_OK;
}

static LedgeStatus read_key(const Reader *r, const char *key, const json_t *value,
                            LedgePreprocess *pre)
{
    int i = 0;
    if (strcmp(key, "preset") == 0)
        return LEDGE_OK; /* read first, by the caller */
    if (strcmp(key, "color") == 0) {
        LEDGE_TRY(read_name(r, key, value, color_names, "rgb, bgr or gray", &i));
        pre->color = (LedgeColor)i;
    } else if (strcmp(key, "layout") == 0) {
        LEDGE_TRY(read_name(r, key, value, layout_names, "nchw or nhwc", &i));
        pre->layout = (LedgeLayout)i;
    } else if (strcmp(key, "interpolation") == 0) {
        LEDGE_TRY(read_name(r, key, value, filter_names, "nearest, bilinear or bicubic", &i));
        pre->filter = (LedgeFilter)i;
    } else if (strcmp(key, "resize") == 0) {
        return read_resize(r, value, pre);
    } else if (strcmp(key, "crop") == 0) {
        return read_crop(r, value, pre);
    } else if (strcmp(key, "scale") == 0) {
        double all[3];
        if (json_is_array(value))
            return bad(r, key, "one number");
        LEDGE_TRY(read_numbers(r, key, value, false, all));
        pre->scale = all[0];
    } else if (strcmp(key, "mean") == 0) {
        return read_numbers(r, key, value, false, pre->mean);
    } else if (strcmp(key, "std") == 0) {
        return read_numbers(r, key, value, true, pre->std);
    } else {
        return ledge__fail(r->err, LEDGE_ERROR_FORMAT, r->where,
                           "unknown key \"%.40s\"; there are preset, color, resize, crop, "
                           "interpolation, scale, mean, std and layout",
                           key);
    }
    return LEDGE_OK;
}

static LedgeStatus read_object(const Reader *r, json_t *root, LedgePreprocess *pre)
{
    const json_t *base = json_object_get(root, "preset");
    const char *key;
    json_t *value;
    if (!json_is_object(root))
        return ledge__fail(r->err, LEDGE_ERROR_FORMAT, r->where, "must be one JSON object");
    if (base && !json_is_string(base))
        return bad(r, "preset", "imagenet, tf, caffe or none");
    LEDGE_TRY(ledge__preprocess_preset(base ? json_string_value(base) : "none", r->err, pre));
    json_object_foreach(root, key, value) LEDGE_TRY(read_key(r, key, value, pre));
    return LEDGE_OK;
}

LedgeStatus ledge__preprocess_from_json(const char *where, const char *json, size_t size,
                                        LedgeError *err, LedgePreprocess *out)
{
    Reader r = {where, err};
    LedgePreprocess pre;
    json_error_t fault;
    json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &fault);
    if (!root)
        return ledge__fail(err, LEDGE_ERROR_FORMAT, where, "is not JSON: %s at line %d", fault.text,
                           fault.line);
    LedgeStatus status = read_object(&r, root, &pre);
    json_decref(root);
    if (status == LEDGE_OK)
        *out = pre;
    return status;
}

static json_t *size_json(uint32_t width, uint32_t height)
{
    return json_pack("{s:I, s:I}", "width", (json_int_t)width, "height", (json_int_t)height);
}

char *ledge__preprocess_to_json(const LedgePreprocess *pre)
{
    json_t *resize = pre->resize == LEDGE_RESIZE_NONE ? json_string("none")
                     : pre->resize == LEDGE_RESIZE_EXACT
                         ? size_json(pre->resize_width, pre->resize_height)
                         : json_pack("{s:I}", "shorter", (json_int_t)pre->shorter);
    json_t *crop =
        pre->crop_width ? size_json(pre->crop_width, pre->crop_height) : json_string("none");
    const double *m = pre->mean, *s = pre->std;
    /* json_pack takes "o" references over, and fails on a NULL one. */
    json_t *root =
        json_pack("{s:s, s:o, s:o, s:s, s:f, s:[f,f,f], s:[f,f,f], s:s}", "color",
                  color_names[pre->color], "resize", resize, "crop", crop, "interpolation",
                  filter_names[pre->filter], "scale", pre->scale, "mean", m[0], m[1], m[2], "std",
                  s[0], s[1], s[2], "layout", layout_names[pre->layout]);
    char *text = root ? json_dumps(root, 0) : NULL;
    json_decref(root);
    return text;
}
