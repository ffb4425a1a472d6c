/* Starting touches most of libcrypto, GnuTLS and the loader's tables, some megabytes that serving
 * does not look at again. They are clean pages of files: unmapping them costs a fault each where
 * one is wanted after all. */
#include "serve/idle_memory.h"

#include <link.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* By itself glibc gives the top of a heap back with nearly every large body that is freed, and each
 * of its pages costs a fault in the next request. One heap for all threads: requests allocate a few
 * times each, and the top of other heaps is not given back when it is asked for. */
void ledge__keep_heap(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, 16 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
    (void)mallopt(M_ARENA_MAX, 1);
#endif
}

void ledge__trim_heap(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

/* Whether the loader has written into code (32-bit systems' old libraries): such pages are no
 * longer the file's. */
static int has_patched_code(const struct dl_phdr_info *o)
{
    for (int i = 0; i < o->dlpi_phnum; i++) {
        if (o->dlpi_phdr[i].p_type != PT_DYNAMIC)
            continue;
        const ElfW(Dyn) *d = (const ElfW(Dyn) *)(o->dlpi_addr + o->dlpi_phdr[i].p_vaddr);
        for (; d->d_tag != DT_NULL; d++)
            if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && d->d_un.d_val & DF_TEXTREL))
                return 1;
    }
    return 0;
}

static int let_go(struct dl_phdr_info *o, size_t size, void *arg)
{
    const uintptr_t page = *(const uintptr_t *)arg;
    (void)size;
    if (strncmp(o->dlpi_name, "linux-", 6) == 0 || has_patched_code(o)) /* the kernel's own */
        return 0;
    for (int i = 0; i < o->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &o->dlpi_phdr[i];
        if (h->p_type != PT_LOAD || h->p_flags & PF_W)
            continue;
        const uintptr_t start = (o->dlpi_addr + h->p_vaddr) / page * page;
        const uintptr_t end = o->dlpi_addr + h->p_vaddr + h->p_filesz;
        (void)madvise((void *)start, end - start, MADV_DONTNEED);
    }
    return 0;
}

void ledge__let_code_go(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    dl_iterate_phdr(let_go, &page);
}
