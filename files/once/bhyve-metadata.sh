#!/bin/sh
# Copies the files of one dataset into another, or compares them: content, type, mode, owner and group.
#
# usage: bhyve-metadata.sh copy|compare SOURCE TARGET     (names of datasets)
#
# Both must be mounted themselves: written below an unmounted dataset, files would land in the plain pool. Other
# datasets must not be mounted below SOURCE, the directories that they leave there are copied as empty ones.
set -eu
verb=$1

mounted_at() {
    if [ "$(zfs get -H -o value mounted "$1")" != yes ]; then
        echo "bhyve-metadata: $1 is not mounted" >&2
        return 1
    fi
    zfs get -H -o value mountpoint "$1"
}

source=$(mounted_at "$2")
target=$(mounted_at "$3")

# a program: TARGET PATH... prints the paths that differ; it runs in the source
# shellcheck disable=SC2016
compare='
    target=$1
    shift
    meta() { ls -ldn "$1" | awk "{ print \$1, \$3, \$4 }"; }
    for path do
        if [ -L "$path" ]; then
            [ -L "$target/$path" ] && [ "$(readlink "$path")" = "$(readlink "$target/$path")" ] && continue
        elif [ "$(meta "$path")" != "$(meta "$target/$path" 2>/dev/null)" ]; then
            :
        elif [ ! -f "$path" ] || cmp -s "$path" "$target/$path"; then
            continue
        fi
        printf "%s\n" "$path"
    done
'

cd "$source"
case $verb in
copy)
    # shellcheck disable=SC2016
    find . ! -name . -prune ! -name .zfs -exec sh -c 'target=$1; shift; cp -Rp "$@" "$target/"' sh "$target" {} +
    ;;
compare)
    differ=$(find . -path ./.zfs -prune -o ! -name . -exec sh -c "$compare" sh "$target" {} +)
    if [ -n "$differ" ]; then
        printf 'bhyve-metadata: %s and %s differ in:\n%s\n' "$source" "$target" "$differ" >&2
        exit 1
    fi
    ;;
*)
    echo "usage: bhyve-metadata.sh copy|compare SOURCE TARGET" >&2
    exit 64
    ;;
esac
