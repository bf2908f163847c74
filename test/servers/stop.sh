#!/bin/bash
# stop.sh DIR [SIGNAL]: ends exactly the processes that start-*.sh recorded in DIR/pids and waits for them
for p in $(tac $1/pids); do kill -${2:-TERM} $p 2>/dev/null; done
for p in $(cat $1/pids); do for n in $(seq 200); do kill -0 $p 2>/dev/null || break; sleep 0.05; done; kill -9 $p 2>/dev/null; done; : > $1/pids
