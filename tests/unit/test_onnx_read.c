/* The ONNX reader: what it makes of good bytes, and the sentence it has for bad ones. */
#include "onnx_test_util.h"

#include <sys/stat.h>
#include <unistd.h>

static OnnxModel *read_ok(const Bytes *b)
{
    LedgeError err = {0};
    OnnxModel *m = NULL;
    LedgeStatus status = ledge__onnx_read_memory(NULL, b->p, b->n, &err, &m);
    if (status)
        fail_msg("%s: %s", err.where, err.message);
    return m;
}

/* The model is refused with this status, and the message or place mentions `text`. */
static void refuse(const Bytes *b, LedgeStatus expected, const char *text)
{
    LedgeError err = {0};
    OnnxModel *m = NULL;
    assert_int_equal(ledge__onnx_read_memory(NULL, b->p, b->n, &err, &m), expected);
    assert_null(m);
    assert_int_equal(err.status, expected);
    if (!strstr(err.message, text) && !strstr(err.where, text))
        fail_msg("'%s: %s' does not mention '%s'", err.where, err.message, text);
}

static void refuse_tensor(const Bytes *t, LedgeStatus expected, const char *text)
{
    Bytes m = model_around(t);
    refuse(&m, expected, text);
}

static OnnxModel *read_data(const char *name)
{
    char path[1024];
    LedgeError err = {0};
    OnnxModel *m = NULL;
    data_path(path, sizeof path, name);
    if (ledge__onnx_read_file(NULL, path, &err, &m))
        fail_msg("%s: %s: %s", path, err.where, err.message);
    return m;
}

/* ---- good bytes ---- */

static void raw_data_stays_in_the_file(void **state)
{
    (void)state;
    const float values[2] = {1, 2};
    Bytes t = tensor_head("w", LEDGE_FLOAT, 1, (int64_t[]){2});
    put_len(&t, 9, values, sizeof values);
    Bytes b = model_around(&t);
    OnnxModel *m = read_ok(&b);
    const OnnxTensor *w = m->graph.initializers;
    assert_int_equal(m->graph.n_initializers, 1);
    assert_true((const uint8_t *)w->data > b.p && (const uint8_t *)w->data < b.p + b.n);
    assert_memory_equal(w->data, values, sizeof values);
    assert_true(ledge__str_eq(w->name, "w"));
    assert_false(w->typed_storage);
    ledge__onnx_free(m);
}

static void packed_float_data_stays_in_the_file(void **state)
{
    (void)state;
    const float values[3] = {1, 2, -3};
    Bytes t = tensor_head("w", LEDGE_FLOAT, 1, (int64_t[]){3});
    put_len(&t, 4, values, sizeof values);
    Bytes b = model_around(&t);
    OnnxModel *m = read_ok(&b);
    const OnnxTensor *w = m->graph.initializers;
    assert_true((const uint8_t *)w->data > b.p && (const uint8_t *)w->data < b.p + b.n);
    assert_memory_equal(w->data, values, sizeof values);
    assert_true(w->typed_storage);
    ledge__onnx_free(m);
}

static void packed_and_unpacked_pieces_of_a_field_join(void **state)
{
    (void)state;
    const float packed[2] = {1, 2}, single = 3;
    const int64_t expected_ints[4] = {5, -1, 7, 300};
    Bytes t = tensor_head("w", LEDGE_FLOAT, 1, (int64_t[]){3});
    put_len(&t, 4, packed, sizeof packed);
    put_varint(&t, 4 << 3 | 5);
    memcpy(t.p + t.n, &single, 4);
    t.n += 4;
    Bytes b = model_around(&t);
    OnnxModel *m = read_ok(&b);
    assert_memory_equal(m->graph.initializers->data, ((float[]){1, 2, 3}), 12);
    ledge__onnx_free(m);

    Bytes i = tensor_head("i", LEDGE_INT64, 1, (int64_t[]){4}), packed_ints = {.n = 0};
    put_int(&i, 7, 5);
    put_varint(&packed_ints, (uint64_t)-1);
    put_varint(&packed_ints, 7);
    put_sub(&i, 7, &packed_ints);
    put_int(&i, 7, 300);
    b = model_around(&i);
    m = read_ok(&b);
    assert_memory_equal(m->graph.initializers->data, expected_ints, sizeof expected_ints);
    ledge__onnx_free(m);
}

static void packed_dims_are_read(void **state)
{
    (void)state;
    Bytes t = {.n = 0}, dims = {.n = 0};
    put_varint(&dims, 2);
    put_varint(&dims, 300);
    put_sub(&t, 1, &dims);
    put_int(&t, 1, 0);
    put_int(&t, 2, LEDGE_FLOAT);
    Bytes b = model_around(&t);
    OnnxModel *m = read_ok(&b);
    const OnnxTensor *w = m->graph.initializers;
    assert_int_equal(w->n_dims, 3);
    assert_int_equal(w->dims[1], 300);
    assert_int_equal(w->dims[2], 0);
    ledge__onnx_free(m);
}

static void parts_of_a_message_are_merged(void **state)
{
    (void)state;
    Bytes model = {.n = 0}, g1 = {.n = 0}, g2 = {.n = 0}, node = {.n = 0};
    put_text(&node, 4, "Relu");
    put_sub(&g1, 1, &node);
    put_text(&g1, 2, "first");
    put_sub(&g2, 1, &node);
    put_text(&g2, 2, "second");
    put_int(&model, 1, 8);
    put_sub(&model, 7, &g1);
    put_int(&model, 5, 3);
    put_sub(&model, 7, &g2);
    put_int(&model, 1, 9);
    OnnxModel *m = read_ok(&model);
    assert_int_equal(m->graph.n_nodes, 2);
    assert_true(ledge__str_eq(m->graph.name, "second"));
    assert_int_equal(m->ir_version, 9);
    ledge__onnx_free(m);
}

/* A type that changes midway must not make the two walks disagree. */
static void last_attribute_type_decides(void **state)
{
    (void)state;
    Bytes attr = {.n = 0}, node = {.n = 0}, graph = {.n = 0}, model = {.n = 0};
    put_int(&attr, 20, ONNX_ATTR_FLOATS);
    put_int(&attr, 8, 4);
    put_int(&attr, 20, ONNX_ATTR_INT);
    put_int(&attr, 8, 5);
    put_int(&attr, 20, ONNX_ATTR_INTS);
    put_int(&attr, 8, 6);
    put_sub(&node, 5, &attr);
    put_sub(&graph, 1, &node);
    put_int(&model, 1, 8);
    put_sub(&model, 7, &graph);
    OnnxModel *m = read_ok(&model);
    const OnnxAttr *a = m->graph.nodes->attrs;
    assert_int_equal(a->type, ONNX_ATTR_INTS);
    assert_int_equal(a->count, 3);
    assert_int_equal(a->ints[2], 6);
    ledge__onnx_free(m);
}

static void attribute_without_a_type_gets_it_from_its_value(void **state)
{
    (void)state;
    Bytes attr = {.n = 0}, node = {.n = 0}, graph = {.n = 0}, model = {.n = 0};
    put_text(&attr, 1, "axis");
    put_int(&attr, 3, -2);
    put_sub(&node, 5, &attr);
    put_sub(&graph, 1, &node);
    put_int(&model, 1, 3);
    put_sub(&model, 7, &graph);
    OnnxModel *m = read_ok(&model);
    assert_int_equal(m->graph.nodes->attrs->type, ONNX_ATTR_INT);
    assert_int_equal(m->graph.nodes->attrs->i, -2);
    ledge__onnx_free(m);
}

static const OnnxTensor *tensor_named(const OnnxModel *m, LedgeStr name)
{
    for (size_t i = 0; i < m->graph.n_initializers; i++) {
        const OnnxTensor *t = &m->graph.initializers[i];
        if (t->name.n == name.n && memcmp(t->name.p, name.p, name.n) == 0)
            return t;
    }
    return NULL;
}

static void typed_fields_give_the_bytes_of_raw_data_for_every_type(void **state)
{
    (void)state;
    OnnxModel *typed = read_data("types_typed.onnx"), *raw = read_data("types_raw.onnx");
    unsigned seen = 0;
    assert_int_equal(typed->graph.n_initializers, raw->graph.n_initializers);
    for (size_t i = 0; i < raw->graph.n_initializers; i++) {
        const OnnxTensor *r = &raw->graph.initializers[i], *t = tensor_named(typed, r->name);
        assert_non_null(t);
        assert_int_equal(t->data_type, r->data_type);
        assert_int_equal(t->data_size, r->data_size);
        assert_true(t->typed_storage);
        seen |= 1u << r->data_type;
        if (r->data_type == LEDGE_STRING)
            continue;
        assert_false(r->typed_storage);
        assert_memory_equal(t->data, r->data, r->data_size);
    }
    assert_int_equal(seen, (1u << 27) - 2); /* every type, 1 to 26 */
    const OnnxTensor *s = tensor_named(raw, (LedgeStr){"t_string", 8});
    assert_int_equal(s->n_strings, 6);
    assert_int_equal(s->strings[4].n, 3);
    assert_memory_equal(s->strings[4].p, "x\0y", 3);
    ledge__onnx_free(typed);
    ledge__onnx_free(raw);
}

static const OnnxAttr *attr_named(const OnnxNode *n, const char *name)
{
    for (size_t i = 0; i < n->n_attrs; i++)
        if (ledge__str_eq(n->attrs[i].name, name))
            return &n->attrs[i];
    return NULL;
}

static void every_part_of_the_format_is_read(void **state)
{
    (void)state;
    OnnxModel *m = read_data("everything.onnx");
    const OnnxGraph *g = &m->graph;
    const OnnxNode *n = g->nodes;
    assert_int_equal(n->n_inputs, 3);
    assert_int_equal(n->inputs[1].n, 0);
    assert_int_equal(attr_named(n, "f")->f == 1.5f, 1);
    assert_int_equal(attr_named(n, "i")->i, -7);
    assert_int_equal(attr_named(n, "zero_i")->count, 1);
    assert_true(ledge__str_eq(attr_named(n, "s")->s, "text"));
    assert_int_equal(attr_named(n, "ints")->ints[1], -2);
    assert_int_equal(attr_named(n, "strs")->count, 2);
    assert_int_equal(attr_named(n, "t")->tensors->data_size, 8);
    assert_int_equal(attr_named(n, "gs")->count, 2);
    assert_int_equal(attr_named(n, "g")->graphs->n_nodes, 1);
    assert_int_equal(attr_named(n, "sp")->sparse_tensors->dims[0], 4);
    assert_int_equal(attr_named(n, "tp")->types->kind, ONNX_TYPE_SEQUENCE);
    assert_int_equal(attr_named(n, "none")->type, ONNX_ATTR_INTS);
    assert_int_equal(attr_named(n, "none")->count, 0);
    assert_int_equal(g->n_sparse_initializers, 1);
    assert_true(ledge__str_eq(g->quant_annotations->entries->value, "s"));
    const OnnxType *x = &g->inputs[0].type;
    assert_true(x->has_shape);
    assert_int_equal(x->dims[0].value, -1);
    assert_true(ledge__str_eq(x->dims[0].param, "N"));
    assert_int_equal(x->dims[1].value, -1);
    assert_int_equal(x->dims[2].value, 3);
    assert_int_equal(g->inputs[2].type.kind, ONNX_TYPE_OPTIONAL);
    assert_int_equal(g->inputs[2].type.element->kind, ONNX_TYPE_SEQUENCE);
    assert_int_equal(g->inputs[3].type.kind, ONNX_TYPE_MAP);
    assert_int_equal(g->inputs[3].type.key_type, LEDGE_STRING);
    assert_int_equal(g->inputs[4].type.kind, ONNX_TYPE_SPARSE_TENSOR);
    assert_int_equal(g->inputs[5].type.kind, ONNX_TYPE_NONE);
    assert_false(g->outputs[0].type.has_shape);
    assert_int_equal(m->n_metadata, 2);
    assert_int_equal(ledge__onnx_opset(m, "ai.onnx"), 21);
    assert_int_equal(ledge__onnx_opset(m, "ledge.test"), 1);
    assert_int_equal(ledge__onnx_opset(m, "absent"), 0);
    ledge__onnx_free(m);
}

static void functions_keep_defaults_and_references(void **state)
{
    (void)state;
    OnnxModel *m = read_data("function.onnx");
    assert_int_equal(m->n_functions, 1);
    const OnnxFunction *f = m->functions;
    assert_true(ledge__str_eq(f->attributes[0], "unset"));
    assert_true(f->attr_defaults->f == 0.25f);
    assert_true(ledge__str_eq(f->nodes->attrs->ref_attr_name, "slope"));
    assert_int_equal(f->nodes->attrs->count, 0);
    ledge__onnx_free(m);
}

/* ---- bad bytes ---- */

static void empty_file_is_refused(void **state)
{
    (void)state;
    refuse(&(Bytes){.n = 0}, LEDGE_ERROR_FORMAT, "empty");
}

static void text_is_refused(void **state)
{
    (void)state;
    Bytes b = {.n = 0};
    memcpy(b.p, "this is no model", b.n = 16);
    refuse(&b, LEDGE_ERROR_FORMAT, "no ONNX model");
}

static void every_cut_of_a_model_is_refused_or_read(void **state)
{
    (void)state;
    char path[1024];
    size_t size;
    unsigned refused = 0;
    data_path(path, sizeof path, "everything.onnx");
    uint8_t *bytes = read_whole(path, &size);
    for (size_t n = 0; n < size; n++) {
        uint8_t *cut = malloc(n ? n : 1); /* of its own, so that ASan sees a read past it */
        OnnxModel *m = NULL;
        if (n)
            memcpy(cut, bytes, n);
        refused += ledge__onnx_read_memory(NULL, cut, n, NULL, &m) != LEDGE_OK;
        ledge__onnx_free(m);
        free(cut);
    }
    assert_true(refused > size - 60); /* few cuts fall between two fields of the model */
    free(bytes);
}

static void huge_tensor_in_a_small_file_is_refused(void **state)
{
    (void)state;
    Bytes t = tensor_head("conv1.weight", LEDGE_FLOAT, 2, (int64_t[]){30000, 25000});
    put_len(&t, 9, "1234", 4);
    refuse_tensor(&t, LEDGE_ERROR_FORMAT, "conv1.weight");
    refuse_tensor(&t, LEDGE_ERROR_FORMAT, "3000000000");
    refuse_tensor(&t, LEDGE_ERROR_FORMAT, "at byte");
}

static void declared_length_past_the_end_is_refused(void **state)
{
    (void)state;
    Bytes t = tensor_head("w", LEDGE_FLOAT, 1, (int64_t[]){1});
    put_varint(&t, 9 << 3 | 2);
    put_varint(&t, 3000000000u);
    refuse_tensor(&t, LEDGE_ERROR_FORMAT, "3000000000");
}

static void negative_and_overflowing_dims_are_refused(void **state)
{
    (void)state;
    Bytes a = tensor_head("w", LEDGE_FLOAT, 1, (int64_t[]){-1});
    refuse_tensor(&a, LEDGE_ERROR_FORMAT, "negative");
    Bytes b = tensor_head("w", LEDGE_FLOAT, 3, (int64_t[]){1 << 30, 1 << 30, 1 << 30});
    refuse_tensor(&b, LEDGE_ERROR_FORMAT, "multiply");
    Bytes c = tensor_head("w", LEDGE_COMPLEX128, 1, (int64_t[]){(int64_t)1 << 60});
    refuse_tensor(&c, LEDGE_ERROR_FORMAT, "multiply");
}

static void data_of_the_wrong_size_or_field_is_refused(void **state)
{
    (void)state;
    Bytes a = tensor_head("w", LEDGE_INT64, 1, (int64_t[]){2});
    put_int(&a, 7, 1);
    refuse_tensor(&a, LEDGE_ERROR_FORMAT, "int64_data holds 1");
    Bytes b = tensor_head("w", LEDGE_FLOAT, 1, (int64_t[]){1});
    put_int(&b, 5, 1);
    refuse_tensor(&b, LEDGE_ERROR_FORMAT, "float_data holds 0");
    Bytes c = tensor_head("w", LEDGE_FLOAT, 1, (int64_t[]){2});
    put_int(&c, 4, 1);
    refuse_tensor(&c, LEDGE_ERROR_FORMAT, "float_data");
    Bytes d = tensor_head("w", LEDGE_STRING, 1, (int64_t[]){2});
    put_text(&d, 6, "one");
    refuse_tensor(&d, LEDGE_ERROR_FORMAT, "2 strings");
    Bytes e = tensor_head("w", LEDGE_INT4, 1, (int64_t[]){3});
    put_len(&e, 9, "x", 1);
    refuse_tensor(&e, LEDGE_ERROR_FORMAT, "2 bytes");
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    static Bytes level, next; /* a sequence of sequences of … */
    level.n = next.n = 0;
    for (int i = 0; i < 200; i++) {
        Bytes inner = {.n = 0};
        put_sub(&inner, 1, &level);
        next.n = 0;
        put_sub(&next, 4, &inner);
        level = next;
    }
    Bytes value = {.n = 0}, graph = {.n = 0}, model = {.n = 0};
    put_sub(&value, 2, &level);
    put_sub(&graph, 11, &value);
    put_sub(&model, 7, &graph);
    refuse(&model, LEDGE_ERROR_LIMIT, "nested");
}

static void structures_out_of_proportion_are_refused(void **state)
{
    (void)state;
    const size_t n = 60000; /* empty nodes: 2 bytes of file, 200 of memory each */
    uint8_t *nodes = malloc(2 * n + 32), *p = nodes;
    LedgeError err = {0};
    OnnxModel *m = NULL;
    Bytes head = {.n = 0};
    put_varint(&head, 7 << 3 | 2);
    put_varint(&head, 2 * n);
    memcpy(p, head.p, head.n);
    for (p += head.n; p < nodes + head.n + 2 * n; p += 2)
        p[0] = 1 << 3 | 2, p[1] = 0;
    assert_int_equal(ledge__onnx_read_memory(NULL, nodes, 2 * n + head.n, &err, &m),
                     LEDGE_ERROR_LIMIT);
    free(nodes);
}

static void wrong_wire_types_are_refused(void **state)
{
    (void)state;
    Bytes a = {.n = 0}, b = {.n = 0}, c = {.n = 0};
    put_text(&a, 1, "ir");
    refuse(&a, LEDGE_ERROR_FORMAT, "ModelProto");
    put_int(&b, 7, 3);
    refuse(&b, LEDGE_ERROR_FORMAT, "field 7");
    put_varint(&c, 7 << 3 | 3); /* a group */
    refuse(&c, LEDGE_ERROR_FORMAT, "unknown kind of field");
}

static void versions_outside_the_range_are_refused(void **state)
{
    (void)state;
    const struct {
        int64_t ir, opset;
        bool ok;
    } cases[] = {{3, 7, true},   {13, 26, true}, {2, 7, false},
                 {14, 7, false}, {8, 6, false},  {8, 27, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Bytes model = {.n = 0}, opset = {.n = 0};
        LedgeError err = {0};
        put_int(&model, 1, cases[i].ir);
        put_int(&opset, 2, cases[i].opset);
        put_sub(&model, 8, &opset);
        OnnxModel *m = read_ok(&model);
        assert_int_equal(ledge__onnx_check_versions(m, &err),
                         cases[i].ok ? LEDGE_OK : LEDGE_ERROR_UNSUPPORTED);
        assert_int_equal(err.message[0] == '\0', cases[i].ok);
        ledge__onnx_free(m);
    }
}

/* ---- external data ---- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ledge-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    char path[200];
    snprintf(path, sizeof path, "%s/model", folder);
    return mkdir(path, 0700);
}

static int remove_folder(void **state)
{
    (void)state;
    const char *names[] = {"model/m.onnx", "model/w.bin", "model/out",
                           "model/in",     "model",       "secret"};
    char path[200];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
    }
    return rmdir(folder);
}

static void write_bytes(const char *name, const void *p, size_t n)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}

/* Reads model/m.onnx with a float tensor of 2 elements stored in `location`. */
static LedgeStatus read_external(const char *location, const char *offset, const char *length,
                                 LedgeError *err)
{
    const char *keys[] = {"location", "offset", "length"};
    const char *values[] = {location, offset, length};
    Bytes t = tensor_head("w", LEDGE_FLOAT, 1, (int64_t[]){2});
    for (int i = 0; i < 3; i++) {
        Bytes e = {.n = 0};
        if (!values[i])
            continue;
        put_text(&e, 1, keys[i]);
        put_text(&e, 2, values[i]);
        put_sub(&t, 13, &e);
    }
    put_int(&t, 14, 1);
    Bytes b = model_around(&t);
    char path[200];
    OnnxModel *m = NULL;
    const float expected[2] = {3, 4};
    write_bytes("model/m.onnx", b.p, b.n);
    snprintf(path, sizeof path, "%s/model/m.onnx", folder);
    LedgeStatus status = ledge__onnx_read_file(NULL, path, err, &m);
    if (!status)
        assert_memory_equal(m->graph.initializers->data, expected, sizeof expected);
    ledge__onnx_free(m);
    return status;
}

static void external_data_inside_the_folder_is_mapped(void **state)
{
    (void)state;
    LedgeError err = {0};
    char link[200];
    write_bytes("model/w.bin", (float[]){1, 2, 3, 4}, 16);
    snprintf(link, sizeof link, "%s/model/in", folder);
    assert_int_equal(symlink("w.bin", link), 0);
    assert_int_equal(read_external("w.bin", "8", "8", &err), LEDGE_OK);
    assert_int_equal(read_external("w.bin", "8", NULL, &err), LEDGE_OK);
    assert_int_equal(read_external("./w.bin", "8", NULL, &err), LEDGE_OK);
    assert_int_equal(read_external("in", "8", "8", &err), LEDGE_OK);
}

static void external_data_past_its_end_is_refused(void **state)
{
    (void)state;
    LedgeError err = {0};
    write_bytes("model/w.bin", (float[]){1, 2, 3, 4}, 16);
    assert_int_equal(read_external("w.bin", "12", "8", &err), LEDGE_ERROR_FORMAT);
    assert_non_null(strstr(err.message, "past the end"));
    assert_int_equal(read_external("w.bin", "17", "8", &err), LEDGE_ERROR_FORMAT);
    assert_int_equal(read_external("w.bin", "9223372036854775807", "8", &err), LEDGE_ERROR_FORMAT);
    assert_int_equal(read_external("w.bin", "99999999999999999999", "8", &err), LEDGE_ERROR_FORMAT);
    assert_int_equal(read_external("w.bin", "-8", "8", &err), LEDGE_ERROR_FORMAT);
    assert_int_equal(read_external("w.bin", "0", "4", &err), LEDGE_ERROR_FORMAT);
    assert_int_equal(read_external(NULL, "0", "8", &err), LEDGE_ERROR_FORMAT);
    assert_int_equal(read_external("absent", "0", "8", &err), LEDGE_ERROR_IO);
}

static void external_data_outside_the_folder_is_refused(void **state)
{
    (void)state;
    LedgeError err = {0};
    char path[200];
    write_bytes("secret", (float[]){3, 4}, 8);
    snprintf(path, sizeof path, "%s/model/out", folder);
    assert_int_equal(symlink("../secret", path), 0);
    assert_int_equal(read_external("../secret", "0", "8", &err), LEDGE_ERROR_FORMAT);
    assert_int_equal(read_external("a/../../secret", "0", "8", &err), LEDGE_ERROR_FORMAT);
    assert_int_equal(read_external("..", "0", "8", &err), LEDGE_ERROR_FORMAT);
    assert_int_equal(read_external("out", "0", "8", &err), LEDGE_ERROR_FORMAT);
    assert_non_null(strstr(err.message, "leads out"));
    snprintf(path, sizeof path, "%s/secret", folder);
    assert_int_equal(read_external(path, "0", "8", &err), LEDGE_ERROR_FORMAT);
    assert_non_null(strstr(err.message, "absolute"));
    assert_int_equal(read_external(".", "0", "8", &err), LEDGE_ERROR_IO);
}

static void external_data_from_memory_is_refused(void **state)
{
    (void)state;
    Bytes t = tensor_head("w", LEDGE_FLOAT, 1, (int64_t[]){1}), e = {.n = 0};
    put_text(&e, 1, "location");
    put_text(&e, 2, "w.bin");
    put_sub(&t, 13, &e);
    put_int(&t, 14, 1);
    refuse_tensor(&t, LEDGE_ERROR_FORMAT, "load the model by its path");
}

static void missing_file_and_folder_are_io_errors(void **state)
{
    (void)state;
    LedgeError err = {0};
    OnnxModel *m = NULL;
    assert_int_equal(ledge__onnx_read_file(NULL, "/nonexistent/m.onnx", &err, &m), LEDGE_ERROR_IO);
    assert_int_equal(ledge__onnx_read_file(NULL, "/tmp", &err, &m), LEDGE_ERROR_IO);
    assert_string_equal(err.message, "not a regular file");
}

/* ---- values ---- */

static void sequences_optionals_and_strings_become_tensors(void **state)
{
    (void)state;
    OnnxType tensor = {.kind = ONNX_TYPE_TENSOR, .elem_type = LEDGE_STRING};
    OnnxType sequence = {.kind = ONNX_TYPE_SEQUENCE, .element = &tensor};
    OnnxType optional = {.kind = ONNX_TYPE_OPTIONAL, .element = &sequence};
    Bytes t = tensor_head("", LEDGE_STRING, 1, (int64_t[]){2}), seq = {.n = 0}, opt = {.n = 0};
    LedgeTensor v;
    put_text(&t, 6, "ab");
    put_text(&t, 6, "");
    put_sub(&seq, 3, &t);
    put_sub(&seq, 3, &t);
    put_int(&opt, 2, 3);
    put_sub(&opt, 5, &seq);
    LedgeArena *arena = ledge__arena_new(NULL);
    assert_int_equal(ledge__onnx_read_value(arena, &optional, opt.p, opt.n, NULL, &v), LEDGE_OK);
    assert_int_equal(v.type, LEDGE_OPTIONAL);
    assert_int_equal(v.dims[0], 1);
    assert_int_equal(v.dims[1], LEDGE_SEQUENCE);
    const LedgeTensor *s = v.data;
    assert_int_equal(s->type, LEDGE_SEQUENCE);
    assert_int_equal(s->dims[0], 2);
    assert_int_equal(s->dims[1], LEDGE_STRING);
    const LedgeTensor *e = (const LedgeTensor *)s->data + 1;
    assert_int_equal(e->dims[0], 2);
    assert_memory_equal(((const LedgeString *)e->data)[0].data, "ab", 2);
    assert_int_equal(((const LedgeString *)e->data)[1].size, 0);

    Bytes none = {.n = 0};
    put_int(&none, 2, 1);
    assert_int_equal(ledge__onnx_read_value(arena, &optional, none.p, none.n, NULL, &v), LEDGE_OK);
    assert_int_equal(v.dims[0], 0);
    ledge__arena_free(arena);
}

static void values_of_too_many_dimensions_are_refused(void **state)
{
    (void)state;
    LedgeError err = {0};
    LedgeTensor v;
    Bytes t = tensor_head("x", LEDGE_FLOAT, 9, (int64_t[]){1, 1, 1, 1, 1, 1, 1, 1, 1});
    put_len(&t, 9, "1234", 4);
    LedgeArena *arena = ledge__arena_new(NULL);
    assert_int_equal(ledge__onnx_read_value(arena, NULL, t.p, t.n, &err, &v), LEDGE_ERROR_LIMIT);
    ledge__arena_free(arena);
}

/* ---- lack of memory ---- */

static void each_failed_allocation_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    const char *names[] = {"everything.onnx", "types_typed.onnx", "external.onnx"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char path[1024];
        data_path(path, sizeof path, names[k]);
        for (long n = 0;; n++) {
            Failing f = {n, 0, false};
            LedgeAllocator a = failing_allocator(&f);
            LedgeError err = {0};
            OnnxModel *m = NULL;
            LedgeStatus status = ledge__onnx_read_file(&a, path, &err, &m);
            ledge__onnx_free(m);
            assert_int_equal(f.live, 0);
            if (!f.refused) {
                assert_int_equal(status, LEDGE_OK);
                assert_true(n > 0);
                break;
            }
            assert_int_equal(status, LEDGE_ERROR_MEMORY);
            assert_null(m);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_data_stays_in_the_file),
        cmocka_unit_test(packed_float_data_stays_in_the_file),
        cmocka_unit_test(packed_and_unpacked_pieces_of_a_field_join),
        cmocka_unit_test(packed_dims_are_read),
        cmocka_unit_test(parts_of_a_message_are_merged),
        cmocka_unit_test(last_attribute_type_decides),
        cmocka_unit_test(attribute_without_a_type_gets_it_from_its_value),
        cmocka_unit_test(typed_fields_give_the_bytes_of_raw_data_for_every_type),
        cmocka_unit_test(every_part_of_the_format_is_read),
        cmocka_unit_test(functions_keep_defaults_and_references),
        cmocka_unit_test(empty_file_is_refused),
        cmocka_unit_test(text_is_refused),
        cmocka_unit_test(every_cut_of_a_model_is_refused_or_read),
        cmocka_unit_test(huge_tensor_in_a_small_file_is_refused),
        cmocka_unit_test(declared_length_past_the_end_is_refused),
        cmocka_unit_test(negative_and_overflowing_dims_are_refused),
        cmocka_unit_test(data_of_the_wrong_size_or_field_is_refused),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(structures_out_of_proportion_are_refused),
        cmocka_unit_test(wrong_wire_types_are_refused),
        cmocka_unit_test(versions_outside_the_range_are_refused),
        cmocka_unit_test_setup_teardown(external_data_inside_the_folder_is_mapped, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(external_data_past_its_end_is_refused, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(external_data_outside_the_folder_is_refused, make_folder,
                                        remove_folder),
        cmocka_unit_test(external_data_from_memory_is_refused),
        cmocka_unit_test(missing_file_and_folder_are_io_errors),
        cmocka_unit_test(sequences_optionals_and_strings_become_tensors),
        cmocka_unit_test(values_of_too_many_dimensions_are_refused),
        cmocka_unit_test(each_failed_allocation_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
