# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by scripts/demo, scripts/check and configure: which Debian packages bring what,
# and how missing ones are installed.

# Needed to build; the second group is optional (configure --disable-…).
BUILD_PACKAGES="gcc libc6-dev binutils meson ninja-build pkg-config python3 libglib2.0-dev \
libpixman-1-dev zlib1g-dev"
OPTIONAL_PACKAGES="liburing-dev libslirp-dev libpng-dev libzstd-dev liblzma-dev nettle-dev libcapstone-dev \
libgnutls28-dev libcurl4-gnutls-dev libiscsi-dev libnfs-dev librbd-dev"
# Needed to run: firmware.
RUN_PACKAGES="seabios"
# What scripts/demo makes its guest from, besides the kernel.
DEMO_PACKAGES="busybox-static cpio kmod xz-utils"
# What the tests use besides: judges and a compiler for 32-bit guests.
TEST_PACKAGES="acpica-tools clang-format ccache qemu-utils libnbd-bin nbdkit gnutls-bin mold gcc-multilib ipxe-qemu git \
gvncviewer tigervnc-viewer xvfb xdotool gdb qemu-block-extra fuse3 fio e2fsprogs"
# Servers of disks, for tests that skip without them; their services are not started.
SERVER_PACKAGES="tgt nfs-ganesha nfs-ganesha-vfs rpcbind netbase iproute2 ceph-mon ceph-osd ceph-common"
# Only for the suite "slow".
SLOW_PACKAGES="linux-source-6.1 make e2fsprogs fdisk stress-ng"

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# missing_packages PACKAGE…: prints those that are not installed.
missing_packages() {
    for p in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || echo "$p"
    done
}

# install_packages PACKAGE…: installs what is missing; quiet and quick when nothing is.
install_packages() {
    missing=$(missing_packages "$@")
    [ -z "$missing" ] && return 0
    echo "installing:" $missing >&2
    {
        as_root apt-get update -q &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
                --no-install-recommends $missing
    } >&2 </dev/null
}

# The same for servers, whose services Debian would start: they stay off, tests start their own.
install_servers() {
    missing=$(missing_packages "$@")
    [ -z "$missing" ] && return 0
    policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        install_packages "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod +x "$policy"
    status=0
    install_packages "$@" || status=$?
    as_root rm -f "$policy"
    return $status
}
