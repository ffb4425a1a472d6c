/* What a disk has after a power cut. The log is read into a model: files with the bytes that are
 * on the disk and the changes that nothing confirmed, folders as they were and the changes of
 * names since. Then chance decides, and the root is made anew.
 *
 * Bytes: of each file, unconfirmed changes are all lost, all kept, kept up to one that is torn, or
 * each decided by itself, by sectors; what is lost behind the old end may read as zeros.
 * Names: in half of the cuts changes are kept up to some moment, as journals do, where any sync
 * confirms all before it. In the others each decides for itself, but a folder's sync confirms the
 * folder's own, and a name's changes keep their order, which is all that POSIX promises. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "powercut.h"

enum { SECTOR = 512 };

typedef struct Bytes {
    char *p;
    size_t n, room;
} Bytes;

typedef struct Node Node;

typedef struct Name {
    char *name;
    Node *node;
} Name;

typedef struct Names {
    Name *items;
    size_t n;
} Names;

struct Node {
    uint64_t inode;
    uint32_t mode;
    PowerKind kind; /* POWER_FILE, POWER_MKDIR or POWER_SYMLINK */
    Bytes bytes;    /* on the disk; of a link, its target */
    const PowerEntry **pending;
    size_t n_pending;
    Names now, disk;
    char *written; /* where the final tree has it */
};

/* A change of names: takes `from` away, puts node at `to`; either may be absent. */
typedef struct Change {
    Node *from_folder, *to_folder, *node;
    char *from, *to;
    bool is_sure, stays;
} Change;

typedef struct Model {
    PowerControl *c;
    Node **nodes;
    size_t n_nodes;
    Change *changes;
    size_t n_changes, n_sure; /* n_sure: a journal would have these for sure */
    unsigned seed;
    PowerLoss *loss;
    const char *problem;
} Model;

static unsigned chance(Model *m, unsigned most)
{
    m->seed = m->seed * 1103515245u + 12345u;
    return (m->seed >> 16) % most;
}

static void *grow(void *p, size_t n, size_t one)
{
    if (n & (n - 1)) /* by powers of two */
        return p;
    void *wider = realloc(p, (n ? 2 * n : 1) * one);
    if (!wider)
        abort();
    return wider;
}

/* ---- names ---- */

static Name *find(Names *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->items[i].name, name) == 0)
            return &names->items[i];
    return NULL;
}

static void put_name(Names *names, const char *name, Node *node)
{
    Name *there = find(names, name);
    if (there) {
        there->node = node;
        return;
    }
    names->items = grow(names->items, names->n, sizeof *names->items);
    names->items[names->n++] = (Name){strdup(name), node};
}

static void take_name(Names *names, const char *name)
{
    Name *there = find(names, name);
    if (!there)
        return;
    free(there->name);
    *there = names->items[--names->n];
}

static Node *new_node(Model *m, PowerKind kind, uint64_t inode, uint32_t mode)
{
    Node *n = calloc(1, sizeof *n);
    if (!n)
        abort();
    *n = (Node){.inode = inode, .kind = kind, .mode = mode};
    m->nodes = grow(m->nodes, m->n_nodes, sizeof *m->nodes);
    m->nodes[m->n_nodes++] = n;
    return n;
}

/* The youngest of that number: numbers are used again. */
static Node *by_inode(Model *m, uint64_t inode)
{
    for (size_t i = m->n_nodes; i-- > 0;)
        if (m->nodes[i]->inode == inode)
            return m->nodes[i];
    m->problem = "an inode that nobody made";
    return NULL;
}

/* The folder that a path is in, and the path's last part, which is the caller's to free. */
static Node *folder_of(Model *m, const char *path, char **last)
{
    Node *at = m->nodes[0];
    for (;;) {
        while (*path == '/' || (path[0] == '.' && path[1] == '/'))
            path++;
        const size_t n = strcspn(path, "/");
        char *part = strndup(path, n);
        path += n;
        if (!path[strspn(path, "/")]) {
            *last = part;
            return at;
        }
        const Name *next = find(&at->now, part);
        free(part);
        if (!next || next->node->kind != POWER_MKDIR) {
            m->problem = "a path through what is no folder";
            return NULL;
        }
        at = next->node;
    }
}

static void apply(const Change *x, bool to_disk)
{
    if (x->from_folder)
        take_name(to_disk ? &x->from_folder->disk : &x->from_folder->now, x->from);
    if (x->to_folder)
        put_name(to_disk ? &x->to_folder->disk : &x->to_folder->now, x->to, x->node);
}

static void change(Model *m, const char *from, const char *to, Node *node)
{
    Change x = {.node = node};
    x.from_folder = from ? folder_of(m, from, &x.from) : NULL;
    x.to_folder = to && !m->problem ? folder_of(m, to, &x.to) : NULL;
    if (from && to && !m->problem) {
        const Name *moved = find(&x.from_folder->now, x.from);
        x.node = moved ? moved->node : NULL;
    }
    if (!m->problem && to && !x.node)
        m->problem = "a name for nothing";
    if (m->problem)
        return;
    apply(&x, false);
    m->changes = grow(m->changes, m->n_changes, sizeof *m->changes);
    m->changes[m->n_changes++] = x;
}

/* ---- bytes ---- */

static void resize(Bytes *b, size_t n)
{
    if (n > b->room) {
        b->p = realloc(b->p, 2 * n);
        if (!b->p)
            abort();
        b->room = 2 * n;
    }
    if (n > b->n)
        memset(b->p + b->n, 0, n - b->n);
    b->n = n;
}

static void put_bytes(Bytes *b, size_t at, const char *from, size_t n)
{
    if (at + n > b->n)
        resize(b, at + n);
    if (n)
        memcpy(b->p + at, from, n);
}

static void do_data(Node *n, const PowerEntry *e)
{
    if (e->kind == POWER_TRUNCATE)
        resize(&n->bytes, (size_t)e->offset);
    else
        put_bytes(&n->bytes, (size_t)e->offset, (const char *)(e + 1), (size_t)e->size);
}

static void sync_node(Model *m, Node *n)
{
    for (size_t i = 0; i < n->n_pending; i++)
        do_data(n, n->pending[i]);
    n->n_pending = 0;
    m->n_sure = m->n_changes;
    for (size_t i = 0; n->kind == POWER_MKDIR && i < m->n_changes; i++)
        m->changes[i].is_sure |= m->changes[i].from_folder == n || m->changes[i].to_folder == n;
}

static void start_all(Model *m)
{
    for (size_t i = 0; i < m->n_nodes; i++)
        sync_node(m, m->nodes[i]);
    for (size_t i = 0; i < m->n_changes; i++) {
        apply(&m->changes[i], true);
        free(m->changes[i].from);
        free(m->changes[i].to);
    }
    m->n_changes = m->n_sure = 0;
}

/* ---- the log ---- */

static void take_entry(Model *m, const PowerEntry *e)
{
    const char *path = (const char *)(e + 1);
    const char *more = path + (e->size ? strlen(path) + 1 : 0);
    Node *n;
    switch ((PowerKind)e->kind) {
    case POWER_CREATE:
    case POWER_MKDIR:
    case POWER_SYMLINK:
    case POWER_FILE:
        n = new_node(m, e->kind == POWER_CREATE ? POWER_FILE : (PowerKind)e->kind, e->inode,
                     e->mode);
        if (e->kind == POWER_SYMLINK)
            put_bytes(&n->bytes, 0, more, strlen(more) + 1);
        if (e->kind != POWER_FILE && m->n_nodes > 1) /* the first is the root */
            change(m, NULL, path, n);
        break;
    case POWER_LINK:
        if ((n = by_inode(m, e->inode)))
            change(m, NULL, path, n);
        break;
    case POWER_RENAME:
        change(m, path, more, NULL);
        break;
    case POWER_REMOVE:
        change(m, path, NULL, NULL);
        break;
    case POWER_WRITE:
    case POWER_TRUNCATE:
        if ((n = by_inode(m, e->inode))) {
            n->pending = grow(n->pending, n->n_pending, sizeof *n->pending);
            n->pending[n->n_pending++] = e;
        }
        break;
    case POWER_SYNC:
        if ((n = by_inode(m, e->inode)))
            sync_node(m, n);
        break;
    case POWER_MODE:
        if ((n = by_inode(m, e->inode)))
            n->mode = e->mode;
        break;
    case POWER_START:
        start_all(m);
        break;
    }
}

/* ---- chance ---- */

/* Some sectors of a write; behind the old end a lost one may read as zeros, or end the file. */
static void tear(Model *m, Node *n, const PowerEntry *e)
{
    const char *from = (const char *)(e + 1);
    const size_t at = (size_t)e->offset, size = (size_t)e->size;
    for (size_t k = 0; k < size;) {
        const size_t to_end = SECTOR - (at + k) % SECTOR;
        const size_t piece = to_end < size - k ? to_end : size - k;
        if (chance(m, 2))
            put_bytes(&n->bytes, at + k, from + k, piece);
        else if (at + k + piece > n->bytes.n && chance(m, 2))
            resize(&n->bytes, at + k + piece);
        k += piece;
    }
}

static void lose_data(Model *m, Node *n)
{
    const unsigned how = chance(m, 5);
    const size_t until = n->n_pending ? chance(m, (unsigned)n->n_pending + 1) : 0;
    m->loss->writes += n->n_pending;
    for (size_t i = 0; i < n->n_pending; i++) {
        const PowerEntry *e = n->pending[i];
        const bool stays = how == 1 || (how == 2 && i < until) || (how == 3 && chance(m, 2));
        const bool is_torn = !stays && e->kind == POWER_WRITE &&
                             ((how == 2 && i == until) || (how >= 3 && chance(m, 2)));
        m->loss->writes_lost += !stays;
        if (stays)
            do_data(n, e);
        else if (is_torn)
            tear(m, n, e);
    }
}

static bool share(const Change *a, const Change *b)
{
    return (a->from &&
            ((b->from && a->from_folder == b->from_folder && !strcmp(a->from, b->from)) ||
             (b->to && a->from_folder == b->to_folder && !strcmp(a->from, b->to)))) ||
           (a->to && ((b->from && a->to_folder == b->from_folder && !strcmp(a->to, b->from)) ||
                      (b->to && a->to_folder == b->to_folder && !strcmp(a->to, b->to))));
}

static void lose_names(Model *m)
{
    const bool is_journal = chance(m, 2);
    const size_t open = m->n_changes - m->n_sure;
    const size_t until = m->n_sure + (open ? chance(m, (unsigned)open + 1) : 0);
    const unsigned odds = 1 + chance(m, 4);
    for (size_t i = m->n_changes; i-- > 0;) {
        Change *x = &m->changes[i];
        if (is_journal)
            x->stays = i < until;
        else
            x->stays = x->stays || x->is_sure || chance(m, 5) < odds;
        for (size_t k = 0; x->stays && k < i; k++)
            m->changes[k].stays |= share(x, &m->changes[k]);
    }
    for (size_t i = 0; i < m->n_changes; i++) {
        m->loss->names += is_journal ? i >= m->n_sure : !m->changes[i].is_sure;
        m->loss->names_lost += !m->changes[i].stays;
        if (m->changes[i].stays)
            apply(&m->changes[i], true);
    }
}

/* ---- the root made anew ---- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind;
    return at->level ? remove(path) : 0;
}

static bool write_file(const char *path, const Node *n)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = fd >= 0;
    for (size_t done = 0; ok && done < n->bytes.n;) {
        const ssize_t more = write(fd, n->bytes.p + done, n->bytes.n - done);
        ok = more > 0;
        done += ok ? (size_t)more : 0;
    }
    ok = ok && fchmod(fd, n->mode) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool write_tree(const Model *m, Node *folder, const char *path)
{
    for (size_t i = 0; i < folder->disk.n; i++) {
        Node *n = folder->disk.items[i].node;
        char at[2 * POWER_PATH];
        snprintf(at, sizeof at, "%s/%s", path, folder->disk.items[i].name);
        bool ok;
        if (n->kind == POWER_MKDIR) /* a folder with two names would be one moved half-way */
            ok = n->written || (mkdir(at, n->mode) == 0 && chmod(at, n->mode) == 0);
        else if (n->kind == POWER_SYMLINK)
            ok = symlink(n->bytes.p, at) == 0;
        else if (n->written)
            ok = link(n->written, at) == 0;
        else
            ok = write_file(at, n);
        if (!ok) {
            fprintf(stderr, "powercut: %s: %s\n", at, strerror(errno));
            return false;
        }
        if (n->kind == POWER_MKDIR && n->written)
            continue;
        if (!n->written)
            n->written = strdup(at);
        if (n->kind == POWER_MKDIR && !write_tree(m, n, at))
            return false;
    }
    return true;
}

static void free_model(Model *m)
{
    for (size_t i = 0; i < m->n_nodes; i++) {
        Node *n = m->nodes[i];
        for (size_t k = 0; k < n->now.n; k++)
            free(n->now.items[k].name);
        for (size_t k = 0; k < n->disk.n; k++)
            free(n->disk.items[k].name);
        free(n->now.items);
        free(n->disk.items);
        free(n->bytes.p);
        free(n->pending);
        free(n->written);
        free(n);
    }
    for (size_t i = 0; i < m->n_changes; i++) {
        free(m->changes[i].from);
        free(m->changes[i].to);
    }
    free(m->changes);
    free(m->nodes);
}

bool power_fail(PowerControl *c, unsigned seed, PowerLoss *loss)
{
    PowerLoss nothing;
    Model m = {.c = c, .seed = seed, .loss = loss ? loss : &nothing};
    *m.loss = (PowerLoss){0};
    for (uint64_t at = 0; at < c->used && !m.problem;) {
        const PowerEntry *e = (const void *)(c->log + at);
        take_entry(&m, e);
        at += sizeof *e + ((e->size + 7) & ~(uint64_t)7);
    }
    if (!m.problem) {
        for (size_t i = 0; i < m.n_nodes; i++)
            if (m.nodes[i]->kind == POWER_FILE)
                lose_data(&m, m.nodes[i]);
        lose_names(&m);
        if (nftw(c->root, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 ||
            !write_tree(&m, m.nodes[0], c->root))
            m.problem = "the root cannot be made anew";
    }
    if (m.problem)
        fprintf(stderr, "powercut: %s\n", m.problem);
    free_model(&m);
    return !m.problem;
}
