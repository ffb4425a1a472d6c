/* Telling what really ran, see placement.h. */
#include "cli/placement.h"

#include <string.h>

static size_t append(char *to, size_t at, size_t size, const char *text)
{
    const int n = at < size ? snprintf(to + at, size - at, "%s", text) : 0;
    return at + (size_t)(n > 0 ? n : 0);
}

const char *cli_placement_line(const LedgePlacement *p)
{
    char text[900], part[300];
    size_t at = 0, runners = 0;
    for (size_t i = 0; i < p->n_providers; i++)
        runners += p->providers[i].nodes > 0;
    at = append(text, at, sizeof text, p->settled ? "ran on " : "asked to run on ");
    if (!runners)
        at = append(text, at, sizeof text, p->got);
    for (size_t i = 0, k = 0; i < p->n_providers; i++) {
        const LedgePlacedProvider *q = &p->providers[i];
        if (!q->nodes)
            continue;
        const bool outside = strcmp(q->name, "cpu") != 0 && *q->version;
        char nodes[64];
        snprintf(nodes, sizeof nodes, q->nodes == p->n_nodes ? "all %zu" : "%zu of %zu", q->nodes,
                 p->n_nodes);
        snprintf(part, sizeof part, "%s%s%s%s%s: %s nodes, %s MACs", k++ ? "; " : "", q->name,
                 outside ? " (" : "", outside ? q->version : "", outside ? ")" : "", nodes,
                 cli_count((uint64_t)q->macs));
        at = append(text, at, sizeof text, part);
    }
    if (p->fell_back) {
        snprintf(part, sizeof part, "; asked for %.200s", p->asked);
        append(text, at, sizeof text, part);
    }
    return cli_clean(text);
}

json_t *cli_placement_json(const LedgePlacement *p)
{
    json_t *providers = json_array(), *fallbacks = json_array();
    for (size_t i = 0; i < p->n_providers; i++) {
        const LedgePlacedProvider *q = &p->providers[i];
        json_array_append_new(
            providers, json_pack("{s:o, s:o, s:b, s:o, s:I, s:I}", "name", cli_json_text(q->name),
                                 "version", cli_json_text(q->version), "usable",
                                 (int)(q->status == LEDGE_OK), "reason", cli_json_text(q->reason),
                                 "nodes", (json_int_t)q->nodes, "macs", (json_int_t)q->macs));
    }
    for (size_t i = 0; i < p->n_fallbacks; i++) {
        const LedgeFallback *f = &p->fallbacks[i];
        json_array_append_new(fallbacks,
                              json_pack("{s:o, s:o, s:o, s:o, s:o}", "node", cli_json_text(f->node),
                                        "op_type", cli_json_text(f->op_type), "from",
                                        cli_json_text(f->from), "to", cli_json_text(f->to),
                                        "reason", cli_json_text(f->reason)));
    }
    return json_pack("{s:o, s:o, s:o, s:b, s:b, s:I, s:I, s:o, s:o, s:o}", "asked",
                     cli_json_text(p->asked), "got", cli_json_text(p->got), "source",
                     cli_json_text(p->source), "settled", (int)p->settled, "fell_back",
                     (int)p->fell_back, "nodes", (json_int_t)p->n_nodes, "macs",
                     (json_int_t)p->macs, "providers", providers, "fallbacks", fallbacks, "note",
                     cli_json_text(p->note));
}

void cli_placement_warn(const LedgePlacement *p)
{
    if (*p->note)
        cli_warn("%s", p->note);
    if (!p->fell_back)
        return;
    for (size_t i = 0; i < p->n_providers; i++)
        if (p->providers[i].status)
            cli_warn("%s does not run: %s", p->providers[i].name, p->providers[i].reason);
    if (p->n_fallbacks)
        cli_warn("%zu of %zu nodes do not run on %s, the first being %s '%.80s' on %s: %.200s",
                 p->n_fallbacks, p->n_nodes, p->fallbacks[0].from, p->fallbacks[0].op_type,
                 p->fallbacks[0].node, p->fallbacks[0].to, p->fallbacks[0].reason);
}
