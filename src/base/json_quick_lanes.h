/* Template: numbers of an array some at a time, the part that does not depend on the vector unit,
 * which the file of each one includes behind its own words (json_quick_avx2.c).
 *
 * Of a span of json_quick_spans.h each number has a lane of 64 bits in every register:
 * `head` holds its first eight characters, `tail` the next ones. Masks have all bits of a byte set
 * or none. Digits stand to the left of their 8 or 16 places, a minus counting as a zero, with zeros
 * behind: up to 15 of them are a double exactly, and one division by a power of ten, exact as well,
 * gives the nearest double. Of longer numbers that become singles the first 16 characters do, but
 * where a later one could matter.
 *
 * What the including file gives: LANES; V, so many integers of 64 bits, and D, so many doubles;
 *   v_all, d_all              the same in every lane
 *   v_load(p, at)             eight bytes each from p + at[lane] on
 *   v_and, v_or, v_but(a, b)  a without b;  v_pick(m, a, b)  a where the mask has bits, else b
 *   v_plus, v_minus           of 64 bits;  v_minus8, v_over8  of bytes; over8 gives 0 for a <= b
 *   v_up, v_down              shifts, with zeros; v_down_by with a count for each lane
 *   v_same8(a, b)             a mask;  v_none(a)  a mask of whole lanes that are 0
 *   v_swap(a)                 the lower two bytes of each lane, swapped, and zeros
 *   v_count(a)                bytes of the mask that are set, in each lane
 *   v_number(a)               the value of eight digits, the first one lowest
 *   v_far(at, most)           not 0 in lanes where at[lane + 1] - at[lane] > most
 *   v_any(a)                  whether a bit is set
 *   d_of(v)                   integers below 2^52 as doubles; d_plus, d_times, d_over: + * /
 *   d_sign(d, v)              with the sign where the lowest bit of a lane is set
 *   d_scale8(v), d_scale16(v) 10^(8 - v) and 10^(16 - v) for v of 1 to 8, and to 15
 *   d_store(out, d), d_store_singles(out, d), d_same_singles(a, b) */
#ifndef LEDGE_BASE_JSON_QUICK_LANES_H
#define LEDGE_BASE_JSON_QUICK_LANES_H

/* What is taken for a number: up to 8 characters, up to 15, or the first 16 of more. */
typedef enum Reach { SHORT, MIDDLE, LONG } Reach;

/* Of each lane the bytes before the first that is set; all, where none is. */
static ALWAYS_INLINE V before(V mask)
{
    return v_but(v_minus(mask, v_all(1)), mask);
}

static ALWAYS_INLINE V is(V text, char c)
{
    return v_same8(text, v_all(EACH((unsigned char)c)));
}

static ALWAYS_INLINE V digits_of(V text)
{
    return v_minus8(text, v_all(EACH('0')));
}

static ALWAYS_INLINE V no_digits(V v)
{
    return v_over8(v, v_all(EACH(9)));
}

/* Not 0 where a number does not begin with a digit, or does with a 0 and another. */
static ALWAYS_INLINE V bad_first(V v)
{
    const V both = v_minus(v_swap(v), v_all(10));
    return v_and(v_or(both, v_minus(v_all(0x9FF - 10), both)), v_all(UINT64_C(1) << 63));
}

typedef struct Group {
    V minus, head, tail; /* the digits; of short ones the head alone */
    V whole;             /* places before the point */
    V wrong;             /* not 0: one is not so plain */
} Group;

/* The tail, where `open` says that the head has no comma. next: digits of the head, one on. */
static ALWAYS_INLINE void find_tail(const char *p, const int32_t *at, Reach reach, V point, V open,
                                    V below, Group *g)
{
    const V text = v_load(p + 8, at), comma = is(text, ','), inside = v_and(before(comma), open);
    const V tail = v_and(digits_of(text), inside), whole = v_none(point);
    const V endless = v_and(v_none(comma), open);
    const V next = v_or(v_down(g->head, 8), v_up(tail, 56));
    g->head = v_pick(below, g->head, next);
    g->tail = v_down_by(tail, v_but(v_all(8), whole));
    g->whole =
        v_count(v_plus(v_and(below, v_all(EACH(1))), v_and(v_and(inside, whole), v_all(EACH(1)))));
    g->wrong = v_or(g->wrong, v_and(v_down(point, 56), comma));
    g->wrong = v_or(g->wrong, no_digits(g->tail));
    if (reach == MIDDLE) {
        g->wrong = v_or(g->wrong, endless);
    } else {
        const V more = v_load(p + 16, at), stop = is(more, ',');
        const V rest = v_and(digits_of(more), v_and(before(stop), endless));
        g->wrong = v_or(g->wrong, v_and(endless, v_or(v_none(stop), whole)));
        g->wrong = v_or(g->wrong, no_digits(rest));
    }
}

/* LANES numbers that begin at p + at[0] and on; `gap`: bytes between a number and the next. false:
 * one is not so plain. */
static ALWAYS_INLINE bool find_group(const char *p, const int32_t *at, int gap, Reach reach,
                                     Group *g)
{
    const V text = v_load(p, at), raw = digits_of(text), comma = is(text, ',');
    const V inside = before(comma), point = v_and(is(text, '.'), inside);
    const V below = before(v_or(point, comma));
    g->minus = v_and(is(text, '-'), v_all(0xFF));
    g->wrong = v_or(bad_first(v_down_by(raw, v_and(g->minus, v_all(8)))),
                    v_and(v_up(point, 8), comma)); /* nothing behind the point */
    g->head = v_but(v_and(raw, inside), g->minus);
    if (reach == SHORT) {
        g->head = v_pick(below, g->head, v_down(g->head, 8));
        g->whole = v_count(v_and(below, v_all(EACH(1))));
        g->wrong = v_or(g->wrong, v_or(v_far(at, 8 + gap), v_down(point, 56)));
    } else {
        find_tail(p, at, reach, point, v_none(comma), below, g);
    }
    return !v_any(v_or(g->wrong, no_digits(g->head)));
}

/* Their values. false: of the first digits two singles could be made. */
static ALWAYS_INLINE bool store_group(const Group *g, Reach reach, LedgeType type, void *out)
{
    D v = d_of(v_number(g->head)), by;
    if (reach == SHORT) {
        by = d_scale8(g->whole);
    } else {
        v = d_plus(d_times(v, d_all(1e8)), d_of(v_number(g->tail)));
        by = d_scale16(g->whole);
    }
    /* One more in the last digit that was read is above the number; the next place is free. */
    if (reach == LONG && !d_same_singles(d_over(v, by), d_over(d_plus(v, d_all(10)), by)))
        return false;
    v = d_sign(d_over(v, by), g->minus);
    if (type == LEDGE_FLOAT)
        d_store_singles(out, v);
    else
        d_store(out, v);
    return true;
}

/* Groups from number n on, as long as they are of that reach; where the first of others begins. The
 * next group is found before the one at hand is worked out: that is a long way with few at once. */
static ALWAYS_INLINE size_t read_groups(const Span *s, size_t n, size_t most, Reach reach,
                                        char *out)
{
    const size_t each = s->type == LEDGE_FLOAT ? sizeof(float) : sizeof(double);
    Group now, next;
    bool more = n + LANES <= most && find_group(s->p, s->at + n, s->gap, reach, &next);
    while (more) {
        now = next;
        more = n + 2 * LANES <= most && find_group(s->p, s->at + n + LANES, s->gap, reach, &next);
        if (!store_group(&now, reach, s->type, out + n * each))
            break;
        n += LANES;
    }
    return n;
}

/* Functions of their own, for the registers' sake. */
static __attribute__((noinline)) size_t read_short(const Span *s, size_t n, char *out)
{
    return read_groups(s, n, s->most, SHORT, out);
}

static __attribute__((noinline)) size_t read_middle(const Span *s, size_t n, size_t most, char *out)
{
    return read_groups(s, n, most, MIDDLE, out);
}

static __attribute__((noinline)) size_t read_long(const Span *s, size_t n, char *out)
{
    return read_groups(s, n, s->most, LONG, out);
}

/* All that are about as long as the first one; among short ones a group that is not. */
static size_t read_span(const Span *s, char *out)
{
    const int first = s->at[1] - s->at[0] - s->gap;
    size_t n = 0, before;
    do {
        before = n;
        if (first <= 8)
            n = read_short(s, n, out);
        if (first <= 15)
            n = read_middle(s, n, first <= 8 && n + LANES < s->most ? n + LANES : s->most, out);
        else if (s->type == LEDGE_FLOAT)
            n = read_long(s, n, out);
    } while (n > before);
    return n;
}

#endif
