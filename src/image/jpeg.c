/* JPEG by libjpeg-turbo: baseline and progressive, grey, RGB, YCbCr, CMYK, YCCK.
 *
 * The library's errors leave by longjmp into attempt(); all that must be freed then lives in
 * struct Job, which its caller holds. Its warnings about missing data become errors: half a
 * picture would be classified with a straight face. */
#include "image/codecs.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "base/alloc.h"
#include "base/error.h"

/* A progressive file may ask for any number of passes over the whole picture; real ones have
 * about ten. */
#define MAX_SCANS 200

typedef struct Job {
    struct jpeg_error_mgr errors; /* first: libjpeg hands back a pointer to it */
    struct jpeg_progress_mgr progress;
    struct jpeg_decompress_struct jpeg;
    jmp_buf jump;
    LedgeError *err;
    const char *name;
    LedgeStatus status;
    LedgeImage image;
    int orientation;
    uint8_t *cmyk_row;
    const LedgeAllocator *allocator;
} Job;

static void leave(Job *job, LedgeStatus status, const char *sentence)
{
    job->status = ledge__fail(job->err, status, job->name, "%s", sentence);
    longjmp(job->jump, 1);
}

static void on_error(j_common_ptr common)
{
    Job *job = (Job *)common->err;
    char text[JMSG_LENGTH_MAX];
    common->err->format_message(common, text);
    if (common->err->msg_code == JERR_OUT_OF_MEMORY)
        leave(job, LEDGE_ERROR_MEMORY, "out of memory while decoding this JPEG");
    job->status = ledge__fail(job->err, LEDGE_ERROR_FORMAT, job->name,
                              "the JPEG is damaged (%s); save it again", text);
    longjmp(job->jump, 1);
}

static void on_message(j_common_ptr common, int level)
{
    if (level >= 0)
        return;
    switch (common->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
        leave((Job *)common->err, LEDGE_ERROR_FORMAT,
              "the JPEG is cut off: its data ends before its last row; copy the file again");
        break;
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_BOGUS_PROGRESSION:
        on_error(common);
        break;
    default: /* harmless: stray bytes between segments, odd version numbers */
        break;
    }
}

static void on_progress(j_common_ptr common)
{
    Job *job = (Job *)common->err;
    if (job->jpeg.input_scan_number > MAX_SCANS)
        leave(job, LEDGE_ERROR_LIMIT,
              "the JPEG has over 200 scans, made to take long to decode; save it again");
}

static int stored_orientation(const struct jpeg_decompress_struct *jpeg)
{
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && memcmp(m->data, "Exif\0\0", 6) == 0)
            return ledge__exif_orientation(m->data + 6, m->data_length - 6);
    return 1;
}

/* Ink to light. Adobe's programs store CMYK inverted, and say so by their marker. */
static void cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, size_t pixels, bool inverted)
{
    unsigned flip = inverted ? 0 : 255;
    for (size_t i = 0; i < pixels; i++, cmyk += 4, rgb += 3)
        for (int c = 0; c < 3; c++)
            rgb[c] = (uint8_t)(((cmyk[c] ^ flip) * (cmyk[3] ^ flip) + 127) / 255);
}

static void read_header(Job *job, const uint8_t *bytes, size_t size)
{
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    jpeg_mem_src(jpeg, bytes, (unsigned long)size);
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(jpeg, TRUE);
    job->orientation = stored_orientation(jpeg); /* the list of markers does not last */
    switch (jpeg->jpeg_color_space) {
    case JCS_GRAYSCALE:
        jpeg->out_color_space = JCS_GRAYSCALE;
        break;
    case JCS_CMYK:
    case JCS_YCCK:
        jpeg->out_color_space = JCS_CMYK;
        break;
    default:
        jpeg->out_color_space = JCS_RGB;
    }
}

static void read_rows(Job *job)
{
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    LedgeImage *im = &job->image;
    bool cmyk = jpeg->out_color_space == JCS_CMYK;
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *row =
            im->pixels + (size_t)jpeg->output_scanline * im->width * (size_t)im->channels;
        JSAMPROW target = cmyk ? job->cmyk_row : row;
        jpeg_read_scanlines(jpeg, &target, 1);
        if (cmyk)
            cmyk_to_rgb(target, row, im->width, jpeg->saw_Adobe_marker);
    }
}

static void decode(Job *job, const uint8_t *bytes, size_t size)
{
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    read_header(job, bytes, size);
    /* The bound is checked before libjpeg allocates for the picture's size. */
    job->status =
        ledge__image_new(job->allocator, jpeg->image_width, jpeg->image_height,
                         jpeg->out_color_space == JCS_GRAYSCALE ? 1 : 3, job->err, &job->image);
    if (job->status != LEDGE_OK)
        longjmp(job->jump, 1);
    if (jpeg->out_color_space == JCS_CMYK) {
        job->cmyk_row = ledge__alloc(job->allocator, jpeg->image_width, 4);
        if (!job->cmyk_row)
            leave(job, LEDGE_ERROR_MEMORY, "out of memory while decoding this JPEG");
    }
    jpeg_start_decompress(jpeg);
    read_rows(job);
    jpeg_finish_decompress(jpeg);
}

/* Apart from its caller, so that no variable of this frame changes between setjmp and longjmp. */
static void attempt(Job *job, const uint8_t *bytes, size_t size, LedgeDecoded *out)
{
    if (setjmp(job->jump) != 0)
        return;
    jpeg_create_decompress(&job->jpeg);
    job->jpeg.progress = &job->progress;
    decode(job, bytes, size);
    *out = (LedgeDecoded){job->image, job->orientation};
}

LedgeStatus ledge__jpeg_decode(const LedgeAllocator *a, const char *name, const uint8_t *bytes,
                               size_t size, LedgeError *err, LedgeDecoded *out)
{
    Job job = {.err = err, .name = name, .allocator = ledge__allocator_or_default(a)};
    job.jpeg.err = jpeg_std_error(&job.errors);
    job.errors.error_exit = on_error;
    job.errors.emit_message = on_message;
    job.progress.progress_monitor = on_progress;
    attempt(&job, bytes, size, out);
    jpeg_destroy_decompress(&job.jpeg);
    ledge__free(job.allocator, job.cmyk_row);
    if (job.status != LEDGE_OK) {
        ledge__image_free(&job.image);
        if (err && !err->where[0])
            snprintf(err->where, sizeof err->where, "%s", name ? name : "");
    }
    return job.status;
}
