#!/bin/sh
# Entry point of the image: reads the password as root, and runs the command as the user s2e.
#
# Compose mounts a secret with its owner and mode on the host. libpq wants a file that it can open
# and nobody else can, so the user gets a copy of its own.
set -eu
user=${S2E_USER:-s2e}
if [ -n "${PGPASSFILE:-}" ]; then
    copy=${TMPDIR:-/tmp}/pgpass
    rm -f "$copy"
    (umask 077 && cat "$PGPASSFILE" >"$copy")
    export PGPASSFILE="$copy"
fi
[ "$(id -u)" = 0 ] || exec "$@"
[ -z "${PGPASSFILE:-}" ] || chown "$user" "$PGPASSFILE"
HOME=$(getent passwd "$user" | cut -d: -f6)
export HOME
exec setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups -- "$@"
