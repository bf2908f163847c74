#!/bin/bash
# What it needs: radosgw ceph-mon ceph-osd (Debian), bash, curl. Started by test/servers/server.ts.
# start-rgw.sh DIR PORT: real Ceph (1 mon, 1 osd on a sparse file, radosgw) on 127.0.0.1.
# The same DIR a second time = restart with the data kept. Uses PORT, PORT+1 and PORT+10..+29.
set -e
D=$(realpath -m "$1"); P=$2; export CEPH_CONF=$D/ceph.conf; K=$D/keyring
mkdir -p $D/{mon,osd,rgw,run,log}; : > $D/pids
bg() { setsid "$@" > $D/log/$1.out 2>&1 < /dev/null & echo $! >> $D/pids; }
FIRST=; if [ ! -e $CEPH_CONF ]; then FIRST=1
cat > $CEPH_CONF <<X
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = v2:127.0.0.1:$((P+1))
mon initial members = a
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind port min = $((P+10))
ms bind port max = $((P+29))
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = $K
paxos propose interval = 0.05
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 1000
osd crush chooseleaf type = 0
osd objectstore = bluestore
bluestore block size = 10737418240
osd memory target = 939524096
mon data = $D/mon
osd data = $D/osd
rgw data = $D/rgw
admin socket = $D/run/\$name.asok
log file = $D/log/\$name.log
run dir = $D/run
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:$P
rgw thread pool size = 32
rgw run sync thread = false
rgw dynamic resharding = false
X
q() { "$@" >> $D/log/setup.log 2>&1; }
q monmaptool --create --addv a "v2:127.0.0.1:$((P+1))" --fsid $(sed -n 's/^fsid = //p' $CEPH_CONF) $D/monmap
q ceph-authtool --create-keyring $K --gen-key -n mon. --cap mon 'allow *'
q ceph-authtool $K --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
q ceph-authtool $K --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' --cap mgr 'allow profile osd'
q ceph-authtool $K --gen-key -n client.rgw --cap mon 'allow rw' --cap osd 'allow rwx' --cap mgr 'allow rw'
q ceph-mon -i a --mkfs --keyring $K --monmap $D/monmap
fi
bg ceph-mon -i a -f
if [ $FIRST ]; then
U=$(cat /proc/sys/kernel/random/uuid)
q timeout 30 ceph osd new $U 0
q ceph-osd -i 0 --mkfs --osd-uuid $U
fi
bg ceph-osd -i 0 -f
for n in $(seq 100); do ceph --admin-daemon $D/run/osd.0.asok status 2>/dev/null | grep -q '"active"' && break; sleep 0.1; done   # radosgw started too early hangs 8 s
[ $FIRST ] && q timeout 60 radosgw-admin user create --uid=tester --display-name=tester --access-key=tester --secret-key=testing
bg radosgw -n client.rgw -f
for n in $(seq 600); do curl -s -o /dev/null http://127.0.0.1:$P/ && exit 0; sleep 0.1; done; exit 1
