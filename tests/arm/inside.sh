# Runs in namespaces of its own: inside.sh ROOT MAGIC MASK QEMU CHECKOUT RESULTS PROCESSOR COMMAND...
set -e
root=$1 magic=$2 mask=$3 qemu=$4 checkout=$5 results=$6 processor=$7
shift 7
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
# F: qemu is opened now, and need not be in the root.
echo ":arm:M::$magic:$mask:$qemu:F" > /proc/sys/fs/binfmt_misc/register
mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/srv/checkout" "$root/srv/results"
mount --rbind /proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$checkout" "$root/srv/checkout"
mount --bind "$results" "$root/srv/results"
mount --bind "$results/$processor.cpuinfo" "$root/proc/cpuinfo"
exec chroot "$root" /bin/sh -c 'cd /srv/checkout && exec "$@"' sh "$@"
