#!/bin/bash
# start-nginx-dav.sh DIR PORT: WebDAV on DIR/root, user alice / secret
set -e; D=$(realpath -m "$1"); P=$2; mkdir -p $D/root $D/tmp $D/log; htpasswd -bcm $D/passwd alice secret 2>/dev/null
[ "$(id -u)" = 0 ] && chmod 755 $D && chown -R www-data:www-data $D/root $D/tmp
cat > $D/nginx.conf <<X
load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;
user www-data; worker_processes 1; pid $D/nginx.pid; error_log $D/log/error.log;
events {}
http {
  access_log $D/log/access.log; client_max_body_size 0; client_body_temp_path $D/tmp; dav_ext_lock_zone zone=dav:1m;
  server { listen 127.0.0.1:$P; root $D/root;
    location / { auth_basic dav; auth_basic_user_file $D/passwd;
      dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS LOCK UNLOCK; dav_ext_lock zone=dav;
      create_full_put_path on; dav_access user:rw; } } }
X
nginx -c $D/nginx.conf
for i in $(seq 100); do [ -s $D/nginx.pid ] && break; sleep 0.05; done; cp $D/nginx.pid $D/pids
for i in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:$P/ && exit 0; sleep 0.05; done; exit 1
