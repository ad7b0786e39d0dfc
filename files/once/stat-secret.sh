#!/bin/sh
# Says what each PATH is, without its content: "absent", "other", or "file MODE OWNER GROUP SHA256".
#
# usage: stat-secret.sh PATH...
set -eu

for path; do
    if [ -L "$path" ]; then
        echo other
    elif [ ! -e "$path" ]; then
        echo absent
    elif [ ! -f "$path" ]; then
        echo other
    else
        case $(uname -s) in
        FreeBSD)
            meta=$(stat -f '%Lp %Su %Sg' "$path")
            got=$(sha256 -q "$path")
            ;;
        Linux)
            meta=$(stat -c '%a %U %G' "$path")
            got=$(sha256sum "$path")
            got=${got%% *}
            ;;
        *)
            echo "stat-secret: neither FreeBSD nor Linux" >&2
            exit 1
            ;;
        esac
        echo "file $meta $got"
    fi
done
