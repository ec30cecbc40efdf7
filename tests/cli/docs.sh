#!/bin/sh
# The pages of docs/commands and the program say the same: every command has its page, every long option its place there,
# and no page speaks of an option that does not exist. Also: keys of fdistill.config are described, links and paths in
# docs lead somewhere. Each check is shown to fail on a spoiled copy.
. "$SOURCE/tests/cli/common.sh"
docs=$SOURCE/docs

# commands_of [WORDS...]: the commands that a help page lists
commands_of() { "$FDISTILL" "$@" --help | awk '/^Commands:/ {on = 1; next} on && NF == 0 {exit} on && /^  [a-z]/ {print $1}'; }
# options_of WORDS...: long options of a command; a flag also in its negated form, as no-NAME
options_of() {
    "$FDISTILL" "$@" --help | awk '/^  (-[a-z], )?--[A-Za-z]/ {
        sub(/^  (-[a-z], )?--/, ""); match($0, /^[A-Za-z0-9_-]+/)
        name = substr($0, 1, RLENGTH); rest = substr($0, RLENGTH + 1)
        print name
        if (rest == "" || rest ~ /^  /) print "no-" name
    }'
}
everything_of() {
    options_of "$@"
    for part in $(commands_of "$@"); do options_of "$@" "$part"; done
}
# Options in a page, one line each: the command that "fdistill COMMAND" before it on the line names, else the page's own.
mentioned() {
    sed -e ':again' -e '/\\$/{N;s/\\\n/ /;b again' -e '}' "$2" |
        awk -v own="$1" '{
            command = own
            for (rest = $0; match(rest, /fdistill [a-z]+|--[A-Za-z][A-Za-z0-9_-]*/); rest = substr(rest, RSTART + RLENGTH)) {
                word = substr(rest, RSTART, RLENGTH)
                if (word ~ /^f/) command = substr(word, 10)
                else print command, substr(word, 3)
            }
        }' | sort -u
}
# check_page COMMAND FILE: one line per disagreement
check_page() {
    mentioned "$1" "$2" >mentioned
    everything_of "$1" | sort -u | awk '{line[NR] = $0; name[$0]} END {
        for (i = 1; i <= NR; i++) if (line[i] !~ /^no-/ || !(substr(line[i], 4) in name)) print line[i]
    }' >real
    while read -r option; do
        grep -qx "$1 $option" mentioned || echo "$2 lacks --$option"
    done <real
    while read -r command option; do
        case $option in help | version) continue ;; esac
        [ -f "known-$command" ] || everything_of "$command" 2>/dev/null | sort -u >"known-$command"
        grep -qx -- "$option" "known-$command" || echo "$2 speaks of --$option, which 'fdistill $command' has not"
    done <mentioned
    for part in $(commands_of "$1"); do grep -q "^## .*$part" "$2" || echo "$2 has no section '$1 $part'"; done
    for heading in "First example" "Exit codes" "Frequent errors"; do
        grep -q "^## $heading" "$2" || echo "$2 has no section '$heading'"
    done
}

all=$(commands_of)
[ -n "$all" ] || bad "no commands in --help"
for command in $all; do
    [ -f "$docs/commands/$command.md" ] || { bad "docs/commands/$command.md is missing"; continue; }
    check_page "$command" "$docs/commands/$command.md" >found
    [ ! -s found ] || bad "$(cat found)"
done
for page in "$docs"/commands/*.md; do
    name=$(basename "$page" .md)
    echo "$all" | grep -qx "$name" || bad "$page is about no command"
done

# Spoiled copies must be noticed.
spoiled() { check_page "$1" page.md | grep -qF -- "$2" || bad "a page was spoiled unnoticed: $2"; }
grep -v -- '--xflip' "$docs/commands/train.md" >page.md
spoiled train "lacks --xflip"
{ cat "$docs/commands/train.md"; echo 'Use `--flipx`.'; } >page.md
spoiled train "speaks of --flipx"
{ cat "$docs/commands/train.md"; printf 'fdistill generate \\\n  --teacher x\n'; } >page.md
spoiled train "speaks of --teacher, which 'fdistill generate' has not"
grep -v '^## dataset check' "$docs/commands/dataset.md" | sed 's/check/chuck/' >page.md
spoiled dataset "no section 'dataset check'"

# Every key of a network's description is in docs/formats.md.
undescribed() {
    for kind in teacher classifier; do
        "$MAKE_NET" $kind $kind.safetensors || bad "make_net $kind"
        "$FDISTILL" info $kind.safetensors | sed -n 's/^config *//p' | grep -o '"[a-z_]*":' | tr -d '":'
    done | sort -u | while read -r key; do grep -qF "\`$key\`" "$1" || echo "$key"; done
}
[ -z "$(undescribed "$docs/formats.md")" ] || bad "docs/formats.md lacks the keys" $(undescribed "$docs/formats.md")
sed 's/`sigma_data`/`sigma`/' "$docs/formats.md" >page.md
[ "$(undescribed page.md)" = sigma_data ] || bad "a missing key went unnoticed"

# Links between pages, and source paths in backquotes, lead somewhere.
broken() {      # broken FILE FOLDER: the file read as if it lay in FOLDER
    grep -o '](\([^)#]*\)' "$1" | sed 's/^](//' | grep -v '^[a-z]*:' | sort -u | while read -r link; do
        [ -z "$link" ] || [ -e "$2/$link" ] || echo "link $link"
    done
    grep -o '`[a-z.][A-Za-z0-9_./-]*/[A-Za-z0-9_./-]*`' "$1" | tr -d '`' | sort -u |
        grep -E '^(src|models|tests|tools|samples|docs|cuda)/' | while read -r path; do
        [ -e "$SOURCE/$path" ] || echo "path $path"
    done
}
for page in "$docs"/*.md "$docs"/commands/*.md; do
    broken "$page" "$(dirname "$page")" >found
    [ ! -s found ] || bad "$page: $(cat found)"
done
printf 'See [here](nowhere.md) and `src/cpu/nothing.c`.\n' >page.md
[ "$(broken page.md "$docs" | wc -l)" -eq 2 ] || bad "a broken link or path went unnoticed"
finish
