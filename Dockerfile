# hotsync in a container:
#
#   docker build -t hotsync .
#   docker run --rm -v "$PWD/config.yaml:/etc/hotsync/config.yaml:ro" -e LIMIO_CLIENT_SECRET hotsync
#
# The binary is built without cgo but loads libraries at run time (the embedded
# engine), which links it to glibc: the base needs glibc and nothing else. The
# default has a shell too; a base without one will do (--build-arg BASE=…).
#
# The embedded ClickHouse is for one machine, so it is not in the image unless
# asked for (--build-arg WITH_ENGINE=true, 566 MB): containers are given a
# Kafka and a ClickHouse.

ARG GO_VERSION=1.26
ARG NODE_VERSION=22
ARG DEBIAN=bookworm
ARG BASE=debian:${DEBIAN}-slim

FROM golang:${GO_VERSION}-${DEBIAN} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# Which build it is, hotsync knows from the commit: .git is in the context.
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/hotsync ./cmd/hotsync \
 && install -d -m 0750 /out/data

FROM node:${NODE_VERSION}-${DEBIAN}-slim AS engine
ARG WITH_ENGINE=false
COPY --from=build /out/hotsync /usr/local/bin/hotsync
ENV HOTSYNC_CACHE=/engine
RUN install -d /engine \
 && if [ "${WITH_ENGINE}" = true ]; then hotsync setup; fi

FROM ${BASE}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/hotsync /usr/local/bin/hotsync
COPY --from=build --chown=65532:65532 /out/data /var/lib/hotsync
COPY --from=engine /engine /var/cache/hotsync
COPY config.yaml /etc/hotsync/config.yaml
ENV HOTSYNC_CACHE=/var/cache/hotsync
# Relative paths of the configuration, such as embedded.data_dir, start here.
WORKDIR /var/lib/hotsync
VOLUME ["/var/lib/hotsync"]
USER 65532:65532
# No HEALTHCHECK: /readyz is on the loopback interface, and nothing in here could
# ask it. Rows that stop coming show in ClickHouse.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/hotsync"]
CMD ["run", "-c", "/etc/hotsync/config.yaml"]
