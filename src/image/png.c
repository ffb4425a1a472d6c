/* PNG by libpng: every colour type and depth, interlaced or not.
 *
 * The library's errors leave by longjmp into attempt(); what must be freed lives in struct
 * Job, which its caller holds. Transparency is laid over white, as a page shows it. */
#include "image/codecs.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

#include "base/alloc.h"
#include "base/error.h"

typedef struct Job {
    png_structp png;
    png_infop info;
    jmp_buf jump;
    LedgeError *err;
    const char *name;
    const uint8_t *bytes;
    size_t size, at;
    LedgeStatus status;
    LedgeImage image;
    uint8_t *wide; /* pixels with alpha, where the picture has it */
    png_bytep *rows;
    const LedgeAllocator *allocator;
} Job;

static void leave(Job *job, LedgeStatus status, const char *sentence)
{
    job->status = ledge__fail(job->err, status, job->name, "%s", sentence);
    longjmp(job->jump, 1);
}

static void on_error(png_structp png, png_const_charp text)
{
    Job *job = png_get_error_ptr(png);
    job->status = ledge__fail(job->err, LEDGE_ERROR_FORMAT, job->name,
                              "the PNG is damaged (%s); save it again", text);
    longjmp(job->jump, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text; /* about chunks that do not change the pixels */
}

static void on_read(png_structp png, png_bytep to, size_t n)
{
    Job *job = png_get_io_ptr(png);
    if (job->size - job->at < n)
        leave(job, LEDGE_ERROR_FORMAT,
              "the PNG is cut off: its data ends before its last chunk; copy the file again");
    memcpy(to, job->bytes + job->at, n);
    job->at += n;
}

/* Asks libpng for 8-bit grey, grey+alpha, RGB or RGBA, whatever the file holds. */
static void set_transforms(Job *job)
{
    png_structp png = job->png;
    int type = png_get_color_type(png, job->info), depth = png_get_bit_depth(png, job->info);
    if (depth == 16)
        png_set_scale_16(png);
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    if (type == PNG_COLOR_TYPE_GRAY && depth < 8)
        png_set_expand_gray_1_2_4_to_8(png);
    if (png_get_valid(png, job->info, PNG_INFO_tRNS))
        png_set_tRNS_to_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, job->info);
}

static void *need(Job *job, size_t count, size_t size)
{
    void *p = ledge__alloc(job->allocator, count, size);
    if (!p)
        leave(job, LEDGE_ERROR_MEMORY, "out of memory while decoding this PNG");
    return p;
}

static void over_white(const uint8_t *from, uint8_t *to, size_t pixels, int colours)
{
    for (size_t i = 0; i < pixels; i++, from += colours + 1, to += colours) {
        unsigned alpha = from[colours];
        for (int c = 0; c < colours; c++)
            to[c] = (uint8_t)((from[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
}

static void decode(Job *job)
{
    png_read_info(job->png, job->info);
    uint32_t width = png_get_image_width(job->png, job->info);
    uint32_t height = png_get_image_height(job->png, job->info);
    if ((uint64_t)width * height > LEDGE_IMAGE_MAX_PIXELS) /* before libpng sizes its rows */
        leave(job, LEDGE_ERROR_LIMIT, "the picture is over 100 megapixels; make it smaller first");
    set_transforms(job);
    int stored = png_get_channels(job->png, job->info);
    int colours = stored <= 2 ? 1 : 3;
    job->status = ledge__image_new(job->allocator, width, height, colours, job->err, &job->image);
    if (job->status != LEDGE_OK)
        longjmp(job->jump, 1);
    uint8_t *target = job->image.pixels;
    if (stored != colours)
        target = job->wide = need(job, (size_t)width * height, (size_t)stored);
    job->rows = need(job, height, sizeof *job->rows);
    for (uint32_t y = 0; y < height; y++)
        job->rows[y] = target + (size_t)y * width * (size_t)stored;
    png_read_image(job->png, job->rows);
    png_read_end(job->png, job->info);
    if (job->wide)
        over_white(job->wide, job->image.pixels, (size_t)width * height, colours);
}

static int stored_orientation(Job *job)
{
    png_bytep exif;
    png_uint_32 size;
    return png_get_eXIf_1(job->png, job->info, &size, &exif) & PNG_INFO_eXIf
               ? ledge__exif_orientation(exif, size)
               : 1;
}

/* Apart from its caller, so that no variable of this frame changes between setjmp and longjmp. */
static void attempt(Job *job, LedgeDecoded *out)
{
    if (setjmp(job->jump) != 0)
        return;
    job->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, job, on_error, on_warning);
    job->info = job->png ? png_create_info_struct(job->png) : NULL;
    if (!job->info)
        leave(job, LEDGE_ERROR_MEMORY, "out of memory while decoding this PNG");
    png_set_read_fn(job->png, job, on_read);
    png_set_user_limits(job->png, 1000000, 1000000);
    png_set_chunk_malloc_max(job->png, 8 << 20);
    png_set_chunk_cache_max(job->png, 100);
    decode(job);
    *out = (LedgeDecoded){job->image, stored_orientation(job)};
}

LedgeStatus ledge__png_decode(const LedgeAllocator *a, const char *name, const uint8_t *bytes,
                              size_t size, LedgeError *err, LedgeDecoded *out)
{
    Job job = {.err = err, .name = name, .bytes = bytes, .size = size};
    job.allocator = ledge__allocator_or_default(a);
    attempt(&job, out);
    png_destroy_read_struct(&job.png, &job.info, NULL);
    ledge__free(job.allocator, job.wide);
    ledge__free(job.allocator, job.rows);
    if (job.status != LEDGE_OK) {
        ledge__image_free(&job.image);
        if (err && !err->where[0])
            snprintf(err->where, sizeof err->where, "%s", name ? name : "");
    }
    return job.status;
}
