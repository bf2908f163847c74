#!/bin/bash
# start-apache-dav.sh DIR PORT: WebDAV on DIR/root (below /digest/ with Digest), user alice / secret; as root the workers run as www-data
set -e; D=$(realpath -m "$1"); P=$2; M=/usr/lib/apache2/modules; mkdir -p $D/root/digest $D/log $D/lock
htpasswd -bcm $D/passwd alice secret 2>/dev/null; echo alice:dav:$(printf alice:dav:secret | md5sum | cut -d' ' -f1) > $D/digest; [ "$(id -u)" = 0 ] && chmod 755 $D && chown -R www-data:www-data $D/root $D/lock
cat > $D/httpd.conf <<X
ServerRoot $D
ServerName 127.0.0.1
Listen 127.0.0.1:$P
PidFile $D/httpd.pid
ErrorLog $D/log/error.log
User www-data
Group www-data
TypesConfig /etc/mime.types
DAVLockDB $D/lock/DavLock
DocumentRoot $D/root
$(for m in mpm_event authn_core authn_file authz_core authz_user auth_basic auth_digest mime dav dav_fs; do echo "LoadModule ${m}_module $M/mod_$m.so"; done)
<Location "/">
  DAV On
  AuthType Basic
  AuthName dav
  AuthUserFile $D/passwd
  Require valid-user
</Location>
<Location "/digest/">
  AuthType Digest
  AuthDigestProvider file
  AuthUserFile $D/digest
</Location>
X
apache2 -f $D/httpd.conf -k start
for i in $(seq 100); do [ -s $D/httpd.pid ] && break; sleep 0.05; done; cp $D/httpd.pid $D/pids
for i in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:$P/ && exit 0; sleep 0.05; done; exit 1
