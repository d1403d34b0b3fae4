# What a user without rights does with an installed Loqa, in the bare Debian of
# install-check.mjs: starts it, sees its window, asks it, quits it, and looks around.
# Every wait is for a condition, at most two minutes.
set -eu
export HOME=/home/ada XDG_RUNTIME_DIR=/home/ada/run LANG=C.UTF-8
mkdir -p -m 700 "$XDG_RUNTIME_DIR"
cd "$HOME"

until_true() { # WHAT COMMAND…
    what=$1; shift
    n=0
    until "$@" >/dev/null 2>&1; do
        n=$((n + 1))
        if [ "$n" -gt 600 ]; then echo "$what: not within two minutes"; tail -20 "$HOME"/*.log; exit 1; fi
        sleep 0.2
    done
}

Xvfb :9 -screen 0 1280x900x24 -nolisten tcp >"$HOME/xvfb.log" 2>&1 &
export DISPLAY=:9
until_true "the display" xdotool getmouselocation
eval "$(dbus-daemon --session --fork --print-address=1 --print-pid=1 | { read -r a; read -r p; echo "DBUS_SESSION_BUS_ADDRESS='$a' BUS=$p"; })"
export DBUS_SESSION_BUS_ADDRESS
pulseaudio -n --daemonize=no --exit-idle-time=-1 -L "module-null-sink sink_name=speaker" -L module-native-protocol-unix >"$HOME/sound.log" 2>&1 &

began=$(date +%s%N)
/usr/bin/loqa-desktop >"$HOME/app.log" 2>&1 &
app=$!
data=$HOME/.local/share/loqa
until_true "the hub" test -s "$data/run/hub.json"
until_true "the key" loqa ptt status
echo "ready for the key $(( ($(date +%s%N) - began) / 1000000 )) ms after the start"
url=$(loqa api url | head -1)
until_true "the window" sh -c 'xdotool search --onlyvisible --name "^Loqa" | grep -q .'
# The hub says that it is up, without a token.
perl -MIO::Socket::INET -e '
    my ($host, $port) = $ARGV[0] =~ m{//([^:/]+):(\d+)};
    my $s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die "the API does not answer";
    print $s "GET /health HTTP/1.1\r\nHost: $host:$port\r\nConnection: close\r\n\r\n";
    my $line = <$s>; die "health says $line" unless $line =~ / 200 /;' "$url"
loqa --json ask "set a timer for five minutes" | tee "$HOME/answer.json" | grep -q timer.start || { echo "asked, but: $(cat "$HOME/answer.json")"; exit 1; }
echo "asked, and a timer was set"
loqa doctor >"$HOME/doctor.txt" 2>&1 || { echo "loqa doctor finds faults:"; cat "$HOME/doctor.txt"; exit 1; }
ps -u "$(id -u)" -o comm= | sort | uniq -c | tr '\n' ';'; echo
kill -TERM "$app"
wait "$app" || { echo "the app ended with $?"; exit 1; }
for name in loqa-desktop loqa-nats loqa-stt loqa-llm loqa-tts WebKitWebProcess WebKitNetworkProcess; do
    # The kernel keeps 15 letters of a name.
    until_true "the end of $name" sh -c "! pgrep -u \$(id -u) -x \$(echo $name | cut -c1-15)"
done
test ! -e "$data/run/hub.json" || { echo "the hub's file is still there"; exit 1; }
echo "quit, and no process is left"
kill %1 %2 2>/dev/null || true
kill "$BUS" 2>/dev/null || true
