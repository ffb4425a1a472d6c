/* The table of known providers and their options. Names and defaults are ONNX Runtime's own:
 * onnxruntime_c_api.h and the page of each execution provider in its documentation. */
#include "engine/provider/known.h"

#include <string.h>

const LedgeProviderOption ledge__ort_session_options[] = {
    {"graph_optimization_level", "all", "disable, basic, extended, layout or all"},
    {"inter_op_num_threads", "1", "threads over independent nodes"},
    {"enable_cpu_mem_arena", "1", "keep memory for the next run"},
    {"enable_mem_pattern", "1", "plan memory by the first run"},
    {"allow_spinning", "1", "workers spin for work before they sleep"},
};
const size_t ledge__ort_session_option_count =
    sizeof ledge__ort_session_options / sizeof *ledge__ort_session_options;

static const LedgeProviderOption cuda_options[] = {
    {"device_id", "0", "which GPU"},
    {"gpu_mem_limit", "", "bytes of its memory arena"},
    {"arena_extend_strategy", "kNextPowerOfTwo", "or kSameAsRequested"},
    {"cudnn_conv_algo_search", "EXHAUSTIVE", "or HEURISTIC, DEFAULT"},
    {"cudnn_conv_use_max_workspace", "1", "let cuDNN use all the memory it likes"},
    {"cudnn_conv1d_pad_to_nc1d", "0", "how 1-D convolutions are padded"},
    {"do_copy_in_default_stream", "1", "copy in the stream that computes"},
    {"enable_cuda_graph", "0", "record the run once and replay it"},
    {"enable_skip_layer_norm_strict_mode", "0", "accuracy before speed there"},
    {"fuse_conv_bias", "0", "bias inside the convolution"},
    {"prefer_nhwc", "0", "convolutions in NHWC"},
    {"sdpa_kernel", "0", "which attention kernels"},
    {"tunable_op_enable", "0", "choose kernels by trial"},
    {"tunable_op_tuning_enable", "0", "the trials themselves"},
    {"tunable_op_max_tuning_duration_ms", "0", "bound on them"},
    {"use_ep_level_unified_stream", "0", "one stream for all"},
    {"use_tf32", "1", "TF32 in fp32 products"},
};

static const LedgeProviderOption tensorrt_options[] = {
    {"device_id", "0", "which GPU"},
    {"trt_fp16_enable", "0", "compute in fp16"},
    {"trt_bf16_enable", "0", "compute in bf16"},
    {"trt_int8_enable", "0", "compute in int8"},
    {"trt_int8_calibration_table_name", "", "ranges for int8"},
    {"trt_int8_use_native_calibration_table", "0", "the table is TensorRT's own"},
    {"trt_max_workspace_size", "1073741824", "bytes that building may use"},
    {"trt_max_partition_iterations", "1000", "tries at cutting the graph"},
    {"trt_min_subgraph_size", "1", "smallest part to take"},
    {"trt_engine_cache_enable", "0", "keep built engines in files"},
    {"trt_engine_cache_path", "", "the folder they are kept in"},
    {"trt_engine_cache_prefix", "", "how their names begin"},
    {"trt_engine_hw_compatible", "0", "engines that run on other GPUs too"},
    {"trt_timing_cache_enable", "0", "keep what building measured"},
    {"trt_timing_cache_path", "", "the folder that is kept in"},
    {"trt_force_timing_cache", "0", "take it from another GPU of the kind"},
    {"trt_builder_optimization_level", "3", "0 to 5: time for building"},
    {"trt_build_heuristics_enable", "0", "build quicker"},
    {"trt_auxiliary_streams", "-1", "streams besides the main one"},
    {"trt_cuda_graph_enable", "0", "record the run once and replay it"},
    {"trt_context_memory_sharing_enable", "0", "parts share memory"},
    {"trt_detailed_build_log", "0", "say more while building"},
    {"trt_dla_enable", "0", "use the deep learning accelerator"},
    {"trt_dla_core", "0", "which one"},
    {"trt_dump_subgraphs", "0", "write the parts as ONNX"},
    {"trt_dump_ep_context_model", "0", "write a model with the engines inside"},
    {"trt_ep_context_file_path", "", "where to"},
    {"trt_ep_context_embed_mode", "0", "engines in that file or beside it"},
    {"trt_extra_plugin_lib_paths", "", "libraries of plug-ins"},
    {"trt_force_sequential_engine_build", "0", "one engine after the other"},
    {"trt_layer_norm_fp32_fallback", "0", "layer normalisation in fp32"},
    {"trt_op_types_to_exclude", "", "operators left to others"},
    {"trt_profile_min_shapes", "", "smallest shapes, input:1x3x224x224"},
    {"trt_profile_opt_shapes", "", "usual shapes"},
    {"trt_profile_max_shapes", "", "largest shapes"},
    {"trt_sparsity_enable", "0", "use 2:4 sparse weights"},
    {"trt_tactic_sources", "", "which kernels may be tried"},
    {"trt_weight_stripped_engine_enable", "0", "engines without weights"},
};

static const LedgeProviderOption openvino_options[] = {
    {"device_type", "", "CPU, GPU, NPU, AUTO:GPU,CPU; default: as the library was built"},
    {"precision", "", "FP32, FP16 or ACCURACY"},
    {"num_of_threads", "", "inference threads"},
    {"num_streams", "1", "parallel requests"},
    {"cache_dir", "", "folder for compiled models"},
    {"load_config", "", "JSON with OpenVINO's own properties"},
    {"model_priority", "DEFAULT", "LOW, MEDIUM, HIGH"},
    {"enable_opencl_throttling", "false", "spare the CPU while the GPU works"},
    {"disable_dynamic_shapes", "false", "compile for each shape anew"},
    {"enable_qdq_optimizer", "false", "QDQ models on an NPU"},
    {"reshape_input", "", "fix input shapes, data[1,3,60,80]"},
    {"layout", "", "layouts of inputs and outputs"},
};

static const LedgeProviderOption nnapi_options[] = {
    {"use_fp16", "0", "compute in fp16"},
    {"use_nchw", "0", "keep NCHW"},
    {"cpu_disabled", "0", "refuse NNAPI's own CPU device"},
    {"cpu_only", "0", "that device alone"},
};

static const LedgeProviderOption coreml_options[] = {
    {"ModelFormat", "NeuralNetwork", "or MLProgram"},
    {"MLComputeUnits", "ALL", "CPUOnly, CPUAndGPU, CPUAndNeuralEngine"},
    {"RequireStaticInputShapes", "0", "take nodes of fixed shape only"},
    {"EnableOnSubgraphs", "0", "inside Loop and If too"},
    {"SpecializationStrategy", "Default", "or FastPrediction"},
    {"ProfileComputePlan", "0", "log who computes what"},
    {"AllowLowPrecisionAccumulationOnGPU", "0", "accumulate in fp16"},
    {"ModelCacheDirectory", "", "folder for compiled models"},
};

static const LedgeProviderOption dml_options[] = {
    {"device_id", "0", "which adapter"},
    {"performance_preference", "default", "high_performance or minimum_power"},
    {"device_filter", "gpu", "gpu, npu or any"},
    {"disable_metacommands", "false", "the driver's own kernels"},
};

static const LedgeProviderOption qnn_options[] = {
    {"backend_type", "htp", "cpu, gpu, htp"},
    {"backend_path", "", "libQnnHtp.so instead"},
    {"profiling_level", "off", "off, basic, detailed, optrace"},
    {"profiling_file_path", "", "where profiles go"},
    {"rpc_control_latency", "", "microseconds"},
    {"vtcm_mb", "", "memory on the chip"},
    {"htp_performance_mode", "default", "burst, balanced, power_saver …"},
    {"htp_graph_finalization_optimization_mode", "0", "0 to 3"},
    {"htp_arch", "0", "68, 69, 73, 75"},
    {"soc_model", "0", "model of the chip"},
    {"device_id", "0", "which device"},
    {"enable_htp_fp16_precision", "1", "fp32 models in fp16"},
    {"enable_htp_spill_fill_buffer", "0", "one buffer for all contexts"},
    {"enable_htp_shared_memory_allocator", "0", "tensors in shared memory"},
    {"offload_graph_io_quantization", "1", "quantize inputs elsewhere"},
    {"qnn_context_priority", "normal", "low, normal, normal_high, high"},
    {"qnn_saver_path", "", "record calls for replay"},
    {"dump_json_qnn_graph", "0", "write the graph"},
    {"json_qnn_graph_dir", "", "where to"},
};

static const LedgeProviderOption xnnpack_options[] = {
    {"intra_op_num_threads", "", "threads; default: those of the session"},
};

static const LedgeProviderOption acl_options[] = {
    {"enable_fast_math", "0", "fp32 products in bf16"},
};

static const LedgeProviderOption dnnl_options[] = {
    {"use_arena", "1", "keep memory for the next run"},
};

static const LedgeProviderOption webgpu_options[] = {
    {"preferredLayout", "NHWC", "or NCHW"},
    {"enableGraphCapture", "0", "record the run once and replay it"},
    {"dawnBackendType", "Vulkan", "or D3D12"},
    {"powerPreference", "high-performance", "or low-power"},
    {"deviceId", "0", "which adapter"},
    {"validationMode", "basic", "disabled, wgpuOnly, basic, full"},
    {"storageBufferCacheMode", "bucket", "disabled, lazyRelease, simple, bucket"},
    {"forceCpuNodeNames", "", "nodes to leave to the CPU"},
};

#define OPTIONS(a) a, sizeof a / sizeof *a
#define GPU        "an NVIDIA driver, CUDA 12 or 13 with cuDNN 9"

const KnownProvider ledge__known_providers[] = {
    {"cpu", NULL, ORT_APPEND_NONE, NULL, "", "", NULL, 0},
    {"ort", "CPUExecutionProvider", ORT_APPEND_NONE, NULL, "",
     "install libonnxruntime1.21 (Debian 13) or 'npm install onnxruntime-node', or let LEDGE_ORT "
     "name libonnxruntime.so",
     NULL, 0},
    {"cuda", "CUDAExecutionProvider", ORT_APPEND_CUDA, NULL, "",
     "install " GPU ", and ONNX Runtime's GPU build (onnxruntime-gpu), and let LEDGE_ORT name its "
     "library",
     OPTIONS(cuda_options)},
    {"tensorrt", "TensorrtExecutionProvider", ORT_APPEND_TENSORRT, NULL, "trt_",
     "install " GPU ", TensorRT 10, and ONNX Runtime's GPU build (onnxruntime-gpu), and let "
     "LEDGE_ORT name its library",
     OPTIONS(tensorrt_options)},
    {"openvino", "OpenVINOExecutionProvider", ORT_APPEND_NAMED, "OpenVINO", "",
     "'pip install onnxruntime-openvino' and let LEDGE_ORT name its libonnxruntime.so",
     OPTIONS(openvino_options)},
    {"nnapi", "NnapiExecutionProvider", ORT_APPEND_FLAGS,
     "OrtSessionOptionsAppendExecutionProvider_Nnapi", "",
     "NNAPI is Android's: use the onnxruntime-android package there", OPTIONS(nnapi_options)},
    {"coreml", "CoreMLExecutionProvider", ORT_APPEND_NAMED, "CoreML", "",
     "CoreML is Apple's: use ONNX Runtime's build for macOS or iOS there", OPTIONS(coreml_options)},
    {"dml", "DmlExecutionProvider", ORT_APPEND_NAMED, "DML", "",
     "DirectML is Windows': use the onnxruntime-directml package there", OPTIONS(dml_options)},
    {"rknpu", "RknpuExecutionProvider", ORT_APPEND_FLAGS,
     "OrtSessionOptionsAppendExecutionProvider_Rknpu", "",
     "build ONNX Runtime with --use_rknpu and the board's RKNPU DDK, and let LEDGE_ORT name it",
     NULL, 0},
    {"qnn", "QNNExecutionProvider", ORT_APPEND_NAMED, "QNN", "",
     "install onnxruntime-qnn, which brings Qualcomm's libQnnHtp.so, and let LEDGE_ORT name its "
     "library",
     OPTIONS(qnn_options)},
    {"xnnpack", "XnnpackExecutionProvider", ORT_APPEND_NAMED, "XNNPACK", "",
     "Debian 13's libonnxruntime1.21 has it, or build ONNX Runtime with --use_xnnpack",
     OPTIONS(xnnpack_options)},
    {"acl", "ACLExecutionProvider", ORT_APPEND_FLAGS,
     "OrtSessionOptionsAppendExecutionProvider_ACL", "",
     "build ONNX Runtime with --use_acl and the Arm Compute Library, and let LEDGE_ORT name it",
     OPTIONS(acl_options)},
    {"dnnl", "DnnlExecutionProvider", ORT_APPEND_FLAGS,
     "OrtSessionOptionsAppendExecutionProvider_Dnnl", "",
     "Debian 13's libonnxruntime1.21 has it, or build ONNX Runtime with --use_dnnl",
     OPTIONS(dnnl_options)},
    {"webgpu", "WebGpuExecutionProvider", ORT_APPEND_NAMED, "WebGPU", "",
     "install a Vulkan driver (mesa-vulkan-drivers) and an ONNX Runtime with WebGPU, as "
     "onnxruntime-node has it",
     OPTIONS(webgpu_options)},
};
const size_t ledge__known_provider_count =
    sizeof ledge__known_providers / sizeof *ledge__known_providers;

const KnownProvider *ledge__known_find(const char *name)
{
    for (size_t i = 0; i < ledge__known_provider_count; i++)
        if (strcmp(ledge__known_providers[i].name, name) == 0)
            return &ledge__known_providers[i];
    return NULL;
}

const KnownProvider *ledge__known_find_ort(const char *ort_name)
{
    for (size_t i = 0; i < ledge__known_provider_count; i++)
        if (ledge__known_providers[i].ort_name &&
            strcmp(ledge__known_providers[i].ort_name, ort_name) == 0)
            return &ledge__known_providers[i];
    return NULL;
}
