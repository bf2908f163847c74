#!/bin/bash
# What it needs: openssh-server openssh-client (Debian), bash. Started by test/servers/server.ts.
# start-sshd.sh DIR PORT: SFTP on 127.0.0.1 for the current user, key DIR/id, host key pinned in DIR/known_hosts.
# PORT: SFTP and nothing else. PORT+1: with a shell, in which rclone computes hashes.
set -e
D=$(realpath -m "$1"); P=$2; mkdir -p $D/root; : > $D/pids
for k in host id; do [ -f $D/$k ] || ssh-keygen -q -t ed25519 -N '' -f $D/$k; done; cp $D/id.pub $D/authorized_keys
[ "$(id -u)" = 0 ] && mkdir -p /run/sshd
serve() {
cat > $D/sshd_config.$1 <<X
ListenAddress 127.0.0.1:$1
HostKey $D/host
PidFile none
AuthorizedKeysFile $D/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowUsers $(id -un)
Subsystem sftp internal-sftp
$2
X
setsid /usr/sbin/sshd -D -f $D/sshd_config.$1 -E $D/sshd.$1.log < /dev/null > /dev/null 2>&1 & echo $! >> $D/pids
printf '[127.0.0.1]:%s %s\n' $1 "$(cut -d' ' -f1,2 $D/host.pub)" >> $D/known_hosts
}
serve $P "ForceCommand internal-sftp -d $D/root"
serve $((P+1)) ""
for p in $P $((P+1)); do
  for i in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/$p) 2>/dev/null && continue 2; sleep 0.05; done; exit 1
done
