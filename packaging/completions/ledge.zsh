#compdef ledge
# zsh completion of ledge; made by generate.sh
if (( CURRENT == 2 )); then
    local -a commands=(
        'inspect:show operators, parameters, work, sizes, and what would run where'
        'run:run a model on pictures or .npy files'
        'bench:time a model\: latency percentiles, cold start, peak memory'
        'eval:measure accuracy on labelled pictures, and agreement between models'
        'compile:plan and pack a model for a CPU\: a .ledge file that maps and runs'
        'prune:make a model smaller and faster by removing channels, as standard ONNX'
        'quantize:make a model of 8-bit integers, or of 4-bit weights, as standard ONNX'
        'distill:train a small model, by labels and by what a larger one says'
        'compress:prune, distill, quantize and certify a model by a recipe, and compare the results'
        'certify:measure a compressed model against its parent and sign the result, or check that'
        'preprocess:keep in a model how its pictures are to be prepared, or show it'
        'serve:answer inference requests over HTTP (Open Inference Protocol v2)'
        'agent:keep this device'\''s models as the fleet'\''s registry wants them'
        'wasm:compile WebAssembly guests ahead of time, and run them in a sandbox'
        'drift:record what a model usually sees and answers, or check that it still does'
        'key:make or show the keys that releases are signed with and samples sealed to'
        'registry:say what a fleet of devices runs, and hear how it fares'
        'doctor:look at this machine\: CPU, limits, clock, providers; where a MODEL would run'
        'help:print this, or what a command takes'
    )
    _describe command commands
    return
fi
case $words[2] in
inspect)
    _arguments \
        '--graph[print the optimised graph, one line a node]' \
        '--steps[list each step that would run, with its multiply-accumulates]' \
        '--cpu=[highest CPU level whose kernels may be chosen, e.g. avx2]:value:_files' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
run)
    _arguments \
        '--top=[best classes to show (5)]:value:_files' \
        '--labels=[class names, one a line; else the model'\''s own]:value:_files' \
        '--preprocess=[imagenet, tf, caffe, none or FILE.json; else the model'\''s own]:value:_files' \
        '--input=[a tensor for the named input]:value:_files' \
        '--output=[write every output there as .npy]:value:_files' \
        '--threads=[threads to run on; 0 takes every fast core]:value:_files' \
        '--provider=[who runs it, in order of preference\: cuda,ort,cpu or auto (cpu)]:value:_files' \
        '--provider-option=[an option of a provider, tensorrt.fp16=1]:value:_files' \
        '--strict[fail (4) unless all runs on the first provider]' \
        '--cpu=[highest CPU level whose kernels may be chosen, e.g. avx2]:value:_files' \
        '--no-optimize[run the graph as it stands in the file]' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
bench)
    _arguments \
        '--runs=[timed runs; 0 takes as many as fit in 3 seconds]:value:_files' \
        '--warmup=[runs before timing begins (5)]:value:_files' \
        '--cold=[cold starts to time in fresh processes (5); 0\: none]:value:_files' \
        '--threads=[threads to run on; 0 takes every fast core]:value:_files' \
        '--input=[input from a file instead of random numbers]:value:_files' \
        '--shape=[dimensions of an input whose own are free]:value:_files' \
        '--seed=[seed of the random inputs (1)]:value:_files' \
        '--pixels[bytes of a picture as input, normalised by the model]' \
        '--profile[show where the time goes, step by step]' \
        '--provider=[who runs it (cpu); A,B are timed side by side]:value:_files' \
        '--provider-option=[an option of a provider, tensorrt.fp16=1]:value:_files' \
        '--strict[fail (4) unless all runs on the first provider]' \
        '--cpu=[highest CPU level whose kernels may be chosen, e.g. avx2]:value:_files' \
        '--no-optimize[run the graph as it stands in the file]' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
eval)
    _arguments \
        '--images=[folder of .jpg and .png pictures]:value:_files' \
        '--labels=[CSV of file,class_id for the pictures in it]:value:_files' \
        '--dataset=[instead\: cifar10\:FILE or mnist\:IMAGES(,LABELS)]:value:_files' \
        '--limit=[only the first N pictures]:value:_files' \
        '--names=[class names, one a line; else the model'\''s own]:value:_files' \
        '--preprocess=[imagenet, tf, caffe, none or FILE.json; else the model'\''s own]:value:_files' \
        '--confused=[pairs of classes to show that are mixed up most (5)]:value:_files' \
        '--predictions=[write each picture'\''s classes as CSV]:value:_files' \
        '--ladder=[top1 or margin\: the models, small to large, as a ladder too]:value:_files' \
        '--min-top1=[exit with 5 if a model'\''s top-1 is below]:value:_files' \
        '--threads=[threads to run on; 0 takes every fast core]:value:_files' \
        '--provider=[who runs it, in order of preference\: cuda,ort,cpu or auto (cpu)]:value:_files' \
        '--provider-option=[an option of a provider, tensorrt.fp16=1]:value:_files' \
        '--strict[fail (4) unless all runs on the first provider]' \
        '--cpu=[highest CPU level whose kernels may be chosen, e.g. avx2]:value:_files' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
compile)
    _arguments \
        '--output=[the compiled model to write, usually M.ledge]:value:_files' \
        '--cpu=[highest CPU level whose kernels may be chosen, e.g. avx2]:value:_files' \
        '--shape=[dimensions of an input whose own are free]:value:_files' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
prune)
    _arguments \
        '--output=[the pruned model to write]:value:_files' \
        '--method=[channels (default), magnitude or 2\:4]:value:_files' \
        '--amount=[share of the channels (or weights) to go, 0 to 1]:value:_files' \
        '--target-macs=[instead\: share of the multiply-accumulates to keep]:value:_files' \
        '--target-latency=[instead\: milliseconds of one run, timed here (2ms)]:value:_files' \
        '--importance=[l1, l2 (default), bn, taylor or random]:value:_files' \
        '--scope=[global (default)\: the least of all; layer\: a share of each]:value:_files' \
        '--layer-limit=[most of one layer that scope global may take (0.75)]:value:_files' \
        '--round=[channels left are a multiple of N (8)]:value:_files' \
        '--keep=[leave this node'\''s channels (or weights) as they are]:value:_files' \
        '--steps=[go in N stages, channels ranked anew in each (1)]:value:_files' \
        '--block=[magnitude\: output channels that go together (1); 16 for speed]:value:_files' \
        '--finetune=[train on cifar10\:FILE, mnist\:IMAGES(,LABELS), folder\:DIR,CSV]:value:_files' \
        '--teacher=[model to learn from; the unpruned one (default), or none]:value:_files' \
        '--preprocess=[imagenet, tf, caffe, none or FILE.json; else the model'\''s own]:value:_files' \
        '--epochs=[times that all data is seen (30)]:value:_files' \
        '--batch=[pictures in a step (64)]:value:_files' \
        '--optimizer=[sgd (default, with momentum) or adamw]:value:_files' \
        '--rate=[highest learning rate (fresh weights\: sgd 0.1, adamw 0.003; else a tenth)]:value:_files' \
        '--momentum=[of sgd (0.9)]:value:_files' \
        '--nesterov[Nesterov'\''s momentum]' \
        '--decay=[weight decay (sgd 0.0005, adamw 0.01)]:value:_files' \
        '--schedule=[of the rate\: cosine (default), steps or constant]:value:_files' \
        '--step=[steps\: where the rate becomes a tenth]:value:_files' \
        '--warmup=[epochs in which the rate rises from 0 (0)]:value:_files' \
        '--smoothing=[of labels, 0 to 1 (0)]:value:_files' \
        '--clip=[longest norm of the gradient (no limit)]:value:_files' \
        '--crop=[augment\: crop at random from a frame so wide (0)]:value:_files' \
        '--flip[augment\: mirror every second picture]' \
        '--colour=[augment\: vary light, contrast and saturation by up to C (0)]:value:_files' \
        '--mixup=[augment\: mix pictures by weights of Beta(A,A) (0)]:value:_files' \
        '--seed=[of all random numbers (1)]:value:_files' \
        '--checkpoint=[where to keep what is needed to go on (OUT.checkpoint)]:value:_files' \
        '--resume[go on from the checkpoint]' \
        '--threads=[threads to run on; 0 takes every fast core]:value:_files' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
quantize)
    _arguments \
        '--output=[the quantized model to write]:value:_files' \
        '--mode=[static (default), dynamic, weights or int4]:value:_files' \
        '--calibrate=[folder of .jpg and .png pictures, or a .npy file]:value:_files' \
        '--labels=[CSV of file,class_id\: only its pictures of the folder]:value:_files' \
        '--dataset=[instead\: cifar10\:FILE or mnist\:IMAGES(,LABELS)]:value:_files' \
        '--input=[samples for one input, along the first axis]:value:_files' \
        '--samples=[take N samples, evenly spread; 0 takes all]:value:_files' \
        '--preprocess=[imagenet, tf, caffe, none or FILE.json; else the model'\''s own]:value:_files' \
        '--calibrator=[minmax (default), percentile, entropy or mse]:value:_files' \
        '--percentile=[of the values that percentile keeps inside (99.99)]:value:_files' \
        '--target=[cpu (default)\: uint8 activations; tensorrt, npu\: int8 symmetric]:value:_files' \
        '--activations=[static\: 8 (default), or 16 (opset 21), which run in float here]:value:_files' \
        '--weights=[ranges of weights\: minmax (default) or mse]:value:_files' \
        '--exclude=[leave this node, or all of this operator, in float]:value:_files' \
        '--block=[int4\: weights that share a scale\: 16, 32 (default), 64, 128, 256]:value:_files' \
        '--format=[int4\: nbits (default, MatMulNBits) or onnx (opset 21)]:value:_files' \
        '--equalize[even out weights between neighbouring layers first]' \
        '--rounding=[of weights\: nearest (default), or adaptive to the data]:value:_files' \
        '--seed=[of the places that adaptive rounding looks at (1)]:value:_files' \
        '--mixed[leave the fewest layers in float that hold --max-drop]' \
        '--max-drop=[percentage points that --mixed may lose (0.3)]:value:_files' \
        '--min-agreement=[and of samples whose class must stay (0)]:value:_files' \
        '--compare-modes[measure the other modes and calibrators too]' \
        '--report=[write a page on what was lost and won]:value:_files' \
        '--finetune=[static\: then train with rounded values on SET (a folder, cifar10\:FILE, mnist\:..., folder\:DIR,CSV)]:value:_files' \
        '--epochs=[of --finetune (5)]:value:_files' \
        '--rate=[highest learning rate of --finetune (0.001)]:value:_files' \
        '--batch=[pictures in a step of --finetune (64)]:value:_files' \
        '--threads=[threads to run on; 0 takes every fast core]:value:_files' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
distill)
    _arguments \
        '--output=[the trained student to write]:value:_files' \
        '--teacher=[any model that ledge runs; without one labels alone teach]:value:_files' \
        '--student=[a model file, or tiny, resnet8, mobilenet-0.25]:value:_files' \
        '--init[begin with fresh weights instead of the file'\''s]' \
        '--data=[cifar10\:FILE, mnist\:IMAGES(,LABELS), folder\:DIR(,CSV) or a folder; may be given again]:value:_files' \
        '--labels=[CSV of file,class_id for the pictures in it]:value:_files' \
        '--limit=[take N of the pictures, evenly spread; 0 takes all]:value:_files' \
        '--eval=[measure the student on this in the end; may be given again]:value:_files' \
        '--alpha=[the teacher'\''s part of the loss, 0 to 1 (0.7)]:value:_files' \
        '--temperature=[that softens both models'\'' scores (4)]:value:_files' \
        '--feature=[match the student'\''s tensor S to the teacher'\''s T, weight W (1)]:value:_files' \
        '--freeze=[leave what makes this tensor of the student as it is]:value:_files' \
        '--preprocess=[imagenet, tf, caffe, none or FILE.json; else the model'\''s own]:value:_files' \
        '--teacher-preprocess=[the teacher'\''s, where it differs from the student'\''s]:value:_files' \
        '--names=[class names to keep in the student, one a line]:value:_files' \
        '--epochs=[times that all data is seen (30)]:value:_files' \
        '--batch=[pictures in a step (64)]:value:_files' \
        '--optimizer=[sgd (default, with momentum) or adamw]:value:_files' \
        '--rate=[highest learning rate (fresh weights\: sgd 0.1, adamw 0.003; else a tenth)]:value:_files' \
        '--momentum=[of sgd (0.9)]:value:_files' \
        '--nesterov[Nesterov'\''s momentum]' \
        '--decay=[weight decay (sgd 0.0005, adamw 0.01)]:value:_files' \
        '--schedule=[of the rate\: cosine (default), steps or constant]:value:_files' \
        '--step=[steps\: where the rate becomes a tenth]:value:_files' \
        '--warmup=[epochs in which the rate rises from 0 (0)]:value:_files' \
        '--smoothing=[of labels, 0 to 1 (0)]:value:_files' \
        '--clip=[longest norm of the gradient (no limit)]:value:_files' \
        '--crop=[augment\: crop at random from a frame so wide (0)]:value:_files' \
        '--flip[augment\: mirror every second picture]' \
        '--colour=[augment\: vary light, contrast and saturation by up to C (0)]:value:_files' \
        '--mixup=[augment\: mix pictures by weights of Beta(A,A) (0)]:value:_files' \
        '--seed=[of all random numbers (1)]:value:_files' \
        '--checkpoint=[where to keep what is needed to go on (OUT.checkpoint)]:value:_files' \
        '--resume[go on from the checkpoint]' \
        '--threads=[threads to run on; 0 takes every fast core]:value:_files' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
compress)
    _arguments \
        '--output=[the compressed model to write]:value:_files' \
        '--recipe=[steps and their options as JSON, or default]:value:_files' \
        '--train=[cifar10\:FILE, mnist\:IMAGES(,LABELS), folder\:DIR,CSV to train on]:value:_files' \
        '--test=[the same, to measure on]:value:_files' \
        '--preprocess=[imagenet, tf, caffe, none or FILE.json; else the model'\''s own]:value:_files' \
        '--report=[write a page on what each step lost and won]:value:_files' \
        '--stages=[keep the models of all steps in this new folder]:value:_files' \
        '--threads=[threads to run on; 0 takes every fast core]:value:_files' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
certify)
    _arguments \
        '--reference=[the float model that MODEL was made from]:value:_files' \
        '--images=[folder of .jpg and .png pictures]:value:_files' \
        '--labels=[CSV of file,class_id for the pictures in it]:value:_files' \
        '--dataset=[instead\: cifar10\:FILE or mnist\:IMAGES(,LABELS)]:value:_files' \
        '--limit=[only the first N pictures]:value:_files' \
        '--preprocess=[imagenet, tf, caffe, none or FILE.json; else the model'\''s own]:value:_files' \
        '--max-drop=[percentage points of top-1 that may be lost (1)]:value:_files' \
        '--min-agreement=[share of pictures with the same class (0)]:value:_files' \
        '--max-latency-ratio=[of the medians, model / reference (1.0)]:value:_files' \
        '--runs=[timed runs of each model; 0 takes what fits in 4 seconds, 50 at least]:value:_files' \
        '--days=[days until the certificate expires (365)]:value:_files' \
        '--key=[private key to sign with; --check\: public key to trust]:value:_files' \
        '--output=[write the certificate there]:value:_files' \
        '--check=[check this certificate instead of making one]:value:_files' \
        '--model=[--check\: the model that it should be for]:value:_files' \
        '--remeasure[--check\: also measure again, here, and judge by its gates]' \
        '--threads=[threads to run on; 0 takes every fast core]:value:_files' \
        '--cpu=[highest CPU level whose kernels may be chosen, e.g. avx2]:value:_files' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
preprocess)
    _arguments \
        '--output=[write the changed model there instead of over MODEL]:value:_files' \
        '--labels=[set\: also keep these class names in the model]:value:_files' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
serve)
    _arguments \
        '--config=[what to serve and how, as JSON; flags go before it]:value:_files' \
        '--host=[address to listen on (127.0.0.1)]:value:_files' \
        '--port=[port to listen on (8000); 0 takes one that is free]:value:_files' \
        '--repository=[also serve NAME.onnx and NAME/VERSION/model.onnx of it]:value:_files' \
        '--workers=[requests answered side by side; 0 takes every fast core]:value:_files' \
        '--threads=[threads of one request (1)]:value:_files' \
        '--pixels[inputs are bytes of pictures, which the models normalise]' \
        '--batch=[most requests answered in one run (1)]:value:_files' \
        '--delay=[milliseconds a batch may wait to fill (0)]:value:_files' \
        '--cache=[megabytes of answers that each model keeps (0\: none)]:value:_files' \
        '--cache-ttl=[seconds that an answer is kept (0\: while there is room)]:value:_files' \
        '--guest=[a guest that works before or after every model]:value:_files' \
        '--guest-beside[a guest.lwm in the folder of a model'\''s file works for it]' \
        '--guest-key=[public key that must have signed the guests]:value:_files' \
        '--guest-pages=[most pages of 64 KiB of a guest'\''s memory (1024)]:value:_files' \
        '--guest-time=[milliseconds that a call of a guest may take (1000)]:value:_files' \
        '--queue=[requests that may wait before others are refused (256)]:value:_files' \
        '--deadline=[seconds that a request may wait (30)]:value:_files' \
        '--body=[largest request in megabytes (64)]:value:_files' \
        '--connections=[most connections at a time (1000)]:value:_files' \
        '--shared-memory=[take tensors in shared memory whose key begins with PREFIX ('\''/'\''\: any)]:value:_files' \
        '--token-file=[bearer token that every POST must carry]:value:_files' \
        '--tls-cert=[certificate chain in PEM, for HTTPS]:value:_files' \
        '--tls-key=[its private key in PEM]:value:_files' \
        '--no-drift[do not watch for drift]' \
        '--state=[keep what drift monitoring has seen over restarts]:value:_files' \
        '--telemetry=[write a record of every answer there, for ledge agent]:value:_files' \
        '--telemetry-mb=[megabytes of the disk for records that wait (64)]:value:_files' \
        '--telemetry-overflow=[when they are full\: '\''oldest'\'' go, '\''reject'\'' new ones, '\''sample'\'' one of ten (oldest)]:value:_files' \
        '--shadow=[with --telemetry\: models that run beside and answer nobody]:value:_files' \
        '--samples=[keep some inputs there, sealed, for retraining (none are kept)]:value:_files' \
        '--sample-key=[public key that they are sealed to]:value:_files' \
        '--sample-below=[keep those answered with less confidence (0.5), or drifting]:value:_files' \
        '--samples-per-hour=[most that are kept in an hour (20)]:value:_files' \
        '--samples-mb=[megabytes of the disk for them (64)]:value:_files' \
        '--watch=[seconds between two looks at models and machine (5)]:value:_files' \
        '--alert-log[a line on stderr for every alert]' \
        '--alert-webhook=[POST every alert there as JSON]:value:_files' \
        '--alertmanager=[keep this Alertmanager informed (its API v2)]:value:_files' \
        '--alert-exec=[run this program with every alert on its standard input]:value:_files' \
        '--alert-token-file=[bearer token for webhook and Alertmanager]:value:_files' \
        '--drain=[seconds to finish requests after SIGTERM (30)]:value:_files' \
        '--cpu=[highest CPU level whose kernels may be chosen, e.g. avx2]:value:_files' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
agent)
    _arguments \
        '--state=[the agent'\''s folder (/var/lib/ledge)]:value:_files' \
        '--registry=[the registry, https\://HOST(\:PORT)]:value:_files' \
        '--root=[root.json\: whom this device trusts]:value:_files' \
        '--device=[this device'\''s id; else one is made up and kept]:value:_files' \
        '--label=[label that rollouts may choose by]:value:_files' \
        '--token-file=[this device'\''s token]:value:_files' \
        '--ca=[authorities to trust for TLS; else the system'\''s]:value:_files' \
        '--tls-cert=[client certificate in PEM]:value:_files' \
        '--tls-key=[its private key in PEM]:value:_files' \
        '--proxy=[HTTP or SOCKS proxy; else what the environment says]:value:_files' \
        '--bandwidth=[most kilobytes a second to download or send; 0\: no limit]:value:_files' \
        '--quota=[most megabytes of models and downloads; 0\: no limit]:value:_files' \
        '--keep=[versions kept besides the running one (2)]:value:_files' \
        '--interval=[seconds between polls until the registry says (60)]:value:_files' \
        '--serve[run\: also serve the models, by `ledge serve`]' \
        '--serve-args=[run\: arguments for `ledge serve`, parted by blanks]:value:_files' \
        '--sample-key=[keep inputs that are uncertain or drift, sealed to this public key, and send them]:value:_files' \
        '--turns=[run\: end after N turns; 0\: go on]:value:_files' \
        '--quiet[no messages on stderr]' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
wasm)
    _arguments \
        '--output=[build\: where the result goes]:value:_files' \
        '--target=[build\: of x86_64, x86_64_v2, x86_64_v3, aarch64 (this machine)]:value:_files' \
        '--bounds=[build\: guard pages, or '\''explicit'\'' checks of each access]:value:_files' \
        '--wasm2c=[build\: wasm2c of wabt, where it is not in PATH]:value:_files' \
        '--cc[(TARGET=)CC        build\: the C compiler, for all or one target]' \
        '--key=[build\: private key to sign with; run, info\: public key to trust]:value:_files' \
        '--dir=[run\: a folder that the guest may use]:value:_files' \
        '--env=[run\: an environment variable of the guest'\''s]:value:_files' \
        '--nn-preload=[run\: a model that the guest loads by name]:value:_files' \
        '--memory-page-limit=[run\: most pages of 64 KiB of the guest'\''s memory]:value:_files' \
        '--time-limit=[run\: milliseconds until the guest is ended]:value:_files' \
        '--fuel=[run\: the same, of CPU time used]:value:_files' \
        '--stack=[run\: most kilobytes of call stack (1024)]:value:_files' \
        '--nn-memory=[run\: most megabytes of host memory by wasi-nn (1024)]:value:_files' \
        '--nn-time=[run\: most milliseconds of loading and computing in all]:value:_files' \
        '--nn-models=[run\: most models that the guest may hold at a time (16)]:value:_files' \
        '--isolate[process       run\: in a child with seccomp and resource limits]' \
        '--invoke=[run\: call this export, with whole numbers as arguments]:value:_files' \
        '--no-cache[run\: build a .wasm anew]' \
        '--threads=[threads to run on; 0 takes every fast core]:value:_files' \
        '--cpu=[highest CPU level whose kernels may be chosen, e.g. avx2]:value:_files' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
drift)
    _arguments \
        '--images=[folder of .jpg and .png pictures]:value:_files' \
        '--dataset=[instead\: cifar10\:FILE or mnist\:IMAGES(,LABELS)]:value:_files' \
        '--limit=[only the first N pictures]:value:_files' \
        '--preprocess=[imagenet, tf, caffe, none or FILE.json; else the model'\''s own]:value:_files' \
        '--output=[baseline\: where it goes; a .onnx gets it as metadata]:value:_files' \
        '--baseline=[check\: the baseline; else the model'\''s own]:value:_files' \
        '--window=[check\: answers in a window (1000, or all if fewer)]:value:_files' \
        '--gate=[check\: exit with 5 from warning or high on]:value:_files' \
        '--threads=[threads to run on; 0 takes every fast core]:value:_files' \
        '--cpu=[highest CPU level whose kernels may be chosen, e.g. avx2]:value:_files' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
key)
    _arguments \
        '--type=[new\: '\''signing'\'', or '\''sampling'\'' for inputs that devices keep]:value:_files' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
registry)
    _arguments \
        '*:file:_files'
    ;;
doctor)
    _arguments \
        '--provider=[with MODEL\: who is to run it, e.g. cuda,ort,cpu or auto]:value:_files' \
        '--provider-option=[an option of a provider, tensorrt.fp16=1]:value:_files' \
        '--strict[fail (4) unless all runs on the first provider]' \
        '--threads=[threads to run on; 0 takes every fast core]:value:_files' \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
help) (( CURRENT == 3 )) && _values command inspect run bench eval compile prune quantize distill compress certify preprocess serve agent wasm drift key registry doctor help ;;
esac
