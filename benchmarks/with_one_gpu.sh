#!/usr/bin/env bash
# Runs a command that sees one of several NVIDIA GPUs, and has its share of the processors.
#
#     benchmarks/with_one_gpu.sh NUMBER COMMAND [ARGUMENT]...
#
# CUDA_VISIBLE_DEVICES hides a device from CUDA alone, not from Vulkan and NVML. Here the command has a /dev of its own
# with the file of one GPU; it is read-only, because the driver's tools make missing files anew. Processors are cut into
# as many equal parts as there are GPUs. Needs root, for the mounts, which nobody else sees and which end with the
# command. Ends with what the command ends with; 2 where that GPU is not there.
set -euo pipefail

if [ "${2:-}" = "" ]; then
    echo "usage: $0 NUMBER COMMAND [ARGUMENT]..." >&2
    exit 2
fi
if [ "${WITH_ONE_GPU:-}" = "" ]; then
    WITH_ONE_GPU=yes exec unshare --mount "$0" "$@"
fi
unset WITH_ONE_GPU
number=$1
shift
gpus=(/dev/nvidia[0-9]*)
if [ ! -e "/dev/nvidia$number" ]; then
    echo "error: there is no /dev/nvidia$number" >&2
    exit 2
fi

own=$(mktemp -d)
mount -t tmpfs -o mode=755 tmpfs "$own"
shared=(null zero full random urandom tty ptmx fd stdin stdout stderr)
drivers=(nvidiactl nvidia-modeset nvidia-uvm nvidia-uvm-tools nvidia-caps "nvidia$number")
for name in "${shared[@]}" "${drivers[@]}"; do
    if [ -e "/dev/$name" ]; then
        cp -a "/dev/$name" "$own/"
    fi
done
mkdir "$own/shm" "$own/pts"
mount -t tmpfs tmpfs "$own/shm"
mount --bind /dev/pts "$own/pts"
mount -o remount,ro,mode=755 "$own"
mount --rbind "$own" /dev
umount --lazy "$own"
rmdir "$own"

part=$(($(nproc) / ${#gpus[@]}))
part=$((part > 0 ? part : 1))
for position in "${!gpus[@]}"; do
    if [ "${gpus[$position]}" = "/dev/nvidia$number" ]; then
        break
    fi
done
first=$((position * part % $(nproc)))
exec taskset -c "$first-$((first + part - 1))" "$@"
