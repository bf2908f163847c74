#!/bin/bash
# What it needs: swift-proxy swift-account swift-container swift-object memcached (Debian), bash, curl. Started by test/servers/server.ts.
# start-swift.sh DIR PORT: single-node OpenStack Swift with the S3 API on 127.0.0.1 (PORT..PORT+4).
# S3 key test:tester / testing; native API: http://127.0.0.1:PORT/auth/v1.0, same user and key.
set -e
D=$(realpath -m "$1"); P=$2; ME=$(id -un)
mkdir -p $D/etc $D/srv/d1 $D/log; : > $D/pids
bg() { setsid "$@" > $D/log/$(basename $1).log 2>&1 < /dev/null & echo $! >> $D/pids; }
printf '[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n[storage-policy:0]\nname = default\ndefault = yes\n' > $D/etc/swift.conf
i=1
for s in account container object; do
cat > $D/etc/$s.conf <<X
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $((P+i))
user = $ME
swift_dir = $D/etc
devices = $D/srv
mount_check = false
workers = 0
log_level = WARNING
fallocate_reserve = 0
[pipeline:main]
pipeline = $s-server
[app:$s-server]
use = egg:swift#$s
X
[ -e $D/etc/$s.ring.gz ] || (cd $D/etc; swift-ring-builder $s.builder create 4 1 0; swift-ring-builder $s.builder add r1z1-127.0.0.1:$((P+i))/d1 1; swift-ring-builder $s.builder rebalance) >> $D/log/ring.log 2>&1 || true
i=$((i+1))
done
cat > $D/etc/proxy.conf <<X
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $P
user = $ME
swift_dir = $D/etc
workers = 0
log_level = WARNING
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth copy slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$((P+4))
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
X
for f in catch_errors gatekeeper healthcheck listing_formats bulk copy slo dlo symlink; do printf '[filter:%s]\nuse = egg:swift#%s\n' $f $f >> $D/etc/proxy.conf; done
command -v memcached >/dev/null && bg memcached -u $ME -l 127.0.0.1 -p $((P+4))   # only the native API needs it
# the proxy comes last: what it cannot reach at first it leaves alone for a minute
for s in account container object; do bg /usr/bin/swift-$s-server "$D/etc/$s.conf" -v; done
for i in 1 2 3; do
  for n in $(seq 300); do curl -s -o /dev/null "http://127.0.0.1:$((P + i))/" && break; sleep 0.1; done
done
bg /usr/bin/swift-proxy-server "$D/etc/proxy.conf" -v
U=http://127.0.0.1:$P
for n in $(seq 300); do
  T=$(curl -s -D - -o /dev/null -H 'X-Auth-User: test:tester' -H 'X-Auth-Key: testing' "$U/auth/v1.0" | tr -d '\r' | sed -n 's/^X-Auth-Token: //Ip')
  [ -n "$T" ] && curl -sf -o /dev/null -X PUT -H "X-Auth-Token: $T" "$U/v1/AUTH_test/ready" && exit 0
  sleep 0.1
done
exit 1
