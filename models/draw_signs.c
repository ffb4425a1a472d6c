/* Draws pictures of traffic signs, as no camera took them: the demo model's world.
 *
 *   draw_signs DIR COUNT SEED     writes DIR/sign_00000.png … and DIR/labels.csv
 *   draw_signs --names            prints the classes' names, one per line
 *
 * Each picture is 96x96: one of twelve signs, turned, tilted in perspective, of any size,
 * somewhere on a background of plain shapes, in light that varies in strength, colour and
 * direction, blurred and noisy. The same seed gives the same pictures. A sign is a function
 * from a point of the square [-1,1]x[-1,1] to a colour; a pixel is the mean of 16 points. */
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <png.h>

#define SIDE 96
#define GRID 4 /* points per pixel along a side */
#define PI   3.14159265358979323846

typedef struct Color {
    double r, g, b, a; /* a: 0 outside of the sign, else 1 */
} Color;

static const Color RED = {0.75, 0.07, 0.10, 1}, WHITE = {0.93, 0.93, 0.91, 1},
                   BLACK = {0.06, 0.06, 0.07, 1}, BLUE = {0.05, 0.25, 0.62, 1},
                   YELLOW = {0.96, 0.76, 0.07, 1}, NOTHING = {0, 0, 0, 0};

/* ---- chance: splitmix64 ---- */

static uint64_t state;

static uint64_t next_bits(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static double uniform(double low, double high)
{
    return low + (high - low) * (double)(next_bits() >> 11) * 0x1p-53;
}

static double normal(void)
{
    return sqrt(-2 * log(uniform(1e-12, 1))) * cos(2 * PI * uniform(0, 1));
}

/* ---- shapes: is the point inside? ---- */

static bool in_circle(double x, double y, double radius)
{
    return x * x + y * y < radius * radius;
}

static bool in_box(double x, double y, double cx, double cy, double half_w, double half_h)
{
    return fabs(x - cx) < half_w && fabs(y - cy) < half_h;
}

/* A regular polygon around the origin; `inner` is the distance of its sides, `turn` the
 * direction of the first side's middle. */
static bool in_polygon(double x, double y, int sides, double inner, double turn)
{
    for (int i = 0; i < sides; i++) {
        double angle = turn + 2 * PI * i / sides;
        if (x * cos(angle) + y * sin(angle) > inner)
            return false;
    }
    return true;
}

/* Within `half` of the line from (x0, y0) to (x1, y1). */
static bool on_line(double x, double y, double x0, double y0, double x1, double y1, double half)
{
    double dx = x1 - x0, dy = y1 - y0;
    double t = ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy);
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    double ex = x - x0 - t * dx, ey = y - y0 - t * dy;
    return ex * ex + ey * ey < half * half;
}

/* Strokes of the glyphs used, in a box of width 1 and height 1 with y downward; arcs are
 * made of short lines. Ends with a row of zeros. */
typedef double Stroke[4];
static const Stroke glyph_0[] = {{.2, .0, .8, .0}, {.8, .0, 1, .25}, {1, .25, 1, .75},
                                 {1, .75, .8, 1},  {.8, 1, .2, 1},   {.2, 1, 0, .75},
                                 {0, .75, 0, .25}, {0, .25, .2, 0},  {0}};
static const Stroke glyph_3[] = {
    {0, 0, .8, 0},      {.8, 0, 1, .25}, {1, .25, .75, .48}, {.75, .48, .3, .48},
    {.75, .48, 1, .75}, {1, .75, .8, 1}, {.8, 1, 0, 1},      {0}};
static const Stroke glyph_5[] = {{1, 0, .05, 0},
                                 {.05, 0, 0, .45},
                                 {0, .45, .75, .42},
                                 {.75, .42, 1, .7},
                                 {1, .7, .75, 1},
                                 {.75, 1, 0, 1},
                                 {0}};
static const Stroke glyph_P[] = {{0, 0, 0, 1},       {0, 0, .75, 0},     {.75, 0, 1, .27},
                                 {1, .27, .75, .54}, {.75, .54, 0, .54}, {0}};

static bool on_glyph(double x, double y, const Stroke *strokes, double left, double top,
                     double width, double height, double half)
{
    for (const Stroke *s = strokes; (*s)[0] != (*s)[2] || (*s)[1] != (*s)[3]; s++)
        if (on_line(x, y, left + (*s)[0] * width, top + (*s)[1] * height, left + (*s)[2] * width,
                    top + (*s)[3] * height, half))
            return true;
    return false;
}

/* ---- the signs ---- */

static Color stop(double x, double y)
{
    if (!in_polygon(x, y, 8, 0.92, PI / 8))
        return NOTHING;
    if (!in_polygon(x, y, 8, 0.84, PI / 8) || in_box(x, y, 0, 0, 0.62, 0.15))
        return WHITE;
    return RED;
}

/* A triangle with a red border; `turn` is -90° for the point downward. */
static Color triangle(double x, double y, double turn, double shift)
{
    y -= shift;
    if (!in_polygon(x, y, 3, 0.55, turn))
        return NOTHING;
    return in_polygon(x, y, 3, 0.36, turn) ? WHITE : RED;
}

static Color yield(double x, double y)
{
    return triangle(x, y, -PI / 2, -0.25);
}

static Color danger(double x, double y)
{
    bool mark = on_line(x, y, 0, -0.18, 0, 0.22, 0.09) || in_circle(x, y - 0.45, 0.10);
    return mark ? BLACK : triangle(x, y, PI / 2, 0.25);
}

static Color crossroads(double x, double y)
{
    bool cross = on_line(x, y, -0.25, 0.02, 0.25, 0.52, 0.085) ||
                 on_line(x, y, 0.25, 0.02, -0.25, 0.52, 0.085);
    return cross ? BLACK : triangle(x, y, PI / 2, 0.25);
}

static Color priority(double x, double y)
{
    if (!in_polygon(x, y, 4, 0.68, PI / 4))
        return NOTHING;
    return in_polygon(x, y, 4, 0.50, PI / 4) ? YELLOW : WHITE;
}

static Color no_entry(double x, double y)
{
    if (!in_circle(x, y, 0.95))
        return NOTHING;
    return in_box(x, y, 0, 0, 0.68, 0.17) ? WHITE : RED;
}

static Color ring(double x, double y, Color inside)
{
    if (!in_circle(x, y, 0.95))
        return NOTHING;
    return in_circle(x, y, 0.72) ? inside : RED;
}

static Color speed_30(double x, double y)
{
    bool digit = on_glyph(x, y, glyph_3, -0.47, -0.33, 0.34, 0.66, 0.075) ||
                 on_glyph(x, y, glyph_0, 0.12, -0.33, 0.34, 0.66, 0.075);
    return digit ? BLACK : ring(x, y, WHITE);
}

static Color speed_50(double x, double y)
{
    bool digit = on_glyph(x, y, glyph_5, -0.47, -0.33, 0.34, 0.66, 0.075) ||
                 on_glyph(x, y, glyph_0, 0.12, -0.33, 0.34, 0.66, 0.075);
    return digit ? BLACK : ring(x, y, WHITE);
}

static Color no_parking(double x, double y)
{
    return on_line(x, y, -0.6, -0.6, 0.6, 0.6, 0.11) ? RED : ring(x, y, BLUE);
}

static bool on_arrow(double x, double y)
{
    return on_line(x, y, 0, 0.55, 0, -0.45, 0.11) || on_line(x, y, 0, -0.55, -0.34, -0.18, 0.11) ||
           on_line(x, y, 0, -0.55, 0.34, -0.18, 0.11);
}

static Color straight_on(double x, double y)
{
    if (!in_circle(x, y, 0.95))
        return NOTHING;
    return on_arrow(x, y) ? WHITE : BLUE;
}

static Color turn_right(double x, double y)
{
    if (!in_circle(x, y, 0.95))
        return NOTHING;
    return on_arrow(y, -x) ? WHITE : BLUE;
}

static Color parking(double x, double y)
{
    if (!in_box(x, y, 0, 0, 0.86, 0.86))
        return NOTHING;
    return on_glyph(x, y, glyph_P, -0.25, -0.52, 0.55, 1.04, 0.12) ? WHITE : BLUE;
}

static const struct {
    const char *name;
    Color (*at)(double x, double y);
} signs[] = {
    {"stop", stop},
    {"yield", yield},
    {"priority road", priority},
    {"no entry", no_entry},
    {"speed limit 30", speed_30},
    {"speed limit 50", speed_50},
    {"no parking", no_parking},
    {"danger", danger},
    {"crossroads", crossroads},
    {"turn right", turn_right},
    {"straight on", straight_on},
    {"parking", parking},
};
#define N_SIGNS (int)(sizeof signs / sizeof *signs)

/* ---- one picture ---- */

#define N_BLOBS 9

typedef struct Scene {
    int sign;
    double to_sign[9]; /* picture to sign coordinates, a homography */
    Color sky, ground, blob_color[N_BLOBS];
    double horizon, blob[N_BLOBS][4]; /* centre, half width, half height */
    bool round_blob[N_BLOBS];
    double light, contrast, tint[3], slope_x, slope_y, noise, blur_x, blur_y;
    bool bar; /* something thin in front */
    double bar_line[4], bar_half;
} Scene;

/* out = a * b, 3x3 */
static void multiply(const double *a, const double *b, double *out)
{
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            out[3 * i + j] = 0;
            for (int k = 0; k < 3; k++)
                out[3 * i + j] += a[3 * i + k] * b[3 * k + j];
        }
}

/* Sign to picture would be: scale, turn, tilt, move. This is the way back, in that order. */
static void place(Scene *s)
{
    double size = uniform(20, 42), turn = normal() * 0.14;
    double cx = SIDE / 2.0 + normal() * 6, cy = SIDE / 2.0 + normal() * 6;
    double wide = uniform(0.75, 1.05), tilt_x = normal() * 0.15, tilt_y = normal() * 0.15;
    double move[9] = {1, 0, -cx, 0, 1, -cy, 0, 0, 1};
    double spin[9] = {cos(turn) / (size * wide),
                      sin(turn) / (size * wide),
                      0,
                      -sin(turn) / size,
                      cos(turn) / size,
                      0,
                      0,
                      0,
                      1};
    double tilt[9] = {1, normal() * 0.06, 0, normal() * 0.06, 1, 0, tilt_x, tilt_y, 1};
    double both[9];
    multiply(spin, move, both);
    multiply(tilt, both, s->to_sign);
}

static Color any_color(double low, double high)
{
    double grey = uniform(low, high), vivid = uniform(0, 0.35);
    return (Color){grey + vivid * uniform(-1, 1), grey + vivid * uniform(-1, 1),
                   grey + vivid * uniform(-1, 1), 1};
}

static void imagine(Scene *s, int sign)
{
    s->sign = sign;
    place(s);
    s->sky = any_color(0.3, 0.95);
    s->ground = any_color(0.1, 0.7);
    s->horizon = uniform(0.2, 1.1) * SIDE;
    for (int i = 0; i < N_BLOBS; i++) {
        s->blob[i][0] = uniform(0, SIDE);
        s->blob[i][1] = uniform(0, SIDE);
        s->blob[i][2] = uniform(2, 30);
        s->blob[i][3] = uniform(2, 30);
        s->round_blob[i] = uniform(0, 1) < 0.5;
        s->blob_color[i] = any_color(0.05, 0.9);
    }
    s->light = uniform(0.35, 1.15);
    s->contrast = uniform(0.55, 1.1);
    for (int c = 0; c < 3; c++)
        s->tint[c] = 1 + normal() * 0.07;
    s->slope_x = normal() * 0.15;
    s->slope_y = normal() * 0.15;
    s->noise = uniform(0.005, 0.06);
    s->blur_x = fabs(normal()) * 1.3;
    s->blur_y = fabs(normal()) * 1.0;
    s->bar = uniform(0, 1) < 0.2;
    for (int i = 0; i < 4; i++)
        s->bar_line[i] = uniform(-0.2, 1.2) * SIDE;
    s->bar_half = uniform(0.5, 2.5);
}

static Color color_at(const Scene *s, double x, double y)
{
    const double *m = s->to_sign, *l = s->bar_line;
    if (s->bar && on_line(x, y, l[0], l[1], l[2], l[3], s->bar_half))
        return s->blob_color[0];
    double w = m[6] * x + m[7] * y + m[8];
    double u = (m[0] * x + m[1] * y + m[2]) / w, v = (m[3] * x + m[4] * y + m[5]) / w;
    if (w > 0 && fabs(u) < 1.3 && fabs(v) < 1.3) {
        Color c = signs[s->sign].at(u, v);
        if (c.a > 0)
            return c;
    }
    for (int i = 0; i < N_BLOBS; i++) {
        double bx = (x - s->blob[i][0]) / s->blob[i][2], by = (y - s->blob[i][1]) / s->blob[i][3];
        if (s->round_blob[i] ? in_circle(bx, by, 1) : in_box(bx, by, 0, 0, 1, 1))
            return s->blob_color[i];
    }
    return y < s->horizon ? s->sky : s->ground;
}

static uint8_t to_byte(const Scene *s, double v, int channel, double shade)
{
    v = (v - 0.5) * s->contrast + 0.5;
    v = v * s->light * s->tint[channel] * shade + normal() * s->noise;
    return (uint8_t)(v < 0 ? 0 : v > 1 ? 255 : v * 255 + 0.5);
}

static void draw(const Scene *s, uint8_t *pixels)
{
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            double sum[3] = {0};
            for (int i = 0; i < GRID * GRID; i++) {
                double fx = (i % GRID + 0.5) / GRID, fy = (i / GRID + 0.5) / GRID;
                /* Blur widens the square that a pixel's points come from. */
                Color c = color_at(s, x + 0.5 + (fx - 0.5) * (1 + s->blur_x),
                                   y + 0.5 + (fy - 0.5) * (1 + s->blur_y));
                sum[0] += c.r;
                sum[1] += c.g;
                sum[2] += c.b;
            }
            double shade =
                1 + s->slope_x * (2.0 * x / SIDE - 1) + s->slope_y * (2.0 * y / SIDE - 1);
            for (int c = 0; c < 3; c++)
                pixels[(y * SIDE + x) * 3 + c] = to_byte(s, sum[c] / (GRID * GRID), c, shade);
        }
}

static bool write_png(const char *path, const uint8_t *pixels)
{
    png_image image = {.version = PNG_IMAGE_VERSION, .width = SIDE, .height = SIDE};
    image.format = PNG_FORMAT_RGB;
    image.flags = PNG_IMAGE_FLAG_FAST;
    if (png_image_write_to_file(&image, path, 0, pixels, 0, NULL))
        return true;
    fprintf(stderr, "draw_signs: %s: %s\n", path, image.message);
    return false;
}

static int draw_all(const char *dir, long count)
{
    static uint8_t pixels[SIDE * SIDE * 3];
    char path[4096];
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "draw_signs: %s: %s\n", dir, strerror(errno));
        return 1;
    }
    snprintf(path, sizeof path, "%s/labels.csv", dir);
    FILE *labels = fopen(path, "w");
    if (!labels) {
        fprintf(stderr, "draw_signs: %s: %s\n", path, strerror(errno));
        return 1;
    }
    fprintf(labels, "file,class_id\n");
    bool ok = true;
    for (long i = 0; ok && i < count; i++) {
        Scene scene;
        int sign = (int)(next_bits() % (unsigned)N_SIGNS);
        imagine(&scene, sign);
        draw(&scene, pixels);
        snprintf(path, sizeof path, "%s/sign_%05ld.png", dir, i);
        ok = write_png(path, pixels);
        fprintf(labels, "sign_%05ld.png,%d\n", i, sign);
    }
    return fclose(labels) == 0 && ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--names") == 0) {
        for (int i = 0; i < N_SIGNS; i++)
            printf("%s\n", signs[i].name);
        return 0;
    }
    char *end_count = NULL, *end_seed = NULL;
    long count = argc == 4 ? strtol(argv[2], &end_count, 10) : 0;
    state = argc == 4 ? strtoull(argv[3], &end_seed, 10) : 0;
    if (argc != 4 || *end_count || *end_seed || count < 1 || count > 99999) {
        fprintf(stderr, "usage: draw_signs DIR COUNT SEED  (COUNT from 1 to 99999)\n"
                        "       draw_signs --names\n");
        return 2;
    }
    return draw_all(argv[1], count);
}
