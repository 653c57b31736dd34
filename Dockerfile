# The container image:
#
#   docker build -t portolan .            or: buildah bud --isolation=chroot -t portolan .
#
# charts/image.sh makes the same image without a container engine. Both take their files from it; a test compares the rest.

# At least `rust-version` of Cargo.toml.
ARG RUST_VERSION=1.95

FROM docker.io/library/rust:${RUST_VERSION}-bookworm AS build
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends ca-certificates libcap2-bin
WORKDIR /src
COPY . .
# `release` builds in half the time; the image is a third larger.
ARG PROFILE=dist
RUN PORTOLAN_PROFILE=${PROFILE} charts/image.sh --root /image
# Permitted, not effective: see charts/image.sh.
RUN setcap cap_net_bind_service=p /image/portolan

FROM scratch
COPY --from=build /image/ /
ENV PATH=/
USER 65532:65532
WORKDIR /
EXPOSE 53/tcp 53/udp 80/tcp 443/tcp
LABEL org.opencontainers.image.title="portolan" \
      org.opencontainers.image.description="DNS server and ingress proxy for Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
ENTRYPOINT ["/portolan"]
