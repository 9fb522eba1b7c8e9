# Two stages: a static binary, then an image that holds nothing else.
ARG BUILDER=docker.io/library/rust:1-slim-bookworm
ARG RUNTIME=scratch

FROM ${BUILDER} AS build
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

FROM ${RUNTIME}
COPY --from=build /spacedns /spacedns
COPY --from=build /zones /zones
# A number, because there is no list of users to look a name up in.
USER 65532:65532
ENV SPACEDNS_LISTEN=0.0.0.0:53
EXPOSE 53/udp 53/tcp
VOLUME /zones
ENTRYPOINT ["/spacedns", "serve", "/zones"]
