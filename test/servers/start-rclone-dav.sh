#!/bin/bash
# start-rclone-dav.sh DIR PORT: rclone serving DIR/root, user alice / secret
set -e; D=$(realpath -m "$1"); P=$2; mkdir -p $D/root
setsid rclone serve webdav $D/root --addr 127.0.0.1:$P --user alice --pass secret --config $D/none > $D/rclone.log 2>&1 < /dev/null & echo $! > $D/pids
for i in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:$P/ && exit 0; sleep 0.05; done; exit 1
