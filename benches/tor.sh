#!/bin/sh
# How fast 24 MiB go over Tor from one node to another, beside a bare stream of the same arti and beside C-tor, in turn, on
# one private Tor network on loopback, with the medians and their ratios.
#
#   benches/tor.sh [ROUNDS]         (default: 3; RELAYS=8 in the environment for another number of relays)
#
# Needs Debian's tor; no tor service is used or touched. What is measured is said in benches/tor.rs. Everything ends with
# this script.
set -eu

rounds=${1:-3}
cd "$(dirname "$0")/.."
command -v tor >/dev/null || PATH=$PATH:/usr/sbin command -v tor >/dev/null || { echo "tor is not installed: nothing to compare with"; exit 1; }
PATH=$PATH:/usr/sbin

# Built before anything is measured.
bench=$(cargo bench --bench tor --no-run 2>&1 | sed -n 's/.*Executable .*(\(.*\))$/\1/p')
[ -x "$bench" ] || { echo "the benchmark could not be built"; exit 1; }

figures=$(mktemp "${TMPDIR:-/tmp}/tor.XXXXXX")
trap 'rm -f "$figures"' EXIT
trap 'exit 1' INT TERM

echo "$(tor --version | sed -n 1p) $(nproc) processors; load $(cut -d' ' -f1-3 /proc/loadavg)"
# Bounded: a start of the network and of everything on it, and up to two minutes for each round.
timeout $((600 + rounds * 120)) "$bench" "$rounds" | tee "$figures"

# The median of a figure of a kind.
median() {
    sed -n "s/^$1 .* $2=\([0-9.]*\).*/\1/p" "$figures" | sort -n |
        awk '{ v[NR] = $1 } END { if (NR == 0) exit 1; print (v[int((NR + 1) / 2)] + v[int((NR + 2) / 2)]) / 2 }'
}

# The median, over the rounds, of the ratio of two kinds in the same round.
ratio() {
    awk -v a="$1" -v b="$2" '
        match($0, / rate=[0-9.]+/) { rate[$1, $2] = substr($0, RSTART + 6, RLENGTH - 6); seen[$2] }
        END { for (round in seen) if (rate[b, round] > 0) print rate[a, round] / rate[b, round] }' "$figures" |
        sort -n | awk '{ v[NR] = $1 } END { if (NR == 0) exit 1; printf "%.2f", (v[int((NR + 1) / 2)] + v[int((NR + 2) / 2)]) / 2 }'
}

for kind in node arti arti-lite tor; do
    echo "$kind median: $(median $kind rate) MiB/s"
done
echo "from submission to INBOX, median: $(median node whole_rate) MiB/s"
for pair in node,arti node,tor arti,tor arti-lite,tor; do
    echo "${pair%,*} / ${pair#*,} median ratio: $(ratio "${pair%,*}" "${pair#*,}")"
done
