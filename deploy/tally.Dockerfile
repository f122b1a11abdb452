# The counter of connections that the operator puts into pods. Context: a directory with the static program, see the
# Makefile's target `images-rainbow`.
FROM scratch
COPY --chmod=0755 tally /tally
USER 65532:65532
ENTRYPOINT ["/tally"]
