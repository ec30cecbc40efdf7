#!/bin/sh
# tools/check_layers must fail on every kind of breach: each is planted alone in a small tree.
set -eu
tree=$(mktemp -d); trap 'rm -rf "$tree"' EXIT
for folder in src/base src/io src/fdiv src/comm src/cpu src/nn src/train src/odd models cuda; do mkdir -p "$tree/$folder"; done
fail=0
expect() {      # expect good|bad, then what the planted file holds
    want=$1; file=$2; text=$3
    printf '%s\n' "$text" >"$tree/$file"
    if "$SOURCE/tools/check_layers" "$tree" >"$tree/out" 2>&1; then got=good; else got=bad; fi
    if [ "$got" != "$want" ]; then echo "$file with '$text': $got, expected $want"; cat "$tree/out"; fail=1; fi
    rm -f "$tree/$file"
}
printf 'int fd_here;\n' >"$tree/src/base/always.c"
expect good src/io/a.c '#include "base/err.h"'
expect bad  src/base/a.h '#include "io/zipfile.h"'
expect bad  src/fdiv/a.c '#include "io/json.h"'
expect bad  src/nn/a.c '#include "cpu/pool.h"'
expect bad  models/a.c '#include "train/train.h"'
expect good src/train/a.c '#include "models/models.h"'
expect bad  src/io/a.c 'void f(void) { exit(1); }'
expect good src/main.c 'int main(void) { exit(1); }'
expect good src/io/a.c 'void f(void) { fd_exit(1); }  /* exit(1) */'
expect bad  src/io/a.c 'void f(void) { abort (); }'
expect bad  src/io/a.c 'void *f(void) { return malloc(3); }'
expect bad  src/io/a.c 'void f(void *p) { free(p); }'
expect good src/io/a.c 'void f(void *p) { fd_free(p); puts("free(p)"); }'
expect good src/base/mem.c 'void *f(void) { return malloc(3); }'
expect bad  src/nn/a.c 'void f(void) { dnnl_engine_create(0, 0, 0); }'
expect good src/cpu/a.c 'void f(void) { dnnl_engine_create(0, 0, 0); }'
expect bad  src/train/a.c '#include <mpi.h>'
expect good src/comm/mpi.c '#include <mpi.h>'
expect bad  src/nn/a.c '#include <oneapi/dnnl/dnnl.h>'
expect bad  cuda/a.cu '#include <cudnn.h>'
expect good cuda/cudnn_conv.c '#include <cudnn.h>'
expect bad  src/odd/a.c 'int x;'
exit $fail
