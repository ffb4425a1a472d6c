/* Takes VEX.128/256.66.0F38.W0 50 … 53 /r apart when the CPU calls them illegal, computes them on
 * the XSAVE area of the signal's frame and goes on behind them.
 *
 * Linux puts the registers into the frame in XSAVE's standard format: XMM at byte 160, what state
 * is not in its initial form as a bit mask at 512 (a register whose bit is off is zero, whatever
 * its bytes are), the upper halves of YMM and ZMM where CPUID leaf 0xD says. Intel's manual,
 * volume 1 chapter 13, volume 2 sections 2.1.5 and 2.3 and VPDPBUSD. */
#include "vex_vnni.h"

#include "base/cpu.h"

#if defined(__x86_64__) && defined(__linux__)

#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>

enum {
    SW_RESERVED = 464, /* of the legacy area: magic, extended size, features */
    MAGIC1 = 0x46505853,
    XSTATE_BV = 512,
    XMM_AT = 160,
    SSE_STATE = 1 << 1,
    YMM_STATE = 1 << 2,
    ZMM_STATE = 1 << 6, /* upper halves of ZMM 0 … 15 */
    BROADCAST = 0x58
};

typedef struct Dot {
    uint8_t opcode; /* 0x50 … 0x53, or BROADCAST */
    bool wide;      /* YMM */
    unsigned to, first, second;
    const uint8_t *memory; /* the second operand, or NULL: the register */
    size_t length;
} Dot;

static atomic_uint_fast64_t done;
static uint32_t ymm_at, zmm_at; /* 0: no such state on this CPU */

/* ---- what stands at RIP ---- */

static int64_t disp_at(const uint8_t *p, size_t bytes)
{
    int32_t wide;
    if (bytes == 1)
        return (int8_t)*p;
    if (bytes == 0)
        return 0;
    memcpy(&wide, p, sizeof wide);
    return wide;
}

static uint64_t reg_of(const greg_t *g, unsigned number)
{
    static const uint8_t place[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                      REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                      REG_R12, REG_R13, REG_R14, REG_R15};
    return (uint64_t)g[place[number]];
}

/* The address that ModRM at `p` names, and the bytes from ModRM on to the instruction's end. */
static uint64_t address(const greg_t *g, const uint8_t *p, unsigned x, unsigned b, size_t *length)
{
    const unsigned mod = p[0] >> 6, rm = p[0] & 7;
    size_t n = 1, disp = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    uint64_t at = 0;
    if (rm == 4) {
        const unsigned base = p[1] & 7, index = (p[1] >> 3 & 7) | x;
        n = 2;
        if (base == 5 && mod == 0)
            disp = 4; /* no base */
        else
            at = reg_of(g, base | b);
        if (index != 4)
            at += reg_of(g, index) << (p[1] >> 6);
    } else if (rm == 5 && mod == 0) {
        disp = 4;
        at = (uint64_t)(uintptr_t)p + n + disp; /* RIP behind the instruction: no immediate */
    } else {
        at = reg_of(g, rm | b);
    }
    *length = n + disp;
    return at + (uint64_t)disp_at(p + n, disp);
}

static bool decode(const greg_t *g, Dot *d)
{
    const uint8_t *p = (const uint8_t *)(uintptr_t)g[REG_RIP];
    /* three-byte VEX, map 0F38; W0, prefix 66; bits 7 to 5 of p[1] and vvvv are inverted */
    if (p[0] != 0xc4 || (p[1] & 0x1f) != 2 || (p[2] & 0x83) != 1)
        return false;
    if ((p[3] & 0xfc) != 0x50 && p[3] != BROADCAST)
        return false;
    const unsigned r = p[1] & 0x80 ? 0 : 8, x = p[1] & 0x40 ? 0 : 8, b = p[1] & 0x20 ? 0 : 8;
    size_t length = 1;
    *d = (Dot){.opcode = p[3], .wide = p[2] & 4, .to = (p[4] >> 3 & 7) | r,
               .first = ~(unsigned)p[2] >> 3 & 15, .second = (p[4] & 7) | b};
    if (p[4] >> 6 != 3)
        d->memory = (const uint8_t *)(uintptr_t)address(g, p + 4, x, b, &length);
    d->length = 4 + length;
    return true;
}

/* ---- the registers in the frame ---- */

/* Whether the XSAVE area stands behind the legacy one, with room for YMM. */
static bool has_xsave(const uint8_t *fp)
{
    uint32_t magic, bytes;
    uint64_t features;
    memcpy(&magic, fp + SW_RESERVED, 4);
    memcpy(&bytes, fp + SW_RESERVED + 4, 4);
    memcpy(&features, fp + SW_RESERVED + 8, 8);
    return magic == MAGIC1 && (features & YMM_STATE) && ymm_at && bytes >= ymm_at + 256;
}

static uint64_t state_of(const uint8_t *fp)
{
    uint64_t bv;
    memcpy(&bv, fp + XSTATE_BV, 8);
    return bv;
}

static void read_register(const uint8_t *fp, unsigned i, uint8_t v[32])
{
    const uint64_t bv = state_of(fp);
    memset(v, 0, 32);
    if (bv & SSE_STATE)
        memcpy(v, fp + XMM_AT + (size_t)16 * i, 16);
    if (bv & YMM_STATE)
        memcpy(v + 16, fp + ymm_at + (size_t)16 * i, 16);
}

/* VEX clears what is above the bits that it writes. */
static void write_register(uint8_t *fp, unsigned i, const uint8_t v[32])
{
    uint64_t bv = state_of(fp);
    if (!(bv & SSE_STATE))
        memset(fp + XMM_AT, 0, 256);
    if (!(bv & YMM_STATE))
        memset(fp + ymm_at, 0, 256);
    if (bv & ZMM_STATE)
        memset(fp + zmm_at + (size_t)32 * i, 0, 32);
    memcpy(fp + XMM_AT + (size_t)16 * i, v, 16);
    memcpy(fp + ymm_at + (size_t)16 * i, v + 16, 16);
    bv |= SSE_STATE | YMM_STATE;
    memcpy(fp + XSTATE_BV, &bv, 8);
}

/* ---- the arithmetic ---- */

/* Four bytes of the first operand, unsigned, by those of the second, signed; or two signed words
 * by two. The odd opcodes saturate the sum with the accumulator. */
static int32_t dot(uint8_t opcode, int32_t acc, const uint8_t *a, const uint8_t *b)
{
    int64_t sum = acc;
    for (int i = 0; i < 4 && opcode < 0x52; i++)
        sum += a[i] * (int8_t)b[i];
    for (int i = 0; i < 4 && opcode >= 0x52; i += 2) {
        int16_t x, y;
        memcpy(&x, a + i, 2);
        memcpy(&y, b + i, 2);
        sum += (int64_t)x * y;
    }
    if (opcode & 1)
        return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
    return (int32_t)(uint32_t)sum;
}

static void carry_out(uint8_t *fp, const Dot *d)
{
    const size_t bytes = d->wide ? 32 : 16;
    uint8_t acc[32], first[32], second[32];
    read_register(fp, d->to, acc);
    read_register(fp, d->first, first);
    if (d->memory)
        memcpy(second, d->memory, d->opcode == BROADCAST ? 4 : bytes);
    else
        read_register(fp, d->second, second);
    for (size_t i = 0; i < bytes; i += 4) {
        int32_t v;
        memcpy(&v, acc + i, 4);
        if (d->opcode == BROADCAST)
            memcpy(&v, second, 4);
        else
            v = dot(d->opcode, v, first + i, second + i);
        memcpy(acc + i, &v, 4);
    }
    memset(acc + bytes, 0, sizeof acc - bytes);
    write_register(fp, d->to, acc);
}

/* ---- the signal ---- */

static sigjmp_buf probe;
static bool probing;
static const char *missing;
static bool emulated;
static struct sigaction before; /* what was there for the signal: a test framework's own */

/* Kernels have such instructions in rows: one signal serves all that follow each other, and the
 * broadcasts (VPBROADCASTD) that stand between them. */
static void on_illegal(int signal_number, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    greg_t *g = u->uc_mcontext.gregs;
    uint8_t *fp = (uint8_t *)u->uc_mcontext.fpregs;
    Dot d;
    uint64_t count = 0;
    (void)info;
    while (fp && has_xsave(fp) && decode(g, &d)) {
        carry_out(fp, &d);
        g[REG_RIP] += (greg_t)d.length;
        count++;
    }
    atomic_fetch_add(&done, count);
    if (count)
        return;
    if (probing)
        siglongjmp(probe, 1);
    sigaction(signal_number, &before, NULL); /* met again, it ends the test as it always did */
}

/* VPDPBUSD ymm0, ymm1, ymm2 on 1 + 4 * (2 * -3), in bytes: not every assembler knows its name. */
static bool answers(void)
{
    uint32_t acc = 1, a = 0x02020202, b = 0xfdfdfdfd;
    __asm__ volatile("vmovd %0, %%xmm0\n\tvmovd %1, %%xmm1\n\tvmovd %2, %%xmm2\n\t"
                     ".byte 0xc4, 0xe2, 0x75, 0x50, 0xc2\n\tvmovd %%xmm0, %0"
                     : "+r"(acc)
                     : "r"(a), "r"(b)
                     : "xmm0", "xmm1", "xmm2");
    return acc == (uint32_t)-23;
}

/* A test framework may have put its own handler over this one since. */
static void set_handler(void)
{
    struct sigaction act = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO}, now;
    sigemptyset(&act.sa_mask);
    sigaction(SIGILL, &act, &now);
    if (now.sa_sigaction != on_illegal)
        before = now;
}

static void try_out(void)
{
    uint32_t a, b, c, d;
    if (__get_cpuid_count(0xd, 2, &a, &b, &c, &d) && a >= 256)
        ymm_at = b;
    if (__get_cpuid_count(0xd, 6, &a, &b, &c, &d) && a >= 512)
        zmm_at = b;
    set_handler();
    probing = true;
    emulated = sigsetjmp(probe, 1) == 0 && answers();
    probing = false;
    if (!emulated)
        missing = "the kernels for AVX-VNNI are not run: the frames of signals have no YMM state";
}

static void ready(void)
{
    static bool tried;
    const uint32_t cpu = ledge__cpu_flags_uncapped();
    if (emulated)
        set_handler();
    else if (!tried && !(cpu & LEDGE_CPU_AVX2))
        missing = "the kernels for AVX-VNNI are not run: this CPU has no AVX2";
    else if (!tried && !(cpu & LEDGE_CPU_AVXVNNI))
        try_out();
    tried = true;
}

uint32_t vex_vnni_cpu(void)
{
    ready();
    return ledge__cpu_flags_uncapped() | (emulated ? LEDGE_CPU_AVXVNNI : 0);
}

const char *vex_vnni_missing(void)
{
    ready();
    return missing;
}

bool vex_vnni_emulated(void)
{
    ready();
    return emulated;
}

uint64_t vex_vnni_count(void)
{
    return atomic_load(&done);
}

#else

uint32_t vex_vnni_cpu(void)
{
    return ledge__cpu_flags_uncapped();
}

const char *vex_vnni_missing(void)
{
    return "the kernels for AVX-VNNI are not run: they are for x86-64";
}

bool vex_vnni_emulated(void)
{
    return false;
}

uint64_t vex_vnni_count(void)
{
    return 0;
}

#endif
