#!/usr/bin/env bash
# Makes the container image as a docker-archive, without a container engine:
#
#   charts/image.sh OUT.tar [REF]        REF: docker.io/library/portolan:dev
#   ctr -n k8s.io images import OUT.tar  or: docker load -i OUT.tar
#
# The image is that of the Dockerfile: one layer with the binary, the files of charts/image and the CA certificates of this
# machine. The same inputs give the same bytes. Needs bash, GNU tar, coreutils and binutils; no root.
#
#   charts/image.sh --root DIR           only fills DIR with the files of the image; used by the Dockerfile
#
#   PORTOLAN_BINARY    a statically linked binary instead of a build
#   PORTOLAN_PROFILE   cargo profile of the build: dist (default), release (half the build time, a third larger) or dev
#   CA_CERTIFICATES    PEM file, default /etc/ssl/certs/ca-certificates.crt
#   SOURCE_DATE_EPOCH  time stamp of the image and its files, default 0
set -euo pipefail
# Byte order for sorting; C's characters for grep on binary data.
export LC_ALL=C

fail() {
    echo "image.sh: $*" >&2
    exit 1
}

usage="usage: charts/image.sh OUT.tar [REF] | --root DIR"
[ $# -eq 1 ] || [ $# -eq 2 ] || fail "$usage"
if [ "$1" = --root ]; then
    [ $# -eq 2 ] || fail "$usage"
    out='' reference='' root=$(realpath -m "$2")
else
    out=$(realpath -m "$1") reference=${2:-docker.io/library/portolan:dev} root=''
    [[ $reference =~ ^[a-z0-9][a-zA-Z0-9._:/-]*:[A-Za-z0-9_][A-Za-z0-9._-]*$ ]] || fail "$reference: wanted an image name with a tag"
fi
cd "$(dirname "$0")/.."
profile=${PORTOLAN_PROFILE:-dist}
certificates=${CA_CERTIFICATES:-/etc/ssl/certs/ca-certificates.crt}
epoch=${SOURCE_DATE_EPOCH:-0}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Bytes of all files of an image that is built for users (profile dist).
limit=22500000

# Links only the last crate statically: all others are those of a normal build. With relocations in the packed form the binary is 1.3 MB
# smaller, and with one copy of functions that have the same code about 0.8 MB (both with thin link-time optimisation).
build() {
    local flags=(-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs) lld
    # The linker that comes with Rust; GNU ld cannot merge functions.
    lld=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/gcc-ld
    [ ! -x "$lld/ld.lld" ] || flags+=(-C link-arg=-B"$lld" -C link-arg=-fuse-ld=lld -C link-arg=-Wl,--icf=all)
    cargo rustc --profile "$profile" --locked --no-default-features -p portolan --bin portolan -- "${flags[@]}" >&2 || return
    # The dev profile's folder has another name.
    echo "${CARGO_TARGET_DIR:-target}/${profile/#dev/debug}/portolan"
}

# The architecture in the words of OCI, from the header of the binary.
architecture() {
    case $(readelf -h "$1" | sed -n 's/^ *Machine: *//p') in
    *X86-64*) echo amd64 ;;
    *AArch64*) echo arm64 ;;
    *) fail "$1: not built for x86-64 or AArch64" ;;
    esac
}

archive() {
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" --mode=u=rwX,go=rX --blocking-factor=1 "$@"
}

[ -s "$certificates" ] || fail "no CA certificates in $certificates: install ca-certificates, or set CA_CERTIFICATES"
binary=${PORTOLAN_BINARY:-$(build)}
[ -f "$binary" ] || fail "$binary: no such file"
readelf -h "$binary" >/dev/null 2>&1 || fail "$binary: not an ELF binary"
architecture=$(architecture "$binary")
! readelf -l "$binary" | grep -q INTERP || fail "$binary: dynamically linked; the image has no libraries"

root=${root:-$work/root}
mkdir -p "$root/etc/ssl/certs"
cp -R charts/image/. "$root"
cp "$certificates" "$root/etc/ssl/certs/ca-certificates.crt"
strip -o "$root/portolan" "$binary"
chmod -R u=rwX,go=rX "$root"
chmod 755 "$root/portolan"
size=$(find "$root" -type f -printf '%s\n' | awk '{sum += $1} END {print sum}')
if [ "$profile" = dist ] && [ "$size" -gt "$limit" ]; then
    fail "the files of the image have $size bytes, the limit of the profile dist is $limit (PORTOLAN_PROFILE=release has none)"
fi
[ -n "$out" ] || exit 0

# The binary is archived with CAP_NET_BIND_SERVICE as file capability, which a user other than root needs to bind port 53 or 80: a record of a
# pax header with the bytes of `vfs_cap_data` (linux/capability.h), revision 2, permitted 1<<10. Not "effective": such a binary cannot be
# executed where the capability is not allowed (securityContext.capabilities.drop: [ALL]). Portolan makes it effective itself.
# Setting a capability on a file for tar to read would need root.
printf '57 SCHILY.xattr.security.capability=\0\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\n' >"$work/portolan.pax"
(cd "$root" && archive --format=ustar --exclude=portolan -cf "$work/files.tar" -- *)
(cd "$work" && archive --format=ustar -cf "$work/header.tar" portolan.pax)
(cd "$root" && archive --format=ustar -cf "$work/binary.tar" portolan)
# Makes the regular file (type 0) a pax header of the next file (type x), and corrects the checksum, six octal digits at offset 148.
checksum=$(($(tail -c +149 "$work/header.tar" | head -c 6 | sed 's/^/8#/') + 0x78 - 0x30))
printf '%06o' "$checksum" | dd of="$work/header.tar" bs=1 seek=148 conv=notrunc status=none
printf x | dd of="$work/header.tar" bs=1 seek=156 conv=notrunc status=none
layer=$work/layer.tar
# All but the last without the two empty blocks that end an archive.
{
    head -c -1024 "$work/files.tar"
    head -c -1024 "$work/header.tar"
    cat "$work/binary.tar"
} >"$layer"

diff_id=$(sha256sum "$layer" | cut -d ' ' -f 1)
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)
mkdir "$work/image"
mv "$layer" "$work/image/$diff_id.tar"
cat >"$work/config.json" <<JSON
{
  "architecture": "$architecture",
  "os": "linux",
  "created": "$created",
  "config": {
    "Entrypoint": ["/portolan"],
    "User": "65532:65532",
    "WorkingDir": "/",
    "Env": ["PATH=/"],
    "ExposedPorts": {"53/tcp": {}, "53/udp": {}, "80/tcp": {}, "443/tcp": {}},
    "Labels": {
      "org.opencontainers.image.title": "portolan",
      "org.opencontainers.image.description": "DNS server and ingress proxy for Kubernetes",
      "org.opencontainers.image.licenses": "Apache-2.0",
      "org.opencontainers.image.version": "$version"
    }
  },
  "rootfs": {"type": "layers", "diff_ids": ["sha256:$diff_id"]},
  "history": [{"created": "$created", "created_by": "charts/image.sh"}]
}
JSON
id=$(sha256sum "$work/config.json" | cut -d ' ' -f 1)
mv "$work/config.json" "$work/image/$id.json"
echo "[{\"Config\": \"$id.json\", \"RepoTags\": [\"$reference\"], \"Layers\": [\"$diff_id.tar\"]}]" >"$work/image/manifest.json"
(cd "$work/image" && archive --format=ustar -cf "$work/out.tar" -- *)
mkdir -p "$(dirname "$out")"
mv "$work/out.tar" "$out"
echo "$reference sha256:$id, $(awk "BEGIN {printf \"%.1f\", $size / 1e6}") MB, in $out"
