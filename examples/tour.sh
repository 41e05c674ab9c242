#!/bin/sh
# The main job, start to end: real events in, some questions answered, then a prompt if there is a terminal.
# The events are 1,753 of the departures, landings and cancellations of three planes in 2013 (public domain data).
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"

echo 'building… (a few minutes the first time)' >&2
cargo build --release --quiet
PATH=$(CDPATH='' cd -- "${CARGO_TARGET_DIR:-target}" && pwd)/release:$PATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

if [ -t 1 ]; then bold='\033[1m' plain='\033[0m'; else bold='' plain=''; fi

say() {
    printf "\n$bold%s$plain\n" "\$ $1"
}

ask() {
    say "bygone plane.bygone -c \"$1\""
    bygone plane.bygone --format table -c "$1"
}

say 'bygone import plane.bygone examples/flights.jsonl'
bygone import plane.bygone "$root/examples/flights.jsonl"
ask "HISTORY Plane N14228 LIMIT 3"
ask "AT Plane N14228 '2013-06-01'"
ask "BLAME Plane N14228 '2013-06-01'"
ask "DIFF Plane N14228 FROM '2013-05-31' TO '2013-06-01'"
ask "SUBSCRIBE 'Plane.c*' FROM START LIMIT 5"

# A payment that occurred in January and was recorded in February: what was true, and what was known.
say 'bygone import invoices.bygone examples/invoices.jsonl --restore'
bygone import invoices.bygone "$root/examples/invoices.jsonl" --restore
for question in "AT Invoice 9 '2026-02-01'" "AT Invoice 9 '2026-02-01' AS OF '2026-02-01'" "REPLAY Invoice 9 STEPS"; do
    say "bygone invoices.bygone -c \"$question\""
    bygone invoices.bygone --format table -c "$question"
done

if [ -t 0 ] && [ -t 1 ]; then
    printf '\nYour turn: EVENTS, HISTORY, AT, BLAME, DIFF, FIND, REPLAY, EMIT, SUBSCRIBE, SHOW TYPES … (.help for more, Ctrl-D to leave)\n'
    bygone plane.bygone
fi
