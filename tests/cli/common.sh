# Sourced by the scripts beside it. FDISTILL is the program, SOURCE the repository.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive      # several tests share the cores
export XDG_CACHE_HOME="$work/no-cache"                   # no measurements of the user
# A sanitizer must not end with a code that the program itself uses.
export ASAN_OPTIONS="exitcode=99:allocator_may_return_null=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="exitcode=99:${UBSAN_OPTIONS:-}"

# no WORDS...: the test is over with exit code 77
skip() { echo "skipped: $*"; exit 77; }
bad() { echo "FAILED: $*"; failures=$((failures + 1)); }
finish() { [ "$failures" -eq 0 ] || { echo "$failures failures"; exit 1; }; exit 0; }

# good COMMAND...: must end with 0; output in $work/out, $work/err
good() {
    "$FDISTILL" "$@" >out 2>err || { bad "fdistill $*: exit code $?, expected 0"; cat err; }
}
# refuse CODE TEXT COMMAND...: exit code CODE, exactly one line on stderr that begins with "fdistill: " and has TEXT in it
refuse() {
    want=$1; text=$2; shift 2
    "$FDISTILL" --quiet "$@" >out 2>err
    got=$?
    [ "$got" -eq "$want" ] || bad "fdistill $*: exit code $got, expected $want: $(head -c 300 err)"
    [ "$(wc -l <err)" -eq 1 ] || { bad "fdistill $*: $(wc -l <err) lines on stderr, expected one"; head -5 err; }
    grep -q '^fdistill: ' err || bad "fdistill $*: message does not begin with the program's name: $(head -c 300 err)"
    grep -qF -- "$text" err || bad "fdistill $*: message lacks '$text': $(head -c 300 err)"
}
# has TEXT FILE
has() { grep -qF -- "$1" "$2" || { bad "no '$1' in:"; head -20 "$2"; }; }
# absent PATH...: not there, nor a temporary of it
absent() {
    for path in "$@"; do
        for found in "$path" "$path".tmp-*; do [ ! -e "$found" ] || bad "$found was left behind"; done
    done
}
same() { cmp -s "$1" "$2" || bad "$1 and $2 differ"; }
