#!/bin/sh
# --tune: measurements are kept in the cache folder, rule the plan, and never stop a run when they are spoilt.
. "$SOURCE/tests/cli/common.sh"
export XDG_CACHE_HOME="$work/cache"
export FD_MAX_ISA=avx2                # one rule on every machine: Winograd
bench() { good bench --config demo --batch 2 --reps 1 "$@"; }
cache() { ls cache/fdistill/convolutions-*.txt 2>/dev/null; }

bench
absent cache                          # nothing is measured unless asked
bench --tune on
has "measuring the convolutions" err
[ "$(cache | wc -l)" -eq 1 ] || bad "expected one file, have: $(cache)"
file=$(cache)
measured=$(($(wc -l <"$file") - 2))
[ "$measured" -ge 3 ] || bad "$measured measurements of a U-Net"
cp "$file" first
bench --tune on                       # all is known: nothing to measure
same "$file" first
good doctor
has "$measured measured here: $work/cache/fdistill/" out

# The file rules the plan, each way, and --tune off does without it.
rewrite() { { head -n 2 first; tail -n +3 first | sed "s/^[^ ]* [^ ]* [^ ]*/$1/"; } >"$file"; }
winograds() { "$FDISTILL" bench --config demo --batch 2 --reps 1 --ops --shapes 100 "$@" 2>err | grep -c winograd; }
rewrite "2 1 inf"
[ "$(winograds)" -gt 0 ] || bad "the file prefers Winograd, the plan has none"
rewrite "1 2 inf"
[ "$(winograds)" -eq 0 ] || bad "the file forbids Winograd, the plan has $(winograds)"
[ "$(winograds --tune off)" -gt 0 ] || bad "--tune off used the file"

# Spoilt files: one warning, and the rules.
spoilt() {
    [ "$(winograds)" -gt 0 ] || bad "$1: no rules"
    has "warning: $work/$file: line $2 is no measurement" err
}
rewrite "1 2 inf"; sed -i '1s/2/9/' "$file"; spoilt "another version" 1
rewrite "1 2 inf"; sed -i '2s/$/./' "$file"; spoilt "another machine" 2
rewrite "1 2 inf"; sed -i '4s/^[^ ]*/-1/' "$file"; spoilt "a negative time" 4
rewrite "1 2 inf"; truncate -s -3 "$file"; spoilt "the end lost" $((measured + 2))
head -c 100 /dev/zero >"$file"; spoilt "no text" 1
head -c 3000000 /dev/zero | tr '\0' 1 >"$file"; spoilt "one long line" 1

# Nowhere to keep them.
rm -r cache; : >cache
refuse 1 "cache: cannot make folder" bench --config demo --batch 2 --reps 1 --tune on
unset XDG_CACHE_HOME HOME
refuse 1 "neither HOME nor XDG_CACHE_HOME" bench --config demo --batch 2 --reps 1 --tune on
refuse 2 "--tune" bench --tune sometimes
bench
finish
