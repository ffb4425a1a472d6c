/* For guests: from a picture to a classifier's input, and from its scores to the best classes, as
 * numbers and as JSON.
 *
 * The steps are those of docs/preprocess.md, read from the model's own description: resize with
 * antialias (two passes of weighted sums over 8-bit pixels, as `ledge run` does it), crop from the
 * middle, order of colours, scale, layout. */
#ifndef LEDGE_GUEST_IMAGE_H
#define LEDGE_GUEST_IMAGE_H

#include <math.h>

#include "ledge/guest/guest_json.h"

typedef struct GuestPrepare {
    uint32_t shorter, width, height;  /* resize: the shorter side, or to an exact size; 0: none */
    uint32_t crop_width, crop_height; /* 0: none */
    bool bgr, nhwc;
    double scale, mean[3], std[3]; /* in the order of the output's channels */
} GuestPrepare;

typedef struct GuestScore {
    uint32_t class_id;
    float confidence;
} GuestScore;

static inline void guest_triple(GuestJson v, double out[3])
{
    const char *at = v.p;
    GuestJson item;
    if (guest_json_is(v, '['))
        for (int i = 0; i < 3 && guest_json_next(v, &at, &item); i++)
            out[i] = guest_json_number(item, out[i]);
    else if (v.p)
        out[0] = out[1] = out[2] = guest_json_number(v, out[0]);
}

static inline bool guest_word_is(GuestJson v, const char *word)
{
    const GuestJson t = guest_json_text(v);
    return t.p && (size_t)(t.end - t.p) == strlen(word) && memcmp(t.p, word, strlen(word)) == 0;
}

static inline GuestPrepare guest_preset(GuestJson name)
{
    GuestPrepare p = {.scale = 1, .std = {1, 1, 1}};
    if (guest_word_is(name, "imagenet"))
        p = (GuestPrepare){.shorter = 256,
                           .crop_width = 224,
                           .crop_height = 224,
                           .scale = 1.0 / 255,
                           .mean = {0.485, 0.456, 0.406},
                           .std = {0.229, 0.224, 0.225}};
    else if (guest_word_is(name, "tf"))
        p = (GuestPrepare){.shorter = 256,
                           .crop_width = 224,
                           .crop_height = 224,
                           .scale = 1,
                           .mean = {127.5, 127.5, 127.5},
                           .std = {127.5, 127.5, 127.5}};
    else if (guest_word_is(name, "caffe"))
        p = (GuestPrepare){.shorter = 256,
                           .crop_width = 224,
                           .crop_height = 224,
                           .bgr = true,
                           .scale = 1,
                           .mean = {104, 117, 123},
                           .std = {1, 1, 1}};
    return p;
}

/* The description in the model's metadata `ledge.preprocess`; height and width: of its input, which
 * win (0: free). */
static inline GuestPrepare guest_prepare_read(GuestJson o, uint32_t height, uint32_t width)
{
    GuestPrepare p = guest_preset(guest_json_get(o, "preset"));
    const GuestJson resize = guest_json_get(o, "resize"), crop = guest_json_get(o, "crop");
    if (resize.p) {
        p.shorter = (uint32_t)guest_json_number(guest_json_get(resize, "shorter"), 0);
        p.width = (uint32_t)guest_json_number(guest_json_get(resize, "width"), 0);
        p.height = (uint32_t)guest_json_number(guest_json_get(resize, "height"), 0);
    }
    if (crop.p) {
        const double side = guest_json_number(crop, 0);
        p.crop_width = (uint32_t)guest_json_number(guest_json_get(crop, "width"), side);
        p.crop_height = (uint32_t)guest_json_number(guest_json_get(crop, "height"), side);
    }
    if (guest_json_get(o, "color").p)
        p.bgr = guest_word_is(guest_json_get(o, "color"), "bgr");
    p.nhwc = guest_word_is(guest_json_get(o, "layout"), "nhwc");
    p.scale = guest_json_number(guest_json_get(o, "scale"), p.scale);
    guest_triple(guest_json_get(o, "mean"), p.mean);
    guest_triple(guest_json_get(o, "std"), p.std);
    if (!height || !width)
        return p;
    if (p.crop_width || p.shorter) {
        const uint32_t most = height > width ? height : width;
        if (p.shorter && (most < p.shorter * 3 / 4 || most > p.shorter))
            p.shorter = most * 256 / 224;
        p.crop_width = width;
        p.crop_height = height;
    } else {
        p.width = width;
        p.height = height;
    }
    return p;
}

enum { GUEST_TAPS = 512 }; /* a picture is shrunk to a 256th at most */

/* One pass: `n` lines of `from` pixels become lines of `to`. Steps are in bytes. */
static inline void guest_resample(const uint8_t *in, uint32_t from, size_t in_step, size_t in_line,
                                  uint8_t *out, uint32_t to, size_t out_step, size_t out_line,
                                  uint32_t n)
{
    const double scale = (double)from / to, stretch = scale < 1 ? 1 : scale;
    double weight[GUEST_TAPS];
    for (uint32_t i = 0; i < to; i++) {
        const double center = (i + 0.5) * scale;
        int64_t low = (int64_t)(center - stretch + 0.5), high = (int64_t)(center + stretch + 0.5);
        double sum = 0;
        low = low < 0 ? 0 : low;
        high = high > (int64_t)from ? (int64_t)from : high;
        high = high - low > GUEST_TAPS ? low + GUEST_TAPS : high;
        for (int64_t k = low; k < high; k++)
            sum += weight[k - low] = fmax(0, 1 - fabs(((double)k - center + 0.5) / stretch));
        for (uint32_t line = 0; line < n; line++)
            for (uint32_t c = 0; c < 3; c++) {
                const uint8_t *p = in + line * in_line + (size_t)low * in_step + c;
                double v = 0;
                for (int64_t k = 0; k < high - low; k++)
                    v += p[(size_t)k * in_step] * weight[k];
                out[line * out_line + i * out_step + c] = (uint8_t)(v / sum + 0.5);
            }
    }
}

/* A picture (RGB, 3 bytes a pixel) in another size, by malloc; NULL: no memory. */
static inline uint8_t *guest_resize(const uint8_t *rgb, uint32_t width, uint32_t height,
                                    uint32_t to_width, uint32_t to_height)
{
    uint8_t *wide = malloc((size_t)to_width * height * 3 + 1);
    uint8_t *out = malloc((size_t)to_width * to_height * 3 + 1);
    if (wide && out) {
        guest_resample(rgb, width, 3, (size_t)width * 3, wide, to_width, 3, (size_t)to_width * 3,
                       height);
        guest_resample(wide, height, (size_t)to_width * 3, 3, out, to_height, (size_t)to_width * 3,
                       3, to_width);
        free(wide);
        return out;
    }
    free(wide);
    free(out);
    return NULL;
}

/* The model's input, by malloc, and its dimensions; NULL: no memory, or the crop does not fit. */
static inline float *guest_prepare(const GuestPrepare *p, const uint8_t *rgb, uint32_t width,
                                   uint32_t height, uint32_t dims[4])
{
    uint32_t w = p->width ? p->width : width, h = p->height ? p->height : height;
    if (p->shorter) {
        const uint32_t less = width < height ? width : height;
        w = width == less ? p->shorter : (uint32_t)((uint64_t)p->shorter * width / less);
        h = height == less ? p->shorter : (uint32_t)((uint64_t)p->shorter * height / less);
    }
    const uint32_t cw = p->crop_width ? p->crop_width : w, ch = p->crop_height ? p->crop_height : h;
    if (!w || !h || cw > w || ch > h || (uint64_t)w * h > 1u << 28)
        return NULL;
    uint8_t *made = w != width || h != height ? guest_resize(rgb, width, height, w, h) : NULL;
    const uint8_t *from = made ? made : rgb;
    float *out = w == width && h == height ? malloc((size_t)cw * ch * 12)
                 : made                    ? malloc((size_t)cw * ch * 12)
                                           : NULL;
    const uint32_t left = (w - cw) / 2, top = (h - ch) / 2;
    for (uint32_t c = 0; out && c < 3; c++) {
        float level[256]; /* what each byte stands for */
        for (int b = 0; b < 256; b++)
            level[b] = (float)((b * p->scale - p->mean[c]) / p->std[c]);
        for (uint32_t y = 0; y < ch; y++) {
            const uint8_t *in = from + ((size_t)(top + y) * w + left) * 3 + (p->bgr ? 2 - c : c);
            float *to = p->nhwc ? out + (size_t)y * cw * 3 + c : out + ((size_t)c * ch + y) * cw;
            for (uint32_t x = 0; x < cw; x++)
                to[x * (p->nhwc ? 3 : 1)] = level[in[(size_t)x * 3]];
        }
    }
    free(made);
    memcpy(dims, p->nhwc ? (uint32_t[]){1, ch, cw, 3} : (uint32_t[]){1, 3, ch, cw}, 16);
    return out;
}

/* Scores to probabilities, in place, unless they are some already. */
static inline void guest_softmax(float *v, uint32_t n)
{
    float most = n ? v[0] : 0, least = most;
    double sum = 0, plain = 0;
    for (uint32_t i = 0; i < n; i++) {
        most = v[i] > most ? v[i] : most;
        least = v[i] < least ? v[i] : least;
        plain += v[i];
    }
    if (least >= 0 && fabs(plain - 1) < 1e-3)
        return;
    for (uint32_t i = 0; i < n; i++)
        sum += v[i] = expf(v[i] - most);
    for (uint32_t i = 0; i < n; i++)
        v[i] = (float)(v[i] / sum);
}

/* The k best, best first; of equal ones the lower class. Gives how many. */
static inline uint32_t guest_top(const float *v, uint32_t n, GuestScore *out, uint32_t k)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = found < k ? found : k;
        while (at > 0 && v[i] > out[at - 1].confidence)
            at--;
        if (at == k)
            continue;
        found += found < k;
        memmove(out + at + 1, out + at, (found - at - 1) * sizeof *out);
        out[at] = (GuestScore){i, v[i]};
    }
    return found;
}

/* "predictions":[...] of the k best, k up to 100, of those with the threshold's confidence at
 * least. labels: a name a line, or NULL. */
static inline void guest_put_predictions(GuestText *t, const float *scores, uint32_t n,
                                         const char *labels, float threshold, uint32_t k)
{
    GuestScore best[100];
    char line[96];
    const uint32_t found = guest_top(scores, n, best, k < 100 ? k : 100);
    guest_put_text(t, "\"predictions\":[");
    for (uint32_t i = 0; i < found && best[i].confidence >= threshold; i++) {
        const char *p = labels ? labels : "";
        for (uint32_t l = best[i].class_id; l && *p; l--)
            p += strcspn(p, "\n") + (p[strcspn(p, "\n")] == '\n');
        snprintf(line, sizeof line, "%s{\"class_id\":%u,\"label\":", i ? "," : "",
                 (unsigned)best[i].class_id);
        guest_put_text(t, line);
        guest_put_string(t, p, strcspn(p, "\n"));
        snprintf(line, sizeof line, ",\"confidence\":%.6f}", (double)best[i].confidence);
        guest_put_text(t, line);
    }
    guest_put_text(t, "]");
}

#endif
