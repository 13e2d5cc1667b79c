#!/bin/sh
# Runs a program in an unpacked image as a container engine does: with the image as its root, which it
# can't write to, as its user, without capabilities or a way to new ones.
#
#   ROOT=UNPACKED USER=65532:65532 MOUNTS="FROM:TO[:ro] ..." container.sh PROGRAM [ARGUMENT]...
#
# The variables of the environment that begin with IN_ are those of the program, without IN_.
set -eu

mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
for each in $MOUNTS; do
  from=${each%%:*} to=${each#*:}
  to=${to%:ro}
  mkdir -p "$ROOT$to" # as an engine does, where the image has no such folder
  mount --bind "$from" "$ROOT$to"
  case $each in *:ro) mount -o remount,bind,ro "$ROOT$to" ;; esac
done
mount -o remount,bind,ro,nosuid,nodev "$ROOT"

set -- "$(command -v chroot)" --userspec="$USER" --groups= "$ROOT" "$@"
for name in $(env | sed -n 's/^IN_\([A-Z_]*\)=.*/\1/p'); do
  eval "set -- \"$name=\$IN_$name\" \"\$@\""
done
exec setpriv --no-new-privs env -i "$@"
