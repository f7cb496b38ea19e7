# syntax=docker/dockerfile:1
# Tripline as a small image: one binary, the shipped rules, no shell tools beyond Debian's, no root.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches keep a second build from compiling OpenSSL and librdkafka again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --bin tripline \
    && cp target/dist/tripline /usr/local/bin/tripline \
    && strip /usr/local/bin/tripline
RUN mkdir /state

# The same Debian release as the build image: the binary needs its libc and libgcc, nothing else.
FROM debian:12.11-slim
# Kafka over TLS trusts the system's authorities; HTTP and mail bring their own.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/bin/tripline /usr/local/bin/tripline
COPY rules /etc/tripline/rules
# A named volume that is mounted here takes over the owner.
COPY --from=build --chown=65532:65532 /state /var/lib/tripline
USER 65532:65532
VOLUME /var/lib/tripline
EXPOSE 9464
ENTRYPOINT ["/usr/local/bin/tripline"]
CMD ["run", "--config", "/etc/tripline/tripline.yaml"]
