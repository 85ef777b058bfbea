#!/bin/sh
# Builds the program `repaint`, fills holes in a few small faces with the model that comes with the repository, and
# leaves one contact sheet: the picture, the picture with its hole, and four fills of it in each row.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"

program_tree=build/program
out=build/demo
model=examples/models/faces32.safetensors
pictures=examples/models/demo
size=32x32
samples=4
scale=4

say() { printf '%s\n' "$*"; }

# Runs a command, and shows what it printed only when it fails.
quietly() {
    if ! "$@" >build/demo.log 2>&1; then
        grep -v '^\[[0-9]*/' build/demo.log | tail -n 150 >&2
        say "failed: $*" >&2
        exit 1
    fi
}

# The backend cuda takes some minutes to compile: only where there is a device for it.
cuda=OFF
if nvidia-smi -L >/dev/null 2>&1; then
    cuda=AUTO
fi

build() {
    quietly cmake -S . -B "$program_tree" -G Ninja -D CMAKE_BUILD_TYPE=Release \
        -D REPAINT_BUILD_TESTS=OFF -D REPAINT_BUILD_EXAMPLES=ON -D REPAINT_CUDA="$cuda"
    quietly cmake --build "$program_tree" --parallel "$(nproc 2>/dev/null || echo 2)" \
        --target repaint_program contact_sheet
}

# start CASE PASSES SEED PICTURE: begins to fill the hole of $out/CASE.png in the picture, and adds a row to the contact sheet.
# The rows run side by side, each on one thread: a network this small gains nothing from more.
start() {
    name=$(basename "$4" .png)
    folder=$out/$1
    say "$1: $name"
    "$repaint" inpaint "$model" --image "$4" --keep "$out/$1.png" --samples "$samples" --seed "$3" --threads 1 --quiet \
        --timesteps 50 --jump-length 10 --jump-n-sample "$2" -o "$folder" &
    started="$started $!"
    row="$4,$4@$out/$1.png,$folder/$name.png"
    sample=2
    while [ "$sample" -le "$samples" ]; do
        row="$row,$folder/$name-$sample.png"
        sample=$((sample + 1))
    done
    rows="${rows:+$rows }$row"
}

sh cmake/install-dependencies.sh build
rm -rf "$out"
mkdir -p "$out"

say "Building the program in $program_tree"
begin=$(date +%s)
build
repaint=$program_tree/examples/cli/repaint
say "Built in $(($(date +%s) - begin)) s: $repaint"

begin=$(date +%s)
rows=""
started=""
"$repaint" mask half --size "$size" -o "$out/half.png"
"$repaint" mask wide --size "$size" --seed 10 -o "$out/wide.png"
"$repaint" mask lines --size "$size" -o "$out/lines.png"
"$repaint" mask super-resolve --size "$size" -o "$out/super-resolve.png"

# The pictures take turns.
set -- "$pictures"/*.png
if [ ! -e "$1" ]; then
    say "There are no pictures in $pictures." >&2
    exit 1
fi
# Large holes need many passes to agree with what is around them; scattered ones hardly any.
seed=1
for case in half:8 wide:8 lines:2 super-resolve:2; do
    start "${case%:*}" "${case#*:}" "$seed" "$1"
    seed=$((seed + samples))
    first=$1
    shift
    set -- "$@" "$first"
done
for process in $started; do
    wait "$process"
done

# shellcheck disable=SC2086
"$program_tree/examples/contact_sheet" "$out/contact_sheet.png" "$scale" $rows
say "Filled in $(($(date +%s) - begin)) s."
say "The contact sheet: $root/$out/contact_sheet.png"
say "Each row: the picture, the picture with its hole, and $samples fills of the hole."
