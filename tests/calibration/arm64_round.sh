#!/bin/bash
# The device half of the field round with the interpreter and numpy of a Raspberry Pi (Debian bookworm, arm64), under
# qemu-user. Opt-in: it downloads some 100 MB and needs the Debian packages qemu-user-static and mmdebstrap.
#
#   tests/calibration/arm64_round.sh FOLDER NAME.mgtaps FRAMES.npy [OTHER_FRAMES.npy...]
#
# FOLDER is made if it is not there and kept, so that the next run starts at once. Nothing is installed: Debian's
# packages are unpacked without running their scripts, and the wheels beside them. The processor is that of a Raspberry
# Pi 4: what QEMU emulates by default has SVE, for which this numpy's OpenBLAS multiplies wrongly.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1" && folder=$(cd "$1" && pwd)
taps=$(realpath "$2")
shift 2

if [ ! -e "$folder/root/usr/bin/python3.11" ]; then
    mmdebstrap --quiet --variant=extract --architectures=arm64 --include=python3.11,libstdc++6 bookworm "$folder/root"
fi
if [ ! -d "$folder/site/tflite_runtime" ]; then
    python3 -m pip download --quiet --only-binary=:all: --no-deps --dest "$folder/wheels" --python-version 311 \
        --implementation cp --abi cp311 --platform manylinux2014_aarch64 --platform manylinux_2_34_aarch64 \
        tflite-runtime==2.14.0 numpy==1.26.4
    for wheel in "$folder"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$folder/site"; done
fi
rm -rf "$folder/site/multigraft" && cp -r "$repository/core" "$folder/site/multigraft"
for part in devices runtime calibration; do cp -r "$repository/$part" "$folder/site/multigraft/$part"; done

multigraft() {
    qemu-aarch64-static -cpu cortex-a72 -L "$folder/root" -E PYTHONPATH="$folder/site" -E PYTHONHOME="$folder/root/usr" \
        "$folder/root/usr/bin/python3.11" -m multigraft.cli.main "$@"
}

number=0
outputs=()
for frames in "$@"; do
    number=$((number + 1))
    output="$folder/site-$number.mgstats"
    rm -f "$output"*
    # A part, then the rest: the second command resumes. Small minibatches, so that ranges between taps are in the file.
    multigraft calibrate collect "$taps" --source "$frames" --minibatch 16 --frames 128 -o "$output"
    multigraft calibrate collect "$taps" --source "$frames" --minibatch 16 -o "$output"
    outputs+=("$output")
done
multigraft calibrate combine "${outputs[@]}" -o "$folder/fleet.mgstats"
multigraft calibrate validate "$taps" --against "$taps" --source "$1" --frames 100 --min-agreement 0.97
