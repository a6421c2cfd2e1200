#!/bin/sh
# Puts prometheus and promtool into the folder $1: Debian's package is unpacked, so that no service starts and nothing
# else is installed. apt checks the archive's signature.
set -eu
version=2.42.0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
download() { (cd "$folder" && apt-get -qq download "prometheus=$version*" 2> apt.log); }
download || { apt-get -qq update && download; } || { cat "$folder/apt.log" >&2; exit 1; }
dpkg-deb -x "$folder"/prometheus_*.deb "$folder/unpacked"
"$folder/unpacked/usr/bin/promtool" --version | grep -q "version $version"
mv "$folder/unpacked/usr/bin/prometheus" "$folder/unpacked/usr/bin/promtool" "$1/"
