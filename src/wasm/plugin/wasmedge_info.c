/* The module ledge_nn for WasmEdge: a plugin of its own that hands over to the one beside it, in
 * which the models are (wasmedge_plugin.c says why there are two). */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <wasmedge/wasmedge.h>

#define PLUGIN "libwasmedgePluginLedgeNN.so"
#define CREATE "ledge_wasmedge_create_info"

typedef WasmEdge_ModuleInstanceContext *Create(void);

static Create *find_create(void)
{
    Dl_info self;
    char path[PATH_MAX];
    static const char anchor;
    if (!dladdr(&anchor, &self) || strlen(self.dli_fname) + 64 > sizeof path)
        return NULL;
    strcpy(path, self.dli_fname);
    char *slash = strrchr(path, '/');
    strcpy(slash ? slash + 1 : path, PLUGIN);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return library ? (Create *)dlsym(library, CREATE) : NULL;
}

static WasmEdge_ModuleInstanceContext *create_info(const struct WasmEdge_ModuleDescriptor *desc)
{
    Create *create = find_create();
    (void)desc;
    return create ? create() : NULL;
}

static WasmEdge_ModuleDescriptor modules[] = {
    {.Name = "ledge_nn", .Description = "what wasi-nn does not tell", .Create = create_info},
};

static WasmEdge_PluginDescriptor plugin = {
    .Name = "ledge_nn",
    .Description = "names, shapes and places of models by ledge",
    .APIVersion = WasmEdge_Plugin_CurrentAPIVersion,
    .Version = {0, 1, 0, 0},
    .ModuleCount = sizeof modules / sizeof *modules,
    .ModuleDescriptions = modules,
};

WASMEDGE_CAPI_PLUGIN_EXPORT const WasmEdge_PluginDescriptor *WasmEdge_Plugin_GetDescriptor(void)
{
    return &plugin;
}
