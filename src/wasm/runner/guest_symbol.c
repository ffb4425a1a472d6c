/* Which function a place in a guest's code belongs to: by the symbol table of its ELF file (System
 * V ABI, chapter 4), which `ledge wasm build` leaves in. The file was verified, and is still
 * read with care: a wrong name must not become a crash. */
#include "wasm/runner/guest_state.h"

#include <elf.h>
#include <stdio.h>

static bool inside(size_t size, uint64_t offset, uint64_t bytes)
{
    return bytes <= size && offset <= size - bytes;
}

static bool section(const uint8_t *code, size_t size, const Elf64_Ehdr *h, uint32_t index,
                    Elf64_Shdr *out)
{
    const uint64_t at = h->e_shoff + (uint64_t)index * sizeof *out;
    if (index >= h->e_shnum || h->e_shoff > size || !inside(size, at, sizeof *out))
        return false;
    memcpy(out, code + at, sizeof *out);
    return out->sh_type == SHT_NOBITS || inside(size, out->sh_offset, out->sh_size);
}

/* "w2c_guest_edge_0x5Finfer_0" is "edge_infer"; imports and wabt 1.0.32 spell it otherwise. */
static void plain_name(const char *symbol, char *out, size_t room)
{
    static const char *const prefixes[] = {"w2c_guest_", "Z_guestZ_", "w2c_"};
    size_t n = 0;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(symbol, prefixes[i], strlen(prefixes[i])) == 0) {
            symbol += strlen(prefixes[i]);
            break;
        }
    while (*symbol && n + 1 < room) {
        unsigned c;
        if (strncmp(symbol, "0x", 2) == 0 && sscanf(symbol + 2, "%2X", &c) == 1 && c >= 0x20 &&
            c < 0x7f) {
            out[n++] = (char)c;
            symbol += 4;
        } else {
            out[n++] = *symbol++;
        }
    }
    out[n] = '\0';
    /* The compiler appends ".part.0" and the like, wasm2c "_0". */
    char *dot = strchr(out, '.');
    if (dot)
        *dot = '\0';
    n = strlen(out);
    if (n > 2 && strcmp(out + n - 2, "_0") == 0)
        out[n - 2] = '\0';
}

static bool search(const uint8_t *code, const Elf64_Shdr *symbols, const Elf64_Shdr *strings,
                   uint64_t offset, char *name, size_t room, uint64_t *into)
{
    for (uint64_t i = 0; i < symbols->sh_size / sizeof(Elf64_Sym); i++) {
        Elf64_Sym s;
        memcpy(&s, code + symbols->sh_offset + i * sizeof s, sizeof s);
        if (ELF64_ST_TYPE(s.st_info) != STT_FUNC || offset < s.st_value ||
            offset - s.st_value >= s.st_size || s.st_name >= strings->sh_size)
            continue;
        char symbol[256];
        const uint64_t left = strings->sh_size - s.st_name;
        snprintf(symbol, sizeof symbol, "%.*s", (int)(left < 255 ? left : 255),
                 (const char *)code + strings->sh_offset + s.st_name);
        plain_name(symbol, name, room);
        *into = offset - s.st_value;
        return true;
    }
    return false;
}

bool ledge__guest_symbol(const uint8_t *code, size_t size, uint64_t offset, char *name, size_t room,
                         uint64_t *into)
{
    Elf64_Ehdr h;
    Elf64_Shdr symbols, strings;
    if (size < sizeof h)
        return false;
    memcpy(&h, code, sizeof h);
    if (memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 || h.e_ident[EI_CLASS] != ELFCLASS64 ||
        h.e_shentsize != sizeof symbols)
        return false;
    for (uint32_t i = 0; i < h.e_shnum; i++)
        if (section(code, size, &h, i, &symbols) && symbols.sh_type == SHT_SYMTAB &&
            section(code, size, &h, symbols.sh_link, &strings) && strings.sh_type == SHT_STRTAB)
            return search(code, &symbols, &strings, offset, name, room, into);
    return false;
}
