/* release.json, see release.h. */
#include "fleet/protocol/release.h"

#include <stdlib.h>
#include <string.h>

#define KEY(text) (strcmp(key, text) == 0)
enum { KEY_SIZE = 32 };
#define NOT_NEGATIVE          "a count below zero"
#define BAD_NAME              "a name other than [A-Za-z0-9][A-Za-z0-9._-]*"
#define BAD_PATH              "a path that is not plain and relative"
#define READ(field, is, what) ledge__fleet_read(j, field, sizeof(field), is, what)
/* Told apart from faults of the text by its address. */
static const char NO_MEMORY[] = "no memory for what comes";

#define ONE(NAME, name) name,
static const char *const roles[] = {LEDGE_RELEASE_ROLES(ONE)};
#undef ONE
enum { N_ROLES = sizeof roles / sizeof *roles };

const char *ledge__release_role_name(LedgeReleaseRole role)
{
    return roles[role];
}

bool ledge__release_role_of(const char *name, LedgeReleaseRole *out)
{
    for (int i = 0; i < N_ROLES; i++)
        if (strcmp(roles[i], name) == 0) {
            *out = (LedgeReleaseRole)i;
            return true;
        }
    return false;
}

void ledge__release_target(const char *name, const char *version, char out[LEDGE_FLEET_PATH])
{
    snprintf(out, LEDGE_FLEET_PATH, "models/%s/%s/release.json", name, version);
}

size_t ledge__release_find(const LedgeRelease *r, const char *path)
{
    size_t i = 0;
    while (i < r->n_files && strcmp(r->files[i].path, path) != 0)
        i++;
    return i;
}

const char *ledge__release_guest_fault(const LedgeReleaseFile *f)
{
    const bool has_name = strcmp(f->path, LEDGE_RELEASE_GUEST_PATH) == 0;
    if (has_name != (f->role == LEDGE_RELEASE_GUEST))
        return has_name ? "a guest.lwm that is no guest" : "a guest that is not guest.lwm";
    return has_name && f->length > LEDGE_RELEASE_GUEST_MAX ? "a guest of more than 64 MB" : NULL;
}

static void read_target(LedgeJson *j, LedgeReleaseFile *f)
{
    char key[KEY_SIZE];
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("arch"))
            READ(f->arch, ledge__fleet_is_name, BAD_NAME);
        else if (KEY("level"))
            READ(f->level, ledge__fleet_is_name, BAD_NAME);
        else
            ledge__json_skip(j);
    }
}

/* Hashes of chunks; how many there must be is checked when size and length are known. */
static void read_chunks(LedgeJson *j, LedgeReleaseFile *f)
{
    size_t room = f->n_chunks;
    char hex[LEDGE_SHA256_HEX];
    if (f->chunks)
        ledge__json_fault(j, "chunks come twice");
    ledge__json_array(j);
    while (ledge__json_element(j)) {
        READ(hex, ledge__fleet_is_sha256, "a SHA-256 of other than 64 hex digits");
        if (j->bad)
            return;
        if (f->n_chunks == room) {
            room = room ? 2 * room : 16;
            void *wider = realloc(f->chunks, room * sizeof *f->chunks);
            if (!wider) {
                ledge__json_fault(j, NO_MEMORY);
                return;
            }
            f->chunks = wider;
        }
        ledge__from_hex(hex, f->chunks[f->n_chunks++], LEDGE_SHA256_BYTES);
    }
}

static void check_chunks(LedgeJson *j, const LedgeReleaseFile *f)
{
    if (j->bad || !f->n_chunks)
        return;
    if (f->chunk_size < 1024 || f->chunk_size > INT64_MAX / 2)
        ledge__json_fault(j, "chunks of less than 1024 bytes");
    else if ((uint64_t)f->n_chunks !=
             (uint64_t)f->length / (uint64_t)f->chunk_size + (f->length % f->chunk_size != 0))
        ledge__json_fault(j, "more or fewer chunks than the length has");
}

static void read_file(LedgeJson *j, LedgeReleaseFile *f)
{
    char key[KEY_SIZE], word[LEDGE_FLEET_WORD];
    bool has_role = false, has_length = false;
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("role")) {
            ledge__json_string(j, word, sizeof word);
            has_role = !j->bad && ledge__release_role_of(word, &f->role);
            if (!has_role)
                ledge__json_fault(j, "an unknown role of a file");
        } else if (KEY("path")) {
            READ(f->path, ledge__fleet_is_path, BAD_PATH);
        } else if (KEY("sha256")) {
            READ(f->sha256, ledge__fleet_is_sha256, "a SHA-256 of other than 64 hex digits");
        } else if (KEY("length")) {
            f->length = ledge__fleet_count(j, 0, NOT_NEGATIVE);
            has_length = true;
        } else if (KEY("chunk_size")) {
            f->chunk_size = ledge__fleet_count(j, 1, "a chunk of no bytes");
        } else if (KEY("chunks")) {
            read_chunks(j, f);
        } else if (KEY("target")) {
            read_target(j, f);
        } else {
            ledge__json_skip(j);
        }
    }
    if (!j->bad && (!has_role || !has_length || !f->path[0] || !f->sha256[0]))
        ledge__json_fault(j, "a file without role, path, sha256 or length");
    check_chunks(j, f);
    /* The name under which the release itself is kept. */
    if (!j->bad && strcmp(f->path, "release.json") == 0)
        ledge__json_fault(j, "a file with the name of the release itself");
    const char *fault = j->bad ? NULL : ledge__release_guest_fault(f);
    if (fault)
        ledge__json_fault(j, fault);
}

static void read_files(LedgeJson *j, LedgeRelease *r)
{
    ledge__json_array(j);
    while (ledge__json_element(j)) {
        if (r->n_files == LEDGE_RELEASE_FILES) {
            ledge__json_fault(j, "more than 256 files");
            continue;
        }
        read_file(j, &r->files[r->n_files]);
        if (!j->bad && ledge__release_find(r, r->files[r->n_files].path) < r->n_files)
            ledge__json_fault(j, "a path comes twice");
        r->n_files++;
    }
}

/* Paths of golden files; files may be listed behind, so the text is read for them first. */
static uint32_t read_golden_path(LedgeJson *j, const LedgeRelease *r)
{
    char path[LEDGE_FLEET_PATH];
    READ(path, ledge__fleet_is_path, BAD_PATH);
    const size_t at = j->bad ? 0 : ledge__release_find(r, path);
    if (!j->bad && (at == r->n_files || r->files[at].role != LEDGE_RELEASE_GOLDEN))
        ledge__json_fault(j, "a golden file that is not among the files");
    return (uint32_t)at;
}

static void read_output(LedgeJson *j, const LedgeRelease *r, LedgeGoldenOutput *o)
{
    char key[KEY_SIZE];
    bool has_path = false;
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("path")) {
            o->file = read_golden_path(j, r);
            has_path = true;
        } else if (KEY("tolerance_ppm")) {
            o->tolerance_ppm = ledge__fleet_count(j, 0, "a tolerance below zero");
        } else {
            ledge__json_skip(j);
        }
    }
    if (!j->bad && !has_path)
        ledge__json_fault(j, "a golden output without a path");
}

static void read_case(LedgeJson *j, const LedgeRelease *r, LedgeGoldenCase *c)
{
    char key[KEY_SIZE];
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        const bool is_inputs = KEY("inputs");
        if (!is_inputs && !KEY("outputs")) {
            ledge__json_skip(j);
            continue;
        }
        ledge__json_array(j);
        while (ledge__json_element(j)) {
            if ((is_inputs ? c->n_inputs : c->n_outputs) == LEDGE_RELEASE_TENSORS)
                ledge__json_fault(j, "more than 16 tensors of a case");
            else if (is_inputs)
                c->inputs[c->n_inputs++] = read_golden_path(j, r);
            else
                read_output(j, r, &c->outputs[c->n_outputs++]);
        }
    }
    if (!j->bad && (!c->n_inputs || !c->n_outputs))
        ledge__json_fault(j, "a golden case without inputs or outputs");
}

static void read_cases(LedgeJson *j, LedgeRelease *r)
{
    ledge__json_array(j);
    while (ledge__json_element(j)) {
        if (r->n_cases == LEDGE_RELEASE_CASES)
            ledge__json_fault(j, "more than 32 golden cases");
        else
            read_case(j, r, &r->cases[r->n_cases++]);
    }
}

static void read_golden(LedgeJson *j, LedgeRelease *r)
{
    char key[KEY_SIZE];
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("cases"))
            read_cases(j, r);
        else if (KEY("max_latency_ratio"))
            r->max_latency_ratio = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else if (KEY("max_memory_ratio"))
            r->max_memory_ratio = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else if (KEY("max_latency_us"))
            r->max_latency_us = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else if (KEY("max_memory"))
            r->max_memory = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else
            ledge__json_skip(j);
    }
}

/* Golden cases point at files, wherever in the text these are: they are read in a second turn. */
static void read_turn(LedgeJson *j, const char *text, size_t size, LedgeRelease *r, bool golden)
{
    char key[KEY_SIZE];
    int seen_golden = 0;
    ledge__json_begin(j, text, size);
    ledge__json_object(j);
    while (ledge__json_member(j, key, sizeof key)) {
        if (KEY("golden") && ++seen_golden > 1)
            ledge__json_fault(j, "golden comes twice");
        if (golden && KEY("golden"))
            read_golden(j, r);
        else if (!golden && KEY("name"))
            READ(r->name, ledge__fleet_is_name, BAD_NAME);
        else if (!golden && KEY("version"))
            READ(r->version, ledge__fleet_is_name, BAD_NAME);
        else if (!golden && KEY("created"))
            r->created = ledge__fleet_count(j, 0, NOT_NEGATIVE);
        else if (!golden && KEY("files"))
            read_files(j, r);
        else
            ledge__json_skip(j);
    }
    ledge__json_finish(j);
}

static bool has_model(const LedgeRelease *r)
{
    for (size_t i = 0; i < r->n_files; i++)
        if (r->files[i].role == LEDGE_RELEASE_MODEL || r->files[i].role == LEDGE_RELEASE_COMPILED)
            return true;
    return false;
}

LedgeStatus ledge__release_read(const char *text, size_t size, LedgeError *err, LedgeRelease **out)
{
    LedgeJson j;
    if (size > LEDGE_FLEET_RELEASE_MAX)
        return ledge__fail(err, LEDGE_ERROR_LIMIT, "release.json",
                           "is larger than the %zu bytes that it may have",
                           LEDGE_FLEET_RELEASE_MAX);
    LedgeRelease *r;
    LEDGE_TRY(ledge__release_new("x", "x", err, &r));
    r->name[0] = r->version[0] = '\0';
    read_turn(&j, text, size, r, false);
    if (!j.bad)
        read_turn(&j, text, size, r, true);
    if (!j.bad && (!r->name[0] || !r->version[0]))
        ledge__json_fault(&j, "name or version is missing");
    if (!j.bad && !has_model(r))
        ledge__json_fault(&j, "no file is a model");
    LedgeStatus status =
        j.bad == NO_MEMORY ? ledge__no_memory(err) : ledge__json_status(&j, "release.json", err);
    if (status) {
        ledge__release_free(r);
        return status;
    }
    *out = r;
    return LEDGE_OK;
}

void ledge__release_free(LedgeRelease *r)
{
    if (!r)
        return;
    for (size_t i = 0; r->files && i < LEDGE_RELEASE_FILES; i++)
        free(r->files[i].chunks);
    free(r->files);
    free(r->cases);
    free(r);
}

static void write_file(const LedgeReleaseFile *f, FILE *to)
{
    ledge__fleet_put(to, true, "role", roles[f->role]);
    ledge__fleet_put(to, false, "path", f->path);
    ledge__fleet_put(to, false, "sha256", f->sha256);
    ledge__fleet_put_int(to, false, "length", f->length);
    if (f->arch[0] || f->level[0]) {
        fputs(",\"target\":{", to);
        if (f->arch[0])
            ledge__fleet_put(to, true, "arch", f->arch);
        if (f->level[0])
            ledge__fleet_put(to, !f->arch[0], "level", f->level);
        putc('}', to);
    }
    if (f->n_chunks) {
        ledge__fleet_put_int(to, false, "chunk_size", f->chunk_size);
        fputs(",\"chunks\":[", to);
        for (size_t i = 0; i < f->n_chunks; i++) {
            char hex[LEDGE_SHA256_HEX];
            ledge__hex(f->chunks[i], LEDGE_SHA256_BYTES, hex);
            fprintf(to, i ? ",\"%s\"" : "\"%s\"", hex);
        }
        putc(']', to);
    }
}

static void write_case(const LedgeRelease *r, const LedgeGoldenCase *c, FILE *to)
{
    fputs("{\"inputs\":[", to);
    for (size_t i = 0; i < c->n_inputs; i++) {
        fputs(i ? "," : "", to);
        ledge__fleet_put_string(to, r->files[c->inputs[i]].path);
    }
    fputs("],\"outputs\":[", to);
    for (size_t i = 0; i < c->n_outputs; i++) {
        fputs(i ? ",{" : "{", to);
        ledge__fleet_put(to, true, "path", r->files[c->outputs[i].file].path);
        ledge__fleet_put_int(to, false, "tolerance_ppm", c->outputs[i].tolerance_ppm);
        putc('}', to);
    }
    fputs("]}", to);
}

void ledge__release_write(const LedgeRelease *r, FILE *to)
{
    putc('{', to);
    ledge__fleet_put(to, true, "name", r->name);
    ledge__fleet_put(to, false, "version", r->version);
    ledge__fleet_put_int(to, false, "created", r->created);
    fputs(",\"files\":[", to);
    for (size_t i = 0; i < r->n_files; i++) {
        fputs(i ? ",{" : "{", to);
        write_file(&r->files[i], to);
        putc('}', to);
    }
    fputs("],\"golden\":{\"cases\":[", to);
    for (size_t i = 0; i < r->n_cases; i++) {
        fputs(i ? "," : "", to);
        write_case(r, &r->cases[i], to);
    }
    putc(']', to);
    ledge__fleet_put_int(to, false, "max_latency_ratio", r->max_latency_ratio);
    ledge__fleet_put_int(to, false, "max_memory_ratio", r->max_memory_ratio);
    ledge__fleet_put_int(to, false, "max_latency_us", r->max_latency_us);
    ledge__fleet_put_int(to, false, "max_memory", r->max_memory);
    fputs("}}", to);
}
