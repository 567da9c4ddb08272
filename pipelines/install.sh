#!/bin/sh
# install.sh [--no-install] - see that the packages of packages.txt are there; install what is missing
#
# Says what it is about to install. With --no-install it only names what is missing and exits 2. Debian and Ubuntu.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)

missing=
for p in $(sed 's/#.*//' "$top/packages.txt"); do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

if [ "${1-}" = --no-install ]; then
	echo "install.sh: missing packages:$missing" >&2
	echo "install.sh: install them by: apt-get install$missing" >&2
	exit 2
fi
sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || { echo "install.sh: not root and no sudo; as root: apt-get install$missing" >&2; exit 2; }
	sudo=sudo
fi
echo "installing:$missing" >&2
$sudo apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
