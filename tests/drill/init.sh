#!/bin/busybox sh
# The first process of a guest, in the kernel's first file system: modules, the root out of its two images and memory.
/bin/busybox --install -s /bin
mkdir -p /dev /proc /sys
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do
    insmod "/modules/$module" || echo "init: $module cannot be loaded"
done </modules/order
mkdir -p /system /node /memory /new
until [ -b /dev/vda ] && [ -b /dev/vdb ]; do sleep 0.1; done
mount -t ext4 -o ro /dev/vda /system
mount -t ext4 -o ro /dev/vdb /node
mount -t tmpfs memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/node:/system,upperdir=/memory/upper,workdir=/memory/work root /new
for kept in dev proc sys; do mount --move "/$kept" "/new/$kept"; done
exec switch_root /new /usr/bin/python3 -u /usr/local/lib/drill/agent.py
