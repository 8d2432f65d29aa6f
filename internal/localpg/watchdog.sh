# Runs a command and outlives the process that wanted it just long enough to
# stop the command.
#
# Arguments: the directory to remove at the end, or an empty word; the command.
# Standard input: a pipe whose other end only the starter holds. One line,
# "fast" or "immediate", stops the command; end of file without a line means
# that the starter is dead.
# Descriptor 3: the lock on the directory, held until the command is gone.

trap '' HUP INT TERM
dir=$1
shift
exec 4<&0 </dev/null

(
	trap - HUP INT TERM
	exec "$@"
) 4<&- &
command=$!
exec >/dev/null 2>&1

# The command may get the first signal before it has a handler and lose it, so
# signals are repeated. INT is PostgreSQL's fast shutdown, QUIT its immediate.
(
	if ! read -r order <&4; then
		order=fast
		# Nobody is left to use the directory.
		[ -z "$dir" ] || rm -f "$dir/keep"
	fi
	second=0
	while [ "$second" -lt 40 ]; do
		signal=INT
		[ "$order" != immediate ] || signal=QUIT
		[ "$second" -lt 10 ] || signal=QUIT
		[ "$second" -lt 20 ] || signal=KILL
		kill -s "$signal" "$command"
		sleep 1
		second=$((second + 1))
	done
) 3<&- &
killer=$!

wait "$command"
status=$?
kill -s KILL "$killer"
wait "$killer"

# Only a directory that localpg has made bears both this name and this mark.
case $dir in
/*/trainingmonkey-pg-?*)
	if [ -f "$dir/temporary" ] && ! [ -e "$dir/keep" ]; then
		# After a crash the server's last processes may still write.
		rm -rf -- "$dir" || { sleep 1 && rm -rf -- "$dir"; }
	fi
	;;
esac
exit "$status"
