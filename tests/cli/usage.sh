#!/bin/sh
# Command words, options, help pages and exit codes.
. "$SOURCE/tests/cli/common.sh"

good --help
has "Usage: fdistill COMMAND" out
commands=$(awk '/^Commands:/ {on = 1; next} on && NF == 0 {exit} on && /^  [a-z]/ {print $1}' out)
[ -n "$commands" ] || bad "no commands in --help"
for command in $commands; do
    good "$command" --help
    has "Usage: fdistill $command" out
    [ "$(awk 'length($0) > 120' out | wc -l)" -eq 0 ] || bad "$command --help has overlong lines"
done

good --version
has "oneDNN" out
has "threads" out
refuse 2 "did you mean 'doctor'?" doctr
refuse 2 "unknown command 'zzzz'" zzzz
refuse 2 "a command is missing"
refuse 2 "did you mean '--threads'?" doctor --thread 2
refuse 2 "--threads: 0 is not in 1…1024" doctor --threads 0
refuse 2 "--threads: 0 is not in 1…1024" --threads 0 doctor
refuse 2 "unexpected argument 'x'" doctor x
good --threads 1 --quiet doctor
has "1 of" out

# Output that cannot be written is noticed.
if [ -c /dev/full ]; then
    "$FDISTILL" doctor >/dev/full 2>err && bad "a full standard output went unnoticed"
    has "standard output: cannot write" err
fi
finish
