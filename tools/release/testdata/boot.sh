#!/bin/sh
# Boots systemd on a copy of this machine's root file system. The copy is a layer in memory: nothing
# that happens in it changes the machine. Of this machine's services none is started. The network is
# the machine's.
#
#   unshare --mount --pid --fork --uts --ipc --kill-child sh boot.sh FOLDER GROUP
#
# FOLDER is where the copy is mounted; GROUP is the name of a control group, which the caller removes.
# Exit status 77 says that this machine can't.
set -eu
trap 'exit 77' EXIT
folder=$1 group=$2

# In a namespace of its own for control groups, systemd sees and ends only what it has started.
if [ "${3-}" = "" ]; then
  for each in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [ -f "$each/cgroup.procs" ]; then
      mkdir -p "$each/$group"
      echo 0 >"$each/$group/cgroup.procs"
    fi
  done
  exec unshare --cgroup sh "$0" "$folder" "$group" inside
fi

mount --make-rprivate /
mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
cd "$folder/root"

mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs dev
for device in null zero full random urandom tty; do
  : >"dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp

# As this machine mounts them.
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs tmpfs sys/fs/cgroup
  mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
  mount -t cgroup -o none,name=systemd systemd sys/fs/cgroup/systemd
  mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
fi

rm -rf etc/systemd/system/*.wants
rm -f usr/sbin/policy-rc.d # with which a container's image keeps packages from starting services
mkdir old
pivot_root . old
cd /
umount -l /old
mount --make-rshared / # by which the credentials of a service get into its own mounts
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=basic.target --log-target=null --show-status=0 </dev/null
