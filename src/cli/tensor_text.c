/* Tensors and their descriptions in words and numbers. */
#include "cli/cli.h"

#include <inttypes.h>
#include <string.h>

static const char *shape_text(LedgeType type, int32_t rank, const int64_t *dims,
                              const char *const *names)
{
    char text[600];
    size_t n = (size_t)snprintf(text, sizeof text, "%s", ledge_type_name(type));
    if (rank < 0 || type == LEDGE_SEQUENCE || type == LEDGE_OPTIONAL)
        return cli_clean(text);
    n += (size_t)snprintf(text + n, sizeof text - n, " [");
    for (int32_t i = 0; i < rank && n < sizeof text - 80; i++) {
        const char *comma = i ? "," : "";
        if (dims[i] >= 0)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%" PRId64, comma, dims[i]);
        else
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%.40s", comma,
                                  names && names[i] ? names[i] : "?");
    }
    snprintf(text + n, sizeof text - n, "]");
    return cli_clean(text);
}

const char *cli_info_text(const LedgeTensorInfo *info)
{
    return shape_text(info->type, info->rank, info->dims, info->dim_names);
}

const char *cli_tensor_text(const LedgeTensor *t)
{
    return shape_text(t->type, t->rank, t->dims, NULL);
}

json_t *cli_info_json(const LedgeTensorInfo *info)
{
    json_t *dims = info->rank < 0 ? json_null() : json_array();
    for (int32_t i = 0; i < info->rank; i++) {
        json_t *d = info->dims[i] >= 0   ? json_integer(info->dims[i])
                    : info->dim_names[i] ? cli_json_text(info->dim_names[i])
                                         : json_null();
        json_array_append_new(dims, d);
    }
    return json_pack("{s:o, s:s, s:o}", "name", cli_json_text(info->name), "type",
                     ledge_type_name(info->type), "shape", dims);
}

bool cli_is_number(LedgeType type)
{
    switch (type) {
    case LEDGE_FLOAT:
    case LEDGE_DOUBLE:
    case LEDGE_FLOAT16:
    case LEDGE_BFLOAT16:
    case LEDGE_BOOL:
    case LEDGE_UINT8:
    case LEDGE_INT8:
    case LEDGE_UINT16:
    case LEDGE_INT16:
    case LEDGE_UINT32:
    case LEDGE_INT32:
    case LEDGE_UINT64:
    case LEDGE_INT64:
        return true;
    default:
        return false;
    }
}
