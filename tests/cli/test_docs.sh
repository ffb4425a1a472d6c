#!/bin/sh
# Every option of --help is in the command's man page and in the completions, and the other way round.
. "$(dirname "$0")/common.sh"

commands=$("$ledge" help | sed -n 's/^  \([a-z]*\) .*/\1/p' | grep -v '^help$')
[ "$(echo "$commands" | wc -l)" -ge 7 ] || fail 'ledge help lists too few commands'
for command in $commands; do
    page=$root/docs/man/ledge-$command.1
    last="man page $command"
    : >"$work/err"
    "$ledge" "$command" --help | grep -Eo -e '--[a-z][a-z0-9-]*' | sort -u >"$work/options"
    # \-\-json in the page is --json
    sed 's/\\-/-/g' "$page" 2>>"$work/err" >"$work/out" || fail "no page $page"
    grep '^\.B' "$work/out" | grep -Eo -e '--[a-z][a-z0-9-]*' | sort -u >"$work/documented"
    checks=$((checks + 1))
    diff "$work/options" "$work/documented" >>"$work/err" || fail "options of $command and its man page differ"
    out "^\.SH EXIT STATUS"
    out "^\.SH EXAMPLES"
done
last=completions
for shell in bash zsh fish; do
    checks=$((checks + 1))
    sh "$root/packaging/completions/generate.sh" "$ledge" $shell >"$work/generated" 2>>"$work/err"
    name=$root/packaging/completions/ledge.$shell
    cmp -s "$work/generated" "$name" || fail "$name is not what generate.sh makes; run it again"
done
last='man page ledge'
sed "s/\\\\-/-/g" "$root/docs/man/ledge.1" >"$work/out"
for command in $commands; do
    out "ledge-$command"
done
finish
