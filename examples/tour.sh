#!/bin/sh
# The main job, start to end: real events in, three questions answered, then a prompt if there is a terminal.
# The events are 1,753 of the departures, landings and cancellations of three planes in 2013 (public domain data).
set -eu
cd "$(dirname "$0")/.."

cargo build --release --quiet
bygone=$PWD/target/release/bygone
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
file=$folder/plane.bygone

show() {
    printf '\n\033[1m$ bygone plane.bygone -c "%s"\033[0m\n' "$1"
    "$bygone" "$file" --format "${2:-table}" -c "$1"
}

printf '\033[1m$ bygone import plane.bygone examples/flights.jsonl\033[0m\n'
"$bygone" import "$file" examples/flights.jsonl
show "HISTORY Plane N14228 LIMIT 3"
show "AT Plane N14228 '2013-06-01'"
show "SUBSCRIBE 'Plane.c*' FROM START LIMIT 5"

if [ -t 0 ] && [ -t 1 ]; then
    printf '\nYour turn: EVENTS, HISTORY, AT, REPLAY, EMIT, SUBSCRIBE, SHOW TYPES … (.help for more, Ctrl-D to leave)\n'
    "$bygone" "$file"
fi
