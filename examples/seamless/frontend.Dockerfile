# Context: the directory of the static binaries, see the Makefile's target `images`.
FROM scratch
ARG VERSION
ENV VERSION=$VERSION
COPY --chmod=0755 frontend /frontend
EXPOSE 8080
ENTRYPOINT ["/frontend"]
