/* Each attack that The Update Framework's specification lists (section 1.5.2), made on a device's
 * client: it must do no harm, and the client must go on once the attacker is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tuf_repo.h"

#define MODEL "models/net/1/release.json"
#define RELEASE                                                                                    \
    "{\"name\":\"net\",\"version\":\"1\",\"created\":5,\"files\":[{\"role\":\"model\","            \
    "\"path\":\"m.onnx\",\"sha256\":"                                                              \
    "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"length\":0}]}"

typedef struct Device {
    Repo repo;
    RepoFiles kept;
    char *anchor;
    size_t anchor_size;
    LedgeError err;
} Device;

static int begin(void **state)
{
    Device *d = calloc(1, sizeof *d);
    repo_new(&d->repo);
    repo_add_target(&d->repo, MODEL, RELEASE, false);
    repo_publish(&d->repo, LEDGE_TUF_TARGETS, true);
    const RepoFile *root = repo_get(&d->repo.files, "1.root.json");
    d->anchor = malloc(root->size);
    memcpy(d->anchor, root->bytes, root->size);
    d->anchor_size = root->size;
    *state = d;
    return 0;
}

static int end(void **state)
{
    Device *d = *state;
    repo_free(&d->repo);
    repo_clear(&d->kept);
    free(d->anchor);
    free(d);
    return 0;
}

/* One update by a fresh process; the client is the caller's to look at and to free. */
static LedgeStatus update(Device *d, int64_t now, bool synchronised, LedgeTuf **out)
{
    const LedgeTufStore store = repo_store(&d->kept);
    const LedgeTufSource source = repo_source(&d->repo);
    const LedgeTufClock clock = repo_clock(now, synchronised);
    LedgeTuf *tuf;
    d->err = (LedgeError){0};
    assert_int_equal(ledge__tuf_open(&store, d->anchor, d->anchor_size, &d->err, &tuf), LEDGE_OK);
    const LedgeStatus status = ledge__tuf_update(tuf, &source, &clock, &d->err);
    assert_int_equal(status, d->err.status);
    assert_true(status == LEDGE_OK || d->err.message[0]);
    if (out)
        *out = tuf;
    else
        ledge__tuf_free(tuf);
    return status;
}

static void must_update(Device *d)
{
    const LedgeStatus status = update(d, REPO_NOW, true, NULL);
    if (status)
        print_error("%s: %s\n", d->err.where, d->err.message);
    assert_int_equal(status, LEDGE_OK);
}

/* Refused with these words, nothing that was trusted before has changed, and with the true files
 * back all is well. */
static void must_refuse(Device *d, const char *words, const RepoFiles *honest)
{
    RepoFiles before = {0};
    repo_copy(&before, &d->kept);
    LedgeTuf *tuf;
    LedgeTufFile f;
    LedgeError err = {0};
    const LedgeStatus status = update(d, REPO_NOW, true, &tuf);
    assert_int_not_equal(status, LEDGE_OK);
    if (!strstr(d->err.message, words))
        print_error("%s: %s\n", d->err.where, d->err.message);
    assert_non_null(strstr(d->err.message, words));
    assert_int_not_equal(ledge__tuf_target(tuf, MODEL, &err, &f, NULL), LEDGE_OK);
    ledge__tuf_free(tuf);
    assert_int_equal(before.n, d->kept.n);
    for (size_t i = 0; i < before.n; i++) {
        const RepoFile *now = repo_get(&d->kept, before.files[i].name);
        assert_non_null(now);
        assert_int_equal(now->size, before.files[i].size);
        assert_memory_equal(now->bytes, before.files[i].bytes, now->size);
    }
    repo_clear(&before);
    if (!honest)
        return;
    repo_copy(&d->repo.files, honest);
    must_update(d);
}

static void an_honest_repository_is_believed(void **state)
{
    Device *d = *state;
    LedgeTuf *tuf;
    LedgeTufFile f;
    LedgeRelease *release;
    bool rollback_ok = true;
    assert_int_equal(update(d, REPO_NOW, true, &tuf), LEDGE_OK);
    assert_int_equal(ledge__tuf_target(tuf, MODEL, &d->err, &f, &rollback_ok), LEDGE_OK);
    assert_int_equal(f.length, strlen(RELEASE));
    assert_false(rollback_ok);
    assert_int_equal(
        ledge__tuf_release(tuf, "net", "1", RELEASE, strlen(RELEASE), &d->err, &release), LEDGE_OK);
    assert_string_equal(release->files[0].path, "m.onnx");
    ledge__release_free(release);
    assert_int_equal(ledge__tuf_target(tuf, "models/net/2/release.json", &d->err, &f, NULL),
                     LEDGE_ERROR_NOT_FOUND);
    assert_true(ledge__tuf_time_was_signed(tuf));
    assert_int_equal(ledge__tuf_version(tuf, LEDGE_TUF_TARGETS), 2);
    ledge__tuf_free(tuf);
    /* A second time nothing but the root's successor, time and timestamp are asked for. */
    d->repo.asked = 0;
    must_update(d);
    assert_int_equal(d->repo.asked, 3);
}

static void arbitrary_installation_unsigned_and_foreign_files_are_refused(void **state)
{
    Device *d = *state;
    RepoFiles honest = {0};
    LedgeTufKeys own = {0};
    LedgeTuf *tuf;
    LedgeRelease *release = NULL;
    must_update(d);
    repo_copy(&honest, &d->repo.files);
    for (int role = LEDGE_TUF_TIMESTAMP; role < LEDGE_TUF_ROLE_COUNT; role++) {
        /* The attacker has every key but one role's. */
        own = d->repo.keys[role];
        d->repo.keys[role] = (LedgeTufKeys){0};
        repo_key(&d->repo.keys[role], 1, 1);
        repo_add_target(&d->repo, "models/net/9/release.json", "evil", false);
        repo_publish(&d->repo, LEDGE_TUF_TARGETS, true);
        ledge__tuf_keys_free(&d->repo.keys[role]);
        d->repo.keys[role] = own;
        RepoFiles before = {0};
        repo_copy(&before, &d->kept);
        assert_int_not_equal(update(d, REPO_NOW, true, NULL), LEDGE_OK);
        assert_non_null(strstr(d->err.message, "another key"));
        repo_copy(&d->kept, &before);
        repo_clear(&before);
        repo_copy(&d->repo.files, &honest);
    }
    repo_clear(&honest);
    /* A target's bytes of the attacker's, of the same length. */
    char forged[] = RELEASE;
    forged[10] ^= 1;
    assert_int_equal(update(d, REPO_NOW, true, &tuf), LEDGE_OK);
    assert_int_equal(ledge__tuf_release(tuf, "net", "1", forged, strlen(forged), &d->err, &release),
                     LEDGE_ERROR_MISMATCH);
    assert_null(release);
    ledge__tuf_free(tuf);
}

static void arbitrary_installation_changed_bytes_are_refused(void **state)
{
    static const char *const names[] = {"timestamp.json", "2.snapshot.json", "2.targets.json"};
    Device *d = *state;
    RepoFiles honest = {0};
    repo_copy(&honest, &d->repo.files);
    for (size_t i = 0; i < 3; i++) {
        RepoFile *f = repo_get(&d->repo.files, names[i]);
        char *expires = strstr(f->bytes, "\"expires\":\"20");
        assert_non_null(expires);
        expires[13] = '9';
        repo_clear(&d->kept);
        assert_int_equal(update(d, REPO_NOW, true, NULL), LEDGE_ERROR_MISMATCH);
        repo_copy(&d->repo.files, &honest);
        must_update(d);
    }
    repo_clear(&honest);
}

static void endless_data_are_cut_at_the_bound_of_each_role(void **state)
{
    Device *d = *state;
    LedgeTuf *tuf;
    LedgeRelease *release = NULL;
    must_update(d);
    d->repo.endless = true;
    must_refuse(d, "larger than", NULL);
    assert_true(d->repo.largest_max <= 8u << 20);
    d->repo.endless = false;
    /* A timestamp of more than 16 kB, and a targets file longer than its snapshot says. */
    RepoFiles honest = {0};
    repo_copy(&honest, &d->repo.files);
    char *big = malloc(20000);
    memset(big, ' ', 20000);
    repo_put(&d->repo.files, "timestamp.json", big, 20000);
    must_refuse(d, "larger than 16384", &honest);
    repo_put(&d->repo.files, "2.targets.json", big, 20000);
    repo_clear(&d->kept);
    assert_int_equal(update(d, REPO_NOW, true, NULL), LEDGE_ERROR_LIMIT);
    free(big);
    repo_copy(&d->repo.files, &honest);
    repo_clear(&honest);
    /* A release of more bytes than were signed. */
    assert_int_equal(update(d, REPO_NOW, true, &tuf), LEDGE_OK);
    assert_int_equal(
        ledge__tuf_release(tuf, "net", "1", RELEASE " ", strlen(RELEASE) + 1, &d->err, &release),
        LEDGE_ERROR_MISMATCH);
    ledge__tuf_free(tuf);
}

static void extraneous_dependencies_delegations_and_odd_paths_add_nothing(void **state)
{
    Device *d = *state;
    LedgeTufFile f;
    LedgeTuf *tuf;
    LedgeRelease *release = NULL;
    LedgeTufKeys evil = {0};
    /* Delegated to the attacker by a file that he put beside: never looked at. */
    repo_key(&evil, 1, 1);
    json_t *content = ledge__tuf_make_targets(3, REPO_NOW + REPO_DAY, json_incref(d->repo.targets));
    json_object_set_new(content, "delegations",
                        json_pack("{s:[{s:s, s:[s], s:i, s:[s]}]}", "roles", "name", "evil",
                                  "keyids", ledge__key_id(evil.keys[0]), "threshold", 1, "paths",
                                  "*"));
    LedgeTufFile file;
    d->repo.version[LEDGE_TUF_TARGETS] = 3;
    repo_sign(&d->repo, LEDGE_TUF_TARGETS, content, "3.targets.json", &file);
    repo_publish(&d->repo, LEDGE_TUF_SNAPSHOT, true);
    repo_put(&d->repo.files, "1.evil.json", "{}", 2);
    assert_int_equal(update(d, REPO_NOW, true, &tuf), LEDGE_OK);
    assert_int_equal(ledge__tuf_target(tuf, "models/evil/1/release.json", &d->err, &f, NULL),
                     LEDGE_ERROR_NOT_FOUND);
    ledge__tuf_free(tuf);
    ledge__tuf_keys_free(&evil);
    /* Files of a release stay within its folder. */
    static const char *const paths[] = {"../x", "/etc/x",       "a/../b", ".hidden", "a//b",
                                        "",     "release.json", "a\\b",   "a/.b"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char text[512];
        const int n = snprintf(text, sizeof text,
                               "{\"name\":\"net\",\"version\":\"1\",\"files\":[{\"role\":\"model\","
                               "\"path\":\"%s\",\"sha256\":\"%064d\",\"length\":1}]}",
                               paths[i], 0);
        assert_int_not_equal(ledge__release_read(text, (size_t)n, &d->err, &release), LEDGE_OK);
    }
}

static void fast_forward_ends_when_the_stolen_keys_are_replaced(void **state)
{
    Device *d = *state;
    Repo *r = &d->repo;
    must_update(d);
    /* The thief of the online keys signs the last version numbers there are, and a time in 2200. */
    r->version[LEDGE_TUF_SNAPSHOT] = INT64_MAX - 2;
    r->version[LEDGE_TUF_TIMESTAMP] = INT64_MAX - 2;
    r->time = REPO_NOW + 25 * REPO_DAY;
    repo_publish(r, LEDGE_TUF_SNAPSHOT, true);
    must_update(d);
    /* The publisher begins anew from his own numbers: that alone would look like going back. */
    r->version[LEDGE_TUF_SNAPSHOT] = r->version[LEDGE_TUF_TIMESTAMP] = 2;
    r->time = REPO_NOW;
    repo_publish(r, LEDGE_TUF_SNAPSHOT, true);
    must_refuse(d, "goes back", NULL);
    /* New keys for both roles, by a root that the old root's keys signed. */
    repo_key(&r->keys[LEDGE_TUF_SNAPSHOT], 1, 1);
    repo_key(&r->keys[LEDGE_TUF_TIMESTAMP], 1, 1);
    repo_publish_root(r, NULL);
    repo_publish(r, LEDGE_TUF_SNAPSHOT, true);
    must_update(d);
    /* The time that the thief proved is forgotten with his keys. */
    LedgeTuf *tuf;
    assert_int_equal(update(d, 5, false, &tuf), LEDGE_OK);
    assert_int_equal(ledge__tuf_time(tuf), REPO_NOW);
    ledge__tuf_free(tuf);
}

static void indefinite_freeze_ends_with_expiry(void **state)
{
    Device *d = *state;
    must_update(d);
    /* The mirror goes on with the files of today. While they are valid, that is no attack … */
    assert_int_equal(update(d, REPO_NOW + 29 * REPO_DAY, true, NULL), LEDGE_OK);
    /* … and afterwards it is seen. */
    d->repo.time = 0;
    assert_int_equal(update(d, REPO_NOW + 31 * REPO_DAY, true, NULL), LEDGE_ERROR_MISMATCH);
    assert_non_null(strstr(d->err.message, "expired"));
}

static void indefinite_freeze_is_not_helped_by_a_clock_in_1970(void **state)
{
    Device *d = *state;
    LedgeTuf *tuf;
    /* Signed time, though the device thinks that it is 1970. */
    d->repo.time = REPO_NOW + 31 * REPO_DAY;
    assert_int_equal(update(d, 0, false, NULL), LEDGE_ERROR_MISMATCH);
    assert_non_null(strstr(d->err.message, "expired"));
    /* With signed time withheld from then on the floor stays. */
    d->repo.time = 0;
    assert_int_equal(update(d, 0, false, &tuf), LEDGE_ERROR_MISMATCH);
    assert_int_equal(ledge__tuf_time(tuf), REPO_NOW + 31 * REPO_DAY);
    ledge__tuf_free(tuf);
    /* An answer from before is for another nonce. */
    d->repo.time = REPO_NOW;
    assert_int_equal(update(d, 0, false, NULL), LEDGE_ERROR_MISMATCH);
}

static void a_signed_time_for_another_nonce_is_not_believed(void **state)
{
    Device *d = *state;
    LedgeTufMeta root;
    int64_t time = -1;
    char *text;
    size_t size;
    json_t *envelope, *content = ledge__tuf_make_time(REPO_NOW, "aa");
    const LedgeTufKeys *k = &d->repo.keys[LEDGE_TUF_TIMESTAMP], *other;
    assert_int_equal(ledge__tuf_parse(LEDGE_TUF_ROOT, d->anchor, d->anchor_size, &d->err, &root),
                     0);
    assert_int_equal(
        ledge__envelope_make(content, (const LedgeKey *const *)k->keys, 1, NULL, &envelope), 0);
    assert_int_equal(ledge__tuf_text(envelope, NULL, &text, &size, NULL), 0);
    assert_int_equal(ledge__tuf_read_time(&root, text, size, "bb", &d->err, &time),
                     LEDGE_ERROR_MISMATCH);
    assert_int_equal(ledge__tuf_read_time(&root, text, size, "aa", &d->err, &time), LEDGE_OK);
    assert_int_equal(time, REPO_NOW);
    free(text);
    json_decref(envelope);
    other = &d->repo.keys[LEDGE_TUF_SNAPSHOT];
    assert_int_equal(
        ledge__envelope_make(content, (const LedgeKey *const *)other->keys, 1, NULL, &envelope), 0);
    assert_int_equal(ledge__tuf_text(envelope, NULL, &text, &size, NULL), 0);
    assert_int_equal(ledge__tuf_read_time(&root, text, size, "aa", &d->err, &time),
                     LEDGE_ERROR_MISMATCH);
    free(text);
    json_decref(envelope);
    json_decref(content);
    ledge__tuf_meta_free(&root);
}

static void a_clock_in_the_future_expires_nothing_while_time_is_signed(void **state)
{
    Device *d = *state;
    assert_int_equal(update(d, REPO_NOW + 9000LL * REPO_DAY, false, NULL), LEDGE_OK);
    /* Of a clock that is synchronised the later one counts. */
    assert_int_equal(update(d, REPO_NOW + 9000LL * REPO_DAY, true, NULL), LEDGE_ERROR_MISMATCH);
}

static void a_malicious_mirror_can_only_refuse_to_serve(void **state)
{
    Device *d = *state;
    RepoFiles honest = {0}, nothing = {0};
    must_update(d);
    repo_publish(&d->repo, LEDGE_TUF_TARGETS, true);
    repo_copy(&honest, &d->repo.files);
    repo_copy(&d->repo.files, &nothing);
    must_refuse(d, "no such file", &honest);
    repo_publish(&d->repo, LEDGE_TUF_TARGETS, true);
    repo_copy(&honest, &d->repo.files);
    for (size_t i = 0; i < honest.n; i++) {
        static const char *const rubbish[] = {
            "", "{}", "[]", "\xff\xfe", "{\"signed\":{},\"signatures\":[]}", "<html>502</html>"};
        if (strstr(honest.files[i].name, "root"))
            continue;
        RepoFiles kept = {0};
        repo_copy(&kept, &d->kept);
        for (size_t k = 0; k < sizeof rubbish / sizeof *rubbish; k++) {
            repo_copy(&d->kept, &kept);
            repo_put(&d->repo.files, honest.files[i].name, rubbish[k], strlen(rubbish[k]));
            /* Files of older versions are not asked for any more. */
            const LedgeStatus status = update(d, REPO_NOW, true, NULL);
            const bool is_current =
                strstr(honest.files[i].name, "timestamp") || honest.files[i].name[0] == '4';
            assert_true(is_current ? status != LEDGE_OK : status == LEDGE_OK);
        }
        repo_copy(&d->kept, &kept);
        repo_clear(&kept);
        repo_copy(&d->repo.files, &honest);
    }
    must_update(d);
    /* Rubbish where the next root would be does not pass as "there is none". */
    repo_put(&d->repo.files, "2.root.json", "{}", 2);
    must_refuse(d, "signed", &honest);
    repo_clear(&honest);
}

static void mix_and_match_of_versions_is_refused(void **state)
{
    Device *d = *state;
    RepoFiles old = {0}, honest = {0};
    must_update(d);
    repo_copy(&old, &d->repo.files);
    repo_add_target(&d->repo, "models/net/2/release.json", "two", false);
    repo_publish(&d->repo, LEDGE_TUF_TARGETS, true);
    repo_copy(&honest, &d->repo.files);
    static const char *const pairs[][2] = {{"3.targets.json", "2.targets.json"},
                                           {"3.snapshot.json", "2.snapshot.json"}};
    for (size_t i = 0; i < 2; i++) {
        RepoFiles kept = {0};
        repo_copy(&kept, &d->kept);
        const RepoFile *f = repo_get(&old, pairs[i][1]);
        repo_put(&d->repo.files, pairs[i][0], f->bytes, f->size);
        assert_int_not_equal(update(d, REPO_NOW, true, NULL), LEDGE_OK);
        repo_copy(&d->kept, &kept);
        repo_copy(&d->repo.files, &honest);
        must_update(d);
        repo_copy(&d->kept, &kept);
        repo_clear(&kept);
    }
    repo_clear(&honest);
    repo_clear(&old);
}

static void rollback_of_every_role_is_refused(void **state)
{
    Device *d = *state;
    RepoFiles old = {0}, honest = {0};
    must_update(d);
    repo_copy(&old, &d->repo.files);
    repo_publish(&d->repo, LEDGE_TUF_TARGETS, true);
    repo_copy(&honest, &d->repo.files);
    must_update(d);
    /* The whole repository of yesterday. */
    repo_copy(&d->repo.files, &old);
    must_refuse(d, "goes back", &honest);
    /* A new timestamp over an old snapshot, by who has that key. */
    d->repo.version[LEDGE_TUF_SNAPSHOT] = 2;
    repo_publish(&d->repo, LEDGE_TUF_TIMESTAMP, true);
    must_refuse(d, "goes back", &honest);
    /* A new snapshot over old targets. */
    d->repo.version[LEDGE_TUF_SNAPSHOT] = 3;
    d->repo.version[LEDGE_TUF_TARGETS] = 2;
    repo_publish(&d->repo, LEDGE_TUF_SNAPSHOT, true);
    assert_int_equal(update(d, REPO_NOW, true, NULL), LEDGE_ERROR_MISMATCH);
    assert_non_null(strstr(d->err.message, "goes back"));
    repo_clear(&honest);
    repo_clear(&old);
}

static void key_compromise_of_the_online_keys_installs_nothing(void **state)
{
    Device *d = *state;
    LedgeTuf *tuf;
    LedgeTufFile f;
    LedgeTufKeys true_targets;
    must_update(d);
    /* Snapshot and timestamp are the thief's; targets are not. */
    true_targets = d->repo.keys[LEDGE_TUF_TARGETS];
    d->repo.keys[LEDGE_TUF_TARGETS] = (LedgeTufKeys){0};
    repo_key(&d->repo.keys[LEDGE_TUF_TARGETS], 1, 1);
    repo_add_target(&d->repo, "models/net/9/release.json", "evil", false);
    repo_publish(&d->repo, LEDGE_TUF_TARGETS, true);
    assert_int_equal(update(d, REPO_NOW, true, &tuf), LEDGE_ERROR_MISMATCH);
    assert_int_not_equal(ledge__tuf_target(tuf, "models/net/9/release.json", &d->err, &f, NULL), 0);
    ledge__tuf_free(tuf);
    ledge__tuf_keys_free(&d->repo.keys[LEDGE_TUF_TARGETS]);
    d->repo.keys[LEDGE_TUF_TARGETS] = true_targets;
}

static void key_compromise_below_the_threshold_changes_no_root(void **state)
{
    Device *d = *state;
    RepoFiles honest = {0};
    LedgeTufKeys evil = {0}, own = d->repo.keys[LEDGE_TUF_ROOT];
    must_update(d);
    repo_copy(&honest, &d->repo.files);
    /* One of three root keys where two are asked for, and the thief's own. */
    LedgeTufKeys stolen = {.keys = {own.keys[0]}, .n = 1, .threshold = 1};
    repo_key(&evil, 2, 2);
    d->repo.keys[LEDGE_TUF_ROOT] = evil;
    repo_publish_root(&d->repo, &stolen);
    must_refuse(d, "asked for", &honest);
    d->repo.keys[LEDGE_TUF_ROOT] = own;
    d->repo.version[LEDGE_TUF_ROOT] = 1;
    /* The same key signing twice is one. */
    LedgeTufKeys twice = {.keys = {own.keys[0], own.keys[0]}, .n = 2, .threshold = 1};
    d->repo.keys[LEDGE_TUF_ROOT] = evil;
    repo_publish_root(&d->repo, &twice);
    must_refuse(d, "", &honest);
    d->repo.keys[LEDGE_TUF_ROOT] = own;
    ledge__tuf_keys_free(&evil);
    repo_clear(&honest);
}

static void key_compromise_of_targets_ends_with_its_replacement(void **state)
{
    Device *d = *state;
    Repo *r = &d->repo;
    must_update(d);
    const LedgeTufKeys stolen = r->keys[LEDGE_TUF_TARGETS];
    r->keys[LEDGE_TUF_TARGETS] = (LedgeTufKeys){0};
    repo_key(&r->keys[LEDGE_TUF_TARGETS], 1, 1);
    repo_publish_root(r, NULL);
    repo_publish(r, LEDGE_TUF_TARGETS, true);
    must_update(d);
    LedgeTufKeys fresh = r->keys[LEDGE_TUF_TARGETS];
    r->keys[LEDGE_TUF_TARGETS] = stolen;
    repo_publish(r, LEDGE_TUF_TARGETS, true);
    assert_int_equal(update(d, REPO_NOW, true, NULL), LEDGE_ERROR_MISMATCH);
    ledge__tuf_keys_free(&r->keys[LEDGE_TUF_TARGETS]);
    r->keys[LEDGE_TUF_TARGETS] = fresh;
}

static void roots_follow_one_by_one_over_many_rotations(void **state)
{
    Device *d = *state;
    Repo *r = &d->repo;
    RepoFiles honest = {0};
    LedgeTuf *tuf;
    for (int i = 0; i < 5; i++) {
        LedgeTufKeys old = r->keys[LEDGE_TUF_ROOT];
        r->keys[LEDGE_TUF_ROOT] = (LedgeTufKeys){0};
        repo_key(&r->keys[LEDGE_TUF_ROOT], 3, 2);
        repo_publish_root(r, &old);
        ledge__tuf_keys_free(&old);
    }
    repo_copy(&honest, &r->files);
    assert_int_equal(update(d, REPO_NOW, true, &tuf), LEDGE_OK);
    assert_int_equal(ledge__tuf_version(tuf, LEDGE_TUF_ROOT), 6);
    ledge__tuf_free(tuf);
    /* A root that is skipped, and one that the old keys did not sign. */
    LedgeTufKeys old = r->keys[LEDGE_TUF_ROOT];
    r->version[LEDGE_TUF_ROOT] = 7;
    repo_publish_root(r, NULL);
    const RepoFile *f = repo_get(&r->files, "8.root.json");
    repo_put(&r->files, "7.root.json", f->bytes, f->size);
    must_refuse(d, "must follow", &honest);
    r->keys[LEDGE_TUF_ROOT] = (LedgeTufKeys){0};
    repo_key(&r->keys[LEDGE_TUF_ROOT], 3, 2);
    r->version[LEDGE_TUF_ROOT] = 6;
    repo_publish_root(r, NULL);
    must_refuse(d, "another key", &honest);
    ledge__tuf_keys_free(&old);
    /* An expired root is worth nothing. */
    r->time = 0;
    assert_int_equal(update(d, d->repo.expires[LEDGE_TUF_ROOT] + REPO_DAY, true, NULL), LEDGE_ERROR_MISMATCH);
    assert_string_equal(d->err.where, "root");
    repo_clear(&honest);
}

static void wrong_software_under_another_name_is_refused(void **state)
{
    Device *d = *state;
    LedgeTuf *tuf;
    LedgeRelease *release = NULL;
    /* Signed, but for another model; the repository's own mistake or a confused deputy. */
    repo_add_target(&d->repo, "models/other/1/release.json", RELEASE, false);
    repo_publish(&d->repo, LEDGE_TUF_TARGETS, true);
    assert_int_equal(update(d, REPO_NOW, true, &tuf), LEDGE_OK);
    assert_int_equal(
        ledge__tuf_release(tuf, "other", "1", RELEASE, strlen(RELEASE), &d->err, &release),
        LEDGE_ERROR_MISMATCH);
    assert_non_null(strstr(d->err.message, "not the one asked for"));
    assert_null(release);
    ledge__tuf_free(tuf);
}

/* A root whose role asks for more keys than it has, or a key under another id, is no root. */
static void roots_that_cannot_work_are_refused(void **state)
{
    Device *d = *state;
    RepoFiles honest = {0};
    must_update(d);
    repo_copy(&honest, &d->repo.files);
    d->repo.keys[LEDGE_TUF_TARGETS].threshold = 2;
    repo_publish_root(&d->repo, NULL);
    must_refuse(d, "asks for 2 signatures", &honest);
    d->repo.keys[LEDGE_TUF_TARGETS].threshold = 1;
    d->repo.version[LEDGE_TUF_ROOT] = 1;
    repo_clear(&honest);
}

/* What is kept may be damaged or cut by a failing disk: it is fetched anew, and a root that is
 * damaged is refused with words, since going back to the anchor would be a rollback. */
static void damaged_state_is_fetched_anew(void **state)
{
    static const char *const names[] = {"timestamp", "snapshot", "targets", "time"};
    Device *d = *state;
    must_update(d);
    for (size_t i = 0; i < 4; i++) {
        repo_put(&d->kept, names[i], "{\"sig", 5);
        must_update(d);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_honest_repository_is_believed),
        TEST(arbitrary_installation_unsigned_and_foreign_files_are_refused),
        TEST(arbitrary_installation_changed_bytes_are_refused),
        TEST(endless_data_are_cut_at_the_bound_of_each_role),
        TEST(extraneous_dependencies_delegations_and_odd_paths_add_nothing),
        TEST(fast_forward_ends_when_the_stolen_keys_are_replaced),
        TEST(indefinite_freeze_ends_with_expiry),
        TEST(indefinite_freeze_is_not_helped_by_a_clock_in_1970),
        TEST(a_signed_time_for_another_nonce_is_not_believed),
        TEST(a_clock_in_the_future_expires_nothing_while_time_is_signed),
        TEST(a_malicious_mirror_can_only_refuse_to_serve),
        TEST(mix_and_match_of_versions_is_refused),
        TEST(rollback_of_every_role_is_refused),
        TEST(key_compromise_of_the_online_keys_installs_nothing),
        TEST(key_compromise_below_the_threshold_changes_no_root),
        TEST(key_compromise_of_targets_ends_with_its_replacement),
        TEST(roots_follow_one_by_one_over_many_rotations),
        TEST(wrong_software_under_another_name_is_refused),
        TEST(roots_that_cannot_work_are_refused),
        TEST(damaged_state_is_fetched_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
