#!/bin/sh
# --metric-ref and --metric-net: a run measures its snapshots, with the numbers of 'fid calc'.
. "$SOURCE/tests/cli/common.sh"
"$MAKE_NET" classifier classifier.safetensors || exit 1
good dataset create sprites --dest set.zip --num 64 --seed 1
good fid ref --data set.zip --net classifier.safetensors --dest ref.npz
set -- train --data set.zip --cond --cbase 8 --cres 1 --blocks 1 --no-attention --dropout 0 --batch 500 --iterations 4 --tick 1 \
    --snap 1 --dump 0 --grid 0 --metric-num 20
good "$@" --outdir runs --metric-ref ref.npz --metric-net classifier.safetensors
run=$(echo runs/00000-*)
[ "$(grep -c 'network-snapshot-.*: fd20 ' "$run/log.txt")" -eq 2 ] || { bad "not two measurements in the log"; cat "$run/log.txt"; }
[ "$(wc -l <"$run/metric-fd20.jsonl")" -eq 2 ] || bad "not two lines in metric-fd20.jsonl"
last=$(sed -n 's/.*"fd20": *\([0-9.e+-]*\).*/\1/p' "$run/metric-fd20.jsonl" | tail -n 1)
newest=$(ls "$run"/network-snapshot-*.safetensors | tail -n 1)
good fid calc --network "$newest" --num 20 --ref ref.npz --net classifier.safetensors --json --no-record
has "\"fd20\": $last" out

# Wrong from the start: refused. Gone later: the run goes on, and says so.
refuse 2 "--metric-ref" "$@" --outdir x --metric-ref ref.npz
refuse 2 "give the reference" "$@" --outdir x --metric-net classifier.safetensors
refuse 1 "nothing.npz" "$@" --outdir x --metric-ref nothing.npz --metric-net classifier.safetensors
refuse 2 "nonsense" "$@" --outdir x --metric-ref ref.npz --metric-net classifier.safetensors --metrics nonsense
absent x
finish
