# Two stages: a static binary, then an image that holds nothing else. Both bases may be others:
#   docker build --build-arg BUILD_BASE=... --build-arg RUN_BASE=... -t spacedns .
ARG BUILD_BASE=docker.io/library/rust:1-slim-bookworm
ARG RUN_BASE=scratch

FROM ${BUILD_BASE} AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY tests tests
COPY benches benches
# glibc is linked in: nothing in here looks up a name or a user, which is what a static glibc could not do.
# The target is named so that the flag holds for the binary and not for build scripts and macros.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
    && RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --bin spacedns --target "$target" \
    && cp "target/$target/release/spacedns" /spacedns \
    && mkdir /zones

FROM ${RUN_BASE}
COPY --from=build /spacedns /spacedns
# Empty: the spec directory is mounted here.
COPY --from=build /zones /zones
# A number, because there is no list of users to look a name up in. Docker lets it bind port 53 in a network of the container's own
# (net.ipv4.ip_unprivileged_port_start is 0 there since Docker 20.10). A capability on the file was rejected: it is lost in some
# copies, and the binary would not start where no-new-privileges or a dropped capability forbids it.
USER 65532:65532
ENV SPACEDNS_LISTEN=0.0.0.0:53
EXPOSE 53/udp 53/tcp
ENTRYPOINT ["/spacedns", "serve", "/zones"]
