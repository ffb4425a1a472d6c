/* Configuration files: what they say arrives, what is wrong is refused with its place. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "serve/serve_config.h"

static LedgeStatus parse(const char *text, LedgeError *err, LedgeServeConfig *c)
{
    ledge__serve_config_init(c);
    return ledge__serve_config_parse("/etc/x/serve.json", text, strlen(text), err, c);
}

static void everything_arrives(void **state)
{
    (void)state;
    LedgeServeConfig c;
    LedgeError err = {0};
    static char text[1 << 14];
    FILE *f = fopen(LEDGE_TEST_DATA "/../fuzz/corpus/serve_config/full.json", "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    const LedgeStatus s = parse(text, &err, &c);
    assert_string_equal(err.message, "");
    assert_int_equal(s, LEDGE_OK);
    assert_string_equal(c.host, "127.0.0.1");
    assert_true(c.port == 0 && c.workers == 2 && c.queue == 64 && c.connections == 100);
    assert_true(c.deadline == 5.5 && c.body_mb == 8 && c.idle == 10 && c.drain == 3);
    assert_string_equal(c.token_file, "/etc/x/token"); /* from the file's own folder */
    assert_string_equal(c.repository, "/srv/models");
    assert_string_equal(c.state, "/etc/x/state");
    assert_string_equal(c.certificate, "/etc/x/c.pem");
    assert_string_equal(c.defaults.cpu, "avx2");
    assert_int_equal(c.n_models, 4);
    const LedgeModelConfig *m = c.models;
    assert_string_equal(m[0].path, "/etc/x/a.onnx");
    assert_true(m[0].options.batch == 8 && fabs(m[0].options.delay - 0.002) < 1e-12);
    assert_true(m[0].options.cache_bytes == 16000000 && m[0].options.cache_ttl == 60);
    assert_true(m[0].options.deadline == 1 && m[0].options.drift && m[0].options.threads == 1);
    assert_string_equal(m[1].version, "3");
    assert_true(m[1].options.batch == 4); /* "defaults" come behind the models in the file */
    assert_true(m[1].options.drift_options.window == 2000 &&
                m[1].options.drift_options.threshold[LEDGE_DRIFT_CLASS_PSI].high == 0.6);
    assert_true(m[2].path[0] == '\0' && !m[2].options.drift);
    const LedgeGuestSettings *g = &m[0].options.guest;
    assert_string_equal(g->path, "/etc/x/pre.lwm");
    assert_string_equal(g->key, "/etc/x/me.pub");
    assert_true(g->pages == 64 && g->time == 0.25 && g->fuel == 0.125 && !g->beside);
    assert_string_equal(m[1].options.guest.path, "/etc/x/both.lwm"); /* a path alone */
    assert_true(m[2].options.guest.beside);
    assert_string_equal(m[2].options.guest.path, "/etc/x/all.lwm"); /* of "defaults" */
    assert_string_equal(m[3].options.guest.path, "");
    const LedgeLadderOptions *l = c.ladders;
    assert_true(c.n_ladders == 1 && l->n == 2 && fabs(l->adaptive.budget - 0.02) < 1e-12);
    assert_true(l->adaptive.confidence == LEDGE_CONFIDENCE_MARGIN && l->adaptive.threshold == 0.6);
    assert_string_equal(l->model[1], "large");
    assert_true(c.alerts.log && c.alerts.cooldown == 60 && c.alerts.repeat == 3600);
    assert_string_equal(c.samples.folder, "/etc/x/kept");
    assert_string_equal(c.samples.key, "/etc/ledge/samples.pub");
    assert_true(c.samples.below == 0.7 && c.samples.per_hour == 60 && c.samples.mb == 16.5);
    assert_string_equal(c.alerts.exec, "/etc/x/tell.sh");
    assert_string_equal(c.alerts.alertmanager, "http://127.0.0.1:9093");
    ledge__serve_config_free(&c);
}

static void faults_have_a_place_and_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *where, *message;
    } all[] = {
        {"{\n  \"hots\": \"x\"}", ":2:3", "did you mean \"host\""},
        {"{\"port\": 1,\n\n  \"port\": 2}", ":3:3", "given twice"},
        {"{\"port\": 70000}", ":1:10", "\"port\" takes a whole number from 0 to 65535"},
        {"{\"port\": 1.5}", ":1:10", "whole number"},
        {"{\"port\": \"8000\"}", ":1:10", "a number is wanted"},
        {"{\"zzzzzzzz\": 1}", ":1:2", "docs/serve.md"},
        {"{\"samples\": {\"folder\": \"x\"}}", ":1:12", "\"samples\" needs \"folder\" and \"key\""},
        {"{\"samples\": {\"folder\": \"x\", \"key\": \"k\", \"below\": 2}}", ":1:50",
         "from 0 to 1"},
        {"{\"models\": [{\"name\": \"../x\"}]}", ":1:22", "a name is made of"},
        {"{\"models\": [{\"path\": \"x\"}]}", ":1:13", "needs a \"name\""},
        {"{\"models\": [{\"name\": \"a\", \"bach\": 3}]}", ":1:27", "did you mean \"batch\""},
        {"{\"models\": [{\"name\":\"a\",\"path\":\"x\"},{\"name\":\"a\",\"path\":\"y\"}]}", ":1:37",
         "same model"},
        {"{\"defaults\": {\"drift\": {\"thresholds\": {\"clas_psi\": [1, 2]}}}}", ":1:40",
         "did you mean \"class_psi\""},
        {"{\"defaults\": {\"drift\": {\"thresholds\": {\"class_psi\": [2, 1]}}}}", "",
         "high not below warning"},
        {"{\"defaults\": {\"drift\": {\"window\": 100}}}", ":1:24", "smaller than the minimum"},
        {"{\"defaults\": {\"guest\": 3}}", ":1:24", "an object is wanted"},
        {"{\"defaults\": {\"guest\": {\"file\": \"x\"}}}", ":1:25", "unknown key \"file\""},
        {"{\"defaults\": {\"guest\": {\"pages\": 65537}}}", ":1:34", "1 to 65536"},
        {"{\"defaults\": {\"guest\": {\"time_ms\": 0}}}", ":1:36", "0.1 to 1000000"},
        {"{\"tls\": {\"key\": \"x\"}}", "", "\"certificate\" and \"key\""},
        {"{\"ladders\": [{\"name\": \"l\", \"models\": [\"a\"]}]}", "", "two \"models\" or more"},
        {"{\"ladders\": [{\"name\": \"l\", \"confidence\": \"entropy\"}]}", ":1:42", "\"margin\""},
        {"{\"host\": \"\"}", "", "empty"},
        {"{\"host\": 3}", "", "a string is wanted"},
        {"{\"host\": \"a\"", "", "missing"},
        {"{} x", ":1:4", "something follows"},
        {"", ":1:1", "an object is wanted"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        LedgeServeConfig c;
        LedgeError err = {0};
        assert_int_equal(parse(all[i].text, &err, &c), LEDGE_ERROR_FORMAT);
        if (!strstr(err.where, all[i].where) || !strstr(err.message, all[i].message))
            fail_msg("%s: %s: %s", all[i].text, err.where, err.message);
        assert_true(c.n_models == 0 && c.port == -1);
    }
}

static void files_have_bounds(void **state)
{
    (void)state;
    LedgeServeConfig c;
    LedgeError err = {0};
    char *text = malloc(LEDGE_CONFIG_MAX + 2);
    assert_non_null(text);
    memset(text, ' ', LEDGE_CONFIG_MAX + 1);
    text[LEDGE_CONFIG_MAX + 1] = '\0';
    assert_int_equal(parse(text, &err, &c), LEDGE_ERROR_LIMIT);
    char *at = text + sprintf(text, "{\"models\":[");
    for (int i = 0; i < LEDGE_CONFIG_MODELS + 1; i++)
        at += sprintf(at, "%s{\"name\":\"m%d\"}", i ? "," : "", i);
    strcpy(at, "]}");
    assert_int_equal(parse(text, &err, &c), LEDGE_ERROR_FORMAT);
    assert_non_null(strstr(err.message, "more than 256"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_arrives),
        cmocka_unit_test(faults_have_a_place_and_a_reason),
        cmocka_unit_test(files_have_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
