#!/bin/bash
# Build and run both images for real, as root, without a container engine and without a base from a registry:
# the base is made here from this machine's own package sources. One line per step; log of a failed step shown.
#
#   tests/containers.sh [PYTHON]      PYTHON: an interpreter with pip (default python3)
#
# 1. Dockerfile by buildah: hpc.doctor and a build of two structures by two ranks, through its entry point.
# 2. apptainer.def by Apptainer, where it can be had: %test, and slurm/build.sh with the image on two Slurm nodes.
set -euo pipefail

python=${1:-python3}
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/var/tmp}/afm-containers-XXXXXX")
store=(--root "$work/storage" --runroot "$work/run")
isolation=(--isolation chroot --network host)
fast_tmp=$work
[ -d /dev/shm ] && fast_tmp=/dev/shm   # package managers wait for the disk after every file

clean_up() {
    buildah "${store[@]}" rm --all >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean_up EXIT

step() { # step TITLE COMMAND...: run, and say in one line how it went
    local title=$1 start=$SECONDS
    shift
    if "$@" >"$work/log" 2>&1 </dev/null; then
        echo "ok      $title ($((SECONDS - start)) s)"
    else
        echo "FAILED  $title"
        tail -n 40 "$work/log"
        exit 1
    fi
}

pip_settings() { # write pip.conf for the image, and the local folders that it names, which builds mount
    "$python" - "$work/pip.conf" "$work/folders" <<'PYTHON'
import shlex, subprocess, sys
from pathlib import Path

listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
wanted, folders = {}, set()
for line in listed.stdout.splitlines():
    key, _, value = line.partition("=")
    name = key.rpartition(".")[2]
    if name in ("index-url", "extra-index-url", "find-links"):
        wanted[name] = shlex.split(value)[0].split()
for name, places in wanted.items():
    for place in places:
        path = Path(place.removeprefix("file://"))
        if path.is_absolute():  # an index's pages link to files beside it
            folders.add(str(path if name == "find-links" else path.parent))
lines = [f"{name} = {' '.join(places)}" for name, places in wanted.items()]
Path(sys.argv[1]).write_text("\n".join(["[global]", *lines, ""]))
Path(sys.argv[2]).write_text("".join(f"{folder}\n" for folder in sorted(folders)))
PYTHON
}

make_base() {
    local sources=/etc/apt/sources.list codename hooks=()
    [ -e /etc/apt/sources.list.d/debian.sources ] && sources=/etc/apt/sources.list.d/debian.sources
    codename=$(sed -n "s/^VERSION_CODENAME=//p" /etc/os-release)
    pip_settings
    while read -r folder; do hooks+=("--customize-hook=mkdir -p \"\$1$folder\""); done <"$work/folders"
    TMPDIR=$fast_tmp mmdebstrap --variant=minbase --include=ca-certificates "${hooks[@]}" \
        "--customize-hook=copy-in $work/pip.conf /etc" \
        "--customize-hook=copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs" \
        "$codename" "$work/base.tar" "$sources"
    local container
    container=$(buildah "${store[@]}" from scratch)
    buildah "${store[@]}" add "$container" "$work/base.tar" /
    buildah "${store[@]}" commit --rm "$container" localhost/base:local
}

build_image() {
    local mounts=()
    while read -r folder; do mounts+=(--volume "$folder:$folder:ro"); done <"$work/folders"
    buildah "${store[@]}" bud --format docker "${isolation[@]}" "${mounts[@]}" --build-arg BASE=localhost/base:local \
        --tag localhost/afm-recon:local .
    buildah "${store[@]}" from --name image localhost/afm-recon:local
    buildah "${store[@]}" inspect image |
        "$python" -c 'import json, sys; print(*json.load(sys.stdin)["OCIv1"]["config"]["Entrypoint"], sep="\0", end="\0")' \
            >"$work/entrypoint"
}

in_image() { # as docker run would: the image's own user, environment and entry point
    local entrypoint
    mapfile -d '' -t entrypoint <"$work/entrypoint"
    buildah "${store[@]}" run "${isolation[@]}" --volume "$work/data:/data" --workingdir /data image -- "${entrypoint[@]}" "$@"
}

make_data() { # the two smallest structures, in a folder that the image's user may write to
    mkdir -p "$work/data/structures"
    find examples/structures -name '*.gz' -printf '%s %p\n' | sort -n | head -n 2 | cut -d ' ' -f 2- |
        xargs -I{} cp {} "$work/data/structures"
    chmod a+x "$work"
    chmod -R a+rwX "$work/data"
}

small=(--num-views 2 --grid-size 64 --target-size 32 --image-size 64)

build_dataset_in_image() {
    in_image mpiexec -n 2 python -m mpi4py -m afmsim.build \
        --structures /data/structures --store /data/docker.zarr "${small[@]}"
}

build_sif() {
    local mounts=()
    while read -r folder; do mounts+=(--bind "$folder:$folder:ro"); done <"$work/folders"
    buildah "${store[@]}" push localhost/base:local "oci-archive:$work/base.oci.tar"
    apptainer build "${mounts[@]}" --mksquashfs-args "-comp zstd -Xcompression-level 1" \
        --build-arg BOOTSTRAP=oci-archive --build-arg "BASE=$work/base.oci.tar" "$work/image.sif" apptainer.def
}

build_dataset_on_slurm() {
    IMAGE=$work/image.sif BINDS=$work STRUCTURES=structures STORE=slurm.zarr "$python" -m tests.helpers.slurm_shell \
        sbatch --wait --ntasks-per-node=1 --chdir="$work/data" --output="$work/job.log" slurm/build.sh "${small[@]}" ||
        { cat "$work/job.log"; return 1; }
}

step "base image from this machine's package sources" make_base
step "Dockerfile built by buildah" build_image
make_data
step "hpc.doctor in the image" in_image hpc.doctor
step "dataset of two structures by two ranks in the image" build_dataset_in_image

if ! "$python" tests/helpers/install_apptainer.py >"$work/log" 2>&1; then
    echo "skipped Apptainer: $(tail -n 1 "$work/log")"
    exit 0
fi
# As root without all capabilities; the temporary sandbox holds the whole image.
export APPTAINER_DROP_CAPS=CAP_SYS_RESOURCE APPTAINER_TMPDIR=$work APPTAINER_CACHEDIR=$work/cache
step "apptainer.def built and its %test passed" build_sif
step "hpc.doctor in the Apptainer image" apptainer run "$work/image.sif" hpc.doctor
step "slurm/build.sh with the Apptainer image on two Slurm nodes" build_dataset_on_slurm
step "the same chunks and table from both images" \
    diff -r --exclude=journal --exclude=zarr.json "$work/data/docker.zarr" "$work/data/slurm.zarr"
