# The image that runs in a cluster: the static binary and nothing else.
#
# The binary comes from the build context, so that no base image is needed:
#
#   cargo build --release --locked --target x86_64-unknown-linux-musl --bin outrigger
#   docker build --file Dockerfile target/x86_64-unknown-linux-musl/release
#
# `cargo xtask images` does the same with buildah.
FROM scratch
LABEL org.opencontainers.image.title="outrigger" \
      org.opencontainers.image.description="A Kubernetes admission webhook that injects native sidecars into unchanged workloads" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY outrigger /outrigger
USER 65532:65532
ENTRYPOINT ["/outrigger"]
