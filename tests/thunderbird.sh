#!/bin/sh
# Starts Thunderbird with a profile, on the X server of $DISPLAY, gives it the password (first line of standard input)
# when it asks, and opens the newest message; then waits to be ended. `tests/thunderbird.rs` watches from the node's side.
#
#     xvfb-run thunderbird.sh PROFILE
set -eu

profile=$1
read -r password

thunderbird --no-remote --profile "$profile" >"$profile/../thunderbird.log" 2>&1 &
thunderbird=$!
trap 'kill "$thunderbird" 2>/dev/null || true' EXIT
trap 'exit 1' INT TERM

# Waits for a window whose title matches; there is no window manager, so the title is all there is.
window() {
    tries=0
    until xdotool search --name "$1" 2>/dev/null | head -n 1 | grep .; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { echo "no window called $1" >&2; exit 1; }
        kill -0 "$thunderbird" || { echo "Thunderbird ended" >&2; exit 1; }
        sleep 0.2
    done
}

asking=$(window '^Enter your password for ')
# A window that is not shown yet takes no focus.
until xdotool windowfocus "$asking" 2>/dev/null; do
    sleep 0.5
done
# The prompt takes keys only a moment after its title is there, so a wrong beginning is cleared and typed anew.
tries=0
while xdotool search --name '^Enter your password for ' >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || { echo "the password was not taken" >&2; exit 1; }
    sleep 1
    xdotool key ctrl+a
    xdotool type --delay 20 "$password"
    xdotool key Return
    sleep 2
done

inbox=$(window '^Inbox - ')
echo "logged in"
# F jumps to the next unread message and opens it; pressed until somebody ends this, as the list may still be filling.
while kill -0 "$thunderbird" 2>/dev/null; do
    sleep 2
    xdotool windowfocus "$inbox" key f || true
done
