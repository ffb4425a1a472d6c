#compdef ledge
# zsh completion of ledge; made by generate.sh
if (( CURRENT == 2 )); then
    local -a commands=(
        'inspect:show operators, parameters, work, sizes, and what would run where'
        'run:run a model on pictures or .npy files'
        'bench:time a model\: latency percentiles, cold start, peak memory'
        'eval:measure accuracy on labelled pictures, and agreement between models'
        'compile:plan and pack a model for a CPU\: a .ledge file that maps and runs'
        'preprocess:keep in a model how its pictures are to be prepared, or show it'
        'drift:record what a model usually sees and answers, or check that it still does'
        'doctor:look at this machine\: CPU features, caches, limits, clock, disk'
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
        '--min-top1=[exit with 5 if a model'\''s top-1 is below]:value:_files' \
        '--threads=[threads to run on; 0 takes every fast core]:value:_files' \
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
preprocess)
    _arguments \
        '--output=[write the changed model there instead of over MODEL]:value:_files' \
        '--labels=[set\: also keep these class names in the model]:value:_files' \
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
doctor)
    _arguments \
        '--json[print one JSON object and nothing else]' \
        '--help[print this]' \
        '*:file:_files'
    ;;
help) (( CURRENT == 3 )) && _values command inspect run bench eval compile preprocess drift doctor help ;;
esac
