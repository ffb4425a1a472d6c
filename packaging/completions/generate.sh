#!/bin/sh
# Makes the shell completions from what the program says of itself, so that they cannot be
# wrong: generate.sh LEDGE bash|zsh|fish writes one to stdout. A test compares the files here.
set -eu
ledge=$1

commands() {
    "$ledge" help | sed -n 's/^  \([a-z]\{1,\}\) \{1,\}\(.*\)/\1 \2/p'
}
# name (without dashes), takes a value (1 or 0), help text: one option a line, tab between
options() {
    "$ledge" "$1" --help | awk '/^  / && match($0, /--[a-z0-9-]+/) {
        name = substr($0, RSTART + 2, RLENGTH - 2)
        rest = substr($0, RSTART + RLENGTH)
        value = rest ~ /^ [A-Z]/
        sub(/^ [A-Z][^ ]*/, "", rest)
        sub(/^ +/, "", rest)
        print name "\t" value "\t" rest
    }'
}
names() {
    commands | cut -d' ' -f1 | tr '\n' ' ' | sed 's/ $//'
}

case $2 in
bash)
    echo '# bash completion of ledge; made by generate.sh'
    echo '_ledge() {'
    echo '    local word=${COMP_WORDS[COMP_CWORD]} options='
    echo '    if [ "$COMP_CWORD" = 1 ]; then'
    echo "        COMPREPLY=(\$(compgen -W \"$(names) --version\" -- \"\$word\"))"
    echo '        return'
    echo '    fi'
    echo '    case ${COMP_WORDS[1]} in'
    commands | while read -r name _; do
        if [ "$name" = help ]; then
            echo "    help) options=\"$(names)\" ;;"
        else
            echo "    $name) options=\"$(options "$name" | sed 's/^/--/' | cut -f1 | tr '\n' ' ' | sed 's/ $//')\" ;;"
        fi
    done
    echo '    esac'
    echo '    if [ "${word#-}" != "$word" ] || [ "${COMP_WORDS[1]}" = help ]; then'
    echo '        COMPREPLY=($(compgen -W "$options" -- "$word"))'
    echo '    else'
    echo '        COMPREPLY=($(compgen -f -- "$word"))'
    echo '    fi'
    echo '}'
    echo 'complete -o filenames -F _ledge ledge'
    ;;
zsh)
    echo '#compdef ledge'
    echo '# zsh completion of ledge; made by generate.sh'
    echo 'if (( CURRENT == 2 )); then'
    echo '    local -a commands=('
    commands | while read -r name text; do
        echo "        '$name:$(echo "$text" | sed "s/'/'\\\\''/g; s/:/\\\\:/g")'"
    done
    echo '    )'
    echo "    _describe command commands"
    echo '    return'
    echo 'fi'
    echo 'case $words[2] in'
    commands | while read -r name _; do
        [ "$name" != help ] || continue
        echo "$name)"
        echo '    _arguments \'
        options "$name" | while IFS='	' read -r option value text; do
            clean=$(echo "$text" | sed "s/'/'\\\\''/g; s/\[/(/g; s/\]/)/g; s/:/\\\\:/g")
            if [ "$value" = 1 ]; then
                echo "        '--$option=[$clean]:value:_files' \\"
            else
                echo "        '--$option[$clean]' \\"
            fi
        done
        echo "        '*:file:_files'"
        echo '    ;;'
    done
    echo "help) (( CURRENT == 3 )) && _values command $(names) ;;"
    echo 'esac'
    ;;
fish)
    echo '# fish completion of ledge; made by generate.sh'
    echo "set -l commands $(names)"
    commands | while read -r name text; do
        echo "complete -c ledge -f -n \"not __fish_seen_subcommand_from \$commands\" -a $name -d '$(echo "$text" | sed "s/'/\\\\'/g")'"
    done
    commands | while read -r name _; do
        [ "$name" != help ] || continue
        options "$name" | while IFS='	' read -r option value text; do
            required=
            [ "$value" = 0 ] || required=' -r'
            echo "complete -c ledge -n \"__fish_seen_subcommand_from $name\" -l $option$required -d '$(echo "$text" | sed "s/'/\\\\'/g")'"
        done
    done
    ;;
*)
    echo "generate.sh: unknown shell '$2' (bash, zsh, fish)" >&2
    exit 2
    ;;
esac
