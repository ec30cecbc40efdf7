#!/bin/sh
# import: other people's weights. What is in them, which network they are, back to torch, and what is refused.
. "$SOURCE/tests/cli/common.sh"
files=$SOURCE/tests/golden/cases/import

# A network that other programs wrote becomes a file of ours, the same whatever the container.
good import "$files/net_ddpmpp.pkl" --out teacher.safetensors
has "EDM network pickle" out
has "EDMPrecond, SongUNet" out
has '"family":"ddpmpp","resolution":8' out
has "Copyright (c) the makers of this test fixture" out
has "all there, of the right shapes, finite" out
has "wrote        teacher.safetensors" out
good info teacher.safetensors
digest=$(grep '^digest' out)
has "cifar10-32x32.zip" out
has "Copyright (c) the makers" out
good import teacher.safetensors --export state.pt
good import state.pt --out again.safetensors
has "torch zip archive" out
has "the file does not say under which licence" out
good info again.safetensors
[ "$(grep '^digest' out)" = "$digest" ] || bad "export and import changed the weights: $(grep '^digest' out), $digest"
good import "$files/net_adm.pkl"
has "DhariwalUNet" out
good import "$files/net_ncsnpp.pkl"
has '"family":"ncsnpp"' out

# Used without a conversion: the same pictures.
good generate --network "$files/net_ddpmpp.pkl" --seeds 0-3 --steps 3 --grid direct.png --class 1
good generate --network teacher.safetensors --seeds 0-3 --steps 3 --grid converted.png --class 1
good generate --network state.pt --seeds 0-3 --steps 3 --outdir direct --class 1
good generate --network teacher.safetensors --seeds 0-3 --steps 3 --outdir converted --class 1
for i in 0 1 2 3; do same direct/00000$i.png converted/00000$i.png; done
[ -s direct.png ] || bad "no picture from a pickle"
good import state.pt --precond vp --out vp.safetensors
has "precond      vp" out
good generate --network vp.safetensors --seeds 0-1 --steps 3 --grid vp.png
refuse 1 "aux_conv.weight' has shape [3,4,3,3], the network wants [6,4,3,3]" import state.pt --precond iddpm
good import state.pt --sigma_init 80 --out student.safetensors
good info student.safetensors
has "one step from sigma 80" out

# Teachers and measured networks too.
"$MAKE_NET" teacher big.safetensors || exit 1
good import big.safetensors --export big.pth
good dataset create sprites --dest set.zip --num 40
good distill --teacher big.pth --data set.zip --cond --outdir runs --batch 4 --iterations 1 --dry-run
has "big.pth" out
good fid sprites --network big.pth --num 4 --steps 2 --json
has '"images": "big.pth' out
good info "$files/net_adm.pkl"
has "adm" out

# What a file contains, as text and JSON.
good import "$files/nested.pt" --list
has "'ema' 12 of them" out
has "  a.weight float32 [4, 3, 3, 3]" out
good import "$files/edm_new.pkl" --list --json
has '"class_name": "TinyPrecond"' out
has '"dropout": 0.13' out
has '"crc32"' out
good import "$files/ref_edm2_proto4.pkl" --list
has "array        'fid/mu' f8 [5]" out
good import "$files/nested.pt" --key model --out plain.safetensors
has "not a network that fdistill knows" out
good import plain.safetensors --list
has "  rank5 float32 [2, 1, 3, 1, 2]" out
good import "$files/song.safetensors" --raw --out song.safetensors
good import "$files/torchscript_tiny.pt" --list
has "  layers.conv.weight float32 [4, 3, 3, 3]" out

# Wrong use.
refuse 2 "no group of tensors called nothing; it has 2: 'model', 'ema'" import "$files/nested.pt" --key nothing
refuse 2 "FILE is missing" import
refuse 2 "--json: goes with --list" import "$files/nested.pt" --json
refuse 2 "--list: shows the file only" import "$files/nested.pt" --list --out x.safetensors
refuse 2 "--sigma_init: only for networks" import "$files/nested.pt" --sigma_init 80
refuse 1 "nowhere.pkl: cannot open" import nowhere.pkl
refuse 1 "is no network" generate --network "$files/nested.pt" --outdir x --seeds 0
refuse 1 "it holds no network" import "$files/ref_edm2_proto4.pkl"
refuse 1 "the file says that channel_mult has 2 entries" import "$files/edm_new.pkl" --out x.safetensors
refuse 1 "'c64' is complex64" import "$files/odd_dtype_complex.pt" --out x.safetensors
refuse 1 "nowhere/x.safetensors" import state.pt --out nowhere/x.safetensors
absent x x.safetensors
# A network whose tensors and arguments disagree.
LC_ALL=C sed 's/\(num_blocks.K\)\x01/\1\x02/' "$files/net_ddpmpp.pkl" >lies.pkl
cmp -s lies.pkl "$files/net_ddpmpp.pkl" && bad "no argument was changed"
refuse 1 "the file says num_blocks = 2, but its tensors have 1" import lies.pkl

# Hostile files: refused with one line, nothing executed, in less than a second and 64 MiB + 2 x the file.
mkdir hostile && cp "$files"/attacks/* hostile/ && rm hostile/expected.json
# many COUNT BYTE
many() { head -c "$1" /dev/zero | LC_ALL=C tr '\0' "$2"; }
{ printf '\200\002'; many 400000 '('; many 400000 t; printf .; } >hostile/bomb_marks.pkl
{ printf '\200\002'; many 300000 ']'; many 299999 a; printf .; } >hostile/bomb_lists.pkl
{ printf '\200\002)'; many 500000 '\205'; printf .; } >hostile/bomb_tuple1.pkl
{ printf L; many 300000 9; printf 'L\n.'; } >hostile/bomb_long_text.pkl
{ printf '\200\002'; many 2000000 ']'; printf .; } >hostile/bomb_many_lists.pkl
{ printf '\200\002'; many 4000000 N; printf .; } >hostile/bomb_constants.pkl
{ printf '\200\002'; yes N0 | tr -d '\n' | head -c 9000000; printf 'N.'; } >hostile/bomb_opcodes.pkl
measure() { "$BOUNDED" 60 "$FDISTILL" --quiet import "$1" --list --json 3>took >out 2>err && read -r code ms kib <took; }
measure "$files/state_zip.pt" || skip "no measure of time and memory on this system"
base=$kib
sed 's/},/},\n/g' "$files/attacks/expected.json" >verdicts
for f in hostile/*; do
    must=$(grep -F "\"file\":\"${f#hostile/}\"" verdicts | sed 's/.*"must":"\([a-z_]*\)".*/\1/')
    measure "$f"
    case ${must:-refuse}:$code in
        accept:0 | accept_or_refuse:[01] | refuse:1) ;;
        *) bad "$f: must ${must:-refuse}, exit code $code: $(head -c 200 err)" ;;
    esac
    if [ "$code" -eq 1 ]; then
        [ "$(wc -l <err)" -eq 1 ] && grep -q "^fdistill: $f: " err || bad "$f: no reason in one line: $(head -c 200 err)"
    fi
    [ ! -e PWNED ] || { bad "$f was executed"; rm PWNED; }
    [ "$SANITIZED" = 1 ] && continue      # sanitizers need far more of both
    size=$(wc -c <"$f")
    [ "$ms" -lt 1000 ] || bad "$f: took $ms ms"
    [ "$kib" -le $((base + 65536 + 2 * size / 1024)) ] || bad "$f: took $((kib - base)) KiB beyond the program's own $base"
done
finish
