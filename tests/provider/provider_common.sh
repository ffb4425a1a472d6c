# For the tests of providers, besides tests/cli/common.sh: $fake, $odd, $blas are libraries, $models
# a folder of small models, $rows an input of 5 rows.
. "$(dirname "$0")/../cli/common.sh"
fake=$3 odd=$4 blas=$5 models=$work/models
mkdir "$models" && "$6" "$models" || exit 1
rows=$work/rows.npy
unset LEDGE_PROBE_SECONDS LD_LIBRARY_PATH FAKE_ORT ODD_PROVIDER

# same_answer A B: both folders hold the same y.npy
same_answer() {
    checks=$((checks + 1))
    cmp -s "$work/$1/y.npy" "$work/$2/y.npy" || fail "$last: $1 and $2 differ"
}
no_err() {
    checks=$((checks + 1))
    [ ! -s "$work/err" ] || fail "$last: stderr is not empty"
}
