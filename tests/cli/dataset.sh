#!/bin/sh
# dataset create, check and stats; damaged and hostile sets.
. "$SOURCE/tests/cli/common.sh"

png_3x2=iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAHElEQVR4nGPgOiH3n4GB64QcI9cJOQYGBgYGBgAzcgPRvNMzoAAAAABJRU5ErkJggg==

# The procedural set: the same bytes for any number of threads; another seed is another set.
good dataset create sprites --dest a.zip --num 300 --seed 1 --threads 1
good dataset create sprites --out b.zip --num 300 --seed 1 --threads 2
good dataset create sprites --dest c.zip --num 300 --seed 2
same a.zip b.zip
cmp -s a.zip c.zip && bad "two seeds gave one set"
good dataset check a.zip
has "300 images, 16 x 16, RGB, labels of dimension 10. 0 wrong" out
good dataset stats a.zip
has "classes, dimension 10" out
good dataset stats --json a.zip
has '"images": 300' out

# A set converted from itself holds the same pictures.
digest() { "$FDISTILL" dataset stats --json "$1" | grep digest; }
good dataset create --source a.zip --dest copy.zip
[ "$(digest a.zip)" = "$(digest copy.zip)" ] || bad "a converted set has another digest"
good dataset create --source a.zip --dest small.zip --transform scale --resolution 8 --max-size 100
good dataset check small.zip
has "100 images, 8 x 8" out
good dataset create --source a.zip --dest bare.zip --no-labels
good dataset check bare.zip
has "no labels" out

# EDM's and EDM2's transforms; gray pictures become RGB; a crop of three sides.
good dataset create --source a.zip --dest big.zip --transform scale --resolution 64x64 --max-size 8
for name in center-crop center-crop-dhariwal; do
    good dataset create --source big.zip --dest cropped.zip --transform $name --resolution 24
    good dataset check cropped.zip
    has "8 images, 24 x 24" out
done
good dataset create --source big.zip --dest bars.zip --transform center-crop-wide --resolution 32x20
good dataset check bars.zip
has "8 images, 32 x 32" out
refuse 1 "all 8 pictures are smaller than --resolution 66x20" dataset create --source big.zip --dest x.zip --transform center-crop-wide --resolution 66x20
mkdir mixed
printf 'P5 4 4 255\n0123456789abcdef' >mixed/gray.pgm
printf 'P6 4 4 255\n0123456789abcdef0123456789abcdef0123456789abcdef' >mixed/rgb.ppm
refuse 1 "makes all of them RGB" dataset create --source mixed --dest x.zip
good dataset create --source mixed --dest rgb.zip --transform center-crop --resolution 4
good dataset check rgb.zip
has "2 images, 4 x 4, RGB" out

# JPEG among lossless pictures is noted, whatever the names say; pictures of one kind are not.
mkdir codecs
cp "$SOURCE/tests/fuzz/corpus/image/gray.jpg" codecs/a.png
cp "$SOURCE/tests/fuzz/corpus/image/gray.png" codecs/b.png
"$FDISTILL" dataset check codecs >out 2>err
has "1 of 2 pictures are JPEG ('a.png')" out
rm codecs/b.png
"$FDISTILL" dataset check codecs >out 2>err
grep -q JPEG out && bad "a set of JPEGs alone is called mixed"

# Printing colours: the pixels of Pillow 13's convert("RGB"), which made this digest.
mkdir inks
cp "$SOURCE/tests/fuzz/corpus/image/cmyk.jpg" inks/a.jpg
digest inks | grep -q 7164bb4582f0f71d93b5ea89f8f5110942977c1a7f590b2446aca73158aebcc2 || bad "CMYK: $(digest inks)"

# Arrays are sets like others: MNIST's files, CIFAR-100's test part.
{ printf '\000\000\010\003\000\000\000\002\000\000\000\034\000\000\000\034'; head -c 1568 a.zip; } >t10k-images-idx3-ubyte
printf '\000\000\010\001\000\000\000\002\004\011' | gzip >labels.gz
gzip t10k-images-idx3-ubyte
refuse 1 "1 thing is wrong" dataset check labels.gz
has "not an idx file of bytes with 3 dimensions" out
cp labels.gz t10k-labels-idx1-ubyte.gz
good dataset check t10k-images-idx3-ubyte.gz
has "2 images, 32 x 32, gray, labels of dimension 10" out
good dataset stats t10k-images-idx3-ubyte.gz
grep -qx "name      t10k-images-idx3-ubyte" out || bad "the name of a gzipped set keeps its ending"
good dataset create --source t10k-images-idx3-ubyte.gz --dest mnist.zip
[ "$(digest t10k-images-idx3-ubyte.gz)" = "$(digest mnist.zip)" ] || bad "MNIST converted has another digest"
mkdir cifar-100-binary
{ printf '\001\143'; head -c 3072 a.zip; } >cifar-100-binary/test.bin
good dataset stats cifar-100-binary/test.bin
has "classes, dimension 100" out
{ printf '\001\144'; head -c 3072 a.zip; } >cifar-100-binary/train.bin
refuse 1 "has the label 100; 0 to 99 are possible" dataset create --source cifar-100-binary --dest x.zip
head -c 3073 cifar-100-binary/train.bin >cifar-100-binary/cut && mv cifar-100-binary/cut cifar-100-binary/train.bin
refuse 1 "no whole number of CIFAR-100, binary version's records" dataset stats cifar-100-binary

# Wrong use.
refuse 2 "neither N nor WxH" dataset create --source a.zip --dest x.zip --transform scale --resolution 16x
refuse 2 "only center-crop-wide" dataset create --source a.zip --dest x.zip --transform center-crop --resolution 32x16
refuse 2 "not higher than wide" dataset create --source a.zip --dest x.zip --transform center-crop-wide --resolution 16x32
refuse 2 "sprites are square" dataset create sprites --dest x.zip --resolution 32x16
refuse 2 "--dest FILE.zip is missing" dataset create sprites
refuse 2 "does not end in .zip" dataset create sprites --dest x.tar
refuse 2 "unknown set 'sprite'" dataset create sprite --dest x.zip
refuse 2 "--source PATH is missing" dataset create --dest x.zip
refuse 2 "exclude each other" dataset create sprites --source a.zip --dest x.zip
refuse 2 "needs --resolution" dataset create --source a.zip --dest x.zip --transform center-crop
refuse 2 "--num: 0 is not in" dataset create sprites --dest x.zip --num 0
refuse 2 "PATH is missing" dataset check
refuse 2 "did you mean 'check'?" dataset chek
absent x.zip x.tar

# Damaged and hostile sets: one line, nothing written, no crash.
refuse 1 "nowhere.zip" dataset check nowhere.zip
: >empty.zip
refuse 1 "empty.zip" dataset check empty.zip
printf 'PK\003\004 this is no archive, only its first bytes' >fake.zip
refuse 1 "fake.zip" dataset check fake.zip
size=$(wc -c <a.zip)
for keep in 1 30 1000 $((size / 2)) $((size - 30)) $((size - 1)); do
    head -c "$keep" a.zip >cut.zip
    refuse 1 "cut.zip" dataset check cut.zip
    refuse 1 "cut.zip" dataset stats cut.zip
    refuse 1 "cut.zip" dataset create --source cut.zip --dest x.zip
    absent x.zip
done
head -c 200 a.zip >glued.zip; cat a.zip >>glued.zip
"$FDISTILL" dataset check glued.zip >out 2>err; [ $? -le 1 ] || bad "an archive with bytes before it crashed the check"
for at in 40 300 2000 $((size - 10)) $((size - 100)) $((size - 4000)); do
    cp a.zip bent.zip
    printf '\377\377\377' | dd of=bent.zip bs=1 seek="$at" conv=notrunc 2>/dev/null
    "$FDISTILL" dataset check bent.zip >out 2>err
    [ $? -le 1 ] || { bad "changed bytes at $at crashed the check"; cat err; }
done

# Folders.
mkdir -p set/0 set/1 nothing
for i in 1 2 3; do
    echo $png_3x2 | base64 -d >set/0/$i.png
    echo $png_3x2 | base64 -d >set/1/$i.png
done
refuse 1 "" dataset check nothing
refuse 1 "not square" dataset create --source set --dest x.zip
good dataset create --source set --dest square.zip --transform center-crop --resolution 4
good dataset check square.zip
has "6 images, 4 x 4, RGB, labels of dimension 2" out
head -c 40 set/0/1.png >set/0/cut && mv set/0/cut set/0/1.png
refuse 1 "1.png" dataset create --source set --dest x.zip --transform center-crop --resolution 4
absent x.zip
echo $png_3x2 | base64 -d >set/0/1.png
for text in '{"labels": [["0/1.png", 1]' '{"labels": [["0/1.png"]]}' '{"labels": [["0/1.png", -1]]}' '[]' '' '{"labels": 7}' \
            '{"labels": [["../../etc/passwd", 1]]}'; do
    printf '%s' "$text" >set/dataset.json
    "$FDISTILL" dataset create --source set --dest x.zip --transform center-crop --resolution 4 >out 2>err
    [ $? -eq 1 ] || bad "dataset.json '$text' was accepted or crashed: $(cat out err)"
    [ "$(wc -l <err)" -eq 1 ] || bad "dataset.json '$text': $(wc -l <err) lines on stderr"
    absent x.zip
done
rm set/dataset.json

# Places that cannot be written.
echo >file
refuse 1 "file/x.zip" dataset create sprites --dest file/x.zip --num 5
refuse 1 "no-such-folder/x.zip" dataset create sprites --dest no-such-folder/x.zip --num 5
mkdir x.zip
refuse 1 "x.zip" dataset create sprites --dest x.zip --num 5
[ -z "$(find . -name '*.tmp-*')" ] || bad "temporary files were left behind: $(find . -name '*.tmp-*')"
finish
