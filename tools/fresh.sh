#!/usr/bin/env bash
# The README's commands on a machine that has nothing: in a bare Debian root with Python, make and git.
#
#   sudo tools/fresh.sh [--user] [--folder DIR] [--release bookworm] [--fonts none] [STEP…]
#
# The commit that HEAD names is cloned into the root, and each STEP (a make target, or `ci` for .ci/run;
# by default `book test`) is run there: as root, or with --user as an ordinary user without sudo, for whom
# what needs root is not installed and not run. Nothing of this machine is in reach but its name server
# and its settings for pip and certificates. Needs root and, on Debian or Ubuntu, mmdebstrap (installed
# where it is missing). DIR keeps the root (about 3 GB) and the logs: DIR/log/STEP.log.
#
# --with PACKAGES installs packages of Debian beforehand, as somebody with root would have done for
# --user; --fonts none takes all fonts away, --fonts noto gives Noto alone.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
folder=${TMPDIR:-/tmp}/attnbook-fresh; release=bookworm; who=root; packages=; fonts=; steps=()
while [ $# -gt 0 ]; do
  case $1 in
    --user) who=learner; shift ;;
    --folder) folder=$2; shift 2 ;;
    --release) release=$2; shift 2 ;;
    --with) packages=$2; shift 2 ;;
    --fonts) fonts=$2; shift 2 ;;
    -h|--help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'; exit ;;
    -*) echo "$0: unknown option $1; --help lists them" >&2; exit 2 ;;
    *) steps+=("$1"); shift ;;
  esac
done
[ ${#steps[@]} -gt 0 ] || steps=(book test)
[ "$(id -u)" = 0 ] || { echo "$0 makes a root of its own and needs root: sudo $0" >&2; exit 1; }
command -v mmdebstrap >/dev/null || {
  apt-get update -qq && apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null; }

root=$folder/root
mkdir -p "$folder/log"
if [ ! -d "$root/usr" ]; then
  echo "making a bare $release in $root"
  mmdebstrap --quiet --variant=apt --include=python3,python3-venv,make,git,ca-certificates "$release" "$root"
fi

# Where packages come from, on a machine that has a mirror or a proxy of its own.
rm -rf "$root/etc/apt/sources.list" "$root/etc/apt/sources.list.d"
for path in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/xdg/pip /etc/apt/apt.conf.d /etc/apt/sources.list \
    /etc/apt/sources.list.d /etc/ssl/certs; do
  [ -e "$path" ] || continue
  mkdir -p "$root$(dirname "$path")"
  cp -rLT --remove-destination "$path" "$root$path"
done
settings=$(env | grep -E '^(PIP_|UV_|SSL_CERT|REQUESTS_|NODE_EXTRA_CA|https?_proxy|no_proxy)' || true)

inside() {  # inside USER COMMAND: a real root rather than a chroot, as bubblewrap needs "/" to be a mount
  unshare --mount --pid --fork --propagation private bash -c '
    root=$1; mount --bind "$root" "$root"; mkdir -p "$root"/old "$root"/proc "$root"/dev "$root"/sys
    mount --rbind /dev "$root/dev"; mount --rbind /sys "$root/sys"; mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    for own in $4; do mkdir -p "$root$own"; mount --bind "$own" "$root$own"; done
    cd "$root"; pivot_root . old; cd /; python3 -c "import ctypes; ctypes.CDLL(None).umount2(b\"/old\", 2)"
    home=/root; [ "$2" = root ] || home=/home/$2
    # shellcheck disable=SC2086
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=$home LANG=C.UTF-8 $5 \
      setpriv $([ "$2" = root ] || echo --reuid=$2 --regid=$2 --init-groups --inh-caps=-all) bash -c "$3"
  ' _ "$root" "$1" "$2" "$(wheels)" "$settings" </dev/null
}

wheels() {  # folders of packages on this machine's disk that pip is told to look into
  { env | sed -n 's/^PIP_FIND_LINKS=//p'
    cat /etc/pip.conf ~/.config/pip/pip.conf /etc/xdg/pip/pip.conf 2>/dev/null \
      | sed -n 's/^\(find-links\|extra-index-url\|index-url\) *= *//p'
  } | tr ' ' '\n' | sed 's#^file://##; s#/simple/*$##' | while read -r path; do [ -d "$path" ] && echo "$path"; done | sort -u | tr '\n' ' '
}

[ ! -e ~/.config/pip ] || { mkdir -p "$root/root/.config" "$root/etc/skel/.config"
  cp -rT ~/.config/pip "$root/root/.config/pip"; cp -rT ~/.config/pip "$root/etc/skel/.config/pip"; }
[ "$who" = root ] || [ -d "$root/home/$who" ] || inside root "useradd --create-home --shell /bin/bash $who"
[ -z "$packages" ] || inside root "apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages" >"$folder/log/packages.log" 2>&1
home=$root/root; [ "$who" = root ] || home=$root/home/$who
checkout=$home/course; rm -rf "$checkout"
git clone -q "$project" "$checkout"
if [ -d "${ATTNBOOK_DATA:-}" ]; then cp -rL "$ATTNBOOK_DATA" "$home/data"; settings="$settings ATTNBOOK_DATA=${home#"$root"}/data"; fi
[ "$who" = root ] || chown -R --reference="$home" "$home"
settings=$(echo "$settings" | tr '\n' ' ')

failed=0
for step in "${steps[@]}"; do
  case $step in ci) command="CI=true .ci/run" ;; *) command="make $step" ;; esac
  case $fonts in
    none) inside root "rm -rf /usr/share/fonts; mkdir -p /usr/share/fonts; fc-cache 2>/dev/null || true" ;;
    noto) inside root "apt-get install -y -qq --no-install-recommends fonts-noto-core; rm -rf /usr/share/fonts/truetype/dejavu" >/dev/null 2>&1 ;;
  esac
  SECONDS=0; status=0
  inside "$who" "cd ~/course && $command" >"$folder/log/$step.log" 2>&1 || { status=$?; failed=1; }
  echo "$command as $who in a bare $release: exit status $status after $SECONDS s ($folder/log/$step.log)"
done
exit $failed
