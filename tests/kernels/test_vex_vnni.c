/* The stand-in for AVX-VNNI: every form of its instructions, written as machine code here, does to
 * the registers what the manual says and nothing else; the arithmetic is that of the AVX-512
 * instructions of the same name where the CPU has them. With AVX-VNNI the CPU itself is tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "vex_vnni.h"

#if defined(__x86_64__) && defined(__linux__)

#include <immintrin.h>
#include <sys/mman.h>

enum { CODE_BYTES = 4096, DATA_BYTES = 1 << 16, RSP = 4, RBP = 5, RDI = 7, RIP = 16, NONE = 17 };

/* What the generated code loads before the instruction and stores after it. */
typedef struct Registers {
    uint8_t before[16][64], after[16][64]; /* 32 bytes of each count without AVX-512 */
    uint64_t rsp;
} Registers;

typedef struct Form {
    uint8_t opcode;
    bool wide;
    unsigned to, first, second; /* registers; `second` where base is NONE and scale is 0 */
    bool memory;
    unsigned base, index; /* general registers, RIP (base alone) or NONE */
    unsigned scale;       /* log2 */
    int disp;             /* bytes of the displacement: 0, 1 or 4 */
} Form;

static uint32_t seed = 5;

static uint32_t next(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

/* ---- writing machine code ---- */

typedef struct Code {
    uint8_t *at;
} Code;

static void put(Code *c, const void *bytes, size_t n)
{
    memcpy(c->at, bytes, n);
    c->at += n;
}

#define PUT(c, ...) put(c, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void put_i32(Code *c, int64_t v)
{
    const int32_t narrow = (int32_t)v;
    put(c, &narrow, 4);
}

static void put_set(Code *c, unsigned reg, uint64_t v) /* mov reg, imm64 */
{
    PUT(c, reg & 8 ? 0x49 : 0x48, (uint8_t)(0xb8 | (reg & 7)));
    put(c, &v, 8);
}

/* All vector registers from or to [rdi + offset], 64 bytes apart. */
static void put_vectors(Code *c, bool zmm, uint8_t opcode, size_t offset)
{
    for (unsigned i = 0; i < 16; i++) {
        if (zmm)
            PUT(c, 0x62, i & 8 ? 0x71 : 0xf1, 0xfe, 0x48);
        else
            PUT(c, 0xc5, i & 8 ? 0x7e : 0xfe);
        PUT(c, opcode, (uint8_t)(0x80 | (i & 7) << 3 | RDI));
        put_i32(c, (int64_t)(offset + (size_t)64 * i));
    }
}

/* ModRM, SIB and displacement, the instruction's last bytes, of a memory operand at `target`. */
static void put_memory(Code *c, const Form *f, const uint8_t *target, uint64_t index)
{
    const uint8_t mod = f->base >= RIP || f->disp == 0 ? 0 : f->disp == 1 ? 0x40 : 0x80;
    const uint8_t reg = (uint8_t)((f->to & 7) << 3);
    const bool sib = f->index != NONE || f->base == NONE || (f->base & 7) == RSP;
    if (f->base == RIP) {
        PUT(c, (uint8_t)(reg | 5));
        put_i32(c, target - (c->at + 4));
    } else if (sib) {
        PUT(c, (uint8_t)(mod | reg | 4),
            (uint8_t)(f->scale << 6 | (f->index == NONE ? 4 : f->index & 7) << 3 |
                      (f->base == NONE ? 5 : f->base & 7)));
    } else {
        PUT(c, (uint8_t)(mod | reg | (f->base & 7)));
    }
    if (f->base == NONE)
        put_i32(c, (int64_t)(uintptr_t)target -
                       (f->index == NONE ? 0 : (int64_t)(index << f->scale)));
    else if (f->base != RIP && f->disp == 1)
        PUT(c, (uint8_t)-100);
    else if (f->base != RIP && f->disp == 4)
        put_i32(c, -1000);
}

static void put_dot(Code *c, const Form *f, const uint8_t *target, uint64_t index)
{
    const bool x = f->memory && f->index < 16 && (f->index & 8);
    const bool b = f->memory ? f->base < 16 && (f->base & 8) : f->second & 8;
    PUT(c, 0xc4, (uint8_t)((f->to & 8 ? 0 : 0x80) | (x ? 0 : 0x40) | (b ? 0 : 0x20) | 2),
        (uint8_t)((~f->first & 15) << 3 | (f->wide ? 4 : 0) | 1), f->opcode);
    if (f->memory)
        put_memory(c, f, target, index);
    else
        PUT(c, (uint8_t)(0xc0 | (f->to & 7) << 3 | (f->second & 7)));
}

/* void f(void): loads all registers, runs the instruction, stores them. */
static void write_code(uint8_t *code, const Form *f, Registers *r, const uint8_t *target, bool zmm)
{
    Code c = {code};
    const int disp = f->disp == 1 ? -100 : f->disp == 4 ? -1000 : 0;
    const uint64_t index = f->base == NONE ? 16 : 3 * 32;
    PUT(&c, 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); /* push what is kept */
    put_set(&c, RDI, (uint64_t)(uintptr_t)r);
    PUT(&c, 0x48, 0x89, 0xa7); /* mov [rdi + disp32], rsp */
    put_i32(&c, offsetof(Registers, rsp));
    put_vectors(&c, zmm, 0x6f, offsetof(Registers, before));
    if (f->memory && f->index < 16)
        put_set(&c, f->index, index);
    if (f->memory && f->base < 16) {
        const uint64_t scaled = f->index == f->base ? 0 : f->index < 16 ? index << f->scale : 0;
        put_set(&c, f->base, (uint64_t)(uintptr_t)target - (uint64_t)(int64_t)disp - scaled);
    }
    put_dot(&c, f, target, index);
    put_set(&c, RDI, (uint64_t)(uintptr_t)r);
    PUT(&c, 0x48, 0x8b, 0xa7); /* mov rsp, [rdi + disp32] */
    put_i32(&c, offsetof(Registers, rsp));
    put_vectors(&c, zmm, 0x7f, offsetof(Registers, after));
    PUT(&c, 0xc5, 0xf8, 0x77, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3);
}

/* ---- what must come of it ---- */

static int32_t want_lane(uint8_t opcode, int32_t acc, const uint8_t *a, const uint8_t *b)
{
    const int8_t *sb = (const int8_t *)b;
    int64_t sum = acc;
    if (opcode < 0x52) {
        sum += a[0] * sb[0] + a[1] * sb[1] + a[2] * sb[2] + a[3] * sb[3];
    } else {
        const int16_t x0 = (int16_t)(a[0] | a[1] << 8), x1 = (int16_t)(a[2] | a[3] << 8);
        const int16_t y0 = (int16_t)(b[0] | b[1] << 8), y1 = (int16_t)(b[2] | b[3] << 8);
        sum += (int64_t)x0 * y0 + (int64_t)x1 * y1;
    }
    if (opcode % 2 == 0)
        return (int32_t)(uint32_t)sum;
    return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
}

static void check_registers(const Form *f, const Registers *r, const uint8_t *operand, bool zmm)
{
    const size_t used = f->wide ? 32 : 16, seen = zmm ? 64 : 32;
    for (unsigned i = 0; i < 16; i++) {
        uint8_t want[64];
        memcpy(want, r->before[i], sizeof want);
        for (size_t k = 0; i == f->to && k < sizeof want; k += 4) {
            int32_t v = 0; /* above what it writes */
            memcpy(&v, want + k, 4);
            v = k < used ? want_lane(f->opcode, v, r->before[f->first] + k, operand + k) : 0;
            memcpy(want + k, &v, 4);
        }
        if (memcmp(want, r->after[i], seen) != 0)
            fail_msg("opcode %x%s to %u of %u and %u, memory %d base %u index %u disp %d: "
                     "register %u is not what it must be", f->opcode, f->wide ? "" : " xmm", f->to,
                     f->first, f->second, f->memory, f->base, f->index, f->disp, i);
    }
}

typedef struct Room {
    uint8_t *code, *data; /* data: a stack too, for the forms that address by rsp */
    Registers *r;
} Room;

static Room room_make(void)
{
    /* in the lowest 2 GB, for addresses without a base */
    Room m = {.r = aligned_alloc(64, (sizeof(Registers) + 63) / 64 * 64)};
    m.code = mmap(NULL, CODE_BYTES + DATA_BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    assert_true(m.code != MAP_FAILED && m.r);
    m.data = m.code + CODE_BYTES;
    return m;
}

static void try_form(const Room *m, const Form *f, bool zmm)
{
    /* far from the end, below which the signal's frame stands when rsp points here */
    uint8_t *target = m->data + DATA_BYTES - 4096 + next() % 32;
    const uint8_t pattern = (uint8_t)(next() % 4); /* now and then all the largest */
    for (size_t i = 0; i < sizeof m->r->before; i++)
        ((uint8_t *)m->r->before)[i] = pattern == 1 ? 0x7f : pattern == 2 ? 0x80 : (uint8_t)next();
    for (size_t i = 0; i < 32; i++)
        target[i] = pattern == 1 ? 0x7f : pattern == 2 ? 0x80 : (uint8_t)next();
    memset(m->r->after, 0xee, sizeof m->r->after);
    assert_int_equal(mprotect(m->code, CODE_BYTES, PROT_READ | PROT_WRITE), 0);
    write_code(m->code, f, m->r, target, zmm);
    assert_int_equal(mprotect(m->code, CODE_BYTES, PROT_READ | PROT_EXEC), 0);
    void (*run)(void);
    memcpy(&run, &m->code, sizeof run);
    run();
    check_registers(f, m->r, f->memory ? target : m->r->before[f->second], zmm);
}

static void every_form_does_what_the_manual_says(void **state)
{
    (void)state;
    const Room m = room_make();
    const bool zmm = ledge__cpu_flags_uncapped() & LEDGE_CPU_AVX512;
    const bool emulated = vex_vnni_emulated();
    const uint64_t carried = vex_vnni_count();
    uint64_t forms = 0;
    for (unsigned op = 0; op < 8; op++) {
        Form f = {.opcode = (uint8_t)(0x50 + op % 4), .wide = op < 4, .base = NONE, .index = NONE};
        for (unsigned i = 0; i < 16 * 16; i++, forms++) { /* registers alone */
            f.to = i / 16, f.first = i % 16, f.second = next() % 16;
            try_form(&m, &f, zmm);
        }
        f.memory = true;
        for (unsigned base = 0; base <= NONE; base++)
            for (unsigned index = 0; index <= NONE; index++) {
                if (index == RSP || index == RIP || (base == RIP && index != NONE) ||
                    (base == index && base != NONE))
                    continue; /* no such addresses, and one register cannot hold two values */
                for (int d = 0; d <= (base < RIP ? 2 : 0); d++, forms++) {
                    f.disp = d == 2 ? 4 : d;
                    if (f.disp == 0 && base < RIP && (base & 7) == RBP)
                        f.disp = 1; /* without one it would mean something else */
                    f.base = base, f.index = index, f.scale = index == NONE ? 0 : next() % 4;
                    f.to = next() % 16, f.first = next() % 16;
                    try_form(&m, &f, zmm);
                }
            }
    }
    if (emulated)
        assert_int_equal(vex_vnni_count() - carried, forms);
    assert_int_equal(munmap(m.code, CODE_BYTES + DATA_BYTES), 0);
    free(m.r);
}

/* ---- against the instructions of AVX-512 ---- */

__attribute__((target("avx512f,avx512vl,avx512vnni"))) static void
native_512(uint8_t opcode, const uint8_t *acc, const uint8_t *a, const uint8_t *b, uint8_t *to)
{
    const __m256i v = _mm256_loadu_si256((const void *)acc);
    const __m256i x = _mm256_loadu_si256((const void *)a), y = _mm256_loadu_si256((const void *)b);
    _mm256_storeu_si256((void *)to, opcode == 0x50   ? _mm256_dpbusd_epi32(v, x, y)
                                    : opcode == 0x51 ? _mm256_dpbusds_epi32(v, x, y)
                                    : opcode == 0x52 ? _mm256_dpwssd_epi32(v, x, y)
                                                     : _mm256_dpwssds_epi32(v, x, y));
}

static void sums_are_those_of_the_avx512_instructions(void **state)
{
    (void)state;
    if (!(vex_vnni_cpu() & LEDGE_CPU_AVX512VNNI)) {
        print_message("not compared with AVX-512's instructions: this CPU has no AVX512-VNNI\n");
        skip();
    }
    const Room m = room_make();
    for (int i = 0; i < 4000; i++) {
        const Form f = {.opcode = (uint8_t)(0x50 + i % 4), .wide = true, .to = 3, .first = 9,
                        .second = 14};
        uint8_t want[32];
        try_form(&m, &f, true);
        native_512(f.opcode, m.r->before[3], m.r->before[9], m.r->before[14], want);
        assert_memory_equal(m.r->after[3], want, sizeof want);
    }
    assert_int_equal(munmap(m.code, CODE_BYTES + DATA_BYTES), 0);
    free(m.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_does_what_the_manual_says),
        cmocka_unit_test(sums_are_those_of_the_avx512_instructions),
    };
    if (vex_vnni_missing()) {
        printf("%s\n", vex_vnni_missing());
        return 77; /* what the build system takes for skipped */
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    printf("%s\n", vex_vnni_missing());
    return 77;
}

#endif
