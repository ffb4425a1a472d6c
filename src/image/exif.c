/* The one EXIF field that matters to a model: which way up the camera was held.
 *
 * Follows TIFF 6.0 section 2 (header and first image file directory) and EXIF 2.32, tag 0x0112. */
#include "image/codecs.h"

#include <string.h>

#define TAG_ORIENTATION 0x0112
#define TYPE_SHORT      3

typedef struct Tiff {
    const uint8_t *p;
    size_t size;
    bool big_endian;
} Tiff;

static bool u16_at(const Tiff *t, size_t at, uint32_t *v)
{
    if (at > t->size || t->size - at < 2)
        return false;
    const uint8_t *b = t->p + at;
    *v = t->big_endian ? (uint32_t)b[0] << 8 | b[1] : (uint32_t)b[1] << 8 | b[0];
    return true;
}

static bool u32_at(const Tiff *t, size_t at, uint32_t *v)
{
    uint32_t first, second;
    if (!u16_at(t, at, &first) || !u16_at(t, at + 2, &second))
        return false;
    *v = t->big_endian ? first << 16 | second : second << 16 | first;
    return true;
}

int ledge__exif_orientation(const uint8_t *tiff, size_t size)
{
    if (size < 8)
        return 1;
    Tiff t = {tiff, size, tiff[0] == 'M'};
    uint32_t magic, ifd, entries;
    if ((memcmp(tiff, "II", 2) != 0 && memcmp(tiff, "MM", 2) != 0) || !u16_at(&t, 2, &magic) ||
        magic != 42 || !u32_at(&t, 4, &ifd) || !u16_at(&t, ifd, &entries))
        return 1;
    for (uint32_t i = 0; i < entries; i++) {
        size_t entry = (size_t)ifd + 2 + 12 * (size_t)i;
        uint32_t tag, type, value;
        if (!u16_at(&t, entry, &tag) || !u16_at(&t, entry + 2, &type) ||
            !u16_at(&t, entry + 8, &value))
            return 1;
        if (tag == TAG_ORIENTATION)
            return type == TYPE_SHORT && value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}
