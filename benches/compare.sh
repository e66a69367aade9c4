#!/bin/sh
# How fast messages of 4 KiB are accepted durably from a peer, from a mail program and by a carrier, and how fast they reach
# another node, ours beside Postfix, in turn, on the same disk.
#
#   benches/compare.sh [DIRECTORY [accept | deposits | submission]]         (as root: Postfix changes to its own user)
#
# The directory (default: TMPDIR, or /var/tmp) must be on a disk. Postfix runs from a configuration, queue and port of its
# own there and is stopped at the end; the system's Postfix is not touched. It accepts every message and puts it on
# hold: that is durable acceptance without any delivery. At a second port it takes mail and hands it to the first one:
# delivered is what is durable there. Needs postfix with smtp-source (Debian: postfix).
set -eu

rounds=3
messages=2000
dir=$(mktemp -d "${1:-${TMPDIR:-/var/tmp}}/compare.XXXXXX")
what=${2:-all}
port=$((20000 + $$ % 20000))
cd "$(dirname "$0")/.."

for program in postfix smtp-source; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || { echo "$program is not installed: nothing to compare with"; exit 1; }
done
PATH=$PATH:/usr/sbin
[ "$(id -u)" = 0 ] || { echo "Postfix must be started by root"; exit 1; }

# Built before anything is measured.
bench=$(cargo bench --bench accept --no-run 2>&1 | sed -n 's/.*Executable .*(\(.*\))$/\1/p')
submission=$(cargo bench --bench submission --no-run 2>&1 | sed -n 's/.*Executable .*(\(.*\))$/\1/p')
carrier=$(cargo bench --bench carrier --no-run 2>&1 | sed -n 's/.*Executable .*(\(.*\))$/\1/p')
[ -x "$bench" ] && [ -x "$submission" ] && [ -x "$carrier" ] || { echo "the benchmarks could not be built"; exit 1; }

stop() {
    postfix -c "$dir/etc" stop 2>/dev/null || true
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 1' INT TERM

chmod 755 "$dir"
mkdir "$dir/etc" "$dir/queue" "$dir/data" "$dir/ours"
chown postfix "$dir/data"
touch "$dir/etc/main.cf" "$dir/etc/master.cf"
daemons=$(postconf -c "$dir/etc" -h daemon_directory)
cat >"$dir/etc/main.cf" <<END
compatibility_level = 3.6
queue_directory = $dir/queue
data_directory = $dir/data
command_directory = /usr/sbin
daemon_directory = $daemons
mail_owner = postfix
setgid_group = postdrop
myhostname = bench.invalid
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
disable_dns_lookups = yes
local_recipient_maps =
alias_maps =
alias_database =
default_transport = smtp:[127.0.0.1]:$port
maillog_file =
END
cat >"$dir/etc/master.cf" <<END
127.0.0.1:$port inet n - n - - smtpd
  -o smtpd_data_restrictions=check_client_access,static:HOLD
127.0.0.1:$((port + 1)) inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
END
postfix -c "$dir/etc" start 2>"$dir/start" || { cat "$dir/start"; exit 1; }

now() { date +%s.%N; }

# Messages per second that Postfix takes over so many connections, which stay open as ours do.
theirs() {
    begin=$(now)
    smtp-source -4 -d -s "$1" -l 4096 -m $messages -f a@bench.invalid -t b@example.invalid "127.0.0.1:$port"
    awk -v m=$messages -v b="$begin" -v e="$(now)" 'BEGIN { printf "%.0f", m / (e - b) }'
}

# Ours, taken by a node or a carrier.
ours() {
    case $1 in
    accept) "$bench" "$dir/ours" "$2" "$3" ;;
    deposits) TMPDIR="$dir/ours" "$carrier" deposits "$2" "$3" ;;
    esac | sed -n 's/.*rate=\([0-9]*\).*/\1/p'
}

held() { find "$dir/queue/hold" -type f | wc -l; }

# The same, until the other one holds them all.
theirs_delivered() {
    find "$dir/queue/hold" -type f -delete
    begin=$(now)
    smtp-source -4 -d -s "$1" -l 4096 -m $messages -f a@bench.invalid -t b@example.invalid "127.0.0.1:$((port + 1))"
    while [ "$(held)" -lt $messages ]; do sleep 0.02; done
    awk -v m=$messages -v b="$begin" -v e="$(now)" 'BEGIN { printf "%.0f", m / (e - b) }'
}

# Ours, of submission: submit or deliver.
ours_of() {
    TMPDIR="$dir/ours" "$submission" "$2" | sed -n "s/^$1: .*rate=\([0-9]*\).*/\1/p"
}

"$bench" "$dir/ours" 1 1 | sed -n 1p
echo "Postfix $(postconf -c "$dir/etc" -h mail_version); $(nproc) processors; load $(cut -d' ' -f1-3 /proc/loadavg)"
theirs 10 >/dev/null # its processes are up then
expected=$(held)
[ "$expected" = $messages ] || { echo "Postfix holds $expected messages of $messages"; exit 1; }
case $what in accept | deposits) kinds=$what ;; submission) kinds= ;; *) kinds="accept deposits" ;; esac
for kind in $kinds; do
    for setting in 1,1 1,4 10,1 10,4; do
        set -- ${setting%,*} ${setting#*,}
        for round in $(seq $rounds); do
            their=$(theirs "$1")
            our=$(ours $kind "$1" "$2")
            ratio=$(awk -v a="$our" -v b="$their" 'BEGIN { printf "%.2f", a / b }')
            echo "$kind sessions=$1 window=$2 round=$round ours=$our/s postfix=$their/s ratio=$ratio load=$(cut -d' ' -f1 /proc/loadavg)"
            echo "$ratio" >>"$dir/ratios.$kind.$1.$2"
        done
        echo "$kind sessions=$1 window=$2 median ratio: $(sort -n "$dir/ratios.$kind.$1.$2" | sed -n "$(((rounds + 1) / 2))p")"
    done
done
case $what in accept | deposits) exit 0 ;; esac
for sessions in 1 10; do
    for how in submit deliver; do
        for round in $(seq $rounds); do
            case $how in submit) their=$(theirs $sessions) ;; deliver) their=$(theirs_delivered $sessions) ;; esac
            our=$(ours_of $how $sessions)
            ratio=$(awk -v a="$our" -v b="$their" 'BEGIN { printf "%.2f", a / b }')
            echo "$how sessions=$sessions round=$round ours=$our/s postfix=$their/s ratio=$ratio load=$(cut -d' ' -f1 /proc/loadavg)"
            echo "$ratio" >>"$dir/ratios.$how.$sessions"
        done
        echo "$how sessions=$sessions median ratio: $(sort -n "$dir/ratios.$how.$sessions" | sed -n "$(((rounds + 1) / 2))p")"
    done
done
