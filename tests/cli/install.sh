#!/bin/sh
# cmake --install, then a user's program built against what was installed, with the shared and the static library: the
# same pictures as `fdistill generate`. The shared library shows nothing but the public API.
. "$SOURCE/tests/cli/common.sh"
build=$(dirname "$FDISTILL")
command -v pkg-config >/dev/null || skip "no pkg-config"
command -v cc >/dev/null || skip "no C compiler named cc"
"$MAKE_NET" student student.safetensors || exit 1

cmake --install "$build" --prefix "$work/usr" >out 2>&1 || { cat out; exit 1; }
for file in bin/fdistill include/fdistill.h; do [ -f "usr/$file" ] || bad "$file is not installed"; done
PKG_CONFIG_PATH=$(dirname "$(find usr -name fdistill.pc)")
export PKG_CONFIG_PATH="$work/$PKG_CONFIG_PATH"
libdir=$(pkg-config --variable=libdir fdistill)
[ "$(pkg-config --modversion fdistill)" = "$("$FDISTILL" --version | sed -n '1s/fdistill //p')" ] || bad "fdistill.pc has another version"

nm -D --defined-only "$libdir/libfdistill.so" | awk '$2 != "A" {print $3}' | sort >shown
sed -n 's/.*FDISTILL_API.*[ *]\(fdistill_[a-z_]*\)(.*/\1/p' usr/include/fdistill.h | sort >declared
[ -s declared ] || bad "found no function in fdistill.h"
same shown declared || diff shown declared

# The header stands alone in C and C++, with every warning on.
echo '#include <fdistill.h>' >alone.c
cc -std=c99 -Wall -Wextra -pedantic -Werror -fsyntax-only -Iusr/include alone.c || bad "the header does not stand alone in C99"
! command -v c++ >/dev/null || c++ -x c++ -Wall -Wextra -pedantic -Werror -fsyntax-only -Iusr/include alone.c || bad "the header does not stand alone in C++"

# The pictures of a program, as one npz of the same seeds has them.
compare() {
    rm -f ./*.ppm
    "$@" student.safetensors 3 >out 2>&1 || { bad "$* failed"; cat out; return; }
    start=$(LC_ALL=C grep -abo NUMPY expected.npz | head -1 | cut -d: -f1)
    for i in 0 1 2; do
        tail -c 768 00000$i.ppm >got.bin
        tail -c +$((start + 128 + 768 * i)) expected.npz | head -c 768 >want.bin
        same got.bin want.bin
    done
}
good generate --network student.safetensors --outdir expected.npz --seeds 0-2
compare "$SAMPLES/sample_generate"
if [ "$SANITIZED" = 1 ]; then echo "a sanitized library needs a sanitized program: only the one built beside it was run"; finish; fi
# shellcheck disable=SC2046   # flags are words
cc -O1 "$SOURCE/samples/generate.c" $(pkg-config --cflags --libs fdistill) -Wl,-rpath,"$libdir" -o with_shared || bad "does not link with the shared library"
compare ./with_shared
# shellcheck disable=SC2046
cc -O1 "$SOURCE/samples/generate.c" $(pkg-config --cflags fdistill) "$libdir/libfdistill.a" \
    $(pkg-config --libs --static fdistill | sed 's/-lfdistill//') -o with_static || bad "does not link with the static library"
compare ./with_static
"$SAMPLES/sample_generate" not-there.safetensors >out 2>&1 && bad "a missing file was no failure"
has "not-there.safetensors" out
finish
